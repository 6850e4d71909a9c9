//! The service extensions: which a server offers, which a peer was heard to
//! offer.
//!
//! Never here: what an extension changes in a dialogue. The list is one table,
//! so that a later extension is one line in it.
//!
//! Read first: RFC 5321 §4.1.1.1, RFC 1870 §3.

use std::fmt;

use crate::answer::write_line;
use crate::reply::Code;
use crate::sasl::{Mechanism, Mechanisms};

/// A service extension that Ringpost knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Commands may be sent ahead of replies (RFC 2920 §3).
    Pipelining,
    /// Message sizes are declared (RFC 1870 §3).
    Size,
    /// Bodies may have octets above 127 (RFC 6152 §2).
    EightBitMime,
    /// Addresses and header fields may be UTF-8 (RFC 6531 §3.1).
    SmtpUtf8,
    /// Replies begin with an enhanced status code (RFC 2034 §3).
    EnhancedStatusCodes,
    /// Messages may be sent by BDAT (RFC 3030 §2).
    Chunking,
    /// Delivery status notifications may be asked for (RFC 3461 §4).
    Dsn,
    /// The session may go on in TLS (RFC 3207 §4).
    StartTls,
    /// Clients may log in (RFC 4954 §3); which ways are heard of apart.
    Auth,
    /// Waiting mail may be asked for (RFC 1985 §3).
    Etrn,
}

const TABLE: [(Extension, &str); 10] = [
    (Extension::Pipelining, "PIPELINING"),
    (Extension::Size, "SIZE"),
    (Extension::EightBitMime, "8BITMIME"),
    (Extension::SmtpUtf8, "SMTPUTF8"),
    (Extension::EnhancedStatusCodes, "ENHANCEDSTATUSCODES"),
    (Extension::Chunking, "CHUNKING"),
    (Extension::Dsn, "DSN"),
    (Extension::StartTls, "STARTTLS"),
    (Extension::Auth, "AUTH"),
    (Extension::Etrn, "ETRN"),
];

/// A set of extensions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Extensions(u16);

impl Extensions {
    /// No extension at all, as after HELO.
    pub const NONE: Self = Self(0);

    /// What the submission server offers unless told otherwise.
    pub const SUBMISSION: Self = Self::NONE
        .with(Extension::Pipelining)
        .with(Extension::Size)
        .with(Extension::EightBitMime)
        .with(Extension::SmtpUtf8)
        .with(Extension::EnhancedStatusCodes)
        .with(Extension::Chunking)
        .with(Extension::Dsn);

    /// This set and `extension`.
    pub const fn with(self, extension: Extension) -> Self {
        Self(self.0 | 1 << extension as u16)
    }

    /// This set without `extension`.
    pub const fn without(self, extension: Extension) -> Self {
        Self(self.0 & !(1 << extension as u16))
    }

    /// Whether `extension` is in the set.
    pub const fn has(self, extension: Extension) -> bool {
        self.0 & 1 << extension as u16 != 0
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = TABLE.iter().filter(|(extension, _)| self.has(*extension));
        f.debug_set().entries(names.map(|(_, keyword)| keyword)).finish()
    }
}

/// What a peer's reply to EHLO says. All of it is void once TLS starts
/// (RFC 3207 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The extensions it offers, of those known here.
    pub extensions: Extensions,
    /// The most octets a message may have; none when the peer names no limit
    /// (RFC 1870 §4).
    pub size_max: Option<u64>,
    /// The mechanisms of AUTH it offers, of those known here (RFC 4954 §3).
    pub mechanisms: Mechanisms,
}

impl Capabilities {
    /// Reads the lines of a 250 to EHLO, the first of which is only a
    /// greeting. Unknown keywords and odd parameters are no fault.
    pub fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut read = Self::default();
        for line in lines.skip(1) {
            let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else { continue };
            if let Some(first) = after_auth(keyword) {
                let named = std::iter::once(first).chain(words).filter_map(Mechanism::named);
                read.mechanisms = named.fold(read.mechanisms, Mechanisms::with);
                continue;
            }
            let known =
                TABLE.iter().find(|(_, name)| keyword.eq_ignore_ascii_case(name.as_bytes()));
            let Some((extension, _)) = known else { continue };
            read.extensions = read.extensions.with(*extension);
            if *extension == Extension::Size {
                let limit = words.next().and_then(|word| str::from_utf8(word).ok()?.parse().ok());
                read.size_max = limit.filter(|limit| *limit > 0);
            }
        }
        read
    }

    /// Whether the peer offers `extension`.
    pub fn has(&self, extension: Extension) -> bool {
        self.extensions.has(extension)
    }
}

