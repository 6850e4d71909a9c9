//! The data partition: found by name, checked, mounted, filled at the first
//! start, and left in order.
//!
//! Never formats and never guesses between two; grows with its disk. What the operator wants (the
//! configuration, `network.conf`, certificates) comes from the partition; at the
//! first start from the folder `ringpost` of the EFI partition, else from the
//! image.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use init::boot_count::{PARTITION_VARIABLE, variable_text};
use init::network::Network;
use init::partition::{DATA, ESP, NoPartition, Partition, choose};
use init::seeds;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;

use super::consoles::Consoles;
use super::files::{self, replace};
use super::growth::{grow_file_system, grow_partition};
use super::requests::Requests;

/// Where it is mounted.
pub const FOLDER: &str = "/data";
/// The daemon's configuration and the files it names, in a folder of its own:
/// it puts there what it takes back from a backup.
pub const SETTINGS: &str = "/data/settings";
/// Where folders lie that are being taken away.
pub const REMOVED: &str = "/data/removed";
/// The file of the machine's own addresses.
pub const NETWORK: &str = "network.conf";
/// User and group of the daemon.
pub const DAEMON_USER: u32 = 990;
/// Where seeds lie.
const SEEDS: &str = "/run/esp/ringpost";
/// Strangers read nothing; a mistake that a power cut left in its tables is told
/// by the kernel, and is no reason never to take an update again.
const ESP_OPTIONS: &str = "umask=0077,errors=continue";
/// Octets of randomness kept over a restart.
const ENTROPY_BYTES: usize = 512;
/// How often a check of the file system looks whether it is done.
const CHECK_TURN_MS: u16 = 200;
/// Who may read what PID 1 puts there: root, and a group that it may be given.
const FILE_MODE: u32 = 0o640;
/// Why the machine or the daemon went down before: the daemon's last words, the
/// kernel's, and ours.
const LAST_PANIC: &str = "last-panic";
const LAST_KERNEL_PANIC: &str = "last-kernel-panic";
const LAST_REBOOT: &str = "last-reboot";

/// The partition, found.
pub struct Found {
    data: Partition,
    esp: Option<Partition>,
}

/// The partition, open.
#[derive(Debug)]
pub struct Storage(());

impl Storage {
    /// Looks for it among what is there now; when it `is_late`, on a disk that
    /// the loader did not tell of, too.
    ///
    /// # Errors
    /// A sentence on what is missing.
    pub fn find(is_late: bool) -> Result<Found, String> {
        let all = partitions();
        let path = Path::new("/sys/firmware/efi/efivars").join(PARTITION_VARIABLE);
        let booted = variable_text(&files::bytes(path));
        let data = choose(&all, DATA, booted.as_deref(), is_late).map_err(|none| match none {
            NoPartition::Missing => format!("no disk has a partition called {DATA}"),
            NoPartition::Ambiguous => {
                format!("several disks have a partition called {DATA}: take out all but one")
            }
        })?;
        let esp = choose(&all, ESP, booted.as_deref(), is_late).ok().cloned();
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

    /// When the last crash was of which words are kept, in seconds since 1970.
    pub fn last_panic_at(&self) -> Option<u64> {
        let names = [LAST_PANIC, LAST_KERNEL_PANIC];
        names.iter().filter_map(|name| files::written_at(&Path::new(FOLDER).join(name))).max()
    }

    /// Keeps what the daemon said last, for whoever asks why.
    pub fn keep_last_words(&self, how: &str, words: &str) {
        let text = format!("version {}\n{how}\n{words}", files::word("/etc/ringpost-version"));
        // On a disk that fails there is nowhere else to put it.
        let _ = keep(LAST_PANIC, text.as_bytes());
    }

    /// Leaves it in order before the machine starts anew.
    pub fn leave(self, consoles: &mut Consoles, why: &str) {
        let _ = keep(LAST_REBOOT, format!("{why}\n").as_bytes());
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
    /// Grows, checks and mounts it, finishes what was asked for before the last
    /// end, and fills what a first start lacks. `pet` is called while the check
    /// lasts.
    ///
    /// # Errors
    /// A sentence on why it cannot be used, or not before another start.
    pub fn open(
        self,
        consoles: &mut Consoles,
        mut pet: impl FnMut(),
    ) -> Result<(Storage, Requests), String> {
        if let Some(why) = grow_partition(&self.data, consoles) {
            return Err(why);
        }
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
        grow_file_system(&self.data.device, consoles, &mut pet);
        let mib = statvfs(FOLDER).map_or(0, |all| (all.blocks() * all.fragment_size()) >> 20);
        consoles.say(&format!("data: {device} checked ({outcome}) and mounted, {mib} MiB"));
        self.mount_esp(consoles, &mut pet);
        let requests = Requests::begin(consoles, &mut pet).and_then(|requests| {
            self.fill(consoles)?;
            Ok(requests)
        });
        let requests = requests.map_err(|e| format!("{FOLDER} cannot be filled: {e}"))?;
        restore_entropy();
        keep_kernel_panic(consoles);
        // Those of an older version, or of a start that was cut off.
        [LAST_PANIC, LAST_KERNEL_PANIC, LAST_REBOOT].into_iter().for_each(show);
        Ok((Storage(()), requests))
    }

    /// Checked, then read-only until an image is found good.
    fn mount_esp(&self, consoles: &mut Consoles, pet: &mut impl FnMut()) {
        let Some(esp) = &self.esp else { return };
        let device = format!("/dev/{}", esp.device);
        let mut check = Command::new("/sbin/fsck.fat");
        // All that it says there is that it knows no other alphabets.
        check.args(["-a", &device]).stderr(Stdio::null());
        // 0 and 1: it was in order, or is now.
        match watched(&mut check, pet) {
            Ok(Some(0 | 1)) => {}
            other => consoles.say(&format!("EFI partition {device}: fsck.fat: {other:?}")),
        }
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let made = fs::create_dir_all("/run/esp").map_err(|e| e.to_string());
        let mounted = made.and_then(|()| {
            mount(Some(&*device), "/run/esp", Some("vfat"), flags, Some(ESP_OPTIONS))
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

/// Runs a check of the data partition; its exit code says what it found.
fn check(device: &str, words: &[&str], pet: &mut impl FnMut()) -> Result<i32, String> {
    let outcome = watched(Command::new("/sbin/e2fsck").args(words).arg(device), pet);
    // Killed is as bad as damage that stays.
    outcome.map(|code| code.unwrap_or(8)).map_err(|error| format!("e2fsck: {error}"))
}

/// Runs a program to its end, which it always reaches; its exit code, and None
/// if it was killed. `pet` is called meanwhile.
///
/// # Errors
/// It cannot be started.
pub fn watched(command: &mut Command, pet: &mut impl FnMut()) -> std::io::Result<Option<i32>> {
    let mut child = command.stdin(Stdio::null()).spawn()?;
    loop {
        pet();
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
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

/// Keeps why something went down, for whoever asks: the daemon reads it, and
/// passes it on.
fn keep(name: &str, text: &[u8]) -> std::io::Result<()> {
    replace(&Path::new(FOLDER).join(name), text, FILE_MODE)?;
    show(name);
    Ok(())
}

/// Lets the daemon read a file of ours. It can not put another in its place: the
/// folder is root's.
fn show(name: &str) {
    let _ = lchown(Path::new(FOLDER).join(name), None, Some(DAEMON_USER));
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
    if keep(LAST_KERNEL_PANIC, &text).is_ok() {
        consoles.say("the kernel's last panic is kept in last-kernel-panic");
        all.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}
