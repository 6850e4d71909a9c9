//! Retry times, attempt counts and lifetimes are promises about the message,
//! not about the process: crashes and restarts change none of them. Mail that
//! is given up gives one report, read here by Python's email package.

use harness::{Act, Kept, Rule, SinkSettings, Sinks, Stage, To, When};
use serde_json::Value;

use crate::support::config::free_port;
use crate::support::python::report;
use crate::support::{Client, Config, Daemon, PATIENCE, submit, text_to};

const FROM: &str = "sender@back.example";
const TO: &str = "a@away.example";

/// An exchanger that refuses mail for now, and takes reports.
fn refusing() -> Sinks {
    let rule = Rule::reply(Stage::Rcpt, "451 4.3.0 come back").for_domain("away.example");
    let settings = SinkSettings { rules: vec![rule], keep_max: 100, ..SinkSettings::default() };
    Sinks::start(settings).expect("a sink can be started")
}

/// Mail to away.example by a way with these keys, reports to the sink.
fn config(sinks: &Sinks, keys: &str) -> Config {
    let hosts = format!("mode = \"relay\"\nhosts = [\"{}\"]\ntls = \"none\"", sinks.first());
    Config::new()
        .route(&format!("match = \"away.example\"\n{hosts}\n{keys}"))
        .route(&format!("match = \"back.example\"\n{hosts}"))
}

fn reports(sinks: &Sinks) -> Vec<Kept> {
    let kept = sinks.report().kept;
    kept.into_iter().filter(|kept| kept.sender().is_empty()).collect()
}

/// Covers: A2.18, B33
/// Shows: S1.4, S2.9, S4.2
#[test]
fn attempts_and_their_times_hold_across_crashes() {
    let sinks = refusing();
    let mut daemon = Daemon::start(config(&sinks, "retry = [\"1s\", \"2s\", \"3s\"]"));
    submit(daemon.address(), FROM, &[TO]);
    for attempt in 1..=3 {
        daemon.until_settled(TO, attempt);
        let stand = |daemon: &Daemon| -> Stand {
            let rows = daemon.list(&format!("recipient={TO}"));
            assert_eq!(rows.len(), 1, "{rows:?}");
            Stand::of(&rows[0])
        };
        let before = stand(&daemon);
        assert_eq!(before.attempts, attempt as u64);
        if attempt == 2 {
            assert!(daemon.terminate().success());
            daemon.launch();
        } else {
            daemon.crash();
        }
        stand(&daemon).continues(&before);
    }
    daemon.until_settled(TO, 4);
    let lines: Vec<Value> = daemon.events("deferred");
    for pair in lines.windows(2) {
        let moment = |event: &Value, key: &str| millis(event[key].as_str().expect("a time"));
        let (due, made) = (moment(&pair[0], "next"), moment(&pair[1], "time"));
        assert!(made + CLOCKS_MS >= due, "tried before its time: {pair:?}");
    }
    let attempts: Vec<u64> = daemon.history(TO).iter().map(|settled| settled.attempt).collect();
    assert_eq!(attempts[..4], [1, 2, 3, 4]);
}

/// What was put off by greylisting, for sending too much, or by a host that
/// gives no answer comes back after waits of its own, all else after the usual
/// hour.
///
/// Shows: A28
#[test]
fn kinds_of_trouble_wait_each_in_its_own_way() {
    let once = |stage, act| Rule { stage, to: To::Any, when: When::First(1), act };
    for (first, waits) in [
        (once(Stage::Rcpt, Act::Reply("450 4.7.1 Greylisted, come back".into())), "greylisted"),
        (once(Stage::Mail, Act::Reply("451 4.7.1 rate limit exceeded".into())), "limited"),
        (once(Stage::Greeting, Act::Drop), "unreachable"),
        (once(Stage::Rcpt, Act::Reply("450 4.2.1 mailbox busy".into())), ""),
    ] {
        let settings = SinkSettings { rules: vec![first], keep_max: 1, ..SinkSettings::default() };
        let sinks = Sinks::start(settings).expect("a sink can be started");
        let own = ["greylisted", "limited", "unreachable"].map(|it| match it == waits {
            true => format!("{it} = \"1s\""),
            false => format!("{it} = \"2h\""),
        });
        let keys = own.join(", ");
        let keys = format!("fallback = false\nretry = \"1h\"\nretry_after = {{ {keys} }}");
        let daemon = Daemon::start(config(&sinks, &keys));
        submit(daemon.address(), FROM, &[TO]);
        let history = daemon.until_settled(TO, if waits.is_empty() { 1 } else { 2 });
        let events: Vec<&str> = history.iter().map(|settled| &*settled.event).collect();
        if waits.is_empty() {
            let row = &daemon.list("")[0];
            let next = row["next_attempt"].as_str().expect("a time");
            let wait = millis(next) - millis(row["arrived"].as_str().expect("a time"));
            assert!((50 * 60_000..=70 * 60_000).contains(&wait), "the usual hour: {wait} ms");
        } else {
            assert_eq!(events, ["deferred", "delivered"], "{waits}");
        }
    }
}

