//! Test messages and their proof: each carries its number and a digest of
//! everything that follows the digest field, so that whoever receives it can
//! tell an untouched message from an altered one without knowing the sender's
//! side.
//!
//! The digest finds accidents (a lost dot, a cut line, a changed header), not
//! attackers: it is a 64-bit multiply-and-fold hash.
//!
//! RFCs to read first: RFC 5321 §4.5.2 (dot-stuffing), RFC 5322 §2.1.1 (lines).

use std::io::Write as _;

use base::Rng;
use memchr::memmem::Finder;

use crate::workload::Workload;

/// Octets of the longest line made, without its CRLF (RFC 5322 §2.1.1).
pub const LINE_BYTES_MAX: usize = 998;

const NUMBER_FIELD: &[u8] = b"X-Ringpost-Number: ";
const DIGEST_FIELD: &[u8] = b"X-Ringpost-Digest: ";
const TAPE_BYTES: usize = 256 * 1_024;

/// Writes the messages of one workload.
#[derive(Debug)]
pub struct Composer {
    workload: Workload,
    tape: Tape,
    header: Vec<u8>,
    content: Vec<u8>,
    stuffer: Stuffer,
}

impl Composer {
    /// A composer for `workload`.
    pub fn new(workload: &Workload) -> Self {
        Self {
            workload: workload.clone(),
            tape: Tape::new(workload.seed),
            header: Vec::new(),
            content: Vec::new(),
            stuffer: Stuffer::new(),
        }
    }

    /// The workload it writes.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Appends message `number` to `out` as it goes on the wire after DATA:
    /// dot-stuffed, with the final dot.
    pub fn write_wire(&mut self, number: u64, out: &mut Vec<u8>) {
        self.compose(number);
        self.stuffer.stuff(&self.content, out);
        out.extend_from_slice(b".\r\n");
    }

    /// Message `number` as its reader sees it: CRLF lines, no stuffing.
    pub fn plain(&mut self, number: u64) -> &[u8] {
        self.compose(number);
        &self.content
    }

    fn compose(&mut self, number: u64) {
        let size = self.workload.size(number);
        let sender = self.workload.sender(number);
        self.header.clear();
        let seed = self.workload.seed;
        write!(
            self.header,
            "From: <{sender}>\r\nTo: undisclosed-recipients:;\r\n\
             Subject: message {number} of {}\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
             Message-ID: <{number}.{seed:x}@source.example>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
            self.workload.messages
        )
        .expect("writing to a vector cannot fail");
        // The two proof fields take some 60 bytes of the size aimed at.
        let body_bytes = size.saturating_sub(self.header.len() + 60);
        let start = self.workload.rng(number).next_u64();
        self.tape.append(start, body_bytes, &mut self.header);
        let digest = digest(number, sender.as_bytes(), &self.header);
        self.content.clear();
        self.content.extend_from_slice(NUMBER_FIELD);
        write!(self.content, "{number}\r\n").expect("writing to a vector cannot fail");
        self.content.extend_from_slice(DIGEST_FIELD);
        write!(self.content, "{digest:016x}\r\n").expect("writing to a vector cannot fail");
        self.content.extend_from_slice(&self.header);
    }
}

/// What a received message proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Untouched from the digest field to its end.
    Whole {
        /// Number of the message.
        number: u64,
    },
    /// One of ours, but not as it was sent.
    Altered {
        /// Number it claims.
        number: u64,
    },
    /// Not from a [`Composer`]: somebody's own message, a failure report.
    Foreign,
}

/// Checks unstuffed `content` that arrived with the reverse-path `sender`.
pub fn prove(sender: &[u8], content: &[u8]) -> Proof {
    let Some((number, after)) = field(content, 0, NUMBER_FIELD) else { return Proof::Foreign };
    let Ok(number) = number.parse::<u64>() else { return Proof::Foreign };
    let Some((sent, after)) = field(&content[after..], 0, DIGEST_FIELD)
        .filter(|_| content[after..].starts_with(DIGEST_FIELD))
        .map(|(text, length)| (text, after + length))
    else {
        return Proof::Altered { number };
    };
    let computed = digest(number, sender, &content[after..]);
    let same = u64::from_str_radix(sent, 16).is_ok_and(|sent| sent == computed);
    if same && lines_are_clean(content) {
        Proof::Whole { number }
    } else {
        Proof::Altered { number }
    }
}

