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

use base::{ShardId, Wall};
use control::{Policy, Request, Suspensions};
use crossbeam::channel::{Receiver, Sender, unbounded};
use glommio::ExecutorJoinHandle;
use segment::Folder;
use shard::command::{Answer, merge};
use shard::{Setup, Shard};
use spool::Spool;

use crate::clock::Clock;
use crate::driver::DriverParts;
use crate::errands::{self, Runner};
use crate::error::StartError;
use crate::executor::{self, MakeShard, Pulse};
use crate::folders;
use crate::inbox::{Inbox, Mail};
use crate::keeper::Wish;
use crate::listen::{Listeners, Slots};
use crate::log_files::{self, LogSettings};
use crate::log_readers::Readers;
use crate::log_sink::LogSink;
use crate::real::Files;
use crate::sinks::{self, Sinks};
use crate::suspend::SuspensionBook;
use crate::tls_server::{self, ServerConfigs};
use crate::topology::Topology;
use crate::watch::WatchBook;
use crate::{entropy, machine, probe};
use threads::{Keeping, start_watchdog};

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
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    listeners: Mutex<Listeners>,
    pub(crate) clock: Clock,
    /// Until it was drained.
    drained: Mutex<Option<Receiver<ShardId>>>,
    log: Mutex<Option<LogSink>>,
    sinks: Mutex<Option<Sinks>>,
    stopping: Arc<AtomicBool>,
    threads: Mutex<Threads>,
    watching: Mutex<Option<Sender<()>>>,
    started_with: Arc<Policy>,
    pub(crate) in_force: Mutex<Arc<Policy>>,
    pub(crate) next_writer: AtomicUsize,
    revision: AtomicUsize,
    pub(crate) suspensions: SuspensionBook,
    /// When the last line of the log was written before this start.
    pub(crate) logged_until: Wall,
    pub(crate) watches: WatchBook,
    /// Held for its lock.
    _folder: Folder,
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
    pub fn start(ServerSettings { folder, policy }: ServerSettings) -> Result<Self, ServerError> {
        let topology = Topology::of_this_process();
        let shards = policy.shards.unwrap_or(topology.cores().min(256) as u16).max(1);
        let placements = topology.place(usize::from(shards))?;
        let limits = probe::check(shards)?;
        // Whatever can be refused is refused before anything is touched.
        let (mut listeners, server_tls) = doors(&policy)?;
        let folder = Folder::open(&folder)?;
        let suspensions = SuspensionBook::open(folder.path())?;
        let (spools, found) = spool::recover(&folder.medium(), &folder.list(), shards)?;
        let (clock, mut threads) = (Clock::start(), Threads::default());
        let (logged_until, log, log_threads, sinks) = open_log(clock, folder.path(), &policy)?;
        log.recovery(clock, &found);
        let inboxes = inboxes(shards)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let keeper = folder.keeper(policy.queue.segment)?;
        let ((wish, wishes), (drain_in, drained)) = (unbounded(), unbounded());
        let (up_in, up) = unbounded();
        let keeping = Keeping { inboxes: inboxes.clone(), stopping: stopping.clone() };
        threads.plain.extend(log_threads);
        threads.plain.push(keeping.start(keeper, wishes, clock, &log)?);
        let parts = Parts {
            policy: &policy,
            folder: &folder,
            inboxes: &inboxes,
            log: &log,
            server_tls: &server_tls,
            clock,
            orders: suspensions.orders(),
            logged_until,
        };
        let folders = folders::start(&inboxes, &stopping)?;
        let (runner, runners) = errands::start(&inboxes, &stopping)?;
        threads.plain.extend(runners);
        let ends = Ends { wish, folders, runner, drained: drain_in, up: up_in };
        let watched = parts.start_shards(spools, placements, ends, &mut threads.shards)?;
        let (watching, end) = crossbeam::channel::bounded(0);
        threads.plain.push(start_watchdog(watched, end, clock, &log)?);
        let slots = Slots::new(clients_max(limits.descriptors));
        let running = Self {
            inboxes: inboxes.clone(),
            listeners: Mutex::default(),
            clock,
            drained: Mutex::new(Some(drained)),
            log: Mutex::new(Some(log)),
            sinks: Mutex::new(Some(sinks)),
            stopping,
            threads: Mutex::new(threads),
            watching: Mutex::new(Some(watching)),
            started_with: policy.clone(),
            in_force: Mutex::new(policy.clone()),
            next_writer: AtomicUsize::new(0),
            revision: AtomicUsize::new(1),
            suspensions,
            logged_until,
            watches: WatchBook::default(),
            _folder: folder,
        };
        let begun = running.wait_for_shards(&up).and_then(|()| {
            running.wait_for_room();
            listeners.start(&inboxes, &slots)
        });
        *running.listeners() = listeners;
        running.log_start(found.messages);
        if let Err(error) = begun {
            running.stop(Duration::ZERO);
            return Err(error.into());
        }
        Ok(running)
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Addresses that take mail.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listeners().addresses().to_vec()
    }

    /// Puts into a status what the shards do not know: lines that the log lost,
    /// and where the daemon listens without the machine having the address now.
    pub fn add_to(&self, status: &mut serde_json::Value) {
        status["log_lines_lost"] = self.log_lines_lost().into();
        let policy = self.policy();
        let control = policy.control.iter().flat_map(|control| control.listen.iter().copied());
        let others = control.chain(policy.metrics.listen).chain(policy.page.listen);
        let all = self.listening().into_iter().chain(others);
        let missing = all.filter(|address| machine::lacks(*address));
        status["missing_addresses"] = missing.map(|address| address.to_string()).collect();
    }

    /// The settings of `policy` that differ from those the server was started
    /// with although only a start can change them.
    pub fn needs_start(&self, policy: &Policy) -> Vec<&'static str> {
        let old = &self.started_with;
        let changed = [
            ("shards", policy.shards != old.shards),
            ("submission.listen", policy.submission.addresses().ne(old.submission.addresses())),
            ("queue.segment", policy.queue.segment != old.queue.segment),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(path, _)| path).collect()
    }

    /// Puts a new policy in force on all shards.
    ///
    /// # Errors
    /// A sentence, when it changes what only a restart can change.
    pub fn set_policy(&self, policy: Arc<Policy>) -> Result<Arc<Policy>, String> {
        let needed = self.needs_start(&policy);
        if !needed.is_empty() {
            return Err(format!("{} takes effect at the next start only", needed.join(", ")));
        }
        let server_tls = ServerConfigs::of(&policy.submission)?;
        tls_server::check(&policy)?;
        let mut policy = Policy::clone(&policy);
        policy.revision = self.revision.fetch_add(1, Ordering::AcqRel) as u64 + 1;
        let policy = Arc::new(policy);
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = policy.clone();
        self.set_log(&policy);
        for inbox in self.inboxes.iter() {
            let mail = Mail::Policy(policy.clone(), server_tls.clone());
            inbox.post_patiently(mail, || self.is_running());
        }
        Ok(policy)
    }

    /// Asks all shards and merges their answers; 503 when one does not answer
    /// within `time`.
    pub fn command(&self, request: Request, time: Duration) -> Answer {
        let until = Instant::now() + time;
        let (sender, answers) = crossbeam::channel::bounded(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            let mail = Mail::Command { command: Box::new(request.clone()), answer: sender.clone() };
            inbox.post_patiently(mail, || self.is_running() && Instant::now() < until);
        }
        drop(sender);
        let mut heard: Vec<(ShardId, Answer)> = Vec::new();
        while heard.len() < self.inboxes.len() {
            match answers.recv_deadline(until) {
                Ok(answer) => heard.push(answer),
                Err(_) => {
                    let body = serde_json::json!({ "error": "not all shards answered in time" });
                    return Answer::new(503, body);
                }
            }
        }
        heard.sort_by_key(|(shard, _)| *shard);
        merge(&request, heard.into_iter().map(|(_, answer)| answer).collect())
    }

    /// The clock that the shards go by.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Waits until every executor runs its shard. One that cannot drops its end
    /// of the channel.
    fn wait_for_shards(&self, up: &Receiver<()>) -> Result<(), StartError> {
        for _ in 0..self.inboxes.len() {
            up.recv_timeout(SHARD_START_MAX).map_err(|_| StartError::LocalThread {
                what: "a shard",
                reason: "its executor ended at once".into(),
            })?;
        }
        Ok(())
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

    fn listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.stopping.load(Ordering::Acquire)
    }
}

