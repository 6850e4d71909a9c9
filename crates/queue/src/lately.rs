//! How many recipients a site has taken and refused of late: counts by the
//! minute, ten of them.
//!
//! Invariant: what is told is of the present minute and the nine before it,
//! and of nothing earlier.

use base::Monotonic;

/// Minutes that are told of, the present one included.
const MINUTES: usize = 10;

/// How a recipient's mail ended at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The site took it.
    Delivered,
    /// It was refused for good.
    Failed,
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lately {
    /// The present minute when something was counted last.
    minute: u64,
    counts: [[u32; 2]; MINUTES],
}

impl Lately {
    /// One more.
    pub(crate) fn count(&mut self, now: Monotonic, ended: Ended) {
        let minute = self.turn_to(now);
        let slot = &mut self.counts[minute][ended as usize];
        *slot = slot.saturating_add(1);
    }

    /// Delivered and failed in the last ten minutes.
    pub(crate) fn sums(&self, now: Monotonic) -> [u32; 2] {
        let mut at = self.clone();
        at.turn_to(now);
        let sum =
            |ended: usize| at.counts.iter().fold(0_u32, |sum, c| sum.saturating_add(c[ended]));
        [sum(Ended::Delivered as usize), sum(Ended::Failed as usize)]
    }

    /// Empties the minutes that have passed since; gives the present one's
    /// place.
    fn turn_to(&mut self, now: Monotonic) -> usize {
        let minute = now.as_millis() / 60_000;
        let passed = minute.saturating_sub(self.minute).min(MINUTES as u64);
        for back in 0..passed {
            self.counts[place(minute - back)] = [0; 2];
        }
        self.minute = minute;
        place(minute)
    }
}

fn place(minute: u64) -> usize {
    (minute % MINUTES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_minutes_are_told_and_no_more() {
        let mut lately = Lately::default();
        let at = |minute: u64| Monotonic::from_millis(minute * 60_000 + 59_999);
        lately.count(at(3), Ended::Failed);
        lately.count(at(5), Ended::Delivered);
        lately.count(at(5), Ended::Delivered);
        assert_eq!(lately.sums(at(5)), [2, 1]);
        assert_eq!(lately.sums(at(12)), [2, 1], "the tenth minute");
        assert_eq!(lately.sums(at(13)), [2, 0]);
        assert_eq!(lately.sums(at(15)), [0, 0]);
        lately.count(at(100), Ended::Delivered);
        assert_eq!(lately.sums(at(100)), [1, 0], "what lies long back is gone");
        lately.counts[0][0] = u32::MAX;
        lately.count(at(100), Ended::Delivered);
        assert_eq!(lately.sums(at(100))[0], u32::MAX, "it is full, and no more");
    }
}
