//! What PID 1 of the appliance decides, as plain functions: which modules in
//! which order, what a DHCP server said and when to ask again, what a cable does
//! and what routers advertise, by how much the clock is wrong, which partition is
//! ours and how it grows, when the daemon starts anew, what a good image is
//! called, which update is one, how long settings are on trial, what a reset takes
//! away, and what is told of the machine.
//!
//! Never touches the machine: bytes and time come in as arguments, what is to
//! be done goes out as values. `main.rs` and the files in `machine/` do it.

pub mod advertised;
pub mod boot_count;
pub mod cable;
pub mod clock;
pub mod dhcp;
pub mod gpt;
pub mod health;
pub mod lease;
pub mod modules;
pub mod network;
pub mod partition;
pub mod pulse;
pub mod quota;
pub mod reset;
pub mod restart;
pub mod rtnetlink;
pub mod seeds;
pub mod sntp;
pub mod state;
pub mod trial;
pub mod update;
