//! The table of partitions, grown: an image is written to disks of any size, and
//! its last partition is to reach the end of each.
//!
//! Never opens a device: sectors come in, sectors go out. A table that is damaged
//! in any way, or not as an image has it, is left as it is. Sectors have 512
//! octets, as those that the firmware starts an image from.
//!
//! Read first: UEFI specification, "GUID Partition Table (GPT) Disk Layout".

/// Octets of a sector.
pub const SECTOR: usize = 512;
/// Sectors at the start of a disk: of the old table, the header, the entries.
pub const FIRST_SECTORS: usize = 2 + ENTRY_SECTORS;
/// Partitions begin and end at whole mebibytes, in sectors.
const ALIGNMENT: u64 = 2048;
/// What is not worth a new start, in sectors: 64 MiB.
const GAIN_MIN: u64 = 64 * ALIGNMENT;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: usize = 92;
const ENTRY_BYTES: usize = 128;
const ENTRIES: usize = 128;
const ENTRY_SECTORS: usize = ENTRIES * ENTRY_BYTES / SECTOR;
/// Where a partition's size stands in the table of before, which protects this one.
const PROTECTED_AT: usize = 446 + 12;

/// Sectors to be written, in this order: with power cut between them one of the
/// two tables is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// The copy, and its first sector: the last ones of the disk.
    pub copy: (u64, Vec<u8>),
    /// The first sectors of the disk.
    pub first: Vec<u8>,
    /// How many mebibytes the partition has now.
    pub mib: u64,
}

/// The table with the partition `name` grown to the end of a disk of so many
/// sectors; None where it nearly reaches that, as after the first time. `first`
/// are the disk's [`FIRST_SECTORS`].
///
/// # Errors
/// Why it is left as it is.
pub fn grown(first: &[u8], sectors: u64, name: &str) -> Result<Option<Grown>, &'static str> {
    let (header, entries) = parts(first)?;
    let last_usable = sectors
        .checked_sub(ENTRY_SECTORS as u64 + 2)
        .ok_or("the disk is smaller than its table of partitions")?;
    let end = ((last_usable + 1) / ALIGNMENT * ALIGNMENT).saturating_sub(1);
    let used = entries.chunks_exact(ENTRY_BYTES).filter(|entry| entry[..16] != [0; 16]);
    let ends = used.map(|entry| number(entry, 40)).max().unwrap_or(0);
    let at = entries.chunks_exact(ENTRY_BYTES).position(|entry| is_called(entry, name));
    let at = at.ok_or("the table has no such partition")? * ENTRY_BYTES;
    if number(entries, at + 40) != ends {
        return Err("another partition lies behind it");
    }
    if end < ends + GAIN_MIN {
        return Ok(None);
    }
    let mut entries = entries.to_vec();
    put(&mut entries, at + 40, end);
    let mut header = header.to_vec();
    put(&mut header, 48, last_usable);
    let mib = (end + 1 - number(&entries, at + 32)) / ALIGNMENT;

    let mut table = first.to_vec();
    let protected = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    table[PROTECTED_AT..PROTECTED_AT + 4].copy_from_slice(&protected.to_le_bytes());
    let own = sealed(header.clone(), &entries, 1, sectors - 1, 2);
    table[SECTOR..2 * SECTOR].copy_from_slice(&own);
    table[2 * SECTOR..].copy_from_slice(&entries);

    let copy_at = last_usable + 1;
    let mut copy = entries.clone();
    copy.extend(sealed(header, &entries, sectors - 1, 1, copy_at));
    Ok(Some(Grown { copy: (copy_at, copy), first: table, mib }))
}

/// The header's sector and the entries, if they are whole.
fn parts(first: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    if first.len() != FIRST_SECTORS * SECTOR {
        return Err("its first sectors cannot be read");
    }
    let (header, entries) = first[SECTOR..].split_at(SECTOR);
    let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| header[at + n]));
    if header[..8] != *SIGNATURE || half(12) as usize != HEADER_BYTES || number(header, 24) != 1 {
        return Err("it has no table of partitions");
    }
    let mut plain = header[..HEADER_BYTES].to_vec();
    plain[16..20].fill(0);
    if crc(&plain) != half(16) || crc(entries) != half(88) {
        return Err("its table of partitions is damaged");
    }
    let counts = (number(header, 72), half(80) as usize, half(84) as usize);
    if counts != (2, ENTRIES, ENTRY_BYTES) {
        return Err("its table of partitions is another one than that of an image");
    }
    Ok((header, entries))
}

