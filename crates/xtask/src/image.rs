//! `cargo xtask image`: the appliance as a disk image, from this source and
//! a few packages of Debian, without a step that needs root.
//!
//! The same bytes from the same inputs: no time, no order of a folder, no name
//! of this machine gets into the image. Inputs are the source, the compiler,
//! `appliance/*.txt`, and the tools of this machine that write file systems.
//!
//! Layout: a GPT with the EFI partition (systemd-boot, and the image as one
//! file, its boots counted) and the data partition, which is empty.

pub mod broken;
mod cpio;
pub mod data;
mod disk;
pub mod esp;
mod packages;
mod pe;
mod root;
pub mod update;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::machine;
use packages::Packages;
use update::Key;

pub use disk::{DATA_AT, copy_disk, seed, seed_file};

/// What writes the parts of an image.
const TOOLS: [machine::Program; 8] = [
    ("cc", "gcc libc6-dev", "builds the cryptography"),
    ("objcopy", "binutils", "puts kernel and files into one program for the firmware"),
    ("mformat", "mtools", "writes the EFI partition"),
    ("sgdisk", "gdisk", "writes the table of partitions"),
    ("mke2fs", "e2fsprogs", "writes the data partition"),
    ("depmod", "kmod", "reads what kernel modules need"),
    ("zstd", "zstd", "packs"),
    ("dpkg-deb", "dpkg", "unpacks Debian's packages"),
];

/// What the kernel is started with: the screen and the first serial line, a new
/// start five seconds after a panic, and the copy of the table of partitions where
/// power was cut while that was written.
const COMMAND_LINE: &str = "console=tty0 console=ttyS0,115200 panic=5 gpt quiet loglevel=3";
/// Boots that a new image has to prove itself.
const TRIES: u32 = 3;
/// What cargo is called with to build the programs of the image.
pub const PROGRAMS: &[&str] =
    &["build", "--locked", "--release", "--package", "ringpost", "--package", "init"];
/// The target whose programs stand alone.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Whether this machine runs them.
pub const STANDS_ALONE_HERE: bool =
    cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"));
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A built image and its parts.
pub struct Image {
    /// The whole disk.
    pub disk: PathBuf,
    /// The kernel and its initramfs, for a start without firmware.
    pub kernel: PathBuf,
    /// See `kernel`.
    pub initramfs: PathBuf,
    /// What the firmware starts: all of them as one.
    pub program: PathBuf,
    /// The loader's program around them.
    pub stub: PathBuf,
    /// The daemon's program, which runs on this machine too.
    pub daemon: PathBuf,
}

/// `cargo xtask image [--twice]`: builds, packs, and says what came of it;
/// twice, and the bytes must be the same.
///
/// # Errors
/// What kept it from being built, or that the second was another.
pub fn run(root: &Path, words: &[&str]) -> io::Result<()> {
    let (twice, key) = match words {
        [] => (false, None),
        ["--twice"] => (true, None),
        ["--key", key] => (false, Some(Key::of(Path::new(key)))),
        _ => return Err(io::Error::other("usage: cargo xtask image [--twice | --key FILE]")),
    };
    let began = Instant::now();
    let image = build_with(root, key.as_ref())?;
    let digest = sha256(&image.disk)?;
    let built = began.elapsed();
    if twice {
        let again = sha256(&build(root)?.disk)?;
        if again != digest {
            return Err(io::Error::other(format!("first {digest}, then {again}")));
        }
        println!("twice the same bytes");
    }
    let packed = pack(&image.disk)?;
    println!("{}", image.disk.display());
    println!("  sha256      {digest}");
    println!("  on disk     {} MiB of {} MiB", used_mib(&image.disk)?, mib(&image.disk)?);
    println!("  compressed  {} MiB  {}", mib(&packed)?, packed.display());
    println!("  built in    {:.1} s", built.as_secs_f64());
    if let Some(key) = key {
        let update = image.disk.with_extension("update");
        update::sign(&image.program, VERSION, &key, &update)?;
        println!("  update      {} MiB  {}", mib(&update)?, update.display());
    }
    Ok(())
}

