//! A day of a sender, in short: what `why` says comes true. The long form is
//! `cargo xtask sim --days N`.

use sim::day::{Errors, Plan, replay};

/// Half of all forecasts, of next attempts and of queues each, are off by less
/// than a tenth of the wait; so they are for each of the causes that the limits,
/// the schedule and orders make, where enough were asked for; and something is
/// said each time.
///
/// Shows: M4
#[test]
fn forecasts_hold_over_a_replayed_day() {
    let report = replay(&Plan { seed: 1, days: 1, messages: 2_500 });
    assert!(report.holds(), "{report}");
    for cause in ["back-off", "greylisted", "rate", "schedule", "suspended", "site-down"] {
        let errors = &report.tries[cause];
        assert!(errors.len() >= 20 && errors.percentile(50) < 0.1, "{cause}: {report}");
    }
    for cause in ["back-off", "greylisted", "schedule"] {
        let errors = &report.drains[cause];
        assert!(errors.len() >= 20 && errors.percentile(50) < 0.1, "{cause}: {report}");
    }
    let all = report.tries.values().chain(report.drains.values());
    assert_eq!(Errors::of_all(all).unsaid, 0, "{report}");
}
