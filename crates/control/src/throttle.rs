//! The permit bank: how limits hold when summed over all shards.
//!
//! Each limited thing ([`crate::Site::limit_key`]) has one home shard
//! ([`crate::owner`] of its key). Shards ask the home for connection permits
//! and message tokens, spend what they are granted, and give permits back. The
//! bank decides and answers; it sends nothing itself.
//!
//! Invariants: connection permits out never exceed the limit in force at the
//! grant; messages sent on tokens never exceed the rate in any window. Who must
//! wait stands on a list and costs nothing until something is freed. An account
//! without permits, waiters and recent tokens is forgotten, so the bank is no
//! larger than the set of sites in use.

mod connections;
mod tokens;
mod view;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base::{Map, Monotonic, ShardId};

use crate::units::Rate;
use connections::Connections;
pub use tokens::Tokens;
pub use view::{LimitView, RateView};

/// What is allowed of one limited thing, and since which policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; at least 1.
    pub connections: u32,
    /// Messages per window; none is no limit.
    pub rate: Option<Rate>,
    /// [`crate::Policy::revision`] they come from: an ask by a shard that has
    /// not yet swapped its policy never brings an old limit back.
    pub revision: u64,
}

/// What a shard wants in addition to what it holds. Replaces its earlier want;
/// zero takes it off the waiting list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// More connection permits.
    pub connections: u32,
    /// More message tokens. Ignored where no rate is set: no token is needed.
    pub tokens: u32,
}

/// One decision, to be told to `shard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The limited thing.
    pub key: Arc<str>,
    /// Whom to tell.
    pub shard: ShardId,
    /// What was decided.
    pub verdict: Verdict,
}

/// What was decided for one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This many more connection permits; to be given back by
    /// [`Bank::give_back`] when they are idle or their connection is closed.
    /// Ends a recall.
    Connections(u32),
    /// This many message tokens. Unused ones expire by themselves and are
    /// never given back. While fewer came than were wanted, more follow: who
    /// has nothing left to send asks for none, or they go to waste.
    Tokens {
        /// How many.
        count: u32,
        /// Not to be spent at or after this moment.
        until: Monotonic,
    },
    /// Others wait, or the limit was lowered: come down to `keep` permits, by
    /// giving back at the next end of a transaction, and at once what is idle.
    Recall {
        /// Permits that may stay.
        keep: u32,
    },
}

/// The accounts of all limited things whose home is this shard.
#[derive(Debug)]
pub struct Bank {
    accounts: Map<Arc<str>, Account>,
    /// Accounts with something to do later; each stands here at most once.
    wakes: BTreeSet<(Monotonic, Arc<str>)>,
    decisions: VecDeque<Decision>,
}

#[derive(Debug)]
struct Account {
    limits: Limits,
    connections: Connections,
    tokens: Option<Tokens>,
    /// Who wants tokens, in order of asking; one entry per shard.
    thirsty: VecDeque<(ShardId, u32)>,
    wake: Option<Monotonic>,
}

/// Shortest pause between two grants of tokens to waiters: a fast rate is
/// handed out in small batches rather than one message per wake-up.
const TOKEN_PAUSE: Duration = Duration::from_millis(5);

impl Bank {
    /// An empty bank. `seed` is secret to the run: strangers choose the keys.
    pub fn new(seed: u64) -> Self {
        Self {
            accounts: base::map::seeded(seed),
            wakes: BTreeSet::new(),
            decisions: VecDeque::new(),
        }
    }

    /// `shard` wants `want` more of `key` under `limits`. Decisions follow by
    /// [`Bank::poll`], at once or when something is freed. After a change of
    /// policy every shard repeats this for each key it holds something of, so
    /// that the new limits count at once.
    pub fn ask(&mut self, now: Monotonic, shard: ShardId, key: &str, limits: Limits, want: Want) {
        let key = match self.accounts.get_key_value(key) {
            Some((key, _)) => key.clone(),
            None => {
                let key: Arc<str> = key.into();
                self.accounts.insert(key.clone(), Account::new(limits));
                key
            }
        };
        let account = self.accounts.get_mut(&key).expect("found or inserted above");
        account.adopt(now, limits);
        account.connections.want(now, shard, want.connections);
        account.want_tokens(shard, want.tokens);
        self.settle(now, &key);
    }

