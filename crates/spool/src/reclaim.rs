//! Freeing segments: seal those that will stay, move the few live messages out
//! of those that are nearly dead, retire what nothing needs.
//!
//! The invariant, tested over random histories with crashes: retiring a
//! segment neither loses nor resurrects anything. It holds because
//! - a live message is copied, with its recipients' standings, before;
//! - a standing is copied when it is its recipient's last word, and also, for
//!   a message that is not in this table (ended, or another shard's), as long
//!   as the segment that held the message still exists;
//! - an attempt is copied while it is above what is settled, or still open;
//! - all of that is durable before the segment is given up; where a failed
//!   sync lost some of it, that is written once more before;
//! - a segment into which mail was moved is given up only after the segments
//!   it came from are gone for good: else an old copy could outlive the
//!   outcome that stands with the new one.
//!
//! A damaged message stays where it is, and its segment with it: a copy of a
//! body that is not whole looks like the torn end of the log it is appended to,
//! and would take what stands behind it along. Never here: which mail ends.

use std::time::Duration;

use base::planted::{Bug, planted};
use base::{MessageId, Monotonic, Now, SegmentId};

use crate::commit::Position;
use crate::entry::{Message, verify_body};
use crate::index::{Entry, SegmentIndex};
use crate::medium::{Medium, Place};
use crate::record::{Kind, Record};
use crate::restate::{Mark, Restated};
use crate::seal::{Progress, Seal};
use crate::settle::carried;
use crate::state::{Block, Prefix, Slot, begin_block, push_state};
use crate::walk::{Cursor, Layout, Step};
use crate::writer::{Class, Draft, Refusal, Spool};

/// What a call of [`Spool::reclaim`] did.
#[derive(Debug, Default)]
pub struct Reclaimed {
    /// Messages that stand elsewhere now; their ids stay.
    pub moved: Vec<(MessageId, Place)>,
    /// Standings of other shards' mail that stand elsewhere now.
    pub restated: Vec<Restated>,
    /// There is work left that could be done at once.
    pub more: bool,
}

/// What of a record must outlive its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// A live message that stands here.
    pub message: Option<MessageId>,
    /// What it says of recipients.
    pub marks: Marks,
}

/// Why marks must outlive their segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Marks {
    /// They need not.
    #[default]
    Nothing,
    /// The last word on a recipient of a live message of ours.
    Ours(MessageId),
    /// They matter to a message that is not in our table, or are an attempt.
    Verbatim,
}

impl Need {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What is under way; one thing at a time.
#[derive(Debug)]
pub(crate) enum Task {
    Seal(Seal),
    Clean(Clean),
}

/// A segment on its way out.
#[derive(Debug)]
pub(crate) struct Clean {
    cursor: Cursor,
    damaged: bool,
    /// Something in it fits into no segment that is made now.
    too_large: bool,
}

impl Spool {
    /// Seals, moves and retires, looking at no more than `records` records.
    /// Call it after a sync has ended and once a second, and again soon while
    /// [`Reclaimed::more`]. With `short` of disk space, segments go that are
    /// up to half alive.
    pub fn reclaim(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        records: u32,
        short: bool,
    ) -> Reclaimed {
        let mut done = Reclaimed::default();
        if self.is_down() {
            return done;
        }
        self.retire_finished(medium);
        let rested = |since: Monotonic| now.mono >= since + PICK_EVERY;
        let look = short || self.idle_since.is_none_or(rested);
        let mut task = self.task.take();
        if task.is_none() && look {
            task = self.pick(medium, short);
            self.idle_since = task.is_none().then_some(now.mono);
        }
        let progress = match &mut task {
            None => return done,
            Some(Task::Seal(seal)) => seal.step(self, medium, now, records),
            Some(Task::Clean(clean)) => clean.step(self, medium, now, records, &mut done),
        };
        done.more = progress != Progress::Waits;
        if progress != Progress::Over {
            self.task = task;
        }
        done
    }

