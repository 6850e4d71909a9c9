//! The bodies of `POST /v1/suspend` and `POST /v1/resume`: exactly one scope;
//! with suspend a reason, and perhaps an end, as a time or as a span.

use std::time::Duration;

use base::Wall;
use serde::Deserialize;

use super::ApiError;
use crate::suspension::{REASON_BYTES_MAX, Scope};
use crate::units::Span;

/// An order to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspend {
    /// What.
    pub scope: Scope,
    /// Why; at most [`REASON_BYTES_MAX`] bytes.
    pub reason: Box<str>,
    /// How long.
    pub end: End,
}

/// When a suspension ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// When somebody resumes.
    Resumed,
    /// So long after it began.
    After(Duration),
    /// At this time.
    At(Wall),
}

impl End {
    /// The time it ends when it begins at `now`; `None` without an end.
    pub fn from(self, now: Wall) -> Option<Wall> {
        match self {
            Self::Resumed => None,
            Self::After(span) => Some(now + span),
            Self::At(until) => Some(until),
        }
    }
}

/// Everything that may stand in the body.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Body {
    all: bool,
    domain: Option<String>,
    site: Option<String>,
    route: Option<String>,
    source: Option<String>,
    reason: Option<String>,
    #[serde(rename = "for")]
    span: Option<String>,
    until: Option<String>,
}

pub(super) fn suspend(body: &[u8]) -> Result<Suspend, ApiError> {
    let body = read(body)?;
    let scope = scope(&body)?;
    let reason = body.reason.unwrap_or_default();
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        let bound = format!("a reason is one line of at most {REASON_BYTES_MAX} bytes");
        return Err(ApiError::PeerRequest(bound));
    }
    let end = end(body.span, body.until)?;
    Ok(Suspend { scope, reason: reason.into(), end })
}

/// An end by a span, by a time, or none.
pub(super) fn end(span: Option<String>, until: Option<String>) -> Result<End, ApiError> {
    Ok(match (span, until) {
        (None, None) => End::Resumed,
        (Some(span), None) => {
            let Span(span) = span.parse().map_err(|why| refuse(format!("`for` {why}")))?;
            End::After(span)
        }
        (None, Some(until)) => End::At(time(&until)?),
        (Some(_), Some(_)) => return Err(refuse("give `for` or `until`, not both".into())),
    })
}

pub(super) fn resume(body: &[u8]) -> Result<Scope, ApiError> {
    let body = read(body)?;
    if body.reason.is_some() || body.span.is_some() || body.until.is_some() {
        return Err(refuse("resume takes a scope and nothing else".into()));
    }
    scope(&body)
}

fn read(body: &[u8]) -> Result<Body, ApiError> {
    if body.is_empty() {
        return Err(refuse(WHICH.into()));
    }
    serde_json::from_slice(body).map_err(|why| refuse(format!("the body is refused: {why}")))
}

fn scope(body: &Body) -> Result<Scope, ApiError> {
    let named = [
        body.all.then_some(("all", "")),
        body.domain.as_deref().map(|name| ("domain", name)),
        body.site.as_deref().map(|name| ("site", name)),
        body.route.as_deref().map(|name| ("route", name)),
        body.source.as_deref().map(|name| ("source", name)),
    ];
    let mut named = named.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some((kind, name)), None) => Scope::new(kind, name).map_err(refuse),
        _ => Err(refuse(WHICH.into())),
    }
}

const WHICH: &str = "name one of domain, site, route, source, or say \"all\": true";

/// A time as RFC 3339 writes it, zone included.
pub(super) fn time(text: &str) -> Result<Wall, ApiError> {
    let form = || refuse("`until` is a time such as \"2026-11-22T18:00:00Z\"".into());
    let at: jiff::Timestamp = text.parse().map_err(|_| form())?;
    u64::try_from(at.as_millisecond()).map(Wall::from_millis).map_err(|_| form())
}

fn refuse(reason: String) -> ApiError {
    ApiError::PeerRequest(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_scope_reason_and_end() {
        let order = |end: &str| {
            suspend(format!(r#"{{"route": "*.example", "reason": "move"{end}}}"#).as_bytes())
        };
        let plain = order("").unwrap();
        assert_eq!(plain.scope, Scope::Route("*.example".into()));
        assert_eq!((&*plain.reason, plain.end), ("move", End::Resumed));
        let hours = End::After(Duration::from_secs(7_200));
        assert_eq!(order(r#", "for": "2h""#).unwrap().end, hours);
        let at = order(r#", "until": "1970-01-01T02:00:01+01:00""#).unwrap().end;
        assert_eq!(at, End::At(Wall::from_millis(3_601_000)));
        assert_eq!(resume(br#"{"all": true}"#), Ok(Scope::All));
        let source = resume(br#"{"source": "192.0.2.1"}"#);
        assert_eq!(source, Ok(Scope::Source("192.0.2.1".into())));
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for (body, words) in [
            ("", "name one of"),
            ("{}", "name one of"),
            (r#"{"all": true, "domain": "a.example"}"#, "name one of"),
            (r#"{"domain": "a b"}"#, ""),
            (r#"{"all": true, "for": "2"}"#, "lacks a unit"),
            (r#"{"all": true, "until": "tomorrow"}"#, "2026-11-22T18:00:00Z"),
            (r#"{"all": true, "until": "1960-01-01T00:00:00Z"}"#, "2026-11-22T18:00:00Z"),
            (r#"{"all": true, "for": "2h", "until": "2026-11-22T18:00:00Z"}"#, "not both"),
            (r#"{"all": true, "reason": "a\nb"}"#, "one line"),
            (r#"{"all": true, "why": "x"}"#, "unknown field"),
        ] {
            let error = suspend(body.as_bytes()).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.to_string().contains(words), "{body}: {error}");
        }
        assert!(resume(br#"{"all": true, "reason": "x"}"#).is_err());
    }
}
