//! Until when a certificate is good, and whom it was made out to: as much of
//! X.509 as that takes.
//!
//! Invariant: any octets are taken; what is no certificate has no end and no
//! subject. Whom to believe is not decided here.

use base::{Wall, hex};
use mail::Timestamp;

/// Characters of a subject that are shown.
pub const SUBJECT_CHARS_MAX: usize = 256;

/// The end of the validity of a certificate in DER.
pub fn not_after(der: &[u8]) -> Option<Wall> {
    let (SEQUENCE, validity, _) = element(from_validity(der)?)? else { return None };
    let (_, _, after) = element(validity)?;
    let (tag, text, _) = element(after)?;
    time(tag, str::from_utf8(text).ok()?)
}

/// Whom a certificate in DER was made out to, written as RFC 4514 writes names,
/// such as `CN=ann,O=Example`: one line without control characters, at most
/// [`SUBJECT_CHARS_MAX`] of it. Empty where it names nobody.
pub fn subject(der: &[u8]) -> Option<String> {
    let mut parts: Vec<String> = attributes(der)?
        .into_iter()
        .map(|(kind, value)| format!("{}={}", named(kind), escaped(&value)))
        .collect();
    // The most general part stands first in the certificate.
    parts.reverse();
    Some(parts.join(",").chars().take(SUBJECT_CHARS_MAX).collect())
}

/// The common name among it, the last one where there are several.
pub fn common_name(der: &[u8]) -> Option<String> {
    let names = attributes(der)?.into_iter().rev();
    names.filter(|(kind, _)| *kind == COMMON_NAME).map(|(_, value)| value).next()
}

/// Attributes of a name that are read; further ones are not shown.
const ATTRIBUTES_MAX: usize = 32;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// Kinds of attribute that have a short name.
const NAMED: [(&[u8], &str); 8] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// What of a certificate begins with its validity.
fn from_validity(der: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, certificate, _) = element(der)? else { return None };
    let (SEQUENCE, mut rest, _) = element(certificate)? else { return None };
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    // Serial number, algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        let (found, _, after) = element(rest)?;
        rest = (found == tag).then_some(after)?;
    }
    Some(rest)
}

/// What a certificate says of whom it was made out to, in its own order.
fn attributes(der: &[u8]) -> Option<Vec<(&[u8], String)>> {
    let (SEQUENCE, _, rest) = element(from_validity(der)?)? else { return None };
    let (SEQUENCE, mut names, _) = element(rest)? else { return None };
    let mut found = Vec::new();
    while !names.is_empty() && found.len() < ATTRIBUTES_MAX {
        let (SET, mut together, after) = element(names)? else { return None };
        names = after;
        while !together.is_empty() && found.len() < ATTRIBUTES_MAX {
            let (SEQUENCE, one, after) = element(together)? else { return None };
            together = after;
            let (OBJECT, kind, value) = element(one)? else { return None };
            let (_, value, _) = element(value)?;
            found.push((kind, String::from_utf8_lossy(value).into_owned()));
        }
    }
    Some(found)
}

