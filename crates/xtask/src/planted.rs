//! The mutation check: the simulator is built with the switch that compiles
//! planted mistakes (`base::planted`), and has to find each of them within a
//! bound on seeds. A mistake that it does not find shows a hole in it.
//!
//! Never changes a source file: which seed found a mistake first stands in
//! [`KNOWN`], which the long form alone writes anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Mistakes and the first seed that found each, one a line.
const KNOWN: &str = "crates/sim/planted.txt";
/// Seeds within which each must be found.
pub const SEEDS: u64 = 1_000;
/// Seeds that must be green without a mistake, in the short form.
const CLEAN_SHORT: u64 = 60;

/// What to look for, and how long.
#[derive(Clone, Debug)]
pub struct Search {
    /// One mistake instead of all.
    pub bug: Option<String>,
    /// Seeds tried for each.
    pub seeds: u64,
    /// Seeds that must be green without a mistake.
    pub clean: u64,
    /// Begins with the known seeds, and has none but them; otherwise they are
    /// found anew.
    pub short: bool,
}

impl Search {
    /// All mistakes with a known seed, by that where it still finds them.
    pub fn short() -> Self {
        Self { bug: None, seeds: SEEDS, clean: CLEAN_SHORT, short: true }
    }

    /// All mistakes, or one, each from the first seed on.
    pub fn long(bug: Option<String>, seeds: u64) -> Self {
        Self { bug, seeds, clean: seeds, short: false }
    }
}

/// A planted mistake.
#[derive(Clone, Debug)]
struct Bug {
    name: String,
    promise: String,
    what: String,
}

/// What came of one.
#[derive(Clone, Debug)]
struct Found {
    /// The seed, and by what; none when nothing was found.
    catch: Option<(u64, String)>,
    tried: u64,
    /// How often the program came by the mistake in the last seed.
    met: u64,
    time: Duration,
}

/// Runs the check and prints its table. True when every mistake was found and
/// nothing was without one.
pub fn run(root: &Path, search: &Search) -> bool {
    let outcome = build(root).and_then(|program| hunt(root, &program, search));
    outcome.unwrap_or_else(|error| {
        println!("planted: {error}");
        false
    })
}

/// Builds the hunter with the switch, in a folder of its own.
fn build(root: &Path) -> io::Result<PathBuf> {
    let target = root.join("target/planted");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--locked", "--quiet", "--profile", "planted", "--package", "sim"])
        .args(["--bin", "planted"])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "--cfg planted")
        .status()?;
    match status.success() {
        true => Ok(target.join("planted/planted")),
        false => Err(io::Error::other("the simulator could not be built")),
    }
}

fn hunt(root: &Path, program: &Path, search: &Search) -> io::Result<bool> {
    let mut bugs = list(program)?;
    if let Some(name) = &search.bug {
        bugs.retain(|bug| bug.name == *name);
        if bugs.is_empty() {
            return Err(io::Error::other(format!("no mistake is called {name}")));
        }
    }
    let known = if search.short { known(root) } else { BTreeMap::new() };
    // Who needs many seeds is left to the long form.
    bugs.retain(|bug| !search.short || known.contains_key(&bug.name));
    println!("{:<24} promise  {:<44} seeds  seconds", "mistake", "found by");
    let found = each(&bugs, |bug| {
        let found = look_for(program, bug, known.get(&bug.name).copied(), search.seeds);
        print_row(bug, &found);
        found
    });
    let missed: Vec<&Bug> =
        bugs.iter().zip(&found).filter(|(_, f)| f.catch.is_none()).map(|(b, _)| b).collect();
    let clean = clean(program, search.clean);
    let finders = found.iter().filter(|found| found.catch.is_some()).count();
    println!("{finders} of {} mistakes found; without one: {clean}", bugs.len());
    for bug in &missed {
        println!("not found: {}: {}", bug.name, bug.what);
    }
    if !search.short && search.bug.is_none() {
        note(root, &bugs, &found)?;
    }
    Ok(missed.is_empty() && clean.starts_with("green"))
}

/// The mistakes that the program has.
fn list(program: &Path) -> io::Result<Vec<Bug>> {
    let output = Command::new(program).arg("list").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let bug = |line: &str| {
        let mut words = line.split('\t').map(str::to_owned);
        Some(Bug { name: words.next()?, promise: words.next()?, what: words.next()? })
    };
    Ok(text.lines().filter_map(bug).collect())
}