/// What every shard is started from.
struct Parts<'a> {
    policy: &'a Arc<Policy>,
    folder: &'a Folder,
    inboxes: &'a Arc<[Arc<Inbox>]>,
    log: &'a LogSink,
    server_tls: &'a Arc<ServerConfigs>,
    clock: Clock,
    orders: Arc<Suspensions>,
    /// When the last line of the log was written before this start.
    logged_until: Wall,
}

/// What the watchdog looks at of one shard.
type Watched = (Arc<Inbox>, Arc<Pulse>);

/// A shard's ends of channels.
#[derive(Clone)]
struct Ends {
    wish: Sender<Wish>,
    folders: Sender<folders::Job>,
    runner: Runner,
    drained: Sender<ShardId>,
    up: Sender<()>,
}

impl Parts<'_> {
    /// Starts an executor for each shard, and gives what to watch of each.
    fn start_shards(
        &self,
        spools: Vec<Spool>,
        placements: Vec<glommio::Placement>,
        ends: Ends,
        started: &mut Vec<ExecutorJoinHandle<()>>,
    ) -> Result<Vec<Watched>, StartError> {
        let shards = self.inboxes.len() as u16;
        let mut watched = Vec::new();
        for (spool, placement) in spools.into_iter().zip(placements) {
            let pulse = Arc::new(Pulse::default());
            watched.push((self.inboxes[usize::from(spool.shard().0)].clone(), pulse.clone()));
            started.push(self.start_shard(spool, shards, placement, pulse, ends.clone())?);
        }
        Ok(watched)
    }

    fn start_shard(
        &self,
        spool: Spool,
        shards: u16,
        placement: glommio::Placement,
        pulse: Arc<Pulse>,
        ends: Ends,
    ) -> Result<ExecutorJoinHandle<()>, StartError> {
        let id = spool.shard();
        let setup = Setup {
            id,
            shards,
            policy: self.policy.clone(),
            own_addresses: machine::own_addresses(),
            name_servers: machine::name_servers(),
            seed: entropy::seed()?,
            spool,
            now: self.clock.now(),
        };
        let (medium, orders) = (self.folder.medium(), self.orders.clone());
        let logged_until = self.logged_until;
        let make: MakeShard = Box::new(move || {
            let shard = Shard::new(setup).suspended_from_start(orders);
            let shard = shard.with_log_until(logged_until);
            (Box::new(shard), Box::new(Files::new(medium)))
        });
        let Ends { wish, folders, runner, drained, up } = ends;
        let parts = DriverParts {
            shard: id,
            clock: self.clock,
            inboxes: self.inboxes.to_vec(),
            keeper: wish,
            folders,
            runner,
            log: self.log.clone(),
            server_tls: self.server_tls.clone(),
            on_drained: Box::new(move |shard| {
                let _ = drained.send(shard);
            }),
        };
        let on_start = Box::new(move || {
            let _ = up.send(());
        });
        executor::start(placement, parts, pulse, make, on_start)
    }
}

