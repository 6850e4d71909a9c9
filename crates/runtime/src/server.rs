//! The whole server: what is started in which order, and stopped in which.
//!
//! Start: limits of the machine, data folder and its lock, recovery, log,
//! keeper, executors, listeners. Stop: listeners, drain, executors, keeper,
//! log. Decides nothing about mail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::ShardId;
use control::{Policy, Request};
use crossbeam::channel::{Receiver, Sender};
use glommio::ExecutorJoinHandle;
use segment::Folder;
use shard::command::{Answer, merge};
use shard::{Setup, Shard};
use spool::Spool;

use crate::clock::Clock;
use crate::driver::DriverParts;
use crate::error::StartError;
use crate::executor::{self, MakeShard, Pulse};
use crate::inbox::{Inbox, Mail};
use crate::keeper::{self, Wish};
use crate::listen::Listener;
use crate::log_sink::{LogSettings, LogSink};
use crate::real::Files;
use crate::topology::Topology;
use crate::{entropy, machine};

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The data folder; made if it is not there.
    pub folder: PathBuf,
    /// The configuration.
    pub policy: Arc<Policy>,
}

/// A running server.
pub struct Running {
    inboxes: Arc<[Arc<Inbox>]>,
    listeners: Mutex<Vec<Listener>>,
    drained: Receiver<ShardId>,
    log: Mutex<Option<LogSink>>,
    stopping: Arc<AtomicBool>,
    threads: Mutex<Threads>,
    started_with: Arc<Policy>,
    revision: AtomicUsize,
}

#[derive(Default)]
struct Threads {
    shards: Vec<ExecutorJoinHandle<()>>,
    plain: Vec<JoinHandle<()>>,
}

