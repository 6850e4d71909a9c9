//! What an update is: a signed manifest in front of an image, which versions
//! are later, and what may make room for one.
//!
//! Never reads a file and never believes a length. Invariants: the image that
//! runs and every one that was ever found good are never in what may go; a
//! version that is there already, good or failed, is not installed again, so
//! that no bad image comes back by itself.
//!
//! ```text
//! RINGPOST-UPDATE 1
//! version = 1.2.3
//! bytes = 25165824
//! sha256 = 64 hexadecimal digits
//!                       an empty line; up to here it is signed
//! 64 octets             the signature, Ed25519
//! the image
//! ```

use std::fmt;

/// Octets of a manifest that are read.
pub const MANIFEST_BYTES_MAX: usize = 1_024;
/// Octets of an image that are believed: four times what there is today.
pub const IMAGE_BYTES_MAX: u64 = 128 << 20;
/// Octets of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Boots that an image has to prove itself.
const TRIES: u32 = 3;
const FIRST_LINE: &str = "RINGPOST-UPDATE 1";

/// A version: three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

/// What the signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The image's version.
    pub version: Version,
    /// Its octets.
    pub bytes: u64,
    /// Their digest.
    pub sha256: [u8; 32],
}

impl Version {
    /// Reads `1.2.3`; numbers have no sign, no leading zero and up to six digits.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| {
            let plain = (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            let shortest = part == "0" || !part.starts_with('0');
            part.parse().ok().filter(|_| plain && shortest)
        };
        let numbers: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
        numbers.try_into().ok().map(Self)
    }

    /// What its image is called before it has proved itself.
    pub fn file_name(self) -> String {
        format!("ringpost_{self}+{TRIES}.efi")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two, three] = self.0;
        write!(f, "{one}.{two}.{three}")
    }
}

/// Where the manifest ends in the first octets of an update; `None` where that
/// is no update.
pub fn manifest_end(first: &[u8]) -> Option<usize> {
    let first = &first[..first.len().min(MANIFEST_BYTES_MAX)];
    first.starts_with(FIRST_LINE.as_bytes()).then_some(())?;
    first.windows(2).position(|two| two == b"\n\n").map(|at| at + 2)
}

impl Manifest {
    /// Reads a manifest whose signature was checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "its manifest is no text")?;
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err("it is of a form that this version does not know");
        }
        let mut field = |key: &str| {
            let value = lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            value.ok_or("its manifest lacks a line")
        };
        let version = Version::parse(field("version")?).ok_or("its version is none")?;
        let bytes = field("bytes")?.parse().map_err(|_| "its length is none")?;
        let sha256 = digest(field("sha256")?).ok_or("its digest is none")?;
        if !(1..=IMAGE_BYTES_MAX).contains(&bytes) {
            return Err("its image is too large");
        }
        Ok(Self { version, bytes, sha256 })
    }
}

/// 64 hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octet = |pair: &[u8; 2]| {
        let digits =
            std::str::from_utf8(pair).ok().filter(|_| pair.iter().all(u8::is_ascii_hexdigit));
        u8::from_str_radix(digits?, 16).ok()
    };
    let octets: Vec<u8> = pairs.iter().map(octet).collect::<Option<_>>()?;
    octets.try_into().ok().filter(|_| rest.is_empty())
}

/// A public key as it lies in the image: 64 hexadecimal digits.
pub fn public_key(text: &str) -> Option<[u8; 32]> {
    digest(text.trim())
}

/// Whether a version may be put beside the images that are `there`, by their
/// file names, when `running` runs.
///
/// # Errors
/// Why not.
pub fn may_install<'a>(
    version: Version,
    running: Version,
    mut there: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    if version <= running {
        return Err(format!("{version} is not later than {running}, which runs"));
    }
    let same = |name: &str| image(name).is_some_and(|(found, _)| found == version);
    match there.find(|name| same(name)) {
        Some(name) => Err(format!("{version} is there already, as {name}")),
        None => Ok(()),
    }
}

/// Files that may go to make room: images that failed or never proved
/// themselves, but for the running one, and good ones older than the last two.
///
/// All names of a version stay or go together: after a power cut while one was
/// renamed, two may stand for the same octets on the disk, and taking one away
/// frees them for others.
pub fn may_go<'a>(running: Version, there: &[&'a str]) -> Vec<&'a str> {
    let images = there.iter().filter_map(|name| Some((*name, image(name)?)));
    let mut good: Vec<Version> = images
        .clone()
        .filter(|(_, (_, is_good))| *is_good)
        .map(|(_, (version, _))| version)
        .collect();
    good.sort_unstable();
    let oldest_kept = good.iter().rev().nth(1).copied();
    let goes = |version: Version| {
        let is_old = oldest_kept.is_some_and(|oldest| version < oldest);
        version != running && (!good.contains(&version) || is_old)
    };
    let going = images.filter(|(_, (version, _))| goes(*version));
    going.map(|(name, _)| name).collect()
}

