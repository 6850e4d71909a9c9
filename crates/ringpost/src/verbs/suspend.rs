//! `ringpost suspend`, `resume` and `delivery`: stopping mail that leaves, each
//! verb one request over the control socket.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{ask, text};
use crate::Socket;
use crate::print::Table;

/// `ringpost suspend …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SuspendArgs {
    #[command(subcommand)]
    list: Option<SuspendList>,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost suspend list`
#[derive(Debug, Subcommand)]
pub enum SuspendList {
    /// What is stopped, why, and until when
    List(Socket),
}

/// `ringpost resume …`
#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost delivery …`
#[derive(Debug, Subcommand)]
pub enum DeliveryVerb {
    /// Stop all delivery: mail is taken and kept, nothing leaves
    Stop {
        #[command(flatten)]
        why: WhyArgs,
        #[command(flatten)]
        socket: Socket,
    },
    /// Go on with delivery
    Start(Socket),
}

/// What is meant; one of them.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// Everything that leaves
    #[arg(long)]
    all: bool,
    /// Recipients of this domain, whichever way their mail goes
    #[arg(long)]
    domain: Option<String>,
    /// This site, by the name that `queue list` shows
    #[arg(long)]
    site: Option<String>,
    /// Mail that goes by this route; `default` is the main way
    #[arg(long)]
    route: Option<String>,
    /// Mail that leaves from this source, by its name or one of its addresses
    #[arg(long)]
    source: Option<String>,
}

/// Why and for how long.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Why, for whoever looks at the queue
    #[arg(long)]
    reason: Option<String>,
    /// For this long, such as 2h; without an end it stands until resumed
    #[arg(long = "for", conflicts_with = "until")]
    span: Option<String>,
    /// Until this time, such as 2026-11-22T18:00:00Z
    #[arg(long)]
    until: Option<String>,
}

/// `ringpost suspend …`
pub fn suspend(args: &SuspendArgs) -> ExitCode {
    if let Some(SuspendList::List(socket)) = &args.list {
        return ask(socket, "GET", "/v1/suspensions", None, table);
    }
    post(&args.socket, "/v1/suspend", [args.scope.pairs(), args.why.pairs()].concat())
}

/// `ringpost resume …`
pub fn resume(args: &ResumeArgs) -> ExitCode {
    post(&args.socket, "/v1/resume", args.scope.pairs())
}

/// `ringpost delivery …`
pub fn delivery(verb: &DeliveryVerb) -> ExitCode {
    let all = ("all", json!(true));
    match verb {
        DeliveryVerb::Stop { why, socket } => {
            post(socket, "/v1/suspend", [vec![all], why.pairs()].concat())
        }
        DeliveryVerb::Start(socket) => post(socket, "/v1/resume", vec![all]),
    }
}

type Pair = (&'static str, Value);

fn post(socket: &Socket, path: &str, pairs: Vec<Pair>) -> ExitCode {
    let body: Map<String, Value> =
        pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
    ask(socket, "POST", path, Some(&Value::Object(body)), table)
}

impl ScopeArgs {
    fn pairs(&self) -> Vec<Pair> {
        let all = self.all.then_some(("all", json!(true)));
        let named = [
            ("domain", &self.domain),
            ("site", &self.site),
            ("route", &self.route),
            ("source", &self.source),
        ];
        all.into_iter().chain(given(named)).collect()
    }
}

impl WhyArgs {
    fn pairs(&self) -> Vec<Pair> {
        given([("reason", &self.reason), ("for", &self.span), ("until", &self.until)]).collect()
    }
}

fn given<const N: usize>(
    named: [(&'static str, &Option<String>); N],
) -> impl Iterator<Item = Pair> {
    named.into_iter().filter_map(|(name, value)| Some((name, json!(value.as_deref()?))))
}

fn table(body: &Value) -> String {
    let rows = body["suspensions"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "nothing is suspended\n".into();
    }
    let mut table = Table::new(&["SCOPE", "NAME", "SINCE", "UNTIL", "REASON"]);
    for row in rows {
        table.row(["scope", "name", "since", "until", "reason"].map(|key| text(&row[key])).into());
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_why_and_until_when() {
        let row = json!({ "scope": "domain", "name": "a.example", "since": "now", "until": null,
                          "reason": "their move" });
        let shown = table(&json!({ "suspensions": [row] }));
        assert!(shown.contains("a.example") && shown.contains("their move"), "{shown}");
        assert_eq!(table(&json!({ "suspensions": [] })), "nothing is suspended\n");
    }
}
