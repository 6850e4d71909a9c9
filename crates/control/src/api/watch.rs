//! `/v1/detail` and `/v1/trace`: what is looked at closely, for a while in the
//! event log, or by somebody who is attached.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::filter::bare_mailbox;
use super::query::named;
use super::{ApiError, Request};
use crate::units::Span;
use crate::watch::{Direction, Focus, WATCH_TIME_DEFAULT, WATCH_TIME_MAX, WORD_BYTES_MAX};

/// About what is looked at closely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetailRequest {
    /// What is, and until when.
    List,
    /// Tell of this in the event log, for so long.
    Tell(Focus, Duration),
    /// End one by its number; none: all.
    Stop(Option<u64>),
    /// Show what is said from now on.
    Trace(Focus),
}

/// As it is typed, for the log.
impl fmt::Display for DetailRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("log detail list"),
            Self::Tell(focus, span) => write!(f, "log detail {focus} for {} s", span.as_secs()),
            Self::Stop(None) => f.write_str("log detail stop all"),
            Self::Stop(Some(number)) => write!(f, "log detail stop {number}"),
            Self::Trace(focus) => write!(f, "trace live {focus}"),
        }
    }
}

impl From<DetailRequest> for Request {
    fn from(request: DetailRequest) -> Self {
        Self::Detail(Box::new(request))
    }
}

/// Everything that may stand in the body of `POST /v1/detail`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Order {
    all: bool,
    domain: Option<String>,
    ip: Option<String>,
    sender: Option<String>,
    source: Option<String>,
    message: Option<String>,
    direction: Option<String>,
    #[serde(rename = "for")]
    span: Option<String>,
}

/// The body of `POST /v1/detail/stop`: one by its number, or all.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Stop {
    all: bool,
    number: Option<u64>,
}

pub(super) fn detail(order: Order) -> Result<Request, ApiError> {
    let span = order.span.as_deref().map_or(Ok(WATCH_TIME_DEFAULT), span)?;
    let all = order.all;
    let focus = focus([
        order.domain,
        order.ip,
        order.sender,
        order.source,
        order.message,
        order.direction,
    ])?;
    if all != focus.is_everything() {
        return Err(refuse(WHICH));
    }
    Ok(DetailRequest::Tell(focus, span).into())
}

pub(super) fn stop(order: Stop) -> Result<Request, ApiError> {
    match order {
        Stop { all: true, number: None } => Ok(DetailRequest::Stop(None).into()),
        Stop { all: false, number: Some(number) } => Ok(DetailRequest::Stop(Some(number)).into()),
        _ => Err(refuse("name one by its number, or say \"all\": true")),
    }
}

/// `domain=…&ip=…`, and so on; nothing: everything.
pub(super) fn trace(query: &str) -> Result<Request, ApiError> {
    let names = ["domain", "ip", "sender", "source", "message", "direction"];
    Ok(DetailRequest::Trace(focus(named(query, names)?)?).into())
}

const WHICH: &str = "name one or more of domain, ip, sender, source, message, direction, or say \
                     \"all\": true and nothing else";

fn focus(given: [Option<String>; 6]) -> Result<Focus, ApiError> {
    let [domain, ip, sender, source, message, direction] = given;
    let direction = match direction.as_deref() {
        None => None,
        Some("in") => Some(Direction::In),
        Some("out") => Some(Direction::Out),
        Some(_) => return Err(refuse("direction is in or out")),
    };
    Ok(Focus {
        domain: domain.map(|it| mail::Domain::parse_utf8(&it)).transpose().map_err(refuse)?,
        network: ip.map(|it| it.parse()).transpose().map_err(|why| refuse(format!("ip {why}")))?,
        sender: sender.map(|it| word("sender", bare_mailbox(&it))).transpose()?,
        source: source.map(|it| word("source", &it)).transpose()?,
        message: message.map(|it| it.parse()).transpose().map_err(refuse)?,
        direction,
    })
}

