//! The frame around every record, and the superblock before the first one.
//!
//! Never here: what a record's payload means (`entry`, `state`). Bytes from
//! disk are never trusted: every length is checked against the segment before
//! it is used, and a frame counts only when its checksum, its segment number
//! and its place agree.
//!
//! Invariants: records start at multiples of 8; the checksum covers header and
//! head, the body has one of its own, so that an envelope can be trusted
//! without reading the body. `FORMAT.md` draws the fields.

use base::{SegmentId, Wall};

use crate::medium::{Medium, Place};

/// Version of the format this program writes.
pub const FORMAT_VERSION: u16 = 1;
/// Offset of the first record: the superblock has its page for itself, so
/// that no later write touches it.
pub const FIRST_RECORD: u32 = 4096;

/// Size of a segment at most, so that offsets and lengths add up in 32 bits.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 31;

pub(crate) const HEADER_BYTES: u32 = 40;
pub(crate) const SUPERBLOCK_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"RINGPOST";

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An accepted message with its envelope.
    Message = 1,
    /// A message moved out of another segment, with its recipients' states.
    Relocated = 2,
    /// The final dot is about to be sent.
    Attempt = 3,
    /// What became of recipients.
    State = 4,
    /// Copies of records of this segment, without bodies.
    Index = 5,
    /// A report of our own, with the states of the message it is about.
    Report = 6,
}

impl Kind {
    /// Whether a record of this kind holds a message.
    pub(crate) fn is_mail(self) -> bool {
        matches!(self, Self::Message | Self::Relocated | Self::Report)
    }
}

/// A record's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    /// Number of the record in its segment, from 0.
    pub sequence: u32,
    /// Payload bytes, head and body.
    pub length: u32,
    /// Payload bytes under the header's checksum.
    pub head: u32,
    /// CRC-32C of the body.
    pub body_crc: u32,
    /// Everything below this offset was on stable storage when this was written.
    pub durable: u32,
    /// Arrival of a message, time of an act.
    pub time: Wall,
}

/// A record whose header and head are whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub segment: SegmentId,
    pub offset: u32,
    pub header: Header,
    /// The header as stored.
    pub raw: &'a [u8],
    pub head: &'a [u8],
}

impl Record<'_> {
    pub(crate) fn place(&self) -> Place {
        let len = frame_bytes(self.header.length);
        Place { segment: self.segment, offset: self.offset, len }
    }

    pub(crate) fn end(&self) -> u32 {
        self.offset + frame_bytes(self.header.length)
    }

    pub(crate) fn body_offset(&self) -> u32 {
        self.offset + HEADER_BYTES + self.header.head
    }

    pub(crate) fn body_bytes(&self) -> u32 {
        self.header.length - self.header.head
    }
}

/// Bytes a record with a payload of `length` takes, its padding included.
pub(crate) const fn frame_bytes(length: u32) -> u32 {
    (HEADER_BYTES + length).next_multiple_of(8)
}

impl Header {
    /// The header as stored, its checksum over itself and `head`.
    pub(crate) fn encode(&self, segment: SegmentId, head: &[u8]) -> [u8; HEADER_BYTES as usize] {
        let mut out = [0; HEADER_BYTES as usize];
        out[4..8].copy_from_slice(&segment.0.to_le_bytes());
        out[8..12].copy_from_slice(&self.sequence.to_le_bytes());
        out[12] = self.kind as u8;
        out[16..20].copy_from_slice(&self.length.to_le_bytes());
        out[20..24].copy_from_slice(&self.head.to_le_bytes());
        out[24..28].copy_from_slice(&self.body_crc.to_le_bytes());
        out[28..32].copy_from_slice(&self.durable.to_le_bytes());
        out[32..40].copy_from_slice(&self.time.as_millis().to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[4..]), head);
        out[0..4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header that must belong to `segment`. The checksum is not
    /// looked at: it covers the head too.
    pub(crate) fn decode(bytes: &[u8], segment: SegmentId) -> Option<Self> {
        let bytes = bytes.first_chunk::<{ HEADER_BYTES as usize }>()?;
        if u32_at(bytes, 4) != segment.0 {
            return None;
        }
        let kind = match bytes[12] {
            1 => Kind::Message,
            2 => Kind::Relocated,
            3 => Kind::Attempt,
            4 => Kind::State,
            5 => Kind::Index,
            6 => Kind::Report,
            _ => return None,
        };
        let header = Self {
            kind,
            sequence: u32_at(bytes, 8),
            length: u32_at(bytes, 16),
            head: u32_at(bytes, 20),
            body_crc: u32_at(bytes, 24),
            durable: u32_at(bytes, 28),
            time: Wall::from_millis(u64_at(bytes, 32)),
        };
        let fits = header.head <= header.length && header.length <= u32::MAX - HEADER_BYTES - 7;
        fits.then_some(header)
    }
}

/// The record that starts at `offset`, if header and head are whole.
pub(crate) fn record_at(
    medium: &(impl Medium + ?Sized),
    segment: SegmentId,
    offset: u32,
) -> Option<Record<'_>> {
    let raw = medium.read(segment, offset, HEADER_BYTES)?;
    let header = Header::decode(raw, segment)?;
    let head = medium.read(segment, offset.checked_add(HEADER_BYTES)?, header.head)?;
    whole(raw, head).then_some(Record { segment, offset, header, raw, head })
}

/// Whether the checksum in the header `raw` is that of header and head.
pub(crate) fn whole(raw: &[u8], head: &[u8]) -> bool {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&raw[4..HEADER_BYTES as usize]), head);
    u32_at(raw, 0) == crc
}

/// What a segment file says about itself in its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The file's number; a recycled file gets a new one.
    pub segment: SegmentId,
    /// Size of the file in bytes.
    pub bytes: u32,
}

/// Why a superblock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockFault {
    /// Not written by us, or damaged.
    #[error("not a segment file, or its first bytes are damaged")]
    LocalDamaged,
    /// Written by a newer program that says older ones cannot read it.
    #[error("written in format {version}; this program reads up to {FORMAT_VERSION}")]
    LocalNewerFormat {
        /// The format's version.
        version: u16,
    },
}

impl Superblock {
    /// The bytes at the start of the file.
    pub fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut out = [0; SUPERBLOCK_BYTES];
        out[0..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        // The oldest format whose readers can read this file.
        out[10..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.segment.0.to_le_bytes());
        out[16..20].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32c::crc32c(&out[..28]);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the start of a file.
    ///
    /// # Errors
    /// [`SuperblockFault`]: damaged, or of a format that is too new.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockFault> {
        let bytes = bytes.first_chunk::<SUPERBLOCK_BYTES>().ok_or(SuperblockFault::LocalDamaged)?;
        if &bytes[0..8] != MAGIC || crc32c::crc32c(&bytes[..28]) != u32_at(bytes, 28) {
            return Err(SuperblockFault::LocalDamaged);
        }
        if u16_at(bytes, 10) > FORMAT_VERSION {
            return Err(SuperblockFault::LocalNewerFormat { version: u16_at(bytes, 8) });
        }
        Ok(Self { segment: SegmentId(u32_at(bytes, 12)), bytes: u32_at(bytes, 16) })
    }
}

/// Reads little-endian numbers at a place known to lie inside the slice.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
