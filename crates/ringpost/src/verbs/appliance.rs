//! `ringpost appliance …`: the machine, where it is an appliance: how it is, its
//! updates, its network, a restart, a begin anew.
//!
//! Waits for what comes of an order, for a while: the machine goes away meanwhile,
//! and comes back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use control::Span;
use serde_json::{Value, json};

use super::{ask, text, told};
use crate::Socket;
use crate::client::{self, Failure};
use crate::print::{clean, clean_text, put};
use crate::remote::At;

/// `ringpost appliance …`
#[derive(Debug, Subcommand)]
pub enum ApplianceVerb {
    /// Version, start, addresses, what became of orders
    Status(Socket),
    /// Send an update and wait until it runs, or did not: exit 0, or 1
    Update {
        /// The file, as `cargo xtask image --key` makes it
        file: PathBuf,
        /// Do not wait for what becomes of it
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        socket: Socket,
    },
    /// Its network
    #[command(subcommand)]
    Network(NetworkVerb),
    /// Begin anew, as if nothing had been set
    Reset(ResetArgs),
    /// Start the machine anew; what is under way is finished first
    Restart(Socket),
}

/// `ringpost appliance network …`
#[derive(Debug, Subcommand)]
pub enum NetworkVerb {
    /// The settings in force
    Show(Socket),
    /// Try a network.conf, which is undone unless `network confirm` comes in time
    Set {
        /// The file
        file: PathBuf,
        /// In this time, 10s to 1h
        #[arg(long)]
        confirm: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// The settings on trial are right
    Confirm(Socket),
}

/// Arguments of `appliance reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// What becomes of mail that waits
    #[arg(long)]
    queue: Queue,
    /// The daemon's host name, so that it is the right one
    #[arg(long)]
    name: String,
    #[command(flatten)]
    socket: Socket,
}

/// What becomes of mail that waits.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Queue {
    Keep,
    Delete,
}

/// How long is waited for an update: checked, put beside the other, started,
/// found good.
const UPDATE_TIME: Duration = Duration::from_secs(15 * 60);
/// How long for settings of the network to be on trial, or in force.
const NETWORK_TIME: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks after which an outcome that says what the one before said is the new one.
const SAME_OUTCOME_LOOKS: u32 = 5;
const NETWORK_BYTES_MAX: u64 = 64 << 10;

/// `ringpost appliance …`
pub fn run(verb: &ApplianceVerb) -> ExitCode {
    match verb {
        ApplianceVerb::Status(socket) => ask(socket, "GET", "/v1/appliance", None, status),
        ApplianceVerb::Update { file, no_wait, socket } => {
            concluded(update(&socket.at(), file, !*no_wait))
        }
        ApplianceVerb::Network(verb) => network(verb),
        ApplianceVerb::Reset(args) => {
            let queue = if matches!(args.queue, Queue::Keep) { "keep" } else { "delete" };
            let body = json!({ "queue": queue, "host": args.name });
            ask(&args.socket, "POST", "/v1/appliance/reset", Some(&body), |_| {
                "the machine starts anew, without what was set\n".into()
            })
        }
        ApplianceVerb::Restart(socket) => {
            ask(socket, "POST", "/v1/appliance/restart", None, |_| {
                "the machine starts anew\n".into()
            })
        }
    }
}

fn network(verb: &NetworkVerb) -> ExitCode {
    match verb {
        NetworkVerb::Show(socket) => ask(socket, "GET", "/v1/appliance", None, |state| {
            let mut shown = clean_text(state["network_file"].as_str().unwrap_or_default());
            if !shown.ends_with('\n') && !shown.is_empty() {
                shown.push('\n');
            }
            if shown.is_empty() {
                shown = format!("# no network.conf: {}\n", clean(&text(&state["network"])));
            }
            if let Some(until) = state["network_trial_until"].as_str() {
                shown.push_str(&format!("# on trial until {until}\n"));
            }
            shown
        }),
        NetworkVerb::Set { file, confirm, socket } => {
            concluded(network_set(&socket.at(), file, confirm))
        }
        NetworkVerb::Confirm(socket) => concluded(network_confirm(&socket.at())),
    }
}

/// An update that was sent.
struct Awaited {
    /// The state before it was.
    before: Value,
    /// It was told that the machine starts anew for it.
    is_installed: bool,
    /// How often it was seen that the update had been taken up.
    looks: u32,
}

