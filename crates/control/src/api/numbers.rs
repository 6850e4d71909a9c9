//! `GET /v1/history` and `GET /v1/stats`: the last hours as points, and what
//! became of recipients by name or by day.

use base::Wall;

use super::query::{limit, named};
use super::{ApiError, Request};

/// Which points are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Points of five minutes instead of those of ten seconds.
    pub coarse: bool,
    /// Only those that began later.
    pub since: Option<Wall>,
}

/// What a row of statistics stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsBy {
    /// A domain of recipients.
    Domain,
    /// Destinations that share their exchangers or relay hosts.
    Site,
    /// A route.
    Route,
    /// A way out.
    Source,
    /// A day, UTC.
    Day,
}

/// All of them.
const BY: [StatsBy; 5] =
    [StatsBy::Domain, StatsBy::Site, StatsBy::Route, StatsBy::Source, StatsBy::Day];

impl StatsBy {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Site => "site",
            Self::Route => "route",
            Self::Source => "source",
            Self::Day => "day",
        }
    }
}

/// `step=10s|5m&since=MS`.
pub(super) fn history(query: &str) -> Result<Request, ApiError> {
    let [step, since] = named(query, ["step", "since"])?;
    let coarse = match step.as_deref() {
        None | Some("10s") => false,
        Some("5m") => true,
        Some(_) => return Err(ApiError::PeerRequest("step is 10s or 5m".into())),
    };
    let since = since.map(|text| text.parse().map(Wall::from_millis)).transpose();
    let since = since
        .map_err(|_| ApiError::PeerRequest("since is a time in milliseconds since 1970".into()))?;
    Ok(Request::History(Past { coarse, since }))
}

/// `by=domain|site|route|source|day&limit=…`.
pub(super) fn stats(query: &str) -> Result<Request, ApiError> {
    let [by, rows] = named(query, ["by", "limit"])?;
    let word = by.as_deref().unwrap_or("domain");
    let by = BY
        .into_iter()
        .find(|by| by.name() == word)
        .ok_or_else(|| ApiError::PeerRequest("by is domain, site, route, source or day".into()))?;
    Ok(Request::Stats { by, limit: limit(rows)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_and_statistics_are_asked_for_in_few_words() {
        let read = |target: &str| Request::parse("GET", target, b"");
        assert_eq!(read("/v1/history"), Ok(Request::History(Past::default())));
        let since = Some(Wall::from_millis(5));
        let past = Request::History(Past { coarse: true, since });
        assert_eq!(read("/v1/history?step=5m&since=5"), Ok(past));
        let stats = Request::Stats { by: StatsBy::Day, limit: 3 };
        assert_eq!(read("/v1/stats?by=day&limit=3"), Ok(stats));
        assert_eq!(read("/v1/stats"), Ok(Request::Stats { by: StatsBy::Domain, limit: 20 }));
        for refused in ["history?step=1s", "history?since=x", "stats?by=planet", "stats?x=1"] {
            assert!(read(&format!("/v1/{refused}")).is_err(), "{refused}");
        }
    }
}
