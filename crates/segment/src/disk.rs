//! Every call that changes what is on disk, one function each.
//!
//! Nothing else in this room creates, writes, syncs, renames or removes a file
//! of the queue, so that a test can write down all of it in order and make of
//! that what a power cut could have left (`tests/images.rs`). Never here:
//! when and why. The lock file is not the queue's and is left out.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, fsync};
use rustix::io::{Errno, pwritev};

#[cfg(test)]
use crate::tests::trace;

/// Makes a folder for its owner only; those above it too.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    trace::making(path)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file for its owner only, which must not be there.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    #[cfg(test)]
    trace::created(path, &file)?;
    Ok(file)
}

/// Makes a file for its owner only, or empties the one that is there.
pub(crate) fn create_empty(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    #[cfg(test)]
    trace::created(path, &file)?;
    Ok(file)
}

/// Gives a file its blocks and its length.
pub(crate) fn allocate(file: &File, bytes: u32) -> io::Result<()> {
    fallocate(file, FallocateFlags::empty(), 0, bytes.into())?;
    #[cfg(test)]
    trace::allocated(file, bytes.into())?;
    Ok(())
}

/// Writes all of `bytes`.
pub(crate) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    trace::writing(file, bytes, offset)?;
    file.write_all_at(bytes, offset)
}

/// Writes all parts one behind the other, in as few calls as it takes.
pub(crate) fn write_parts(file: &File, mut offset: u64, parts: &[&[u8]]) -> io::Result<()> {
    #[cfg(test)]
    trace::writing(file, &parts.concat(), offset)?;
    let mut slices = [IoSlice::new(&[]); PARTS_PER_CALL];
    let mut rest = parts;
    // Bytes of the first part that are written already.
    let mut begun = 0;
    while let Some(first) = rest.first() {
        slices[0] = IoSlice::new(&first[begun..]);
        let count = rest.len().min(PARTS_PER_CALL);
        for (slice, part) in slices.iter_mut().zip(&rest[..count]).skip(1) {
            *slice = IoSlice::new(part);
        }
        let wanted = slices[..count].iter().map(|slice| slice.len()).sum::<usize>();
        let written = match pwritev(file, &slices[..count], offset) {
            Ok(0) if wanted > 0 => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        offset += written as u64;
        begun += written;
        while let Some(part) = rest.first().filter(|part| begun >= part.len()) {
            begun -= part.len();
            rest = &rest[1..];
        }
    }
    Ok(())
}

/// Brings a file to stable storage.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    trace::syncing(file)?;
    Ok(fsync(file)?)
}

/// Brings a folder's entries to stable storage.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    trace::syncing_folder(path)?;
    Ok(fsync(File::open(path)?)?)
}

/// Gives a file another name; what had that name is gone.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    trace::renaming(from, to)?;
    std::fs::rename(from, to)
}

/// Takes a file's name away.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    trace::removing(path)?;
    std::fs::remove_file(path)
}

/// Parts handed to the kernel in one call; a message has three or four.
const PARTS_PER_CALL: usize = 16;
