//! SMTP load source: many sessions that send one workload, as fast as the
//! other side takes it or at fixed times, and write down what became of each
//! message.
//!
//! Never sends a message a second time: what was refused or left without an
//! answer is reported as such, so that the receiving side can be held to what
//! was promised and to nothing else.
//!
//! RFCs to read first: RFC 5321 §3.3, RFC 2920 §3.

mod session;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::poll::Waker;
use crate::tls::Tls;
use crate::workload::Workload;
use worker::Worker;

/// How a workload is sent.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Sessions held at the same time, at least 1.
    pub sessions: usize,
    /// Threads that drive them, at least 1.
    pub threads: usize,
    /// Messages sent in one session before it is closed with QUIT and opened
    /// anew; 0 for no end.
    pub messages_per_session: u64,
    /// Send MAIL, RCPT and DATA together where PIPELINING is offered.
    pub pipelining: bool,
    /// When messages are sent.
    pub pace: Pace,
    /// Whether sessions are encrypted.
    pub tls: Tls,
    /// Who logs in, by AUTH PLAIN.
    pub log_in: Option<LogIn>,
    /// Name given with EHLO.
    pub hostname: String,
    /// Longest wait for one reply.
    pub reply_timeout: Duration,
    /// How long to go on trying to connect while nobody listens.
    pub connect_patience: Duration,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: each session sends its next message when the last one is
    /// answered.
    Full,
    /// Open loop: message `n` is due `n / per_second` seconds after the start,
    /// answered or not; its latency counts from that time even when no
    /// session was free, so that a stall of the server shows in full.
    Fixed {
        /// Messages due each second; above 0.
        per_second: f64,
    },
}

impl Default for SourceSettings {
    /// 50 sessions in a closed loop on one thread, with PIPELINING.
    fn default() -> Self {
        Self {
            sessions: 50,
            threads: 1,
            messages_per_session: 0,
            pipelining: true,
            pace: Pace::Full,
            tls: Tls::None,
            log_in: None,
            hostname: "source.example".to_owned(),
            reply_timeout: Duration::from_secs(60),
            connect_patience: Duration::from_secs(10),
        }
    }
}

/// A user with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct LogIn {
    /// Who.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl LogIn {
    /// The command that logs in at once (RFC 4616 §2, RFC 4954 §4).
    pub(crate) fn line(&self) -> String {
        let plain = format!("\0{}\0{}", self.user, self.password);
        format!("AUTH PLAIN {}", base64::engine::general_purpose::STANDARD.encode(plain))
    }
}

impl fmt::Debug for LogIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogIn").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What became of a message, as far as the source can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The final dot was answered with 2yz: the server has promised delivery
    /// to every recipient that it did not refuse.
    Accepted,
    /// Refused at some point with this code. Nothing is promised.
    Refused(u16),
    /// The final dot was sent and no answer came: it may arrive or not.
    Unanswered,
    /// The session ended before the final dot: it must not arrive.
    Unsent,
}

/// One message that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the workload.
    pub number: u64,
    /// First byte of MAIL written, or the time it was due in an open loop.
    pub began: Instant,
    /// When its content with the final dot was handed to the socket.
    pub dot_sent: Option<Instant>,
    /// When its outcome was known.
    pub ended: Instant,
    /// What became of it.
    pub outcome: Outcome,
    /// Recipients refused, by their place in [`Workload::recipients`].
    pub refused: Vec<u32>,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// Every message begun, in order of their numbers.
    pub records: Vec<Record>,
    /// Start of the run.
    pub began: Instant,
    /// End of the last session.
    pub ended: Instant,
    /// Connections opened.
    pub connections: u64,
    /// Bytes written, commands included.
    pub bytes: u64,
    /// Refusals and broken sessions by their text, the first
    /// [`TROUBLES_MAX`] different ones.
    pub troubles: BTreeMap<String, u64>,
}

/// Different texts kept in [`SourceReport::troubles`].
pub const TROUBLES_MAX: usize = 64;

/// Counts for a progress bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceProgress {
    /// Messages begun.
    pub begun: u64,
    /// Messages answered with 2yz.
    pub accepted: u64,
    /// Messages with any other outcome.
    pub failed: u64,
}

/// A source at work.
#[derive(Debug)]
pub struct Source {
    shared: Arc<Shared>,
    threads: Vec<(Waker, JoinHandle<Share>)>,
}

