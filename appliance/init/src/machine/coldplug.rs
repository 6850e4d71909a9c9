//! Drivers for the devices that are there, and for those that come: what sysfs
//! says of each device goes through the tables of depmod to `finit_module`.
//!
//! Never loads a module twice, and asks again only when the kernel tells of a
//! change.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use init::modules::Modules;
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use super::consoles::Consoles;
use super::files;

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel unpacks the file itself.
const COMPRESSED: i32 = 4;
/// Folders of devices below one another.
const DEPTH_MAX: usize = 24;
/// Wanted whatever the devices are: file systems, the encodings of names on
/// them, and what the firmware keeps.
const ALWAYS: [&str; 6] = ["ext4", "vfat", "nls_cp437", "nls_ascii", "efivarfs", "efi_pstore"];

/// Its own ten seconds are less than a disk may take to flush.
const CONTROLLERS_TIMEOUT: &CStr = c"timeout=60";

/// The tables, what was loaded, and where the kernel tells of changes.
#[derive(Debug)]
pub struct Coldplug {
    folder: PathBuf,
    modules: Modules,
    aliases: BTreeSet<String>,
    loaded: BTreeSet<String>,
    changes: OwnedFd,
}

impl Coldplug {
    /// Reads the tables of the running kernel, and listens for changes.
    pub fn open(consoles: &mut Consoles) -> Self {
        let release = files::word("/proc/sys/kernel/osrelease");
        let folder = Path::new("/lib/modules").join(release);
        let table = |name: &str| files::text(folder.join(name));
        let modules = Modules::parse(
            &table("modules.dep"),
            &table("modules.alias"),
            &table("modules.softdep"),
        );
        let changes = changes().expect("a netlink socket is there at the start");
        let mut coldplug =
            Self { folder, modules, aliases: BTreeSet::new(), loaded: BTreeSet::new(), changes };
        for name in ALWAYS {
            coldplug.load(name, consoles);
        }
        coldplug
    }

    /// Loads what the devices that are there ask for.
    pub fn load_all(&mut self, consoles: &mut Consoles) {
        let mut found = BTreeSet::new();
        collect(Path::new("/sys/devices"), DEPTH_MAX, &mut found);
        let new: Vec<String> = found.difference(&self.aliases).cloned().collect();
        for alias in &new {
            let names: Vec<String> =
                self.modules.matching(alias).into_iter().map(str::to_owned).collect();
            names.iter().for_each(|name| self.load(name, consoles));
        }
        self.aliases.extend(new);
    }

    /// Whether the kernel told of a change since it was last asked.
    pub fn drain(&mut self) -> bool {
        let mut told = false;
        let mut message = [0; 8 << 10];
        while recv_quietly(&self.changes, &mut message) {
            told = true;
        }
        told
    }

    /// What to wait for.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Loads the driver of the watchdog in a server's own controller, which no
    /// device asks for, where there is such a controller.
    pub fn load_controllers_watchdog(&mut self, consoles: &mut Consoles) {
        let is_there = |line: &str| line.starts_with("ipmi_si ");
        if files::text("/proc/modules").lines().any(is_there) {
            self.load_with("ipmi_watchdog", CONTROLLERS_TIMEOUT, consoles);
        }
    }

    /// Loads a module by name, with what it needs.
    pub fn load(&mut self, name: &str, consoles: &mut Consoles) {
        self.load_with(name, c"", consoles);
    }

    /// The same, the module itself with these parameters.
    fn load_with(&mut self, name: &str, parameters: &CStr, consoles: &mut Consoles) {
        let paths: Vec<String> =
            self.modules.load_order(name).into_iter().map(str::to_owned).collect();
        let own = format!("/{name}.ko");
        for path in paths {
            if !self.loaded.insert(path.clone()) {
                continue;
            }
            let parameters = if path.contains(&own) { parameters } else { c"" };
            match insert(&self.folder.join(&path), parameters) {
                Ok(()) => {}
                // There already, built in, or for a device that is not there.
                Err(Errno::EEXIST | Errno::ENODEV | Errno::ENOENT) => {}
                Err(error) => consoles.say(&format!("module {path}: {error}")),
            }
        }
    }
}

fn insert(path: &Path, parameters: &CStr) -> Result<(), Errno> {
    let file = File::open(path).map_err(|_| Errno::ENOENT)?;
    let is_compressed = path.extension().is_some_and(|ending| ending != "ko");
    let flags = if is_compressed { COMPRESSED } else { 0 };
    finit_module(&file, parameters, ModuleInitFlags::from_bits_retain(flags as u32))
}

/// Every `modalias` below `folder`; links, which lead in circles, are not followed.
fn collect(folder: &Path, depth: usize, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, found);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            let mut alias = String::new();
            let opened = File::open(entry.path());
            if opened.is_ok_and(|file| file.take(4_096).read_to_string(&mut alias).is_ok())
                && !alias.trim().is_empty()
            {
                found.insert(alias.trim().to_owned());
            }
        }
    }
}

fn changes() -> Result<OwnedFd, Errno> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkKObjectUEvent,
    )?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &NetlinkAddr::new(0, 1))?;
    Ok(socket)
}

/// True if there was a message, or a gap where messages were lost.
fn recv_quietly(socket: &OwnedFd, message: &mut [u8]) -> bool {
    let heard = recv(std::os::fd::AsRawFd::as_raw_fd(socket), message, MsgFlags::MSG_DONTWAIT);
    matches!(heard, Ok(_) | Err(Errno::ENOBUFS))
}
