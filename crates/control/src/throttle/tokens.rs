//! Message tokens of one rate: a generic cell rate algorithm whose burst and
//! pace are chosen so that what shards *send* stays within the rate.
//!
//! A token granted at `g` may be spent until `g` + [`Tokens::lease`]. Sends in a
//! window of length `per` come from grants in a span shorter than `per + lease`.
//! With burst `b` and pace `t`, at most `b - 1 + ⌈span / t⌉` grants fall into a
//! half-open span; with `t = (per + lease) / (count - b + 1)` rounded up that is
//! at most `count`. The price of that certainty is 2 to 4 % of the rate.

use std::time::Duration;

use base::Monotonic;

use crate::units::Rate;

/// The tokens of one rate.
#[derive(Clone, Debug)]
pub struct Tokens {
    pace_ns: u64,
    burst: u32,
    lease: Duration,
    /// When the bucket will be full again, in nanoseconds of the monotonic
    /// clock.
    full_ns: u64,
}

/// One part in so many of the window may be granted at once, and is the time
/// within which a token must be spent.
const PARTS: u32 = 50;

impl Tokens {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        let burst = (rate.count() / PARTS).max(1);
        let lease = Duration::from_millis(rate.per().as_millis() as u64 / u64::from(PARTS));
        let span_ns = (rate.per() + lease).as_nanos() as u64;
        let pace_ns = span_ns.div_ceil(u64::from(rate.count() - burst + 1));
        Self { pace_ns, burst, lease, full_ns: 0 }
    }

    /// An empty bucket: after a change of rate, so that switching to and fro
    /// gives no burst each time.
    pub fn new_empty(rate: Rate, now: Monotonic) -> Self {
        let mut tokens = Self::new(rate);
        tokens.full_ns = nanos(now).saturating_add(tokens.depth_ns());
        tokens
    }

    /// Tokens that could be taken at `now`; at most the burst.
    pub fn available(&self, now: Monotonic) -> u32 {
        let now = nanos(now);
        let missing_ns = self.full_ns.saturating_sub(now);
        (self.depth_ns().saturating_sub(missing_ns) / self.pace_ns) as u32
    }

    /// Takes up to `want` tokens and returns how many it took.
    pub fn take(&mut self, now: Monotonic, want: u32) -> u32 {
        let count = self.available(now).min(want);
        let taken_ns = self.pace_ns.saturating_mul(u64::from(count));
        if count > 0 {
            self.full_ns = self.full_ns.max(nanos(now)).saturating_add(taken_ns);
        }
        count
    }

    /// How long a token may be kept before it must be spent.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// When tokens taken at `now` expire.
    pub fn expiry(&self, now: Monotonic) -> Monotonic {
        now + self.lease
    }

    /// From one token to the next, in the long run.
    pub fn pace(&self) -> Duration {
        Duration::from_nanos(self.pace_ns)
    }

    /// When at least one token can be taken.
    pub fn next_at(&self) -> Monotonic {
        ceil_millis(self.full_ns.saturating_sub(self.depth_ns() - self.pace_ns))
    }

    /// When the bucket is full, and nothing of the past matters any more.
    pub fn full_at(&self) -> Monotonic {
        ceil_millis(self.full_ns)
    }

    fn depth_ns(&self) -> u64 {
        self.pace_ns.saturating_mul(u64::from(self.burst))
    }
}

fn nanos(at: Monotonic) -> u64 {
    at.as_millis().saturating_mul(1_000_000)
}

fn ceil_millis(ns: u64) -> Monotonic {
    Monotonic::from_millis(ns.div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    fn tokens(rate: &str) -> Tokens {
        Tokens::new(rate.parse().unwrap())
    }

    /// Takes whatever there is in every millisecond; returns the takes.
    fn drain(tokens: &mut Tokens, from: u64, to: u64) -> Vec<(u64, u32)> {
        (from..to).map(|ms| (ms, tokens.take(at(ms), u32::MAX))).filter(|(_, n)| *n > 0).collect()
    }

    #[test]
    fn no_window_of_sends_passes_the_rate() {
        for (rate, window_ms, count) in [
            ("10/1s", 1_000, 10),
            ("1/1s", 1_000, 1),
            ("1000/1s", 1_000, 1_000),
            ("7/3s", 3_000, 7),
        ] {
            let mut tokens = tokens(rate);
            let lease = tokens.lease().as_millis() as u64;
            let takes = drain(&mut tokens, 0, 10 * window_ms);
            // The worst shard spends the first takes as late, the others as early as it may.
            for (start, _) in &takes {
                let in_window: u32 = takes
                    .iter()
                    .filter(|(ms, _)| (*start..*start + lease + window_ms).contains(ms))
                    .map(|(_, n)| n)
                    .sum();
                assert!(in_window <= count, "{rate}: {in_window} from {start}");
            }
            let total: u32 = takes.iter().map(|(_, n)| n).sum();
            assert!(total >= count * 10 * 9 / 10, "{rate} gave only {total} in ten windows");
        }
    }

    #[test]
    fn one_per_window_is_one_per_window() {
        let mut tokens = tokens("1/1m");
        assert_eq!(tokens.take(at(5), 9), 1);
        assert_eq!(tokens.take(at(60_005), 9), 0);
        assert_eq!(tokens.next_at(), at(61_205));
        assert_eq!(tokens.take(at(61_205), 9), 1);
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_no_more() {
        let mut tokens = tokens("1000/1m");
        assert_eq!(tokens.take(at(1_000), 3), 3);
        assert_eq!(tokens.take(at(1_000), 1_000), 17);
        assert_eq!(tokens.take(at(1_000), 1), 0);
        assert_eq!(tokens.available(at(1_000_000)), 20);
    }

    #[test]
    fn an_empty_bucket_starts_with_nothing() {
        let mut tokens = Tokens::new_empty("1000/1m".parse().unwrap(), at(500));
        assert_eq!(tokens.take(at(500), 9), 0);
        assert_eq!(tokens.available(tokens.next_at()), 1);
        assert_eq!(tokens.available(tokens.full_at()), 20);
    }

    #[test]
    fn the_ends_of_clock_and_rate_do_no_harm() {
        for rate in ["1000000000/1s", "1000000000/31d", "1/31d"] {
            let mut tokens = tokens(rate);
            for ms in [0, u64::MAX / 2, u64::MAX] {
                assert!(tokens.take(at(ms), u32::MAX) <= 20_000_000);
                let _ = (tokens.next_at(), tokens.full_at());
            }
        }
    }
}
