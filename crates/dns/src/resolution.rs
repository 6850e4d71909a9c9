//! The door of the room: a mail domain → its exchangers with addresses, a host
//! name → its addresses. One resolution is an MX look-up and up to 32 address
//! look-ups at once; equal ones under way are one.
//!
//! Never here: literals (they need no look-up), the choice of the host to dial,
//! the ban on inner addresses (`forbidden`, on the address dialled). Invariants:
//! each pending resolution ends exactly once; at most [`RESOLUTIONS_MAX`] are
//! under way; the resolver's queues are drained into ours within each call.
//!
//! Read first: RFC 5321 §5.1, RFC 7505, RFC 8767.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::map::seeded;
use base::{Key, Map, Monotonic, Rng, Slab};
use mail::Domain;

use crate::cache::Cache;
use crate::error::Reason;
use crate::hosts::{Addresses, Family, Host, Hosts, Merged};
use crate::mx::{Answers, Exchange, Exchangers, Next, Own, candidates, conclude};
use crate::name::Name;
use crate::query::Kind;
use crate::resolver::{Asked, Config, Lookup, LookupToken, Resolver, Transmit};

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution<T> {
    /// This, without asking anybody.
    Cached(T),
    /// Not yet: the result comes from [`Dns::poll_resolved`] under this token,
    /// once for all who asked the same meanwhile.
    Pending(Token),
}

/// Names a resolution under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Key);

/// A resolution that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Asked for by [`Dns::resolve_mail`].
    Mail(Domain, Exchange),
    /// Asked for by [`Dns::resolve_host`].
    Host(Domain, Hosts),
}

/// Resolves names for one shard. Feed it with [`Dns::answer`], [`Dns::failed`]
/// and [`Dns::timeout`]; drain the `poll_` methods after each call.
#[derive(Debug)]
pub struct Dns {
    resolver: Resolver,
    own: Own,
    family: Family,
    known: Cache<Want, Kept>,
    stale_max: Duration,
    works: Slab<Work>,
    wanted: Map<Want, Key>,
    waiters: Map<LookupToken, Vec<Waiter>>,
    timers: BTreeSet<(Monotonic, Key)>,
    resolved: VecDeque<(Token, Resolved)>,
}

/// What is wanted of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Want {
    Mail(Domain),
    Host(Domain),
}

#[derive(Clone, Debug)]
enum Known {
    Mail(Exchange),
    Host(Hosts),
}

/// What is known, and until when it was good by its own time to live: longer
/// only while nobody can tell anything better.
#[derive(Clone, Debug)]
struct Kept {
    known: Known,
    good_until: Monotonic,
}

/// One resolution under way.
#[derive(Debug)]
struct Work {
    want: Want,
    implicit: bool,
    mx_expires: Monotonic,
    hosts: Vec<(Domain, u16, Addresses)>,
    /// Look-ups it waits for.
    open: usize,
    /// When it stops waiting for more than it needs; unset while it waits for
    /// MX, and once that moment has come.
    timer: Option<Monotonic>,
    /// That moment has come.
    late: bool,
}

/// Who waits for a look-up, and for what part.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    work: Key,
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Mx,
    Ipv4(usize),
    Ipv6(usize),
}

impl Dns {
    /// With empty caches.
    pub fn new(config: Config, own: Own, family: Family) -> Self {
        let mut rng = Rng::new(!config.seed);
        Self {
            known: Cache::new(config.cache_entries_max, rng.next_u64()),
            stale_max: Duration::ZERO,
            works: Slab::new(RESOLUTIONS_MAX),
            wanted: seeded(rng.next_u64()),
            waiters: Map::default(),
            timers: BTreeSet::new(),
            resolved: VecDeque::new(),
            resolver: Resolver::new(config),
            own,
            family,
        }
    }

    /// From now on, where the servers cannot tell, the last good answer goes on
    /// to be used for at most this long beyond its time (RFC 8767); zero:
    /// never, as at the beginning.
    pub fn serve_stale(&mut self, stale_max: Duration) {
        self.stale_max = stale_max;
    }

    /// Asks these servers from now on; failures remembered are forgotten.
    pub fn set_servers(&mut self, servers: Vec<SocketAddr>) {
        self.resolver.set_servers(servers);
        self.known.retain(|_, kept| {
            !matches!(
                kept.known,
                Known::Mail(Exchange::Unknown { .. }) | Known::Host(Hosts::Unknown { .. })
            )
        });
    }

    /// Goes by these own names and this family from now on; results under way
    /// included. What was concluded under the old ones is forgotten, answers
    /// of servers are kept.
    pub fn set_policy(&mut self, own: Own, family: Family) {
        if self.own == own && self.family == family {
            return;
        }
        self.own = own;
        self.family = family;
        self.known.retain(|_, _| false);
    }

    /// Where mail for `domain` goes (RFC 5321 §5.1).
    pub fn resolve_mail(&mut self, now: Monotonic, domain: &Domain) -> Resolution<Exchange> {
        match self.resolve(now, Want::Mail(domain.clone())) {
            Ok(Known::Mail(exchange)) => Resolution::Cached(exchange),
            Ok(Known::Host(_)) => unreachable!("mail was wanted"),
            Err(token) => Resolution::Pending(token),
        }
    }