/// What an order came to: good, or not, in a sentence.
type Outcome = Result<(bool, String), Failure>;

fn concluded(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok((good, said)) => {
            let come = if good { ExitCode::SUCCESS } else { ExitCode::from(1) };
            put(&format!("{}\n", clean(&said))).map_or_else(|code| code, |()| come)
        }
        Err(failure) => told(failure),
    }
}

fn update(at: &At, file: &Path, waits: bool) -> Outcome {
    let unreadable =
        |error: std::io::Error| Failure::Misuse(format!("{}: {error}", file.display()));
    let mut opened = File::open(file).map_err(unreadable)?;
    let bytes = opened.metadata().map_err(unreadable)?.len();
    let before = state(at)?;
    client::send(at, "PUT", "/v1/appliance/update", &mut opened, bytes)?;
    if !waits {
        return Ok((true, "sent; `appliance status` tells what became of it".into()));
    }
    eprintln!("sent; it is being checked");
    let mut awaited = Awaited { before, is_installed: false, looks: 0 };
    watched(at, UPDATE_TIME, |seen| awaited.judge(seen.ok()?))
}

impl Awaited {
    /// What a state says of it, once that is clear.
    fn judge(&mut self, seen: &Value) -> Option<(bool, String)> {
        if has(&seen["waiting"], "update") {
            return None;
        }
        self.looks += 1;
        let is_started_anew = seen["boot_id"] != self.before["boot_id"];
        let is_new = seen["update_outcome"] != self.before["update_outcome"];
        if !(is_started_anew || is_new || self.looks >= SAME_OUTCOME_LOOKS) {
            return None;
        }
        // Kept over the start: nobody may have looked between the two.
        let outcome = text(&seen["update_outcome"]);
        let installed = outcome.strip_prefix("installed: ");
        // Power went before the update was taken away: it was looked at twice.
        let twice = outcome.strip_prefix("runs already: ").filter(|_| is_started_anew);
        let Some(version) = installed.or(twice) else { return Some((false, outcome)) };
        let running = text(&seen["version"]);
        match (is_started_anew, running == version) {
            (true, true) => (seen["blessed"] == true)
                .then(|| (true, format!("version {running} runs, and is found good"))),
            (true, false) => {
                let why = format!("version {version} did not become good: {running} runs again");
                Some((false, why))
            }
            (false, _) => {
                if !self.is_installed {
                    eprintln!("installed; the machine starts anew with version {version}");
                    self.is_installed = true;
                }
                None
            }
        }
    }
}

