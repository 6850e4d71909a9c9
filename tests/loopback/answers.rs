//! What a next hop can answer, and not answer, at each stage of a session, and
//! what becomes of the mail: a table, each case with an exchanger of its own
//! behind a route of its own that has one connection. So a case that is
//! delivered in the end also shows that the stalled peer gave its slot back.
//!
//! Deadlines are set to a second here; with those of RFC 5321 §4.5.3.2 a peer
//! that never frees its slot would not be told from one that does.

use std::net::{IpAddr, Ipv4Addr};

use harness::{Act, Rule, SinkSettings, Sinks, Stage, When};

use crate::support::daemon::Settled;
use crate::support::python::report;
use crate::support::{Client, Config, Daemon, PATIENCE, text_to, until};

const FROM: &str = "sender@back.example";

/// One case: what the exchanger does, and the events that must follow.
struct Case {
    name: String,
    rules: Vec<Rule>,
    expected: &'static [Expected],
    /// Copies that may arrive.
    copies: std::ops::RangeInclusive<usize>,
}

/// One attempt's result.
struct Expected {
    event: &'static str,
    /// Start of the status code.
    status: &'static str,
    /// Whether the mail may have arrived all the same; `None`: either.
    in_doubt: Option<bool>,
}

const fn result(event: &'static str, status: &'static str) -> Expected {
    Expected { event, status, in_doubt: Some(false) }
}

const DELIVERED: &[Expected] = &[result("delivered", "2.")];
const FAILED: &[Expected] = &[result("failed", "5.1.1")];
const LATER: &[Expected] = &[result("deferred", "4.2.1"), result("delivered", "2.")];
const BROKEN: &[Expected] = &[result("deferred", "4."), result("delivered", "2.")];
const IN_DOUBT: &[Expected] = &[
    Expected { event: "deferred", status: "4.", in_doubt: Some(true) },
    result("delivered", "2."),
];
const PERHAPS: &[Expected] =
    &[Expected { event: "deferred", status: "4.", in_doubt: None }, result("delivered", "2.")];

const BEFORE_DATA: [Stage; 4] = [Stage::Greeting, Stage::Mail, Stage::Rcpt, Stage::Data];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, rule: Rule, expected, copies| {
        cases.push(Case { name, rules: vec![rule], expected, copies });
    };
    let once = |stage, act| Rule::new(stage, act).when(When::First(1));
    let says = |text: &str| Act::Reply(text.to_owned());
    for stage in BEFORE_DATA.into_iter().chain([Stage::Dot]) {
        let name = |what: &str| format!("{what} at {stage:?}");
        add(name("421"), once(stage, says("421 4.2.1 not now")), LATER, 1..=1);
        add(name("450"), once(stage, says("450 4.2.1 not now")), LATER, 1..=1);
        add(name("garbage"), once(stage, says("what a nice day")), PERHAPS, 1..=1);
        if stage != Stage::Greeting {
            add(name("550"), once(stage, says("550 5.1.1 nobody")), FAILED, 0..=0);
        }
    }
    for stage in BEFORE_DATA.into_iter().chain([Stage::Ehlo]) {
        add(format!("drop at {stage:?}"), once(stage, Act::Drop), BROKEN, 1..=1);
        add(format!("reset at {stage:?}"), once(stage, Act::Reset), BROKEN, 1..=1);
        add(format!("stall at {stage:?}"), once(stage, Act::Stall), BROKEN, 1..=1);
    }
    for stage in [Stage::Content, Stage::Dot, Stage::Answer] {
        let expected = if stage == Stage::Content { PERHAPS } else { IN_DOUBT };
        let copies = if stage == Stage::Answer { 2..=2 } else { 1..=1 };
        add(format!("drop at {stage:?}"), once(stage, Act::Drop), expected, copies.clone());
        add(format!("stall at {stage:?}"), once(stage, Act::Stall), expected, copies);
    }
    let garbage = once(Stage::Answer, says("thank you"));
    add("garbage for an answer".into(), garbage, IN_DOUBT, 2..=2);
    // A refused EHLO leaves HELO, a refused STARTTLS plain text.
    add("500 at EHLO".into(), Rule::reply(Stage::Ehlo, "500 5.5.1 what?"), DELIVERED, 1..=1);
    let refused = Rule::reply(Stage::StartTls, "454 4.7.0 no TLS today");
    add("454 at STARTTLS".into(), refused, DELIVERED, 1..=1);
    add("stall at QUIT".into(), Rule::new(Stage::Quit, Act::Stall), DELIVERED, 1..=1);
    cases
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 21 + (number / 200) as u8, 1 + (number % 200) as u8)
}

