//! When an alert is raised and when it is cleared.
//!
//! Two limits and two times keep it from flapping: it is raised when the value
//! has been at the limit or beyond for as long as `raise_after`, and cleared
//! when it has been good by a quarter for as long as `clear_after`. Values in
//! between change nothing.
//!
//! Never tells anybody, never asks a clock. Invariants: between a raise and
//! the next clear of one subject lies at least `clear_after`, but where the rule
//! was switched off; at most [`SUBJECTS_MAX`] subjects of a rule are known.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Monotonic, Now, Wall};
use thiserror::Error;

use super::{AlertSettings, Described, RULE_TABLE, Rule};

/// Subjects of one rule that are bad at once, as far as is known.
pub const SUBJECTS_MAX: usize = 32;
/// Longest words of others in a reason, in octets.
const WORDS_BYTES_MAX: usize = 256;
/// Most silences.
const SILENCES_MAX: usize = 64;

/// What was seen of one rule: the value of each subject. A rule about the whole
/// has one, whose name is empty.
pub type Seen = Vec<Sight>;

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Of what; empty for the whole.
    pub subject: Box<str>,
    /// The value, in the unit of its rule.
    pub value: u64,
    /// Why it is so, where somebody said; perhaps empty.
    pub words: Box<str>,
}

/// All that is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    states: BTreeMap<(Rule, Box<str>), State>,
    silences: Vec<Silence>,
}

/// An order to tell nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Of which rule; none: of all.
    pub rule: Option<Rule>,
    /// Until when.
    pub until: Wall,
    /// Why.
    pub reason: Box<str>,
}

/// Whether something is raised or cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It has become bad.
    Raised,
    /// It is good again.
    Cleared,
}

/// One alert that was raised or cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub rule: Rule,
    /// Of what; empty for the whole.
    pub subject: Box<str>,
    /// What happened.
    pub turn: Turn,
    /// In words.
    pub reason: String,
    /// Nobody is to be told.
    pub silenced: bool,
}

/// An alert that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// Which.
    pub rule: Rule,
    /// Of what; empty for the whole.
    pub subject: Box<str>,
    /// Since when.
    pub since: Wall,
    /// In words.
    pub reason: String,
    /// Nobody is told.
    pub silenced: bool,
}

/// Why a silence is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WatchError {
    /// Its end has passed.
    #[error("the silence would be over before it began")]
    PolicyOver,
    /// There are as many as may be.
    #[error("there are {SILENCES_MAX} silences already")]
    PolicyMany,
}

/// How one subject is.
#[derive(Clone, Debug, Default)]
struct State {
    /// Since when it is raised.
    raised: Option<Wall>,
    /// Since when the value asks for the other state.
    turning: Option<Monotonic>,
    reason: String,
}

impl Watch {
    /// Takes in what was seen of each rule; rules that are missing could not be
    /// looked at, and stay as they are. Gives what has changed.
    pub fn look(
        &mut self,
        now: Now,
        settings: &AlertSettings,
        seen: &BTreeMap<Rule, Seen>,
    ) -> Vec<Change> {
        self.silences.retain(|silence| silence.until > now.wall);
        let mut changes = Vec::new();
        for known in &RULE_TABLE {
            let rule = known.rule;
            let Some(limit) = settings.limit(rule) else {
                self.forget(rule, &mut changes);
                continue;
            };
            let Some(values) = seen.get(&rule) else { continue };
            for sight in values {
                self.see(now, settings, rule, &sight.subject, Some((sight, limit)), &mut changes);
            }
            // What is no longer there is no longer bad.
            let gone: Vec<Box<str>> = self
                .of(rule)
                .filter(|subject| !values.iter().any(|sight| sight.subject == **subject))
                .cloned()
                .collect();
            for subject in gone {
                self.see(now, settings, rule, &subject, None, &mut changes);
            }
        }
        changes
    }

    /// What stands.
    pub fn raised(&self) -> impl Iterator<Item = Raised> {
        self.states.iter().filter_map(|((rule, subject), state)| {
            Some(Raised {
                rule: *rule,
                subject: subject.clone(),
                since: state.raised?,
                reason: state.reason.clone(),
                silenced: self.is_silenced(*rule),
            })
        })
    }

    /// What stood before a restart stands again, and is not raised anew.
    pub fn restore(&mut self, rule: Rule, subject: &str, since: Wall, reason: &str) {
        if self.of(rule).count() < SUBJECTS_MAX {
            let state = State { raised: Some(since), turning: None, reason: reason.to_owned() };
            self.states.insert((rule, subject.into()), state);
        }
    }

