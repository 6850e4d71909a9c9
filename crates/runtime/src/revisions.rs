//! The revisions of the configuration on disk: one file each in
//! `DATA/config`, and one with the numbers that point at them.
//!
//! Decides nothing: what the files mean is `control::revisions`. Invariant: a
//! file is there whole or not at all, and what points at it is written after
//! it.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use control::config::CONFIG_BYTES_MAX;
use control::revisions::file::{self, Pointers};
use control::revisions::{History, LocalLost, Revision};
use segment::small_file;

/// The folder of the revisions.
#[derive(Clone, Debug)]
pub(crate) struct Store(PathBuf);

/// Why the history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it.
    #[error("the history of the configuration in {0} cannot be read: {1}")]
    LocalFolder(PathBuf, io::Error),
    /// It says what cannot be.
    #[error("the history of the configuration in {0} is damaged: {1}")]
    LocalDamaged(PathBuf, LocalLost),
    /// The pointers say nothing.
    #[error("the history of the configuration in {0} is damaged: its pointers do not read")]
    LocalPointers(PathBuf),
}

const POINTERS: &str = "pointers";
const FILE_BYTES_MAX: u64 = (CONFIG_BYTES_MAX + file::HEAD_BYTES_MAX) as u64;
const POINTERS_BYTES_MAX: u64 = 256;

impl Store {
    /// The store in the data folder `data`; nothing is touched.
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.join("config"))
    }

    /// The history as it was stored; `None` where there is none yet. Files that
    /// are no revisions are passed over.
    pub(crate) fn history(&self) -> Result<Option<History>, StoreError> {
        let unreadable = |error| StoreError::LocalFolder(self.0.clone(), error);
        let path = self.0.join(POINTERS);
        let pointers = small_file::read(&path, POINTERS_BYTES_MAX).map_err(unreadable)?;
        let Some(pointers) = pointers else { return Ok(None) };
        let pointers = read_pointers(&pointers);
        let pointers = pointers.ok_or_else(|| StoreError::LocalPointers(self.0.clone()))?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|end| end == "toml") {
                kept.extend(head(&path).map_err(unreadable)?);
            }
        }
        let history = History::stored(kept, pointers);
        history.map(Some).map_err(|lost| StoreError::LocalDamaged(self.0.clone(), lost))
    }

    /// The text of a revision; `None` where its file is gone or damaged.
    pub(crate) fn text(&self, number: u64) -> io::Result<Option<String>> {
        let Some(bytes) = small_file::read(&self.path(number), FILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let whole = String::from_utf8(bytes).ok();
        Ok(whole.and_then(|whole| file::read(&whole).map(|(_, text)| text.to_owned())))
    }

    /// The text of a revision without which nothing goes on.
    pub(crate) fn known_text(&self, number: u64) -> Result<String, StoreError> {
        match self.text(number) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(StoreError::LocalDamaged(self.0.clone(), LocalLost(number))),
            Err(error) => Err(StoreError::LocalFolder(self.0.clone(), error)),
        }
    }

    /// Stores a revision, durably.
    pub(crate) fn write(&self, revision: &Revision, text: &str) -> io::Result<()> {
        if !self.0.is_dir() {
            fs::create_dir(&self.0)?;
            if let Some(data) = self.0.parent() {
                fs::File::open(data)?.sync_all()?;
            }
        }
        let content = file::written(revision, text);
        small_file::replace(&self.path(revision.number), content.as_bytes())
    }

    /// Stores what points at revisions, durably.
    pub(crate) fn point(&self, pointers: Pointers) -> io::Result<()> {
        let content = file::written_pointers(pointers);
        small_file::replace(&self.0.join(POINTERS), content.as_bytes())
    }

    /// Takes back a revision that was not stored well; `before` is what pointed at
    /// others. A pointer may have moved although that failed, for its folder is
    /// synced last: the revision goes only once nothing points at it.
    pub(crate) fn take_back(&self, number: u64, before: Pointers) {
        if self.point(before).is_ok() {
            self.forget(number);
        }
    }

    /// Takes a revision out. One that stays costs nothing but its room.
    pub(crate) fn forget(&self, number: u64) {
        let _ = fs::remove_file(self.path(number));
    }

    fn path(&self, number: u64) -> PathBuf {
        // As many digits as a number can have, so that they sort by name.
        self.0.join(format!("{number:010}.toml"))
    }
}

