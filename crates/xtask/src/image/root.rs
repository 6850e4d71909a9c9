//! The first file system of the guest: PID 1, the daemon, what looks after
//! partitions, kernel modules and two texts. There is no other; what lasts is on the data partition.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::packages::Packages;
use super::update::Key;
use super::{call, cpio, output, tool};

/// Folders that PID 1 mounts something on, or writes to.
const FOLDERS: [&str; 8] = ["bin", "data", "dev", "etc", "proc", "run", "sys", "tmp"];

/// What it is made of.
pub struct Staged<'a> {
    /// Where it is put together.
    pub out: &'a Path,
    /// Kernel modules and checker.
    pub packages: &'a Packages,
    /// The daemon's program.
    pub daemon: &'a Path,
    /// That of PID 1.
    pub init: &'a Path,
    /// Whose updates it takes; without one it takes none.
    pub key: Option<&'a Key>,
}

impl Staged<'_> {
    /// Puts it together and packs it.
    ///
    /// # Errors
    /// A module that the kernel does not have, or what a tool says.
    pub fn initramfs(&self, appliance: &Path, version: &str) -> io::Result<PathBuf> {
        let root = self.out.join("root");
        let _ = fs::remove_dir_all(&root);
        for folder in FOLDERS {
            fs::create_dir_all(root.join(folder))?;
        }
        install(self.init, &root.join("init"), 0o755)?;
        install(self.daemon, &root.join("bin/ringpost"), 0o755)?;
        self.checkers(&root)?;
        install(&appliance.join("ringpost.toml"), &root.join("etc/ringpost.toml"), 0o644)?;
        fs::write(root.join("etc/ringpost-version"), format!("{version}\n"))?;
        if let Some(key) = self.key {
            fs::write(root.join("etc/ringpost-update-key"), key.public()?)?;
        }
        self.modules(&root, &fs::read_to_string(appliance.join("modules.txt"))?)?;
        let plain = self.out.join("initramfs.cpio");
        fs::write(&plain, cpio::archive(&root)?)?;
        let packed = self.out.join("initramfs.cpio.zst");
        // One thread: more of them cut the input differently on other machines.
        call(Command::new("zstd").args(["-q", "-f", "-12", "-T1", "-o"]).arg(&packed).arg(&plain))?;
        Ok(packed)
    }

    /// Copies what looks after the partitions, and the libraries of those programs
    /// that Debian does not have without.
    fn checkers(&self, root: &Path) -> io::Result<()> {
        let (sbin, lib) = (root.join("sbin"), root.join("lib/x86_64-linux-gnu"));
        let loader = root.join("lib64");
        for folder in [&sbin, &lib, &loader] {
            fs::create_dir_all(folder)?;
        }
        let from = self.packages.folder().join("usr");
        install(&from.join("sbin/e2fsck.static"), &sbin.join("e2fsck"), 0o755)?;
        for name in ["resize2fs", "fsck.fat"] {
            install(&from.join("sbin").join(name), &sbin.join(name), 0o755)?;
        }
        for name in ["libc.so.6", "libext2fs.so.2", "libe2p.so.2", "libcom_err.so.2"] {
            install(&from.join("lib/x86_64-linux-gnu").join(name), &lib.join(name), 0o755)?;
        }
        let name = "ld-linux-x86-64.so.2";
        install(&from.join("lib64").join(name), &loader.join(name), 0o755)
    }

    /// Copies the modules that the list names, and all that they need.
    fn modules(&self, root: &Path, list: &str) -> io::Result<()> {
        let release = self.packages.release();
        let below = Path::new("lib/modules").join(release);
        let (from, to) = (self.packages.folder().join(&below), root.join(&below));
        fs::create_dir_all(&to)?;
        for name in names(list) {
            let mut modprobe = tool("modprobe");
            modprobe.arg("-d").arg(self.packages.folder()).args(["-S", release]);
            // A configuration of this machine must not get into the image.
            modprobe.args(["-C", "/dev/null", "--show-depends", name]);
            for path in inserted(&output(&mut modprobe)?) {
                let module = path.split_once(&format!("{release}/")).map_or(path, |(_, rest)| rest);
                let place = to.join(module);
                fs::create_dir_all(place.parent().expect("a module lies in a folder"))?;
                install(&from.join(module), &place, 0o644)?;
            }
        }
        for table in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
            install(&from.join(table), &to.join(table), 0o644)?;
        }
        call(tool("depmod").arg("-b").arg(root).arg(release))?;
        // PID 1 reads the tables for people; the others are for modprobe.
        for entry in fs::read_dir(&to)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let needed = ["modules.dep", "modules.alias", "modules.softdep"];
            if path.is_file() && !needed.contains(&name.as_str()) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Names on the list.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Paths in what `modprobe --show-depends` says; built-in ones have none.
fn inserted(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter_map(|line| line.strip_prefix("insmod ")?.split_whitespace().next())
}

fn install(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let why = |error| io::Error::other(format!("{}: {error}", from.display()));
    let bytes = fs::read(from).map_err(why)?;
    fs::write(to, bytes)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_house_names_modules() {
        let text = fs::read_to_string(crate::workspace().join("appliance/modules.txt")).unwrap();
        let all: Vec<&str> = names(&text).collect();
        assert!(["ext4", "vfat", "nvme", "virtio_net"].iter().all(|name| all.contains(name)));
        let mut once = all.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), all.len(), "a module stands twice");
    }

    #[test]
    fn what_modprobe_says_is_read() {
        let said = "insmod /k/lib/modules/6.1/kernel/a.ko.xz \nbuiltin b\ninsmod /k/c.ko x=1\n";
        let paths: Vec<&str> = inserted(said).collect();
        assert_eq!(paths, ["/k/lib/modules/6.1/kernel/a.ko.xz", "/k/c.ko"]);
    }
}
