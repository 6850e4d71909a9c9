//! `ringpost diagnose ADDRESS`: walks the way of mail to an address, up to but
//! not including MAIL, and names the first thing that keeps mail from going.
//!
//! `ringpost diagnose --egress`: what the addresses that mail leaves from are
//! called, and which pair of name and address disagrees.
//!
//! Exit codes: 0 a host was ready for mail, or all names fit; 1 something
//! blocks, or does not fit.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{answered, text};
use crate::Socket;
use crate::print::{Table, clean};

/// Whose mail is meant.
#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    /// A recipient's address
    #[arg(required_unless_present = "egress", conflicts_with = "egress")]
    address: Option<String>,
    /// Look up what the own addresses are called instead, as receivers do
    #[arg(long)]
    egress: bool,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost diagnose ADDRESS`
pub fn run(args: &DiagnoseArgs) -> ExitCode {
    if args.egress {
        return match answered(&args.socket, "GET", "/v1/egress", None, names) {
            Ok(answer) if answer["good"] == true => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(1),
            Err(code) => code,
        };
    }
    let order = json!({ "address": args.address });
    let answer = match answered(&args.socket, "POST", "/v1/diagnose", Some(&order), page) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    if answer["blocker"].is_null() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn names(body: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let line = |value: &Value| list(value).iter().map(text).collect::<Vec<_>>().join(", ");
    let mut table =
        Table::new(&["SOURCE", "ADDRESS", "GREETS AS", "NAME HAS", "ADDRESS IS CALLED"]);
    let mut page = String::new();
    for row in list(&body["addresses"]) {
        let parts = [text(&row["source"]), text(&row["address"]), text(&row["name"])];
        let found = [line(&row["name_addresses"]), line(&row["pointers"])];
        table.row(parts.into_iter().chain(found).collect());
        for problem in list(&row["problems"]) {
            page.push_str(&format!("disagree: {}\n", clean(&text(&problem))));
        }
    }
    for note in list(&body["notes"]) {
        page.push_str(&format!("note: {}\n", clean(&text(&note))));
    }
    if body["good"] == true {
        page.push_str("all names and addresses fit\n");
    }
    format!("{}\n{page}", table.to_text())
}

fn page(body: &Value) -> String {
    let mut table = Table::new(&["STEP", "HOST", "RESULT", "MS", "WHAT"]);
    for row in body["steps"].as_array().into_iter().flatten() {
        let keys = ["step", "host", "result", "took_ms", "said"];
        table.row(keys.iter().map(|key| text(&row[*key])).collect());
    }
    let end = match &body["blocker"] {
        Value::Null => "nothing blocks: a host was ready for mail".to_owned(),
        blocker => {
            let at = blocker["host"].as_str().map(|host| format!(" at {host}"));
            let (step, said) = (text(&blocker["step"]), text(&blocker["said"]));
            format!("blocked at {step}{}: {said}", at.unwrap_or_default())
        }
    };
    format!("{}\n{}\n", table.to_text(), clean(&end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_that_disagrees_is_a_line() {
        let row = json!({ "source": "a", "address": "192.0.2.1", "name": "mail.example.com",
                          "name_addresses": [], "pointers": ["x.example"], "problems": ["this"] });
        let page = names(&json!({ "addresses": [row], "notes": [], "good": false }));
        assert!(page.contains("x.example") && page.ends_with("disagree: this\n"), "{page}");
        assert!(names(&json!({ "addresses": [], "good": true })).contains("all names"));
    }

    #[test]
    fn the_page_ends_with_the_first_blocker() {
        let step = json!({ "step": "connect", "host": "mx.example [192.0.2.1]",
                           "result": "failed", "said": "refused", "took_ms": 3 });
        let blocked = page(&json!({ "steps": [step], "blocker": step }));
        assert!(blocked.ends_with("blocked at connect at mx.example [192.0.2.1]: refused\n"));
        let good = page(&json!({ "steps": [], "blocker": null }));
        assert!(good.contains("nothing blocks"), "{good}");
    }
}
