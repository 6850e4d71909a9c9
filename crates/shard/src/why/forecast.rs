//! When the ready mail of a domain or a site has been tried, and when its queue
//! is empty: when the last of the mail that waits in it now is gone. What stands in its
//! way comes first; then `why/drain.rs` reckons with its speed, the turns of
//! others, and what is put off.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Wall;
use control::{OnFailure, Trouble};
use queue::{Counts, DestinationKey, Health, State};
use serde_json::{Value, json};

use super::cause::{Chain, Facts};
use super::drain::{Load, Portion};
use super::speed::{Speed, contended};
use super::{Known, links};
use crate::epoch::Way;
use crate::shard::{Shard, Turn};
use eventlog::rfc3339;

/// Stretches of time in which mail of one queue becomes due that are told
/// apart, with its attempts; they are a second long, and longer where there
/// would be too many.
const DUE_MAX: usize = 512;
/// Attempts beyond this number are not told apart.
const ATTEMPTS_MAX: u16 = 12;
/// What a transaction is taken to last at a site of which nothing is known.
const SERVICE_GUESSED: Duration = Duration::from_secs(1);

/// The mail of one next hop or site, as the walk counted it.
#[derive(Clone, Debug)]
pub(crate) struct Tallied {
    /// The next hop; of a whole site one of them.
    pub(crate) destination: DestinationKey,
    pub(crate) whole: bool,
    pub(crate) counts: Counts,
    pub(crate) oldest: Option<Wall>,
    /// What becomes due in which stretch of time, ready mail in the first of
    /// all, with how many attempts made; and how long a stretch is.
    due: BTreeMap<(u64, u16), Lot>,
    stretch_ms: u64,
    /// What is under way, with how many attempts made.
    under_way: BTreeMap<u16, Lot>,
}

/// So many, of which the longest lifetime ends then.
#[derive(Clone, Copy, Debug, Default)]
struct Lot {
    count: u32,
    ends: Wall,
}

impl Lot {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.ends = self.ends.max(other.ends);
    }
}

impl Tallied {
    pub(crate) fn new(destination: DestinationKey, whole: bool) -> Self {
        Self {
            destination,
            whole,
            counts: Counts::default(),
            oldest: None,
            due: BTreeMap::new(),
            stretch_ms: 1_000,
            under_way: BTreeMap::new(),
        }
    }

