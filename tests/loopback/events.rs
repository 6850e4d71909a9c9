//! The event log, as an operator and a program read it: every line fits the
//! schema (which the stage holds each line of every story to), ids join, no
//! 250 is without its line, and the whole life of a message is found again
//! after its lines were compressed.

use std::collections::BTreeSet;
use std::process::Command;

use harness::{Rule, SinkSettings, Sinks, Stage};
use serde_json::Value;

use crate::support::{Client, Config, Daemon, PATIENCE, submit, text_to, until};

const FROM: &str = "sender@from.example";

/// One exchanger for all mail, which refuses some of it.
fn sinks() -> Sinks {
    let rules = vec![
        Rule::reply(Stage::Rcpt, "550 5.1.1 nobody").for_domain("no.example"),
        Rule::reply(Stage::Rcpt, "451 4.3.0 come back").for_domain("later.example"),
    ];
    Sinks::start(SinkSettings { rules, ..SinkSettings::default() }).expect("a sink can be started")
}

/// Hands a message in and gives the id that the 250 named.
fn accepted(daemon: &Daemon, to: &[&str]) -> String {
    let reply = Client::greet(daemon.address()).send(FROM, to, &text_to(FROM, to));
    assert_eq!(reply.code, 250, "{}", reply.text);
    reply.text.trim_end().rsplit(' ').next().expect("the id comes last").to_owned()
}

fn said(mut verb: Command) -> (Option<i32>, String) {
    let output = verb.output().expect("the program runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("it speaks UTF-8"))
}

fn found(daemon: &Daemon, words: &[&str]) -> Vec<Value> {
    let (code, text) = said(daemon.verb(&[&["log", "search"], words].concat()));
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(code, Some(i32::from(lines.is_empty())), "{words:?}: {text}");
    lines
}

/// Shows: S2.16, A82, A90
#[test]
fn ids_join_reception_attempt_and_outcome() {
    let sinks = sinks();
    let daemon = Daemon::start(Config::relay(sinks.first()).set("log", "level", "\"detail\""));
    let to = ["a@yes.example", "b@no.example"];
    let id = accepted(&daemon, &to);
    daemon.until_empty(PATIENCE);
    let lines = daemon.log();
    let about = |event: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["event"] == event && line["id"] == *id).collect()
    };
    let accepted = about("accepted")[0];
    assert_eq!((&accepted["from"], &accepted["recipients"]), (&FROM.into(), &2.into()));
    let attempts = about("attempt");
    let sessions: BTreeSet<&str> =
        attempts.iter().filter_map(|line| line["session"].as_str()).collect();
    for (event, recipient) in [("delivered", to[0]), ("failed", to[1])] {
        let ends = about(event);
        assert_eq!((ends.len(), &ends[0]["to"]), (1, &recipient.into()), "{event}");
        assert_eq!(ends[0]["site"], attempts[0]["site"]);
        let session = ends[0]["session"].as_str().expect("an outcome names its session");
        assert!(sessions.contains(session), "{session} is that of an attempt");
    }
    // Both sessions tell what was said in them.
    let inbound = accepted["session"].as_str().expect("a session");
    for session in sessions.iter().chain([&inbound]) {
        let of = |event: &str| {
            lines.iter().any(|line| line["session"] == **session && line["event"] == event)
        };
        assert!(of("connected") && of("dialogue"), "{session}");
    }
    let report = about("report")[0]["report"].as_str().expect("a report has an id").to_owned();
    // The life of the message, and that of the report about it, by one verb.
    let (code, life) = said(daemon.verb(&["trace", &id]));
    assert_eq!(code, Some(0));
    let words = ["accepted", "attempt", "delivered", "failed", "550 5.1.1 nobody", &report];
    assert!(words.iter().all(|word| life.contains(word)), "{life}");
    assert!(!life.contains("dialogue"), "{life}");
    let (_, whole) = said(daemon.verb(&["trace", &id, "--sessions", "--json"]));
    assert!(whole.contains("RCPT TO:<b@no.example>") && whole.contains("EHLO"), "{whole}");
    let (code, report) = said(daemon.verb(&["trace", &report]));
    assert!(code == Some(0) && report.contains("report"), "{report}");
    assert_eq!(said(daemon.verb(&["trace", "zzzzzzzzzzzzz"])).0, Some(2), "that is no id");
    assert_eq!(said(daemon.verb(&["trace", "0000000000000"])).0, Some(1), "nobody knows it");
}

