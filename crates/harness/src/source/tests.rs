//! The source against scripted exchangers.

use super::*;
use crate::sink::{Act, Rule, SinkSettings, Sinks, Stage, When};
use crate::tls::Identity;
use crate::verify::verify;
use crate::workload::{Sizes, Spread};

fn sinks(rules: Vec<Rule>) -> Sinks {
    Sinks::start(SinkSettings { rules, ..SinkSettings::default() }).unwrap()
}

fn settings() -> SourceSettings {
    SourceSettings { sessions: 4, ..SourceSettings::default() }
}

fn run(rules: Vec<Rule>, workload: &Workload, settings: SourceSettings) -> SourceReport {
    let sinks = sinks(rules);
    let report = Source::run(sinks.first(), workload, settings).unwrap();
    let verdict = verify(workload, &report, &sinks.report());
    assert!(verdict.is_exactly_once(), "{verdict}");
    assert_eq!(verdict.promised, report.promised(workload));
    report
}

#[test]
fn everything_arrives_with_and_without_pipelining() {
    let mut workload = Workload::new(300, 20, 5);
    workload.recipients = 3;
    workload.spread = Spread::Zipf;
    workload.sizes = Sizes::Mix(vec![(5, 2_048), (1, 200_000)]);
    for pipelining in [true, false] {
        let settings = SourceSettings { pipelining, threads: 2, ..settings() };
        let report = run(Vec::new(), &workload, settings);
        assert_eq!(report.count(Outcome::Accepted), 300);
        assert_eq!(report.promised(&workload), 900);
        assert_eq!(report.connections, 4);
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
    }
}

#[test]
fn sessions_end_after_their_number_of_messages() {
    let settings = SourceSettings { sessions: 1, messages_per_session: 10, ..settings() };
    let report = run(Vec::new(), &Workload::new(95, 3, 1), settings);
    assert_eq!(report.count(Outcome::Accepted), 95);
    assert_eq!(report.connections, 10);
}

#[test]
fn refusals_are_recorded_with_their_code() {
    let workload = Workload { recipients: 2, ..Workload::new(20, 4, 1) };
    let stages = [
        (Stage::Mail, "451 4.3.0 no", 451),
        (Stage::Rcpt, "550 5.1.1 no", 550),
        (Stage::Data, "452 4.3.1 no", 452),
        (Stage::Dot, "554 5.6.0 no", 554),
    ];
    for (stage, text, code) in stages {
        for pipelining in [true, false] {
            let rules = vec![Rule::reply(stage, text)];
            let report = run(rules, &workload, SourceSettings { pipelining, ..settings() });
            let refused = report.count(Outcome::Refused(code));
            assert_eq!(refused, 20, "{stage:?} {pipelining} {:?}", report.records[0]);
        }
    }
}

#[test]
fn a_refused_recipient_does_not_take_the_others_along() {
    let workload = Workload { recipients: 4, ..Workload::new(10, 4, 1) };
    for pipelining in [true, false] {
        let rules = vec![Rule::reply(Stage::Rcpt, "550 5.1.1 no").for_domain("d002.example")];
        let report = run(rules, &workload, SourceSettings { pipelining, ..settings() });
        assert_eq!(report.count(Outcome::Accepted), 10);
        assert_eq!(report.promised(&workload), 30);
        assert!(report.records.iter().all(|record| record.refused.len() == 1));
    }
}

#[test]
fn a_lost_connection_loses_one_message_and_is_opened_again() {
    let workload = Workload::new(30, 4, 1);
    let settings = SourceSettings { sessions: 1, ..settings() };
    let cut = |stage| vec![Rule::new(stage, Act::Drop).when(When::First(1))];
    let report = run(cut(Stage::Mail), &workload, settings.clone());
    assert_eq!((report.count(Outcome::Unsent), report.count(Outcome::Accepted)), (1, 29));
    let report = run(cut(Stage::Answer), &workload, settings.clone());
    assert_eq!((report.count(Outcome::Unanswered), report.count(Outcome::Accepted)), (1, 29));
    assert_eq!(report.connections, 2);
    let rules = vec![Rule::reply(Stage::Dot, "421 4.3.2 bye").when(When::First(1))];
    let report = run(rules, &workload, settings);
    assert_eq!((report.count(Outcome::Refused(421)), report.count(Outcome::Accepted)), (1, 29));
}

#[test]
fn helo_serves_where_ehlo_is_refused() {
    let rules = vec![Rule::reply(Stage::Ehlo, "502 5.5.1 no")];
    let report = run(rules, &Workload::new(10, 2, 1), settings());
    assert_eq!(report.count(Outcome::Accepted), 10);
}

