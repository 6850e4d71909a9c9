//! The disk: a GPT with the EFI partition and the data partition.
//!
//! Written as plain files, without loop devices. Identities are fixed: they
//! must differ between the partitions of one machine, and nothing else.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{call, tool};

const MIB: u64 = 1 << 20;
/// Room for three images of today and what they may grow to.
const ESP_MIB: u64 = 256;
const DATA_MIB: u64 = 1_790;
/// Where the EFI partition begins; before it lies the table.
pub const ESP_AT: u64 = MIB;
/// How long it is.
pub const ESP_BYTES: u64 = ESP_MIB * MIB;
/// Where the data partition begins.
pub const DATA_AT: u64 = ESP_AT + ESP_BYTES;
/// How long it is.
pub const DATA_BYTES: u64 = DATA_MIB * MIB;
/// Behind the last partition lies the table's copy.
const DISK_BYTES: u64 = DATA_AT + DATA_MIB * MIB + MIB;

const DISK_ID: &str = "8d5f1c36-2e31-4c0e-9a3e-52494e470001";
const ESP_ID: &str = "8d5f1c36-2e31-4c0e-9a3e-52494e470002";
const DATA_ID: &str = "8d5f1c36-2e31-4c0e-9a3e-52494e470003";
/// Every file's time: the first of January 2026.
const TIME: &str = "1767225600";

const LOADER_CONFIG: &str = "timeout 0\neditor no\nauto-firmware no\n";

/// Writes the disk: `image` is what the loader starts, under `name`.
///
/// # Errors
/// What a tool says.
pub fn write(out: &Path, disk: &Path, loader: &Path, image: &Path, name: &str) -> io::Result<()> {
    let (esp, data) = (out.join("esp.img"), out.join("data.img"));
    write_esp(out, &esp, loader, image, name)?;
    write_data(&data)?;
    let half = disk.with_extension("half");
    create(&half, DISK_BYTES)?;
    let partition = |number: u32, at: u64, mib: u64| {
        let first = at / 512;
        format!("{number}:{first}:{}", first + mib * MIB / 512 - 1)
    };
    let mut sgdisk = tool("sgdisk");
    sgdisk.args(["--clear", "-U", DISK_ID]);
    sgdisk.args(["-n", &partition(1, ESP_AT, ESP_MIB), "-t", "1:ef00", "-u"]);
    sgdisk.arg(format!("1:{ESP_ID}")).args(["-c", "1:ringpost-esp"]);
    sgdisk.args(["-n", &partition(2, DATA_AT, DATA_MIB), "-t", "2:8300", "-u"]);
    sgdisk.arg(format!("2:{DATA_ID}")).args(["-c", "2:ringpost-data"]);
    call(sgdisk.arg(&half).stdout(std::process::Stdio::null()))?;
    let mut file = File::options().write(true).open(&half)?;
    copy(File::open(&esp)?, &mut file, ESP_AT)?;
    copy(File::open(&data)?, &mut file, DATA_AT)?;
    fs::remove_file(&data)?;
    fs::rename(half, disk)
}

fn write_esp(out: &Path, esp: &Path, loader: &Path, image: &Path, name: &str) -> io::Result<()> {
    let config = out.join("loader.conf");
    fs::write(&config, LOADER_CONFIG)?;
    create(esp, ESP_MIB * MIB)?;
    let sectors = (ESP_MIB * MIB / 512).to_string();
    let mut mformat = mtool("mformat", esp);
    mformat.args(["-F", "-T", &sectors, "-h", "64", "-s", "32", "-N", "52494e47"]);
    call(mformat.args(["-v", "RINGPOST", "::"]))?;
    let folders = ["::/EFI", "::/EFI/BOOT", "::/EFI/Linux", "::/loader", "::/ringpost"];
    call(mtool("mmd", esp).args(folders))?;
    let image_place = format!("::/EFI/Linux/{name}");
    let files = [
        (loader, "::/EFI/BOOT/BOOTX64.EFI"),
        (&config, "::/loader/loader.conf"),
        (image, &image_place),
    ];
    for (file, place) in files {
        call(mtool("mcopy", esp).arg(file).arg(place))?;
    }
    Ok(())
}

/// A tool of mtools on the file system in `file`.
pub fn mtool(name: &str, file: &Path) -> std::process::Command {
    let mut command = tool(name);
    command.env("SOURCE_DATE_EPOCH", TIME).env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(file);
    command
}

fn write_data(data: &Path) -> io::Result<()> {
    create(data, DATA_MIB * MIB)?;
    let mut mke2fs = tool("mke2fs");
    mke2fs.env("E2FSPROGS_FAKE_TIME", TIME).env("SOURCE_DATE_EPOCH", TIME);
    mke2fs.args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", "ringpost-data", "-U", DATA_ID]);
    mke2fs.args(["-E", &format!("hash_seed={DATA_ID},root_owner=0:0")]);
    call(mke2fs.arg(data))
}

/// A file of zeros that takes no room.
fn create(path: &Path, bytes: u64) -> io::Result<()> {
    File::create(path)?.set_len(bytes)
}

/// Takes a part of a disk out into a file of its own, so that what is not used
/// takes no room there either.
///
/// # Errors
/// What the file system says.
pub fn take_out(disk: &Path, at: u64, bytes: u64, to: &Path) -> io::Result<()> {
    let mut from = File::open(disk)?;
    from.seek(SeekFrom::Start(at))?;
    create(to, bytes)?;
    copy(from.take(bytes), &mut File::options().write(true).open(to)?, 0)
}

/// Copies what is not zero; `to` is zero already.
fn copy(mut from: impl Read, to: &mut File, at: u64) -> io::Result<()> {
    // Compared as a whole: octet by octet two gigabytes take half a minute.
    let (mut block, zeros) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut place = at;
    loop {
        let count = from.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        if block[..count] != zeros[..count] {
            to.seek(SeekFrom::Start(place))?;
            to.write_all(&block[..count])?;
        }
        place += count as u64;
    }
}

/// Puts a text into the folder on the EFI partition that a first start takes its
/// configuration from; `out` takes what lies between.
///
/// # Errors
/// What mtools says.
pub fn seed(disk: &Path, out: &Path, name: &str, text: &str) -> io::Result<()> {
    let file = out.join(name);
    fs::write(&file, text)?;
    seed_file(disk, &file, name)
}

/// Puts a file into that folder.
///
/// # Errors
/// What mtools says.
pub fn seed_file(disk: &Path, file: &Path, name: &str) -> io::Result<()> {
    let esp = std::path::PathBuf::from(format!("{}@@{ESP_AT}", disk.display()));
    call(mtool("mcopy", &esp).arg("-o").arg(file).arg(format!("::/ringpost/{name}")))
}

/// Copies a disk without the room it does not use.
///
/// # Errors
/// What the file system says.
pub fn copy_disk(from: &Path, to: &Path) -> io::Result<()> {
    create(to, fs::metadata(from)?.len())?;
    copy(File::open(from)?, &mut File::options().write(true).open(to)?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_leaves_out_zeros_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("ringpost-disk-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let mut bytes = vec![0; 300_000];
        bytes[70_000] = 1;
        bytes[299_999] = 2;
        fs::write(&from, &bytes).unwrap();
        copy_disk(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), bytes);
        fs::remove_dir_all(folder).unwrap();
    }
}
