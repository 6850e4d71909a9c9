//! A small world for shards: several of them over one medium, a clock that
//! moves only when nothing is left to do, a network with scripted mail
//! exchangers and clients, and a name server. One thread, no real time: the
//! same story runs the same way every time.
//!
//! Never decides anything for a shard: it carries effects out and brings
//! events, in order per connection and per pair of shards. A shard that wakes
//! without end, or leaves anything open at the end of a story, ends the test.

mod client;
mod customer;
mod disk;
mod eyes;
mod folders;
mod host;
mod lines;
mod names;
mod network;
mod orders;
mod remote;
mod story;
mod uplinks;
mod weather;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, Monotonic, Now, SegmentId, ShardId, Wall};
use control::{Config, Policy};
use mail::Domain;
use serde_json::Value;
use shard::effect::Effect;
use shard::event::Event;
use shard::{Setup, Shard};
use spool::{MemoryMedium, Spool};

use crate::observation::{Letter, LogLine, Observation, Resolved, Shortage, Verb};
use customer::{Sent, Told};
use eyes::Eyes;

pub use customer::Manner;
pub use disk::{Doom, Power};
pub use folders::{Fault, Folders};
pub use host::{Act, Host, Kind, Stage, Temper};
pub use names::{Names, Trouble};
pub use network::Network;
pub use uplinks::{Mishap, Uplinks};
pub use weather::Weather;

/// Time on the way between any two places.
pub const LATENCY: Duration = Duration::from_millis(1);
/// What a sync takes.
pub const SYNC: Duration = Duration::from_millis(4);
/// The wall clock at the start of every story: 2026-01-01T00:00:00Z.
pub const START: Wall = Wall::from_millis(1_767_225_600_000);
/// Wake-ups of one shard within one millisecond that are taken for a loop.
const WAKES_PER_MS_MAX: u32 = 20_000;
const SEGMENT_BYTES: u32 = 1 << 20;
/// The two name servers, of which a story has the first.
pub const NAME_SERVERS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), 53),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 54)), 53),
];
/// Things of one moment happen in the order of planning, from here on; what
/// must come before them counts down from here.
const ORDER: u64 = 1 << 40;

/// See the head of this file.
pub struct World {
    /// The time for everybody.
    pub now: Now,
    /// The shards of this life, by number.
    pub shards: Vec<Shard>,
    /// The disk of all shards.
    pub medium: MemoryMedium,
    /// Everything that can be connected to, and who is.
    pub network: Network,
    /// The mail folders of this machine.
    pub folders: Folders,
    /// Links that programs raise and lower.
    pub uplinks: Uplinks,
    /// What the name server says.
    pub names: Names,
    /// How long things take and how often they go astray.
    pub weather: Weather,
    /// Every log line, in order, while nobody watches.
    pub log: Vec<Value>,
    /// Wake-ups by time alone.
    pub ticks: u64,
    /// Syncs still to fail, counted down.
    pub failing_syncs: u32,
    /// Segments cannot be had.
    pub disk_full: bool,
    /// Reads ahead of need so far.
    pub prefetches: u32,
    /// Reads ahead of need still to fail, counted down.
    pub failing_prefetches: u32,
    /// What a read ahead of need takes.
    pub prefetch_takes: Duration,
    /// Shards that said they are drained.
    pub drained: Vec<ShardId>,
    /// What those who are attached were shown, by the slots of their watches.
    pub traced: Vec<(u32, Vec<u8>)>,
    /// What clients would hand in again.
    pub again: Vec<Arc<Letter>>,
    pub(crate) eyes: Eyes,
    sockets: BTreeMap<Box<str>, IpAddr>,
    policy: Arc<Policy>,
    name_servers: usize,
    agenda: BTreeMap<(Monotonic, u64), Thing>,
    order: u64,
    early: u64,
    orders: orders::Orders,
    doom: Option<Doom>,
    fallen: bool,
    mesh_last: BTreeMap<(usize, usize), Monotonic>,
    seed: u64,
    wakes: u32,
}

