//! What the web page says of a state in one sentence, and how it writes numbers
//! and times: its own functions, called in a real browser.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::config::free_port;
use crate::support::{Config, Daemon};

/// A status of a daemon that is well, with one field changed.
fn status(key: &str, value: Value) -> Value {
    let mut status = json!({
        "storage": "ok", "draining": false, "free_bytes": 9_u64 << 30, "links": [],
        "recipients": { "ready": 1, "deferred": 2, "in_flight": 0, "held": 0 },
    });
    status[key] = value;
    status
}

/// Shows: A88
#[test]
fn the_state_is_said_in_one_sentence() {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let config = Config::new().set("page", "listen", &format!("\"{at}\""));
    let _daemon = Daemon::start(config);
    let mut browser = Browser::start(800, 600);
    browser.open(&format!("http://{at}/#/mail"));
    browser.until("the page", "document.getElementById('asked') !== null");
    for (facts, level, sentence) in states().into_iter().chain(troubles()) {
        let script = format!("import('/page/state.js').then((it) => it.assess({facts}))");
        let said = browser.value(&script);
        assert_eq!((&said["level"], &said["sentence"]), (&json!(level), &json!(sentence)));
    }
    numbers_and_times_are_written_for_people(&mut browser);
    let complaints = browser.complaints().to_vec();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Facts, each with the level and the sentence that they make.
fn states() -> Vec<(Value, &'static str, &'static str)> {
    let well = status("storage", json!("ok"));
    let nothing = json!({ "ready": 0, "deferred": 0, "in_flight": 0, "held": 0 });
    let stopped = json!([{ "scope": "all", "name": "", "reason": "the provider moves" }]);
    let rates = json!({ "accepted": 3, "delivered": 1240, "deferred": 0, "bounced": 0 });
    vec![
        (json!({ "status": well }), "ok", "Healthy: 3 recipients wait."),
        (
            json!({ "status": well, "rates": rates }),
            "ok",
            "Healthy: 1,240 a second go out, 3 recipients wait.",
        ),
        (
            json!({ "status": status("recipients", nothing),
                    "rates": { "accepted": 0, "delivered": 0 } }),
            "ok",
            "Healthy and idle: nothing waits.",
        ),
        (
            json!({ "status": status("storage", json!("failed")), "suspensions": stopped }),
            "bad",
            "The queue’s storage has failed: no mail is taken.",
        ),
        (
            json!({ "status": status("storage", json!("no room")) }),
            "bad",
            "The queue has no room: mail is refused for now.",
        ),
        (
            json!({ "status": status("draining", json!(true)) }),
            "warn",
            "The daemon is stopping: it takes no more mail.",
        ),
        (
            json!({ "status": well, "suspensions": stopped }),
            "warn",
            "All delivery is stopped: the provider moves.",
        ),
        (
            json!({ "status": status("free_bytes", json!(1_u64 << 30)) }),
            "warn",
            "Only 1.0 GiB are free on the queue’s disk.",
        ),
        (
            json!({ "status": status("links", json!([{ "name": "isp", "state": "failed",
                                                      "reason": "no carrier" }])) }),
            "warn",
            "The link of isp is not up: no carrier.",
        ),
    ]
}

/// The same, of sites that are down and of alerts that stand.
fn troubles() -> Vec<(Value, &'static str, &'static str)> {
    let well = status("storage", json!("ok"));
    let down = json!([{ "name": "mx:mx1.a.example;port=26", "state": "down", "count": 7,
                        "reason": "connection refused" }]);
    let alerts = json!([
        { "rule": "certificate", "of": "a.pem", "reason": "soon", "silenced": true },
        { "rule": "queue_size", "of": "", "reason": "waiting recipients: 12 (limit 10)",
          "silenced": false },
    ]);
    vec![
        (
            json!({ "status": well, "states": { "down": 1, "up": 4 }, "worst": down }),
            "warn",
            "mx1.a.example does not answer.",
        ),
        (
            json!({ "status": well, "states": { "down": 2, "up": 998 }, "worst": down }),
            "warn",
            "2 sites of 1,000 with waiting mail do not answer.",
        ),
        (
            json!({ "status": well, "states": { "down": 3 }, "worst": down }),
            "bad",
            "None of the 3 sites with waiting mail answers.",
        ),
        (
            json!({ "status": well, "alerts": alerts, "states": { "up": 3 } }),
            "warn",
            "Alert: waiting recipients: 12 (limit 10).",
        ),
    ]
}

fn numbers_and_times_are_written_for_people(browser: &mut Browser) {
    for (call, text) in [
        ("count(1234567)", "1,234,567"),
        ("count(null)", "–"),
        ("rate(0.01)", "<0.1"),
        ("rate(12.34)", "12.3"),
        ("rate(1234.5)", "1,235"),
        ("bytes(999)", "999 B"),
        ("bytes(3 * 1024 ** 3)", "3.0 GiB"),
        ("span(0)", "0 s"),
        ("span(61_000)", "1 min 1 s"),
        ("span(3_600_000)", "1 h"),
        ("span(3_605_000)", "1 h"),
        ("span(93_600_000)", "1 d 2 h"),
        ("latency(310)", "310 µs"),
        ("latency(4_200)", "4.2 ms"),
        ("latency(1_300_000)", "1.3 s"),
        ("distance(60_000, 0)", "in 1 min"),
        ("distance(0, 5_000)", "5 s ago"),
        ("several(1, 'site')", "one site"),
    ] {
        let script = format!("import('/page/format.js').then((it) => it.{call})");
        assert_eq!(browser.value(&script), text, "{call}");
    }
}
