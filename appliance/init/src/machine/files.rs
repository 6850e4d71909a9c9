//! Small files, read as far as they go and never further than a bound, and put
//! in place as a whole.
//!
//! Two kinds: those of the kernel and of root, which are what they seem, and
//! those in folders of the daemon, whose owner may put anything there: no link
//! is followed in them, and nothing opened that could wait.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use init::pulse::own_kib;
use nix::fcntl::OFlag;

use super::removal::{go_on, remove_folder};
use super::storage::{FOLDER, REMOVED};

/// Bytes read of any of them.
const BYTES_MAX: u64 = 4 << 20;
/// Entries of folders taken away at once.
const REMOVED_AT_ONCE: usize = 10_000;

/// The text of a file; empty if it cannot be read.
pub fn text(path: impl AsRef<Path>) -> String {
    String::from_utf8_lossy(&bytes(path)).into_owned()
}

/// The bytes of a file; none if it cannot be read.
pub fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read before an error is what there is.
        let _ = file.take(BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
}

/// The text of a file that holds one word.
pub fn word(path: impl AsRef<Path>) -> String {
    text(path).trim().to_owned()
}

/// When a file was written last, in seconds since 1970.
pub fn written_at(path: &Path) -> Option<u64> {
    let time = fs::symlink_metadata(path).ok()?.modified().ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Memory and open files of a process, by its folder in `/proc`.
pub fn usage(process: &str) -> String {
    let folder = Path::new("/proc").join(process);
    let kib = own_kib(&text(folder.join("status"))).unwrap_or_default();
    let files = fs::read_dir(folder.join("fd")).map_or(0, Iterator::count);
    format!("{kib} KiB {files} files")
}

/// Opens a file in a folder of the daemon's.
///
/// # Errors
/// It is no plain file, or what the file system says.
pub fn open_given(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("no plain file")) }
}

/// The text of a file in a folder of the daemon's; None if there is none, and
/// in words what is wrong with it.
pub fn given(path: &Path, bytes_max: usize) -> Option<Result<String, String>> {
    if fs::symlink_metadata(path).is_err() {
        return None;
    }
    let read = || {
        let (mut bytes, room) = (Vec::new(), bytes_max as u64 + 1);
        let file = open_given(path).map_err(|error| error.to_string())?;
        file.take(room).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() > bytes_max {
            return Err(format!("more than {bytes_max} octets"));
        }
        String::from_utf8(bytes).map_err(|_| "no text".to_owned())
    };
    Some(read())
}

/// Puts a file in place as a whole, durably; whatever lay under the name it has
/// on its way is taken away and not followed.
///
/// # Errors
/// What the file system says; then the file before is still there.
pub fn replace(place: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put(place, bytes, mode, true)?;
    sync_folder(place)
}

/// The same without waiting for the disk: for what is of this start only. A disk
/// that is slow to flush must not keep PID 1 from the watchdog.
///
/// # Errors
/// As [`replace`].
pub fn tell(place: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put(place, bytes, mode, false)
}

fn put(place: &Path, bytes: &[u8], mode: u32, is_to_last: bool) -> io::Result<()> {
    let mut part = place.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    remove(&part);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
    file.write_all(bytes)?;
    if is_to_last {
        file.sync_all()?;
    }
    fs::rename(&part, place)
}

/// Makes what happened to the name of `path` last.
///
/// # Errors
/// What the file system says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Takes away what lies there; links are taken away and not followed. What
/// cannot be taken away stays. Of a folder so much goes at once as the watchdog
/// has patience for, the rest with [`remove_rest`]; its name is free.
pub fn remove(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if metadata.is_dir() && !path.starts_with(FOLDER) {
        // Another file system, and nobody else writes there.
        let _ = fs::remove_dir_all(path);
    } else if metadata.is_dir() {
        remove_folder(path, Path::new(REMOVED), REMOVED_AT_ONCE);
    } else {
        let _ = fs::remove_file(path);
    }
}

/// Takes away what is left of folders; `pet` is called while it lasts.
pub fn remove_rest(pet: &mut impl FnMut()) {
    while go_on(Path::new(REMOVED), REMOVED_AT_ONCE) == REMOVED_AT_ONCE {
        pet();
    }
}
