//! Alerts: a relay goes away, mail waits, and somebody is told by mail, by a
//! webhook and by syslog, once; the relay comes back, and they are told that.

use std::net::UdpSocket;
use std::time::Duration;

use harness::{SinkSettings, Sinks};
use serde_json::Value;

use crate::support::config::free_port;
use crate::support::endpoint::Endpoint;
use crate::support::process::run;
use crate::support::{Config, Daemon, PATIENCE, submit, until, until_or_explain};

const FROM: &str = "sender@from.example";

/// The rules and the turns of all alerts in these lines, in their order.
fn alerts(lines: &[Value]) -> Vec<(String, String)> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| (text(line, "alert"), text(line, "turn"))).collect()
}

fn standing(daemon: &Daemon) -> Vec<String> {
    let alerts = daemon.show("/v1/alerts")["alerts"].as_array().cloned().unwrap_or_default();
    alerts.iter().map(|one| one["rule"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Settings under which the queue's size alone is watched.
fn watched(config: Config) -> Config {
    let off = [
        "disk_free",
        "site_down",
        "route_down",
        "resolver",
        "port_25",
        "failure_rate",
        "queue_age",
    ];
    off.into_iter()
        .fold(config, |config, rule| config.set("alerts", rule, "\"none\""))
        .set("alerts", "raise_after", "\"1s\"")
        .set("alerts", "clear_after", "\"1s\"")
        .set("alerts", "queue_size", "8")
}

/// Shows: S2.14, S2.19
#[test]
fn an_alert_reaches_mail_webhook_and_syslog_and_clears_by_itself() {
    let operators = Sinks::start(SinkSettings { keep_max: 10, ..SinkSettings::default() });
    let operators = operators.expect("a sink can be started");
    let endpoint = Endpoint::start();
    let syslog = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    syslog.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has a timeout");
    let to = syslog.local_addr().expect("it is bound");
    let away = free_port();
    let hook = format!(
        "name = \"alerts\"\nurl = \"{}\"\nevents = [\"alert\"]\nwait = \"50ms\"",
        endpoint.url()
    );
    let log = format!("name = \"alerts\"\nto = \"udp://{to}\"\nevents = [\"alert\"]");
    let ops = format!(
        "match = \"ops.example\"\nmode = \"relay\"\nhosts = [\"{}\"]\ntls = \"none\"",
        operators.first()
    );
    let relay = std::net::SocketAddr::from(([127, 0, 0, 1], away));
    let config = watched(Config::relay(relay))
        .set("alerts", "mail_to", "[\"duty@ops.example\"]")
        .table("webhook", &hook)
        .table("syslog", &log)
        .route(&ops);
    let mut daemon = Daemon::start(config);
    let to: Vec<String> = (0..8).map(|n| format!("u{n}@a.example")).collect();
    to.iter().for_each(|to| submit(daemon.address(), FROM, &[&**to]));
    assert!(operators.wait_for(1, PATIENCE), "somebody gets mail");
    assert_eq!(standing(&daemon), ["queue_size"]);
    let shown = run(&mut daemon.verb(&["alerts"]), "ringpost");
    assert!(shown.contains("so many recipients wait: 8 (limit 8)"), "{shown}");
    // It stands over a restart, and is not told again.
    assert!(daemon.terminate().success());
    daemon.launch();
    assert_eq!(standing(&daemon), ["queue_size"]);
    // The relay is not needed any more.
    assert_eq!(daemon.act("remove", r#"{"domain": "a.example"}"#), 8);
    let over = || standing(&daemon).is_empty().then_some(());
    until_or_explain("the alert to clear", PATIENCE, over, || {
        daemon.show("/v1/alerts").to_string()
    });
    assert!(operators.wait_for(2, PATIENCE), "and mail again");
    daemon.until_empty(PATIENCE);
    let both = ["raised", "cleared"].map(|turn| ("queue_size".to_owned(), turn.to_owned()));
    assert_eq!(alerts(&daemon.events("alert")), both);
    until("both at the webhook", PATIENCE, || (endpoint.taken().len() >= 2).then_some(()));
    let posted: Vec<Value> = endpoint
        .taken()
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(alerts(&posted), both);
    for turn in ["raised", "cleared"] {
        let mut message = [0; 2_048];
        let length = syslog.recv(&mut message).expect("a message comes");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        assert!(text.starts_with("<20>1 ") && text.contains(turn), "{text}");
    }
    let kept = operators.report().kept;
    assert_eq!(kept.len(), 2, "one message for each turn");
    for (message, turn) in kept.iter().zip(["raised", "cleared"]) {
        let text = String::from_utf8_lossy(&message.content).into_owned();
        assert!(message.sender().is_empty(), "no report may follow");
        assert!(
            text.contains(&format!("Subject: ringpost.example: alert {turn}: queue_size")),
            "{text}"
        );
        assert!(text.contains("Auto-Submitted: auto-generated"), "{text}");
    }
}

/// What is silenced is logged as such and mailed to nobody; a limit is moved
/// while the daemon runs.
///
/// Shows: S2.14, S2.19
#[test]
fn a_silenced_alert_is_told_to_nobody_and_limits_change_live() {
    let operators = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let config = watched(Config::relay(operators.first()))
        .set("alerts", "queue_size", "100000")
        .set("alerts", "mail_to", "[\"duty@ops.example\"]");
    let daemon = Daemon::start(config.clone());
    let silence = ["alerts", "silence", "queue_size", "--for", "1h", "--reason", "a move"];
    let shown = run(&mut daemon.verb(&silence), "ringpost");
    assert!(shown.contains("a move"), "{shown}");
    daemon.ask("POST", "/v1/suspend", r#"{"domain": "a.example", "reason": "a test"}"#);
    submit(daemon.address(), FROM, &["x@a.example"]);
    assert_eq!(daemon.waiting(), 1);
    let text = config.set("alerts", "queue_size", "1").text();
    let base = daemon.show("/v1/config")["revision"].clone();
    let body = serde_json::json!({ "text": text, "base": base }).to_string();
    let (status, said) = daemon.ask("POST", "/v1/config/commit", &body);
    assert_eq!(status, 200, "{said}");
    let line = daemon.until_logged("the alert", |line| line["event"] == "alert");
    assert_eq!((&line["silenced"], &line["turn"]), (&true.into(), &"raised".into()), "{line}");
    daemon.ask("POST", "/v1/resume", r#"{"domain": "a.example"}"#);
    daemon.until_logged("its end", |line| line["turn"] == "cleared");
    daemon.until_empty(PATIENCE);
    assert_eq!(operators.progress().messages, 1, "the mail that waited, and no other");
    run(&mut daemon.verb(&["alerts", "unsilence", "queue_size"]), "ringpost");
    assert_eq!(daemon.show("/v1/alerts")["silences"].as_array().map(Vec::len), Some(0));
}
