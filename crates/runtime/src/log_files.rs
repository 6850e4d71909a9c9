//! The files of the log: one that grows, closed ones with a number each, which
//! are compressed when there is time.
//!
//! `ringpost.log` grows; closed, it is `ringpost-00000042.log`, and compressed
//! `ringpost-00000042.log.zst`. Numbers only grow. The oldest files go when all
//! together are larger than they may be, or when they are too old.
//!
//! Invariants: a line is written whole; a file is named `.zst` only when it is
//! whole, and the uncompressed one goes after that. Nothing is ever synced: see
//! the log's reference for what that means.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base::Wall;
use eventlog::Place;

/// The file that grows.
pub(crate) const OPEN_NAME: &str = "ringpost.log";
/// The next one, for the moment in which its place is made free.
const NEXT_NAME: &str = "ringpost.log.next";
/// Fast, and lines of a log shrink to a tenth at any level.
const COMPRESSION_LEVEL: i32 = 1;
/// Longest piece of a line that is looked at for its time.
const FIRST_LINE_BYTES_MAX: u64 = 64 << 10;

/// How files are cut and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Bytes after which the open file is closed.
    pub size: u64,
    /// Age of its first line at which it is closed.
    pub age: Duration,
    /// Bytes of all files together, compressed ones as they are.
    pub max_bytes: u64,
    /// Age of a closed file at which it goes.
    pub retention: Duration,
}

impl LogSettings {
    /// What a policy says.
    pub(crate) fn of(policy: &control::Policy) -> Self {
        let control::LogSettings { size, age, max_bytes, retention, .. } = policy.log.clone();
        Self { size, age, max_bytes, retention }
    }

    /// Bytes after which the open file is closed, such that one closed file
    /// fits beside it.
    fn size_max(&self) -> u64 {
        self.size.min(self.max_bytes / 2)
    }
}

/// One closed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Its number.
    pub(crate) number: u64,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Whether it is compressed.
    pub(crate) compressed: bool,
}

/// The closed files of a folder, the oldest first; of one that lies there both
/// ways, the compressed one.
///
/// # Errors
/// What the folder gives.
pub(crate) fn closed_files(folder: &Path) -> io::Result<Vec<Closed>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let named = path.file_name().and_then(|name| closed_name(name.to_str()?));
        if let Some((number, compressed)) = named {
            found.push(Closed { number, path, compressed });
        }
    }
    found.sort_by_key(|one| (one.number, !one.compressed));
    found.dedup_by_key(|one| one.number);
    Ok(found)
}

fn closed_name(name: &str) -> Option<(u64, bool)> {
    let rest = name.strip_prefix("ringpost-")?;
    let (number, end) = rest.split_once('.')?;
    let digits = number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    match end {
        "log" | "log.zst" if digits => Some((number.parse().ok()?, end == "log.zst")),
        _ => None,
    }
}

/// Reads a file of the log, compressed or not.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn reader(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    Ok(match path.extension().is_some_and(|end| end == "zst") {
        true => Box::new(BufReader::with_capacity(64 << 10, zstd::Decoder::new(file)?)),
        false => Box::new(BufReader::with_capacity(64 << 10, file)),
    })
}

/// When the first line of a file was written.
pub(crate) fn first_time(path: &Path) -> Option<Wall> {
    let mut line = Vec::new();
    let mut bounded = reader(path).ok()?.take(FIRST_LINE_BYTES_MAX);
    bounded.read_until(b'\n', &mut line).ok()?;
    eventlog::read::time(&line)
}

/// Lines of single shards may be so much behind others at the end of a log.
const LAG_MAX: Duration = Duration::from_secs(10);

/// Before this time nothing is missing at the end of a folder's log, as far as
/// one of the two youngest files tells; 0 where none does.
pub(crate) fn whole_until(folder: &Path) -> Wall {
    let closed = closed_files(folder).unwrap_or_default().pop().map(|last| last.path);
    let files = [Some(folder.join(OPEN_NAME)), closed];
    let last = files.into_iter().flatten().find_map(|path| last_time_in(&path));
    let last = last.map_or(0, Wall::as_millis);
    Wall::from_millis(last.saturating_sub(LAG_MAX.as_millis() as u64))
}

