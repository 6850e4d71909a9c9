//! What one shard has counted, or all of them together.

use crate::counters::Counters;
use crate::latency::Latencies;

/// A reading of everything that a shard counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Counts since the start.
    pub counters: Counters,
    /// How long each stage took.
    pub latencies: Latencies,
}

impl Reading {
    /// Adds that of another shard.
    pub fn merge(&mut self, other: Self) {
        self.counters.merge(&other.counters);
        self.latencies.merge(&other.latencies);
    }
}
