//! How fast a site's mail goes, while there is some: the time between takes, as
//! long as more stood ready after the one before. Counted over the last takes,
//! in two stretches of which the older is dropped when the younger is full.
//!
//! Never decides anything: it is for forecasts, which are told to operators.

use std::time::Duration;

use base::Monotonic;

/// Takes of one stretch.
const TAKES_MAX: u32 = 64;
/// A longer wait is a site that did not go, which says nothing of its pace.
const GAP_MAX: Duration = Duration::from_secs(600);

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    old: Stretch,
    new: Stretch,
    last: Monotonic,
    /// Whether more stood ready after the last take.
    more: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    busy_ms: u64,
    takes: u32,
    entries: u32,
}

/// What a site has shown of its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one transaction to the next, over all its connections.
    pub per_take: Duration,
    /// From one recipient to the next.
    pub per_entry: Duration,
    /// When the last transaction began.
    pub last: Monotonic,
}

impl Meter {
    /// So many entries were taken for one transaction; `more`: others stand
    /// ready.
    pub(crate) fn taken(&mut self, now: Monotonic, entries: u32, more: bool) {
        let gap = now.since(self.last);
        if self.more && gap <= GAP_MAX {
            self.new.busy_ms += gap.as_millis() as u64;
            self.new.takes += 1;
            self.new.entries = self.new.entries.saturating_add(entries);
        }
        if self.new.takes >= TAKES_MAX {
            self.old = std::mem::take(&mut self.new);
        }
        (self.last, self.more) = (now, more);
    }

    /// The site does not go for a while: the wait until the next take is no
    /// gap.
    pub(crate) fn rests(&mut self) {
        self.more = false;
    }

    /// `None` while too little has gone.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let takes = self.old.takes + self.new.takes;
        let entries = self.old.entries.saturating_add(self.new.entries);
        let busy_ms = self.old.busy_ms + self.new.busy_ms;
        let per = |count: u32| Duration::from_micros(busy_ms * 1_000 / u64::from(count.max(1)));
        (takes > 0).then(|| Pace { per_take: per(takes), per_entry: per(entries), last: self.last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    #[test]
    fn a_steady_pace_is_found_and_a_new_one_replaces_it() {
        let mut meter = Meter::default();
        let mut now = 5_000;
        for _ in 0..100 {
            meter.taken(at(now), 2, true);
            now += 300;
        }
        let pace = meter.pace().unwrap();
        assert_eq!((pace.per_take, pace.per_entry), (ms(300), ms(150)));
        for _ in 0..3 * TAKES_MAX {
            meter.taken(at(now), 1, true);
            now += 20;
        }
        assert_eq!(meter.pace().unwrap().per_take, ms(20));
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn time_without_mail_and_time_at_rest_are_no_part_of_it() {
        let mut meter = Meter::default();
        meter.taken(at(0), 1, false);
        assert_eq!(meter.pace(), None, "nothing to compare with");
        meter.taken(at(90_000), 1, true);
        assert_eq!(meter.pace(), None, "nothing stood ready in between");
        meter.taken(at(90_500), 1, true);
        meter.rests();
        meter.taken(at(200_000), 1, true);
        meter.taken(at(200_500), 1, true);
        meter.taken(at(2_000_000), 1, true);
        assert_eq!(meter.pace().unwrap().per_take, ms(500));
        assert_eq!(meter.pace().unwrap().last, at(2_000_000));
    }
}
