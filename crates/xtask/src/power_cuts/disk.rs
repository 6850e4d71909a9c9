//! A disk with a cache that forgets: what was written lies in memory until a
//! flush puts it into the file, and a power cut takes it away, all of it or a
//! random part. One kind lies about flushes.
//!
//! Never reorders what was flushed. A sector is never torn: that is what disks
//! promise too.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR: usize = 512;

/// What a power cut leaves of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Drop,
    /// Each sector or not, by chance.
    Random,
}

/// What it has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flushes that it was asked for.
    pub flushes: u64,
    /// Sectors that power cuts took away.
    pub forgotten: u64,
}

/// The disk.
#[derive(Debug)]
pub struct VolatileDisk {
    file: File,
    bytes: u64,
    /// By number; the newest content only.
    unflushed: BTreeMap<u64, [u8; SECTOR]>,
    lies: bool,
    chance: Chance,
    counts: Counts,
}

impl VolatileDisk {
    /// Over a file that is there; `lies`: it takes flushes and does nothing.
    ///
    /// # Errors
    /// The file cannot be opened, or is no whole number of sectors.
    pub fn open(path: &Path, lies: bool, seed: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        if !bytes.is_multiple_of(SECTOR as u64) {
            return Err(io::Error::other("a disk has whole sectors"));
        }
        let (unflushed, counts) = (BTreeMap::new(), Counts::default());
        Ok(Self { file, bytes, unflushed, lies, chance: Chance(seed), counts })
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// See [`Counts`].
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Sectors that a power cut could take away.
    pub fn unflushed(&self) -> usize {
        self.unflushed.len()
    }

    /// Reads what was written last.
    ///
    /// # Errors
    /// It reaches beyond the end or is no whole sector, or what the file gives.
    pub fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let first = self.first_sector(at, into.len())?;
        self.file.read_exact_at(into, at)?;
        let end = first + (into.len() / SECTOR) as u64;
        for (sector, bytes) in self.unflushed.range(first..end) {
            let from = (sector - first) as usize * SECTOR;
            into[from..from + SECTOR].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Writes into the cache; `through` it to the file, where that is asked for.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write(&mut self, at: u64, bytes: &[u8], through: bool) -> io::Result<()> {
        let first = self.first_sector(at, bytes.len())?;
        let through = through && !self.lies;
        for (sector, bytes) in (first..).zip(bytes.as_chunks::<SECTOR>().0) {
            if through {
                self.unflushed.remove(&sector);
            } else {
                self.unflushed.insert(sector, *bytes);
            }
        }
        if through { self.file.write_all_at(bytes, at) } else { Ok(()) }
    }

    /// Puts what was written into the file.
    ///
    /// # Errors
    /// What the file gives.
    pub fn flush(&mut self) -> io::Result<()> {
        self.counts.flushes += 1;
        if self.lies {
            return Ok(());
        }
        for (sector, bytes) in std::mem::take(&mut self.unflushed) {
            self.file.write_all_at(&bytes, sector * SECTOR as u64)?;
        }
        Ok(())
    }

    /// The power goes.
    ///
    /// # Errors
    /// What the file gives.
    pub fn cut(&mut self, cut: Cut) -> io::Result<()> {
        for (sector, bytes) in std::mem::take(&mut self.unflushed) {
            if cut == Cut::Random && self.chance.below(2) == 0 {
                self.file.write_all_at(&bytes, sector * SECTOR as u64)?;
            } else {
                self.counts.forgotten += 1;
            }
        }
        Ok(())
    }

    fn first_sector(&self, at: u64, bytes: usize) -> io::Result<u64> {
        let whole = at.is_multiple_of(SECTOR as u64) && bytes.is_multiple_of(SECTOR);
        if whole && at.checked_add(bytes as u64).is_some_and(|end| end <= self.bytes) {
            return Ok(at / SECTOR as u64);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not whole sectors of this disk"))
    }
}

/// A seeded generator (SplitMix64).
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of eight sectors of zeros in a file of its own.
    fn disk(name: &str, lies: bool) -> (VolatileDisk, std::path::PathBuf) {
        let path =
            std::env::temp_dir().join(format!("ringpost-disk-{}-{name}", std::process::id()));
        std::fs::write(&path, [0; 8 * SECTOR]).unwrap();
        (VolatileDisk::open(&path, lies, 1).unwrap(), path)
    }

    fn firsts(disk: &VolatileDisk) -> Vec<u8> {
        let mut all = [0; 8 * SECTOR];
        disk.read(0, &mut all).unwrap();
        all.iter().step_by(SECTOR).copied().collect()
    }

    #[test]
    fn what_was_flushed_outlives_a_cut_and_nothing_else_does() {
        let (mut disk, path) = disk("honest", false);
        disk.write(0, &[1; 2 * SECTOR], false).unwrap();
        disk.flush().unwrap();
        disk.write(SECTOR as u64, &[2; SECTOR], false).unwrap();
        disk.write(4 * SECTOR as u64, &[3; SECTOR], true).unwrap();
        assert_eq!(firsts(&disk), [1, 2, 0, 0, 3, 0, 0, 0], "it reads what was written last");
        disk.cut(Cut::Drop).unwrap();
        assert_eq!(firsts(&disk), [1, 1, 0, 0, 3, 0, 0, 0]);
        assert_eq!(disk.counts(), Counts { flushes: 1, forgotten: 1 });
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_random_part_is_some_of_it() {
        let (mut disk, path) = disk("random", false);
        disk.write(0, &[1; 8 * SECTOR], false).unwrap();
        disk.cut(Cut::Random).unwrap();
        let kept = firsts(&disk).iter().filter(|byte| **byte == 1).count();
        assert!((1..8).contains(&kept), "{kept}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_that_lies_forgets_what_it_was_told_to_keep() {
        let (mut disk, path) = disk("lies", true);
        disk.write(0, &[1; SECTOR], true).unwrap();
        disk.flush().unwrap();
        disk.cut(Cut::Drop).unwrap();
        assert_eq!(firsts(&disk), [0; 8]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn parts_of_sectors_and_what_lies_beyond_the_end_are_refused() {
        let (mut disk, path) = disk("bounds", false);
        assert!(disk.write(1, &[0; SECTOR], false).is_err());
        assert!(disk.write(0, &[0; 3], false).is_err());
        assert!(disk.write(8 * SECTOR as u64, &[0; SECTOR], false).is_err());
        assert!(disk.read(u64::MAX - 511, &mut [0; SECTOR]).is_err());
        std::fs::remove_file(path).unwrap();
    }
}
