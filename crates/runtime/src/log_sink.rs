//! The log file: lines are gathered per shard, handed to one writing thread
//! through a bounded queue, appended to `ringpost.log`, and the file is
//! rotated by size.
//!
//! Never blocks a shard: where the queue is full, lines are dropped, counted,
//! and the count is written to the log itself as soon as there is room.
//!
//! Invariant: a line is written whole, in order per shard, to one file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base::Monotonic;
use crossbeam::channel::{Receiver, Sender};
use eventlog::{Field, Kind, Line};

use crate::clock::Clock;
use crate::error::StartError;

/// Batches waiting for the writer.
const BATCHES_MAX: usize = 256;
/// A batch is handed over at this size at the latest.
const BATCH_BYTES: usize = 32 << 10;
/// … and at this age.
const BATCH_AGE: Duration = Duration::from_millis(100);

/// Where the log goes and how much of it is kept.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The file being written.
    pub path: PathBuf,
    /// Bytes after which it is rotated.
    pub rotate_bytes: u64,
    /// Rotated files kept: `ringpost.log.1` is the youngest.
    pub keep: u32,
}

/// Where lines are handed to the writing thread; cheap to copy.
#[derive(Clone, Debug)]
pub struct LogSink {
    batches: Sender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// The lines one shard has gathered.
#[derive(Debug)]
pub(crate) struct LogBatch {
    sink: LogSink,
    lines: Vec<u8>,
    since: Option<Monotonic>,
}

impl LogSink {
    /// Opens the log and starts its thread, which ends when the last copy of
    /// the sink is gone.
    ///
    /// # Errors
    /// [`StartError::LocalLog`] when the file cannot be opened,
    /// [`StartError::LocalThread`] when the thread cannot be started.
    pub fn start(
        clock: Clock,
        settings: LogSettings,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let opened = Rotated::open(settings.clone());
        let file = opened
            .map_err(|reason| StartError::LocalLog { path: settings.path.clone(), reason })?;
        let (batches, receiver) = crossbeam::channel::bounded(BATCHES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_batches(clock, file, &receiver, &lost))
            .map_err(|error| StartError::LocalThread {
                what: "the log",
                reason: error.to_string(),
            })?;
        Ok((Self { batches, dropped }, thread))
    }

    /// Writes one line, from a plain thread.
    pub fn line(&self, line: Line) {
        self.hand_over(line.end());
    }

    fn hand_over(&self, lines: Vec<u8>) {
        if let Err(refused) = self.batches.try_send(lines) {
            self.dropped.fetch_add(lines_in(&refused.into_inner()), Ordering::Relaxed);
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
                .show(Field::Id, doubt.message)
                .number(Field::Recipient, doubt.recipient)
                .number(Field::Attempt, doubt.attempt)
                .number(Field::Crashes, doubt.crashes);
            self.line(line);
        }
    }
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

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn write_batches(
    clock: Clock,
    mut file: Rotated,
    batches: &Receiver<Vec<u8>>,
    dropped: &AtomicU64,
) {
    while let Ok(batch) = batches.recv() {
        file.write(&batch, dropped);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = Line::new(clock.now().wall, Kind::LinesLost).number(Field::Lines, lost);
            file.write(&line.end(), dropped);
        }
    }
}

/// A file that is renamed away when it has grown.
struct Rotated {
    settings: LogSettings,
    file: File,
    bytes: u64,
}

impl Rotated {
    fn open(settings: LogSettings) -> io::Result<Self> {
        if let Some(folder) = settings.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = open(&settings.path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { settings, file, bytes })
    }

