//! A link that is raised on demand: mail waits, a program raises the link, mail
//! is sent, and when nothing has left by it for a while another program lowers
//! it. One shard, the link's home, decides for all; the others say what they
//! need of it.
//!
//! Pure: times and reports come in, programs to run and news for the shards go
//! out. Never here: running a program, or which mail waits.
//!
//! Invariants: at most one program runs at a time; the link is lowered only
//! when every shard has heard that it closes and has no connection by it; after
//! a start it counts as down, whatever it is: raising one that is up must do no
//! harm.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base::{Monotonic, ShardId};

use crate::program::Program;
use crate::retry::Retry;

/// `on_demand` of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OnDemand {
    /// Raises the link; ends when it is up.
    pub raise: Program,
    /// Lowers it; none: it comes down by itself.
    pub lower: Option<Program>,
    /// How long raising may take. Default 1 min.
    pub raise_timeout: Duration,
    /// How long lowering may take. Default 1 min.
    pub lower_timeout: Duration,
    /// Waits before it is tried again, after raising or lowering failed.
    pub retry: Retry,
    /// How long it stays up without a connection. Default 1 min.
    pub idle: Duration,
    /// So many waiting recipients raise it. Default 1.
    pub recipients: u32,
    /// However few wait, it is raised once the first has waited so long.
    /// Default 15 min.
    pub wait: Duration,
}

/// What a shard needs of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Recipients that wait for it; no more than [`OnDemand::recipients`] are
    /// counted.
    pub waiting: u32,
    /// Since when.
    pub since: Option<Monotonic>,
    /// Somebody said that they are to leave now, few as they are. Told once.
    pub urgent: bool,
    /// Connections by it, and look-ups for what would leave by it.
    pub in_use: u32,
    /// Number of the last news that the shard had heard when it said so.
    pub heard: u64,
}

/// What shards hear of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Counts up, so that answers show what they answer.
    pub number: u64,
    /// How the link is.
    pub state: LinkState,
}

/// How a link is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// As far as we know it is down; mail waits.
    #[default]
    Down,
    /// The program that raises it runs.
    Raising,
    /// Mail may leave.
    Up,
    /// No new connections: it will be lowered once the last one has ended.
    Closing,
    /// The program that lowers it runs.
    Lowering,
    /// Raising it has failed.
    Failed {
        /// In words.
        reason: Arc<str>,
        /// Not tried again before, unless an operator wants mail sent.
        until: Monotonic,
    },
    /// It could not be lowered, or, up as it was, not be raised anew.
    Stuck {
        /// In words.
        reason: Arc<str>,
        /// Lowered again then, or raised when mail wants it.
        until: Monotonic,
    },
}

/// Something to do about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkAct {
    /// Run a program; answered by [`Uplink::ended`].
    Run {
        /// What.
        program: Program,
        /// It is killed then.
        timeout: Duration,
        /// Raises the link, as against lowering it.
        raises: bool,
    },
    /// Tell every shard.
    Tell(News),
}

/// How a program of a link failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFailure {
    /// In words.
    pub reason: Arc<str>,
    /// It was killed half-way, so nobody knows how the link is.
    pub cut_off: bool,
}

/// One link, at its home.
#[derive(Debug)]
pub struct Uplink {
    settings: Option<Arc<OnDemand>>,
    /// Those that raised it, for as long as it is not lowered.
    raised_by: Option<Arc<OnDemand>>,
    /// It was raised, and has not been lowered since.
    is_raised: bool,
    needs: Box<[Need]>,
    phase: Phase,
    urgent: bool,
    /// Failures in a row.
    failures: u16,
    draining: bool,
    number: u64,
    told: LinkState,
    acts: VecDeque<LinkAct>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Failed {
        reason: Arc<str>,
        until: Monotonic,
    },
    Raising,
    Up {
        idle_since: Option<Monotonic>,
    },
    Closing,
    Lowering {
        after: Option<Arc<str>>,
    },
    /// Mail may raise it anew from `raise_from` on, an operator at any time.
    Stuck {
        reason: Arc<str>,
        until: Monotonic,
        raise_from: Monotonic,
    },
}

/// Shortest time that a link stays up without a connection: less than a shard
/// takes to look would lower it under a connection that is about to be made.
pub const IDLE_MIN: Duration = Duration::from_secs(2);

impl Uplink {
    /// A link without settings that `shards` shards may need. Its news are
    /// numbered above `above`: what shards heard of an earlier one counts for
    /// nothing.
    pub fn new(shards: u16, above: u64) -> Self {
        Self {
            settings: None,
            raised_by: None,
            is_raised: false,
            needs: vec![Need::default(); usize::from(shards)].into(),
            phase: Phase::Down,
            urgent: false,
            failures: 0,
            draining: false,
            number: above,
            told: LinkState::Down,
            acts: VecDeque::new(),
        }
    }

