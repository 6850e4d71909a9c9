//! Where each recipient of a message stands, in memory and as stored.
//!
//! A state record names recipients and gives each its whole standing, so that
//! the one with the highest revision is the truth and the order in which
//! records of several segments are read does not matter. An attempt record
//! only says that attempt number n was about to send its final dot: a
//! recipient with an attempt above the last settled one is in doubt.
//!
//! Never here: when to try again or when to give up (`control`, `queue`).
//! Invariants: a recipient that is done stays done; attempts never go down; a
//! doubt and a delay notice once noted stay until the recipient is done.

use std::num::NonZeroU8;

use base::{MessageId, SegmentId, Wall};
use mail::Status;

use crate::medium::Place;
use crate::record::{Kind, u16_at, u32_at, u64_at};

/// What is left to do for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To be tried at [`State::next`].
    Waiting,
    /// Kept until released.
    Held,
    /// Nothing: its one final outcome stands.
    Done(Outcome),
}

/// How a recipient ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop took it.
    Delivered,
    /// Permanent failure.
    Failed,
    /// Lifetime or attempts used up.
    Expired,
    /// Removed by a named command.
    Removed,
}

/// A recipient's standing as the writer's table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What is left to do.
    pub phase: Phase,
    /// Attempts that ended with an answer, or in doubt.
    pub attempts: u16,
    /// Crashes in a row that found an attempt open.
    pub crashes: u8,
    /// Sent once without a durable outcome.
    pub in_doubt: bool,
    /// The sender has been told of the delay.
    pub delay_noticed: bool,
    /// When to try next, rounded up to a second; the origin means at once.
    pub next: Wall,
}

/// What becomes of one recipient, to be made durable.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Index in the envelope.
    pub recipient: u16,
    /// What is left to do from now on.
    pub phase: Phase,
    /// Attempts made, this one included; a lower number than known is ignored.
    pub attempts: u16,
    /// When to try next; meaningless once done.
    pub next: Wall,
    /// Marks it as sent without a known answer; `false` clears nothing.
    pub in_doubt: bool,
    /// Marks the delay notice as sent; `false` clears nothing.
    pub delay_noticed: bool,
    /// The last answer, for people; `None` keeps the one known.
    pub note: Option<Note<'a>>,
}

/// An answer worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Its status code.
    pub status: Status,
    /// The remote's words, or ours; the first 512 octets are kept.
    pub text: &'a str,
    /// The host that said so; empty when none was reached. 255 octets are kept.
    pub host: &'a str,
}

/// A stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteView<'a> {
    /// Its status code.
    pub status: Status,
    /// The remote's words, or ours.
    pub text: &'a str,
    /// The host that said so; empty when none was reached.
    pub host: &'a str,
    /// When to try next, to the millisecond.
    pub next: Wall,
}

/// A recipient's standing in 20 bytes. The lowest four are where the answer is
/// stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    note_segment: u32,
    note_offset: u32,
    pub revision: u32,
    next_s: u32,
    attempts: u16,
    crashes: u8,
    /// Bit 7 is always set: the table's entries need a value that is none.
    bits: NonZeroU8,
}

impl Slot {
    /// A recipient of a fresh message.
    pub(crate) const NEW: Self = Self {
        note_segment: 0,
        note_offset: 0,
        revision: 0,
        next_s: 0,
        attempts: 0,
        crashes: 0,
        bits: NonZeroU8::new(ALIVE).expect("a bit is set"),
    };

    /// The slot of a stored entry that stands in the record at `note`.
    pub(crate) fn of_entry(entry: &StateEntry<'_>, note: (SegmentId, u32)) -> Self {
        Self {
            note_segment: note.0.0,
            note_offset: note.1,
            revision: entry.revision,
            next_s: seconds(entry.next),
            attempts: entry.attempts,
            crashes: entry.crashes,
            bits: bits(entry.phase, entry.in_doubt, entry.delay_noticed),
        }
    }

    pub(crate) fn state(&self) -> State {
        State {
            phase: phase_of(self.bits.get() & PHASE).unwrap_or(Phase::Waiting),
            attempts: self.attempts,
            crashes: self.crashes,
            in_doubt: self.bits.get() & IN_DOUBT != 0,
            delay_noticed: self.bits.get() & DELAY_NOTICED != 0,
            next: Wall::from_millis(u64::from(self.next_s) * 1_000),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state().phase, Phase::Done(_))
    }

