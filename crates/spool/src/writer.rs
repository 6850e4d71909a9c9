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

use base::{Map, MessageId, Monotonic, Now, SegmentId, ShardId};
use mail::Envelope;

use crate::commit::{Commit, Ended, Lost, Position};
use crate::entry::{Message, Meta, Unreadable, encode_head, message_at};
use crate::index::{Entry, Index};
use crate::medium::{Medium, Place};
use crate::record::{FIRST_RECORD, HEADER_BYTES, Header, Kind, frame_bytes, record_at};
use crate::state::{
    Block, Change, Note, NoteView, Phase, Slot, State, StateEntry, begin_block, note_in,
    push_attempt, push_state,
};

/// Why something was not written. Nothing of it is left behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No room now; ask again later (`452 4.3.1`, RFC 5321 §4.2.3).
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

/// Standings that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Durable once [`Spool::durable`] has reached this.
    pub position: Position,
    /// No recipient is owed anything any more; the message has left the table.
    pub done: bool,
}

/// One recipient in an attempt that is about to send the final dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// Index in the envelope.
    pub recipient: u16,
    /// Number of the attempt, from 1.
    pub attempt: u16,
}

/// Who may use the last of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// New mail: never the spare that is kept for marks.
    Mail,
    /// Attempts, standings, reports, mail that is moved.
    Mark,
}

