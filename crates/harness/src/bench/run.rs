//! A whole measurement: the disk, the ceiling, then every target in turn, again
//! and again, in one run on one machine.
//!
//! Never compares figures of different runs: what is to be compared is run
//! here, A B A B, so that a machine that warms up or slows down shows as spread
//! and not as a winner.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::child::call;
use super::disk;
use super::figures::{BenchReport, FORM, Round};
use super::machine::Machine;
use super::plan::{Kind, Plan};
use super::round::{Stage, play};
use super::target::Target;

/// How long the disk is tested in each of two ways.
const DISK_TEST: Duration = Duration::from_secs(2);

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Order {
    /// Name of the scenario.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Settings over it, such as `messages=500`.
    pub overrides: Vec<String>,
    /// Who is loaded, in turn.
    pub targets: Vec<Target>,
    /// How often each.
    pub rounds: u32,
    /// Whether the ceiling is measured first.
    pub with_ceiling: bool,
    /// Whether system calls are counted, in a round more.
    pub with_syscalls: bool,
    /// A folder on the disk that is measured; a new one is made in it.
    pub folder: PathBuf,
    /// Whether that is left behind.
    pub keep: bool,
    /// `ringpost` itself.
    pub program: PathBuf,
}

/// Measures; `tell` hears what is going on.
///
/// # Errors
/// A sentence: the scenario is wrong, or a part cannot be started.
pub fn run(order: &Order, mut tell: impl FnMut(&str)) -> Result<BenchReport, String> {
    let plan = Plan::parse(&order.text, &order.overrides)?;
    let folder = order.folder.join(format!("ringpost-bench-{}", std::process::id()));
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(fail)?;
    let measured = measure(order, &plan, &folder, &mut tell);
    if order.keep {
        tell(&format!("folder {} is kept", folder.display()));
    } else {
        std::fs::remove_dir_all(&folder).map_err(fail)?;
    }
    measured
}

fn measure(
    order: &Order,
    plan: &Plan,
    folder: &Path,
    tell: &mut impl FnMut(&str),
) -> Result<BenchReport, String> {
    let machine = Machine::here(folder);
    tell(&machine.line());
    let disk = disk::test(folder, DISK_TEST).map_err(|error| format!("disk test: {error}"))?;
    tell(&format!(
        "disk: a sync takes {} µs (middle), {:.0} MB/s synced{}",
        disk.sync.p50,
        disk.synced_bytes_per_second / 1e6,
        if disk.suspect { "; IT MAY BE LYING" } else { "" }
    ));
    disk.findings.iter().for_each(|finding| tell(finding));
    let mut report = BenchReport {
        form: FORM,
        scenario: order.name.clone(),
        about: plan.about.clone(),
        plan: order.text.clone(),
        overrides: order.overrides.clone(),
        made_at: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit(),
        machine,
        disk,
        rounds: Vec::new(),
    };
    let mut one = |target: &Target, number: u32, counts_syscalls: bool| {
        let name = format!("{}-{number}{}", target.name(), if counts_syscalls { "s" } else { "" });
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let stage = Stage { plan, program: &order.program, folder: &folder, counts_syscalls };
        let played = play(stage, target, number)?;
        if !order.keep {
            // Room for the next round; a rest is taken away at the end.
            let _ = std::fs::remove_dir_all(&folder);
        }
        tell(&line(&played));
        Ok::<Round, String>(played)
    };
    let flows = !matches!(plan.kind, Kind::Idle);
    if order.with_ceiling && flows {
        report.rounds.push(one(&Target::Ceiling, 1, false)?);
    }
    for number in 1..=order.rounds {
        for target in &order.targets {
            report.rounds.push(one(target, number, false)?);
        }
    }
    for target in order.targets.iter().filter(|_| order.with_syscalls && flows) {
        let counted = one(target, 0, true)?;
        let each = counted.each(|cost| cost.syscalls);
        let rounds = report.rounds.iter_mut().filter(|round| round.target == target.name());
        for round in rounds {
            if let (Some(each), Some(cost)) = (each, round.cost.as_mut()) {
                cost.syscalls = Some((each * round.accepted as f64).round() as u64);
            }
        }
    }
    Ok(report)
}

/// A round in one line.
pub fn line(round: &Round) -> String {
    let mut line = format!("{:<14} {}", round.target, round.number);
    if round.accepted > 0 {
        line.push_str(&format!(
            "  {:>8.0} delivered/s  {:>8.0} accepted/s",
            round.rate(),
            round.accept_rate()
        ));
    }
    if let Some((user, system)) = round.cpu() {
        line.push_str(&format!("  CPU {user:.0} + {system:.0} µs"));
    }
    for (name, figure) in &round.extra {
        line.push_str(&format!("  {name} {figure:.2}"));
    }
    if !round.is_exactly_once() {
        line.push_str(&format!(
            "  NOT EXACTLY ONCE: {} missing, {} doubled, {} altered, {} unexpected",
            round.missing, round.doubled, round.altered, round.unexpected
        ));
    }
    for (trouble, count) in &round.troubles {
        line.push_str(&format!("\n    {count} times: {trouble}"));
    }
    line
}

/// The commit of the folder that this was started in, where that is the house.
fn commit() -> Option<String> {
    if !Path::new("crates/harness").exists() {
        return None;
    }
    let git = Path::new("/usr/bin/git");
    let commit = call(git, &["rev-parse", "HEAD"]).ok()?;
    let changed = call(git, &["status", "--porcelain", "--untracked-files=no"]).ok()?;
    Some(if changed.is_empty() { commit } else { format!("{commit} with changes") })
}
