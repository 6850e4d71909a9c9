//! `GET /v1/why`: why mail is where it is, and when it goes on.

use base::MessageId;
use mail::{Address, Domain};

use super::filter::bare_mailbox;
use super::query::{limit, named};
use super::{ApiError, Request};

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A message's recipients.
    Message(MessageId),
    /// What waits for an address.
    Recipient(Address),
    /// All mail for a domain.
    Domain(Domain),
    /// All mail of a site, by the name that lists show.
    Site(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(id) => id.fmt(f),
            Self::Recipient(address) => address.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
            Self::Site(name) => f.write_str(name),
        }
    }
}

/// `of=…`: a message's id, an address, a site's name, which has a colon, or
/// else a domain; and `limit=…`, the rows of each shard at most.
pub(super) fn why(query: &str) -> Result<Request, ApiError> {
    let refuse = |why: String| ApiError::PeerRequest(why);
    let [of, rows] = named(query, ["of", "limit"])?;
    let of = of.filter(|of| !of.is_empty());
    let of = of.ok_or_else(|| refuse("say of what: an id, an address, a domain, a site".into()))?;
    let asked = if of.contains('@') {
        let address = Address::parse(bare_mailbox(&of), true);
        Why::Recipient(address.map_err(|e| refuse(e.to_string()))?)
    } else if of.contains(':') {
        Why::Site(of)
    } else if let Ok(id) = of.parse() {
        Why::Message(id)
    } else {
        let domain = Domain::parse_utf8(&of);
        Why::Domain(domain.map_err(|e| refuse(format!("neither id, address nor domain: {e}")))?)
    };
    Ok(Request::Why { asked, limit: limit(rows)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_is_known_by_its_form() {
        let get = |query: &str| Request::parse("GET", &format!("/v1/why?{query}"), b"");
        let asked = |query: &str| match get(query) {
            Ok(Request::Why { asked, .. }) => Some(asked),
            _ => None,
        };
        let domain = Why::Domain(Domain::parse("a.example").unwrap());
        assert_eq!(get("of=A.example"), Ok(Request::Why { asked: domain, limit: 20 }));
        let site = Why::Site("mx:a".into());
        assert_eq!(get("of=mx:a&limit=3"), Ok(Request::Why { asked: site, limit: 3 }));
        assert!(matches!(asked("of=%3Ca@b.example%3E"), Some(Why::Recipient(_))));
        assert!(matches!(asked("of=0000004000400"), Some(Why::Message(_))));
        for refused in ["", "limit=3", "of=", "of=@", "of=a b", "id=0000004000400", "of=a&of=b"] {
            assert!(get(refused).is_err(), "{refused}");
        }
    }
}