fn network_set(at: &At, file: &Path, confirm: &str) -> Outcome {
    let unreadable = |why: String| Failure::Misuse(format!("{}: {why}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if size > NETWORK_BYTES_MAX {
        return Err(unreadable("it is no network.conf: it is too large".into()));
    }
    let settings = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    if let Err(why) = confirm.parse::<Span>() {
        return Err(Failure::Misuse(format!("--confirm {confirm:?} {why}")));
    }
    let before = state(at)?;
    let body = json!({ "text": settings, "confirm": confirm });
    client::request(at, "PUT", "/v1/appliance/network", Some(&body))?;
    let mut looks = 0;
    let outcome = watched(at, NETWORK_TIME, |seen| {
        let Ok(seen) = seen else { return None };
        let is_taken = !has(&seen["waiting"], "network");
        looks += u32::from(is_taken);
        let new =
            ["network_outcome", "network_trial_until"].iter().any(|key| seen[*key] != before[*key]);
        if !is_taken || !(new || looks >= SAME_OUTCOME_LOOKS) {
            return None;
        }
        Some(match seen["network"] == "trial" {
            true => (
                true,
                format!(
                    "on trial; undone unless `appliance network confirm` comes within {confirm}"
                ),
            ),
            false => (false, text(&seen["network_outcome"])),
        })
    });
    match outcome {
        Err(Failure::NotThere(_)) => Ok((
            true,
            format!(
                "it does not answer here any more; if it does at its new address, say `appliance \
                 network confirm --host ADDRESS` within {confirm}, else it comes back by itself"
            ),
        )),
        other => other,
    }
}

fn network_confirm(at: &At) -> Outcome {
    client::request(at, "POST", "/v1/appliance/network/confirm", None)?;
    watched(at, NETWORK_TIME, |seen| {
        let seen = seen.ok().filter(|seen| !has(&seen["waiting"], "network confirm"))?;
        (seen["network"] != "trial").then(|| (true, text(&seen["network_outcome"])))
    })
}

fn state(at: &At) -> Result<Value, Failure> {
    client::request(at, "GET", "/v1/appliance", None)
}

/// Looks again and again until `judge` knows what came of it.
///
/// # Errors
/// It never did: the last failure, or that time is over.
fn watched(
    at: &At,
    time: Duration,
    mut judge: impl FnMut(Result<&Value, &Failure>) -> Option<(bool, String)>,
) -> Outcome {
    let until = Instant::now() + time;
    loop {
        let seen = state(at);
        if let Some(outcome) = judge(seen.as_ref()) {
            return Ok(outcome);
        }
        if Instant::now() >= until {
            let late =
                "nothing was heard of it in time; `appliance status` tells what became of it";
            return seen.map(|_| (false, late.into()));
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|words| words.iter().any(|it| it == word))
}

fn status(state: &Value) -> String {
    let mut shown = String::new();
    let rows = [
        ("version", "version"),
        ("image", "image"),
        ("found good", "blessed"),
        ("started", "booted_at"),
        ("network", "network"),
        ("on trial until", "network_trial_until"),
        ("network, last", "network_outcome"),
        ("update, last", "update_outcome"),
        ("reset, last", "reset_outcome"),
        ("last panic", "last_panic_at"),
        ("clock off by ms", "clock_error_ms"),
        ("watchdog", "watchdog"),
    ];
    let list = |key: &str| {
        let words = state[key].as_array().into_iter().flatten().map(text);
        words.collect::<Vec<_>>().join(", ")
    };
    for (name, key) in rows {
        let value = match &state[key] {
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            other => text(other),
        };
        shown.push_str(&format!("{name:<16} {}\n", clean(&value)));
    }
    for (name, key) in [("addresses", "addresses"), ("waiting orders", "waiting")] {
        shown.push_str(format!("{name:<16} {}", clean(&list(key))).trim_end());
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine has two seconds between an update's installation and its start
    /// with it. Whoever did not look in these, as over a line that stood still,
    /// was once told that the update was good when the version before it ran again.
    #[test]
    fn an_update_that_fell_back_is_not_good_even_if_nobody_saw_it_installed() {
        let state = |boot: &str, version: &str, outcome: Value| {
            json!({ "boot_id": boot, "version": version, "blessed": version == "1.0.0",
                    "update_outcome": outcome, "waiting": [] })
        };
        let awaited = || {
            let before = state("one", "1.0.0", Value::Null);
            Awaited { before, is_installed: false, looks: 0 }
        };
        let fell_back = state("two", "1.0.0", json!("installed: 1.1.0"));
        let (good, said) = awaited().judge(&fell_back).unwrap();
        assert!(!good && said.contains("1.1.0 did not become good: 1.0.0 runs"), "{said}");
        // It runs; whether it is good shows later.
        let mut runs = state("two", "1.1.0", json!("installed: 1.1.0"));
        assert_eq!(awaited().judge(&runs), None);
        runs["blessed"] = json!(true);
        assert!(awaited().judge(&runs).is_some_and(|(good, _)| good));
        runs["update_outcome"] = json!("runs already: 1.1.0");
        assert!(awaited().judge(&runs).is_some_and(|(good, _)| good));
        // Power went before anybody had looked at it; then it was refused.
        let mut waits = state("two", "1.0.0", Value::Null);
        waits["waiting"] = json!(["update"]);
        assert_eq!(awaited().judge(&waits), None);
        let refused = awaited().judge(&state("two", "1.0.0", json!("refused: not signed")));
        assert_eq!(refused, Some((false, "refused: not signed".into())));
    }

    #[test]
    fn a_state_reads_as_lines() {
        let state = json!({ "version": "1.4.0", "blessed": true, "addresses": ["192.0.2.1", "::1"],
                            "waiting": [], "network_outcome": "a\u{1b}b" });
        let shown = status(&state);
        assert!(shown.contains("version          1.4.0\nimage            -\n"), "{shown}");
        assert!(shown.contains("found good       yes\n"), "{shown}");
        assert!(shown.contains("addresses        192.0.2.1, ::1\nwaiting orders\n"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}