/// What a kind of attribute is called; its octets where it has no short name.
fn named(kind: &[u8]) -> String {
    match NAMED.iter().find(|(known, _)| *known == kind) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("oid-{}", hex::encode(&kind[..kind.len().min(16)])),
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars().take(SUBJECT_CHARS_MAX) {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => text.extend(['\\', c]),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
    text
}

/// Tag, content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        // At most four octets of length.
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

fn time(tag: u8, text: &str) -> Option<Wall> {
    let digits = text.strip_suffix('Z')?;
    if !digits.is_ascii() {
        return None;
    }
    let (century, rest) = match (tag, digits.len()) {
        // Before 2050, and with two digits of the year.
        (UTC_TIME, 12) => (if digits.as_bytes()[0] < b'5' { "20" } else { "19" }, digits),
        (GENERALIZED_TIME, 14) => digits.split_at(2),
        _ => return None,
    };
    let part = |from: usize| &rest[from..from + 2];
    let whole = format!(
        "{century}{}-{}-{}T{}:{}:{}.000Z",
        part(0),
        part(2),
        part(4),
        part(6),
        part(8),
        part(10)
    );
    Timestamp::parse(whole.as_bytes()).map(|Timestamp(at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let mut head = vec![tag];
        if length < 0x80 {
            head.push(length as u8);
        } else {
            head.extend([0x82, (length >> 8) as u8, length as u8]);
        }
        [&head[..], content].concat()
    }

    fn certificate(version: bool, tag: u8, end: &str) -> Vec<u8> {
        made_out_to(version, tag, end, b"subject")
    }

    fn made_out_to(version: bool, tag: u8, end: &str, subject: &[u8]) -> Vec<u8> {
        let validity = [wrapped(UTC_TIME, b"200101000000Z"), wrapped(tag, end.as_bytes())].concat();
        let parts = [
            if version { wrapped(VERSION, &wrapped(INTEGER, &[2])) } else { Vec::new() },
            wrapped(INTEGER, &[7; 20]),
            wrapped(SEQUENCE, &[6, 3, 1, 2, 3]),
            wrapped(SEQUENCE, &[0x31; 200]),
            wrapped(SEQUENCE, &validity),
            wrapped(SEQUENCE, subject),
        ];
        wrapped(SEQUENCE, &wrapped(SEQUENCE, &parts.concat()))
    }

    #[test]
    fn the_end_of_a_certificate_is_found() {
        let end = |version, tag, text| {
            not_after(&certificate(version, tag, text)).map(|at| Timestamp(at).to_string())
        };
        assert_eq!(
            end(true, UTC_TIME, "261121221530Z").as_deref(),
            Some("2026-11-21T22:15:30.000Z")
        );
        assert_eq!(
            end(false, UTC_TIME, "991231235959Z").as_deref(),
            Some("1999-12-31T23:59:59.000Z")
        );
        let far = end(true, GENERALIZED_TIME, "20551121221530Z");
        assert_eq!(far.as_deref(), Some("2055-11-21T22:15:30.000Z"));
        for bad in ["261121221530", "2611212215Z", "261321221530Z", "26112\u{e9}21530Z", ""] {
            assert_eq!(end(true, UTC_TIME, bad), None, "{bad}");
        }
    }

    /// Part of a name: kind and value.
    fn part(kind: &[u8], value: &str) -> Vec<u8> {
        let pair = [wrapped(OBJECT, kind), wrapped(0x0c, value.as_bytes())].concat();
        wrapped(SET, &wrapped(SEQUENCE, &pair))
    }

    fn named_so(parts: &[Vec<u8>]) -> Vec<u8> {
        made_out_to(true, UTC_TIME, "261121221530Z", &parts.concat())
    }

    #[test]
    fn a_subject_is_one_line_whatever_it_holds() {
        let organisation = part(&[0x55, 4, 10], "Example, Inc.");
        let ann = part(COMMON_NAME, "ann");
        let der = named_so(&[organisation, part(&[0x2b, 1], "x"), ann]);
        assert_eq!(subject(&der).as_deref(), Some("CN=ann,oid-2b01=x,O=Example\\, Inc."));
        assert_eq!(common_name(&der).as_deref(), Some("ann"));
        let nobody = named_so(&[]);
        assert_eq!((subject(&nobody).as_deref(), common_name(&nobody)), (Some(""), None));
        let bent = named_so(&[part(COMMON_NAME, "a\nb\u{1b}[2J")]);
        assert_eq!(subject(&bent).as_deref(), Some("CN=a\u{fffd}b\u{fffd}[2J"));
        let long = named_so(&vec![part(COMMON_NAME, &"x".repeat(200)); ATTRIBUTES_MAX + 9]);
        assert_eq!(subject(&long).map(|text| text.chars().count()), Some(SUBJECT_CHARS_MAX));
        assert_eq!(subject(&certificate(true, UTC_TIME, "261121221530Z")), None);
    }

    #[test]
    fn any_octets_are_taken() {
        let whole = named_so(&[part(COMMON_NAME, "ann")]);
        for end in 0..whole.len() {
            let _ = (not_after(&whole[..end]), subject(&whole[..end]));
        }
        for at in 0..whole.len() {
            for other in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = other;
                let _ = (not_after(&bytes), subject(&bytes), common_name(&bytes));
            }
        }
        assert_eq!(not_after(b""), None);
    }
}