fn last_time_in(path: &Path) -> Option<Wall> {
    let mut file = reader(path).ok()?;
    let (mut line, mut last) = (Vec::new(), None);
    while file.by_ref().take(FIRST_LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()? > 0 {
        last = eventlog::read::time(&line).or(last);
        line.clear();
    }
    last
}

/// The file that grows.
#[derive(Debug)]
pub(crate) struct OpenFile {
    folder: PathBuf,
    file: File,
    bytes: u64,
    /// Of its first line; none while it is empty.
    since: Option<Wall>,
    /// What it will be called.
    number: u64,
    /// Part of a line stands at its end, and could not be cut off.
    torn: bool,
}

impl OpenFile {
    /// Opens the file of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// What the file system gives.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(OPEN_NAME);
        let file = appending(&path)?;
        let bytes = file.metadata()?.len();
        let number = closed_files(folder)?.last().map_or(1, |last| last.number + 1);
        let since = first_time(&path).filter(|_| bytes > 0);
        // A line may have been cut short by a crash.
        let torn = bytes > 0 && !ends_with_line(&path, bytes)?;
        Ok(Self { folder: folder.to_owned(), file, bytes, since, number, torn })
    }

    /// Takes at least this number for itself: readers have seen those before.
    pub(crate) fn numbered_from(mut self, number: u64) -> Self {
        self.number = self.number.max(number);
        self
    }

    /// Behind its last whole line.
    pub(crate) fn place(&self) -> Place {
        Place { number: self.number, offset: self.bytes }
    }

    /// Appends whole lines. True: a file was closed.
    ///
    /// # Errors
    /// What the file system gives; the lines are not written then.
    pub(crate) fn write(
        &mut self,
        now: Wall,
        lines: &[u8],
        settings: &LogSettings,
    ) -> io::Result<bool> {
        let full = self.bytes > 0 && self.bytes + lines.len() as u64 > settings.size_max();
        // If closing fails the old file grows on; nothing is lost.
        let closed = full && self.close().is_ok();
        if self.torn {
            self.file.write_all(b"\n")?;
            // With the part of a line that could not be cut off.
            (self.torn, self.bytes) = (false, self.file.metadata()?.len());
        }
        if let Err(error) = self.file.write_all(lines) {
            // The part of a line that still fitted would spoil the next.
            self.torn = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += lines.len() as u64;
        self.since.get_or_insert(now);
        Ok(closed)
    }

    /// Closes the file if its first line is old. True: it was closed.
    pub(crate) fn close_if_old(&mut self, now: Wall, settings: &LogSettings) -> bool {
        let old = self.since.is_some_and(|since| now.since(since) >= settings.age);
        old && self.close().is_ok()
    }

    /// All of it or nothing: what is called closed is compressed and taken away,
    /// and must not be written any more.
    fn close(&mut self) -> io::Result<()> {
        let (path, next) = (self.folder.join(OPEN_NAME), self.folder.join(NEXT_NAME));
        let closed = self.folder.join(format!("ringpost-{:08}.log", self.number));
        // First what may lack a descriptor, or room on the disk.
        let file = appending(&next)?;
        match fs::rename(&path, &closed) {
            // Somebody took it away, with its lines; those to come are kept.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        if let Err(error) = fs::rename(&next, &path) {
            let _ = fs::rename(&closed, &path);
            return Err(error);
        }
        self.number += 1;
        self.file = file;
        (self.bytes, self.since, self.torn) = (0, None, false);
        Ok(())
    }
}

fn appending(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn ends_with_line(path: &Path, bytes: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, bytes - 1)?;
    Ok(last == *b"\n")
}

/// Compresses what is closed, and lets go what is too much or too old, which
/// `going` is told before. Stops between two files when `stop` says so.
///
/// # Errors
/// What the file system gives; everything else is done all the same.
pub(crate) fn tidy(
    folder: &Path,
    settings: &LogSettings,
    now: SystemTime,
    stop: impl Fn() -> bool,
    going: &dyn Fn(&Closed),
) -> io::Result<()> {
    let mut trouble = clear_remains(folder).and(let_go(folder, settings, now, going));
    for one in closed_files(folder)? {
        if stop() {
            return trouble;
        }
        if !one.compressed {
            trouble = trouble.and(compress(&one.path));
        }
    }
    trouble.and(let_go(folder, settings, now, going))
}

/// Takes away what a crash within [`compress`] left: a part, or the file beside
/// its whole compressed copy.
fn clear_remains(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let part = name.strip_suffix(".zst.part").is_some_and(|name| closed_name(name).is_some());
        let copied = closed_name(name).is_some_and(|(_, compressed)| !compressed)
            && folder.join(format!("{name}.zst")).exists();
        if part || copied {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn compress(path: &Path) -> io::Result<()> {
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (part, whole) = (named(".zst.part"), named(".zst"));
    let done = (|| {
        let mut options = OpenOptions::new();
        let to = options.write(true).create(true).truncate(true).mode(0o640).open(&part)?;
        let mut encoder = zstd::Encoder::new(to, COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        io::copy(&mut File::open(path)?, &mut encoder)?;
        let file = encoder.finish()?;
        // What replaces the only copy must be there after a power cut.
        file.sync_all()?;
        fs::rename(&part, &whole)
    })();
    match done {
        Ok(()) => fs::remove_file(path),
        Err(error) => {
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

fn let_go(
    folder: &Path,
    settings: &LogSettings,
    now: SystemTime,
    going: &dyn Fn(&Closed),
) -> io::Result<()> {
    let open = fs::metadata(folder.join(OPEN_NAME)).map_or(0, |meta| meta.len());
    let mut held = open;
    let mut too_much = false;
    for one in closed_files(folder)?.into_iter().rev() {
        let meta = fs::metadata(&one.path)?;
        let age = meta.modified().ok().and_then(|at| now.duration_since(at).ok());
        held += meta.len();
        too_much |= held > settings.max_bytes;
        if too_much || age.is_some_and(|age| age >= settings.retention) {
            going(&one);
            fs::remove_file(&one.path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
