//! What becomes of recipients: attempts and standings, written and looked up.
//!
//! A standing is applied to the table only when its record is written, so the
//! table never knows more than the log. Never here: which verdict leads to
//! which standing (`shard`), when a record is durable (`commit`).
//!
//! Invariants: a done recipient changes no more; a message leaves the table
//! with its last recipient; what recovery found in doubt is in the log before
//! any recovered message is handed out (`resume`).

use base::limits::OPEN_ATTEMPT_CRASHES_MAX;
use base::planted::{Bug, planted};
use base::{MessageId, Now, SegmentId};

use crate::commit::Position;
use mail::Envelope;

use crate::entry::{Message, Meta, Unreadable, encode_head, message_at};
use crate::index::Entry;
use crate::medium::{Medium, Place};
use crate::record::{Kind, record_at};
use crate::state::{
    Block, Change, Note, NoteView, Phase, Prefix, Slot, State, StateEntry, begin_block, note_in,
    push_attempt, push_state,
};
use crate::writer::{Appended, Class, Draft, Refusal, Spool};

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

/// A recipient whose attempt was open when the program or the power went: it
/// may have got the message (design §1, promise 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doubt {
    /// The message.
    pub message: MessageId,
    /// Index in the envelope.
    pub recipient: u16,
    /// The open attempt's number.
    pub attempt: u16,
    /// Crashes in a row with an open attempt, this one included; at
    /// [`OPEN_ATTEMPT_CRASHES_MAX`] the recipient is held.
    pub crashes: u8,
}

impl Spool {
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
        let draft = Draft::new(Kind::Attempt, Class::Mark, now.wall, &head);
        let written = self.append(medium, &draft);
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
    /// Any [`Refusal`]; nothing has changed then. [`Refusal::LocalFull`] for
    /// deferrals and holds comes while there is still room for outcomes.
    pub fn settle(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        message: MessageId,
        changes: &[Change<'_>],
    ) -> Result<Settled, Refusal> {
        // What only tells when to try again must not eat the room that
        // outcomes need: with a full disk it is refused as mail is.
        let ends = |change: &Change<'_>| {
            matches!(change.phase, Phase::Done(_)) || change.in_doubt || change.delay_noticed
        };
        let class = if changes.iter().any(ends) { Class::Mark } else { Class::Mail };
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        let written = match self.push_changes(medium, message, changes, &mut head) {
            true => self.append_states(medium, now, class, &head),
            false => Err(Refusal::MisuseUnknown),
        };
        self.head = head;
        written
    }

