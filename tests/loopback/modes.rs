//! Routes beside relay mode: they count there or do not, as the operator says,
//! and that is changed while mail waits.

use harness::{SinkSettings, Sinks};
use serde_json::json;

use crate::support::config::free_port;
use crate::support::{Config, Daemon, PATIENCE, submit};

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

    let set = daemon.verb(&["config", "set", "delivery.routes_in_relay_mode", "ignore"]).output();
    assert!(set.is_ok_and(|set| set.status.success()));
    assert_eq!(tested()["ignored"], "d002.example", "of what would be committed");
    let commit = daemon.verb(&["config", "commit"]).output();
    assert!(commit.is_ok_and(|commit| commit.status.success()));
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
