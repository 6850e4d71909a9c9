//! `ringpost stats`: what became of recipients, by name or by day.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{ask, encoded, text};
use crate::Socket;
use crate::print::Table;

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// One row per domain, site, route, source or day
    #[arg(long, default_value = "domain")]
    by: String,
    /// Rows at most; all others stand together
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost stats`
pub fn run(args: &StatsArgs) -> ExitCode {
    let path = format!("/v1/stats?by={}&limit={}", encoded(&args.by), args.limit);
    ask(&args.socket, "GET", &path, None, table)
}

const COUNTS: [&str; 5] = ["delivered", "deferred", "failed", "expired", "removed"];

fn table(body: &Value) -> String {
    let by_day = body["by"] == "day";
    let (first, more): (_, &[&str]) =
        if by_day { ("DAY", &["accepted", "bytes"]) } else { ("NAME", &["per_hour"]) };
    let keys: Vec<&str> = COUNTS.iter().chain(more).copied().collect();
    let words: Vec<String> = keys.iter().map(|key| key.to_uppercase().replace('_', " ")).collect();
    let headings: Vec<&str> =
        std::iter::once(first).chain(words.iter().map(String::as_str)).collect();
    let mut table = Table::new(&headings);
    let cells = |name: String, row: &Value| {
        std::iter::once(name).chain(keys.iter().map(|key| text(&row[*key]))).collect()
    };
    for row in body["rows"].as_array().map_or(&[][..], Vec::as_slice) {
        table.row(cells(text(&row["name"]), row));
    }
    let rest = &body["rest"];
    if COUNTS.iter().any(|key| rest[*key].as_u64().is_some_and(|count| count > 0)) {
        table.row(cells("(other)".into(), rest));
    }
    format!("{}since {}\n", table.to_text(), text(&body["since"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_days_are_tables_with_the_rest_at_their_end() {
        let row = json!({ "name": "a.example", "delivered": 7, "deferred": 0, "failed": 1,
                          "expired": 0, "removed": 0, "per_hour": 3 });
        let rest = json!({ "delivered": 4 });
        let body = json!({ "by": "domain", "since": "2026", "rows": [row], "rest": rest });
        let shown = table(&body);
        assert!(shown.starts_with("NAME") && shown.contains("PER HOUR"), "{shown}");
        assert!(shown.contains("a.example") && shown.contains("(other)"), "{shown}");
        let day = json!({ "name": "2026-11-22", "delivered": 7, "accepted": 5, "bytes": 9 });
        let shown = table(&json!({ "by": "day", "rows": [day], "rest": null }));
        assert!(shown.starts_with("DAY") && shown.contains("2026-11-22"), "{shown}");
        assert!(!shown.contains("(other)"), "{shown}");
    }
}
