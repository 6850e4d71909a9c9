//! One run: everything drawn from a seed, faults and people at work for some
//! hours, then quiet, until all has come to rest. The court sees everything.
//!
//! Never judges by itself. Invariant: seed and options give the whole run.

mod play;
mod visit;

use std::collections::BTreeSet;
use std::time::Duration;

use base::Rng;

use crate::configuration::Configuration;
use crate::digest::Hasher64;
use crate::fault::{self, Fault};
use crate::observation::Stamped;
use crate::oracle::{Breach, Court};
use crate::scenario::Scenario;
use play::Play;

/// What a run is told beside its seed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Hours that faults go on; drawn where absent.
    pub hours: Option<u64>,
    /// The one configuration; drawn, and changed by faults, where absent.
    pub config: Option<Configuration>,
    /// Whether the whole history is kept.
    pub history: bool,
    /// Faults to leave out, by their place in the list.
    pub without: BTreeSet<usize>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// A promise that was broken, if one was.
    pub breach: Option<Breach>,
    /// All faults, those left out included.
    pub faults: Vec<Fault>,
    /// The configurations that came into force, in order.
    pub configurations: Vec<String>,
    /// Everything that was seen, if it was to be kept; at a breach nothing
    /// follows.
    pub history: Vec<Stamped>,
    /// The hash of all that was seen.
    pub hash: u64,
    /// Time that went by in it.
    pub simulated: Duration,
    /// Steps of shards.
    pub steps: u64,
    /// Messages that clients tried to hand in.
    pub messages: u64,
}

/// What the seed gives before anything runs.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) first: Configuration,
    pub(crate) faults: Vec<Fault>,
}

/// Each part of a run has a generator of its own, so that a change in one
/// leaves the others as they were.
pub(crate) fn stream(seed: u64, part: u64) -> Rng {
    Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part)
}

impl Plan {
    fn draw(seed: u64, options: &Options) -> Self {
        let mut scenario = Scenario::draw(&mut stream(seed, 1), options.hours);
        let first = match &options.config {
            Some(config) => config.clone(),
            None => Configuration::draw(1, &scenario, &mut stream(seed, 2)),
        };
        scenario.exact_after_power = first.rules.exact_after_power;
        let faults = fault::draw(&scenario, &mut stream(seed, 3));
        Self { scenario, first, faults }
    }
}

/// Runs a seed.
pub fn run(seed: u64, options: &Options) -> Outcome {
    let plan = Plan::draw(seed, options);
    let mut play = Play::new(seed, &plan, options);
    play.go();
    let Play { watch, world, started, .. } = play;
    Outcome {
        seed,
        breach: watch.breach,
        configurations: watch.configurations,
        history: watch.history,
        hash: watch.hasher.finish(),
        simulated: world.now.mono.since(started),
        steps: watch.steps,
        messages: watch.messages,
        faults: plan.faults,
    }
}

/// Steps after which a run that has not come to rest never will: few take more
/// than a tenth of it.
const STEPS_MAX: u64 = 30_000_000;

/// Those who look on.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    court: Court,
    hasher: Hasher64,
    history: Vec<Stamped>,
    pub(crate) configurations: Vec<String>,
    keeps: bool,
    breach: Option<Breach>,
    steps: u64,
    pub(crate) messages: u64,
}

impl Watch {
    /// Whether the run goes round in circles.
    fn endless(&self) -> Option<Breach> {
        (self.steps > STEPS_MAX).then(|| Breach {
            oracle: "every wait has an end",
            promise: 6,
            what: format!("no rest after {STEPS_MAX} steps"),
            message: None,
            recipient: None,
        })
    }

    /// Takes in what was seen.
    fn look(&mut self, seen: Vec<Stamped>) {
        for one in seen {
            if self.breach.is_some() {
                return;
            }
            one.feed(&mut self.hasher);
            self.steps = one.step;
            self.breach = self.court.see(&one).err().or_else(|| self.endless());
            if self.keeps {
                self.history.push(one);
            }
        }
    }
}