    /// Appends whole lines. What the disk refuses is counted as dropped: the
    /// log must not stop the mail.
    fn write(&mut self, lines: &[u8], dropped: &AtomicU64) {
        if self.bytes > 0 && self.bytes + lines.len() as u64 > self.settings.rotate_bytes {
            // If rotating fails the old file grows on; nothing is lost.
            let _ = self.rotate();
        }
        match self.file.write_all(lines) {
            Ok(()) => self.bytes += lines.len() as u64,
            Err(_) => {
                let count = lines.iter().filter(|byte| **byte == b'\n').count();
                dropped.fetch_add(count as u64, Ordering::Relaxed);
                // The part of a line that still fitted would spoil the next.
                let _ = self.file.set_len(self.bytes);
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for age in (1..self.settings.keep).rev() {
            let older = aged(&self.settings.path, age + 1);
            match std::fs::rename(aged(&self.settings.path, age), older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.settings.keep == 0 {
            std::fs::remove_file(&self.settings.path)?;
        } else {
            std::fs::rename(&self.settings.path, aged(&self.settings.path, 1))?;
        }
        self.file = open(&self.settings.path)?;
        self.bytes = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn aged(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use base::Wall;

    use super::*;

    fn settings(folder: &Path, rotate_bytes: u64, keep: u32) -> LogSettings {
        LogSettings { path: folder.join("log/ringpost.log"), rotate_bytes, keep }
    }

    #[test]
    fn lines_of_shards_and_threads_arrive_whole() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 1 << 20, 2);
        let (sink, thread) = LogSink::start(Clock::start(), settings.clone()).unwrap();
        let mut batch = LogBatch::new(sink.clone());
        let start = Monotonic::from_millis(1_000);
        batch.push(b"{\"n\":1}\n", start);
        batch.push(b"{\"n\":2}\n{\"n\":3}\n", start);
        assert_eq!(batch.ship(start), Some(start + BATCH_AGE));
        assert_eq!(batch.ship(start + BATCH_AGE), None);
        assert_eq!(batch.ship(start + BATCH_AGE), None, "nothing is left to ship");
        sink.line(Line::new(Wall::from_millis(0), Kind::Stop).text(Field::Reason, "\r\n"));
        drop((sink, batch));
        thread.join().unwrap();
        let text = std::fs::read_to_string(&settings.path).unwrap();
        let last = r#"{"time":"1970-01-01T00:00:00.000Z","event":"stop","reason":"\u000d\u000a"}"#;
        assert_eq!(text, format!("{{\"n\":1}}\n{{\"n\":2}}\n{{\"n\":3}}\n{last}\n"));
    }

    /// Covers: B100
    #[test]
    fn the_file_is_rotated_by_size_and_few_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 20, 2);
        let mut file = Rotated::open(settings.clone()).unwrap();
        let dropped = AtomicU64::new(0);
        for n in 0..5 {
            file.write(format!("line number {n}\n").as_bytes(), &dropped);
        }
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(settings.path.clone()), "line number 4\n");
        assert_eq!(read(aged(&settings.path, 1)), "line number 3\n");
        assert_eq!(read(aged(&settings.path, 2)), "line number 2\n");
        assert!(!aged(&settings.path, 3).exists());
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        let reopened = Rotated::open(settings).unwrap();
        assert_eq!(reopened.bytes, 14, "a restart goes on with the same file");
    }

    /// Covers: B36, B100
    #[test]
    fn a_full_queue_drops_and_says_how_many() {
        let (batches, receiver) = crossbeam::channel::bounded(BATCHES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = LogSink { batches, dropped: dropped.clone() };
        for _ in 0..BATCHES_MAX {
            sink.hand_over(b"1\n".to_vec());
        }
        sink.hand_over(b"2\n3\n".to_vec());
        sink.hand_over(b"4\n".to_vec());
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 1 << 20, 2);
        drop(sink);
        write_batches(
            Clock::start(),
            Rotated::open(settings.clone()).unwrap(),
            &receiver,
            &dropped,
        );
        let text = std::fs::read_to_string(&settings.path).unwrap();
        assert_eq!(text.lines().count(), BATCHES_MAX + 1);
        assert!(text.contains(",\"event\":\"lines-lost\",\"lines\":3}\n"), "{text}");
    }
}
