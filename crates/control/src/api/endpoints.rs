//! The paths of the control socket: for each path and method what reads the
//! rest of the request. One table, so that what is answered and what the
//! description says can be held against each other.
//!
//! Never looks at a path beyond the table. Invariant: a path written out stands
//! before one with a `{part}` that would take it too.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base::MessageId;
use serde::de::IgnoredAny;

use super::{
    ApiError, ApplianceRequest, BACKUP_BYTES_MAX, BODY_BYTES_MAX, ConfigRequest, DetailRequest,
    QueueAct, REQUEST_BYTES_MAX, Request, alerts, appliance, config, dns, filter, hosts, log,
    numbers, order, query, restore, sessions, sites, submit, suspend, transfer, watch, why,
};
use crate::appliance::UPDATE_BYTES_MAX;

/// One thing that can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// The path; at most one of its parts is a name in braces, which stands
    /// for any.
    pub path: &'static str,
    /// Largest body, in bytes.
    pub body_bytes_max: usize,
    /// Bytes of a body that is taken in piece by piece, and never read here.
    pub pieces_max: Option<u64>,
    pub(super) read: Read,
}

/// What came with a path.
pub(super) struct Asked<'a> {
    /// What stands where the path has braces.
    pub(super) part: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// Everything that can be asked.
