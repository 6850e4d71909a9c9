//! The doors of the queue: what it holds, how entries come in and go out. How
//! an entry moves between states is in `schedule.rs`, its timers in
//! `deferred.rs`, transactions in `batch.rs`.
//!
//! Invariants: every entry is in exactly one state and counted once in the
//! totals, at its destination and at that one's site; it has exactly one
//! timer, except while the shard has it because it expired or is removed; all
//! tables are bounded by [`Bounds`].

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use base::{Map, Monotonic, Now, Slab, TimerKey, Wall, Wheel, map};

use crate::destination::{Destination, DestinationKey, HopName, NextHop, Resolution, keep_reason};
use crate::entry::{Entry, EntryKey, New, Place, State, View, When, flag};
use crate::list::{List, member, member_mut};
use crate::pace::Mix;
use crate::schedule::{End, Item, To};
use crate::site::{Site, SiteKey};
use crate::tally::Counts;

/// Memory that one waiting recipient takes, its timer included; its next hop
/// and site apart, which it shares.
pub const BYTES_PER_ENTRY: usize = Slab::<Entry>::SLOT_BYTES + Wheel::<EntrySlot>::TIMER_BYTES;

/// Slot of an entry plus one, so that an absent one needs no room.
pub(crate) type EntrySlot = NonZeroU32;

const _: () = assert!(BYTES_PER_ENTRY <= 100);

/// How much a queue may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Waiting recipients.
    pub entries_max: usize,
    /// Destinations kept although no mail waits for them.
    pub idle_destinations_max: usize,
    /// Sites kept although nothing leads there, for what was learned of them.
    pub idle_sites_max: usize,
}

/// Why a recipient was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// As many wait as may.
    #[error("{entries_max} recipients wait, more may not")]
    LocalFull {
        /// The bound.
        entries_max: usize,
    },
}

/// The waiting mail of one shard. See the head of this file.
#[derive(Debug)]
pub struct Queue {
    pub(crate) bounds: Bounds,
    pub(crate) entries: Slab<Entry>,
    pub(crate) timers: Wheel<EntrySlot>,
    pub(crate) destinations: Slab<Destination>,
    pub(crate) by_hop: Map<HopName, u32>,
    pub(crate) idle_destinations: (List, usize),
    pub(crate) sites: Slab<Site>,
    pub(crate) by_site: Map<Arc<str>, u32>,
    pub(crate) idle_sites: (List, usize),
    pub(crate) waits: Wheel<Wait>,
    pub(crate) work: VecDeque<Item>,
    pub(crate) work_looked_at: u64,
    pub(crate) counts: Counts,
    /// How many attempts are put off, at all sites.
    pub(crate) mix: Mix,
    /// Where the steady clock began: at the first entry.
    origin: Option<Now>,
    pub(crate) epoch: u32,
    pub(crate) fired: Vec<EntrySlot>,
    pub(crate) woken: Vec<Wait>,
}

/// What waits as one, by slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    Destination(u32),
    Site(u32),
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries_max: 10_000_000, idle_destinations_max: 4_096, idle_sites_max: 4_096 }
    }
}

