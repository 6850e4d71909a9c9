//! The writer's table of live messages: where each stands and where each of
//! its recipients stands.
//!
//! Small, because a million messages may wait: 32 bytes for a message with one
//! recipient, in a plain array per segment, sorted because records are only
//! appended. Never here: addresses, answers, times of arrival; they stay in
//! the segment. Invariants: an entry is live or its slot is reused by the next
//! shrink; a message is in the table exactly while a recipient is not done.

use std::collections::BTreeMap;

use base::{Map, MessageId, SegmentId};

use crate::medium::Place;
use crate::state::Slot;
use crate::walk::Layout;

/// All live messages of the segments of one shard.
#[derive(Debug, Default)]
pub(crate) struct Index {
    segments: BTreeMap<SegmentId, SegmentIndex>,
    /// Where messages stand that do not stand where they were first written.
    relocated: Map<MessageId, (SegmentId, u32)>,
    live: u64,
    live_bytes: u64,
}

/// One segment's messages.
#[derive(Debug, Default)]
pub(crate) struct SegmentIndex {
    entries: Vec<Entry>,
    live: u32,
    live_bytes: u64,
    /// Segments that messages in this one were moved out of; they must be gone
    /// for good before this one may be retired (`reclaim`).
    pub sources: Vec<SegmentId>,
    pub layout: Layout,
    /// How many segments had been opened when this one was closed.
    pub closed_at: u64,
    /// Written before this run.
    pub recovered: bool,
    /// Damaged: kept for people to look at.
    pub stuck: bool,
    /// Holds a message that is larger than the segments made now: it stays
    /// until that ends.
    pub unmovable: bool,
    /// An index was begun and could not be finished.
    pub unsealable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub offset: u32,
    /// Record bytes, a multiple of 8; bit 0: relocated; bit 1: a report; 0: dead.
    size: u32,
    slots: Slots,
}

const _: () = assert!(size_of::<Entry>() <= 32);

#[derive(Clone, Debug)]
enum Slots {
    One(Slot),
    /// A thin pointer: a boxed slice would cost every entry 8 bytes.
    #[expect(clippy::box_collection, reason = "see above")]
    Many(Box<Vec<Slot>>),
}

const RELOCATED: u32 = 1;
const REPORT: u32 = 2;

impl Entry {
    pub(crate) fn new(offset: u32, size: u32, relocated: bool, recipients: usize) -> Self {
        assert!(size.is_multiple_of(8), "records are padded to 8 bytes");
        let slots = match recipients {
            1 => Slots::One(Slot::NEW),
            n => Slots::Many(Box::new(vec![Slot::NEW; n])),
        };
        Self { offset, size: size | if relocated { RELOCATED } else { 0 }, slots }
    }

    pub(crate) fn bytes(&self) -> u32 {
        self.size & !(RELOCATED | REPORT)
    }

    pub(crate) fn is_relocated(&self) -> bool {
        self.size & RELOCATED != 0
    }

    /// The entry of a report of our own.
    pub(crate) fn of_report(self) -> Self {
        Self { size: self.size | REPORT, ..self }
    }

    /// Whether a failed sync takes it: a client was waiting for it, and is told
    /// to keep it. What nobody else has stays.
    pub(crate) fn is_lost_with_its_sync(&self) -> bool {
        self.size & (RELOCATED | REPORT) == 0
    }

    fn is_live(&self) -> bool {
        self.size != 0
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        match &self.slots {
            Slots::One(slot) => std::slice::from_ref(slot),
            Slots::Many(slots) => slots,
        }
    }

    pub(crate) fn slots_mut(&mut self) -> &mut [Slot] {
        match &mut self.slots {
            Slots::One(slot) => std::slice::from_mut(slot),
            Slots::Many(slots) => slots,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.slots().iter().all(Slot::is_done)
    }
}

impl SegmentIndex {
    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Whether an entry at `offset` may be added.
    pub(crate) fn is_behind_all(&self, offset: u32) -> bool {
        self.entries.last().is_none_or(|last| last.offset < offset)
    }

    /// Live entries from `offset` on, in order.
    pub(crate) fn live_from(&self, offset: u32) -> impl Iterator<Item = &Entry> {
        let at = self.entries.partition_point(|entry| entry.offset < offset);
        self.entries[at..].iter().filter(|entry| entry.is_live())
    }

    fn find(&self, offset: u32) -> Option<usize> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        self.entries[at].is_live().then_some(at)
    }

    /// Drops dead entries once they are more than half of the array.
    fn shrink(&mut self) {
        if self.entries.len() > 2 * self.live as usize + 64 {
            self.entries.retain(Entry::is_live);
            self.entries.shrink_to_fit();
        }
    }
}

impl Index {
    /// Bytes of their records.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Bytes of memory taken.
    pub(crate) fn table_bytes(&self) -> usize {
        let entry = |entry: &Entry| match &entry.slots {
            Slots::One(_) => 0,
            Slots::Many(slots) => size_of::<Vec<Slot>>() + slots.capacity() * size_of::<Slot>(),
        };
        let segment = |index: &SegmentIndex| {
            let boxed = index.entries.iter().map(entry).sum::<usize>();
            boxed + index.entries.capacity() * size_of::<Entry>()
        };
        let relocated = self.relocated.capacity() * size_of::<(MessageId, (SegmentId, u32))>();
        relocated + self.segments.values().map(segment).sum::<usize>()
    }

