//! `ringpost config …`: the configuration in force, changes to it, its history,
//! and what its settings mean.
//!
//! Never edits a text by itself: the daemon does, so that `curl` can do the
//! same.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ask, text};
use crate::Socket;
use crate::client;
use crate::print::{Table, clean_text, put};

/// `ringpost config …`
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum ConfigVerb {
    /// The configuration in force, defaults written out; or the text of a revision
    Show {
        /// This revision, as it was committed
        #[arg(long)]
        revision: Option<u64>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Give a setting a value, to be committed
    Set {
        /// Such as `delivery.retry`, `route[3].hosts`, `route["*.example"].tls`
        path: String,
        /// As TOML; a text may stand without its quotes
        #[arg(allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take a setting out, so that its default holds, to be committed
    Unset {
        /// As with `set`
        path: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take a whole file as what is to be committed
    Propose {
        /// The file
        file: PathBuf,
        /// The revision it was made from; the current one without
        #[arg(long)]
        base: Option<u64>,
        #[command(flatten)]
        socket: Socket,
    },
    /// What would be committed, as a whole
    Candidate(Socket),
    /// What differs: what would be committed from what rules, or between two revisions
    Diff {
        /// The older revision; the current one without
        from: Option<u64>,
        /// The newer one; what would be committed without
        to: Option<u64>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Put what was changed in force
    Commit {
        /// The revision that must be the current one; the one that the change began with without
        #[arg(long)]
        base: Option<u64>,
        /// Wait until no session with a next hop runs
        #[arg(long)]
        when_idle: bool,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        socket: Socket,
    },
    /// Keep the revision that waits for its confirmation
    Confirm {
        /// Its number
        revision: Option<u64>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Drop what was changed and not committed
    Discard(Socket),
    /// Back to an earlier revision; without a number, undo the one that waits for its confirmation
    Rollback {
        /// The revision
        revision: Option<u64>,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        socket: Socket,
    },
    /// The latest revisions: who made them, when and why
    History {
        /// Rows at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        socket: Socket,
    },
    /// What a setting means, what may be written, and what holds without it; needs no daemon
    Help {
        /// A setting or a section; all without one
        #[arg(default_value = "")]
        path: String,
        /// The whole reference as a Markdown page
        #[arg(long)]
        page: bool,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

/// How a revision is made.
#[derive(Debug, Args)]
pub struct Terms {
    /// Why, for the history
    #[arg(long, default_value = "")]
    comment: String,
    /// Undo it after this time, such as 10m, unless `config confirm` comes first
    #[arg(long)]
    confirm: Option<String>,
    /// It changes what only a restart can change, and may wait for one
    #[arg(long)]
    next_start: bool,
}

impl Terms {
    fn body(&self) -> Value {
        let Self { comment, confirm, next_start } = self;
        json!({ "comment": comment, "confirm": confirm, "next_start": next_start })
    }
}

/// `ringpost config …`
pub fn run(verb: &ConfigVerb) -> ExitCode {
    match verb {
        ConfigVerb::Show { revision: None, socket } => {
            ask(socket, "GET", "/v1/config", None, |body| plain(&body["toml"]))
        }
        ConfigVerb::Show { revision: Some(number), socket } => {
            ask(socket, "GET", &format!("/v1/revisions/{number}"), None, |body| {
                plain(&body["text"])
            })
        }
        ConfigVerb::Set { path, value, socket } => {
            edit(socket, &json!({ "set": { "path": path, "value": value } }))
        }
        ConfigVerb::Unset { path, socket } => edit(socket, &json!({ "unset": { "path": path } })),
        ConfigVerb::Propose { file, base, socket } => propose(file, *base, socket),
        ConfigVerb::Candidate(socket) => {
            ask(socket, "GET", "/v1/config/candidate", None, |body| plain(&body["text"]))
        }
        ConfigVerb::Diff { from, to, socket } => {
            let pairs = [("from", from), ("to", to)];
            let named = pairs.iter().filter_map(|(name, n)| n.map(|n| format!("{name}={n}")));
            let query = named.collect::<Vec<_>>().join("&");
            let path = format!("/v1/config/diff?{query}");
            ask(socket, "GET", &path, None, |body| plain(&body["diff"]))
        }
        ConfigVerb::Commit { base, when_idle, terms, socket } => {
            let mut body = terms.body();
            body["base"] = json!(base);
            body["activate"] = json!(if *when_idle { "when-idle" } else { "at-once" });
            ask(socket, "POST", "/v1/config/commit", Some(&body), committed)
        }
        ConfigVerb::Confirm { revision, socket } => {
            let body = json!({ "revision": revision });
            ask(socket, "POST", "/v1/config/confirm", Some(&body), committed)
        }
        ConfigVerb::Discard(socket) => {
            ask(socket, "POST", "/v1/config/discard", None, |body| match body["discarded"] {
                Value::Bool(true) => "discarded\n".to_owned(),
                _ => "nothing was changed\n".to_owned(),
            })
        }
        ConfigVerb::Rollback { revision, terms, socket } => {
            let mut body = terms.body();
            body["revision"] = json!(revision);
            ask(socket, "POST", "/v1/config/rollback", Some(&body), committed)
        }
        ConfigVerb::History { limit, socket } => {
            ask(socket, "GET", &format!("/v1/revisions?limit={limit}"), None, history)
        }
        ConfigVerb::Help { page: true, .. } => printed(&control::help::page()),
        ConfigVerb::Help { path, json, .. } => help(path, *json),
    }
}

/// Changes what is to be committed, and shows what that would change.
pub(super) fn edit(socket: &Socket, edit: &Value) -> ExitCode {
    let body = json!({ "edits": [edit] });
    ask(socket, "POST", "/v1/config/edit", Some(&body), candidate)
}

fn propose(file: &Path, base: Option<u64>, socket: &Socket) -> ExitCode {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{} cannot be read: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    let body = json!({ "text": text, "base": base });
    ask(socket, "PUT", "/v1/config/candidate", Some(&body), candidate)
}

/// What was changed and not committed, with what was found about it.
fn candidate(body: &Value) -> String {
    let mut shown = plain(&body["diff"]);
    if shown.is_empty() {
        shown.push_str("nothing differs from what rules\n");
    }
    for finding in client::findings(body) {
        shown.push_str(&clean_text(&finding));
        shown.push('\n');
    }
    shown
}

pub(super) fn committed(body: &Value) -> String {
    let mut shown = match &body["undone"] {
        Value::Null => format!("revision {}", body["revision"]),
        undone => format!("revision {undone} undone, revision {} rules", body["revision"]),
    };
    if body["revision"] != body["in_force"] {
        let waits = match body["needs_start"].as_array() {
            Some(needed) if !needed.is_empty() => "rules from the next start on",
            _ => "waits until no session runs",
        };
        shown.push_str(&format!(" {waits}, revision {} is", body["in_force"]));
    }
    shown.push_str(" in force");
    if let Some(within) = body["confirm_within"].as_str() {
        shown.push_str(&format!("; undone unless `config confirm` comes within {within}"));
    }
    shown.push('\n');
    for warning in client::findings(body) {
        shown.push_str(&clean_text(&warning));
        shown.push('\n');
    }
    shown.push_str(&refused(&body["refused"]));
    shown
}

/// The orders of a backup that were not taken.
fn refused(refused: &Value) -> String {
    let first = refused["first"].as_array().map_or(&[][..], Vec::as_slice);
    let line = |one: &Value| {
        let said = |key: &str| clean_text(one[key].as_str().unwrap_or_default());
        format!("not set again: {}: {}\n", said("order"), said("error"))
    };
    let mut shown: String = first.iter().map(line).collect();
    let more = refused["count"].as_u64().unwrap_or_default().saturating_sub(first.len() as u64);
    if more > 0 {
        shown.push_str(&format!("and {more} more\n"));
    }
    shown
}

fn history(body: &Value) -> String {
    let headings = ["REVISION", "STATE", "BASE", "TIME", "UID", "PID", "FROM", "COMMENT"];
    let mut table = Table::new(&headings);
    for row in body["revisions"].as_array().into_iter().flatten() {
        let keys = ["revision", "state", "base", "time", "uid", "pid", "origin", "comment"];
        let mut cells = keys.map(|key| text(&row[key]));
        // Who is elsewhere has no user here.
        if let Some(certificate) = row["certificate"].as_str() {
            (cells[4], cells[5]) = ("-".into(), "-".into());
            cells[6] = format!("{} {certificate}", cells[6]);
        }
        table.row(cells.to_vec());
    }
    table.to_text()
}

fn plain(value: &Value) -> String {
    clean_text(value.as_str().unwrap_or_default())
}

/// `ringpost config help`
fn help(path: &str, json: bool) -> ExitCode {
    let found = control::help::below(path);
    if found.is_empty() {
        eprintln!("{path} {}", control::help::unknown(path));
        return ExitCode::from(1);
    }
    if json {
        return printed(&format!("{:#}\n", control::help::to_json(&found)));
    }
    let mut shown = String::new();
    for help in found {
        shown.push_str(&match help.is_section() {
            true => format!("[{}]\n    {}\n\n", help.path, help.meaning),
            false => format!(
                "{}\n    {}\n    values:  {}\n    default: {}{}\n\n",
                help.path,
                help.meaning,
                help.values,
                help.default,
                if help.takes_effect.is_at_start() {
                    "\n    takes effect at the next start"
                } else {
                    ""
                }
            ),
        });
    }
    printed(&shown)
}

fn printed(text: &str) -> ExitCode {
    put(text).map_or_else(|code| code, |()| ExitCode::SUCCESS)
}
