//! One shard's log: appends records, keeps the table of live messages, and
//! knows what is durable.
//!
//! Written at once, synced in groups: an append is in the page cache when the
//! call returns, so an attempt record is there before the effect that sends
//! the dot; a sync covers all that was appended before it started (`commit`).
//! Never here: policy, waiting, retries of a failed sync.
//!
//! Invariants: a message is written only while a whole spare segment stands
//! behind the active one, so marks and reports always find room; every
//! segment keeps room for its index; the id of a message is where its record
//! was first written.

use std::collections::VecDeque;
use std::time::Duration;

use base::{Map, MessageId, Monotonic, Now, SegmentId, ShardId, Wall};
use mail::Envelope;

use crate::commit::{Commit, Ended, Lost, Position};
use crate::entry::{Meta, encode_head};
use crate::index::{Entry, Index};
use crate::medium::{Medium, Place};
use crate::reclaim::{SETTLE_AFTER, Task};
use crate::record::{FIRST_RECORD, Header, Kind, SEGMENT_BYTES_MAX, frame_bytes};
use crate::resume::Resume;
use crate::settle::Doubt;
use crate::walk::{Layout, copy_bytes, index_room};

/// Why something was not written. Nothing of it is left behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No room now; ask again later (`452 4.3.1`).
    #[error("the queue's disk space is used up")]
    LocalFull,
    /// Larger than a segment can hold (`552 5.3.4`).
    #[error("the message does not fit into a segment")]
    LocalTooLarge,
    /// This write failed; the next goes to another segment (`451 4.3.0`).
    #[error("the queue could not be written: {0}")]
    LocalWrite(String),
    /// Storage failed twice: accept nothing, pause delivery, raise an alert.
    #[error("the queue's storage has failed")]
    LocalDown,
    /// The message is not in this shard's table: it has ended, or another
    /// shard writes it.
    #[error("no such message here")]
    MisuseUnknown,
}

/// A message that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its name from now on.
    pub id: MessageId,
    /// Where its record stands.
    pub place: Place,
    /// Durable once [`Spool::durable`] has reached this.
    pub position: Position,
}

/// Who may use the last of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// New mail: never the spare that is kept for marks.
    Mail,
    /// Attempts, standings, reports, mail that is moved.
    Mark,
}

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a> {
    pub kind: Kind,
    pub class: Class,
    pub time: Wall,
    pub head: &'a [u8],
    pub body: &'a [&'a [u8]],
    /// Of a body that was stored before.
    pub body_crc: Option<u32>,
}

impl<'a> Draft<'a> {
    /// A record without body.
    pub(crate) fn new(kind: Kind, class: Class, time: Wall, head: &'a [u8]) -> Self {
        Self { kind, class, time, head, body: &[], body_crc: None }
    }
}

/// The segment being appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub segment: SegmentId,
    bytes: u32,
    pub end: u32,
    sequence: u32,
    /// Bytes its index may take, its own frames not counted.
    index_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    No,
    Waiting,
    RefusedUntil(Monotonic),
}

/// One shard's part of the queue on disk.
#[derive(Debug)]
pub struct Spool {
    shard: ShardId,
    pub(crate) active: Option<Active>,
    spares: VecDeque<(SegmentId, u32)>,
    asked: Asked,
    pub(crate) commit: Commit,
    pub(crate) index: Index,
    /// Attempts under way for messages that other shards write.
    pub(crate) open_attempts: Map<(MessageId, u16), u16>,
    /// Segments whose sync failed and whose mail is not yet elsewhere.
    pub(crate) failed: Vec<SegmentId>,
    down: bool,
    /// What recovery found in doubt, by message, until it is in the log.
    pub(crate) doubts: Vec<Doubt>,
    pub(crate) resume: Option<Resume>,
    pub(crate) task: Option<Task>,
    /// Segments whose footer is being synced.
    pub(crate) sealing: Vec<SegmentId>,
    /// Segments that go once this much is durable.
    pub(crate) retiring: Vec<(SegmentId, Position)>,
    /// Segments opened so far, see [`SETTLE_AFTER`].
    pub(crate) rolls: u64,
    /// When [`Spool::reclaim`] last found nothing to do.
    pub(crate) idle_since: Option<Monotonic>,
    /// Room for building heads.
    pub(crate) head: Vec<u8>,
}

