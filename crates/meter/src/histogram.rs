//! How long something took, over all times it happened: counts in buckets that
//! grow with what they count, so that a percentile is right within one part in
//! a hundred (`hdrhistogram`, of a fixed size from the start).
//!
//! Never forgets; a reader that wants the last minute subtracts an earlier
//! reading. Readings of two shards, or of two moments, add and subtract bucket
//! by bucket.

use hdrhistogram::Histogram as Buckets;

/// Longer times count as so many microseconds: above 50 days.
const MICROS_MAX: u64 = (1 << 42) - 1;
/// Digits of a time that are told apart.
const DIGITS: u8 = 2;

/// What one takes.
#[cfg(test)]
pub(crate) const BYTES_MAX: usize = 36 << 10;

/// Microseconds, counted by their size: 36 KiB.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    buckets: Buckets<u64>,
    /// Of all values.
    sum: u64,
    /// The largest.
    max: u64,
}

impl Eq for Histogram {}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = Buckets::new_with_bounds(1, MICROS_MAX, DIGITS);
        Self { buckets: buckets.expect("the bounds are in order"), sum: 0, max: 0 }
    }
}

impl Histogram {
    /// One more, in microseconds.
    pub fn record(&mut self, micros: u64) {
        self.buckets.saturating_record(micros);
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.len()
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
        let share = share.min(1_000) as f64 / 1_000.0;
        (self.count() > 0).then(|| self.buckets.value_at_quantile(share).min(self.max))
    }

    /// How many took no longer than `micros`, as far as buckets tell: one that
    /// reaches beyond it is left out.
    pub fn within(&self, micros: u64) -> u64 {
        let beyond = self.buckets.lowest_equivalent(micros.min(MICROS_MAX - 1) + 1);
        match beyond.checked_sub(1) {
            Some(_) if micros >= MICROS_MAX => self.count(),
            Some(last) => self.buckets.count_between(0, last),
            None => 0,
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.add(&other.buckets).expect("all have the same bounds");
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// What came since an earlier reading of the same; nothing where that is
    /// none. Of the largest only the bucket is known.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets.clone();
        if buckets.subtract(&earlier.buckets).is_err() {
            return Self::default();
        }
        let max = buckets.max().min(self.max);
        Self { buckets, sum: self.sum.saturating_sub(earlier.sum), max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_their_bucket() {
        let mut times = Histogram::default();
        (1..=100_000).for_each(|micros| times.record(micros));
        for (share, exact) in [(500, 50_000), (990, 99_000), (999, 99_900), (1_000, 100_000)] {
            let told = times.permille(share).unwrap();
            assert!((exact..=exact + exact / 100).contains(&told), "{share}: {told}");
        }
        assert_eq!((times.count(), times.max()), (100_000, 100_000));
        assert_eq!(times.sum(), 5_000_050_000);
        let within = times.within(10_000);
        assert!((9_900..=10_000).contains(&within), "{within}");
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
    fn a_histogram_is_as_large_as_it_says_from_the_start() {
        let mut times = Histogram::default();
        let buckets = times.buckets.distinct_values();
        assert!(size_of::<u64>() * buckets <= BYTES_MAX, "{buckets}");
        times.record(u64::MAX);
        assert_eq!(times.buckets.distinct_values(), buckets);
    }
}
