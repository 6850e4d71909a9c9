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
