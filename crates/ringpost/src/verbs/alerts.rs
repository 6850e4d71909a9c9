//! `ringpost alerts`: what needs somebody, and what nobody wants to hear of for
//! a while.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{ask, text};
use crate::Socket;
use crate::print::Table;

/// `ringpost alerts …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AlertsArgs {
    #[command(subcommand)]
    verb: Option<AlertsVerb>,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost alerts list`, `silence`, `unsilence`
#[derive(Debug, Subcommand)]
pub enum AlertsVerb {
    /// What stands, since when, and why; and what is silenced
    List(Socket),
    /// Tell nobody of a rule's alerts, or of all, for a while
    Silence {
        /// The rule, such as queue_size; without it all are meant
        rule: Option<String>,
        /// For this long, such as 2h
        #[arg(long = "for", conflicts_with = "until", required_unless_present = "until")]
        span: Option<String>,
        /// Until this time, such as 2026-11-22T18:00:00Z
        #[arg(long)]
        until: Option<String>,
        /// Why, for whoever looks at the alerts
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Tell of them again
    Unsilence {
        /// The rule; without it the silence of all is meant
        rule: Option<String>,
        #[command(flatten)]
        socket: Socket,
    },
}

/// `ringpost alerts …`
pub fn run(args: &AlertsArgs) -> ExitCode {
    match &args.verb {
        None => ask(&args.socket, "GET", "/v1/alerts", None, tables),
        Some(AlertsVerb::List(socket)) => ask(socket, "GET", "/v1/alerts", None, tables),
        Some(AlertsVerb::Silence { rule, span, until, reason, socket }) => {
            let mut body = which(rule.as_deref());
            for (key, value) in [("for", span), ("until", until), ("reason", reason)] {
                if let Some(value) = value {
                    body.insert(key.into(), json!(value));
                }
            }
            ask(socket, "POST", "/v1/alerts/silence", Some(&Value::Object(body)), tables)
        }
        Some(AlertsVerb::Unsilence { rule, socket }) => {
            let body = Value::Object(which(rule.as_deref()));
            ask(socket, "POST", "/v1/alerts/unsilence", Some(&body), tables)
        }
    }
}

fn which(rule: Option<&str>) -> Map<String, Value> {
    let (key, value) = rule.map_or(("all", json!(true)), |rule| ("rule", json!(rule)));
    Map::from_iter([(key.to_owned(), value)])
}

fn tables(body: &Value) -> String {
    let rows = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let mut alerts = Table::new(&["ALERT", "OF", "SINCE", "SILENCED", "WHY"]);
    for row in rows("alerts") {
        alerts.row(["rule", "of", "since", "silenced", "reason"].map(|key| text(&row[key])).into());
    }
    let mut silences = Table::new(&["SILENCE", "UNTIL", "REASON"]);
    for row in rows("silences") {
        let rule = row["rule"].as_str().unwrap_or("all").to_owned();
        silences.row(vec![rule, text(&row["until"]), text(&row["reason"])]);
    }
    let mut shown = match rows("alerts").is_empty() {
        true => "no alert stands\n".to_owned(),
        false => alerts.to_text(),
    };
    if !rows("silences").is_empty() {
        shown += &format!("\n{}", silences.to_text());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_and_silences_have_a_table_each() {
        let alert = json!({ "rule": "site_down", "of": "mx:a", "since": "now", "silenced": true,
                            "reason": "long" });
        let silence = json!({ "rule": null, "until": "later", "reason": "a move" });
        let shown = tables(&json!({ "alerts": [alert], "silences": [silence] }));
        assert!(shown.contains("site_down") && shown.contains("mx:a"), "{shown}");
        assert!(shown.contains("all") && shown.contains("a move"), "{shown}");
        assert_eq!(tables(&json!({ "alerts": [], "silences": [] })), "no alert stands\n");
    }
}