/// What stands behind `AUTH` in the same word: nothing, or a mechanism where
/// the peer writes `AUTH=` as before the standard.
fn after_auth(keyword: &[u8]) -> Option<&[u8]> {
    let (auth, rest) = keyword.split_at_checked(4)?;
    let alone = rest.is_empty() || rest.starts_with(b"=");
    (alone && auth.eq_ignore_ascii_case(b"AUTH")).then(|| rest.strip_prefix(b"=").unwrap_or(rest))
}

/// Writes the 250 to EHLO: our name, then one line per extension offered
/// (RFC 5321 §4.1.1.1).
pub fn write_offers(hostname: &str, offered: Extensions, size_max: u64, out: &mut Vec<u8>) {
    let code = Code::new(250);
    let mut offers = TABLE.iter().filter(|(extension, _)| offered.has(*extension)).peekable();
    write_line(code, offers.peek().is_none(), None, hostname, out);
    while let Some((extension, keyword)) = offers.next() {
        let last = offers.peek().is_none();
        if *extension == Extension::Size {
            write_line(code, last, None, &format!("{keyword} {size_max}"), out);
        } else if *extension == Extension::Auth {
            let names = Mechanisms::SERVED.iter().map(Mechanism::name);
            let names: Vec<_> = std::iter::once(*keyword).chain(names).collect();
            write_line(code, last, None, &names.join(" "), out);
        } else {
            write_line(code, last, None, keyword, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Capabilities {
        Capabilities::parse(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn the_table_is_in_the_order_of_the_bits_and_complete() {
        for (place, (extension, _)) in TABLE.iter().enumerate() {
            assert_eq!(*extension as usize, place);
        }
    }

    /// Proves: RFC 5321 §4.1.1.1
    /// Covers: A2.3
    #[test]
    fn offers_are_heard_whatever_their_case_and_company() {
        let all =
            heard(&["mx SIZE 3", "pipelining", "Size 1000", "8BITMIME ", "X-ODD", "", "DSN x"]);
        let expected = Extensions::NONE
            .with(Extension::Pipelining)
            .with(Extension::Size)
            .with(Extension::EightBitMime)
            .with(Extension::Dsn);
        assert_eq!(
            all,
            Capabilities { extensions: expected, size_max: Some(1_000), ..Capabilities::default() }
        );
        assert_eq!(heard(&["PIPELINING"]), Capabilities::default(), "the first line is a greeting");
        assert_eq!(heard(&[]), Capabilities::default());
    }

    /// Proves: RFC 1870 §4
    /// Covers: A6.1
    #[test]
    fn a_size_without_a_number_or_of_zero_is_no_limit() {
        for (line, limit) in [
            ("SIZE", None),
            ("SIZE 0", None),
            ("SIZE many", None),
            ("SIZE 18446744073709551616", None),
            ("SIZE 1", Some(1)),
            ("SIZE 52428800 x", Some(52_428_800)),
        ] {
            let read = heard(&["mx", line]);
            assert!(read.has(Extension::Size), "{line}");
            assert_eq!(read.size_max, limit, "{line}");
        }
    }

    /// Covers: A1.5
    #[test]
    fn what_is_offered_is_heard() {
        for offered in [Extensions::NONE, Extensions::SUBMISSION, Extensions(0xff)] {
            let mut out = Vec::new();
            write_offers("mx.example", offered, 99, &mut out);
            let mut reader = crate::reply::ReplyReader::default();
            reader.push(&out);
            let found = reader.next_reply().unwrap().unwrap();
            assert_eq!(found.code, Code::new(250));
            assert_eq!(Capabilities::parse(reader.lines(found)).extensions, offered);
        }
    }
}
