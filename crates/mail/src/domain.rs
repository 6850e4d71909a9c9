//! A mail domain or host name in the one form the house works with: lower
//! case, ASCII (A-labels), no trailing dot, lengths checked.
//!
//! Never here: look-ups, public suffixes, a guess what a name means. Two
//! [`Domain`]s are equal exactly when DNS would call them the same name.
//! Cloning one copies a pointer.
//!
//! Read first: RFC 5321 §4.1.2, RFC 5321 §2.3.5, RFC 5890 §2.3.2.1.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base::limits::DOMAIN_BYTES_MAX;

/// Octets of one label (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// A domain name of 1 to 255 octets in labels of 1 to 63: lower-case letters,
/// digits, hyphens inside, underscores. The last label is never all digits.
///
/// The bound is that of SMTP. A name of more than 253 octets cannot be asked
/// of the DNS; whoever asks finds that out there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

/// Why a text is not a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing there.
    #[error("the domain is empty")]
    PeerEmpty,
    /// More than 255 octets.
    #[error("the domain is longer than 255 octets")]
    PeerTooLong,
    /// Two dots in a row, or a dot at either end.
    #[error("the domain has an empty label")]
    PeerEmptyLabel,
    /// A label of more than 63 octets.
    #[error("the domain has a label longer than 63 octets")]
    PeerLabelTooLong,
    /// A hyphen at either end of a label.
    #[error("a label of the domain starts or ends with a hyphen")]
    PeerHyphen,
    /// A character outside letters, digits, hyphen, underscore and dot.
    #[error("the domain has a character that no host name has")]
    PeerCharacter,
    /// The last label is a number: an IP address without its brackets.
    #[error("the domain ends in a number, as an IP address does")]
    PeerNumeric,
    /// Not ASCII where only ASCII may stand.
    #[error("the domain is not ASCII")]
    PeerNotAscii,
    /// Not ASCII, and no valid international name either.
    #[error("the domain is not a valid international name")]
    PeerNotIdna,
}

impl Domain {
    /// Reads an ASCII name of any case.
    ///
    /// # Errors
    /// The first fault found; [`DomainError::PeerNotAscii`] for U-labels, which
    /// [`Domain::parse_utf8`] reads.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        if !text.is_ascii() {
            return Err(DomainError::PeerNotAscii);
        }
        check(text.as_bytes())?;
        let mut name: Arc<str> = Arc::from(text);
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Arc::get_mut(&mut name).expect("nobody else holds it yet").make_ascii_lowercase();
        }
        Ok(Self(name))
    }

    /// Reads a name that may have U-labels, and keeps its A-label form
    /// (RFC 5891 §5).
    ///
    /// # Errors
    /// The first fault found. The bound of 255 octets holds for the text as
    /// given and for the converted name.
    pub fn parse_utf8(text: &str) -> Result<Self, DomainError> {
        if text.is_ascii() {
            return Self::parse(text);
        }
        if text.len() > DOMAIN_BYTES_MAX {
            return Err(DomainError::PeerTooLong);
        }
        // The deny list is empty because `check` judges the result anyway.
        let ascii: Cow<'_, str> =
            idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::EMPTY)
                .map_err(|_| DomainError::PeerNotIdna)?;
        Self::parse(&ascii)
    }

    /// The name, as it stands in DNS and on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `parent` itself or any name below it.
    pub fn is_within(&self, parent: &Self) -> bool {
        match self.0.strip_suffix(parent.as_str()) {
            Some(front) => front.is_empty() || front.ends_with('.'),
            None => false,
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.0)
    }
}

/// As [`Domain::parse`].
impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Domain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn check(name: &[u8]) -> Result<(), DomainError> {
    if name.is_empty() {
        return Err(DomainError::PeerEmpty);
    }
    if name.len() > DOMAIN_BYTES_MAX {
        return Err(DomainError::PeerTooLong);
    }
    let mut last = name;
    for label in name.split(|byte| *byte == b'.') {
        check_label(label)?;
        last = label;
    }
    if last.iter().all(u8::is_ascii_digit) {
        return Err(DomainError::PeerNumeric);
    }
    Ok(())
}

