//! Keeps what shards count: takes readings now and then and when somebody
//! asks, adds up what is counted by name, and answers in Prometheus's format,
//! over the control sockets and at a port for scrapes; keeps the last hours, and
//! statistics that outlast a start.
//!
//! Statistics lie in one small file, replaced as a whole every minute and at the
//! end: a crash loses what came since. A file that is damaged is told of and
//! begun anew; it never keeps mail from going.
//!
//! Never holds a shard up: a reading is a copy of fixed size, and what was
//! counted by name is handed over whole. Invariant: one taking at a time, so
//! that what is taken is added in the order in which it was counted.

mod shown;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::Wall;
use control::Request;
use control::api::numbers::StatsBy;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use eventlog::{Field, Line};
use meter::exposition::{self, Facts};
use meter::statistics::{Kind, hour_of};
use meter::{Counters, Exposed, History, Reading, Statistics};
use segment::small_file;
use shard::command::Answer;

use crate::entropy;
use crate::error::StartError;
use crate::health;
use crate::http::{self, HttpRequest, HttpResponse};
use crate::page;
use crate::port::{Port, Service};
use crate::server::Running;

/// How often a reading is taken.
const EVERY: Duration = Duration::from_secs(10);
/// Connections served at its port at once; more are answered 503.
const CONNECTIONS_MAX: usize = 16;
/// How often statistics are written.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// The file's name within the data folder.
const FILE: &str = "statistics";
/// Largest file that is read: eight thousand names of full length.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// How long shards may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The keeper of numbers. Dropping it ends its thread.
pub struct Meter {
    shared: Arc<Shared>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _port: Port,
}

struct Shared {
    running: Arc<Running>,
    log: PathBuf,
    /// Where statistics outlast a start.
    file: PathBuf,
    started: Wall,
    kept: Mutex<Kept>,
}

/// What is kept beside what shards keep themselves.
struct Kept {
    book: Statistics,
    /// The text of the book as it was written last.
    written: Option<Instant>,
    /// Whether a failure to write it was told.
    complained: bool,
    history: History,
    sites: Exposed,
    domains: Exposed,
    /// The counters of the last reading.
    last: Counters,
}

