//! Marks of other shards' mail that are written once more as they are, and how
//! the writer of that mail hears where they stand from then on.
//!
//! After a start a segment may belong to another shard than the mail that its
//! standings are about. That shard empties the segment; the writer's table would
//! go on pointing into it, and the last answer would be gone while it is still
//! on the disk. Never here: which marks are needed (`reclaim`).
//!
//! Invariant: the table takes over a place only for what stood where the word
//! says; a standing that has been replaced meanwhile stays.

use base::{MessageId, SegmentId, ShardId, Wall};

use crate::medium::Medium;
use crate::record::{Kind, Record};
use crate::recover::owner;
use crate::state::{Block, Prefix};
use crate::writer::{Class, Draft, Refusal, Spool};

/// Standings of a message that another shard writes stand elsewhere now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restated {
    message: MessageId,
    home: SegmentId,
    from: (SegmentId, u32),
    to: (SegmentId, u32),
}

impl Restated {
    /// The shard, out of so many, whose table has the message if any has:
    /// standings in another shard's segment are from before the start.
    pub fn writer(&self, shards: u16) -> ShardId {
        owner(self.home, shards)
    }
}

/// Marks to be written once more as they are.
pub(crate) struct Mark {
    kind: Kind,
    time: Wall,
    block: Vec<u8>,
}

impl Mark {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        let prefix = match record.header.kind {
            Kind::Report => Prefix::split(record.head),
            _ => None,
        };
        let (kind, block) = match prefix {
            Some((prefix, _)) => (Kind::State, prefix.bytes),
            None => (record.header.kind, record.head),
        };
        Self { kind, time: record.header.time, block: block.to_vec() }
    }
}

impl Spool {
    /// Writes a mark that stands at `from` once more, and adds to `told` what
    /// its message's writer must hear.
    pub(crate) fn restate(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        mark: &Mark,
        from: (SegmentId, u32),
        told: &mut Vec<Restated>,
    ) -> Result<(), Refusal> {
        let draft = Draft::new(mark.kind, Class::Mark, mark.time, &mark.block);
        let (place, _) = self.append(medium, &draft)?;
        let block = Block::parse(&mark.block).filter(|_| mark.kind == Kind::State);
        told.extend(block.map(|Block { message, home, .. }| {
            let to = place.start();
            Restated { message, home, from, to }
        }));
        Ok(())
    }

    /// Another shard has written standings of a message of this one elsewhere
    /// ([`crate::Reclaimed::restated`]): last answers are read there now.
    pub fn restated(&mut self, told: &Restated) {
        let Some((_, entry)) = self.index.entry_mut(told.message) else { return };
        for slot in entry.slots_mut() {
            slot.restated(told.from, told.to);
        }
    }
}
