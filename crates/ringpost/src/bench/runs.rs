//! Whole measurements: `bench run`, `bench compare`, `bench report`, `bench
//! disk`, `bench scenarios`.
//!
//! The last lines say what was found; everything else is in the report files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use harness::bench::figures::{CEILING, FORM, Spread};
use harness::bench::run::line;
use harness::bench::{BenchReport, Order, Target, disk, machine, page, run, scenarios};

/// What `run` and `compare` have in common.
#[derive(Clone, Debug, Args)]
struct RunArgs {
    /// One of `bench scenarios`, or a file
    scenario: String,
    /// Set something over the scenario, such as messages=500 or size=10KiB
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Count system calls too, with `perf`, in a round of their own
    #[arg(long)]
    syscalls: bool,
    /// Leave out the ceiling, which is the source straight into the sink
    #[arg(long)]
    no_ceiling: bool,
    /// A folder on the disk that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Keep what the servers wrote
    #[arg(long)]
    keep: bool,
    /// Where the report goes, FILE.json
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the page about it goes, FILE.html
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Processors to run on, such as 0-1; everything started takes part
    #[arg(long, value_name = "LIST")]
    pin: Option<String>,
}

/// `ringpost bench run`
#[derive(Clone, Debug, Args)]
pub struct SingleArgs {
    #[command(flatten)]
    run: RunArgs,
    /// How often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// `ringpost bench compare`
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Who takes part: ringpost, ringpost-NAME=PROGRAM, postfix, postfix-tuned, or a FILE.toml
    /// that says how to start a server
    #[arg(long = "target", value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// How often each, in turn
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// `ringpost bench report`
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Report files; several stand side by side
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where the page goes
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

/// `ringpost bench disk`
#[derive(Clone, Debug, Args)]
pub struct DiskArgs {
    /// A folder on the disk
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Print the whole report as JSON
    #[arg(long)]
    json: bool,
}

/// Measures Ringpost alone.
pub fn single(args: &SingleArgs) -> Result<ExitCode, String> {
    measure(&args.run, &["ringpost".to_owned()], args.rounds)
}

/// Measures several in turn.
pub fn compare(args: &CompareArgs) -> Result<ExitCode, String> {
    measure(&args.run, &args.targets, args.rounds)
}

fn measure(args: &RunArgs, targets: &[String], rounds: u32) -> Result<ExitCode, String> {
    super::ends::raise_descriptors();
    let program = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
    if let Some(list) = &args.pin {
        pin(list)?;
    }
    let (name, text) = scenarios::find(&args.scenario)?;
    let targets: Result<Vec<Target>, String> =
        targets.iter().map(|target| Target::parse(target, &program)).collect();
    let folder = fs::canonicalize(&args.folder)
        .map_err(|error| format!("{}: {error}", args.folder.display()))?;
    let order = Order {
        name,
        text,
        overrides: args.overrides.clone(),
        targets: targets?,
        rounds,
        with_ceiling: !args.no_ceiling,
        with_syscalls: args.syscalls,
        folder,
        keep: args.keep,
        program,
    };
    let report = run(&order, |line| println!("{line}"))?;
    verdict(&report).iter().for_each(|line| println!("{line}"));
    if let Some(path) = &args.output {
        let json = serde_json::to_string(&report).expect("numbers and texts make JSON");
        write(path, &json)?;
    }
    if let Some(path) = &args.html {
        write(path, &page(&[(report.scenario.clone(), report.clone())]))?;
    }
    let fine =
        report.rounds.iter().all(|round| round.is_exactly_once() && round.troubles.is_empty());
    Ok(ExitCode::from(u8::from(!fine)))
}

/// The answer in a few lines: shares of the ceiling, ratios with their spread.
fn verdict(report: &BenchReport) -> Vec<String> {
    let mut lines = Vec::new();
    let targets = report.targets();
    let rate = |target: &str| report.spread(target, |round| Some(round.rate()));
    let flows = |spread: Option<Spread>| spread.filter(|spread| spread.middle > 0.0);
    if let Some(ceiling) = flows(rate(CEILING)) {
        for target in &targets {
            if let Some(own) = flows(rate(target)) {
                let share = own.middle / ceiling.middle * 100.0;
                lines.push(format!("{target}: {share:.0} % of the ceiling"));
            }
        }
    }
    let Some((first, others)) = targets.split_first() else { return lines };
    for other in others {
        if let (Some(ours), Some(theirs)) = (flows(rate(first)), flows(rate(other))) {
            let ratio = ours.over(theirs);
            lines.push(format!(
                "{first} delivers {:.1} times as much as {other} ({:.1} to {:.1} over all pairs of \
                 rounds; spread {:.0} % and {:.0} %)",
                ratio.middle,
                ratio.least,
                ratio.greatest,
                ours.width() * 100.0,
                theirs.width() * 100.0
            ));
        }
        let cpu = |target: &str| {
            report.spread(target, |round| round.cpu().map(|(user, system)| user + system))
        };
        if let (Some(ours), Some(theirs)) = (flows(cpu(first)), flows(cpu(other))) {
            let ratio = theirs.over(ours);
            lines.push(format!(
                "{other} takes {:.1} times the processor time of {first} for each message \
                 ({:.0} and {:.0} µs)",
                ratio.middle, theirs.middle, ours.middle
            ));
        }
    }
    lines
}

/// Makes a page of report files.
pub fn report(args: &ReportArgs) -> Result<ExitCode, String> {
    let read = |path: &PathBuf| {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| fail(&error))?;
        let report: BenchReport = serde_json::from_str(&text).map_err(|error| fail(&error))?;
        if report.form != FORM {
            return Err(fail(&format!("a report of form {}, not {FORM}", report.form)));
        }
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok((name, report))
    };
    let reports: Result<Vec<(String, BenchReport)>, String> = args.files.iter().map(read).collect();
    let reports = reports?;
    for (name, report) in &reports {
        println!("{name}: {}, {}", report.scenario, report.machine.line());
        report.rounds.iter().for_each(|round| println!("  {}", line(round)));
    }
    write(&args.output, &page(&reports))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Tests a disk; exit 1 where it may be lying.
pub fn disk(args: &DiskArgs) -> Result<ExitCode, String> {
    let found = disk::test(&args.folder, Duration::from_secs(3))
        .map_err(|error| format!("{}: {error}", args.folder.display()))?;
    if args.json {
        super::ends::print_json(&found);
    } else {
        println!("{}", machine::Machine::here(&args.folder).line());
        println!(
            "a sync of 2 KiB takes {} µs (p50), {} µs (p99); 4 MiB between syncs: {:.0} MB/s",
            found.sync.p50,
            found.sync.p99,
            found.synced_bytes_per_second / 1e6
        );
        found.findings.iter().for_each(|finding| println!("{finding}"));
        let verdict = match found.suspect {
            true => "THE DISK MAY BE LYING: a 250 is worth no more than its syncs",
            false => "no sign that the disk lies about its syncs",
        };
        println!("{verdict}");
    }
    Ok(ExitCode::from(u8::from(found.suspect)))
}

/// Lists the scenarios that come along.
pub fn list() -> ExitCode {
    for (name, text) in scenarios::ALL {
        let about = text.lines().find_map(|line| line.strip_prefix("about = "));
        println!("{name:<20} {}", about.unwrap_or_default().trim_matches('"'));
    }
    ExitCode::SUCCESS
}

/// Keeps this process, and so everything it starts, on these processors.
fn pin(list: &str) -> Result<(), String> {
    let taskset = Path::new("/usr/bin/taskset");
    let own = std::process::id().to_string();
    let words = ["--all-tasks", "--cpu-list", "--pid", list, &own];
    harness::bench::child::call(taskset, &words).map(|_| ())
}
