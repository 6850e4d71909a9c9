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
        if silence.until <= now {
            return Err(WatchError::PolicyOver);
        }
        let stays = |other: &Silence| other.rule != silence.rule && other.until > now;
        if self.silences.iter().filter(|other| stays(other)).count() >= SILENCES_MAX {
            return Err(WatchError::PolicyMany);
        }
        self.silences.retain(stays);
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
        let of = |(sight, limit): (&Sight, u64)| match health(sight.value, limit, known.below) {
            Health::Good if known.while_seen => Health::Between,
            other => other,
        };
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
mod tests;