/// What clients come in by, with what it proves itself with.
fn doors(policy: &Policy) -> Result<(Listeners, Arc<ServerConfigs>), StartError> {
    let certificates =
        ServerConfigs::of(&policy.submission).map_err(StartError::LocalCertificate)?;
    tls_server::check(policy).map_err(StartError::LocalCertificate)?;
    let addresses: Vec<_> = policy.submission.addresses().collect();
    Ok((Listeners::bind(&addresses)?, certificates))
}

/// One inbox for each shard.
fn inboxes(shards: u16) -> Result<Arc<[Arc<Inbox>]>, StartError> {
    let made: Result<_, _> = (0..shards).map(|_| Inbox::new().map(Arc::new)).collect();
    made.map_err(|e| StartError::LocalThread { what: "a shard", reason: e.to_string() })
}

/// The log, those who read behind it, and when its last line was written before
/// this start.
type OpenLog = (Wall, LogSink, [JoinHandle<()>; 2], Sinks);

fn open_log(clock: Clock, data: &Path, policy: &Policy) -> Result<OpenLog, StartError> {
    let folder = data.join("log");
    // Before anything is written.
    let logged_until = log_files::whole_until(&folder);
    let readers = Arc::<Readers>::default();
    let number = sinks::highest_number(data);
    let (log, log_threads) =
        LogSink::start(clock, &folder, LogSettings::of(policy), &readers, number)?;
    let sinks = Sinks::start(data, readers, log.clone(), clock, policy);
    Ok((logged_until, log, log_threads, sinks))
}

/// Connections of clients at once, of so many descriptors: the rest is for
/// deliveries, queries and files, without which no client's mail moves.
fn clients_max(descriptors: u64) -> usize {
    usize::try_from(descriptors / 5 * 3).unwrap_or(usize::MAX)
}

/// How long an executor may take to run its shard.
const SHARD_START_MAX: Duration = Duration::from_secs(20);
mod end;
mod logged;
#[cfg(test)]
mod tests;
mod threads;
