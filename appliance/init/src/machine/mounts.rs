//! What the kernel offers as file systems, its settings, and the limits that
//! every child inherits.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

use super::consoles::Consoles;

/// Descriptors for the daemon: sessions, files, and room.
const DESCRIPTORS: u64 = 1 << 20;

/// Settings of the kernel, and why.
const SETTINGS: [(&str, &str); 7] = [
    // A machine that has panicked starts anew, and an oops is a panic: what
    // goes on behind one may write anything to the disk.
    ("kernel/panic", "5"),
    ("kernel/panic_on_oops", "1"),
    // The daemon listens on port 25 as nobody in particular.
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/core/somaxconn", "4096"),
    ("kernel/kptr_restrict", "2"),
    ("kernel/dmesg_restrict", "1"),
    ("fs/suid_dumpable", "0"),
];

/// Mounts them; what failed, in sentences.
pub fn kernel_file_systems() -> Vec<String> {
    let strict = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let all = [
        ("proc", "/proc", strict),
        ("sysfs", "/sys", strict),
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC),
        ("tmpfs", "/run", strict),
        ("tmpfs", "/tmp", strict),
    ];
    let mut troubles = Vec::new();
    for (kind, place, flags) in all {
        let made = fs::create_dir_all(place);
        let done = made.map_err(|e| e.to_string()).and_then(|()| {
            mount(Some(kind), place, Some(kind), flags, None::<&str>).map_err(|e| e.to_string())
        });
        if let Err(error) = done {
            troubles.push(format!("{place}: {error}"));
        }
    }
    troubles
}

/// Mounts what the firmware keeps, once its modules are loaded. Only some
/// machines have the first, and few anything in the second.
pub fn firmware() {
    for (kind, place) in [("efivarfs", "/sys/firmware/efi/efivars"), ("pstore", "/sys/fs/pstore")] {
        if Path::new(place).is_dir() {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            let _ = mount(Some(kind), place, Some(kind), flags, None::<&str>);
        }
    }
}

/// Sets the kernel up, and what our children inherit.
pub fn kernel_settings(consoles: &mut Consoles) {
    for (name, value) in SETTINGS {
        if let Err(error) = fs::write(format!("/proc/sys/{name}"), value) {
            consoles.say(&format!("kernel setting {name}: {error}"));
        }
    }
    let unlimited = nix::libc::RLIM_INFINITY;
    let limits = [
        // The rings of the daemon's executors are locked memory.
        (Resource::RLIMIT_MEMLOCK, unlimited),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, limit) in limits {
        if let Err(error) = setrlimit(resource, limit, limit) {
            consoles.say(&format!("limit {resource:?}: {error}"));
        }
    }
    if let Err(error) = prctl::set_no_new_privs() {
        consoles.say(&format!("no new privileges: {error}"));
    }
}
