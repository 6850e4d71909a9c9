//! How a site's mail goes. Its pace, while there is some: the time between
//! takes, as long as more stood ready after the one before, counted over the
//! last takes in two stretches of which the older is dropped when the younger
//! is full. What a transaction takes. And of the latest attempts, how many were
//! put off: of first ones, of second ones, and so on, because greylisting puts
//! off every first one and a full mailbox every one.
//!
//! Never decides anything: it is for forecasts, which are told to operators.

use std::time::Duration;

use base::Monotonic;

/// Takes of one stretch.
const TAKES_MAX: u32 = 32;
/// A slower site's stretch ends behind so much time, if it has so many takes:
/// what was long ago says little.
const STRETCH_MS: u64 = 300_000;
const TAKES_MIN: u32 = 8;
/// A longer wait is a site that did not go, which says nothing of its pace; nor
/// does what was before it.
const GAP_MAX: Duration = Duration::from_secs(600);

/// Transactions over which their time is averaged.
const SERVED_MAX: u32 = 8;
/// Attempts of one kind after which older ones count half.
const ATTEMPTS_MAX: u16 = 32;

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    old: Stretch,
    new: Stretch,
    last: Monotonic,
    /// Whether more stood ready after the last take.
    more: bool,
    /// Takes of connections that all began together, which come at once.
    opening: u32,
    served: u32,
    service_us: u64,
    mix: Mix,
}

/// Of the latest attempts at a site, how many were put off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    ended: [u16; Mix::KINDS],
    put_off: [u16; Mix::KINDS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    busy_ms: u64,
    takes: u32,
    entries: u32,
    /// The last of its takes.
    last: Monotonic,
}

/// What a site has shown of its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one transaction to the next, over all its connections.
    pub per_take: Duration,
    /// From one recipient to the next.
    pub per_entry: Duration,
    /// Over so many takes.
    pub takes: u32,
    /// When the last transaction began.
    pub last: Monotonic,
}

impl Meter {
    /// So many entries were taken for one transaction, while so many
    /// connections were open or being opened; `more`: others stand ready.
    pub(crate) fn taken(&mut self, now: Monotonic, entries: u32, more: bool, open: u32) {
        let gap = now.since(self.last);
        for stretch in [&mut self.old, &mut self.new] {
            if now.since(stretch.last) > GAP_MAX {
                *stretch = Stretch::default();
            }
        }
        if self.more && self.opening == 0 && gap <= GAP_MAX {
            self.new.busy_ms += gap.as_millis() as u64;
            self.new.takes += 1;
            self.new.entries = self.new.entries.saturating_add(entries);
            self.new.last = now;
        }
        self.opening = if self.more { self.opening } else { open }.saturating_sub(1);
        let long = self.new.busy_ms >= STRETCH_MS && self.new.takes >= TAKES_MIN;
        if long || self.new.takes >= TAKES_MAX {
            self.old = std::mem::take(&mut self.new);
        }
        (self.last, self.more) = (now, more);
    }

    /// The site does not go for a while: the wait until the next take is no
    /// gap.
    pub(crate) fn rests(&mut self) {
        self.more = false;
    }

    /// A transaction was brought to its end, and took so long.
    pub(crate) fn served(&mut self, micros: u64) {
        self.served = (self.served + 1).min(SERVED_MAX);
        let parts = u64::from(self.served);
        // Rounded up, or a mean of small numbers would never rise.
        self.service_us = (self.service_us * (parts - 1) + micros).div_ceil(parts);
    }

    /// An attempt, with so many before it, has ended.
    pub(crate) fn attempted(&mut self, before: u16, put_off: bool) {
        self.mix.add(before, put_off);
    }

    /// What a transaction takes, in the mean of the latest; `None` before any.
    pub(crate) fn service(&self) -> Option<Duration> {
        (self.served > 0).then(|| Duration::from_micros(self.service_us))
    }

    pub(crate) fn mix(&self) -> Mix {
        self.mix
    }

    /// `None` while too little has gone.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let takes = self.old.takes + self.new.takes;
        let entries = self.old.entries.saturating_add(self.new.entries);
        let busy_ms = self.old.busy_ms + self.new.busy_ms;
        let per = |count: u32| Duration::from_micros(busy_ms * 1_000 / u64::from(count.max(1)));
        let (per_take, per_entry) = (per(takes), per(entries));
        (takes > 0).then_some(Pace { per_take, per_entry, takes, last: self.last })
    }
}

impl Mix {
    /// First attempts, second ones and so on, and all others.
    pub const KINDS: usize = 4;
    /// Attempts elsewhere count as so many here.
    const PRIOR: u32 = 2;

