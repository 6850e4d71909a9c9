//! Alerts under values that do what they like: none flaps.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Monotonic, Now, Wall};
use control::alert::{AlertSettings, Rule, Sight, Turn, Watch};
use proptest::prelude::*;

const LIMIT: u64 = 100;

/// How a value stands to its limit, and when it was looked at.
fn looks() -> impl Strategy<Value = Vec<(u64, u64)>> {
    // Around the limit and around the bound of being good above all.
    let value = prop_oneof![0..200_u64, 70..80_u64, 95..105_u64, Just(0), Just(LIMIT)];
    prop::collection::vec((1..40_u64, value), 1..200)
}

proptest! {
    /// Shows: S2.14
    #[test]
    fn prop_no_alert_flaps(looks in looks(), raise in 1..60_u64, clear in 1..60_u64) {
        let mut settings = AlertSettings {
            raise_after: Duration::from_secs(raise),
            clear_after: Duration::from_secs(clear),
            ..AlertSettings::default()
        };
        settings.limits[Rule::QueueSize as usize] = Some(LIMIT);
        let mut watch = Watch::default();
        let (mut at, mut raised) = (0, false);
        // Since when the value has been bad, and good, at every look.
        let (mut bad_since, mut good_since) = (None, None);
        let mut last_turn: Option<u64> = None;
        for (step, value) in looks {
            at += step;
            bad_since = (value >= LIMIT).then(|| bad_since.unwrap_or(at));
            good_since = (value < LIMIT - LIMIT / 4).then(|| good_since.unwrap_or(at));
            let now = Now::new(Monotonic::from_millis(at * 1_000), Wall::from_millis(at * 1_000));
            let seen = BTreeMap::from([(Rule::QueueSize, vec![Sight::of("", value)])]);
            let changes = watch.look(now, &settings, &seen);
            prop_assert!(changes.len() <= 1);
            for change in changes {
                let (wait, since) = match change.turn {
                    Turn::Raised => (raise, bad_since),
                    Turn::Cleared => (clear, good_since),
                };
                prop_assert_eq!(change.turn == Turn::Cleared, raised, "each follows the other");
                prop_assert!(since.is_some_and(|since| at - since >= wait), "{change:?} at {at}");
                prop_assert!(last_turn.is_none_or(|last| at - last >= wait), "{change:?} at {at}");
                (raised, last_turn) = (!raised, Some(at));
            }
            // It comes and goes as soon as it may, too.
            let due = match raised {
                false => bad_since.filter(|since| last_turn.is_none_or(|last| *since > last) && at - since >= raise),
                true => good_since.filter(|since| last_turn.is_none_or(|last| *since > last) && at - since >= clear),
            };
            prop_assert_eq!(due, None, "at {}", at);
            prop_assert_eq!(watch.raised().count(), usize::from(raised));
        }
    }
}