pub const ENDPOINTS: &[Endpoint] = &[
    get("/v1/status", |asked| asked.alone(Request::Status)),
    get("/v1/metrics", |asked| asked.alone(Request::Metrics)),
    get("/v1/history", |asked| {
        nothing(asked.body, "body")?;
        numbers::history(asked.query)
    }),
    get("/v1/stats", |asked| {
        nothing(asked.body, "body")?;
        numbers::stats(asked.query)
    }),
    get("/v1/health", |asked| asked.alone(Request::Health)),
    get("/v1/ready", |asked| asked.alone(Request::Ready)),
    get("/v1/queue", |asked| {
        nothing(asked.body, "body")?;
        query::queue_list(asked.query)
    }),
    post("/v1/queue/flush", |asked| asked.acting(QueueAct::Flush)),
    post("/v1/queue/hold", |asked| asked.acting(QueueAct::Hold)),
    post("/v1/queue/release", |asked| asked.acting(QueueAct::Release)),
    post("/v1/queue/remove", |asked| asked.acting(QueueAct::Remove)),
    post("/v1/queue/bounce", |asked| asked.acting(QueueAct::Bounce)),
    post("/v1/queue/reroute", |asked| asked.acting(QueueAct::Reroute)),
    get("/v1/queue/messages", |asked| {
        nothing(asked.body, "body")?;
        query::queue_ids(asked.query)
    }),
    Endpoint {
        body_bytes_max: transfer::FILE_BYTES_MAX,
        ..post("/v1/queue/import", |asked| {
            nothing(asked.query.as_bytes(), "query")?;
            transfer::import(asked.body)
        })
    },
    get("/v1/queue/{id}/file", |asked| asked.alone(Request::QueueExport(message(asked.part)?))),
    get("/v1/queue/{id}", |asked| asked.alone(Request::QueueShow(message(asked.part)?))),
    get("/v1/dns/cache", |asked| {
        nothing(asked.body, "body")?;
        query::dns_cache(asked.query)
    }),
    post("/v1/dns/flush", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        dns::flush(asked.json()?)
    }),
    get("/v1/dns/servers", |asked| asked.alone(Request::DnsServers)),
    get("/v1/hosts", |asked| {
        nothing(asked.body, "body")?;
        query::hosts(asked.query)
    }),
    post("/v1/hosts/pin", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        Ok(hosts::pin(&asked.json()?))
    }),
    post("/v1/hosts/forget", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        hosts::forget(&asked.json()?)
    }),
    get("/v1/explain", |asked| {
        nothing(asked.body, "body")?;
        query::explain(asked.query)
    }),
    get("/v1/why", |asked| {
        nothing(asked.body, "body")?;
        why::why(asked.query)
    }),
    get("/v1/sessions", |asked| {
        nothing(asked.body, "body")?;
        sessions::list(asked.query)
    }),
    post("/v1/sessions/abort", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        sessions::abort(asked.json()?)
    }),
    get("/v1/limits", |asked| {
        nothing(asked.body, "body")?;
        sessions::limits(asked.query)
    }),
    get("/v1/sites", |asked| {
        nothing(asked.body, "body")?;
        sites::list(asked.query)
    }),
    get("/v1/log", |asked| {
        nothing(asked.body, "body")?;
        log::lines(asked.query)
    }),
    get("/v1/log/stream", |asked| {
        nothing(asked.body, "body")?;
        log::stream(asked.query)
    }),
    get("/v1/failures", |asked| {
        nothing(asked.body, "body")?;
        log::failures(asked.query)
    }),
    get("/v1/detail", |asked| asked.alone(DetailRequest::List.into())),
    post("/v1/detail", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        watch::detail(asked.without_nulls()?.orderly()?)
    }),
    post("/v1/detail/stop", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        watch::stop(asked.without_nulls()?.orderly()?)
    }),
    get("/v1/trace", |asked| {
        nothing(asked.body, "body")?;
        watch::trace(asked.query)
    }),
    get("/v1/egress", |asked| asked.alone(Request::CheckEgress)),
    get("/v1/support-bundle", |asked| {
        nothing(asked.body, "body")?;
        query::support_bundle(asked.query)
    }),
    get("/v1/webhooks", |asked| asked.alone(Request::Webhooks)),
    get("/v1/alerts", |asked| asked.alone(Request::AlertsList)),
    post("/v1/alerts/silence", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        alerts::silence(asked.without_nulls()?.orderly()?)
    }),
    post("/v1/alerts/unsilence", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        alerts::unsilence(&asked.without_nulls()?.orderly()?)
    }),
    get("/v1/syslog", |asked| asked.alone(Request::Syslogs)),
    large("POST", "/v1/messages", |asked| submit::submit(asked.query, asked.body)),
    post("/v1/diagnose", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        query::diagnose(asked.json()?)
    }),
    get("/v1/suspensions", |asked| asked.alone(Request::SuspensionsList)),
    post("/v1/suspend", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        suspend::suspend(asked.without_nulls()?.body).map(Request::Suspend)
    }),
    post("/v1/resume", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        suspend::resume(asked.without_nulls()?.body).map(Request::Resume)
    }),
    get("/v1/config", |asked| asked.alone(ConfigRequest::Show.into())),
    get("/v1/config/candidate", |asked| asked.alone(ConfigRequest::Candidate.into())),
    large("PUT", "/v1/config/candidate", |asked| asked.telling(config::propose)),
    post("/v1/config/edit", |asked| asked.telling(config::edit)),
    get("/v1/config/diff", |asked| asked.asking(config::diff)),
    large("POST", "/v1/config/commit", |asked| asked.telling(config::commit)),
    post("/v1/config/confirm", |asked| asked.telling(|it| Ok(ConfigRequest::Confirm(it)))),
    post("/v1/config/discard", |asked| asked.telling(|Nothing {}| Ok(ConfigRequest::Discard))),
    post("/v1/config/rollback", |asked| asked.telling(config::rollback)),
    get("/v1/revisions", |asked| asked.asking(config::revisions)),
    get("/v1/revisions/{number}", |asked| {
        asked.alone(ConfigRequest::Revision(config::revision(asked.part)?).into())
    }),
    get("/v1/routes", |asked| asked.asking(config::routes)),
    get("/v1/routes/test", |asked| asked.asking(config::route_test)),
    get("/v1/credentials", |asked| asked.alone(ConfigRequest::Credentials.into())),
    get("/v1/help", |asked| asked.asking(config::help)),
    get("/v1/backup", |asked| asked.alone(Request::Backup)),
    Endpoint {
        body_bytes_max: BACKUP_BYTES_MAX,
        ..large("PUT", "/v1/restore", |asked| restore::restore(asked.query, asked.body))
    },
    get("/v1/appliance", |asked| asked.alone(ApplianceRequest::State.into())),
    Endpoint {
        method: "PUT",
        pieces_max: Some(UPDATE_BYTES_MAX),
        ..post("/v1/appliance/update", |asked| asked.alone(ApplianceRequest::Update.into()))
    },
    Endpoint {
        method: "PUT",
        ..post("/v1/appliance/network", |asked| {
            nothing(asked.query.as_bytes(), "query")?;
            appliance::network(asked.json()?)
        })
    },
    post("/v1/appliance/network/confirm", |asked| {
        asked.alone(ApplianceRequest::NetworkConfirm.into())
    }),
    post("/v1/appliance/reset", |asked| {
        nothing(asked.query.as_bytes(), "query")?;
        appliance::reset(asked.json()?)
    }),
    post("/v1/appliance/restart", |asked| asked.alone(ApplianceRequest::Restart.into())),
];

