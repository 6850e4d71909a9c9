//! Whole load tests: a scenario, a server under load, what it cost.
//!
//! Everything runs as processes of their own (the server, the exchangers, the
//! name server), so that what the server costs is read from its own accounts.
//! Never loads anything but loopback; never ends a process it did not start.

pub mod around;
pub mod child;
pub mod disk;
pub mod figures;
pub mod join;
pub mod machine;
pub mod page;
pub mod plan;
pub mod round;
pub mod run;
pub mod scenarios;
pub mod syscalls;
pub mod target;
pub mod usage;
pub mod watch;

pub use figures::{BenchReport, Round};
pub use page::page;
pub use plan::Plan;
pub use run::{Order, run};
pub use target::Target;
