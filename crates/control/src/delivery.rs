//! One way of delivery with every setting resolved: the default way, or a
//! route with its own settings laid over it.
//!
//! Plain values, cheap to clone. What comes next after a failure is decided in
//! `retry.rs`, which site a way leads to in `site.rs`.

use std::sync::Arc;
use std::time::Duration;

use mail::Address;

use crate::exit::{Exit, Pool, Source};
use crate::log_in::{LogIn, Senders};
use crate::mode::{Mode, OnFailure, Smarthost, Timeouts, TlsMode, Trust};
use crate::reports::Reports;
use crate::retry::{Retry, RetryAfter};
use crate::throttle::Limits;
use crate::timetable::Timetable;
use crate::units::Rate;

/// Names a way within one [`crate::Policy`]: 0 is the default way, `n` the
/// n-th route of the file; behind the routes come the local domains. Means
/// nothing in another policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteIndex(pub u32);

/// A way of delivery. [`Delivery::default`] is what an empty file gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its number in the policy.
    pub index: RouteIndex,
    /// For humans: `default`, the route's pattern, or `local` and a domain.
    pub name: Box<str>,
    /// How the next hop is found.
    pub mode: Mode,
    /// Port of mail exchangers; relay hosts carry their own. Default 25.
    pub port: u16,
    /// TLS towards mail exchangers; relay hosts carry their own. Default
    /// opportunistic.
    pub tls: TlsMode,
    /// Who may have signed a certificate that must be valid.
    pub trust: Trust,
    /// Log-ins by sender, for those relay hosts that have none of their own.
    pub senders: Option<Arc<Senders>>,
    /// Where its connections leave from; none: as `[egress]` says.
    pub source: Option<Arc<Pool>>,
    /// When its mail may leave; none: at any time.
    pub schedule: Option<Arc<Timetable>>,
    /// Waits between attempts.
    pub retry: Retry,
    /// Waits of their own after some kinds of trouble; default none.
    pub retry_after: RetryAfter,
    /// From acceptance to the end in any state; never zero. Default 5 d.
    pub lifetime: Duration,
    /// Attempts after the first; 0 leaves the end to the lifetime. Default 0.
    pub max_attempts: u16,
    /// Deadlines of a session.
    pub timeouts: Timeouts,
    /// Connections to one site, summed over all shards; at least 1. Default 20.
    pub connections: u32,
    /// Messages over one connection before it is closed; at least 1. Default 100.
    pub messages_per_connection: u32,
    /// Recipients in one transaction; at least 1. Default 100: every
    /// server takes as many (RFC 5321 §4.5.3.1.8).
    pub recipients_per_message: u32,
    /// Messages to one site, summed over all shards; none is no limit.
    pub rate: Option<Rate>,
    /// How long a connection without work is kept. Default 5 s.
    pub idle: Duration,
    /// What becomes of mail after a temporary failure.
    pub on_failure: OnFailure,
    /// Whether a relay route whose hosts are all down falls back to the
    /// default way. Default true.
    pub fallback: bool,
    /// When the sender is told that mail is late; none: never. Default 4 h.
    pub delay_notice: Option<Duration>,
    /// Reports about its mail; none: as `[dsn]` says.
    pub reports: Option<Arc<Reports>>,
    /// It is a local domain's: mail for it goes this way and no other.
    pub is_local: bool,
    /// The next hop is spoken to by LMTP (RFC 2033); local domains only.
    pub lmtp: bool,
    /// The route sets `connections` or `rate` itself, so its limits are
    /// counted apart from the default way's.
    pub own_limits: bool,
    /// Which keys the file gives.
    pub origin: Origin,
}

/// Which keys of a way stand in the file: for explanations only. Ways with the
/// same settings are the same whoever set them, so all origins are equal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// Keys of the route itself, a bit each in the order of the reference.
    pub(crate) route: u64,
    /// Keys of `[delivery]`.
    pub(crate) delivery: u64,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Delivery {
    /// By which exit the message that `seed` stands for leaves. `sender` is
    /// asked only where it matters; `usable` says which sources are known to be.
    pub fn exit(
        &self,
        seed: u64,
        sender: impl FnOnce() -> Option<Address>,
        usable: impl Fn(&Source) -> bool,
    ) -> Exit {
        let log_in = self.senders.as_ref().and_then(|senders| senders.find(&sender()?));
        Exit::new(self.source.as_ref().map(|pool| pool.choose(seed, usable)), log_in)
    }

    /// The log-in at a relay host of this way: the sender's own before the
    /// host's.
    pub fn log_in<'a>(&'a self, host: &'a Smarthost, exit: Exit) -> Option<&'a Arc<LogIn>> {
        self.senders_own(exit).filter(|_| host.by_sender).or(host.auth.as_ref())
    }

    fn senders_own(&self, exit: Exit) -> Option<&Arc<LogIn>> {
        self.senders.as_ref()?.at(exit.log_in()?)
    }

    /// The source of an exit of this way.
    pub fn source(&self, exit: Exit) -> Option<&Arc<Source>> {
        self.source.as_ref()?.members.get(exit.source()?).map(|(source, _)| source)
    }

    /// The exit of this way that is named as `exit` of `other` is.
    pub fn same_exit(&self, other: &Self, exit: Exit) -> Option<Exit> {
        let source = match (other.source(exit), &self.source) {
            (None, None) => None,
            (Some(source), Some(pool)) => {
                Some(pool.members.iter().position(|(own, _)| own.name == source.name)?)
            }
            _ => return None,
        };
        let log_in = match other.senders_own(exit) {
            None => None,
            Some(other) => {
                let same = |own: &Arc<LogIn>| own.user == other.user && own.origin == other.origin;
                Some(self.senders.as_ref()?.iter().position(|(_, own)| same(own))?)
            }
        };
        Some(Exit::new(source, log_in))
    }

    /// The limits of one site under this way and exit, as the bank wants them
    /// told.
    pub fn limits(&self, exit: Exit, revision: u64) -> Limits {
        let source = self.source(exit);
        let connections = source.and_then(|source| source.connections).unwrap_or(self.connections);
        let rate = source.and_then(|source| source.rate).or(self.rate);
        Limits { connections, rate, revision }
    }

    /// Whether this is the default way.
    pub fn is_default(&self) -> bool {
        self.index == RouteIndex::default()
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            index: RouteIndex::default(),
            name: "default".into(),
            mode: Mode::Independent,
            port: 25,
            tls: TlsMode::default(),
            trust: Trust::default(),
            senders: None,
            source: None,
            schedule: None,
            retry: Retry::default(),
            retry_after: RetryAfter::default(),
            lifetime: Duration::from_secs(5 * 24 * 3600),
            max_attempts: 0,
            timeouts: Timeouts::default(),
            connections: 20,
            messages_per_connection: 100,
            recipients_per_message: 100,
            rate: None,
            idle: Duration::from_secs(5),
            on_failure: OnFailure::default(),
            fallback: true,
            delay_notice: Some(Duration::from_secs(4 * 3600)),
            reports: None,
            is_local: false,
            lmtp: false,
            own_limits: false,
            origin: Origin::default(),
        }
    }
}
