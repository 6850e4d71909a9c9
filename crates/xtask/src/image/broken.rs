//! An image that cannot become healthy, for the test of the way back: the good
//! one with a second archive behind its first, which replaces the daemon.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{ESP_AT, mtool};
use super::{COMMAND_LINE, Image, call, cpio, output, pe};

/// Its version, later than any.
pub const VERSION: &str = "999.0.0";

/// Puts it onto the EFI partition of `disk`, with one boot to prove itself.
///
/// # Errors
/// What a tool says.
pub fn install(image: &Image, disk: &Path, out: &Path) -> io::Result<()> {
    let root = out.join("broken");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("etc"))?;
    fs::write(root.join("bin/ringpost"), "no program\n")?;
    fs::write(root.join("etc/ringpost-version"), format!("{VERSION}\n"))?;
    // The kernel unpacks one archive after the other, the later over the earlier.
    let mut archives = fs::read(&image.initramfs)?;
    archives.resize(archives.len().next_multiple_of(4), 0);
    archives.extend(cpio::archive(&root)?);
    let initramfs = out.join("broken.cpio");
    fs::write(&initramfs, archives)?;
    let program = out.join("broken.efi");
    let parts = pe::Parts {
        stub: &image.stub,
        kernel: &image.kernel,
        initramfs: &initramfs,
        command_line: COMMAND_LINE,
        version: VERSION,
    };
    parts.unite(out, &program)?;
    let place = format!("::/EFI/Linux/ringpost_{VERSION}+1.efi");
    call(mtool("mcopy", &esp(disk)).arg(program).arg(place))
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
