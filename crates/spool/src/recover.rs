//! From the segments of a data folder back to every shard's log.
//!
//! Pure: it reads through a [`Medium`] and writes nothing, so it can be cut
//! short and repeated any number of times. Sealed segments are read by their
//! index, the others record by record up to the torn tail. Records of one
//! message may stand in any segment in any order; what counts is revisions and
//! attempt numbers, not places. Any number of shards may start: segment s
//! belongs to shard s modulo their number.
//!
//! Never here: guessing. What is cut off or damaged is reported with place and
//! size. Invariants: the result depends on the bytes alone; a record that was
//! durable and is whole now is never dropped; nothing is brought back that a
//! durable record says has ended.

use base::planted::{Bug, planted};
use base::{Map, MessageId, SegmentId, ShardId};

use crate::entry::Message;
use crate::index::Entry;
use crate::medium::Medium;
use crate::record::{Kind, Record, Superblock, SuperblockFault};
use crate::resume::Resume;
use crate::scan::scan;
use crate::settle::Doubt;
use crate::state::{Block, Prefix, Slot, StateEntry};
use crate::walk::{Cursor, Footer, Layout, Step};
use crate::writer::Spool;

/// Why a data folder cannot be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Written by a newer program; nothing was touched.
    #[error("segment {segment}: {fault}")]
    LocalNewerFormat {
        /// The segment.
        segment: SegmentId,
        /// What its superblock says.
        fault: SuperblockFault,
    },
}

/// Bytes that did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub segment: SegmentId,
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub bytes: u32,
    /// Why.
    pub reason: CutReason,
}

/// Why bytes did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// The end of the log: written, but not whole when the power went. Nothing
    /// of it had been acknowledged.
    TornTail,
    /// Damage in the midst of durable records: something may be lost here.
    Damaged,
    /// A damaged superblock; its records were read all the same.
    Superblock,
    /// An index that is damaged, or that a power cut left unfinished; the
    /// records themselves were read instead.
    Index,
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments read.
    pub segments: u64,
    /// Of these, read by their index.
    pub sealed: u64,
    /// Messages with recipients that are not done.
    pub messages: u64,
    /// Recipients that are not done.
    pub recipients: u64,
    /// Bytes that did not count, in order.
    pub cuts: Vec<Cut>,
    /// Recipients that may have got their message, in order.
    pub in_doubt: Vec<Doubt>,
}

/// Rebuilds the logs of `shards` shards from `segments`, all segments of the
/// folder in ascending order.
///
/// # Errors
/// [`RecoverError::LocalNewerFormat`]: refuse to start.
pub fn recover(
    medium: &(impl Medium + ?Sized),
    segments: &[SegmentId],
    shards: u16,
) -> Result<(Vec<Spool>, Report), RecoverError> {
    assert!(shards > 0, "somebody must own what is found");
    assert!(segments.is_sorted(), "segments are given in order");
    let mut recovery = Recovery {
        spools: (0..shards).map(|shard| Spool::new(ShardId(shard))).collect(),
        layouts: Vec::with_capacity(segments.len()),
        relocated: Map::default(),
        attempts: Map::default(),
        report: Report { segments: segments.len() as u64, ..Report::default() },
    };
    for segment in segments {
        recovery.look_at(medium, *segment)?;
    }
    recovery.each_record(medium, |recovery, record| recovery.note_relocation(record));
    recovery.each_record(medium, |recovery, record| recovery.add_message(record));
    recovery.each_record(medium, |recovery, record| recovery.apply(record));
    recovery.find_doubts();
    Ok(recovery.finish())
}

struct Recovery {
    spools: Vec<Spool>,
    layouts: Vec<(SegmentId, Layout)>,
    /// The newest place of each message that was moved.
    relocated: Map<MessageId, (SegmentId, u32)>,
    /// The highest attempt of each recipient that is above what was settled
    /// when the record was met.
    attempts: Map<(MessageId, u16), u16>,
    report: Report,
}

