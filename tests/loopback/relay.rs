//! Relay: what Postfix's `smtp-source` sends through the daemon reaches one
//! next hop, every message once; the harness sends the same load with digests,
//! so that not a byte may differ. Then a real Postfix with TLS as next hop, and
//! senders that send one by one: swaks, Python's smtplib, curl.

use std::process::Command;
use std::time::Duration;

use harness::{SinkSettings, Sinks, Sizes, Source, SourceSettings, Workload, verify};

use crate::support::postfix::Postfix;
use crate::support::process::{installed, run};
use crate::support::python::{SMTPLIB, python};
use crate::support::smtp_tools::{Load, Sinking, SmtpSink};
use crate::support::{Config, Daemon, until};

/// For a whole load on a machine that does other things too.
const LOAD_PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn twenty_thousand_small_messages_reach_smtp_sink_once_each() {
    through_postfix_tools(Load { messages: 20_000, bytes: 2_048, sessions: 50 });
}

#[test]
fn five_thousand_large_messages_reach_smtp_sink_once_each() {
    through_postfix_tools(Load { messages: 5_000, bytes: 51_200, sessions: 50 });
}

fn through_postfix_tools(load: Load) {
    let sink = SmtpSink::start(Sinking::Dumping);
    let daemon = Daemon::start(Config::relay(sink.address()).with_default_sizes());
    load.send(daemon.address(), LOAD_PATIENCE);
    daemon.until_empty(LOAD_PATIENCE);
    // Nothing waits any more, so nothing more can come but what was counted.
    sink.wait_for(load.messages, LOAD_PATIENCE);
    let recipients = sink.recipients();
    let doubled: Vec<_> = recipients.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "more than once: {doubled:?}");
    assert_eq!(recipients.len() as u64, load.messages, "lost, or not sent by us");
    assert_eq!(daemon.show("/v1/status")["counters"]["delivered"], load.messages);
}

/// Covers: A1.31
#[test]
fn the_same_load_arrives_unaltered() {
    for (messages, bytes) in [(20_000, 2_048), (5_000, 51_200)] {
        let workload = Workload { sizes: Sizes::Fixed(bytes), ..Workload::new(messages, 20, 2) };
        let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
        let daemon = Daemon::start(Config::relay(sinks.first()).with_default_sizes());
        let settings = SourceSettings { sessions: 50, ..SourceSettings::default() };
        let source = Source::run(daemon.address(), &workload, settings).expect("it starts");
        assert_eq!(source.promised(&workload), messages, "{:?}", source.troubles);
        assert!(sinks.wait_for(messages, LOAD_PATIENCE), "{:?}", sinks.progress());
        daemon.until_empty(LOAD_PATIENCE);
        let verdict = verify(&workload, &source, &sinks.report());
        assert!(verdict.is_exactly_once(), "{verdict:?}");
        assert_eq!(verdict.kept, messages);
    }
}

/// Covers: A1.23, A1.31, A2.4, A5.7
#[test]
fn a_real_postfix_takes_mail_over_tls_and_three_programs_hand_it_in() {
    let postfix = Postfix::receiving("d001.example");
    let config = Config::relay(postfix.address()).set("delivery", "tls", "\"opportunistic\"");
    // One shard and a long idle time, so that one connection serves all three.
    let daemon = Daemon::start(config.set("", "shards", "1").set("delivery", "idle", "\"5m\""));
    let (host, port) = (daemon.address().ip().to_string(), daemon.address().port().to_string());
    for tool in ["swaks", "smtplib", "curl"] {
        let to = format!("{tool}@d001.example");
        match tool {
            "swaks" => swaks(&format!("{host}:{port}"), &to),
            "smtplib" => {
                let refused = python(SMTPLIB, &[&host, &port, "a@source.example", &to], b"");
                assert_eq!(refused, 0);
            }
            _ => curl(&daemon, &to),
        }
        assert_eq!(daemon.until_settled(&to, 1)[0].event, "delivered");
    }
    until("three messages", LOAD_PATIENCE, || (postfix.count() == 3).then_some(()));
    let delivered = postfix.delivered();
    for text in &delivered {
        assert!(text.contains("using TLSv1.3"), "not over TLS:\n{text}");
        assert!(text.contains("by ringpost.example"), "without our trace field:\n{text}");
        assert!(text.contains("from ringpost.example"), "under another name:\n{text}");
    }
    let of_smtplib = delivered.iter().find(|text| text.contains("Subject: from smtplib"));
    let body = of_smtplib.expect("one of the three").split_once("\n\n").map(|(_, body)| body);
    assert_eq!(body, Some("One line.\n.\n..two dots\nLast line.\n"));
    assert_eq!(postfix.log().matches("TLS connection established from").count(), 1, "reused");
}

/// Covers: B65
/// Shows: S3.9
#[test]
fn a_relay_that_must_speak_tls_is_held_to_its_certificate() {
    let postfix = Postfix::receiving("d001.example");
    let required = Config::relay(postfix.address()).set("delivery", "tls", "\"required\"");
    let daemon = Daemon::start(required.clone());
    crate::support::submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!(history[0].event, "deferred", "nobody known signed it: {history:?}");
    assert_eq!(postfix.count(), 0);
}

fn swaks(server: &str, to: &str) {
    let mut swaks = Command::new(installed("swaks", "swaks"));
    swaks.args(["--server", server, "--from", "a@source.example", "--to", to]);
    let said = run(swaks.args(["--ehlo", "story.example"]), "swaks");
    assert!(said.contains("250 2.0.0") || said.contains("<-  250"), "{said}");
}

fn curl(daemon: &Daemon, to: &str) {
    let text = "From: <a@source.example>\r\nSubject: from curl\r\n\r\n.dot\r\n";
    let file = daemon.scratch().write("curl.txt", text);
    let mut curl = Command::new(installed("curl", "curl"));
    curl.arg("--silent").arg("--show-error").arg(format!("smtp://{}", daemon.address()));
    curl.args(["--mail-from", "a@source.example", "--mail-rcpt", to, "--upload-file"]).arg(file);
    run(&mut curl, "curl");
}
