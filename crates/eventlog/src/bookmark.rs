//! How far a reader of the log has come, as it is kept over restarts.
//!
//! Invariant: any text is taken; what is no bookmark is none. A bookmark always
//! has [`BOOKMARK_BYTES`], so that one is written over another in one piece.

use std::fmt;
use std::str::FromStr;

/// Octets of a bookmark as stored: a sector, which a disk writes whole or not.
pub const BOOKMARK_BYTES: usize = 512;

/// A place in the log: behind so many octets of the file with this number, as
/// it was before it was compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's number; the one that grows has the number that it will have.
    pub number: u64,
    /// Octets from its begin, to the begin of a line.
    pub offset: u64,
}

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    /// Random, set when the reader was first seen: tells its batches from those
    /// of another life of the log.
    pub instance: u64,
    /// Everything before was taken.
    pub done: Place,
    /// Where the batch ends that was offered last and perhaps taken.
    pub offered: Option<Place>,
    /// Where the log ended when this was kept.
    pub seen: Place,
    /// Lines between `done` and `seen`, wanted or not.
    pub lines_behind: u64,
    /// Octets between `done` and `seen`.
    pub bytes_behind: u64,
    /// Lines that were taken since the reader was first seen.
    pub taken: u64,
    /// Lines that went from the log before they were taken.
    pub lost: u64,
}

impl Bookmark {
    /// The bookmark as it is stored.
    pub fn to_bytes(&self) -> [u8; BOOKMARK_BYTES] {
        let mut bytes = [b' '; BOOKMARK_BYTES];
        let text = self.to_string();
        // Twelve numbers of at most 20 digits, and less than 100 letters.
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes[BOOKMARK_BYTES - 1] = b'\n';
        bytes
    }

    /// A bookmark as stored; none if it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let mut words = text.split_ascii_whitespace();
        if bytes.len() != BOOKMARK_BYTES || words.next() != Some(HEAD) {
            return None;
        }
        let mut next = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
        let found = Self {
            instance: u64::from_str_radix(next("instance")?, 16).ok()?,
            done: next("done")?.parse().ok()?,
            offered: match next("offered")? {
                "none" => None,
                place => Some(place.parse().ok()?),
            },
            seen: next("seen")?.parse().ok()?,
            lines_behind: next("lines")?.parse().ok()?,
            bytes_behind: next("bytes")?.parse().ok()?,
            taken: next("taken")?.parse().ok()?,
            lost: next("lost")?.parse().ok()?,
        };
        let numbers = [found.lines_behind, found.bytes_behind, found.taken, found.lost];
        let places = [found.done, found.seen, found.offered.unwrap_or_default()];
        let mut all = numbers.into_iter().chain(places.into_iter().flat_map(Place::parts));
        let sound = all.all(|number| number <= NUMBER_MAX);
        (sound && words.next().is_none()).then_some(found)
    }
}

/// No file of a log has so many lines, and no log so many files: whoever counts
/// on from here never comes to the end of the numbers.
const NUMBER_MAX: u64 = 1 << 60;

impl Place {
    fn parts(self) -> [u64; 2] {
        [self.number, self.offset]
    }
}

/// What a bookmark begins with; the number grows with its form.
const HEAD: &str = "ringpost-bookmark-1";

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, done, offered, seen, lines_behind, bytes_behind, taken, lost } = self;
        write!(f, "{HEAD} instance={instance:016x} done={done} offered=")?;
        match offered {
            Some(place) => write!(f, "{place}")?,
            None => f.write_str("none")?,
        }
        write!(
            f,
            " seen={seen} lines={lines_behind} bytes={bytes_behind} taken={taken} lost={lost}"
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.offset)
    }
}

/// A text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (number, offset) = text.split_once(':').ok_or(NoPlace)?;
        let digits = |text: &str| text.parse().map_err(|_| NoPlace);
        Ok(Self { number: digits(number)?, offset: digits(offset)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(number: u64) -> Bookmark {
        let far = Place { number, offset: number };
        Bookmark {
            instance: u64::MAX,
            done: far,
            offered: Some(far),
            seen: far,
            lines_behind: number,
            bytes_behind: number,
            taken: number,
            lost: number,
        }
    }

    #[test]
    fn a_bookmark_is_read_as_it_was_kept_however_large_its_numbers() {
        let large = large(NUMBER_MAX);
        for bookmark in [Bookmark::default(), large, Bookmark { offered: None, ..large }] {
            assert_eq!(Bookmark::parse(&bookmark.to_bytes()), Some(bookmark));
        }
    }

    #[test]
    fn what_is_no_bookmark_is_none() {
        let whole = Bookmark::default().to_bytes();
        assert_eq!(Bookmark::parse(b""), None);
        // Nobody could count on from there.
        let one = Bookmark { lost: u64::MAX, ..Bookmark::default() };
        for far in [large(NUMBER_MAX + 1), large(u64::MAX), one] {
            assert_eq!(Bookmark::parse(&far.to_bytes()), None);
        }
        assert_eq!(Bookmark::parse(&whole[..511]), None);
        assert_eq!(Bookmark::parse(&[0; BOOKMARK_BYTES]), None);
        assert_eq!(Bookmark::parse(&[0xff; BOOKMARK_BYTES]), None);
        // Each octet of it replaced: something else is read, or nothing, and
        // never a panic.
        for at in 0..BOOKMARK_BYTES {
            let mut bytes = whole;
            bytes[at] = b'x';
            assert_eq!(Bookmark::parse(&bytes), None, "{at}");
        }
    }

    #[test]
    fn places_go_by_file_and_then_by_octet() {
        let place = |number, offset| Place { number, offset };
        assert!(place(1, 900) < place(2, 0) && place(2, 0) < place(2, 1));
        assert_eq!("7:30".parse(), Ok(place(7, 30)));
        assert_eq!("7".parse::<Place>(), Err(NoPlace));
        assert_eq!("7:-1".parse::<Place>(), Err(NoPlace));
    }
}
