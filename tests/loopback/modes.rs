//! When mail goes by which way, as the operator says, changed while it waits:
//! whether routes count in relay mode, and in which windows mail leaves at all.

use std::time::{SystemTime, UNIX_EPOCH};

use harness::{SinkSettings, Sinks};
use serde_json::json;

use crate::support::config::free_port;
use crate::support::{Config, Daemon, PATIENCE, submit};

/// A verb that succeeds, and what it says.
fn done(daemon: &Daemon, words: &[&str]) -> String {
    let said = daemon.verb(words).output().expect("the program can be started");
    assert!(said.status.success(), "{words:?}: {said:?}");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// A route whose host is dead keeps its mail; once routes do not count in
/// relay mode that mail takes the relay, and new mail too.
///
/// Shows: S4.4
#[test]
fn relay_mode_obeys_routes_or_ignores_them_live() {
    let relay = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let dead = free_port();
    let daemon = Daemon::start(Config::relay(relay.first()).route(&format!(
        "match = \"d002.example\"\nfallback = false\nretry = \"1h\"\nhosts = [\"127.0.0.1:{dead}\"]"
    )));
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    assert!(relay.wait_for(1, PATIENCE), "{:?}", relay.progress());
    submit(daemon.address(), "a@source.example", &["b@d002.example"]);
    let history = daemon.until_settled("b@d002.example", 1);
    assert_eq!(history[0].event, "deferred", "by its route: {history:?}");
    let tested = || daemon.show("/v1/routes/test?address=b%40d002.example");
    assert_eq!((&tested()["match"], &tested()["ignored"]), (&json!("d002.example"), &json!(null)));

    done(&daemon, &["config", "set", "delivery.routes_in_relay_mode", "ignore"]);
    assert_eq!(tested()["ignored"], "d002.example", "of what would be committed");
    done(&daemon, &["config", "commit"]);
    daemon.act("flush", r#"{"all": true}"#);
    assert!(relay.wait_for(2, PATIENCE), "{:?}", daemon.history("b@d002.example"));
    submit(daemon.address(), "a@source.example", &["c@d002.example"]);
    assert!(relay.wait_for(3, PATIENCE), "{:?}", daemon.history("c@d002.example"));
    let policy = &daemon.show("/v1/explain?address=b%40d002.example")["policy"];
    assert_eq!(
        (&policy["route"], &policy["ignored_route"]),
        (&json!("default"), &json!("d002.example"))
    );
    assert_eq!(daemon.show("/v1/routes")["routes"][0]["ignored"], true);
}

/// An hour of the day that is not the one it is, nor the next one.
fn closed_now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let hour = (now.as_secs() / 3_600 + 3) % 24;
    format!("{{ zone = \"UTC\", windows = [\"{hour:02}:00-{hour:02}:59\"] }}")
}

/// Nothing leaves outside the window; a flush sends once, and what comes then
/// waits again until the operator lets mail go at any time.
///
/// Shows: S2.8
#[test]
fn mail_waits_outside_its_window_until_it_is_flushed_or_may_go_at_any_time() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let schedule = closed_now();
    let daemon = Daemon::start(Config::relay(sinks.first()).set("delivery", "schedule", &schedule));
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    daemon.until_log_is_written();
    let row = &daemon.list("domain=d001.example")[0];
    assert_eq!(row["attempts"], 0, "{row}");
    let why = row["suspended"].as_str().expect("it says why it waits");
    assert!(why.starts_with("outside its schedule, ") && why.contains("(UTC): opens 2"), "{why}");
    let explained = done(&daemon, &["explain", "b@d001.example"]);
    assert!(explained.contains("(UTC), closed until 2"), "{explained}");
    assert_eq!(daemon.act("flush", r#"{"all": true}"#), 1);
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!((history[0].event.as_str(), history[0].attempt), ("delivered", 1));

    submit(daemon.address(), "a@source.example", &["c@d001.example"]);
    daemon.until_log_is_written();
    assert!(daemon.history("c@d001.example").is_empty(), "it was flushed once");
    done(&daemon, &["config", "set", "delivery.schedule", "immediately"]);
    done(&daemon, &["config", "commit"]);
    assert!(sinks.wait_for(2, PATIENCE), "{:?}", daemon.history("c@d001.example"));
}
