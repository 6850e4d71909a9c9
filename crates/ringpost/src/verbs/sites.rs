//! `ringpost sites`: how each site fares: whether it answers, what waits for
//! it, what it took of late.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{ask, encoded, text};
use crate::Socket;
use crate::print::Table;

/// Arguments of `sites`.
#[derive(Debug, Args)]
pub struct SitesArgs {
    /// Those with this in their name
    name: Option<String>,
    /// Those in this state: up, down, probing, paused, suspended, looking up, look-up failed, rejected or waiting
    #[arg(long)]
    state: Option<String>,
    /// Those without waiting mail, too
    #[arg(long)]
    all: bool,
    /// count, name, ready, deferred, held, in_flight, connections, oldest, state, delivered or failed
    #[arg(long, default_value = "count")]
    sort: String,
    /// Rows at most
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// So many are passed over; with the limit at most 10000
    #[arg(long, default_value_t = 0)]
    offset: u32,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost sites`
pub fn run(args: &SitesArgs) -> ExitCode {
    ask(&args.socket, "GET", &args.path(), None, |body| table(body, args.offset))
}

impl SitesArgs {
    fn path(&self) -> String {
        let Self { sort, limit, offset, .. } = self;
        let mut path = format!("/v1/sites?sort={}&limit={limit}&offset={offset}", encoded(sort));
        for (key, value) in [("name", &self.name), ("state", &self.state)] {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", encoded(value)));
            }
        }
        if self.all {
            path.push_str("&all=true");
        }
        path
    }
}

const HEADINGS: [&str; 10] = [
    "SITE",
    "STATE",
    "CONN",
    "QUEUED",
    "DEFERRED",
    "DELIVERED",
    "FAILED",
    "TLS",
    "NEXT",
    "LAST ANSWER",
];

fn table(body: &Value, offset: u32) -> String {
    let rows = body["sites"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(&HEADINGS);
    for row in rows {
        let connections = format!("{}/{}", row["connections"], text(&row["connections_max"]));
        table.row(vec![
            text(&row["name"]),
            state(row),
            connections,
            text(&row["count"]),
            text(&row["deferred"]),
            text(&row["delivered"]),
            text(&row["failed"]),
            text(&row["tls"]),
            text(&row["next_attempt"]),
            text(&row["reason"]),
        ]);
    }
    let last = offset as usize + rows.len();
    let first = last.min(offset as usize + 1);
    let page = format!("{first} to {last} of {}; delivered and failed", body["total"]);
    format!("{}{page} are of the last ten minutes\n", table.to_text())
}

/// The state with its times: a site that fails, and one that waits for a time.
fn state(row: &Value) -> String {
    let mut shown = text(&row["state"]);
    for (key, word) in [("since", "since"), ("until", "until")] {
        if let Some(at) = row[key].as_str() {
            shown.push_str(&format!(" {word} {at}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_site_is_a_row_with_its_state_and_last_words() {
        let down = json!({ "name": "mx:a", "state": "down", "since": "10:00", "until": "10:05",
                           "connections": 1, "connections_max": 20, "count": 7, "deferred": 4,
                           "delivered": 5, "failed": 6, "tls": "TLSv1.3", "next_attempt": null,
                           "reason": "421 come back" });
        let hop = json!({ "name": "new.example", "state": "looking up", "connections": 0 });
        let body = json!({ "sites": [down, hop], "total": 42 });
        let shown = table(&body, 40);
        assert!(shown.contains("down since 10:00 until 10:05  1/20  7"), "{shown}");
        assert!(shown.contains("421 come back") && shown.contains("0/-"), "{shown}");
        assert!(shown.contains("41 to 42 of 42;"), "{shown}");
        let shown = table(&json!({ "sites": [], "total": 0 }), 0);
        assert!(shown.contains("0 to 0 of 0;"), "{shown}");
    }
}
