//! What an operator does to a running daemon, by the verbs of the program:
//! delivery stopped and started, mail taken meanwhile, nothing lost over a
//! crash.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use harness::{Rule, SinkSettings, Sinks, Source, SourceSettings, Stage, Workload, verify};
use serde_json::Value;

use crate::support::config::free_port;
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
/// Shows: S3.22, A30
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

/// Mail that waits for a relay that refuses it is counted, sent by another
/// route, and what is left goes back to its sender with the operator's words.
///
/// Shows: S3.21, A33
#[test]
fn waiting_mail_is_sent_another_way_or_given_back() {
    let refusal = vec![Rule::reply(Stage::Rcpt, "451 4.3.0 come back").for_domain("slow.example")];
    let refusing = SinkSettings { rules: refusal, ..SinkSettings::default() };
    let refusing = Sinks::start(refusing).expect("a sink can be started");
    let taking = Sinks::start(SinkSettings { keep_max: 10, ..SinkSettings::default() });
    let taking = taking.expect("a sink can be started");
    let other = format!("mode = \"relay\"\nhosts = [\"{}\"]\ntls = \"none\"", taking.first());
    let config = Config::relay(refusing.first())
        .set("delivery", "retry", "[\"1h\"]")
        .route(&format!("match = \"from.example\"\n{other}"));
    let daemon = Daemon::start(config);
    for name in ["a", "b", "c"] {
        submit(daemon.address(), FROM, &[&format!("{name}@slow.example")]);
        daemon.until_settled(&format!("{name}@slow.example"), 1);
    }
    let route = ["--route", "default"];
    let count = |words: &[&str]| verb(&daemon, words)["recipients"].as_u64();
    let there = ["--to", "from.example", "--recipient", "a@slow.example"];
    assert_eq!(count(&[&["queue", "reroute", "--dry-run"][..], &there].concat()), Some(1));
    assert_eq!(count(&[&["queue", "reroute"][..], &there].concat()), Some(1));
    assert_eq!(count(&["queue", "flush", "--recipient", "a@slow.example"]), Some(1));
    daemon.until_settled("a@slow.example", 2);
    assert_eq!(taking.progress().messages, 1, "the other way takes it");
    let words = ["queue", "bounce", "--reason", "the relay is gone"];
    assert_eq!(count(&[&words[..], &route].concat()), Some(2));
    assert!(taking.wait_for(3, PATIENCE), "two reports and one message");
    let kept = taking.report().kept;
    let told = |one: &&harness::Kept| {
        String::from_utf8_lossy(&one.content).contains("returned by command: the relay is gone")
    };
    assert_eq!(kept.iter().filter(told).count(), 2);
    daemon.until_empty(PATIENCE);
}

/// Why does mail wait? One verb says which route takes it, where a setting
/// comes from, and what blocks it.
///
/// Shows: S3.22
#[test]
fn an_address_is_explained() {
    let nobody = free_port();
    let config = Config::new().route(&format!(
        "match = \"*.dept.example\"\nmode = \"relay\"\nhosts = [\"127.0.0.1:{nobody}\"]\n\
         tls = \"none\"\nlifetime = \"30d\"\nfallback = false\nretry = [\"1h\"]"
    ));
    let daemon = Daemon::start(config);
    let before = verb(&daemon, &["explain", "a@x.dept.example"]);
    assert!(before["blocker"].is_null(), "{before}");
    submit(daemon.address(), FROM, &["a@x.dept.example"]);
    daemon.until_settled("a@x.dept.example", 1);
    let after = verb(&daemon, &["explain", "b@y.dept.example"]);
    assert_eq!(after["policy"]["route"], "*.dept.example");
    assert_eq!(after["waiting"]["deferred"], 1);
    let settings = after["policy"]["settings"].as_array().expect("there are settings");
    let lifetime = settings.iter().find(|row| row["key"] == "lifetime").expect("it is one");
    assert_eq!(
        (&lifetime["value"], &lifetime["from"]),
        (&"\"30d\"".into(), &"route *.dept.example".into())
    );
    let page = run(&mut daemon.verb(&["explain", "b@y.dept.example"]), "ringpost");
    assert!(page.contains("*.dept.example") && page.contains("127.0.0.1"), "{page}");
}

/// A verb behind which somebody had seen enough (`ringpost queue list | head`)
/// ended as a crash of ours does, so that scripts took for failed what was done.
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let daemon = Daemon::start(Config::relay(([127, 0, 0, 1], free_port()).into()));
    let help = || {
        let mut help = Command::new(tests::ringpost());
        help.args(["config", "help", "--page"]);
        help
    };
    let ends = |verb: &mut Command, out: Stdio| {
        let ended = verb.stdout(out).stderr(Stdio::piped()).output().expect("it runs");
        (ended.status.code(), String::from_utf8(ended.stderr).expect("text"))
    };
    for verb in [&mut help(), &mut daemon.verb(&["status"])] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        assert_eq!(ends(verb, writer.into()), (Some(0), String::new()));
        let full = File::options().write(true).open("/dev/full").expect("it is everywhere");
        let (code, said) = ends(verb, full.into());
        assert!(code == Some(1) && said.contains("No space left"), "{code:?} {said}");
    }
}

/// A daemon that serves as many as it may at once is there, and says that it is
/// busy.
#[test]
fn a_daemon_with_too_many_clients_is_not_taken_for_none() {
    let daemon = Daemon::start(Config::relay(([127, 0, 0, 1], free_port()).into()));
    let socket = daemon.data().join("control.sock");
    // So many are served, and hold what they have for a while.
    let held: Vec<_> = (0..16).map(|_| UnixStream::connect(&socket).expect("it listens")).collect();
    let ended = daemon.verb(&["status"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(4) && said.contains("too many connections"), "{said}");
    drop(held);
}