    pub(crate) fn attempts(&self) -> u16 {
        self.attempts
    }

    /// The record at `from` stands at `to` now, as it was.
    pub(crate) fn restated(&mut self, from: (SegmentId, u32), to: (SegmentId, u32)) {
        if self.note() == Some(from) {
            (self.note_segment, self.note_offset) = (to.0.0, to.1);
        }
    }

    /// Segment and offset of the record that holds the last answer.
    pub(crate) fn note(&self) -> Option<(SegmentId, u32)> {
        (self.note_segment != 0).then_some((SegmentId(self.note_segment), self.note_offset))
    }
}

/// One recipient's part of a state record or of a relocated message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateEntry<'a> {
    pub recipient: u16,
    pub attempts: u16,
    pub phase: Phase,
    pub in_doubt: bool,
    pub delay_noticed: bool,
    pub crashes: u8,
    pub revision: u32,
    pub next: Wall,
    pub note: Option<Note<'a>>,
}

/// A state record's payload, or an attempt's, checked as far as its lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub message: MessageId,
    /// The segment that held the message when this was written.
    pub home: SegmentId,
    count: u16,
    entries: &'a [u8],
}

impl<'a> Block<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, entries) = bytes.split_first_chunk::<BLOCK_BYTES>()?;
        Some(Self {
            message: MessageId::from_u64(u64_at(fixed, 0)),
            home: SegmentId(u32_at(fixed, 8)),
            count: u16_at(fixed, 12),
            entries,
        })
    }

    /// The block of states in a record of any kind that has one.
    pub(crate) fn of_states(kind: Kind, head: &'a [u8]) -> Option<Self> {
        match kind {
            Kind::State => Self::parse(head),
            Kind::Relocated | Kind::Report => Prefix::split(head).map(|(prefix, _)| prefix.block),
            Kind::Message | Kind::Attempt | Kind::Index => None,
        }
    }

    /// The states; ends early where bytes make no sense.
    pub(crate) fn states(&self) -> impl Iterator<Item = StateEntry<'a>> + use<'a> {
        let mut rest = self.entries;
        std::iter::from_fn(move || {
            let (entry, after) = split_state(rest)?;
            rest = after;
            Some(entry)
        })
        .take(usize::from(self.count))
    }

    /// The attempts, where this is an attempt record.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        let entries = self.entries;
        entries.chunks_exact(4).take(usize::from(self.count)).map(|e| (u16_at(e, 0), u16_at(e, 2)))
    }
}

/// What stands in front of the envelope of a relocated message or a report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefix<'a> {
    /// The segment a relocated message came from.
    pub from: SegmentId,
    /// Of a relocated message its own states, of a report those of the message
    /// it is about.
    pub block: Block<'a>,
    /// The block as stored.
    pub bytes: &'a [u8],
}

impl<'a> Prefix<'a> {
    /// The prefix and what follows it.
    pub(crate) fn split(head: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (fixed, rest) = head.split_first_chunk::<PREFIX_BYTES>()?;
        let (bytes, envelope) = rest.split_at_checked(usize::try_from(u32_at(fixed, 0)).ok()?)?;
        let prefix = Self { from: SegmentId(u32_at(fixed, 4)), block: Block::parse(bytes)?, bytes };
        Some((prefix, envelope))
    }

    /// Starts a prefix in the empty `out`; a block follows.
    pub(crate) fn begin(from: SegmentId, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&from.0.to_le_bytes());
    }

    /// Ends the prefix begun in `out` behind its block.
    pub(crate) fn end(out: &mut [u8]) {
        let block = u32::try_from(out.len() - PREFIX_BYTES).expect("heads are smaller than 4 GiB");
        out[0..4].copy_from_slice(&block.to_le_bytes());
    }
}

/// Starts a block in `out`; entries follow.
pub(crate) fn begin_block(message: MessageId, home: SegmentId, count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&message.as_u64().to_le_bytes());
    out.extend_from_slice(&home.0.to_le_bytes());
    let count = u16::try_from(count).expect("a message has fewer recipients than a u16 counts");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
}

/// Appends an attempt to a block.
pub(crate) fn push_attempt(recipient: u16, attempt: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&recipient.to_le_bytes());
    out.extend_from_slice(&attempt.to_le_bytes());
}

