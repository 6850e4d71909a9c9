//! Floor 2: the durable log: records, group commit, index, recovery, reclaim.
//!
//! A shard owns one [`Spool`] and hands it a [`Medium`], the only thing that
//! touches storage. What an accepted message is, which recipients are still
//! owed, and what became of the others is decided here and nowhere else;
//! `FORMAT.md` draws every byte. Nothing here reads a clock, opens a file or
//! waits: completions come back through [`Spool::synced`],
//! [`Spool::segment_ready`] and [`Spool::no_segment`].

mod commit;
mod entry;
mod import;
mod index;
mod medium;
mod memory;
mod reclaim;
mod record;
mod recover;
mod restate;
mod resume;
mod scan;
mod seal;
mod settle;
mod state;
mod walk;
mod writer;

#[cfg(test)]
mod rig;

pub use commit::{Lost, Position};
pub use entry::{Message, Meta, RecipientView, Unreadable, message_at, verify_body};
pub use import::Standing;
pub use medium::{AppendError, Medium, Place};
pub use memory::{MemoryMedium, Request, SECTOR_BYTES};
pub use reclaim::Reclaimed;
pub use record::{FIRST_RECORD, FORMAT_VERSION, SEGMENT_BYTES_MAX, Superblock, SuperblockFault};
pub use recover::{Cut, CutReason, RecoverError, Report, recover};
pub use restate::Restated;
pub use settle::{Doubt, Settled, Try};
pub use state::{Change, Note, NoteView, Outcome, Phase, State};
pub use writer::{Appended, Refusal, Spool};
