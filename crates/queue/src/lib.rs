//! Floor 3: ready and deferred mail, fairness, concurrency feedback, who goes
//! next. The owner's view of waiting mail in one shard; `schedule.rs` has the
//! way of an entry, `queue.rs` the doors.
//!
//! It knows ids, times and counts; it never sees message bytes, host addresses
//! or DNS answers, reads no clock, and does nothing by itself: time comes in as
//! an argument, [`Work`] and [`Due`] go out as values.

mod ages;
mod ahead;
mod batch;
mod concurrency;
mod deferred;
mod destination;
mod entry;
mod held;
mod lately;
mod list;
mod pace;
mod qshape;
mod queue;
mod resolve;
mod routes;
mod schedule;
mod site;
#[cfg(test)]
mod story;
mod suspend;
mod sweep;
mod tally;

pub use batch::{Batch, Take};
pub use deferred::{ADVANCE_TIMERS_MAX, Due};
pub use destination::{DestinationKey, NextHop, REASON_BYTES_MAX};
pub use entry::{EntryKey, New, Place, State, View, When};
pub use lately::Ended;
pub use pace::{Mix, Pace};
pub use qshape::{AGE_BOUNDS_MINUTES, AGE_COLUMNS, AtSite, Overview, Row, Status};
pub use queue::{BYTES_PER_ENTRY, Bounds, InsertError, Queue};
pub use routes::RouteRow;
pub use schedule::Work;
pub use site::{Health, Phase, SiteKey, SiteView};
pub use suspend::Awaking;
pub use sweep::{Act, Select, Sweep};
pub use tally::Counts;