fn check_label(label: &[u8]) -> Result<(), DomainError> {
    let (Some(first), Some(last)) = (label.first(), label.last()) else {
        return Err(DomainError::PeerEmptyLabel);
    };
    if label.len() > LABEL_BYTES_MAX {
        return Err(DomainError::PeerLabelTooLong);
    }
    if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Err(DomainError::PeerCharacter);
    }
    if *first == b'-' || *last == b'-' {
        return Err(DomainError::PeerHyphen);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_kept() {
        assert_eq!(Domain::parse("Mail.EXAMPLE.com").unwrap().as_str(), "mail.example.com");
        assert_eq!(Domain::parse("_dmarc.a-b.example").unwrap().as_str(), "_dmarc.a-b.example");
        assert_eq!(Domain::parse("localhost").unwrap().as_str(), "localhost");
        assert_eq!("1.2.3.4a".parse::<Domain>().unwrap().to_string(), "1.2.3.4a");
    }

    /// Covers: A6.16
    #[test]
    fn what_is_not_a_name_is_refused_with_its_fault() {
        use DomainError::*;
        for (text, fault) in [
            ("", PeerEmpty),
            (".", PeerEmptyLabel),
            ("a..b", PeerEmptyLabel),
            ("example.com.", PeerEmptyLabel),
            (".example.com", PeerEmptyLabel),
            ("-a.example", PeerHyphen),
            ("a-.example", PeerHyphen),
            ("a b.example", PeerCharacter),
            ("a\0.example", PeerCharacter),
            ("a\r\n.example", PeerCharacter),
            ("*.example", PeerCharacter),
            ("192.0.2.1", PeerNumeric),
            ("123", PeerNumeric),
            ("b\u{fc}cher.example", PeerNotAscii),
        ] {
            assert_eq!(Domain::parse(text), Err(fault), "{text:?}");
        }
    }

    /// Proves: RFC 5321 §4.5.3.1.2
    /// Covers: A1.17
    #[test]
    fn lengths_of_names_hold_at_their_bounds() {
        let label = "a".repeat(LABEL_BYTES_MAX);
        assert!(Domain::parse(&label).is_ok());
        assert_eq!(Domain::parse(&format!("{label}a")), Err(DomainError::PeerLabelTooLong));
        let longest = format!("{label}.{label}.{label}.{label}");
        assert_eq!(longest.len(), DOMAIN_BYTES_MAX);
        assert!(Domain::parse(&longest).is_ok());
        assert_eq!(Domain::parse(&format!("{longest}.a")), Err(DomainError::PeerTooLong));
    }

    /// Covers: A2.31
    #[test]
    fn u_labels_become_a_labels() {
        let domain = Domain::parse_utf8("B\u{fc}cher.Example").unwrap();
        assert_eq!(domain.as_str(), "xn--bcher-kva.example");
        assert_eq!(Domain::parse_utf8("PLAIN.example").unwrap().as_str(), "plain.example");
        // A full-width address is still an address after mapping.
        let wide = "\u{ff11}\u{ff0e}\u{ff12}\u{ff0e}\u{ff13}\u{ff0e}\u{ff14}";
        assert_eq!(Domain::parse_utf8(wide), Err(DomainError::PeerNumeric));
        assert_eq!(Domain::parse_utf8("a\u{fffd}.example"), Err(DomainError::PeerNotIdna));
        let long = "\u{fc}".repeat(DOMAIN_BYTES_MAX / 2 + 1);
        assert_eq!(Domain::parse_utf8(&long), Err(DomainError::PeerTooLong));
    }

    #[test]
    fn within_means_itself_or_below() {
        let parent = Domain::parse("example.com").unwrap();
        for (name, expected) in [
            ("example.com", true),
            ("a.b.example.com", true),
            ("badexample.com", false),
            ("com", false),
            ("example.com.evil.test", false),
        ] {
            assert_eq!(Domain::parse(name).unwrap().is_within(&parent), expected, "{name}");
        }
    }
}
