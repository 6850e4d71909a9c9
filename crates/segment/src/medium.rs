//! One shard's way to the segment files: reads out of the maps, appends with
//! one write, and collects what would block for the runtime to do.
//!
//! Never syncs, allocates or deletes by itself. Invariants: a piece of a
//! segment that was read in one step can be read until the next
//! [`FileMedium::take_requests`] but one, retired or not, and for as long as a
//! [`Pin`] is held; files are written with a descriptor, never through the map.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use base::{Map, SegmentId};
use spool::{AppendError, Medium};

use crate::disk;
use crate::file::SegmentFile;
use crate::folder::segment_path;
use crate::shared::{Pin, Shared};

/// What the spool asked for and the runtime must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Sync the segment's data through a descriptor opened before the first
    /// write to it; then tell the shard.
    Sync(SegmentId),
    /// [`crate::Keeper::create`]; then tell the shard.
    NewSegment,
    /// [`crate::Keeper::retire`].
    Retire(SegmentId),
}

/// One shard's medium.
#[derive(Debug)]
pub struct FileMedium {
    folder: PathBuf,
    shared: Arc<Shared>,
    known: Map<SegmentId, Arc<SegmentFile>>,
    /// Segments met since the last sweep. A list that only grows, so that
    /// `read` can add to it and hand out borrows of it.
    fresh: OnceCell<Box<Fresh>>,
    /// Retired segments that the last step may still have handed out.
    leaving: Vec<Arc<SegmentFile>>,
    generation: u64,
    writers: VecDeque<(SegmentId, File)>,
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Fresh {
    segment: SegmentId,
    file: Arc<SegmentFile>,
    next: OnceCell<Box<Fresh>>,
}

impl FileMedium {
    pub(crate) fn new(folder: PathBuf, shared: Arc<Shared>) -> Self {
        Self {
            folder,
            generation: shared.generation(),
            shared,
            known: Map::default(),
            fresh: OnceCell::new(),
            leaving: Vec::new(),
            writers: VecDeque::new(),
            requests: Vec::new(),
        }
    }

    /// Moves what was asked for since the last call to the end of `into`, in
    /// order. Call it once after every step.
    pub fn take_requests(&mut self, into: &mut Vec<Request>) {
        into.append(&mut self.requests);
        self.sweep();
    }

    /// The file of a segment, to be opened for syncing.
    pub fn path(&self, segment: SegmentId) -> PathBuf {
        segment_path(&self.folder, segment)
    }

    /// Keeps what was read of a segment readable until the pin is dropped.
    pub fn pin(&self, segment: SegmentId) -> Option<Pin> {
        self.file(segment).map(|file| Pin(Arc::clone(file)))
    }

    /// Forgets the maps of segments that were retired before the step before.
    fn sweep(&mut self) {
        self.leaving.clear();
        let mut fresh = self.fresh.take();
        while let Some(mut node) = fresh {
            // A retired one is met again by whoever still holds a pin.
            if self.shared.is_live(node.segment) {
                self.known.insert(node.segment, node.file);
            } else {
                self.leaving.push(node.file);
            }
            fresh = node.next.take();
        }
        let generation = self.shared.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let gone: Vec<SegmentId> =
            self.known.keys().copied().filter(|segment| !self.shared.is_live(*segment)).collect();
        for segment in gone {
            self.leaving.extend(self.known.remove(&segment));
            self.writers.retain(|(old, _)| *old != segment);
        }
    }

    fn file(&self, segment: SegmentId) -> Option<&Arc<SegmentFile>> {
        if let Some(file) = self.known.get(&segment) {
            return Some(file);
        }
        let mut place = &self.fresh;
        while let Some(node) = place.get() {
            if node.segment == segment {
                return Some(&node.file);
            }
            place = &node.next;
        }
        let file = self.shared.file(segment)?;
        Some(&place.get_or_init(|| Box::new(Fresh { segment, file, next: OnceCell::new() })).file)
    }

    /// The descriptor to write a segment with; a few are kept open.
    fn writer(&mut self, segment: SegmentId) -> io::Result<&File> {
        if let Some(at) = self.writers.iter().position(|(known, _)| *known == segment) {
            self.writers.swap(0, at);
        } else {
            let file = OpenOptions::new().write(true).open(self.path(segment))?;
            self.writers.truncate(WRITERS_MAX - 1);
            self.writers.push_front((segment, file));
        }
        let (_, file) = self.writers.front().expect("one was just put there");
        Ok(file)
    }
}

impl Medium for FileMedium {
    fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
        let from = offset as usize;
        self.file(segment)?.bytes().get(from..from.checked_add(len as usize)?)
    }

    fn size(&self, segment: SegmentId) -> Option<u32> {
        match self.known.get(&segment) {
            Some(file) if self.generation == self.shared.generation() => {
                Some(file.bytes().len() as u32)
            }
            _ => self.shared.size(segment),
        }
    }

    fn append(
        &mut self,
        segment: SegmentId,
        offset: u32,
        parts: &[&[u8]],
    ) -> Result<(), AppendError> {
        let total = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        // A write behind the end would make the file longer than its map.
        let size = self.size(segment).map_or(0, u64::from);
        assert!(u64::from(offset) + total <= size, "segment {segment}: a write leaves the file");
        let file = self.writer(segment).map_err(|error| AppendError(error.to_string()))?;
        disk::write_parts(file, offset.into(), parts)
            .map_err(|error| AppendError(error.to_string()))
    }

    fn start_sync(&mut self, segment: SegmentId) {
        self.requests.push(Request::Sync(segment));
    }

    fn request_segment(&mut self) {
        self.requests.push(Request::NewSegment);
    }

    fn retire(&mut self, segment: SegmentId) {
        self.requests.push(Request::Retire(segment));
    }
}

/// The active segment, one being sealed, and a little more.
const WRITERS_MAX: usize = 4;
