//! One segment file: made, mapped, never shortened.
//!
//! Never writes through the map and never truncates a file that may be
//! mapped. Invariants: a new file is allocated and written with zeros before
//! it gets a number, so no later write can find the disk full or make the file
//! system's journal part of a commit; a number goes with a superblock that was
//! durable before the file had its name.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use base::SegmentId;
use memmap2::Mmap;
use spool::{FIRST_RECORD, SEGMENT_BYTES_MAX, Superblock};

use crate::disk;

/// A mapped segment. Cloning the `Arc` around it keeps its bytes readable.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl SegmentFile {
    /// Maps the whole of `file` for reading.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        if bytes == 0 {
            return Ok(Self { map: None });
        }
        if bytes > u64::from(SEGMENT_BYTES_MAX) {
            return Err(io::Error::other("a segment file has at most 2 GiB"));
        }
        // SAFETY: The range is the whole file, which nobody shortens: this
        // crate never truncates a file with a segment's name or a spare's, the
        // file has mode 0600 and the folder is locked against a second
        // program. The map is read-only. Its bytes change only by appends,
        // which the spool makes to ranges that it has not handed out yet, and
        // by recycling, which waits until no map of the file is left
        // (`Shared::is_unused`). The map lives as long as this value.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self { map: Some(map) })
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

/// Makes a zeroed, durable file of `bytes` bytes at `path`; leaves nothing
/// behind when that fails.
pub(crate) fn create_zeroed(path: &Path, bytes: u32) -> io::Result<()> {
    let file = disk::create_new(path)?;
    let made = fill(&file, bytes);
    if made.is_err() {
        // The first error is the one worth telling.
        let _ = disk::remove(path);
    }
    made
}

fn fill(file: &File, bytes: u32) -> io::Result<()> {
    disk::allocate(file, bytes)?;
    let zeros = vec![0; ZEROS_BYTES.min(bytes as usize)];
    let mut at = 0;
    while at < u64::from(bytes) {
        let rest = (u64::from(bytes) - at).min(zeros.len() as u64);
        disk::write(file, &zeros[..rest as usize], at)?;
        at += rest;
        if at.is_multiple_of(SYNC_BYTES) {
            disk::sync(file)?;
        }
    }
    disk::sync(file)
}

/// Gives the spare file at `path` a number, durably. What an earlier life of
/// the file left behind its first record header does not matter: every record
/// carries its segment's number.
pub(crate) fn give_number(path: &Path, segment: SegmentId) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let bytes = u32::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut first = [0; FIRST_RECORD as usize + 64];
    let superblock = Superblock { segment, bytes }.encode();
    first[..superblock.len()].copy_from_slice(&superblock);
    disk::write(&file, &first, 0)?;
    disk::sync(&file)
}

/// Written at a time. Larger writes give the page cache larger folios, and then
/// each small append to one walks all its blocks: 1 MiB here doubles the cost of
/// an append (13 against 6.6 µs for the three records of a message).
const ZEROS_BYTES: usize = 1 << 16;
/// Synced at a time. The disk serves the commits of the shards meanwhile, and
/// none of them should wait behind a whole segment of zeros.
const SYNC_BYTES: u64 = 1 << 20;
