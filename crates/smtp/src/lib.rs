//! Floor 2: SMTP on both sides as state machines without I/O or clock.
//!
//! Bytes and the time come in as arguments, bytes and events go out as values;
//! when to call again is a deadline that is asked for. Nothing here opens a
//! connection, chooses a host, retries, or knows what a route is.

pub mod answer;
mod auth;
pub mod chunking;
pub mod client;
pub mod command;
pub mod data;
pub mod direct;
pub mod ehlo;
mod hello;
mod lmtp;
pub mod pop;
pub mod proxy;
pub mod reply;
pub mod sasl;
mod starttls;
pub mod submission;
pub mod timeout;
pub mod transaction;
pub mod verdict;

pub use answer::Answer;
pub use auth::LogIn;
pub use client::{Client, Closure, Hint, Output, Tls};
pub use ehlo::{Capabilities, Extension, Extensions};
pub use reply::{Code, Reply};
pub use submission::{Policy, Progress, Received, Session};
pub use timeout::{Phase, Timeouts};
pub use transaction::{Begun, RecipientTo, Transaction, Unfit};
pub use verdict::{Cause, Fault, Loss, Scope, Trouble, Verdict};
