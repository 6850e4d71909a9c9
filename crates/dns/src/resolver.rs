//! One question → one of three answers: found, none, unknown. Chooses the
//! server, repeats, falls back (TCP, no OPT record, plain letter case), follows
//! aliases, remembers results and failures.
//!
//! Never here: what the records are for (`mx`, `hosts`), sockets. Invariants:
//! each look-up that is pending ends exactly once, at most `attempts + 2`
//! timeouts after it began; a timer hangs for each of them; at most
//! [`FLIGHTS_MAX`] sockets are open and [`TASKS_MAX`] look-ups under way.
//!
//! Read first: RFC 1034 §5.3, RFC 2308, RFC 5452, RFC 7766 §5, RFC 9520 §3.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::limits::CNAME_CHAIN_MAX;
use base::map::seeded;
use base::{Key, Map, Monotonic, Rng, Slab};

use crate::answer::{self, Reading, Records};
use crate::cache::Cache;
use crate::error::Reason;
use crate::name::Name;
use crate::query::{Dice, Kind, Manner, Sent, encode};
use crate::server::Server;

/// What a resolver needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to ask: the first 8 distinct ones, in rotation.
    pub servers: Vec<SocketAddr>,
    /// How long one transmission waits for its answer; see [`TIMEOUT_DEFAULT`].
    /// Held between 100 ms and 60 s.
    pub timeout: Duration,
    /// Transmissions for one question, all servers together, not counting
    /// fallbacks; see [`ATTEMPTS_DEFAULT`]. Held between 2 and 16.
    pub attempts: u32,
    /// Answers kept, for records and for results each; some 300 octets apiece
    /// in the mean.
    pub cache_entries_max: usize,
    /// Secret random bits for query ids, letter case and hash tables.
    pub seed: u64,
}

/// The default of [`Config::timeout`].
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// The default of [`Config::attempts`].
pub const ATTEMPTS_DEFAULT: u32 = 4;

/// The answer to a question. The three are never mixed: what is not known to
/// be absent is unknown (RFC 5321 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The name has such records.
    Found {
        /// The records, shared with the cache.
        records: Arc<Records>,
        /// Until when they may be used.
        expires: Monotonic,
    },
    /// The name has no such records.
    None {
        /// The name does not exist at all (RFC 2308 §2.1).
        nxdomain: bool,
        /// Until when this may be believed.
        expires: Monotonic,
    },
    /// Nobody could tell.
    Unknown {
        /// Why.
        reason: Reason,
        /// When asking again makes sense (RFC 9520 §3.2).
        until: Monotonic,
    },
}

impl Lookup {
    /// Until when the cache holds it.
    pub fn expires(&self) -> Monotonic {
        match self {
            Self::Found { expires, .. } | Self::None { expires, .. } => *expires,
            Self::Unknown { until, .. } => *until,
        }
    }
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is answered already.
    Cached(Lookup),
    /// The answer comes from [`Resolver::poll_answer`] under this token, once
    /// for all who asked the same meanwhile.
    Pending(LookupToken),
}

/// Names a look-up under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupToken(Key);

/// One message to send from a fresh socket of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Names the socket; never used twice in the life of a resolver.
    pub query: u64,
    /// Where to.
    pub server: SocketAddr,
    /// Over TCP, with the length prefix of RFC 7766 §8, which `bytes` lacks.
    pub tcp: bool,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Asks name servers. Feed it with [`Resolver::answer`], [`Resolver::failed`]
/// and [`Resolver::timeout`]; drain the `poll_` methods after each call.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<Server>,
    timeout: Duration,
    attempts: u32,
    dice: Dice,
    cache: Cache<Question, Stored>,
    tasks: Slab<Task>,
    asked: Map<Question, Key>,
    flights: Map<u64, Flight>,
    timers: BTreeSet<(Monotonic, Key)>,
    waiting: VecDeque<Key>,
    rotation: usize,
    last_query: u64,
    transmits: VecDeque<Transmit>,
    closed: VecDeque<u64>,
    answers: VecDeque<(LookupToken, Lookup)>,
}

type Question = (Name, Kind);

/// A remembered answer, and how many failures in a row it is the last of.
#[derive(Clone, Debug)]
struct Stored {
    lookup: Lookup,
    failures: u32,
}

/// One look-up under way.
#[derive(Debug)]
struct Task {
    question: Question,
    /// The name now asked for: the end of the aliases so far.
    current: Name,
    hops: usize,
    ttl_max: Duration,
    tries: u32,
    tries_at: [u32; SERVERS_MAX],
    /// Servers that answered, but with a failure: one bit each.
    refused: u32,
    /// An answer was truncated: ask on over TCP.
    tcp: bool,
    rotation: usize,
    reason: Reason,
    ends: Monotonic,
    timer: Monotonic,
    flight: Option<u64>,
}

/// One transmission under way.
#[derive(Debug)]
struct Flight {
    task: Key,
    server: SocketAddr,
    manner: Manner,
    /// Sent because the server did not take a richer manner.
    fallback: bool,
    sent: Sent,
    folded: bool,
}

