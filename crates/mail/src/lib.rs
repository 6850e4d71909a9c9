//! Floor 1: what a mail message and its envelope are made of, and the reports
//! we write about them.
//!
//! Text from strangers is parsed once, here, into types that cannot hold a
//! wrong value; every other room works on those types. Nothing here knows a
//! session, a queue, a file or the time of day.

pub mod address;
pub mod date;
pub mod domain;
pub mod dsn;
pub mod encode;
pub mod envelope;
pub mod exported;
pub mod header;
pub mod maildir;
pub mod pickup;
mod quoted_printable;
pub mod status;
mod wire;
pub mod xtext;

pub use address::{Address, AddressError, ForwardPath, Host, ReversePath};
pub use date::{MailDate, Timestamp};
pub use domain::{Domain, DomainError};
pub use envelope::{Body, Envelope, Notify, ParameterError, Recipient, Return};
pub use exported::Exported;
pub use status::Status;
