//! What stands around the shard: its medium, clients, exchangers, name servers
//! and time, as far as the contract of events and effects has them.
//!
//! Never decides what happens next; that is the fuzzer's, and in the end that
//! of `good_turn`.

mod talk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, MessageId, Monotonic, Now, ShardId, Wall};
use control::{Config, Policy, Request as Command};
use mail::Domain;
use shard::command::Answer;
use shard::effect::Effect;
use shard::event::Event;
use shard::mesh::MeshMessage;
use shard::{Setup, Shard};
use spool::{Medium, MemoryMedium, Request, Spool, recover};

use super::peer::Peer;
use crate::dns_answer::packet;
use crate::input::Input;

/// Configurations to swap between; the first one is for the good end.
pub(super) const POLICIES: [&str; 4] = [
    "[delivery]\nretry = [\"1m\"]\nlifetime = \"4h\"\nconnections = 2\n",
    "[delivery]\nmode = \"relay\"\nhosts = [\"192.0.2.9:25\", \"relay.example\"]\nretry = [\"1m\"]\n\
     lifetime = \"2h\"\ntls = \"none\"\n[log]\nlevel = \"detail\"\n",
    "[delivery]\nretry = [\"1m\"]\nlifetime = \"4h\"\nrate = \"3/1m\"\nconnections = 1\n\
     messages_per_connection = 2\nmax_attempts = 3\n[submission]\nmax_message = \"64KiB\"\n\
     max_recipients = 100\n",
    "[delivery]\nretry = [\"1m\"]\nlifetime = \"4h\"\ntls = \"required\"\n[[route]]\n\
     match = \"d0.example\"\nmode = \"relay\"\nhosts = [\"192.0.2.8:25\"]\ntls = \"opportunistic\"\n\
     on_failure = \"hold\"\n[queue]\nin_doubt = \"power\"\n",
];

const SEGMENT_BYTES: u32 = 32 << 10;
/// Bounds the memory of one run.
const SEGMENTS_MAX: usize = 48;
/// No step asks for more.
const EFFECTS_MAX: usize = 20_000;

#[derive(Clone, Copy)]
pub(super) enum Crash {
    Program,
    /// Of each unsynced write, so many of 256 parts reached the disk.
    Power(u8),
}

pub(super) struct World {
    shard: Shard,
    medium: MemoryMedium,
    ms: u64,
    policy: Arc<Policy>,
    clients: BTreeSet<ConnId>,
    paused: BTreeSet<ConnId>,
    peers: BTreeMap<ConnId, Peer>,
    queries: BTreeMap<u64, Vec<u8>>,
    requests: Vec<Request>,
    prefetches: VecDeque<u64>,
    mesh: VecDeque<MeshMessage>,
    /// Commands that wait for their answer.
    asked: BTreeSet<u64>,
    last_answer: Option<Answer>,
    /// The connection whose end was told last.
    gone: Option<ConnId>,
    conns: u64,
    commands: u64,
    is_drained: bool,
    had_failure: bool,
}

impl World {
    pub(super) fn new(policy: usize) -> Self {
        let policy = parsed(policy);
        let ms = 1_000_000;
        let mut world = Self {
            shard: started(Spool::new(ShardId(0)), policy.clone(), at(ms)),
            medium: MemoryMedium::new(SEGMENT_BYTES),
            ms,
            policy,
            clients: BTreeSet::new(),
            paused: BTreeSet::new(),
            peers: BTreeMap::new(),
            queries: BTreeMap::new(),
            requests: Vec::new(),
            prefetches: VecDeque::new(),
            mesh: VecDeque::new(),
            asked: BTreeSet::new(),
            last_answer: None,
            gone: None,
            conns: 0,
            commands: 0,
            is_drained: false,
            had_failure: false,
        };
        world.event(Event::Tick);
        world
    }

    /// Whether only a restart sets the shard right again.
    pub(super) fn is_spoilt(&self) -> bool {
        self.had_failure || self.is_drained
    }