type Read = fn(&Asked<'_>) -> Result<Request, ApiError>;

const fn get(path: &'static str, read: Read) -> Endpoint {
    Endpoint { method: "GET", path, body_bytes_max: REQUEST_BYTES_MAX, pieces_max: None, read }
}

const fn post(path: &'static str, read: Read) -> Endpoint {
    Endpoint { method: "POST", path, body_bytes_max: REQUEST_BYTES_MAX, pieces_max: None, read }
}

/// A request that brings a whole configuration, or a message.
const fn large(method: &'static str, path: &'static str, read: Read) -> Endpoint {
    Endpoint { method, path, body_bytes_max: BODY_BYTES_MAX, pieces_max: None, read }
}

/// Most bytes of a body that is taken in piece by piece; none for requests whose
/// body is read whole, or that there are not.
pub fn pieces(method: &str, target: &str) -> Option<u64> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    find(method, path).ok()?.0.pieces_max
}

/// A body without anything in it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Characters of a path repeated in an answer.
const PATH_QUOTE_CHARS: usize = 200;

/// The endpoint for a method and a path, and what stands in its braces.
pub(super) fn find<'p>(
    method: &str,
    path: &'p str,
) -> Result<(&'static Endpoint, &'p str), ApiError> {
    let bare = path.strip_suffix('/').unwrap_or(path);
    let found = ENDPOINTS.iter().find_map(|known| Some((known, part_of(known.path, bare)?)));
    let Some((first, part)) = found else {
        let start: String = path.chars().take(PATH_QUOTE_CHARS).collect();
        return Err(ApiError::PeerNotFound(start.escape_debug().to_string()));
    };
    let mut here = ENDPOINTS.iter().filter(|known| known.path == first.path);
    match here.clone().find(|known| known.method == method) {
        Some(endpoint) => Ok((endpoint, part)),
        None => {
            let first = here.next().map_or("", |known| known.method).to_owned();
            Err(ApiError::PeerMethod(here.fold(first, |all, known| all + ", " + known.method)))
        }
    }
}

/// What stands in the braces of `template`; empty without braces, `None` where
/// `path` is another path.
fn part_of<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, rest)) = template.split_once('{') else {
        return (template == path).then_some("");
    };
    let after = rest.split_once('}').map_or("", |(_, after)| after);
    let part = path.strip_prefix(before)?.strip_suffix(after)?;
    (!part.is_empty() && !part.contains('/')).then_some(part)
}