    /// Messages in the table.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    pub(crate) fn segment(&self, segment: SegmentId) -> Option<&SegmentIndex> {
        self.segments.get(&segment)
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = (SegmentId, &SegmentIndex)> {
        self.segments.iter().map(|(id, index)| (*id, index))
    }

    /// Makes room for a segment's messages.
    pub(crate) fn open(&mut self, segment: SegmentId) -> &mut SegmentIndex {
        self.segments.entry(segment).or_default()
    }

    /// Forgets a retired segment.
    pub(crate) fn close(&mut self, segment: SegmentId) {
        let gone = self.segments.remove(&segment);
        assert!(gone.is_none_or(|index| index.live == 0), "a retired segment holds no live mail");
    }

    /// `segment` gets no more entries.
    pub(crate) fn settle_down(&mut self, segment: SegmentId, layout: Layout, closed_at: u64) {
        let index = self.open(segment);
        index.entries.retain(Entry::is_live);
        index.entries.shrink_to_fit();
        (index.layout, index.closed_at) = (layout, closed_at);
    }

    /// The newest segment.
    pub(crate) fn last(&self) -> Option<SegmentId> {
        self.segments.keys().next_back().copied()
    }

    /// Adds the message `id`, which stands in `segment` as `entry` says,
    /// behind all others there. A message that stood elsewhere moves.
    pub(crate) fn insert(&mut self, id: MessageId, segment: SegmentId, entry: Entry) {
        self.remove(id);
        if entry.is_relocated() {
            self.relocated.insert(id, (segment, entry.offset));
        }
        let index = self.segments.entry(segment).or_default();
        assert!(index.is_behind_all(entry.offset), "records are appended");
        index.live += 1;
        index.live_bytes += u64::from(entry.bytes());
        self.live_bytes += u64::from(entry.bytes());
        index.entries.push(entry);
        self.live += 1;
    }

    /// Takes a message out; `false` when it was not in.
    pub(crate) fn remove(&mut self, id: MessageId) -> bool {
        let Some((segment, at)) = self.locate(id) else { return false };
        let index = self.segments.get_mut(&segment).expect("a located segment is there");
        let entry = &mut index.entries[at];
        index.live -= 1;
        index.live_bytes -= u64::from(entry.bytes());
        self.live_bytes -= u64::from(entry.bytes());
        if entry.is_relocated() {
            self.relocated.remove(&id);
        }
        entry.size = 0;
        entry.slots = Slots::One(Slot::NEW);
        index.shrink();
        self.live -= 1;
        true
    }

    /// Takes out every message without open recipients; counts the messages
    /// that stay and their open recipients.
    pub(crate) fn drop_done(&mut self) -> (u64, u64) {
        let (mut messages, mut recipients) = (0, 0);
        for index in self.segments.values_mut() {
            index.entries.retain(|entry| entry.is_live() && !entry.is_done());
            index.entries.shrink_to_fit();
            index.live = index.entries.len() as u32;
            index.live_bytes = index.entries.iter().map(|entry| u64::from(entry.bytes())).sum();
            messages += u64::from(index.live);
            let open = |entry: &Entry| entry.slots().iter().filter(|slot| !slot.is_done()).count();
            recipients += index.entries.iter().map(|entry| open(entry) as u64).sum::<u64>();
        }
        let segments = &self.segments;
        self.relocated.retain(|_, (segment, offset)| {
            segments.get(segment).is_some_and(|index| index.find(*offset).is_some())
        });
        self.live = messages;
        self.live_bytes = self.segments.values().map(|index| index.live_bytes).sum();
        (messages, recipients)
    }

    /// Segment and entry of a message.
    pub(crate) fn entry(&self, id: MessageId) -> Option<(SegmentId, &Entry)> {
        let (segment, at) = self.locate(id)?;
        Some((segment, &self.segments[&segment].entries[at]))
    }

    pub(crate) fn entry_mut(&mut self, id: MessageId) -> Option<(SegmentId, &mut Entry)> {
        let (segment, at) = self.locate(id)?;
        let index = self.segments.get_mut(&segment)?;
        Some((segment, &mut index.entries[at]))
    }

    /// Where a message's record stands.
    pub(crate) fn place(&self, id: MessageId) -> Option<Place> {
        let (segment, entry) = self.entry(id)?;
        Some(Place { segment, offset: entry.offset, len: entry.bytes() })
    }

    fn locate(&self, id: MessageId) -> Option<(SegmentId, usize)> {
        if let Some(index) = self.segments.get(&id.segment)
            && let Some(at) = index.find(id.offset)
            && !index.entries[at].is_relocated()
        {
            return Some((id.segment, at));
        }
        let (segment, offset) = *self.relocated.get(&id)?;
        Some((segment, self.segments.get(&segment)?.find(offset)?))
    }
}
