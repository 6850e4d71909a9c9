//! Walking a segment's records: in the order they were appended, or, where the
//! segment is sealed, over the copies in its index, which lie together.
//!
//! Never here: what a record means. A cursor holds no borrow, so a walk can
//! stop after any record and go on in a later turn. Invariants: a cursor always
//! moves forward and ends at the segment's end, whatever the bytes say.

use base::SegmentId;

use crate::medium::Medium;
use crate::record::{
    FIRST_RECORD, HEADER_BYTES, Header, Kind, Record, frame_bytes, record_at, u32_at, whole,
};

/// How a segment can be walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Being appended to.
    #[default]
    Active,
    /// Appended to no more, without an index.
    Closed {
        /// Where its records end.
        end: u32,
        /// Number of its records.
        sequence: u32,
    },
    /// With an index.
    Sealed(Footer),
}

impl Layout {
    /// Whether nothing that counts was ever written.
    pub(crate) fn is_blank(self) -> bool {
        matches!(self, Self::Closed { end: FIRST_RECORD, .. })
    }
}

/// The last bytes of a sealed segment: where its index stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Where its records end and its index begins.
    pub data_end: u32,
    /// Where the index ends.
    pub index_end: u32,
}

impl Footer {
    pub(crate) fn encode(&self, segment: SegmentId) -> [u8; FOOTER_BYTES as usize] {
        let mut out = [0; FOOTER_BYTES as usize];
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&segment.0.to_le_bytes());
        out[12..16].copy_from_slice(&self.data_end.to_le_bytes());
        out[16..20].copy_from_slice(&self.index_end.to_le_bytes());
        let crc = crc32c::crc32c(&out[..20]);
        out[20..24].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The footer of `segment`, if it has a good one.
    pub(crate) fn read(medium: &(impl Medium + ?Sized), segment: SegmentId) -> Option<Self> {
        let at = medium.size(segment)?.checked_sub(FOOTER_BYTES)?;
        let bytes = medium.read(segment, at, FOOTER_BYTES)?;
        let footer = Self { data_end: u32_at(bytes, 12), index_end: u32_at(bytes, 16) };
        let ordered = FIRST_RECORD <= footer.data_end
            && footer.data_end <= footer.index_end
            && footer.index_end <= at;
        (ordered && footer.encode(segment) == *bytes).then_some(footer)
    }
}

/// A place in a walk over one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    segment: SegmentId,
    at: u32,
    end: u32,
    sealed: bool,
    /// End of the index record that `at` stands in; its checksum is good.
    chunk_end: u32,
}

/// What a cursor came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'m> {
    /// A whole record; of a sealed segment its copy.
    Record(Record<'m>),
    /// No record starts at the cursor; [`Cursor::skip_to`] goes on.
    Bad(u32),
    /// The walk is over.
    End,
}

impl Cursor {
    /// The start of a walk; an active segment has nothing to walk yet.
    pub(crate) fn new(segment: SegmentId, layout: Layout) -> Self {
        let (at, end, sealed) = match layout {
            Layout::Active => (FIRST_RECORD, FIRST_RECORD, false),
            Layout::Closed { end, .. } => (FIRST_RECORD, end, false),
            Layout::Sealed(footer) => (footer.data_end, footer.index_end, true),
        };
        Self { segment, at, end, sealed, chunk_end: at }
    }

    pub(crate) fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Whether the walk goes over an index, where offsets of [`Step::Bad`] are
    /// not those of records.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The next record.
    pub(crate) fn next<'m>(&mut self, medium: &'m (impl Medium + ?Sized)) -> Step<'m> {
        loop {
            if self.at >= self.end {
                return Step::End;
            }
            if !self.sealed {
                let Some(record) = self.bounded(medium) else { return Step::Bad(self.at) };
                self.at = record.end();
                return Step::Record(record);
            }
            if self.at < self.chunk_end {
                let Some((record, next)) = self.copy(medium) else { return Step::Bad(self.at) };
                self.at = next;
                return Step::Record(record);
            }
            // Behind the last chunk comes the next one's frame.
            let Some(chunk) = self.bounded(medium) else { return Step::Bad(self.at) };
            self.at = chunk.offset + HEADER_BYTES;
            self.chunk_end = match chunk.header.kind {
                Kind::Index => chunk.end(),
                _ => return Step::Bad(self.at),
            };
        }
    }

    /// Goes on at a later offset of a segment without index.
    pub(crate) fn skip_to(&mut self, offset: u32) {
        assert!(offset > self.at, "a walk moves forward");
        self.at = offset;
    }

    /// Ends the walk.
    pub(crate) fn stop(&mut self) {
        self.at = self.end;
    }

    fn bounded<'m>(&self, medium: &'m (impl Medium + ?Sized)) -> Option<Record<'m>> {
        let record = record_at(medium, self.segment, self.at)?;
        let end = u64::from(self.at) + u64::from(frame_bytes(record.header.length));
        (end <= u64::from(self.end)).then_some(record)
    }

    /// The copy at the cursor and where the next one starts. Copies fill their
    /// chunk exactly, so padding is not met.
    fn copy<'m>(&self, medium: &'m (impl Medium + ?Sized)) -> Option<(Record<'m>, u32)> {
        let bytes = medium.read(self.segment, self.at, self.chunk_end - self.at)?;
        let raw = bytes.get(8..8 + HEADER_BYTES as usize)?;
        let header = Header::decode(raw, self.segment)?;
        let head = bytes.get(8 + raw.len()..)?.get(..header.head as usize)?;
        if !whole(raw, head) {
            return None;
        }
        let record = Record { segment: self.segment, offset: u32_at(bytes, 0), header, raw, head };
        // The copy claims a place: it must lie in front of the index.
        let end = u64::from(record.offset) + u64::from(frame_bytes(header.length));
        let inside = record.offset >= FIRST_RECORD && end <= u64::from(self.end);
        inside.then_some((record, self.at + copy_bytes(header.head)))
    }
}

/// Bytes of a record's copy in the index: its offset, header and head.
pub(crate) const fn copy_bytes(head: u32) -> u32 {
    8 + (HEADER_BYTES + head).next_multiple_of(8)
}

/// Appends the copy of a record to an index chunk.
pub(crate) fn push_copy(record: &Record<'_>, chunk: &mut Vec<u8>) {
    chunk.extend_from_slice(&record.offset.to_le_bytes());
    chunk.extend_from_slice(&[0; 4]);
    chunk.extend_from_slice(record.raw);
    chunk.extend_from_slice(record.head);
    chunk.resize(chunk.len().next_multiple_of(8), 0);
}

/// Bytes to keep free for an index of `copies` bytes: frames and footer too.
pub(crate) const fn index_room(copies: u32) -> u32 {
    copies + (copies / CHUNK_BYTES + 2) * (HEADER_BYTES + 8)
}

/// Index records are written once they hold this much.
pub(crate) const CHUNK_BYTES: u32 = 64 * 1024;
pub(crate) const FOOTER_BYTES: u32 = 24;
const MAGIC: &[u8; 8] = b"RPSEALED";

const _: () = assert!(FOOTER_BYTES <= HEADER_BYTES + 8);