impl Recovery {
    /// Finds out how a segment is to be read.
    fn look_at<M: Medium + ?Sized>(
        &mut self,
        medium: &M,
        segment: SegmentId,
    ) -> Result<(), RecoverError> {
        let first = medium.read(segment, 0, crate::record::SUPERBLOCK_BYTES as u32);
        let named = match Superblock::decode(first.unwrap_or_default()) {
            Ok(superblock) if superblock.segment == segment => Some(superblock.bytes),
            Err(fault @ SuperblockFault::LocalNewerFormat { .. }) => {
                return Err(RecoverError::LocalNewerFormat { segment, fault });
            }
            _ => {
                self.cut(segment, 0, crate::FIRST_RECORD, CutReason::Superblock);
                None
            }
        };
        let layout = match Footer::read(medium, segment) {
            Some(footer) if index_is_whole(medium, segment, footer) => {
                self.report.sealed += 1;
                Layout::Sealed(footer)
            }
            footer => {
                let sealed = footer.map(|footer| footer.data_end);
                if let Some(footer) = footer {
                    let bytes = footer.index_end - footer.data_end;
                    self.cut(segment, footer.data_end, bytes, CutReason::Index);
                }
                let found = scan(medium, segment, sealed);
                self.report.cuts.extend(&found.cuts);
                Layout::Closed { end: found.end, sequence: found.sequence }
            }
        };
        // A file never changes its size: somebody cut it, or made it longer.
        let size = medium.size(segment).unwrap_or(0);
        let named = named.unwrap_or(size);
        if named != size {
            self.cut(segment, named.min(size), named.abs_diff(size), CutReason::Damaged);
        }
        let damaged = |cut: &Cut| {
            let damage = matches!(cut.reason, CutReason::Damaged | CutReason::Superblock);
            cut.segment == segment && damage
        };
        let stuck = self.report.cuts.iter().any(damaged);
        let index = self.spool_of(segment).index.open(segment);
        (index.layout, index.recovered, index.stuck) = (layout, true, stuck);
        // A second index is never written over a first.
        index.unsealable = stuck || Footer::read(medium, segment).is_some();
        self.layouts.push((segment, layout));
        Ok(())
    }

    fn cut(&mut self, segment: SegmentId, offset: u32, bytes: u32, reason: CutReason) {
        self.report.cuts.push(Cut { segment, offset, bytes, reason });
    }