/// What all threads of a source share.
#[derive(Debug)]
pub(crate) struct Shared {
    workload: Workload,
    settings: SourceSettings,
    target: SocketAddr,
    began: Instant,
    next: AtomicU64,
    accepted: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

/// One thread's share of the report.
#[derive(Debug, Default)]
pub(crate) struct Share {
    records: Vec<Record>,
    connections: u64,
    bytes: u64,
    troubles: BTreeMap<String, u64>,
}

impl Source {
    /// Starts to send `workload` to `target`.
    ///
    /// # Errors
    /// Threads or their pollers cannot be made. A target that does not answer
    /// is no error here: it shows in the report.
    pub fn start(
        target: SocketAddr,
        workload: &Workload,
        settings: SourceSettings,
    ) -> io::Result<Self> {
        let threads = settings.threads.clamp(1, settings.sessions.max(1));
        let sessions = settings.sessions.max(1);
        let shared = Arc::new(Shared {
            workload: workload.clone(),
            settings,
            target,
            began: Instant::now(),
            next: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut source = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        for number in 0..threads {
            let share = sessions / threads + usize::from(number < sessions % threads);
            let worker = Worker::new(Arc::clone(&shared), share)?;
            let waker = worker.waker();
            let thread = std::thread::Builder::new()
                .name(format!("source-{number}"))
                .spawn(move || worker.run())?;
            source.threads.push((waker, thread));
        }
        Ok(source)
    }

    /// Sends all of `workload` and returns when it is done.
    ///
    /// # Errors
    /// As [`Source::start`].
    pub fn run(
        target: SocketAddr,
        workload: &Workload,
        settings: SourceSettings,
    ) -> io::Result<SourceReport> {
        Ok(Self::start(target, workload, settings)?.wait())
    }

    /// Counts so far.
    pub fn progress(&self) -> SourceProgress {
        SourceProgress {
            begun: self.shared.next.load(Ordering::Relaxed).min(self.shared.workload.messages),
            accepted: self.shared.accepted.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
        }
    }

    /// Begins no further message. Messages under way are still answered.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        for (waker, _) in &self.threads {
            waker.wake();
        }
    }

    /// Whether every session has ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(|(_, thread)| thread.is_finished())
    }

    /// Waits for the end of every session.
    pub fn wait(self) -> SourceReport {
        let mut whole = Share::default();
        for (_, thread) in self.threads {
            let share = thread.join().expect("a source thread does not panic");
            whole.records.extend(share.records);
            whole.connections += share.connections;
            whole.bytes += share.bytes;
            for (text, count) in share.troubles {
                *whole.troubles.entry(text).or_default() += count;
            }
        }
        whole.records.sort_by_key(|record| record.number);
        SourceReport {
            records: whole.records,
            began: self.shared.began,
            ended: Instant::now(),
            connections: whole.connections,
            bytes: whole.bytes,
            troubles: whole.troubles,
        }
    }
}

impl SourceReport {
    /// Messages with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.records.iter().filter(|record| record.outcome == outcome).count() as u64
    }

    /// Recipients to whom delivery was promised.
    pub fn promised(&self, workload: &Workload) -> u64 {
        let recipients = u64::from(workload.recipients.max(1));
        self.records
            .iter()
            .filter(|record| record.outcome == Outcome::Accepted)
            .map(|record| recipients - record.refused.len() as u64)
            .sum()
    }
}

impl Shared {
    /// When message `number` is due, in an open loop.
    fn due(&self, number: u64) -> Option<Instant> {
        match self.settings.pace {
            Pace::Full => None,
            Pace::Fixed { per_second } => {
                let seconds = number as f64 / per_second.max(1e-6);
                Some(self.began + Duration::from_secs_f64(seconds))
            }
        }
    }

    fn due_next(&self) -> Option<Instant> {
        self.due(self.next.load(Ordering::Relaxed))
    }

    /// Whether no further message will be begun.
    fn is_done(&self) -> bool {
        let all_begun = self.next.load(Ordering::Relaxed) >= self.workload.messages;
        all_begun || self.stop.load(Ordering::Acquire)
    }

    /// The next message that is due, with the time its latency counts from.
    /// `Err` says when to ask again; `Err(None)` that there is none any more.
    fn claim(&self, now: Instant) -> Result<(u64, Instant), Option<Instant>> {
        loop {
            let number = self.next.load(Ordering::Relaxed);
            if number >= self.workload.messages || self.stop.load(Ordering::Acquire) {
                return Err(None);
            }
            let due = self.due(number).unwrap_or(now);
            if due > now {
                return Err(Some(due));
            }
            let taken = self.next.compare_exchange(
                number,
                number + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                return Ok((number, due));
            }
        }
    }
}

impl Share {
    fn trouble(&mut self, text: &str) {
        if self.troubles.len() < TROUBLES_MAX || self.troubles.contains_key(text) {
            *self.troubles.entry(text.to_owned()).or_default() += 1;
        }
    }
}
