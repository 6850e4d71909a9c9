//! `ringpost explain ADDRESS`: where mail to an address goes, why, and what
//! keeps it from going.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{ask, encoded, text};
use crate::Socket;
use crate::print::{Table, clean};

/// Whose mail is meant.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A recipient's address
    address: String,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost explain ADDRESS`
pub fn run(args: &ExplainArgs) -> ExitCode {
    let path = format!("/v1/explain?address={}", encoded(&args.address));
    ask(&args.socket, "GET", &path, None, page)
}

fn page(body: &Value) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: &Value| {
        page.push_str(&format!("{name:<14} {}\n", clean(&text(value))));
    };
    line("address", &body["policy"]["address"]);
    line("route", &body["policy"]["route"]);
    line("because", &body["policy"]["because"]);
    let local = &body["policy"]["local"];
    if !local.is_null() {
        line("decision", &local["decision"]);
        for address in local["passed_to"].as_array().into_iter().flatten() {
            line("passed to", address);
        }
    }
    line("next hop", &body["next_hop"]);
    line("site", &body["site"]);
    line("source", &body["source"]);
    for state in ["ready", "deferred", "in_flight", "held"] {
        line(state, &body["waiting"][state]);
    }
    line("schedule", &schedule(&body["schedule"]));
    if !body["link"].is_null() {
        line("link", &body["link"]["state"]);
    }
    line("suspension", &body["suspension"]);
    line("blocker", &body["blocker"]);
    line("not before", &body["not_before"]);
    let forecast = &body["forecast"];
    if !forecast.is_null() {
        // Of mail that came now.
        line("next attempt", &forecast["next_attempt"]);
        line("by reason of", &forecast["because"]);
    }
    for (name, value) in body["limits"].as_object().into_iter().flatten() {
        line(&name.replace('_', " "), value);
    }
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let hosts = table(&rows(&body["hosts"]), &["name", "address", "down", "tls_broken"]);
    let settings = table(&rows(&body["policy"]["settings"]), &["key", "value", "from"]);
    format!("{page}\n{hosts}\n{settings}")
}

/// In words; nothing where mail leaves at any time.
fn schedule(told: &Value) -> Value {
    let Some(windows) = told["windows"].as_str() else { return Value::Null };
    let state = if told["open"] == true { "open" } else { "closed" };
    format!("{windows}, {state} until {}", text(&told["until"])).into()
}

fn table(rows: &[Value], keys: &[&str]) -> String {
    let headings: Vec<String> = keys.iter().map(|key| key.to_uppercase()).collect();
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for row in rows {
        table.row(keys.iter().map(|key| text(&row[*key])).collect());
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_names_route_blocker_and_origins() {
        let page = page(&json!({
            "policy": { "address": "a@b.example", "route": "*.example", "because": "it is first",
                        "settings": [{ "key": "port", "value": "26", "from": "delivery" }] },
            "schedule": { "windows": "08:00-17:00 (UTC)", "open": false, "until": "tomorrow" },
            "link": { "name": "isdn", "state": "raising", "reason": null, "until": null },
            "forecast": { "next_attempt": "2026-01-01T00:00:10.000Z", "because": "it is next" },
            "blocker": "no host answers: refused", "hosts": [{ "name": "mx.b.example" }],
        }));
        for words in [
            "*.example",
            "raising",
            "no host answers: refused",
            "next attempt   2026-01-01T00:00:10.000Z",
            "mx.b.example",
            "delivery",
            "08:00-17:00 (UTC), closed until tomorrow",
        ] {
            assert!(page.contains(words), "{page}");
        }
    }
}
