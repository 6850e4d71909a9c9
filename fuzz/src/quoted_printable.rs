//! Decoding of quoted-printable by the words of the standard, for the targets
//! to judge by.
//!
//! Read first: RFC 2045 §6.7.

use crate::wire::unstuffed;

/// The content that `wire`, in wire form, stands for. Panics on what no encoder
/// may write.
pub fn decode(wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for line in unstuffed(wire).split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("lines end with CRLF");
        assert!(text.len() <= 76, "an encoded line has {} characters", text.len());
        assert!(!text.ends_with(b" ") && !text.ends_with(b"\t"), "a blank ends a line");
        let soft = text.ends_with(b"=");
        let mut rest = text.strip_suffix(b"=").unwrap_or(text);
        while let Some((first, after)) = rest.split_first() {
            if *first == b'=' {
                let (digits, after) = after.split_at_checked(2).expect("two digits");
                assert!(!digits.iter().any(u8::is_ascii_lowercase), "digits are upper case");
                let digits = str::from_utf8(digits).expect("digits are ASCII");
                content.push(u8::from_str_radix(digits, 16).expect("digits"));
                rest = after;
            } else {
                content.push(*first);
                rest = after;
            }
        }
        if !soft {
            content.extend_from_slice(b"\r\n");
        }
    }
    content
}