/// Whether every CR and LF of `content` belongs to a CRLF (RFC 5321 §2.3.8)
/// and the last line is ended.
pub fn lines_are_clean(content: &[u8]) -> bool {
    let pairs = memchr::memchr_iter(b'\n', content)
        .filter(|at| *at > 0 && content[at - 1] == b'\r')
        .count();
    let feeds = memchr::memchr_iter(b'\n', content).count();
    let returns = memchr::memchr_iter(b'\r', content).count();
    pairs == feeds && pairs == returns && (content.is_empty() || content.ends_with(b"\r\n"))
}

/// The value of the first header field `name` at or after `from`, and the
/// place behind its line.
fn field<'a>(content: &'a [u8], from: usize, name: &[u8]) -> Option<(&'a str, usize)> {
    let mut start = from;
    loop {
        let line = &content[start..];
        let end = memchr::memmem::find(line, b"\r\n")?;
        if end == 0 {
            return None;
        }
        if line.starts_with(name) {
            let value = std::str::from_utf8(&line[name.len()..end]).ok()?;
            return Some((value, start + end + 2));
        }
        start += end + 2;
    }
}

/// A digest of `content` bound to its number and sender.
pub fn digest(number: u64, sender: &[u8], content: &[u8]) -> u64 {
    absorb(absorb(number ^ KEYS[0], sender), content)
}

const KEYS: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];

fn absorb(mut state: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<16>();
    for word in words {
        state = mix(state, word);
    }
    let mut last = [0u8; 16];
    last[..rest.len()].copy_from_slice(rest);
    mix(mix(state, &last), &(bytes.len() as u128).to_le_bytes())
}

fn mix(state: u64, word: &[u8; 16]) -> u64 {
    let both = u128::from_le_bytes(*word);
    let left = (both as u64) ^ state;
    let right = ((both >> 64) as u64) ^ KEYS[1];
    let product = u128::from(left) * u128::from(right);
    // The rotation keeps what came before even where a factor is zero.
    ((product as u64) ^ ((product >> 64) as u64)).wrapping_add(state.rotate_left(23))
}

/// Adds and removes the dots of RFC 5321 §4.5.2.
#[derive(Debug)]
pub(crate) struct Stuffer {
    line_dot: Finder<'static>,
}

impl Stuffer {
    pub(crate) fn new() -> Self {
        Self { line_dot: Finder::new(b"\r\n.") }
    }

    /// Appends `content` to `out` with a second dot before each line's first.
    pub(crate) fn stuff(&self, content: &[u8], out: &mut Vec<u8>) {
        if content.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut start = 0;
        for at in self.line_dot.find_iter(content) {
            out.extend_from_slice(&content[start..at + 3]);
            out.push(b'.');
            start = at + 3;
        }
        out.extend_from_slice(&content[start..]);
    }

    /// Replaces `out` by `wire` (without the final dot) less one dot at each
    /// line that begins with one.
    pub(crate) fn unstuff(&self, wire: &[u8], out: &mut Vec<u8>) {
        out.clear();
        let mut start = usize::from(wire.first() == Some(&b'.'));
        for at in self.line_dot.find_iter(wire) {
            out.extend_from_slice(&wire[start..at + 2]);
            start = at + 3;
        }
        out.extend_from_slice(&wire[start..]);
    }
}

