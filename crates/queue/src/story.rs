//! A small stage for tests: a queue, a clock that moves when told, and a shard
//! that answers look-ups the easy way. Never part of the product.

use std::time::Duration;

use base::{MessageId, Monotonic, Now, ShardId, Wall};

use crate::{
    Act, Batch, Bounds, DestinationKey, Due, EntryKey, New, NextHop, Phase, Place, Queue, Select,
    SiteKey, State, Sweep, Take, When, Work,
};

pub(crate) struct Story {
    pub(crate) queue: Queue,
    pub(crate) now: Now,
    pub(crate) due: Vec<Due>,
    messages: u64,
}

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const HOUR: u64 = 3_600 * SECOND;
/// Of all look-ups in these stories.
pub(crate) const ANSWER_LIFE: u64 = 12 * HOUR;
/// Of all mail in these stories.
pub(crate) const LIFETIME: u64 = 24 * HOUR;

pub(crate) fn hop(name: &str) -> NextHop<'_> {
    NextHop { name, route: 0, exit: 0 }
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::bounded(Bounds::default())
    }

    pub(crate) fn bounded(bounds: Bounds) -> Self {
        let now = Now::new(Monotonic::from_millis(77_000), Wall::from_millis(1_800_000_000_000));
        Self { queue: Queue::new(now.mono, 1, bounds), now, due: Vec::new(), messages: 0 }
    }

    /// A message of its own, due now.
    pub(crate) fn new_mail(&mut self) -> New {
        self.messages += 1;
        New {
            message: MessageId::from_u64(1 << 32 | self.messages),
            place: Place::default(),
            writer: ShardId(0),
            recipient: 0,
            attempts: 0,
            arrived: self.now.wall,
            expires: self.now.wall + Duration::from_millis(LIFETIME),
            notice: None,
            urgent: false,
            in_doubt: false,
        }
    }

    pub(crate) fn put(&mut self, to: &str, new: &New, when: When) -> EntryKey {
        self.queue.insert(self.now, hop(to), new, when).unwrap()
    }

    pub(crate) fn mail(&mut self, to: &str) -> EntryKey {
        let new = self.new_mail();
        self.put(to, &new, When::Now)
    }

    /// So many messages of their own, due now.
    pub(crate) fn mails(&mut self, to: &str, count: usize) -> Vec<EntryKey> {
        (0..count).map(|_| self.mail(to)).collect()
    }

    /// Lets time pass and returns what came due.
    pub(crate) fn after(&mut self, ms: u64) -> Vec<Due> {
        let span = Duration::from_millis(ms);
        self.now = Now::new(self.now.mono + span, self.now.wall + span);
        while self.queue.next_deadline().is_some_and(|at| at <= self.now.mono) {
            self.queue.advance(self.now, &mut self.due);
        }
        std::mem::take(&mut self.due)
    }

    pub(crate) fn wall_in(&self, ms: u64) -> Wall {
        self.now.wall + Duration::from_millis(ms)
    }

    pub(crate) fn mono_in(&self, ms: u64) -> Monotonic {
        self.now.mono + Duration::from_millis(ms)
    }

    pub(crate) fn work(&mut self) -> Vec<Work> {
        std::iter::from_fn(|| self.queue.poll_work(self.now)).collect()
    }

    /// Does all look-ups, everything leading to `site`, and returns the
    /// connections asked for.
    pub(crate) fn connections(&mut self, site: &str, limit: u32) -> Vec<SiteKey> {
        let mut connections = Vec::new();
        while let Some(work) = self.queue.poll_work(self.now) {
            match work {
                Work::Resolve(key) => {
                    self.resolve(key, site, limit);
                }
                Work::Open(site) | Work::Use(site) => connections.push(site),
                Work::Reject(_) => panic!("nothing was rejected"),
            }
        }
        connections
    }

    pub(crate) fn resolve(&mut self, key: DestinationKey, site: &str, limit: u32) -> SiteKey {
        let until = self.mono_in(ANSWER_LIFE);
        self.queue.resolved(self.now, key, site, limit, until).unwrap()
    }

    pub(crate) fn take(&mut self, site: SiteKey, phase: Phase) -> (Take, Vec<EntryKey>) {
        let mut entries = Vec::new();
        let take = self.queue.take(self.now, site, phase, 100, &mut entries);
        (take, entries)
    }

    /// The next batch of a connection that has one under way.
    pub(crate) fn next(&mut self, site: SiteKey) -> Option<(Batch, Vec<EntryKey>)> {
        match self.take(site, Phase::Busy) {
            (Take::Batch(batch), entries) => Some((batch, entries)),
            _ => None,
        }
    }

    /// Name of the destination a batch goes to.
    pub(crate) fn name(&self, batch: Batch) -> String {
        self.queue.destination(batch.destination).unwrap().0.name.to_owned()
    }

    pub(crate) fn defer(&mut self, key: EntryKey, ms: u64) {
        let until = self.wall_in(ms);
        assert!(self.queue.defer(self.now, key, until, 1, "try later"));
    }

    pub(crate) fn state(&self, key: EntryKey) -> State {
        self.queue.state(key).unwrap()
    }

    pub(crate) fn sweep(&mut self, select: Select, act: Act) -> Vec<EntryKey> {
        let (mut sweep, mut out) = (Sweep::new(select, act), Vec::new());
        while self.queue.sweep(self.now, &mut sweep, 7, &mut out) {}
        out
    }
}
