//! What can be asked of the configuration: its history, changes to it, its
//! routes and the meaning of its settings.
//!
//! Never looks into a configuration: whether a text is sound is found out by
//! who keeps it. Invariant: what a request says about itself in the log names
//! settings and revisions, never values.

use mail::Address;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{ApiError, query};
use crate::config::CONFIG_BYTES_MAX;
use crate::edit::{EDITS_MAX, Edit};
use crate::revisions::{COMMENT_BYTES_MAX, CONFIRM_TIME_MAX};
use crate::units::Span;

/// One checked request about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigRequest {
    /// The policy in force, defaults written out, and where it stands.
    Show,
    /// What the client has changed and not committed.
    Candidate,
    /// Take this text as the candidate.
    Propose(Proposal),
    /// Change the candidate.
    Edit(Edits),
    /// What differs between two texts.
    Diff {
        /// The older one; the current revision where it is absent.
        from: Option<u64>,
        /// The newer one; the candidate where it is absent.
        to: Option<u64>,
    },
    /// Put the candidate, or the text that comes with it, in force.
    Commit(Commit),
    /// The revision in force is right.
    Confirm(Confirm),
    /// Drop the candidate.
    Discard,
    /// Back to an earlier revision.
    Rollback(Rollback),
    /// The latest revisions, at most so many.
    Revisions(u32),
    /// One revision with its text.
    Revision(u64),
    /// The routes of the candidate, at most so many.
    Routes(u32),
    /// Which way an address goes by the candidate.
    RouteTest(Box<Address>),
    /// What we prove ourselves with, and who may to us.
    Credentials,
    /// What settings mean.
    Help(String),
}

/// Body of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The whole configuration.
    pub text: String,
    /// The revision it was made from; the current one where it is absent.
    #[serde(default)]
    pub base: Option<u64>,
}

/// Body of a change to the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edits {
    /// In this order; all of them or none.
    pub edits: Vec<Edit>,
}

/// How a revision is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Commit {
    /// The whole configuration; the candidate where it is absent.
    pub text: Option<String>,
    /// The revision it was made from; needed with a text.
    pub base: Option<u64>,
    /// What to remember about it.
    pub comment: String,
    /// Undone after this time unless confirmed.
    #[serde(deserialize_with = "span")]
    pub confirm: Option<Span>,
    /// It may hold what only a restart can change, and waits for one then.
    pub next_start: bool,
    /// When it takes effect.
    pub activate: Activate,
}

/// When a commit takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activate {
    /// For all attempts that begin after it; sessions under way end on the
    /// settings they began with.
    #[default]
    AtOnce,
    /// When no session with a next hop runs.
    WhenIdle,
}

/// Body of a confirmation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Confirm {
    /// The revision that is meant; the one that waits where it is absent.
    pub revision: Option<u64>,
}

/// Body of a way back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    /// The revision whose text is wanted; absent: undo what waits for its
    /// confirmation.
    pub revision: Option<u64>,
    /// The revision that must be current.
    pub base: Option<u64>,
    /// What to remember about it.
    pub comment: String,
    /// Undone after this time unless confirmed.
    #[serde(deserialize_with = "span")]
    pub confirm: Option<Span>,
    /// As with a commit.
    pub next_start: bool,
}

impl ConfigRequest {
    /// Whether the request leaves everything as it is.
    pub(super) fn reads_only(&self) -> bool {
        match self {
            Self::Show
            | Self::Candidate
            | Self::Diff { .. }
            | Self::Revisions(_)
            | Self::Revision(_)
            | Self::Routes(_)
            | Self::RouteTest(_)
            | Self::Credentials
            | Self::Help(_) => true,
            Self::Propose(_)
            | Self::Edit(_)
            | Self::Commit(_)
            | Self::Confirm(_)
            | Self::Discard
            | Self::Rollback(_) => false,
        }
    }

    /// Whether the web page asks this: which revisions there are, and how two
    /// of them differ. What somebody has not committed is theirs alone.
    pub(super) fn is_for_page(&self) -> bool {
        match self {
            Self::Revisions(_) | Self::Revision(_) => true,
            Self::Diff { from, to } => from.is_some() && to.is_some(),
            _ => false,
        }
    }
}

pub(super) fn propose(proposal: Proposal) -> Result<ConfigRequest, ApiError> {
    bounded(&proposal.text)?;
    Ok(ConfigRequest::Propose(proposal))
}

pub(super) fn edit(edits: Edits) -> Result<ConfigRequest, ApiError> {
    match edits.edits.len() {
        1..=EDITS_MAX => Ok(ConfigRequest::Edit(edits)),
        _ => Err(refuse(format!("edits must be 1 to {EDITS_MAX}"))),
    }
}

