//! The wire form of mail by the words of the standard, written anew for the
//! targets to judge by: nothing here is taken from the product.
//!
//! Read first: RFC 5321 §2.3.8, RFC 5321 §4.1.1.4, RFC 5321 §4.5.2.

/// The content before the first final dot and the number of octets with that
/// dot; none when it has not come.
pub fn content_of(bytes: &[u8]) -> Option<(&[u8], usize)> {
    if bytes.starts_with(b".\r\n") {
        return Some((&[], 3));
    }
    let at = bytes.windows(5).position(|window| window == b"\r\n.\r\n")?;
    Some((&bytes[..at + 2], at + 5))
}

/// Content without dot-stuffing.
pub fn unstuffed(wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(wire.len());
    let mut at_line_start = true;
    for (at, byte) in wire.iter().enumerate() {
        if !(at_line_start && *byte == b'.') {
            content.push(*byte);
        }
        at_line_start = *byte == b'\n' && at > 0 && wire[at - 1] == b'\r';
    }
    content
}

/// Whether every CR and LF stands in a CRLF, and no octet is NUL.
pub fn is_clean(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        0 => false,
        b'\r' => bytes.get(at + 1) == Some(&b'\n'),
        b'\n' => at > 0 && bytes[at - 1] == b'\r',
        _ => true,
    })
}

/// Octets of the longest line with its CRLF and without stuffing.
pub fn longest_line(wire: &[u8]) -> usize {
    let lines = wire.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.strip_prefix(b".").unwrap_or(line).len()).max().unwrap_or(0)
}

/// Asserts all that holds for content in wire form: nothing in it can end a
/// message early or be read as two different texts.
pub fn assert_wire_form(wire: &[u8]) {
    assert!(is_clean(wire), "a lone CR or LF, or a NUL: {}", wire.escape_ascii());
    assert!(wire.is_empty() || wire.ends_with(b"\r\n"), "no line end: {}", wire.escape_ascii());
    assert_eq!(content_of(wire), None, "a final dot within: {}", wire.escape_ascii());
    assert!(longest_line(wire) <= 1_000, "a line is too long");
}

/// `bytes` made into clean lines, dot-stuffed: for targets whose subject takes
/// wire form only.
pub fn wire_form(bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(bytes.len() + 2);
    let mut column = 0;
    for byte in bytes {
        match byte {
            0 | b'\r' => {}
            b'\n' => {
                wire.extend_from_slice(b"\r\n");
                column = 0;
            }
            _ => {
                if column == 998 {
                    wire.extend_from_slice(b"\r\n");
                    column = 0;
                }
                if column == 0 && *byte == b'.' {
                    wire.push(b'.');
                }
                wire.push(*byte);
                column += 1;
            }
        }
    }
    if column > 0 {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}