/// Seeded lines from which bodies are cut: short and long ones, empty ones,
/// and lines that begin with or consist of dots.
#[derive(Debug)]
struct Tape {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Tape {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x7461_7065);
        let mut bytes = Vec::with_capacity(TAPE_BYTES + LINE_BYTES_MAX + 2);
        let mut starts = Vec::new();
        while bytes.len() < TAPE_BYTES {
            starts.push(bytes.len() as u32);
            let length = match rng.below(40) {
                0 => LINE_BYTES_MAX,
                1 => 79 + rng.below(900) as usize,
                2 => 0,
                _ => rng.below(78) as usize,
            };
            let dots = if rng.chance(1, 8) { rng.below(4) as usize } else { 0 };
            let line_starts = bytes.len();
            bytes.resize(line_starts + dots.min(length), b'.');
            for _ in dots.min(length)..length {
                bytes.push(b' ' + rng.below(95) as u8);
            }
            bytes.extend_from_slice(b"\r\n");
        }
        Self { bytes, starts }
    }

    /// Appends whole lines, `count` bytes of them (one more where `count`
    /// would end within a CRLF), from a place that `draw` chooses.
    fn append(&self, draw: u64, count: usize, out: &mut Vec<u8>) {
        let mut line = draw as usize % self.starts.len();
        let mut left = count;
        while left > 0 {
            let start = self.starts[line] as usize;
            let rest = &self.bytes[start..];
            if left >= rest.len() {
                out.extend_from_slice(rest);
                left -= rest.len();
                line = 0;
                continue;
            }
            let whole = memchr::memmem::rfind(&rest[..left], b"\r\n").map_or(0, |at| at + 2);
            out.extend_from_slice(&rest[..whole]);
            let padding = (left - whole).saturating_sub(2).min(LINE_BYTES_MAX);
            if left > whole {
                out.resize(out.len() + padding, b'x');
                out.extend_from_slice(b"\r\n");
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Sizes;

    fn unstuffed(wire: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Stuffer::new().unstuff(wire, &mut out);
        out
    }

    #[test]
    fn what_was_composed_proves_itself_and_its_size() {
        let mut workload = Workload::new(300, 3, 11);
        workload.sizes = Sizes::Between(600, 90_000);
        let mut composer = Composer::new(&workload);
        for number in 0..300 {
            let plain = composer.plain(number).to_vec();
            let sender = workload.sender(number);
            assert_eq!(prove(sender.as_bytes(), &plain), Proof::Whole { number });
            assert!(plain.len().abs_diff(workload.size(number)) < 40, "{}", plain.len());
            let mut wire = Vec::new();
            composer.write_wire(number, &mut wire);
            assert!(wire.ends_with(b"\r\n.\r\n"));
            assert_eq!(memchr::memmem::find_iter(&wire, b"\r\n.\r\n").count(), 1);
            assert_eq!(unstuffed(&wire[..wire.len() - 3]), plain);
        }
    }

    #[test]
    fn bodies_hold_the_hard_lines() {
        let mut workload = Workload::new(1, 1, 2);
        workload.sizes = Sizes::Fixed(100_000);
        let mut composer = Composer::new(&workload);
        let plain = composer.plain(0);
        let lines: Vec<&[u8]> = plain.split(|byte| *byte == b'\n').collect();
        assert!(lines.iter().any(|line| line.starts_with(b".")));
        assert!(lines.iter().any(|line| line.starts_with(b"..")));
        assert_eq!(lines.iter().map(|line| line.len()).max(), Some(LINE_BYTES_MAX + 1));
    }

    #[test]
    fn every_kind_of_alteration_shows() {
        let workload = Workload::new(1, 1, 3);
        let mut composer = Composer::new(&workload);
        let plain = composer.plain(0).to_vec();
        let sender = workload.sender(0);
        let prove = |content: &[u8]| prove(sender.as_bytes(), content);
        for at in (60..plain.len()).step_by(97) {
            let mut changed = plain.clone();
            changed[at] ^= 1;
            assert_ne!(prove(&changed), Proof::Whole { number: 0 }, "byte {at}");
        }
        assert_eq!(prove(&plain[..plain.len() - 2]), Proof::Altered { number: 0 });
        let mut longer = plain.clone();
        longer.extend_from_slice(b".\r\n");
        assert_eq!(prove(&longer), Proof::Altered { number: 0 });
        let mut traced = b"Received: from here\r\n\tby there\n\r\n".to_vec();
        traced.extend_from_slice(&plain);
        assert_eq!(prove(&traced), Proof::Altered { number: 0 }, "a bare LF in front");
        let mut traced = b"Received: from here\r\n\tby there\r\n".to_vec();
        traced.extend_from_slice(&plain);
        assert_eq!(prove(&traced), Proof::Whole { number: 0 }, "trace fields are allowed");
        assert_eq!(super::prove(b"other@x", &plain), Proof::Altered { number: 0 });
        assert_eq!(prove(b"Subject: hello\r\n\r\nX-Ringpost-Number: 1\r\n"), Proof::Foreign);
        assert_eq!(prove(b"X-Ringpost-Number: 1\r\n\r\n"), Proof::Altered { number: 1 });
        assert_eq!(prove(b""), Proof::Foreign);
    }

    #[test]
    fn stuffing_agrees_with_a_line_by_line_model() {
        for text in ["", ".\r\n", "..\r\n", "a\r\n.\r\n.\r\n..b\r\n", ".a\r\n\r\n.\r\n", "x\r\n"] {
            let mut model = Vec::new();
            for line in text.split_inclusive("\r\n") {
                if line.starts_with('.') {
                    model.push(b'.');
                }
                model.extend_from_slice(line.as_bytes());
            }
            let mut wire = Vec::new();
            Stuffer::new().stuff(text.as_bytes(), &mut wire);
            assert_eq!(wire, model, "{text:?}");
            assert_eq!(unstuffed(&wire), text.as_bytes(), "{text:?}");
        }
    }
}
