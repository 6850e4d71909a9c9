//! Until when a certificate is good: as much of X.509 as that takes.
//!
//! Invariant: any octets are taken; what is no certificate has no end.

use base::Wall;
use mail::Timestamp;

/// The end of the validity of a certificate in DER.
pub fn not_after(der: &[u8]) -> Option<Wall> {
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
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (_, _, after) = element(validity)?;
    let (tag, text, _) = element(after)?;
    time(tag, str::from_utf8(text).ok()?)
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

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
        let validity = [wrapped(UTC_TIME, b"200101000000Z"), wrapped(tag, end.as_bytes())].concat();
        let parts = [
            if version { wrapped(VERSION, &wrapped(INTEGER, &[2])) } else { Vec::new() },
            wrapped(INTEGER, &[7; 20]),
            wrapped(SEQUENCE, &[6, 3, 1, 2, 3]),
            wrapped(SEQUENCE, &[0x31; 200]),
            wrapped(SEQUENCE, &validity),
            wrapped(SEQUENCE, b"subject"),
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

    #[test]
    fn any_octets_are_taken() {
        let whole = certificate(true, UTC_TIME, "261121221530Z");
        for end in 0..whole.len() {
            let _ = not_after(&whole[..end]);
        }
        for at in 0..whole.len() {
            for other in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = other;
                let _ = not_after(&bytes);
            }
        }
        assert_eq!(not_after(b""), None);
    }
}