/// The version of an image by its file's name, and whether it was found good.
fn image(name: &str) -> Option<(Version, bool)> {
    let stem = name.strip_prefix("ringpost_")?.strip_suffix(".efi")?;
    let (version, counter) = match stem.split_once('+') {
        Some((version, counter)) => (version, Some(counter)),
        None => (stem, None),
    };
    Some((Version::parse(version)?, counter.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn manifest(bytes: &str) -> String {
        format!("{FIRST_LINE}\nversion = 1.2.3\nbytes = {bytes}\nsha256 = {}\n\n", "0a".repeat(32))
    }

    #[test]
    fn a_manifest_is_read_and_ends_at_its_empty_line() {
        let whole = manifest("7") + "signature and image\n\n";
        let end = manifest_end(whole.as_bytes()).unwrap();
        assert!(whole[end..].starts_with("signature"));
        let read = Manifest::parse(&whole.as_bytes()[..end]).unwrap();
        assert_eq!((read.version, read.bytes, read.sha256), (version("1.2.3"), 7, [10; 32]));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        assert_eq!(manifest_end(b""), None);
        assert_eq!(manifest_end(b"RINGPOST-UPDATE 1\nversion"), None);
        assert_eq!(manifest_end(b"PK\n\n"), None);
        let long = manifest("7").replace("version", &"x".repeat(MANIFEST_BYTES_MAX));
        assert_eq!(manifest_end(long.as_bytes()), None, "longer than is read");
        let refused = |text: String| Manifest::parse(text.as_bytes()).unwrap_err();
        refused(manifest("7").replace("UPDATE 1", "UPDATE 2"));
        refused(manifest("7").replace("1.2.3", "1.2"));
        refused(manifest("7").replace("0a0a", "0a0"));
        refused(manifest("7").replace("0a0a", "+a+a"));
        refused(manifest("7").replace("sha256", "sha1"));
        for bytes in ["", "-1", "0", &(IMAGE_BYTES_MAX + 1).to_string()] {
            refused(manifest(bytes));
        }
        assert!(Manifest::parse(manifest(&IMAGE_BYTES_MAX.to_string()).as_bytes()).is_ok());
        assert!(Manifest::parse(b"\xff\n\n").is_err());
    }

    #[test]
    fn versions_are_told_apart_by_their_numbers() {
        assert!(version("0.9.0") < version("0.10.0"));
        assert!(version("1.0.0") > version("0.999999.9"));
        for none in ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1..3", "1.2.-3", "1.2.1234567"]
        {
            assert_eq!(Version::parse(none), None, "{none}");
        }
        assert_eq!(version("1.20.3").file_name(), "ringpost_1.20.3+3.efi");
    }

    #[test]
    fn only_a_later_version_that_is_not_there_is_installed() {
        let may = |new: &str, there: &[&str]| {
            may_install(version(new), version("1.0.0"), there.iter().copied()).is_ok()
        };
        assert!(may("1.0.1", &["ringpost_1.0.0.efi"]));
        assert!(!may("1.0.0", &[]) && !may("0.9.9", &[]));
        for name in ["ringpost_1.0.1.efi", "ringpost_1.0.1+3.efi", "ringpost_1.0.1+0-3.efi"] {
            assert!(!may("1.0.1", &[name]), "{name}");
        }
    }

    #[test]
    fn room_is_never_made_of_what_runs_or_what_was_good_last() {
        let there = [
            "ringpost_0.8.0.efi",
            "ringpost_0.9.0.efi",
            "ringpost_1.0.0.efi",
            "ringpost_1.1.0+0-3.efi",
            "ringpost_1.2.0+2-1.efi",
            "somebody.efi",
            "update.part",
        ];
        let gone = may_go(version("1.0.0"), &there);
        let expected = ["ringpost_0.8.0.efi", "ringpost_1.1.0+0-3.efi", "ringpost_1.2.0+2-1.efi"];
        assert_eq!(gone, expected);
        // One that is still to prove itself, and runs.
        assert_eq!(may_go(version("1.2.0"), &there[3..5]), ["ringpost_1.1.0+0-3.efi"]);
        // After a way back the running one is older than a good one.
        assert_eq!(may_go(version("0.8.0"), &there[..3]), [] as [&str; 0]);
        assert_eq!(may_go(version("9.0.0"), &there[1..3]), [] as [&str; 0]);
    }

    #[test]
    fn the_names_of_a_version_stay_and_go_together() {
        let twins = ["ringpost_1.1.0+2-1.efi", "ringpost_1.1.0.efi"];
        assert_eq!(may_go(version("1.0.0"), &twins), [] as [&str; 0]);
        assert_eq!(may_go(version("1.1.0"), &twins), [] as [&str; 0]);
        let there = [&twins[..], &["ringpost_1.2.0.efi", "ringpost_1.3.0.efi"]].concat();
        assert_eq!(may_go(version("1.3.0"), &there), twins);
    }
}