fn read_pointers(content: &[u8]) -> Option<Pointers> {
    file::read_pointers(std::str::from_utf8(content).ok()?)
}

/// What the head of a revision's file says, with the bytes of its text.
fn head(path: &Path) -> io::Result<Option<(Revision, u64)>> {
    let opened = fs::File::open(path)?;
    let bytes = opened.metadata()?.len();
    let mut start = Vec::new();
    opened.take(file::HEAD_BYTES_MAX as u64).read_to_end(&mut start)?;
    Ok(file::read_head(&start, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Wall;
    use control::revisions::{Fate, Origin};

    fn revision(number: u64) -> Revision {
        let (time, comment) = (Wall::from_millis(1), "why".to_owned());
        let (base, origin) = (number - 1, Origin::Socket);
        Revision { number, base, time, uid: 1, pid: 2, origin, comment }
    }

    #[test]
    fn a_history_is_there_again_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::new(data.path());
        assert!(store.history().unwrap().is_none());
        store.write(&revision(1), "# one\n").unwrap();
        assert!(store.history().unwrap().is_none(), "nothing points at it yet");
        let mut history = History::new(revision(1), 6);
        store.point(history.pointers()).unwrap();
        store.write(&revision(2), "# two").unwrap();
        history.add(revision(2), 5, Fate::Rules);
        let read = store.history().unwrap().unwrap();
        assert_eq!((read.current(), read.next_number()), (1, 3), "the pointer was not moved");
        store.point(history.pointers()).unwrap();
        let read = store.history().unwrap().unwrap();
        assert_eq!((read.current(), read.of_file()), (2, 1));
        assert_eq!(store.text(2).unwrap().as_deref(), Some("# two"));
        assert_eq!(store.text(3).unwrap(), None);
    }

    /// The new pointers were in their place, and then their folder could not be
    /// synced: the commit was refused and its revision removed, and no later
    /// start found the revision that ruled.
    #[test]
    fn what_was_pointed_at_in_vain_is_taken_back_with_its_pointer() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::new(data.path());
        store.write(&revision(1), "# one\n").unwrap();
        let before = Pointers { current: 1, file: 1 };
        store.point(before).unwrap();
        store.write(&revision(2), "# two\n").unwrap();
        store.point(Pointers { current: 2, file: 1 }).unwrap();
        store.take_back(2, before);
        assert_eq!(store.history().unwrap().unwrap().current(), 1);
        assert_eq!(store.text(2).unwrap(), None);
        // And where even that fails, what may be pointed at stays.
        store.write(&revision(2), "# two\n").unwrap();
        store.point(Pointers { current: 2, file: 1 }).unwrap();
        fs::create_dir(data.path().join("config/pointers.new")).unwrap();
        store.take_back(2, before);
        assert_eq!(store.history().unwrap().unwrap().current(), 2);
    }

    #[test]
    fn a_damaged_revision_is_none_and_is_missed_only_where_it_rules() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::new(data.path());
        store.write(&revision(1), "# one\n").unwrap();
        store.write(&revision(2), "# two\n").unwrap();
        store.point(Pointers { current: 2, file: 2 }).unwrap();
        fs::write(store.path(1), "rubbish").unwrap();
        assert_eq!(store.history().unwrap().unwrap().latest_first().count(), 1);
        assert_eq!(store.text(1).unwrap(), None);
        fs::write(store.path(2), "rubbish").unwrap();
        assert!(matches!(store.history(), Err(StoreError::LocalDamaged(..))));
        fs::write(data.path().join("config/pointers"), "rubbish").unwrap();
        assert!(matches!(store.history(), Err(StoreError::LocalPointers(_))));
    }
}
