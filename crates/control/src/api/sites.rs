//! `GET /v1/sites`: the sites that mail waits for, or all that are known,
//! searched, sorted and page by page; for lists that people look through.
//!
//! Invariant: no page reaches beyond the first [`LIMIT_MAX`] sites of an order,
//! so that what one look costs has a bound.

use super::query::{limit, named};
use super::{ApiError, LIMIT_MAX, Request};

/// Longest part of a name that is searched for, in octets.
const NAME_BYTES_MAX: usize = 255;

/// Which sites are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites {
    /// Those whose name has this in it, in lower case; empty: all.
    pub name: String,
    /// Those in this state, in the word that lists show.
    pub state: Option<String>,
    /// Those without waiting mail, too.
    pub all: bool,
    /// In which order.
    pub sort: SiteOrder,
    /// So many are passed over.
    pub offset: u32,
    /// Most rows; with `offset` at most [`LIMIT_MAX`].
    pub limit: u32,
}

/// What sites are sorted by. Numbers: the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SiteOrder {
    /// Waiting recipients.
    #[default]
    Count,
    /// Their names.
    Name,
    /// Recipients that wait for their turn.
    Ready,
    /// Recipients that wait for their next attempt.
    Deferred,
    /// Recipients that wait for an operator.
    Held,
    /// Recipients under way.
    InFlight,
    /// Open connections.
    Connections,
    /// The site with the oldest mail first.
    Oldest,
    /// Their states, those that need somebody first.
    State,
    /// Recipients taken in the last ten minutes.
    Delivered,
    /// Recipients refused for good in the last ten minutes.
    Failed,
}

const ORDERS: [(&str, SiteOrder); 11] = [
    ("count", SiteOrder::Count),
    ("name", SiteOrder::Name),
    ("ready", SiteOrder::Ready),
    ("deferred", SiteOrder::Deferred),
    ("held", SiteOrder::Held),
    ("in_flight", SiteOrder::InFlight),
    ("connections", SiteOrder::Connections),
    ("oldest", SiteOrder::Oldest),
    ("state", SiteOrder::State),
    ("delivered", SiteOrder::Delivered),
    ("failed", SiteOrder::Failed),
];

impl SiteOrder {
    /// The word for it, which is that of the rows' field.
    pub fn word(self) -> &'static str {
        let known = ORDERS.iter().find(|(_, order)| *order == self);
        known.map_or("count", |(word, _)| word)
    }
}

/// `name=…`, `state=…`, `all=…`, `sort=…`, `offset=…` and `limit=…`.
pub(super) fn list(query: &str) -> Result<Request, ApiError> {
    let [name, state, all, sort, offset, rows] =
        named(query, ["name", "state", "all", "sort", "offset", "limit"])?;
    let all = match all.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(refuse("all is true or false")),
    };
    let name = name.unwrap_or_default().to_lowercase();
    if name.len() > NAME_BYTES_MAX {
        return Err(refuse(format!("name is longer than {NAME_BYTES_MAX} octets")));
    }
    let sort = sort.map_or(Ok(SiteOrder::default()), |word| {
        let known = ORDERS.iter().find(|(known, _)| *known == word);
        let words = || ORDERS.map(|(word, _)| word).join(", ");
        known.map(|(_, order)| *order).ok_or_else(|| refuse(format!("sort is one of {}", words())))
    })?;
    let plain = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let offset = offset.map_or(Some(0), |text| text.parse::<u32>().ok().filter(|_| plain(&text)));
    let limit = limit(rows)?;
    let within = |offset: &u32| offset.saturating_add(limit) <= LIMIT_MAX;
    let offset = offset.filter(within).ok_or_else(|| {
        refuse(format!("offset and limit together reach to {LIMIT_MAX}: search for a name beyond"))
    })?;
    Ok(Request::Sites(Box::new(Sites { name, state, all, sort, offset, limit })))
}

fn refuse(reason: impl Into<String>) -> ApiError {
    ApiError::PeerRequest(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(query: &str) -> Result<Request, ApiError> {
        Request::parse("GET", &format!("/v1/sites{query}"), b"")
    }

    #[test]
    fn sites_are_searched_sorted_and_paged() {
        let all = Sites { limit: 20, ..Sites::default() };
        assert_eq!(get(""), Ok(Request::Sites(Box::new(all))));
        let some = Sites {
            name: "gmail".into(),
            state: Some("down".into()),
            all: true,
            sort: SiteOrder::Oldest,
            offset: 100,
            limit: 50,
        };
        let query = "?name=GMail&state=down&all=true&sort=oldest&offset=100&limit=50";
        assert_eq!(get(query), Ok(Request::Sites(Box::new(some))));
        for (word, order) in ORDERS {
            assert_eq!(order.word(), word);
        }
    }

    #[test]
    fn bounds_hold_at_the_bound() {
        assert!(get("?offset=9900&limit=100").is_ok());
        assert!(get(&format!("?name={}", "x".repeat(NAME_BYTES_MAX))).is_ok());
        for (query, words) in [
            ("?offset=9901&limit=100", "reach to 10000"),
            ("?offset=4294967295&limit=1", "reach to 10000"),
            ("?offset=-1", "reach to 10000"),
            ("?offset=+1", "reach to 10000"),
            ("?all=yes", "all is true or false"),
            ("?sort=size", "sort is one of count, name,"),
            ("?colour=red", "is not known here"),
            (&format!("?name={}", "x".repeat(NAME_BYTES_MAX + 1)), "longer than 255"),
        ] {
            let error = get(query).unwrap_err();
            assert!(error.to_string().contains(words), "{query}: {error}");
        }
    }
}
