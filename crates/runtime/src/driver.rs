//! The driver of one shard: tells the core what happened, carries its effects
//! out in order, and at the end of a turn sends what piled up.
//!
//! A turn begins with the first event told and ends when the tasks that were
//! ready with it have run: replies to one connection leave in one call, what
//! is said to another shard in one batch. The clocks are read once a turn.
//!
//! Never decides, never waits, never steps the core from within a step: what
//! an effect brings about at once is told to the core at the turn's end.
//!
//! Invariant: the driver is borrowed only between awaits; tasks are scheduled,
//! never run, from within it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use base::{ConnId, Map, Monotonic, Now, SegmentId, ShardId};
use crossbeam::channel::Sender;
use eventlog::{Field, Kind, Line};
use glommio::TaskQueueHandle;
use glommio::io::BufferedFile;
use shard::command::Answer;
use shard::effect::{Deposit, Effect};
use shard::event::{Deposited, Event};
use shard::mesh::MeshMessage;
use socket2::Socket;

use crate::aftermath::Aftermath;
use crate::bell::LocalBell;
use crate::clock::Clock;
use crate::contract::{Core, Store, StoreRequest};
use crate::dial::Peer;
use crate::errands::{self, Runner};
use crate::folders::Job;
use crate::inbox::{Inbox, Mail};
use crate::keeper::Wish;
use crate::log_sink::{LogBatch, LogSink};
use crate::mesh::{self, Mesh};
use crate::readiness::{Readiness, Reports};
use crate::tcp::Connection;
use crate::tls::TlsConfigs;
use crate::tls_server::ServerConfigs;
use crate::udp::QuerySocket;
use crate::watch::{Reader, Readers};

/// Bytes read from a socket in one call; shared by all connections of a
/// shard, since what is read is handed on before the next read.
const SCRATCH_BYTES: usize = 64 << 10;
/// How often what a core tells itself is told within one turn.
const AFTERMATH_ROUNDS: usize = 4;
/// The answers a shard owes, at most; more commands are refused.
const REPLIES_MAX: usize = 1_024;

/// The driver as its tasks hold it.
pub(crate) type Handle = Rc<RefCell<Driver>>;

/// Everything one executor needs to run one shard.
pub(crate) struct Driver {
    pub(crate) shard: ShardId,
    pub(crate) clock: Clock,
    pub(crate) bells: Rc<Bells>,
    core: Box<dyn Core>,
    pub(crate) store: Box<dyn Store>,
    me: Weak<RefCell<Driver>>,
    /// Both clocks as of this turn's begin; none between turns.
    now: Option<Now>,
    effects: Vec<Effect>,
    requests: Vec<StoreRequest>,
    /// What effects brought about at once, to be told at the turn's end.
    aftermath: VecDeque<Aftermath>,
    pub(crate) connections: Map<ConnId, Connection>,
    /// Connections with something to send, each once.
    pub(crate) dirty: Vec<ConnId>,
    pub(crate) readiness: Rc<Readiness>,
    pub(crate) reports: Reports,
    /// Connections that one read did not empty.
    pub(crate) unread: Vec<ConnId>,
    pub(crate) scratch: Vec<u8>,
    pub(crate) plain: Vec<u8>,
    pub(crate) tls: TlsConfigs,
    pub(crate) server_tls: Arc<ServerConfigs>,
    pub(crate) queries: Map<u64, QuerySocket>,
    pub(crate) files: Map<SegmentId, Rc<BufferedFile>>,
    keeper: Sender<Wish>,
    folders: Sender<Job>,
    runner: Runner,
    mesh: Mesh,
    log: LogBatch,
    /// Those who are attached.
    readers: Readers,
    replies: Map<u64, Sender<(ShardId, Answer)>>,
    next_inbound: u64,
    next_request: u64,
    /// When the timer task will wake; none while it sleeps for good.
    pub(crate) armed: Option<Monotonic>,
    /// Steps taken, for measurement and the watchdog.
    pub(crate) steps: u64,
    /// Set once the core says it has drained.
    on_drained: Option<Box<dyn FnOnce(ShardId)>>,
}