impl Spool {
    /// A log without messages. Call [`Spool::kick`] to get its first segments.
    pub fn new(shard: ShardId) -> Self {
        Self {
            shard,
            active: None,
            spares: VecDeque::new(),
            asked: Asked::No,
            commit: Commit::default(),
            index: Index::default(),
            open_attempts: Map::default(),
            failed: Vec::new(),
            down: false,
            doubts: Vec::new(),
            resume: None,
            task: None,
            sealing: Vec::new(),
            retiring: Vec::new(),
            // What recovery finds has settled long ago.
            rolls: SETTLE_AFTER,
            idle_since: None,
            head: Vec::new(),
        }
    }

    /// The shard this log belongs to.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Messages with recipients that are not done.
    pub fn live_messages(&self) -> u64 {
        self.index.live()
    }

    /// Bytes that the records of those messages take.
    pub fn live_bytes(&self) -> u64 {
        self.index.live_bytes()
    }

    /// Bytes of memory that the table of live messages takes.
    pub fn table_bytes(&self) -> usize {
        self.index.table_bytes()
    }

    /// Whether no segment has failed whose mail still has to move.
    pub fn is_healthy(&self) -> bool {
        self.failed.is_empty()
    }

    /// Position of the record appended last.
    pub fn last_position(&self) -> Position {
        self.commit.last()
    }

    /// Whether storage failed twice. Nothing is written any more.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// Makes room for a message whose body takes at most `body_bytes_max` and
    /// tells the id it will get, for its trace header. Holds until the next
    /// call that appends.
    ///
    /// # Errors
    /// [`Refusal::LocalFull`], [`Refusal::LocalTooLarge`], [`Refusal::LocalDown`].
    pub fn place_message(
        &mut self,
        meta: &Meta<'_>,
        envelope: &Envelope,
        body_bytes_max: u32,
    ) -> Result<MessageId, Refusal> {
        self.head.clear();
        encode_head(envelope, meta, &mut self.head);
        let class = if meta.report { Class::Mark } else { Class::Mail };
        self.make_room(class, self.head.len() as u32, body_bytes_max)?;
        let active = self.active.as_ref().expect("room was made in it");
        Ok(MessageId { segment: active.segment, offset: active.end })
    }

    /// Writes a message with all its recipients: envelope, then `body` as it
    /// goes on the wire (CRLF, dot-stuffed, no final dot), given in parts.
    /// It may be acknowledged once [`Spool::durable`] has reached its position,
    /// unless [`Spool::synced`] reports that lost.
    ///
    /// # Errors
    /// Any [`Refusal`] but `MisuseUnknown`.
    pub fn append_message(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        meta: &Meta<'_>,
        envelope: &Envelope,
        body: &[&[u8]],
    ) -> Result<Appended, Refusal> {
        assert!(!envelope.recipients.is_empty(), "a message has recipients");
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        encode_head(envelope, meta, &mut head);
        let class = if meta.report { Class::Mark } else { Class::Mail };
        let draft = Draft { body, ..Draft::new(Kind::Message, class, now.wall, &head) };
        let written = self.append(medium, &draft);
        self.head = head;
        let (place, position) = written?;
        let id = MessageId { segment: place.segment, offset: place.offset };
        let entry = Entry::new(place.offset, place.len, false, envelope.recipients.len());
        self.index.insert(id, place.segment, entry);
        self.commit.want(position);
        Ok(Appended { id, place, position })
    }

    /// Everything up to here is on stable storage, or was reported lost.
    pub fn durable(&self) -> Position {
        self.commit.durable()
    }

    /// Somebody waits for `position` (the dot of an attempt, with
    /// `in_doubt = "power"`): it gets the next sync, not one within 100 ms.
    pub fn want(&mut self, position: Position) {
        self.commit.want(position);
    }

    /// Starts the syncs that are due and asks for segments ahead of need. Call
    /// once after each step that appended something, and at
    /// [`Spool::next_deadline`].
    pub fn kick(&mut self, medium: &mut (impl Medium + ?Sized), now: Now) {
        self.commit.kick(now.mono, medium);
        let refused = matches!(self.asked, Asked::RefusedUntil(until) if now.mono < until);
        let asked = refused || self.asked == Asked::Waiting;
        if !asked && !self.down && self.spares.len() < self.spares_wanted() {
            self.asked = Asked::Waiting;
            medium.request_segment();
        }
        if self.active.is_none() && self.spares.len() > 1 {
            self.roll();
        }
        if !self.doubts.is_empty() {
            self.write_doubts(medium, now);
        }
    }

