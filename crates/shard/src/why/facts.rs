//! What this shard knows of one waiting recipient, put together for
//! `why/cause.rs`. Looks at what is there; asks and changes nothing.

use std::time::Duration;

use base::limits::OPEN_ATTEMPT_CRASHES_MAX;
use control::{Fate, InDoubtPolicy, OnFailure};
use mail::Address;
use queue::{DestinationKey, EntryKey, Health, Pace, SiteKey, State, Status, View};
use serde_json::{Value, json};

use super::cause::{
    Connections, Facts, LookUp, RateFacts, SiteFacts, on_the_wall, paused_by_itself,
};
use super::speed::Speed;
use super::{Known, Standing};
use crate::epoch::Way;
use crate::local::NO_SUCH_USER;
use crate::outbound::{Link, Outbound};
use crate::shard::{Shard, Turn};
use eventlog::rfc3339;

/// A pace that is older than this, and than so many of its takes, says nothing
/// of how it goes just now.
const PACE_FRESH: Duration = Duration::from_secs(60);
const PACE_FRESH_TAKES: u32 = 8;
/// Nor does one over fewer takes.
const PACE_TAKES_MIN: u32 = 6;

impl Shard {
    pub(super) fn facts<'w>(
        &self,
        turn: &Turn<'_>,
        (key, view): (EntryKey, &View),
        to: &str,
        way: Option<&'w Way>,
        standing: Option<&Standing>,
        known: &Known,
    ) -> Facts<'w> {
        let (destination, site) = (view.destination, self.queue.site_of(view.destination));
        let schedule = way.filter(|way| !way.exit().is_hurried());
        Facts {
            now: turn.now.wall,
            state: view.state,
            hold: (view.state == State::Held).then(|| self.hold_of(view, to, way, standing)),
            next_attempt: view.next_attempt,
            answer: standing.and_then(|standing| standing.answer.clone()),
            under_way: self.under_way(key),
            stopped: way.and_then(|way| self.order_on(turn, way, site, to)),
            link: way
                .filter(|_| view.state == State::Ready)
                .and_then(|way| self.link_wait(turn.now, way)),
            schedule: schedule.and_then(|way| way.schedule.as_deref()),
            ours: self.stopped_itself(),
            look_up: self.look_up_of(turn, destination),
            site: site.and_then(|site| self.site_facts(turn, site, known)),
            ahead: self.queue.ahead(key).unwrap_or(0),
            others: self.others(destination, way, known),
            speed: way.and_then(|way| self.speed(turn, destination, way, known)),
        }
    }

    /// The same for a recipient who would come now.
    pub(super) fn facts_of_new<'w>(
        &self,
        turn: &Turn<'_>,
        destination: Option<DestinationKey>,
        way: &'w Way,
        to: &str,
        known: &Known,
    ) -> Facts<'w> {
        let site = destination.and_then(|key| self.queue.site_of(key));
        Facts {
            now: turn.now.wall,
            state: State::Ready,
            hold: None,
            next_attempt: None,
            answer: None,
            under_way: String::new(),
            stopped: self.order_on(turn, way, site, to),
            link: self.link_wait(turn.now, way),
            schedule: way.schedule.as_deref(),
            ours: self.stopped_itself(),
            look_up: destination.map_or(LookUp::Known, |key| self.look_up_of(turn, key)),
            site: site.and_then(|site| self.site_facts(turn, site, known)),
            ahead: destination.map_or(0, |key| self.queue.ahead_of_new(key)),
            others: destination.map_or(Vec::new(), |key| self.others(key, Some(way), known)),
            speed: destination.and_then(|key| self.speed(turn, key, way, known)),
        }
    }

    /// Whether it is known where a next hop is.
    pub(super) fn look_up_of(&self, turn: &Turn<'_>, destination: DestinationKey) -> LookUp {
        let Some(row) = self.queue.row_of(turn.now, destination) else { return LookUp::Known };
        let reason = || row.reason.as_deref().unwrap_or("").to_owned();
        match row.status {
            Status::LookingUp => LookUp::UnderWay,
            Status::LookupFailed(until) => LookUp::Failed(until, reason()),
            Status::Rejected => LookUp::Rejected(reason()),
            _ => LookUp::Known,
        }
    }

    /// Ready mail of other shards that takes turns with mail of a next hop: by
    /// the site's rate, or its connections where it might have more of them.
    pub(super) fn others(
        &self,
        destination: DestinationKey,
        way: Option<&Way>,
        known: &Known,
    ) -> Vec<u32> {
        let site = self.queue.last_site_of(destination).and_then(|key| self.queue.site(key));
        let (Some(site), Some(way)) = (site, way) else { return Vec::new() };
        let limits = way.limits(0);
        let shared = limits.rate.is_some() || site.window >= limits.connections;
        let others = known.waiting.get(site.name).filter(|_| shared);
        others.cloned().unwrap_or_default()
    }

    /// How fast mail of a next hop goes, by what is known of its site and way.
    pub(super) fn speed(
        &self,
        turn: &Turn<'_>,
        destination: DestinationKey,
        way: &Way,
        known: &Known,
    ) -> Option<Speed> {
        let limits = way.limits(0);
        let rated = limits.rate.map(|rate| control::throttle::Tokens::new(rate).pace());
        let blank = Speed { service: Duration::ZERO, at_once: 1, paced: None, rated };
        let Some(key) = self.queue.last_site_of(destination) else {
            return rated.is_some().then_some(blank);
        };
        let site = self.queue.site(key)?;
        let alone = self.others(destination, Some(way), known).is_empty();
        let pace = site.pace.filter(|pace| limits.rate.is_none() && alone && is_fresh(turn, pace));
        let at_once = match site.health {
            Health::Up => site.window.min(limits.connections),
            // It grows again.
            Health::Down | Health::Probing => limits.connections,
        };
        let service = site.service.unwrap_or_default();
        let speed = Speed { service, at_once, paced: pace.map(|pace| pace.per_take), rated };
        (speed.each() > Duration::ZERO).then_some(speed)
    }

    /// Why this shard sends nothing at all.
    pub(super) fn stopped_itself(&self) -> Option<&'static str> {
        match (self.draining, self.spool.is_down()) {
            (true, _) => Some("the daemon is shutting down"),
            (false, true) => Some("the storage has failed: no outcome could be kept"),
            (false, false) => None,
        }
    }

    fn hold_of(
        &self,
        view: &View,
        to: &str,
        way: Option<&Way>,
        standing: Option<&Standing>,
    ) -> (&'static str, String) {
        let standing = standing.cloned().unwrap_or_default();
        let answer = standing.answer.unwrap_or_default();
        if standing.crashes >= OPEN_ATTEMPT_CRASHES_MAX {
            let words = format!("{} crashes in a row came during its attempt", standing.crashes);
            return ("held-after-crashes", words);
        }
        let nobody = Address::parse(to, true)
            .is_ok_and(|address| self.policy.locals.fate(&address) == Fate::Hold);
        if view.attempts == 0 && nobody {
            return ("held-unknown-user", format!("{NO_SUCH_USER}; the rule is to hold"));
        }
        let by_rule = way.is_some_and(|way| way.on_failure == OnFailure::Hold)
            || view.in_doubt && self.policy.queue.in_doubt_policy == InDoubtPolicy::Hold
            || standing.status == mail::Status::SYSTEM.to_string();
        if standing.held_for_it && by_rule {
            return ("held-after-failure", format!("its attempt failed: {answer}"));
        }
        ("held-by-operator", "an operator holds it until it is released".into())
    }

    /// What an entry's attempt is doing.
    fn under_way(&self, key: EntryKey) -> String {
        let carries = |out: &Outbound| {
            out.batch.as_ref().is_some_and(|batch| batch.unsettled().any(|other| other == key))
        };
        match self.outbound.values().map(|out| &**out).find(|out| carries(out)) {
            Some(out) => format!("being tried at {}: {}", out.host(), phase_of(out)),
            None => "with the writer of its message".into(),
        }
    }

    /// The order that stops mail to `to`, and until when.
    pub(super) fn order_on(
        &self,
        turn: &Turn<'_>,
        way: &Way,
        site: Option<SiteKey>,
        to: &str,
    ) -> Option<(Option<base::Wall>, String)> {
        if self.suspensions.is_empty() {
            return None;
        }
        let known = site.and_then(|key| self.queue.site(key)).map(|site| site.name.to_owned());
        let relay = || control::Site::of_relay(way, way.exit()).map(|site| site.key);
        let name = known.or_else(relay);
        let at = control::Whereabouts {
            domain: to.rsplit_once('@').map(|(_, domain)| domain),
            route: &way.name,
            site: name.as_deref(),
            source: way.source().map(|source| &**source),
        };
        let order = self.suspensions.find(turn.now.wall, &at)?;
        Some((order.until, order.to_string()))
    }

    /// What a site waits for that pauses, by what this shard knows.
    pub(crate) fn paused_words(&self, turn: &Turn<'_>, key: SiteKey) -> Option<String> {
        let site = self.site_facts(turn, key, &Known::default())?;
        if let Some((_, words, _)) = paused_by_itself(&site) {
            return Some(words);
        }
        Some(match &site.rate {
            Some(rate) if !site.connections.asked => format!("the rate {} is used up", rate.words),
            _ => "all connections that the limits allow are in use".into(),
        })
    }

    pub(super) fn site_facts(
        &self,
        turn: &Turn<'_>,
        key: SiteKey,
        known: &Known,
    ) -> Option<SiteFacts> {
        let (now, site) = (turn.now, self.queue.site(key)?);
        let target = self.targets.get(&key)?;
        let way = &target.way;
        let limits = way.limits(0);
        let home = known.limits.get(&*target.limit_key);
        let permits = self.permits.view(now.mono, &target.limit_key);
        // The one under way counts.
        let is_spent = |out: &Outbound| {
            out.sent + u32::from(out.batch.is_some()) >= out.way.messages_per_connection
        };
        let spent = self.outbound.values().filter(|out| out.site == key && is_spent(out));
        let source_until = way.source().and_then(|s| self.unusable.until(now.mono, &s.name));
        // Nothing was found wanting, but no host is of a family that it has.
        let unreached = site.paused_until.filter(|_| self.is_unreached(key));
        let source_until = source_until.or(unreached);
        let rate = limits.rate.map(|rate| {
            let first = home.and_then(|home| home.rate.as_ref());
            RateFacts {
                words: rate.to_string(),
                held: permits.tokens,
                next: now.wall_at(first.map_or(now.mono, |rate| rate.token_at(now.mono, 0))),
                pace: control::throttle::Tokens::new(rate).pace(),
            }
        });
        Some(SiteFacts {
            name: site.name.into(),
            health: site.health,
            down_until: site.down_until.map(|at| now.wall_at(at)),
            reason: site.reason.unwrap_or("no reason is known").to_owned(),
            source_until: source_until.map(|at| now.wall_at(at)),
            paused_until: site.paused_until.map(|at| now.wall_at(at)),
            blocked: self.blocked_words(turn, way),
            paused: site.paused,
            open: site.open,
            idle: site.idle,
            spent: spent.count() as u32,
            window: site.window,
            cap: site.cap,
            connections: Connections {
                limit: home.map_or(limits.connections, |home| home.connections),
                out: home.map_or(permits.granted, |home| home.out),
                asked: permits.asked,
                recall: home.and_then(|home| home.recall_at).map(|at| now.wall_at(at)),
            },
            per_connection: way.messages_per_connection,
            // By a rate it goes as that says.
            pace: site
                .pace
                .filter(|pace| rate.is_none() && is_fresh(turn, pace))
                .map(|pace| on_the_wall(pace, now)),
            rate,
        })
    }
}