pub(super) fn commit(commit: Commit) -> Result<ConfigRequest, ApiError> {
    terms(&commit.comment, commit.confirm, commit.next_start)?;
    if commit.activate == Activate::WhenIdle && (commit.confirm.is_some() || commit.next_start) {
        return Err(refuse(
            "what waits until no session runs takes neither confirm nor next_start",
        ));
    }
    if let Some(text) = &commit.text {
        bounded(text)?;
        if commit.base.is_none() {
            return Err(refuse("with a text, `base` must say which revision it was made from"));
        }
    }
    Ok(ConfigRequest::Commit(commit))
}

pub(super) fn rollback(rollback: Rollback) -> Result<ConfigRequest, ApiError> {
    terms(&rollback.comment, rollback.confirm, rollback.next_start)?;
    Ok(ConfigRequest::Rollback(rollback))
}

pub(super) fn diff(query: &str) -> Result<ConfigRequest, ApiError> {
    let [from, to] = query::named(query, ["from", "to"])?;
    let number = |text: Option<String>| text.map(|text| revision(&text)).transpose();
    Ok(ConfigRequest::Diff { from: number(from)?, to: number(to)? })
}

pub(super) fn revisions(query: &str) -> Result<ConfigRequest, ApiError> {
    let [limit] = query::named(query, ["limit"])?;
    Ok(ConfigRequest::Revisions(query::limit(limit)?))
}

pub(super) fn routes(query: &str) -> Result<ConfigRequest, ApiError> {
    let [limit] = query::named(query, ["limit"])?;
    Ok(ConfigRequest::Routes(query::limit(limit)?))
}

pub(super) fn route_test(query: &str) -> Result<ConfigRequest, ApiError> {
    let [address] = query::named(query, ["address"])?;
    let address = address.ok_or_else(|| refuse("say which `address`"))?;
    let address = Address::parse(address, true).map_err(|error| refuse(error.to_string()))?;
    Ok(ConfigRequest::RouteTest(Box::new(address)))
}

pub(super) fn help(query: &str) -> Result<ConfigRequest, ApiError> {
    let [path] = query::named(query, ["path"])?;
    Ok(ConfigRequest::Help(path.unwrap_or_default()))
}

/// A revision's number.
pub(super) fn revision(text: &str) -> Result<u64, ApiError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| plain);
    number.ok_or_else(|| refuse("a revision is named by its number"))
}

pub(super) fn terms(
    comment: &str,
    confirm: Option<Span>,
    next_start: bool,
) -> Result<(), ApiError> {
    if comment.len() > COMMENT_BYTES_MAX {
        return Err(refuse(format!("the comment is longer than {COMMENT_BYTES_MAX} octets")));
    }
    let in_bounds = |span: Span| !span.0.is_zero() && span.0 <= CONFIRM_TIME_MAX;
    if confirm.is_some_and(|span| !in_bounds(span)) {
        return Err(refuse(format!("confirm is a time up to {}", Span(CONFIRM_TIME_MAX))));
    }
    if confirm.is_some() && next_start {
        return Err(refuse("what waits for a start cannot be confirmed before it"));
    }
    Ok(())
}

fn bounded(text: &str) -> Result<(), ApiError> {
    if text.len() <= CONFIG_BYTES_MAX {
        return Ok(());
    }
    Err(refuse(format!("the text is longer than {CONFIG_BYTES_MAX} octets")))
}

fn refuse(reason: impl Into<String>) -> ApiError {
    ApiError::PeerRequest(reason.into())
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Span>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let parsed = text.map(|text| text.parse().map_err(|error| format!("\"{text}\" {error}")));
    parsed.transpose().map_err(|error: String| Error::custom(error))
}

/// What is asked, for the log.
impl std::fmt::Display for ConfigRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Show => f.write_str("config show"),
            Self::Candidate => f.write_str("config candidate"),
            Self::Propose(_) => f.write_str("config propose"),
            Self::Edit(Edits { edits }) => {
                f.write_str("config edit:")?;
                edits.iter().try_for_each(|edit| write!(f, " {edit};"))
            }
            Self::Diff { .. } => f.write_str("config diff"),
            Self::Commit(Commit { comment, confirm, .. }) => {
                f.write_str("config commit")?;
                if let Some(span) = confirm {
                    write!(f, ", to be confirmed within {span}")?;
                }
                if comment.is_empty() { Ok(()) } else { write!(f, ": {comment}") }
            }
            Self::Confirm(_) => f.write_str("config confirm"),
            Self::Discard => f.write_str("config discard"),
            Self::Rollback(Rollback { revision: Some(number), .. }) => {
                write!(f, "config rollback {number}")
            }
            Self::Rollback(_) => f.write_str("config rollback"),
            Self::Revisions(_) => f.write_str("config history"),
            Self::Revision(number) => write!(f, "config show {number}"),
            Self::Routes(_) => f.write_str("route list"),
            Self::RouteTest(_) => f.write_str("route test"),
            Self::Credentials => f.write_str("credentials"),
            Self::Help(_) => f.write_str("config help"),
        }
    }
}
