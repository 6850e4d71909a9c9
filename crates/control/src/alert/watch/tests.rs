//! When alerts are raised, cleared and silenced, look by look.

use super::*;

struct Rig {
    watch: Watch,
    settings: AlertSettings,
}

fn now(s: u64) -> Now {
    Now::new(Monotonic::from_millis(s * 1_000), Wall::from_millis(s * 1_000))
}

impl Rig {
    fn new() -> Self {
        let settings = AlertSettings {
            raise_after: Duration::from_secs(10),
            clear_after: Duration::from_secs(20),
            ..AlertSettings::default()
        };
        Self { watch: Watch::default(), settings }
    }

    fn see(&mut self, at: u64, rule: Rule, values: &[(&str, u64)]) -> Vec<(Turn, String)> {
        let seen = values.iter().map(|(subject, value)| Sight::of(*subject, *value)).collect();
        let changes = self.watch.look(now(at), &self.settings, &[(rule, seen)].into());
        changes.into_iter().map(|change| (change.turn, change.subject.into())).collect()
    }

    /// Of the size of the queue, whose limit is 100 000.
    fn size(&mut self, at: u64, value: u64) -> Vec<Turn> {
        let seen = self.see(at, Rule::QueueSize, &[("", value)]);
        seen.into_iter().map(|(turn, _)| turn).collect()
    }
}

#[test]
fn an_alert_takes_its_time_to_come_and_to_go() {
    let mut rig = Rig::new();
    for (at, value, expected) in [
        (0, 100_000, None),
        (9, 100_000, None),
        (10, 100_000, Some(Turn::Raised)),
        (11, 0, None),
        // Not good enough: the time begins anew.
        (20, 75_000, None),
        (21, 74_999, None),
        (40, 0, None),
        (41, 0, Some(Turn::Cleared)),
        (42, 100_000, None),
        // For a moment better.
        (50, 99_999, None),
        (51, 100_000, None),
        (60, 100_000, None),
        (61, 100_000, Some(Turn::Raised)),
    ] {
        assert_eq!(rig.size(at, value), Vec::from_iter(expected), "{at}");
    }
    let raised: Vec<_> = rig.watch.raised().collect();
    assert_eq!((raised.len(), raised[0].since), (1, Wall::from_millis(61_000)));
    assert_eq!(raised[0].reason, "so many recipients wait: 100000 (limit 100000)");
}

#[test]
fn what_cannot_be_looked_at_stays_and_what_is_gone_is_good() {
    let mut rig = Rig::new();
    let down = u64::MAX / 2;
    let both = [("a", down), ("b", down)];
    assert_eq!(rig.see(0, Rule::SiteDown, &both).len(), 2, "it needs no further wait");
    assert_eq!(rig.watch.look(now(100), &rig.settings, &BTreeMap::new()), []);
    assert_eq!(rig.see(200, Rule::SiteDown, &[("a", down)]), []);
    let cleared = [(Turn::Cleared, "b".to_owned())];
    assert_eq!(rig.see(220, Rule::SiteDown, &[("a", down)]), cleared);
    // Switched off, it is over at once.
    rig.settings.limits[Rule::SiteDown as usize] = None;
    assert_eq!(rig.see(221, Rule::SiteDown, &both), [(Turn::Cleared, "a".to_owned())]);
    assert_eq!(rig.watch.raised().count(), 0);
}

/// A relay was away for hours, and the daemon was started anew meanwhile: how
/// long it had been down began anew, too, and somebody was told that it was
/// back, and soon after that it had gone.
#[test]
fn what_is_still_down_is_not_back_because_a_restart_counts_anew() {
    let mut rig = Rig::new();
    let limit = rig.settings.limit(Rule::RouteDown).unwrap();
    rig.watch.restore(Rule::RouteDown, "*", Wall::from_millis(0), "long");
    for at in 0..=limit / 1_000 {
        assert_eq!(rig.see(at, Rule::RouteDown, &[("*", at * 1_000)]), [], "{at}");
    }
    let over = limit / 1_000;
    assert_eq!(rig.see(over, Rule::RouteDown, &[]), []);
    let cleared = [(Turn::Cleared, "*".to_owned())];
    assert_eq!(rig.see(over + 20, Rule::RouteDown, &[]), cleared);
    // And nothing is raised before its time.
    assert_eq!(rig.see(over + 21, Rule::RouteDown, &[("*", limit - 1)]), []);
}

#[test]
fn whoever_said_why_is_quoted_on_one_line_and_not_at_length() {
    let mut rig = Rig::new();
    let words = format!("535 5.7.8 who\r\nare you? {}", "ü".repeat(WORDS_BYTES_MAX));
    let sight = Sight { words: words.into(), ..Sight::of("*", u64::MAX / 2) };
    let changes = rig.watch.look(now(0), &rig.settings, &[(Rule::RouteDown, vec![sight])].into());
    let reason = &changes[0].reason;
    assert!(reason.contains("limit 10m): 535 5.7.8 who  are you? ü"), "{reason}");
    assert!(reason.len() < 2 * WORDS_BYTES_MAX && !reason.contains('\n'), "{reason}");
}

