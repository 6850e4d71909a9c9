//! Floor 2: SMTP on both sides as state machines without I/O or clock.
pub mod answer;
pub mod chunking;
pub mod command;
pub mod data;
pub mod ehlo;
pub mod reply;
pub mod timeout;
