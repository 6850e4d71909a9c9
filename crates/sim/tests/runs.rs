//! Runs by seed: the short form of `cargo xtask sim`, and that a run is the
//! same each time.

use sim::run::{Options, run};

/// Issue: a seed gives the whole run, to the last observation.
#[test]
fn the_same_seed_gives_the_same_history_twice() {
    for seed in [1, 2, 3] {
        let first = run(seed, &Options::default());
        let second = run(seed, &Options::default());
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!((first.steps, first.simulated), (second.steps, second.simulated));
        assert!(first.steps > 0 && first.messages > 0, "seed {seed} is empty");
        assert_ne!(first.hash, run(seed + 100, &Options::default()).hash);
    }
}
