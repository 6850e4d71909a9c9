//! The content of a message as it arrives in BDAT chunks.
//!
//! Never here: BINARYMIME; content must be lines. What comes in verbatim is
//! kept in wire form (dots stuffed, the last line ended), so that DATA can
//! carry it on without a look at it. A spoilt message is counted off, not kept.
//!
//! Read first: RFC 3030 §2, RFC 5321 §4.5.2.

use base::planted::{Bug, planted};

use crate::data::{Content, ContentFault, Lines};

/// Takes the octets of one message's chunks.
#[derive(Clone, Debug)]
pub struct ChunkReader {
    body: Vec<u8>,
    lines: Lines,
    size_max: u64,
    fault: Option<ContentFault>,
}

impl ChunkReader {
    /// A reader for a message of at most `size_max` octets, with room for
    /// `capacity` octets from the start.
    pub fn new(size_max: u64, capacity: usize) -> Self {
        Self { body: Vec::with_capacity(capacity), lines: Lines::default(), size_max, fault: None }
    }

    /// Takes octets of a chunk, in any pieces.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let from = self.body.len();
        let before = self.lines;
        let size_max = self.size_max.saturating_add(1);
        match planted(Bug::DotsUnstuffedTwice) {
            true => self.body.extend_from_slice(bytes),
            false => self.append_stuffed(bytes),
        }
        let end = self.lines.scan(&self.body, from);
        if end.is_err() || self.lines.size(&self.body) > size_max {
            self.fault = Some(before.first_fault(&self.body, from, size_max));
            self.body = Vec::new();
        } else {
            assert_eq!(end, Ok(None), "a stuffed body has no final dot");
        }
    }

    /// The fault found so far, if any.
    pub fn fault(&self) -> Option<ContentFault> {
        self.fault
    }

    /// Octets of memory held.
    pub fn bytes_held(&self) -> usize {
        self.body.capacity()
    }

    /// The message, once its last chunk is here. A last line without CRLF gets
    /// one: DATA could not carry it otherwise.
    ///
    /// # Errors
    /// The first fault found in it.
    pub fn finish(mut self) -> Result<Content, ContentFault> {
        if !self.body.is_empty() && !self.body.ends_with(b"\n") {
            self.take(b"\r\n");
        }
        match self.fault {
            Some(fault) => Err(fault),
            None => self.lines.finish(self.body, self.size_max),
        }
    }

    /// Appends `bytes` with one more dot before each dot that begins a line
    /// (RFC 5321 §4.5.2).
    fn append_stuffed(&mut self, bytes: &[u8]) {
        if bytes.first() == Some(&b'.') && (self.body.is_empty() || self.body.ends_with(b"\r\n")) {
            self.body.push(b'.');
        }
        let mut copied = 0;
        for at in memchr::memchr_iter(b'\n', bytes) {
            if bytes.get(at + 1) == Some(&b'.') {
                self.body.extend_from_slice(&bytes[copied..=at]);
                self.body.push(b'.');
                copied = at + 1;
            }
        }
        self.body.extend_from_slice(&bytes[copied..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize, size_max: u64) -> Result<Content, ContentFault> {
        let mut reader = ChunkReader::new(size_max, 0);
        for part in bytes.chunks(step) {
            reader.take(part);
        }
        reader.finish()
    }

    /// Proves: RFC 3030 §2, RFC 5321 §4.5.2
    /// Covers: A1.23, A6.8, A6.9
    #[test]
    fn chunks_become_wire_form() {
        for (bytes, body, size) in [
            (&b""[..], &b""[..], 0),
            (b"a\r\n", b"a\r\n", 3),
            (b"a", b"a\r\n", 3),
            (b".", b"..\r\n", 3),
            (b".\r\n", b"..\r\n", 3),
            (b"\r\n.\r\n", b"\r\n..\r\n", 5),
            (b"..\r\n.a\r\nb.\r\n", b"...\r\n..a\r\nb.\r\n", 12),
            (b"\xff\r\n", b"\xff\r\n", 3),
        ] {
            for step in 1..=bytes.len().max(1) {
                let content = read(bytes, step, 100).unwrap();
                assert_eq!(content.body, body, "{} by {step}", bytes.escape_ascii());
                assert_eq!(content.size, size);
                assert_eq!(content.eight_bit, !bytes.is_ascii());
            }
        }
    }

    /// Covers: A1.1, A1.20, A3.1, A3.2, A6.9
    #[test]
    fn stray_controls_and_long_lines_are_refused() {
        use ContentFault::*;
        let long = [b'x'; 999];
        for (bytes, fault) in [
            (&b"a\nb"[..], PeerBareLf),
            (b"\n.\r\n", PeerBareLf),
            (b"a\rb\r\n", PeerBareCr),
            (b"a\r", PeerBareCr),
            (b"\r.\r\n", PeerBareCr),
            (b"a\0\r\n", PeerNul),
            (&long, PeerLineTooLong),
        ] {
            for step in [1, 2, 3, 1_000] {
                assert_eq!(read(bytes, step, 10_000), Err(fault), "{}", bytes.escape_ascii());
            }
        }
        assert!(read(&long[..998], 7, 10_000).is_ok());
    }

    /// Covers: A6.2, B86
    #[test]
    fn size_is_that_of_the_chunks_and_bounds_memory() {
        assert!(read(b".\r\n.\r\n", 1, 6).is_ok());
        assert_eq!(read(b".\r\n.\r\n", 1, 5), Err(ContentFault::PeerTooLarge));
        let mut reader = ChunkReader::new(1_000, 0);
        for _ in 0..1_000 {
            reader.take(&b"0123456\r\n".repeat(50));
            assert!(reader.bytes_held() <= 4_096);
        }
        assert_eq!(reader.fault(), Some(ContentFault::PeerTooLarge));
    }

    #[test]
    fn of_several_faults_the_first_is_named_in_every_cut() {
        use ContentFault::*;
        for (bytes, size_max, fault) in [
            (&b"x\0y\nz"[..], 100, PeerNul),
            (b"x\ny\0", 100, PeerBareLf),
            (b"0123456789\r\n\n", 4, PeerTooLarge),
            (b".\n......\r\n", 4, PeerBareLf),
            (b"01\r2345678\r\n", 4, PeerTooLarge),
            (b"01\r2", 6, PeerBareCr),
        ] {
            for step in 1..=bytes.len() {
                let read = read(bytes, step, size_max);
                assert_eq!(read, Err(fault), "{} by {step}", bytes.escape_ascii());
            }
        }
    }
}
