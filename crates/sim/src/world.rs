//! A small world for shards: several of them over one medium, a clock that
//! moves only when nothing is left to do, a network with scripted mail
//! exchangers and clients, and a name server. One thread, no real time: the
//! same story runs the same way every time.
//!
//! Never decides anything for a shard: it carries effects out and brings
//! events, in order per connection and per pair of shards. A shard that wakes
//! without end, or leaves anything open at the end of a story, ends the test.

mod client;
mod host;
mod names;
mod network;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, MessageId, Monotonic, Now, SegmentId, ShardId, Wall};
use control::{Config, Policy, Request};
use mail::Domain;
use serde_json::Value;
use shard::command::{Answer, merge};
use shard::effect::Effect;
use shard::event::Event;
use shard::{Setup, Shard};
use spool::{MemoryMedium, Report, Spool};

pub use host::{Act, Host, Stage};
pub use names::Names;
use network::Network;

/// Time on the way between any two places.
pub const LATENCY: Duration = Duration::from_millis(1);
/// What a sync takes.
pub const SYNC: Duration = Duration::from_millis(4);
/// The wall clock at the start of every story: 2026-01-01T00:00:00Z.
pub const START: Wall = Wall::from_millis(1_767_225_600_000);
/// Wake-ups of one shard within one millisecond that are taken for a loop.
const WAKES_PER_MS_MAX: u32 = 20_000;
const SEGMENT_BYTES: u32 = 1 << 20;
const NAME_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), 53);

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
    /// What the name server says.
    pub names: Names,
    /// Every log line, in order.
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
    policy: Arc<Policy>,
    agenda: BTreeMap<(Monotonic, u64), Thing>,
    order: u64,
    answers: Vec<Vec<Answer>>,
    seed: u64,
    wakes: u32,
}

/// What will happen.
enum Thing {
    Event(usize, Event<'static>),
    Received(usize, ConnId, Vec<u8>),
    Answer(usize, u64, Vec<u8>),
    Synced(usize, SegmentId),
    Segment(usize),
    Gone(SegmentId),
    Flow(usize, ConnId),
    ToClient(usize, ConnId, Vec<u8>),
    ClientGone(usize, ConnId),
}

impl World {
    /// `shards` empty shards under a configuration, running and with room.
    pub fn new(shards: u16, config: &str) -> Self {
        let spools = (0..shards).map(|shard| Spool::new(ShardId(shard))).collect();
        let mut world = Self {
            now: Now { mono: Monotonic::from_millis(10_000), wall: START },
            shards: Vec::new(),
            medium: MemoryMedium::new(SEGMENT_BYTES),
            network: Network::default(),
            names: Names::default(),
            log: Vec::new(),
            ticks: 0,
            failing_syncs: 0,
            disk_full: false,
            prefetches: 0,
            failing_prefetches: 0,
            prefetch_takes: LATENCY,
            drained: Vec::new(),
            policy: policy(config),
            agenda: BTreeMap::new(),
            order: 0,
            answers: Vec::new(),
            seed: 7,
            wakes: 0,
        };
        world.boot(spools);
        world.run_for(Duration::from_millis(100));
        world
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
                name_servers: vec![NAME_SERVER],
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
        self.order += 1;
        self.agenda.insert((self.now.mono + after, self.order), thing);
    }

    /// A new configuration takes effect everywhere.
    pub fn configure(&mut self, config: &str) {
        self.policy = policy(config);
        for shard in 0..self.shards.len() {
            self.tell(shard, Duration::ZERO, Event::Policy(self.policy.clone()));
        }
    }

    /// Sends a command to all shards and waits for the merged answer.
    pub fn command(&mut self, command: Request) -> Answer {
        let request = self.answers.len();
        self.answers.push(Vec::new());
        for shard in 0..self.shards.len() {
            let command = command.clone();
            self.tell(shard, Duration::ZERO, Event::Command { request: request as u64, command });
        }
        let shards = self.shards.len();
        self.run_until("an answer", |world| world.answers[request].len() == shards);
        merge(&command, std::mem::take(&mut self.answers[request]))
    }

    /// The merged status.
    pub fn status(&mut self) -> Value {
        self.command(Request::Status).body
    }

