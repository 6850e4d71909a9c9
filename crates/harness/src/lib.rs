//! Load source, mail exchangers and name server on real loopback sockets, for
//! `ringpost demo`, `ringpost bench` and the stories under `tests/`.
//!
//! It shares no code with the product's runtime or protocol rooms: what checks
//! the daemon must not be wrong in the same way. Plain threads and epoll, so
//! that it also runs where io_uring is refused.

pub mod arrivals;
pub mod bench;
pub mod clock;
pub mod message;
pub mod nameserver;
pub mod network;
pub mod report;
pub mod scenario;
pub mod sink;
pub mod source;
pub mod spec;
pub mod summary;
pub mod times;
pub mod tls;
pub mod verify;
pub mod workload;
pub mod world;

mod poll;
mod wire;

pub use nameserver::{Fate, NameServer, Node, Zones};
pub use report::Report;
pub use scenario::Scenario;
pub use sink::{Act, Arrival, Fault, Kept, Rule, SinkReport, SinkSettings, Sinks, Stage, To, When};
pub use source::{LogIn, Outcome, Pace, Record, Source, SourceReport, SourceSettings};
pub use summary::{SinkSummary, SourceSummary};
pub use times::Times;
pub use tls::{Identity, Tls};
pub use verify::{Verdict, verify};
pub use workload::{Sizes, Spread, Workload};
pub use world::World;
