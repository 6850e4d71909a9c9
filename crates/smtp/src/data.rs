//! The content of a message as it arrives behind DATA.
//!
//! Never here: what is in the header. Only CRLF ends a line and only
//! `CRLF . CRLF` ends the content; a lone CR, a lone LF or a NUL spoils the
//! message, which is then read to its real end in constant memory and refused,
//! so that two hosts can never disagree where it ended (SMTP smuggling).
//! What is kept is the wire form as received, dot-stuffing included.
//!
//! Read first: RFC 5321 §2.3.8, RFC 5321 §4.1.1.4, RFC 5321 §4.5.2.

use base::limits::TEXT_LINE_BYTES_MAX;
use base::planted::{Bug, planted};
use mail::Status;

use crate::answer::Answer;

/// Why a message's content is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentFault {
    /// LF without CR before it.
    #[error("the message has a line feed without carriage return")]
    PeerBareLf,
    /// CR without LF behind it.
    #[error("the message has a carriage return without line feed")]
    PeerBareCr,
    /// A NUL octet.
    #[error("the message has a NUL octet")]
    PeerNul,
    /// A line of more than 1 000 octets with its CRLF.
    #[error("the message has a line of more than 1000 octets")]
    PeerLineTooLong,
    /// More octets than the limit.
    #[error("the message is larger than the limit")]
    PeerTooLarge,
}

impl ContentFault {
    /// The reply that refuses the message.
    pub fn answer(self) -> Answer {
        let text = match self {
            Self::PeerBareLf => "Message refused: line feed without carriage return",
            Self::PeerBareCr => "Message refused: carriage return without line feed",
            Self::PeerNul => "Message refused: NUL octet",
            Self::PeerLineTooLong => "Message refused: line longer than 1000 octets",
            Self::PeerTooLarge => {
                return Answer::new(552, Status::TOO_LARGE, "Message larger than the limit");
            }
        };
        Answer::new(554, Status::BAD_CONTENT, text)
    }
}

/// A whole message, fit to be sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Wire form: CRLF lines, dot-stuffed, ends with CRLF unless empty,
    /// without the final dot.
    pub body: Vec<u8>,
    /// Octets without dot-stuffing.
    pub size: u64,
    /// Whether any octet is above 127.
    pub eight_bit: bool,
}

/// Takes the bytes behind a 354 and finds where the message ends.
#[derive(Clone, Debug)]
pub struct DataReader {
    body: Vec<u8>,
    lines: Lines,
    size_max: u64,
    seen: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes are kept.
    Keeping,
    /// The message is spoilt; only its last four bytes are known.
    Dropping {
        fault: ContentFault,
        tail: [u8; 4],
    },
    Ended(Result<(), ContentFault>),
}

/// What a content without a line break before it is taken to follow: the CRLF
/// of the DATA command.
const BEFORE: [u8; 4] = *b"\0\0\r\n";

impl DataReader {
    /// A reader for a message of at most `size_max` octets, with room for
    /// `capacity` octets from the start.
    pub fn new(size_max: u64, capacity: usize) -> Self {
        Self {
            body: Vec::with_capacity(capacity),
            lines: Lines::default(),
            size_max,
            seen: 0,
            state: State::Keeping,
        }
    }

    /// Takes bytes and says how many of them belonged to the message: all,
    /// unless it ended among them.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let used = match self.state {
            State::Keeping => self.keep(bytes),
            State::Dropping { fault, tail } => self.drop_on(bytes, fault, tail),
            State::Ended(_) => 0,
        };
        self.seen = self.seen.saturating_add(used as u64);
        used
    }

    /// Whether the final dot has come.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Octets taken so far, kept or not.
    pub fn bytes_seen(&self) -> u64 {
        self.seen
    }

    /// Octets of memory held.
    pub fn bytes_held(&self) -> usize {
        self.body.capacity()
    }

    /// The message, once [`DataReader::has_ended`] says so.
    ///
    /// # Errors
    /// The first fault found in it.
    ///
    /// # Panics
    /// Before the end: a bug of the caller.
    pub fn finish(self) -> Result<Content, ContentFault> {
        let State::Ended(outcome) = self.state else { panic!("the message has not ended") };
        outcome?;
        self.lines.finish(self.body, self.size_max)
    }

    fn keep(&mut self, bytes: &[u8]) -> usize {
        let from = self.body.len();
        let before = self.lines;
        // Two octets may be the beginning of the final dot.
        let size_max = self.size_max.saturating_add(2);
        self.body.extend_from_slice(bytes);
        match self.lines.scan(&self.body, from) {
            Ok(Some(end)) => {
                self.body.truncate(end - FINAL_DOT.len());
                self.state = State::Ended(Ok(()));
                return end - from;
            }
            Ok(None) if self.lines.size(&self.body) <= size_max => return bytes.len(),
            _ => {}
        }
        let fault = before.first_fault(&self.body, from, size_max);
        self.body.truncate(from);
        let tail = last_four(BEFORE, &self.body);
        self.body = Vec::new();
        self.drop_on(bytes, fault, tail)
    }

    fn drop_on(&mut self, bytes: &[u8], fault: ContentFault, tail: [u8; 4]) -> usize {
        for at in memchr::memchr_iter(b'\n', bytes) {
            if last_four(tail, &bytes[..at]) == *b"\r\n.\r" {
                self.state = State::Ended(Err(fault));
                return at + 1;
            }
        }
        self.state = State::Dropping { fault, tail: last_four(tail, bytes) };
        bytes.len()
    }
}

