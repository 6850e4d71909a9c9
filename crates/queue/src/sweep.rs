//! Commands over many entries, in bounded steps: a cursor walks over the slots
//! of the table, so that a million entries never stop the shard.
//!
//! An entry that waits from the first step to the last is visited exactly
//! once; one that comes or goes in between may be visited or not.

use base::{MessageId, Now};

use crate::destination::DestinationKey;
use crate::entry::{Entry, EntryKey, State};
use crate::queue::Queue;
use crate::site::SiteKey;

/// Which entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Every one.
    All,
    /// Those in a state.
    State(State),
    /// The recipients of a message.
    Message(MessageId),
    /// Those for a destination.
    Destination(DestinationKey),
    /// Those for the destinations of a site.
    Site(SiteKey),
}

/// What to do with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// List them.
    List,
    /// [`Queue::flush`].
    Flush,
    /// [`Queue::hold`].
    Hold,
    /// [`Queue::release`].
    Release,
    /// [`Queue::remove`].
    Remove,
}

/// A command under way.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    select: Select,
    act: Act,
    slot: u32,
}

impl Sweep {
    /// A command that has not begun.
    pub const fn new(select: Select, act: Act) -> Self {
        Self { select, act, slot: 0 }
    }
}

impl Queue {
    /// Goes on with a command for `slots_max` slots. Entries it applied to are
    /// appended to `out`; of [`Act::Remove`] only those that are now the
    /// shard's to remove. True: call again.
    pub fn sweep(
        &mut self,
        now: Now,
        sweep: &mut Sweep,
        slots_max: u32,
        out: &mut Vec<EntryKey>,
    ) -> bool {
        let end = sweep.slot.saturating_add(slots_max).min(self.entries.slots());
        for slot in sweep.slot..end {
            let Some(key) = self.entries.key_at(slot).map(EntryKey) else { continue };
            let selected =
                self.entries.get(key.0).is_some_and(|entry| self.selects(sweep.select, entry));
            if !selected {
                continue;
            }
            let applied = match sweep.act {
                Act::List => true,
                Act::Flush => self.flush(key),
                Act::Hold => self.hold(key),
                Act::Release => self.release(key),
                Act::Remove => self.remove(now, key),
            };
            if applied {
                out.push(key);
            }
        }
        sweep.slot = end;
        end < self.entries.slots()
    }

    fn selects(&self, select: Select, entry: &Entry) -> bool {
        let destination = self.destinations.key_at(entry.destination);
        match select {
            Select::All => true,
            Select::State(state) => entry.state == state,
            Select::Message(message) => entry.message == message,
            Select::Destination(key) => destination == Some(key.0),
            Select::Site(key) => {
                destination.and_then(|key| self.site_of(DestinationKey(key))) == Some(key)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::When;
    use crate::story::{HOUR, Story, hop};

    /// Three destinations, the first two of one site, 30 entries each.
    fn crowd() -> (Story, SiteKey, Vec<EntryKey>) {
        let mut story = Story::new();
        let mut keys = Vec::new();
        for name in ["a", "b", "c"] {
            for n in 0..30 {
                let new = story.new_mail();
                let when = if n % 2 == 0 { When::Now } else { When::At(story.wall_in(HOUR)) };
                keys.push(story.put(name, &new, when));
            }
        }
        let mut site = None;
        for name in ["c", "b", "a"] {
            let key = story.queue.find_destination(hop(name)).unwrap();
            let to = if name == "c" { "other" } else { "shared" };
            site = Some(story.resolve(key, to, 1));
        }
        (story, site.unwrap(), keys)
    }

    #[test]
    fn a_selection_finds_its_own_each_once() {
        let (mut story, site, keys) = crowd();
        let b = story.queue.find_destination(hop("b")).unwrap();
        let message = story.queue.entry(story.now, keys[77]).unwrap().message;
        for (select, expected) in [
            (Select::All, &keys[..]),
            (Select::Destination(b), &keys[30..60]),
            (Select::Site(site), &keys[..60]),
            (Select::Message(message), &keys[77..78]),
        ] {
            assert_eq!(story.sweep(select, Act::List), expected, "{select:?}");
        }
        assert_eq!(story.sweep(Select::State(State::Deferred), Act::List).len(), 45);
        story.queue.done(keys[0]);
        assert_eq!(story.sweep(Select::All, Act::List), keys[1..]);
    }

    #[test]
    fn commands_apply_to_a_selection_and_nothing_else() {
        let (mut story, site, keys) = crowd();
        assert_eq!(story.sweep(Select::Site(site), Act::Hold), keys[..60]);
        assert_eq!(story.queue.counts().held, 60);
        story.sweep(Select::State(State::Held), Act::Release);
        assert_eq!((story.queue.counts().held, story.queue.counts().ready), (0, 75));
        story.sweep(Select::All, Act::Flush);
        assert_eq!(story.queue.counts().ready, 90);
        let b = story.queue.find_destination(hop("b")).unwrap();
        assert_eq!(story.sweep(Select::Destination(b), Act::Remove), keys[30..60]);
        assert_eq!(story.queue.counts().in_flight, 30);
        assert_eq!(story.sweep(Select::Destination(b), Act::Remove), [], "the shard has them");
    }

    #[test]
    fn a_step_visits_no_more_slots_than_it_may() {
        let (story, _, keys) = crowd();
        let mut queue = story.queue;
        let mut sweep = Sweep::new(Select::All, Act::List);
        let mut out = Vec::new();
        for step in 1..=9 {
            let more = queue.sweep(story.now, &mut sweep, 10, &mut out);
            assert_eq!((out.len(), more), (10 * step, step < 9));
        }
        assert_eq!(out, keys);
        assert!(!queue.sweep(story.now, &mut sweep, u32::MAX, &mut out), "it has ended");
    }
}
