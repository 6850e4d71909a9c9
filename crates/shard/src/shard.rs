//! One shard: all rooms together in one value, moved by [`Shard::step`] alone.
//!
//! Holds state and what several files share; what happens when is in
//! `step.rs`. Never reads a clock or touches a machine.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::planted::{Bug, planted};
use base::{ConnId, Map, Now, Rng, ShardId, Wheel};
use control::throttle::Bank;
use control::{Policy, Suspensions};
use dns::Dns;
use eventlog::Line;
use meter::Counters;
use queue::{Awaking, Bounds, DestinationKey, Queue, SiteKey};
use spool::{Medium, Spool};

use crate::accept::Inbound;
use crate::admin::Job;
use crate::armed::{Armed, Timer};
use crate::behind_proxy::Announcing;
use crate::commit::Commits;
use crate::diagnose::Diagnosis;
use crate::dispatch::{Lookups, Target};
use crate::effect::Effect;
use crate::epoch::{Epochs, Way};
use crate::etrn::Etrns;
use crate::exits::Unusable;
use crate::links::Links;
use crate::log_in::LogIns;
use crate::logged::Logged;
use crate::mesh::{Descriptor, MeshMessage, Settlement};
use crate::outbound::Outbound;
use crate::peer::Peers;
use crate::permit::Permits;
use crate::pop_first::PopLogIns;
use crate::prefetch::Reading;
use crate::quota::Quotas;
use crate::settings::{dns_config, family, own, submission_settings};
use crate::submit::Submitted;
use crate::timed::Measured;
use crate::timetable::Timetables;
use crate::tokens::Tokens;
use crate::why::Asking;

/// Destinations and sites kept without mail, for what was learned of them.
const IDLE_NEXT_HOPS_MAX: usize = 10_000;
/// The spool bounds what waits.
const BOUNDS: Bounds = Bounds {
    entries_max: u32::MAX as usize,
    idle_destinations_max: IDLE_NEXT_HOPS_MAX,
    idle_sites_max: IDLE_NEXT_HOPS_MAX,
};

/// Parts what log-ins draw from what everything else draws.
const LOG_INS: u64 = 0x6c6f_672d_696e_7321;

/// What a shard is made of.
#[derive(Debug)]
pub struct Setup {
    /// Which shard.
    pub id: ShardId,
    /// Of how many.
    pub shards: u16,
    /// The configuration in force.
    pub policy: Arc<Policy>,
    /// Addresses of this machine: never dialled on a stranger's word.
    pub own_addresses: Vec<IpAddr>,
    /// The machine's name servers, for a policy that names none.
    pub name_servers: Vec<SocketAddr>,
    /// Secret random bits; the whole run follows from them and the events.
    pub seed: u64,
    /// The log, empty or recovered.
    pub spool: Spool,
    /// The time.
    pub now: Now,
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    pub(crate) id: ShardId,
    pub(crate) shards: u16,
    pub(crate) started: Now,
    pub(crate) policy: Arc<Policy>,
    pub(crate) epochs: Epochs,
    pub(crate) submission: Arc<smtp::submission::Settings>,
    pub(crate) own_addresses: Vec<IpAddr>,
    pub(crate) name_servers: Vec<SocketAddr>,
    pub(crate) rng: Rng,
    /// Secret of the run that jitter is drawn from.
    pub(crate) jitter: u64,
    pub(crate) timers: Wheel<Timer>,
    pub(crate) metrics: Counters,
    pub(crate) measured: Measured,

    // Intake and storage.
    pub(crate) inbound: Map<ConnId, Box<Inbound>>,
    pub(crate) inbound_of: Map<IpAddr, u32>,
    pub(crate) announcing: Map<ConnId, Announcing>,
    pub(crate) log_ins: Option<Box<LogIns>>,
    pub(crate) quotas: Option<Box<Quotas>>,
    pub(crate) etrns: Option<Box<Etrns>>,
    pub(crate) intake_held: usize,
    pub(crate) stalled: Vec<ConnId>,
    pub(crate) submitted: VecDeque<Submitted>,
    pub(crate) spool: Spool,
    pub(crate) commits: Commits,
    pub(crate) unsettled: Vec<Settlement>,
    pub(crate) logged: Logged,
    pub(crate) free: Free,
    pub(crate) scratch: Vec<u8>,
    pub(crate) hop_name: String,

