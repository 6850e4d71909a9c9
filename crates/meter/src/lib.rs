//! Floor 1: numbers about the daemon: what a shard counts and times, and what readers
//! make of that: sums over shards, percentiles.
//!
//! Never looks at mail, never asks a clock. Invariants: recording allocates
//! nothing and costs a few nanoseconds; everything has a fixed size or a bound;
//! nothing is ever set back, so that any two readings can be subtracted.

mod counters;
mod histogram;
mod latency;
mod reading;

pub use counters::Counters;
pub use histogram::{BUCKETS, Histogram};
pub use latency::{Latencies, STAGES, Stage};
pub use reading::Reading;
