//! `GET /v1/alerts`, `POST /v1/alerts/silence` and `POST /v1/alerts/unsilence`.

use base::Wall;
use serde::Deserialize;

use super::suspend::{End, end};
use super::{ApiError, Request};
use crate::alert::{RULE_TABLE, Rule};

/// Longest reason, in octets.
const REASON_BYTES_MAX: usize = 1_000;

/// An order to tell nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilenceOrder {
    /// Of which rule; none: of all.
    pub rule: Option<Rule>,
    /// Why.
    pub reason: Box<str>,
    /// Until when.
    pub end: End,
}

/// The body of a silence: a rule, or `"all": true`; and an end.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Body {
    all: bool,
    rule: Option<String>,
    reason: Option<String>,
    until: Option<String>,
    #[serde(rename = "for")]
    span: Option<String>,
}

pub(super) fn silence(body: Body) -> Result<Request, ApiError> {
    let rule = which(body.all, body.rule.as_deref())?;
    let reason = body.reason.unwrap_or_default();
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        return Err(refuse(format!("a reason is one line of at most {REASON_BYTES_MAX} octets")));
    }
    let end = end(body.span, body.until)?;
    if end == End::Resumed {
        return Err(refuse("a silence has an end: say `for` or `until`".into()));
    }
    Ok(Request::AlertsSilence(Box::new(SilenceOrder { rule, reason: reason.into(), end })))
}

pub(super) fn unsilence(body: &Body) -> Result<Request, ApiError> {
    if body.reason.is_some() || body.until.is_some() || body.span.is_some() {
        return Err(refuse("the end of a silence takes a rule only, or \"all\": true".into()));
    }
    which(body.all, body.rule.as_deref()).map(Request::AlertsUnsilence)
}

fn which(all: bool, rule: Option<&str>) -> Result<Option<Rule>, ApiError> {
    match (all, rule) {
        (true, None) => Ok(None),
        (false, Some(word)) => Rule::named(word).map(Some).ok_or_else(|| {
            let known: Vec<_> = RULE_TABLE.iter().map(|known| known.word).collect();
            refuse(format!("there is no such rule; known: {}", known.join(", ")))
        }),
        _ => Err(refuse("name a rule, or say \"all\": true".into())),
    }
}

fn refuse(why: String) -> ApiError {
    ApiError::PeerRequest(why)
}

impl SilenceOrder {
    /// Until when, if it begins at `now`.
    pub fn until(&self, now: Wall) -> Wall {
        self.end.from(now).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_names_a_rule_and_an_end() {
        let post = |path: &str, body: &str| Request::parse("POST", path, body.as_bytes());
        let silence = |body: &str| post("/v1/alerts/silence", body);
        assert!(silence(r#"{"rule": "queue_size", "for": "1h", "reason": "a move"}"#).is_ok());
        assert!(silence(r#"{"all": true, "until": "2026-11-22T18:00:00Z"}"#).is_ok());
        for (body, words) in [
            (r#"{"rule": "queue_size"}"#, "has an end"),
            (r#"{"rule": "queues", "for": "1h"}"#, "no such rule"),
            (r#"{"for": "1h"}"#, "name a rule"),
            (r#"{"all": true, "rule": "queue_size", "for": "1h"}"#, "name a rule"),
        ] {
            let why = silence(body).unwrap_err().to_string();
            assert!(why.contains(words), "{body}: {why}");
        }
        let over = |body: &str| post("/v1/alerts/unsilence", body);
        assert_eq!(over(r#"{"all": true}"#), Ok(Request::AlertsUnsilence(None)));
        let rule = Some(Rule::QueueSize);
        assert_eq!(over(r#"{"rule": "queue_size"}"#), Ok(Request::AlertsUnsilence(rule)));
        assert!(over(r#"{"all": true, "for": "1h"}"#).is_err());
    }
}
