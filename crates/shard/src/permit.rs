//! The spending side of limits that hold over all shards: how many connections
//! this shard has been granted per limit, how many of them are open, and how
//! many messages it may still send under a rate.
//!
//! Invariant: `in_use <= granted` for every limit, so that the sum over shards
//! never passes what the home shard granted. Never grants anything: that is
//! the bank's ([`control::throttle`]), at the limit's home shard.

use base::{Map, Monotonic};
use control::throttle::{Verdict, Want};

/// This shard's permits, by limit.
#[derive(Debug, Default)]
pub struct Permits {
    held: Map<Box<str>, Held>,
    /// Limits known when those out of use were last forgotten.
    kept: usize,
}

#[derive(Debug, Default)]
struct Held {
    granted: u32,
    in_use: u32,
    /// Recalled down to this many.
    keep: Option<u32>,
    asked: Want,
    tokens: u32,
    tokens_until: Monotonic,
}

/// A limit as the spending side sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PermitView {
    /// Connections granted.
    pub granted: u32,
    /// More were asked for.
    pub asked: bool,
    /// Tokens that may still be spent.
    pub tokens: u32,
}

/// What a try to spend came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// Spent.
    Taken,
    /// The home shard must be asked for this; it replaces the earlier want.
    Ask(Want),
    /// The home shard has been asked already.
    Wait,
}

/// Tokens asked for at once, at most: enough to keep the mesh out of the way of single
/// messages, few enough that shards share a small rate fairly.
pub const TOKENS_WANTED: u32 = 8;
/// Limits known before any is forgotten.
const FORGET_FROM: usize = 1_024;

impl Permits {
    /// Spends one connection permit of `key`.
    pub fn take_connection(&mut self, key: &str) -> Spend {
        let held = self.entry(key);
        if held.in_use < held.granted && held.keep.is_none_or(|keep| held.in_use < keep) {
            held.in_use += 1;
            return Spend::Taken;
        }
        if held.asked.connections > 0 {
            return Spend::Wait;
        }
        held.asked.connections = 1;
        Spend::Ask(held.asked)
    }

    /// Spends one message token of `key`; `ready`: messages that want one, this
    /// included. No more are asked for: tokens that nobody spends are lost to
    /// all shards.
    pub fn take_token(&mut self, now: Monotonic, key: &str, ready: u32) -> Spend {
        let held = self.entry(key);
        if held.tokens_until <= now {
            held.tokens = 0;
        }
        if held.tokens > 0 {
            held.tokens -= 1;
            return Spend::Taken;
        }
        if held.asked.tokens > 0 {
            return Spend::Wait;
        }
        held.asked.tokens = ready.clamp(1, TOKENS_WANTED);
        Spend::Ask(held.asked)
    }

    /// Gives an unspent token back to this shard's store: the message it was
    /// taken for did not go.
    pub fn return_token(&mut self, key: &str) {
        self.entry(key).tokens += 1;
    }

    /// Takes in a decision of the home shard. Returns how many permits to give
    /// back at once.
    pub fn decided(&mut self, key: &str, verdict: Verdict) -> u32 {
        let held = self.entry(key);
        match verdict {
            Verdict::Connections(count) => {
                held.granted += count;
                held.asked.connections = held.asked.connections.saturating_sub(count);
                held.keep = None;
                0
            }
            Verdict::Tokens { count, until } => {
                held.tokens = count;
                held.tokens_until = until;
                held.asked.tokens = 0;
                0
            }
            Verdict::Recall { keep } => {
                held.keep = Some(keep);
                self.spare(key)
            }
        }
    }

    /// How `key` stands here.
    pub fn view(&self, now: Monotonic, key: &str) -> PermitView {
        let Some(held) = self.held.get(key) else { return PermitView::default() };
        PermitView {
            granted: held.granted,
            asked: held.asked.connections > 0,
            tokens: if held.tokens_until > now { held.tokens } else { 0 },
        }
    }

    /// Connections of `key` that are open here.
    pub fn in_use(&self, key: &str) -> u32 {
        self.held.get(key).map_or(0, |held| held.in_use)
    }

    /// Whether a connection of `key` should close at the end of its
    /// transaction, because another shard waits or the limit was lowered.
    pub fn must_shrink(&self, key: &str) -> bool {
        self.too_many(key) > 0
    }

    /// Open connections of `key` beyond those that may stay.
    pub fn too_many(&self, key: &str) -> u32 {
        let of = |held: &Held| held.keep.map_or(0, |keep| held.in_use.saturating_sub(keep));
        self.held.get(key).map_or(0, of)
    }

    /// A connection of `key` closed. Returns the permits to give back: its own
    /// and every other that lies idle. Permits are not hoarded: an ask costs a
    /// mesh message per connection, and that carries many messages.
    pub fn connection_closed(&mut self, key: &str) -> u32 {
        let held = self.entry(key);
        assert!(held.in_use > 0, "a connection without a permit was open");
        held.in_use -= 1;
        self.spare(key)
    }

