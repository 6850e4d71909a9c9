//! Floor 1: numbers about the daemon: what a shard counts and times, and what readers
//! make of that: sums over shards, percentiles, statistics that outlast a start,
//! the last hours, Prometheus's text.
//!
//! Never looks at mail, never asks a clock. Invariants: recording allocates
//! nothing but for a name that is new, and costs a few nanoseconds; everything
//! has a fixed size or a bound; what shards count is never set back, so that
//! any two readings can be subtracted.

mod counters;
mod exposed;
pub mod exposition;
mod histogram;
pub mod history;
mod latency;
mod reading;
pub mod statistics;
mod tally;

pub use counters::Counters;
pub use exposed::Exposed;
pub use histogram::Histogram;
pub use history::History;
pub use latency::{Latencies, STAGES, Stage};
pub use reading::{Load, Place, Reading, States, Waiting};
pub use statistics::{Statistics, Traffic};
pub use tally::{NAME_BYTES_MAX, OUTCOMES, Outcome, Row, Table, Tally};