/// The segment being appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub segment: SegmentId,
    bytes: u32,
    end: u32,
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
    head: Vec<u8>,
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
        medium: &mut (impl Medium + ?Sized),
        meta: &Meta<'_>,
        envelope: &Envelope,
        body_bytes_max: u32,
    ) -> Result<MessageId, Refusal> {
        self.head.clear();
        encode_head(envelope, meta, &mut self.head);
        let (class, margin) =
            if meta.report { (Class::Mark, REPORT_MARGIN) } else { (Class::Mail, 0) };
        let head = self.head.len() as u32;
        let body = body_bytes_max.checked_add(margin).ok_or(Refusal::LocalTooLarge)?;
        self.make_room(medium, class, head, body)?;
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
        let written = self.append(medium, now, Kind::Message, class, &head, body);
        self.head = head;
        let (place, position) = written?;
        let id = MessageId { segment: place.segment, offset: place.offset };
        let entry = Entry::new(place.offset, place.len, false, envelope.recipients.len());
        self.index.insert(id, place.segment, entry);
        self.commit.want(position);
        Ok(Appended { id, place, position })
    }

    /// Writes that the final dot is about to be sent for `tries`. The message
    /// may be another shard's; `home` is the segment it was read from.
    /// Another shard's attempts must be given back by [`Spool::attempt_ended`].
    ///
    /// # Errors
    /// Any [`Refusal`] but `MisuseUnknown`: do not send the dot.
    pub fn append_attempt(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        message: MessageId,
        home: SegmentId,
        tries: &[Try],
    ) -> Result<Position, Refusal> {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        begin_block(message, home, tries.len(), &mut head);
        for Try { recipient, attempt } in tries {
            push_attempt(*recipient, *attempt, &mut head);
        }
        let written = self.append(medium, now, Kind::Attempt, Class::Mark, &head, &[]);
        self.head = head;
        let (_, position) = written?;
        if self.index.entry(message).is_none() {
            let open = tries.iter().map(|t| ((message, t.recipient), t.attempt));
            self.open_attempts.extend(open);
        }
        self.commit.want_lazily(now.mono);
        Ok(position)
    }

    /// The writer of another shard's message has settled these recipients
    /// durably: their attempt records may go with their segment.
    pub fn attempt_ended(&mut self, message: MessageId, recipients: impl Iterator<Item = u16>) {
        for recipient in recipients {
            self.open_attempts.remove(&(message, recipient));
        }
    }

    /// Writes what becomes of recipients of one message, in one record.
    /// Recipients that are done already stay as they are.
    ///
    /// # Errors
    /// Any [`Refusal`]; nothing has changed then.
    pub fn settle(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        message: MessageId,
        changes: &[Change<'_>],
    ) -> Result<Settled, Refusal> {
        let (home, entry) = self.index.entry(message).ok_or(Refusal::MisuseUnknown)?;
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        let slots = entry.slots();
        let open = |change: &&Change<'_>| {
            let slot = slots.get(usize::from(change.recipient));
            !slot.expect("a settled recipient is one of its message's").is_done()
        };
        begin_block(message, home, changes.iter().filter(open).count(), &mut head);
        for change in changes.iter().filter(open) {
            let slot = &slots[usize::from(change.recipient)];
            push_state(&changed(medium, slot, change), &mut head);
        }
        let written = self.append_states(medium, now, &head);
        self.head = head;
        written
    }

    /// Where every recipient of a message stands; `None` when it is not here.
    pub fn states(&self, message: MessageId) -> Option<impl Iterator<Item = State>> {
        let (_, entry) = self.index.entry(message)?;
        Some(entry.slots().iter().map(Slot::state))
    }

    /// Where one recipient stands; `None` when the message is not here.
    pub fn state(&self, message: MessageId, recipient: u16) -> Option<State> {
        let (_, entry) = self.index.entry(message)?;
        entry.slots().get(usize::from(recipient)).map(Slot::state)
    }

    /// The last answer to a recipient, read from the segment.
    pub fn note<'m>(
        &self,
        medium: &'m (impl Medium + ?Sized),
        message: MessageId,
        recipient: u16,
    ) -> Option<NoteView<'m>> {
        let (_, entry) = self.index.entry(message)?;
        read_note(medium, entry.slots().get(usize::from(recipient))?, recipient)
    }

    /// Where a message stands now; it moves when its segment is reclaimed.
    pub fn place(&self, message: MessageId) -> Option<Place> {
        self.index.place(message)
    }

    /// The message itself, head only.
    ///
    /// # Errors
    /// [`Unreadable`]; `LocalGone` when it has ended or is another shard's.
    pub fn message<'m>(
        &self,
        medium: &'m (impl Medium + ?Sized),
        message: MessageId,
    ) -> Result<Message<'m>, Unreadable> {
        let place = self.place(message).ok_or(Unreadable::LocalGone)?;
        message_at(medium, message, place)
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
            self.roll(medium);
        }
    }

    /// When to call [`Spool::kick`] although nothing happened.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let ask = match self.asked {
            Asked::RefusedUntil(until) if self.spares.len() < self.spares_wanted() => Some(until),
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
        match self.commit.synced(segment, ok, active) {
            Ended::Well | Ended::Foreign => None,
            Ended::Badly { lost, from } => {
                self.fail(segment, from);
                lost
            }
        }
    }

    /// A segment that was asked for is there: empty, durable, readable.
    pub fn segment_ready(&mut self, segment: SegmentId, bytes: u32) {
        assert!(bytes > FIRST_RECORD, "a segment has room behind its superblock");
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

    fn spares_wanted(&self) -> usize {
        // The second spare is there before the active segment is full, and
        // not on an idle machine.
        let fresh = |active: &Active| active.end < active.bytes / 4;
        if self.active.as_ref().is_some_and(fresh) { 1 } else { 2 }
    }

    /// Applies a block of standings to the table and writes it.
    pub(crate) fn append_states(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        head: &[u8],
    ) -> Result<Settled, Refusal> {
        let (place, position) = self.append(medium, now, Kind::State, Class::Mark, head, &[])?;
        self.commit.want_lazily(now.mono);
        let block = Block::parse(head).expect("a block that was just made");
        let (_, entry) = self.index.entry_mut(block.message).ok_or(Refusal::MisuseUnknown)?;
        for state in block.states() {
            entry.slots_mut()[usize::from(state.recipient)] = Slot::of_entry(&state, place.start());
        }
        let done = entry.is_done();
        if done {
            self.index.remove(block.message);
        }
        Ok(Settled { position, done })
    }

    /// Writes one record, in a fresh segment where the active one is full.
    pub(crate) fn append(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        kind: Kind,
        class: Class,
        head: &[u8],
        body: &[&[u8]],
    ) -> Result<(Place, Position), Refusal> {
        let body_bytes = body.iter().map(|part| part.len()).sum::<usize>();
        let body_bytes = u32::try_from(body_bytes).map_err(|_| Refusal::LocalTooLarge)?;
        self.make_room(medium, class, head.len() as u32, body_bytes)?;
        let body_crc = body.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let durable = self.commit.durable_end();
        let active = self.active.as_mut().expect("room was made in it");
        let header = Header {
            kind,
            sequence: active.sequence,
            length: head.len() as u32 + body_bytes,
            head: head.len() as u32,
            body_crc,
            durable,
            time: now.wall,
        };
        let raw = header.encode(active.segment, head);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(2 + body.len());
        parts.extend([&raw[..], head]);
        parts.extend(body.iter().filter(|part| !part.is_empty()));
        let place =
            Place { segment: active.segment, offset: active.end, len: frame_bytes(header.length) };
        if let Err(error) = medium.append(place.segment, place.offset, &parts) {
            self.abandon(place.segment);
            return Err(Refusal::LocalWrite(error.0));
        }
        let position = self.commit.appended(active.take(&header, place.len));
        Ok((place, position))
    }

    fn make_room(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        class: Class,
        head: u32,
        body: u32,
    ) -> Result<(), Refusal> {
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
        self.roll(medium);
        Ok(())
    }

    /// Starts the next segment; there must be a spare.
    fn roll(&mut self, _medium: &mut (impl Medium + ?Sized)) {
        if let Some(full) = self.active.take() {
            self.commit.close(full.segment);
            self.index.settle_down(full.segment);
        }
        let (segment, bytes) = self.spares.pop_front().expect("a spare was counted");
        self.commit.open(segment, FIRST_RECORD);
        self.index.open(segment);
        self.active = Some(Active::new(segment, bytes));
    }

    /// A write to `segment` failed: it gets no more.
    fn abandon(&mut self, segment: SegmentId) {
        self.active = None;
        self.commit.close(segment);
        self.index.settle_down(segment);
    }

    /// A sync of `segment` failed: it is given up, and what it holds from
    /// `from` on was never durable.
    fn fail(&mut self, segment: SegmentId, from: u32) {
        if self.active.as_ref().is_some_and(|active| active.segment == segment) {
            self.active = None;
        }
        self.down |= !self.failed.is_empty();
        self.failed.push(segment);
        let lost: Vec<u32> = self.index.segment(segment).map_or_else(Vec::new, |index| {
            let fresh = index.from_offset(from).filter(|entry| !entry.is_relocated());
            fresh.map(|entry| entry.offset).collect()
        });
        for offset in lost {
            self.index.remove(MessageId { segment, offset });
        }
        self.index.settle_down(segment);
    }
}