    /// Takes one entry in.
    pub(crate) fn count(&mut self, view: &queue::View) {
        self.counts.add(view.state);
        self.oldest = Some(self.oldest.map_or(view.arrived, |old| old.min(view.arrived)));
        let attempts = view.attempts.min(ATTEMPTS_MAX);
        let one = Lot { count: 1, ends: view.expires };
        match view.state {
            State::Held => return,
            State::InFlight => self.under_way.entry(attempts).or_default().add(one),
            State::Ready | State::Deferred => {
                let at = view.next_attempt.map_or(0, Wall::as_millis);
                self.due.entry((at.div_ceil(self.stretch_ms), attempts)).or_default().add(one);
            }
        }
        while self.due.len() > DUE_MAX {
            self.stretch_ms *= 2;
            for ((at, attempts), lot) in std::mem::take(&mut self.due) {
                self.due.entry((at.div_ceil(2), attempts)).or_default().add(lot);
            }
        }
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
        let site = site_key.and_then(|key| self.site_facts(turn, key, known));
        let domain = if queue.whole { String::new() } else { format!("@{name}") };
        let facts = Facts {
            now,
            state: match (ready, deferred) {
                (0, 1..) => State::Deferred,
                _ => State::Ready,
            },
            hold: None,
            next_attempt: row.as_ref().and_then(|row| row.next_attempt),
            answer: Some(reason).filter(|reason| !reason.is_empty()),
            under_way: String::new(),
            stopped: way.as_ref().and_then(|way| self.order_on(turn, way, site_key, &domain)),
            link: way.as_ref().filter(|_| ready > 0).and_then(|way| self.link_wait(turn.now, way)),
            schedule: way.as_ref().and_then(|way| way.schedule.as_deref()),
            ours: self.stopped_itself(),
            look_up: self.look_up_of(turn, queue.destination),
            site,
            ahead: 0,
            others: self.others(queue.destination, way.as_ref(), known),
            speed: way.as_ref().and_then(|way| self.speed(turn, queue.destination, way, known)),
        };
        let chain = Chain::of(&facts);
        let load = way.as_ref().map(|way| self.load_of(queue, way, &facts, &chain));
        let each = load.as_ref().map(|load| load.speed.each().mul_f64(load.turns));
        let carried = load.map(|load| load.carried()).unwrap_or_default();
        let tried = carried.tried.filter(|_| chain.next.is_some());
        let drained = carried.empty.filter(|_| held == 0 && chain.next.is_some());
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
            "tried": tried.map(rfc3339),
            "drained": drained.map(rfc3339),
            "drained_in_ms": drained.map(|at| at.since(now).as_millis() as u64),
        })
    }

    /// The queue as what has to be carried away.
    fn load_of<'w>(
        &self,
        queue: &Tallied,
        way: &'w Way,
        facts: &Facts<'w>,
        chain: &Chain,
    ) -> Load<'w> {
        let Counts { ready, deferred, in_flight, .. } = queue.counts;
        let site_key = self.queue.last_site_of(queue.destination);
        let site = site_key.and_then(|key| self.queue.site(key));
        let own = u64::from((ready + deferred).max(1));
        // The other domains of a site take turns, and the other shards.
        let beside = if queue.whole { 0 } else { self.queue.beside(queue.destination, own) };
        let all = contended(own + beside, &facts.others);
        let portion = |due: Wall, attempts: u16, lot: &Lot| Portion {
            due: due.max(facts.now),
            attempts,
            count: lot.count,
            ends: lot.ends,
        };
        let due = queue.due.iter().map(|((at, attempts), lot)| {
            portion(Wall::from_millis(at * queue.stretch_ms), *attempts, lot)
        });
        let mut due: Vec<Portion> = due.collect();
        let under_way =
            queue.under_way.iter().map(|(attempts, lot)| portion(facts.now, *attempts, lot));
        if queue.due.is_empty() && queue.under_way.is_empty() {
            // Counted without a walk.
            let lot = Lot { count: ready + in_flight, ends: Wall::from_millis(u64::MAX) };
            due.push(portion(facts.now, 0, &lot));
        }
        let trouble = Trouble::of_answer(site.as_ref().and_then(|site| site.reason).unwrap_or(""));
        let retry = way.retry_after.after(trouble).unwrap_or(&way.retry);
        let retried = way.on_failure == OnFailure::Retry;
        let next = facts.site.as_ref().and_then(|site| site.rate.as_ref());
        let guessed = Speed { service: SERVICE_GUESSED, at_once: 1, paced: None, rated: None };
        // Recipients of one message go together.
        let together = site.as_ref().and_then(|site| site.pace).map_or(1.0, |pace| {
            pace.per_entry.as_secs_f64() / pace.per_take.as_secs_f64().max(1e-3)
        });
        Load {
            now: facts.now,
            goes: chain.goes.max(next.map(|rate| rate.next)).unwrap_or(facts.now),
            due,
            under_way: under_way.collect(),
            speed: facts.speed.unwrap_or(guessed),
            turns: all as f64 / own as f64 * together.clamp(0.01, 1.0),
            is_back: site.as_ref().is_some_and(|site| site.health != Health::Up),
            table: facts.schedule,
            put_off: self.queue.put_off_per_mille(site_key),
            waits: if retried { retry.intervals().to_vec() } else { Vec::new() },
            jitter: way.retry.jitter_percent(),
        }
    }
}
