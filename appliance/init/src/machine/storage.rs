//! The data partition: found by name, checked, mounted, filled at the first
//! start, and left in order.
//!
//! Never formats and never guesses between two. What the operator wants (the
//! configuration, `network.conf`) comes from the partition; at the first start
//! from the folder `ringpost` of the EFI partition, else from the image.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use init::boot_count::{PARTITION_VARIABLE, variable_text};
use init::network::Network;
use init::partition::{DATA, ESP, NoPartition, Partition, choose};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::consoles::Consoles;
use super::files;

/// Where it is mounted.
pub const FOLDER: &str = "/data";
/// User and group of the daemon.
pub const DAEMON_USER: u32 = 990;
/// What a first start takes from the EFI partition, and how large it may be.
const SEEDS: [&str; 2] = ["ringpost.toml", "network.conf"];
const SEED_BYTES_MAX: u64 = 1 << 20;
/// Octets of randomness kept over a restart.
const ENTROPY_BYTES: usize = 512;
/// How often a check of the file system looks whether it is done.
const CHECK_TURN_MS: u16 = 200;

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

    /// What `network.conf` says; with a mistake in it, or without it, DHCP.
    pub fn network(&self, consoles: &mut Consoles) -> Network {
        Network::parse(&files::text(Path::new(FOLDER).join("network.conf"))).unwrap_or_else(|bad| {
            consoles.say(&format!("network.conf, line {}: {}; DHCP instead", bad.line, bad.why));
            Network::default()
        })
    }

    /// Keeps what the daemon said last, for whoever asks why.
    pub fn keep_last_words(&self, how: &str, words: &str) {
        let text = format!("version {}\n{how}\n{words}", files::word("/etc/ringpost-version"));
        // On a disk that fails there is nowhere else to put it.
        let _ = replace(&Path::new(FOLDER).join("last-panic"), text.as_bytes());
    }

    /// Leaves it in order before the machine starts anew.
    pub fn leave(self, consoles: &mut Consoles, why: &str) {
        let _ = replace(&Path::new(FOLDER).join("last-reboot"), format!("{why}\n").as_bytes());
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
    /// Checks and mounts it, and fills what a first start lacks. `pet` is called
    /// while the check lasts.
    ///
    /// # Errors
    /// A sentence on why it cannot be used.
    pub fn open(self, consoles: &mut Consoles, mut pet: impl FnMut()) -> Result<Storage, String> {
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
        self.fill(consoles).map_err(|e| format!("{FOLDER} cannot be filled: {e}"))?;
        restore_entropy();
        keep_kernel_panic(consoles);
        Ok(Storage(()))
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
        let folder = Path::new(FOLDER);
        let queue = folder.join("queue");
        if !queue.exists() {
            fs::DirBuilder::new().mode(0o750).create(&queue)?;
        }
        chown(&queue, Some(DAEMON_USER), Some(DAEMON_USER))?;
        super::update::make_folder()?;
        for name in SEEDS {
            let place = folder.join(name);
            if place.exists() {
                continue;
            }
            let seed = Path::new("/run/esp/ringpost").join(name);
            let preset = Path::new("/etc").join(name);
            if let Some(from) = [seed, preset].into_iter().find(|path| path.is_file()) {
                let mut text = Vec::new();
                File::open(&from)?.take(SEED_BYTES_MAX).read_to_end(&mut text)?;
                replace(&place, &text)?;
                consoles.say(&format!("data: {name} taken from {}", from.display()));
            }
        }
        let config = folder.join("ringpost.toml");
        if config.exists() {
            chown(&config, None, Some(DAEMON_USER))?;
        }
        File::open(folder)?.sync_all()
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

/// Puts a file in place as a whole.
fn replace(place: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new: PathBuf = place.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, place)?;
    place.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
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
        let _ = replace(&Path::new(FOLDER).join("entropy"), &seed);
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
    if replace(&Path::new(FOLDER).join("last-kernel-panic"), &text).is_ok() {
        consoles.say("the kernel's last panic is kept in last-kernel-panic");
        all.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}
