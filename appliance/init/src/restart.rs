//! When a daemon that ended is started again: soon, then later, and after too
//! many ends in a row not at all, because then the machine starts anew.
//!
//! Never starts anything. At most [`ENDS_MAX`] ends are remembered.

use std::collections::VecDeque;
use std::time::Duration;

/// Ends within [`WINDOW`] after which only a new start of the machine is left;
/// before the image was found good that is a failed boot of it.
pub const ENDS_MAX: usize = 5;
/// How long an end counts.
pub const WINDOW: Duration = Duration::from_secs(600);
/// The wait after the first end of a row; each further one waits twice as long.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The latest ends of the daemon.
#[derive(Clone, Debug, Default)]
pub struct Ends(VecDeque<Duration>);

/// What is done about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Start it again at this time since the machine's start.
    StartAt(Duration),
    /// Start the machine anew.
    Reboot,
}

impl Ends {
    /// The daemon ended at `now`, which never goes back.
    pub fn ended(&mut self, now: Duration) -> Next {
        while self.0.front().is_some_and(|end| *end + WINDOW <= now) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        if self.0.len() >= ENDS_MAX {
            self.0.clear();
            return Next::Reboot;
        }
        let doublings = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX);
        Next::StartAt(now + FIRST_WAIT * 2u32.saturating_pow(doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn waits_grow_and_the_fifth_end_is_one_too_many() {
        let mut ends = Ends::default();
        let mut now = seconds(10);
        for wait in [1, 2, 4, 8] {
            assert_eq!(ends.ended(now), Next::StartAt(now + seconds(wait)));
            now += seconds(wait);
        }
        assert_eq!(ends.ended(now), Next::Reboot);
    }

    #[test]
    fn an_end_now_and_then_never_adds_up() {
        let mut ends = Ends::default();
        for number in 1..1_000 {
            let now = WINDOW * number;
            assert_eq!(ends.ended(now), Next::StartAt(now + FIRST_WAIT));
        }
        assert_eq!(ends.0.len(), 1);
    }
}
