//! `ringpost sessions …`, `ringpost limits` and `ringpost queue shape`: who is
//! connected, which limit binds where, how old the waiting mail is.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ask, encoded, text};
use crate::Socket;
use crate::print::{Table, span};

/// `ringpost sessions …`
#[derive(Debug, Subcommand)]
pub enum SessionsVerb {
    /// Sessions with clients and next hops, the oldest first
    List {
        /// Rows of each shard at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        socket: Socket,
    },
    /// Cut one session; mail under way is tried again
    Abort {
        /// Its name, as the list shows it
        session: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// Arguments of `limits`.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// Rows of each shard at most
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    socket: Socket,
}

/// Arguments of `queue shape`.
#[derive(Debug, Args)]
pub struct ShapeArgs {
    /// One row per site, domain or route
    #[arg(long, default_value = "site")]
    by: String,
    /// Rows at most
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost sessions …`
pub fn run(verb: &SessionsVerb) -> ExitCode {
    match verb {
        SessionsVerb::List { limit, socket } => {
            ask(socket, "GET", &format!("/v1/sessions?limit={limit}"), None, table)
        }
        SessionsVerb::Abort { session, socket } => {
            let body = json!({ "session": session });
            ask(socket, "POST", "/v1/sessions/abort", Some(&body), |answer| {
                format!("{} is cut\n", text(&answer["session"]))
            })
        }
    }
}

/// `ringpost limits`
pub fn limits(args: &LimitsArgs) -> ExitCode {
    let path = format!("/v1/limits?limit={}", args.limit);
    ask(&args.socket, "GET", &path, None, limits_table)
}

/// `ringpost queue shape`
pub fn shape(args: &ShapeArgs) -> ExitCode {
    let path = format!("/v1/queue?by={}&limit={}", encoded(&args.by), args.limit);
    ask(&args.socket, "GET", &path, None, shape_table)
}

fn rows<'v>(body: &'v Value, key: &str) -> &'v [Value] {
    body[key].as_array().map_or(&[], Vec::as_slice)
}

fn table(body: &Value) -> String {
    let mut table =
        Table::new(&["SESSION", "WAY", "PEER", "PHASE", "AGE", "BYTES", "SENT", "MESSAGE"]);
    for row in rows(body, "sessions") {
        table.row(vec![
            text(&row["session"]),
            text(&row["way"]),
            text(&row["peer"]),
            text(&row["phase"]),
            span(row["age_ms"].as_u64().unwrap_or(0)),
            text(&row["bytes"]),
            text(&row["messages"]),
            text(&row["message"]),
        ]);
    }
    format!("{}{} in, {} out\n", table.to_text(), body["in"], body["out"])
}

fn limits_table(body: &Value) -> String {
    let mut table =
        Table::new(&["SITE", "SHARD", "READY", "OUT", "LIMIT", "SHOWN", "RATE", "BINDS", "EMPTY"]);
    for row in rows(body, "queues") {
        let limits = &row["limits"];
        table.row(vec![
            text(&row["site"]),
            text(&row["shard"]),
            text(&row["ready"]),
            text(&limits["connections_out"]),
            text(&limits["connections"]),
            text(&limits["connections_by_experience"]),
            text(&limits["rate"]),
            text(&row["cause"]),
            row["drained_in_ms"].as_u64().map_or_else(|| "-".into(), span),
        ]);
    }
    table.to_text()
}

/// Upper bounds of the columns in minutes, as the daemon counts them.
const BOUNDS: [u32; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1_280];

fn shape_table(body: &Value) -> String {
    let mut headings = vec!["NAME".to_owned(), "COUNT".to_owned()];
    headings.extend(BOUNDS.map(|bound| bound.to_string()));
    headings.push(format!("{}+", BOUNDS[BOUNDS.len() - 1]));
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    let key = ["sites", "domains", "routes"].into_iter().find(|key| body[*key].is_array());
    for row in rows(body, key.unwrap_or("sites")) {
        let ages = &row["ages"];
        let mut cells = vec![text(&row["name"]), text(&row["count"])];
        cells.extend(BOUNDS.map(|bound| text(&ages[format!("under_{bound}m")])));
        cells.push(text(&ages["older"]));
        table.row(cells);
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_told_by_name_and_phase() {
        let row = json!({ "session": "6740a1b2-0-17", "way": "out", "phase": "EHLO",
                          "age_ms": 61_000, "peer": "mx.a [192.0.2.1]" });
        let shown = table(&json!({ "sessions": [row], "in": 0, "out": 1 }));
        assert!(shown.contains("6740a1b2-0-17") && shown.contains("1m1s"), "{shown}");
        assert!(shown.ends_with("0 in, 1 out\n"), "{shown}");
    }

    #[test]
    fn limits_and_ages_are_tables() {
        let limits = json!({ "connections_out": 20, "connections": 20 });
        let row = json!({ "site": "mx:a", "cause": "connections", "limits": limits });
        assert!(limits_table(&json!({ "queues": [row] })).contains("connections"));
        let row = json!({ "name": "mx:a", "count": 7, "ages": { "under_5m": 3, "older": 4 } });
        let shown = shape_table(&json!({ "sites": [row] }));
        assert!(shown.contains("1280+"), "{shown}");
        assert!(shown.trim_end().ends_with('4'), "{shown}");
    }
}