/// Exchangers for `count` cases on addresses 127.0.21.1 and on, and one more
/// for reports.
fn exchangers(rules: Vec<Rule>, count: usize) -> Sinks {
    let addresses = (0..=count).map(|number| IpAddr::V4(address(number))).collect();
    // No PIPELINING: after a break while commands are under way ahead of their
    // replies, the daemon may try the host once more without.
    let extensions = ["SIZE 134217728", "8BITMIME", "ENHANCEDSTATUSCODES"];
    let extensions = extensions.map(str::to_owned).to_vec();
    let settings =
        SinkSettings { addresses, rules, extensions, keep_max: 10_000, ..SinkSettings::default() };
    Sinks::start(settings).expect("loopback addresses can be bound")
}

/// One route for each case, `case0.example` and on, and one for reports.
fn routes(sinks: &Sinks, count: usize, more: &str) -> Config {
    let mut config = Config::new();
    for number in 0..=count {
        let domain =
            if number == count { "back.example".into() } else { format!("case{number}.example") };
        config = config.route(&format!(
            "match = \"{domain}\"\nmode = \"relay\"\nhosts = [\"{}:{}\"]\nconnections = 1\n\
             fallback = false\ntimeout = \"1s\"\nretry = [\"1s\"]\n{more}",
            address(number),
            sinks.port()
        ));
    }
    config
}

fn copies(sinks: &Sinks, to: &str) -> usize {
    let kept = sinks.report().kept;
    kept.iter().filter(|kept| kept.recipients().any(|recipient| recipient == to)).count()
}

