//! Times that several processes of one machine agree on: nanoseconds of the
//! kernel's monotonic clock.
//!
//! Never the time of day, which may jump while a run is measured.

use std::time::Instant;

/// Looks of which the best is taken: a process can be put aside between two
/// reads, hardly between each two of so many.
const LOOKS: usize = 8;

/// Turns [`Instant`]s of this process into what all processes understand.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    here: Instant,
    nanos: u64,
}

impl Clock {
    /// A clock that is right to the few nanoseconds between two reads of it: of
    /// several looks the one that was interrupted least counts.
    pub fn new() -> Self {
        let look = || {
            let (before, here, after) = (nanos(), Instant::now(), nanos());
            (after - before, Self { here, nanos: before.midpoint(after) })
        };
        let looks = (0..LOOKS).map(|_| look());
        looks.min_by_key(|(width, _)| *width).expect("there is at least one look").1
    }

    /// Nanoseconds at `instant`.
    pub fn at(&self, instant: Instant) -> u64 {
        let before = self.here.saturating_duration_since(instant).as_nanos() as u64;
        let behind = instant.saturating_duration_since(self.here).as_nanos() as u64;
        (self.nanos + behind).saturating_sub(before)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Nanoseconds now.
pub fn nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn instants_on_both_sides_are_placed() {
        let before = nanos();
        let clock = Clock::new();
        let now = clock.here;
        assert!(clock.at(now) >= before);
        let later = now + Duration::from_millis(3);
        assert_eq!(clock.at(later) - clock.at(now), 3_000_000);
        let Some(earlier) = now.checked_sub(Duration::from_millis(2)) else { return };
        assert_eq!(clock.at(now) - clock.at(earlier), 2_000_000);
    }
}