fn word(name: &str, text: &str) -> Result<Box<str>, ApiError> {
    match text.len() <= WORD_BYTES_MAX && !text.chars().any(char::is_control) {
        true => Ok(text.into()),
        false => {
            let bound = format!("{name} is one line of at most {WORD_BYTES_MAX} bytes");
            Err(refuse(bound))
        }
    }
}

fn span(text: &str) -> Result<Duration, ApiError> {
    let Span(span) = text.parse().map_err(|why| refuse(format!("`for` {why}")))?;
    match span.is_zero() || span > WATCH_TIME_MAX {
        true => Err(refuse("`for` is a span from 1s to 24h")),
        false => Ok(span),
    }
}

fn refuse(reason: impl ToString) -> ApiError {
    ApiError::PeerRequest(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str, body: &str) -> Result<Request, ApiError> {
        Request::parse("POST", path, body.as_bytes())
    }

    /// Shows: S4.7
    #[test]
    fn detail_is_asked_for_by_conditions_and_for_a_time() {
        let asked = post("/v1/detail", r#"{"domain": "A.example", "for": "2m"}"#).unwrap();
        assert_eq!(asked.to_string(), "log detail domain=a.example for 120 s");
        assert!(!asked.reads_only());
        let all = post("/v1/detail", r#"{"all": true}"#).unwrap();
        let everything = DetailRequest::Tell(Focus::default(), WATCH_TIME_DEFAULT);
        assert_eq!(all, everything.into());
        let several = r#"{"ip": "192.0.2.0/24", "sender": "<a@b.example>", "direction": "in"}"#;
        let words = "log detail ip=192.0.2.0/24 sender=a@b.example direction=in for 600 s";
        assert_eq!(post("/v1/detail", several).unwrap().to_string(), words);
        for (body, words) in [
            ("{}", "name one or more of"),
            (r#"{"all": true, "domain": "a.example"}"#, "name one or more of"),
            (r#"{"domain": "a b"}"#, ""),
            (r#"{"ip": "a.example"}"#, "ip is not a network"),
            (r#"{"direction": "up"}"#, "in or out"),
            (r#"{"message": "x"}"#, ""),
            (r#"{"sender": "a\nb"}"#, "one line"),
            (r#"{"domain": "a.example", "for": "25h"}"#, "from 1s to 24h"),
            (r#"{"domain": "a.example", "for": "0s"}"#, ""),
            (r#"{"domain": null}"#, "`domain` is null"),
            (r#"{"doman": "a.example"}"#, "unknown field"),
        ] {
            let why = post("/v1/detail", body).unwrap_err().to_string();
            assert!(why.contains(words), "{body}: {why}");
        }
    }

    #[test]
    fn one_is_stopped_by_its_number_or_all_are() {
        assert_eq!(Request::parse("GET", "/v1/detail", b""), Ok(DetailRequest::List.into()));
        let stop = |body| post("/v1/detail/stop", body);
        assert_eq!(stop(r#"{"number": 3}"#), Ok(DetailRequest::Stop(Some(3)).into()));
        assert_eq!(stop(r#"{"all": true}"#), Ok(DetailRequest::Stop(None).into()));
        for refused in ["{}", "", r#"{"all": true, "number": 3}"#, r#"{"number": -1}"#] {
            assert!(stop(refused).is_err(), "{refused}");
        }
    }

    /// Shows: A43
    #[test]
    fn a_trace_takes_conditions_or_none() {
        let trace = |query: &str| Request::parse("GET", &format!("/v1/trace{query}"), b"");
        let asked = trace("?domain=a.example&direction=out").unwrap();
        assert_eq!(asked.to_string(), "trace live domain=a.example direction=out");
        assert!(!asked.reads_only(), "it shows who writes to whom");
        assert_eq!(trace("").unwrap().to_string(), "trace live everything");
        for refused in ["?ip=x", "?what=x", "?domain=a.example&domain=b.example", "?direction="] {
            assert!(trace(refused).is_err(), "{refused}");
        }
    }
}
