//! What the stories share: programs under guard, the daemon with its
//! configuration, peers to send from and deliver to, and the one way to wait.

pub mod browser;
pub mod client;
pub mod config;
pub mod control;
pub mod daemon;
pub mod dovecot;
pub mod endpoint;
pub mod minted;
pub mod mount;
pub mod nsd;
pub mod pass;
pub mod pop3;
pub mod postfix;
pub mod process;
pub mod python;
pub mod schema;
pub mod smtp_tools;
pub mod socks;
pub mod terminal;
pub mod wait;

pub use client::{Client, submit, text_to};
pub use config::Config;
pub use daemon::Daemon;
pub use process::Process;
pub use wait::{PATIENCE, until, until_or_explain};
