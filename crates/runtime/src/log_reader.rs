//! Reads the log back: all of its files in their order, compressed or not, and
//! what is appended while somebody watches.
//!
//! Works on the files alone, with or without a daemon. Invariants: memory is
//! bounded by the longest line that is taken; a line is given once, also when
//! its file is closed or compressed meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventlog::Filter;

use crate::log_files::{Closed, OPEN_NAME, closed_files, first_time, reader};

/// Longer lines are passed over: no line of ours is.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How often the log is looked at while somebody follows it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Gives each line that `filter` looks for, without its end, the oldest first,
/// until `each` has seen enough.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn search(
    folder: &Path,
    filter: &Filter,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    // Opened first: closed meanwhile, it is still read, and known by its inode.
    let open = match File::open(folder.join(OPEN_NAME)) {
        Ok(open) => Some(open),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let identity = open.as_ref().map(File::metadata).transpose()?;
    let closed = closed_files(folder)?;
    let mut give = |line: &[u8]| match filter.matches(line) {
        true => each(line),
        false => ControlFlow::Continue(()),
    };
    for (place, one) in closed.iter().enumerate() {
        let next = closed.get(place + 1).map(|next| &*next.path);
        if is_same(identity.as_ref(), &one.path) || is_before(filter, next) {
            continue;
        }
        let Some(mut file) = opened(one)? else { continue };
        if lines(&mut file, &mut give)?.is_break() {
            return Ok(());
        }
    }
    if let Some(open) = open {
        let _ = lines(&mut BufReader::with_capacity(64 << 10, open), &mut give)?;
    }
    Ok(())
}

/// Whether all of a file lies before what is looked for: the next one begins
/// before it, too.
pub(crate) fn is_before(filter: &Filter, next: Option<&Path>) -> bool {
    let (Some(from), Some(next)) = (filter.from, next) else { return false };
    // Clocks are set back now and then; lines of shards overlap a little.
    let margin = Duration::from_secs(3_600);
    first_time(next).is_some_and(|begins| begins + margin < from)
}

pub(crate) fn is_same(identity: Option<&Metadata>, path: &Path) -> bool {
    let inode = |meta: &Metadata| (meta.dev(), meta.ino());
    identity.is_some_and(|one| path.metadata().is_ok_and(|other| inode(&other) == inode(one)))
}

/// A closed file, wherever it is now; none if it has gone.
pub(crate) fn opened(one: &Closed) -> io::Result<Option<Box<dyn BufRead>>> {
    let mut compressed = one.path.clone().into_os_string();
    compressed.push(".zst");
    for path in [one.path.clone(), PathBuf::from(compressed)] {
        match reader(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(Some),
        }
    }
    Ok(None)
}

/// Gives the whole lines of a file.
pub(crate) fn lines(
    file: &mut dyn BufRead,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let (mut line, mut too_long) = (Vec::new(), false);
    loop {
        line.clear();
        let bound = LINE_BYTES_MAX as u64;
        if io::Read::take(&mut *file, bound).read_until(b'\n', &mut line)? == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        if whole && !too_long && each(&line).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        too_long = !whole;
    }
}

/// What is appended to the log from now on, or from the begin of its open file.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// The begin of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Begins at the open file's begin.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join(OPEN_NAME);
        Self { file: File::open(&path).ok(), path, rest: Vec::new() }
    }

    /// Gives each whole line that has come, without its end. Goes on to the
    /// next file when one was closed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            // Asked before the reading: what was written before the file was
            // closed is then read to its end.
            let meta = self.file.as_ref().map(File::metadata).transpose()?;
            let closed = !is_same(meta.as_ref(), &self.path);
            self.drain(&mut each)?;
            if !closed {
                return Ok(());
            }
            match File::open(&self.path) {
                Ok(next) => self.file = Some(next),
                // It is being made.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
            self.rest.clear();
        }
    }

    /// Waits for a while: as long as lines take to come together, on a shard.
    pub fn wait(&self) {
        std::thread::sleep(LOOK_EVERY);
    }

    fn drain(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut piece = vec![0; 64 << 10];
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            for part in piece[..count].split_inclusive(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(part);
                if self.rest.pop_if(|last| *last == b'\n').is_some() {
                    each(&self.rest);
                    self.rest.clear();
                } else if self.rest.len() > LINE_BYTES_MAX {
                    self.rest.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use base::Wall;
    use eventlog::{Field, Kind, Line};

    use super::*;
    use crate::log_files::{LogSettings, OpenFile, tidy};

    const SETTINGS: LogSettings = LogSettings {
        size: 200,
        age: Duration::from_secs(1_000_000),
        max_bytes: 1 << 20,
        retention: Duration::from_secs(3_600),
    };

    fn write(file: &mut OpenFile, n: u64) {
        let at = Wall::from_millis(n * 7_200_000);
        let line = Line::new(at, Kind::Stop).text(Field::Reason, &n.to_string()).end();
        file.write(at, &line, &SETTINGS).unwrap();
    }

    fn found(folder: &Path, filter: &Filter) -> Vec<u64> {
        let mut found = Vec::new();
        search(folder, filter, |line| {
            let reason = eventlog::read::value(line, Field::Reason).unwrap();
            found.push(reason.parse().unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn all_files_are_searched_in_their_order_and_those_before_the_time_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = OpenFile::open(folder.path()).unwrap();
        (0..10).for_each(|n| write(&mut file, n));
        tidy(folder.path(), &SETTINGS, SystemTime::now(), || false, &|_| ()).unwrap();
        (10..20).for_each(|n| write(&mut file, n));
        let all: Vec<u64> = (0..20).collect();
        assert_eq!(found(folder.path(), &Filter::default()), all);
        let late = Filter { from: Some(Wall::from_millis(17 * 7_200_000)), ..Filter::default() };
        assert_eq!(found(folder.path(), &late), [17, 18, 19]);
        // The first files were not even read.
        let first = closed_files(folder.path()).unwrap()[0].path.clone();
        std::fs::write(&first, "not compressed").unwrap();
        assert_eq!(found(folder.path(), &late), [17, 18, 19]);
        assert!(search(folder.path(), &Filter::default(), |_| ControlFlow::Continue(())).is_err());
    }

    #[test]
    fn who_has_seen_enough_stops_and_a_line_without_an_end_is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(OPEN_NAME), "a\nb\nc").unwrap();
        let mut seen = Vec::new();
        search(folder.path(), &Filter::default(), |line| {
            seen.push(line.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, [b"a", b"b"]);
        let mut count = 0;
        let stop = |_: &[u8]| {
            count += 1;
            ControlFlow::Break(())
        };
        search(folder.path(), &Filter::default(), stop).unwrap();
        assert_eq!(count, 1);
        assert!(
            search(&folder.path().join("none"), &Filter::default(), |_| {
                ControlFlow::Continue(())
            })
            .is_err()
        );
    }

    #[test]
    fn who_follows_sees_each_line_once_across_closed_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = OpenFile::open(folder.path()).unwrap();
        let mut follower = Follower::new(folder.path());
        let mut seen = Vec::new();
        for n in 0..9 {
            write(&mut file, n);
            let note = |line: &[u8]| {
                let reason = eventlog::read::value(line, Field::Reason).unwrap();
                seen.push(reason.parse::<u64>().unwrap());
            };
            if n % 2 == 0 {
                follower.read(note).unwrap();
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
