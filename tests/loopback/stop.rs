//! SIGTERM while mail flows in and out: the daemon ends what is under way, says
//! 421 to who is connected, and is gone with exit code 0. Nothing is lost, and
//! nothing comes twice: what is stopped in good order is never in doubt.

use harness::{Outcome, SinkSettings, Sinks, Source, SourceSettings, Workload, verify};

use crate::support::{Client, Config, Daemon, PATIENCE, until};

const STOPS: u32 = 5;

/// Covers: A1.26, B33
#[test]
fn stops_under_load_lose_and_double_nothing() {
    let workload = Workload::new(2_000_000, 20, 33);
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let config = Config::relay(sinks.first()).set("queue", "segment", "\"8MiB\"");
    let mut daemon = Daemon::start(config);
    let settings = SourceSettings {
        sessions: 20,
        messages_per_session: 50,
        connect_patience: PATIENCE,
        ..SourceSettings::default()
    };
    let source = Source::start(daemon.address(), &workload, settings).expect("it starts");
    for stop in 0..STOPS {
        let taken = sinks.progress().messages;
        until("mail to flow", PATIENCE, || (sinks.progress().messages > taken).then_some(()));
        let status = daemon.terminate();
        assert!(status.success(), "stop {stop}: {status}");
        daemon.launch();
        assert_eq!(daemon.list("in_doubt=true").len(), 0, "stop {stop}");
    }
    source.stop();
    let source = source.wait();
    until("an empty queue", PATIENCE, || (daemon.waiting() == 0).then_some(()));
    let verdict = verify(&workload, &source, &sinks.report());
    println!("{STOPS} stops: {verdict:?} {:?}", source.troubles);
    assert!(verdict.is_exactly_once(), "{verdict:?}");
    assert!(verdict.promised > u64::from(STOPS), "hardly any load");
    assert_eq!(source.count(Outcome::Refused(451)), 0, "{:?}", source.troubles);
}

/// A client that has nothing under way is told before its connection ends.
///
/// Proves: RFC 5321 §3.8
/// Covers: A1.26, B33
#[test]
fn an_idle_client_is_told_goodbye() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let mut daemon = Daemon::start(Config::relay(sinks.first()));
    let mut client = Client::greet(daemon.address());
    assert!(daemon.terminate().success());
    let reply = client.reply();
    assert_eq!(reply.code, 421, "{}", reply.text);
    assert!(reply.text.contains("4.3.2"), "{}", reply.text);
}

/// What somebody does over the control socket stands in the log with who it was.
///
/// Covers: B95
#[test]
fn who_asked_for_what_is_in_the_log() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let daemon = Daemon::start(Config::relay(sinks.first()));
    daemon.act("flush", r#"{"all": true}"#);
    let line = daemon.until_logged("the command", |line| line["uid"].is_u64());
    assert_eq!(line["uid"], u64::from(rustix::process::getuid().as_raw()), "{line}");
    assert!(line["request"].as_str().is_some_and(|text| text.contains("flush")), "{line}");
}