/// Builds the image from what is there.
///
/// # Errors
/// What is missing, or which tool refused.
pub fn build(root: &Path) -> io::Result<Image> {
    build_with(root, None)
}

/// Builds the image; with a key it takes updates that are signed with that.
///
/// # Errors
/// As [`build`].
pub fn build_with(root: &Path, key: Option<&Key>) -> io::Result<Image> {
    machine::provide(&TOOLS, "without them there is no image");
    let out = folder(root);
    fs::create_dir_all(&out)?;
    let packages = Packages::provide(&root.join("appliance/packages.txt"), &out)?;
    let programs = programs(root)?;
    let (daemon, init) = (programs.join("ringpost"), programs.join("init"));
    let staged = root::Staged { out: &out, packages: &packages, daemon: &daemon, init: &init, key };
    let initramfs = staged.initramfs(&root.join("appliance"), VERSION)?;
    let kernel = packages.kernel();
    let image = out.join("ringpost.efi");
    let parts = pe::Parts {
        stub: &packages.stub(),
        kernel: &kernel,
        initramfs: &initramfs,
        command_line: COMMAND_LINE,
        version: VERSION,
    };
    parts.unite(&out, &image)?;
    let disk = out.join(format!("ringpost-{VERSION}.img"));
    let name = format!("ringpost_{VERSION}+{TRIES}.efi");
    disk::write(&out, &disk, &packages.loader(), &image, &name)?;
    Ok(Image { disk, kernel, initramfs, program: image, stub: packages.stub(), daemon })
}

/// Where everything about the image lies.
pub fn folder(root: &Path) -> PathBuf {
    target(root).join("appliance")
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Builds daemon and PID 1 so that they need no library, and says where.
///
/// # Errors
/// What cargo says.
pub fn programs(root: &Path) -> io::Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(root).args(PROGRAMS);
    stand_alone(&mut cargo, root);
    call(&mut cargo)?;
    Ok(programs_folder(root))
}

/// Where [`programs`] lie.
pub fn programs_folder(root: &Path) -> PathBuf {
    target(root).join(TARGET).join("release")
}

/// Has a call of cargo build programs that need no library.
pub fn stand_alone(cargo: &mut Command, root: &Path) {
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let flags = [
        // They need no library, and carry names but no lines for a debugger.
        "-C target-feature=+crt-static -C strip=debuginfo".replace(' ', "\u{1f}"),
        // Where it was built is no business of whoever runs it.
        format!("--remap-path-prefix={}=/ringpost", root.display()),
        format!("--remap-path-prefix={home}=/cargo"),
    ];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // An explicit target keeps the flags from programs that run while building.
    cargo.env("CARGO_BUILD_TARGET", TARGET);
}

fn pack(disk: &Path) -> io::Result<PathBuf> {
    let packed = PathBuf::from(format!("{}.zst", disk.display()));
    call(Command::new("zstd").args(["-q", "-f", "-3", "-T0", "-o"]).arg(&packed).arg(disk))?;
    Ok(packed)
}

fn mib(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len().div_ceil(1 << 20))
}

fn used_mib(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok((fs::metadata(path)?.blocks() * 512).div_ceil(1 << 20))
}

/// The digest of a file, in hexadecimal digits.
fn sha256(path: &Path) -> io::Result<String> {
    let said = output(Command::new("sha256sum").arg(path))?;
    Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started, or says that it failed.
pub fn call(command: &mut Command) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).status().map_err(|error| named(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(named(command, &io::Error::other(format!("ended with {status}"))))
}

/// Runs a program to its end and returns what it says.
///
/// # Errors
/// As [`call`].
pub fn output(command: &mut Command) -> io::Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| named(command, &error))?;
    if !output.status.success() {
        let ended = io::Error::other(format!("ended with {}", output.status));
        return Err(named(command, &ended));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A tool that stands where only root's PATH leads.
pub fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("TZ", "UTC").env("LC_ALL", "C");
    command
}

fn named(command: &Command, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", command.get_program().to_string_lossy()))
}
