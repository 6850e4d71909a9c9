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
    /// What a sync failed to bring to stable storage: reads see it until the
    /// power goes, and no later sync tries it again.
    lost: Vec<(u32, u32)>,
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
    failing_writes: u32,
    failed_writes: u32,
    /// Writes since they were last asked for, where somebody does.
    watched: Option<Vec<(SegmentId, u32, u32)>>,
}

/// A disk writes so many bytes whole or not at all.
pub const SECTOR_BYTES: u32 = 512;

impl MemoryMedium {
    /// A medium without segments; new ones get `segment_bytes` bytes.
    pub fn new(segment_bytes: u32) -> Self {
        Self {
            segment_bytes,
            next: 1,
            segments: BTreeMap::new(),
            requests: Vec::new(),
            failing_writes: 0,
            failed_writes: 0,
            watched: None,
        }
    }

    /// New segments get so many bytes from now on.
    pub fn set_segment_bytes(&mut self, segment_bytes: u32) {
        self.segment_bytes = segment_bytes;
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
            lost: Vec::new(),
            covered: None,
            written: Vec::new(),
            retired: false,
            broken: false,
        };
        self.segments.insert(segment, image);
        (segment, self.segment_bytes)
    }

    /// Ends the sync in flight on `segment`: well, or as a disk error that
    /// leaves the durable image as it was and marks the segment broken. Gives
    /// the end of what it covered.
    pub fn finish_sync(&mut self, segment: SegmentId, ok: bool) -> u32 {
        let image = self.segments.get_mut(&segment).expect("a synced segment exists");
        let covered = image.covered.take().expect("a sync is in flight");
        let ranges: Vec<_> = image.unsynced.drain(..covered).collect();
        let end = ranges.iter().map(|(_, to)| *to).max().unwrap_or(FIRST_RECORD);
        if !ok {
            image.broken = true;
            image.lost.extend(ranges);
            return end;
        }
        for (from, to) in ranges {
            let range = from as usize..to as usize;
            image.durable[range.clone()].copy_from_slice(&image.live[range]);
        }
        end
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

    /// Makes the next `count` writes fail, each for good for its segment.
    pub fn fail_writes(&mut self, count: u32) {
        self.failing_writes = count;
    }

    /// Writes that failed since the last call because of
    /// [`MemoryMedium::fail_writes`].
    pub fn failed_writes(&mut self) -> u32 {
        std::mem::take(&mut self.failed_writes)
    }

    /// From now on writes are noted for [`MemoryMedium::writes`].
    pub fn watch_writes(&mut self) {
        self.watched = Some(Vec::new());
    }

    /// Segment, first byte and end of each write since the last call, in order.
    pub fn writes(&mut self) -> Vec<(SegmentId, u32, u32)> {
        self.watched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Undoes a write that nobody has heard of yet: the program ended before
    /// it.
    pub fn forget_write(&mut self, (segment, from, to): (SegmentId, u32, u32)) {
        let image = self.segments.get_mut(&segment).expect("the segment was just written");
        let range = from as usize..to as usize;
        let (live, durable) = (&mut image.live, &image.durable);
        live[range.clone()].copy_from_slice(&durable[range]);
        image.unsynced.retain(|write| *write != (from, to));
    }

    /// Whether a power cut now would leave these bytes as reads see them.
    pub fn is_durable(&self, segment: SegmentId, from: u32, to: u32) -> bool {
        let range = from as usize..to as usize;
        let image = self.segments.get(&segment);
        image.is_some_and(|image| image.durable[range.clone()] == image.live[range])
    }

    /// A power cut that keeps or loses each sector by itself: `keep` is asked
    /// for every sector that was written since it was last synced. Requests
    /// under way are forgotten.
    pub fn power_cut_by_sector(&mut self, mut keep: impl FnMut(SegmentId, u32) -> bool) {
        self.requests.clear();
        for (segment, image) in &mut self.segments {
            let mut sectors: Vec<u32> = Vec::new();
            let unsynced = std::mem::take(&mut image.unsynced);
            for (from, to) in unsynced.into_iter().chain(std::mem::take(&mut image.lost)) {
                sectors.extend(from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES));
            }
            sectors.sort_unstable();
            sectors.dedup();
            for sector in sectors {
                let from = (sector * SECTOR_BYTES) as usize;
                let to = (from + SECTOR_BYTES as usize).min(image.live.len());
                if keep(*segment, sector) {
                    image.durable[from..to].copy_from_slice(&image.live[from..to]);
                } else {
                    image.live[from..to].copy_from_slice(&image.durable[from..to]);
                }
            }
            image.restart();
        }
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
            image.lost.clear();
            image.live.clone_from(&image.durable);
            image.restart();
        }
    }

    /// A crash of the program: every write survives, and becomes durable in
    /// time. Requests under way are forgotten.
    pub fn program_crash(&mut self) {
        self.requests.clear();
        for image in self.segments.values_mut() {
            let unsynced = std::mem::take(&mut image.unsynced);
            for (from, to) in unsynced.into_iter().chain(std::mem::take(&mut image.lost)) {
                let range = from as usize..to as usize;
                image.durable[range.clone()].copy_from_slice(&image.live[range]);
            }
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
        if self.failing_writes > 0 {
            self.failing_writes -= 1;
            self.failed_writes += 1;
            image.broken = true;
        }
        if image.broken {
            return Err(AppendError("broken by the test".into()));
        }
        if let Some(watched) = &mut self.watched {
            watched.push((segment, offset, end as u32));
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