/// How far a recipient is, as the operator sees it; times in milliseconds.
#[derive(Debug)]
struct Stand {
    arrived: u64,
    expires: u64,
    next_attempt: Option<u64>,
    attempts: u64,
    last_answer: Value,
}

/// Waiting mail keeps its times by the second, rounded up.
const ROUNDED_MS: u64 = 1_000 + CLOCKS_MS;
/// Between the two clocks, each read by the millisecond.
const CLOCKS_MS: u64 = 10;

impl Stand {
    fn of(row: &Value) -> Self {
        let time = |key: &str| row[key].as_str().map(millis);
        Self {
            arrived: time("arrived").expect("mail has arrived at some time"),
            expires: time("expires").expect("mail ends at some time"),
            next_attempt: time("next_attempt"),
            attempts: row["attempts"].as_u64().expect("attempts are counted"),
            last_answer: row["last_answer"].clone(),
        }
    }

    /// Nothing has changed but by another attempt.
    fn continues(&self, before: &Self) {
        let same = |now: u64, then: u64| now.abs_diff(then) <= ROUNDED_MS;
        assert!(same(self.arrived, before.arrived), "{before:?} became {self:?}");
        assert!(same(self.expires, before.expires), "{before:?} became {self:?}");
        assert!(self.attempts >= before.attempts, "{before:?} became {self:?}");
        assert_eq!(self.last_answer, before.last_answer);
        if let (Some(now), Some(then)) = (self.next_attempt, before.next_attempt)
            && self.attempts == before.attempts
        {
            assert!(same(now, then), "{before:?} became {self:?}");
        }
    }
}

/// `2026-11-21T23:16:04.176Z` in milliseconds, counted from some day.
fn millis(text: &str) -> u64 {
    let numbers: Vec<u64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let [year, month, day, hour, minute, second, ms] = numbers[..] else {
        panic!("{text} is no time");
    };
    // Years that start in March, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms
}

/// Covers: A2.32, A7.10, A7.11, A7.12, A7.14, B60
/// Shows: S1.9, S4.1
#[test]
fn attempts_used_up_across_a_crash_give_one_report() {
    let sinks = refusing();
    let mut daemon = Daemon::start(config(&sinks, "retry = [\"1s\"]\nmax_attempts = 2"));
    let mut client = Client::greet(daemon.address());
    client.expect(&format!("MAIL FROM:<{FROM}> RET=HDRS ENVID=story+2B42"), 250);
    client.expect(&format!("RCPT TO:<{TO}> NOTIFY=FAILURE ORCPT=rfc822;first+40home.example"), 250);
    client.expect("DATA", 354);
    client.expect(&format!("{}.", text_to(FROM, &[TO])), 250);
    daemon.until_settled(TO, 2);
    daemon.crash();
    daemon.until_empty(PATIENCE);
    let events: Vec<String> = daemon.history(TO).into_iter().map(|it| it.event).collect();
    assert_eq!(events, ["deferred", "deferred", "expired"], "1 + max_attempts");
    one_report(&sinks);
    // A marker behind everything else: nothing else was still to come.
    daemon.crash();
    submit(daemon.address(), "other@back.example", &["marker@back.example"]);
    daemon.until_empty(PATIENCE);
    assert_eq!(sinks.progress().messages, 2, "one report and the marker");
}