    // Scheduling and delivery.
    pub(crate) queue: Queue,
    pub(crate) dns: Dns,
    pub(crate) lookups: Lookups,
    pub(crate) targets: Map<SiteKey, Target>,
    pub(crate) outbound: Map<ConnId, Box<Outbound>>,
    pub(crate) idle: Map<SiteKey, Vec<ConnId>>,
    pub(crate) last_conn: u64,
    pub(crate) peers: Peers,
    pub(crate) unusable: Unusable,
    pub(crate) links: Links,
    pub(crate) pop_log_ins: PopLogIns,
    pub(crate) tokens: Tokens,
    pub(crate) prefetching: Map<u64, Reading>,
    pub(crate) last_token: u64,
    pub(crate) permits: Permits,
    pub(crate) waiting: Map<Box<str>, Vec<SiteKey>>,
    pub(crate) granted: Vec<Arc<str>>,
    pub(crate) bank: Bank,
    pub(crate) suspensions: Arc<Suspensions>,
    pub(crate) awaking: Option<Awaking>,
    pub(crate) timetables: Timetables,

    // Between shards, and to operators.
    pub(crate) handoffs: Vec<Vec<Descriptor>>,
    pub(crate) settlements: Vec<Vec<Settlement>>,
    pub(crate) inbox: VecDeque<MeshMessage>,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) asking: Map<u64, Asking>,
    pub(crate) diagnosis: Option<Box<Diagnosis>>,

    pub(crate) dns_armed: Armed,
    pub(crate) queue_armed: Armed,
    pub(crate) spool_armed: Armed,
    pub(crate) bank_armed: Armed,
    pub(crate) suspensions_armed: Armed,
    pub(crate) work_armed: Armed,
    pub(crate) ticked_first: bool,
    pub(crate) draining: bool,
    pub(crate) drained: bool,
}

/// Room on the data folder's file system; without bound until it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// What a step works with, beside the shard itself.
pub(crate) struct Turn<'a> {
    /// The time of this step.
    pub(crate) now: Now,
    /// Storage.
    pub(crate) medium: &'a mut dyn Medium,
    /// What the runtime is to do.
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    /// Writes a log line.
    pub(crate) fn log(&mut self, line: Line) {
        push(self.effects, line);
    }

    /// Writes a whole line that goes elsewhere, too.
    pub(crate) fn log_bytes(&mut self, line: &[u8]) {
        match self.effects.last_mut() {
            Some(Effect::Log { lines }) => lines.extend_from_slice(line),
            _ => self.effects.push(Effect::Log { lines: line.to_vec() }),
        }
    }
}

/// Lines that follow each other leave as one effect.
pub(crate) fn push(effects: &mut Vec<Effect>, line: Line) {
    let line = line.end();
    match effects.last_mut() {
        Some(Effect::Log { lines }) => lines.extend_from_slice(&line),
        _ => effects.push(Effect::Log { lines: line }),
    }
}

impl Shard {
    /// A shard that has seen nothing yet. Its first [`Shard::step`] should be a
    /// `Tick`, which asks for segments and hands recovered mail out.
    pub fn new(setup: Setup) -> Self {
        let (mut rng, now, policy) = (Rng::new(setup.seed), setup.now, setup.policy);
        Self {
            dns: new_dns(&policy, &setup.own_addresses, &setup.name_servers, rng.next_u64()),
            id: setup.id,
            shards: setup.shards,
            started: now,
            epochs: Epochs::new(policy.clone()),
            submission: submission_settings(&policy),
            own_addresses: setup.own_addresses,
            name_servers: setup.name_servers,
            timers: Wheel::new(now.mono),
            metrics: Counters::default(),
            measured: Measured::new(setup.seed ^ LOG_INS),
            inbound: Map::default(),
            inbound_of: base::map::seeded(rng.next_u64()),
            log_ins: LogIns::of(&policy, None, setup.seed ^ LOG_INS),
            quotas: Quotas::of(&policy, None, setup.shards),
            etrns: Etrns::of(&policy, None, setup.seed ^ LOG_INS),
            announcing: Map::default(),
            intake_held: 0,
            stalled: Vec::new(),
            submitted: VecDeque::new(),
            unsettled: Vec::new(),
            logged: Logged::of(&policy),
            spool: setup.spool,
            commits: Commits::default(),
            free: Free { bytes: u64::MAX, inodes: u64::MAX },
            scratch: Vec::new(),
            hop_name: String::new(),
            queue: Queue::new(now.mono, rng.next_u64(), BOUNDS),
            lookups: Lookups::default(),
            targets: Map::default(),
            outbound: Map::default(),
            idle: Map::default(),
            last_conn: 0,
            peers: Peers::default(),
            unusable: Unusable::default(),
            links: Links::default(),
            pop_log_ins: PopLogIns::default(),
            tokens: Tokens::default(),
            prefetching: Map::default(),
            last_token: 0,
            permits: Permits::default(),
            waiting: Map::default(),
            granted: Vec::new(),
            bank: Bank::new(rng.next_u64()),
            suspensions: Arc::default(),
            awaking: None,
            timetables: Timetables::default(),
            handoffs: lists(setup.shards),
            settlements: lists(setup.shards),
            inbox: VecDeque::new(),
            jobs: VecDeque::new(),
            asking: Map::default(),
            diagnosis: None,
            dns_armed: Armed::default(),
            queue_armed: Armed::default(),
            spool_armed: Armed::default(),
            bank_armed: Armed::default(),
            suspensions_armed: Armed::default(),
            work_armed: Armed::default(),
            ticked_first: false,
            draining: false,
            drained: false,
            jitter: rng.next_u64(),
            rng,
            policy,
        }
    }

