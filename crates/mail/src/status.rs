//! Enhanced status codes: what went how wrong, as three numbers.
//!
//! Never here: what to do about it. A [`Status`] is always well formed; the
//! codes Ringpost gives of its own accord are the constants, so that a search
//! for one finds every place that says it.
//!
//! Read first: RFC 3463 §2, RFC 3463 §3, RFC 2034 §4.

use std::fmt;

/// An enhanced status code, `class.subject.detail` (RFC 3463 §2): class 2, 4
/// or 5, the others 0 to 999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status {
    class: u8,
    subject: u16,
    detail: u16,
}

const PART_MAX: u16 = 999;

impl Status {
    /// Success, nothing more to say.
    pub const OK: Self = Self::new(2, 0, 0);
    /// Sender's address is fine.
    pub const SENDER_OK: Self = Self::new(2, 1, 0);
    /// Recipient's address is fine.
    pub const RECIPIENT_OK: Self = Self::new(2, 1, 5);

    /// Refused for no reason that has a code.
    pub const FAILED: Self = Self::new(5, 0, 0);
    /// Put off for no reason that has a code.
    pub const DEFERRED: Self = Self::new(4, 0, 0);
    /// No such mailbox.
    pub const BAD_MAILBOX: Self = Self::new(5, 1, 1);
    /// The recipient's domain does not exist or cannot take mail.
    pub const BAD_DOMAIN: Self = Self::new(5, 1, 2);
    /// The recipient's address is not an address.
    pub const BAD_RECIPIENT_SYNTAX: Self = Self::new(5, 1, 3);
    /// The sender's address is not an address.
    pub const BAD_SENDER_SYNTAX: Self = Self::new(5, 1, 7);
    /// The recipient's domain says that it takes no mail (RFC 7505 §6).
    pub const NULL_MX: Self = Self::new(5, 1, 10);
    /// The message is larger than the administrator allows here.
    pub const TOO_LARGE_HERE: Self = Self::new(5, 2, 3);
    /// No room, or something else is wrong with the system; try later.
    pub const SYSTEM: Self = Self::new(4, 3, 0);
    /// The queue is full.
    pub const SYSTEM_FULL: Self = Self::new(4, 3, 1);
    /// The system takes no mail now.
    pub const SYSTEM_CLOSED: Self = Self::new(4, 3, 2);
    /// The message is too large for the system.
    pub const TOO_LARGE: Self = Self::new(5, 3, 4);
    /// The system is configured wrong; try later.
    pub const MISCONFIGURED: Self = Self::new(4, 3, 5);
    /// The host did not answer.
    pub const NO_ANSWER: Self = Self::new(4, 4, 1);
    /// The connection was lost or ran out of time.
    pub const BAD_CONNECTION: Self = Self::new(4, 4, 2);
    /// The directory (DNS) did not answer.
    pub const DIRECTORY_FAILED: Self = Self::new(4, 4, 3);
    /// There is no way to the destination: DNS says that no host takes its mail.
    pub const UNROUTABLE: Self = Self::new(5, 4, 4);
    /// There is no way to the destination just now.
    pub const UNROUTABLE_NOW: Self = Self::new(4, 4, 4);
    /// The message went in a circle.
    pub const LOOP: Self = Self::new(5, 4, 6);
    /// The message's time is over.
    pub const EXPIRED: Self = Self::new(4, 4, 7);
    /// A command that does not exist or stands out of order.
    pub const BAD_COMMAND: Self = Self::new(5, 5, 1);
    /// A command that cannot be read.
    pub const BAD_SYNTAX: Self = Self::new(5, 5, 2);
    /// Too many recipients in one transaction; the rest another time.
    pub const TOO_MANY_RECIPIENTS: Self = Self::new(4, 5, 3);
    /// A command argument that is wrong or not supported.
    pub const BAD_ARGUMENT: Self = Self::new(5, 5, 4);
    /// The content is not what mail may consist of.
    pub const BAD_CONTENT: Self = Self::new(5, 6, 0);
    /// The message would need a conversion that is not possible.
    pub const CONVERSION_IMPOSSIBLE: Self = Self::new(5, 6, 3);
    /// The next host cannot take UTF-8 addresses or header fields.
    pub const NOT_ASCII: Self = Self::new(5, 6, 7);
    /// Refused by policy.
    pub const POLICY: Self = Self::new(5, 7, 1);
    /// TLS is demanded and was not to be had.
    pub const TLS_MISSING: Self = Self::new(4, 7, 4);
    /// TLS is demanded and the peer could not prove who it is.
    pub const TLS_UNPROVEN: Self = Self::new(4, 7, 5);
    /// REQUIRETLS is demanded and the next host does not offer it (RFC 8689 §4.2.1).
    pub const REQUIRETLS_MISSING: Self = Self::new(5, 7, 30);

