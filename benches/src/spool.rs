//! The log: messages written and settled, and read back after a restart. The
//! disk is memory that does as little as it can.

use std::collections::BTreeMap;

use ::spool::{
    AppendError, Change, Medium, Meta, Outcome, Phase, Spool, recover as recover_spools,
};
use base::{Monotonic, Now, SegmentId, ShardId, Wall};
use mail::{Address, Envelope, Recipient, ReversePath};

use crate::Work;
use crate::smtp::content;

const SEGMENT_BYTES: u32 = 4 << 20;
const BATCH: u64 = 100;
const STORED: u64 = 1_000;

/// Writes a batch with one sync, then settles it.
pub(crate) fn append() -> Work {
    let (mut disk, mut spool) = begin();
    let (envelope, body) = (envelope(), content(2_048));
    Box::new(move || {
        disk.seconds += 1;
        let mut ids = Vec::with_capacity(BATCH as usize);
        for _ in 0..BATCH {
            ids.push(store(&mut spool, &mut disk, &envelope, &body));
        }
        disk.settle_in(&mut spool);
        let now = disk.now();
        for id in ids {
            spool.settle(&mut disk, now, id, &[DELIVERED]).expect("the message is there");
        }
        disk.settle_in(&mut spool);
        while spool.reclaim(&mut disk, now, 1 << 20, false).more {
            disk.settle_in(&mut spool);
        }
        disk.settle_in(&mut spool);
        BATCH - spool.live_messages()
    })
}

/// Reads a log back.
pub(crate) fn recover() -> Work {
    let (mut disk, mut spool) = begin();
    let (envelope, body) = (envelope(), content(2_048));
    for _ in 0..STORED {
        store(&mut spool, &mut disk, &envelope, &body);
        disk.settle_in(&mut spool);
    }
    let segments: Vec<SegmentId> = disk.segments.keys().copied().collect();
    Box::new(move || {
        let (spools, _) = recover_spools(&disk, &segments, 1).expect("the format is ours");
        spools.iter().map(Spool::live_messages).sum()
    })
}

const DELIVERED: Change<'static> = Change {
    recipient: 0,
    phase: Phase::Done(Outcome::Delivered),
    attempts: 1,
    next: Wall::from_millis(0),
    in_doubt: false,
    delay_noticed: false,
    note: None,
};

fn begin() -> (Memory, Spool) {
    let (mut disk, mut spool) = (Memory::default(), Spool::new(ShardId(0)));
    for _ in 0..3 {
        disk.settle_in(&mut spool);
    }
    (disk, spool)
}

fn store(
    spool: &mut Spool,
    disk: &mut Memory,
    envelope: &Envelope,
    body: &[u8],
) -> base::MessageId {
    let now = disk.now();
    let stored = spool.append_message(disk, now, &Meta::default(), envelope, &[body]);
    stored.expect("there is room").id
}

fn envelope() -> Envelope {
    let address = Address::parse("bob@example.net", false).expect("an address");
    Envelope::new(ReversePath::Null, vec![Recipient::new(address)])
}

/// Segments in memory; what is asked for is answered at the next call.
#[derive(Debug, Default)]
struct Memory {
    segments: BTreeMap<SegmentId, Vec<u8>>,
    next: u32,
    /// Time passes with each batch: room is looked for once a second.
    seconds: u64,
    syncs: Vec<SegmentId>,
    asked: bool,
    /// Bytes of segments that were given up, for those to come.
    spare: Vec<Vec<u8>>,
}

impl Memory {
    fn now(&self) -> Now {
        let millis = self.seconds * 1_000;
        Now::new(
            Monotonic::from_millis(77_000 + millis),
            Wall::from_millis(1_800_000_000_000 + millis),
        )
    }

    /// Answers all that the spool waits for.
    fn settle_in(&mut self, spool: &mut Spool) {
        spool.kick(self, self.now());
        for segment in std::mem::take(&mut self.syncs) {
            spool.synced(segment, true);
        }
        if std::mem::take(&mut self.asked) {
            self.next += 1;
            let id = SegmentId(self.next);
            let mut bytes = self.spare.pop().unwrap_or_else(|| vec![0; SEGMENT_BYTES as usize]);
            bytes.fill(0);
            self.segments.insert(id, bytes);
            spool.segment_ready(id, SEGMENT_BYTES);
        }
    }
}

impl Medium for Memory {
    fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
        let from = offset as usize;
        self.segments.get(&segment)?.get(from..from + len as usize)
    }

    fn size(&self, segment: SegmentId) -> Option<u32> {
        self.segments.get(&segment).map(|bytes| bytes.len() as u32)
    }

    fn append(
        &mut self,
        segment: SegmentId,
        offset: u32,
        parts: &[&[u8]],
    ) -> Result<(), AppendError> {
        let bytes = self.segments.get_mut(&segment).expect("the spool knows its segments");
        let mut at = offset as usize;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(())
    }

    fn start_sync(&mut self, segment: SegmentId) {
        self.syncs.push(segment);
    }

    fn request_segment(&mut self) {
        self.asked = true;
    }

    fn retire(&mut self, segment: SegmentId) {
        self.spare.extend(self.segments.remove(&segment));
    }
}
