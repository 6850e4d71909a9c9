//! The header of a message as it arrives, and the conversion of 8-bit mail.
//!
//! Input: a byte for the cuts, then content, which is made into clean lines.
//! Oracle: a reader of headers line by line, written anew; the same facts in
//! any cuts; what is converted is 7-bit and decodes to what it was.
//!
//! Read first: RFC 5322 §2.2, RFC 5322 §4.5, RFC 2045 §6.7.

use mail::encode::to_seven_bit;
use mail::header::{Facts, HeaderEnd, Scanner};

use crate::input::{Input, cut};
use crate::quoted_printable;
use crate::wire::{assert_wire_form, unstuffed, wire_form};

/// Runs the target.
pub fn mail_header(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let bytes = input.rest();
    // As it comes, clean or not: no fault of the sender's changes that cuts
    // do not matter.
    assert_eq!(scan(bytes, way), Scanner::scan(bytes), "cut as {way}");
    assert_eq!(scan(bytes, 1), Scanner::scan(bytes), "cut into bytes");

    let wire = wire_form(bytes);
    let facts = Scanner::scan(&wire);
    assert_eq!(facts, model(&wire), "{}", wire.escape_ascii());
    convert(&wire, &facts);
}

fn scan(bytes: &[u8], way: u8) -> Facts {
    let mut scanner = Scanner::new();
    for piece in cut(bytes, way) {
        let before = scanner.facts();
        let was_done = scanner.is_done();
        scanner.feed(piece);
        assert!(!was_done || scanner.facts() == before, "the end of a header moves");
    }
    scanner.facts()
}

/// The facts by the words of the standard, of clean lines.
fn model(wire: &[u8]) -> Facts {
    let mut facts = Facts {
        header_bytes: 0,
        end: HeaderEnd::Open,
        received: 0,
        has_date: false,
        has_message_id: false,
        has_from: false,
        eight_bit: false,
    };
    for line in wire.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" {
            facts.end = HeaderEnd::EmptyLine;
            return facts;
        }
        let folded = facts.header_bytes > 0 && line.starts_with(b" ") | line.starts_with(b"\t");
        if !folded {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            let name = line[..colon].trim_ascii_end();
            let blanks = line[name.len()..colon].iter().all(|byte| matches!(byte, b' ' | b'\t'));
            if name.is_empty() || !blanks || !name.iter().all(u8::is_ascii_graphic) {
                facts.end = HeaderEnd::NotAField;
                return facts;
            }
            let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
            facts.received = facts.received.saturating_add(u16::from(is("received")));
            facts.has_date |= is("date");
            facts.has_message_id |= is("message-id");
            facts.has_from |= is("from");
        }
        facts.eight_bit |= !line.is_ascii();
        facts.header_bytes += line.len();
    }
    facts
}

fn convert(wire: &[u8], facts: &Facts) {
    let Ok(converted) = to_seven_bit(wire) else {
        assert!(!wire.is_ascii(), "7-bit mail needs no conversion");
        return;
    };
    assert_wire_form(&converted);
    assert!(converted.is_ascii(), "8-bit octets are left");
    if wire.is_ascii() {
        assert_eq!(&converted[..], wire);
        return;
    }
    let after = Scanner::scan(&converted);
    assert_eq!(after.end, HeaderEnd::EmptyLine, "a header ends with an empty line");
    assert_eq!((after.received, after.has_date), (facts.received, facts.has_date));
    let body = &wire[facts.header_bytes..];
    let body = if facts.end == HeaderEnd::EmptyLine { &body[2..] } else { body };
    let decoded = quoted_printable::decode(&converted[after.header_bytes + 2..]);
    assert_eq!(decoded.escape_ascii().to_string(), unstuffed(body).escape_ascii().to_string());
}