    /// Gives up the cleaned segments whose copies are durable.
    fn retire_finished(&mut self, medium: &mut (impl Medium + ?Sized)) {
        let durable = self.durable();
        let ready = |index: &Self, medium: &dyn Fn(SegmentId) -> bool, segment, until| {
            let sources = &index.index.segment(segment).map(|s| &s.sources);
            let durable = until <= durable || planted(Bug::SegmentRetiredEarly);
            durable && sources.is_none_or(|s| s.iter().all(|source| !medium(*source)))
        };
        let exists = |segment: SegmentId| medium.size(segment).is_some();
        // What a failed sync lost passes for durable, and copies may be among
        // it: nothing they were made of goes before they are made once more.
        let retiring = std::mem::take(&mut self.retiring);
        let is_moved = |failed: &SegmentId| {
            retiring.iter().any(|(segment, until)| segment == failed && *until <= durable)
        };
        let all_moved = self.failed.iter().all(is_moved);
        let (go, stay): (Vec<_>, Vec<_>) = retiring.into_iter().partition(|(segment, until)| {
            let rests = all_moved || self.failed.contains(segment);
            rests && ready(self, &exists, *segment, *until)
        });
        self.retiring = stay;
        for (segment, _) in go {
            self.index.close(segment);
            self.failed.retain(|failed| *failed != segment);
            medium.retire(segment);
        }
    }

    /// Chooses the next thing to do.
    fn pick(&self, medium: &(impl Medium + ?Sized), short: bool) -> Option<Task> {
        let busy = |segment| {
            self.commit.is_open(segment)
                || self.sealing.contains(&segment)
                || self.retiring.iter().any(|(old, _)| *old == segment)
        };
        let idle = || {
            let all = self.index.segments();
            all.filter(|(segment, s)| s.layout != Layout::Active && !s.stuck && !busy(*segment))
        };
        let clean = |(segment, index): (SegmentId, &SegmentIndex)| {
            let cursor = Cursor::new(segment, index.layout);
            Task::Clean(Clean { cursor, damaged: false, too_large: false })
        };
        if let Some(failed) = idle().find(|(segment, _)| self.failed.contains(segment)) {
            return Some(clean(failed));
        }
        // A segment in which nothing was written may be the only room there is for
        // what was in doubt, before which nothing is handed out.
        let usable = |index: &SegmentIndex| {
            self.resume.is_none() || !index.recovered || index.layout.is_blank()
        };
        let share = |segment, index: &SegmentIndex| {
            let bytes = medium.size(segment).unwrap_or(u32::MAX);
            index.live_bytes() * 100 / u64::from(bytes.max(1))
        };
        let settled = |index: &SegmentIndex| index.closed_at + SETTLE_AFTER <= self.rolls;
        let best = idle()
            .filter(|(_, index)| usable(index))
            .map(|(segment, index)| (share(segment, index), segment, index))
            .filter(|(share, _, index)| {
                let few = *share < CLEAN_BELOW_PERCENT && settled(index)
                    || short && *share < CLEAN_BELOW_PERCENT_SHORT;
                index.live() == 0 || few && !index.unmovable
            })
            .min_by_key(|(share, segment, index)| (index.live() > 0, *share, *segment));
        if let Some((_, segment, index)) = best {
            return Some(clean((segment, index)));
        }
        // An index leaves out what a lost record replaced.
        if !self.failed.is_empty() {
            return None;
        }
        // Sources first: what came out of a segment that still exists must
        // stay visible to recovery.
        let unsealed = idle().find_map(|(segment, index)| match index.layout {
            Layout::Closed { end, sequence }
                if settled(index)
                    && usable(index)
                    && !index.unsealable
                    && index.sources.iter().all(|source| medium.size(*source).is_none()) =>
            {
                Some((segment, end, sequence))
            }
            _ => None,
        });
        unsealed.map(|(segment, end, sequence)| Task::Seal(Seal::new(segment, end, sequence)))
    }

    /// What of a record must outlive its segment, as things stand now.
    pub(crate) fn need(&self, medium: &(impl Medium + ?Sized), record: &Record<'_>) -> Need {
        let at = (record.segment, record.offset);
        let own = MessageId { segment: at.0, offset: at.1 };
        let block = Block::of_states(record.header.kind, record.head);
        match record.header.kind {
            Kind::Index => Need::default(),
            Kind::Message => Need { message: self.live_at(own, at), marks: Marks::Nothing },
            Kind::Relocated if planted(Bug::SegmentRecycledAlive) => Need::default(),
            Kind::Relocated => Need {
                message: block.and_then(|block| self.live_at(block.message, at)),
                marks: Marks::Nothing,
            },
            Kind::Report | Kind::State => Need {
                message: self.live_at(own, at),
                marks: block
                    .map_or(Marks::Nothing, |block| self.need_of_states(medium, &block, at)),
            },
            Kind::Attempt => Need {
                message: None,
                marks: Block::parse(record.head)
                    .map_or(Marks::Nothing, |block| self.need_of_attempt(medium, &block, at.0)),
            },
        }
    }

