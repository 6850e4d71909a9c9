//! Other images for the tests of updates: the good one with a second archive
//! behind its first, which gives it another version, and a fault where it must
//! not become healthy.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk::{ESP_AT, mtool};
use super::{COMMAND_LINE, Image, call, cpio, output, pe};

/// The version of one that fails, later than any.
pub const VERSION: &str = "999.0.0";

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Its daemon is no program.
    NoDaemon,
    /// Its daemon runs and never says a word.
    SilentDaemon,
    /// Its PID 1 is no program: the kernel panics.
    Panic,
    /// Its PID 1 writes its name servers to a pipe that nobody reads, and pets
    /// the watchdog no more.
    Hang,
}

/// Puts one onto the EFI partition of `disk`, with one boot to prove itself.
///
/// # Errors
/// What a tool says.
pub fn install(
    image: &Image,
    disk: &Path,
    out: &Path,
    version: &str,
    fault: Fault,
) -> io::Result<()> {
    let program = program(image, out, version, fault)?;
    let place = format!("::/EFI/Linux/ringpost_{version}+1.efi");
    call(mtool("mcopy", &esp(disk)).arg(program).arg(place))
}

/// Makes one of this version.
///
/// # Errors
/// What a tool says.
pub fn program(image: &Image, out: &Path, version: &str, fault: Fault) -> io::Result<PathBuf> {
    let root = out.join(version);
    fs::create_dir_all(root.join("etc"))?;
    let file = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    match fault {
        Fault::None => {}
        Fault::NoDaemon => file("bin/ringpost", b"no program\n")?,
        Fault::SilentDaemon => file("bin/ringpost", &silent_program())?,
        Fault::Panic => file("init", b"no program\n")?,
        Fault::Hang => call(Command::new("mkfifo").arg(root.join("etc/resolv.conf")))?,
    }
    fs::write(root.join("etc/ringpost-version"), format!("{version}\n"))?;
    // The kernel unpacks one archive after the other, the later over the earlier.
    let mut archives = fs::read(&image.initramfs)?;
    archives.resize(archives.len().next_multiple_of(4), 0);
    archives.extend(cpio::archive(&root)?);
    let initramfs = out.join(format!("{version}.cpio"));
    fs::write(&initramfs, archives)?;
    let program = out.join(format!("{version}.efi"));
    let parts = pe::Parts {
        stub: &image.stub,
        kernel: &image.kernel,
        initramfs: &initramfs,
        command_line: COMMAND_LINE,
        version,
    };
    parts.unite(out, &program)?;
    Ok(program)
}

/// Names of the images on the EFI partition of `disk`, sorted.
///
/// # Errors
/// What mtools says.
pub fn installed(disk: &Path) -> io::Result<Vec<String>> {
    let said = output(mtool("mdir", &esp(disk)).args(["-b", "::/EFI/Linux"]))?;
    let name = |line: &str| line.trim().rsplit('/').next().map(str::to_owned);
    let mut names: Vec<String> = said.lines().filter_map(name).collect();
    names.retain(|name| name.ends_with(".efi"));
    names.sort();
    Ok(names)
}

fn esp(disk: &Path) -> PathBuf {
    PathBuf::from(format!("{}@@{ESP_AT}", disk.display()))
}

/// A program for Linux that waits for ever: one segment, three instructions.
fn silent_program() -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    // pause, and again.
    let code = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    let start = 64 + 56;
    let bytes = start + code.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    program.extend([2u16, 62].into_iter().flat_map(u16::to_le_bytes));
    program.extend(1u32.to_le_bytes());
    program.extend([AT + start, 64, 0].into_iter().flat_map(u64::to_le_bytes));
    program.extend(0u32.to_le_bytes());
    program.extend([64u16, 56, 1, 0, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    // To be read and executed.
    program.extend([1u32, 5].into_iter().flat_map(u32::to_le_bytes));
    program.extend([0, AT, AT, bytes, bytes, 4_096].into_iter().flat_map(u64::to_le_bytes));
    program.extend(code);
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    #[test]
    fn the_silent_program_runs_and_says_nothing() {
        let path = std::env::temp_dir().join(format!("ringpost-silent-{}", std::process::id()));
        fs::write(&path, silent_program()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let ends = Instant::now() + Duration::from_secs(30);
        let mut child = loop {
            match Command::new(&path).stdin(Stdio::null()).spawn() {
                // Another test has just forked with the file still open.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    assert!(Instant::now() < ends, "{error}");
                }
                spawned => break spawned.unwrap(),
            }
        };
        // It was taken for a program, else there would be no child.
        child.kill().unwrap();
        let how = child.wait().unwrap();
        assert!(!how.success());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&how), Some(9), "{how}");
        fs::remove_file(path).unwrap();
    }
}
