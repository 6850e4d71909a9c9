//! Marks the running image as good: systemd-boot's counter goes from its name.
//!
//! Only after the daemon's first good answer, and once. The file itself is not
//! touched, and the EFI partition is writable for this one moment, synced.

use std::fs;
use std::path::Path;

use init::boot_count::{VARIABLE, path_parts, variable_text, without_counter};
use nix::mount::{MsFlags, mount};

use super::consoles::Consoles;
use super::files;

/// Whether it was done.
#[derive(Debug, Default)]
pub struct Blessing {
    done: bool,
}

impl Blessing {
    /// Marks the image that the loader counted, if it did, on the partition
    /// mounted at `esp`.
    pub fn bless(&mut self, consoles: &mut Consoles, esp: &Path) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let variable = Path::new("/sys/firmware/efi/efivars").join(VARIABLE);
        let Some(path) = variable_text(&files::bytes(variable)) else {
            consoles.say("bless: this boot is not counted");
            return;
        };
        match rename(esp, &path) {
            Ok(name) => consoles.say(&format!("bless: {name}")),
            Err(why) => consoles.say(&format!("bless: {path}: {why}")),
        }
    }
}

fn rename(esp: &Path, path: &str) -> Result<String, String> {
    let parts = path_parts(path).ok_or("a strange path")?;
    let (name, folders) = parts.split_last().ok_or("an empty path")?;
    let good = without_counter(name).ok_or("a name without a counter")?;
    let folder = folders.iter().fold(esp.to_path_buf(), |folder, part| folder.join(part));
    remount(esp, MsFlags::MS_SYNCHRONOUS)?;
    let renamed = fs::rename(folder.join(name), folder.join(&good));
    nix::unistd::sync();
    remount(esp, MsFlags::MS_RDONLY)?;
    renamed.map(|()| good).map_err(|error| error.to_string())
}

/// Mounts the EFI partition anew, so that it can be written or not.
///
/// # Errors
/// What the kernel says.
pub fn remount(esp: &Path, how: MsFlags) -> Result<(), String> {
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | how;
    mount(None::<&str>, esp, None::<&str>, flags, None::<&str>).map_err(|error| error.to_string())
}