#[test]
fn a_silent_server_is_given_up_and_an_absent_one_too() {
    let workload = Workload::new(2, 1, 1);
    let settings = SourceSettings {
        sessions: 1,
        reply_timeout: Duration::from_millis(400),
        connect_patience: Duration::from_millis(50),
        ..settings()
    };
    let report = run(vec![Rule::new(Stage::Rcpt, Act::Stall)], &workload, settings.clone());
    assert_eq!(report.count(Outcome::Unsent), 2);
    assert_eq!(report.troubles["no reply in time"], 2);
    let gone = sinks(Vec::new()).first();
    let report = Source::run(gone, &workload, settings).unwrap();
    assert!(report.records.is_empty());
    assert!(!report.troubles.is_empty());
}

#[test]
fn an_open_loop_keeps_its_times_and_counts_the_waiting() {
    let pace = Pace::Fixed { per_second: 1_000.0 };
    let settings = SourceSettings { sessions: 1, pace, ..settings() };
    let workload = Workload::new(100, 2, 1);
    let report = run(Vec::new(), &workload, settings.clone());
    assert!(report.ended - report.began >= Duration::from_millis(99));
    let wait = Act::Delay(Duration::from_millis(100));
    let rules = vec![Rule::new(Stage::Dot, wait).when(When::First(1))];
    let report = run(rules, &workload, settings);
    let second = &report.records[1];
    let waited = second.ended - second.began;
    assert!(waited >= Duration::from_millis(90), "{waited:?}");
}

#[test]
fn a_stopped_source_begins_nothing_more() {
    let sinks = sinks(vec![Rule::new(Stage::Dot, Act::Delay(Duration::from_millis(5)))]);
    let workload = Workload::new(1_000_000, 2, 1);
    let source = Source::start(sinks.first(), &workload, settings()).unwrap();
    assert!(sinks.wait_for(8, Duration::from_secs(20)));
    source.stop();
    let report = source.wait();
    assert!(report.records.len() < 1_000_000);
    assert_eq!(report.count(Outcome::Accepted), report.records.len() as u64);
}

#[test]
fn tls_carries_mail_by_starttls() {
    let tls = Identity::new(&["sink.example"]).unwrap().server().unwrap();
    let sinks = Sinks::start(SinkSettings { tls: Some(tls), ..SinkSettings::default() }).unwrap();
    let workload = Workload { sizes: Sizes::Fixed(300_000), ..Workload::new(40, 5, 1) };
    let settings = SourceSettings { tls: Tls::StartTls, ..settings() };
    let report = Source::run(sinks.first(), &workload, settings).unwrap();
    assert_eq!(report.count(Outcome::Accepted), 40, "{:?}", report.troubles);
    let verdict = verify(&workload, &report, &sinks.report());
    assert!(verdict.is_exactly_once(), "{verdict}");
}

#[test]
fn a_server_without_tls_breaks_a_session_that_wants_it() {
    let sinks = sinks(Vec::new());
    let settings =
        SourceSettings { tls: Tls::StartTls, connect_patience: Duration::ZERO, ..settings() };
    let report = Source::run(sinks.first(), &Workload::new(4, 1, 1), settings).unwrap();
    assert!(report.records.is_empty());
    assert!(report.troubles.keys().any(|text| text.starts_with("500")), "{:?}", report.troubles);
}

#[test]
fn an_open_loop_counts_the_wait_of_messages_that_were_due() {
    // One session, and each answer takes longer than the time between two
    // messages: those that are due meanwhile wait, and their wait is counted.
    let pause = Duration::from_millis(20);
    let rules = vec![Rule::new(Stage::Dot, Act::Delay(pause))];
    let pace = Pace::Fixed { per_second: 1_000.0 };
    let settings = SourceSettings { sessions: 1, pace, ..settings() };
    let report = run(rules, &Workload::new(10, 1, 1), settings);
    for record in &report.records {
        let due = report.began + Duration::from_secs_f64(record.number as f64 / 1_000.0);
        assert_eq!(record.began, due, "latency counts from when message {} was due", record.number);
    }
    // The last one waited behind nine answers.
    let last = &report.records[9];
    assert!(last.ended - last.began >= pause * 10 - Duration::from_millis(9));
}

#[test]
fn a_log_in_is_said_once_behind_ehlo() {
    let log_in = LogIn { user: "ann".to_owned(), password: "secret".to_owned() };
    assert_eq!(log_in.line(), "AUTH PLAIN AGFubgBzZWNyZXQ=");
    assert!(!format!("{log_in:?}").contains("secret"));
}
