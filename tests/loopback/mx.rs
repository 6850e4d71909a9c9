//! By mail exchangers, looked up with a real name server, NSD, that holds zones
//! of our own. What only a misbehaving server does (silence, garbage), the
//! harness's does.
//!
//! Mail to what does not exist comes back; mail whose look-up failed waits,
//! and that was nobody's attempt.

use std::net::{IpAddr, Ipv4Addr};

use harness::{
    Act, Fate, NameServer, Rule, SinkSettings, Sinks, Source, SourceSettings, Stage, Workload,
    Zones, verify,
};

use crate::support::nsd::Nsd;
use crate::support::{Client, Config, Daemon, PATIENCE, submit, text_to, until};

const FROM: &str = "sender@back.story.example";

/// Each story's exchangers stand on addresses 127.0.`net`.1 and on.
fn sinks(net: u8, hosts: u8, rules: Vec<Rule>) -> Sinks {
    let address = |host| IpAddr::V4(Ipv4Addr::new(127, 0, net, host));
    let addresses = (1..=hosts).map(address).collect();
    let settings = SinkSettings { addresses, rules, keep_max: 1_000, ..SinkSettings::default() };
    Sinks::start(settings).expect("loopback addresses can be bound")
}

fn messages(sinks: &Sinks) -> Vec<u64> {
    sinks.report().hosts.iter().map(|host| host.messages).collect()
}

/// Covers: A2.20, A2.21, B38
/// Shows: S1.10, S3.11, S4.3
#[test]
fn exchangers_are_tried_in_order_of_preference() {
    let sinks = sinks(11, 4, Vec::new());
    let nsd = Nsd::start(
        &[(
            "story.example",
            "dead MX 5 nobody\ndead MX 10 mx1\nnobody A 127.0.11.200\n\
             equal MX 10 mx2\nequal MX 10 mx3\n\
             implicit A 127.0.11.4\n\
             mx1 A 127.0.11.1\nmx2 A 127.0.11.2\nmx3 A 127.0.11.3",
        )],
        &[],
    );
    let daemon = Daemon::start(
        Config::by_mx(nsd.address(), sinks.port())
            // One message each, so that the choice is made again.
            .set("delivery", "messages_per_connection", "1"),
    );
    submit(daemon.address(), FROM, &["a@dead.story.example"]);
    submit(daemon.address(), FROM, &["a@implicit.story.example"]);
    let mut client = Client::greet(daemon.address());
    for number in 0..100 {
        let to = format!("r{number}@equal.story.example");
        assert_eq!(client.send(FROM, &[&to], &text_to(FROM, &[&to])).code, 250);
    }
    assert!(sinks.wait_for(102, PATIENCE), "{:?}", sinks.progress());
    daemon.until_empty(PATIENCE);
    let by_host = messages(&sinks);
    assert_eq!((by_host[0], by_host[3]), (1, 1), "dead first, implicit: {by_host:?}");
    assert_eq!(by_host[1] + by_host[2], 100);
    // An even choice misses one of two hosts in 100 draws once in 2^99 runs.
    assert!(by_host[1] > 0 && by_host[2] > 0, "only one of two equals: {by_host:?}");
    let history = daemon.history("a@dead.story.example");
    assert_eq!(history.len(), 1, "the next exchanger belongs to the same attempt: {history:?}");
    assert_eq!(history[0].attempt, 1);
}