    /// Log lines of one kind.
    pub fn logged(&self, event: &str) -> Vec<&Value> {
        self.log.iter().filter(|line| line["event"] == event).collect()
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now.mono + span;
        while self.next_moment().is_some_and(|at| at <= end) {
            self.go_on();
        }
        self.move_to(end);
    }

    /// Lets time pass until something is so, at most ten days.
    pub fn run_until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let end = self.now.mono + Duration::from_secs(10 * 86_400);
        while !so(self) {
            let next = self.next_moment().unwrap_or_else(|| panic!("nothing left, but no {what}"));
            assert!(next <= end, "ten days without {what}");
            self.go_on();
        }
    }

    fn next_moment(&self) -> Option<Monotonic> {
        let thing = self.agenda.keys().next().map(|(at, _)| *at);
        let wake = self.shards.iter().filter_map(Shard::next_deadline).min();
        thing.into_iter().chain(wake).min().map(|at| at.max(self.now.mono))
    }

    fn move_to(&mut self, at: Monotonic) {
        let span = at.since(self.now.mono);
        if span > Duration::ZERO {
            self.wakes = 0;
        }
        self.now = Now { mono: self.now.mono + span, wall: self.now.wall + span };
    }

    /// Does the next thing.
    fn go_on(&mut self) {
        let next = self.next_moment().expect("something is left to do");
        self.move_to(next);
        if self.agenda.keys().next().is_some_and(|(at, _)| *at <= self.now.mono) {
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
            Thing::Received(shard, conn, bytes) => {
                if self.network.expects(shard, conn) {
                    self.step(shard, Event::Received { conn, bytes: &bytes });
                }
            }
            Thing::Answer(shard, query, bytes) => {
                self.step(shard, Event::Answer { query, bytes: &bytes });
            }
            Thing::Synced(shard, segment) => {
                let ok = self.failing_syncs == 0;
                self.failing_syncs = self.failing_syncs.saturating_sub(1);
                self.medium.finish_sync(segment, ok);
                self.step(shard, Event::Synced { segment, ok });
            }
            Thing::Segment(shard) if self.disk_full => {
                let reason = "no space left".to_owned();
                self.step(shard, Event::NoSegment { reason });
            }
            Thing::Segment(shard) => {
                let (segment, bytes) = self.medium.create();
                self.step(shard, Event::SegmentReady { segment, bytes });
            }
            Thing::Gone(segment) => self.medium.remove(segment),
            Thing::Flow(shard, conn) => self.flow(shard, conn),
            Thing::ToClient(shard, conn, bytes) => self.client_hears(shard, conn, &bytes),
            Thing::ClientGone(shard, conn) => self.client_gone(shard, conn),
        }
    }

    /// Brings an event, unless it is about a connection that the shard has
    /// given up meanwhile.
    fn bring(&mut self, shard: usize, event: Event<'static>) {
        match event {
            Event::Connected { conn, .. }
            | Event::TlsEstablished { conn, .. }
            | Event::TlsFailed { conn, .. }
            | Event::Closed { conn, .. }
                if !self.network.expects(shard, conn) => {}
            Event::Closed { conn, .. } => {
                self.lose(shard, conn);
                self.step(shard, event);
            }
            event => self.step(shard, event),
        }
    }

    fn step(&mut self, shard: usize, event: Event<'_>) {
        let mut effects = Vec::new();
        self.shards[shard].step(self.now, event, &mut self.medium, &mut effects);
        for request in self.medium.requests() {
            match request {
                spool::Request::Sync(segment) => self.plan(SYNC, Thing::Synced(shard, segment)),
                spool::Request::Segment => self.plan(LATENCY, Thing::Segment(shard)),
                spool::Request::Retire(segment) => self.plan(SYNC, Thing::Gone(segment)),
            }
        }
        for effect in effects {
            self.carry_out(shard, effect);
        }
    }

