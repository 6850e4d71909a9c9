//! Floor 4: where the rooms meet. One [`Shard`] accepts, stores, schedules,
//! delivers and reports, as a deterministic machine: [`Shard::step`] takes the
//! time and one [`event::Event`], and gives [`effect::Effect`]s.
//!
//! Start reading at `step.rs`. Never here: clocks, sockets, files, threads.

mod accept;
mod admin;
mod again;
mod armed;
mod attempt;
mod bank;
mod batch;
mod behind_proxy;
mod blocked;
mod bounce;
mod client_tls;
pub mod command;
mod commit;
mod connect;
mod counted;
mod detail;
mod diagnose;
mod dialogue;
mod dispatch;
pub mod effect;
mod epoch;
pub mod errand;
mod etrn;
pub mod event;
mod exits;
mod explain;
mod export;
mod fallback;
mod folder;
mod gate;
mod handoff;
mod health;
mod ledger;
mod links;
mod local;
mod log_in;
mod logged;
pub mod mesh;
mod names;
mod outbound;
mod peer;
mod permit;
mod plan;
mod pop_first;
mod prefetch;
mod proxied;
mod quota;
mod returned;
mod sessions;
mod settings;
mod settle;
mod shard;
mod shortage;
mod sites;
mod step;
mod submit;
mod suspend;
mod timed;
mod timetable;
mod tokens;
mod view;
mod watching;
mod why;
mod window;

pub use accept::{INTAKE_BYTES_HARD_MAX, INTAKE_BYTES_MAX};
pub use shard::{Setup, Shard};
pub use why::{Question, Standing, Told};
