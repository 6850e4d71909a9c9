//! `GET /v1/dns/cache` and `POST /v1/dns/flush`: the cache of mail domains.

use mail::Domain;
use serde::Deserialize;

use super::filter::domain;
use super::{ApiError, Request};

/// Which part of the cache is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsCache {
    /// Only this domain.
    pub domain: Option<Domain>,
    /// Most rows of each shard; 1 to [`super::LIMIT_MAX`].
    pub limit: u32,
}

/// The body of a flush: a domain, or `"all": true`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Flush {
    all: bool,
    #[serde(deserialize_with = "domain")]
    domain: Option<Domain>,
}

pub(super) fn flush(body: Flush) -> Result<Request, ApiError> {
    match body {
        Flush { all: true, domain: None } => Ok(Request::DnsFlush(None)),
        Flush { all: false, domain: Some(domain) } => Ok(Request::DnsFlush(Some(domain))),
        _ => Err(ApiError::PeerRequest("name a domain, or say \"all\": true".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_says_what_is_forgotten() {
        let read = |body: &str| Request::parse("POST", "/v1/dns/flush", body.as_bytes());
        assert_eq!(read(r#"{"all": true}"#), Ok(Request::DnsFlush(None)));
        let domain = Domain::parse("a.example").ok();
        assert_eq!(read(r#"{"domain": "A.example"}"#), Ok(Request::DnsFlush(domain.clone())));
        for refused in ["{}", r#"{"all": true, "domain": "a.example"}"#, r#"{"domain": "a b"}"#] {
            assert!(read(refused).is_err(), "{refused}");
        }
        let list = Request::parse("GET", "/v1/dns/cache?domain=a.example&limit=3", b"");
        assert_eq!(list, Ok(Request::DnsCache(DnsCache { domain, limit: 3 })));
        assert!(Request::parse("GET", "/v1/dns/cache?sender=x", b"").is_err());
    }
}