    /// Its settings under the policy in force; none: it is not there any more,
    /// and is lowered if it is up.
    pub fn set(&mut self, now: Monotonic, settings: Option<Arc<OnDemand>>) {
        let changed = self.settings != settings;
        self.settings = settings;
        if changed {
            // Perhaps it was the program that was at fault.
            self.failures = 0;
            if let Phase::Failed { until: from, .. } | Phase::Stuck { raise_from: from, .. } =
                &mut self.phase
            {
                *from = now;
            }
        }
        self.judge(now);
    }

    /// What a shard needs from now on.
    pub fn need(&mut self, now: Monotonic, shard: ShardId, need: Need) {
        let Some(slot) = self.needs.get_mut(usize::from(shard.0)) else { return };
        *slot = need;
        self.urgent |= need.urgent;
        self.judge(now);
    }

    /// The program under way has ended.
    pub fn ended(&mut self, now: Monotonic, result: Result<(), LinkFailure>) {
        match (std::mem::replace(&mut self.phase, Phase::Down), result) {
            (Phase::Raising, Ok(())) => {
                (self.failures, self.is_raised) = (0, true);
                self.phase = Phase::Up { idle_since: None };
            }
            // Half-way is no place to leave it.
            (Phase::Raising, Err(failure)) if failure.cut_off => {
                self.lower(now, Some(failure.reason))
            }
            (Phase::Raising, Err(failure)) => self.fail(now, failure.reason),
            (Phase::Lowering { after }, result) => {
                self.is_raised &= result.is_err();
                match (after, result) {
                    (Some(reason), _) => self.fail(now, reason),
                    (None, Ok(())) => (self.failures, self.raised_by) = (0, None),
                    (None, Err(failure)) => {
                        let until = now + self.pause();
                        let reason = failure.reason;
                        self.phase = Phase::Stuck { reason, until, raise_from: now };
                    }
                }
            }
            (other, _) => unreachable!("no program runs while the link is {other:?}"),
        }
        self.judge(now);
    }

    /// A deadline may have come.
    pub fn advance(&mut self, now: Monotonic) {
        self.judge(now);
    }

    /// The daemon ends: what we raised is lowered, and nothing is raised again.
    pub fn drain(&mut self, now: Monotonic) {
        self.draining = true;
        self.judge(now);
    }

    /// What to do next; to be called until `None` after everything else.
    pub fn poll(&mut self) -> Option<LinkAct> {
        self.acts.pop_front()
    }

