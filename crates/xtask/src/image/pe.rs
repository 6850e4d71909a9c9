//! Kernel, its files, its command line and a name in one program for the
//! firmware: a unified kernel image around systemd's stub.
//!
//! Sections are added by objcopy behind the stub's own; the two fields in which
//! it leaves the time of the build are zeroed, which the firmware does not mind.
//!
//! Read first: the UAPI group's Unified Kernel Image specification.

use std::fs;
use std::io;
use std::path::Path;

use super::{call, tool};

/// Sections begin at multiples of this.
const ALIGNMENT: u64 = 4_096;

/// What is united.
pub struct Parts<'a> {
    /// systemd's program around the rest.
    pub stub: &'a Path,
    /// The kernel.
    pub kernel: &'a Path,
    /// Its first file system.
    pub initramfs: &'a Path,
    /// What it is started with.
    pub command_line: &'a str,
    /// The version, by which the loader sorts.
    pub version: &'a str,
}

impl Parts<'_> {
    /// Writes the program to `image`; `out` takes what lies between.
    ///
    /// # Errors
    /// The stub is no program for the firmware, or a file cannot be written.
    pub fn unite(&self, out: &Path, image: &Path) -> io::Result<()> {
        let name = out.join("os-release");
        let version = self.version;
        fs::write(
            &name,
            format!(
                "ID=ringpost\nNAME=Ringpost\nPRETTY_NAME=\"Ringpost {version}\"\n\
                 VERSION_ID={version}\nIMAGE_ID=ringpost\nIMAGE_VERSION={version}\n"
            ),
        )?;
        let line = out.join("cmdline");
        fs::write(&line, self.command_line)?;
        let strange = || io::Error::other("the stub is no program for the firmware");
        let layout = Layout::read(&fs::read(self.stub)?).ok_or_else(strange)?;
        let mut at = layout.end;
        let mut objcopy = tool("objcopy");
        let sections = [
            (".osrel", &*name),
            (".cmdline", &*line),
            (".initrd", self.initramfs),
            (".linux", self.kernel),
        ];
        for (section, file) in sections {
            objcopy.arg("--add-section").arg(format!("{section}={}", file.display()));
            objcopy.arg("--change-section-vma").arg(format!("{section}={at:#x}"));
            at = (at + fs::metadata(file)?.len()).next_multiple_of(ALIGNMENT);
        }
        call(objcopy.arg(self.stub).arg(image))?;
        let mut bytes = fs::read(image)?;
        zero_times(&mut bytes).ok_or_else(strange)?;
        fs::write(image, bytes)
    }
}

/// Where a program's sections end, in memory.
struct Layout {
    end: u64,
}

impl Layout {
    fn read(bytes: &[u8]) -> Option<Self> {
        let pe = header(bytes)?;
        let sections = usize::from(u16::from_le_bytes([*bytes.get(pe + 6)?, *bytes.get(pe + 7)?]));
        let optional =
            usize::from(u16::from_le_bytes([*bytes.get(pe + 20)?, *bytes.get(pe + 21)?]));
        let base = u64::from_le_bytes(bytes.get(pe + 48..pe + 56)?.try_into().ok()?);
        let table = pe + 24 + optional;
        let mut end = 0;
        for section in 0..sections {
            let at = table + section * 40;
            let (size, place) = (word(bytes, at + 8)?, word(bytes, at + 12)?);
            end = end.max(u64::from(size) + u64::from(place));
        }
        Some(Self { end: base + end.next_multiple_of(ALIGNMENT) })
    }
}

/// Zeroes the time of the build and the checksum over it.
fn zero_times(bytes: &mut [u8]) -> Option<()> {
    let pe = header(bytes)?;
    for at in [pe + 8, pe + 24 + 64] {
        bytes.get_mut(at..at + 4)?.fill(0);
    }
    Some(())
}

/// Where the header of a 64-bit program begins.
fn header(bytes: &[u8]) -> Option<usize> {
    let at = word(bytes, 0x3c)? as usize;
    let is_one = bytes.get(at..at + 4)? == b"PE\0\0" && bytes.get(at + 24..at + 26)? == [0x0b, 2];
    is_one.then_some(at)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with one section of 0x123 bytes at 0x2000, loaded at 0x10000.
    fn program() -> Vec<u8> {
        let mut bytes = vec![0; 0x40];
        bytes[0x3c] = 0x40;
        bytes.extend_from_slice(b"PE\0\0");
        bytes.extend_from_slice(&[0x64, 0x86, 1, 0]);
        bytes.extend_from_slice(&[7; 4]);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[240, 0, 0, 0]);
        let mut optional = vec![0; 240];
        optional[..2].copy_from_slice(&[0x0b, 2]);
        optional[24..32].copy_from_slice(&0x10000u64.to_le_bytes());
        optional[64..68].copy_from_slice(&[7; 4]);
        bytes.extend(optional);
        let mut section = vec![0; 40];
        section[8..12].copy_from_slice(&0x123u32.to_le_bytes());
        section[12..16].copy_from_slice(&0x2000u32.to_le_bytes());
        bytes.extend(section);
        bytes
    }

    #[test]
    fn new_sections_begin_behind_the_last() {
        assert_eq!(Layout::read(&program()).map(|layout| layout.end), Some(0x13000));
        assert!(Layout::read(&program()[..0x60]).is_none());
        assert!(Layout::read(b"no program").is_none());
    }

    #[test]
    fn the_time_of_the_build_is_gone() {
        let mut bytes = program();
        zero_times(&mut bytes).unwrap();
        assert!(!bytes.contains(&7));
    }
}
