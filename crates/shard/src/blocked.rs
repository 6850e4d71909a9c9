//! Whether direct connections look blocked at this machine as a whole: many
//! providers let nobody connect to port 25 of others. Then every exchanger is
//! silent, and that is neither their fault nor an attempt of any mail: sites
//! are not marked down one by one, mail is not put off or returned for it, and
//! single connections find out when it is over.
//!
//! A site counts as silent when a connection to it timed out that was begun
//! after any exchanger had answered any shard last, and when it did not fail
//! before that. Whoever is refused has been answered. From so many silent
//! sites on (`alerts.port_25`) the whole looks blocked. All shards learn of
//! each silent site and of answers, so that they agree within a second.
//!
//! Never looks at relays, nor at what leaves through a proxy. Invariants: one
//! answer ends it; at most [`SITES_MAX`] sites are remembered, each for
//! [`REMEMBERED_FOR`] at most.

use std::time::Duration;

use base::{Map, Monotonic, ShardId};
use control::alert::Rule;
use eventlog::rfc3339;
use queue::{Phase, SiteKey};

use crate::epoch::Way;
use crate::mesh::MeshMessage;
use crate::outbound::{Link, Outbound};
use crate::settle::Ended;
use crate::shard::{Shard, Turn};

/// Silent sites that are remembered.
const SITES_MAX: usize = 1_024;
/// A silent site that was not tried again within this time counts no more.
const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);
/// Answers are told to other shards this often at most, where nothing is known
/// to be silent.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Connections of one shard that find out at one time.
const PROBES_MAX: usize = 4;
/// Longest time from one to the next; shorter with a short time limit of
/// connecting.
const PROBE_EVERY_MAX: Duration = Duration::from_secs(60);
/// Shortest wait of a site meanwhile.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Silent sites from which on the whole looks blocked where nobody says.
const SITES_USUAL: u64 = 5;

/// What is known of it. See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    /// When an exchanger answered last, at any shard.
    heard: Option<Monotonic>,
    /// When this shard told the others last that one did.
    told: Option<Monotonic>,
    /// Silent sites, and when that was seen last.
    sites: Map<Box<str>, Monotonic>,
    /// Since when they are silent.
    since: Option<Monotonic>,
    /// What lasts too long is forgotten then.
    looked: Monotonic,
    /// A site that is known to be silent is tried again then.
    next_probe: Monotonic,
}

impl Blocked {
    /// An exchanger answered at `at`.
    pub(crate) fn heard(&mut self, at: Monotonic) {
        self.heard = self.heard.max(Some(at));
        if self.since.is_some_and(|since| since <= at) {
            self.forget();
        }
    }

    /// A site is silent since a connection that was begun at `since`.
    pub(crate) fn silent(&mut self, now: Monotonic, site: Box<str>, since: Monotonic) {
        if self.heard.is_some_and(|heard| since <= heard) {
            return;
        }
        self.forget_old(now);
        if self.sites.len() < SITES_MAX || self.sites.contains_key(&site) {
            self.sites.insert(site, now);
            self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
        }
    }

    /// Sites that are silent.
    pub(crate) fn sites(&self, now: Monotonic) -> usize {
        self.sites.values().filter(|seen| now.since(**seen) < REMEMBERED_FOR).count()
    }

    /// Nothing is known to be silent.
    pub(crate) fn forget(&mut self) {
        self.sites.clear();
        self.since = None;
    }

    fn forget_old(&mut self, now: Monotonic) {
        if now.since(self.looked) < REMEMBERED_FOR / 60 {
            return;
        }
        self.looked = now;
        self.sites.retain(|_, seen| now.since(*seen) < REMEMBERED_FOR);
        if self.sites.is_empty() {
            self.since = None;
        }
    }
}

impl Shard {
    /// An exchanger has answered, if only to refuse.
    pub(crate) fn exchanger_heard(&mut self, turn: &mut Turn<'_>, out: &Outbound) {
        if !out.way.is_direct() {
            return;
        }
        let now = turn.now.mono;
        let is_news = !self.peers.blocked.sites.is_empty()
            || self.peers.blocked.told.is_none_or(|told| now.since(told) >= TELL_EVERY);
        self.peers.blocked.heard(now);
        if is_news {
            self.peers.blocked.told = Some(now);
            self.tell_others(turn, || MeshMessage::Heard { at: now });
        }
    }

    /// A connection to an exchanger timed out.
    pub(crate) fn exchanger_silent(&mut self, turn: &mut Turn<'_>, out: &Outbound) {
        let Link::Connecting { until } = out.link else { return };
        let Some(site) = self.queue.site(out.site).filter(|_| out.way.is_direct()) else { return };
        // One that failed while others answered is silent for itself.
        let heard = self.peers.blocked.heard;
        if heard.is_some_and(|heard| site.failing_since.is_some_and(|since| since <= heard)) {
            return;
        }
        let since = until - out.way.timeouts.connect;
        let name = Box::<str>::from(site.name);
        self.peers.blocked.silent(turn.now.mono, name.clone(), since);
        if self.peers.blocked.sites.contains_key(&name) {
            self.tell_others(turn, || MeshMessage::Silent { site: name.clone(), since });
        }
    }

    /// Whether direct connections look blocked.
    pub(crate) fn looks_blocked(&mut self, now: Monotonic) -> bool {
        if self.peers.blocked.sites.is_empty() {
            return false;
        }
        self.peers.blocked.forget_old(now);
        self.peers.blocked.sites.len() as u64 >= self.blocked_from()
    }