    /// When [`Uplink::advance`] is due.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let settings = self.settings.as_ref();
        match &self.phase {
            Phase::Down => self.since().zip(settings).map(|(since, set)| since + set.wait),
            Phase::Failed { until, .. } | Phase::Stuck { until, .. } => Some(*until),
            Phase::Up { idle_since } => idle_since.zip(settings).map(|(at, set)| at + set.idle),
            Phase::Raising | Phase::Closing | Phase::Lowering { .. } => None,
        }
        .filter(|_| !self.draining)
    }

    /// How it is.
    pub fn state(&self) -> &LinkState {
        &self.told
    }

    /// Number of its last news.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Nothing runs, and we have nothing left to lower: a stop cuts nothing off.
    pub fn is_at_rest(&self) -> bool {
        let stuck = matches!(self.phase, Phase::Stuck { .. }) && self.draining;
        stuck || matches!(self.phase, Phase::Down | Phase::Failed { .. })
    }

    /// No policy names it and nobody needs it: it may be forgotten.
    pub fn is_forgotten(&self) -> bool {
        let unused = self.needs.iter().all(|need| need.waiting == 0 && need.in_use == 0);
        self.settings.is_none() && self.phase == Phase::Down && unused && self.acts.is_empty()
    }

    /// Does what can be done, and tells what has changed.
    fn judge(&mut self, now: Monotonic) {
        loop {
            let before = self.phase.clone();
            self.go_on(now);
            self.tell();
            if self.phase == before {
                return;
            }
        }
    }

    fn go_on(&mut self, now: Monotonic) {
        match &self.phase {
            Phase::Down if self.wants(now) => self.raise(),
            Phase::Failed { until, .. } if *until <= now || self.urgent => {
                match self.wants(now) {
                    true => self.raise(),
                    // An urgent wish has come to nothing.
                    false if *until <= now => self.phase = Phase::Down,
                    false => {}
                }
                self.urgent = false;
            }
            Phase::Up { idle_since } => {
                let since = idle_since.unwrap_or(now);
                let idle = self.settings.as_ref().map_or(Duration::ZERO, |set| set.idle);
                if self.in_use() {
                    let over = self.draining || self.settings.is_none();
                    self.phase = if over { Phase::Closing } else { Phase::Up { idle_since: None } };
                } else if self.draining || since + idle <= now {
                    self.phase = Phase::Closing;
                } else {
                    self.phase = Phase::Up { idle_since: Some(since) };
                }
            }
            Phase::Closing if self.is_clear() => self.lower(now, None),
            Phase::Stuck { raise_from, .. }
                if (*raise_from <= now || self.urgent) && self.wants(now) =>
            {
                self.raise();
            }
            Phase::Stuck { until, .. } if *until <= now && !self.draining => self.lower(now, None),
            _ => {}
        }
        // A wish is for mail that waits now.
        if matches!(self.phase, Phase::Down | Phase::Up { .. }) {
            self.urgent = false;
        }
    }

    fn raise(&mut self) {
        let Some(settings) = self.settings.clone() else { return };
        self.phase = Phase::Raising;
        self.urgent = false;
        let (program, timeout) = (settings.raise.clone(), settings.raise_timeout);
        self.acts.push_back(LinkAct::Run { program, timeout, raises: true });
        self.raised_by = Some(settings);
    }

    /// Lowers what was raised, by the settings that it was raised by: those in
    /// force may not know it any more.
    fn lower(&mut self, now: Monotonic, after: Option<Arc<str>>) {
        let settings = self.raised_by.as_ref().or(self.settings.as_ref());
        let program = settings.and_then(|set| Some((set.lower.clone()?, set.lower_timeout)));
        match (program, after) {
            (Some((program, timeout)), after) => {
                self.phase = Phase::Lowering { after };
                self.acts.push_back(LinkAct::Run { program, timeout, raises: false });
            }
            (None, Some(reason)) => self.fail(now, reason),
            (None, None) => {
                self.is_raised = false;
                (self.phase, self.raised_by) = (Phase::Down, None);
            }
        }
    }

    /// Raising has failed. A link that was up before may be up still, and is
    /// not given up: it is to be lowered one day.
    fn fail(&mut self, now: Monotonic, reason: Arc<str>) {
        let until = now + self.pause();
        if self.is_raised {
            self.phase = Phase::Stuck { reason, until, raise_from: until };
        } else {
            self.raised_by = None;
            self.phase = Phase::Failed { reason, until };
        }
    }

    /// How long to wait after one more failure.
    fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let settings = self.settings.as_ref().or(self.raised_by.as_ref());
        settings.map_or(Duration::ZERO, |set| set.retry.delay(self.failures, 0))
    }

    fn tell(&mut self) {
        let state = match &self.phase {
            Phase::Down => LinkState::Down,
            Phase::Failed { reason, until } => {
                LinkState::Failed { reason: reason.clone(), until: *until }
            }
            Phase::Raising => LinkState::Raising,
            Phase::Up { .. } => LinkState::Up,
            Phase::Closing => LinkState::Closing,
            Phase::Lowering { .. } => LinkState::Lowering,
            Phase::Stuck { reason, until, .. } => {
                LinkState::Stuck { reason: reason.clone(), until: *until }
            }
        };
        if state != self.told {
            self.told = state.clone();
            self.number += 1;
            self.acts.push_back(LinkAct::Tell(News { number: self.number, state }));
        }
    }

    /// Whether enough waits, or for long enough.
    fn wants(&self, now: Monotonic) -> bool {
        let Some(settings) = self.settings.as_ref().filter(|_| !self.draining) else {
            return false;
        };
        let waiting: u64 = self.needs.iter().map(|need| u64::from(need.waiting)).sum();
        let old = || self.since().is_some_and(|since| since + settings.wait <= now);
        waiting > 0 && (waiting >= u64::from(settings.recipients) || self.urgent || old())
    }

    /// Since when the first recipient waits.
    fn since(&self) -> Option<Monotonic> {
        self.needs.iter().filter(|need| need.waiting > 0).filter_map(|need| need.since).min()
    }

    fn in_use(&self) -> bool {
        self.needs.iter().any(|need| need.in_use > 0)
    }

    /// Whether every shard knows that it closes, and has nothing left.
    fn is_clear(&self) -> bool {
        self.told == LinkState::Closing
            && self.needs.iter().all(|need| need.heard >= self.number && need.in_use == 0)
    }
}

impl LinkState {
    /// One word for each.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Raising => "raising",
            Self::Up => "up",
            Self::Closing => "closing",
            Self::Lowering => "lowering",
            Self::Failed { .. } => "failed",
            Self::Stuck { .. } => "stuck",
        }
    }

    /// What failed, and when it is tried again.
    pub fn trouble(&self) -> Option<(&str, Monotonic)> {
        match self {
            Self::Failed { reason, until } | Self::Stuck { reason, until } => {
                Some((reason, *until))
            }
            _ => None,
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Raising => f.write_str("being raised"),
            Self::Up => f.write_str("up"),
            Self::Closing => f.write_str("closing"),
            Self::Lowering => f.write_str("being lowered"),
            Self::Failed { reason, .. } => write!(f, "down, raising it failed: {reason}"),
            Self::Stuck { reason, .. } => write!(f, "out of use, its program failed: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests;
