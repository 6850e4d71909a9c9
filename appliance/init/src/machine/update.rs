//! Updates: what the daemon was sent, or lies in the folder `update` of the data
//! partition, or in the folder `ringpost` of the EFI partition, is checked and
//! put beside the running image, by a process of its own, so that the watchdog is
//! petted meanwhile.
//!
//! Never touches an image that is there but to make room, as `init::update`
//! allows. Invariants: an image on the EFI partition gets the first sector, without
//! which it is no program to the loader, when all the rest is on the disk and was
//! what was signed; no file is given another name, since FAT writes the new one
//! before it takes the old one away, and a power cut between them leaves both,
//! with the same octets; an update that was cut off begins anew.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use init::update::{
    MANIFEST_BYTES_MAX, Manifest, SIGNATURE_BYTES, Version, manifest_end, may_go, may_install,
    public_key,
};
use nix::mount::MsFlags;
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use super::blessing::remount;
use super::consoles::Consoles;
use super::files;
use super::requests::REQUESTS;
use super::storage::{DAEMON_USER, FOLDER};

/// The word by which this program is told to install.
pub const ROLE: &str = "install-update";
const KEY: &str = "/etc/ringpost-update-key";
const VERSION: &str = "/etc/ringpost-version";
const ESP: &str = "/run/esp";
/// Octets of the first sector, and how a program for the firmware begins.
const SECTOR: usize = 512;
const PROGRAM: &[u8] = b"MZ";
/// Octets copied at a time.
const PIECE: usize = 256 << 10;
/// Octets of a sentence on what became of one.
const OUTCOME_BYTES_MAX: usize = 1_000;

/// Updates that come, and the one under way.
#[derive(Debug, Default)]
pub struct Updates {
    under_way: Option<Child>,
    outcome: String,
}

impl Updates {
    /// Nothing under way; what became of the last one is known.
    pub fn open() -> Self {
        let outcome = files::given(&place("outcome"), OUTCOME_BYTES_MAX);
        let outcome = outcome.and_then(Result::ok).unwrap_or_default();
        Self { under_way: None, outcome: outcome.trim().to_owned() }
    }

    /// What became of the last one.
    pub fn outcome(&self) -> &str {
        &self.outcome
    }

    /// Looks whether there is one, and begins with it.
    pub fn look(&mut self, consoles: &mut Consoles) {
        if self.under_way.is_some() || found().is_none() {
            return;
        }
        consoles.say("update: being checked");
        let child = Command::new("/init").arg(ROLE).stdin(Stdio::null()).spawn();
        match child {
            Ok(child) => self.under_way = Some(child),
            Err(error) => self.settle(consoles, &format!("refused: it cannot be checked: {error}")),
        }
    }

    /// The process of the one under way has ended, if it is this one: whether
    /// the machine is to start anew for it.
    pub fn ended(&mut self, consoles: &mut Consoles, pid: Pid) -> Option<String> {
        let child =
            self.under_way.take_if(|child| i64::from(child.id()) == i64::from(pid.as_raw()))?;
        drop(child);
        let said = files::given(&place("said"), OUTCOME_BYTES_MAX).and_then(Result::ok);
        let outcome = said.unwrap_or_else(|| "refused: its installation broke off".to_owned());
        self.settle(consoles, &outcome);
        let version = outcome.strip_prefix("installed: ")?;
        Some(format!("to start version {version}"))
    }

    /// Takes the update away and leaves what became of it, for whoever sent it.
    fn settle(&mut self, consoles: &mut Consoles, outcome: &str) {
        outcome.clone_into(&mut self.outcome);
        consoles.say(&format!("update: {outcome}"));
        // On a disk that fails it is looked at again after the next start.
        let _ = files::replace(&place("outcome"), format!("{outcome}\n").as_bytes(), 0o644);
        files::remove(&place("said"));
        if let Some(update) = found() {
            let is_on_esp = update.starts_with(ESP);
            if is_on_esp {
                let _ = remount(Path::new(ESP), MsFlags::MS_SYNCHRONOUS);
            }
            files::remove(&update);
            nix::unistd::sync();
            if is_on_esp {
                let _ = remount(Path::new(ESP), MsFlags::MS_RDONLY);
            }
        }
    }
}

/// The folder that updates come in; the daemon puts them there.
pub fn make_folder() -> io::Result<()> {
    let folder = place("");
    if !folder.is_dir() {
        files::remove(&folder);
        fs::DirBuilder::new().mode(0o750).create(&folder)?;
    }
    chown(&folder, Some(DAEMON_USER), Some(DAEMON_USER))
}

/// The update that waits: what the daemon was sent, or else what somebody put
/// there by hand.
fn found() -> Option<PathBuf> {
    let places = [
        Path::new(REQUESTS).join("update.new"),
        place("new"),
        Path::new(ESP).join("ringpost/update"),
    ];
    places.into_iter().find(|path| fs::symlink_metadata(path).is_ok())
}

fn place(name: &str) -> PathBuf {
    Path::new(FOLDER).join("update").join(name)
}

