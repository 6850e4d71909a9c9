//! The seam between the log and the machine: what the spool asks of storage.
//!
//! Never decides anything: which bytes stand where is the spool's business,
//! how they get there the medium's. Calls either end at once (`read`,
//! `append`) or are answered by an event that the shard hands to the spool.
//!
//! Invariants that the spool keeps and [`crate::MemoryMedium`] checks: no byte
//! is written twice, every write lies inside its segment, nothing is written
//! to a segment after `retire`.

use base::SegmentId;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment.
    pub segment: SegmentId,
    /// First byte of the record.
    pub offset: u32,
    /// Length of the record in bytes, a multiple of 8.
    pub len: u32,
}

/// The bytes could not be written; the segment takes no more records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segment could not be written: {0}")]
pub struct AppendError(pub String);

/// Segments of one data folder, shared by all shards for reading.
pub trait Medium {
    /// Bytes of any segment of the folder, whichever shard wrote it; `None`
    /// when the segment is retired or the range is outside it.
    fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]>;

    /// Size of a segment in bytes; `None` only when the segment is gone for
    /// good, after a crash too. A retired segment counts until then.
    fn size(&self, segment: SegmentId) -> Option<u32>;

    /// Writes `parts` one behind the other at `offset`. On return `read` sees
    /// the bytes and a crash of the program cannot lose them; a power cut can,
    /// until a later sync has ended well.
    ///
    /// # Errors
    /// When not all of it could be written.
    fn append(
        &mut self,
        segment: SegmentId,
        offset: u32,
        parts: &[&[u8]],
    ) -> Result<(), AppendError>;

    /// Starts bringing to stable storage all that was appended to `segment`
    /// before this call. Answered by [`crate::Spool::synced`].
    fn start_sync(&mut self, segment: SegmentId);

    /// Asks for a fresh segment. Answered by [`crate::Spool::segment_ready`]
    /// or [`crate::Spool::no_segment`].
    fn request_segment(&mut self);

    /// Gives a segment up: nothing in it is needed any more, now or after a
    /// crash. Not answered; `size` tells when it is gone for good.
    fn retire(&mut self, segment: SegmentId);
}
