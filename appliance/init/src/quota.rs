//! How many lines one thing may have on the console in a while, so that a loose
//! cable or a neighbour gone mad hides nothing else.
//!
//! Never reads a clock.

use std::time::Duration;

/// Lines in one [`WINDOW`].
pub const LINES_MAX: u32 = 6;
/// A while: it begins with its first line.
pub const WINDOW: Duration = Duration::from_secs(600);

/// What is left of one thing's lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quota {
    began: Duration,
    taken: u32,
}

impl Quota {
    /// Whether a line may be said at `now`; then it counts.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.taken == 0 || now.saturating_sub(self.began) >= WINDOW {
            (self.began, self.taken) = (now, 0);
        }
        let may = self.taken < LINES_MAX;
        self.taken += u32::from(may);
        may
    }

    /// Whether the line just taken was the last one of its while.
    pub fn is_spent(&self) -> bool {
        self.taken >= LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_while_has_so_many_lines_and_the_next_one_as_many() {
        let mut quota = Quota::default();
        let first = Duration::from_secs(5_000);
        let said = |quota: &mut Quota, from: Duration| {
            (0..100).filter(|ms| quota.take(from + Duration::from_millis(*ms))).count()
        };
        assert_eq!(said(&mut quota, first), LINES_MAX as usize);
        assert!(quota.is_spent());
        assert!(!quota.take(first + WINDOW - Duration::from_millis(1)));
        assert_eq!(said(&mut quota, first + WINDOW), LINES_MAX as usize);
    }

    #[test]
    fn what_happens_now_and_then_is_always_said() {
        let mut quota = Quota::default();
        for at in (0..100_000).step_by(120) {
            assert!(quota.take(Duration::from_secs(at)));
        }
    }
}