impl Resolver {
    /// A resolver with an empty cache.
    pub fn new(config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        let mut resolver = Self {
            servers: Vec::new(),
            timeout: config.timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX),
            attempts: config.attempts.clamp(2, ATTEMPTS_MAX),
            dice: Dice::new(&mut rng),
            cache: Cache::new(config.cache_entries_max, rng.next_u64()),
            tasks: Slab::new(TASKS_MAX),
            asked: seeded(rng.next_u64()),
            flights: Map::default(),
            timers: BTreeSet::new(),
            waiting: VecDeque::new(),
            rotation: 0,
            last_query: 0,
            transmits: VecDeque::new(),
            closed: VecDeque::new(),
            answers: VecDeque::new(),
        };
        resolver.set_servers(config.servers);
        resolver
    }

    /// Asks these servers from now on. What is known of those that stay is
    /// kept; remembered failures are forgotten, for they may have been the old
    /// servers' fault.
    pub fn set_servers(&mut self, addresses: Vec<SocketAddr>) {
        let mut servers: Vec<Server> = Vec::new();
        for address in addresses {
            if servers.len() < SERVERS_MAX && servers.iter().all(|s| s.address != address) {
                let known = self.servers.iter().find(|server| server.address == address);
                servers.push(known.cloned().unwrap_or_else(|| Server::new(address)));
            }
        }
        self.servers = servers;
        for (_, task) in self.tasks.iter_mut() {
            task.tries_at = [0; SERVERS_MAX];
            task.refused = 0;
        }
        self.cache.retain(|_, stored| !matches!(stored.lookup, Lookup::Unknown { .. }));
    }

    /// Asks for the records of `kind` that `name` has.
    pub fn lookup(&mut self, now: Monotonic, name: &Name, kind: Kind) -> Asked {
        let question = (name.clone(), kind);
        if let Some(stored) = self.cache.get(now, &question) {
            return Asked::Cached(stored.lookup.clone());
        }
        if let Some(key) = self.asked.get(&question) {
            return Asked::Pending(LookupToken(*key));
        }
        // Our own shortage is neither remembered nor anybody's failure.
        let refusal = |reason| Asked::Cached(Lookup::Unknown { reason, until: now + FAILURE_MIN });
        if self.servers.is_empty() {
            return refusal(Reason::LocalNoServers);
        }
        let task = self.new_task(now, question.clone());
        let ends = task.ends;
        let Ok(key) = self.tasks.insert(task) else { return refusal(Reason::LocalBusy) };
        self.asked.insert(question, key);
        self.timers.insert((ends, key));
        self.try_next(now, key);
        Asked::Pending(LookupToken(key))
    }

    /// Takes in what arrived on the socket of `query`: one datagram, or one
    /// message of a TCP stream. Anything but the answer changes nothing.
    pub fn answer(&mut self, now: Monotonic, query: u64, bytes: &[u8]) {
        let Some(flight) = self.flights.get_mut(&query) else { return };
        match answer::read(bytes, &flight.sent) {
            Reading::NotOurs => {}
            Reading::Folded => self.folded(now, query),
            reading => {
                let flight = self.close(query).expect("found above");
                self.judge_server(now, &flight, &reading);
                self.settle(now, flight, reading);
                self.pump(now);
            }
        }
    }

    /// Takes in that the socket of `query` broke. The next server is asked.
    pub fn failed(&mut self, now: Monotonic, query: u64) {
        let Some(flight) = self.close(query) else { return };
        if !flight.manner.tcp
            && let Some(server) = self.server_mut(flight.server)
        {
            server.unreachable(now);
        }
        self.task_mut(flight.task).reason = Reason::PeerUnreachable;
        self.try_next(now, flight.task);
        self.pump(now);
    }

    /// Does what is due by `now`.
    pub fn timeout(&mut self, now: Monotonic) {
        while let Some((at, key)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            match self.task_mut(key).flight {
                None => self.end_unknown(now, key, Reason::LocalBusy),
                Some(query) => self.expired(now, query),
            }
        }
        self.pump(now);
    }

    /// When to call [`Resolver::timeout`] next.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next message to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next query whose socket is to be closed. Said of each query exactly
    /// once, also when its socket broke.
    pub fn poll_done(&mut self) -> Option<u64> {
        self.closed.pop_front()
    }

    /// The next look-up that ended.
    pub fn poll_answer(&mut self) -> Option<(LookupToken, Lookup)> {
        self.answers.pop_front()
    }

    /// What the cache holds, expired answers included.
    pub fn cached(&self) -> impl Iterator<Item = (&Name, Kind, &Lookup)> {
        self.cache.iter().map(|((name, kind), stored, _)| (name, *kind, &stored.lookup))
    }

    /// Forgets every answer about `name`; says whether there was one.
    pub fn flush(&mut self, name: &Name) -> bool {
        let kinds = [Kind::Mx, Kind::A, Kind::Aaaa, Kind::Txt, Kind::Ptr];
        kinds.into_iter().filter_map(|kind| self.cache.remove(&(name.clone(), kind))).count() > 0
    }

    /// Forgets every answer.
    pub fn flush_all(&mut self) {
        self.cache.retain(|_, _| false);
    }
}

/// Name servers used.
const SERVERS_MAX: usize = 8;
/// Transmissions under way at once: each holds a socket.
const FLIGHTS_MAX: usize = 256;
/// Look-ups under way at once, those that wait for a socket included.
const TASKS_MAX: usize = 16_384;
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const ATTEMPTS_MAX: u32 = 16;
/// How long a failure is remembered at first; doubled each time (RFC 9520 §3.2).
const FAILURE_MIN: Duration = Duration::from_secs(1);
/// How long a failure is remembered at most (RFC 9520 §3.2).
const FAILURE_MAX: Duration = Duration::from_secs(300);
/// A failure this long ago no longer counts as one in a row.
const FAILURE_MEMORY: Duration = Duration::from_secs(600);
/// How long a better answer is awaited after one with the wrong letter case.
const FOLDED_WAIT: Duration = Duration::from_millis(500);

mod steps;

#[cfg(test)]
mod tests;
