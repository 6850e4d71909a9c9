//! `GET /v1/log` and `GET /v1/failures`: the event log as far as it is asked
//! for over the control socket, and what went wrong of late.
//!
//! Never reads a line: the log's room knows what stands there. What is looked
//! for is checked by whoever reads.

use base::{MessageId, Wall};

use super::filter::bare_mailbox;
use super::query::{limit, named};
use super::suspend::time;
use super::{ApiError, Request};
use crate::units::Span;

/// Most lines of one answer.
pub const LINES_MAX: u32 = 1_000;
/// Most lines that a stream begins with.
pub const STREAM_LINES_MAX: u32 = 100_000;
/// Longest of the other values, in octets.
const VALUE_BYTES_MAX: usize = 512;

/// Which lines are looked for: every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogAsked {
    /// About this message.
    pub id: Option<MessageId>,
    /// From or to this address.
    pub address: Option<String>,
    /// From or to an address of this domain.
    pub domain: Option<String>,
    /// Of this site, or of a host of it.
    pub site: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// Of these kinds; of any, if there are none.
    pub events: Vec<String>,
    /// Written so long ago at most.
    pub since: Option<std::time::Duration>,
    /// The last ones, so many at most; 1 to [`LINES_MAX`].
    pub limit: u32,
}

/// `id=…`, `address=…`, `domain=…`, `site=…`, `session=…`, `event=…` with
/// commas between several, `since=…` as a span, and `limit=…`.
pub(super) fn lines(query: &str) -> Result<Request, ApiError> {
    let [id, address, domain, site, session, events, since, rows] =
        named(query, ["id", "address", "domain", "site", "session", "event", "since", "limit"])?;
    let texts = [&address, &domain, &site, &session, &events];
    if texts.into_iter().flatten().any(|text| text.len() > VALUE_BYTES_MAX) {
        return Err(refuse(format!("a value is longer than {VALUE_BYTES_MAX} octets")));
    }
    let id = id.map(|id| id.parse().map_err(|e: base::ids::NotAMessageId| refuse(e.to_string())));
    let since = since.map(|text| {
        text.parse::<Span>().map(|Span(ago)| ago).map_err(|why| refuse(format!("since {why}")))
    });
    let words = |events: String| events.split(',').map(str::to_owned).collect();
    Ok(Request::Log(Box::new(LogAsked {
        id: id.transpose()?,
        address: address.map(|address| bare_mailbox(&address).to_owned()),
        domain,
        site,
        session,
        events: events.map_or_else(Vec::new, words),
        since: since.transpose()?,
        limit: bounded(limit(rows)?)?,
    })))
}

/// Lines as they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamAsked {
    /// Which ones.
    pub lines: LogAsked,
    /// Written at this time or later.
    pub from: Option<Wall>,
    /// Written before this time.
    pub until: Option<Wall>,
    /// Of what is there only the last ones, so many at most; none: all.
    pub last: Option<u32>,
    /// Go on with what comes.
    pub follows: bool,
}

/// The conditions of [`lines`] with `from=…` and `until=…` as times, `lines=…`
/// as a number, and `follow=true`.
pub(super) fn stream(query: &str) -> Result<Request, ApiError> {
    const OWN: [&str; 4] = ["from", "until", "lines", "follow"];
    let is_own = |pair: &&str| OWN.contains(&pair.split('=').next().unwrap_or_default());
    let (own, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_own);
    let [from, until, last, follows] = named(&own.join("&"), OWN)?;
    let Request::Log(asked) = lines(&rest.join("&"))? else { unreachable!("it reads lines") };
    let follows = match follows.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(refuse("follow is true or false".into())),
    };
    let last = last.map(|last| match last.parse() {
        Ok(count) if count <= STREAM_LINES_MAX => Ok(count),
        _ => Err(refuse(format!("lines is a number up to {STREAM_LINES_MAX}"))),
    });
    let moment = |text: Option<String>| text.map(|text| time(&text)).transpose();
    let (from, until) = (moment(from)?, moment(until)?);
    let asked = StreamAsked { lines: *asked, from, until, last: last.transpose()?, follows };
    Ok(Request::LogStream(Box::new(asked)))
}

/// `limit=…`.
pub(super) fn failures(query: &str) -> Result<Request, ApiError> {
    let [rows] = named(query, ["limit"])?;
    Ok(Request::Failures(bounded(limit(rows)?)?))
}

fn bounded(limit: u32) -> Result<u32, ApiError> {
    match limit <= LINES_MAX {
        true => Ok(limit),
        false => Err(refuse(format!("limit is a number from 1 to {LINES_MAX}"))),
    }
}

fn refuse(reason: String) -> ApiError {
    ApiError::PeerRequest(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_asked_for_by_what_stands_in_them() {
        let get = |target: &str| Request::parse("GET", target, b"");
        let asked = LogAsked {
            id: "0000004000400".parse().ok(),
            address: Some("a@b.example".into()),
            events: vec!["failed".into(), "expired".into()],
            since: Some(std::time::Duration::from_secs(7_200)),
            limit: LINES_MAX,
            ..LogAsked::default()
        };
        let query = "id=0000004000400&address=%3Ca@b.example%3E&event=failed,expired&since=2h";
        let target = format!("/v1/log?{query}&limit={LINES_MAX}");
        assert_eq!(get(&target), Ok(Request::Log(Box::new(asked))));
        assert_eq!(get("/v1/failures?limit=7"), Ok(Request::Failures(7)));
        assert!(get("/v1/log").is_ok_and(|request| request.reads_only()));
        let stream = get("/v1/log/stream?domain=a.example&lines=10&follow=true").unwrap();
        assert!(stream.reads_only() && !stream.is_for_page());
        let Request::LogStream(asked) = stream else { panic!("{stream:?}") };
        assert_eq!((asked.last, asked.follows), (Some(10), true));
        assert_eq!(asked.lines.domain.as_deref(), Some("a.example"));
        for refused in [
            "/v1/log?id=short",
            "/v1/log?since=yesterday",
            "/v1/log?limit=1001",
            "/v1/log?colour=red",
            &format!("/v1/log?site={}", "x".repeat(VALUE_BYTES_MAX + 1)),
            "/v1/log/stream?follow=perhaps",
            "/v1/log/stream?lines=100001",
            "/v1/log/stream?from=yesterday",
            "/v1/log/stream?lines=1&lines=2",
            "/v1/failures?limit=0",
            "/v1/failures?limit=1001",
        ] {
            assert!(get(refused).is_err(), "{refused}");
        }
    }
}
