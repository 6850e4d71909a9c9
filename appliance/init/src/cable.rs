//! What a port's cable does, out of what the kernel says of it every second: it
//! tells nobody by itself.
//!
//! Never reads the kernel's files. Invariant: whoever looks at the console learns
//! the last state of a cable, and of a loose one no more than [`Quota`] lets
//! through.

use std::time::Duration;

use crate::quota::Quota;

/// A port's cable.
#[derive(Clone, Debug, Default)]
pub struct Cable {
    is_in: bool,
    /// How often it came, by the kernel's count.
    times: u64,
    /// What the console knows; nothing before it came for the first time.
    told: Option<bool>,
    quota: Quota,
}

/// What it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there for the first time.
    Came,
    /// It was away and is back, perhaps in another network.
    Returned,
}

impl Cable {
    /// Whether it is in and how often it came so far, as of `now`: what it has
    /// done since, and a line for the console.
    pub fn look(
        &mut self,
        now: Duration,
        is_in: bool,
        times: u64,
    ) -> (Option<Change>, Option<&'static str>) {
        let was_in = std::mem::replace(&mut self.is_in, is_in);
        let has_come = std::mem::replace(&mut self.times, times) != times;
        let change = match (self.told, is_in && (has_come || !was_in)) {
            (_, false) => None,
            (None, true) => Some(Change::Came),
            (Some(_), true) => Some(Change::Returned),
        };
        (change, self.line(now, is_in, change))
    }

    fn line(&mut self, now: Duration, is_in: bool, change: Option<Change>) -> Option<&'static str> {
        let Some(told) = self.told else {
            // With the machine's start cables come, and without one it says so.
            self.told = is_in.then_some(true);
            return None;
        };
        let was_short = told && is_in && change.is_some();
        if (told == is_in && !was_short) || !self.quota.take(now) {
            return None;
        }
        self.told = Some(is_in);
        Some(match (is_in, self.quota.is_spent()) {
            (false, false) => "the cable is away",
            (true, false) if was_short => "the cable was away for a moment",
            (true, false) => "the cable is back",
            (false, true) => "the cable is away; it is loose, and told of later",
            (true, true) => "the cable is back; it is loose, and told of later",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{LINES_MAX, WINDOW};

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// A cable that came with the start.
    fn plugged() -> Cable {
        let mut cable = Cable::default();
        assert_eq!(cable.look(seconds(1), false, 0), (None, None));
        assert_eq!(cable.look(seconds(3), true, 1), (Some(Change::Came), None));
        assert_eq!(cable.look(seconds(4), true, 1), (None, None));
        cable
    }

    #[test]
    fn a_cable_that_goes_and_comes_again_is_seen_each_time() {
        let mut cable = plugged();
        for (turn, at) in (1_000..9_000).step_by(1_000).enumerate() {
            let times = turn as u64 + 2;
            let away = cable.look(seconds(at), false, times - 1);
            assert_eq!(away, (None, Some("the cable is away")));
            assert_eq!(cable.look(seconds(at + 1), false, times - 1), (None, None));
            let back = cable.look(seconds(at + 2), true, times);
            assert_eq!(back, (Some(Change::Returned), Some("the cable is back")));
            assert_eq!(cable.look(seconds(at + 3), true, times), (None, None));
        }
    }

    #[test]
    fn one_that_was_away_between_two_looks_is_seen_by_the_kernels_count() {
        let mut cable = plugged();
        let back = cable.look(seconds(10), true, 2);
        assert_eq!(back, (Some(Change::Returned), Some("the cable was away for a moment")));
        assert_eq!(cable.look(seconds(11), true, 2), (None, None));
        // A kernel that counts nothing has its state at least.
        cable.look(seconds(12), false, 0);
        assert_eq!(cable.look(seconds(13), true, 0).0, Some(Change::Returned));
    }

    #[test]
    fn a_loose_cable_is_told_of_so_often_and_how_it_is_in_the_end() {
        let mut cable = plugged();
        let (mut lines, mut returns) = (Vec::new(), 0);
        for at in 100..200 {
            let (change, line) = cable.look(seconds(at), at % 2 == 1, at / 2);
            lines.extend(line);
            returns += u32::from(change == Some(Change::Returned));
        }
        assert_eq!(lines.len(), LINES_MAX as usize, "{lines:?}");
        assert!(lines.last().is_some_and(|line| line.contains("loose")), "{lines:?}");
        assert_eq!(returns, 50, "the address is asked for nevertheless");
        // It stays away, and that is said as soon as there are lines again.
        assert_eq!(cable.look(seconds(200), false, 100), (None, None));
        let later = cable.look(seconds(100) + WINDOW, false, 100);
        assert_eq!(later, (None, Some("the cable is away")));
    }

    #[test]
    fn a_port_that_never_had_one_is_silent() {
        let mut cable = Cable::default();
        for at in 0..100 {
            assert_eq!(cable.look(seconds(at), false, 0), (None, None));
        }
    }
}
