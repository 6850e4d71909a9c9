//! The event log as text: which events there are, which fields each has, how a
//! line is written, and what a reader may rely on.
//!
//! One event is one line, one line is one JSON object. The reference for
//! operators (`docs/events.md`) and the schema for programs
//! (`docs/events.schema.json`) are made from the same tables that the writer
//! checks itself against.
//!
//! Never opens a file and never decides what is logged: whoever sees an event
//! says so, the runtime keeps the lines.

mod backoff;
mod batch;
mod bookmark;
mod disguise;
pub mod failures;
mod field;
mod filter;
mod journal;
mod kind;
mod line;
mod page;
pub mod read;
mod schema;
mod session;
mod story;
mod syslog;

pub use backoff::backoff;
pub use batch::Batch;
pub use bookmark::{BOOKMARK_BYTES, Bookmark, Place};
pub use disguise::Disguise;
pub use field::{Field, Shape};
pub use filter::Filter;
pub use journal::journal_entry;
pub use kind::{Described, Kind, Level};
pub use line::{Line, rfc3339};
pub use page::page;
pub use schema::schema;
pub use session::SessionName;
pub use story::sentence;
pub use syslog::{SyslogOrigin, local_message, push_framed, severity, syslog_message};
