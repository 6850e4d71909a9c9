//! A whole life over the control socket alone, as somebody with nothing but
//! `curl` leads it: from a configuration that says next to nothing to a relay
//! with two hosts and a log-in, to routes, to a domain that is stopped for a
//! while, to changes under load, to a change that breaks delivery and a daemon
//! that is killed before anybody confirms it.

use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Pace, SinkSettings, Sinks, Source, SourceSettings, Workload, verify};
use serde_json::{Value, json};

use crate::support::config::free_port;
use crate::support::pass::Pass;
use crate::support::postfix::Postfix;
use crate::support::process::{installed, run};
use crate::support::{Config, Daemon, PATIENCE, submit, until};

const FROM: &str = "a@source.example";

/// A request by curl, which must be answered with 200.
fn curl(daemon: &Daemon, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = try_curl(daemon, method, path, body);
    assert_eq!(status, 200, "{method} {path} {body}: {answer}");
    answer
}

fn try_curl(daemon: &Daemon, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let mut curl = Command::new(installed("curl", "curl"));
    curl.args(["--silent", "--show-error", "--write-out", "\n%{http_code}", "--request", method]);
    curl.arg("--unix-socket").arg(daemon.data().join("control.sock"));
    if !body.is_null() {
        curl.arg("--data").arg(body.to_string());
    }
    let said = run(curl.arg(format!("http://ringpost{path}")), "curl");
    let (answer, status) = said.rsplit_once('\n').expect("the status stands in the last line");
    let answer = serde_json::from_str(answer).expect("the answer is JSON");
    (status.parse().expect("a status is a number"), answer)
}

fn set(path: &str, value: &str) -> Value {
    json!({ "set": { "path": path, "value": value } })
}

fn edit(daemon: &Daemon, edits: &[Value]) -> Value {
    curl(daemon, "POST", "/v1/config/edit", &json!({ "edits": edits }))
}

fn commit(daemon: &Daemon, terms: &Value) -> u64 {
    let answer = curl(daemon, "POST", "/v1/config/commit", terms);
    answer["revision"].as_u64().expect("a commit makes a revision")
}

/// Shows: S0.10, S2.3, S2.13, S3.8, A30
#[test]
fn a_whole_life_with_nothing_but_curl() {
    let postfix = Postfix::demanding("SCRAM-SHA-256", "d001.example", &["tim"]);
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let mut daemon = Daemon::prepare(Config::new());
    daemon.scratch().write("tim.secret", "secret of tim\n");
    daemon.launch();

    // Relay mode with two hosts, of which the first is not there.
    let nobody = free_port();
    let hosts = format!("[\"127.0.0.1:{nobody}\", \"{}\"]", postfix.address());
    let trust = postfix.certificate().display().to_string();
    let log_in = "{ user = \"tim\", password_file = \"tim.secret\" }";
    let edits = [
        set("delivery.mode", "relay"),
        set("delivery.hosts", &hosts),
        set("delivery.trust", &trust),
        set("delivery.auth", log_in),
    ];
    let changed = edit(&daemon, &edits);
    assert_eq!(changed["findings"], json!([]), "{changed}");
    assert_eq!(commit(&daemon, &json!({ "base": 1, "comment": "our provider" })), 2);
    submit(daemon.address(), FROM, &["b@d001.example"]);
    assert_eq!(daemon.until_settled("b@d001.example", 1)[0].event, "delivered");
    assert!(postfix.log().contains("sasl_username=tim"), "{}", postfix.log());

    // A route, tried before it is committed.
    let route = json!({ "match": "*.example", "before": null, "set": {
        "hosts": format!("[\"{}\"]", sinks.first()), "tls": "none", "auth": "none",
    } });
    edit(&daemon, &[json!({ "route-add": route })]);
    let test = curl(&daemon, "GET", "/v1/routes/test?address=b@d002.example", &Value::Null);
    assert_eq!((test["number"].as_u64(), test["match"].as_str()), (Some(1), Some("*.example")));
    commit(&daemon, &json!({}));
    submit(daemon.address(), FROM, &["b@x.d002.example"]);
    assert!(sinks.wait_for(1, PATIENCE), "{:?}", daemon.history("b@x.d002.example"));

    // One domain is stopped for a while: its mail waits, untried, and says why.
    let stop = json!({ "domain": "x.d002.example", "reason": "they move house" });
    curl(&daemon, "POST", "/v1/suspend", &stop);
    submit(daemon.address(), FROM, &["s@x.d002.example"]);
    let explained = "/v1/explain?address=s@x.d002.example";
    let blocker = curl(&daemon, "GET", explained, &Value::Null)["blocker"].to_string();
    assert!(blocker.contains("they move house"), "{blocker}");
    let waiting = daemon.list("recipient=s@x.d002.example");
    assert_eq!((waiting.len(), &waiting[0]["attempts"]), (1, &json!(0)), "{waiting:?}");
    curl(&daemon, "POST", "/v1/resume", &json!({ "domain": "x.d002.example" }));
    assert!(sinks.wait_for(2, PATIENCE), "{:?}", daemon.history("s@x.d002.example"));
    assert_eq!(daemon.until_settled("s@x.d002.example", 1)[0].attempt, 1);

    // A change that breaks delivery, and a crash before anybody confirms it.
    let before = curl(&daemon, "GET", "/v1/config", &Value::Null);
    edit(&daemon, &[set("route[1].hosts", &format!("[\"127.0.0.1:{nobody}\"]"))]);
    edit(&daemon, &[set("route[1].fallback", "false")]);
    let broken = commit(&daemon, &json!({ "confirm": "10m" }));
    submit(daemon.address(), FROM, &["c@x.d002.example"]);
    assert_eq!(daemon.until_settled("c@x.d002.example", 1)[0].event, "deferred");
    daemon.crash();
    let after = curl(&daemon, "GET", "/v1/config", &Value::Null);
    assert_eq!(after["toml"], before["toml"], "the old revision rules");
    assert!(sinks.wait_for(3, PATIENCE), "{:?}", daemon.history("c@x.d002.example"));
    let (status, refused) =
        try_curl(&daemon, "POST", "/v1/config/confirm", &json!({ "revision": broken }));
    assert_eq!(status, 409, "too late: {refused}");
    let shown = curl(&daemon, "GET", "/v1/config", &Value::Null).to_string();
    assert!(shown.contains("tim.secret") && !shown.contains("secret of tim"), "{shown}");
}

