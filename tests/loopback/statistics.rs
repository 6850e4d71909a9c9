//! Statistics outlast the daemon, and the last hours are kept as points.

use std::fs;

use harness::{Rule, SinkSettings, Sinks, Stage};
use serde_json::Value;

use crate::support::process::run;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

const FROM: &str = "sender@from.example";

/// The row of a name, by one kind of name.
fn row(daemon: &Daemon, by: &str, name: &str) -> Value {
    let stats = daemon.show(&format!("/v1/stats?by={by}&limit=100"));
    let rows = stats["rows"].as_array().expect("rows");
    rows.iter().find(|row| row["name"] == name).cloned().unwrap_or(Value::Null)
}

/// Totals by domain, route, site, source and day are the same after a stop and
/// a start, and go on; a crash loses what came since they were written and no
/// more; a damaged file is told of, and mail goes on without it.
///
/// Shows: S2.18
#[test]
fn totals_outlast_stops_and_crashes() {
    let rules = vec![Rule::reply(Stage::Rcpt, "550 5.1.1 nobody").for_domain("no.example")];
    let sinks = Sinks::start(SinkSettings { rules, ..SinkSettings::default() });
    let sinks = sinks.expect("a sink can be started");
    let mut daemon = Daemon::start(Config::relay(sinks.first()).route("match = \"never.example\""));
    for to in ["a@yes.example", "b@yes.example", "c@no.example"] {
        submit(daemon.address(), FROM, &[to]);
        daemon.until_settled(to, 1);
    }
    daemon.until_empty(PATIENCE);
    let before = row(&daemon, "domain", "yes.example");
    assert_eq!((&before["delivered"], &before["per_hour"]), (&2.into(), &2.into()));
    assert_eq!(row(&daemon, "domain", "no.example")["failed"], 1);
    assert_eq!(row(&daemon, "route", "default")["delivered"], 3, "with the report");
    assert_eq!(row(&daemon, "source", "(machine)")["failed"], 1);
    let days = daemon.show("/v1/stats?by=day");
    assert_eq!((&days["rows"][0]["accepted"], &days["rows"][0]["failed"]), (&3.into(), &1.into()));
    let shown = run(daemon.verb(&["stats", "--by", "site"]).arg("--limit").arg("5"), "ringpost");
    assert!(shown.starts_with("NAME") && shown.contains("since "), "{shown}");

    assert!(daemon.terminate().success());
    daemon.launch();
    assert_eq!(row(&daemon, "domain", "yes.example")["delivered"], 2);
    assert_eq!(daemon.show("/v1/stats?by=day")["rows"][0], days["rows"][0]);
    submit(daemon.address(), FROM, &["d@yes.example"]);
    daemon.until_settled("d@yes.example", 1);
    assert_eq!(row(&daemon, "domain", "yes.example")["delivered"], 3);
    daemon.crash();
    let kept = row(&daemon, "domain", "yes.example")["delivered"].as_u64();
    assert!(kept == Some(2) || kept == Some(3), "at most what came since it was written: {kept:?}");

    assert!(daemon.terminate().success());
    let file = daemon.data().join("statistics");
    let text = fs::read_to_string(&file).expect("statistics are written at the end");
    fs::write(&file, &text[..text.len() / 2]).expect("the folder is the story's");
    daemon.launch();
    daemon.until_logged("the damage", |line| {
        let error = line["error"].as_str().unwrap_or_default();
        line["event"] == "storage" && error.contains("statistics begin anew")
    });
    assert_eq!(row(&daemon, "domain", "yes.example"), Value::Null);
    submit(daemon.address(), FROM, &["e@yes.example"]);
    daemon.until_settled("e@yes.example", 1);
    assert_eq!(row(&daemon, "domain", "yes.example")["delivered"], 1);
}

/// A step that is over appears as a point, with what came in it.
#[test]
fn the_last_hours_are_kept_as_points() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let daemon = Daemon::start(Config::relay(sinks.first()));
    until("a first step to end", PATIENCE, || {
        let points = daemon.show("/v1/history")["t"].as_array().map_or(0, Vec::len);
        (points > 0).then_some(())
    });
    submit(daemon.address(), FROM, &["a@yes.example"]);
    daemon.until_empty(PATIENCE);
    let history = until("the step with the mail to end", PATIENCE, || {
        let history = daemon.show("/v1/history?step=10s");
        let delivered = history["delivered"].as_array().expect("a column");
        delivered.iter().any(|count| *count == 1).then_some(history)
    });
    let at = |column: &str, place: usize| history[column][place].as_u64();
    let last = history["t"].as_array().expect("a column").len() - 1;
    assert_eq!(history["step_ms"], 10_000);
    let place = (0..=last).find(|place| at("delivered", *place) == Some(1)).expect("it is there");
    assert!(at("end_to_end_p50_us", place).is_some(), "{history}");
    assert_eq!(at("queued", last), Some(0));
    let later = daemon.show(&format!("/v1/history?since={}", at("t", last).expect("a time")));
    assert!(later["t"].as_array().is_some_and(|times| times.len() <= 1), "{later}");
}