    /// The message, if it is live and stands there.
    fn live_at(&self, id: MessageId, at: (SegmentId, u32)) -> Option<MessageId> {
        let here = self.index.entry(id).is_some_and(|(s, entry)| (s, entry.offset) == at);
        here.then_some(id)
    }

    fn need_of_states(
        &self,
        medium: &(impl Medium + ?Sized),
        block: &Block<'_>,
        at: (SegmentId, u32),
    ) -> Marks {
        match self.index.entry(block.message) {
            Some((_, entry)) if entry.slots().iter().any(|slot| slot.note() == Some(at)) => {
                Marks::Ours(block.message)
            }
            Some(_) => Marks::Nothing,
            None => self.need_of_absent(medium, block, at.0),
        }
    }

    /// A record about a message that is not in our table matters while the
    /// message's record may still be found, here excepted: that goes with it.
    fn need_of_absent(
        &self,
        medium: &(impl Medium + ?Sized),
        block: &Block<'_>,
        here: SegmentId,
    ) -> Marks {
        let exists = block.home != here && medium.size(block.home).is_some();
        if exists { Marks::Verbatim } else { Marks::Nothing }
    }

    fn need_of_attempt(
        &self,
        medium: &(impl Medium + ?Sized),
        block: &Block<'_>,
        here: SegmentId,
    ) -> Marks {
        if let Some((_, entry)) = self.index.entry(block.message) {
            let open = |(recipient, attempt): (u16, u16)| {
                let slot = entry.slots().get(usize::from(recipient));
                slot.is_some_and(|slot: &Slot| !slot.is_done() && attempt > slot.attempts())
            };
            return if block.attempts().any(open) { Marks::Verbatim } else { Marks::Nothing };
        }
        let open = |(recipient, attempt): (u16, u16)| {
            self.open_attempts.get(&(block.message, recipient)) == Some(&attempt)
        };
        if block.attempts().any(open) {
            return Marks::Verbatim;
        }
        // In this run's segments every other attempt has been given back.
        match self.index.segment(here) {
            Some(index) if !index.recovered => Marks::Nothing,
            _ => self.need_of_absent(medium, block, here),
        }
    }

    /// Copies a live message with its standings into the active segment.
    fn relocate(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        record: Place,
        id: MessageId,
    ) -> Result<Option<Place>, Refusal> {
        let Some((from, entry)) = self.index.entry(id) else { return Ok(None) };
        let Some(old) = crate::record::record_at(medium, record.segment, record.offset) else {
            return Ok(None);
        };
        let Some(message) = Message::parse(&old) else { return Ok(None) };
        if !verify_body(medium, &message) {
            return Ok(None);
        }
        let Some(body) = message.body(medium).map(<[u8]>::to_vec) else { return Ok(None) };
        let recipients = entry.slots().len();
        let mut head = Vec::new();
        Prefix::begin(from, &mut head);
        begin_block(id, from, recipients, &mut head);
        for (recipient, slot) in entry.slots().iter().enumerate() {
            push_state(&carried(medium, slot, recipient as u16), &mut head);
        }
        Prefix::end(&mut head);
        head.extend_from_slice(message.envelope_bytes());
        let draft = Draft {
            body: &[&body],
            body_crc: Some(old.header.body_crc),
            ..Draft::new(Kind::Relocated, Class::Mark, old.header.time, &head)
        };
        let (place, _) = self.append(medium, &draft)?;
        let mut fresh = Entry::new(place.offset, place.len, true, recipients);
        let (prefix, _) = Prefix::split(&head).expect("a prefix that was just made");
        for state in prefix.block.states() {
            fresh.slots_mut()[usize::from(state.recipient)] = Slot::of_entry(&state, place.start());
        }
        self.index.insert(id, place.segment, fresh);
        let sources = &mut self.index.open(place.segment).sources;
        if !sources.contains(&from) {
            sources.push(from);
        }
        Ok(Some(place))
    }

