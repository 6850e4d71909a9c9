//! Which segments there are, for all shards: a table behind a lock that a
//! shard touches only when a segment is new to it or has been retired.
//!
//! Never here: files (`keeper`). Invariants: a segment is in the table until
//! it is gone for good, after a crash too; a retired one can still be read by
//! whoever has its map, and nobody new gets it unless somebody has.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base::SegmentId;

use crate::file::SegmentFile;

/// Keeps a segment's bytes readable and its file unrecycled, for output that
/// is still on its way. Drop it when the bytes are out.
#[derive(Clone, Debug)]
pub struct Pin(#[expect(dead_code, reason = "held, not read")] pub(crate) Arc<SegmentFile>);

#[derive(Debug)]
enum State {
    Live(Arc<SegmentFile>),
    /// Given up, not yet gone.
    Retired(Weak<SegmentFile>, u32),
}

/// All segments of one folder.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    table: Mutex<BTreeMap<SegmentId, State>>,
    /// Grows whenever a segment is retired or gone.
    generation: AtomicU64,
}

impl Shared {
    pub(crate) fn insert(&self, segment: SegmentId, file: SegmentFile) {
        self.table().insert(segment, State::Live(Arc::new(file)));
    }

    /// A segment's map, as long as anybody may have it.
    pub(crate) fn file(&self, segment: SegmentId) -> Option<Arc<SegmentFile>> {
        match self.table().get(&segment)? {
            State::Live(file) => Some(Arc::clone(file)),
            State::Retired(file, _) => file.upgrade(),
        }
    }

    /// Size of a segment that is not gone for good.
    pub(crate) fn size(&self, segment: SegmentId) -> Option<u32> {
        Some(match self.table().get(&segment)? {
            State::Live(file) => file.bytes().len() as u32,
            State::Retired(_, bytes) => *bytes,
        })
    }

    /// All segments that are not gone for good, in order.
    pub(crate) fn list(&self) -> Vec<SegmentId> {
        self.table().keys().copied().collect()
    }

    pub(crate) fn is_live(&self, segment: SegmentId) -> bool {
        matches!(self.table().get(&segment), Some(State::Live(_)))
    }

    /// Gives up a segment; `false` when it is not there or was before.
    pub(crate) fn retire(&self, segment: SegmentId) -> bool {
        let mut table = self.table();
        let Some(state) = table.get_mut(&segment) else { return false };
        let State::Live(file) = state else { return false };
        *state = State::Retired(Arc::downgrade(file), file.bytes().len() as u32);
        self.generation.fetch_add(1, Ordering::Release);
        true
    }

    /// Whether nobody can read a retired segment any more.
    pub(crate) fn is_unused(&self, segment: SegmentId) -> bool {
        match self.table().get(&segment) {
            Some(State::Retired(file, _)) => file.strong_count() == 0,
            Some(State::Live(_)) => false,
            None => true,
        }
    }

    /// A retired segment is gone for good.
    pub(crate) fn forget(&self, segment: SegmentId) {
        let gone = self.table().remove(&segment);
        assert!(matches!(gone, Some(State::Retired(..))), "segment {segment} was not given up");
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<SegmentId, State>> {
        // No code that holds the lock leaves the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
