//! What the control socket can be asked: method, path, query and JSON body in,
//! a typed [`Request`] or a clear refusal out. Answers are made where the facts
//! are, in the shards.
//!
//! ```text
//! GET  /v1/status
//! GET  /v1/queue?by=site|domain|message&limit=N&FILTER
//! GET  /v1/queue/ID
//! POST /v1/queue/flush|hold|release|remove   {FILTER}
//! GET  /v1/config
//! ```
//!
//! A filter is any of `id`, `domain`, `sender`, `recipient`, `site`, `state`;
//! with several, all must hold. Without any, `all = true` must be said: a
//! forgotten filter must not empty a queue.
//!
//! Nothing is guessed: unknown names, repeated ones and wrong values are
//! refused.

mod filter;
mod query;

use base::MessageId;
use thiserror::Error;

pub use filter::{Facts, Filter, State};

/// One checked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Counters and health.
    Status,
    /// What waits.
    QueueList {
        /// What one row stands for.
        by: By,
        /// Only these.
        filter: Filter,
        /// Most rows; 1 to [`LIMIT_MAX`].
        limit: u32,
    },
    /// One message with all its recipients.
    QueueShow(MessageId),
    /// Do something to waiting mail.
    QueueAct {
        /// What.
        act: QueueAct,
        /// To which.
        filter: Filter,
    },
    /// The policy in force, as configuration.
    ConfigShow,
}

/// What one row of a list stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// Destinations that share their mail exchangers or relay hosts.
    #[default]
    Site,
    /// Recipients' domains.
    Domain,
    /// Single recipients of messages.
    Message,
}

/// What can be done to waiting mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueAct {
    /// Try now; limits are kept.
    Flush,
    /// Do not try until released.
    Hold,
    /// End a hold.
    Release,
    /// Take out of the queue for good, without a report to the sender.
    Remove,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApiError {
    /// No such path.
    #[error("there is nothing at {0}")]
    PeerNotFound(String),
    /// The path is there, the method is not.
    #[error("use {0} here")]
    PeerMethod(&'static str),
    /// A fault in path, query or body.
    #[error("{0}")]
    PeerRequest(String),
}

/// Rows of a list where `limit` is not given.
pub const LIMIT_DEFAULT: u32 = 20;
/// Most rows of one list.
pub const LIMIT_MAX: u32 = 10_000;
/// Largest request target and body looked at, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

impl Request {
    /// Reads a request. `target` is the path with its query, as in the request
    /// line; `body` is empty or JSON.
    ///
    /// # Errors
    /// [`ApiError`], whose [`ApiError::status`] is 400, 404 or 405.
    pub fn parse(method: &str, target: &str, body: &[u8]) -> Result<Self, ApiError> {
        if target.len() > REQUEST_BYTES_MAX || body.len() > REQUEST_BYTES_MAX {
            return Err(ApiError::PeerRequest("the request is too large".into()));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let not_found = || {
            let start: String = path.chars().take(PATH_QUOTE_CHARS).collect();
            ApiError::PeerNotFound(start.escape_debug().to_string())
        };
        let rest = path.strip_prefix("/v1/").ok_or_else(not_found)?;
        let request = match rest.strip_suffix('/').unwrap_or(rest) {
            "status" => reading(method, query, body, || Ok(Self::Status))?,
            "config" => reading(method, query, body, || Ok(Self::ConfigShow))?,
            "queue" => {
                only(method, "GET")?;
                nothing(body, "body")?;
                query::queue_list(query)?
            }
            rest => match rest.strip_prefix("queue/") {
                Some(word) => match queue_act(word) {
                    Some(act) => acting(method, query, body, act)?,
                    None if word.contains('/') => return Err(not_found()),
                    None => reading(method, query, body, || message(word).map(Self::QueueShow))?,
                },
                None => return Err(not_found()),
            },
        };
        Ok(request)
    }

    /// Whether the request leaves everything as it is: all that the socket for
    /// reading takes.
    pub fn reads_only(&self) -> bool {
        !matches!(self, Self::QueueAct { .. })
    }
}

/// What is asked, in one line for the log.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::QueueList { filter, .. } => write!(f, "queue list {filter}"),
            Self::QueueShow(id) => write!(f, "queue show {id}"),
            Self::QueueAct { act, filter } => write!(f, "queue {act} {filter}"),
            Self::ConfigShow => f.write_str("config show"),
        }
    }
}

impl std::fmt::Display for QueueAct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flush => "flush",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Remove => "remove",
        })
    }
}

impl ApiError {
    /// The HTTP status: 400, 404 or 405.
    pub fn status(&self) -> u16 {
        match self {
            Self::PeerNotFound(_) => 404,
            Self::PeerMethod(_) => 405,
            Self::PeerRequest(_) => 400,
        }
    }

    /// The value of the `Allow` field that a 405 must carry (RFC 9110 §15.5.6).
    pub fn allow(&self) -> Option<&'static str> {
        match self {
            Self::PeerMethod(method) => Some(method),
            _ => None,
        }
    }

    /// The body: `{"error": "…"}`.
    pub fn to_json(&self) -> String {
        serde_json::json!({ "error": self.to_string() }).to_string()
    }
}

/// Characters of a path repeated in an answer.
const PATH_QUOTE_CHARS: usize = 200;

fn reading(
    method: &str,
    query: &str,
    body: &[u8],
    make: impl FnOnce() -> Result<Request, ApiError>,
) -> Result<Request, ApiError> {
    only(method, "GET")?;
    nothing(query.as_bytes(), "query")?;
    nothing(body, "body")?;
    make()
}

fn acting(method: &str, query: &str, body: &[u8], act: QueueAct) -> Result<Request, ApiError> {
    only(method, "POST")?;
    nothing(query.as_bytes(), "query")?;
    if body.is_empty() {
        return Err(ApiError::PeerRequest(filter::NOTHING_NAMED.into()));
    }
    let filter: Filter = serde_json::from_slice(body)
        .map_err(|error| ApiError::PeerRequest(format!("the body is refused: {error}")))?;
    filter.named_something().map_err(ApiError::PeerRequest)?;
    Ok(Request::QueueAct { act, filter })
}

fn only(method: &str, allowed: &'static str) -> Result<(), ApiError> {
    if method == allowed { Ok(()) } else { Err(ApiError::PeerMethod(allowed)) }
}

fn nothing(part: &[u8], name: &str) -> Result<(), ApiError> {
    if part.is_empty() {
        return Ok(());
    }
    Err(ApiError::PeerRequest(format!("this request takes no {name}")))
}

fn queue_act(word: &str) -> Option<QueueAct> {
    Some(match word {
        "flush" => QueueAct::Flush,
        "hold" => QueueAct::Hold,
        "release" => QueueAct::Release,
        "remove" => QueueAct::Remove,
        _ => return None,
    })
}

fn message(word: &str) -> Result<MessageId, ApiError> {
    word.parse().map_err(|error: base::ids::NotAMessageId| ApiError::PeerRequest(error.to_string()))
}

#[cfg(test)]
mod tests;