/// Does something for each, as many at a time as the machine has cores.
fn each<T: Sync, R: Send + Clone>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new((0..all.len()).collect::<Vec<usize>>().into_iter());
    let done = Mutex::new(vec![None; all.len()]);
    let turn = || {
        loop {
            let Some(at) = next.lock().expect("nobody panics with it").next() else { return };
            let result = work(&all[at]);
            done.lock().expect("nobody panics with it")[at] = Some(result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(turn);
        }
    });
    let done = done.into_inner().expect("nobody panicked with it");
    done.into_iter().map(|result| result.expect("each was worked off")).collect()
}

/// Looks for one mistake: the known seed first, then from 0 on.
fn look_for(program: &Path, bug: &Bug, known: Option<u64>, seeds: u64) -> Found {
    let began = Instant::now();
    let by_heart = known.map(|seed| search(program, &bug.name, seed, seed + 1));
    let found = match by_heart {
        Some(found) if found.catch.is_some() => found,
        _ => search(program, &bug.name, 0, seeds),
    };
    Found { time: began.elapsed(), ..found }
}

/// Runs the seeds from `from` to `to` until one finds something.
fn search(program: &Path, name: &str, from: u64, to: u64) -> Found {
    let words = [name.to_owned(), from.to_string(), to.to_string()];
    let output = Command::new(program).args(words).output();
    output.map_or_else(|error| unstarted(&error), |output| read(&output, from))
}

fn unstarted(error: &io::Error) -> Found {
    println!("planted: {error}");
    Found { catch: None, tried: 0, met: 0, time: Duration::ZERO }
}

/// Reads what the hunter says: the seed before each run, and at the end what
/// it found. One that dies of a broken invariant has found it.
fn read(output: &Output, from: u64) -> Found {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found = Found { catch: None, tried: 0, met: 0, time: Duration::ZERO };
    let mut seed = from;
    for line in text.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        match words.as_slice() {
            ["seed", number] => {
                seed = number.parse().unwrap_or(seed);
                found.tried += 1;
            }
            ["met", times] => found.met = times.parse().unwrap_or(0),
            ["found", by] => found.catch = Some((seed, (*by).to_owned())),
            _ => {}
        }
    }
    if found.catch.is_none() && !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let why = errors.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
        found.catch = Some((seed, format!("assertion: {}", why.unwrap_or("it died"))));
    }
    found
}

fn print_row(bug: &Bug, found: &Found) {
    let Bug { name, promise, .. } = bug;
    let seconds = found.time.as_secs_f64();
    match &found.catch {
        Some((_, by)) => {
            let by: String = by.chars().take(44).collect();
            println!("{name:<24} {promise:^7}  {by:<44} {:>5}  {seconds:>7.1}", found.tried);
        }
        None => println!(
            "{name:<24} {promise:^7}  {:<44} {:>5}  {seconds:>7.1}",
            format!("NOT FOUND (met {} times in the last)", found.met),
            found.tried
        ),
    }
}

/// Runs seeds without a mistake, in parts at a time; says what came of it.
fn clean(program: &Path, seeds: u64) -> String {
    let part = seeds.div_ceil(8).max(1);
    let parts: Vec<u64> = (0..seeds).step_by(part as usize).collect();
    let began = Instant::now();
    let found = each(&parts, |from| search(program, "none", *from, (from + part).min(seeds)));
    match found.into_iter().find_map(|found| found.catch) {
        Some((seed, by)) => format!("seed {seed}: {by}"),
        None => format!("green over {seeds} seeds, {:.1} s", began.elapsed().as_secs_f64()),
    }
}

fn known(root: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(root.join(KNOWN)).unwrap_or_default();
    let pair = |line: &str| {
        let (name, seed) = line.split_once(' ')?;
        Some((name.to_owned(), seed.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn note(root: &Path, bugs: &[Bug], found: &[Found]) -> io::Result<()> {
    let mut text = String::new();
    for (bug, found) in bugs.iter().zip(found) {
        if let Some((seed, _)) = found.catch {
            let _ = writeln!(text, "{} {seed}", bug.name);
        }
    }
    fs::write(root.join(KNOWN), text)
}
