//! When the queue of a domain or a site is empty, if it goes on as it goes:
//! what stands in its way first, then its pace, or its rate where that is less.

use base::Wall;
use queue::{Counts, DestinationKey};
use serde_json::{Value, json};

use super::cause::{Chain, Facts, LookUp, times};
use super::{Known, links};
use crate::shard::{Shard, Turn};
use eventlog::rfc3339;

/// The mail of one next hop or site, as the walk counted it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tallied {
    /// The next hop; of a whole site one of them.
    pub(crate) destination: DestinationKey,
    pub(crate) whole: bool,
    pub(crate) counts: Counts,
    /// The last of its next attempts.
    pub(crate) last_due: Option<Wall>,
    pub(crate) oldest: Option<Wall>,
}

impl Tallied {
    pub(crate) fn new(destination: DestinationKey, whole: bool) -> Self {
        Self { destination, whole, counts: Counts::default(), last_due: None, oldest: None }
    }

    /// Takes one entry in.
    pub(crate) fn count(&mut self, view: &queue::View) {
        self.counts.add(view.state);
        self.last_due = self.last_due.max(view.next_attempt);
        self.oldest = Some(self.oldest.map_or(view.arrived, |old| old.min(view.arrived)));
    }
}

impl Shard {
    /// One queue with what keeps it and when it is empty.
    pub(super) fn forecast(&self, turn: &Turn<'_>, queue: &Tallied, known: &Known) -> Value {
        let now = turn.now.wall;
        let way = self.way_of(queue.destination);
        let site_key = self.queue.site_of(queue.destination);
        let hop = self.queue.destination(queue.destination);
        let name: Box<str> = hop.map_or("".into(), |(hop, _)| hop.name.into());
        let row = self.queue.row_of(turn.now, queue.destination);
        let reason = row.as_ref().and_then(|row| row.reason.as_deref()).unwrap_or("").to_owned();
        let Counts { ready, deferred, in_flight, held } = queue.counts;
        let site = site_key.and_then(|key| self.site_facts(turn, key, 0, known));
        let domain = if queue.whole { String::new() } else { format!("@{name}") };
        let facts = Facts {
            now,
            state: match (ready, deferred) {
                (0, 1..) => queue::State::Deferred,
                _ => queue::State::Ready,
            },
            hold: None,
            next_attempt: row.as_ref().and_then(|row| row.next_attempt),
            answer: Some(reason.clone()).filter(|reason| !reason.is_empty()),
            under_way: String::new(),
            stopped: way.as_ref().and_then(|way| self.order_on(turn, way, site_key, &domain)),
            link: way.as_ref().filter(|_| ready > 0).and_then(|way| self.link_wait(turn.now, way)),
            schedule: way.as_ref().and_then(|way| way.schedule.as_deref()),
            ours: self.stopped_itself(),
            look_up: match row.map(|row| row.status) {
                Some(queue::Status::LookupFailed(until)) => LookUp::Failed(until, reason),
                Some(queue::Status::LookingUp) => LookUp::UnderWay,
                Some(queue::Status::Rejected) => LookUp::Rejected(reason),
                _ => LookUp::Known,
            },
            site,
        };
        let chain = Chain::of(&facts);
        let pace = site_key.and_then(|key| self.queue.site(key)).and_then(|site| site.pace);
        // What each recipient takes; the other domains of the site take turns.
        let turns = if queue.whole { 1 } else { self.turns_at(site_key) };
        let shown = pace.map(|pace| pace.per_entry * turns);
        let allowed = facts.site.as_ref().and_then(|site| Some(site.rate.as_ref()?.pace));
        let each = shown.into_iter().chain(allowed).max();
        let left = u64::from(ready + in_flight);
        let gone = chain.next.zip(each).map(|(next, each)| next + times(each, left));
        let drained = match (gone, queue.last_due) {
            (Some(gone), Some(last)) => Some(gone.max(last)),
            (None, last) if left == 0 => last,
            (gone, _) => gone,
        };
        let drained = drained.filter(|_| held == 0 && chain.next.is_some());
        json!({
            "name": if queue.whole { None } else { Some(name) },
            "site": site_key.and_then(|key| self.queue.site(key)).map(|site| site.name),
            "shard": self.id.0,
            "ready": ready,
            "deferred": deferred,
            "in_flight": in_flight,
            "held": held,
            "oldest": queue.oldest.map(rfc3339),
            "cause": chain.binding().cause,
            "because": chain.binding().words,
            "next_attempt": chain.next.map(rfc3339),
            "chain": links(&chain),
            "per_hour": each.map(|each| 3_600_000_000 / each.as_micros().max(1) as u64),
            "limits": facts.site.as_ref().map(super::facts::limits_of),
            "drained": drained.map(rfc3339),
            "drained_in_ms": drained.map(|at| at.since(now).as_millis() as u64),
        })
    }

    /// Next hops with ready mail that take turns at a site; at least 1.
    fn turns_at(&self, site: Option<queue::SiteKey>) -> u32 {
        site.map_or(1, |site| self.queue.turns_at(site)).max(1)
    }
}
