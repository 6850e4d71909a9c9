//! The developer's menu: `cargo xtask test`, what a fresh machine needs for
//! it, the search for inputs and seeds that break it, the appliance's image and
//! its test, the Debian package, the list of files on the map, and the tests
//! named in the tables.
//!
//! Never starts a service of the machine and never edits a source file. No
//! dependency from outside, so that it builds in a second on a machine that has
//! nothing yet.

#![expect(clippy::print_stdout, reason = "a program for a person's terminal")]

mod appliance_test;
mod fuzz;
mod image;
mod instructions;
mod machine;
mod map;
mod package;
mod planted;
mod power_cuts;
mod steps;
mod tables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test [STEP…]   all checks, or those named: fmt clippy build test sim doc planted appliance
cargo xtask setup          install the programs that the tests talk to
cargo xtask fuzz [TARGET…] [--seconds N]
                           let libFuzzer search for inputs that break a promise, 60 s a target
cargo xtask sim [--seeds N] [--first N] [--seed N] [--hours H] [--config FILE]
                           run simulated worlds by seed until one breaks a promise
cargo xtask sim --days N   replay a sender's days: how far forecasts of `why` were off
cargo xtask planted [--bug NAME] [--seeds N]
                           each planted mistake must be found by the simulator
cargo xtask image [--twice | --key FILE]
                           build the appliance's disk image; twice, and compare the bytes; or one
                           that takes updates signed with a key, and the update that it is itself
cargo xtask update-key FILE
                           make a key that updates are signed with
cargo xtask appliance-test [FLAG]
                           start it in qemu, send mail through it
  --firmware               with firmware and loader too
  --hardware               with the disks and network cards of servers
  --network                with network settings that lead astray, and on a VLAN
  --control                configured, updated and reset from elsewhere, with a certificate
  --reset                  reset to factory, with the queue and without
  --growth [N]             on a larger disk, its power cut so often while it takes the rest
  --rollback, --faults     install images beside it that fail, and see it come back
  --update                 send it updates, good ones and others
  --update-cuts [N]        cut its power so often during updates and the starts after them
  --soak [SECONDS]         mail at a modest rate for minutes on end
cargo xtask power-cuts [--cuts N] [--seed N]
                           cut its power while mail goes through it, on a disk that forgets
                           what was not flushed; two controls must lose mail
cargo xtask package        build the Debian package, with its unit for systemd
cargo xtask settings       write docs/settings.md anew, from what the program knows of its settings
cargo xtask events         write docs/events.md and docs/events.schema.json anew, from the tables of the log
cargo xtask man            write docs/ringpost.1 anew, from the verbs of the program
cargo xtask map            write the list of files in crates/README.md anew
cargo xtask instructions   count the instructions of the hot pieces anew, with valgrind, into benches/INSTRUCTIONS.md
cargo xtask tables         write the tests named in crates/RFC.md, FAULTS.md and FEATURES.md anew";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test", only @ ..] => test(only),
        ["setup"] => {
            machine::prepare();
            ExitCode::SUCCESS
        }
        ["fuzz", words @ ..] => match fuzz::run(&workspace(), words) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(why) => {
                println!("{why}");
                ExitCode::FAILURE
            }
        },
        ["sim", words @ ..] => simulate(words),
        ["planted", options @ ..] => planted(options),
        ["image", words @ ..] => told("image", image::run(&workspace(), words)),
        ["update-key", file] => told("update-key", image::update::Key::of(Path::new(file)).make()),
        ["appliance-test", words @ ..] => {
            told("appliance-test", appliance_test::run(&workspace(), words))
        }
        ["power-cuts", words @ ..] => told("power-cuts", power_cuts::run(&workspace(), words)),
        ["settings"] => {
            let words = ["config", "help", "--page"];
            told("docs/settings.md", printed(&workspace(), &words, "docs/settings.md"))
        }
        ["events"] => {
            let page = printed(&workspace(), &["log", "events"], "docs/events.md");
            let schema = ["log", "events", "--schema"];
            let both = page.and_then(|_| printed(&workspace(), &schema, "docs/events.schema.json"));
            told("docs/events.md and docs/events.schema.json", both)
        }
        ["man"] => told("docs/ringpost.1", printed(&workspace(), &["man"], "docs/ringpost.1")),
        ["package"] => told("package", package::run(&workspace())),
        ["map"] => told("crates/README.md", map::write(&workspace())),
        ["instructions"] => told("the hot pieces", instructions::write(&workspace())),
        ["tables"] => {
            let counts = tables::write(&workspace());
            told("the tables", counts.map(|counts| print!("{counts}")))
        }
        _ => {
            println!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn test(only: &[&str]) -> ExitCode {
    if let Some(unknown) = only.iter().find(|name| !steps::NAMES.contains(name)) {
        println!("no step is called {unknown}\n{USAGE}");
        return ExitCode::from(2);
    }
    machine::prepare();
    if steps::run(&workspace(), only) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the simulator, built to be fast, with these words.
fn simulate(words: &[&str]) -> ExitCode {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(workspace());
    cargo.args(["run", "--quiet", "--release", "--package", "sim", "--bin", "sim", "--"]);
    match cargo.args(words).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().map_or(1, |code| code.clamp(1, 255) as u8)),
        Err(error) => {
            println!("cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a page that the program itself prints.
fn printed(root: &Path, words: &[&str], page: &str) -> std::io::Result<()> {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(root).args(["run", "--quiet", "--package", "ringpost", "--"]);
    let printed = cargo.args(words).output()?;
    if !printed.status.success() {
        return Err(std::io::Error::other(String::from_utf8_lossy(&printed.stderr).into_owned()));
    }
    std::fs::write(root.join(page), printed.stdout)
}

/// Success, or what went wrong with `what`.
fn told(what: &str, outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{what}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn planted(options: &[&str]) -> ExitCode {
    let (mut bug, mut seeds) = (None, planted::SEEDS);
    for pair in options.chunks(2) {
        match (pair, pair.get(1).and_then(|number| number.parse().ok())) {
            (["--bug", name], _) => bug = Some((*name).to_owned()),
            (["--seeds", _], Some(number)) => seeds = number,
            _ => {
                println!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let found = planted::run(&workspace(), &planted::Search::long(bug, seeds));
    if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The folder that holds `crates/`.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2);
    root.expect("this package lies two folders below the workspace").to_owned()
}