/// The one report, as another program reads it.
fn one_report(sinks: &Sinks) {
    let reports = reports(sinks);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].recipients().collect::<Vec<_>>(), [FROM]);
    let report = report(&reports[0].content);
    assert_eq!(report["type"], "multipart/report");
    assert_eq!(report["report_type"], "delivery-status");
    assert_eq!(report["defects"], serde_json::json!([]));
    assert_eq!(report["auto"], "auto-replied");
    let parts = ["text/plain", "message/delivery-status", "text/rfc822-headers"];
    assert_eq!(report["parts"], serde_json::json!(parts));
    let (message, recipient) = (&report["fields"][0], &report["fields"][1]);
    assert_eq!(message["reporting-mta"], "dns; ringpost.example");
    assert_eq!(message["original-envelope-id"], "story+42");
    assert_eq!(recipient["original-recipient"], "rfc822; first@home.example");
    assert_eq!(recipient["final-recipient"], format!("rfc822; {TO}"));
    assert_eq!(recipient["action"], "failed");
    assert_eq!(recipient["diagnostic-code"], "smtp; 451 4.3.0 come back");
    let status = recipient["status"].as_str().unwrap_or_default();
    assert!(status.starts_with("5.") || status.starts_with("4."), "{report}");
    assert_eq!(report["original"]["subject"], "story");
}

/// Covers: B38, B60
/// Shows: S1.5
#[test]
fn a_lifetime_ends_mail_that_nobody_ever_answered() {
    let sinks = refusing();
    let nobody = free_port();
    let lost = format!(
        "match = \"lost.example\"\nmode = \"relay\"\nhosts = [\"127.0.0.1:{nobody}\"]\n\
         fallback = false\nretry = [\"1s\"]\nlifetime = \"4s\""
    );
    let mut daemon = Daemon::start(config(&sinks, "retry = [\"1s\"]").route(&lost));
    submit(daemon.address(), FROM, &["a@lost.example"]);
    daemon.until_settled("a@lost.example", 1);
    daemon.crash();
    let expired = daemon.until_logged("the end", |line| line["event"] == "expired");
    let lived = expired["delay_ms"].as_u64().expect("an end says how long it took");
    assert!(lived + CLOCKS_MS >= 4_000, "ended {lived} ms after its arrival");
    assert!(sinks.wait_for(1, PATIENCE), "no report");
    let report = report(&reports(&sinks)[0].content);
    assert_eq!(report["fields"][1]["final-recipient"], "rfc822; a@lost.example");
    assert_eq!(report["fields"][1]["action"], "failed");
    daemon.until_empty(PATIENCE);
    assert_eq!(daemon.events("expired").len(), 1);
}

/// Covers: B60
/// Shows: S0.9
#[test]
fn held_mail_ends_with_its_lifetime_too() {
    let sinks = refusing();
    let mut daemon =
        Daemon::start(config(&sinks, "retry = [\"1s\"]\nlifetime = \"5s\"\non_failure = \"hold\""));
    submit(daemon.address(), FROM, &[TO]);
    assert_eq!(daemon.until_settled(TO, 1)[0].event, "held");
    daemon.crash();
    assert_eq!(daemon.list("state=held").len(), 1, "no longer held");
    daemon.until_logged("the end", |line| line["event"] == "expired");
    assert!(sinks.wait_for(1, PATIENCE), "no report");
    assert_eq!(daemon.history(TO).iter().map(|it| it.attempt).max(), Some(1));
}

/// Covers: A7.7
#[test]
fn late_mail_gives_one_notice_and_then_arrives() {
    let sinks = refusing();
    let mut daemon = Daemon::start(config(&sinks, "retry = [\"1s\"]\ndelay_notice = \"2s\""));
    submit(daemon.address(), FROM, &[TO]);
    assert!(sinks.wait_for(1, PATIENCE), "no notice");
    // Until that is on record, a crash would rightly send it again.
    daemon.until_settled(FROM, 1);
    let notice = report(&reports(&sinks)[0].content);
    assert_eq!(notice["fields"][1]["action"], "delayed", "{notice}");
    assert!(notice["fields"][1]["will-retry-until"].is_string(), "{notice}");
    daemon.crash();
    let seen = daemon.history(TO).len();
    daemon.until_settled(TO, seen + 2);
    sinks.set_rules(Vec::new());
    daemon.until_empty(PATIENCE);
    assert_eq!(daemon.history(TO).last().map(|it| it.event.clone()), Some("delivered".into()));
    assert_eq!(sinks.progress().messages, 2, "one notice, one message");
}

/// Covers: A1.33, A7.6
/// Shows: S1.8
#[test]
fn who_asked_for_no_report_gets_none() {
    let sinks = refusing();
    let daemon = Daemon::start(config(&sinks, "retry = [\"1s\"]\nmax_attempts = 1"));
    submit(daemon.address(), FROM, &[&format!("{TO} NOTIFY=NEVER")]);
    submit(daemon.address(), "", &["b@away.example"]);
    daemon.until_empty(PATIENCE);
    assert_eq!(daemon.events("expired").len(), 2);
    assert_eq!(sinks.progress().messages, 0);
}