    /// Writes once more what only `segment` says of a message of ours.
    fn carry(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        segment: SegmentId,
        id: MessageId,
    ) -> Result<(), Refusal> {
        let Some((home, entry)) = self.index.entry(id) else { return Ok(()) };
        let here = |slot: &Slot| slot.note().is_some_and(|(note, _)| note == segment);
        let count = entry.slots().iter().filter(|slot| here(slot)).count();
        let mut head = Vec::new();
        begin_block(id, home, count, &mut head);
        for (recipient, slot) in entry.slots().iter().enumerate().filter(|(_, slot)| here(slot)) {
            push_state(&carried(medium, slot, recipient as u16), &mut head);
        }
        self.append_states(medium, now, Class::Mark, &head).map(|_| ())
    }
}

impl Clean {
    /// Goes on for at most `records` records.
    fn step(
        &mut self,
        spool: &mut Spool,
        medium: &mut (impl Medium + ?Sized),
        now: Now,
        records: u32,
        done: &mut Reclaimed,
    ) -> Progress {
        let segment = self.cursor.segment();
        for _ in 0..records {
            let before = self.cursor;
            let written = match self.cursor.next(medium) {
                Step::Record(record) => {
                    let need = spool.need(medium, &record);
                    let place = record.place();
                    let mark = (need.marks == Marks::Verbatim).then(|| Mark::of(&record));
                    let moved = &mut done.moved;
                    self.move_out(spool, medium, need.message, place, moved).and_then(|()| {
                        match (need.marks, mark) {
                            (Marks::Ours(id), _) => spool.carry(medium, now, segment, id),
                            (_, Some(mark)) => {
                                spool.restate(medium, &mark, place.start(), &mut done.restated)
                            }
                            _ => Ok(()),
                        }
                    })
                }
                Step::Bad(at) => {
                    self.damaged = true;
                    self.skip(spool, at);
                    Ok(())
                }
                Step::End => return self.end(spool, now),
            };
            match written {
                Ok(()) => {}
                // No wait makes it fit: it stays, and its segment with it.
                Err(Refusal::LocalTooLarge) => self.damaged = true,
                // What was written before the refusal is not needed any more.
                Err(_) => {
                    self.cursor = before;
                    return Progress::Waits;
                }
            }
        }
        Progress::More
    }

    fn move_out(
        &mut self,
        spool: &mut Spool,
        medium: &mut (impl Medium + ?Sized),
        message: Option<MessageId>,
        place: Place,
        moved: &mut Vec<(MessageId, Place)>,
    ) -> Result<(), Refusal> {
        let Some(id) = message else { return Ok(()) };
        let new = match spool.relocate(medium, place, id) {
            Err(Refusal::LocalTooLarge) => {
                self.too_large = true;
                return Ok(());
            }
            new => new?,
        };
        self.damaged |= new.is_none();
        moved.extend(new.map(|new| (id, new)));
        Ok(())
    }

    /// Goes on at the next live message behind damage.
    fn skip(&mut self, spool: &Spool, bad: u32) {
        let index = spool.index.segment(self.cursor.segment());
        let next = index.and_then(|index| index.live_from(bad + 1).next());
        match next {
            Some(entry) if !self.cursor.is_sealed() => self.cursor.skip_to(entry.offset),
            _ => self.cursor.stop(),
        }
    }

    fn end(&self, spool: &mut Spool, now: Now) -> Progress {
        let segment = self.cursor.segment();
        let index = spool.index.open(segment);
        if self.damaged || index.live() > 0 && !planted(Bug::SegmentRecycledAlive) {
            let failed = spool.failed.contains(&segment);
            // It goes once what could not be moved has ended.
            index.unmovable = self.too_large;
            index.stuck = failed || self.damaged || !self.too_large;
            if failed {
                // What was moved into it may be whole only where it came from.
                for (source, _) in std::mem::take(&mut spool.retiring) {
                    spool.index.open(source).stuck = true;
                }
                spool.failed.retain(|failed| *failed != segment);
            }
            return Progress::Over;
        }
        let until: Position = spool.commit.last();
        spool.commit.want_lazily(now.mono);
        spool.retiring.push((segment, until));
        Progress::Over
    }
}

/// How often to look for work when there was none.
const PICK_EVERY: Duration = Duration::from_millis(250);
/// Segments below this share of live bytes are emptied.
const CLEAN_BELOW_PERCENT: u64 = 10;
/// The same while disk space is short.
const CLEAN_BELOW_PERCENT_SHORT: u64 = 50;
/// Segments opened after one before it is emptied or sealed: most mail ends
/// within seconds, and then costs neither a move nor a place in an index.
pub(crate) const SETTLE_AFTER: u64 = 2;

#[cfg(test)]
mod tests;