    /// The silences that stand.
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Tells nobody until an end. One of the same rule takes the place of the
    /// one before.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn silence(&mut self, now: Wall, silence: Silence) -> Result<(), WatchError> {
        self.silences.retain(|other| other.rule != silence.rule && other.until > now);
        if silence.until <= now {
            return Err(WatchError::PolicyOver);
        }
        if self.silences.len() >= SILENCES_MAX {
            return Err(WatchError::PolicyMany);
        }
        self.silences.push(silence);
        Ok(())
    }

    /// Ends a silence. False: there was none.
    pub fn unsilence(&mut self, rule: Option<Rule>) -> bool {
        let before = self.silences.len();
        self.silences.retain(|silence| silence.rule != rule);
        self.silences.len() < before
    }

    fn is_silenced(&self, rule: Rule) -> bool {
        self.silences.iter().any(|silence| silence.rule.is_none_or(|of| of == rule))
    }

    fn of(&self, rule: Rule) -> impl Iterator<Item = &Box<str>> {
        self.states.keys().filter(move |(other, _)| *other == rule).map(|(_, subject)| subject)
    }

    /// One subject with its value and limit; with none it is not there any more.
    fn see(
        &mut self,
        now: Now,
        settings: &AlertSettings,
        rule: Rule,
        subject: &str,
        value: Option<(&Sight, u64)>,
        changes: &mut Vec<Change>,
    ) {
        let known = rule.described();
        let of = |(sight, limit): (&Sight, u64)| health(sight.value, limit, known.below);
        let health = value.map_or(Health::Good, of);
        let key = (rule, Box::from(subject));
        let room = self.states.contains_key(&key) || self.of(rule).count() < SUBJECTS_MAX;
        if !room || health != Health::Bad && !self.states.contains_key(&key) {
            return;
        }
        let silenced = self.is_silenced(rule);
        let state = self.states.entry(key.clone()).or_default();
        if let Some((sight, limit)) = value.filter(|_| health == Health::Bad) {
            state.reason = reason(known, sight, limit);
        }
        let (wanted, wait) = match state.raised {
            None => {
                (Health::Bad, if known.at_once { Duration::ZERO } else { settings.raise_after })
            }
            Some(_) => (Health::Good, settings.clear_after),
        };
        if health != wanted {
            state.turning = None;
            // Good, or in between, and not raised: nothing to remember.
            if state.raised.is_none() {
                self.states.remove(&key);
            }
            return;
        }
        let since = *state.turning.get_or_insert(now.mono);
        if now.mono.since(since) < wait {
            return;
        }
        let reason = state.reason.clone();
        let turn = match state.raised {
            None => {
                (state.raised, state.turning) = (Some(now.wall), None);
                Turn::Raised
            }
            Some(_) => {
                self.states.remove(&key);
                Turn::Cleared
            }
        };
        changes.push(Change { rule, subject: key.1, turn, reason, silenced });
    }

    /// The rule is not watched any more: what stands is over.
    fn forget(&mut self, rule: Rule, changes: &mut Vec<Change>) {
        let silenced = self.is_silenced(rule);
        self.states.retain(|(other, subject), state| {
            if *other == rule && state.raised.is_some() {
                let (subject, reason) = (subject.clone(), "it is not watched any more".to_owned());
                changes.push(Change { rule, subject, turn: Turn::Cleared, reason, silenced });
            }
            *other != rule
        });
    }
}

impl Sight {
    /// The value of something, without words.
    pub fn of(subject: impl Into<Box<str>>, value: u64) -> Self {
        Self { subject: subject.into(), value, words: Box::default() }
    }
}

/// What is bad, in words, with those of whoever said why.
fn reason(known: &Described, sight: &Sight, limit: u64) -> String {
    let (shown, limit) = (known.unit.shown(sight.value), known.unit.shown(limit));
    let mut reason = format!("{}: {shown} (limit {limit})", known.meaning);
    if !sight.words.is_empty() {
        let end = sight.words.floor_char_boundary(WORDS_BYTES_MAX);
        let plain = sight.words[..end].chars().map(|c| if c.is_control() { ' ' } else { c });
        reason.extend(": ".chars().chain(plain));
    }
    reason
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Bad,
    Between,
    Good,
}

/// Bad at the limit and beyond, good a quarter away from it.
fn health(value: u64, limit: u64, below: bool) -> Health {
    let quarter = limit / 4;
    match below {
        false if value >= limit => Health::Bad,
        false if value < limit.saturating_sub(quarter) => Health::Good,
        true if value <= limit => Health::Bad,
        true if value > limit.saturating_add(quarter) => Health::Good,
        _ => Health::Between,
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn whoever_said_why_is_quoted_on_one_line_and_not_at_length() {
        let mut rig = Rig::new();
        let words = format!("535 5.7.8 who\r\nare you? {}", "ü".repeat(WORDS_BYTES_MAX));
        let sight = Sight { words: words.into(), ..Sight::of("*", u64::MAX / 2) };
        let changes =
            rig.watch.look(now(0), &rig.settings, &[(Rule::RouteDown, vec![sight])].into());
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
}
