//! Sealing: a segment that takes no more records gets an index at its end, the
//! copies of those records that recovery will need, without bodies.
//!
//! Only what is still needed is copied: mail that ended while its segment was
//! new leaves nothing; whose record is copied keeps all that is said of it here.
//! That is sound because the footer, which makes recovery trust the index, is
//! written only after everything that made a record unneeded is on stable
//! storage. Never here: moving mail (`reclaim`).
//!
//! Invariants: a segment is sealed only after all of its records are durable,
//! so a bad record in a sealed segment is damage, never a torn tail; after a
//! failed sync no index begun before it gets a footer.

use base::{MessageId, Now, SegmentId, Set};

use crate::commit::Position;
use crate::entry::Message;
use crate::medium::Medium;
use crate::record::{Header, Kind, Record, frame_bytes};
use crate::state::Block;
use crate::walk::{CHUNK_BYTES, Cursor, FOOTER_BYTES, Footer, Layout, Step, push_copy};
use crate::writer::Spool;

/// A segment on its way to being sealed.
#[derive(Debug)]
pub(crate) struct Seal {
    cursor: Cursor,
    data_end: u32,
    at: u32,
    sequence: u32,
    chunk: Vec<u8>,
    /// Messages whose records are in the index: no more than were live when it
    /// was begun, and reports.
    copied: Set<MessageId>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Copying,
    /// The footer waits for this to be durable.
    Written(Position),
}

/// How far one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Call again at once.
    More,
    /// Call again after the next sync.
    Waits,
    /// It is over.
    Over,
}

impl Seal {
    /// Starts on a closed segment.
    pub(crate) fn new(segment: SegmentId, end: u32, sequence: u32) -> Self {
        let layout = Layout::Closed { end, sequence };
        Self {
            cursor: Cursor::new(segment, layout),
            data_end: end,
            at: end,
            sequence,
            chunk: Vec::new(),
            copied: Set::default(),
            stage: Stage::Copying,
        }
    }

    pub(crate) fn segment(&self) -> SegmentId {
        self.cursor.segment()
    }

    /// Goes on for at most `records` records.
    pub(crate) fn step(
        &mut self,
        spool: &mut Spool,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        records: u32,
    ) -> Progress {
        if let Stage::Written(needed) = self.stage {
            if spool.durable() < needed {
                return Progress::Waits;
            }
            self.write_footer(spool, medium);
            return Progress::Over;
        }
        let progress = self.copy(spool, medium, now, records);
        if progress == Progress::Over {
            spool.index.open(self.segment()).unsealable = true;
        }
        progress
    }

    fn copy(
        &mut self,
        spool: &mut Spool,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        records: u32,
    ) -> Progress {
        for _ in 0..records {
            match self.cursor.next(medium) {
                Step::Record(record) => self.copy_needed(spool, medium, &record),
                // An index over damage would hide it from recovery.
                Step::Bad(_) => return Progress::Over,
                Step::End => {
                    if !self.flush(medium) {
                        return Progress::Over;
                    }
                    let needed = spool.commit.last();
                    spool.commit.want_lazily(now.mono);
                    self.stage = Stage::Written(needed);
                    return Progress::More;
                }
            }
            if self.chunk.len() >= CHUNK_BYTES as usize && !self.flush(medium) {
                return Progress::Over;
            }
        }
        Progress::More
    }

    /// Copies a record that is needed. What is said of a message whose record
    /// has been copied is needed whatever became of the message since: it may
    /// have ended between two calls, and without all its ends beside it a start
    /// would take it for live. A report's record is also copied for what it says
    /// of another message.
    fn copy_needed(&mut self, spool: &Spool, medium: &(impl Medium + ?Sized), record: &Record<'_>) {
        let block = Block::of_states(record.header.kind, record.head);
        let of_copied = block.is_some_and(|block| self.copied.contains(&block.message));
        if of_copied || !spool.need(medium, record).is_nothing() {
            push_copy(record, &mut self.chunk);
            self.copied.extend(Message::parse(record).map(|message| message.id()));
        }
    }

    /// Writes the chunk as an index record; `false` when that cannot be done,
    /// and the segment stays without index.
    fn flush(&mut self, medium: &mut (impl Medium + ?Sized)) -> bool {
        if self.chunk.is_empty() {
            return true;
        }
        let length = self.chunk.len() as u32;
        let header = Header {
            kind: Kind::Index,
            sequence: self.sequence,
            length,
            head: length,
            body_crc: 0,
            durable: self.data_end,
            time: base::Wall::default(),
        };
        let segment = self.segment();
        let end = u64::from(self.at) + u64::from(frame_bytes(length));
        let room = medium.size(segment).map_or(0, |bytes| bytes - FOOTER_BYTES);
        if end > u64::from(room) {
            return false;
        }
        let raw = header.encode(segment, &self.chunk);
        let written = medium.append(segment, self.at, &[&raw, &self.chunk]);
        self.at = end as u32;
        self.sequence += 1;
        self.chunk.clear();
        written.is_ok()
    }

    fn write_footer(&self, spool: &mut Spool, medium: &mut (impl Medium + ?Sized)) {
        let segment = self.segment();
        let footer = Footer { data_end: self.data_end, index_end: self.at };
        let Some(bytes) = medium.size(segment) else { return };
        if medium.append(segment, bytes - FOOTER_BYTES, &[&footer.encode(segment)]).is_ok() {
            spool.index.open(segment).layout = Layout::Sealed(footer);
            spool.sealing.push(segment);
            medium.start_sync(segment);
        } else {
            spool.index.open(segment).unsealable = true;
        }
    }
}
