//! What an operator does to a running daemon, by the verbs of the program:
//! delivery stopped and started, mail taken meanwhile, nothing lost over a
//! crash.

use harness::{SinkSettings, Sinks, Source, SourceSettings, Workload, verify};
use serde_json::Value;

use crate::support::process::run;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

const FROM: &str = "sender@from.example";

/// A verb that must succeed; its answer as JSON.
fn verb(daemon: &Daemon, words: &[&str]) -> Value {
    let said = run(daemon.verb(words).arg("--json"), "ringpost");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
}

/// Delivery is stopped while mail comes in: injection goes on, nothing leaves,
/// also not after a crash; started again, everything arrives once.
///
/// Shows: S1.2
#[test]
fn delivery_stops_and_starts_while_mail_comes_in() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let mut daemon = Daemon::start(Config::relay(sinks.first()).with_default_sizes());
    verb(&daemon, &["delivery", "stop", "--reason", "the provider moves"]);
    let workload = Workload::new(2_000, 20, 2);
    let source = Source::run(daemon.address(), &workload, SourceSettings::default());
    let source = source.expect("a source can be started");
    assert_eq!(source.promised(&workload), 2_000, "{:?}", source.troubles);
    daemon.crash();
    until("the queue to be known again", PATIENCE, || (daemon.waiting() == 2_000).then_some(()));
    let listed = verb(&daemon, &["suspend", "list"]);
    assert_eq!(listed["suspensions"][0]["reason"], "the provider moves");
    let sites = daemon.show("/v1/queue");
    assert_eq!(sites["sites"][0]["state"], "suspended", "{sites}");
    let reason = sites["sites"][0]["reason"].as_str().unwrap_or_default();
    assert_eq!(reason, "suspended (all): the provider moves");
    assert!(daemon.list("").iter().all(|row| row["attempts"] == 0));
    assert_eq!(sinks.progress().messages, 0, "nothing leaves");
    verb(&daemon, &["delivery", "start"]);
    daemon.until_empty(PATIENCE);
    let verdict = verify(&workload, &source, &sinks.report());
    assert!(verdict.is_exactly_once(), "{verdict:?}");
}

/// One domain of a relay is stopped for two seconds: the others' mail passes
/// it, and its own goes by itself when the time is over.
///
/// Shows: S3.22
#[test]
fn a_suspended_domain_is_passed_and_goes_by_itself() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let daemon = Daemon::start(Config::relay(sinks.first()));
    let words = ["suspend", "--domain", "slow.example", "--for", "2s", "--reason", "they asked"];
    verb(&daemon, &words);
    submit(daemon.address(), FROM, &["a@slow.example", "a@other.example"]);
    daemon.until_settled("a@other.example", 1);
    let rows = daemon.list("recipient=a@slow.example");
    assert_eq!(rows[0]["suspended"], "suspended (domain slow.example): they asked");
    daemon.until_empty(PATIENCE);
    assert_eq!(daemon.events("resumed").len(), 1);
    let (status, _) = daemon.ask("POST", "/v1/resume", r#"{"domain": "slow.example"}"#);
    assert_eq!(status, 404, "it has ended");
    assert_eq!(sinks.progress().messages, 2);
}
