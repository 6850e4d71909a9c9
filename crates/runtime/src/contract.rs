//! The three things the runtime is built around, as traits: the core that
//! decides, the store a shard writes to, and the keeper that makes and
//! retires segments on a thread of its own. The real ones are the shard and
//! the segment crate; a scripted core makes the runtime testable alone.

use std::path::PathBuf;

use base::{Monotonic, Now, SegmentId};
use segment::Pin;
use shard::effect::Effect;
use shard::event::Event;
use spool::Medium;

/// The deterministic half of a shard: everything that decides.
pub trait Core {
    /// Tells the core what happened; it appends what it wants done.
    fn step(
        &mut self,
        now: Now,
        event: Event<'_>,
        medium: &mut dyn Medium,
        effects: &mut Vec<Effect>,
    );

    /// When the core wants its next [`Event::Tick`]; none while it waits for
    /// nothing.
    fn next_deadline(&self) -> Option<Monotonic>;
}

/// A shard's medium, together with what it asks the runtime to do.
pub trait Store: Medium {
    /// Moves the requests made since the last call to the end of `into`, in
    /// order. Called after every step.
    fn take_requests(&mut self, into: &mut Vec<StoreRequest>);

    /// The file of a segment. The runtime opens it once, before the core
    /// hears that the segment is ready, and keeps it open until it is
    /// retired: a file opened after a failed write would not report the
    /// failure.
    fn path(&self, segment: SegmentId) -> PathBuf;

    /// Keeps a segment readable, retired or not, until the pin is dropped;
    /// none where that needs nothing. Taken for output on its way.
    fn pin(&self, segment: SegmentId) -> Option<Pin>;
}

/// What [`spool::Medium`] calls cannot do themselves without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// Bring everything appended to the segment onto stable storage.
    Sync(SegmentId),
    /// Make a segment ready.
    NewSegment,
    /// The segment is no longer needed.
    Retire(SegmentId),
}

/// Makes and retires segments with blocking calls; lives on one thread.
pub trait Keeper: Send {
    /// A segment that is allocated, zeroed, durable and can be mapped by
    /// every shard: its number and its size in bytes.
    ///
    /// # Errors
    /// The reason as text, when there is no room or the disk is bad.
    fn create(&mut self) -> Result<(SegmentId, u32), String>;

    /// Makes one spare segment ahead of [`Keeper::create`] if too few are
    /// left. Called while nothing else is asked. Gives back whether there
    /// may be more to do.
    ///
    /// # Errors
    /// The reason as text.
    fn prepare(&mut self) -> Result<bool, String>;

    /// Recycles or removes a segment no shard needs any more.
    ///
    /// # Errors
    /// The reason as text; the file then stays behind until the next start.
    fn retire(&mut self, segment: SegmentId) -> Result<(), String>;

    /// Free bytes and free inodes of the data folder, for this user.
    ///
    /// # Errors
    /// The reason as text.
    fn free(&self) -> Result<(u64, u64), String>;
}