/// Why a server did not start: the machine or the data folder.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The machine.
    #[error(transparent)]
    LocalStart(#[from] StartError),
    /// The data folder.
    #[error(transparent)]
    LocalFolder(#[from] segment::FolderError),
    /// What is in the data folder.
    #[error("the queue cannot be used: {0}")]
    LocalQueue(#[from] spool::RecoverError),
}

impl Running {
    /// Starts everything; when it returns, mail is accepted.
    ///
    /// # Errors
    /// [`ServerError`], with everything that was started stopped again.
    pub fn start(settings: ServerSettings) -> Result<Self, ServerError> {
        let ServerSettings { folder, policy } = settings;
        let topology = Topology::of_this_process();
        let shards = policy.shards.unwrap_or(topology.cores().min(256) as u16).max(1);
        let placements = topology.place(usize::from(shards))?;
        // PROBE
        let folder = Folder::open(&folder)?;
        let (spools, found) = spool::recover(&folder.medium(), &folder.list(), shards)?;
        let (log, log_thread) = open_log(folder.path(), &policy)?;
        tell_recovery(&log, &found);
        let inboxes: Arc<[Arc<Inbox>]> = (0..shards)
            .map(|_| Inbox::new().map(Arc::new))
            .collect::<Result<_, _>>()
            .map_err(|e| StartError::LocalThread { what: "a shard", reason: e.to_string() })?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (wish, wishes) = crossbeam::channel::unbounded();
        let keeper = folder.keeper(policy.queue.segment)?;
        let mut threads = Threads::default();
        threads.plain.push(log_thread);
        threads.plain.push(start_keeper(keeper, wishes, &inboxes, &stopping, &log)?);
        let (drain_in, drained) = crossbeam::channel::unbounded();
        let parts = Parts { policy: &policy, folder: &folder, inboxes: &inboxes, wish, log: &log };
        for (spool, placement) in spools.into_iter().zip(placements) {
            threads.shards.push(parts.start_shard(spool, shards, placement, drain_in.clone())?);
        }
        drop(parts);
        let running = Self {
            inboxes: inboxes.clone(),
            listeners: Mutex::default(),
            drained,
            log: Mutex::new(Some(log)),
            stopping,
            threads: Mutex::new(threads),
            started_with: policy.clone(),
            revision: AtomicUsize::new(1),
        };
        running.wait_for_room();
        let turn = Arc::new(AtomicUsize::new(0));
        for address in &policy.submission.listen {
            let listener = Listener::start(*address, inboxes.clone(), turn.clone());
            match listener {
                Ok(listener) => running.listeners().push(listener),
                Err(error) => {
                    running.stop(Duration::ZERO);
                    return Err(error.into());
                }
            }
        }
        Ok(running)
    }

    /// Addresses that take mail.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listeners().iter().map(Listener::address).collect()
    }

    /// Puts a new policy in force on all shards.
    ///
    /// # Errors
    /// A sentence, when it changes what only a restart can change.
    pub fn set_policy(&self, policy: Arc<Policy>) -> Result<Arc<Policy>, String> {
        let old = &self.started_with;
        if policy.submission.listen != old.submission.listen {
            return Err("submission.listen takes effect at the next start only".into());
        }
        if policy.shards != old.shards || policy.queue.segment != old.queue.segment {
            return Err("shards and queue.segment take effect at the next start only".into());
        }
        let mut policy = Policy::clone(&policy);
        policy.revision = self.revision.fetch_add(1, Ordering::AcqRel) as u64 + 1;
        let policy = Arc::new(policy);
        for inbox in self.inboxes.iter() {
            inbox.post_patiently(Mail::Policy(policy.clone()), || self.is_running());
        }
        Ok(policy)
    }

    /// Asks all shards and merges their answers; 503 when one does not answer
    /// within `time`.
    pub fn command(&self, request: Request, time: Duration) -> Answer {
        let until = Instant::now() + time;
        let (sender, answers) = crossbeam::channel::bounded(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            let mail = Mail::Command { command: request.clone(), answer: sender.clone() };
            inbox.post_patiently(mail, || self.is_running() && Instant::now() < until);
        }
        drop(sender);
        let mut heard: Vec<(ShardId, Answer)> = Vec::new();
        while heard.len() < self.inboxes.len() {
            match answers.recv_deadline(until) {
                Ok(answer) => heard.push(answer),
                Err(_) => {
                    let body = serde_json::json!({ "error": "not all shards answered in time" });
                    return Answer { status: 503, body };
                }
            }
        }
        heard.sort_by_key(|(shard, _)| *shard);
        merge(&request, heard.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Writes a line about a command that changes something.
    pub fn log_command(&self, request: &str, uid: u32, pid: i32) {
        let line = serde_json::json!({
            "event": "control", "request": request, "uid": uid, "pid": pid,
        });
        if let Some(log) = &*self.log.lock().unwrap_or_else(PoisonError::into_inner) {
            log.line(&line.to_string());
        }
    }

    /// Accepts nothing more, waits at most `time` for what is under way, ends
    /// all threads. A second call does nothing.
    pub fn stop(&self, time: Duration) {
        self.listeners().clear();
        if self.is_running() && !time.is_zero() {
            self.drain(Instant::now() + time);
        }
        for inbox in self.inboxes.iter() {
            inbox.post_patiently(Mail::Stop, || self.is_running());
        }
        let threads = std::mem::take(
            &mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for shard in threads.shards {
            let _ = shard.join();
        }
        self.stopping.store(true, Ordering::Release);
        drop(self.log.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in threads.plain {
            let _ = thread.join();
        }
    }

    fn drain(&self, until: Instant) {
        for inbox in self.inboxes.iter() {
            inbox.post_patiently(Mail::Drain, || Instant::now() < until);
        }
        for _ in 0..self.inboxes.len() {
            if self.drained.recv_deadline(until).is_err() {
                return;
            }
        }
        // What shards said to each other last is under way: each command makes
        // every shard turn once, and a batch takes two turns at most.
        for _ in 0..2 {
            self.command(Request::Status, until.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits, for a while, until the shards can take mail: the first segments
    /// are being made.
    fn wait_for_room(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.command(Request::Status, Duration::from_secs(5));
            if answer.body["storage"] == "ok" || Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        !self.stopping.load(Ordering::Acquire)
    }
}

/// What every shard is started from.
struct Parts<'a> {
    policy: &'a Arc<Policy>,
    folder: &'a Folder,
    inboxes: &'a Arc<[Arc<Inbox>]>,
    wish: Sender<Wish>,
    log: &'a LogSink,
}

impl Parts<'_> {
    fn start_shard(
        &self,
        spool: Spool,
        shards: u16,
        placement: glommio::Placement,
        drained: Sender<ShardId>,
    ) -> Result<ExecutorJoinHandle<()>, StartError> {
        let clock = Clock::start();
        let id = spool.shard();
        let setup = Setup {
            id,
            shards,
            policy: self.policy.clone(),
            own_addresses: machine::own_addresses(),
            name_servers: machine::name_servers(),
            seed: entropy::seed()?,
            spool,
            now: clock.now(),
        };
        let medium = self.folder.medium();
        let make: MakeShard =
            Box::new(move || (Box::new(Shard::new(setup)), Box::new(Files::new(medium))));
        let parts = DriverParts {
            shard: id,
            clock,
            inboxes: self.inboxes.to_vec(),
            keeper: self.wish.clone(),
            log: self.log.clone(),
            on_drained: Box::new(move |shard| {
                let _ = drained.send(shard);
            }),
        };
        executor::start(placement, parts, Arc::new(Pulse::default()), make, None)
    }
}

fn open_log(folder: &Path, policy: &Policy) -> Result<(LogSink, JoinHandle<()>), StartError> {
    let path = folder.join("log").join("ringpost.log");
    LogSink::start(LogSettings { path, rotate_bytes: policy.log.size, keep: policy.log.keep })
}

fn start_keeper(
    keeper: segment::Keeper,
    wishes: Receiver<Wish>,
    inboxes: &Arc<[Arc<Inbox>]>,
    stopping: &Arc<AtomicBool>,
    log: &LogSink,
) -> Result<JoinHandle<()>, StartError> {
    let (inboxes, stopping, log) = (inboxes.clone(), stopping.clone(), log.clone());
    let complain = move |sentence: &str| {
        let line = serde_json::json!({ "event": "storage", "error": sentence });
        log.line(&line.to_string());
    };
    std::thread::Builder::new()
        .name("keeper".into())
        .spawn(move || keeper::keep(Box::new(keeper), &wishes, &inboxes, &stopping, &complain))
        .map_err(|e| StartError::LocalThread { what: "the keeper", reason: e.to_string() })
}

/// One line about what was found, and one for each recipient in doubt.
fn tell_recovery(log: &LogSink, found: &spool::Report) {
    let line = serde_json::json!({
        "event": "recovered",
        "segments": found.segments,
        "messages": found.messages,
        "recipients": found.recipients,
        "in_doubt": found.in_doubt.len(),
        "cuts": found.cuts.iter().map(|cut| format!("{cut:?}")).collect::<Vec<_>>(),
    });
    log.line(&line.to_string());
    for doubt in &found.in_doubt {
        let line = serde_json::json!({
            "event": "in-doubt",
            "id": doubt.message.to_string(),
            "recipient": doubt.recipient,
            "attempt": doubt.attempt,
            "crashes": doubt.crashes,
        });
        log.line(&line.to_string());
    }
}