/// Installs the update, as a process of its own; says what came of it in a file.
pub fn install() {
    let outcome = match try_install() {
        Ok((version, true)) => format!("installed: {version}"),
        Ok((version, false)) => format!("runs already: {version}"),
        Err(why) => format!("refused: {why}"),
    };
    let _ = files::replace(&place("said"), outcome.as_bytes(), 0o644);
}

/// The version of the update, and whether it is new.
fn try_install() -> Result<(Version, bool), String> {
    let key = public_key(&files::text(KEY)).ok_or("this image has no key for updates")?;
    let running = Version::parse(&files::word(VERSION)).ok_or("the running version is none")?;
    let update = found().ok_or("it has gone")?;
    let mut update = BufReader::new(files::open_given(&update).map_err(|e| e.to_string())?);
    let manifest = signed(&mut update, &key)?;
    if manifest.version == running {
        // Power was cut between its installation and its being taken away.
        return Ok((running, false));
    }
    let linux = Path::new(ESP).join("EFI/Linux");
    let there = names(&linux)?;
    let whole = there.iter().filter(|name| is_whole(&linux.join(name)));
    may_install(manifest.version, running, whole.map(String::as_str))?;
    remount(Path::new(ESP), MsFlags::MS_SYNCHRONOUS)?;
    let place = linux.join(manifest.version.file_name());
    let put = make_room(&linux, running, &there)
        .and_then(|()| is_room(&manifest))
        .and_then(|()| put(&mut update, &manifest, &place));
    if put.is_err() {
        let _ = fs::remove_file(&place);
    }
    nix::unistd::sync();
    let read_only = remount(Path::new(ESP), MsFlags::MS_RDONLY);
    put.map_err(|error| error.to_string())?;
    read_only?;
    Ok((manifest.version, true))
}

/// The manifest in front, if the key's owner signed it.
fn signed(update: &mut impl Read, key: &[u8]) -> Result<Manifest, String> {
    let mut first = Vec::new();
    // Octet by octet: what comes behind it is not ours to read yet.
    while manifest_end(&first).is_none() {
        let mut one = [0];
        let count = update.read(&mut one).map_err(|error| error.to_string())?;
        if count == 0 || first.len() == MANIFEST_BYTES_MAX {
            return Err("it is no update".to_owned());
        }
        first.push(one[0]);
    }
    let mut signature = [0; SIGNATURE_BYTES];
    update.read_exact(&mut signature).map_err(|_| "it ends before its image")?;
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(&first, &signature).map_err(|_| "its signature is not of this appliance's key")?;
    Ok(Manifest::parse(&first)?)
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("the EFI partition: {error}"))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Whether an image has its first sector: one that was cut off has not.
pub fn is_whole(image: &Path) -> bool {
    let mut first = Vec::new();
    let read =
        File::open(image).and_then(|file| file.take(SECTOR as u64 + 1).read_to_end(&mut first));
    read.is_ok_and(|count| count > SECTOR) && first.starts_with(PROGRAM)
}

fn make_room(folder: &Path, running: Version, there: &[String]) -> io::Result<()> {
    let names: Vec<&str> = there.iter().map(String::as_str).collect();
    may_go(running, &names).into_iter().try_for_each(|name| fs::remove_file(folder.join(name)))
}

/// Whether there is room for it. To be asked has the kernel count what is free,
/// and write that down: after power cuts the number on the partition may be one of
/// long ago, which others believe who write there.
fn is_room(manifest: &Manifest) -> io::Result<()> {
    let room = statvfs(ESP)?;
    let free = room.blocks_available() as u64 * room.fragment_size() as u64;
    if free >= manifest.bytes {
        return Ok(());
    }
    let [wanted, free] = [manifest.bytes.div_ceil(1 << 20), free >> 20];
    let why = format!("the EFI partition has {free} MiB of room, and {wanted} MiB are needed");
    Err(io::Error::other(why))
}

/// Copies the image, checks what was copied, and only then makes a program of it.
fn put(update: &mut impl Read, manifest: &Manifest, place: &Path) -> io::Result<()> {
    let other = || io::Error::other("its image is not the one that was signed");
    let mut first = [0; SECTOR];
    let mut file = File::create(place)?;
    // On the disk before anything follows: what was there before, perhaps the
    // beginning of an older image, is no beginning of this one.
    file.write_all(&first)?;
    file.sync_all()?;
    update.read_exact(&mut first)?;
    let mut digest = Context::new(&SHA256);
    digest.update(&first);
    let mut left = manifest.bytes.checked_sub(SECTOR as u64).ok_or_else(other)?;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        update.read_exact(&mut piece[..wanted])?;
        digest.update(&piece[..wanted]);
        file.write_all(&piece[..wanted])?;
        left -= wanted as u64;
    }
    if digest.finish().as_ref() != manifest.sha256 || update.read(&mut [0])? != 0 {
        return Err(other());
    }
    file.sync_all()?;
    file.rewind()?;
    file.write_all(&first)?;
    file.sync_all()?;
    files::sync_folder(place)
}
