//! Python, whose standard library is somebody else's mail software: its `email`
//! package reads our reports, its `smtplib` sends.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs `script` with `arguments` and `input`; returns what it prints, as JSON.
///
/// # Panics
/// It is not there, or it fails.
pub fn python(script: &str, arguments: &[&str], input: &[u8]) -> Value {
    let mut command = Command::new("python3");
    command.args(["-I", "-c", script]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.unwrap_or_else(|e| panic!("python3: {e}; apt-get install python3"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(input).expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python3: {}: {complaint}", output.status);
    serde_json::from_slice(&output.stdout).expect("the scripts print JSON")
}

/// A report as Python's email package reads it: `type`, `report_type`, `to`,
/// `from`, `subject`, `auto`, `defects`, `parts` (content types), `fields`
/// (one object of lower-case names for the message, then one for each
/// recipient), `original` (header of what is returned).
pub fn report(content: &[u8]) -> Value {
    python(REPORT, &[], content)
}

/// Sends one message with smtplib.
pub const SMTPLIB: &str = r#"
import smtplib, sys
from email.message import EmailMessage
host, port, sender, to = sys.argv[1:]
message = EmailMessage()
message["From"], message["To"], message["Subject"] = sender, to, "from smtplib"
message.set_content("One line.\n.\n..two dots\nLast line.\n")
with smtplib.SMTP(host, int(port), timeout=60) as session:
    refused = session.send_message(message)
print(len(refused))
"#;

const REPORT: &str = r#"
import email, email.policy, json, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = list(message.iter_parts()) if message.is_multipart() else []
fields, original = [], {}
for part in parts:
    kind = part.get_content_type()
    if kind in ("message/delivery-status", "message/global-delivery-status"):
        for block in part.get_payload():
            fields.append({name.lower(): str(value) for name, value in block.items()})
    elif kind == "text/rfc822-headers":
        original = {n.lower(): str(v) for n, v in email.message_from_string(part.get_content()).items()}
    elif kind == "message/rfc822":
        original = {n.lower(): str(v) for n, v in part.get_payload()[0].items()}
defects = [repr(d) for p in message.walk() for d in p.defects]
print(json.dumps({
    "type": message.get_content_type(),
    "report_type": message.get_param("report-type"),
    "to": str(message["to"]), "from": str(message["from"]),
    "subject": str(message["subject"]), "auto": str(message["auto-submitted"]),
    "defects": defects, "parts": [part.get_content_type() for part in parts],
    "fields": fields, "original": original,
}))
"#;
