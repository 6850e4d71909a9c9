//! So many in a window of time that begins with the first.

use std::time::Duration;

use base::Monotonic;

/// How often since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) since: Monotonic,
    pub(crate) count: u32,
}

impl Window {
    /// One that begins now, with nothing in it.
    pub(crate) fn new(now: Monotonic) -> Self {
        Self { since: now, count: 0 }
    }

    /// Begins anew when the time is over.
    pub(crate) fn advance(&mut self, now: Monotonic, per: Duration) {
        if now >= self.since + per {
            *self = Self::new(now);
        }
    }
}
