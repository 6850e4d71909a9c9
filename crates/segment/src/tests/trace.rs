//! What the real file code did to the disk, in order: written down by
//! `disk.rs` for the thread that asked for it.
//!
//! Never a change of what is done, but for the failures that a test plans.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One change, as the system was asked for it. Files go by their inodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    MakeFolder(PathBuf),
    /// A new file, or an old one that was emptied.
    Create {
        path: PathBuf,
        inode: u64,
    },
    Allocate {
        inode: u64,
        bytes: u64,
    },
    Write {
        inode: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    Sync {
        inode: u64,
    },
    /// What it should have covered may never reach the disk.
    FailedSync {
        inode: u64,
    },
    SyncFolder(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
}

#[derive(Default)]
struct Trace {
    acts: Vec<Act>,
    /// Changes that still go well; the next one fails.
    good: Option<u64>,
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Begins to write down what this thread does.
pub(crate) fn start() {
    TRACE.set(Some(Trace::default()));
}

/// The changes so far.
pub(crate) fn len() -> u64 {
    TRACE.with_borrow(|trace| trace.as_ref().map_or(0, |trace| trace.acts.len() as u64))
}

/// Ends it and gives what was written down.
pub(crate) fn take() -> Vec<Act> {
    TRACE.take().map_or_else(Vec::new, |trace| trace.acts)
}

/// Lets one change fail, once `good` more have gone well.
pub(crate) fn fail_after(good: u64) {
    TRACE.with_borrow_mut(|trace| trace.get_or_insert_default().good = Some(good));
}

pub(crate) fn making(path: &Path) -> io::Result<()> {
    note(|| Act::MakeFolder(path.to_path_buf()))
}

pub(crate) fn created(path: &Path, file: &File) -> io::Result<()> {
    let path = path.to_path_buf();
    note(|| Act::Create { path, inode: inode(file) })
}

pub(crate) fn allocated(file: &File, bytes: u64) -> io::Result<()> {
    note(|| Act::Allocate { inode: inode(file), bytes })
}

pub(crate) fn writing(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    note(|| Act::Write { inode: inode(file), offset, bytes: bytes.to_vec() })
}

pub(crate) fn syncing(file: &File) -> io::Result<()> {
    note(|| Act::Sync { inode: inode(file) })
}

pub(crate) fn sync_failed(file: &File) {
    let noted = note(|| Act::FailedSync { inode: inode(file) });
    noted.expect("a failed sync is not made to fail");
}

pub(crate) fn syncing_folder(path: &Path) -> io::Result<()> {
    note(|| Act::SyncFolder(path.to_path_buf()))
}

pub(crate) fn renaming(from: &Path, to: &Path) -> io::Result<()> {
    note(|| Act::Rename { from: from.to_path_buf(), to: to.to_path_buf() })
}

pub(crate) fn removing(path: &Path) -> io::Result<()> {
    note(|| Act::Remove(path.to_path_buf()))
}

fn inode(file: &File) -> u64 {
    file.metadata().expect("an open file can be asked").ino()
}

fn note(act: impl FnOnce() -> Act) -> io::Result<()> {
    TRACE.with_borrow_mut(|trace| {
        let Some(trace) = trace else { return Ok(()) };
        match &mut trace.good {
            Some(0) => {
                trace.good = None;
                return Err(io::Error::other("planned by the test"));
            }
            Some(good) => *good -= 1,
            None => {}
        }
        trace.acts.push(act());
        Ok(())
    })
}
