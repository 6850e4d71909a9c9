//! Who goes next. Ready mail stands in its destination's lanes; a destination
//! with ready mail either waits for its look-up or stands in its site's ring;
//! a site with ready mail, room in its window and nothing to wait for stands
//! in the list of work. Each of these is entered when something changes, never
//! found by a scan: the cost is that of what is released.
//!
//! Fair: destinations of a site take turns, one transaction each, so between
//! two transactions of one every other with ready mail has one. Within a
//! destination urgent mail goes first, three to one. Sites take turns too, one
//! connection each.

use base::{Monotonic, Now};

use crate::destination::{DestinationKey, Resolution};
use crate::entry::{State, flag};
use crate::list::{member, member_mut};
use crate::queue::Queue;
use crate::site::SiteKey;

/// Something for the shard to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Find out where the destination is; answered by [`Queue::resolved`],
    /// [`Queue::resolve_failed`] or [`Queue::reject`].
    Resolve(DestinationKey),
    /// Take ready mail of a rejected destination with [`Queue::drain`].
    Reject(DestinationKey),
    /// Open one more connection to the site; it counts as open from now on,
    /// until [`Queue::connection_closed`]. Once it stands, [`Queue::take`].
    Open(SiteKey),
    /// Let an idle connection of the site [`Queue::take`]; it is no longer
    /// idle.
    Use(SiteKey),
}

/// Whose turn may have come; checked again when it is polled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    Destination(DestinationKey),
    Site(SiteKey),
}

/// Where in its lane an entry becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
    /// Where it stood, among those at the front: by its arrival.
    Turn,
}

/// A state to go to, with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Deferred(Monotonic),
    Ready(End),
    InFlight,
    Held,
}

/// Members of a lane that are looked at for the place of one; behind so many it
/// goes to the end.
const TURN_STEPS_MAX: usize = 256;
/// Out-of-date members taken from a ring in one look at it.
const STALE_STEPS_MAX: usize = 64;

impl Queue {
    /// What to do next; call until `None`, after everything that may have
    /// released mail.
    pub fn poll_work(&mut self, now: Now) -> Option<Work> {
        while let Some(item) = self.work.pop_front() {
            self.work_looked_at += 1;
            let work = match item {
                Item::Destination(key) => self.poll_destination(key),
                Item::Site(key) => self.poll_site(now, key),
            };
            if work.is_some() {
                return work;
            }
        }
        None
    }

    /// How often [`Queue::poll_work`] looked at something so far: the price of
    /// waiting, for metrics and tests.
    pub fn work_looked_at(&self) -> u64 {
        self.work_looked_at
    }

    fn poll_destination(&mut self, key: DestinationKey) -> Option<Work> {
        let destination = self.destinations.get_mut(key.0)?;
        destination.asked = false;
        if !destination.has_ready() {
            return None;
        }
        match destination.resolution {
            Resolution::Unresolved => {
                destination.resolution = Resolution::Resolving;
                Some(Work::Resolve(key))
            }
            Resolution::Rejected => Some(Work::Reject(key)),
            Resolution::Resolving
            | Resolution::At { .. }
            | Resolution::Failed { .. }
            | Resolution::Suspended { .. } => None,
        }
    }

    fn poll_site(&mut self, now: Now, key: SiteKey) -> Option<Work> {
        self.sites.get_mut(key.0)?.asked = false;
        let index = key.0.index();
        if !self.sites.get(key.0)?.wants_connection() {
            return None;
        }
        if self.fresh_head(now, index).is_none() {
            self.wake_site(index);
            return None;
        }
        let site = self.sites.get_mut(key.0)?;
        if !site.wants_connection() {
            return None;
        }
        site.dispatched += 1;
        let work = if site.idle > 0 {
            site.idle -= 1;
            Work::Use(key)
        } else {
            site.open += 1;
            Work::Open(key)
        };
        self.wake_site(index);
        Some(work)
    }

    /// The destination whose turn it is, after out-of-date ones were taken off
    /// the ring; `None` when none is left or enough were taken off for once.
    pub(crate) fn fresh_head(&mut self, now: Now, site: u32) -> Option<u32> {
        for _ in 0..STALE_STEPS_MAX {
            let head = self.sites.at(site)?.ring.head()?;
            let Resolution::At { until, epoch, .. } = member(&self.destinations, head).resolution
            else {
                unreachable!("a ring holds resolved destinations");
            };
            if epoch == self.epoch && now.mono < until {
                return Some(head);
            }
            self.unresolve(head);
            self.activate(head);
        }
        None
    }

