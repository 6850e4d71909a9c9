//! The EFI partition of a disk that has lost its power: read as a checker of
//! file systems reads it, and by nobody who believes its summary.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::{ESP_AT, ESP_BYTES, take_out};
use super::tool;

/// Where FAT32 keeps how many clusters are free, from the partition's start, and
/// what stands there when nobody knows.
const FREE_AT: u64 = 512 + 488;
const UNKNOWN: [u8; 4] = [0xff; 4];

/// What a checker says of files that are not what they were. Clusters that
/// nobody has and a wrong summary are what a power cut may leave.
const DAMAGE: [&str; 9] = [
    "share clusters",
    "Contains a free cluster",
    "Contains bad cluster",
    "Start does point to root",
    "Start cluster beyond limit",
    "File size is",
    "Bad short file name",
    "Duplicate directory entry",
    "Both FATs appear to be corrupt",
];

/// Whether each file there is whole and its own; with the checker's words if not.
///
/// # Errors
/// It is not, or there is no checker.
pub fn check(disk: &Path) -> io::Result<()> {
    let esp = disk.with_extension("esp");
    take_out(disk, ESP_AT, ESP_BYTES, &esp)?;
    let said = tool("fsck.fat").arg("-n").arg(&esp).output()?;
    fs::remove_file(&esp)?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    if !said.contains("clusters") || is_damage(&said) {
        return Err(io::Error::other(format!("the EFI partition is damaged:\n{said}")));
    }
    Ok(())
}

fn is_damage(said: &str) -> bool {
    DAMAGE.iter().any(|words| said.contains(words))
}

/// Lets whoever mounts it count what is free: after a power cut the number may be
/// one of long ago, which mtools believe.
///
/// # Errors
/// What the file system of this machine says.
pub fn forget_free_count(disk: &Path) -> io::Result<()> {
    File::options().write(true).open(disk)?.write_all_at(&UNKNOWN, ESP_AT + FREE_AT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_power_cut_may_leave_is_no_damage() {
        let left = "fsck.fat 4.2 (2021-01-31)\nDirty bit is set. Fs was not properly unmounted.\n\
                    Reclaimed 1 unused cluster (2048 bytes).\n\
                    Free cluster summary wrong (5099 vs. really 88091)\n\
                    x.img: 13 files, 42463/130554 clusters\n";
        assert!(!is_damage(left));
        assert!(is_damage("/EFI/Linux/a.efi and\n/EFI/Linux/b.efi\n  share clusters.\n"));
    }
}
