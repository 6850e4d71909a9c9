//! A whole shard, step by step, in the simulator's world: clients, exchangers,
//! name servers, a disk, and faults, all from one seed.

use sim::run::{Options, run};

use crate::Work;

/// Small, and without a breach.
const SEED: u64 = 3;

/// Plays a seed to its end; 1 when no promise was broken.
pub(crate) fn steps() -> Work {
    let options = Options { hours: Some(1), ..Options::default() };
    Box::new(move || u64::from(run(SEED, &options).breach.is_none()))
}
