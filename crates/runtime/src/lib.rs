//! Floor 6: what touches the machine. One glommio executor per shard; sockets,
//! TLS, syncs, the mesh between shards, clocks, randomness, the control
//! socket, the log file.
//!
//! Carries out effects and decides nothing: no branch on an SMTP code, a retry
//! time or a route. Start reading at `driver.rs`.

mod aftermath;
pub mod alerts;
mod append;
pub mod appliance;
mod bell;
pub mod busy;
mod clock;
mod closing;
pub mod configuration;
mod contract;
pub mod control_port;
pub mod control_socket;
mod dial;
mod driver;
mod egress;
pub mod entropy;
mod errands;
mod error;
mod executor;
mod folders;
mod health;
pub mod http;
mod inbox;
mod keeper;
mod listen;
pub mod log_answers;
mod log_files;
pub mod log_reader;
mod log_readers;
mod log_sink;
pub mod log_stream;
mod log_tail;
pub mod machine;
mod mailbox;
mod mesh;
pub mod meter;
mod output;
mod page;
pub mod page_port;
pub mod pickup;
mod port;
mod probe;
mod readiness;
mod real;
mod revisions;
#[cfg(test)]
mod script;
pub mod server;
pub mod signals;
mod sinks;
mod submit;
pub mod support;
mod suspend;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
pub mod tls_server;
pub mod tls_stream;
mod tls_verify;
mod topology;
mod udp;
mod watch;
mod watchdog;

pub use error::StartError;
