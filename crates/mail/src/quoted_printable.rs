//! Quoted-printable, from wire form to wire form.
//!
//! Line ends stay line ends, so the result is text again; decoding gives the
//! input back octet by octet. Never here: decoding, binary content.
//!
//! Read first: RFC 2045 §6.7.

use crate::wire::unstuffed_lines;

/// Characters of an encoded line with the `=` of a soft line break.
const COLUMNS_MAX: usize = 76;

/// Appends the quoted-printable form of `wire` to `out`. Both are in wire
/// form; the result ends in CRLF unless `wire` is empty.
pub(crate) fn encode(wire: &[u8], out: &mut Vec<u8>) {
    for line in unstuffed_lines(wire) {
        encode_line(line, out);
    }
}

fn encode_line(line: &[u8], out: &mut Vec<u8>) {
    let mut column = 0;
    for (at, byte) in line.iter().enumerate() {
        let is_last = at + 1 == line.len();
        let is_plain = match byte {
            b'!'..=b'<' | b'>'..=b'~' => true,
            // A blank at the end of a line is lost on the way.
            b' ' | b'\t' => !is_last,
            _ => false,
        };
        let width = if is_plain { 1 } else { 3 };
        if column + width > COLUMNS_MAX - usize::from(!is_last) {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if is_plain {
            if column == 0 && *byte == b'.' {
                out.push(b'.');
            }
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'=', hex(byte >> 4), hex(byte & 15)]);
        }
        column += width;
    }
    out.extend_from_slice(b"\r\n");
}

fn hex(digit: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(digit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(wire: &[u8]) -> String {
        let mut out = Vec::new();
        encode(wire, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Proves: RFC 2045 §6.7
    /// Covers: A13.1
    #[test]
    fn octets_are_written_as_the_rules_say() {
        for (wire, text) in [
            (&b""[..], ""),
            (b"plain\r\n", "plain\r\n"),
            (b"a=b\r\n\r\n", "a=3Db\r\n\r\n"),
            (b"\xc3\xa9 \r\n", "=C3=A9=20\r\n"),
            (b"a \tb\t\r\n", "a \tb=09\r\n"),
            (b"..dot\r\n", "..dot\r\n"),
            (b"a\rb\r\n", "a=0Db\r\n"),
            (b"open", "open\r\n"),
        ] {
            assert_eq!(encoded(wire), text);
        }
    }

    /// Covers: A13.1
    #[test]
    fn long_lines_are_broken_softly_at_the_bound() {
        let exact = "a".repeat(COLUMNS_MAX);
        assert_eq!(encoded(exact.as_bytes()), format!("{exact}\r\n"));
        let broken = encoded(format!("{exact}a").as_bytes());
        assert_eq!(broken, format!("{}=\r\naa\r\n", "a".repeat(COLUMNS_MAX - 1)));
        let eight_bit = encoded(&[0xe9; 100]);
        assert!(eight_bit.lines().all(|line| line.len() <= COLUMNS_MAX));
        assert_eq!(eight_bit.matches("=E9").count(), 100);
        // A dot that a soft break puts in front of a line is stuffed.
        let dotted = encoded(format!("{}.b", "a".repeat(COLUMNS_MAX - 1)).as_bytes());
        assert!(dotted.ends_with("=\r\n..b\r\n"));
    }
}
