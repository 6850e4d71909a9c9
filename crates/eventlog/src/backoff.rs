//! How long a reader of the log waits before it tries again where nobody takes
//! its lines.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);

/// The wait behind the `failures`-th failure in a row, from 1: a second, twice
/// as long each time, never longer than `longest`, and up to a tenth less, so
/// that many readers do not come at once. `random` is any number.
pub fn backoff(failures: u32, longest: Duration, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let wait = FIRST.saturating_mul(1 << doublings).min(longest);
    let tenth = wait / 10;
    wait - tenth.mul_f64((random % 1_000) as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_differ_a_little() {
        let longest = Duration::from_secs(60);
        let waits = [0, 1, 2, 3, 6, 7, 40, u32::MAX].map(|n| backoff(n, longest, 0).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 32, 60, 60, 60]);
        for random in [0, 1, 999, 1_000, u64::MAX] {
            let wait = backoff(7, longest, random);
            assert!(wait <= longest && wait >= longest.mul_f64(0.9), "{wait:?}");
        }
    }
}