/// What operators do, and what limits, orders and the machine do, are lines
/// too, with who asked.
///
/// Shows: S2.15, S4.6
#[test]
fn what_operators_do_and_what_the_daemon_does_is_in_the_log() {
    let sinks = sinks();
    let config = Config::relay(sinks.first()).set("submission", "max_connections_per_peer", "4");
    let mut daemon = Daemon::start(config);
    submit(daemon.address(), FROM, &["c@later.example"]);
    daemon.until_settled("c@later.example", 1);
    for act in ["hold", "release", "reroute", "remove"] {
        assert_eq!(daemon.act(act, r#"{"domain": "later.example", "reason": "a test"}"#), 1);
    }
    let scope = r#"{"domain": "stopped.example", "reason": "a test", "for": "1h"}"#;
    for (path, body) in [("suspend", scope), ("resume", r#"{"domain": "stopped.example"}"#)] {
        assert_eq!(daemon.ask("POST", &format!("/v1/{path}"), body).0, 200, "{path}");
    }
    // More clients than there may be, whichever shards they come to.
    let clients: Vec<(Client, u16)> = (0..40)
        .map(|_| Client::connect(daemon.address()))
        .map(|(client, greeting)| (client, greeting.code))
        .collect();
    assert!(clients.iter().any(|(_, code)| *code == 421));
    daemon.until_log_is_written();
    let first = daemon.log();
    assert_eq!(first.iter().filter(|line| line["event"] == "start").count(), 1);
    for event in [
        "deferred",
        "held",
        "released",
        "rerouted",
        "removed",
        "limit-reached",
        "command",
        "control",
        "suspended",
        "resumed",
        "recovered",
        "start",
    ] {
        assert!(first.iter().any(|line| line["event"] == event), "{event} is missing");
    }
    assert!(daemon.terminate().success());
    daemon.launch();
    daemon.until_logged("the second start", |line| {
        line["event"] == "start" && line["time"].as_str() > first[0]["time"].as_str()
    });
    assert_eq!(daemon.events("stop")[0]["reason"], "drained");
}

/// A log of small files: no 250 without its line, and everything is found
/// again, whichever file holds it.
///
/// Shows: S2.16, S2.19, A82
#[test]
fn what_was_accepted_is_found_again_in_compressed_files() {
    let sinks = sinks();
    let daemon = Daemon::start(Config::relay(sinks.first()).set("log", "size", "\"64KiB\""));
    let mut client = Client::greet(daemon.address());
    let ids: BTreeSet<String> = (0..300)
        .map(|n| {
            let to = [&*format!("u{n}@yes.example")];
            let reply = client.send(FROM, &to, &text_to(FROM, &to));
            reply.text.trim_end().rsplit(' ').next().expect("the id comes last").to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 300);
    let named = |name: &str| daemon.data().join("log").join(name);
    until("compressed files", PATIENCE, || {
        named("ringpost-00000002.log.zst").exists().then_some(())
    });
    let whole = || {
        let lines = found(&daemon, &["--event", "accepted", "--event", "delivered"]);
        Some(lines).filter(|lines| lines.len() >= 600)
    };
    let lines = until("two lines for each message", PATIENCE, whole);
    for event in ["accepted", "delivered"] {
        let of = lines.iter().filter(|line| line["event"] == event);
        let told: BTreeSet<String> =
            of.filter_map(|line| Some(line["id"].as_str()?.to_owned())).collect();
        assert_eq!(told, ids, "{event}");
    }
    let one = ids.first().expect("there are some");
    assert_eq!(found(&daemon, &["--id", one]).len(), 3);
    assert_eq!(found(&daemon, &["--address", "u7@yes.example"]).len(), 2);
    assert_eq!(found(&daemon, &["--domain", "elsewhere.example"]).len(), 0);
    assert_eq!(found(&daemon, &["--event", "attempt", "--site", "127.0.0.1"]).len(), 300);
    assert_eq!(found(&daemon, &["--since", "2020-01-01", "--event", "attempt"]).len(), 300);
    assert_eq!(found(&daemon, &["--until", "1h", "--event", "attempt"]).len(), 0);
    let (code, last) = said(daemon.verb(&["log", "tail", "-n", "3", "--event", "delivered"]));
    assert_eq!((code, last.lines().count()), (Some(0), 3));
    let (code, _) = said(daemon.verb(&["log", "search", "--event", "nonsense"]));
    assert_eq!(code, Some(2));
}

/// The daemon is killed at once behind its 250, before the line is in any file:
/// the next start writes it.
#[test]
fn a_250_has_its_line_also_when_the_daemon_was_killed_behind_it() {
    let nobody = crate::support::config::free_port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], nobody));
    let mut daemon = Daemon::start(Config::relay(address));
    let ids: Vec<String> = (0..5)
        .map(|n| {
            let id = accepted(&daemon, &[&format!("k{n}@away.example")]);
            daemon.crash();
            id
        })
        .collect();
    for id in ids {
        let line = daemon.until_logged("the line of reception", |line| {
            line["event"] == "accepted" && line["id"] == *id
        });
        assert_eq!(line["from"], FROM, "{line}");
    }
    assert!(daemon.events("accepted").iter().any(|line| line["recovered"] == true));
}
