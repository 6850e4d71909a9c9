//! Marks the running image as good: systemd-boot's counter goes from its name.
//!
//! Only after the daemon's first good answer. The file itself is not touched,
//! and the EFI partition is writable for this one moment, synced.

use std::fs::{self, File};
use std::path::Path;

use init::boot_count::{ENTRY_VARIABLE, VARIABLE, path_parts, variable_text, without_counter};
use nix::mount::{MsFlags, mount};

use super::consoles::Consoles;
use super::files;
use super::update::is_whole;

/// Which image runs, and whether it still has to prove itself.
#[derive(Debug)]
pub struct Blessing {
    /// Its path on the partition while its boots are counted.
    counted: Option<String>,
    image: String,
}

impl Blessing {
    /// Asks the firmware what the loader told it; its variables are mounted.
    pub fn find() -> Self {
        let told = |name: &str| {
            variable_text(&files::bytes(Path::new("/sys/firmware/efi/efivars").join(name)))
        };
        let counted = told(VARIABLE);
        let path = counted.clone().or_else(|| told(ENTRY_VARIABLE)).unwrap_or_default();
        Self { counted, image: path.rsplit(['\\', '/']).next().unwrap_or_default().to_owned() }
    }

    /// The name of the image's file; empty without a loader.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Whether it was found good, now or once before.
    pub fn is_done(&self) -> bool {
        self.counted.is_none()
    }

    /// Marks the image that the loader counted, if it did, on the partition
    /// mounted at `esp`. One that cannot be marked has not proved itself.
    pub fn bless(&mut self, consoles: &mut Consoles, esp: &Path) {
        let Some(path) = &self.counted else {
            consoles.say("bless: this boot is not counted");
            return;
        };
        match rename(esp, path) {
            Ok(name) => {
                consoles.say(&format!("bless: {name}"));
                (self.counted, self.image) = (None, name);
            }
            Err(why) => consoles.say(&format!("bless: {path}: {why}")),
        }
    }
}

fn rename(esp: &Path, path: &str) -> Result<String, String> {
    let parts = path_parts(path).ok_or("a strange path")?;
    let (name, folders) = parts.split_last().ok_or("an empty path")?;
    let good = without_counter(name).ok_or("a name without a counter")?;
    let folder = folders.iter().fold(esp.to_path_buf(), |folder, part| folder.join(part));
    // A power cut in this very place: both names had the same octets, and the check
    // has left them to one. The loader takes the good one if it has them.
    if is_whole(&folder.join(&good)) {
        return Ok(good);
    }
    remount(esp, MsFlags::MS_SYNCHRONOUS)?;
    let _ = fs::remove_file(folder.join(&good));
    let renamed = fs::rename(folder.join(name), folder.join(&good));
    // Alone `sync` would leave it in the disk's cache.
    let renamed = renamed.and_then(|()| File::open(&folder)?.sync_all());
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