    /// When the next `Tick` is due; `None` while nothing waits for time.
    pub fn next_deadline(&self) -> Option<base::Monotonic> {
        self.timers.next_deadline()
    }

    /// Messages with recipients that are not done, written by this shard.
    pub fn live_messages(&self) -> u64 {
        self.spool.live_messages()
    }

    /// Limits whose home is this shard and of which something is in use: permits
    /// out or wanted, or tokens spent lately.
    pub fn limits_in_use(&self) -> usize {
        self.bank.len()
    }

    /// A policy takes effect between two steps (design §1.7): the next attempt
    /// of waiting mail goes by it, sessions under way end on the old one.
    pub(crate) fn adopt(&mut self, turn: &mut Turn<'_>, policy: Arc<Policy>) {
        if planted(Bug::PolicyOnOneShard) && self.id != ShardId(0) {
            return;
        }
        self.policy = policy.clone();
        self.settle_detail();
        self.submission = submission_settings(&policy);
        let seed = self.jitter ^ LOG_INS;
        self.log_ins = LogIns::of(&policy, self.log_ins.take(), seed);
        self.quotas = Quotas::of(&policy, self.quotas.take(), self.shards);
        self.etrns = Etrns::of(&policy, self.etrns.take(), seed);
        self.dns.set_policy(own(&policy, &self.own_addresses), family(&policy));
        self.dns.serve_stale(policy.dns.stale);
        self.dns.set_servers(dns_config(&policy, &self.name_servers, 0).servers);
        if self.epochs.adopt(policy) {
            self.queue.forget_resolutions();
            // Perhaps it goes through relays now.
            self.peers.blocked.forget();
            self.start_rerouting(turn);
        }
        self.adopt_timetables(turn);
        self.adopt_links(turn);
        self.repeat_wants(turn);
    }

    /// This shard's part of a bound that counts over all shards, at least 1.
    pub(crate) fn share(&self, whole: u32) -> u32 {
        (whole / u32::from(self.shards)).max(1)
    }

    /// [`Shard::share`] for large bounds.
    pub(crate) fn share_u64(&self, whole: u64) -> u64 {
        (whole / u64::from(self.shards)).max(1)
    }

    /// The way that a destination's mail goes, under the policy in force when
    /// it was queued; `None` when that policy is gone and it must be routed
    /// anew.
    pub(crate) fn way_of(&self, destination: DestinationKey) -> Option<Way> {
        let (hop, _) = self.queue.destination(destination)?;
        self.epochs.way(hop)
    }

    /// A number for an errand, or a read ahead of need.
    pub(crate) fn next_errand(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// A number for a connection that we open: 1, 3, 5, …
    pub(crate) fn next_conn(&mut self) -> ConnId {
        let conn = ConnId(self.last_conn * 2 + 1);
        self.last_conn += 1;
        conn
    }
}

fn lists<T>(count: u16) -> Vec<Vec<T>> {
    (0..count).map(|_| Vec::new()).collect()
}

fn new_dns(policy: &Policy, own_addresses: &[IpAddr], servers: &[SocketAddr], seed: u64) -> Dns {
    let config = dns_config(policy, servers, seed);
    let mut dns = Dns::new(config, own(policy, own_addresses), family(policy));
    dns.serve_stale(policy.dns.stale);
    dns
}