impl Asked<'_> {
    /// A request that takes neither query nor body.
    fn alone(&self, request: Request) -> Result<Request, ApiError> {
        nothing(self.query.as_bytes(), "query")?;
        nothing(self.body, "body")?;
        Ok(request)
    }

    /// A request that takes a query only.
    fn asking(
        &self,
        read: fn(&str) -> Result<ConfigRequest, ApiError>,
    ) -> Result<Request, ApiError> {
        nothing(self.body, "body")?;
        read(self.query).map(Request::from)
    }

    /// A request that takes a body only; none is as good as an empty one.
    fn telling<T: serde::de::DeserializeOwned>(
        &self,
        read: fn(T) -> Result<ConfigRequest, ApiError>,
    ) -> Result<Request, ApiError> {
        nothing(self.query.as_bytes(), "query")?;
        let empty = Self { body: b"{}", ..*self };
        let asked = if self.body.is_empty() { &empty } else { self };
        read(asked.json()?).map(Request::from)
    }

    fn acting(&self, act: QueueAct) -> Result<Request, ApiError> {
        nothing(self.query.as_bytes(), "query")?;
        if self.body.is_empty() {
            return Err(ApiError::PeerRequest(filter::NOTHING_NAMED.into()));
        }
        order::queue_act(act, self.without_nulls()?.json()?)
    }

    /// The body as JSON: an object. A list would be read member by member, in
    /// their order.
    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, ApiError> {
        self.members()?;
        serde_json::from_slice(self.body).map_err(not_read)
    }

    /// [`Asked::json`]; no body is as good as an empty one.
    fn orderly<T: serde::de::DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.body.is_empty() { Asked { body: b"{}", ..*self }.json() } else { self.json() }
    }

    /// The names in the body, each with whether it has a value.
    fn members(&self) -> Result<BTreeMap<Cow<'_, str>, Option<IgnoredAny>>, ApiError> {
        serde_json::from_slice(self.body).map_err(not_read)
    }

    /// For orders: a condition that is null would be none, and meet more.
    fn without_nulls(&self) -> Result<&Self, ApiError> {
        let members = if self.body.is_empty() { BTreeMap::new() } else { self.members()? };
        match members.iter().find(|(_, value)| value.is_none()) {
            Some((name, _)) => Err(ApiError::PeerRequest(format!(
                "`{}` is null: leave it out",
                name.escape_debug()
            ))),
            None => Ok(self),
        }
    }
}

fn not_read(error: serde_json::Error) -> ApiError {
    ApiError::PeerRequest(format!("the body is refused: {error}"))
}

fn nothing(part: &[u8], name: &str) -> Result<(), ApiError> {
    if part.is_empty() {
        return Ok(());
    }
    Err(ApiError::PeerRequest(format!("this request takes no {name}")))
}

fn message(word: &str) -> Result<MessageId, ApiError> {
    word.parse().map_err(|error: base::ids::NotAMessageId| ApiError::PeerRequest(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_hides_another() {
        for (place, endpoint) in ENDPOINTS.iter().enumerate() {
            let path = endpoint.path.replace(['{', '}'], "");
            let found = find(endpoint.method, &path);
            assert_eq!(found.map(|(found, _)| found.path), Ok(endpoint.path));
            let again = &ENDPOINTS[place + 1..];
            assert!(
                again.iter().all(|e| (e.method, e.path) != (endpoint.method, endpoint.path)),
                "{path} twice"
            );
        }
    }

    /// `[true]` was once `{"all": true}`, and `"domain": null` every domain.
    ///
    /// Shows: S2.27
    #[test]
    fn a_body_is_an_object_without_nulls() {
        let read = |path: &str, body: &str| Request::parse("POST", path, body.as_bytes());
        assert!(read("/v1/queue/remove", r#"{"state": "held"}"#).is_ok());
        for (path, body, words) in [
            ("/v1/queue/remove", "[true]", "the body is refused"),
            ("/v1/queue/remove", r#"{"state": "held", "domain": null}"#, "`domain` is null"),
            ("/v1/queue/reroute", r#"{"state": "held", "to": null}"#, "`to` is null"),
            ("/v1/config/discard", "[]", "the body is refused"),
            ("/v1/config/rollback", "null", "the body is refused"),
            ("/v1/suspend", r#"{"all": true, "until": null}"#, "`until` is null"),
            ("/v1/suspend", "[true]", "the body is refused"),
        ] {
            let why = read(path, body).unwrap_err().to_string();
            assert!(why.contains(words), "{path} {body}: {why}");
        }
    }

    #[test]
    fn a_part_is_one_part_and_not_empty() {
        assert_eq!(part_of("/v1/queue/{id}", "/v1/queue/a"), Some("a"));
        assert_eq!(part_of("/v1/queue/{id}", "/v1/queue/"), None);
        assert_eq!(part_of("/v1/queue/{id}", "/v1/queue/a/b"), None);
        assert_eq!(part_of("/v1/a/{id}/b", "/v1/a/x/b"), Some("x"));
        assert_eq!(part_of("/v1/a/{id}/b", "/v1/a//b"), None);
        assert_eq!(part_of("/v1/a", "/v1/a/b"), None);
    }
}
