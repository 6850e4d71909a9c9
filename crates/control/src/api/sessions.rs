//! `GET /v1/sessions`, `POST /v1/sessions/abort` and `GET /v1/limits`: who is
//! connected, and which limit binds where.

use serde::Deserialize;

use super::query::{limit, named};
use super::{ApiError, Request};

/// Longest name of a session, in octets.
const NAME_BYTES_MAX: usize = 40;

/// `limit=…`.
pub(super) fn list(query: &str) -> Result<Request, ApiError> {
    let [rows] = named(query, ["limit"])?;
    Ok(Request::SessionsList(limit(rows)?))
}

/// `limit=…`.
pub(super) fn limits(query: &str) -> Result<Request, ApiError> {
    let [rows] = named(query, ["limit"])?;
    Ok(Request::Limits(limit(rows)?))
}

/// The body of an abort: the session by the name that the list shows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Abort {
    session: String,
}

pub(super) fn abort(order: Abort) -> Result<Request, ApiError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if order.session.len() > NAME_BYTES_MAX || !order.session.bytes().all(word) {
        return Err(ApiError::PeerRequest("session names look like 6740a1b2-0-17".into()));
    }
    Ok(Request::SessionAbort(order.session.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_listed_and_cut_by_name() {
        assert_eq!(
            Request::parse("GET", "/v1/sessions?limit=3", b""),
            Ok(Request::SessionsList(3))
        );
        assert_eq!(Request::parse("GET", "/v1/limits", b""), Ok(Request::Limits(20)));
        let abort = |body: &str| Request::parse("POST", "/v1/sessions/abort", body.as_bytes());
        let named = Request::SessionAbort("6740a1b2-0-17".into());
        assert_eq!(abort(r#"{"session": "6740a1b2-0-17"}"#), Ok(named));
        for refused in ["", "{}", r#"{"session": "a b"}"#, r#"{"id": "1-1-1"}"#] {
            assert!(abort(refused).is_err(), "{refused}");
        }
    }
}