    fn each_record<M: Medium + ?Sized>(
        &mut self,
        medium: &M,
        mut each: impl FnMut(&mut Self, &Record<'_>),
    ) {
        for at in 0..self.layouts.len() {
            let (segment, layout) = self.layouts[at];
            let mut cursor = Cursor::new(segment, layout);
            loop {
                match cursor.next(medium) {
                    Step::Record(record) => each(self, &record),
                    Step::Bad(bad) => match self.behind_damage(segment, bad) {
                        Some(offset) => cursor.skip_to(offset),
                        None => cursor.stop(),
                    },
                    Step::End => break,
                }
            }
        }
    }

    /// Where reading goes on behind damage that was reported.
    fn behind_damage(&self, segment: SegmentId, bad: u32) -> Option<u32> {
        let here = |cut: &&Cut| {
            cut.segment == segment && cut.offset == bad && cut.reason == CutReason::Damaged
        };
        self.report.cuts.iter().find(here).map(|cut| cut.offset + cut.bytes)
    }

    fn note_relocation(&mut self, record: &Record<'_>) {
        if record.header.kind != Kind::Relocated {
            return;
        }
        let Some((Prefix { from, block, .. }, _)) = Prefix::split(record.head) else { return };
        let place = (record.segment, record.offset);
        let newest = self.relocated.entry(block.message).or_insert(place);
        *newest = place.max(*newest);
        let sources = &mut self.spool_of(record.segment).index.open(record.segment).sources;
        if !sources.contains(&from) {
            sources.push(from);
        }
    }

    /// Adds a message at its newest place.
    fn add_message(&mut self, record: &Record<'_>) {
        let Some(message) = Message::parse(record) else { return };
        let place = (record.segment, record.offset);
        let relocated = record.header.kind == Kind::Relocated;
        if self.relocated.get(&message.id()).is_some_and(|newest| *newest != place) {
            return;
        }
        // A damaged index could say so twice; the table wants order.
        let index = self.spool_of(record.segment).index.segment(record.segment);
        if index.is_some_and(|index| !index.is_behind_all(record.offset)) {
            return;
        }
        let recipients = usize::from(message.recipient_count());
        let entry = Entry::new(record.offset, message.place().len, relocated, recipients);
        self.spool_of(record.segment).index.insert(message.id(), record.segment, entry);
    }

    /// Applies standings and attempts.
    fn apply(&mut self, record: &Record<'_>) {
        let place = (record.segment, record.offset);
        let block = match record.header.kind {
            Kind::Attempt => Block::parse(record.head),
            kind => Block::of_states(kind, record.head),
        };
        let Some(block) = block else { return };
        let spool = self.spool_of_message(block.message);
        let Some((_, entry)) = spool.index.entry_mut(block.message) else { return };
        if record.header.kind != Kind::Attempt {
            for (at, state) in block.states().enumerate() {
                let named = usize::from(state.recipient);
                let at = if planted(Bug::OutcomeOfWrongRecipient) { at } else { named };
                if let Some(slot) = entry.slots_mut().get_mut(at) {
                    apply_state(slot, &state, place);
                }
            }
            return;
        }
        let open = |(recipient, attempt): &(u16, u16)| {
            let slot = entry.slots().get(usize::from(*recipient));
            slot.is_some_and(|slot| !slot.is_done() && *attempt > slot.attempts())
        };
        let attempts: Vec<(u16, u16)> = block.attempts().filter(open).collect();
        for (recipient, attempt) in attempts {
            let highest = self.attempts.entry((block.message, recipient)).or_insert(attempt);
            *highest = attempt.max(*highest);
        }
    }

    /// What is open after all records have been applied is in doubt.
    fn find_doubts(&mut self) {
        let attempts = std::mem::take(&mut self.attempts);
        for ((message, recipient), attempt) in attempts {
            let spool = self.spool_of_message(message);
            let Some((_, entry)) = spool.index.entry(message) else { continue };
            let slot = entry.slots()[usize::from(recipient)];
            if slot.is_done() || attempt <= slot.attempts() {
                continue;
            }
            let crashes = slot.state().crashes.saturating_add(1);
            let doubt = Doubt { message, recipient, attempt, crashes };
            spool.doubts.push(doubt);
            self.report.in_doubt.push(doubt);
        }
        self.report.in_doubt.sort_unstable();
    }

    fn finish(mut self) -> (Vec<Spool>, Report) {
        for spool in &mut self.spools {
            let (messages, recipients) = spool.index.drop_done();
            self.report.messages += messages;
            self.report.recipients += recipients;
            spool.doubts.sort_unstable();
            let segments = spool.index.segments().map(|(segment, _)| segment).collect();
            spool.resume = Some(Resume::new(segments));
        }
        (self.spools, self.report)
    }

    fn spool_of(&mut self, segment: SegmentId) -> &mut Spool {
        let shard = owner(segment, self.spools.len() as u16);
        &mut self.spools[usize::from(shard.0)]
    }

    fn spool_of_message(&mut self, message: MessageId) -> &mut Spool {
        let moved = self.relocated.get(&message).map(|(segment, _)| *segment);
        self.spool_of(moved.unwrap_or(message.segment))
    }
}

/// The shard, out of so many, to which a segment found at the start belongs.
pub(crate) fn owner(segment: SegmentId, shards: u16) -> ShardId {
    ShardId((segment.0 % u32::from(shards)) as u16)
}

/// Takes over a standing if it is newer than what is known. Of two copies of
/// the same one the place counts that will be there longer.
fn apply_state(slot: &mut Slot, state: &StateEntry<'_>, place: (SegmentId, u32)) {
    let newer = state.revision > slot.revision
        || state.revision == slot.revision && Some(place) > slot.note();
    if newer {
        *slot = Slot::of_entry(state, place);
    }
}

fn index_is_whole(medium: &(impl Medium + ?Sized), segment: SegmentId, footer: Footer) -> bool {
    let mut cursor = Cursor::new(segment, Layout::Sealed(footer));
    loop {
        match cursor.next(medium) {
            Step::Record(_) => {}
            Step::Bad(_) => return false,
            Step::End => return true,
        }
    }
}

#[cfg(test)]
mod tests;