    /// Writes a report of our own and the standings that make it due as one
    /// record: a crash leaves both or neither. As [`Spool::append_message`] and
    /// [`Spool::settle`] in one.
    ///
    /// # Errors
    /// Any [`Refusal`]; nothing has changed then.
    pub fn append_report(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        envelope: &Envelope,
        body: &[&[u8]],
        about: MessageId,
        changes: &[Change<'_>],
    ) -> Result<(Appended, Settled), Refusal> {
        assert!(!envelope.recipients.is_empty(), "a report has recipients");
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        Prefix::begin(SegmentId::default(), &mut head);
        let known = self.push_changes(medium, about, changes, &mut head);
        Prefix::end(&mut head);
        encode_head(envelope, &Meta { report: true, ..Meta::default() }, &mut head);
        let draft = Draft { body, ..Draft::new(Kind::Report, Class::Mark, now.wall, &head) };
        let written = match known {
            true => self.append(medium, &draft),
            false => Err(Refusal::MisuseUnknown),
        };
        let applied = written.map(|(place, position)| {
            let done = self.apply_states(Kind::Report, &head, place);
            let id = MessageId { segment: place.segment, offset: place.offset };
            let entry = Entry::new(place.offset, place.len, false, envelope.recipients.len());
            let entry = entry.of_report();
            self.index.insert(id, place.segment, entry);
            self.commit.want(position);
            (Appended { id, place, position }, Settled { position, done })
        });
        self.head = head;
        applied
    }

    /// Appends the block of changed standings to `head`; `false` when the
    /// message is not here.
    fn push_changes(
        &self,
        medium: &(impl Medium + ?Sized),
        message: MessageId,
        changes: &[Change<'_>],
        head: &mut Vec<u8>,
    ) -> bool {
        let Some((home, entry)) = self.index.entry(message) else { return false };
        let slots = entry.slots();
        let open = |change: &&Change<'_>| {
            let slot = slots.get(usize::from(change.recipient));
            !slot.expect("a settled recipient is one of its message's").is_done()
        };
        begin_block(message, home, changes.iter().filter(open).count(), head);
        for change in changes.iter().filter(open) {
            let slot = &slots[usize::from(change.recipient)];
            push_state(&changed(medium, slot, change), head);
        }
        true
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

    /// What recovery found in doubt and is not yet in the log.
    pub fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }

    /// Notes doubts in the log while there is room: for each message one record,
    /// or more where it has many, for a record must fit into a segment.
    pub(crate) fn write_doubts(&mut self, medium: &mut (impl Medium + ?Sized), now: Now) {
        while let Some(last) = self.doubts.last() {
            let message = last.message;
            let first = self.doubts.partition_point(|doubt| doubt.message < message);
            let first = first.max(self.doubts.len().saturating_sub(DOUBTS_PER_RECORD_MAX));
            let mut head = std::mem::take(&mut self.head);
            head.clear();
            if let Some((home, entry)) = self.index.entry(message) {
                begin_block(message, home, self.doubts.len() - first, &mut head);
                for doubt in &self.doubts[first..] {
                    let slot = &entry.slots()[usize::from(doubt.recipient)];
                    push_state(&doubted(medium, slot, doubt), &mut head);
                }
            }
            // A message that ended meanwhile leaves no doubt.
            let written =
                head.is_empty() || self.append_states(medium, now, Class::Mark, &head).is_ok();
            self.head = head;
            if !written {
                return;
            }
            self.doubts.truncate(first);
        }
    }

    /// Applies a block of standings to the table and writes it.
    pub(crate) fn append_states(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        class: Class,
        head: &[u8],
    ) -> Result<Settled, Refusal> {
        let draft = Draft::new(Kind::State, class, now.wall, head);
        let (place, position) = self.append(medium, &draft)?;
        self.commit.want_lazily(now.mono);
        let done = self.apply_states(Kind::State, head, place);
        Ok(Settled { position, done })
    }

    /// Applies the states in a record that was just written to the table;
    /// whether the message has ended with them.
    fn apply_states(&mut self, kind: Kind, head: &[u8], place: Place) -> bool {
        let block = Block::of_states(kind, head).expect("a block that was just made");
        let Some((_, entry)) = self.index.entry_mut(block.message) else { return true };
        for state in block.states() {
            entry.slots_mut()[usize::from(state.recipient)] = Slot::of_entry(&state, place.start());
        }
        entry.is_done() && self.index.remove(block.message)
    }
}

/// With the longest answers 25 KiB, and as much in the index.
const DOUBTS_PER_RECORD_MAX: usize = 32;

/// A slot as it is stored once more, elsewhere.
pub(crate) fn carried<'a>(
    medium: &'a (impl Medium + ?Sized),
    slot: &Slot,
    recipient: u16,
) -> StateEntry<'a> {
    let State { phase, attempts, crashes, in_doubt, delay_noticed, next } = slot.state();
    let view = read_note(medium, slot, recipient);
    let note = view.map(|v| Note { status: v.status, text: v.text, host: v.host });
    let next = view.map_or(next, |view| view.next);
    StateEntry {
        recipient,
        attempts,
        phase,
        in_doubt,
        delay_noticed,
        crashes,
        revision: slot.revision,
        next,
        note,
    }
}

/// The answer stored for a slot, with its recipient's index.
pub(crate) fn read_note<'m>(
    medium: &'m (impl Medium + ?Sized),
    slot: &Slot,
    recipient: u16,
) -> Option<NoteView<'m>> {
    let (segment, offset) = slot.note()?;
    let record = record_at(medium, segment, offset)?;
    let block = Block::of_states(record.header.kind, record.head)?;
    note_in(&block, recipient)
}

/// The standing of a recipient that an attempt left in doubt.
fn doubted<'a>(medium: &'a (impl Medium + ?Sized), slot: &Slot, doubt: &Doubt) -> StateEntry<'a> {
    let held = doubt.crashes >= OPEN_ATTEMPT_CRASHES_MAX;
    let old = slot.state();
    let change = Change {
        recipient: doubt.recipient,
        phase: if held { Phase::Held } else { old.phase },
        attempts: doubt.attempt,
        next: old.next,
        in_doubt: true,
        delay_noticed: false,
        note: None,
    };
    StateEntry { crashes: doubt.crashes, ..changed(medium, slot, &change) }
}

/// The standing that a change makes of a slot.
pub(crate) fn changed<'a>(
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
        delay_noticed: change.delay_noticed || old.delay_noticed && !planted(Bug::DelayToldTwice),
        // An attempt that ended with an answer ends the row of crashes.
        crashes: if change.attempts > old.attempts { 0 } else { old.crashes },
        revision: slot.revision.saturating_add(1),
        next: if matches!(change.phase, Phase::Done(_)) { old.next } else { change.next },
        note: change.note.or_else(kept),
    }
}