#[test]
fn small_is_bad_where_little_is_left() {
    let mut rig = Rig::new();
    let limit = rig.settings.limit(Rule::Certificate).unwrap();
    assert_eq!(rig.see(0, Rule::Certificate, &[("c.pem", limit + 1)]), []);
    assert_eq!(rig.see(1, Rule::Certificate, &[("c.pem", limit)]).len(), 1);
    for at in 2..100 {
        assert_eq!(rig.see(at, Rule::Certificate, &[("c.pem", limit + limit / 4)]), []);
    }
    assert_eq!(rig.see(100, Rule::Certificate, &[("c.pem", u64::MAX)]), []);
    assert_eq!(rig.see(120, Rule::Certificate, &[("c.pem", u64::MAX)]).len(), 1);
}

/// Of more subjects than may be bad at once only the first were once looked
/// at: a certificate behind them ended without a word, and one that had been
/// told of before others came was never good again.
#[test]
fn what_is_bad_is_found_behind_any_number_that_is_good() {
    let mut rig = Rig::new();
    let limit = rig.settings.limit(Rule::Certificate).unwrap();
    let names: Vec<String> = (0..SUBJECTS_MAX).map(|n| format!("{n}.pem")).collect();
    let mut all: Vec<(&str, u64)> = names.iter().map(|name| (&**name, u64::MAX)).collect();
    all.push(("z.pem", limit));
    assert_eq!(rig.see(0, Rule::Certificate, &all), [(Turn::Raised, "z.pem".into())]);
    all[SUBJECTS_MAX].1 = u64::MAX;
    assert_eq!(rig.see(1, Rule::Certificate, &all), []);
    assert_eq!(rig.see(21, Rule::Certificate, &all), [(Turn::Cleared, "z.pem".into())]);
}

#[test]
fn a_silence_has_an_end_and_the_alert_goes_on_beneath_it() {
    let mut rig = Rig::new();
    let until = |s: u64| Wall::from_millis(s * 1_000);
    let order = |rule, s| Silence { rule, until: until(s), reason: "known".into() };
    assert_eq!(rig.watch.silence(until(5), order(None, 5)), Err(WatchError::PolicyOver));
    rig.watch.silence(until(0), order(Some(Rule::QueueSize), 15)).unwrap();
    rig.size(0, 100_000);
    let seen = BTreeMap::from([(Rule::QueueSize, vec![Sight::of("", 100_000)])]);
    let changes = rig.watch.look(now(10), &rig.settings, &seen);
    assert!(changes[0].silenced && changes[0].turn == Turn::Raised);
    assert!(rig.watch.raised().all(|one| one.silenced));
    rig.size(16, 100_000);
    assert!(rig.watch.raised().all(|one| !one.silenced) && rig.watch.silences().is_empty());
    rig.watch.silence(until(16), order(None, 99)).unwrap();
    assert!(rig.watch.raised().all(|one| one.silenced));
    assert!(rig.watch.unsilence(None) && !rig.watch.unsilence(None));
}

/// It once ended the silence that stood, although it was refused.
#[test]
fn a_silence_that_is_refused_changes_nothing() {
    let mut rig = Rig::new();
    let order = |s: u64| Silence {
        rule: Some(Rule::QueueSize),
        until: Wall::from_millis(s * 1_000),
        reason: "known".into(),
    };
    rig.watch.silence(Wall::from_millis(0), order(99)).unwrap();
    let late = rig.watch.silence(Wall::from_millis(5_000), order(5));
    assert_eq!((late, rig.watch.silences()), (Err(WatchError::PolicyOver), &[order(99)][..]));
    rig.watch.silence(Wall::from_millis(5_000), order(50)).unwrap();
    assert_eq!(rig.watch.silences(), [order(50)], "another takes its place");
}

#[test]
fn subjects_are_bounded_and_a_restart_raises_nothing_anew() {
    let mut rig = Rig::new();
    let down = u64::MAX / 2;
    let names: Vec<String> = (0..SUBJECTS_MAX + 9).map(|n| n.to_string()).collect();
    let all: Vec<(&str, u64)> = names.iter().map(|name| (&**name, down)).collect();
    assert_eq!(rig.see(0, Rule::SiteDown, &all).len(), SUBJECTS_MAX);
    assert_eq!(rig.see(1, Rule::SiteDown, &all), []);
    let mut again = Rig::new();
    for one in rig.watch.raised() {
        again.watch.restore(one.rule, &one.subject, one.since, &one.reason);
    }
    assert_eq!(again.see(5, Rule::SiteDown, &all), []);
    assert_eq!(again.watch.raised().count(), SUBJECTS_MAX);
}
