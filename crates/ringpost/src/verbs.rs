//! The verbs that talk to the daemon: each one request over the control
//! socket, printed for a person or, with `--json`, as the daemon said it.

pub mod alerts;
pub mod appliance;
pub mod backup;
pub mod config;
pub mod credentials;
pub mod detail;
pub mod diagnose;
pub mod dns;
pub mod explain;
pub mod hosts;
pub mod log;
pub mod route;
pub mod sessions;
pub mod sinks;
pub mod sites;
pub mod stats;
pub mod support;
pub mod suspend;
pub mod transfer;
pub mod why;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::Socket;
use crate::client::{self, Failure};
use crate::print::{Table, clean, put, span};

/// `ringpost queue …`
#[derive(Debug, Subcommand)]
pub enum QueueVerb {
    /// The sites, domains or messages that wait
    List {
        /// One row per site, domain, route or message
        #[arg(long, default_value = "site")]
        by: String,
        /// Rows at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        socket: Socket,
    },
    /// How old the waiting mail is, as a table by minutes
    Shape(sessions::ShapeArgs),
    /// One message with all its recipients
    Show {
        /// The message's id
        id: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Try now; limits are kept
    Flush(ActArgs),
    /// Keep until released
    Hold(ActArgs),
    /// End a hold
    Release(ActArgs),
    /// Take out of the queue for good, without a report to the sender
    #[command(visible_alias = "purge")]
    Remove(ActArgs),
    /// Give up for good, with the report to the sender that is due
    Bounce(ActArgs),
    /// Write messages into a folder as files, each with its envelope and how far it has come
    Export(transfer::ExportArgs),
    /// Take in files that were exported, here or from another queue
    Import(transfer::ImportArgs),
    /// Send by another route, until routes change or the daemon starts anew
    Reroute {
        /// The route's pattern, or `default`; without it, the route that takes the mail
        #[arg(long)]
        to: Option<String>,
        #[command(flatten)]
        args: ActArgs,
    },
}

/// Which mail is meant.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// One message
    #[arg(long)]
    id: Option<String>,
    /// Recipients of this domain
    #[arg(long)]
    domain: Option<String>,
    /// Mail from this address
    #[arg(long)]
    sender: Option<String>,
    /// Mail to this address
    #[arg(long)]
    recipient: Option<String>,
    /// Destinations of this site
    #[arg(long)]
    site: Option<String>,
    /// Mail that goes by this route, by its pattern; `default` is the main way
    #[arg(long)]
    route: Option<String>,
    /// Mail accepted so long ago or longer, such as 2h
    #[arg(long)]
    older: Option<String>,
    /// deferred, ready, in-flight or held
    #[arg(long)]
    state: Option<String>,
    /// Only mail that an earlier attempt may have delivered
    #[arg(long)]
    in_doubt: bool,
}

