//! Making and removing segments: everything that may block for long.
//!
//! The runtime owns one [`Keeper`] and calls it from a thread of its own.
//! Never here: when a segment is needed or done with (`spool`).
//!
//! Invariants: a segment is durable, its folder entry too, before anybody
//! hears of it; a file is recycled only when no map of it is left; a retired
//! segment leaves the table of segments only once it is gone for good.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::SegmentId;
use rustix::fs::statvfs;

use crate::disk;
use crate::error::FolderError;
use crate::file::{SegmentFile, create_zeroed, give_number};
use crate::folder::{SPARE, UNFINISHED, segment_path};
use crate::shared::Shared;
use crate::small_file;

/// Makes, recycles and removes the segments of one folder.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    shared: Arc<Shared>,
    segment_bytes: u32,
    spares: Vec<PathBuf>,
    spare_number: u64,
    next: u32,
    /// Numbers below this one are given out as far as a crash is concerned.
    reserved: u32,
    /// Retired segments whose maps may be in use.
    retired: Vec<SegmentId>,
}

impl Keeper {
    pub(crate) fn new(
        folder: PathBuf,
        shared: Arc<Shared>,
        found: Vec<PathBuf>,
        segment_bytes: u32,
    ) -> Result<Self, FolderError> {
        let numbers = folder.join(NUMBERS);
        let reserved = match small_file::read(&numbers, 32) {
            Ok(text) => text
                .map(|text| str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(None),
            Err(error) => return Err(FolderError::io("cannot read", &numbers)(error)),
        };
        let newest = shared.list().last().map_or(0, |segment| segment.0);
        let reserved = match reserved {
            Some(Some(reserved)) => reserved,
            None => 1,
            // Damaged: stay clear of whatever it said.
            Some(None) => newest.saturating_add(NUMBERS_AFTER_DAMAGE),
        };
        let next = reserved.max(newest.saturating_add(1));
        let mut keeper = Self {
            folder,
            shared,
            segment_bytes,
            spares: Vec::new(),
            spare_number: 0,
            next,
            reserved: next,
            retired: Vec::new(),
        };
        for path in found {
            let spare = keeper.take_in(path);
            let spare =
                spare.map_err(FolderError::io("cannot use the files in", &keeper.folder))?;
            keeper.spares.extend(spare);
        }
        Ok(keeper)
    }

    /// A fresh segment: allocated, durable, known to all shards. Takes a
    /// spare where there is one, else zeroes a new file first.
    ///
    /// # Errors
    /// When there is no room or the disk is bad; ask again later.
    pub fn create(&mut self) -> io::Result<(SegmentId, u32)> {
        self.free_unused()?;
        if self.spares.is_empty() {
            self.make_spare()?;
        }
        let segment = SegmentId(self.number()?);
        let spare = self.spares.pop().expect("a spare was made");
        let path = segment_path(&self.folder, segment);
        if let Err(error) = give_number(&spare, segment).and_then(|()| disk::rename(&spare, &path))
        {
            // Its room would be missed; but it may be bad, so others come first.
            self.spares.insert(0, spare);
            return Err(error);
        }
        disk::sync_folder(&self.folder)?;
        let file = SegmentFile::map(&File::open(&path)?)?;
        let bytes = file.bytes().len() as u32;
        self.shared.insert(segment, file);
        self.next += 1;
        Ok((segment, bytes))
    }

    /// Makes one spare if too few are left; recycles what was retired. Call it
    /// while nothing else is to be done; `true` when it should be called again.
    ///
    /// # Errors
    /// As [`Keeper::create`].
    pub fn prepare(&mut self) -> io::Result<bool> {
        self.free_unused()?;
        if self.spares.len() >= SPARES {
            return Ok(false);
        }
        self.make_spare()?;
        Ok(self.spares.len() < SPARES)
    }

    /// Gives up a segment. Its file becomes a spare, or goes, once no shard
    /// can read it any more: in a later call of [`Keeper::prepare`] or
    /// [`Keeper::create`].
    ///
    /// # Errors
    /// When it could not be removed; it stays behind until the next start.
    pub fn retire(&mut self, segment: SegmentId) -> io::Result<()> {
        if self.shared.retire(segment) {
            self.retired.push(segment);
        }
        self.free_unused()
    }

    /// Free bytes and inodes of the file system, for this user.
    ///
    /// # Errors
    /// What the system says.
    pub fn free(&self) -> io::Result<(u64, u64)> {
        let found = statvfs(&self.folder)?;
        // Some file systems count no inodes.
        let inodes = if found.f_files == 0 { u64::MAX } else { found.f_favail };
        Ok((found.f_bavail.saturating_mul(found.f_frsize), inodes))
    }

    /// Recycles or removes the retired segments that nobody reads any more.
    fn free_unused(&mut self) -> io::Result<()> {
        let mut free = Vec::new();
        let shared = &self.shared;
        self.retired.retain(|segment| {
            let unused = shared.is_unused(*segment);
            free.extend(unused.then_some(*segment));
            !unused
        });
        while let Some(segment) = free.pop() {
            let path = segment_path(&self.folder, segment);
            let gone = self.take_in(path).and_then(|spare| {
                disk::sync_folder(&self.folder)?;
                Ok(spare)
            });
            match gone {
                // A file may be written anew only once its old name cannot come
                // back with a power cut.
                Ok(spare) => self.spares.extend(spare),
                Err(error) => {
                    self.retired.append(&mut free);
                    return Err(error);
                }
            }
            self.shared.forget(segment);
        }
        Ok(())
    }

    /// Gives a file that nobody reads a spare's name, or removes it.
    fn take_in(&mut self, path: PathBuf) -> io::Result<Option<PathBuf>> {
        let right_size = std::fs::metadata(&path)?.len() == u64::from(self.segment_bytes);
        if !right_size || !keeps_another(self.spares.len(), self.segment_bytes, self.free()?.0) {
            disk::remove(&path)?;
            return Ok(None);
        }
        let spare = self.spare_path();
        disk::rename(&path, &spare)?;
        Ok(Some(spare))
    }

    fn make_spare(&mut self) -> io::Result<()> {
        let spare = self.spare_path();
        let unfinished = with_ending(&spare, UNFINISHED);
        create_zeroed(&unfinished, self.segment_bytes)?;
        disk::rename(&unfinished, &spare)?;
        self.spares.push(spare);
        Ok(())
    }

    /// A name no spare has.
    fn spare_path(&mut self) -> PathBuf {
        loop {
            self.spare_number += 1;
            let path = self.folder.join(format!("{SPARE}{}", self.spare_number));
            if !path.exists() {
                return path;
            }
        }
    }

    /// The next number, so noted that no later start gives it out again.
    fn number(&mut self) -> io::Result<u32> {
        if self.next >= self.reserved {
            let reserved = self.next.checked_add(NUMBERS_RESERVED);
            let reserved = reserved.ok_or_else(|| io::Error::other("segment numbers ran out"))?;
            // Always as long, so that a full disk has room for it.
            let text = format!("{reserved:0>10}\n");
            small_file::overwrite(&self.folder.join(NUMBERS), text.as_bytes())?;
            self.reserved = reserved;
        }
        Ok(self.next)
    }
}

/// Whether one more retired file is worth keeping beside `kept` spares. To
/// zero a file anew costs as much as all the mail that goes into it, so more
/// are kept than made ahead, unless the disk is short.
fn keeps_another(kept: usize, segment_bytes: u32, free_bytes: u64) -> bool {
    let bytes = (kept as u64 + 1) * u64::from(segment_bytes);
    kept < SPARES || kept < RECYCLED_MAX && bytes <= free_bytes / RECYCLED_SHARE
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Spares made ahead for all shards together.
const SPARES: usize = 2;
/// Spares kept at most, of segments that were retired.
const RECYCLED_MAX: usize = 16;
/// Kept beyond [`SPARES`]: at most this part of what is free on the disk.
const RECYCLED_SHARE: u64 = 16;
const NUMBERS: &str = "numbers";
/// Numbers noted at a time: one durable note for so many segments.
const NUMBERS_RESERVED: u32 = 64;
const NUMBERS_AFTER_DAMAGE: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_files_are_kept_up_to_a_number_and_a_share_of_what_is_free() {
        let enough = (RECYCLED_MAX as u64) * RECYCLED_SHARE * 1_000;
        assert!(keeps_another(RECYCLED_MAX - 1, 1_000, enough));
        assert!(!keeps_another(RECYCLED_MAX - 1, 1_000, enough - 1));
        assert!(!keeps_another(RECYCLED_MAX, 1_000, u64::MAX));
        assert!(keeps_another(SPARES - 1, 1_000, 0), "as many as are made ahead anyhow");
        assert!(!keeps_another(SPARES, 1_000, 0));
    }
}
