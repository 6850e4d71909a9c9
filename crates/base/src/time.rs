//! Points in time, in milliseconds. There is no `now()` here or anywhere in
//! the core: the caller brings the time along.
//!
//! Two clocks, never mixed: [`Monotonic`] drives every timer and deadline and
//! cannot jump; [`Wall`] is what is stored, logged and printed, and may jump.
//! [`Micros`] is the first of them read more finely, to measure with: nothing
//! is ever due at one.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the monotonic clock, in milliseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

/// A point on the wall clock, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(u64);

/// A point on the monotonic clock, in microseconds since the same start: for
/// how long something took, never for a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(u64);

/// Both clocks, read together by the runtime once per turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timers and deadlines.
    pub mono: Monotonic,
    /// For what is stored, logged and printed.
    pub wall: Wall,
    /// For what is measured.
    pub micros: Micros,
}

macro_rules! point_in_time {
    ($name:ident) => {
        impl $name {
            /// The point `ms` milliseconds after the clock's origin.
            pub const fn from_millis(ms: u64) -> Self {
                Self(ms)
            }

            /// Milliseconds since the clock's origin.
            pub const fn as_millis(self) -> u64 {
                self.0
            }

            /// Time passed since `earlier`; zero when `earlier` is later.
            pub const fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(self.0.saturating_sub(earlier.0))
            }
        }

        /// Saturates: a bound set to "for ever" stays in the future.
        impl Add<Duration> for $name {
            type Output = Self;
            fn add(self, span: Duration) -> Self {
                Self(self.0.saturating_add(millis(span)))
            }
        }

        /// Saturates at the clock's origin.
        impl Sub<Duration> for $name {
            type Output = Self;
            fn sub(self, span: Duration) -> Self {
                Self(self.0.saturating_sub(millis(span)))
            }
        }
    };
}

point_in_time!(Monotonic);
point_in_time!(Wall);

impl Micros {
    /// The point `micros` microseconds after the clock's origin.
    pub const fn new(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Now {
    /// Both clocks, the monotonic one known to the millisecond.
    pub const fn new(mono: Monotonic, wall: Wall) -> Self {
        Self { mono, wall, micros: Micros(mono.0.saturating_mul(1_000)) }
    }

    /// The monotonic point at which the wall clock will show `at`, if it does
    /// not jump; this very moment when `at` has passed.
    pub fn mono_at(self, at: Wall) -> Monotonic {
        self.mono + at.since(self.wall)
    }

    /// The wall time that belongs to the monotonic point `at`; this very
    /// moment when `at` has passed.
    pub fn wall_at(self, at: Monotonic) -> Wall {
        self.wall + at.since(self.mono)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let late = Monotonic::from_millis(u64::MAX - 1);
        assert_eq!(late + Duration::from_secs(9), Monotonic::from_millis(u64::MAX));
        assert_eq!(Wall::from_millis(5) - Duration::from_secs(1), Wall::from_millis(0));
        assert_eq!(Wall::from_millis(5).since(Wall::from_millis(9)), Duration::ZERO);
    }

    #[test]
    fn the_two_clocks_convert_through_now() {
        let now = Now::new(Monotonic::from_millis(100), Wall::from_millis(5_000));
        assert_eq!(now.mono_at(Wall::from_millis(5_250)), Monotonic::from_millis(350));
        assert_eq!(now.mono_at(Wall::from_millis(1)), now.mono);
        assert_eq!(now.wall_at(Monotonic::from_millis(350)), Wall::from_millis(5_250));
        assert_eq!(now.micros.since(Micros::new(99_400)), 600);
        assert_eq!(Micros::new(1).since(now.micros), 0);
    }
}
