//! Mail whose next hop cannot be kept: it is returned because there is no such
//! place, routed anew because its policy is gone or another source takes it, or
//! falls to the default way. All of it is read, and may have waited for long.
//!
//! Invariant: one step handles no more than [`RETURNED_PER_STEP`] recipients of
//! it, so that a deep queue never keeps the shard from everything else.

use std::collections::VecDeque;

use mail::Status;
use queue::{DestinationKey, EntryKey};

use crate::armed::Timer;
use crate::mesh::SettledAs;
use crate::shard::{Shard, Turn};

/// Recipients that one step takes back.
pub(crate) const RETURNED_PER_STEP: usize = 1_024;
/// Of these, of one destination in a row.
const RETURNED_AT_ONCE: usize = 256;

/// How far the taking back is.
#[derive(Debug, Default)]
pub(crate) struct Returning {
    /// Recipients that this step has taken back.
    count: usize,
    /// Destinations of which there are more.
    later: VecDeque<DestinationKey>,
}

impl Returning {
    /// A step begins.
    pub(crate) fn begin(&mut self) {
        self.count = 0;
    }
}

impl Shard {
    /// Marks a destination as permanently impossible; its mail comes back.
    pub(crate) fn reject(&mut self, destination: DestinationKey, status: Status, reason: String) {
        // Without ready mail the queue only forgets what it knew.
        if self.queue.destination(destination).is_some_and(|(_, counts)| counts.ready > 0) {
            self.lookups.rejected.insert(destination, (status, reason));
        }
        self.queue.reject(destination);
    }

    /// The policy that a destination was queued under is gone: its mail comes
    /// back to be routed anew.
    pub(crate) fn route_anew(&mut self, destination: DestinationKey) {
        self.lookups.rejected.remove(&destination);
        self.lookups.falling.remove(&destination);
        self.queue.reject(destination);
    }

    /// Goes on where a step before had to stop. True: there is more to do.
    pub(crate) fn go_on_returning(&mut self, turn: &mut Turn<'_>) -> bool {
        // Without storage no outcome could be kept.
        if self.draining || self.spool.is_down() {
            return false;
        }
        while self.lookups.returning.count < RETURNED_PER_STEP {
            let Some(destination) = self.lookups.returning.later.pop_front() else { break };
            self.return_rejected(turn, destination);
        }
        !self.lookups.returning.later.is_empty()
    }

    /// Mail of a rejected destination: bounced, or, when the policy it was
    /// queued under is gone, routed anew.
    pub(crate) fn return_rejected(&mut self, turn: &mut Turn<'_>, destination: DestinationKey) {
        if self.lookups.returning.count >= RETURNED_PER_STEP {
            self.lookups.returning.later.push_back(destination);
            self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
            return;
        }
        let mut entries: Vec<EntryKey> = Vec::new();
        self.queue.drain(destination, RETURNED_AT_ONCE, &mut entries);
        self.lookups.returning.count += entries.len();
        let left = self.queue.is_rejected(destination);
        if self.lookups.falling.contains(&destination) {
            if !left {
                self.lookups.falling.remove(&destination);
            }
            for key in entries.into_iter().rev() {
                self.fall_back(turn, key);
            }
            return;
        }
        let rejected = match left {
            true => self.lookups.rejected.get(&destination).cloned(),
            false => self.lookups.rejected.remove(&destination),
        };
        match rejected {
            Some((status, reason)) => {
                for key in entries {
                    self.settle_unsent(turn, key, SettledAs::Failed, status, &reason);
                }
            }
            None => {
                for key in entries.into_iter().rev() {
                    self.put_back(turn, key);
                }
            }
        }
    }
}
