//! `ringpost webhooks` and `ringpost syslog`: how far those are who read the event log.

use std::process::ExitCode;

use serde_json::Value;

use super::{ask, text};
use crate::Socket;
use crate::print::{Table, clean};

/// `ringpost webhooks`
pub fn webhooks(socket: &Socket) -> ExitCode {
    ask(socket, "GET", "/v1/webhooks", None, |body| table(&body["webhooks"]))
}

/// `ringpost syslog`
pub fn syslog(socket: &Socket) -> ExitCode {
    ask(socket, "GET", "/v1/syslog", None, |body| table(&body["syslog"]))
}

fn table(rows: &Value) -> String {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "none is configured\n".into();
    }
    let headings = ["NAME", "PLACE", "BEHIND", "BYTES", "SENT", "LOST", "FAILURES", "NEXT TRY"];
    let mut table = Table::new(&headings);
    let mut said = String::new();
    for row in rows {
        let keys = ["name", "place", "events_behind", "bytes_behind", "events_sent"];
        let more = ["events_lost", "failures", "next_try"];
        table.row(keys.iter().chain(&more).map(|key| text(&row[key])).collect());
        let parts = ["name", "to", "last_at", "last_answer"].map(|key| clean(&text(&row[key])));
        let [name, to, at, answer] = parts;
        said.push_str(&format!("{name}: {to}\n  {at}  {answer}\n"));
    }
    format!("{}\n{said}", table.to_text())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_says_how_far_and_what_was_answered() {
        let row = json!({ "name": "audit", "to": "https://a.example/", "place": "3:99",
                          "events_behind": 12, "bytes_behind": 3_000, "events_sent": 7,
                          "events_lost": 0, "batches": 1, "failures": 2,
                          "last_answer": "it answered 500 \u{1b}no", "last_at": "now",
                          "next_try": "later" });
        let shown = table(&json!([row]));
        for word in
            ["audit", "3:99", "12", "later", "https://a.example/", "answered 500 \u{fffd}no"]
        {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert_eq!(table(&json!([])), "none is configured\n");
        assert_eq!(table(&Value::Null), "none is configured\n");
    }
}
