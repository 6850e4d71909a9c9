//! Where next hops lead: destinations and the sites they belong to are made
//! here on first use, joined, parted, and dropped when they were of no use for
//! long enough.
//!
//! Invariants: a destination is idle exactly while it has no entry, a site
//! unused exactly while it has neither members nor connections; only such are
//! dropped, oldest first, when there are more than [`crate::Bounds`] allow.

use std::sync::Arc;

use base::{Monotonic, Now, TimerKey};

use crate::destination::{Destination, DestinationKey, HopName, NextHop, Resolution, keep_reason};
use crate::entry::{EntryKey, State};
use crate::list::{member, member_mut};
use crate::queue::{Queue, Wait};
use crate::schedule::To;
use crate::site::{Site, SiteKey};

/// An answer is believed for at least so long, or a time-to-live of zero would
/// have its destination looked up for ever and never delivered to.
pub(crate) const RESOLUTION_MS_MIN: u64 = 1_000;

impl Queue {
    /// The destination's mail goes to the site called `site`, which may have
    /// `limit` connections; to be asked again after `until`.
    pub fn resolved(
        &mut self,
        now: Now,
        key: DestinationKey,
        site: &str,
        limit: u32,
        until: Monotonic,
    ) -> Option<SiteKey> {
        self.destinations.get(key.0)?;
        let index = key.0.index();
        self.unresolve(index);
        let site = self.site_for(site, limit);
        let until = until.max(Monotonic::from_millis(now.mono.as_millis() + RESOLUTION_MS_MIN));
        let destination = member_mut(&mut self.destinations, index);
        destination.resolution = Resolution::At { site, until, epoch: self.epoch };
        let place = member_mut(&mut self.sites, site);
        place.members += 1;
        place.tally.merge(&destination.tally);
        self.unrest_site(site);
        self.activate(index);
        self.sites.key_at(site).map(SiteKey)
    }

    /// The look-up gave no answer: the destination's mail waits as one until
    /// `until`; no attempt was made.
    pub fn resolve_failed(&mut self, key: DestinationKey, until: Monotonic, reason: &str) {
        if !self.destinations.contains(key.0) {
            return;
        }
        let index = key.0.index();
        self.unresolve(index);
        let timer = self.waits.insert(until, Wait::Destination(index));
        let destination = member_mut(&mut self.destinations, index);
        destination.resolution = Resolution::Failed { until, timer };
        keep_reason(&mut destination.reason, reason);
    }

    /// There is no such place: all ready mail comes back as [`crate::Work::Reject`].
    /// Mail that becomes ready after that asks again.
    pub fn reject(&mut self, key: DestinationKey) {
        if !self.destinations.contains(key.0) {
            return;
        }
        let index = key.0.index();
        self.unresolve(index);
        let destination = member_mut(&mut self.destinations, index);
        if destination.has_ready() {
            destination.resolution = Resolution::Rejected;
            self.ask(index);
        }
    }

    /// Whether ready mail of a destination is still to come back by
    /// [`crate::Work::Reject`].
    pub fn is_rejected(&self, key: DestinationKey) -> bool {
        let rejected = |at: &Destination| matches!(at.resolution, Resolution::Rejected);
        self.destinations.get(key.0).is_some_and(rejected)
    }

    /// Moves up to `entries_max` ready entries of a rejected destination into
    /// flight, for the shard to bounce, and appends them to `out`. If more are
    /// left, [`crate::Work::Reject`] comes again.
    pub fn drain(&mut self, key: DestinationKey, entries_max: usize, out: &mut Vec<EntryKey>) {
        let index = key.0.index();
        for _ in 0..entries_max {
            let Some(destination) = self.destinations.get_mut(key.0) else { return };
            if !matches!(destination.resolution, Resolution::Rejected) {
                return;
            }
            let Some(head) = destination.next_head() else { break };
            out.extend(self.entries.key_at(head).map(EntryKey));
            self.change(head, To::InFlight);
        }
        if self.destinations.get(key.0).is_some_and(Destination::has_ready) {
            self.ask(index);
        }
    }

