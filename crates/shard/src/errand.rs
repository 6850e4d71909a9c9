//! Errands: what a shard has done beside its own work by whoever may wait,
//! programs above all. Each is asked for once and answered once.

use std::time::Duration;

use control::Program;

/// One errand; answered by `Event::Ran`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// What to run.
    pub program: Program,
    /// Killed then, with all that it has started. Counts from its start.
    pub timeout: Duration,
    /// What of its output is kept.
    pub output: Output,
    /// It goes on when the daemon ends before it.
    pub outlives: bool,
}

/// What is kept of a program's output; at most [`OUTPUT_BYTES_MAX`], the rest
/// is read and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// What it writes and what it complains about, as it comes.
    All,
    /// What it writes; complaints are dropped unread.
    Written,
}

/// Most octets kept of what a program wrote.
pub const OUTPUT_BYTES_MAX: usize = 16 << 10;