    /// When to call [`Spool::kick`] although nothing happened.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let ask = match self.asked {
            // Nobody asks any more once storage is down.
            Asked::RefusedUntil(until) if self.spares.len() < self.spares_wanted() => {
                (!self.down).then_some(until)
            }
            _ => None,
        };
        self.commit.deadline().into_iter().chain(ask).min()
    }

    /// A sync has ended. `Some`: what it should have covered, and all that was
    /// appended to that segment since the last good one, is lost; messages
    /// among it have left the table, and the segment's other mail is moved by
    /// [`Spool::reclaim`].
    pub fn synced(&mut self, segment: SegmentId, ok: bool) -> Option<Lost> {
        let active = self.active.as_ref().is_some_and(|active| active.segment == segment);
        let footer = self.sealing.contains(&segment);
        match self.commit.synced(segment, ok, active) {
            Ended::Well => None,
            Ended::Foreign => {
                self.sealing.retain(|sealing| *sealing != segment);
                if footer && !ok {
                    self.fail(segment, u32::MAX);
                }
                None
            }
            Ended::Badly { lost, from } => {
                self.fail(segment, from);
                lost
            }
        }
    }

    /// A segment that was asked for is there: empty, durable, readable.
    pub fn segment_ready(&mut self, segment: SegmentId, bytes: u32) {
        assert!(bytes > FIRST_RECORD, "a segment has room behind its superblock");
        assert!(bytes <= SEGMENT_BYTES_MAX, "offsets fit into 31 bits");
        assert!(self.index.last() < Some(segment), "numbers of segments grow");
        self.asked = Asked::No;
        self.spares.push_back((segment, bytes));
    }

    /// No segment could be made; asked for again in a second.
    pub fn no_segment(&mut self, now: Now) {
        self.asked = Asked::RefusedUntil(now.mono + ASK_AGAIN);
    }

    /// Whether a message would find room now, as far as its size is unknown.
    pub fn has_room(&self) -> bool {
        !self.down && !self.spares.is_empty() && (self.active.is_some() || self.spares.len() > 1)
    }

    /// Whether there is no room now because a segment that was asked for has
    /// not come yet: it comes, or is refused, within moments.
    pub fn waits_for_room(&self) -> bool {
        !self.has_room() && self.awaits_segment()
    }

    /// Whether a segment was asked for and has not come yet.
    pub fn awaits_segment(&self) -> bool {
        !self.down && self.asked == Asked::Waiting
    }

    fn spares_wanted(&self) -> usize {
        // The second spare is there before the active segment is full, and
        // not on an idle machine.
        let fresh = |active: &Active| active.end < active.bytes / 4;
        if self.active.as_ref().is_some_and(fresh) { 1 } else { 2 }
    }

    /// Writes one record, in a fresh segment where the active one is full.
    /// Anything but new mail gets a second try after a failed write: new mail
    /// has its id in its trace header already.
    pub(crate) fn append(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        draft: &Draft<'_>,
    ) -> Result<(Place, Position), Refusal> {
        let first = self.append_once(medium, draft);
        if draft.kind == Kind::Message || !matches!(first, Err(Refusal::LocalWrite(_))) {
            return first;
        }
        self.append_once(medium, draft)
    }

    pub(crate) fn append_once(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        draft: &Draft<'_>,
    ) -> Result<(Place, Position), Refusal> {
        let Draft { head, body, .. } = *draft;
        let body_bytes = body.iter().map(|part| part.len()).sum::<usize>();
        let body_bytes = u32::try_from(body_bytes).map_err(|_| Refusal::LocalTooLarge)?;
        self.make_room(draft.class, head.len() as u32, body_bytes)?;
        let sum = || body.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let durable = self.commit.durable_end();
        let active = self.active.as_mut().expect("room was made in it");
        let header = Header {
            kind: draft.kind,
            sequence: active.sequence,
            length: head.len() as u32 + body_bytes,
            head: head.len() as u32,
            body_crc: draft.body_crc.unwrap_or_else(sum),
            durable,
            time: draft.time,
        };
        let raw = header.encode(active.segment, head);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(2 + body.len());
        parts.extend([&raw[..], head]);
        parts.extend(body.iter().filter(|part| !part.is_empty()));
        let place =
            Place { segment: active.segment, offset: active.end, len: frame_bytes(header.length) };
        if let Err(error) = medium.append(place.segment, place.offset, &parts) {
            self.close_active();
            self.give_up(place.segment);
            return Err(Refusal::LocalWrite(error.0));
        }
        let position = self.commit.appended(active.take(&header, place.len));
        Ok((place, position))
    }

    pub(crate) fn make_room(&mut self, class: Class, head: u32, body: u32) -> Result<(), Refusal> {
        if self.down {
            return Err(Refusal::LocalDown);
        }
        let length = head.checked_add(body).filter(|n| *n < u32::MAX / 2);
        let length = length.ok_or(Refusal::LocalTooLarge)?;
        let kept = usize::from(class == Class::Mail);
        let fits = self.active.as_ref().is_some_and(|active| active.fits(length, head));
        if fits && self.spares.len() >= kept {
            return Ok(());
        }
        let size = self.spares.front().map(|(_, bytes)| *bytes);
        let size = size.or(self.active.as_ref().map(|active| active.bytes));
        if size.is_some_and(|bytes| !Active::new(SegmentId(0), bytes).fits(length, head)) {
            return Err(Refusal::LocalTooLarge);
        }
        if fits || self.spares.len() <= kept {
            return Err(Refusal::LocalFull);
        }
        self.roll();
        Ok(())
    }

    /// Starts the next segment; there must be a spare.
    fn roll(&mut self) {
        self.close_active();
        let (segment, bytes) = self.spares.pop_front().expect("a spare was counted");
        self.commit.open(segment, FIRST_RECORD);
        self.index.open(segment);
        self.active = Some(Active::new(segment, bytes));
        self.rolls += 1;
        self.idle_since = None;
    }

    fn close_active(&mut self) {
        let Some(full) = self.active.take() else { return };
        self.commit.close(full.segment);
        let layout = Layout::Closed { end: full.end, sequence: full.sequence };
        self.index.settle_down(full.segment, layout, self.rolls);
    }

    /// A sync of `segment` failed: what it holds from `from` on was never
    /// durable.
    fn fail(&mut self, segment: SegmentId, from: u32) {
        if self.active.as_ref().is_some_and(|active| active.segment == segment) {
            self.close_active();
        }
        let lost: Vec<u32> = self.index.segment(segment).map_or_else(Vec::new, |index| {
            let fresh = index.live_from(from).filter(|entry| entry.is_lost_with_its_sync());
            fresh.map(|entry| entry.offset).collect()
        });
        for offset in lost {
            self.index.remove(MessageId { segment, offset });
        }
        self.give_up(segment);
    }

    /// `segment` cannot be trusted: its mail moves out. A second one before
    /// that is done means that the disk is bad, not a place on it.
    fn give_up(&mut self, segment: SegmentId) {
        if !self.failed.contains(&segment) {
            self.down |= !self.failed.is_empty();
            self.failed.push(segment);
        }
        // An index begun before the failure may rest on what was lost.
        if let Some(Task::Seal(seal)) = self.task.take_if(|task| matches!(task, Task::Seal(_))) {
            self.index.open(seal.segment()).unsealable = true;
        }
        self.idle_since = None;
    }
}

impl Active {
    fn new(segment: SegmentId, bytes: u32) -> Self {
        Self { segment, bytes, end: FIRST_RECORD, sequence: 0, index_bytes: 0 }
    }

    /// Whether a record fits and the index of all records after it.
    fn fits(&self, length: u32, head: u32) -> bool {
        let index = self.index_bytes + copy_bytes(head);
        let needed = u64::from(frame_bytes(length)) + u64::from(index_room(index));
        u64::from(self.end) + needed <= u64::from(self.bytes)
    }

    /// Counts a written record; gives the new end.
    fn take(&mut self, header: &Header, frame: u32) -> u32 {
        self.end += frame;
        self.sequence += 1;
        self.index_bytes += copy_bytes(header.head);
        self.end
    }
}

const ASK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