    /// The time in milliseconds.
    pub(super) fn ms(&self) -> u64 {
        self.ms
    }

    /// Whether no mail is left.
    pub(super) fn is_over(&self) -> bool {
        self.shard.live_messages() == 0
    }

    /// What an operator is told, for the message of a failure.
    pub(super) fn told(&mut self) -> String {
        self.command(Command::Status);
        let status = self.last_answer.take();
        let filter = control::Filter::default();
        self.command(Command::QueueList { by: control::By::Message, filter, limit: 10 });
        format!("{status:?} {:?}", self.last_answer)
    }

    /// Lets one thing happen, and carries out what follows from it.
    pub(super) fn event(&mut self, event: Event<'_>) {
        let mut effects = Vec::new();
        self.shard.step(at(self.ms), event, &mut self.medium, &mut effects);
        self.carry_out(effects);
        for _ in 0..10_000 {
            if let Some(message) = self.mesh.pop_front() {
                let event = Event::Mesh { from: ShardId(0), message };
                let mut effects = Vec::new();
                self.shard.step(at(self.ms), event, &mut self.medium, &mut effects);
                self.carry_out(effects);
            } else if self.shard.next_deadline().is_some_and(|due| due <= at(self.ms).mono) {
                let mut effects = Vec::new();
                self.shard.step(at(self.ms), Event::Tick, &mut self.medium, &mut effects);
                self.carry_out(effects);
            } else {
                return;
            }
        }
        panic!("the shard does not come to rest");
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        assert!(effects.len() <= EFFECTS_MAX, "a step does {} things", effects.len());
        for effect in effects {
            match effect {
                Effect::Connect { conn, to, .. } => {
                    assert!(conn.0 % 2 == 1 && !to.ip().is_loopback(), "{conn:?} to {to}");
                    let known = self.peers.insert(conn, Peer::default());
                    assert!(known.is_none(), "{conn:?} is used twice");
                }
                Effect::Send { conn, bytes } if self.clients.contains(&conn) => {
                    self.confirmed(&bytes);
                }
                Effect::Send { conn, bytes } => self.peer(conn).hear(&bytes),
                Effect::SendBody { conn, segment, offset, len } => {
                    let body = self.medium.read(segment, offset, len).expect("bytes that stand");
                    let body = body.to_vec();
                    self.peer(conn).hear(&body);
                    self.peer(conn).undrained = true;
                }
                Effect::Pause { conn, paused } => {
                    let known = self.clients.contains(&conn) || self.peers.contains_key(&conn);
                    assert!(known, "{conn:?} is not there");
                    let _ =
                        if paused { self.paused.insert(conn) } else { self.paused.remove(&conn) };
                }
                Effect::Close { conn } | Effect::Abort { conn } => {
                    let known = self.clients.remove(&conn) | self.peers.remove(&conn).is_some();
                    // Of a connection that has just ended the shard may let go.
                    let gone = self.gone.take() == Some(conn);
                    assert!(known || gone, "{conn:?} is closed twice");
                    self.paused.remove(&conn);
                }
                Effect::AcceptTls { .. } | Effect::Unread { .. } => {
                    panic!("no listener has a certificate")
                }
                Effect::ConnectSocket { .. } | Effect::Deposit { .. } => {
                    panic!("no domain is local")
                }
                Effect::Run { .. } => panic!("no program is named"),
                Effect::StartTls { conn, .. } => self.peer(conn).handshake_due = true,
                Effect::Query { query, bytes, .. } => {
                    assert!(self.queries.insert(query, bytes).is_none(), "a number used twice");
                }
                Effect::QueryDone { query } => {
                    assert!(self.queries.remove(&query).is_some(), "a socket closed twice");
                }
                Effect::Prefetch { token, .. } => self.prefetches.push_back(token),
                Effect::Mesh { to, message } => {
                    assert_eq!(to, ShardId(0));
                    self.mesh.push_back(message);
                }
                Effect::Reply { request, answer } => {
                    assert!(self.asked.remove(&request), "an answer to nobody");
                    self.last_answer = Some(answer);
                }
                Effect::Log { lines } | Effect::Trace { lines, .. } => check_lines(lines),
                Effect::Drained => {
                    assert!(!std::mem::replace(&mut self.is_drained, true), "drained twice");
                }
            }
        }
        self.requests.extend(self.medium.requests());
        self.check_attempts();
    }

