//! Cuts the list of faults of a failing run down to what is needed: leaves out
//! more and more as long as the same promise stays broken.
//!
//! Never changes a fault. Invariant: what is given back was run, and fails.

use std::collections::BTreeSet;

use crate::run::{Options, Outcome, run};

/// Runs tried at most.
const RUNS_MAX: u32 = 400;

/// The smallest list found that breaks the same promise, run with its whole
/// history kept; and how many runs it took.
pub fn shrink(failing: &Outcome, options: &Options) -> (Outcome, BTreeSet<usize>, u32) {
    let oracle = failing.breach.as_ref().map(|breach| breach.oracle);
    let mut runs = 0;
    let mut fails = |without: &BTreeSet<usize>| {
        runs += 1;
        let options = Options { without: without.clone(), history: false, ..options.clone() };
        let breach = run(failing.seed, &options).breach;
        runs <= RUNS_MAX && breach.is_some_and(|breach| Some(breach.oracle) == oracle)
    };
    let mut left: Vec<usize> =
        (0..failing.faults.len()).filter(|place| !options.without.contains(place)).collect();
    let mut without = options.without.clone();
    let mut piece = left.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut progress = false;
        while at < left.len() {
            let end = (at + piece).min(left.len());
            let mut fewer = without.clone();
            fewer.extend(&left[at..end]);
            if fails(&fewer) {
                without = fewer;
                left.drain(at..end);
                progress = true;
            } else {
                at = end;
            }
        }
        if piece > 1 {
            piece = piece.div_ceil(2);
        } else if !progress {
            break;
        }
    }
    let options = Options { without: without.clone(), history: true, ..options.clone() };
    (run(failing.seed, &options), without, runs)
}