/// What wakes the driver's own tasks.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    pub(crate) turn: LocalBell,
    pub(crate) timer: LocalBell,
    /// Rung only to end the task that waits for sockets.
    pub(crate) sockets: LocalBell,
}

/// What an executor is given to build its driver from.
pub(crate) struct DriverParts {
    pub(crate) shard: ShardId,
    pub(crate) clock: Clock,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    pub(crate) keeper: Sender<Wish>,
    pub(crate) folders: Sender<Job>,
    pub(crate) runner: Runner,
    pub(crate) log: LogSink,
    pub(crate) server_tls: Arc<ServerConfigs>,
    pub(crate) on_drained: Box<dyn FnOnce(ShardId) + Send>,
}

impl Driver {
    pub(crate) fn new(
        parts: DriverParts,
        core: Box<dyn Core>,
        store: Box<dyn Store>,
        readiness: Rc<Readiness>,
    ) -> Handle {
        Rc::new_cyclic(|me| {
            RefCell::new(Driver {
                shard: parts.shard,
                clock: parts.clock,
                bells: Rc::default(),
                core,
                store,
                me: me.clone(),
                now: None,
                effects: Vec::new(),
                requests: Vec::new(),
                aftermath: VecDeque::new(),
                connections: Map::default(),
                dirty: Vec::new(),
                readiness,
                reports: Reports::new(),
                unread: Vec::new(),
                scratch: vec![0; SCRATCH_BYTES],
                plain: Vec::new(),
                tls: TlsConfigs::new(),
                server_tls: parts.server_tls,
                queries: Map::default(),
                files: Map::default(),
                keeper: parts.keeper,
                folders: parts.folders,
                runner: parts.runner,
                mesh: Mesh::new(parts.shard, &parts.inboxes),
                log: LogBatch::new(parts.log),
                readers: Arc::default(),
                replies: Map::default(),
                next_inbound: 0,
                next_request: 0,
                armed: None,
                steps: 0,
                on_drained: Some(parts.on_drained),
            })
        })
    }

    /// Tells the core what happened and carries out what it wants.
    pub(crate) fn step(&mut self, event: Event<'_>) {
        let now = self.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.core.step(now, event, &mut *self.store, &mut effects);
        self.steps += 1;
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
        self.carry_out_requests();
    }

