//! Small files that are replaced as a whole: after a crash there is the old
//! content or the new one, never a mixture and never nothing.
//!
//! Never for anything large or often written: each replacement syncs a file
//! and its folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::disk;

/// Replaces the content of `path`, durably: written beside it, synced, put in
/// its place. The file gets mode 0600.
///
/// # Errors
/// What the system says; the old content stands then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut name = path.as_os_str().to_owned();
    name.push(crate::folder::UNFINISHED);
    let unfinished = Path::new(&name);
    let file = disk::create_empty(unfinished)?;
    let written = disk::write(&file, content, 0).and_then(|()| disk::sync(&file));
    if let Err(error) = written.and_then(|()| disk::rename(unfinished, path)) {
        // The first error is the one worth telling.
        let _ = disk::remove(unfinished);
        return Err(error);
    }
    disk::sync_folder(folder)
}

/// Overwrites the content of `path` where it lies if it is as long as the new
/// one, durably and without asking the disk for room; [`replace`] otherwise.
/// For contents that fit into a sector, which is written whole or not at all.
///
/// # Errors
/// What the system says.
pub fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    assert!(content.len() <= SECTOR_BYTES, "a longer content could be torn");
    let as_long = std::fs::metadata(path).is_ok_and(|meta| meta.len() == content.len() as u64);
    if !as_long {
        return replace(path, content);
    }
    let file = OpenOptions::new().write(true).open(path)?;
    disk::write(&file, content, 0)?;
    disk::sync(&file)
}

/// The smallest unit that a disk writes.
const SECTOR_BYTES: usize = 512;

/// The content of `path`; `None` when there is no such file.
///
/// # Errors
/// What the system says, and [`io::ErrorKind::InvalidData`] for more than
/// `bytes_max` bytes.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Covers: B13, B96
    #[test]
    fn a_file_is_replaced_as_a_whole_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        assert_eq!(read(&path, 10).unwrap(), None);
        replace(&path, b"first").unwrap();
        replace(&path, b"2nd").unwrap();
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some(&b"2nd"[..]));
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_as_long_is_overwritten_where_it_lies() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        overwrite(&path, b"0000000001").unwrap();
        let first = std::fs::metadata(&path).unwrap().ino();
        overwrite(&path, b"0000000002").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), first);
        assert_eq!(read(&path, 10).unwrap().as_deref(), Some(&b"0000000002"[..]));
        overwrite(&path, b"longer than before").unwrap();
        assert_eq!(read(&path, 20).unwrap().as_deref(), Some(&b"longer than before"[..]));
    }

    /// Covers: B13
    #[test]
    fn what_cannot_be_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