    /// Takes granted but unused permits off the books and returns their number.
    pub fn spare(&mut self, key: &str) -> u32 {
        let Some(held) = self.held.get_mut(key) else { return 0 };
        let back = held.granted - held.in_use;
        held.granted = held.in_use;
        if held.keep.is_some_and(|keep| held.granted <= keep) {
            held.keep = None;
        }
        let unused = held.granted == 0 && held.asked == Want::default() && held.tokens == 0;
        if unused {
            self.held.remove(key);
        }
        back
    }

    /// The wants to repeat under a new policy, by limit.
    pub fn wants(&self) -> impl Iterator<Item = (&str, Want)> {
        self.held.iter().map(|(key, held)| (&**key, held.asked))
    }

    /// The want for `key` cannot be repeated: nothing will come of it.
    pub fn forget_want(&mut self, key: &str) {
        if let Some(held) = self.held.get_mut(key) {
            held.asked = Want::default();
        }
    }

    fn entry(&mut self, key: &str) -> &mut Held {
        if !self.held.contains_key(key) {
            self.forget_unused();
            self.held.insert(key.into(), Held::default());
        }
        self.held.get_mut(key).expect("inserted above")
    }

    /// Forgets limits of which only tokens are left, which have run out or are
    /// of little use. Amortized: each time the table has doubled.
    fn forget_unused(&mut self) {
        if self.held.len() < 2 * self.kept + FORGET_FROM {
            return;
        }
        self.held.retain(|_, held| held.granted > 0 || held.asked != Want::default());
        self.kept = self.held.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Want = Want { connections: 1, tokens: 0 };

    #[test]
    fn a_connection_needs_a_granted_permit_and_one_ask_is_enough() {
        let mut permits = Permits::default();
        assert_eq!(permits.take_connection("a"), Spend::Ask(ONE));
        assert_eq!(permits.take_connection("a"), Spend::Wait);
        assert_eq!(permits.decided("a", Verdict::Connections(1)), 0);
        assert_eq!(permits.take_connection("a"), Spend::Taken);
        assert_eq!(permits.take_connection("a"), Spend::Ask(ONE));
        assert_eq!(permits.connection_closed("a"), 1);
    }

    #[test]
    fn a_recall_gives_back_what_is_idle_and_closes_the_rest_in_time() {
        let mut permits = Permits::default();
        permits.decided("a", Verdict::Connections(3));
        assert_eq!(permits.take_connection("a"), Spend::Taken);
        assert_eq!(permits.take_connection("a"), Spend::Taken);
        assert_eq!(permits.decided("a", Verdict::Recall { keep: 1 }), 1);
        assert!(permits.must_shrink("a"));
        assert_eq!(permits.take_connection("a"), Spend::Ask(ONE), "no new one meanwhile");
        assert_eq!(permits.connection_closed("a"), 1);
        assert!(!permits.must_shrink("a"));
    }

    #[test]
    fn tokens_end_with_their_time() {
        let mut permits = Permits::default();
        let now = Monotonic::from_millis(10_000);
        let until = Monotonic::from_millis(11_000);
        let ask = Spend::Ask(Want { connections: 0, tokens: TOKENS_WANTED });
        assert_eq!(permits.take_token(now, "a", 100), ask);
        assert_eq!(permits.take_token(now, "a", 100), Spend::Wait);
        permits.decided("a", Verdict::Tokens { count: 2, until });
        assert_eq!(permits.take_token(now, "a", 100), Spend::Taken);
        assert_eq!(permits.take_token(until, "a", 100), ask, "stale allowance is lost");
        permits.decided("a", Verdict::Tokens { count: 1, until });
        let few = Spend::Ask(Want { connections: 0, tokens: 3 });
        assert_eq!(permits.take_token(until, "a", 3), few, "no more than can be spent");
    }

    #[test]
    fn limits_with_nothing_but_old_tokens_are_forgotten_in_time() {
        let mut permits = Permits::default();
        permits.decided("busy", Verdict::Connections(1));
        for n in 0..10 * FORGET_FROM {
            let until = Monotonic::from_millis(1);
            permits.decided(&n.to_string(), Verdict::Tokens { count: 2, until });
        }
        assert!(permits.held.len() <= 2 * FORGET_FROM, "{}", permits.held.len());
        assert_eq!(permits.take_connection("busy"), Spend::Taken);
    }

    #[test]
    fn what_is_not_used_is_given_back_and_forgotten() {
        let mut permits = Permits::default();
        permits.take_connection("a");
        permits.decided("a", Verdict::Connections(1));
        assert_eq!(permits.spare("a"), 1);
        assert_eq!(permits.wants().count(), 0);
    }
}
