//! The way of lines to the log: gathered per shard, handed in batches to one
//! writing thread through a bounded queue. A second thread, which never holds
//! the first up, compresses what is closed.
//!
//! Never blocks a shard: where the queue is full or the disk refuses, lines are
//! dropped, counted, and the count is written to the log itself as soon as
//! there is room.
//!
//! Invariant: a line is written whole, in order per shard.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use base::{Monotonic, Wall};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use eventlog::{Field, Kind, Line};

use crate::clock::Clock;
use crate::error::StartError;
use crate::log_files::{self, LogSettings, OpenFile};
use crate::log_readers::{LogEnd, Readers};

/// Batches waiting for the writer.
const BATCHES_MAX: usize = 256;
/// A batch is handed over at this size at the latest.
const BATCH_BYTES: usize = 32 << 10;
/// … and at this age.
const BATCH_AGE: Duration = Duration::from_millis(100);
/// How often the age of the open file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often closed files are looked at when none is closed.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Where lines are handed to the writing thread; cheap to copy.
#[derive(Clone, Debug)]
pub struct LogSink {
    batches: Sender<Work>,
    lost: Arc<Lost>,
}

/// Lines that were dropped.
#[derive(Debug, Default)]
struct Lost {
    /// Not yet told in the log.
    untold: AtomicU64,
    /// Since the start.
    total: AtomicU64,
}

/// What the writing thread is given.
#[derive(Debug)]
enum Work {
    /// Whole lines.
    Lines(Vec<u8>),
    /// Other settings are in force.
    Settings(LogSettings),
}

/// The lines one shard has gathered.
#[derive(Debug)]
pub(crate) struct LogBatch {
    sink: LogSink,
    lines: Vec<u8>,
    since: Option<Monotonic>,
}

impl LogSink {
    /// Opens the log in `folder` and starts its threads, which end when the
    /// last copy of the sink is gone. `readers` are told where it ends; no file
    /// from now on has a number below `number`.
    ///
    /// # Errors
    /// [`StartError::LocalLog`] when the file cannot be opened,
    /// [`StartError::LocalThread`] when a thread cannot be started.
    pub fn start(
        clock: Clock,
        folder: &Path,
        settings: LogSettings,
        readers: &Arc<Readers>,
        number: u64,
    ) -> Result<(Self, [JoinHandle<()>; 2]), StartError> {
        let file = OpenFile::open(folder)
            .map_err(|reason| StartError::LocalLog { path: folder.to_owned(), reason })?
            .numbered_from(number);
        *readers.end() = LogEnd { place: file.place(), ..LogEnd::default() };
        let (batches, work) = crossbeam::channel::bounded(BATCHES_MAX);
        let (tell, told) = crossbeam::channel::bounded(1);
        let lost = Arc::new(Lost::default());
        let (lost_too, readers_too) = (lost.clone(), readers.clone());
        let writer = Writer { clock, file, settings, tell, lost: lost_too, readers: readers_too };
        let keeper = Keeper { folder: folder.to_owned(), settings, readers: readers.clone() };
        let threads = [
            thread("log", move || writer.run(&work))?,
            thread("log-files", move || keeper.run(&told))?,
        ];
        Ok((Self { batches, lost }, threads))
    }

    /// Writes one line, from a plain thread.
    pub fn line(&self, line: Line) {
        self.hand_over(line.end());
    }

    /// Puts other settings in force.
    pub(crate) fn set(&self, settings: LogSettings) {
        // Blocks the caller, never a shard, while the writer is behind.
        let _ = self.batches.send(Work::Settings(settings));
    }

    /// Lines dropped since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.total.load(Ordering::Relaxed)
    }

    fn hand_over(&self, lines: Vec<u8>) {
        if let Err(refused) = self.batches.try_send(Work::Lines(lines))
            && let Work::Lines(lines) = refused.into_inner()
        {
            self.lost.count(&lines);
        }
    }

    /// One line about what recovery found, and one for each recipient in doubt.
    pub(crate) fn recovery(&self, clock: Clock, found: &spool::Report) {
        let now = clock.now().wall;
        let line = Line::new(now, Kind::Recovered)
            .number(Field::Segments, found.segments)
            .number(Field::Messages, found.messages)
            .number(Field::Recipients, found.recipients)
            .number(Field::Count, found.in_doubt.len() as u64);
        let cuts = (!found.cuts.is_empty()).then(|| format!("{:?}", found.cuts));
        self.line(line.show_some(Field::Cut, cuts));
        for doubt in &found.in_doubt {
            let line = Line::new(now, Kind::InDoubt)
                .id(Field::Id, doubt.message)
                .number(Field::Recipient, doubt.recipient)
                .number(Field::Attempt, doubt.attempt)
                .number(Field::Crashes, doubt.crashes);
            self.line(line);
        }
    }
}