    /// `shard` gives `connections` permits of `key` back. More than it holds
    /// counts as all it holds.
    pub fn give_back(&mut self, now: Monotonic, shard: ShardId, key: &str, connections: u32) {
        let Some((key, _)) = self.accounts.get_key_value(key) else { return };
        let key = key.clone();
        let account = self.accounts.get_mut(&key).expect("found above");
        account.connections.give_back(shard, connections);
        self.settle(now, &key);
    }

    /// Does what has fallen due. To be called at [`Bank::next_deadline`].
    pub fn advance(&mut self, now: Monotonic) {
        while let Some((at, key)) = self.wakes.first() {
            if *at > now {
                break;
            }
            let key = key.clone();
            self.settle(now, &key);
        }
    }

    /// When [`Bank::advance`] has something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The next decision to tell; `None` until the next call that changes
    /// something.
    pub fn poll(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// Number of limited things in use.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether nothing limited is in use.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Permits of `key` that are out, summed over all shards.
    pub fn connections_out(&self, key: &str) -> u32 {
        self.accounts.get(key).map_or(0, |account| account.connections.total())
    }

    /// Grants what can be granted, recalls what must be, and notes when to
    /// look again.
    fn settle(&mut self, now: Monotonic, key: &Arc<str>) {
        let account = self.accounts.get_mut(key).expect("settled accounts exist");
        if let Some(at) = account.wake.take() {
            self.wakes.remove(&(at, key.clone()));
        }
        let decisions = &mut self.decisions;
        let mut tell = |shard, verdict| {
            decisions.push_back(Decision { key: key.clone(), shard, verdict });
        };
        account.connections.grant(&mut tell);
        account.connections.recall(now, &mut tell);
        account.pour(now, &mut tell);
        match account.next_wake(now) {
            Some(at) => {
                account.wake = Some(at);
                self.wakes.insert((at, key.clone()));
            }
            None if account.is_idle(now) => {
                self.accounts.remove(key);
            }
            None => {}
        }
    }
}

impl Account {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: Connections::new(limits.connections),
            tokens: limits.rate.map(Tokens::new),
            thirsty: VecDeque::new(),
            wake: None,
        }
    }

    fn adopt(&mut self, now: Monotonic, limits: Limits) {
        if limits.revision < self.limits.revision {
            return;
        }
        if limits.rate != self.limits.rate {
            self.tokens = limits.rate.map(|rate| Tokens::new_empty(rate, now));
        }
        self.connections.set_limit(limits.connections);
        self.limits = limits;
    }

    fn want_tokens(&mut self, shard: ShardId, want: u32) {
        let place = self.thirsty.iter().position(|(waiting, _)| *waiting == shard);
        match place {
            Some(place) if want > 0 => self.thirsty[place].1 = want,
            Some(place) => drop(self.thirsty.remove(place)),
            None if want > 0 => self.thirsty.push_back((shard, want)),
            None => {}
        }
    }

    /// Hands tokens to the thirsty, an equal share to each, in order of
    /// asking; who is not satisfied goes to the end of the line.
    fn pour(&mut self, now: Monotonic, tell: &mut impl FnMut(ShardId, Verdict)) {
        let Some(tokens) = &mut self.tokens else {
            self.thirsty.clear();
            return;
        };
        for turn in (1..=self.thirsty.len()).rev() {
            let share = tokens.available(now).div_ceil(turn as u32);
            let Some((shard, want)) = self.thirsty.pop_front() else { return };
            let count = tokens.take(now, share.min(want));
            if count > 0 {
                tell(shard, Verdict::Tokens { count, until: tokens.expiry(now) });
                if count < want {
                    self.thirsty.push_back((shard, want - count));
                }
            } else {
                self.thirsty.push_front((shard, want));
                return;
            }
        }
        // Everybody was served; the odd token went to the first in line.
        let others_first = usize::from(self.thirsty.len() > 1);
        self.thirsty.rotate_left(others_first);
    }

    fn next_wake(&self, now: Monotonic) -> Option<Monotonic> {
        let tokens = self.tokens.as_ref().and_then(|tokens| {
            if self.thirsty.is_empty() {
                // Forgetting spent tokens too early would allow them again.
                Some(tokens.full_at()).filter(|at| *at > now && self.connections.is_idle())
            } else {
                Some(tokens.next_at().max(now + TOKEN_PAUSE))
            }
        });
        tokens.into_iter().chain(self.connections.next_recall(now)).min()
    }

    fn is_idle(&self, now: Monotonic) -> bool {
        self.connections.is_idle()
            && self.thirsty.is_empty()
            && self.tokens.as_ref().is_none_or(|tokens| tokens.full_at() <= now)
    }
}

#[cfg(test)]
mod tests;
