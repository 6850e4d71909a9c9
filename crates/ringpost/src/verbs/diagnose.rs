//! `ringpost diagnose ADDRESS`: walks the way of mail to an address, up to but
//! not including MAIL, and names the first thing that keeps mail from going.
//!
//! Exit codes: 0 a host was ready for mail, 1 something blocks.

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
    address: String,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost diagnose ADDRESS`
pub fn run(args: &DiagnoseArgs) -> ExitCode {
    let order = json!({ "address": args.address });
    let answer = match answered(&args.socket, "POST", "/v1/diagnose", Some(&order), page) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    if answer["blocker"].is_null() { ExitCode::SUCCESS } else { ExitCode::from(1) }
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
    fn the_page_ends_with_the_first_blocker() {
        let step = json!({ "step": "connect", "host": "mx.example [192.0.2.1]",
                           "result": "failed", "said": "refused", "took_ms": 3 });
        let blocked = page(&json!({ "steps": [step], "blocker": step }));
        assert!(blocked.ends_with("blocked at connect at mx.example [192.0.2.1]: refused\n"));
        let good = page(&json!({ "steps": [], "blocker": null }));
        assert!(good.contains("nothing blocks"), "{good}");
    }
}