/// A change to waiting mail.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// All mail
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Why, for the log, and for the report of a bounce
    #[arg(long)]
    reason: Option<String>,
    /// Only count what would be met
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost status`
pub fn status(socket: &Socket) -> ExitCode {
    ask(socket, "GET", "/v1/status", None, |body| {
        let mut text = String::new();
        lines_of("", body, &mut text);
        text
    })
}

/// `ringpost queue …`
pub fn queue(verb: &QueueVerb) -> ExitCode {
    match verb {
        QueueVerb::List { by, limit, filter, socket } => {
            let mut path = format!("/v1/queue?by={}&limit={limit}", encoded(by));
            for (name, value) in filter.pairs() {
                path.push_str(&format!("&{name}={}", encoded(&value)));
            }
            ask(socket, "GET", &path, None, listing)
        }
        QueueVerb::Show { id, socket } => {
            let path = format!("/v1/queue/{}", encoded(id));
            ask(socket, "GET", &path, None, |body| format!("{body:#}\n"))
        }
        QueueVerb::Shape(args) => sessions::shape(args),
        QueueVerb::Flush(args) => act(args, "flush", None),
        QueueVerb::Hold(args) => act(args, "hold", None),
        QueueVerb::Release(args) => act(args, "release", None),
        QueueVerb::Remove(args) => act(args, "remove", None),
        QueueVerb::Bounce(args) => act(args, "bounce", None),
        QueueVerb::Export(args) => transfer::export(args),
        QueueVerb::Import(args) => transfer::import(args),
        QueueVerb::Reroute { to, args } => act(args, "reroute", to.as_deref()),
    }
}

fn act(args: &ActArgs, word: &str, to: Option<&str>) -> ExitCode {
    let mut body: Map<String, Value> =
        args.filter.pairs().into_iter().map(|(name, value)| (name.into(), json!(value))).collect();
    if args.filter.in_doubt {
        body.insert("in_doubt".into(), json!(true));
    }
    if args.all {
        body.insert("all".into(), json!(true));
    }
    if args.dry_run {
        body.insert("dry_run".into(), json!(true));
    }
    let said = [("reason", args.reason.as_deref()), ("to", to)];
    body.extend(said.into_iter().filter_map(|(name, value)| Some((name.into(), json!(value?)))));
    let path = format!("/v1/queue/{word}");
    let met = if args.dry_run { " would be met" } else { "" };
    ask(&args.socket, "POST", &path, Some(&Value::Object(body)), |answer| {
        format!("{} recipients{met}\n", answer["recipients"])
    })
}

impl FilterArgs {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        [
            text("id", &self.id),
            text("domain", &self.domain),
            text("sender", &self.sender),
            text("recipient", &self.recipient),
            text("site", &self.site),
            text("route", &self.route),
            text("older", &self.older),
            text("state", &self.state),
            self.in_doubt.then(|| ("in_doubt", "true".into())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Sends a request and prints the answer; the exit code says how it went.
pub fn ask(
    socket: &Socket,
    method: &str,
    path: &str,
    body: Option<&Value>,
    show: impl Fn(&Value) -> String,
) -> ExitCode {
    answered(socket, method, path, body, show).map_or_else(|code| code, |_| ExitCode::SUCCESS)
}

/// The same for verbs whose exit code depends on the answer.
///
/// # Errors
/// The exit code, where there is no answer.
pub fn answered(
    socket: &Socket,
    method: &str,
    path: &str,
    body: Option<&Value>,
    show: impl Fn(&Value) -> String,
) -> Result<Value, ExitCode> {
    let failure = match client::request(&socket.at(), method, path, body) {
        Ok(answer) => {
            let shown = if socket.json { format!("{answer:#}\n") } else { show(&answer) };
            return put(&shown).map(|()| answer);
        }
        Err(failure) => failure,
    };
    Err(told(failure))
}

/// Says what went wrong; gives its exit code.
pub fn told(failure: Failure) -> ExitCode {
    match failure {
        Failure::NotThere(why) => {
            eprintln!("no daemon answers: {why}");
            ExitCode::from(3)
        }
        Failure::Refused(404, why) => {
            eprintln!("{why}");
            ExitCode::from(1)
        }
        Failure::Refused(_, why) => {
            eprintln!("refused: {why}");
            ExitCode::from(4)
        }
        Failure::Garbled(why) => {
            eprintln!("{why}");
            ExitCode::from(70)
        }
        Failure::Misuse(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
        Failure::Unproved(why) => {
            eprintln!("{why}");
            ExitCode::from(5)
        }
    }
}

fn listing(body: &Value) -> String {
    let rows = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    if body.get("messages").is_some() {
        let headings = ["ID", "STATE", "TRIES", "RECIPIENT", "NEXT", "DOUBT", "LAST ANSWER"];
        let mut table = Table::new(&headings);
        for row in rows("messages") {
            table.row(vec![
                text(&row["id"]),
                text(&row["state"]),
                text(&row["attempts"]),
                text(&row["recipient"]),
                text(&row["next_attempt"]),
                text(&row["in_doubt"]),
                text(&row["last_answer"]),
            ]);
        }
        return table.to_text();
    }
    let key = ["domains", "routes", "sites"].into_iter().find(|key| body.get(key).is_some());
    let headings =
        ["NAME", "COUNT", "READY", "DEFERRED", "HELD", "OLDEST", "NEXT", "STATE", "REASON"];
    let mut table = Table::new(&headings);
    for row in rows(key.unwrap_or_default()) {
        table.row(vec![
            text(&row["name"]),
            text(&row["count"]),
            text(&row["ready"]),
            text(&row["deferred"]),
            text(&row["held"]),
            text(&row["oldest"]),
            text(&row["next_attempt"]),
            text(&row["state"]),
            text(&row["reason"]),
        ]);
    }
    table.to_text()
}

pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `key value` lines, nested keys joined by dots.
fn lines_of(prefix: &str, value: &Value, out: &mut String) {
    let Value::Object(map) = value else {
        let shown = match (prefix, value.as_u64()) {
            ("uptime_ms", Some(ms)) => span(ms),
            _ => text(value),
        };
        out.push_str(&format!("{:<32} {}\n", prefix, clean(&shown)));
        return;
    };
    for (key, value) in map {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        lines_of(&path, value, out);
    }
}

/// Percent-encodes what is not a letter, digit or one of `-._~`.
pub fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_encoded() {
        assert_eq!(encoded("a b@c.example"), "a%20b%40c.example");
        assert_eq!(encoded("ü"), "%C3%BC");
    }

    #[test]
    fn status_reads_as_lines() {
        let mut out = String::new();
        lines_of("", &json!({ "uptime_ms": 61_000, "recipients": { "ready": 3 } }), &mut out);
        assert!(out.contains("recipients.ready"), "{out}");
        assert!(out.contains("1m1s"), "{out}");
    }

    #[test]
    fn a_listing_is_a_table_of_sites_or_messages() {
        let sites = json!({ "sites": [{ "name": "mx:a", "count": 3, "state": "up" }] });
        assert!(listing(&sites).contains("mx:a"));
        let messages = json!({ "messages": [{ "id": "0abc", "state": "held", "in_doubt": true }] });
        assert!(listing(&messages).contains("held"));
    }
}
