//! The stages of a message's way that are timed, and their histograms.

use crate::histogram::Histogram;

/// A stage of a message's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From the first command of a transaction to its 250.
    Accept,
    /// One sync of a segment.
    Sync,
    /// From arrival to the first transaction with a next hop. Arrival is
    /// stored, in milliseconds, so this is as coarse.
    Queue,
    /// One look-up of where a next hop leads, where it was not known already.
    Dns,
    /// From dialling to a connection, through a proxy if there is one.
    Connect,
    /// One handshake with a next hop.
    Tls,
    /// From MAIL to the last verdict of a transaction.
    Deliver,
    /// From arrival to delivery, recipient by recipient; as coarse as `Queue`.
    EndToEnd,
}

/// All stages, in the order of the way.
pub const STAGES: [Stage; 8] = [
    Stage::Accept,
    Stage::Sync,
    Stage::Queue,
    Stage::Dns,
    Stage::Connect,
    Stage::Tls,
    Stage::Deliver,
    Stage::EndToEnd,
];

impl Stage {
    /// What it is called, in answers and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Sync => "sync",
            Self::Queue => "queue",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Deliver => "deliver",
            Self::EndToEnd => "end_to_end",
        }
    }
}

/// How long each stage took: 290 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    stages: [Histogram; STAGES.len()],
}

impl Latencies {
    /// One more, in microseconds.
    pub fn record(&mut self, stage: Stage, micros: u64) {
        self.stages[stage as usize].record(micros);
    }

    /// Those of one stage.
    pub fn of(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }

    /// Adds those of another shard.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.stages.iter_mut().zip(&other.stages) {
            own.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_stand_in_their_order_and_are_kept_apart() {
        let mut latencies = Latencies::default();
        for (at, stage) in STAGES.into_iter().enumerate() {
            assert_eq!(stage as usize, at);
            (0..=at).for_each(|_| latencies.record(stage, 7));
        }
        let mut twice = latencies.clone();
        twice.merge(&latencies);
        for (at, stage) in STAGES.into_iter().enumerate() {
            assert_eq!(latencies.of(stage).count(), at as u64 + 1, "{}", stage.name());
            assert_eq!(twice.of(stage).count(), 2 * (at as u64 + 1));
        }
    }
}
