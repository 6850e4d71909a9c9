//! `ringpost route …`: the routes one by one. Changes are made to what is to be
//! committed, and take effect by `config commit`.
//!
//! Never edits a text by itself: the daemon does.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::{ask, config, encoded, text};
use crate::Socket;
use crate::print::Table;

/// `ringpost route …`
#[derive(Debug, Subcommand)]
pub enum RouteVerb {
    /// All routes, in the order in which they are tried
    List {
        /// Rows at most
        #[arg(long, default_value_t = 10_000)]
        limit: u32,
        #[command(flatten)]
        socket: Socket,
    },
    /// Which way an address goes
    Test {
        /// The recipient's address
        address: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Put a new route in: at the end, or in front of another
    Add {
        /// domain, *.domain, user@domain or *
        pattern: String,
        /// Settings, as KEY=VALUE; what is not named comes from the default way
        #[arg(value_parser = setting)]
        settings: Vec<(String, String)>,
        /// The route that it is put in front of: its number or pattern
        #[arg(long)]
        before: Option<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Change settings of a route
    Edit {
        /// Its number or pattern
        route: String,
        /// Settings, as KEY=VALUE
        #[arg(value_parser = setting)]
        settings: Vec<(String, String)>,
        /// A setting to take out, so that the default way's holds
        #[arg(long)]
        unset: Vec<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Put a route elsewhere: `route move X before Y`, or `route move X last`
    Move {
        /// Its number or pattern
        route: String,
        /// `before` and another route, or `last`
        #[arg(required = true, num_args = 1..=2)]
        place: Vec<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Take a route out
    Remove {
        /// Its number or pattern
        route: String,
        #[command(flatten)]
        socket: Socket,
    },
}

/// `ringpost route …`
pub fn run(verb: &RouteVerb) -> ExitCode {
    match verb {
        RouteVerb::List { limit, socket } => {
            ask(socket, "GET", &format!("/v1/routes?limit={limit}"), None, listing)
        }
        RouteVerb::Test { address, socket } => {
            let path = format!("/v1/routes/test?address={}", encoded(address));
            ask(socket, "GET", &path, None, tested)
        }
        RouteVerb::Add { pattern, settings, before, socket } => {
            let set: Map<String, Value> = named(settings).collect();
            let add = json!({ "match": pattern, "set": set, "before": before });
            config::edit(socket, &json!({ "route-add": add }))
        }
        RouteVerb::Edit { route, settings, unset, socket } => {
            let gone = unset.iter().map(|key| (key.clone(), Value::Null));
            let set: Map<String, Value> = named(settings).chain(gone).collect();
            config::edit(socket, &json!({ "route-edit": { "route": route, "set": set } }))
        }
        RouteVerb::Move { route, place, socket } => {
            let words: Vec<&str> = place.iter().map(String::as_str).collect();
            let before = match words.as_slice() {
                ["before", other] => Some(*other),
                ["last"] => None,
                _ => {
                    eprintln!("say `route move {route} before OTHER` or `route move {route} last`");
                    return ExitCode::from(2);
                }
            };
            config::edit(socket, &json!({ "route-move": { "route": route, "before": before } }))
        }
        RouteVerb::Remove { route, socket } => {
            config::edit(socket, &json!({ "route-remove": { "route": route } }))
        }
    }
}

fn setting(written: &str) -> Result<(String, String), String> {
    let (key, value) = written.split_once('=').ok_or("a setting is written as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn named(settings: &[(String, String)]) -> impl Iterator<Item = (String, Value)> {
    settings.iter().map(|(key, value)| (key.clone(), json!(value)))
}

fn listing(body: &Value) -> String {
    let mut table = Table::new(&["NUMBER", "MATCH", "MODE", "HOSTS", "NOTE"]);
    for row in body["routes"].as_array().into_iter().flatten() {
        let note = match &row["never_reached_behind"] {
            Value::Null if row["ignored"] == true => "ignored in relay mode".to_owned(),
            Value::Null => String::new(),
            by => format!("never reached: {by} takes all its mail"),
        };
        let cells =
            [text(&row["number"]), text(&row["match"]), text(&row["mode"]), hosts(row), note];
        table.row(cells.to_vec());
    }
    table.to_text()
}

fn tested(body: &Value) -> String {
    let way = match &body["number"] {
        Value::Null if !body["local"].is_null() => {
            let passed = body["local"]["passed_to"].as_array().into_iter().flatten().map(text);
            let passed: Vec<String> = passed.collect();
            let entry = format!("local {}", text(&body["local"]["entry"]));
            format!("{entry}: {} {}", text(&body["local"]["decision"]), passed.join(", "))
        }
        Value::Null => match &body["ignored"] {
            Value::Null => "the default way".to_owned(),
            route => format!("the default way; {} is ignored in relay mode", text(route)),
        },
        number => format!("route {number}, {}", text(&body["match"])),
    };
    let mut table = Table::new(&["ADDRESS", "WAY", "MODE", "HOSTS"]);
    table.row(vec![text(&body["address"]), way, text(&body["mode"]), hosts(body)]);
    table.to_text()
}

fn hosts(row: &Value) -> String {
    let hosts = row["hosts"].as_array().into_iter().flatten();
    let hosts: Vec<String> = hosts.map(text).collect();
    if hosts.is_empty() { "-".to_owned() } else { hosts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows: S3.3
    #[test]
    fn a_local_address_says_what_becomes_of_it() {
        let shown = tested(&json!({
            "address": "sales@a.example", "number": null, "mode": "local", "hosts": ["/run/lmtp"],
            "local": { "entry": 2, "decision": "passed to others", "passed_to": ["ann@a.example"] },
        }));
        assert!(shown.contains("local 2: passed to others ann@a.example"), "{shown}");
    }

    #[test]
    fn a_route_that_is_never_reached_says_so_in_the_list() {
        let body = json!({ "routes": [
            { "number": 1, "match": "*", "mode": "independent", "hosts": [] },
            { "number": 2, "match": "a.example", "mode": "relay", "hosts": ["b.example:25"],
              "never_reached_behind": 1 },
        ] });
        let shown = listing(&body);
        assert!(shown.contains("2       a.example  relay        b.example:25  never reached: 1"));
        let aside = json!({ "address": "a@b.example", "number": null, "ignored": "b.example" });
        assert!(tested(&aside).contains("the default way; b.example is ignored in relay mode"));
        assert_eq!(setting("tls = none"), Ok(("tls".into(), "none".into())));
        assert!(setting("tls").is_err());
    }
}
