//! The world for a shard: a clock, a network, a name server, mail exchangers
//! and a disk that crashes, all from one seed, and the oracles that judge what
//! happens in it.
//!
//! Never touches the machine: the same seed gives the same history everywhere.

pub mod configuration;
pub mod day;
pub mod digest;
pub mod fault;
pub mod history;
mod letters;
pub mod observation;
pub mod oracle;
pub mod rules;
pub mod run;
pub mod scenario;
pub mod shrink;
mod world;

pub use world::{
    Act, Doom, Fault, Folders, Host, Kind, LATENCY, Manner, Mishap, NAME_SERVERS, Names, Network,
    Power, START, SYNC, Stage, Temper, Trouble, Uplinks, Weather, World, minutes, seconds,
};
