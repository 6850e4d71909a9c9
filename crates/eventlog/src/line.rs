//! One line, written straight into its bytes: no allocation per field, no
//! value in between.
//!
//! Invariant: whatever a peer says, a line stays one line of valid JSON. That
//! it has the fields of its kind, each at most once, is checked where tests
//! run: a wrong line is no reason to stop the mail.

use std::fmt::{self, Write};

use base::Wall;
use mail::Timestamp;

use crate::field::Field;
use crate::kind::Kind;

/// Room for a usual line.
const LINE_BYTES: usize = 448;

/// Builds one line.
#[derive(Debug)]
pub struct Line {
    bytes: Vec<u8>,
    kind: Kind,
    written: u128,
}

impl Line {
    /// Starts a line: `{"time":"…","event":"…"`.
    pub fn new(at: Wall, kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(LINE_BYTES);
        bytes.extend_from_slice(b"{\"time\":\"");
        bytes.extend_from_slice(&Timestamp(at).octets());
        bytes.extend_from_slice(b"\",\"event\":\"");
        bytes.extend_from_slice(kind.word().as_bytes());
        bytes.push(b'"');
        Self { bytes, kind, written: Field::Time.bit() | Field::Event.bit() }
    }

    /// Adds a text.
    pub fn text(mut self, field: Field, value: &str) -> Self {
        self.key(field);
        self.bytes.push(b'"');
        push_escaped(&mut self.bytes, value);
        self.bytes.push(b'"');
        self
    }

    /// Adds a text unless it is empty.
    pub fn text_if(self, field: Field, value: &str) -> Self {
        if value.is_empty() { self } else { self.text(field, value) }
    }

    /// Adds anything that prints itself, as text.
    pub fn show(mut self, field: Field, value: impl fmt::Display) -> Self {
        self.key(field);
        self.bytes.push(b'"');
        write!(Escaped(&mut self.bytes), "{value}").expect("a Vec takes everything");
        self.bytes.push(b'"');
        self
    }

    /// [`Line::show`], if there is something.
    pub fn show_some(self, field: Field, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.show(field, value),
            None => self,
        }
    }

    /// Adds a time.
    pub fn time(mut self, field: Field, at: Wall) -> Self {
        self.key(field);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(&Timestamp(at).octets());
        self.bytes.push(b'"');
        self
    }

    /// [`Line::time`], if there is one.
    pub fn time_some(self, field: Field, at: Option<Wall>) -> Self {
        match at {
            Some(at) => self.time(field, at),
            None => self,
        }
    }

    /// Adds a number.
    pub fn number(mut self, field: Field, value: impl Into<u64>) -> Self {
        self.key(field);
        push_number(&mut self.bytes, value.into());
        self
    }

    /// Adds `true`, or nothing.
    pub fn flag(mut self, field: Field, value: bool) -> Self {
        if value {
            self.key(field);
            self.bytes.extend_from_slice(b"true");
        }
        self
    }

    /// Ends the line, with its line end.
    pub fn end(mut self) -> Vec<u8> {
        let missing = self.kind.described().always & !self.written;
        debug_assert_eq!(missing, 0, "{:?} lacks fields: {:?}", self.kind, named(missing));
        self.bytes.extend_from_slice(b"}\n");
        self.bytes
    }

    fn key(&mut self, field: Field) {
        debug_assert!(self.kind.has(field), "{:?} has no {field:?}", self.kind);
        debug_assert_eq!(self.written & field.bit(), 0, "{field:?} is there already");
        self.written |= field.bit();
        self.bytes.extend_from_slice(b",\"");
        self.bytes.extend_from_slice(field.key().as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }
}

fn named(bits: u128) -> Vec<Field> {
    Field::ALL.into_iter().filter(|field| bits & field.bit() != 0).collect()
}

/// `2026-11-21T22:15:30.125Z`.
pub fn rfc3339(at: Wall) -> String {
    Timestamp(at).to_string()
}

fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[at..]);
}

/// Text that prints itself into a line.
struct Escaped<'a>(&'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// Text as it stands between quotes in JSON; control characters are spelled
/// out, those beyond ASCII too, which some terminals obey.
fn push_escaped(bytes: &mut Vec<u8>, text: &str) {
    let (text, mut from) = (text.as_bytes(), 0);
    for (at, byte) in text.iter().enumerate() {
        let (code, len) = match *byte {
            0..0x20 | b'"' | b'\\' | 0x7f => (*byte, 1),
            // U+0080 to U+009F.
            0xc2 if text.get(at + 1).is_some_and(|next| *next < 0xa0) => (text[at + 1], 2),
            _ => continue,
        };
        bytes.extend_from_slice(&text[from..at]);
        from = at + len;
        if matches!(code, b'"' | b'\\') {
            bytes.extend_from_slice(&[b'\\', code]);
        } else {
            bytes.extend_from_slice(b"\\u00");
            bytes.push(HEX[usize::from(code >> 4)]);
            bytes.push(HEX[usize::from(code & 15)]);
        }
    }
    bytes.extend_from_slice(&text[from..]);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    /// Covers: A1.13, A2.12, B46, B90
    #[test]
    fn a_line_is_json_whatever_the_peer_said() {
        let said = "451 \"later\"\r\n{\"event\":\"delivered\"}\u{1b}[2J\\ \u{9b}1m \u{e9}\u{20ac}";
        let line = Line::new(Wall::from_millis(951_782_400_005), Kind::Deferred)
            .text(Field::Id, "0000400000010")
            .show(Field::Status, "4.3.0")
            .text(Field::Reply, said)
            .text_if(Field::Host, "")
            .number(Field::Attempt, 3_u32)
            .time(Field::Next, Wall::from_millis(951_782_400_005))
            .flag(Field::InDoubt, true)
            .number(Field::DelayMs, u64::MAX)
            .end();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.chars().any(|c| c.is_control() && c != '\n'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2000-02-29T00:00:00.005Z");
        assert_eq!(value["event"], "deferred");
        assert_eq!(value["reply"], said);
        assert_eq!(value["attempt"], 3);
        assert_eq!(value["next"], "2000-02-29T00:00:00.005Z");
        assert_eq!(value["in_doubt"], true);
        assert_eq!(value["delay_ms"], u64::MAX);
        assert_eq!(value.get("host"), None);
    }

    #[test]
    fn text_that_comes_in_pieces_is_escaped_like_text_that_does_not() {
        let pieces = format_args!("a{}b{:?}", '"', "\u{85}\\").to_string();
        let start = || Line::new(Wall::from_millis(0), Kind::Storage);
        let shown = start().show(Field::Error, format_args!("a{}b{:?}", '"', "\u{85}\\")).end();
        assert_eq!(shown, start().text(Field::Error, &pieces).end());
    }

    #[test]
    fn times_read_as_rfc_3339() {
        assert_eq!(rfc3339(Wall::from_millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Wall::from_millis(1_795_299_330_125)), "2026-11-21T22:15:30.125Z");
    }

    #[test]
    #[should_panic(expected = "Deferred lacks fields")]
    fn a_line_that_lacks_a_field_does_not_pass_a_test() {
        let _ = Line::new(Wall::from_millis(0), Kind::Deferred).end();
    }

    #[test]
    #[should_panic(expected = "Deferred has no Version")]
    fn a_line_with_a_strange_field_does_not_pass_a_test() {
        let _ = Line::new(Wall::from_millis(0), Kind::Deferred).text(Field::Version, "1");
    }

    #[test]
    #[should_panic(expected = "Reply is there already")]
    fn a_line_with_a_field_twice_does_not_pass_a_test() {
        let line = Line::new(Wall::from_millis(0), Kind::Deferred).text(Field::Reply, "1");
        let _ = line.text(Field::Reply, "2");
    }
}
