//! The thread of one reader: from its bookmark on it gathers lines, hands them
//! to its outlet until they are taken, and moves the bookmark.
//!
//! Invariants: at most one batch is in memory; a batch that was offered once
//! stays the same, over restarts too, until it is taken; the bookmark never
//! passes a line that is wanted and was neither taken nor told as lost.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use base::hex;
use crossbeam::channel::{Receiver, RecvTimeoutError};
use eventlog::{Batch, Bookmark, Field, Filter, Kind, Line, backoff};

use super::bookmark_file::{self, BookmarkFile};
use super::outlet::{Outlet, Pace, Spec, Untaken};
use super::shown::Shown;
use crate::clock::Clock;
use crate::entropy;
use crate::log_readers::{LogEnd, Reader, Readers};
use crate::log_sink::LogSink;
use crate::log_tail::{Found, Tail};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often an end, and a new begin, of trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often a bookmark moves while nothing is sent.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long until what cannot be opened or read is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Lines read before others are told how far it is.
const LINES_AT_ONCE: u32 = 1_024;
/// How often a file is read in vain before it is left.
const READS_MAX: u32 = 3;

/// What a reader's thread is started with.
pub(super) struct Setup {
    pub(super) spec: Spec,
    /// The folder of the log.
    pub(super) log_folder: PathBuf,
    /// The folder of the bookmarks.
    pub(super) bookmarks: PathBuf,
    pub(super) readers: Arc<Readers>,
    pub(super) log: LogSink,
    pub(super) clock: Clock,
    /// Where the log ended when the reader was asked for.
    pub(super) begin: LogEnd,
    pub(super) shown: Arc<Shown>,
    pub(super) stop: Arc<AtomicBool>,
    /// Other settings; closed to end the thread.
    pub(super) orders: Receiver<Spec>,
}