    /// Routes or answers changed: every destination is looked up again before
    /// its mail is next taken.
    pub fn forget_resolutions(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Forgets where a destination is, or that it could not be found.
    pub(crate) fn unresolve(&mut self, index: u32) {
        self.leave_ring(index);
        let destination = member_mut(&mut self.destinations, index);
        match destination.resolution {
            Resolution::At { site, .. } => {
                let place = member_mut(&mut self.sites, site);
                place.tally.unmerge(&destination.tally);
                place.members -= 1;
                destination.resolution = Resolution::Unresolved;
                destination.was_at = self.sites.key_at(site);
                self.rest_site(site);
            }
            Resolution::Failed { timer, .. } => {
                self.waits.cancel(timer);
                destination.resolution = Resolution::Unresolved;
            }
            _ => destination.resolution = Resolution::Unresolved,
        }
    }

    /// A failed look-up may be tried again.
    pub(crate) fn look_up_again(&mut self, index: u32) {
        if let Resolution::Failed { .. } = member(&self.destinations, index).resolution {
            self.unresolve(index);
            self.activate(index);
        }
    }

    pub(crate) fn destination_for(&mut self, hop: NextHop<'_>) -> u32 {
        if let Some(index) = self.by_hop.get(&hop) {
            return *index;
        }
        let hop = HopName { name: Arc::from(hop.name), route: hop.route, exit: hop.exit };
        let key = self.destinations.insert(Destination::new(hop.clone()));
        let index = key.expect("destinations are bounded by entries and idle ones").index();
        self.by_hop.insert(hop, index);
        index
    }

    fn site_for(&mut self, name: &str, limit: u32) -> u32 {
        if let Some(index) = self.by_site.get(name) {
            let index = *index;
            member_mut(&mut self.sites, index).window.set_limit(limit);
            return index;
        }
        let name: Arc<str> = Arc::from(name);
        let key = self.sites.insert(Site::new(Arc::clone(&name), limit));
        let index = key.expect("sites are bounded by destinations and connections").index();
        self.by_site.insert(name, index);
        index
    }

    /// Counts an entry, in flight, at its destination.
    pub(crate) fn enter_destination(&mut self, index: u32) {
        let entry = member(&self.entries, index);
        let arrived = entry.arrived();
        let at = entry.destination;
        let destination = member_mut(&mut self.destinations, at);
        destination.tally.enter(State::InFlight, arrived);
        if let Some(site) = destination.site() {
            member_mut(&mut self.sites, site).tally.enter(State::InFlight, arrived);
        }
        if destination.idle {
            destination.idle = false;
            let (list, len) = &mut self.idle_destinations;
            list.unlink(&mut self.destinations, at);
            *len -= 1;
        }
    }

    /// Stops counting an entry, in flight, at its destination.
    pub(crate) fn leave_destination(&mut self, index: u32) {
        let entry = member(&self.entries, index);
        let arrived = entry.arrived();
        let at = entry.destination;
        let destination = member_mut(&mut self.destinations, at);
        destination.tally.leave(State::InFlight, arrived);
        if let Some(site) = destination.site() {
            member_mut(&mut self.sites, site).tally.leave(State::InFlight, arrived);
        }
        if destination.tally.counts.total() > 0 {
            return;
        }
        destination.idle = true;
        let (list, len) = &mut self.idle_destinations;
        list.push_back(&mut self.destinations, at);
        *len += 1;
        if *len > self.bounds.idle_destinations_max {
            let oldest = list.head().expect("the list was just added to");
            list.unlink(&mut self.destinations, oldest);
            *len -= 1;
            self.drop_destination(oldest);
        }
    }

    fn drop_destination(&mut self, index: u32) {
        self.unresolve(index);
        let key = self.destinations.key_at(index).expect("an idle destination is in use");
        let gone = self.destinations.remove(key).expect("the key was just made");
        self.by_hop.remove(&gone.hop);
    }

    /// Puts a site that nothing needs any more on the list of unused ones.
    pub(crate) fn rest_site(&mut self, index: u32) {
        let site = member_mut(&mut self.sites, index);
        if site.unused || site.members > 0 || site.open > 0 {
            return;
        }
        site.unused = true;
        let (list, len) = &mut self.idle_sites;
        list.push_back(&mut self.sites, index);
        *len += 1;
        if *len > self.bounds.idle_sites_max {
            let oldest = list.head().expect("the list was just added to");
            list.unlink(&mut self.sites, oldest);
            *len -= 1;
            let key = self.sites.key_at(oldest).expect("an unused site is in its slot");
            let gone = self.sites.remove(key).expect("the key was just made");
            self.waits.cancel(gone.timer);
            self.by_site.remove(&gone.name);
        }
    }

    fn unrest_site(&mut self, index: u32) {
        let site = member_mut(&mut self.sites, index);
        if site.unused {
            site.unused = false;
            let (list, len) = &mut self.idle_sites;
            list.unlink(&mut self.sites, index);
            *len -= 1;
        }
    }

    /// Time to look a destination up again.
    pub(crate) fn destination_due(&mut self, index: u32) {
        let destination = member_mut(&mut self.destinations, index);
        if let Resolution::Failed { timer, .. } = &mut destination.resolution {
            *timer = TimerKey::NONE;
        }
        self.look_up_again(index);
    }
}