    /// The addresses of a host that is named, not found by MX.
    pub fn resolve_host(&mut self, now: Monotonic, name: &Domain) -> Resolution<Hosts> {
        match self.resolve(now, Want::Host(name.clone())) {
            Ok(Known::Host(hosts)) => Resolution::Cached(hosts),
            Ok(Known::Mail(_)) => unreachable!("a host was wanted"),
            Err(token) => Resolution::Pending(token),
        }
    }

    /// Takes in what arrived on the socket of `query`; see [`Resolver::answer`].
    pub fn answer(&mut self, now: Monotonic, query: u64, bytes: &[u8]) {
        self.resolver.answer(now, query, bytes);
        self.advance(now);
    }

    /// Takes in that the socket of `query` broke.
    pub fn failed(&mut self, now: Monotonic, query: u64) {
        self.resolver.failed(now, query);
        self.advance(now);
    }

    /// Does what is due by `now`.
    pub fn timeout(&mut self, now: Monotonic) {
        self.resolver.timeout(now);
        self.advance(now);
        self.stop_waiting(now);
    }

    /// When to call [`Dns::timeout`] next.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let mine = self.timers.first().map(|(at, _)| *at);
        self.resolver.next_deadline().into_iter().chain(mine).min()
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.resolver.poll_transmit()
    }

    /// The next query whose socket is to be closed; see [`Resolver::poll_done`].
    pub fn poll_done(&mut self) -> Option<u64> {
        self.resolver.poll_done()
    }

    /// The next resolution that ended.
    pub fn poll_resolved(&mut self) -> Option<(Token, Resolved)> {
        self.resolved.pop_front()
    }

    /// Mail domains and hosts in the cache.
    pub fn names_known(&self) -> usize {
        self.known.len()
    }

    /// The mail domains in the cache, what is known of each, and until when that
    /// is or was good: what is used beyond is stale.
    pub fn exchanges(&self) -> impl Iterator<Item = (&Domain, &Exchange, Monotonic)> {
        self.known.iter().filter_map(|(want, kept, _)| match (want, &kept.known) {
            (Want::Mail(domain), Known::Mail(exchange)) => {
                Some((domain, exchange, kept.good_until))
            }
            _ => None,
        })
    }

    /// The answers of servers in the cache.
    pub fn records(&self) -> impl Iterator<Item = (&Name, Kind, &Lookup)> {
        self.resolver.cached()
    }

    /// Forgets all that is known of `domain`, its exchangers' addresses
    /// included; says whether there was anything.
    pub fn flush(&mut self, domain: &Domain) -> bool {
        let mail = self.known.remove(&Want::Mail(domain.clone()));
        let mut any = mail.is_some();
        any |= self.known.remove(&Want::Host(domain.clone())).is_some();
        any |= Name::of(domain).is_some_and(|name| self.resolver.flush(&name));
        if let Some(Known::Mail(Exchange::Found(exchangers))) = mail.map(|kept| kept.known) {
            for name in exchangers.hosts.iter().filter_map(|host| Name::of(&host.name)) {
                self.resolver.flush(&name);
            }
        }
        any
    }

    /// Forgets everything.
    pub fn flush_all(&mut self) {
        self.known.retain(|_, _| false);
        self.resolver.flush_all();
    }

    fn resolve(&mut self, now: Monotonic, want: Want) -> Result<Known, Token> {
        if let Some(kept) = self.known.get(now, &want) {
            return Ok(kept.known.clone());
        }
        if let Some(key) = self.wanted.get(&want) {
            return Err(Token(*key));
        }
        let work = Work {
            want: want.clone(),
            implicit: false,
            mx_expires: Monotonic::from_millis(u64::MAX),
            hosts: Vec::new(),
            open: 0,
            timer: None,
            late: false,
        };
        let Ok(key) = self.works.insert(work) else {
            return Ok(want.unknown(Reason::LocalBusy, now + BUSY_TIME));
        };
        self.wanted.insert(want, key);
        self.start(now, key);
        match self.resolved.back() {
            // Everything it needed was in the cache.
            Some((Token(ended), _)) if *ended == key => {
                let (_, resolved) = self.resolved.pop_back().expect("seen above");
                Ok(match resolved {
                    Resolved::Mail(_, exchange) => Known::Mail(exchange),
                    Resolved::Host(_, hosts) => Known::Host(hosts),
                })
            }
            _ => Err(Token(key)),
        }
    }
}

impl Want {
    fn unknown(&self, reason: Reason, retry_after: Monotonic) -> Known {
        match self {
            Self::Mail(_) => Known::Mail(Exchange::Unknown { reason, retry_after }),
            Self::Host(_) => Known::Host(Hosts::Unknown { reason, retry_after }),
        }
    }
}

/// Resolutions under way at once.
const RESOLUTIONS_MAX: usize = 2_048;
/// When to ask again after we were too busy to.
const BUSY_TIME: Duration = Duration::from_secs(1);
/// How long addresses are kept when one family's could not be learned.
const PARTIAL_TIME: Duration = Duration::from_secs(60);
/// How long addresses that could be done without are waited for.
const STRAGGLER_WAIT: Duration = Duration::from_secs(1);

mod steps;

#[cfg(test)]
mod tests;
