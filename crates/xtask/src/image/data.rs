//! The data partition of a disk that no machine uses, from outside and without
//! root: what a test puts there, and what it finds.
//!
//! It is taken out into a file of its own: e2fsck, which puts in place what the
//! journal of a machine without power holds, loses its place in a larger one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::disk::{DATA_AT, DATA_BYTES, take_out};
use super::{call, tool};

/// Octets copied at a time.
const PIECE: usize = 1 << 20;

/// Puts a text into a folder that is there; `out` takes what lies between.
///
/// # Errors
/// What e2fsprogs says.
pub fn put(disk: &Path, out: &Path, folder: &str, name: &str, text: &str) -> io::Result<()> {
    let data = taken_out(disk)?;
    let (file, commands) = (out.join("put"), out.join("debugfs-commands"));
    fs::write(&file, text)?;
    // One that is there is replaced; its absence is only told of.
    let script = format!("cd {folder}\nrm {name}\nwrite {} {name}\n", file.display());
    fs::write(&commands, script)?;
    let mut debugfs = tool("debugfs");
    debugfs.arg("-w").arg("-f").arg(&commands).arg(&data);
    call(debugfs.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let there = listed(&asked(&data, &format!("ls -p {folder}"))?);
    put_back(&data, disk)?;
    if there.iter().any(|it| it == name) {
        return Ok(());
    }
    Err(io::Error::other(format!("{name} was not put into {folder}")))
}

/// Names in a folder, sorted; none if there is no such folder.
///
/// # Errors
/// What e2fsprogs says.
pub fn names(disk: &Path, folder: &str) -> io::Result<Vec<String>> {
    let data = taken_out(disk)?;
    Ok(listed(&asked(&data, &format!("ls -p {folder}"))?))
}

/// What debugfs says to one command. It greets on its other output, and tells
/// there what is missing.
fn asked(data: &Path, command: &str) -> io::Result<String> {
    let mut debugfs = tool("debugfs");
    let said = debugfs.args(["-R", command]).arg(data).output()?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// The partition in a file of its own beside the disk, checked.
fn taken_out(disk: &Path) -> io::Result<PathBuf> {
    let data = disk.with_extension("data");
    let bytes = fs::metadata(disk)?.len().saturating_sub(DATA_AT).min(DATA_BYTES);
    take_out(disk, DATA_AT, bytes, &data)?;
    let mut e2fsck = tool("e2fsck");
    let said = e2fsck.arg("-p").arg(&data).output()?;
    // 1: something was mended, as it is at a start.
    match said.status.code() {
        Some(0 | 1) => Ok(data),
        _ => Err(io::Error::other(String::from_utf8_lossy(&said.stdout).into_owned())),
    }
}

/// Writes what differs, so that what is not used takes no room.
fn put_back(data: &Path, disk: &Path) -> io::Result<()> {
    let to = File::options().read(true).write(true).open(disk)?;
    let from = File::open(data)?;
    let (mut new, mut old) = (vec![0; PIECE], vec![0; PIECE]);
    for (place, count) in pieces(from.metadata()?.len()) {
        from.read_exact_at(&mut new[..count], place)?;
        to.read_exact_at(&mut old[..count], DATA_AT + place)?;
        if new[..count] != old[..count] {
            to.write_all_at(&new[..count], DATA_AT + place)?;
        }
    }
    fs::remove_file(data)
}

/// Places and lengths of all that there is.
fn pieces(bytes: u64) -> impl Iterator<Item = (u64, usize)> {
    let length = move |place: u64| usize::try_from(bytes - place).unwrap_or(PIECE).min(PIECE);
    (0..bytes).step_by(PIECE).map(move |place| (place, length(place)))
}

/// What `ls -p` says: `/inode/mode/user/group/name/bytes/`, a line each.
fn listed(said: &str) -> Vec<String> {
    let name = |line: &str| line.split('/').nth(5).map(str::to_owned);
    let mut names: Vec<String> = said.lines().filter_map(name).collect();
    names.retain(|name| !name.is_empty() && name != "." && name != "..");
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_there_is_found() {
        let folder = std::env::temp_dir().join(format!("ringpost-data-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let disk = folder.join("disk");
        File::create(&disk).unwrap().set_len(DATA_AT + (8 << 20)).unwrap();
        let mut mke2fs = tool("mke2fs");
        mke2fs.args(["-q", "-F", "-t", "ext4", "-E", &format!("offset={DATA_AT}")]);
        call(mke2fs.arg(&disk).arg("8192k")).unwrap();
        for words in ["first", "second"] {
            put(&disk, &folder, "/lost+found", "request", words).unwrap();
            let data = taken_out(&disk).unwrap();
            assert_eq!(asked(&data, "cat /lost+found/request").unwrap(), words);
        }
        assert_eq!(names(&disk, "/lost+found").unwrap(), ["request"]);
        assert!(names(&disk, "/none").unwrap().is_empty());
        assert!(put(&disk, &folder, "/none", "request", "x").is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
