//! The file in which a sink of its own process leaves what arrived, so that
//! whoever sent it can put both ends together: 33 bytes for each delivery,
//! little endian, times by the machine's monotonic clock.
//!
//! Never trusts the file: what is cut short or no such file is an error.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::clock::Clock;
use crate::sink::Arrival;

const MAGIC: &[u8; 8] = b"arrived1";
const ROW_BYTES: usize = 33;

/// One delivery, with times in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number of the message.
    pub number: u64,
    /// [`crate::sink::recipient_key`] of the recipient.
    pub recipient: u64,
    /// When MAIL was read.
    pub began: u64,
    /// When the final dot was read.
    pub at: u64,
    /// The content's digest does not match.
    pub altered: bool,
}

/// Writes `arrivals` to `path`.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, arrivals: &[Arrival]) -> io::Result<()> {
    let clock = Clock::new();
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(MAGIC)?;
    for arrival in arrivals {
        for word in
            [arrival.number, arrival.recipient, clock.at(arrival.began), clock.at(arrival.at)]
        {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&[u8::from(arrival.altered)])?;
    }
    file.flush()
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// What the file system says, or it is no such file.
pub fn read(path: &Path) -> io::Result<Vec<Row>> {
    let mut bytes = Vec::new();
    BufReader::new(File::open(path)?).read_to_end(&mut bytes)?;
    let rows = bytes.strip_prefix(MAGIC).filter(|rows| rows.len().is_multiple_of(ROW_BYTES));
    let rows = rows.ok_or_else(|| io::Error::other("no file of arrivals, or not all of it"))?;
    let (rows, _) = rows.as_chunks::<ROW_BYTES>();
    Ok(rows.iter().map(row).collect())
}

fn row(bytes: &[u8; ROW_BYTES]) -> Row {
    let (words, last) = bytes.as_chunks::<8>();
    let [number, recipient, began, at] = [0, 1, 2, 3].map(|place| u64::from_le_bytes(words[place]));
    Row { number, recipient, began, at, altered: last != [0] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrivals");
        let began = Instant::now();
        let arrival = |number: u64| Arrival {
            number,
            recipient: number << 40,
            began,
            at: began + Duration::from_micros(number),
            altered: number == 2,
        };
        write(&path, &[arrival(1), arrival(2), arrival(3)]).unwrap();
        let rows = read(&path).unwrap();
        assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(rows.iter().map(|row| row.altered).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!((rows[2].at - rows[2].began, rows[2].recipient), (3_000, 3 << 40));
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 4, 8 + 32, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path).is_err(), "{cut}");
        }
    }
}
