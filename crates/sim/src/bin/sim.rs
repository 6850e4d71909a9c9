//! `sim`: runs seeds, on all cores, until one breaks a promise; then cuts its
//! faults down and prints what happened.
//!
//! Never decides what a run is: that is all in the library. Exit codes: 0 all
//! kept, 1 a promise was broken, 2 wrong usage.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the program around the pure room: files, threads, a clock, a terminal"
)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sim::configuration::Configuration;
use sim::day::{Plan, replay};
use sim::history::page;
use sim::run::{Options, Outcome, run};
use sim::shrink::shrink;

const USAGE: &str = "\
cargo xtask sim [--seeds N] [--first N] [--seed N] [--hours H] [--config FILE] [--all] [--hashes] [--on]
cargo xtask sim --days N [--messages N] [--first N]
  --seeds N      how many seeds, 1000 unless said; --first N: from this one on, 0 unless said
  --seed N       this seed alone, with its whole history in short
  --hours H      faults go on for H simulated hours; drawn where not said
  --config FILE  under this configuration; drawn where not said
  --all          with --seed: everything that was seen, instead
  --hashes       print seed and hash of each history
  --on           go on behind a broken promise, and say at the end how many there are
  --days N       replay N days of a sender, of six hours each, with --messages in each, 6000 unless
                 said, from the seed --first, and say how far forecasts were off";

struct Arguments {
    first: u64,
    seeds: u64,
    alone: bool,
    all: bool,
    hashes: bool,
    goes_on: bool,
    /// A sender's days, instead of seeds.
    days: Option<u32>,
    messages: u32,
    options: Options,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let arguments = match read(&words) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(days) = arguments.days {
        return forecasts(&Plan { seed: arguments.first, days, messages: arguments.messages });
    }
    if arguments.alone {
        return one(&arguments);
    }
    let tally = Tally::default();
    name_the_seed();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| work(&arguments, &tally));
        }
    });
    let failing = tally.failing.into_inner().expect("no thread has panicked");
    tell_speed(&tally.sums.into_inner().expect("no thread has panicked"), began.elapsed());
    if let Some(worst) = failing.iter().min_by_key(|outcome| outcome.seed) {
        if failing.len() > 1 {
            summary(&failing);
        }
        tell_breach(worst, &arguments.options);
        return ExitCode::from(1);
    }
    ExitCode::SUCCESS
}

/// What all threads share.
#[derive(Default)]
struct Tally {
    next: AtomicU64,
    stop: AtomicBool,
    sums: Mutex<Sums>,
    failing: Mutex<Vec<Outcome>>,
}

#[derive(Default)]
struct Sums {
    seeds: u64,
    simulated: Duration,
    steps: u64,
    messages: u64,
    /// One number for all histories: the sum of their hashes, in which the
    /// order of the threads is lost.
    histories: u64,
}

fn work(arguments: &Arguments, tally: &Tally) {
    while !tally.stop.load(Ordering::Relaxed) {
        let place = tally.next.fetch_add(1, Ordering::Relaxed);
        if place >= arguments.seeds {
            return;
        }
        let seed = arguments.first + place;
        let outcome = attempt(seed, &arguments.options);
        {
            let mut sums = tally.sums.lock().expect("no thread has panicked");
            sums.seeds += 1;
            sums.simulated += outcome.simulated;
            sums.steps += outcome.steps;
            sums.messages += outcome.messages;
            sums.histories = sums.histories.wrapping_add(outcome.hash);
        }
        if arguments.hashes {
            println!("{seed} {:016x}", outcome.hash);
        }
        if outcome.breach.is_some() {
            if !arguments.goes_on {
                tally.stop.store(true, Ordering::Relaxed);
            }
            tally.failing.lock().expect("no thread has panicked").push(outcome);
        }
    }
}

/// A panic is the end of the program, and says in which seed it was.
fn name_the_seed() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        println!("seed {}: the program has panicked", SEED.with(std::cell::Cell::get));
        before(panic);
    }));
}

/// Runs a seed.
fn attempt(seed: u64, options: &Options) -> Outcome {
    SEED.with(|slot| slot.set(seed));
    run(seed, options)
}

