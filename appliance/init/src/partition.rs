//! Which partition is ours: by its name in the partition table, on the disk
//! that the machine was started from if that is known.
//!
//! Never opens a device. Two disks with equal names and no word of the loader
//! are ambiguous, and so are two that the loader's word fits, as it does all that
//! were made of one image; then nothing is chosen: the wrong queue is worse than
//! none.

/// The name of the partition that holds queue and configuration.
pub const DATA: &str = "ringpost-data";
/// The name of the partition that the firmware starts from.
pub const ESP: &str = "ringpost-esp";

/// A partition, as sysfs tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its file in `/dev`.
    pub device: String,
    /// The name of its disk.
    pub disk: String,
    /// Its name in the partition table.
    pub name: String,
    /// Its own UUID, in lower case; empty from kernels that do not tell.
    pub uuid: String,
}

impl Partition {
    /// Reads the `uevent` file of a block device; None for one without a name
    /// in a partition table.
    pub fn from_uevent(disk: &str, uevent: &str) -> Option<Self> {
        let field = |key: &str| {
            let value = uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.map(str::to_owned)
        };
        let device = field("DEVNAME").filter(|name| !name.contains(".."))?;
        let uuid = field("PARTUUID").unwrap_or_default().to_lowercase();
        Some(Self { device, disk: disk.to_owned(), name: field("PARTNAME")?, uuid })
    }
}

/// Why no partition was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPartition {
    /// None has the name.
    Missing,
    /// Several have it, and none is on the disk that was started from.
    Ambiguous,
}

/// The partition called `name`; `booted` is the UUID of the partition that the
/// loader came from, where it told. Unless `is_late`, a disk that it does not fit
/// is none: the one that it fits may yet appear.
///
/// # Errors
/// None or several are.
pub fn choose<'a>(
    all: &'a [Partition],
    name: &str,
    booted: Option<&str>,
    is_late: bool,
) -> Result<&'a Partition, NoPartition> {
    let booted = booted.map(str::to_lowercase);
    let starts = |disk: &str| {
        let fits = |p: &Partition| !p.uuid.is_empty() && Some(&p.uuid) == booted.as_ref();
        all.iter().any(|partition| partition.disk == disk && fits(partition))
    };
    let is_known = all.iter().any(|partition| starts(&partition.disk));
    // Kernels before 6.13 do not tell by what the loader's word could be held.
    let is_silent = all.iter().all(|partition| partition.uuid.is_empty());
    let any_will_do = booted.is_none() || is_silent || is_late;
    let mut named = all.iter().filter(|partition| {
        let is_right = if is_known { starts(&partition.disk) } else { any_will_do };
        partition.name == name && is_right
    });
    match (named.next(), named.next()) {
        (None, _) => Err(NoPartition::Missing),
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(NoPartition::Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks() -> Vec<Partition> {
        let partition = |disk: &str, number: u8, name: &str| {
            let uevent = format!(
                "MAJOR=259\nDEVNAME={disk}p{number}\nDEVTYPE=partition\nPARTN={number}\n\
                 PARTNAME={name}\nPARTUUID=AA-{disk}-{number}\n"
            );
            Partition::from_uevent(disk, &uevent).expect("a partition with a name")
        };
        vec![
            partition("a", 1, ESP),
            partition("a", 2, DATA),
            partition("b", 1, ESP),
            partition("b", 2, DATA),
        ]
    }

    #[test]
    fn the_disk_that_was_started_from_comes_first() {
        let disks = disks();
        assert_eq!(choose(&disks, DATA, Some("AA-b-1"), false).map(|p| &*p.device), Ok("bp2"));
        assert_eq!(choose(&disks, DATA, Some("aa-A-1"), false).map(|p| &*p.device), Ok("ap2"));
    }

    #[test]
    fn two_disks_of_one_image_are_too_many() {
        let mut disks = disks();
        disks.iter_mut().for_each(|partition| partition.uuid = "aa-1".to_owned());
        for is_late in [false, true] {
            let chosen = choose(&disks, DATA, Some("AA-1"), is_late);
            assert_eq!(chosen, Err(NoPartition::Ambiguous));
        }
        assert_eq!(choose(&disks[..2], DATA, Some("AA-1"), false).map(|p| &*p.device), Ok("ap2"));
    }

    #[test]
    fn the_disk_that_was_started_from_may_come_later() {
        let disks = disks();
        let booted = Some("AA-b-1");
        assert_eq!(choose(&disks[..2], DATA, booted, false), Err(NoPartition::Missing));
        assert_eq!(choose(&disks[..3], DATA, booted, false), Err(NoPartition::Missing));
        assert_eq!(choose(&disks, DATA, booted, false).map(|p| &*p.device), Ok("bp2"));
        // A loader whose word fits nothing does not keep the machine from its mail.
        assert_eq!(choose(&disks[..2], DATA, booted, true).map(|p| &*p.device), Ok("ap2"));
    }

    #[test]
    fn without_a_word_of_the_loader_two_are_too_many() {
        let disks = disks();
        assert_eq!(choose(&disks, DATA, None, false), Err(NoPartition::Ambiguous));
        assert_eq!(choose(&disks, DATA, Some("other"), true), Err(NoPartition::Ambiguous));
        assert_eq!(choose(&disks[..2], DATA, None, false).map(|p| &*p.device), Ok("ap2"));
        assert_eq!(choose(&disks[..1], DATA, None, false), Err(NoPartition::Missing));
        assert_eq!(choose(&disks[..1], DATA, Some("aa-a-1"), false), Err(NoPartition::Missing));
    }

    #[test]
    fn a_disk_is_no_partition_and_a_silent_kernel_is_no_match() {
        assert_eq!(Partition::from_uevent("a", "DEVNAME=a\nDEVTYPE=disk\n"), None);
        assert_eq!(Partition::from_uevent("a", "DEVNAME=../a\nPARTNAME=x\n"), None);
        assert_eq!(Partition::from_uevent("a", ""), None);
        let mut disks = disks();
        disks.iter_mut().for_each(|partition| partition.uuid.clear());
        assert_eq!(choose(&disks, DATA, Some(""), true), Err(NoPartition::Ambiguous));
        // Nobody waits for a word that such a kernel never says.
        let alone = choose(&disks[..2], DATA, Some("AA-a-1"), false);
        assert_eq!(alone.map(|partition| &*partition.device), Ok("ap2"));
        assert_eq!(choose(&disks, DATA, Some("aa-a-1"), false), Err(NoPartition::Ambiguous));
    }
}
