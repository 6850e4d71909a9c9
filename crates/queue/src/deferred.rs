//! The one timer of each entry, and the way back from an attempt. A timer
//! stands at the first thing that must happen: the next attempt of deferred
//! mail, the delay notice, the end of the lifetime, which therefore comes in
//! every state.
//!
//! A timer may stand earlier than needed (mail that went into flight before its
//! notice, deferred mail that was flushed); it is then set anew when it fires.

use std::num::NonZeroU32;

use base::planted::{Bug, planted};
use base::{Monotonic, Now, TimerKey, Wall};

use crate::entry::{EntryKey, State, flag};
use crate::list::{member, member_mut};
use crate::queue::{EntrySlot, Queue, Wait};
use crate::schedule::{End, To};

/// Timers that one [`Queue::advance`] handles at most.
pub const ADVANCE_TIMERS_MAX: usize = 1_024;

/// What came due, for the shard to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The lifetime is over. With `attempt_open` an attempt was under way:
    /// success may still come; if the entry is deferred instead, it comes due
    /// again at once. Otherwise nobody else has it: bounce it, then
    /// [`Queue::done`].
    Expired {
        /// The entry, in flight.
        key: EntryKey,
        /// Whether it was in flight before.
        attempt_open: bool,
    },
    /// The sender should hear that it takes longer; told once.
    DelayNotice(EntryKey),
    /// Was to be removed while it was in flight, and came back: now in flight
    /// for the shard to remove, then [`Queue::done`].
    Removed(EntryKey),
}

impl Queue {
    /// When to call [`Queue::advance`] next, perhaps a little before anything
    /// is due.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let first = [self.timers.next_deadline(), self.waits.next_deadline()];
        first.into_iter().flatten().min()
    }

    /// Makes due mail ready, ends the waits of destinations and sites, and
    /// appends to `out` what the shard must settle. Handles at most
    /// [`ADVANCE_TIMERS_MAX`] timers of each kind; when more are due,
    /// [`Queue::next_deadline`] stays in the past.
    pub fn advance(&mut self, now: Now, out: &mut Vec<Due>) {
        let mut fired = std::mem::take(&mut self.fired);
        self.timers.advance_some(now.mono, ADVANCE_TIMERS_MAX, &mut fired);
        for slot in fired.drain(..) {
            self.entry_due(now, slot.get() - 1, out);
        }
        self.fired = fired;
        let mut woken = std::mem::take(&mut self.woken);
        self.waits.advance_some(now.mono, ADVANCE_TIMERS_MAX, &mut woken);
        for wait in woken.drain(..) {
            match wait {
                Wait::Destination(index) => self.destination_due(index),
                Wait::Site(index) => self.site_due(now, index),
            }
        }
        self.woken = woken;
    }

    /// An attempt failed for now: the entry waits until `until`, with
    /// `attempts` made so far. `reason` is kept at its destination. Beyond the
    /// end of its lifetime it comes due as expired, not earlier and not later.
    /// False when it is gone.
    pub fn defer(
        &mut self,
        now: Now,
        key: EntryKey,
        until: Wall,
        attempts: u16,
        reason: &str,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(key.0) else { return false };
        entry.attempts = attempts;
        let destination = entry.destination;
        self.note_reason(destination, reason);
        self.come_back(now, key.0.index(), To::Deferred(now.mono_at(until)));
        true
    }

    /// The attempt was not made, for a reason of our own: the entry goes back
    /// to the front of its lane. Several of one batch come back in order when
    /// the last is given first. False when it is gone.
    pub fn ready_again(&mut self, now: Now, key: EntryKey) -> bool {
        if !self.entries.contains(key.0) {
            return false;
        }
        self.come_back(now, key.0.index(), To::Ready(End::Front));
        true
    }

    fn come_back(&mut self, now: Now, index: u32, to: To) {
        let entry = member_mut(&mut self.entries, index);
        let (hold, remove) = (entry.is(flag::HOLD), entry.is(flag::REMOVE));
        entry.mark(flag::HOLD, false);
        self.change(index, if hold || remove { To::Held } else { to });
        if remove {
            self.set_timer(index, now.mono);
        } else {
            self.arm(index);
        }
    }

    /// Sets an entry's timer to its deadline.
    pub(crate) fn arm(&mut self, index: u32) {
        let deadline = member(&self.entries, index).deadline();
        self.set_timer(index, deadline);
    }

    fn set_timer(&mut self, index: u32, at: Monotonic) {
        let entry = member_mut(&mut self.entries, index);
        self.timers.cancel(entry.timer);
        entry.timer = self.timers.insert(at, slot(index));
    }

    /// Gives an entry to the shard for good: in flight, without a timer.
    pub(crate) fn hand_over(&mut self, index: u32) -> EntryKey {
        self.change(index, To::InFlight);
        let entry = member_mut(&mut self.entries, index);
        self.timers.cancel(entry.timer);
        entry.timer = TimerKey::NONE;
        EntryKey(self.entries.key_at(index).expect("the entry was just changed"))
    }

    fn entry_due(&mut self, now: Now, index: u32, out: &mut Vec<Due>) {
        let entry = member_mut(&mut self.entries, index);
        entry.timer = TimerKey::NONE;
        let attempt_open = entry.state == State::InFlight;
        if entry.is(flag::REMOVE) && !attempt_open {
            out.push(Due::Removed(self.hand_over(index)));
            return;
        }
        let retried = planted(Bug::RetryPastLifetime) && entry.state == State::Deferred;
        if entry.expires() <= now.mono && !retried {
            out.push(Due::Expired { key: self.hand_over(index), attempt_open });
            return;
        }
        if !attempt_open && entry.notice().is_some_and(|notice| notice <= now.mono) {
            entry.notice_given();
            let key = self.entries.key_at(index).expect("a timer's entry is in use");
            out.push(Due::DelayNotice(EntryKey(key)));
        }
        let entry = member(&self.entries, index);
        if entry.state == State::Deferred && entry.until() <= now.mono {
            self.change(index, To::Ready(End::Back));
        }
        self.arm(index);
    }
}

fn slot(index: u32) -> EntrySlot {
    NonZeroU32::MIN.saturating_add(index)
}