/// A header at `own`, whose other one is at `other`, with its sums.
fn sealed(mut header: Vec<u8>, entries: &[u8], own: u64, other: u64, entries_at: u64) -> Vec<u8> {
    put(&mut header, 24, own);
    put(&mut header, 32, other);
    put(&mut header, 72, entries_at);
    header[88..92].copy_from_slice(&crc(entries).to_le_bytes());
    header[16..20].fill(0);
    let sum = crc(&header[..HEADER_BYTES]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Whether an entry's name, in UTF-16 and filled with zeros, is this one.
fn is_called(entry: &[u8], name: &str) -> bool {
    let units = entry[56..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    units.take_while(|unit| *unit != 0).eq(name.encode_utf16())
}

fn number(octets: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| octets[at + n]))
}

fn put(octets: &mut [u8], at: usize, number: u64) {
    octets[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// CRC-32 as the specification has it (that of Ethernet), bit by bit: it is
/// needed once a start.
fn crc(octets: &[u8]) -> u32 {
    let bit = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
    !octets.iter().fold(!0, |sum, octet| (0..8).fold(sum ^ u32::from(*octet), |sum, _| bit(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ringpost-data";
    /// A disk of 2 GiB, as an image has it.
    const SECTORS: u64 = 4 << 20;

    /// A table with partitions of these names and places.
    fn table(partitions: &[(&str, u64, u64)], sectors: u64) -> Vec<u8> {
        let mut entries = vec![0; ENTRIES * ENTRY_BYTES];
        for ((name, from, to), entry) in partitions.iter().zip(entries.chunks_mut(ENTRY_BYTES)) {
            entry[..16].fill(7);
            put(entry, 32, *from);
            put(entry, 40, *to);
            for (unit, place) in name.encode_utf16().zip(entry[56..].chunks_mut(2)) {
                place.copy_from_slice(&unit.to_le_bytes());
            }
        }
        let mut header = vec![0; SECTOR];
        header[..8].copy_from_slice(SIGNATURE);
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        put(&mut header, 40, 34);
        put(&mut header, 48, sectors - 34);
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        let header = sealed(header, &entries, 1, sectors - 1, 2);
        [vec![0; SECTOR], header, entries].concat()
    }

    fn image() -> Vec<u8> {
        table(&[("ringpost-esp", 2048, 526_335), (NAME, 526_336, 4_192_255)], SECTORS)
    }

    #[test]
    fn a_sum_is_that_of_the_specification() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_last_partition_grows_to_the_end_of_a_larger_disk() {
        let sectors = 100 * SECTORS + 1_234;
        let grown = grown(&image(), sectors, NAME).unwrap().unwrap();
        let (header, entries) = parts(&grown.first).expect("a whole table");
        let end = number(entries, ENTRY_BYTES + 40);
        assert_eq!((end + 1) % ALIGNMENT, 0);
        assert!(end < sectors - 33 && end + ALIGNMENT + 34 > sectors);
        assert_eq!(grown.mib, (end + 1 - 526_336) / 2_048);
        assert_eq!(number(entries, 40), 526_335, "the other stays");
        assert_eq!(number(header, 32), sectors - 1);
        // The copy is the same table, told from its own place.
        let (at, copy) = &grown.copy;
        assert_eq!(at + copy.len() as u64 / 512, sectors);
        assert_eq!(copy[..entries.len()], *entries);
        let other = &copy[entries.len()..];
        assert_eq!((number(other, 24), number(other, 32)), (sectors - 1, 1));
        assert_eq!(number(other, 72), *at);
        // It has grown, and does not again.
        assert_eq!(super::grown(&grown.first, sectors, NAME), Ok(None));
    }

    #[test]
    fn little_is_not_worth_it_and_less_is_an_error() {
        assert_eq!(grown(&image(), SECTORS, NAME), Ok(None));
        assert_eq!(grown(&image(), SECTORS + GAIN_MIN - ALIGNMENT, NAME), Ok(None));
        assert!(grown(&image(), SECTORS + GAIN_MIN + ALIGNMENT, NAME).unwrap().is_some());
        assert!(grown(&image(), 10, NAME).is_err());
    }

    #[test]
    fn a_table_that_is_not_ours_is_left_alone() {
        let sectors = 2 * SECTORS;
        for octet in [SECTOR, SECTOR + 13, SECTOR + 40, SECTOR + 91, 2 * SECTOR, 9_000] {
            let mut damaged = image();
            damaged[octet] ^= 1;
            assert!(grown(&damaged, sectors, NAME).is_err(), "{octet}");
        }
        assert!(grown(&image()[1..], sectors, NAME).is_err());
        assert!(grown(&image(), sectors, "another").is_err());
        let behind = table(&[(NAME, 2_048, 4_095), ("mine", 4_096, 8_191)], SECTORS);
        assert!(grown(&behind, sectors, NAME).is_err());
    }
}
