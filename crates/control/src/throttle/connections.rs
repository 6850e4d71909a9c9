//! Connection permits of one limited thing: who holds how many, who waits, and
//! whom to ask for some back.
//!
//! Free permits go first to those that hold less than their fair share, so a
//! shard that wants many does not keep one that wants few waiting. If somebody
//! below its share has waited for [`RECALL_AFTER`], holders of more than theirs
//! are asked to come down; a lowered limit is recalled at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::planted::{Bug, planted};
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
        let limit = limit + u32::from(planted(Bug::ConnectionLimitPassed));
        Self { limit, total: 0, holders: BTreeMap::new(), waiting: VecDeque::new() }
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// Shards that wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Since when a shard has waited, if it does.
    pub(super) fn waits_since(&self, shard: ShardId) -> Option<Monotonic> {
        self.waiting.iter().find(|waiter| waiter.shard == shard).map(|waiter| waiter.since)
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit + u32::from(planted(Bug::ConnectionLimitPassed));
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

    /// Hands free permits to the waiting: first to those below their share,
    /// then to the others, except those that were asked to come down.
    pub(super) fn grant(&mut self, tell: &mut impl FnMut(ShardId, Verdict)) {
        if self.waiting.is_empty() || self.total >= self.limit {
            return;
        }
        let share = self.share().max(1);
        let mut granted = BTreeMap::new();
        self.deal(&mut granted, |holder| share.saturating_sub(holder.held));
        self.deal(&mut granted, |holder| if holder.keep.is_some() { 0 } else { u32::MAX });
        for (shard, count) in &granted {
            tell(*shard, Verdict::Connections(*count));
        }
        // Who got something and wants more stands behind who got nothing.
        let waiting = self.waiting.drain(..).filter(|waiter| waiter.want > 0);
        let (served, unserved): (Vec<_>, Vec<_>) =
            waiting.partition(|waiter| granted.contains_key(&waiter.shard));
        self.waiting.extend(unserved.into_iter().chain(served));
        debug_assert_eq!(self.total, self.holders.values().map(|holder| holder.held).sum::<u32>());
    }

    /// Deals free permits in equal parts, in order of asking, to waiters that
    /// have `room` for more.
    fn deal(&mut self, granted: &mut BTreeMap<ShardId, u32>, room: impl Fn(&Holder) -> u32) {
        loop {
            let free = self.limit.saturating_sub(self.total);
            let nobody = Holder::default();
            let open =
                |w: &&Waiter| w.want > 0 && room(self.holders.get(&w.shard).unwrap_or(&nobody)) > 0;
            let count = self.waiting.iter().filter(open).count();
            if free == 0 || count == 0 {
                return;
            }
            let part = (free / count as u32).max(1);
            for waiter in &mut self.waiting {
                let free = self.limit.saturating_sub(self.total);
                let holder = self.holders.entry(waiter.shard).or_default();
                let dealt = part.min(waiter.want).min(room(holder)).min(free);
                waiter.want -= dealt;
                holder.held += dealt;
                self.total += dealt;
                if dealt > 0 {
                    // Below its share by now: what it was asked for is moot.
                    holder.keep = None;
                    *granted.entry(waiter.shard).or_default() += dealt;
                }
            }
            self.holders.retain(|_, holder| holder.held > 0);
        }
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