impl Active {
    fn new(segment: SegmentId, bytes: u32) -> Self {
        Self { segment, bytes, end: FIRST_RECORD, sequence: 0, index_bytes: 0 }
    }

    /// Whether a record fits and the index of all records after it.
    fn fits(&self, length: u32, head: u32) -> bool {
        let index = self.index_bytes + index_entry_bytes(head);
        let needed = u64::from(frame_bytes(length)) + u64::from(index_room(index));
        u64::from(self.end) + needed <= u64::from(self.bytes)
    }

    /// Counts a written record; gives the new end.
    fn take(&mut self, header: &Header, frame: u32) -> u32 {
        self.end += frame;
        self.sequence += 1;
        self.index_bytes += index_entry_bytes(header.head);
        self.end
    }
}

/// Bytes of a record's copy in the index: its offset, header and head.
pub(crate) const fn index_entry_bytes(head: u32) -> u32 {
    8 + (HEADER_BYTES + head).next_multiple_of(8)
}

/// Bytes to keep free for an index of `entries` bytes: frames and footer too.
pub(crate) const fn index_room(entries: u32) -> u32 {
    entries + (entries / INDEX_CHUNK_BYTES + 2) * (HEADER_BYTES + 8)
}

/// The answer stored for a slot, with its recipient's index.
pub(crate) fn read_note<'m>(
    medium: &'m (impl Medium + ?Sized),
    slot: &Slot,
    recipient: u16,
) -> Option<NoteView<'m>> {
    let (segment, offset) = slot.note()?;
    let record = record_at(medium, segment, offset)?;
    let block = match record.header.kind {
        Kind::State => Block::parse(record.head),
        Kind::Relocated => Block::of_relocated(record.head).map(|(_, block)| block),
        _ => None,
    };
    note_in(&block?, recipient)
}

/// The standing that a change makes of a slot.
fn changed<'a>(
    medium: &'a (impl Medium + ?Sized),
    slot: &Slot,
    change: &Change<'a>,
) -> StateEntry<'a> {
    let old = slot.state();
    let kept = || {
        let view = read_note(medium, slot, change.recipient)?;
        Some(Note { status: view.status, text: view.text, host: view.host })
    };
    StateEntry {
        recipient: change.recipient,
        attempts: change.attempts.max(old.attempts),
        phase: change.phase,
        in_doubt: change.in_doubt || old.in_doubt,
        delay_noticed: change.delay_noticed || old.delay_noticed,
        // An attempt that ended with an answer ends the row of crashes.
        crashes: if change.attempts > old.attempts { 0 } else { old.crashes },
        revision: slot.revision + 1,
        next: if matches!(change.phase, Phase::Done(_)) { old.next } else { change.next },
        note: change.note.or_else(kept),
    }
}

/// Index records are written once they hold this much.
pub(crate) const INDEX_CHUNK_BYTES: u32 = 64 * 1024;
/// Room kept behind a report, so that the standing that makes it owed stands
/// in the same segment and cannot become durable without it.
const REPORT_MARGIN: u32 = 4096;
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
