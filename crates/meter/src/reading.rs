//! What one shard has counted, or all of them together.

use std::sync::Arc;

use base::{Micros, ShardId, Wall};

use crate::counters::Counters;
use crate::latency::Latencies;
use crate::statistics::Traffic;

/// A reading of what shards count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Counts since the start.
    pub counters: Counters,
    /// How long each stage took.
    pub latencies: Latencies,
    /// What each shard has to do, in no certain order.
    pub loads: Vec<Load>,
    /// Where mail waits; only where it was asked for.
    pub waiting: Waiting,
    /// What became of recipients since the last taking; only where it was asked
    /// for.
    pub traffic: Option<Traffic>,
}

/// What one shard has to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Which shard.
    pub shard: ShardId,
    /// Messages written by it that are not done.
    pub messages: u64,
    /// Octets of those.
    pub bytes: u64,
    /// Recipients that it delivers, by state.
    pub queued: States,
    /// Sessions with clients.
    pub clients: u64,
    /// Connections to next hops, those that are being made too.
    pub connections: u64,
    /// Sites and next hops that it knows.
    pub sites: u64,
    /// See `sites`.
    pub next_hops: u64,
    /// Mail domains and hosts that it has an answer about.
    pub names_known: u64,
    /// Octets of messages under way from clients.
    pub intake_bytes: u64,
    /// Room on the disk; the least of all counts.
    pub free_bytes: u64,
    /// Whether storage takes mail.
    pub stores: bool,
    /// Whether recovered mail is all handed out.
    pub resumed: bool,
    /// Whether it takes nothing new, for the daemon ends.
    pub draining: bool,
    /// Time that its thread has been at work since its start.
    pub busy: Micros,
}

/// Waiting recipients by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Waiting for their turn.
    pub ready: u64,
    /// Waiting for their time.
    pub deferred: u64,
    /// On their way.
    pub in_flight: u64,
    /// Waiting for an operator.
    pub held: u64,
}

/// Where mail waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The sites with the most mail.
    pub sites: Vec<Place>,
    /// The next hops with the most mail.
    pub domains: Vec<Place>,
    /// Arrival of the oldest of all.
    pub oldest: Option<Wall>,
}

/// One place where mail waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: Arc<str>,
    /// How much.
    pub queued: States,
    /// Arrival of the oldest, or a little before.
    pub oldest: Option<Wall>,
}

impl Reading {
    /// Adds that of another shard.
    pub fn merge(&mut self, other: Self) {
        self.counters.merge(&other.counters);
        self.latencies.merge(&other.latencies);
        self.loads.extend(other.loads);
        self.waiting.merge(other.waiting);
        match (&mut self.traffic, other.traffic) {
            // The hour does not matter to what is only counted.
            (Some(own), Some(more)) => own.absorb(&more, 0),
            (own @ None, more) => *own = more,
            (Some(_), None) => {}
        }
    }

    /// Recipients that wait, on all shards.
    pub fn queued(&self) -> States {
        let mut sum = States::default();
        self.loads.iter().for_each(|load| sum.add(&load.queued));
        sum
    }

    /// A sum over all shards.
    pub fn sum(&self, of: impl Fn(&Load) -> u64) -> u64 {
        self.loads.iter().map(of).sum()
    }
}

impl States {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.deferred += other.deferred;
        self.in_flight += other.in_flight;
        self.held += other.held;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.ready + self.deferred + self.in_flight + self.held
    }

    /// Each by its name.
    pub fn each(&self) -> [(&'static str, u64); 4] {
        [
            ("ready", self.ready),
            ("deferred", self.deferred),
            ("in_flight", self.in_flight),
            ("held", self.held),
        ]
    }

    /// What is left of them without some.
    pub fn without(&self, some: &Self) -> Self {
        Self {
            ready: self.ready.saturating_sub(some.ready),
            deferred: self.deferred.saturating_sub(some.deferred),
            in_flight: self.in_flight.saturating_sub(some.in_flight),
            held: self.held.saturating_sub(some.held),
        }
    }
}

impl Waiting {
    fn merge(&mut self, other: Self) {
        merge_places(&mut self.sites, other.sites);
        merge_places(&mut self.domains, other.domains);
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
    }
}

/// Joins places of one name, the fullest first.
fn merge_places(into: &mut Vec<Place>, from: Vec<Place>) {
    into.extend(from);
    into.sort_by(|a, b| a.name.cmp(&b.name));
    into.dedup_by(|next, first| {
        let same = next.name == first.name;
        if same {
            first.queued.add(&next.queued);
            first.oldest = first.oldest.into_iter().chain(next.oldest).min();
        }
        same
    });
    into.sort_by_key(|place| std::cmp::Reverse(place.queued.total()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Kind;
    use crate::tally::Outcome;

    fn place(name: &str, ready: u64, oldest: u64) -> Place {
        let queued = States { ready, ..States::default() };
        Place { name: name.into(), queued, oldest: Some(Wall::from_millis(oldest)) }
    }

    #[test]
    fn readings_of_shards_add_up() {
        let one = |shard: u16, sites: Vec<Place>| {
            let mut reading = Reading::default();
            let queued = States { ready: 2, held: 1, ..States::default() };
            let shard = ShardId(shard);
            reading.loads.push(Load { shard, bytes: 10, queued, ..Load::default() });
            reading.waiting = Waiting { oldest: sites[0].oldest, sites, domains: Vec::new() };
            let mut traffic = Traffic::new(0);
            traffic.count(Kind::Site, "b", Outcome::Failed);
            reading.traffic = Some(traffic);
            reading
        };
        let mut sum = one(0, vec![place("b", 5, 70)]);
        sum.merge(one(1, vec![place("a", 7, 90), place("b", 3, 60)]));
        sum.merge(Reading::default());
        assert_eq!((sum.queued().total(), sum.sum(|load| load.bytes)), (6, 20));
        assert_eq!(sum.waiting.sites, [place("b", 8, 60), place("a", 7, 90)]);
        assert_eq!(sum.waiting.oldest, Some(Wall::from_millis(70)));
        let traffic = sum.traffic.as_ref().unwrap();
        assert_eq!(traffic.of(Kind::Site).rows()[0].tally.of(Outcome::Failed), 2);
        let left = sum.queued().without(&States { ready: 9, ..States::default() });
        assert_eq!(left, States { held: 2, ..States::default() });
    }
}