    fn carry_out(&mut self, shard: usize, effect: Effect) {
        match effect {
            Effect::Connect { conn, to, .. } => self.connect(shard, conn, to),
            Effect::Send { conn, bytes } => self.send(shard, conn, bytes),
            Effect::SendBody { conn, segment, offset, len } => {
                use spool::Medium;
                let bytes = self.medium.read(segment, offset, len).expect("a body is readable");
                let bytes = bytes.to_vec();
                self.send_body(shard, conn, bytes);
            }
            Effect::Close { conn } => self.close(shard, conn, true),
            Effect::Abort { conn } => self.close(shard, conn, false),
            Effect::StartTls { conn, .. } => self.start_tls(shard, conn),
            Effect::Query { query, bytes, .. } => {
                if let Some(answer) = self.names.answer(&bytes) {
                    self.plan(LATENCY, Thing::Answer(shard, query, answer));
                }
            }
            Effect::Mesh { to, message } => {
                let from = ShardId(shard as u16);
                self.tell(to.0.into(), LATENCY, Event::Mesh { from, message });
            }
            Effect::Reply { request, answer } => self.answers[request as usize].push(answer),
            Effect::Log { line } => {
                self.log.push(serde_json::from_str(&line).expect("log lines are JSON"));
            }
            Effect::Drained => self.drained.push(ShardId(shard as u16)),
            Effect::Prefetch { token, .. } => {
                self.prefetches += 1;
                let ok = self.failing_prefetches == 0;
                self.failing_prefetches = self.failing_prefetches.saturating_sub(1);
                self.tell(shard, self.prefetch_takes, Event::Prefetched { token, ok });
            }
            Effect::Pause { .. } | Effect::QueryDone { .. } => {}
        }
    }

    /// The program ends here and now, and starts again with `shards` shards
    /// over what the page cache has.
    pub fn crash(&mut self, shards: u16) -> Report {
        self.medium.program_crash();
        self.restart(shards)
    }

    /// The power goes; `keep` says how much of each write that was not synced
    /// had reached the disk.
    pub fn power_cut(&mut self, shards: u16, keep: impl FnMut(SegmentId, u32) -> u32) -> Report {
        self.medium.power_cut(keep);
        self.restart(shards)
    }

    fn restart(&mut self, shards: u16) -> Report {
        self.agenda.clear();
        self.shards.clear();
        self.network.cut();
        self.answers.clear();
        let segments = self.medium.list();
        let (spools, report) = spool::recover(&self.medium, &segments, shards).expect("our format");
        self.move_to(self.now.mono + Duration::from_secs(1));
        self.boot(spools);
        report
    }

    /// Everything has come to an end: no mail, no connection, no permit out.
    pub fn assert_over(&mut self) {
        // Idle connections close, syncs end, permits come home.
        self.run_for(Duration::from_secs(90));
        let status = self.status();
        assert_eq!(status["messages"], 0, "{status}");
        for state in ["ready", "deferred", "in_flight", "held"] {
            assert_eq!(status["recipients"][state], 0, "{state}: {status}");
        }
        assert_eq!(status["sessions"]["in"], 0);
        assert_eq!(status["sessions"]["out"], 0);
        assert_eq!(self.network.open(), 0, "connections are left open");
        for shard in &self.shards {
            assert_eq!(shard.limits_in_use(), 0, "permits have not come home");
        }
    }

    /// Ids of the messages that `queue list` knows, with their rows.
    pub fn rows(&mut self) -> Vec<Value> {
        let by = control::By::Message;
        let filter = control::Filter { all: true, ..control::Filter::default() };
        let answer = self.command(Request::QueueList { by, filter, limit: 10_000 });
        answer.body["messages"].as_array().expect("a list").clone()
    }

    /// Does something to one message, or to all.
    pub fn act(&mut self, act: control::QueueAct, id: Option<MessageId>) -> u64 {
        let filter = control::Filter { all: id.is_none(), id, ..control::Filter::default() };
        let answer = self.command(Request::QueueAct { act, filter });
        answer.body["recipients"].as_u64().expect("a count")
    }
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
    let machine = Domain::parse("box.example").expect("a name");
    let text = format!("hostname = \"mail.sender.example\"\n{config}");
    match Config::parse(&text, &machine) {
        Ok(config) => Arc::new(config.policy),
        Err(refused) => panic!("{refused}"),
    }
}
