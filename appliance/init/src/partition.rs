//! Which partition is ours: by its name in the partition table, on the disk
//! that the machine was started from if that is known.
//!
//! Never opens a device. Two disks with equal names and no word of the loader
//! are ambiguous, and then nothing is chosen: the wrong queue is worse than none.

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
/// loader came from, where it told.
///
/// # Errors
/// None or several are.
pub fn choose<'a>(
    all: &'a [Partition],
    name: &str,
    booted: Option<&str>,
) -> Result<&'a Partition, NoPartition> {
    let booted = booted.map(str::to_lowercase);
    let start = all.iter().find(|p| !p.uuid.is_empty() && Some(&p.uuid) == booted.as_ref());
    let mut named = all.iter().filter(|partition| partition.name == name);
    if let Some(start) = start
        && let Some(found) = named.clone().find(|partition| partition.disk == start.disk)
    {
        return Ok(found);
    }
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
        assert_eq!(choose(&disks, DATA, Some("AA-b-1")).map(|p| &*p.device), Ok("bp2"));
        assert_eq!(choose(&disks, DATA, Some("aa-A-1")).map(|p| &*p.device), Ok("ap2"));
    }

    #[test]
    fn without_a_word_of_the_loader_two_are_too_many() {
        let disks = disks();
        assert_eq!(choose(&disks, DATA, None), Err(NoPartition::Ambiguous));
        assert_eq!(choose(&disks, DATA, Some("other")), Err(NoPartition::Ambiguous));
        assert_eq!(choose(&disks[..2], DATA, None).map(|p| &*p.device), Ok("ap2"));
        assert_eq!(choose(&disks[..1], DATA, None), Err(NoPartition::Missing));
        assert_eq!(choose(&disks[..1], DATA, Some("aa-a-1")), Err(NoPartition::Missing));
    }

    #[test]
    fn a_disk_is_no_partition_and_a_silent_kernel_is_no_match() {
        assert_eq!(Partition::from_uevent("a", "DEVNAME=a\nDEVTYPE=disk\n"), None);
        assert_eq!(Partition::from_uevent("a", "DEVNAME=../a\nPARTNAME=x\n"), None);
        assert_eq!(Partition::from_uevent("a", ""), None);
        let mut disks = disks();
        disks.iter_mut().for_each(|partition| partition.uuid.clear());
        assert_eq!(choose(&disks, DATA, Some("")), Err(NoPartition::Ambiguous));
    }
}
