//! What a sync costs on this disk, how fast synced bytes go, and whether there
//! are signs that a sync means nothing.
//!
//! Never says that a disk is honest: from above one can only fail to find a
//! lie. Only pulling the plug proves it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::usage::DiskUsage;
use crate::times::{Gathering, Times};

/// Bytes of one small write, about one message.
const SMALL_BYTES: usize = 2_048;
/// Bytes between two syncs when bytes are measured.
const LARGE_BYTES: usize = 4 * 1_024 * 1_024;
/// Room of the test's file.
const FILE_BYTES: u64 = 64 * 1_024 * 1_024;
/// No flash without a protected cache programs a page in less, in microseconds.
const FLASH_MICROS_MIN: u64 = 15;
/// Half a turn at 15 000 turns a minute, in microseconds.
const TURN_MICROS_MIN: u64 = 2_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskTest {
    /// A write of 2 KiB with fdatasync, into blocks that are there.
    pub sync: Times,
    /// Bytes per second, 4 MiB between two syncs.
    pub synced_bytes_per_second: f64,
    /// Flushes that the disk was given for each sync, where the kernel counts.
    pub flushes_per_sync: Option<f64>,
    /// Whether signs of a lie were found.
    pub suspect: bool,
    /// What was found, in sentences.
    pub findings: Vec<String>,
}

/// Tests the disk under `folder` for about `span` in each of two ways.
///
/// # Errors
/// What the file system says.
pub fn test(folder: &Path, span: Duration) -> io::Result<DiskTest> {
    let path = folder.join("disk-test");
    let file = File::create(&path)?;
    let outcome = measure(&file, folder, span);
    std::fs::remove_file(&path)?;
    let (sync, rate, flushes) = outcome?;
    let machine = Machine::here(folder);
    let (suspect, findings) = judge(&machine, sync.p50, flushes);
    Ok(DiskTest {
        sync,
        synced_bytes_per_second: rate,
        flushes_per_sync: flushes,
        suspect,
        findings,
    })
}

fn measure(file: &File, folder: &Path, span: Duration) -> io::Result<(Times, f64, Option<f64>)> {
    let block = vec![b'x'; LARGE_BYTES];
    for at in (0..FILE_BYTES).step_by(LARGE_BYTES) {
        file.write_all_at(&block, at)?;
    }
    file.sync_all()?;
    let mut gathering = Gathering::new();
    let before = DiskUsage::under(folder);
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < span {
        let one = Instant::now();
        file.write_all_at(&block[..SMALL_BYTES], count * SMALL_BYTES as u64 % FILE_BYTES)?;
        file.sync_data()?;
        gathering.add(one.elapsed());
        count += 1;
    }
    let flushes = before.zip(DiskUsage::under(folder)).map(|(before, behind)| {
        behind.flushes.saturating_sub(before.flushes) as f64 / count.max(1) as f64
    });
    let (began, mut written) = (Instant::now(), 0u64);
    while began.elapsed() < span {
        file.write_all_at(&block, written % FILE_BYTES)?;
        file.sync_data()?;
        written += LARGE_BYTES as u64;
    }
    let rate = written as f64 / began.elapsed().as_secs_f64();
    Ok((gathering.times(), rate, flushes))
}

/// Whether there are signs of a lie, and what is known.
fn judge(machine: &Machine, sync: u64, flushes: Option<f64>) -> (bool, Vec<String>) {
    let mut suspect = false;
    let mut findings = Vec::new();
    let mut find = |lies: bool, text: String| {
        suspect |= lies;
        findings.push(text);
    };
    if ["tmpfs", "ramfs"].contains(&machine.file_system.as_str()) {
        find(true, "The folder lies in memory: nothing outlives a power cut.".to_owned());
    }
    let has_cache = machine.write_cache.as_deref() != Some("write through");
    match flushes {
        Some(each) if each < 0.5 && has_cache => find(
            true,
            format!(
                "Only {each:.2} flushes reach the disk for each sync, although it has a cache that forgets: syncs do not mean much here."
            ),
        ),
        Some(each) if has_cache => {
            find(false, format!("Each sync reaches the disk as {each:.2} flushes of its cache."));
        }
        _ if !has_cache => find(
            false,
            "The disk says that it has no cache that forgets, so no flush is needed.".to_owned(),
        ),
        _ => find(false, "The kernel does not count flushes of this disk.".to_owned()),
    }
    if machine.rotational == Some(true) && sync < TURN_MICROS_MIN && !machine.is_virtual {
        find(
            true,
            format!("A sync takes {sync} µs, which no turning disk can do without a cache."),
        );
    } else if sync < FLASH_MICROS_MIN {
        find(
            true,
            format!(
                "A sync takes {sync} µs, which no flash can do without a protected cache: see that it has one."
            ),
        );
    }
    if machine.is_virtual {
        find(false, "The disk is virtual: whether its host keeps what it confirms cannot be seen from inside.".to_owned());
    }
    (suspect, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(file_system: &str, cache: &str) -> Machine {
        Machine {
            file_system: file_system.to_owned(),
            write_cache: Some(cache.to_owned()),
            rotational: Some(false),
            ..Machine::default()
        }
    }

    #[test]
    fn each_sign_of_a_lie_is_found() {
        let lies = |machine: &Machine, sync, flushes| judge(machine, sync, flushes).0;
        let honest = machine("ext4", "write back");
        assert!(!lies(&honest, 900, Some(1.0)));
        assert!(lies(&honest, 900, Some(0.0)), "syncs that never reach the disk");
        assert!(lies(&honest, 3, Some(1.0)), "faster than flash");
        assert!(lies(&machine("tmpfs", "write back"), 900, None), "memory");
        assert!(!lies(&machine("xfs", "write through"), 900, Some(0.0)), "no flush is needed");
        let turning = Machine { rotational: Some(true), ..machine("ext4", "write back") };
        assert!(lies(&turning, 300, Some(1.0)), "faster than it turns");
        let of_a_host = Machine { is_virtual: true, ..turning };
        let (suspect, findings) = judge(&of_a_host, 300, Some(1.0));
        assert!(!suspect && findings.iter().any(|text| text.contains("virtual")));
    }

    #[test]
    fn a_short_test_finds_what_a_sync_costs() {
        let folder = tempfile::tempdir().unwrap();
        let found = test(folder.path(), Duration::from_millis(20)).unwrap();
        assert!(found.sync.count > 0 && found.synced_bytes_per_second > 0.0);
        assert!(!found.findings.is_empty());
        assert!(!folder.path().join("disk-test").exists(), "nothing stays behind");
    }
}
