//! Whether the daemon lives, and whether it is ready for mail.
//!
//! It lives while all shards turn. It is ready when they do, storage takes mail,
//! the listeners stand, the clock is not absurd, and it is not about to end. By
//! the time anybody can ask, the queue has been recovered.

use std::time::Duration;

use base::Wall;
use control::Request;
use meter::Reading;
use serde_json::{Value, json};

use crate::http::HttpResponse;
use crate::server::Running;

/// How long shards may take to say that they live.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// 2026-01-01: this program is younger.
const CLOCK_MIN: Wall = Wall::from_millis(1_767_225_600_000);
/// So far the clock may stand behind the last line of the log.
const SET_BACK_MAX: Duration = Duration::from_secs(600);

/// One condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    name: &'static str,
    /// Why it does not hold; none: it does.
    why: Option<String>,
}

impl Check {
    /// One that does not hold.
    pub(crate) fn no(name: &'static str, why: &str) -> Self {
        Self { name, why: Some(why.into()) }
    }

    /// Whether it holds.
    pub(crate) fn is_well(&self) -> bool {
        self.why.is_none()
    }

    fn of(name: &'static str, holds: bool, why: &str) -> Self {
        Self { name, why: (!holds).then(|| why.into()) }
    }
}

/// Whether all shards turn.
pub(crate) fn health(running: &Running) -> HttpResponse {
    let answer = running.command(Request::Status, ANSWER_TIME);
    let alive = answer.status == 200;
    let body = json!({ "alive": alive, "error": answer.body.get("error") });
    HttpResponse::json(if alive { 200 } else { 503 }, &body)
}

/// All conditions of readiness.
pub(crate) fn checks(running: &Running, reading: &Reading, now: Wall) -> Vec<Check> {
    let wanted = running.policy().submission.addresses().next().is_some();
    let listens = !wanted || !running.listening().is_empty();
    vec![
        Check::of("storage", reading.loads.iter().all(|load| load.stores), "the queue takes none"),
        Check::of("listeners", listens, "nothing listens for mail"),
        clock(now, running.logged_until),
        Check::of("running", !reading.loads.iter().any(|load| load.draining), "the daemon ends"),
    ]
}

/// The answer about readiness.
pub(crate) fn ready(checks: &[Check]) -> HttpResponse {
    let well = checks.iter().all(Check::is_well);
    let rows: Vec<Value> = checks
        .iter()
        .map(|check| json!({ "name": check.name, "ok": check.is_well(), "why": check.why }))
        .collect();
    HttpResponse::json(if well { 200 } else { 503 }, &json!({ "ready": well, "checks": rows }))
}

/// Whether the clock is not absurd: later than this program, and not far behind
/// what was logged before.
fn clock(now: Wall, logged_until: Wall) -> Check {
    if now < CLOCK_MIN {
        return Check::no("clock", "the clock shows a time before this program was made");
    }
    let behind = logged_until.since(now);
    let why = format!("the clock stands {} s behind the last line of the log", behind.as_secs());
    Check::of("clock", behind <= SET_BACK_MAX, &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows: A94
    #[test]
    fn a_clock_that_cannot_be_right_is_no_readiness() {
        let now = Wall::from_millis(CLOCK_MIN.as_millis() + 10_000_000_000);
        assert!(clock(now, now).is_well());
        assert!(clock(now, Wall::default()).is_well(), "a new log");
        assert!(clock(now, now + SET_BACK_MAX).is_well());
        let behind = clock(now, now + SET_BACK_MAX + Duration::from_secs(1));
        assert!(behind.why.unwrap().contains("601 s"));
        assert!(!clock(Wall::from_millis(5), Wall::default()).is_well(), "no battery");
    }

    #[test]
    fn one_condition_that_does_not_hold_is_enough() {
        let well = Check::of("a", true, "");
        assert_eq!(ready(std::slice::from_ref(&well)).status, 200);
        let response = ready(&[well, Check::no("b", "broken")]);
        assert_eq!(response.status, 503);
        let body: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!((&body["ready"], &body["checks"][1]["why"]), (&json!(false), &json!("broken")));
    }
}