    /// One attempt more, with so many before it.
    pub fn add(&mut self, before: u16, put_off: bool) {
        let kind = usize::from(before).min(Self::KINDS - 1);
        let count = if put_off { &mut self.put_off } else { &mut self.ended };
        count[kind] += 1;
        if self.ended[kind] + self.put_off[kind] > ATTEMPTS_MAX {
            self.ended[kind] /= 2;
            self.put_off[kind] /= 2;
        }
    }

    /// Of a thousand attempts with so many before each, how many are put off.
    /// Of first ones to judge by the latest alone, none where there were none;
    /// of later ones as if two more had gone as they do elsewhere, by
    /// `all`, where half are taken to be put off before anything is known.
    pub fn put_off_per_mille(&self, all: &Self) -> [u32; Self::KINDS] {
        let of = |mix: &Self, kind: usize, more: u32, as_many: u32| {
            let (put_off, ended) = (u32::from(mix.put_off[kind]), u32::from(mix.ended[kind]));
            (put_off * 1_000 + more * as_many) / (put_off + ended + more).max(1)
        };
        let mut elsewhere = 500;
        std::array::from_fn(|kind| match kind {
            0 => of(self, 0, 0, 0),
            _ => {
                elsewhere = of(all, kind, 1, elsewhere);
                of(self, kind, Self::PRIOR, elsewhere)
            }
        })
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
            meter.taken(at(now), 2, true, 1);
            now += 300;
        }
        let pace = meter.pace().unwrap();
        assert_eq!((pace.per_take, pace.per_entry), (ms(300), ms(150)));
        for _ in 0..3 * TAKES_MAX {
            meter.taken(at(now), 1, true, 1);
            now += 20;
        }
        assert_eq!(meter.pace().unwrap().per_take, ms(20));
    }

    /// Three connections that begin together take at once; that is no pace.
    #[test]
    fn the_first_takes_of_connections_are_no_pace() {
        let mut meter = Meter::default();
        for round in 0..6 {
            (0..3).for_each(|_| meter.taken(at(round * 3_000), 1, true, 3));
        }
        let pace = meter.pace().unwrap();
        assert_eq!((pace.per_take, pace.takes), (ms(1_000), 15));
    }

    /// A site that grows slow is known for it within minutes.
    #[test]
    fn a_slow_stretch_does_not_last_for_ever() {
        let mut meter = Meter::default();
        let mut now = 0;
        for _ in 0..200 {
            meter.taken(at(now), 1, true, 1);
            now += 1_000;
        }
        for _ in 0..2 * (300_000 / 25_000) + 1 {
            meter.taken(at(now), 1, true, 1);
            now += 25_000;
        }
        assert_eq!(meter.pace().unwrap().per_take, ms(25_000));
    }

    #[test]
    fn what_transactions_take_follows_the_latest() {
        let mut meter = Meter::default();
        assert_eq!(meter.service(), None);
        meter.served(3_000_000);
        assert_eq!(meter.service(), Some(ms(3_000)));
        meter.served(1_000_000);
        assert_eq!(meter.service(), Some(ms(2_000)));
        (0..200).for_each(|_| meter.served(9_000_000));
        let service = meter.service().unwrap();
        assert!((ms(8_990)..=ms(9_001)).contains(&service), "{service:?}");
    }

    #[test]
    fn first_attempts_are_told_from_later_ones_and_old_ones_fade() {
        let (mut mix, nobody) = (Mix::default(), Mix::default());
        assert_eq!(mix.put_off_per_mille(&nobody), [0, 500, 500, 500], "nobody knows");
        for _ in 0..1_000 {
            mix.add(0, true);
            mix.add(1, false);
            mix.add(u16::MAX, true);
        }
        let shares = mix.put_off_per_mille(&nobody);
        assert!(shares[0] == 1_000 && shares[1] < 80 && shares[3] > 950, "{shares:?}");
        let fresh = Mix::default().put_off_per_mille(&mix);
        assert!(fresh[0] == 0 && fresh[1] < 50 && fresh[3] > 960, "as elsewhere: {fresh:?}");
        (0..100).for_each(|_| mix.add(0, false));
        assert!(mix.put_off_per_mille(&nobody)[0] < 60, "{mix:?}");
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn time_without_mail_and_time_at_rest_are_no_part_of_it() {
        let mut meter = Meter::default();
        meter.taken(at(0), 1, false, 1);
        assert_eq!(meter.pace(), None, "nothing to compare with");
        meter.taken(at(90_000), 1, true, 1);
        assert_eq!(meter.pace(), None, "nothing stood ready in between");
        meter.taken(at(90_500), 1, true, 1);
        meter.rests();
        meter.taken(at(200_000), 1, true, 1);
        meter.taken(at(200_500), 1, true, 1);
        assert_eq!(meter.pace().unwrap().per_take, ms(500));
        assert_eq!(meter.pace().unwrap().last, at(200_500));
        meter.taken(at(2_000_000), 1, true, 1);
        assert_eq!(meter.pace(), None, "too long ago");
    }
}
