//! Mail that has waited long is probably no longer in memory, and a page fault
//! stops the whole shard: it is brought in by an asynchronous read before any
//! byte of it is touched.
//!
//! Invariant: a batch whose message is being read stays with its connection,
//! and moves on with it if that breaks.

use std::time::Duration;

use base::{ConnId, MessageId};
use queue::EntryKey;
use spool::Place;

use crate::batch::{Batch, BodySource};
use crate::effect::Effect;
use crate::handoff::spool_place;
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

/// Mail younger than this was written a moment ago and is read from memory.
pub(crate) const WARM_FOR: Duration = Duration::from_secs(120);

/// Whom a read is for.
#[derive(Debug)]
pub(crate) enum Reading {
    /// A connection with a batch.
    Batch(ConnId),
    /// Whoever asked for a message as a file (`export`).
    Export {
        /// The waiting caller.
        request: u64,
        /// The message.
        id: MessageId,
    },
}

impl Shard {
    /// The batch of entries just taken, if their message should be read first.
    pub(crate) fn cold_batch(
        &self,
        turn: &Turn<'_>,
        message: MessageId,
        entries: &[EntryKey],
    ) -> Option<Batch> {
        let view = self.queue.entry(turn.now, *entries.first()?)?;
        let place: Place = spool_place(view.place);
        let gone = turn.medium.size(place.segment).is_none();
        if gone || turn.now.wall.since(view.arrived) < WARM_FOR {
            return None;
        }
        let entries = entries.iter().copied().map(Some).collect();
        Some(Batch { message, place, entries, body: BodySource::Unread, dsn: false })
    }

    /// Has the message of the batch at hand brought into memory.
    pub(crate) fn prefetch(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &Outbound) {
        if let Some(batch) = &out.batch {
            self.read_ahead(turn, batch.place, Reading::Batch(conn));
        }
    }

    /// Has a record brought into memory.
    pub(crate) fn read_ahead(&mut self, turn: &mut Turn<'_>, place: Place, reading: Reading) {
        let Place { segment, offset, len } = place;
        let token = self.next_errand();
        self.prefetching.insert(token, reading);
        turn.effects.push(Effect::Prefetch { token, segment, offset, len });
    }

    /// A message is in memory, has moved, or cannot be read.
    pub(crate) fn prefetched(&mut self, turn: &mut Turn<'_>, token: u64, ok: bool) {
        let conn = match self.prefetching.remove(&token) {
            Some(Reading::Batch(conn)) => conn,
            Some(Reading::Export { request, id }) => return self.answer_export(turn, request, id),
            None => return,
        };
        // The connection may have broken meanwhile, and its batch moved on.
        let Some(mut out) = self.pick(conn) else { return };
        let unread = |batch: &mut Batch| matches!(batch.body, BodySource::Unread);
        if let Some(batch) = out.batch.take_if(unread) {
            let entries: Vec<EntryKey> = batch.unsettled().collect();
            let Place { segment, offset, len } = batch.place;
            // Cleaned away while it was read: no damage, and `load` sends it
            // back to its writer. Asked without touching any of the bytes.
            let gone = turn.medium.read(segment, offset, len).is_none();
            if ok || gone {
                self.load(turn, &mut out, batch.message, entries);
            } else {
                self.hold_damaged(turn, batch.message, &entries);
            }
            self.next_batch(turn, conn, &mut out);
        }
        self.drive(turn, conn, out);
    }
}