    fn blocked_from(&self) -> u64 {
        self.policy.alerts.limit(Rule::Port25).unwrap_or(SITES_USUAL)
    }

    /// The queue wants a connection to `site`. True: it waits, for single
    /// connections find out whether any can be made.
    pub(crate) fn waits_unblocked(&mut self, turn: &Turn<'_>, site: SiteKey, way: &Way) -> bool {
        let now = turn.now.mono;
        if !way.is_direct() || !self.looks_blocked(now) {
            return false;
        }
        let connecting = self
            .outbound
            .values()
            .filter(|out| matches!(out.link, Link::Connecting { .. }) && out.way.is_direct());
        // One that was not tried yet may well answer.
        let may = !self.is_silent(site) || now >= self.peers.blocked.next_probe;
        if may && connecting.count() < PROBES_MAX {
            return false;
        }
        let until = self.peers.blocked.next_probe.max(now + (probe_every(way) / 4).max(PAUSE_MIN));
        self.queue.pause(site, Some(until));
        self.queue.connection_closed(site, Phase::Dispatched);
        true
    }

    /// A connection to `site` is made, permits and all: if that finds out
    /// whether any can be made, the next one has time.
    pub(crate) fn note_probe(&mut self, turn: &Turn<'_>, site: SiteKey, way: &Way) {
        if way.is_direct() && self.is_silent(site) {
            self.peers.blocked.next_probe = turn.now.mono + probe_every(way);
        }
    }

    fn is_silent(&self, site: SiteKey) -> bool {
        let site = self.queue.site(site).map(|site| site.name);
        site.is_some_and(|name| self.peers.blocked.sites.contains_key(name))
    }

    /// No host of a site would do. Gives the connection back where that is put
    /// down to the site, which it is not while everything looks blocked: then
    /// its mail waits, and no attempt was made.
    pub(crate) fn blames_site(
        &mut self,
        turn: &mut Turn<'_>,
        out: Box<Outbound>,
        failure: &Ended,
    ) -> Option<Box<Outbound>> {
        let unreached = failure.trouble == control::Trouble::Unreachable && !out.bore;
        if !unreached || !out.way.is_direct() || !self.looks_blocked(turn.now.mono) {
            return Some(out);
        }
        let words = self.blocked_words(turn, &out.way).unwrap_or_default();
        // Others come first the next time.
        let wait = probe_every(&out.way) * 4;
        self.shortage_for(turn, out, &words, wait);
        None
    }

    /// That direct connections look blocked, in words, if they do.
    pub(crate) fn blocked_words(&self, turn: &Turn<'_>, way: &Way) -> Option<String> {
        let since = self.peers.blocked.since.filter(|_| way.is_direct())?;
        let (port, sites) = (way.port, self.peers.blocked.sites(turn.now.mono));
        let since = rfc3339(turn.now.wall - turn.now.mono.since(since));
        (sites as u64 >= self.blocked_from()).then(|| {
            format!(
                "port {port} looks blocked at this machine: {sites} sites are silent and none \
                 has answered since {since}"
            )
        })
    }

    fn tell_others(&mut self, turn: &mut Turn<'_>, message: impl Fn() -> MeshMessage) {
        let own = self.id;
        for shard in (0..self.shards).map(ShardId).filter(|shard| *shard != own) {
            self.send(turn, shard, message());
        }
    }
}

fn probe_every(way: &Way) -> Duration {
    way.timeouts.connect.min(PROBE_EVERY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Monotonic {
        Monotonic::from_millis(seconds * 1_000)
    }

    #[test]
    fn an_answer_ends_it_and_what_began_before_it_says_nothing() {
        let mut blocked = Blocked::default();
        blocked.heard(s(10));
        blocked.silent(s(40), "a".into(), s(10));
        assert_eq!(blocked.sites.len(), 0, "begun before the answer");
        blocked.silent(s(41), "a".into(), s(11));
        blocked.silent(s(42), "b".into(), s(12));
        blocked.silent(s(43), "b".into(), s(13));
        assert_eq!((blocked.sites.len(), blocked.since), (2, Some(s(11))));
        blocked.heard(s(10));
        assert_eq!(blocked.sites.len(), 2, "told late by another shard");
        blocked.heard(s(44));
        assert_eq!((blocked.sites.len(), blocked.since), (0, None));
        blocked.silent(s(45), "c".into(), s(15));
        assert_eq!(blocked.sites.len(), 0, "told late, too");
    }

    #[test]
    fn what_is_not_tried_again_is_forgotten() {
        let mut blocked = Blocked::default();
        blocked.silent(s(100), "a".into(), s(70));
        blocked.silent(s(1_900), "b".into(), s(1_870));
        assert_eq!((blocked.sites(s(3_699)), blocked.sites(s(3_700))), (2, 1));
        blocked.forget_old(s(3_700));
        assert_eq!(blocked.sites.len(), 1);
        blocked.forget_old(s(9_000));
        assert_eq!((blocked.sites.len(), blocked.since), (0, None));
    }

    #[test]
    fn so_many_sites_are_remembered() {
        let mut blocked = Blocked::default();
        for number in 0..=SITES_MAX {
            blocked.silent(s(100), number.to_string().into(), s(70));
        }
        assert_eq!(blocked.sites.len(), SITES_MAX);
        blocked.silent(s(101), "0".into(), s(71));
        assert_eq!(blocked.sites[&Box::<str>::from("0")], s(101), "those are seen again");
    }
}
