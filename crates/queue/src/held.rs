//! What an operator does to one entry: hold, release, flush, remove. Many of
//! them at once are a [`crate::Sweep`].

use base::Now;

use crate::entry::{EntryKey, State, flag};
use crate::list::member;
use crate::queue::Queue;
use crate::schedule::{End, To};

impl Queue {
    /// Holds an entry until it is released, or its lifetime ends. One in
    /// flight is held when it comes back. False when it is gone.
    pub fn hold(&mut self, key: EntryKey) -> bool {
        let Some(entry) = self.entries.get_mut(key.0) else { return false };
        match entry.state {
            State::InFlight => entry.mark(flag::HOLD, true),
            State::Held => {}
            State::Deferred | State::Ready => self.change(key.0.index(), To::Held),
        }
        true
    }

    /// Whether an entry was told to be held when it comes back from its attempt.
    pub fn is_to_be_held(&self, key: EntryKey) -> bool {
        self.entries.get(key.0).is_some_and(|entry| entry.is(flag::HOLD))
    }

    /// Whether an entry was told to be removed when it comes back from its
    /// attempt.
    pub fn is_to_be_removed(&self, key: EntryKey) -> bool {
        self.entries.get(key.0).is_some_and(|entry| entry.is(flag::REMOVE))
    }

    /// Makes a held entry ready. False when it is gone.
    pub fn release(&mut self, key: EntryKey) -> bool {
        let Some(entry) = self.entries.get_mut(key.0) else { return false };
        match entry.state {
            State::InFlight => entry.mark(flag::HOLD, false),
            State::Held if !entry.is(flag::REMOVE) => {
                self.change(key.0.index(), To::Ready(End::Back));
            }
            State::Held | State::Deferred | State::Ready => {}
        }
        true
    }

    /// Makes a deferred entry ready before its time, and its destination and
    /// site tried before theirs. Limits still hold. False when it is gone.
    pub fn flush(&mut self, key: EntryKey) -> bool {
        let Some(entry) = self.entries.get(key.0) else { return false };
        let destination = entry.destination;
        if entry.state == State::Deferred {
            self.change(key.0.index(), To::Ready(End::Back));
        }
        if self.state(key) == Some(State::Ready) {
            self.look_up_again(destination);
            if let Some(site) = member(&self.destinations, destination).site() {
                self.probe_now(site);
            }
        }
        true
    }

    /// Removes an entry by command. True: it is in flight for the shard now,
    /// which records the removal and calls [`Queue::done`]. False: it is gone,
    /// or in flight already; in that case it comes as [`crate::Due::Removed`]
    /// unless its attempt succeeds.
    pub fn remove(&mut self, now: Now, key: EntryKey) -> bool {
        let Some(entry) = self.entries.get_mut(key.0) else { return false };
        if entry.state == State::InFlight {
            // An expired one is with the shard and ends there anyway.
            let expired = entry.expires() <= now.mono;
            entry.mark(flag::REMOVE, !expired);
            return false;
        }
        self.hand_over(key.0.index());
        true
    }
}
