//! Where a reader's bookmark lies: one sector of a file of its own, overwritten
//! in one piece.
//!
//! Never synced but when it is made: after a crash of the program it is as it
//! was kept last, after a power cut perhaps older, and then lines are sent
//! again. Nothing that delivery waits for is ever synced on its behalf.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use eventlog::{BOOKMARK_BYTES, Bookmark};
use segment::small_file;

/// One bookmark.
pub(super) struct BookmarkFile {
    file: File,
}

impl BookmarkFile {
    /// Opens a bookmark, and reads it; one that is not there is `new`.
    ///
    /// # Errors
    /// What the file system gives, also for what is no bookmark.
    pub(super) fn open(path: &Path, new: &Bookmark) -> io::Result<(Self, Bookmark)> {
        let found = read(path)?;
        if found.is_none() {
            small_file::replace(path, &new.to_bytes())?;
        }
        let file = OpenOptions::new().write(true).open(path)?;
        Ok((Self { file }, found.unwrap_or(*new)))
    }

    /// Puts another one in its place.
    ///
    /// # Errors
    /// What the file system gives.
    pub(super) fn keep(&self, bookmark: &Bookmark) -> io::Result<()> {
        self.file.write_all_at(&bookmark.to_bytes(), 0)
    }
}

/// Where the bookmark of a reader called `name` lies.
pub(super) fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}{END}", name.replace(' ', "-")))
}

/// What the names of bookmarks end in.
const END: &str = ".bookmark";

/// The highest number of a file of the log that a bookmark of this folder
/// names; 0 where there is none.
pub(super) fn highest_number(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(END));
    let bookmarks = named.filter_map(|entry| read(&entry.path()).ok().flatten());
    bookmarks.map(|it| it.done.number.max(it.seen.number)).max().unwrap_or(0)
}

fn read(path: &Path) -> io::Result<Option<Bookmark>> {
    let Some(bytes) = small_file::read(path, BOOKMARK_BYTES as u64)? else { return Ok(None) };
    let none =
        || io::Error::new(io::ErrorKind::InvalidData, "is no bookmark; remove it to begin anew");
    Bookmark::parse(&bytes).map(Some).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use eventlog::Place;

    use super::*;

    #[test]
    fn a_bookmark_is_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "webhook audit");
        assert!(path.ends_with("webhook-audit.bookmark"));
        let new = Bookmark { instance: 7, ..Bookmark::default() };
        let (file, found) = BookmarkFile::open(&path, &new).unwrap();
        assert_eq!(found, new);
        let later = Bookmark { done: Place { number: 12, offset: 3 }, ..new };
        file.keep(&later).unwrap();
        let other = Bookmark { instance: 8, ..Bookmark::default() };
        assert_eq!(BookmarkFile::open(&path, &other).unwrap().1, later);
        assert_eq!(highest_number(folder.path()), 12);
        assert_eq!(highest_number(&folder.path().join("none")), 0);
        // What somebody else wrote there is not taken for a begin.
        fs::write(&path, "x").unwrap();
        assert!(BookmarkFile::open(&path, &new).is_err());
    }
}
