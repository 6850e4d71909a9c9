//! What PID 1 of the appliance decides, as plain functions: which modules in
//! which order, what a DHCP server said and when to ask again, by how much the clock
//! is wrong, which partition is ours, when the daemon starts anew, what a good
//! image is called, and which update is one.
//!
//! Never touches the machine: bytes and time come in as arguments, what is to
//! be done goes out as values. `main.rs` and the files in `machine/` do it.

pub mod boot_count;
pub mod clock;
pub mod dhcp;
pub mod health;
pub mod lease;
pub mod modules;
pub mod network;
pub mod partition;
pub mod restart;
pub mod rtnetlink;
pub mod sntp;
pub mod update;
