//! How long something took, over all times it happened: counts in buckets of
//! fixed bounds, 32 to each doubling, so that a percentile is right within
//! 1 part in 32.
//!
//! Fixed buckets instead of a library's histogram that grows and has digits to
//! choose: their place is a shift and an addition, they lie in one array that
//! is there from the start, and those of two shards or of two moments add and
//! subtract bucket by bucket. Never forgets; a reader that wants the last
//! minute subtracts an earlier reading.

/// Bits of a value that tell buckets apart: 32 to a doubling.
const DIGITS: u32 = 5;
/// Values of so many bits and more share the last bucket: above 50 days.
const BITS_MAX: u32 = 42;
/// Buckets of a histogram.
pub const BUCKETS: usize = ((BITS_MAX - DIGITS + 1) << DIGITS) as usize;

/// Microseconds, counted by their size: 10 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    /// Of all values.
    sum: u64,
    /// The largest.
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), sum: 0, max: 0 }
    }
}

impl Histogram {
    /// One more, in microseconds.
    pub fn record(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest, in microseconds; 0 where there was none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// What `share` of 1 000 of them did not pass, in microseconds, as the end
    /// of their bucket and never more than the largest; `None` where there was
    /// none.
    pub fn permille(&self, share: u64) -> Option<u64> {
        let count = self.count();
        let wanted = (u128::from(count) * u128::from(share.min(1_000))).div_ceil(1_000).max(1);
        let mut counted = 0u128;
        for (at, count) in self.counts.iter().enumerate() {
            counted += u128::from(*count);
            if counted >= wanted && counted > 0 {
                return Some(last_of(at).min(self.max));
            }
        }
        None
    }

    /// How many took no longer than `micros`, as far as buckets tell: one that
    /// reaches beyond it is left out.
    pub fn within(&self, micros: u64) -> u64 {
        let whole = bucket(micros.saturating_add(1));
        self.counts[..whole].iter().sum()
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *own += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// What came since an earlier reading of the same. Of the largest only the
    /// bucket is known.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = Box::new([0; BUCKETS]);
        let pairs = self.counts.iter().zip(earlier.counts.iter());
        let mut last = None;
        for (at, (new, (now, before))) in counts.iter_mut().zip(pairs).enumerate() {
            *new = now.saturating_sub(*before);
            if *new > 0 {
                last = Some(at);
            }
        }
        let max = last.map_or(0, |at| last_of(at).min(self.max));
        Self { counts, sum: self.sum.saturating_sub(earlier.sum), max }
    }
}

/// Where a value is counted.
fn bucket(micros: u64) -> usize {
    let bits = u64::BITS - micros.leading_zeros();
    let shift = bits.saturating_sub(DIGITS + 1);
    let at = (u64::from(shift) << DIGITS) + (micros >> shift);
    (at as usize).min(BUCKETS - 1)
}

/// The largest value that is counted in a bucket; of the last one, the largest
/// that is told apart.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> DIGITS).saturating_sub(1);
    let first = bucket - (shift << DIGITS);
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut next = 0;
        for at in 0..BUCKETS {
            assert_eq!(bucket(next), at, "{next}");
            assert_eq!(bucket(last_of(at)), at);
            assert!(last_of(at) - next <= next / 32, "{at}: {next}..={}", last_of(at));
            next = last_of(at) + 1;
        }
        assert_eq!(next, 1 << BITS_MAX);
        assert_eq!(bucket(next), BUCKETS - 1, "what is longer shares the last one");
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_right_within_their_bucket() {
        let mut times = Histogram::default();
        (1..=100_000).for_each(|micros| times.record(micros));
        for (share, exact) in [(500, 50_000), (990, 99_000), (999, 99_900), (1_000, 100_000)] {
            let told = times.permille(share).unwrap();
            assert!((exact..=exact + exact / 32).contains(&told), "{share}: {told}");
        }
        assert_eq!((times.count(), times.max()), (100_000, 100_000));
        assert_eq!(times.sum(), 5_000_050_000);
        let within = times.within(10_000);
        assert!((9_600..=10_000).contains(&within), "{within}");
        assert_eq!((times.within(0), times.within(31)), (0, 31));
        assert_eq!(times.within(u64::MAX), 100_000);
        assert_eq!(Histogram::default().permille(500), None);
        assert_eq!(Histogram::default().max(), 0);
    }

    #[test]
    fn readings_add_over_shards_and_subtract_over_time() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        [3, 700, 90_000].into_iter().for_each(|micros| one.record(micros));
        let earlier = one.clone();
        [5, 1_000_000].into_iter().for_each(|micros| one.record(micros));
        [8, u64::MAX].into_iter().for_each(|micros| other.record(micros));
        let lately = one.since(&earlier);
        assert_eq!((lately.count(), lately.sum()), (2, 1_000_005));
        assert_eq!(lately.max(), 1_000_000, "its bucket's end, and no more than all");
        assert_eq!(earlier.since(&one).count(), 0, "the wrong way round is nothing");
        one.merge(&other);
        assert_eq!((one.count(), one.sum(), one.max()), (7, u64::MAX, u64::MAX));
        assert_eq!(one.permille(1_000), Some((1 << 42) - 1), "as far as times are told apart");
    }

    #[test]
    fn a_histogram_is_as_large_as_the_head_says() {
        assert_eq!(BUCKETS, 1_216);
        assert!(size_of::<u64>() * BUCKETS <= 10 << 10);
    }
}
