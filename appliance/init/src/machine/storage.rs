//! The data partition: found by name, checked, mounted, filled at the first
//! start, and left in order.
//!
//! Never formats and never guesses between two. What the operator wants (the
//! configuration, `network.conf`, certificates) comes from the partition; at the
//! first start from the folder `ringpost` of the EFI partition, else from the
//! image.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use init::boot_count::{PARTITION_VARIABLE, variable_text};
use init::network::Network;
use init::partition::{DATA, ESP, NoPartition, Partition, choose};
use init::seeds;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::consoles::Consoles;
use super::files::{self, replace};
use super::requests::Requests;

/// Where it is mounted.
pub const FOLDER: &str = "/data";
/// The daemon's configuration and the files it names, in a folder of its own:
/// it puts there what it takes back from a backup.
pub const SETTINGS: &str = "/data/settings";
/// The file of the machine's own addresses.
pub const NETWORK: &str = "network.conf";
/// User and group of the daemon.
pub const DAEMON_USER: u32 = 990;
/// Where seeds lie.
const SEEDS: &str = "/run/esp/ringpost";
/// Octets of randomness kept over a restart.
const ENTROPY_BYTES: usize = 512;
/// How often a check of the file system looks whether it is done.
const CHECK_TURN_MS: u16 = 200;
/// Who may read what PID 1 puts there: root, and a group that it may be given.
const FILE_MODE: u32 = 0o640;

/// The partition, found.
pub struct Found {
    data: Partition,
    esp: Option<Partition>,
}

/// The partition, open.
#[derive(Debug)]
pub struct Storage(());

impl Storage {
    /// Looks for it among what is there now.
    ///
    /// # Errors
    /// A sentence on what is missing.
    pub fn find() -> Result<Found, String> {
        let all = partitions();
        let path = Path::new("/sys/firmware/efi/efivars").join(PARTITION_VARIABLE);
        let booted = variable_text(&files::bytes(path));
        let data = choose(&all, DATA, booted.as_deref()).map_err(|none| match none {
            NoPartition::Missing => format!("no disk has a partition called {DATA}"),
            NoPartition::Ambiguous => format!("several disks have a partition called {DATA}"),
        })?;
        let esp = choose(&all, ESP, booted.as_deref()).ok().cloned();
        Ok(Found { data: data.clone(), esp })
    }

    /// What `network.conf` says, and its text; with a mistake in it, or without
    /// it, DHCP.
    pub fn network(&self, consoles: &mut Consoles) -> (Network, String) {
        let text = files::text(Path::new(FOLDER).join(NETWORK));
        let network = Network::parse(&text).unwrap_or_else(|bad| {
            consoles.say(&format!("{NETWORK}, line {}: {}; DHCP instead", bad.line, bad.why));
            Network::default()
        });
        (network, text)
    }

    /// Whether words of a crash are kept.
    pub fn has_last_words(&self) -> bool {
        let names = ["last-panic", "last-kernel-panic"];
        names.iter().any(|name| Path::new(FOLDER).join(name).exists())
    }

    /// Keeps what the daemon said last, for whoever asks why.
    pub fn keep_last_words(&self, how: &str, words: &str) {
        let text = format!("version {}\n{how}\n{words}", files::word("/etc/ringpost-version"));
        // On a disk that fails there is nowhere else to put it.
        let _ = replace(&Path::new(FOLDER).join("last-panic"), text.as_bytes(), FILE_MODE);
    }

    /// Leaves it in order before the machine starts anew.
    pub fn leave(self, consoles: &mut Consoles, why: &str) {
        let place = Path::new(FOLDER).join("last-reboot");
        let _ = replace(&place, format!("{why}\n").as_bytes(), FILE_MODE);
        save_entropy();
        nix::unistd::sync();
        if let Err(error) = umount2(FOLDER, MntFlags::empty()) {
            consoles.say(&format!("data: not unmounted: {error}"));
            let _ = umount2(FOLDER, MntFlags::MNT_DETACH);
            nix::unistd::sync();
        }
    }
}

impl Found {
    /// Checks and mounts it, finishes what was asked for before the last end,
    /// and fills what a first start lacks. `pet` is called while the check lasts.
    ///
    /// # Errors
    /// A sentence on why it cannot be used.
    pub fn open(
        self,
        consoles: &mut Consoles,
        mut pet: impl FnMut(),
    ) -> Result<(Storage, Requests), String> {
        let device = format!("/dev/{}", self.data.device);
        let outcome = check(&device, &["-p"], &mut pet)?;
        if outcome >= 4 {
            consoles.say(&format!("data: damage on {device}, repairing what can be"));
            let outcome = check(&device, &["-f", "-y"], &mut pet)?;
            if outcome >= 4 {
                return Err(format!("{device} cannot be repaired (e2fsck: {outcome})"));
            }
        }
        let flags =
            MsFlags::MS_NOATIME | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        fs::create_dir_all(FOLDER).map_err(|e| format!("{FOLDER}: {e}"))?;
        mount(Some(&*device), FOLDER, Some("ext4"), flags, None::<&str>)
            .map_err(|e| format!("{device} cannot be mounted: {e}"))?;
        consoles.say(&format!("data: {device} checked ({outcome}) and mounted"));
        self.mount_esp(consoles);
        let requests = Requests::begin(consoles, &mut pet).and_then(|requests| {
            self.fill(consoles)?;
            Ok(requests)
        });
        let requests = requests.map_err(|e| format!("{FOLDER} cannot be filled: {e}"))?;
        restore_entropy();
        keep_kernel_panic(consoles);
        Ok((Storage(()), requests))
    }

