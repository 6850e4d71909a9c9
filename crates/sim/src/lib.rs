//! The world for a shard: a clock, a network, a name server, mail exchangers
//! and a disk that crashes, all from one seed, and the oracles that judge what
//! happens in it.
//!
//! Never touches the machine: the same seed gives the same history everywhere.

pub mod digest;
pub mod observation;
pub mod oracle;
pub mod rules;
mod world;

pub use world::{Act, Host, LATENCY, Names, START, SYNC, Stage, World, minutes, seconds};
