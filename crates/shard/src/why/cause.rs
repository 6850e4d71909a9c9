//! From facts about one waiting recipient to what it waits for: every condition
//! that keeps it, in the order in which it would meet them, and which of them
//! binds: the one that holds longest. Plain facts in, a chain out.
//!
//! Invariant: [`Chain::next`] is the first moment at which no condition that
//! ends by itself keeps the mail any more and it has its turn; none while one
//! waits for somebody. Of a site that is down it is the moment at which that is
//! tried again, whosever turn it is then.

use std::time::Duration;

use base::Wall;
use control::{Timetable, Trouble};
use queue::{Health, Pace, State};

use eventlog::rfc3339;

use super::speed::{Speed, Windows, contended, times};

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// What kind; a word that programs may rely on.
    pub(crate) cause: &'static str,
    /// In words.
    pub(crate) words: String,
    /// Until when.
    pub(crate) until: Until,
}

/// Until when a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until then.
    At(Wall),
    /// Until somebody does something.
    Somebody,
    /// Nobody can say; not long.
    Soon,
}

/// All conditions of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// In the order in which they are met; never empty.
    pub(crate) links: Vec<Link>,
    /// The one that binds.
    pub(crate) binding: usize,
    /// The earliest next attempt, if one comes without anybody's help.
    pub(crate) next: Option<Wall>,
    /// From when on ready mail of its next hop goes, as far as that is known.
    pub(crate) goes: Option<Wall>,
}

/// What is known of one recipient.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) now: Wall,
    pub(crate) state: State,
    /// Why it is held.
    pub(crate) hold: Option<(&'static str, String)>,
    /// Of a deferred one.
    pub(crate) next_attempt: Option<Wall>,
    /// The last answer.
    pub(crate) answer: Option<String>,
    /// What its attempt is doing, of one in flight.
    pub(crate) under_way: String,
    /// An order of an operator's.
    pub(crate) stopped: Option<(Option<Wall>, String)>,
    /// Its link is not up; until when at most, if that is known.
    pub(crate) link: Option<(Option<Wall>, String)>,
    /// When its way is open; none: always.
    pub(crate) schedule: Option<&'a Timetable>,
    /// Why this machine sends nothing.
    pub(crate) ours: Option<&'static str>,
    pub(crate) look_up: LookUp,
    /// Its site, once it is known.
    pub(crate) site: Option<SiteFacts>,
    /// Transactions before this one.
    pub(crate) ahead: u64,
    /// Ready mail for the same site in other shards, of each; theirs takes
    /// turns with ours.
    pub(crate) others: Vec<u32>,
    /// How fast mail goes there, or went.
    pub(crate) speed: Option<Speed>,
}

/// Whether it is known where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// It is, or nobody needs to know yet.
    Known,
    UnderWay,
    Failed(Wall, String),
    /// There is no such place.
    Rejected(String),
}

/// What is known of a site and its limits.
#[derive(Clone, Debug)]
pub(crate) struct SiteFacts {
    pub(crate) name: Box<str>,
    pub(crate) health: Health,
    pub(crate) down_until: Option<Wall>,
    pub(crate) reason: String,
    /// Its source cannot be used.
    pub(crate) source_until: Option<Wall>,
    pub(crate) paused_until: Option<Wall>,
    /// Nobody can be reached directly from here, in words.
    pub(crate) blocked: Option<String>,
    pub(crate) paused: bool,
    /// Connections of this shard: open, and those of them that have carried as
    /// much as they may.
    pub(crate) open: u32,
    pub(crate) idle: u32,
    pub(crate) spent: u32,
    /// Connections it may have by experience, and until more permits come.
    pub(crate) window: u32,
    pub(crate) cap: Option<u32>,
    pub(crate) connections: Connections,
    pub(crate) per_connection: u32,
    pub(crate) rate: Option<RateFacts>,
    /// Until the next transaction begins, and from one to the next, as it goes
    /// just now.
    pub(crate) pace: Option<(Wall, Duration)>,
}

/// The limit of connections, over all shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) limit: u32,
    pub(crate) out: u32,
    /// More were asked for.
    pub(crate) asked: bool,
    /// When others are told to give some up.
    pub(crate) recall: Option<Wall>,
}

/// The limit of messages in time, over all shards.
#[derive(Clone, Debug)]
pub(crate) struct RateFacts {
    pub(crate) words: String,
    /// Tokens of this shard that may still be spent.
    pub(crate) held: u32,
    /// When the next one comes, and from one to the next, whosever they are.
    pub(crate) next: Wall,
    pub(crate) pace: Duration,
}

impl RateFacts {
    /// When the transaction that comes behind `ahead` others gets its token,
    /// while other shards want some, too.
    fn at(&self, now: Wall, ahead: u64, others: &[u32]) -> Wall {
        let Some(place) = ahead.checked_sub(u64::from(self.held)) else { return now };
        self.next.max(now) + times(self.pace, contended(place, others))
    }
}

