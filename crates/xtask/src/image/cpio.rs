//! Archives in cpio's "newc" form, as the kernel unpacks them into its first
//! file system.
//!
//! Owner root, time zero, one link, numbers in order: nothing of the machine
//! that wrote it is in it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
/// A pipe with a name: only images that are to hang have one.
const PIPE: u32 = 0o010_644;

/// The archive of all folders and files below `root`, sorted by name.
///
/// # Errors
/// What the file system says; a link or another odd file.
pub fn archive(root: &Path) -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    walk(root, "", &mut names)?;
    names.sort();
    let mut out = Vec::new();
    for (name, number) in names.iter().zip(1..) {
        let path = root.join(name);
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            entry(&mut out, number, FOLDER, name, &[]);
        } else if metadata.is_file() {
            let is_program = metadata.permissions().mode() & 0o100 != 0;
            let mode = if is_program { PROGRAM } else { FILE };
            entry(&mut out, number, mode, name, &fs::read(&path)?);
        } else if metadata.file_type().is_fifo() {
            entry(&mut out, number, PIPE, name, &[]);
        } else {
            return Err(io::Error::other(format!("{name}: neither folder nor file")));
        }
    }
    entry(&mut out, 0, 0, "TRAILER!!!", &[]);
    out.resize(out.len().next_multiple_of(512), 0);
    Ok(out)
}

fn walk(root: &Path, folder: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(root, &name, names)?;
        }
        names.push(name);
    }
    Ok(())
}

fn entry(out: &mut Vec<u8>, number: u32, mode: u32, name: &str, bytes: &[u8]) {
    let size = u32::try_from(bytes.len()).expect("no file of the image is that large");
    let name_size = u32::try_from(name.len() + 1).expect("names are short");
    out.extend_from_slice(b"070701");
    // Inode, mode, owner, group, links, time, size, device, its own device,
    // length of the name, checksum.
    for field in [number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_the_kernel_reads_it() {
        let mut out = Vec::new();
        entry(&mut out, 1, PROGRAM, "init", b"hello");
        assert_eq!(&out[..14], b"07070100000001");
        assert_eq!(&out[14..22], b"000081ed");
        assert_eq!(&out[54..62], b"00000005", "the size");
        assert_eq!(&out[94..102], b"00000005", "the name with its end");
        assert_eq!(&out[110..115], b"init\0");
        assert_eq!(&out[116..121], b"hello");
        assert_eq!(out.len(), 124);
    }
}
