//! Other images for the tests of updates: the good one with a second archive
//! behind its first, which gives it another version, and takes its daemon away
//! where it must not become healthy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{ESP_AT, mtool};
use super::{COMMAND_LINE, Image, call, cpio, output, pe};

/// The version of one that fails, later than any.
pub const VERSION: &str = "999.0.0";

/// Puts it onto the EFI partition of `disk`, with one boot to prove itself.
///
/// # Errors
/// What a tool says.
pub fn install(image: &Image, disk: &Path, out: &Path) -> io::Result<()> {
    let program = program(image, out, VERSION, false)?;
    let place = format!("::/EFI/Linux/ringpost_{VERSION}+1.efi");
    call(mtool("mcopy", &esp(disk)).arg(program).arg(place))
}

/// Makes one of this version, whose daemon works or not.
///
/// # Errors
/// What a tool says.
pub fn program(image: &Image, out: &Path, version: &str, works: bool) -> io::Result<PathBuf> {
    let root = out.join(version);
    fs::create_dir_all(root.join("etc"))?;
    if !works {
        fs::create_dir_all(root.join("bin"))?;
        fs::write(root.join("bin/ringpost"), "no program\n")?;
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
