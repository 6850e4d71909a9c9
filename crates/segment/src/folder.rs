//! The data folder: made, locked, read in at the start.
//!
//! ```text
//! <data>/lock                    held while a program uses the folder; its pid
//! <data>/segments/0000000012     segment 12
//! <data>/segments/spare.3        allocated, not in use
//! <data>/segments/numbers        no number below this one is given out again
//! ```
//!
//! Never here: what stands in a segment (`spool`). Invariants: whatever is read
//! in is on stable storage: a program that died without the machine leaves
//! writes that are in memory only, and from here on they count; one program per
//! folder; nothing in it can be read by other users; a number is never given
//! to a second segment, even when the first is long gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::SegmentId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::disk;
use crate::error::FolderError;
use crate::file::SegmentFile;
use crate::keeper::Keeper;
use crate::medium::FileMedium;
use crate::shared::Shared;

/// A data folder in use by this program. The lock is held until this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    segments: PathBuf,
    shared: Arc<Shared>,
    spares: Vec<PathBuf>,
    #[expect(dead_code, reason = "held for its lock")]
    lock: File,
}

impl Folder {
    /// Opens a data folder, making it if need be, brings all of it to stable
    /// storage and maps its segments.
    ///
    /// # Errors
    /// [`FolderError::LocalInUse`], [`FolderError::LocalOpenToAll`],
    /// [`FolderError::LocalIo`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        make_folder(path)?;
        refuse_if_open_to_all(path)?;
        let lock = lock(path)?;
        let segments = path.join("segments");
        make_folder(&segments)?;
        // A segment is only as durable as the way to it.
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        for folder in [path, above.unwrap_or(Path::new("."))] {
            disk::sync_folder(folder).map_err(FolderError::io("cannot sync", folder))?;
        }
        let mut folder = Self {
            path: path.to_path_buf(),
            shared: Arc::default(),
            spares: Vec::new(),
            segments,
            lock,
        };
        folder.read_in()?;
        Ok(folder)
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All segments, in ascending order.
    pub fn list(&self) -> Vec<SegmentId> {
        self.shared.list()
    }

    /// A medium for one shard, or for recovery.
    pub fn medium(&self) -> FileMedium {
        FileMedium::new(self.segments.clone(), Arc::clone(&self.shared))
    }

    /// What makes and removes segments of `segment_bytes` bytes. Make one.
    ///
    /// # Errors
    /// [`FolderError::LocalIo`].
    pub fn keeper(&self, segment_bytes: u32) -> Result<Keeper, FolderError> {
        Keeper::new(
            self.segments.clone(),
            Arc::clone(&self.shared),
            self.spares.clone(),
            segment_bytes,
        )
    }

    fn read_in(&mut self) -> Result<(), FolderError> {
        let cannot_list = || FolderError::io("cannot list", &self.segments);
        let entries = std::fs::read_dir(&self.segments).map_err(cannot_list())?;
        for entry in entries {
            let path = entry.map_err(cannot_list())?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(segment) = segment_of(name) {
                let file = File::open(&path).map_err(FolderError::io("cannot open", &path))?;
                disk::sync(&file).map_err(FolderError::io("cannot sync", &path))?;
                let file = SegmentFile::map(&file).map_err(FolderError::io("cannot map", &path))?;
                self.shared.insert(segment, file);
            } else if name.starts_with(SPARE) {
                self.spares.push(path);
            } else if name.ends_with(UNFINISHED) {
                disk::remove(&path).map_err(FolderError::io("cannot remove", &path))?;
            }
        }
        self.spares.sort_unstable();
        let synced = disk::sync_folder(&self.segments);
        synced.map_err(FolderError::io("cannot sync", &self.segments))
    }
}

/// The file of a segment.
pub(crate) fn segment_path(folder: &Path, segment: SegmentId) -> PathBuf {
    folder.join(format!("{:010}", segment.0))
}

fn segment_of(name: &str) -> Option<SegmentId> {
    let digits = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { name.parse().ok()? } else { return None };
    (number != 0).then_some(SegmentId(number))
}

fn make_folder(path: &Path) -> Result<(), FolderError> {
    disk::make_folder(path).map_err(FolderError::io("cannot create the folder", path))
}

/// Whoever may write into the folder may put another queue in the place of
/// ours, and read all mail in the end.
fn refuse_if_open_to_all(path: &Path) -> Result<(), FolderError> {
    let meta = std::fs::metadata(path).map_err(FolderError::io("cannot look at", path))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o002 == 0 {
        return Ok(());
    }
    Err(FolderError::LocalOpenToAll { folder: path.to_path_buf(), mode })
}

/// Takes the folder's lock and writes our process id into it, for people.
fn lock(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join("lock");
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
    };
    let mut file = open().map_err(FolderError::io("cannot open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let read = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(FolderError::LocalInUse { folder: folder.to_path_buf(), pid });
        }
        Err(error) => return Err(FolderError::io("cannot lock", &path)(error.into())),
    }
    let written: io::Result<()> =
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(FolderError::io("cannot write", &path))?;
    Ok(file)
}

pub(crate) const SPARE: &str = "spare.";
pub(crate) const UNFINISHED: &str = ".new";
