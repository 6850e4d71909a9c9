//! The real core, store and keeper behind the runtime's contract: the shard
//! crate and the segment crate as they are.

use std::path::PathBuf;

use base::{Monotonic, Now, SegmentId};
use segment::{FileMedium, Pin, Request};
use shard::Shard;
use shard::effect::Effect;
use shard::event::Event;
use spool::{AppendError, Medium};

use crate::contract::{Core, Keeper, Store, StoreRequest};

impl Core for Shard {
    fn step(
        &mut self,
        now: Now,
        event: Event<'_>,
        medium: &mut dyn Medium,
        effects: &mut Vec<Effect>,
    ) {
        Shard::step(self, now, event, medium, effects);
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        Shard::next_deadline(self)
    }
}

/// A shard's segment files.
#[derive(Debug)]
pub struct Files {
    medium: FileMedium,
    requests: Vec<Request>,
}

impl Files {
    /// The store over one shard's medium.
    pub fn new(medium: FileMedium) -> Self {
        Self { medium, requests: Vec::new() }
    }
}

impl Medium for Files {
    fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
        self.medium.read(segment, offset, len)
    }

    fn size(&self, segment: SegmentId) -> Option<u32> {
        self.medium.size(segment)
    }

    fn append(
        &mut self,
        segment: SegmentId,
        offset: u32,
        parts: &[&[u8]],
    ) -> Result<(), AppendError> {
        self.medium.append(segment, offset, parts)
    }

    fn start_sync(&mut self, segment: SegmentId) {
        self.medium.start_sync(segment);
    }

    fn request_segment(&mut self) {
        self.medium.request_segment();
    }

    fn retire(&mut self, segment: SegmentId) {
        self.medium.retire(segment);
    }
}

impl Store for Files {
    fn take_requests(&mut self, into: &mut Vec<StoreRequest>) {
        self.medium.take_requests(&mut self.requests);
        into.extend(self.requests.drain(..).map(|request| match request {
            Request::Sync(segment) => StoreRequest::Sync(segment),
            Request::NewSegment => StoreRequest::NewSegment,
            Request::Retire(segment) => StoreRequest::Retire(segment),
        }));
    }

    fn path(&self, segment: SegmentId) -> PathBuf {
        self.medium.path(segment)
    }

    fn pin(&self, segment: SegmentId) -> Option<Pin> {
        self.medium.pin(segment)
    }
}

impl Keeper for segment::Keeper {
    fn create(&mut self) -> Result<(SegmentId, u32), String> {
        segment::Keeper::create(self).map_err(|error| error.to_string())
    }

    fn prepare(&mut self) -> Result<bool, String> {
        segment::Keeper::prepare(self).map_err(|error| error.to_string())
    }

    fn retire(&mut self, segment: SegmentId) -> Result<(), String> {
        segment::Keeper::retire(self, segment).map_err(|error| error.to_string())
    }

    fn free(&self) -> Result<(u64, u64), String> {
        segment::Keeper::free(self).map_err(|error| error.to_string())
    }
}
