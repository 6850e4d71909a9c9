//! What the control socket can be asked: method, path, query and JSON body in,
//! a typed [`Request`] or a clear refusal out. Answers are made where the facts
//! are, in the shards.
//!
//! [`ENDPOINTS`] lists everything that can be asked.
//!
//! A filter is any of `id`, `domain`, `sender`, `recipient`, `site`, `route`,
//! `older` and `state`; with several, all must hold. Without any, `all = true` must be said: a
//! forgotten filter must not empty a queue.
//!
//! Nothing is guessed: unknown names, repeated ones and wrong values are
//! refused.

mod alerts;
mod appliance;
pub mod config;
mod described;
mod dns;
mod endpoints;
mod filter;
mod hosts;
mod log;
pub mod numbers;
mod order;
mod query;
mod restore;
mod sessions;
mod sites;
mod submit;
mod suspend;
mod transfer;
mod watch;
mod why;

use std::net::SocketAddr;

use base::MessageId;
use endpoints::Asked;
use mail::Address;
use thiserror::Error;

pub use alerts::SilenceOrder;
pub use appliance::ApplianceRequest;
pub use config::ConfigRequest;
pub use described::OPENAPI;
pub use dns::DnsCache;
pub use endpoints::{ENDPOINTS, Endpoint, pieces};
pub use filter::{Facts, Filter, State};
pub use hosts::Pin;
pub use log::{LINES_MAX, LogAsked, StreamAsked};
pub use order::How;
pub use restore::{BACKUP_BYTES_MAX, Restore, Terms};
pub use sites::{SiteOrder, Sites};
pub use submit::Submission;
pub use suspend::{End, Suspend};
pub use transfer::{FILE_BYTES_MAX, Import};
pub use watch::DetailRequest;
pub use why::Why;

use crate::suspension::Scope;

/// One checked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Counters and health.
    Status,
    /// Everything that is counted, in Prometheus's text format; never for the
    /// shards.
    Metrics,
    /// The last hours or days as points; never for the shards.
    History(numbers::Past),
    /// What became of recipients by name or by day; never for the shards.
    Stats {
        /// What a row stands for.
        by: numbers::StatsBy,
        /// Rows at most; 1 to [`LIMIT_MAX`].
        limit: u32,
    },
    /// Whether the daemon lives; never for the shards.
    Health,
    /// Whether it is ready for mail; never for the shards.
    Ready,
    /// What is counted, with so many names of those where mail waits; what was
    /// counted by name begins anew. From within alone: no endpoint leads here.
    Sample {
        /// Names.
        rows: u32,
    },
    /// What waits.
    QueueList {
        /// What one row stands for.
        by: By,
        /// Only these.
        filter: Filter,
        /// Most rows; 1 to [`LIMIT_MAX`].
        limit: u32,
    },
    /// The ids of messages that wait, in their order.
    QueueIds {
        /// Only these.
        filter: Filter,
        /// Only those behind this one.
        after: Option<MessageId>,
        /// Most of them; 1 to [`LIMIT_MAX`].
        limit: u32,
    },
    /// One message with all its recipients.
    QueueShow(MessageId),
    /// One message whole, as a file (`mail::exported`).
    QueueExport(MessageId),
    /// Take in such a file; for one shard.
    QueueImport(Box<Import>),
    /// Do something to waiting mail.
    QueueAct {
        /// What.
        act: QueueAct,
        /// To which.
        filter: Filter,
        /// How.
        how: How,
    },
    /// About the configuration; never for the shards.
    Config(Box<ConfigRequest>),
    /// What delivery is stopped.
    SuspensionsList,
    /// What is known of mail domains.
    DnsCache(DnsCache),
    /// Forget what is known of a domain; none: of all.
    DnsFlush(Option<mail::Domain>),
    /// Which name servers are asked.
    DnsServers,
    /// What was learned of hosts; so many rows of each shard at most.
    HostsList(u32),
    /// Say what a host is, or no longer.
    HostsPin {
        /// The host.
        address: SocketAddr,
        /// What it is; none: what is learned of it.
        pin: Option<Pin>,
    },
    /// Forget what was learned of a host; none: of all.
    HostsForget(Option<SocketAddr>),
    /// Which way an address goes, and what stands in its way.
    Explain(Address),
    /// Why mail is where it is, and when it goes on.
    Why {
        /// What is asked about.
        asked: Why,
        /// Rows of each shard at most; 1 to [`LIMIT_MAX`].
        limit: u32,
    },
    /// Sessions with clients and next hops, so many of each shard at most.
    SessionsList(u32),
    /// End one session, by its name.
    SessionAbort(Box<str>),
    /// Which limit binds at the sites with the most mail.
    Limits(u32),
    /// The sites that mail waits for, page by page.
    Sites(Box<Sites>),
    /// Lines of the event log; never for the shards.
    Log(Box<LogAsked>),
    /// The same as they come; never for the shards.
    LogStream(Box<StreamAsked>),
    /// What went wrong of late, so many rows at most; never for the shards.
    Failures(u32),
    /// Walk the way of an address, up to MAIL.
    Diagnose(Address),
    /// Send a message; for one shard.
    Submit(Box<Submission>),
    /// Look up what own addresses are called; never for the shards.
    CheckEgress,
    /// Everything for somebody who helps, without people; with true without
    /// domains, too. Never for the shards.
    SupportBundle(bool),
    /// How far the webhooks are; never for the shards.
    Webhooks,
    /// Which alerts stand; never for the shards.
    AlertsList,
    /// Tell nobody of them for a while; never for the shards.
    AlertsSilence(Box<SilenceOrder>),
    /// Tell again, of one rule or of all; never for the shards.
    AlertsUnsilence(Option<crate::alert::Rule>),
    /// How far the syslog servers are; never for the shards.
    Syslogs,
    /// Stop delivery.
    Suspend(Suspend),
    /// Go on with it.
    Resume(Scope),
    /// What is looked at closely; never for the shards.
    Detail(Box<DetailRequest>),
    /// Everything that was set, with its secrets; never for the shards.
    Backup,
    /// Put what a backup says in force; never for the shards.
    Restore(Box<Restore>),
    /// About the machine, where it is an appliance; never for the shards.
    Appliance(Box<ApplianceRequest>),
}

