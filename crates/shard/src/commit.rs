//! Who waits for stable storage: a client for its 250, an owner for the word
//! that an outcome is recorded, a final dot for its attempt record. Kept in
//! the order of appending, so that the end of a sync serves a prefix.
//!
//! Invariant: a waiter is served once, when the spool's durable mark has
//! reached its position, or told that its record was lost.

use std::collections::VecDeque;

use base::{ConnId, MessageId, ShardId};
use spool::{Lost, Position};

/// One that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A message just accepted; `conn` is the client that waits for the 250,
    /// none for our own reports.
    Accepted {
        /// The client's connection.
        conn: Option<ConnId>,
        /// The message.
        message: MessageId,
    },
    /// A message that came without a session.
    Submitted {
        /// Who waits for the answer.
        request: u64,
        /// The message.
        message: MessageId,
    },
    /// A message out of another queue.
    Imported {
        /// Who waits for the answer.
        request: u64,
        /// The message.
        message: MessageId,
    },
    /// Outcomes that were recorded for another shard.
    Recorded {
        /// The owner that made the attempt.
        owner: ShardId,
        /// The message.
        message: MessageId,
        /// Its recipients.
        recipients: Vec<u16>,
    },
    /// A transaction whose final dot waits for its attempt record.
    Dot {
        /// The connection.
        conn: ConnId,
    },
}

/// The waiting line.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    waiting: VecDeque<(Position, Waiter)>,
}

impl Commits {
    /// Puts one at the end of the line.
    pub(crate) fn wait(&mut self, position: Position, waiter: Waiter) {
        debug_assert!(self.waiting.back().is_none_or(|(last, _)| *last <= position));
        self.waiting.push_back((position, waiter));
    }

    /// The next one whose record is durable.
    pub(crate) fn served(&mut self, durable: Position) -> Option<Waiter> {
        match self.waiting.front() {
            Some((position, _)) if *position <= durable => {
                self.waiting.pop_front().map(|(_, waiter)| waiter)
            }
            _ => None,
        }
    }

    /// Takes out those whose records a failed sync lost.
    pub(crate) fn lost(&mut self, lost: Lost) -> Vec<Waiter> {
        let mut gone = Vec::new();
        let range = lost.first..=lost.last;
        for (position, waiter) in std::mem::take(&mut self.waiting) {
            if range.contains(&position) {
                gone.push(waiter);
            } else {
                self.waiting.push_back((position, waiter));
            }
        }
        gone
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
