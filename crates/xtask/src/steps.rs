//! The checks, one after the other, each with its time. A failure does not
//! keep the others from running: one run shows everything that is wrong.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::planted;

/// Names of all steps, in their order.
pub const NAMES: [&str; 7] = ["fmt", "clippy", "build", "test", "sim", "doc", PLANTED];

/// The one step that is no single call of cargo.
const PLANTED: &str = "planted";

/// What a step calls cargo with. The release build comes before the tests
/// because the loopback stories are told by the real program.
fn words(step: &str) -> &'static [&'static str] {
    match step {
        "fmt" => &["fmt", "--all", "--check"],
        "clippy" => {
            &["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]
        }
        "build" => &["build", "--locked", "--release", "--package", "ringpost"],
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

/// Runs the steps named in `only`, all of them if it is empty. True when all
/// passed.
pub fn run(root: &Path, only: &[&str]) -> bool {
    let mut results = Vec::new();
    for name in NAMES.into_iter().filter(|name| only.is_empty() || only.contains(name)) {
        let began = Instant::now();
        let passed = if name == PLANTED {
            println!("== {name}: the simulator finds planted mistakes");
            planted::run(root, &planted::Search::short())
        } else {
            println!("== {name}: cargo {}", words(name).join(" "));
            cargo(root, words(name))
        };
        results.push((name, passed, began.elapsed()));
    }
    println!();
    for (name, passed, time) in &results {
        let verdict = if *passed { "passed" } else { "FAILED" };
        println!("{name:<8} {verdict}  {:>7.1} s", time.as_secs_f64());
    }
    let whole: Duration = results.iter().map(|(_, _, time)| *time).sum();
    let failed = results.iter().filter(|(_, passed, _)| !passed).count();
    println!(
        "{} of {} steps passed, {:.1} s",
        results.len() - failed,
        results.len(),
        whole.as_secs_f64()
    );
    failed == 0
}

fn cargo(root: &Path, words: &[&str]) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(words)
        .current_dir(root)
        .env("RUSTDOCFLAGS", "--deny warnings")
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            println!("cargo: {error}");
            false
        }
    }
}