/// How much is sent while the configuration changes, and how often it does;
/// the long form with `RINGPOST_LONG` set.
struct Load {
    messages: u64,
    per_second: f64,
    revisions: u32,
    every: Duration,
}

/// The next hop and the name that is said there change together, a revision
/// after the other, while mail flows: nothing is lost or doubled, and nobody
/// hears a name that does not go with the hop.
///
/// Shows: S0.10
#[test]
fn changes_under_load_lose_nothing_and_come_whole() {
    let load = match std::env::var_os("RINGPOST_LONG") {
        Some(_) => Load {
            messages: 20_000,
            per_second: 320.0,
            revisions: 60,
            every: Duration::from_secs(1),
        },
        None => Load {
            messages: 4_000,
            per_second: 1_000.0,
            revisions: 35,
            every: Duration::from_millis(100),
        },
    };
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let hops = ["one", "two"].map(|name| (format!("{name}.example"), Pass::to(sinks.first())));
    let edits = |number: usize| {
        let (name, pass) = &hops[number % 2];
        [set("hostname", name), set("delivery.hosts", &format!("[\"{}\"]", pass.address()))]
    };
    let config = Config::relay(hops[0].1.address())
        .set("", "hostname", "\"one.example\"")
        .set("", "shards", "2")
        // So that each revision makes connections of its own.
        .set("delivery", "messages_per_connection", "5");
    let daemon = Daemon::start(config);
    let workload = Workload::new(load.messages, 20, 55);
    let pace = Pace::Fixed { per_second: load.per_second };
    let settings = SourceSettings { sessions: 10, pace, ..SourceSettings::default() };
    let source = Source::start(daemon.address(), &workload, settings).expect("it starts");
    let began = Instant::now();
    for number in 1..=load.revisions {
        // Not before its time; how long a commit takes decides nothing.
        until("the time of the next revision", PATIENCE, || {
            (began.elapsed() >= load.every * number).then_some(())
        });
        let body = json!({ "edits": edits(number as usize) }).to_string();
        let (status, answer) = daemon.ask("POST", "/v1/config/edit", &body);
        assert_eq!(status, 200, "{answer}");
        let (status, answer) = daemon.ask("POST", "/v1/config/commit", "{}");
        assert_eq!((status, answer["revision"].as_u64()), (200, Some(u64::from(number) + 1)));
    }
    let took = began.elapsed();
    let source = source.wait();
    assert!(sinks.wait_for(source.promised(&workload), PATIENCE), "{:?}", sinks.progress());
    daemon.until_empty(PATIENCE);
    let verdict = verify(&workload, &source, &sinks.report());
    assert!(verdict.is_exactly_once(), "{verdict:?}");
    assert_eq!(verdict.kept, load.messages, "{:?}", source.troubles);
    let heard = hops.each_ref().map(|(_, pass)| pass.names());
    println!("{} revisions in {took:?}: {heard:?}", load.revisions);
    for ((name, _), heard) in hops.iter().zip(&heard) {
        assert!(heard.keys().all(|said| said == name), "{name} was called {heard:?}");
        assert!(heard.get(name).is_some_and(|times| *times > 3), "hardly anybody: {heard:?}");
    }
}