/// Covers: A2.2, A2.3, A2.7, A2.9, A2.10, A2.11, A2.16, A7.11, B39, B40, B41, B42, B43, B44
/// Shows: S2.12
#[test]
fn every_answer_at_every_stage_has_its_result() {
    let cases = cases();
    let rules = cases.iter().enumerate().flat_map(|(number, case)| {
        case.rules.iter().map(move |rule| rule.clone().at(address(number)))
    });
    let sinks = exchangers(rules.collect(), cases.len());
    let daemon = Daemon::start(routes(&sinks, cases.len(), "tls = \"opportunistic\""));
    let mut client = Client::greet(daemon.address());
    for number in 0..cases.len() {
        let to = format!("a@case{number}.example");
        assert_eq!(client.send(FROM, &[&to], &text_to(FROM, &[&to])).code, 250);
    }
    daemon.until_empty(PATIENCE);
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let to = format!("a@case{number}.example");
        let history = daemon.history(&to);
        let arrived = copies(&sinks, &to);
        if !is_as_expected(&history, case.expected) || !case.copies.contains(&arrived) {
            wrong.push(format!("{}: {arrived} copies, {history:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    reports_are_for_the_failed_ones(&sinks, &cases);
}

fn is_as_expected(history: &[Settled], expected: &[Expected]) -> bool {
    history.len() == expected.len()
        && (1..).zip(history.iter().zip(expected)).all(|(attempt, (settled, expected))| {
            settled.event == expected.event
                && settled.status.starts_with(expected.status)
                && settled.attempt == attempt
                && expected.in_doubt.is_none_or(|in_doubt| in_doubt == settled.in_doubt)
        })
}

/// One report each, with the words of the one who refused.
fn reports_are_for_the_failed_ones(sinks: &Sinks, cases: &[Case]) {
    let failed = |case: &&Case| case.expected.last().is_some_and(|last| last.event == "failed");
    let kept = sinks.report().kept;
    let reports: Vec<_> = kept.iter().filter(|kept| kept.sender().is_empty()).collect();
    assert_eq!(reports.len(), cases.iter().filter(failed).count());
    for kept in reports {
        let report = report(&kept.content);
        assert_eq!(report["fields"][1]["status"], "5.1.1", "{report}");
        assert_eq!(report["fields"][1]["diagnostic-code"], "smtp; 550 5.1.1 nobody", "{report}");
    }
}

/// Covers: A6.7, B49
#[test]
fn broken_pipelining_is_tried_without_once_and_not_again() {
    let rule = Rule::new(Stage::Mail, Act::Drop).at(address(0));
    let addresses = [address(0), address(1)].map(IpAddr::V4).to_vec();
    let settings = SinkSettings { addresses, rules: vec![rule], ..SinkSettings::default() };
    let sinks = Sinks::start(settings).expect("loopback addresses can be bound");
    let config = routes(&sinks, 1, "tls = \"none\"\nmax_attempts = 1");
    let daemon = Daemon::start(config);
    crate::support::submit(daemon.address(), "", &["a@case0.example"]);
    daemon.until_empty(PATIENCE);
    let history = daemon.history("a@case0.example");
    let events: Vec<&str> = history.iter().map(|settled| &*settled.event).collect();
    assert_eq!(events, ["deferred", "expired"], "{history:?}");
    let connections = sinks.report().hosts[0].connections;
    assert!((2..=4).contains(&connections), "{connections} connections for two attempts");
}

/// Covers: A5.6, B64
/// Shows: S2.12, A61
#[test]
fn a_stalled_handshake_falls_back_once_and_is_remembered() {
    let sinks = exchangers(vec![Rule::new(Stage::Handshake, Act::Accept).at(address(0))], 1);
    let daemon = Daemon::start(routes(&sinks, 1, "tls = \"opportunistic\""));
    for name in ["first", "second"] {
        let to = format!("{name}@case0.example");
        crate::support::submit(daemon.address(), FROM, &[&to]);
        until(&format!("the delivery of {to}"), PATIENCE, || {
            daemon.history(&to).iter().any(|it| it.event == "delivered").then_some(())
        });
    }
    let second = daemon.history("second@case0.example");
    assert_eq!(second.len(), 1, "the broken handshake was tried again: {second:?}");
}

/// Covers: A5.6, B64
#[test]
fn a_stalled_handshake_where_tls_is_required_only_waits() {
    let sinks = exchangers(vec![Rule::new(Stage::Handshake, Act::Accept).at(address(0))], 1);
    let daemon = Daemon::start(routes(&sinks, 1, "tls = \"required\""));
    crate::support::submit(daemon.address(), FROM, &["a@case0.example"]);
    let history = daemon.until_settled("a@case0.example", 2);
    assert!(history.iter().all(|it| it.event == "deferred"), "{history:?}");
    assert_eq!(sinks.progress().messages, 0, "sent in plain text");
}

/// Covers: A2.7, B50
#[test]
fn recipients_are_judged_one_by_one() {
    let at = |rule: Rule| rule.at(address(0));
    let sinks = exchangers(
        vec![
            at(Rule::reply(Stage::Rcpt, "550 5.1.1 nobody").when(When::First(1))),
            at(Rule::reply(Stage::Rcpt, "450 4.2.1 not now").when(When::First(1))),
        ],
        1,
    );
    let daemon = Daemon::start(routes(&sinks, 1, "tls = \"none\""));
    let to = ["a@case0.example", "b@case0.example", "c@case0.example", "d@case0.example"];
    crate::support::submit(daemon.address(), FROM, &to);
    daemon.until_empty(PATIENCE);
    let mut ends: Vec<Vec<String>> = to
        .iter()
        .map(|to| daemon.history(to).into_iter().map(|settled| settled.event).collect())
        .collect();
    ends.sort();
    assert_eq!(
        ends,
        [vec!["deferred", "delivered"], vec!["delivered"], vec!["delivered"], vec!["failed"]]
    );
    assert_eq!(sinks.progress().recipients, 3 + 1, "three good ones and one report");
}

/// Covers: A2.14
#[test]
fn too_many_recipients_for_one_transaction_are_no_attempt() {
    // RFC 5321 §4.5.3.1.10: 452 behind the third recipient.
    let rule = Rule::reply(Stage::Rcpt, "452 4.5.3 too many").when(When::Beyond(3));
    let sinks = exchangers(vec![rule.at(address(0))], 1);
    let daemon = Daemon::start(routes(&sinks, 1, "tls = \"none\""));
    let to: Vec<String> = (0..10).map(|number| format!("r{number}@case0.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    crate::support::submit(daemon.address(), FROM, &to);
    daemon.until_empty(PATIENCE);
    for to in to {
        let history = daemon.history(to);
        assert_eq!(history.len(), 1, "{to}: {history:?}");
        assert_eq!((&*history[0].event, history[0].attempt), ("delivered", 1));
    }
    assert_eq!(sinks.progress().recipients, 10);
}

#[test]
fn a_peer_that_stops_reading_frees_its_slot() {
    let rule = Rule::new(Stage::Content, Act::StopReading).when(When::First(1));
    let sinks = exchangers(vec![rule.at(address(0))], 1);
    let daemon = Daemon::start(
        routes(&sinks, 1, "tls = \"none\"").set("submission", "max_message", "\"20MiB\"").set(
            "queue",
            "segment",
            "\"32MiB\"",
        ),
    );
    // More than the buffers between the two hold.
    let line = format!("{}\r\n", "x".repeat(900));
    let content = format!("Subject: large\r\n\r\n{}", line.repeat(18_000));
    let mut client = Client::greet(daemon.address());
    assert_eq!(client.send(FROM, &["a@case0.example"], &content).code, 250);
    let history = daemon.until_settled("a@case0.example", 2);
    let events: Vec<&str> = history.iter().map(|settled| &*settled.event).collect();
    assert_eq!(events, ["deferred", "delivered"], "{history:?}");
    assert!(!history[0].in_doubt, "its dot was never sent: {history:?}");
    assert_eq!(sinks.progress().messages, 1);
}