/// What will happen.
enum Thing {
    Event(usize, Event<'static>),
    Received(usize, ConnId, Vec<u8>, Vec<(Verb, u16)>),
    Answer(usize, u64, Vec<u8>, Option<Observation>),
    Synced(usize, SegmentId),
    Segment(usize),
    Gone(SegmentId),
    Flow(usize, ConnId),
    ToClient(usize, ConnId, Vec<u8>),
    ClientGone(usize, ConnId),
    FromCustomer(usize, ConnId, Sent),
    ToCustomer(usize, ConnId, Told),
}

impl World {
    /// `shards` empty shards under a configuration, running and with room.
    pub fn new(shards: u16, config: &str) -> Self {
        let mut world = Self::silent(7, policy(config), SEGMENT_BYTES);
        world.name_servers = 1;
        world.begin(shards);
        world.run_for(Duration::from_millis(100));
        world
    }

    /// A world in which nothing runs yet.
    pub(crate) fn silent(seed: u64, policy: Arc<Policy>, segment_bytes: u32) -> Self {
        Self {
            now: Now::new(Monotonic::from_millis(10_000), START),
            shards: Vec::new(),
            medium: MemoryMedium::new(segment_bytes),
            network: Network::default(),
            folders: Folders::default(),
            uplinks: Uplinks::default(),
            names: Names::default(),
            weather: Weather::calm(seed),
            log: Vec::new(),
            ticks: 0,
            failing_syncs: 0,
            disk_full: false,
            prefetches: 0,
            failing_prefetches: 0,
            prefetch_takes: LATENCY,
            drained: Vec::new(),
            traced: Vec::new(),
            again: Vec::new(),
            eyes: Eyes::default(),
            sockets: BTreeMap::new(),
            policy,
            name_servers: NAME_SERVERS.len(),
            agenda: BTreeMap::new(),
            order: ORDER,
            early: ORDER,
            orders: orders::Orders::default(),
            doom: None,
            fallen: false,
            mesh_last: BTreeMap::new(),
            seed,
            wakes: 0,
        }
    }

    /// The first start, with an empty data folder.
    pub(crate) fn begin(&mut self, shards: u16) {
        self.boot((0..shards).map(|shard| Spool::new(ShardId(shard))).collect());
    }

    fn boot(&mut self, spools: Vec<Spool>) {
        let shards = spools.len() as u16;
        for (id, spool) in (0..shards).zip(spools) {
            self.seed += 1;
            self.shards.push(Shard::new(Setup {
                id: ShardId(id),
                shards,
                policy: self.policy.clone(),
                own_addresses: Vec::new(),
                name_servers: NAME_SERVERS[..self.name_servers].to_vec(),
                seed: self.seed,
                spool,
                now: self.now,
            }));
            self.tell(id.into(), Duration::ZERO, Event::Tick);
        }
    }

    /// Puts a host at an address.
    pub fn host(&mut self, ip: [u8; 4], host: Host) -> IpAddr {
        let ip = IpAddr::from(ip);
        self.network.hosts.insert(ip, host);
        ip
    }

    /// What is known of a host.
    pub fn at(&mut self, ip: [u8; 4]) -> &mut Host {
        self.network.hosts.get_mut(&IpAddr::from(ip)).expect("a host was put there")
    }

    /// An event for a shard, after a while.
    pub fn tell(&mut self, shard: usize, after: Duration, event: Event<'static>) {
        self.plan(after, Thing::Event(shard, event));
    }

    fn plan(&mut self, after: Duration, thing: Thing) {
        self.plan_at(self.now.mono + after, thing);
    }

    fn plan_at(&mut self, at: Monotonic, thing: Thing) {
        self.order += 1;
        self.agenda.insert((at, self.order), thing);
    }

    /// A new configuration takes effect everywhere.
    pub fn configure(&mut self, config: &str) {
        self.adopt(policy(config));
    }