impl Meter {
    /// Begins to keep the numbers of `running`, whose data folder is `data`.
    ///
    /// # Errors
    /// When no thread can be started, or the machine gives no random bits.
    pub fn start(running: Arc<Running>, data: &Path) -> Result<Self, StartError> {
        let started = running.clock().now().wall;
        let file = data.join(FILE);
        let kept = Kept {
            book: read(&running, &file, entropy::seed()?),
            written: None,
            complained: false,
            history: History::default(),
            sites: Exposed::default(),
            domains: Exposed::default(),
            last: Counters::default(),
        };
        let log = data.join("log");
        let shared = Arc::new(Shared { running, log, file, started, kept: Mutex::new(kept) });
        let (stop, stopping) = crossbeam::channel::bounded(0);
        let keeper = shared.clone();
        let thread = std::thread::Builder::new()
            .name("meter".into())
            .spawn(move || keeper.keep(&stopping))
            .map_err(|e| StartError::LocalThread { what: "the meter", reason: e.to_string() })?;
        let port = port(&shared)?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread), _port: port })
    }

    /// What answers requests about numbers; `None` for others.
    pub fn answerer(&self) -> impl Fn(&Request) -> Option<HttpResponse> + Send + Sync + use<> {
        let shared = self.shared.clone();
        move |request| match request {
            Request::Metrics => Some(shared.metrics()),
            Request::History(past) => {
                Some(HttpResponse::json(200, &shown::history(&shared.kept().history, *past)))
            }
            Request::Stats { by, limit } => Some(shared.stats(*by, *limit as usize)),
            Request::Health => Some(health::health(&shared.running)),
            Request::Ready => Some(shared.ready()),
            _ => None,
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn keep(&self, stopping: &Receiver<()>) {
        while stopping.recv_timeout(self.until_next()) == Err(RecvTimeoutError::Timeout) {
            let mut kept = self.kept();
            // Shards that do not answer are the watchdog's business.
            if let Ok(reading) = self.take(&mut kept, 0) {
                let now = self.running.clock().now().wall;
                kept.history.note(now, &reading, reading.queued().total());
            }
            if kept.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
                self.write(&mut kept);
            }
        }
        let mut kept = self.kept();
        let _ = self.take(&mut kept, 0);
        self.write(&mut kept);
    }

    /// Puts the book on disk. What cannot be written is told of once.
    fn write(&self, kept: &mut Kept) {
        kept.written = Some(Instant::now());
        match small_file::replace(&self.file, kept.book.to_text().as_bytes()) {
            Ok(()) => kept.complained = false,
            Err(error) if !std::mem::replace(&mut kept.complained, true) => {
                let line = Line::new(self.running.clock().now().wall, eventlog::Kind::Storage);
                let said = format_args!("statistics cannot be written: {error}");
                self.running.log(line.show(Field::Error, said));
            }
            Err(_) => {}
        }
    }

    /// Until the next round moment.
    fn until_next(&self) -> Duration {
        let every = EVERY.as_millis() as u64;
        let into = self.running.clock().now().wall.as_millis() % every;
        Duration::from_millis(every - into)
    }

    /// Takes a reading with so many names of those where mail waits, and adds
    /// what came by name since the last one.
    fn take(&self, kept: &mut Kept, rows: usize) -> Result<Reading, Answer> {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let mut answer = self.running.command(Request::Sample { rows }, ANSWER_TIME);
        let Some(reading) = answer.reading.take() else { return Err(answer) };
        let now = self.running.clock().now().wall;
        let names = self.running.policy().metrics.names as usize;
        if let Some(traffic) = &reading.traffic {
            kept.book.absorb(now, traffic, &kept.last, &reading.counters);
            let (book, hour) = (kept.book.traffic(), hour_of(now).0);
            kept.sites.absorb(traffic.of(Kind::Site), book.of(Kind::Site), names, hour);
            kept.domains.absorb(traffic.of(Kind::Domain), book.of(Kind::Domain), names, hour);
        }
        kept.last.clone_from(&reading.counters);
        Ok(*reading)
    }

    fn metrics(&self) -> HttpResponse {
        let names = self.running.policy().metrics.names as usize;
        let mut kept = self.kept();
        // Shards may have the same names: some more are asked of each.
        let reading = match self.take(&mut kept, names) {
            Ok(reading) => reading,
            Err(answer) => return HttpResponse::json(answer.status, &answer.body),
        };
        let now = self.running.clock().now().wall;
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            now,
            ready: health::checks(&self.running, &reading, now).iter().all(health::Check::is_well),
            log_lines_lost: self.running.log_lines_lost(),
            log_bytes: bytes_of(&self.log),
            log_readers: &self.running.log_readers(),
            suspensions: self.running.suspensions.orders().len() as u64,
            sites: &kept.sites,
            domains: &kept.domains,
            names,
        };
        HttpResponse::text(exposition::CONTENT_TYPE, exposition::exposition(&reading, &facts))
    }

    fn stats(&self, by: StatsBy, limit: usize) -> HttpResponse {
        let mut kept = self.kept();
        if let Err(answer) = self.take(&mut kept, 0) {
            return HttpResponse::json(answer.status, &answer.body);
        }
        let now = self.running.clock().now().wall;
        HttpResponse::json(200, &shown::stats(&kept.book, now, by, limit))
    }

    fn ready(&self) -> HttpResponse {
        match self.take(&mut self.kept(), 0) {
            Ok(reading) => {
                let now = self.running.clock().now().wall;
                health::ready(&health::checks(&self.running, &reading, now))
            }
            Err(_) => health::ready(&[health::Check::no("shards", "not all shards answer")]),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The book as it was written last; a new one where there is none, or none that
/// can be read, which is told.
fn read(running: &Running, file: &Path, seed: u64) -> Statistics {
    let now = running.clock().now().wall;
    let anew = |why: String| {
        let line = Line::new(now, eventlog::Kind::Storage);
        let said = format!("{}: {why}; statistics begin anew", file.display());
        running.log(line.text(Field::Error, &said));
        Statistics::new(now, seed)
    };
    match small_file::read(file, FILE_BYTES_MAX) {
        Ok(None) => Statistics::new(now, seed),
        Ok(Some(bytes)) => match std::str::from_utf8(&bytes) {
            Ok(text) => Statistics::from_text(text, seed).unwrap_or_else(|e| anew(e.to_string())),
            Err(error) => anew(error.to_string()),
        },
        Err(error) => anew(error.to_string()),
    }
}

/// The port for scrapes, where the policy wants it.
fn port(shared: &Arc<Shared>) -> Result<Port, StartError> {
    let (running, complaining) = (shared.running.clone(), shared.running.clone());
    let (shared, open) = (shared.clone(), shared.running.clone());
    let wanted = Box::new(move || running.policy().metrics.listen.into_iter().collect());
    let answer = move |request: &HttpRequest| {
        // Anybody's page may have a browser of this machine ask, by a name of its
        // own that was bent to point here, and reads the answer then.
        let is_bent = !request.host.as_deref().is_some_and(page::is_loopback_host);
        if request.from_browser && is_bent && !open.policy().metrics.anywhere {
            return HttpResponse::error(403, "ask for it as localhost or 127.0.0.1");
        }
        if request.method != "GET" {
            let refused = HttpResponse::error(405, "use GET here");
            return HttpResponse { allow: Some("GET".into()), ..refused };
        }
        match &*request.target {
            "/metrics" => shared.metrics(),
            "/health" => health::health(&shared.running),
            "/ready" => shared.ready(),
            _ => HttpResponse::error(404, "here are /metrics, /health and /ready"),
        }
    };
    let service = Service {
        name: "metrics",
        connections_max: CONNECTIONS_MAX,
        busy: "too many connections to this port",
        is_private: false,
        waits: false,
        // Nothing that is asked here brings anything along.
        serving: Arc::new(move |mut stream| {
            http::converse(&mut stream, |_, _| http::Bodies::Whole(0), &answer);
        }),
    };
    let complain = Box::new(move |error: StartError| {
        let line = Line::new(complaining.clock().now().wall, eventlog::Kind::Shortage);
        complaining.log(line.show(Field::Reason, format_args!("{error}; tried again")));
    });
    Port::start(service, wanted, complain)
}

/// The size of all files of a folder.
fn bytes_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}
