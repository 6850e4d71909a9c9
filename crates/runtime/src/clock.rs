//! The only reader of the clocks. Monotonic time is `CLOCK_MONOTONIC` counted
//! from the start of the program, wall time is the system's.
//!
//! Invariant: monotonic time never goes back, and is the same for all copies
//! of one [`Clock`], on whatever thread.

use std::time::{Duration, Instant, SystemTime};

use base::{Micros, Monotonic, Now, Wall};

/// A clock that counts from its making; copies count from the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose monotonic origin is one second ago, so that zero is
    /// always in the past.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// Both clocks, read together. A wall clock set before 1970 counts as 0.
    pub fn now(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let wall = Wall::from_millis(0) + since_1970.unwrap_or_default();
        let passed = self.origin.elapsed();
        let micros = Micros::new(u64::try_from(passed.as_micros()).unwrap_or(u64::MAX));
        Now { mono: Monotonic::from_millis(0) + passed, wall, micros }
    }

    /// Time that this thread has spent on a processor.
    pub fn thread_time() -> Micros {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(spent.tv_sec).unwrap_or_default();
        let micros = u64::try_from(spent.tv_nsec).unwrap_or_default() / 1_000;
        Micros::new(seconds.saturating_mul(1_000_000).saturating_add(micros))
    }

    /// How long until `at`; zero when it has passed. Rounded up to the next
    /// millisecond, so that a timer set for it never fires early.
    pub fn until(&self, at: Monotonic) -> Duration {
        let passed = self.origin.elapsed();
        Duration::from_millis(at.as_millis()).saturating_sub(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: B31
    #[test]
    fn both_clocks_move_forward_together() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first.mono >= Monotonic::from_millis(1_000));
        assert!(first.wall > Wall::from_millis(1_700_000_000_000));
        let second = clock.now();
        assert!(second.mono >= first.mono && second.micros >= first.micros);
        assert_eq!(second.micros.since(Micros::new(0)) / 1_000, second.mono.as_millis());
        assert_eq!(clock.until(Monotonic::from_millis(0)), Duration::ZERO);
        let later = clock.until(second.mono + Duration::from_secs(60));
        assert!(later > Duration::from_secs(50), "{later:?}");
        assert!(later <= Duration::from_secs(60), "{later:?}");
    }
}