    /// Lets the core begin: its first step asks for segments.
    pub(crate) fn first_tick(&mut self) {
        self.step(Event::Tick);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { conn, bytes } => self.send(conn, bytes),
            Effect::SendBody { conn, segment, offset, len } => {
                self.send_body(conn, segment, offset, len);
            }
            Effect::Pause { conn, paused } => self.pause(conn, paused),
            Effect::Connect { conn, to, from } => self.connect(conn, &Peer::Host { to, from }),
            Effect::ConnectSocket { conn, path } => self.connect(conn, &Peer::Socket(path)),
            Effect::Deposit { conn, deposit } => self.deposit(conn, deposit),
            Effect::Close { conn } => self.close(conn),
            Effect::Abort { conn } => self.abort(conn),
            Effect::StartTls { conn, check } => self.start_tls(conn, &check),
            Effect::AcceptTls { conn } => self.accept_tls(conn),
            Effect::Unread { conn, bytes } => self.unread(conn, bytes),
            Effect::Query { query, server, tcp, bytes } => self.query(query, server, tcp, &bytes),
            Effect::QueryDone { query } => self.query_done(query),
            Effect::Prefetch { token, segment, offset, len } => {
                self.prefetch(token, segment, offset, len);
            }
            Effect::Mesh { to, message } if to == self.shard => {
                self.told_later(Aftermath::Mesh { message });
            }
            Effect::Mesh { to, message } => self.mesh.stage(to, message),
            Effect::Run { number, errand } => {
                let job = errands::Job { shard: self.shard, number, errand };
                if let Err((number, ending)) = self.runner.run(job) {
                    self.told_later(Aftermath::Ran { number, ending });
                }
            }
            Effect::Reply { request, answer } => self.reply(request, answer),
            Effect::Log { lines } => self.log_lines(&lines),
            Effect::Trace { slots, lines } => {
                let now = self.now().wall;
                Reader::show(&self.readers, slots, &lines, now);
            }
            Effect::Drained => {
                if let Some(on_drained) = self.on_drained.take() {
                    on_drained(self.shard);
                }
            }
        }
    }

    pub(crate) fn carry_out_requests(&mut self) {
        let mut requests = std::mem::take(&mut self.requests);
        self.store.take_requests(&mut requests);
        for request in requests.drain(..) {
            match request {
                StoreRequest::Sync(segment) => self.sync(segment),
                StoreRequest::NewSegment => self.wish(Wish::Create(self.shard)),
                StoreRequest::Retire(segment) => {
                    self.files.remove(&segment);
                    self.wish(Wish::Retire(segment));
                }
            }
        }
        self.requests = requests;
    }

    pub(crate) fn wish(&mut self, wish: Wish) {
        if self.keeper.send(wish).is_err() {
            self.told_later(Aftermath::NoSegment { reason: "the program is stopping".into() });
        }
    }

    fn deposit(&mut self, conn: ConnId, deposit: Box<Deposit>) {
        let index = deposit.index;
        if self.folders.send(Job { shard: self.shard, conn, deposit }).is_err() {
            let outcome = Deposited::Short("nobody writes mail folders any more".into());
            self.told_later(Aftermath::Deposited { conn, index, outcome });
        }
    }

    /// Tells the core at the turn's end.
    pub(crate) fn told_later(&mut self, aftermath: Aftermath) {
        self.aftermath.push_back(aftermath);
        if !self.in_turn() {
            self.bells.turn.ring();
        }
    }

    /// Whether the end of a turn is coming anyhow.
    pub(crate) fn in_turn(&self) -> bool {
        self.now.is_some()
    }

    fn tell_aftermath(&mut self, aftermath: Aftermath) {
        match aftermath {
            Aftermath::Unread { conn } => self.received(conn, &[]),
            other => self.step(other.event(self.shard)),
        }
    }

    /// Ends a turn: tells the core what its effects brought about, sends what
    /// connections and other shards are to get, sets the timer. Whether there
    /// is more to tell: a core that talks to itself must not keep the sockets
    /// waiting.
    pub(crate) fn end_turn(&mut self) -> bool {
        // Within a turn already: what is told now opens no other.
        let now = *self.now.get_or_insert_with(|| self.clock.now());
        for _ in 0..AFTERMATH_ROUNDS {
            for _ in 0..self.aftermath.len() {
                if let Some(aftermath) = self.aftermath.pop_front() {
                    self.tell_aftermath(aftermath);
                }
            }
        }
        self.flush_dirty();
        let now = now.mono;
        let mut wake_at = self.core.next_deadline();
        if self.mesh.ship() {
            wake_at = earlier(wake_at, Some(now + mesh::RETRY));
        }
        wake_at = earlier(wake_at, self.log.ship(now));
        self.arm(wake_at);
        self.now = None;
        !self.aftermath.is_empty() || !self.dirty.is_empty() || !self.unread.is_empty()
    }

    fn arm(&mut self, wake_at: Option<Monotonic>) {
        // A timer that goes off too early costs one wake; moving it for every
        // deadline that moves back would cost one a turn.
        let must_move = match (self.armed, wake_at) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(armed), Some(wake_at)) => wake_at < armed,
        };
        if must_move {
            self.armed = wake_at;
            self.bells.timer.ring();
        }
    }

    /// Calls the core if its deadline has come; a turn is opened anyhow.
    pub(crate) fn tick_if_due(&mut self) {
        let now = self.now().mono;
        if self.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.step(Event::Tick);
        }
    }

    /// Both clocks, read once a turn; opens the turn.
    fn now(&mut self) -> Now {
        match self.now {
            Some(now) => now,
            None => {
                let now = self.clock.now();
                self.now = Some(now);
                self.bells.turn.ring();
                now
            }
        }
    }

    /// Schedules a task on this executor; it runs when the driver is free.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // A plain spawn would run the task at once, inside the borrow.
        glommio::executor()
            .spawn_local_into(task, TaskQueueHandle::default())
            .expect("the default task queue is always there")
            .detach();
    }

    /// The driver as a task may hold it.
    pub(crate) fn handle(&self) -> Handle {
        self.me.upgrade().expect("whoever borrows the driver holds it")
    }

    /// Takes one item from outside. False when the executor is to end.
    pub(crate) fn receive_mail(&mut self, mail: Mail) -> bool {
        match mail {
            Mail::Accepted { socket, peer, local, listener, slot } => {
                let conn = ConnId(self.next_inbound);
                self.next_inbound += 2;
                self.accepted(conn, socket, (peer, local, listener), slot);
            }
            Mail::Command { command, answer } => self.command(*command, answer),
            Mail::Submitted { came, received, answer } => {
                if let Some(request) = self.expect_reply(answer) {
                    self.step(Event::Submitted { request, came, received });
                }
            }
            Mail::Policy(policy, server_tls) => {
                self.tls.reload();
                self.server_tls = server_tls;
                self.step(Event::Policy(policy));
            }
            Mail::Suspensions(orders) => self.step(Event::Suspensions(orders)),
            Mail::Watches(watches, readers) => {
                self.readers = readers;
                self.step(Event::Watches(watches));
            }
            Mail::SegmentReady { segment, bytes } => self.segment_ready(segment, bytes),
            Mail::Deposited { conn, index, outcome } => {
                self.step(Event::Deposited { conn, index, outcome });
            }
            Mail::Ran { number, ending } => self.step(Event::Ran { number, ending }),
            Mail::NoSegment { reason } => self.step(Event::NoSegment { reason }),
            Mail::Disk { free_bytes, free_inodes } => {
                self.step(Event::Disk { free_bytes, free_inodes });
            }
            Mail::Drain => self.step(Event::Drain),
            Mail::Stop => return false,
        }
        true
    }

    /// Takes one batch of another shard.
    pub(crate) fn receive_batch(&mut self, from: ShardId, batch: Vec<MeshMessage>) {
        for message in batch {
            self.step(Event::Mesh { from, message });
        }
    }

    fn command(&mut self, command: shard::command::Command, answer: Sender<(ShardId, Answer)>) {
        if let Some(request) = self.expect_reply(answer) {
            self.step(Event::Command { request, command });
        }
    }

    /// Names a caller that waits; none where too many do: the caller sees the
    /// missing answer when its sender is dropped.
    fn expect_reply(&mut self, answer: Sender<(ShardId, Answer)>) -> Option<u64> {
        if self.replies.len() >= REPLIES_MAX {
            return None;
        }
        let request = self.next_request;
        self.next_request += 1;
        self.replies.insert(request, answer);
        Some(request)
    }

    fn reply(&mut self, request: u64, mut answer: Answer) {
        if let Some(load) = answer.reading.as_mut().and_then(|reading| reading.loads.first_mut()) {
            load.busy = Clock::thread_time();
        }
        if let Some(sender) = self.replies.remove(&request) {
            // The caller may have given up; the answer is of no use then.
            let _ = sender.try_send((self.shard, answer));
        }
    }

    /// Says in the log that a disk failed us, beside what the core makes of it.
    pub(crate) fn log_failed_sync(&mut self, segment: SegmentId, error: &std::io::Error) {
        let wall = self.now().wall;
        let line = Line::new(wall, Kind::Storage).number(Field::Segment, segment.0);
        let line = line.show(Field::Error, format_args!("a sync failed: {error}"));
        self.log_lines(&line.end());
    }

    fn log_lines(&mut self, lines: &[u8]) {
        let now = self.now().mono;
        self.log.push(lines, now);
    }

    /// Closes everything at once, so that no operation is in the kernel when
    /// the executor ends, and hands the last log lines over.
    pub(crate) fn shut(&mut self) {
        let open: Vec<ConnId> = self.connections.keys().copied().collect();
        for conn in open {
            self.abort(conn);
        }
        let open: Vec<u64> = self.queries.keys().copied().collect();
        for query in open {
            self.query_done(query);
        }
        self.aftermath.clear();
        self.replies.clear();
        self.log.ship_now();
    }

    /// Whether a socket is still this connection's; for tasks that outlive it.
    pub(crate) fn owns(&self, conn: ConnId, socket: &Rc<glommio::io::PollableFd<Socket>>) -> bool {
        self.connections.get(&conn).is_some_and(|c| Rc::ptr_eq(c.socket(), socket))
    }
}

fn earlier(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
