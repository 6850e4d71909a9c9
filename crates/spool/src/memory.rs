//! A medium in memory that checks its caller, for tests and simulation: a live
//! image (what reads see) and a durable one (what a power cut leaves).
//!
//! Never forgiving: a write twice to the same byte, outside its segment or to
//! a retired one, and a sync or retirement of a segment that does not exist,
//! end the test. Events are not delivered by themselves: the test takes
//! [`MemoryMedium::requests`] and answers them when it likes.

use std::collections::BTreeMap;

use base::SegmentId;

use crate::medium::{AppendError, Medium};
use crate::record::{FIRST_RECORD, Superblock};

/// Something the spool asked for and waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Answer with [`MemoryMedium::finish_sync`].
    Sync(SegmentId),
    /// Answer with [`MemoryMedium::create`].
    Segment,
    /// Answer, if at all, with [`MemoryMedium::remove`].
    Retire(SegmentId),
}

#[derive(Clone, Debug)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes appended since the durable image was last brought up to date, as
    /// ranges in order of writing.
    unsynced: Vec<(u32, u32)>,
    /// Of `unsynced`, how many the sync in flight covers.
    covered: Option<usize>,
    written: Vec<(u32, u32)>,
    retired: bool,
    broken: bool,
}

/// Segments in memory.
#[derive(Clone, Debug)]
pub struct MemoryMedium {
    segment_bytes: u32,
    next: u32,
    segments: BTreeMap<SegmentId, Image>,
    requests: Vec<Request>,
}

impl MemoryMedium {
    /// A medium without segments; new ones get `segment_bytes` bytes.
    pub fn new(segment_bytes: u32) -> Self {
        Self { segment_bytes, next: 1, segments: BTreeMap::new(), requests: Vec::new() }
    }

    /// What was asked for since the last call, in order.
    pub fn requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// Makes a fresh segment, zeroed and durable, and gives number and size.
    pub fn create(&mut self) -> (SegmentId, u32) {
        self.create_with(vec![0; self.segment_bytes as usize])
    }

    /// Makes a fresh segment out of old bytes, as recycling a file does.
    pub fn create_recycled(&mut self, old: &[u8]) -> (SegmentId, u32) {
        let mut bytes = old.to_vec();
        bytes.resize(self.segment_bytes as usize, 0);
        self.create_with(bytes)
    }

    fn create_with(&mut self, mut bytes: Vec<u8>) -> (SegmentId, u32) {
        let segment = SegmentId(self.next);
        self.next += 1;
        let superblock = Superblock { segment, bytes: self.segment_bytes }.encode();
        bytes[..superblock.len()].copy_from_slice(&superblock);
        let image = Image {
            durable: bytes.clone(),
            live: bytes,
            unsynced: Vec::new(),
            covered: None,
            written: Vec::new(),
            retired: false,
            broken: false,
        };
        self.segments.insert(segment, image);
        (segment, self.segment_bytes)
    }

    /// Ends the sync in flight on `segment`: well, or as a disk error that
    /// leaves the durable image as it was and marks the segment broken.
    pub fn finish_sync(&mut self, segment: SegmentId, ok: bool) {
        let image = self.segments.get_mut(&segment).expect("a synced segment exists");
        let covered = image.covered.take().expect("a sync is in flight");
        let ranges: Vec<_> = image.unsynced.drain(..covered).collect();
        if !ok {
            image.broken = true;
            return;
        }
        for (from, to) in ranges {
            let range = from as usize..to as usize;
            image.durable[range.clone()].copy_from_slice(&image.live[range]);
        }
    }

    /// Deletes a retired segment for good.
    pub fn remove(&mut self, segment: SegmentId) {
        let image = self.segments.remove(&segment).expect("a removed segment exists");
        assert!(image.retired, "segment {segment} was never retired");
    }

    /// Makes every later write to `segment` fail.
    pub fn break_writes(&mut self, segment: SegmentId) {
        self.segments.get_mut(&segment).expect("the segment exists").broken = true;
    }

    /// A power cut: of each unsynced write, `keep` says how many of its bytes
    /// reached the disk. Requests under way are forgotten.
    pub fn power_cut(&mut self, mut keep: impl FnMut(SegmentId, u32) -> u32) {
        self.requests.clear();
        for (segment, image) in &mut self.segments {
            for (from, to) in std::mem::take(&mut image.unsynced) {
                let kept = from + keep(*segment, to - from).min(to - from);
                let range = from as usize..kept as usize;
                image.durable[range.clone()].copy_from_slice(&image.live[range]);
            }
            image.live.clone_from(&image.durable);
            image.restart();
        }
    }

    /// A crash of the program: every write survives, and becomes durable in
    /// time. Requests under way are forgotten.
    pub fn program_crash(&mut self) {
        self.requests.clear();
        for image in self.segments.values_mut() {
            image.durable.clone_from(&image.live);
            image.restart();
        }
    }

    /// Numbers of all segments that still exist, in order.
    pub fn list(&self) -> Vec<SegmentId> {
        self.segments.keys().copied().collect()
    }

    /// The whole live image of a segment, for faults a test wants to plant.
    pub fn bytes_mut(&mut self, segment: SegmentId) -> &mut [u8] {
        &mut self.segments.get_mut(&segment).expect("the segment exists").live
    }
}

impl Image {
    fn restart(&mut self) {
        self.unsynced.clear();
        self.covered = None;
        self.retired = false;
        self.broken = false;
        // What recovery cuts off may be written over by the index.
        self.written.clear();
    }
}

impl Medium for MemoryMedium {
    fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
        let from = offset as usize;
        self.segments.get(&segment)?.live.get(from..from.checked_add(len as usize)?)
    }

    fn size(&self, segment: SegmentId) -> Option<u32> {
        self.segments.get(&segment).map(|image| image.live.len() as u32)
    }

    fn append(
        &mut self,
        segment: SegmentId,
        offset: u32,
        parts: &[&[u8]],
    ) -> Result<(), AppendError> {
        let image = self.segments.get_mut(&segment).expect("appends go to segments that exist");
        assert!(!image.retired, "segment {segment} is retired");
        assert!(offset >= FIRST_RECORD, "the superblock's page is not for records");
        let bytes = parts.concat();
        let end = offset as usize + bytes.len();
        assert!(end <= image.live.len(), "segment {segment}: a write up to {end} leaves it");
        let range = (offset, end as u32);
        let overlaps = image.written.iter().any(|old| old.0 < range.1 && range.0 < old.1);
        assert!(!overlaps, "segment {segment}: bytes {range:?} were written before");
        if image.broken {
            return Err(AppendError("broken by the test".into()));
        }
        image.live[offset as usize..end].copy_from_slice(&bytes);
        image.unsynced.push(range);
        match image.written.last_mut() {
            Some(last) if range.0 >= last.1 && range.0 - last.1 < 8 => last.1 = range.1,
            _ => image.written.push(range),
        }
        Ok(())
    }

    fn start_sync(&mut self, segment: SegmentId) {
        let image = self.segments.get_mut(&segment).expect("syncs go to segments that exist");
        assert!(image.covered.is_none(), "segment {segment}: one sync in flight at a time");
        image.covered = Some(image.unsynced.len());
        self.requests.push(Request::Sync(segment));
    }

    fn request_segment(&mut self) {
        self.requests.push(Request::Segment);
    }

    fn retire(&mut self, segment: SegmentId) {
        let image = self.segments.get_mut(&segment).expect("retired segments exist");
        assert!(!image.retired, "segment {segment} is retired twice");
        image.retired = true;
        self.requests.push(Request::Retire(segment));
    }
}