impl Queue {
    /// An empty queue. `seed` keeps strangers, who choose the names of next
    /// hops, from choosing hash collisions.
    pub fn new(now: Monotonic, seed: u64, bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: Slab::new(bounds.entries_max),
            timers: Wheel::new(now),
            destinations: Slab::new(usize::MAX),
            by_hop: map::seeded(seed),
            idle_destinations: (List::EMPTY, 0),
            sites: Slab::new(usize::MAX),
            by_site: map::seeded(seed),
            idle_sites: (List::EMPTY, 0),
            waits: Wheel::new(now),
            work: VecDeque::new(),
            work_looked_at: 0,
            counts: Counts::default(),
            mix: Mix::default(),
            origin: None,
            epoch: 0,
            fired: Vec::new(),
            woken: Vec::new(),
        }
    }

    /// Queues a recipient for `hop`.
    ///
    /// # Errors
    /// [`InsertError::LocalFull`] when [`Bounds::entries_max`] wait.
    pub fn insert(
        &mut self,
        now: Now,
        hop: NextHop<'_>,
        new: &New,
        when: When,
    ) -> Result<EntryKey, InsertError> {
        if self.entries.is_full() {
            return Err(InsertError::LocalFull { entries_max: self.bounds.entries_max });
        }
        let destination = self.destination_for(hop);
        self.origin.get_or_insert(now);
        let steady = self.steady(now);
        let key = self.entries.insert(Entry::new(now, steady, new, destination));
        let key = key.expect("the table is not full");
        let index = key.index();
        *self.counts.of(State::InFlight) += 1;
        self.enter_destination(index);
        let to = match when {
            When::Now => To::Ready(End::Back),
            When::Turn => To::Ready(End::Turn),
            When::At(until) => To::Deferred(now.mono_at(until)),
            When::Held => To::Held,
        };
        self.change(index, to);
        self.arm(index);
        Ok(EntryKey(key))
    }

    /// An entry, unless it is gone.
    pub fn entry(&self, now: Now, key: EntryKey) -> Option<View> {
        let entry = self.entries.get(key.0)?;
        let destination = self.destinations.key_at(entry.destination);
        let destination = destination.expect("a destination outlives its entries");
        Some(entry.view(now, self.steady(now), DestinationKey(destination)))
    }

    /// The present on a wall clock that never jumps: what the machine's showed
    /// at the first entry, and the time that has passed since.
    pub(crate) fn steady(&self, now: Now) -> Wall {
        let origin = self.origin.unwrap_or(now);
        origin.wall + now.mono.since(origin.mono)
    }

    /// An entry's state, unless it is gone.
    pub fn state(&self, key: EntryKey) -> Option<State> {
        self.entries.get(key.0).map(|entry| entry.state)
    }

    /// Entries by state.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Destinations known, idle ones included.
    pub fn destinations(&self) -> usize {
        self.destinations.len()
    }

    /// Sites known, unused ones included.
    pub fn sites(&self) -> usize {
        self.sites.len()
    }

    /// What the shard called a destination, and its entries.
    pub fn destination(&self, key: DestinationKey) -> Option<(NextHop<'_>, Counts)> {
        let destination = self.destinations.get(key.0)?;
        let HopName { name, route, exit } = &destination.hop;
        let hop = NextHop { name, route: *route, exit: *exit };
        Some((hop, destination.tally.counts))
    }

    /// The destination of a next hop, if any mail leads or lately led there.
    pub fn find_destination(&self, hop: NextHop<'_>) -> Option<DestinationKey> {
        let index = *self.by_hop.get(&hop)?;
        self.destinations.key_at(index).map(DestinationKey)
    }

    /// The site of a name given to [`Queue::resolved`], if it is known.
    pub fn find_site(&self, name: &str) -> Option<SiteKey> {
        self.sites.key_at(*self.by_site.get(name)?).map(SiteKey)
    }

    /// The destinations whose ready mail waits for this site: as many as stand
    /// there, so only for what happens once a failure.
    pub fn waiting_at(&self, key: SiteKey) -> Vec<DestinationKey> {
        let Some(site) = self.sites.get(key.0) else { return Vec::new() };
        let members = site.ring.members(&self.destinations);
        members.filter_map(|index| self.destinations.key_at(index).map(DestinationKey)).collect()
    }

    /// The site a destination was last resolved to, even if that is out of date.
    pub fn site_of(&self, key: DestinationKey) -> Option<SiteKey> {
        let index = self.destinations.get(key.0)?.site()?;
        self.sites.key_at(index).map(SiteKey)
    }

    /// Repairs where an entry's message lies.
    pub fn set_place(&mut self, key: EntryKey, place: Place) {
        if let Some(entry) = self.entries.get_mut(key.0) {
            entry.place = place;
        }
    }

    /// Whether an attempt may have delivered the entry.
    pub fn set_in_doubt(&mut self, key: EntryKey, in_doubt: bool) {
        if let Some(entry) = self.entries.get_mut(key.0) {
            entry.mark(flag::IN_DOUBT, in_doubt);
        }
    }

    /// The entry has its final outcome and leaves, whatever its state. False
    /// when it was gone already.
    pub fn done(&mut self, key: EntryKey) -> bool {
        if !self.entries.contains(key.0) {
            return false;
        }
        let index = key.0.index();
        self.change(index, To::InFlight);
        *self.counts.of(State::InFlight) -= 1;
        self.leave_destination(index);
        self.timers.cancel(member(&self.entries, index).timer);
        self.entries.remove(key.0);
        true
    }

    /// Moves an entry to another next hop, in the state it is in: the
    /// configuration now sends it elsewhere. False when it is gone.
    pub fn reroute(&mut self, key: EntryKey, hop: NextHop<'_>) -> bool {
        let Some(entry) = self.entries.get(key.0) else { return false };
        let index = key.0.index();
        let state = entry.state;
        if self.by_hop.get(&hop) == Some(&entry.destination) {
            return true;
        }
        let back = match state {
            State::Deferred => To::Deferred(entry.until()),
            State::Ready => To::Ready(End::Back),
            State::InFlight => To::InFlight,
            State::Held => To::Held,
        };
        self.change(index, To::InFlight);
        self.leave_destination(index);
        let destination = self.destination_for(hop);
        member_mut(&mut self.entries, index).destination = destination;
        self.enter_destination(index);
        self.change(index, back);
        true
    }

    /// Gives an entry another end of its lifetime, and another time for its
    /// delay notice unless that was given: the configuration has changed.
    pub fn set_lifetime(&mut self, now: Now, key: EntryKey, expires: Wall, notice: Option<Wall>) {
        let Some(entry) = self.entries.get_mut(key.0) else { return };
        entry.set_lifetime(now, expires, notice);
        if entry.timer != TimerKey::NONE {
            self.arm(key.0.index());
        }
    }

    /// Notes at the destination and its site why mail has to wait.
    pub(crate) fn note_reason(&mut self, destination: u32, reason: &str) {
        let destination = member_mut(&mut self.destinations, destination);
        let kept = keep_reason(&mut destination.reason, reason);
        if let Resolution::At { site, .. } = destination.resolution {
            member_mut(&mut self.sites, site).reason = kept;
        }
    }
}

#[cfg(test)]
mod tests;
