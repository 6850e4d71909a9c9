//! What the log's writer and those who read behind it know of each other: where
//! the log ends, how far each reader is, and what was let go before it was read.
//!
//! Never keeps a shard waiting: no shard comes here. Invariants: a file is
//! closed, and the end moved, under one lock, so that a reader who holds it
//! opens the file that it means; what goes unread is counted before it goes.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventlog::{Filter, Place};

use crate::log_files::{Closed, reader};

/// Files that went, told apart for one reader; beyond, the oldest are counted
/// together.
const GONE_MAX: usize = 1_024;

/// The log's end and its readers.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    end: Mutex<LogEnd>,
    list: Mutex<Vec<Arc<Reader>>>,
}

/// How far the log is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogEnd {
    /// Behind the last whole line.
    pub(crate) place: Place,
    /// Lines written since the start.
    pub(crate) lines: u64,
    /// Octets written since the start.
    pub(crate) bytes: u64,
}

impl LogEnd {
    /// Lines were written.
    pub(crate) fn count(&mut self, lines: &[u8]) {
        self.lines += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes += lines.len() as u64;
    }
}

/// One reader, as others see it.
#[derive(Debug)]
pub(crate) struct Reader {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    at: Place,
    wanted: Arc<Filter>,
    /// By number of the file.
    gone: BTreeMap<u64, Gone>,
}

/// What went before it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Files whose lines are counted here.
    pub(crate) files: u64,
    /// All lines.
    pub(crate) lines: u64,
    /// Their octets.
    pub(crate) bytes: u64,
    /// Lines that the reader had wanted.
    pub(crate) wanted: u64,
}

impl Readers {
    /// The end of the log; whoever holds it keeps the writer from closing a
    /// file.
    pub(crate) fn end(&self) -> MutexGuard<'_, LogEnd> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless the writer is just at work.
    pub(crate) fn try_end(&self) -> Option<LogEnd> {
        self.end.try_lock().ok().map(|end| *end)
    }

    /// A new reader, which is at `at`.
    pub(crate) fn add(&self, at: Place, wanted: Arc<Filter>) -> Arc<Reader> {
        let inner = Mutex::new(Inner { at, wanted, gone: BTreeMap::new() });
        let reader = Arc::new(Reader { inner });
        self.list().push(reader.clone());
        reader
    }

    /// A reader has ended.
    pub(crate) fn remove(&self, reader: &Arc<Reader>) {
        self.list().retain(|other| !Arc::ptr_eq(other, reader));
    }

    /// A closed file is about to go: counted for those who have not read it.
    pub(crate) fn going(&self, one: &Closed) {
        let behind: Vec<_> =
            self.list().iter().filter(|it| it.at().number <= one.number).cloned().collect();
        if behind.is_empty() {
            return;
        }
        let mut counts: Vec<_> =
            behind.iter().map(|it| (it.at(), it.wanted(), Gone::default())).collect();
        // What cannot be read cannot be counted; it goes all the same.
        if count(one, &mut counts).is_ok() {
            for (reader, (_, _, gone)) in behind.iter().zip(counts) {
                reader.note(one.number, Gone { files: 1, ..gone });
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(one: &Closed, readers: &mut [(Place, Arc<Filter>, Gone)]) -> io::Result<()> {
    let mut file = reader(&one.path)?;
    let (mut line, mut offset) = (Vec::new(), 0);
    loop {
        line.clear();
        let bytes = file.read_until(b'\n', &mut line)? as u64;
        if bytes == 0 {
            return Ok(());
        }
        for (at, wanted, gone) in readers.iter_mut() {
            if at.number < one.number || at.offset <= offset {
                gone.lines += 1;
                gone.bytes += bytes;
                gone.wanted += u64::from(wanted.matches(&line));
            }
        }
        offset += bytes;
    }
}

impl Reader {
    /// Says how far it is.
    pub(crate) fn set(&self, at: Place) {
        self.inner().at = at;
    }

    /// Says what it wants from now on.
    pub(crate) fn want(&self, wanted: Arc<Filter>) {
        self.inner().wanted = wanted;
    }

    /// What went of these files; less than all of them where nobody counted.
    pub(crate) fn take_gone(&self, files: &RangeInclusive<u64>) -> Gone {
        let mut inner = self.inner();
        let later = inner.gone.split_off(&(files.end() + 1));
        let mut sum = Gone::default();
        for (number, gone) in std::mem::replace(&mut inner.gone, later) {
            if number >= *files.start() {
                sum = sum.and(gone);
            }
        }
        sum
    }

    fn at(&self) -> Place {
        self.inner().at
    }

    fn wanted(&self) -> Arc<Filter> {
        self.inner().wanted.clone()
    }

    fn note(&self, number: u64, gone: Gone) {
        let mut inner = self.inner();
        // It may have gone on reading meanwhile.
        let at = inner.at.number;
        inner.gone.retain(|number, _| *number >= at);
        inner.gone.insert(number, gone);
        if inner.gone.len() > GONE_MAX
            && let Some((_, oldest)) = inner.gone.pop_first()
            && let Some(mut next) = inner.gone.first_entry()
        {
            let both = next.get().and(oldest);
            next.insert(both);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gone {
    fn and(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            lines: self.lines + other.lines,
            bytes: self.bytes + other.bytes,
            wanted: self.wanted + other.wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use eventlog::Kind;

    use super::*;

    fn closed(folder: &std::path::Path, number: u64) -> Closed {
        let path = folder.join(format!("ringpost-{number:08}.log"));
        let line = |event: &str| format!("{{\"time\":\"x\",\"event\":\"{event}\"}}\n");
        std::fs::write(&path, line("stop") + &line("start") + &line("stop")).unwrap();
        Closed { number, path, compressed: false }
    }

    #[test]
    fn what_goes_unread_is_counted_for_each_reader_by_what_it_wants() {
        let folder = tempfile::tempdir().unwrap();
        let readers = Readers::default();
        let place = |number, offset| Place { number, offset };
        let stops = Arc::new(Filter { kinds: vec![Kind::Stop], ..Filter::default() });
        let slow = readers.add(place(1, 0), stops);
        // Behind the first line of file 2.
        let within = readers.add(place(2, 28), Arc::default());
        let ahead = readers.add(place(3, 0), Arc::default());
        for number in [1, 2] {
            readers.going(&closed(folder.path(), number));
        }
        let gone = slow.take_gone(&(1..=2));
        assert_eq!((gone.files, gone.lines, gone.wanted), (2, 6, 4));
        assert_eq!(slow.take_gone(&(1..=2)), Gone::default(), "told once");
        let gone = within.take_gone(&(2..=2));
        assert_eq!((gone.files, gone.lines, gone.wanted), (1, 2, 2));
        assert_eq!(ahead.take_gone(&(1..=2)), Gone::default());
        readers.remove(&slow);
        readers.going(&closed(folder.path(), 3));
        assert_eq!((slow.take_gone(&(3..=3)).files, within.take_gone(&(3..=3)).files), (0, 1));
    }

    #[test]
    fn many_files_that_went_are_counted_together() {
        let readers = Readers::default();
        let reader = readers.add(Place { number: 1, offset: 0 }, Arc::default());
        let one = Gone { files: 1, lines: 2, bytes: 3, wanted: 1 };
        (1..=3_000).for_each(|number| reader.note(number, one));
        assert_eq!(reader.inner().gone.len(), GONE_MAX);
        let all = reader.take_gone(&(1..=3_000));
        assert_eq!((all.files, all.lines, all.bytes, all.wanted), (3_000, 6_000, 9_000, 3_000));
    }
}