impl Lost {
    fn count(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.untold.fetch_add(count, Ordering::Relaxed);
        self.total.fetch_add(count, Ordering::Relaxed);
    }
}

fn thread(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|error| StartError::LocalThread { what: "the log", reason: error.to_string() })
}

impl LogBatch {
    pub(crate) fn new(sink: LogSink) -> Self {
        Self { sink, lines: Vec::new(), since: None }
    }

    /// Takes whole lines.
    pub(crate) fn push(&mut self, lines: &[u8], now: Monotonic) {
        if self.lines.capacity() == 0 {
            self.lines.reserve_exact(BATCH_BYTES + BATCH_BYTES / 8);
        }
        self.lines.extend_from_slice(lines);
        self.since.get_or_insert(now);
    }

    /// Hands the lines over if they are many or old. Otherwise when they will
    /// be old.
    pub(crate) fn ship(&mut self, now: Monotonic) -> Option<Monotonic> {
        let old_at = self.since? + BATCH_AGE;
        if self.lines.len() < BATCH_BYTES && now < old_at {
            return Some(old_at);
        }
        self.ship_now();
        None
    }

    pub(crate) fn ship_now(&mut self) {
        if self.since.take().is_some() {
            self.sink.hand_over(std::mem::take(&mut self.lines));
        }
    }
}

/// The writing thread.
struct Writer {
    clock: Clock,
    file: OpenFile,
    settings: LogSettings,
    /// Tells the other thread that a file was closed, and the settings.
    tell: Sender<LogSettings>,
    lost: Arc<Lost>,
    /// Those who read behind it.
    readers: Arc<Readers>,
}

impl Writer {
    fn run(mut self, work: &Receiver<Work>) {
        loop {
            match work.recv_timeout(LOOK_EVERY) {
                Ok(Work::Lines(lines)) => self.write(&lines),
                Ok(Work::Settings(settings)) => {
                    self.settings = settings;
                    self.tell_keeper();
                }
                Err(RecvTimeoutError::Timeout) => self.look_at_age(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let readers = self.readers.clone();
        let mut end = readers.end();
        self.close_if_old();
        let now = self.clock.now().wall;
        let written = self.append(now, lines, &mut end);
        let untold = if written { self.lost.untold.swap(0, Ordering::Relaxed) } else { 0 };
        if untold > 0 {
            let line = Line::new(now, Kind::LinesLost).number(Field::Lines, untold).end();
            if self.file.write(now, &line, &self.settings).is_ok() {
                end.count(&line);
            } else {
                self.lost.untold.fetch_add(untold, Ordering::Relaxed);
            }
        }
        end.place = self.file.place();
    }

    /// What the disk refuses is counted as lost: the log must not stop the mail.
    fn append(&mut self, now: Wall, lines: &[u8], end: &mut LogEnd) -> bool {
        let written = self.file.write(now, lines, &self.settings);
        match written {
            Ok(closed) => {
                end.count(lines);
                if closed {
                    self.tell_keeper();
                }
            }
            Err(_) => self.lost.count(lines),
        }
        written.is_ok()
    }

    fn look_at_age(&mut self) {
        let readers = self.readers.clone();
        let mut end = readers.end();
        self.close_if_old();
        end.place = self.file.place();
    }

    fn close_if_old(&mut self) {
        if self.file.close_if_old(self.clock.now().wall, &self.settings) {
            self.tell_keeper();
        }
    }

    fn tell_keeper(&self) {
        // One word is enough, and it looks by itself now and then.
        let _ = self.tell.try_send(self.settings);
    }
}

/// The thread that compresses and lets go.
struct Keeper {
    folder: PathBuf,
    settings: LogSettings,
    readers: Arc<Readers>,
}

impl Keeper {
    fn run(mut self, told: &Receiver<LogSettings>) {
        loop {
            // What cannot be done now is tried again with the next file.
            let newer = Cell::new(None);
            let over = || match told.try_recv() {
                Ok(settings) => {
                    newer.set(Some(settings));
                    false
                }
                Err(error) => error.is_disconnected(),
            };
            let going = |one: &_| self.readers.going(one);
            let now = SystemTime::now();
            let _ = log_files::tidy(&self.folder, &self.settings, now, over, &going);
            if let Some(settings) = newer.take() {
                self.settings = settings;
                continue;
            }
            match told.recv_timeout(TIDY_EVERY) {
                Ok(settings) => self.settings = settings,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