    /// Changes an entry's state and everything that is linked and counted by it.
    pub(crate) fn change(&mut self, index: u32, to: To) {
        let entry = member(&self.entries, index);
        let (from, destination) = (entry.state, entry.destination);
        let state = match to {
            To::Deferred(_) => State::Deferred,
            To::Ready(_) => State::Ready,
            To::InFlight => State::InFlight,
            To::Held => State::Held,
        };
        if from == State::Ready {
            self.unlink_ready(index);
        }
        *self.counts.of(from) -= 1;
        *self.counts.of(state) += 1;
        let home = member_mut(&mut self.destinations, destination);
        home.tally.change(from, state);
        let mut site = home.site().map(|site| member_mut(&mut self.sites, site));
        if let Some(site) = &mut site {
            site.tally.change(from, state);
        }
        let entry = member_mut(&mut self.entries, index);
        entry.state = state;
        let arrived = entry.arrived();
        match to {
            To::Deferred(until) => {
                entry.set_until(until);
                home.tally.due_at(until);
                if let Some(site) = site {
                    site.tally.due_at(until);
                }
            }
            To::Ready(end) => {
                let lane = home.lane(entry.is(flag::URGENT));
                let later = |at: &u32| member(&self.entries, *at).arrived() > arrived;
                let before = match end {
                    End::Front => lane.head(),
                    End::Back => None,
                    End::Turn => lane.members(&self.entries).take(TURN_STEPS_MAX).find(later),
                };
                match before {
                    Some(before) => lane.push_before(&mut self.entries, index, before),
                    None => lane.push_back(&mut self.entries, index),
                }
                self.activate(destination);
            }
            To::InFlight | To::Held => {}
        }
    }

    fn unlink_ready(&mut self, index: u32) {
        let entry = member(&self.entries, index);
        let (at, urgent) = (entry.destination, entry.is(flag::URGENT));
        let destination = member_mut(&mut self.destinations, at);
        destination.lane(urgent).unlink(&mut self.entries, index);
        if destination.has_ready() {
            return;
        }
        if matches!(destination.resolution, Resolution::Rejected) {
            destination.resolution = Resolution::Unresolved;
        }
        self.leave_ring(at);
    }

    /// A destination may have ready mail: puts it where that is waited for.
    pub(crate) fn activate(&mut self, index: u32) {
        let destination = member_mut(&mut self.destinations, index);
        if !destination.has_ready() {
            return;
        }
        match destination.resolution {
            Resolution::At { site, .. } => {
                if !destination.ringed {
                    destination.ringed = true;
                    let ring = &mut member_mut(&mut self.sites, site).ring;
                    ring.push_back(&mut self.destinations, index);
                }
                self.wake_site(site);
            }
            Resolution::Unresolved | Resolution::Rejected => self.ask(index),
            Resolution::Resolving | Resolution::Failed { .. } | Resolution::Suspended { .. } => {}
        }
    }

    /// Asks the shard about a destination.
    pub(crate) fn ask(&mut self, index: u32) {
        let key = self.destinations.key_at(index).expect("an asked destination is in use");
        let destination = member_mut(&mut self.destinations, index);
        if !destination.asked {
            destination.asked = true;
            self.work.push_back(Item::Destination(DestinationKey(key)));
        }
    }

    /// Something changed that may let a site have one more connection.
    pub(crate) fn wake_site(&mut self, index: u32) {
        // An unused site may be dropped by what was to wake it.
        let Some(key) = self.sites.key_at(index) else { return };
        let site = member_mut(&mut self.sites, index);
        if !site.asked && site.wants_connection() {
            site.asked = true;
            self.work.push_back(Item::Site(SiteKey(key)));
        }
    }

    pub(crate) fn leave_ring(&mut self, index: u32) {
        let destination = member_mut(&mut self.destinations, index);
        if !destination.ringed {
            return;
        }
        destination.ringed = false;
        let site = destination.site().expect("who stands in a ring has a site");
        member_mut(&mut self.sites, site).ring.unlink(&mut self.destinations, index);
    }
}

#[cfg(test)]
mod tests;
