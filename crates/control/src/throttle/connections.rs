//! Connection permits of one limited thing: who holds how many, who waits, and
//! whom to ask for some back.
//!
//! Permits are granted one by one in turn among those that wait, so a shard
//! that wants many does not keep one that wants few waiting. If somebody has
//! waited for [`RECALL_AFTER`], holders of more than their fair share are asked
//! to come down to it; a lowered limit is recalled at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{Monotonic, ShardId};

use super::Verdict;

/// How long a shard waits before permits are recalled for it. Long enough for
/// a connection to carry some messages before it is closed for another shard.
pub(super) const RECALL_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Connections {
    limit: u32,
    total: u32,
    /// Only shards that hold at least one.
    holders: BTreeMap<ShardId, Holder>,
    /// In order of asking; one entry per shard, each wanting at least one.
    waiting: VecDeque<Waiter>,
}

#[derive(Debug, Default)]
struct Holder {
    held: u32,
    /// Asked to come down to so many, and not there yet.
    keep: Option<u32>,
}

#[derive(Debug)]
struct Waiter {
    shard: ShardId,
    want: u32,
    since: Monotonic,
}

impl Connections {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, total: 0, holders: BTreeMap::new(), waiting: VecDeque::new() }
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Replaces what `shard` wants in addition to what it holds.
    pub(super) fn want(&mut self, now: Monotonic, shard: ShardId, want: u32) {
        let place = self.waiting.iter().position(|waiter| waiter.shard == shard);
        match place {
            Some(place) if want > 0 => self.waiting[place].want = want,
            Some(place) => drop(self.waiting.remove(place)),
            None if want > 0 => self.waiting.push_back(Waiter { shard, want, since: now }),
            None => {}
        }
    }

    pub(super) fn give_back(&mut self, shard: ShardId, count: u32) {
        let Some(holder) = self.holders.get_mut(&shard) else { return };
        let count = count.min(holder.held);
        holder.held -= count;
        self.total -= count;
        if holder.keep.is_some_and(|keep| holder.held <= keep) {
            holder.keep = None;
        }
        if holder.held == 0 {
            self.holders.remove(&shard);
        }
    }

    /// Hands free permits to the waiting, one each in turn.
    pub(super) fn grant(&mut self, tell: &mut impl FnMut(ShardId, Verdict)) {
        let mut free = self.limit.saturating_sub(self.total);
        let mut granted: BTreeMap<ShardId, u32> = BTreeMap::new();
        while free > 0 {
            // Everybody an equal part of what is free, at least one.
            let part = (free / self.waiting.len().max(1) as u32).max(1);
            let Some(mut waiter) = self.waiting.pop_front() else { break };
            let count = part.min(waiter.want);
            free -= count;
            waiter.want -= count;
            *granted.entry(waiter.shard).or_default() += count;
            if waiter.want > 0 {
                self.waiting.push_back(waiter);
            }
        }
        for (shard, count) in granted {
            let holder = self.holders.entry(shard).or_default();
            holder.held += count;
            // A recall under way asks for the same number of permits as before.
            holder.keep = holder.keep.map(|keep| keep + count);
            self.total += count;
            tell(shard, Verdict::Connections(count));
        }
        debug_assert_eq!(self.total, self.holders.values().map(|holder| holder.held).sum::<u32>());
    }

    /// Asks for permits back where somebody below its share has waited long
    /// enough, or where more are out than the limit allows; no more than are
    /// needed, and from the greatest holders first.
    pub(super) fn recall(&mut self, now: Monotonic, tell: &mut impl FnMut(ShardId, Verdict)) {
        let share = self.share();
        let needed = self.total.saturating_sub(self.limit).saturating_add(self.owed(now, share));
        let mut needed = needed.saturating_sub(self.coming());
        if needed == 0 {
            return;
        }
        let mut holders: Vec<_> = self.holders.iter_mut().collect();
        holders.sort_by_key(|(_, holder)| std::cmp::Reverse(holder.staying()));
        for (shard, holder) in holders {
            let cut = holder.staying().saturating_sub(share).min(needed);
            if cut > 0 {
                let keep = holder.staying() - cut;
                holder.keep = Some(keep);
                needed -= cut;
                tell(*shard, Verdict::Recall { keep });
            }
        }
    }

    /// When somebody will have waited long enough for a recall.
    pub(super) fn next_recall(&self, now: Monotonic) -> Option<Monotonic> {
        let ends = self.waiting.iter().map(|waiter| waiter.since + RECALL_AFTER);
        ends.filter(|at| *at > now).min()
    }

    /// What each shard that holds or wants permits may claim. Rounded down:
    /// the rest is handed out in turn.
    fn share(&self) -> u32 {
        let outside = self.waiting.iter().filter(|w| !self.holders.contains_key(&w.shard));
        self.limit / (self.holders.len() + outside.count()).max(1) as u32
    }

    /// Permits that shards below their share have waited for long enough. Who
    /// has none may claim one even where the share is rounded to nothing.
    fn owed(&self, now: Monotonic, share: u32) -> u32 {
        let late = self.waiting.iter().filter(|waiter| now.since(waiter.since) >= RECALL_AFTER);
        late.map(|waiter| {
            let held = self.holders.get(&waiter.shard).map_or(0, |holder| holder.held);
            share.max(1).saturating_sub(held).min(waiter.want)
        })
        .sum()
    }

    /// Permits recalled and not yet given back.
    fn coming(&self) -> u32 {
        self.holders.values().map(|holder| holder.held - holder.staying()).sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.waiting.is_empty()
    }
}

impl Holder {
    /// Permits held that nobody has asked back.
    fn staying(&self) -> u32 {
        self.keep.unwrap_or(self.held)
    }
}