    /// A checked configuration takes effect everywhere.
    pub(crate) fn adopt(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        for shard in 0..self.shards.len() {
            self.tell(shard, Duration::ZERO, Event::Policy(self.policy.clone()));
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now.mono + span;
        while self.next_moment().is_some_and(|at| at <= end) {
            self.go_on();
        }
        self.move_to(end);
    }

    /// When something happens next.
    pub(crate) fn next_moment(&self) -> Option<Monotonic> {
        let thing = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let wake = self.shards.iter().filter_map(Shard::next_deadline).min();
        thing.into_iter().chain(wake).min().map(|at| at.max(self.now.mono))
    }

    pub(crate) fn move_to(&mut self, at: Monotonic) {
        let span = at.since(self.now.mono);
        if span > Duration::ZERO {
            self.wakes = 0;
        }
        self.now = Now::new(self.now.mono + span, self.now.wall + span);
    }

    /// Does the next thing.
    pub(crate) fn go_on(&mut self) {
        let next = self.next_moment().expect("something is left to do");
        self.move_to(next);
        if self.agenda.first_key_value().is_some_and(|((at, _), _)| *at <= self.now.mono) {
            let (_, thing) = self.agenda.pop_first().expect("just looked at");
            return self.happen(thing);
        }
        let now = self.now.mono;
        let due = |shard: &Shard| shard.next_deadline().is_some_and(|at| at <= now);
        let shard = self.shards.iter().position(due).expect("a moment is somebody's");
        self.ticks += 1;
        self.wakes += 1;
        assert!(self.wakes < WAKES_PER_MS_MAX, "shard {shard} wakes and wakes");
        self.step(shard, Event::Tick);
    }

    fn happen(&mut self, thing: Thing) {
        match thing {
            Thing::Event(shard, event) => self.bring(shard, event),
            Thing::Received(shard, conn, bytes, replies) => {
                if self.network.expects(shard, conn) {
                    self.see_replies(shard, conn, replies);
                    self.step(shard, Event::Received { conn, bytes: &bytes });
                }
            }
            Thing::Answer(shard, query, bytes, seen) => {
                seen.into_iter().for_each(|seen| self.see(seen));
                self.step(shard, Event::Answer { query, bytes: &bytes });
            }
            Thing::Synced(shard, segment) => self.sync_ends(shard, segment),
            Thing::Segment(shard) => self.segment_is_made(shard),
            Thing::Gone(segment) => self.medium.remove(segment),
            Thing::Flow(shard, conn) => self.flow(shard, conn),
            Thing::ToClient(shard, conn, bytes) => self.client_hears(shard, conn, &bytes),
            Thing::ClientGone(shard, conn) => {
                self.client_gone(shard, conn);
                self.customer_is_away(shard, conn);
            }
            Thing::FromCustomer(shard, conn, sent) => self.customer_sent(shard, conn, sent),
            Thing::ToCustomer(shard, conn, told) => self.customer_hears(shard, conn, told),
        }
    }

    /// Brings an event, unless it is about a connection that the shard has
    /// given up meanwhile.
    fn bring(&mut self, shard: usize, event: Event<'static>) {
        match &event {
            Event::Accepted { conn, peer, .. } => self.customer_comes(shard, *conn, peer.ip()),
            Event::Connected { conn, .. }
            | Event::ConnectFailed { conn, .. }
            | Event::TlsEstablished { conn, .. }
            | Event::TlsFailed { conn, .. }
            | Event::Closed { conn, .. }
                if !self.network.expects(shard, *conn) =>
            {
                return;
            }
            Event::Closed { conn, .. } => self.lose(shard, *conn),
            Event::Ran { number, .. } => self.program_ends(shard, *number),
            event => self.see_event(shard, event),
        }
        self.step(shard, event);
    }

    fn carry_out(&mut self, shard: usize, effect: Effect) {
        match effect {
            Effect::Connect { conn, to, from } => self.connect(shard, conn, to, from),
            Effect::ConnectSocket { conn, path } => self.connect_socket(shard, conn, &path),
            Effect::Deposit { conn, deposit } => self.deposit(shard, conn, &deposit),
            Effect::Send { conn, bytes } => self.send(shard, conn, bytes),
            Effect::SendBody { conn, segment, offset, len } => {
                use spool::Medium;
                let bytes = self.medium.read(segment, offset, len).expect("a body is readable");
                let bytes = bytes.to_vec();
                self.send_body(shard, conn, bytes);
            }
            Effect::Close { conn } => self.close(shard, conn, true),
            Effect::Abort { conn } => self.close(shard, conn, false),
            Effect::Pause { conn, paused } => self.pause(shard, conn, paused),
            Effect::StartTls { conn, .. } => self.start_tls(shard, conn),
            Effect::Query { query, bytes, server, tcp } => {
                self.look_up(shard, query, &bytes, server, tcp);
            }
            Effect::Mesh { to, message } => {
                let from = ShardId(shard as u16);
                let span = self.weather.span(&self.weather.mesh_ms.clone());
                let last = self.mesh_last.entry((shard, to.0.into())).or_default();
                let at = (self.now.mono + span).max(*last);
                *last = at;
                self.plan_at(at, Thing::Event(to.0.into(), Event::Mesh { from, message }));
            }
            Effect::Run { number, errand } => self.run_program(shard, number, &errand),
            Effect::Reply { request, answer } => self.answered(request, answer),
            Effect::Log { lines } => {
                let lines = String::from_utf8(lines).expect("log lines are text");
                lines.lines().for_each(|line| self.log_line(shard, line));
            }
            Effect::Trace { slots, lines } => self.traced.push((slots, lines)),
            Effect::Drained => self.drained.push(ShardId(shard as u16)),
            Effect::Prefetch { token, .. } => self.read_ahead(shard, token),
            // No listener of the simulation has a certificate.
            Effect::QueryDone { .. } | Effect::AcceptTls { .. } | Effect::Unread { .. } => {}
        }
    }

    /// A question to a name server, and its answers, which may go astray.
    fn look_up(&mut self, shard: usize, query: u64, bytes: &[u8], server: SocketAddr, tcp: bool) {
        let Some(asked) = self.names.ask(bytes, server, tcp) else { return };
        let (name, kind, mut how) = (asked.name, asked.kind, asked.how);
        let shard_number = shard as u16;
        self.see(Observation::Asked { shard: shard_number, name: name.clone(), kind });
        let lost = !tcp && self.weather.strikes(self.weather.answers_lost);
        if lost {
            how = Resolved::Silence;
        }
        let seen = Observation::Resolved { shard: shard_number, name, kind, how };
        let Some(answer) = asked.bytes.filter(|_| !lost) else {
            return self.see(seen);
        };
        let after = self.weather.span(&self.weather.answer_ms.clone());
        if self.weather.strikes(self.weather.answers_forged) {
            let forged = forged(&answer, self.weather.below(1 << 16) as u16);
            self.plan(after / 2, Thing::Answer(shard, query, forged, None));
        }
        if self.weather.strikes(self.weather.answers_doubled) {
            let twice = self.weather.span(&self.weather.answer_ms.clone());
            self.plan(after + twice, Thing::Answer(shard, query, answer.clone(), None));
        }
        self.plan(after, Thing::Answer(shard, query, answer, Some(seen)));
    }

    fn log_line(&mut self, shard: usize, line: &str) {
        if !self.eyes.open {
            return self.log.push(serde_json::from_str(line).expect("log lines are JSON"));
        }
        let line = LogLine::parse(line).expect("log lines are JSON");
        self.see(Observation::Logged { shard: shard as u16, line: Arc::new(line) });
    }

    fn read_ahead(&mut self, shard: usize, token: u64) {
        self.prefetches += 1;
        let fails = self.weather.strikes(self.weather.reads_fail);
        let ok = self.failing_prefetches == 0 && !fails;
        self.failing_prefetches = self.failing_prefetches.saturating_sub(1);
        if !ok {
            let what = crate::observation::Disk::ReadFailed;
            self.see(Observation::Disk { segment: None, what });
        }
        self.tell(shard, self.prefetch_takes, Event::Prefetched { token, ok });
    }

    /// Our own means run out, or are there again.
    pub(crate) fn short_of_descriptors(&mut self, short: bool) {
        self.network.no_descriptors = short;
        for shard in (0..self.shards.len() as u16).filter(|_| short) {
            let what = Shortage::Descriptors;
            self.see(Observation::Shortage { shard, what, link: None });
        }
    }
}

/// An answer by somebody who saw no question: another id, and a lie.
fn forged(answer: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    let real = u16::from_be_bytes([bytes[0], bytes[1]]);
    let id = if id == real { !id } else { id };
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    // NXDOMAIN, whatever the records say.
    bytes[3] = bytes[3] & 0xf0 | 3;
    bytes
}

/// Minutes as a span.
pub fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// Seconds as a span.
pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn policy(config: &str) -> Arc<Policy> {
    let text = format!("hostname = \"mail.sender.example\"\n{config}");
    match read_policy(&text) {
        Ok(policy) => Arc::new(policy),
        Err(refused) => panic!("{refused}"),
    }
}

/// Reads a configuration as the daemon does.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read_policy(text: &str) -> Result<Policy, String> {
    let machine = Domain::parse("box.example").expect("a name");
    Config::parse(text, &machine).map(|config| config.policy).map_err(|error| error.to_string())
}