    /// Read-only, until an image is found good.
    fn mount_esp(&self, consoles: &mut Consoles) {
        let Some(esp) = &self.esp else { return };
        let device = format!("/dev/{}", esp.device);
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let made = fs::create_dir_all("/run/esp").map_err(|e| e.to_string());
        let mounted = made.and_then(|()| {
            mount(Some(&*device), "/run/esp", Some("vfat"), flags, Some("umask=0077"))
                .map_err(|e| e.to_string())
        });
        if let Err(error) = mounted {
            consoles.say(&format!("EFI partition {device}: {error}"));
        }
    }

    /// The folder of the queue, and the configuration of a first start.
    fn fill(&self, consoles: &mut Consoles) -> std::io::Result<()> {
        for folder in [&Path::new(FOLDER).join("queue"), Path::new(SETTINGS)] {
            if !folder.exists() {
                fs::DirBuilder::new().mode(0o750).create(folder)?;
            }
            lchown(folder, Some(DAEMON_USER), Some(DAEMON_USER))?;
        }
        super::update::make_folder()?;
        let entries = fs::read_dir(SEEDS).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let certificates = names.filter(|name| seeds::is_certificate(name)).take(seeds::FILES_MAX);
        for name in seeds::FIRST.map(str::to_owned).into_iter().chain(certificates) {
            let is_ours = name == NETWORK;
            let place = Path::new(if is_ours { FOLDER } else { SETTINGS }).join(&name);
            let (seed, preset) = (Path::new(SEEDS).join(&name), Path::new("/etc").join(&name));
            let from = [seed, preset].into_iter().find(|path| path.is_file());
            let is_there = fs::symlink_metadata(&place).is_ok();
            if let Some(from) = from.filter(|_| !is_there) {
                let mut text = Vec::new();
                File::open(&from)?.take(seeds::BYTES_MAX).read_to_end(&mut text)?;
                replace(&place, &text, FILE_MODE)?;
                consoles.say(&format!("data: {name} taken from {}", from.display()));
            }
            // At every start: power may have gone before this line.
            if !is_ours && fs::symlink_metadata(&place).is_ok() {
                lchown(&place, Some(DAEMON_USER), Some(DAEMON_USER))?;
            }
        }
        File::open(FOLDER)?.sync_all()
    }
}

/// Runs a check of the file system to its end, which it always reaches; its
/// exit code says what it found.
fn check(device: &str, words: &[&str], pet: &mut impl FnMut()) -> Result<i32, String> {
    let why = |error: std::io::Error| format!("e2fsck: {error}");
    let mut child = Command::new("/sbin/e2fsck").args(words).arg(device).spawn().map_err(why)?;
    loop {
        pet();
        if let Some(status) = child.try_wait().map_err(why)? {
            // Killed is as bad as damage that stays.
            return Ok(status.code().unwrap_or(8));
        }
        let _ = nix::poll::poll(&mut [], CHECK_TURN_MS);
    }
}

fn partitions() -> Vec<Partition> {
    let Ok(entries) = fs::read_dir("/sys/class/block") else { return Vec::new() };
    let read = |entry: fs::DirEntry| {
        // …/block/sda/sda1: the disk is the folder above.
        let place = fs::canonicalize(entry.path()).ok()?;
        let disk = place.parent()?.file_name()?.to_string_lossy().into_owned();
        Partition::from_uevent(&disk, &files::text(place.join("uevent")))
    };
    entries.flatten().filter_map(read).collect()
}

/// Randomness of the last run goes into the kernel's pool, and is replaced at
/// once: after a power cut it must not be used again.
fn restore_entropy() {
    let seed = files::bytes(Path::new(FOLDER).join("entropy"));
    if let Ok(mut pool) = OpenOptions::new().write(true).open("/dev/urandom") {
        let _ = pool.write_all(&seed[..seed.len().min(ENTROPY_BYTES)]);
    }
    save_entropy();
}

fn save_entropy() {
    let mut seed = [0; ENTROPY_BYTES];
    let read = File::open("/dev/urandom").and_then(|mut pool| pool.read_exact(&mut seed));
    if read.is_ok() {
        let _ = replace(&Path::new(FOLDER).join("entropy"), &seed, FILE_MODE);
    }
}

/// What a panic of the kernel left in the firmware's memory, kept and told.
fn keep_kernel_panic(consoles: &mut Consoles) {
    let Ok(entries) = fs::read_dir("/sys/fs/pstore") else { return };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    all.sort();
    if all.is_empty() {
        return;
    }
    let text: Vec<u8> = all.iter().flat_map(files::bytes).collect();
    if replace(&Path::new(FOLDER).join("last-kernel-panic"), &text, FILE_MODE).is_ok() {
        consoles.say("the kernel's last panic is kept in last-kernel-panic");
        all.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}
