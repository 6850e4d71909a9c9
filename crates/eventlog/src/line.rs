//! One line, written straight into its bytes: no allocation per field, no
//! value in between.
//!
//! Invariant: whatever a peer says, a line stays one line of valid JSON. That
//! it has the fields of its kind, each at most once, is checked where tests
//! run: a wrong line is no reason to stop the mail.

use std::fmt::{self, Write};

use base::{MessageId, Wall};
use mail::{Status, Timestamp};

use crate::field::Field;
use crate::kind::Kind;
use crate::session::SessionName;

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
        let mut head = *b"{\"time\":\"0000-00-00T00:00:00.000Z\",\"event\":\"";
        head[9..33].copy_from_slice(&Timestamp(at).octets());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(kind.word().as_bytes());
        bytes.push(b'"');
        Self { bytes, kind, written: Field::Time.bit() | Field::Event.bit() }
    }

    /// Adds a text.
    pub fn text(mut self, field: Field, value: &str) -> Self {
        self.key(field, true);
        push_escaped(&mut self.bytes, value);
        self.bytes.push(b'"');
        self
    }

    /// Adds a message id, as [`Line::show`] would, in a third of its time.
    pub fn id(mut self, field: Field, id: MessageId) -> Self {
        self.key(field, true);
        self.bytes.extend_from_slice(&id.octets());
        self.bytes.push(b'"');
        self
    }

    /// Adds a session, as [`Line::show`] would, in a third of its time.
    pub fn session(mut self, session: SessionName) -> Self {
        self.key(Field::Session, true);
        session.push(&mut self.bytes);
        self.bytes.push(b'"');
        self
    }

    /// [`Line::session`], if there is one.
    pub fn session_some(self, session: Option<SessionName>) -> Self {
        match session {
            Some(session) => self.session(session),
            None => self,
        }
    }

    /// Adds an enhanced status code, as [`Line::show`] would, in a third of its
    /// time.
    pub fn status(mut self, status: Status) -> Self {
        self.key(Field::Status, true);
        push_number(&mut self.bytes, status.class().into());
        self.bytes.push(b'.');
        push_number(&mut self.bytes, status.subject().into());
        self.bytes.push(b'.');
        push_number(&mut self.bytes, status.detail().into());
        self.bytes.push(b'"');
        self
    }

    /// Adds a text unless it is empty.
    pub fn text_if(self, field: Field, value: &str) -> Self {
        if value.is_empty() { self } else { self.text(field, value) }
    }

    /// Adds anything that prints itself, as text.
    pub fn show(mut self, field: Field, value: impl fmt::Display) -> Self {
        self.key(field, true);
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
        self.key(field, true);
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
        self.key(field, false);
        push_number(&mut self.bytes, value.into());
        self
    }

    /// Adds `true`, or nothing.
    pub fn flag(mut self, field: Field, value: bool) -> Self {
        if value {
            self.key(field, false);
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

    /// The key, and with `quoted` the quotation mark behind it. Copied at full
    /// length, whose size is known when the program is built, and cut.
    fn key(&mut self, field: Field, quoted: bool) {
        debug_assert!(self.kind.has(field), "{:?} has no {field:?}", self.kind);
        debug_assert_eq!(self.written & field.bit(), 0, "{field:?} is there already");
        self.written |= field.bit();
        let (lead, len) = &LEADS[field as usize];
        let end = self.bytes.len() + usize::from(*len) - usize::from(!quoted);
        self.bytes.extend_from_slice(lead);
        self.bytes.truncate(end);
    }
}

/// Room for what leads to a value.
const LEAD_BYTES: usize = 16;

/// `,"key":"` of each field, and its length.
const LEADS: [([u8; LEAD_BYTES], u8); Field::ALL.len()] = {
    let (mut leads, mut at) = ([([0; LEAD_BYTES], 0); Field::ALL.len()], 0);
    while at < leads.len() {
        leads[at] = lead(Field::ALL[at].key().as_bytes());
        at += 1;
    }
    leads
};

const fn lead(key: &[u8]) -> ([u8; LEAD_BYTES], u8) {
    let (mut lead, mut at) = ([0; LEAD_BYTES], 0);
    lead[0] = b',';
    lead[1] = b'"';
    while at < key.len() {
        lead[2 + at] = key[at];
        at += 1;
    }
    lead[2 + at] = b'"';
    lead[3 + at] = b':';
    lead[4 + at] = b'"';
    (lead, at as u8 + 5)
}

fn named(bits: u128) -> Vec<Field> {
    Field::ALL.into_iter().filter(|field| bits & field.bit() != 0).collect()
}

/// `2026-11-21T22:15:30.125Z`.
pub fn rfc3339(at: Wall) -> String {
    Timestamp(at).to_string()
}

pub(crate) fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        return bytes.push(b'0' + value as u8);
    }
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
    // Nearly always; looked at without a branch for each octet.
    if !text.iter().fold(false, |found, byte| found | may_need_escape(*byte)) {
        return bytes.extend_from_slice(text);
    }
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

/// Whether an octet is written otherwise, or begins what may be.
fn may_need_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7f) | (byte == 0xc2)
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
    fn what_has_a_way_of_its_own_reads_as_it_prints() {
        let start = || Line::new(Wall::from_millis(0), Kind::Delivered);
        for n in [0, 7, 10, 4_294_967_296, u64::MAX] {
            let id = MessageId::from_u64(n);
            let (shard, conn) = (base::ShardId(n as u16), base::ConnId(n));
            let session = SessionName::new(Wall::from_millis(n), shard, conn);
            let status = Status::new(5, (n % 1_000) as u16, 17);
            let shown = start().show(Field::Id, id).show(Field::Session, session);
            let shown = shown.show(Field::Status, status).number(Field::Attempt, n).end();
            let own = start().id(Field::Id, id).session(session).status(status);
            assert_eq!(own.number(Field::Attempt, n).end(), shown, "{n}");
        }
    }

    #[test]
    fn each_octet_is_escaped_wherever_it_stands() {
        for c in (0..0x180_u32).filter_map(char::from_u32) {
            for before in [0, 1, 15, 16, 17, 40] {
                let said = format!("{}{c}{}", "x".repeat(before), "y".repeat(40 - before));
                let line = Line::new(Wall::from_millis(0), Kind::Storage);
                let line = String::from_utf8(line.text(Field::Error, &said).end()).unwrap();
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["error"], *said, "{c:?} at {before}");
                assert!(!line.trim_end().chars().any(char::is_control), "{c:?}");
            }
        }
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
