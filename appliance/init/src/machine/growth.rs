//! The data partition grows to the end of its disk, and its file system with it:
//! an image of two gigabytes is written to disks of any size.
//!
//! Never while the partition is mounted for the table, which the kernel reads
//! anew with the next start; by the kernel's own journal for the file system,
//! while it is mounted. What cannot grow is told and used as it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use init::gpt::{FIRST_SECTORS, Grown, SECTOR, grown};
use init::partition::{DATA, Partition};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::consoles::Consoles;
use super::files;
use super::storage::watched;

/// What is not worth a call of resize2fs, in octets.
const GAIN_MIN: u64 = 16 << 20;

/// Grows the partition in its disk's table; why the machine is to start anew.
pub fn grow_partition(data: &Partition, consoles: &mut Consoles) -> Option<String> {
    match try_grow(&data.disk) {
        Ok(None) => None,
        Ok(Some(mib)) => Some(format!("the data partition has grown to {mib} MiB")),
        Err(why) => {
            consoles.say(&format!("data: {} does not grow: {why}", data.device));
            None
        }
    }
}

fn try_grow(disk: &str) -> Result<Option<u64>, String> {
    let sys = |name: &str| files::word(format!("/sys/class/block/{disk}/{name}"));
    let sectors: u64 = sys("size").parse().map_err(|_| "its disk has no size")?;
    if sys("queue/logical_block_size") != SECTOR.to_string() {
        return Err("its sectors are not those of an image".to_owned());
    }
    let said = |error: io::Error| error.to_string();
    let place = Path::new("/dev").join(disk);
    let device = File::open(&place).map_err(said)?;
    let mut first = vec![0; FIRST_SECTORS * SECTOR];
    device.read_exact_at(&mut first, 0).map_err(said)?;
    let Some(table) = grown(&first, sectors, DATA)? else { return Ok(None) };
    let device = File::options().read(true).write(true).open(&place).map_err(said)?;
    write(&device, &table).map_err(said)?;
    Ok(Some(table.mib))
}

/// The copy, the table, and the sector before it, each on the disk before the
/// next; a disk that does not keep it must not be started from again and again.
fn write(device: &File, table: &Grown) -> io::Result<()> {
    let (at, copy) = &table.copy;
    let (before, own) = table.first.split_at(SECTOR);
    for (octets, place) in [(&**copy, at * SECTOR as u64), (own, SECTOR as u64), (before, 0)] {
        device.write_all_at(octets, place)?;
        device.sync_all()?;
    }
    posix_fadvise(device, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    let mut kept = vec![0; table.first.len()];
    device.read_exact_at(&mut kept, 0)?;
    if kept == table.first { Ok(()) } else { Err(io::Error::other("the disk did not keep it")) }
}

/// Grows the mounted file system to its partition; `pet` is called meanwhile.
pub fn grow_file_system(device: &str, consoles: &mut Consoles, pet: &mut impl FnMut()) {
    let size = files::word(format!("/sys/class/block/{device}/size"));
    let room = size.parse::<u64>().unwrap_or(0) * SECTOR as u64;
    let place = Path::new("/dev").join(device);
    if octets_of(&place).is_none_or(|octets| octets + GAIN_MIN > room) {
        return;
    }
    let outcome = watched(Command::new("/sbin/resize2fs").arg(&place), pet);
    let mib = octets_of(&place).unwrap_or(0) >> 20;
    match outcome {
        Ok(Some(0)) => consoles.say(&format!("data: {device} has grown to {mib} MiB")),
        other => consoles.say(&format!("data: {device} stays at {mib} MiB: {other:?}")),
    }
}

/// How large the file system is, by its first block.
fn octets_of(place: &Path) -> Option<u64> {
    let mut block = [0; 1024];
    File::open(place).ok()?.read_exact_at(&mut block, 1024).ok()?;
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| block[at + n]));
    let blocks = u64::from(word(0x150)) << 32 | u64::from(word(4));
    1024_u64.checked_shl(word(24)).and_then(|octets| octets.checked_mul(blocks))
}