/// Covers: A2.25, A2.27, A2.33, A7.9, B80
/// Shows: S1.10
#[test]
fn what_takes_no_mail_or_does_not_exist_comes_back() {
    let sinks = sinks(12, 1, Vec::new());
    let nsd = Nsd::start(
        &[("story.example", "null MX 0 .\nback MX 10 mx1\nmx1 A 127.0.12.1")],
        &["broken.example"],
    );
    let daemon = Daemon::start(Config::by_mx(nsd.address(), sinks.port()));
    for (to, status) in [("a@null.story.example", "5.1.10"), ("a@none.story.example", "5.1.2")] {
        submit(daemon.address(), FROM, &[to]);
        let history = daemon.until_settled(to, 1);
        assert_eq!((&*history[0].event, &*history[0].status), ("failed", status), "{history:?}");
    }
    assert!(sinks.wait_for(2, PATIENCE), "two reports: {:?}", sinks.progress());
    for kept in sinks.report().kept {
        assert_eq!(kept.sender(), "", "a report has a null sender");
        assert_eq!(kept.recipients().collect::<Vec<_>>(), [FROM]);
    }
    // SERVFAIL by a real server: no answer, so no verdict.
    submit(daemon.address(), FROM, &["a@sub.broken.example"]);
    daemon.until_logged("a look-up that failed", |line| {
        line["event"] == "lookup" && line["domain"] == "sub.broken.example"
    });
    waits_without_attempt(&daemon, "a@sub.broken.example");
    assert_eq!(sinks.progress().messages, 2, "and no third report");
}

/// Recipient `to` waits, and no attempt was made.
fn waits_without_attempt(daemon: &Daemon, to: &str) {
    let rows = daemon.list(&format!("recipient={to}"));
    assert_eq!(rows.len(), 1, "{to} does not wait: {rows:?}");
    assert_eq!(rows[0]["attempts"], 0, "counted as an attempt: {rows:?}");
    let ends = ["failed", "expired", "delivered", "removed"];
    let history = daemon.history(to);
    assert!(history.iter().all(|it| !ends.contains(&&*it.event)), "{history:?}");
}