const FINAL_DOT: &[u8] = b".\r\n";

/// The last four bytes of `before` and `bytes` together.
fn last_four(before: [u8; 4], bytes: &[u8]) -> [u8; 4] {
    if let Some(tail) = bytes.last_chunk::<4>() {
        return *tail;
    }
    let mut tail = [0; 4];
    let kept = 4 - bytes.len();
    tail[..kept].copy_from_slice(&before[bytes.len()..]);
    tail[kept..].copy_from_slice(bytes);
    tail
}

/// What is known of the lines of a body that grows at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    /// Where the last line begins: 0 or behind a CRLF.
    line_start: usize,
    /// Lines that begin with a dot, which is not part of the message.
    stuffed: u64,
    carriage_returns: usize,
    line_feeds: usize,
    eight_bit: bool,
}

impl Lines {
    /// Looks at `body[from..]`, which is new, up to a final dot; says where
    /// the bytes behind that dot begin.
    ///
    /// A lone CR is not found here but by [`Lines::finish`]: every LF has a CR
    /// before it, so one CR too many is a lone one. Counting costs a fraction
    /// of looking at each.
    pub(crate) fn scan(&mut self, body: &[u8], from: usize) -> Result<Option<usize>, ContentFault> {
        let mut end = None;
        for at in memchr::memchr_iter(b'\n', &body[from..]) {
            let at = from + at;
            let line = &body[self.line_start..=at];
            if !line.ends_with(b"\r\n") && !planted(Bug::BareLfAccepted) {
                return Err(ContentFault::PeerBareLf);
            }
            let mut bytes = line.len();
            if line[0] == b'.' {
                if line == FINAL_DOT {
                    end = Some(at + 1);
                    break;
                }
                self.stuffed += 1;
                bytes -= 1;
            }
            if bytes > TEXT_LINE_BYTES_MAX {
                return Err(ContentFault::PeerLineTooLong);
            }
            self.line_feeds += 1;
            self.line_start = at + 1;
        }
        let new = &body[from..end.unwrap_or(body.len())];
        self.carriage_returns += memchr::memchr_iter(b'\r', new).count();
        // The CR of the final dot is no part of the content.
        self.line_feeds += usize::from(end.is_some());
        self.eight_bit |= !new.is_ascii();
        if memchr::memchr(0, new).is_some() {
            return Err(ContentFault::PeerNul);
        }
        Ok(end)
    }

    /// The fault in `body[from..]`, which has one: of several the one that
    /// stands first, so that what a client is told does not depend on how its
    /// bytes were cut on their way. More than `size_max` octets are a fault.
    pub(crate) fn first_fault(&self, body: &[u8], from: usize, size_max: u64) -> ContentFault {
        let fault = |end: usize| {
            let mut lines = *self;
            match lines.scan(&body[..end], from) {
                Err(fault) => Some(fault),
                Ok(_) if lines.size(&body[..end]) > size_max => Some(ContentFault::PeerTooLarge),
                Ok(_) => None,
            }
        };
        // What has a fault keeps it as more bytes come.
        let (mut sound, mut faulty) = (from, body.len());
        while sound + 1 < faulty {
            let middle = sound + (faulty - sound) / 2;
            if fault(middle).is_some() { faulty = middle } else { sound = middle }
        }
        fault(faulty).expect("the caller found a fault")
    }

    /// Octets of `body` without dot-stuffing.
    pub(crate) fn size(&self, body: &[u8]) -> u64 {
        body.len() as u64 - self.stuffed
    }

    /// The whole body as content.
    pub(crate) fn finish(self, body: Vec<u8>, size_max: u64) -> Result<Content, ContentFault> {
        // In this order: a reader that gets the bytes in small pieces sees
        // that there are too many before it sees the end.
        let size = self.size(&body);
        if size > size_max {
            return Err(ContentFault::PeerTooLarge);
        }
        if self.carriage_returns != self.line_feeds && !planted(Bug::BareLfAccepted) {
            return Err(ContentFault::PeerBareCr);
        }
        assert!(body.is_empty() || body.ends_with(b"\r\n"), "content must end with a line end");
        Ok(Content { body, size, eight_bit: self.eight_bit })
    }
}

#[cfg(test)]
mod tests;
