//! What an operator stopped: destinations and sites whose mail stays ready and
//! is not taken. Which ones is the shard's to say, as it is asked where they
//! are ([`crate::Work::Resolve`]); nothing here ends by itself.
//!
//! Invariant: no connection is wanted for, and none takes mail of, what is
//! stopped; timers of entries go on, so that lifetimes end as ever.

use base::Wall;

use crate::destination::{Destination, DestinationKey, Resolution, keep_reason};
use crate::list::member_mut;
use crate::queue::Queue;
use crate::site::{Halt, SiteKey};

/// A walk over all destinations that wakes those that were stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Awaking {
    slot: u32,
}

impl Queue {
    /// The answer to [`crate::Work::Resolve`] for a destination that is
    /// stopped: its mail stays, until [`Queue::awake`] comes by. `until` and
    /// `reason` are for the tables.
    pub fn suspend(&mut self, key: DestinationKey, until: Option<Wall>, reason: &str) {
        if !self.destinations.contains(key.0) {
            return;
        }
        let index = key.0.index();
        self.unresolve(index);
        let destination = member_mut(&mut self.destinations, index);
        destination.resolution = Resolution::Suspended { until };
        keep_reason(&mut destination.reason, reason);
    }

    /// Ends [`Queue::suspend`] for one destination: it is asked for anew once it
    /// has mail to send.
    pub fn awake_one(&mut self, key: DestinationKey) {
        let stopped = |at: &Destination| matches!(at.resolution, Resolution::Suspended { .. });
        if self.destinations.get(key.0).is_some_and(stopped) {
            self.unresolve(key.0.index());
            self.activate(key.0.index());
        }
    }

    /// Stops a site; its connections close when they ask for mail.
    pub fn suspend_site(&mut self, key: SiteKey, until: Option<Wall>, reason: &str) {
        let Some(site) = self.sites.get_mut(key.0) else { return };
        site.halt = Halt::Until(until);
        site.meter.rests();
        keep_reason(&mut site.reason, reason);
    }

    /// Ends [`Queue::suspend_site`].
    pub fn resume_site(&mut self, key: SiteKey) {
        let Some(site) = self.sites.get_mut(key.0) else { return };
        site.halt = Halt::No;
        self.wake_site(key.0.index());
    }

    /// Goes on with a walk for `slots_max` slots: destinations that are stopped
    /// are asked for anew. True: call again.
    pub fn awake(&mut self, awaking: &mut Awaking, slots_max: u32) -> bool {
        let end = awaking.slot.saturating_add(slots_max).min(self.destinations.slots());
        for slot in awaking.slot..end {
            let stopped = |at: &Destination| matches!(at.resolution, Resolution::Suspended { .. });
            if self.destinations.at(slot).is_some_and(stopped) {
                self.unresolve(slot);
                self.activate(slot);
            }
        }
        awaking.slot = end;
        end < self.destinations.slots()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{HOUR, Story};
    use crate::{Phase, Status, Take, Work};

    /// Stopped when asked for, asked for again when woken; two slots a step.
    #[test]
    fn a_stopped_destination_waits_until_it_is_woken() {
        let mut story = Story::new();
        for name in ["a", "b", "c"] {
            story.mails(name, 2);
        }
        for work in story.work() {
            let Work::Resolve(key) = work else { panic!("{work:?}") };
            story.queue.suspend(key, None, "their move");
        }
        story.mails("a", 1);
        assert_eq!(story.work(), [], "new mail does not wake it");
        let rows = story.queue.top_sites(story.now, 3);
        assert!(rows.iter().all(|row| row.status == Status::Suspended(None)));
        assert_eq!(rows[0].reason.as_deref(), Some("their move"));
        assert_eq!(rows[0].next_attempt, None);
        let mut awaking = Awaking::default();
        assert!(story.queue.awake(&mut awaking, 2));
        assert_eq!(story.work().len(), 2);
        assert!(!story.queue.awake(&mut awaking, 2));
        assert_eq!(story.work().len(), 1);
    }

    #[test]
    fn one_stopped_destination_is_woken_by_itself() {
        let mut story = Story::new();
        let entries = story.mails("a", 1);
        story.mails("b", 1);
        let work = story.work();
        for work in &work {
            let Work::Resolve(key) = work else { panic!("{work:?}") };
            story.queue.suspend(*key, None, "their move");
        }
        let Work::Resolve(first) = work[0] else { panic!("{work:?}") };
        story.queue.awake_one(first);
        assert_eq!(story.work(), [work[0]]);
        story.queue.suspend(first, None, "their move");
        story.queue.remove(story.now, entries[0]);
        story.queue.awake_one(first);
        assert_eq!(story.work(), [], "without mail nobody asks");
        story.mails("a", 1);
        assert_eq!(story.work(), [work[0]], "new mail asks");
    }

    #[test]
    fn a_stopped_site_gives_no_mail_and_no_connection() {
        let mut story = Story::new();
        story.mails("a", 3);
        let site = story.connections("s", 1)[0];
        let until = Some(story.wall_in(HOUR));
        story.queue.suspend_site(site, until, "their move");
        let mut entries = Vec::new();
        let taken = story.queue.take(story.now, site, Phase::Dispatched, 10, &mut entries);
        assert_eq!(taken, Take::Close);
        story.queue.connection_closed(site, Phase::Closing);
        assert_eq!(story.work(), []);
        let row = &story.queue.top_sites(story.now, 1)[0];
        assert_eq!((row.status, row.next_attempt), (Status::Suspended(until), until));
        story.queue.resume_site(site);
        assert_eq!(story.work(), [Work::Open(site)]);
    }
}