impl Chain {
    /// What `facts` amount to.
    pub(crate) fn of(facts: &Facts<'_>) -> Self {
        let now = Some(facts.now);
        let mut chain = Self { next: now, goes: now, ..Self::default() };
        chain.own_state(facts);
        if facts.state != State::InFlight {
            chain.way(facts);
        }
        if chain.links.is_empty() {
            chain.add("turn", "nothing: it goes at once".into(), Until::Soon);
        }
        chain
    }

    /// The condition that binds.
    pub(crate) fn binding(&self) -> &Link {
        &self.links[self.binding]
    }

    fn own_state(&mut self, facts: &Facts<'_>) {
        match facts.state {
            State::Held => {
                let (cause, words) = facts.hold.clone().unwrap_or(("held", "held".into()));
                self.add(cause, words, Until::Somebody);
            }
            State::InFlight => self.add("under-way", facts.under_way.clone(), Until::Soon),
            State::Deferred => {
                let until = facts.next_attempt.unwrap_or(facts.now);
                let answer = facts.answer.as_deref();
                let (cause, what) = match answer {
                    Some(text) if Trouble::of_answer(text) == Trouble::Greylisted => {
                        ("greylisted", "greylisted: ")
                    }
                    _ => ("back-off", "its last attempt did not succeed: "),
                };
                let words = match answer {
                    Some(text) => format!("{what}{text}"),
                    None => "it waits for its next attempt".into(),
                };
                self.add(cause, words, Until::At(until));
            }
            State::Ready => {}
        }
    }

    fn way(&mut self, facts: &Facts<'_>) {
        if let Some((until, words)) = &facts.stopped {
            self.stops("suspended", words.clone(), until.map_or(Until::Somebody, Until::At));
        }
        if let Some(words) = facts.ours {
            self.stops("own-shortage", words.into(), Until::Somebody);
        }
        if let Some((until, words)) = &facts.link {
            self.stops("link", words.clone(), until.map_or(Until::Soon, Until::At));
        }
        match &facts.look_up {
            LookUp::Known => {}
            LookUp::UnderWay => {
                self.stops("look-up", "its next hop is being looked up".into(), Until::Soon);
            }
            LookUp::Failed(until, why) => {
                self.stops("look-up-failed", why.clone(), Until::At(*until));
            }
            LookUp::Rejected(why) => self.stops("rejected", why.clone(), Until::Soon),
        }
        if let Some(site) = &facts.site {
            self.site(site);
        }
        let mut windows = Windows::new(facts.schedule, facts.now);
        self.schedule(facts);
        self.turn(facts, &mut windows);
    }

    fn site(&mut self, site: &SiteFacts) {
        let reason = &site.reason;
        match (site.health, site.down_until) {
            (Health::Down, Some(until)) => {
                self.stops("site-down", format!("no host answers: {reason}"), Until::At(until));
            }
            (Health::Probing, _) if site.open > 0 => {
                let words = format!("one connection finds out whether it is back: {reason}");
                self.stops("site-probed", words, Until::Soon);
            }
            _ => {}
        }
        if let Some((cause, words, until)) = paused_by_itself(site) {
            self.stops(cause, words, Until::At(until));
        }
    }

    /// Its turn comes last: only what may go otherwise takes its place.
    fn turn(&mut self, facts: &Facts<'_>, windows: &mut Windows<'_>) {
        let known = facts.site.as_ref();
        let answers = known.is_none_or(|site| site.health == Health::Up);
        let (Some(next), Some(goes), true) = (self.next, self.goes, answers) else { return };
        if facts.link.is_some() || known.is_some_and(|site| site.paused_until.is_some()) {
            return;
        }
        let open = facts.schedule.is_none_or(|table| table.is_open(facts.now));
        let goes_now = goes == facts.now && open;
        if let (State::Ready, Some(site), true) = (facts.state, known, goes_now) {
            return self.limits(facts, site, windows);
        }
        let work = match known.filter(|_| goes_now) {
            Some(site) => self.wait(facts, site).map(|at| at.since(facts.now)),
            None => facts.speed.map(|speed| speed.behind_at_rest(facts.ahead, &facts.others)),
        };
        let at = work.and_then(|work| windows.through(goes, work)).filter(|at| *at > next);
        if let (Some(at), 1..) = (at, facts.ahead) {
            let words = format!("then {}", before(facts.ahead));
            self.links.push(Link { cause: "turn", words, until: Until::At(at) });
            self.next = Some(at);
        }
    }

    /// When one goes that stands behind so many others at a site that is at
    /// work.
    fn wait(&self, facts: &Facts<'_>, site: &SiteFacts) -> Option<Wall> {
        let rated = site.rate.as_ref().map(|rate| rate.at(facts.now, facts.ahead, &facts.others));
        rated.into_iter().chain(worked(facts, site)).max()
    }