    /// The code `class.subject.detail`.
    ///
    /// # Panics
    /// When the numbers are no status code: a bug of the caller.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        assert!(matches!(class, 2 | 4 | 5));
        assert!(subject <= PART_MAX);
        assert!(detail <= PART_MAX);
        Self { class, subject, detail }
    }

    /// The code `class.0.0`, for a peer that gives none (RFC 3463 §3.1).
    /// `class` is the first digit of a reply; anything but 2 and 4 is 5.
    pub const fn of_class(class: u8) -> Self {
        match class {
            2 => Self::OK,
            4 => Self::DEFERRED,
            _ => Self::FAILED,
        }
    }

    /// Reads the code at the start of a reply's text (RFC 2034 §4), if there
    /// is one. What follows it must not continue the number, so that an IP
    /// address is not taken for a code.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::parse_prefix(text).map(|(status, _)| status)
    }

    /// As [`Status::parse`], with the text behind the code and its blanks.
    pub fn parse_prefix(text: &[u8]) -> Option<(Self, &[u8])> {
        let (class, rest) = text.split_first()?;
        if !matches!(class, b'2' | b'4' | b'5') {
            return None;
        }
        let (subject, rest) = number(rest.strip_prefix(b".")?)?;
        let (detail, rest) = number(rest.strip_prefix(b".")?)?;
        if let [b'.', digit, ..] = rest
            && digit.is_ascii_digit()
        {
            return None;
        }
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        Some((Self { class: class - b'0', subject, detail }, &rest[blanks..]))
    }

    /// 2, 4 or 5.
    pub const fn class(self) -> u8 {
        self.class
    }

    /// What it is about, 0 to 999.
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The precise reason, 0 to 999.
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// The same subject and detail in another class: a time-out that became
    /// final, or a reply whose three digits contradict its enhanced code.
    ///
    /// # Panics
    /// When `class` is not 2, 4 or 5: a bug of the caller.
    pub const fn with_class(self, class: u8) -> Self {
        Self::new(class, self.subject, self.detail)
    }

    /// The code as one number for storage: `class * 1 000 000 + subject * 1 000 + detail`.
    pub const fn bits(self) -> u32 {
        self.class as u32 * 1_000_000 + self.subject as u32 * 1_000 + self.detail as u32
    }

    /// The inverse of [`Status::bits`]; none for a number that is no code.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        let class = match bits / 1_000_000 {
            2 => 2,
            4 => 4,
            5 => 5,
            _ => return None,
        };
        Some(Self { class, subject: (bits / 1_000 % 1_000) as u16, detail: (bits % 1_000) as u16 })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({self})")
    }
}

/// One to three digits.
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 3 {
        return None;
    }
    let (head, rest) = text.split_at(digits);
    Some((head.iter().fold(0, |sum, byte| sum * 10 + u16::from(byte - b'0')), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 3463 §2
    /// Covers: A4.2
    #[test]
    fn codes_are_read_from_the_start_of_a_reply() {
        for (text, expected) in [
            ("5.1.1 no such user", Some("5.1.1")),
            ("2.0.0", Some("2.0.0")),
            ("4.7.999\tx", Some("4.7.999")),
            ("5.1.1. gone", Some("5.1.1")),
            ("5.1.1: gone", Some("5.1.1")),
            ("5.7.1000 x", None),
            ("5.1", None),
            ("5.1.", None),
            ("3.1.1 x", None),
            ("5.4.3.2 is listed", None),
            ("", None),
            ("no such user 5.1.1", None),
            (" 5.1.1", None),
        ] {
            let read = Status::parse(text.as_bytes()).map(|status| status.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
        assert_eq!(Status::parse_prefix(b"5.1.1  gone"), Some((Status::BAD_MAILBOX, &b"gone"[..])));
    }

    #[test]
    fn storage_form_round_trips_and_refuses_nonsense() {
        for status in [Status::OK, Status::REQUIRETLS_MISSING, Status::new(4, 999, 999)] {
            assert_eq!(Status::from_bits(status.bits()), Some(status));
        }
        for bits in [0, 1_000_000, 3_000_000, 6_000_000, u32::MAX] {
            assert_eq!(Status::from_bits(bits), None);
        }
    }

    /// Covers: A4.2
    #[test]
    fn class_can_be_replaced_and_made_up() {
        assert_eq!(Status::EXPIRED.with_class(5).to_string(), "5.4.7");
        assert_eq!(Status::of_class(4), Status::DEFERRED);
        assert_eq!(Status::of_class(7), Status::FAILED);
    }
}
