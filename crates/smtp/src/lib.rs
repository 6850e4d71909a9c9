//! Floor 2: SMTP on both sides as state machines without I/O or clock.
//!
//! Bytes and the time come in as arguments, bytes and events go out as values;
//! when to call again is a deadline that is asked for. Nothing here opens a
//! connection, chooses a host, retries, or knows what a route is.

pub mod answer;
pub mod chunking;
pub mod command;
pub mod data;
pub mod ehlo;
pub mod reply;
pub mod submission;
pub mod timeout;

pub use answer::Answer;
pub use ehlo::{Capabilities, Extension, Extensions};
pub use reply::{Code, Reply};
pub use submission::{Policy, Progress, Received, Session};
pub use timeout::{Phase, Timeouts};