/// Covers: A2.25, B73, B75
#[test]
fn a_name_server_in_trouble_costs_no_attempt_and_no_mail() {
    let fates = [
        ("servfail", Fate::ServFail),
        ("refused", Fate::Refused),
        ("silent", Fate::Silent),
        ("garbage", Fate::Garbage),
        ("forged", Fate::WrongId),
        ("cut", Fate::SilentOverTcp),
    ];
    let sinks = sinks(13, 1, Vec::new());
    let mut zones = Zones::new().ttl(300, 1);
    for (name, fate) in fates {
        zones.mx(&format!("{name}.example"), 10, "mx.story.example");
        zones.fate(&format!("{name}.example"), fate);
    }
    zones.address("mx.story.example", [127, 0, 13, 1]);
    let server = NameServer::start(zones.clone()).expect("a name server can be started");
    let config = Config::by_mx(server.address(), sinks.port());
    let daemon = Daemon::start(config.set("dns", "timeout", "\"100ms\""));
    for (name, _) in fates {
        submit(daemon.address(), FROM, &[&format!("a@{name}.example")]);
    }
    for (name, _) in fates {
        let line = daemon.until_logged(&format!("the look-up of {name}.example"), |line| {
            line["event"] == "lookup" && line["domain"] == format!("{name}.example")
        });
        assert_eq!(line["result"], "unknown", "{line}");
        waits_without_attempt(&daemon, &format!("a@{name}.example"));
    }
    for (name, _) in fates {
        zones.fate(&format!("{name}.example"), Fate::Answered);
    }
    server.set_zones(zones);
    assert_eq!(daemon.act("flush", r#"{"all": true}"#), 6);
    assert!(sinks.wait_for(6, PATIENCE), "{:?} {:?}", sinks.progress(), daemon.log());
    for (name, _) in fates {
        let history = daemon.until_settled(&format!("a@{name}.example"), 1);
        let last = history.last().expect("it was settled");
        assert_eq!((&*last.event, last.attempt), ("delivered", 1), "{history:?}");
    }
}

/// Covers: A12.4, B75
/// Shows: S2.6
#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let sinks = sinks(14, 1, Vec::new());
    let mut records = String::from("mx-01 A 127.0.14.1\nlong MX 1 mx-01\n");
    for number in 0..90 {
        records.push_str(&format!("long MX 10 some-host-with-quite-a-long-name-{number:03}\n"));
    }
    let nsd = Nsd::start(&[("story.example", &records)], &[]);
    let daemon = Daemon::start(Config::by_mx(nsd.address(), sinks.port()));
    submit(daemon.address(), FROM, &["a@long.story.example"]);
    let history = daemon.until_settled("a@long.story.example", 1);
    assert_eq!(history[0].event, "delivered", "{history:?}");
    // The same with a server that counts: asked by datagram, then by TCP.
    let mut zones = Zones::new();
    zones.mx("short.example", 1, "mx.story.example").fate("short.example", Fate::Truncated);
    zones.address("mx.story.example", [127, 0, 14, 1]);
    let server = NameServer::start(zones).expect("a name server can be started");
    let daemon = Daemon::start(Config::by_mx(server.address(), sinks.port()));
    submit(daemon.address(), FROM, &["a@short.example"]);
    assert_eq!(daemon.until_settled("a@short.example", 1)[0].event, "delivered");
    let asked = server.asked("short.example", "MX");
    assert!(asked.udp >= 1 && asked.tcp >= 1, "{asked:?}");
}

/// Covers: A2.30, B79
/// Shows: A18
#[test]
fn exchangers_on_loopback_are_refused_unless_permitted() {
    let sinks = sinks(15, 2, Vec::new());
    let mut zones = Zones::new();
    for (domain, host, address) in [
        ("inside.example", "mx1.story.example", [127, 0, 15, 1]),
        ("private.example", "mx3.story.example", [10, 1, 2, 3]),
        ("permitted.example", "mx2.story.example", [127, 0, 15, 2]),
    ] {
        zones.mx(domain, 10, host).address(host, address);
    }
    let server = NameServer::start(zones).expect("a name server can be started");
    let config = Config::by_mx(server.address(), sinks.port());
    let daemon = Daemon::start(config.set("egress", "permit", "[\"127.0.15.2/32\"]"));
    for to in ["a@inside.example", "a@private.example"] {
        // A null sender, so that no report is looked up and sent.
        submit(daemon.address(), "", &[to]);
        let history = daemon.until_settled(to, 1);
        assert_ne!(history[0].event, "delivered", "{history:?}");
    }
    submit(daemon.address(), FROM, &["a@permitted.example"]);
    assert_eq!(daemon.until_settled("a@permitted.example", 1)[0].event, "delivered");
    assert_eq!(messages(&sinks), [0, 1]);
    assert_eq!(sinks.report().hosts[0].connections, 0, "not even dialled");
}

/// Covers: A2.17
/// Shows: S3.11
#[test]
fn fifty_domains_behind_one_mx_set_keep_one_limit_together() {
    const LIMIT: u64 = 3;
    // Slow enough that a daemon which counted each domain would have 50 open.
    let pause = std::time::Duration::from_millis(20);
    let sinks = sinks(16, 2, vec![Rule::new(Stage::Dot, Act::Delay(pause))]);
    let workload = Workload::new(500, 50, 16);
    let mut zones = Zones::new();
    for number in 0..50 {
        zones.mx(&Workload::domain(number), 10, "mx1.story.example");
        zones.mx(&Workload::domain(number), 20, "mx2.story.example");
    }
    zones.address("mx1.story.example", [127, 0, 16, 1]);
    zones.address("mx2.story.example", [127, 0, 16, 2]);
    let server = NameServer::start(zones).expect("a name server can be started");
    let config = Config::by_mx(server.address(), sinks.port());
    let daemon = Daemon::start(
        config.set("delivery", "connections", &LIMIT.to_string()).set("", "shards", "2"),
    );
    let source = Source::run(daemon.address(), &workload, SourceSettings::default());
    let source = source.expect("a source can be started");
    assert!(sinks.wait_for(500, PATIENCE), "{:?}", sinks.progress());
    daemon.until_empty(PATIENCE);
    let report = sinks.report();
    let verdict = verify(&workload, &source, &report);
    assert!(verdict.is_exactly_once() && verdict.kept == 500, "{verdict:?}");
    assert!(report.peak <= LIMIT, "{} connections at one time, {LIMIT} allowed", report.peak);
    assert!(report.peak > 1, "the limit was never put to the test");
    until("its connections to close", PATIENCE, || (sinks.progress().open == 0).then_some(()));
}