thread_local! {
    static SEED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn one(arguments: &Arguments) -> ExitCode {
    name_the_seed();
    let began = Instant::now();
    let options = Options { history: arguments.all, ..arguments.options.clone() };
    let outcome = attempt(arguments.first, &options);
    outcome.history.iter().for_each(|seen| println!("{seen}"));
    println!("seed {} hash {:016x}", outcome.seed, outcome.hash);
    let sums = Sums {
        seeds: 1,
        simulated: outcome.simulated,
        steps: outcome.steps,
        messages: outcome.messages,
        histories: outcome.hash,
    };
    tell_speed(&sums, began.elapsed());
    let Some(breach) = &outcome.breach else { return ExitCode::SUCCESS };
    if arguments.all {
        println!("seed {}: {breach}", outcome.seed);
        return ExitCode::from(1);
    }
    tell_breach(&outcome, &arguments.options);
    ExitCode::from(1)
}

/// Replays days and tells how far forecasts were off.
fn forecasts(plan: &Plan) -> ExitCode {
    let began = Instant::now();
    let report = replay(plan);
    println!("{report}");
    let took = began.elapsed().as_secs_f64();
    println!("{} days, {} messages in {took:.1} s", plan.days, report.messages);
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn tell_speed(sums: &Sums, took: Duration) {
    let seconds = took.as_secs_f64().max(1e-9);
    let hours = sums.simulated.as_secs_f64() / 3_600.0;
    println!(
        "{} seeds, {} messages, {:.0} simulated hours, {} steps in {seconds:.1} s: \
         {:.0} seeds/s, {:.0} simulated hours/s, {:.0} steps/s; histories {:016x}",
        sums.seeds,
        sums.messages,
        hours,
        sums.steps,
        sums.seeds as f64 / seconds,
        hours / seconds,
        sums.steps as f64 / seconds,
        sums.histories,
    );
}

fn tell_breach(outcome: &Outcome, options: &Options) {
    let Some(breach) = &outcome.breach else { return };
    println!("seed {}: {breach}", outcome.seed);
    let (smallest, without, runs) = shrink(outcome, options);
    println!("cut down in {runs} runs:");
    println!("{}", page(&smallest, &without));
    println!("again: cargo xtask sim --seed {}", outcome.seed);
}

/// How many seeds each oracle objects to.
fn summary(failing: &[Outcome]) {
    let mut kinds: std::collections::BTreeMap<String, Vec<u64>> = Default::default();
    for outcome in failing {
        let Some(breach) = &outcome.breach else { continue };
        let text: String = breach.what.chars().filter(|c| !c.is_ascii_digit()).collect();
        kinds.entry(format!("{}: {text}", breach.oracle)).or_default().push(outcome.seed);
    }
    for (kind, mut seeds) in kinds {
        seeds.sort_unstable();
        let shown: Vec<String> = seeds.iter().take(8).map(u64::to_string).collect();
        println!("{:>5}  {kind}  [{}]", seeds.len(), shown.join(" "));
    }
}

fn read(words: &[String]) -> Result<Arguments, String> {
    let options = Options::default();
    let mut read = Arguments {
        first: 0,
        seeds: 1_000,
        alone: false,
        all: false,
        hashes: false,
        goes_on: false,
        days: None,
        messages: 6_000,
        options,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: &String| text.parse::<u64>().map_err(|_| format!("{text}?"));
        match word.as_str() {
            "--seeds" => read.seeds = number(value()?)?,
            "--first" => read.first = number(value()?)?,
            "--seed" => (read.first, read.alone) = (number(value()?)?, true),
            "--days" => read.days = Some(number(value()?)? as u32),
            "--messages" => read.messages = number(value()?)? as u32,
            "--hours" => read.options.hours = Some(number(value()?)?),
            "--config" => {
                let path = value()?;
                let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
                read.options.config = Some(Configuration::given(&text)?);
            }
            "--all" => read.all = true,
            "--hashes" => read.hashes = true,
            "--on" => read.goes_on = true,
            other => return Err(format!("{other}?")),
        }
    }
    Ok(read)
}
