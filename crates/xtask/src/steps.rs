//! The checks, one after the other, each with its time. A failure does not
//! keep the others from running: one run shows everything that is wrong.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{appliance_test, image, planted, power_cuts};

/// Names of all steps, in their order.
pub const NAMES: [&str; 8] = ["fmt", "clippy", "build", "test", "sim", "doc", PLANTED, APPLIANCE];

/// The steps that are no single call of cargo.
const PLANTED: &str = "planted";
const APPLIANCE: &str = "appliance";

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// Not for this machine, or Debian no longer offers what it is made of. That
    /// is no mistake of this source, and not hidden either.
    LeftOut,
}

/// What a step calls cargo with. The release build comes before the tests
/// because the loopback stories are told by the real program.
fn words(step: &str) -> &'static [&'static str] {
    match step {
        "fmt" => &["fmt", "--all", "--check"],
        "clippy" => {
            &["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]
        }
        "build" => image::PROGRAMS,
        "test" => &["test", "--locked", "--workspace", "--no-fail-fast"],
        "sim" => &[
            "run",
            "--locked",
            "--release",
            "--quiet",
            "--package",
            "sim",
            "--bin",
            "sim",
            "--",
            "--seeds",
            "300",
        ],
        "doc" => &["doc", "--locked", "--workspace", "--no-deps"],
        _ => unreachable!("the names of steps were checked"),
    }
}

/// Runs the steps named in `only`, all of them if it is empty. True when none
/// failed.
pub fn run(root: &Path, only: &[&str]) -> bool {
    let mut results = Vec::new();
    for name in NAMES.into_iter().filter(|name| only.is_empty() || only.contains(name)) {
        let began = Instant::now();
        let verdict = match name {
            PLANTED => {
                println!("== {name}: the simulator finds planted mistakes");
                passed(planted::run(root, &planted::Search::short()))
            }
            APPLIANCE => {
                println!(
                    "== {name}: the image is started by firmware, and loses its power again and again"
                );
                appliance(root)
            }
            _ => {
                println!("== {name}: cargo {}", words(name).join(" "));
                let is_built = results.iter().any(|(step, _, _)| *step == "build");
                passed(cargo(root, name, is_built))
            }
        };
        results.push((name, verdict, began.elapsed()));
    }
    println!();
    for (name, verdict, time) in &results {
        let verdict = match verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::LeftOut => "LEFT OUT",
        };
        println!("{name:<9} {verdict:<8} {:>7.1} s", time.as_secs_f64());
    }
    let whole: Duration = results.iter().map(|(_, _, time)| *time).sum();
    let count = |verdict| results.iter().filter(|(_, one, _)| *one == verdict).count();
    println!(
        "{} of {} steps passed, {:.1} s",
        count(Verdict::Passed),
        results.len(),
        whole.as_secs_f64()
    );
    count(Verdict::Failed) == 0
}

fn passed(has: bool) -> Verdict {
    if has { Verdict::Passed } else { Verdict::Failed }
}

/// Builds the image, sends mail through it and cuts its power.
fn appliance(root: &Path) -> Verdict {
    if !image::STANDS_ALONE_HERE {
        println!("the image is made on and for x86-64");
        return Verdict::LeftOut;
    }
    let started = appliance_test::run(root, &["--firmware"]);
    match started.and_then(|()| power_cuts::run(root, &[])) {
        Ok(()) => Verdict::Passed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("{error}");
            Verdict::LeftOut
        }
        Err(error) => {
            println!("{error}");
            Verdict::Failed
        }
    }
}

/// Calls cargo with a step's words. Release programs are built as those of the
/// image are, which then need no second build; once they are, the stories of
/// the tests are told by them.
fn cargo(root: &Path, step: &str, is_built: bool) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(words(step)).current_dir(root).env("RUSTDOCFLAGS", "--deny warnings");
    if image::STANDS_ALONE_HERE {
        if words(step).contains(&"--release") {
            image::stand_alone(&mut command, root);
        } else if step == "test" && is_built {
            command.env("RINGPOST_BIN", image::programs_folder(root).join("ringpost"));
        }
    }
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("cargo: {error}");
            false
        }
    }
}
