//! `planted`: runs seeds with a planted mistake until something finds it; the
//! hand of `cargo xtask planted`, which builds this with the switch.
//!
//! Says the seed before each run. What a seed shows without the mistake too is
//! no find. Exit codes: 0 for a hunt, whatever its last lines say, 2 wrong usage
//! or built without the switch.

#![expect(clippy::disallowed_macros, reason = "the program around the pure room")]
#![expect(clippy::print_stdout, reason = "a program that another one reads")]

use std::process::ExitCode;

const USAGE: &str = "planted list | planted NAME|none FIRST END";

#[cfg(not(planted))]
fn main() -> ExitCode {
    println!("{USAGE}\nbuilt without the switch: use cargo xtask planted");
    ExitCode::from(2)
}

#[cfg(planted)]
#[expect(clippy::disallowed_methods, reason = "the program around the pure room")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["list"] => Some(hunt::list()),
        [name, first, end] => hunt::of(name, first, end),
        _ => None,
    };
    done.unwrap_or_else(|| {
        println!("{USAGE}");
        ExitCode::from(2)
    })
}

#[cfg(planted)]
mod hunt {
    use std::panic::{catch_unwind, set_hook};
    use std::process::ExitCode;

    use base::planted::{Bug, met, plant};
    use sim::run::{Options, run};

    /// Every mistake: name, promise, words.
    pub fn list() -> ExitCode {
        for bug in Bug::ALL {
            println!("{}\t{}\t{}", bug.name(), bug.promise(), bug.what());
        }
        ExitCode::SUCCESS
    }

    /// Hunts for one, or for any that nobody planted.
    pub fn of(name: &str, first: &str, end: &str) -> Option<ExitCode> {
        let (first, end): (u64, u64) = (first.parse().ok()?, end.parse().ok()?);
        let bug = Bug::ALL.iter().copied().find(|bug| bug.name() == name);
        if bug.is_none() && name != "none" {
            return None;
        }
        set_hook(Box::new(|_| {}));
        for seed in first..end {
            println!("seed\t{seed}");
            let found = breach(bug, seed);
            if bug.is_some() {
                println!("met\t{}", met());
            }
            let spoilt = found.is_some() && bug.is_some() && breach(None, seed).is_some();
            if let (Some(by), false) = (found, spoilt) {
                println!("found\t{by}");
                break;
            }
        }
        Some(ExitCode::SUCCESS)
    }

    /// What one run shows: a broken promise, or a broken invariant.
    fn breach(bug: Option<Bug>, seed: u64) -> Option<String> {
        plant(bug);
        match catch_unwind(|| run(seed, &Options::default()).breach) {
            Ok(breach) => breach.map(|breach| format!("{}: {}", breach.oracle, breach.what)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied());
                Some(format!("assertion: {}", text.unwrap_or("without words")))
            }
        }
    }
}