/// What one row of a list stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// Destinations that share their mail exchangers or relay hosts.
    #[default]
    Site,
    /// Recipients' domains.
    Domain,
    /// Routes.
    Route,
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
    /// Give up for good, with the report to the sender that is due.
    Bounce,
    /// Send another way.
    Reroute,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApiError {
    /// No such path.
    #[error("there is nothing at {0}")]
    PeerNotFound(String),
    /// The path is there, the method is not.
    #[error("use {0} here")]
    PeerMethod(String),
    /// A fault in path, query or body.
    #[error("{0}")]
    PeerRequest(String),
}

/// Rows of a list where `limit` is not given.
pub const LIMIT_DEFAULT: u32 = 20;
/// Most rows of one list.
pub const LIMIT_MAX: u32 = 10_000;
/// Largest request target, and body of most requests, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Largest body of all, in bytes: a configuration, with what JSON adds to it.
pub const BODY_BYTES_MAX: usize = 2 * crate::config::CONFIG_BYTES_MAX;

impl Request {
    /// Reads a request. `target` is the path with its query, as in the request
    /// line; `body` is empty or JSON.
    ///
    /// # Errors
    /// [`ApiError`], whose [`ApiError::status`] is 400, 404 or 405.
    pub fn parse(method: &str, target: &str, body: &[u8]) -> Result<Self, ApiError> {
        let too_large = || ApiError::PeerRequest("the request is too large".into());
        if target.len() > REQUEST_BYTES_MAX {
            return Err(too_large());
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (endpoint, part) = endpoints::find(method, path)?;
        if body.len() > endpoint.body_bytes_max {
            return Err(too_large());
        }
        (endpoint.read)(&Asked { part, query, body })
    }

    /// Whether the request leaves everything as it is, and shows nobody's
    /// letters: all that the socket for reading takes.
    pub fn reads_only(&self) -> bool {
        match self {
            Self::QueueAct { .. }
            | Self::QueueExport(_)
            | Self::QueueImport(_)
            | Self::AlertsSilence(_)
            | Self::AlertsUnsilence(_)
            | Self::Suspend(_)
            | Self::Resume(_)
            | Self::Diagnose(_)
            | Self::Submit(_)
            | Self::DnsFlush(_)
            | Self::HostsPin { .. }
            | Self::SessionAbort(_)
            | Self::Sample { .. }
            | Self::Backup
            | Self::Restore(_)
            | Self::HostsForget(_) => false,
            Self::Config(request) => request.reads_only(),
            Self::Detail(request) => **request == DetailRequest::List,
            Self::Appliance(request) => **request == ApplianceRequest::State,
            Self::Status
            | Self::Metrics
            | Self::History(_)
            | Self::Stats { .. }
            | Self::Health
            | Self::Ready
            | Self::QueueList { .. }
            | Self::QueueIds { .. }
            | Self::QueueShow(_)
            | Self::SuspensionsList
            | Self::DnsCache(_)
            | Self::DnsServers
            | Self::HostsList(_)
            | Self::CheckEgress
            | Self::SupportBundle(_)
            | Self::Webhooks
            | Self::Syslogs
            | Self::AlertsList
            | Self::Why { .. }
            | Self::SessionsList(_)
            | Self::Limits(_)
            | Self::Sites(_)
            | Self::Log(_)
            | Self::LogStream(_)
            | Self::Failures(_)
            | Self::Explain(_) => true,
        }
    }

    /// Whether the web page asks this: all that its port answers. Nothing of it
    /// changes anything, and nothing of it asks others, as look-ups do.
    pub fn is_for_page(&self) -> bool {
        match self {
            Self::Status
            | Self::QueueList { .. }
            | Self::QueueShow(_)
            | Self::SuspensionsList
            | Self::AlertsList
            | Self::Why { .. }
            | Self::SessionsList(_)
            | Self::Limits(_)
            | Self::Sites(_)
            | Self::Log(_)
            | Self::Failures(_)
            | Self::History(_)
            | Self::Stats { .. } => true,
            Self::Config(request) => request.is_for_page(),
            _ => false,
        }
    }
}

impl From<ConfigRequest> for Request {
    fn from(request: ConfigRequest) -> Self {
        Self::Config(Box::new(request))
    }
}

/// What is asked, in one line for the log.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Metrics => f.write_str("metrics"),
            Self::History(_) => f.write_str("history"),
            Self::Stats { by, .. } => write!(f, "stats by {}", by.name()),
            Self::Health => f.write_str("health"),
            Self::Ready => f.write_str("ready"),
            Self::Sample { .. } => f.write_str("sample"),
            Self::QueueList { filter, .. } => write!(f, "queue list {filter}"),
            Self::QueueIds { filter, .. } => write!(f, "queue ids {filter}"),
            Self::QueueShow(id) => write!(f, "queue show {id}"),
            Self::QueueExport(id) => write!(f, "queue export {id}"),
            Self::QueueImport(import) => import.fmt(f),
            Self::QueueAct { act, filter, how } => write!(f, "queue {act} {filter}{how}"),
            Self::Config(request) => request.fmt(f),
            Self::DnsCache(_) => f.write_str("dns cache list"),
            Self::DnsFlush(None) => f.write_str("dns cache flush all"),
            Self::DnsFlush(Some(domain)) => write!(f, "dns cache flush {domain}"),
            Self::DnsServers => f.write_str("dns servers"),
            Self::HostsList(_) => f.write_str("hosts list"),
            Self::HostsPin { address, pin: None } => write!(f, "hosts unpin {address}"),
            Self::HostsPin { address, pin: Some(Pin::Down) } => {
                write!(f, "hosts pin {address} down")
            }
            Self::HostsPin { address, pin: Some(Pin::Up) } => write!(f, "hosts pin {address} up"),
            Self::HostsForget(None) => f.write_str("hosts forget all"),
            Self::HostsForget(Some(address)) => write!(f, "hosts forget {address}"),
            Self::Explain(address) => write!(f, "explain {address}"),
            Self::SessionsList(_) => f.write_str("sessions"),
            Self::SessionAbort(name) => write!(f, "sessions abort {name}"),
            Self::Limits(_) => f.write_str("limits"),
            Self::Sites(_) => f.write_str("sites"),
            Self::Log(_) => f.write_str("log"),
            Self::LogStream(_) => f.write_str("log stream"),
            Self::Failures(_) => f.write_str("failures"),
            Self::Why { asked, .. } => write!(f, "why {asked}"),
            Self::Diagnose(address) => write!(f, "diagnose {address}"),
            Self::Submit(submission) => {
                let Submission { envelope, text } = &**submission;
                let count = envelope.recipients.len();
                write!(f, "message of {} to {count}, {} bytes", envelope.sender, text.len())
            }
            Self::CheckEgress => f.write_str("check egress"),
            Self::SupportBundle(_) => f.write_str("support bundle"),
            Self::Webhooks => f.write_str("webhooks"),
            Self::Syslogs => f.write_str("syslog"),
            Self::AlertsList => f.write_str("alerts"),
            Self::AlertsSilence(order) => {
                let rule = order.rule.map_or("all", crate::alert::Rule::word);
                write!(f, "alerts silence {rule}: {}", order.reason)
            }
            Self::AlertsUnsilence(rule) => {
                write!(f, "alerts unsilence {}", rule.map_or("all", crate::alert::Rule::word))
            }
            Self::SuspensionsList => f.write_str("suspend list"),
            Self::Suspend(order) => write!(f, "suspend {}: {}", order.scope, order.reason),
            Self::Resume(scope) => write!(f, "resume {scope}"),
            Self::Detail(request) => request.fmt(f),
            Self::Appliance(request) => request.fmt(f),
            Self::Backup => f.write_str("backup"),
            Self::Restore(restore) => write!(f, "restore{}", restore.terms),
        }
    }
}

/// What follows the filter, where there is anything.
impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(to) = &self.to {
            write!(f, " to={to}")?;
        }
        if self.idle {
            f.write_str(" idle")?;
        }
        if self.dry_run {
            f.write_str(" dry_run")?;
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl std::fmt::Display for QueueAct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Flush => "flush",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Remove => "remove",
            Self::Bounce => "bounce",
            Self::Reroute => "reroute",
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
    pub fn allow(&self) -> Option<&str> {
        match self {
            Self::PeerMethod(methods) => Some(methods),
            _ => None,
        }
    }

    /// The body: `{"error": "…"}`.
    pub fn to_json(&self) -> String {
        serde_json::json!({ "error": self.to_string() }).to_string()
    }
}

#[cfg(test)]
mod tests;