/// Appends a state to a block; texts are cut to their bounds.
pub(crate) fn push_state(entry: &StateEntry<'_>, out: &mut Vec<u8>) {
    let note = entry.note.filter(|_| !matches!(entry.phase, Phase::Done(_)));
    let cut = |text: &'static str| text;
    let (text, host) = note.map_or((cut(""), cut("")), |note| {
        (
            &note.text[..note.text.floor_char_boundary(NOTE_TEXT_BYTES_MAX)],
            &note.host[..note.host.floor_char_boundary(HOST_BYTES_MAX)],
        )
    });
    let mut fixed = [0; ENTRY_BYTES];
    fixed[0..2].copy_from_slice(&entry.recipient.to_le_bytes());
    fixed[2..4].copy_from_slice(&entry.attempts.to_le_bytes());
    fixed[4] = bits(entry.phase, entry.in_doubt, entry.delay_noticed).get() & !ALIVE;
    fixed[5] = entry.crashes;
    fixed[6] = host.len() as u8;
    fixed[8..12].copy_from_slice(&entry.revision.to_le_bytes());
    fixed[12..16].copy_from_slice(&note.map_or(0, |n| n.status.bits()).to_le_bytes());
    fixed[16..24].copy_from_slice(&entry.next.as_millis().to_le_bytes());
    fixed[24..26].copy_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(&fixed);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(host.as_bytes());
}

fn split_state(bytes: &[u8]) -> Option<(StateEntry<'_>, &[u8])> {
    let (fixed, rest) = bytes.split_first_chunk::<ENTRY_BYTES>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16_at(fixed, 24)))?;
    let (host, rest) = rest.split_at_checked(usize::from(fixed[6]))?;
    let (text, host) = (str::from_utf8(text).ok()?, str::from_utf8(host).ok()?);
    let entry = StateEntry {
        recipient: u16_at(fixed, 0),
        attempts: u16_at(fixed, 2),
        phase: phase_of(fixed[4] & PHASE)?,
        in_doubt: fixed[4] & IN_DOUBT != 0,
        delay_noticed: fixed[4] & DELAY_NOTICED != 0,
        crashes: fixed[5],
        revision: u32_at(fixed, 8),
        next: Wall::from_millis(u64_at(fixed, 16)),
        note: Status::from_bits(u32_at(fixed, 12)).map(|status| Note { status, text, host }),
    };
    Some((entry, rest))
}

/// The last answer to `recipient` in the payload of the record at its note.
pub(crate) fn note_in<'a>(block: &Block<'a>, recipient: u16) -> Option<NoteView<'a>> {
    let entry = block.states().find(|entry| entry.recipient == recipient)?;
    let Note { status, text, host } = entry.note?;
    Some(NoteView { status, text, host, next: entry.next })
}

fn bits(phase: Phase, in_doubt: bool, delay_noticed: bool) -> NonZeroU8 {
    let phase = match phase {
        Phase::Waiting => 0,
        Phase::Held => 1,
        Phase::Done(Outcome::Delivered) => 2,
        Phase::Done(Outcome::Failed) => 3,
        Phase::Done(Outcome::Expired) => 4,
        Phase::Done(Outcome::Removed) => 5,
    };
    let doubt = if in_doubt { IN_DOUBT } else { 0 };
    let notice = if delay_noticed { DELAY_NOTICED } else { 0 };
    NonZeroU8::MIN.saturating_add(ALIVE - 1) | phase | doubt | notice
}

fn phase_of(bits: u8) -> Option<Phase> {
    Some(match bits {
        0 => Phase::Waiting,
        1 => Phase::Held,
        2 => Phase::Done(Outcome::Delivered),
        3 => Phase::Done(Outcome::Failed),
        4 => Phase::Done(Outcome::Expired),
        5 => Phase::Done(Outcome::Removed),
        _ => return None,
    })
}

/// Whole seconds, rounded up so that nothing is tried early.
fn seconds(at: Wall) -> u32 {
    u32::try_from(at.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

impl Place {
    /// Segment and offset, where the length does not matter.
    pub(crate) fn start(&self) -> (SegmentId, u32) {
        (self.segment, self.offset)
    }
}

const ALIVE: u8 = 0x80;
const PHASE: u8 = 0x07;
const IN_DOUBT: u8 = 0x08;
const DELAY_NOTICED: u8 = 0x10;

const PREFIX_BYTES: usize = 8;
const BLOCK_BYTES: usize = 16;
const ENTRY_BYTES: usize = 28;
const NOTE_TEXT_BYTES_MAX: usize = 512;
const HOST_BYTES_MAX: usize = 255;