    /// What a ready one waits for at a site that answers.
    fn limits(&mut self, facts: &Facts<'_>, site: &SiteFacts, windows: &mut Windows<'_>) {
        let (now, before) = (facts.now, before(facts.ahead));
        // Mail that is behind a window's end goes in the next one.
        let mut within = |at: Wall| windows.through(now, at.since(now));
        let turn = worked(facts, site).and_then(&mut within);
        if let Some(rate) = &site.rate {
            let at = rate.at(now, facts.ahead, &facts.others);
            let at = within(at).unwrap_or(at);
            if site.paused && !site.connections.asked || at > turn.unwrap_or(now) {
                let words = format!("the rate {} is used up; {before}", rate.words);
                return self.add("rate", words, Until::At(at));
            }
        }
        let Connections { limit, out, recall, .. } = site.connections;
        let until = turn.map_or(Until::Soon, Until::At);
        if site.paused && site.open == 0 {
            let words =
                format!("all connections that {} may have are in use: {out}/{limit}", site.name);
            return self.add("connections", words, recall.map_or(until, Until::At));
        }
        let (in_use, window) = (site.open - site.idle, site.window);
        let (cause, words) = if in_use > 0 && site.spent >= in_use {
            let most = site.per_connection;
            (
                "messages-per-connection",
                format!("{in_use} connections end behind {most} messages each"),
            )
        } else if in_use > 0 && (in_use >= limit || site.cap.is_some_and(|cap| in_use >= cap)) {
            let words =
                format!("all connections that {} may have are in use: {out}/{limit}", site.name);
            ("connections", words)
        } else if in_use >= window {
            let words = format!(
                "{} has shown to take {window} connections; its limit is {limit}",
                site.name
            );
            ("concurrency", words)
        } else {
            ("turn", "it waits for its turn".into())
        };
        self.add(cause, format!("{words}; {before}"), until);
    }

    /// Windows come behind that: what else keeps it may end within one, or
    /// outside.
    fn schedule(&mut self, facts: &Facts<'_>) {
        let Some(table) = facts.schedule else { return };
        let at = self.next.unwrap_or(facts.now);
        if table.is_open(at) {
            return;
        }
        match table.changes(at) {
            Some(opens) => {
                let words = format!("outside its schedule, {table}: opens {}", rfc3339(opens));
                self.add("schedule", words, Until::At(opens));
            }
            None => {
                let words = format!("outside its schedule, {table}: does not open");
                self.add("schedule", words, Until::Somebody);
            }
        }
    }

    /// Something that keeps ready mail, too.
    fn stops(&mut self, cause: &'static str, words: String, until: Until) {
        self.goes = match until {
            Until::At(at) => self.goes.max(Some(at)).filter(|_| self.goes.is_some()),
            Until::Somebody => None,
            Until::Soon => self.goes,
        };
        self.add(cause, words, until);
    }

    fn add(&mut self, cause: &'static str, words: String, until: Until) {
        let binds = match (until, self.next) {
            (_, None) => false,
            (Until::Somebody, Some(_)) => true,
            (Until::At(at), Some(next)) => at > next || self.links.is_empty(),
            (Until::Soon, Some(_)) => self.links.is_empty(),
        };
        if binds {
            self.binding = self.links.len();
            self.next = match until {
                Until::At(at) => self.next.max(Some(at)),
                Until::Somebody => None,
                Until::Soon => self.next,
            };
        }
        self.links.push(Link { cause, words, until });
    }
}

/// What a site waits for, and until when, that waits for a moment.
pub(super) fn paused_by_itself(site: &SiteFacts) -> Option<(&'static str, String, Wall)> {
    if let Some(until) = site.source_until {
        let words = "the source that it leaves from cannot be used".into();
        return Some(("source-down", words, until));
    }
    let until = site.paused_until?;
    if let Some(words) = &site.blocked {
        return Some(("port-blocked", words.clone(), until));
    }
    let words = "this machine lacked the means for a connection, or it waits for a log-in";
    Some(("own-shortage", words.into(), until))
}

/// When the transaction behind so many others begins at a site that is at work,
/// by what the site takes: as it has gone of late, or by its connections.
fn worked(facts: &Facts<'_>, site: &SiteFacts) -> Option<Wall> {
    let now = facts.now;
    if let (Some((next, each)), true) = (site.pace, facts.others.is_empty()) {
        return Some(next.max(now) + times(each, facts.ahead));
    }
    let speed = facts.speed.filter(|speed| !speed.service.is_zero())?;
    let free = u64::from(speed.at_once.saturating_sub(site.open - site.idle));
    let rounds = (contended(facts.ahead, &facts.others) + 1).saturating_sub(free);
    Some(now + times(speed.service / speed.at_once.max(1), rounds))
}

fn before(ahead: u64) -> String {
    match ahead {
        0 => "it is next".to_owned(),
        1 => "1 transaction goes before it".to_owned(),
        _ => format!("{ahead} transactions go before it"),
    }
}

/// The pace of a site, as times of the wall clock.
pub(crate) fn on_the_wall(pace: Pace, now: base::Now) -> (Wall, Duration) {
    (now.wall_at(pace.last + pace.per_take), pace.per_take)
}

#[cfg(test)]
mod tests;
