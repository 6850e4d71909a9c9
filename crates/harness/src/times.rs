//! Latencies: a histogram of HdrHistogram's kind with its percentiles, and the
//! form in which reports keep it whole.
//!
//! Never averages percentiles: what is to be joined is joined as histograms.
//! Three digits are kept.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest time that is told apart, in microseconds: one hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// Times of many events, growing.
#[derive(Clone, Debug)]
pub struct Gathering(Histogram<u64>);

/// Times of many events, in microseconds, as a report keeps them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Events.
    pub count: u64,
    /// The middle of all, by weight.
    pub mean: f64,
    /// The shortest.
    pub min: u64,
    /// Half took no longer.
    pub p50: u64,
    /// 90 in 100 took no longer.
    pub p90: u64,
    /// 99 in 100 took no longer.
    pub p99: u64,
    /// 999 in 1 000 took no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Every recorded time with its count, the whole histogram.
    pub histogram: Vec<(u64, u64)>,
}

impl Gathering {
    /// No events.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("these bounds are valid"))
    }

    /// One more; longer than an hour counts as an hour.
    pub fn add(&mut self, span: Duration) {
        self.0.saturating_record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// One more, between two times in nanoseconds; the wrong way round is none.
    pub fn between(&mut self, from: u64, to: u64) {
        self.add(Duration::from_nanos(to.saturating_sub(from)));
    }

    /// What a report keeps.
    pub fn times(&self) -> Times {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Times {
            count: self.0.len(),
            mean: if self.0.is_empty() { 0.0 } else { self.0.mean() },
            min: if self.0.is_empty() { 0 } else { self.0.min() },
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
            histogram: self
                .0
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }
}

impl Default for Gathering {
    fn default() -> Self {
        Self::new()
    }
}

impl Times {
    /// The time that `quantile` of all events did not pass, from the histogram.
    pub fn at(&self, quantile: f64) -> u64 {
        let wanted = (quantile.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut counted = 0;
        for (value, count) in &self.histogram {
            counted += count;
            if counted >= wanted {
                return *value;
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_keeps_the_whole_histogram() {
        let mut gathering = Gathering::new();
        for millis in 1..=1_000 {
            gathering.add(Duration::from_millis(millis));
        }
        gathering.between(5_000, 3_000);
        let times = gathering.times();
        assert_eq!(times.count, 1_001);
        assert_eq!(times.histogram.iter().map(|(_, count)| count).sum::<u64>(), 1_001);
        assert!(times.p50.abs_diff(500_000) < 1_000, "{times:?}");
        assert!(times.max.abs_diff(1_000_000) < 1_000 && times.min <= 1);
        for (quantile, value) in [(0.5, times.p50), (0.9, times.p90), (0.99, times.p99)] {
            assert_eq!(times.at(quantile), value);
        }
        let json = serde_json::to_string(&times).unwrap();
        assert_eq!(serde_json::from_str::<Times>(&json).unwrap(), times);
    }

    #[test]
    fn nothing_recorded_is_zero_everywhere() {
        let times = Gathering::new().times();
        assert_eq!(times, Times::default());
        assert_eq!(times.at(0.5), 0);
    }
}
