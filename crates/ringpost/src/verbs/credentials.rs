//! `ringpost credentials`: log-ins, certificates and users by name.

use std::process::ExitCode;

use serde_json::Value;

use super::{ask, text};
use crate::Socket;
use crate::print::Table;

/// `ringpost credentials`
pub fn run(socket: &Socket) -> ExitCode {
    ask(socket, "GET", "/v1/credentials", None, tables)
}

fn tables(body: &Value) -> String {
    let rows = |kind: &str| body[kind].as_array().cloned().unwrap_or_default();
    let mut log_ins = Table::new(&["LOG-IN", "BY", "FILE", "USES", "USED AT"]);
    for row in rows("log_ins") {
        let plain = ["user", "secret", "file", "uses"].map(|key| text(&row[key]));
        log_ins.row([&plain[..], &[places(&row)]].concat());
    }
    let mut certificates = Table::new(&["CERTIFICATE", "KEY", "USES", "USED AT"]);
    for row in rows("certificates") {
        let plain = ["certificate", "key", "uses"].map(|key| text(&row[key]));
        certificates.row([&plain[..], &[places(&row)]].concat());
    }
    let mut users = Table::new(&["USER", "PASSWORD", "CERTIFICATES"]);
    for row in rows("users") {
        users.row(["name", "password", "certificates"].map(|key| text(&row[key])).into());
    }
    let all = [("log_ins", log_ins), ("certificates", certificates), ("users", users)];
    let mut shown = String::new();
    for (kind, table) in all {
        let (count, rows) = (body["counts"][kind].as_u64().unwrap_or(0), rows(kind).len() as u64);
        if count > 0 {
            shown.push_str(&table.to_text());
            let left = count.saturating_sub(rows);
            shown.push_str(&if left > 0 { format!("and {left} more\n\n") } else { "\n".into() });
        }
    }
    shown.truncate(shown.trim_end().len());
    if shown.is_empty() { "none\n".into() } else { shown + "\n" }
}

/// The first places, and a sign where there are more.
fn places(row: &Value) -> String {
    let named = row["used_at"].as_array().map_or(&[][..], Vec::as_slice);
    let more = row["uses"].as_u64().unwrap_or(0) > named.len() as u64;
    let named: Vec<String> = named.iter().map(text).collect();
    named.join("; ") + if more { "; …" } else { "" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_has_its_table_and_what_is_cut_is_told() {
        let body = json!({
            "counts": { "log_ins": 3, "certificates": 0, "users": 1 },
            "log_ins": [{ "user": "tim", "secret": "password", "file": "tim.secret",
                          "used_at": ["delivery, host a:25"], "uses": 2 }],
            "certificates": [],
            "users": [{ "name": "app", "password": true, "certificates": 0 }],
        });
        let shown = tables(&body);
        assert!(shown.contains("tim.secret") && shown.contains("host a:25; …"), "{shown}");
        assert!(shown.contains("and 2 more") && shown.contains("app"), "{shown}");
        assert!(!shown.contains("CERTIFICATE "), "{shown}");
        assert_eq!(tables(&json!({})), "none\n");
    }
}