    /// Whoever was sent a final dot and has not answered it would be in doubt
    /// after a crash of the program now.
    fn check_attempts(&mut self) {
        if !self.peers.values_mut().any(Peer::has_new_dot) {
            return;
        }
        let under_way = self.peers.values().filter(|peer| peer.has_whole_message()).count();
        let mut disk = self.medium.clone();
        disk.program_crash();
        let segments = disk.list();
        let (_, report) = recover(&disk, &segments, 1).expect("our own format");
        let doubts = report.in_doubt.len();
        assert!(doubts >= under_way, "{under_way} messages are under way, {doubts} in doubt");
    }

    fn peer(&mut self, conn: ConnId) -> &mut Peer {
        let peer = self.peers.get_mut(&conn);
        peer.unwrap_or_else(|| panic!("something is sent on {conn:?}, which is not there"))
    }

    /// A message that is confirmed would survive a power cut now.
    fn confirmed(&self, replies: &[u8]) {
        for line in String::from_utf8_lossy(replies).lines() {
            let Some((_, id)) = line.split_once("Ok: queued") else { continue };
            let id = id.strip_prefix(" as ").and_then(|id| id.parse::<MessageId>().ok());
            let id = id.expect("a confirmation names the message");
            let mut disk = self.medium.clone();
            disk.power_cut(|_, _| 0);
            let segments = disk.list();
            let (spools, _) = recover(&disk, &segments, 1).expect("our own format");
            assert!(spools[0].states(id).is_some(), "{id} is confirmed and not on the disk");
        }
    }

    pub(super) fn pass(&mut self, span: Duration) {
        self.ms += span.as_millis() as u64;
        self.event(Event::Tick);
    }

    /// The next deadline comes.
    pub(super) fn tick(&mut self) {
        if let Some(deadline) = self.shard.next_deadline() {
            self.ms = self.ms.max(deadline.as_millis());
        }
        self.event(Event::Tick);
    }

    pub(super) fn adopt(&mut self, policy: usize) {
        self.policy = parsed(policy);
        self.event(Event::Policy(self.policy.clone()));
    }

    pub(super) fn command(&mut self, command: Command) {
        self.commands += 1;
        self.asked.insert(self.commands);
        self.event(Event::Command { request: self.commands, command });
    }

    pub(super) fn restart(&mut self, crash: Crash) {
        match crash {
            Crash::Program => self.medium.program_crash(),
            Crash::Power(parts) => {
                self.medium.power_cut(|_, bytes| bytes / 256 * u32::from(parts));
            }
        }
        let segments = self.medium.list();
        let (mut spools, _) = recover(&self.medium, &segments, 1).expect("our own format");
        let spool = spools.pop().expect("one shard");
        self.ms += 1_000;
        self.shard = started(spool, self.policy.clone(), at(self.ms));
        self.clients.clear();
        self.paused.clear();
        self.peers.clear();
        self.queries.clear();
        self.requests.clear();
        self.prefetches.clear();
        self.mesh.clear();
        self.asked.clear();
        (self.is_drained, self.had_failure) = (false, false);
        self.event(Event::Tick);
    }

    pub(super) fn chosen_query(&self, input: &mut Input<'_>) -> Option<(u64, Vec<u8>)> {
        let place = usize::from(input.byte());
        let (query, bytes) = self.queries.iter().nth(place % self.queries.len().max(1))?;
        Some((*query, bytes.clone()))
    }

    pub(super) fn plain_dns(&mut self, input: &mut Input<'_>) {
        if let Some((query, bytes)) = self.chosen_query(input) {
            let answer = packet::plain_answer(&bytes, 1 + (input.byte() & 3));
            self.event(Event::Answer { query, bytes: &answer });
        }
    }

