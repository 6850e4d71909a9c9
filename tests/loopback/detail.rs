//! Looking closely at a running daemon: detail in the event log for one domain
//! and for a time, and sessions as they happen for somebody who is attached.

use std::io::Read;

use harness::{SinkSettings, Sinks, Source, SourceSettings, Workload};
use serde_json::Value;

use crate::support::process::{Process, guarded};
use crate::support::{Client, Config, Daemon, PATIENCE, control, submit, until};

const FROM: &str = "sender@from.example";
/// A password in base64, within a response of PLAIN and alone.
const SECRET: &str = "AHRpbQBvcGVuIHNlc2FtZQ==";
const WORD: &str = "b3BlbiBzZXNhbWU=";

fn relaying() -> (Sinks, Daemon) {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let daemon = Daemon::start(Config::relay(sinks.first()).set("", "shards", "2"));
    (sinks, daemon)
}

fn delivered(daemon: &Daemon, to: &str) {
    submit(daemon.address(), FROM, &[to]);
    let history = daemon.until_settled(to, 1);
    assert_eq!(history[0].event, "delivered", "{history:?}");
}

fn said(daemon: &Daemon, words: &[&str]) -> (Option<i32>, String) {
    let output = daemon.verb(words).output().expect("the program runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("it speaks UTF-8"))
}

/// One domain is told in full while it is asked for, and nothing of any other;
/// it is listed, it is taken back, and a start ends it.
///
/// Shows: S4.7, S2.19
#[test]
fn detail_of_one_domain_is_in_the_log_for_its_time() {
    let (_sinks, mut daemon) = relaying();
    delivered(&daemon, "before@watched.example");
    assert_eq!(daemon.events("dialogue").len(), 0);
    let asked = ["log", "detail", "--domain", "watched.example", "--for", "5m"];
    let (code, shown) = said(&daemon, &asked);
    assert!(code == Some(0) && shown.contains("domain=watched.example"), "{shown}");
    delivered(&daemon, "a@watched.example");
    delivered(&daemon, "b@other.example");
    daemon.until_log_is_written();
    let dialogue = daemon.events("dialogue");
    let text = format!("{dialogue:?}");
    assert!(text.contains("RCPT TO:<a@watched.example>"), "{text}");
    assert!(!text.contains("other.example") && !text.contains("before@"), "{text}");
    for way in ["in", "out"] {
        let of_way = dialogue.iter().filter(|line| line["way"] == way);
        let begins = of_way.map(|line| line["heard"].as_str().or(line["said"].as_str()));
        let first = begins.flatten().next().expect("it was told");
        assert!(first.starts_with("220 "), "{way}: the first byte: {first}");
    }
    let (_, list) = said(&daemon, &["log", "detail", "list"]);
    assert!(list.contains("domain=watched.example"), "{list}");
    // A change of the configuration leaves it as it is.
    let edits = r#"{"edits": [{ "set": { "path": "dns.attempts", "value": "4" } }]}"#;
    assert_eq!(daemon.ask("POST", "/v1/config/edit", edits).0, 200);
    assert_eq!(daemon.ask("POST", "/v1/config/commit", "{}").0, 200);
    delivered(&daemon, "c@watched.example");
    daemon.until_logged("the dialogue", |line| {
        line["said"] == "RCPT TO:<c@watched.example>"
            || line["heard"] == "RCPT TO:<c@watched.example>"
    });
    assert_eq!(said(&daemon, &["log", "detail", "stop", "--all"]).0, Some(0));
    assert_eq!(said(&daemon, &["log", "detail", "stop", "77"]).0, Some(1), "no such order");
    assert_eq!(said(&daemon, &["log", "detail"]).0, Some(4), "of what is not said");
    let after = |daemon: &Daemon, to: &str| {
        delivered(daemon, to);
        daemon.until_log_is_written();
        daemon.events("dialogue").iter().any(|line| line.to_string().contains(to))
    };
    assert!(!after(&daemon, "d@watched.example"), "taken back");
    assert_eq!(said(&daemon, &asked).0, Some(0));
    assert!(after(&daemon, "e@watched.example"));
    daemon.crash();
    assert!(!after(&daemon, "f@watched.example"), "a start ends it");
}

/// Passwords, what answers a challenge, and letters that came although DATA was
/// refused: nothing of it is in any log, nor shown to who is attached.
///
/// Shows: S4.7, S2.3
#[test]
fn no_secret_and_no_letter_is_told() {
    let (_sinks, daemon) = relaying();
    assert_eq!(said(&daemon, &["log", "detail", "--all"]).0, Some(0));
    let mut attached = attach(&daemon, &["--in"]);
    let mut client = Client::greet(daemon.address());
    client.say(&format!("AUTH PLAIN {SECRET}"));
    client.say("AUTH LOGIN");
    client.say(WORD);
    client.say(&format!(" {SECRET}"));
    client.expect("DATA", 503);
    for line in ["Subject: the offer", "Help me with open sesame", "mail to nobody"] {
        client.say(line);
    }
    client.expect("RSET", 250);
    client.expect("QUIT", 221);
    let told = until("the end of the session", PATIENCE, || {
        Some(attached.said()).filter(|text| text.contains("QUIT"))
    });
    attached.signal(rustix::process::Signal::TERM);
    attached.wait(PATIENCE);
    let logs = daemon.all_logs();
    for text in [&told, &logs] {
        assert!(text.contains("AUTH (log-in)") && text.contains("(not a command)"), "{text}");
        for hidden in [SECRET, WORD, "sesame", "the offer", "nobody"] {
            assert!(!text.contains(hidden), "{hidden} is told: {text}");
        }
    }
}

/// Attaches the verb, and waits until it is.
fn attach(daemon: &Daemon, words: &[&str]) -> Process {
    let attached = |daemon: &Daemon| {
        let rows = daemon.show("/v1/detail")["detail"].as_array().cloned().unwrap_or_default();
        rows.iter().filter(|row| row["attached"] == true).count()
    };
    let before = attached(daemon);
    let mut command = guarded(tests::ringpost());
    command.args(["trace", "live"]).args(words).arg("--data").arg(daemon.data());
    let process = Process::start("trace", daemon.scratch().path(), &mut command);
    until("the trace to be attached", PATIENCE, || (attached(daemon) > before).then_some(()));
    process
}

/// Attached to one domain: the greeting and the first command of the next
/// session are seen, those of a session for another domain are not; what is
/// shown is not in the log, and when the reader goes the watch ends.
///
/// Shows: A43
#[test]
fn a_live_trace_shows_the_next_session_from_its_first_byte() {
    let (_sinks, daemon) = relaying();
    let mut attached = attach(&daemon, &["--domain", "watched.example"]);
    let mut other = attach(&daemon, &["--json", "--sender", "nobody@else.example"]);
    delivered(&daemon, "b@other.example");
    delivered(&daemon, "a@watched.example");
    let text = until("the whole session", PATIENCE, || {
        Some(attached.said()).filter(|text| text.contains("out > DATA"))
    });
    assert!(!text.contains("other.example"), "{text}");
    let place =
        |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is missing: {text}"));
    let inbound = ["in  > 220 ", "in  < EHLO", "in  < MAIL FROM", "in  < RCPT TO"].map(place);
    assert!(inbound.is_sorted(), "{text}");
    let outbound = ["out < 220 ", "out > EHLO", "out > MAIL FROM", "out > RCPT TO"].map(place);
    assert!(outbound.is_sorted(), "{text}");
    assert_eq!(daemon.events("dialogue").len(), 0);
    assert_eq!(other.said(), "");
    for process in [&mut attached, &mut other] {
        process.signal(rustix::process::Signal::TERM);
        process.wait(PATIENCE);
    }
    until("the watches to end", PATIENCE, || {
        let rows = daemon.show("/v1/detail")["detail"].as_array().map(Vec::len);
        (rows == Some(0)).then_some(())
    });
}

/// Somebody attaches to everything and does not read: all mail goes through, what
/// was missed is counted, and the reader is told when it reads again.
///
/// Shows: A43
#[test]
fn a_reader_that_stands_still_holds_no_mail_up() {
    let (sinks, daemon) = relaying();
    let socket = daemon.data().join("control.sock");
    let (head, mut stream) = control::attached(&socket, "/v1/trace");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let workload = Workload::new(1_500, 10, 7);
    let settings = SourceSettings { sessions: 4, ..SourceSettings::default() };
    let source = Source::start(daemon.address(), &workload, settings).expect("it starts");
    source.wait();
    daemon.until_empty(PATIENCE);
    assert_eq!(sinks.progress().messages, 1_500);
    let lost = daemon.show("/v1/detail")["lines_lost"].as_u64().expect("a number");
    assert!(lost > 1_000, "{lost} of about 30 000 lines");
    let (mut text, mut piece) = (String::new(), vec![0; 64 << 10]);
    until("word of what was missed", PATIENCE, || {
        let count = stream.read(&mut piece).expect("it goes on");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
        text.contains("lines-lost").then_some(())
    });
}

/// As many are attached as may be; the next one is told so, and what comes over
/// the socket for reading is refused.
#[test]
fn there_is_room_for_a_few_only() {
    let (_sinks, daemon) = relaying();
    let all: Vec<Process> = (0..4).map(|_| attach(&daemon, &["--out"])).collect();
    let (code, why) = said(&daemon, &["trace", "live", "--out"]);
    assert!(code == Some(4) && why.contains("4 are attached"), "{why}");
    drop(all);
    until("room", PATIENCE, || {
        let rows: Value = daemon.show("/v1/detail");
        (rows["detail"].as_array().map(Vec::len) == Some(0)).then_some(())
    });
    let socket = daemon.data().join("status.sock");
    let refused = control::ask(&socket, "GET", "/v1/trace", "");
    assert_eq!(refused.0, 403);
}