/// Runs a reader until it is told to end.
pub(super) fn run(setup: Setup) {
    let (mut setup, mut told) = (setup, false);
    let worker = loop {
        match Worker::open(&setup) {
            Ok(worker) => break worker,
            Err(error) => {
                let path = bookmark_file::path(&setup.bookmarks, &setup.spec.name());
                let why = format!("{}: {error}", path.display());
                setup.shown.failed(setup.clock.now().wall, &why, None);
                if !std::mem::replace(&mut told, true) {
                    setup.tell(Kind::SinkDown, |line| line.text(Field::Error, &why));
                }
                match setup.orders.recv_timeout(AGAIN) {
                    Ok(spec) => setup.spec = spec,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    };
    let reader = worker.reader.clone();
    Running { worker, setup: &mut setup, told }.run();
    setup.readers.remove(&reader);
}

impl Setup {
    /// Writes a line about this reader into the log.
    fn tell(&self, kind: Kind, with: impl FnOnce(Line) -> Line) {
        let line = Line::new(self.clock.now().wall, kind).text(Field::Sink, &self.spec.name());
        self.log.line(with(line));
    }
}

/// A reader at work.
struct Worker {
    filter: Arc<Filter>,
    pace: Pace,
    outlet: Box<dyn Outlet>,
    tail: Tail,
    reader: Arc<Reader>,
    file: BookmarkFile,
    bookmark: Bookmark,
    kept: Instant,
    /// It has moved since.
    moved: bool,
    batch: Batch,
    /// Nothing more goes into the batch.
    closed: bool,
    /// When its first line came.
    since: Option<Instant>,
    behind: Behind,
    failures: u32,
    next: Option<Instant>,
    told_at: Option<Instant>,
    unreadable: u32,
}

/// Lines and octets that others wrote and this reader has not come to. Both are
/// off by what went uncounted, until it has read everything.
#[derive(Clone, Copy, Debug, Default)]
struct Behind {
    /// Unread, less those written since the start, plus those read.
    lines: i64,
    bytes: i64,
    /// Read since the bookmark.
    held_lines: i64,
    held_bytes: i64,
}

struct Running<'a> {
    worker: Worker,
    setup: &'a mut Setup,
    /// `sink-down` was told.
    told: bool,
}

impl Worker {
    fn open(setup: &Setup) -> io::Result<Self> {
        let begin = setup.begin;
        let instance = entropy::seed().map_err(io::Error::other)?;
        let new =
            Bookmark { instance, done: begin.place, seen: begin.place, ..Bookmark::default() };
        let path = bookmark_file::path(&setup.bookmarks, &setup.spec.name());
        let (file, mut bookmark) = BookmarkFile::open(&path, &new)?;
        // Behind a power cut the log may end before what was read of it.
        if bookmark.done > begin.place {
            bookmark = Bookmark { done: begin.place, offered: None, ..bookmark };
        }
        bookmark.offered = bookmark.offered.filter(|place| *place <= begin.place);
        let (lines, bytes) = since_seen(setup, &bookmark)?;
        let behind = Behind {
            lines: (bookmark.lines_behind + lines) as i64 - begin.lines as i64,
            bytes: (bookmark.bytes_behind + bytes) as i64 - begin.bytes as i64,
            ..Behind::default()
        };
        let filter = Arc::new(setup.spec.filter());
        Ok(Self {
            reader: setup.readers.add(bookmark.done, filter.clone()),
            filter,
            pace: setup.spec.pace(),
            outlet: setup.spec.outlet(&setup.stop),
            tail: Tail::new(setup.log_folder.clone(), setup.readers.clone(), bookmark.done),
            file,
            batch: Batch::new(bookmark.done),
            bookmark,
            kept: Instant::now(),
            moved: false,
            closed: false,
            since: None,
            behind,
            failures: 0,
            next: None,
            told_at: None,
            unreadable: 0,
        })
    }
}

/// Lines and octets between where a bookmark saw the log end and where it ended
/// when the reader was asked for: few, but where the reader was away for long.
fn since_seen(setup: &Setup, bookmark: &Bookmark) -> io::Result<(u64, u64)> {
    let end = setup.begin.place;
    let mut tail = Tail::new(setup.log_folder.clone(), setup.readers.clone(), bookmark.seen);
    let (mut lines, mut bytes) = (0, 0);
    while tail.place() < end && !setup.stop.load(Ordering::Acquire) {
        match tail.next() {
            Ok(Found::Line) => {
                lines += 1;
                bytes += tail.line().len() as u64 + 1;
            }
            Ok(Found::Gone(_)) => {}
            Ok(Found::Nothing) => break,
            // Who reads it tells of it; here it is not counted.
            Err(error) => _ = tail.skip_file().ok_or(error)?,
        }
    }
    Ok((lines, bytes))
}

impl Running<'_> {
    fn run(mut self) {
        self.show();
        loop {
            let wait = self.step();
            match self.setup.orders.recv_timeout(wait) {
                Ok(spec) => self.set(spec),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.keep();
    }

    /// Puts other settings in force. What is in the batch stays in it.
    fn set(&mut self, spec: Spec) {
        let worker = &mut self.worker;
        worker.filter = Arc::new(spec.filter());
        worker.reader.want(worker.filter.clone());
        worker.pace = spec.pace();
        worker.outlet = spec.outlet(&self.setup.stop);
        worker.next = None;
        self.setup.spec = spec;
    }

    /// Does what can be done now; gives how long until there may be more.
    fn step(&mut self) -> Duration {
        let now = Instant::now();
        if let Some(next) = self.worker.next.filter(|next| now < *next) {
            return next - now;
        }
        if let Err(error) = self.gather() {
            return self.unreadable(&error);
        }
        let worker = &mut self.worker;
        if worker.batch.is_empty() {
            self.pass();
            return LOOK_EVERY;
        }
        let age = worker.since.map_or(Duration::ZERO, |since| since.elapsed());
        if !worker.closed && age < worker.pace.wait {
            return LOOK_EVERY.min(worker.pace.wait - age);
        }
        self.send();
        Duration::ZERO
    }

    /// Reads on until the batch is full or the log ends.
    fn gather(&mut self) -> io::Result<()> {
        for count in 1.. {
            if self.worker.closed || self.setup.stop.load(Ordering::Acquire) {
                break;
            }
            match self.worker.tail.next()? {
                Found::Line => self.line(),
                Found::Gone(files) => self.gone(&files, "went before they were read"),
                Found::Nothing => {
                    self.caught_up();
                    break;
                }
            }
            if count % LINES_AT_ONCE == 0 {
                self.worker.reader.set(self.worker.tail.place());
                self.pass();
            }
        }
        self.worker.unreadable = 0;
        self.worker.reader.set(self.worker.tail.place());
        Ok(())
    }

    fn line(&mut self) {
        let worker = &mut self.worker;
        let (line, behind) = (worker.tail.line(), worker.tail.place());
        let bytes = line.len() as i64 + 1;
        let wanted = worker.filter.matches(line) && eventlog::read::is_whole(line);
        if !wanted {
            worker.batch.pass(behind);
        } else if !worker.batch.push(line, behind) {
            worker.closed = true;
            return worker.tail.unread();
        } else {
            worker.since.get_or_insert_with(Instant::now);
        }
        worker.behind.lines -= 1;
        worker.behind.bytes -= bytes;
        worker.behind.held_lines += 1;
        worker.behind.held_bytes += bytes;
        worker.closed = match worker.bookmark.offered {
            Some(end) => behind >= end,
            None => worker.batch.len() >= worker.pace.lines,
        };
    }

    /// Files went, or cannot be read.
    fn gone(&mut self, files: &RangeInclusive<u64>, what: &str) {
        let worker = &mut self.worker;
        let gone = worker.reader.take_gone(files);
        worker.behind.lines -= gone.lines as i64;
        worker.behind.bytes -= gone.bytes as i64;
        worker.bookmark.lost += gone.wanted;
        worker.batch.pass(worker.tail.place());
        let all = gone.files == files.end() - files.start() + 1;
        let (first, last) = (files.start(), files.end());
        let reason = format!("files {first} to {last} of the log {what}");
        self.setup.tell(Kind::SinkLost, |line| {
            let line = line.text(Field::Reason, &reason);
            if all { line.number(Field::Lines, gone.wanted) } else { line }
        });
    }

    /// Everything was read: what was counted wrongly is forgotten.
    fn caught_up(&mut self) {
        let end = *self.setup.readers.end();
        let behind = &mut self.worker.behind;
        (behind.lines, behind.bytes) = (-(end.lines as i64), -(end.bytes as i64));
    }

    /// The bookmark passes what nobody wants.
    fn pass(&mut self) {
        let worker = &self.worker;
        if !worker.batch.is_empty() {
            return;
        }
        if worker.batch.until() != worker.bookmark.done {
            self.ended();
            self.worker.moved = true;
            self.show();
        }
        if self.worker.moved && self.worker.kept.elapsed() >= KEEP_EVERY {
            self.keep();
        }
    }

    /// Nothing is left of the batch.
    fn ended(&mut self) {
        let worker = &mut self.worker;
        worker.bookmark.done = worker.batch.until();
        worker.bookmark.offered = worker.bookmark.offered.filter(|it| *it > worker.bookmark.done);
        worker.batch = Batch::new(worker.bookmark.done);
        (worker.closed, worker.since) = (false, None);
        (worker.behind.held_lines, worker.behind.held_bytes) = (0, 0);
    }

    fn send(&mut self) {
        let worker = &mut self.worker;
        worker.closed = true;
        worker.bookmark.offered = Some(worker.batch.until());
        self.keep();
        let worker = &mut self.worker;
        let id = batch_id(worker.bookmark.instance, &worker.batch);
        let count = worker.batch.len();
        match worker.outlet.send(&worker.batch, &id) {
            Ok(said) => {
                self.taken(count);
                self.succeeded(&said);
            }
            // It ends, and whatever came of it is found out after the next start.
            Err(_) if self.setup.stop.load(Ordering::Acquire) => {}
            Err(Untaken { taken, reason }) => {
                self.taken(taken);
                self.failed(&reason);
            }
        }
        self.keep();
    }

    fn taken(&mut self, count: usize) {
        let worker = &mut self.worker;
        worker.bookmark.taken += count as u64;
        worker.batch.drop_front(count);
        worker.bookmark.done = worker.batch.from();
        if worker.batch.is_empty() {
            self.ended();
        }
    }

    fn succeeded(&mut self, said: &str) {
        (self.worker.failures, self.worker.next) = (0, None);
        self.setup.shown.succeeded(self.setup.clock.now().wall, said);
        if std::mem::take(&mut self.told) {
            self.setup.tell(Kind::SinkUp, |line| line);
        }
    }

    fn failed(&mut self, reason: &str) {
        let worker = &mut self.worker;
        worker.failures += 1;
        let random = worker.bookmark.instance.rotate_left(worker.failures);
        let wait = backoff(worker.failures, worker.pace.retry, random);
        worker.next = Some(Instant::now() + wait);
        let now = self.setup.clock.now().wall;
        self.setup.shown.failed(now, reason, Some(now + wait));
        if !self.told && worker.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            worker.told_at = Some(Instant::now());
            self.told = true;
            self.setup.tell(Kind::SinkDown, |line| line.text(Field::Error, reason));
        }
    }

    /// A file gave an error: tried again, and left when that goes on.
    fn unreadable(&mut self, error: &io::Error) -> Duration {
        self.worker.unreadable += 1;
        if self.worker.unreadable >= READS_MAX {
            self.worker.unreadable = 0;
            if let Some(files) = self.worker.tail.skip_file() {
                self.gone(&files, &format!("cannot be read: {error}"));
                return Duration::ZERO;
            }
        }
        AGAIN
    }

    /// Keeps the bookmark; what the disk refuses is sent again after a start.
    fn keep(&mut self) {
        let end = *self.setup.readers.end();
        let worker = &mut self.worker;
        worker.bookmark.seen = end.place;
        let held = worker.behind;
        let not_negative = |number: i64| u64::try_from(number).unwrap_or(0);
        worker.bookmark.lines_behind =
            not_negative(held.lines + end.lines as i64 + held.held_lines);
        worker.bookmark.bytes_behind =
            not_negative(held.bytes + end.bytes as i64 + held.held_bytes);
        let _ = worker.file.keep(&worker.bookmark);
        (worker.kept, worker.moved) = (Instant::now(), false);
        self.show();
    }

    fn show(&self) {
        let Worker { behind, bookmark, .. } = &self.worker;
        let (lines, bytes) = (behind.lines + behind.held_lines, behind.bytes + behind.held_bytes);
        self.setup.shown.set(bookmark, lines, bytes);
    }
}

/// A batch's name: the same for the same lines at the same place.
fn batch_id(instance: u64, batch: &Batch) -> String {
    let mut named = digest::Context::new(&digest::SHA256);
    named.update(format!("{instance:016x} {}\n", batch.from()).as_bytes());
    for line in batch.lines() {
        named.update(line);
        named.update(b"\n");
    }
    hex::encode(&named.finish().as_ref()[..16])
}
