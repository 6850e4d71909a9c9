//! `ringpost why WHAT`: why mail is where it is, and when it goes on.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{ask, encoded, text};
use crate::Socket;
use crate::print::{clean, span};

/// Which mail is meant.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A message's id, a recipient's address, a domain, or a site
    what: String,
    /// Rows of each shard at most
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost why WHAT`
pub fn run(args: &WhyArgs) -> ExitCode {
    let path = format!("/v1/why?of={}&limit={}", encoded(&args.what), args.limit);
    ask(&args.socket, "GET", &path, None, page)
}

fn page(body: &Value) -> String {
    let rows = |key: &str| body[key].as_array().map_or(&[][..], Vec::as_slice).iter();
    let parts: Vec<String> =
        rows("recipients").map(recipient).chain(rows("queues").map(queue)).collect();
    parts.join("\n")
}

fn recipient(row: &Value) -> String {
    let mut part = format!("{} to {}\n", text(&row["id"]), clean(&text(&row["recipient"])));
    let mut line = |name: &str, value: String| {
        part.push_str(&format!("  {name:<13} {}\n", clean(&value)));
    };
    let attempts = &row["attempts"];
    line("state", format!("{}, {attempts} attempts, shard {}", text(&row["state"]), row["shard"]));
    causes(row, &mut line);
    for name in ["last_answer", "last_host", "route", "site", "source"] {
        if !row[name].is_null() {
            line(&name.replace('_', " "), text(&row[name]));
        }
    }
    let limits = &row["limits"];
    if !limits.is_null() {
        let (out, most) = (&limits["connections_out"], &limits["connections"]);
        line("connections", format!("{out}/{most}, {} of this shard", limits["connections_here"]));
    }
    line("expires", text(&row["expires"]));
    part
}

fn queue(row: &Value) -> String {
    let name = if row["name"].is_null() { &row["site"] } else { &row["name"] };
    let mut part = format!("{}, shard {}\n", clean(&text(name)), row["shard"]);
    let mut line = |name: &str, value: String| {
        part.push_str(&format!("  {name:<13} {}\n", clean(&value)));
    };
    for state in ["ready", "deferred", "in_flight", "held"] {
        line(&state.replace('_', " "), text(&row[state]));
    }
    causes(row, &mut line);
    line("per hour", text(&row["per_hour"]));
    if !row["tried"].is_null() {
        line("all tried", text(&row["tried"]));
    }
    let drained = match row["drained_in_ms"].as_u64() {
        Some(ms) => format!("{}, in {}", text(&row["drained"]), span(ms)),
        None => "nobody can say".into(),
    };
    line("empty", drained);
    part
}

/// What binds, the time it leads to, and what else holds.
fn causes(row: &Value, line: &mut impl FnMut(&str, String)) {
    line("because", format!("{}: {}", text(&row["cause"]), text(&row["because"])));
    let next = match row["next_attempt"].as_str() {
        Some(at) => at.to_owned(),
        None => "when somebody lets it go".into(),
    };
    line("next attempt", next);
    let chain = row["chain"].as_array().map_or(&[][..], Vec::as_slice);
    for link in chain.iter().filter(|link| link["words"] != row["because"]) {
        line("besides", format!("{}: {}", text(&link["cause"]), text(&link["words"])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_names_what_binds_first_and_the_rest_besides() {
        let row = json!({
            "id": "0abc", "recipient": "b@a.example", "state": "deferred", "attempts": 2,
            "shard": 1, "cause": "site-down", "because": "no host answers: refused",
            "next_attempt": "2026-01-01T00:00:00.000Z",
            "chain": [
                { "cause": "back-off", "words": "451 later" },
                { "cause": "site-down", "words": "no host answers: refused" },
            ],
        });
        let shown = page(&json!({ "recipients": [row], "queues": [] }));
        assert!(shown.contains("because       site-down: no host answers"), "{shown}");
        assert!(shown.contains("besides       back-off: 451 later"), "{shown}");
        assert_eq!(shown.matches("no host answers").count(), 1, "{shown}");
    }

    #[test]
    fn a_queue_says_when_it_is_empty() {
        let tried = "2026-01-01T00:00:00.000Z";
        let row =
            json!({ "name": "a.example", "shard": 0, "drained_in_ms": 61_000, "tried": tried });
        let shown = page(&json!({ "queues": [row] }));
        assert!(shown.contains("in 1m1s") && shown.contains(tried), "{shown}");
    }
}