fn is_fresh(turn: &Turn<'_>, pace: &Pace) -> bool {
    let fresh = PACE_FRESH.max(pace.per_take * PACE_FRESH_TAKES);
    pace.takes >= PACE_TAKES_MIN && turn.now.mono.since(pace.last) <= fresh
}

/// How far a connection is, in a word or two.
pub(crate) fn phase_of(out: &Outbound) -> String {
    match &out.link {
        Link::Token { .. } => "waiting for a token".into(),
        Link::Connecting { .. } => "connecting".into(),
        Link::Proxy { .. } => "at the proxy".into(),
        Link::Handshake { .. } => "TLS".into(),
        Link::Pop(_) => "POP3 log-in".into(),
        Link::Session(client) => client.phase().to_string(),
        Link::Folder { .. } => "writing into the folder".into(),
        Link::Idle { .. } => "idle".into(),
    }
}

pub(super) fn health_of(site: &SiteFacts) -> Value {
    let state = match site.health {
        Health::Up => "up",
        Health::Down => "down",
        Health::Probing => "probing",
    };
    json!({ "state": state, "until": site.down_until.map(rfc3339), "reason": site.reason })
}

pub(super) fn limits_of(site: &SiteFacts) -> Value {
    json!({
        "connections": site.connections.limit,
        "connections_out": site.connections.out,
        "connections_here": site.open,
        "connections_by_experience": site.window,
        "messages_per_connection": site.per_connection,
        "rate": site.rate.as_ref().map(|rate| &rate.words),
        "rate_next": site.rate.as_ref().map(|rate| rfc3339(rate.next)),
    })
}