    pub(super) fn answer_one(&mut self, input: &mut Input<'_>, ok: bool) {
        if !self.requests.is_empty() {
            let chosen = input.below(self.requests.len().min(256));
            let request = self.requests.remove(chosen);
            self.answer(request, ok);
        }
    }

    pub(super) fn answer_all(&mut self) {
        for request in std::mem::take(&mut self.requests) {
            self.answer(request, true);
        }
    }

    fn answer(&mut self, request: Request, ok: bool) {
        match request {
            Request::Sync(segment) => {
                self.medium.finish_sync(segment, ok);
                self.had_failure |= !ok;
                self.event(Event::Synced { segment, ok });
            }
            Request::Segment if ok && self.medium.list().len() < SEGMENTS_MAX => {
                let (segment, bytes) = self.medium.create();
                self.event(Event::SegmentReady { segment, bytes });
            }
            Request::Segment => self.event(Event::NoSegment { reason: "disk full".to_owned() }),
            Request::Retire(segment) => self.medium.remove(segment),
        }
    }

    pub(super) fn prefetched(&mut self, ok: bool) {
        if let Some(token) = self.prefetches.pop_front() {
            self.event(Event::Prefetched { token, ok });
        }
    }

    /// Everybody does one thing that is due, as they should; when nothing is,
    /// time passes.
    pub(super) fn good_turn(&mut self) {
        let before = self.ms;
        let quiet = self.requests.is_empty()
            && self.prefetches.is_empty()
            && self.queries.is_empty()
            && !self.peers.values().any(Peer::is_due);
        self.answer_all();
        while !self.prefetches.is_empty() {
            self.prefetched(true);
        }
        for (query, bytes) in self.queries.clone() {
            let answer = packet::plain_answer(&bytes, 1);
            self.event(Event::Answer { query, bytes: &answer });
        }
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            self.serve_well(conn);
        }
        if quiet {
            self.tick();
            // Deadlines far away must not make the end late.
            self.ms = self.ms.min(before + 60_000);
        }
    }

    fn serve_well(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if !peer.is_up {
            return self.connect(conn);
        }
        if std::mem::take(&mut peer.handshake_due) {
            let description = "TLSv1.3".to_owned();
            return self.event(Event::TlsEstablished { conn, description });
        }
        if std::mem::take(&mut peer.undrained) {
            self.event(Event::Drained { conn, left: 0 });
        }
        if let Some(reply) = self.peers.get_mut(&conn).and_then(|peer| peer.reply(0)) {
            self.says(conn, reply);
        }
    }
}

fn at(ms: u64) -> Now {
    Now::new(Monotonic::from_millis(ms), Wall::from_millis(1_750_000_000_000 + ms))
}

fn parsed(policy: usize) -> Arc<Policy> {
    let name = Domain::parse("out.example").expect("a name");
    let config = Config::parse(POLICIES[policy], &name);
    Arc::new(config.unwrap_or_else(|refused| panic!("{refused}")).policy)
}

fn started(spool: Spool, policy: Arc<Policy>, now: Now) -> Shard {
    Shard::new(Setup {
        id: ShardId(0),
        shards: 1,
        policy,
        own_addresses: vec![[198, 51, 100, 1].into()],
        name_servers: vec![SocketAddr::from(([192, 0, 2, 53], 53))],
        seed: 11,
        spool,
        now,
    })
}

/// Each is one JSON object with its line end.
fn check_lines(lines: Vec<u8>) {
    let lines = String::from_utf8(lines).expect("log lines are text");
    assert!(lines.ends_with('\n'), "{lines:?}");
    for line in lines.lines() {
        assert!(!line.contains(|char: char| char.is_control()), "{line:?}");
        let value: serde_json::Result<serde_json::Value> = serde_json::from_str(line);
        assert!(value.is_ok_and(|value| value.is_object()), "{line}");
    }
}
