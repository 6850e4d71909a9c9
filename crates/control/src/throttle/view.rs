//! One limited thing as its home sees it, for operators: what is out, who
//! waits, and when the next token comes. Changes nothing.

use std::time::Duration;

use base::{Monotonic, ShardId};

use super::connections::RECALL_AFTER;
use super::{Account, Bank};
use crate::units::Rate;

/// How a limit stands, with the place of one shard in its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// Connections that may be open at once.
    pub connections: u32,
    /// Connection permits that are out.
    pub out: u32,
    /// Shards that wait for one.
    pub waiting: u32,
    /// When the shard may count on a permit at the latest but for the end of a
    /// transaction: others are asked to come down then. None: it does not wait.
    pub recall_at: Option<Monotonic>,
    /// The rate, where there is one.
    pub rate: Option<RateView>,
}

/// How a rate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateView {
    /// As it was set.
    pub rate: Rate,
    /// When a token can be had, if nobody else takes it.
    pub next_at: Monotonic,
    /// From one token to the next.
    pub pace: Duration,
    /// Shards that wait for tokens.
    pub thirsty: u32,
    /// How many of them come before the shard.
    pub before: u32,
}

impl RateView {
    /// When a shard gets its token number `place`, counted from 0, if all that
    /// wait for tokens go on to do so.
    pub fn token_at(&self, now: Monotonic, place: u64) -> Monotonic {
        let turns = u64::from(self.thirsty.max(1));
        let place = place.saturating_mul(turns).saturating_add(u64::from(self.before));
        let wait_ns = self.pace.as_nanos().saturating_mul(u128::from(place));
        self.next_at.max(now) + Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX))
    }
}

impl Bank {
    /// How `key` stands, as `shard` would see it; `None` while nothing of it is
    /// in use.
    pub fn view(&self, shard: ShardId, key: &str) -> Option<LimitView> {
        self.accounts.get(key).map(|account| account.view(shard))
    }
}

impl Account {
    fn view(&self, shard: ShardId) -> LimitView {
        let rate = self.limits.rate.zip(self.tokens.as_ref()).map(|(rate, tokens)| RateView {
            rate,
            next_at: tokens.next_at(),
            pace: tokens.pace(),
            thirsty: self.thirsty.len() as u32,
            before: self.thirsty.iter().take_while(|(other, _)| *other != shard).count() as u32,
        });
        LimitView {
            connections: self.limits.connections,
            out: self.connections.total(),
            waiting: self.connections.waiting(),
            recall_at: self.connections.waits_since(shard).map(|since| since + RECALL_AFTER),
            rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::{Limits, Want};

    /// What is said of the tokens to come is what comes.
    #[test]
    fn tokens_come_when_they_were_said_to() {
        let rate = Some("30/1m".parse().expect("a rate"));
        let limits = Limits { connections: 2, rate, revision: 1 };
        let mut bank = Bank::new(1);
        let mut now = Monotonic::from_millis(50_000);
        let want = Want { connections: 1, tokens: 8 };
        assert_eq!(bank.view(ShardId(0), "a"), None);
        for shard in [0, 1] {
            bank.ask(now, ShardId(shard), "a", limits, want);
        }
        let view = bank.view(ShardId(1), "a").expect("it is in use");
        assert_eq!((view.connections, view.out, view.waiting), (2, 2, 0));
        let rate = view.rate.expect("there is one");
        let said: Vec<u64> = (0..4).map(|n| rate.token_at(now, n).as_millis()).collect();
        let mut came = Vec::new();
        while came.len() < 4 {
            while let Some(decision) = bank.poll() {
                if let super::super::Verdict::Tokens { count, .. } = decision.verdict
                    && decision.shard == ShardId(1)
                {
                    came.extend(vec![now.as_millis(); count as usize]);
                }
            }
            now = bank.next_deadline().expect("tokens are waited for");
            bank.advance(now);
        }
        for (said, came) in said.iter().zip(&came) {
            assert!(said.abs_diff(*came) <= 2_100, "said {said}, came {came}");
        }
    }

    #[test]
    fn who_waits_for_a_permit_is_told_when_others_are_asked_for_theirs() {
        let limits = Limits { connections: 1, rate: None, revision: 1 };
        let mut bank = Bank::new(1);
        let now = Monotonic::from_millis(50_000);
        let want = Want { connections: 1, tokens: 0 };
        for shard in [0, 1] {
            bank.ask(now, ShardId(shard), "a", limits, want);
        }
        assert_eq!(bank.view(ShardId(0), "a").and_then(|view| view.recall_at), None);
        let view = bank.view(ShardId(1), "a").expect("it is in use");
        assert_eq!((view.out, view.waiting), (1, 1));
        assert_eq!(view.recall_at, Some(now + RECALL_AFTER));
    }
}
