//! Replies of a peer: read from any bytes, kept as text that is safe to show.
//!
//! Never here: what a reply means for a message (`verdict`), or which command
//! it answers (`client`). The reader holds at most one unfinished reply of
//! bounded size, whatever the peer sends, and a [`Reply`] never has a control
//! character in its text.
//!
//! Read first: RFC 5321 §4.2, RFC 5321 §4.5.3.1.5, RFC 2034 §4.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use base::limits::{REPLY_BYTES_MAX, REPLY_LINE_BYTES_MAX, REPLY_TEXT_BYTES_MAX};
use mail::Status;

/// What the first digit of a reply says (RFC 5321 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 2yz: done.
    Positive,
    /// 3yz: go on.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: never.
    Permanent,
}

/// A reply code, 200 to 599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// The greeting, and the leave to start TLS.
    pub const READY: Self = Self(220);
    /// The goodbye.
    pub const CLOSING: Self = Self(221);
    /// The peer closes the session, whatever the command was.
    pub const SHUTTING_DOWN: Self = Self(421);
    /// 503: a command that cannot come now.
    pub const OUT_OF_ORDER: Self = Self(503);

    /// The code with this number.
    ///
    /// # Panics
    /// When `number` is not 200 to 599: a bug of the caller.
    pub const fn new(number: u16) -> Self {
        assert!(number >= 200);
        assert!(number <= 599);
        Self(number)
    }

    /// The number, 200 to 599.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What the first digit says; nothing else of a code decides anything,
    /// but for the few codes that have a name here (RFC 5321 §4.2.1).
    pub const fn class(self) -> Class {
        match self.0 / 100 {
            2 => Class::Positive,
            3 => Class::Intermediate,
            4 => Class::Transient,
            _ => Class::Permanent,
        }
    }

    /// Whether this is a 2yz about the connection (22z): never an answer to a
    /// command of a mail transaction, but a greeting or a goodbye out of place.
    pub const fn is_about_connection(self) -> bool {
        self.0 / 10 == 22
    }

    /// Reads the three digits at the start of a line.
    fn parse(line: &[u8]) -> Option<Self> {
        match line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                let digit = |byte: u8| u16::from(byte - b'0');
                Some(Self(digit(*a) * 100 + digit(*b) * 10 + digit(*c)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({})", self.0)
    }
}

/// A whole reply of a peer, fit to be stored, logged and shown. Cloning one
/// copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The code that all its lines carry.
    pub code: Code,
    /// The text of all its lines, joined by blanks: UTF-8, every control
    /// character and stray octet escaped, at most
    /// [`REPLY_TEXT_BYTES_MAX`] octets.
    pub text: Arc<str>,
}

impl Reply {
    /// A reply of which only code and text are known.
    pub fn new(code: Code, text: &str) -> Self {
        let mut clean = String::new();
        escape(text.as_bytes(), &mut clean);
        Self { code, text: clean.into() }
    }

    /// The enhanced status code that the text begins with. A class that
    /// contradicts the reply code is replaced: the three digits win
    /// (RFC 2034 §4, RFC 3463 §2).
    pub fn status(&self) -> Option<Status> {
        let class = (self.code.number() / 100) as u8;
        let status = Status::parse(self.text.as_bytes())?;
        if class == 3 || status.class() == class {
            Some(status)
        } else {
            Some(status.with_class(class))
        }
    }
}

/// As the peer sent it, on one line: `550 5.1.1 no such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return self.code.fmt(f);
        }
        write!(f, "{} {}", self.code, self.text)
    }
}

/// Why the bytes of a peer are no reply. There is no way on: the session must
/// be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFault {
    /// A line that does not begin with a reply code and a separator.
    #[error("the peer sent a line that is no SMTP reply")]
    PeerGarbage,
    /// The lines of one reply have different codes.
    #[error("the peer sent a reply whose lines have different codes")]
    PeerMixedCodes,
    /// A line of more than 4 096 octets.
    #[error("the peer sent a reply line without end")]
    PeerLineTooLong,
    /// A reply of more than 65 536 octets.
    #[error("the peer sent a reply without end")]
    PeerTooLong,
}

/// A reply found by [`ReplyReader::next_reply`]; names bytes in the reader until
/// more are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its code.
    pub code: Code,
    start: usize,
    end: usize,
}

/// Cuts a byte stream into replies. Lines should end in CRLF; a lone LF is
/// borne with, as every client does.
#[derive(Clone, Debug, Default)]
pub struct ReplyReader {
    buffer: Vec<u8>,
    /// Where the first unread reply begins.
    start: usize,
    /// Where its first unread line begins.
    line: usize,
    /// Up to where that line was searched for its end.
    scanned: usize,
    /// The code of its lines so far.
    code: Option<Code>,
}

impl ReplyReader {
    /// Takes bytes of the peer. Forgets what [`ReplyReader::next_reply`] has found.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.line -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole reply, or none until more bytes are pushed.
    ///
    /// # Errors
    /// Any [`ReplyFault`]; the reader is of no use after one.
    pub fn next_reply(&mut self) -> Result<Option<Found>, ReplyFault> {
        while let Some(at) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) {
            let end = self.scanned + at + 1;
            if end - self.line > REPLY_LINE_BYTES_MAX {
                return Err(ReplyFault::PeerLineTooLong);
            }
            if end - self.start > REPLY_BYTES_MAX {
                return Err(ReplyFault::PeerTooLong);
            }
            let line = trim_end(&self.buffer[self.line..end]);
            let code = Code::parse(line).ok_or(ReplyFault::PeerGarbage)?;
            if self.code.is_some_and(|first| first != code) {
                return Err(ReplyFault::PeerMixedCodes);
            }
            let last = match line.get(3) {
                None | Some(b' ' | b'\t') => true,
                Some(b'-') => false,
                Some(_) => return Err(ReplyFault::PeerGarbage),
            };
            self.line = end;
            self.scanned = end;
            if last {
                let found = Found { code, start: self.start, end };
                self.start = end;
                self.code = None;
                return Ok(Some(found));
            }
            self.code = Some(code);
        }
        self.scanned = self.buffer.len();
        if self.scanned - self.line >= REPLY_LINE_BYTES_MAX {
            return Err(ReplyFault::PeerLineTooLong);
        }
        if self.scanned - self.start >= REPLY_BYTES_MAX {
            return Err(ReplyFault::PeerTooLong);
        }
        Ok(None)
    }

    /// The texts of a reply's lines, without codes and line ends.
    pub fn lines(&self, found: Found) -> impl Iterator<Item = &[u8]> {
        let bytes = &self.buffer[found.start..found.end];
        line_ranges(bytes).map(move |range| trim_end(&bytes[range]).get(4..).unwrap_or_default())
    }

    /// The reply as it may be kept and shown.
    pub fn reply(&self, found: Found) -> Reply {
        let mut lines = self.lines(found);
        let first = lines.next().unwrap_or_default();
        let more = lines.next();
        if more.is_none()
            && let Some(text) = already_clean(first)
        {
            return Reply { code: found.code, text: Arc::from(text) };
        }
        let mut text = String::with_capacity(found.end - found.start);
        escape(first, &mut text);
        for line in more.into_iter().chain(lines) {
            if text.len() + 1 >= REPLY_TEXT_BYTES_MAX {
                break;
            }
            text.push(' ');
            escape(line, &mut text);
        }
        Reply { code: found.code, text: text.into() }
    }

    /// Bytes that no reply has been made of yet.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Drops everything: what comes next belongs to another conversation.
    pub fn clear(&mut self) {
        self.buffer.clear();
        (self.start, self.line, self.scanned, self.code) = (0, 0, 0, None);
    }
}

/// Appends `bytes` to `out` as printable UTF-8 and stops at
/// [`REPLY_TEXT_BYTES_MAX`]: control characters, line and direction marks and
/// stray octets become `\xNN` or `\u{N}`.
pub fn escape(bytes: &[u8], out: &mut String) {
    use fmt::Write as _;
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            let before = out.len();
            if char.is_ascii_control() {
                let _ = write!(out, "\\x{:02x}", char as u32);
            } else if is_hidden(char) {
                let _ = write!(out, "\\u{{{:x}}}", char as u32);
            } else {
                out.push(char);
            }
            if out.len() > REPLY_TEXT_BYTES_MAX {
                out.truncate(before);
                return;
            }
        }
        for byte in chunk.invalid() {
            if out.len() + 4 > REPLY_TEXT_BYTES_MAX {
                return;
            }
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// Characters that change how the text around them is shown, and show nothing.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn already_clean(bytes: &[u8]) -> Option<&str> {
    let clean =
        bytes.len() <= REPLY_TEXT_BYTES_MAX && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if clean { str::from_utf8(bytes).ok() } else { None }
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The lines of `bytes`, each with its LF.
fn line_ranges(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', bytes).map(move |at| {
        let range = start..at + 1;
        start = at + 1;
        range
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Reply>, ReplyFault> {
        let mut reader = ReplyReader::default();
        reader.push(bytes);
        let mut replies = Vec::new();
        while let Some(found) = reader.next_reply()? {
            replies.push(reader.reply(found));
        }
        Ok(replies)
    }

    fn one(bytes: &[u8]) -> Reply {
        let mut replies = read(bytes).unwrap();
        assert_eq!(replies.len(), 1, "{}", bytes.escape_ascii());
        replies.remove(0)
    }

    /// Proves: RFC 5321 §4.2
    /// Covers: A2.5
    #[test]
    fn replies_of_one_and_many_lines_are_read() {
        for (bytes, shown) in [
            (&b"250 2.1.5 ok\r\n"[..], "250 2.1.5 ok"),
            (b"250\r\n", "250"),
            (b"250 \r\n", "250"),
            (b"250-a\r\n250-b\r\n250 c\r\n", "250 a b c"),
            (b"250-a\r\n250\r\n", "250 a "),
            (b"250 lone lf\n", "250 lone lf"),
            (b"599 odd\r\n", "599 odd"),
            (b"250\ttab\r\n", "250 tab"),
        ] {
            assert_eq!(one(bytes).to_string(), shown);
        }
        assert_eq!(read(b"250 a\r\n354 b\r\n421").unwrap().len(), 2);
    }

    /// Covers: A2.11, B44
    #[test]
    fn what_is_no_reply_is_a_fault() {
        use ReplyFault::*;
        for (bytes, fault) in [
            (&b"\r\n"[..], PeerGarbage),
            (b"hello\r\n", PeerGarbage),
            (b"25\r\n", PeerGarbage),
            (b"2500 x\r\n", PeerGarbage),
            (b"250x\r\n", PeerGarbage),
            (b"150 x\r\n", PeerGarbage),
            (b"650 x\r\n", PeerGarbage),
            (b" 250 x\r\n", PeerGarbage),
            (b"\x16\x03\x01\n", PeerGarbage),
            (b"HTTP/1.1 200 OK\r\n", PeerGarbage),
            (b"250-a\r\n550 b\r\n", PeerMixedCodes),
        ] {
            assert_eq!(read(bytes), Err(fault), "{}", bytes.escape_ascii());
        }
    }

    /// Proves: RFC 5321 §4.5.3.1.5
    /// Covers: A2.12, B45
    #[test]
    fn endless_lines_and_replies_are_cut_at_their_bounds() {
        let line = |bytes: usize| format!("250 {}\r\n", "x".repeat(bytes - 6)).into_bytes();
        assert_eq!(one(&line(REPLY_LINE_BYTES_MAX)).text.len(), REPLY_TEXT_BYTES_MAX);
        let fault = Err(ReplyFault::PeerLineTooLong);
        assert_eq!(read(&line(REPLY_LINE_BYTES_MAX + 1)), fault);
        assert_eq!(read(&[b'2'; REPLY_LINE_BYTES_MAX]), fault);
        assert_eq!(read(&[b'2'; REPLY_LINE_BYTES_MAX - 1]), Ok(vec![]));

        let mut whole = b"250-1234567890\r\n".repeat(REPLY_BYTES_MAX / 16 - 1);
        assert_eq!(read(&whole), Ok(vec![]));
        whole.extend_from_slice(b"250 1234567890\r\n");
        assert_eq!(whole.len(), REPLY_BYTES_MAX);
        one(&whole);
        whole.truncate(REPLY_BYTES_MAX - 16);
        whole.extend_from_slice(b"250 1234567890x\r\n");
        assert_eq!(read(&whole), Err(ReplyFault::PeerTooLong));
        let endless = b"250-1234567890\r\n".repeat(REPLY_BYTES_MAX / 16);
        assert_eq!(read(&endless), Err(ReplyFault::PeerTooLong));
    }

    /// Covers: A2.12, B46, B100
    #[test]
    fn kept_text_is_harmless_and_bounded() {
        for (bytes, text) in [
            (&b"550 a\x1b[2Jb\r\n"[..], "a\\x1b[2Jb"),
            (b"550 a\rb\0c\x7f\r\n", "a\\x0db\\x00c\\x7f"),
            (b"550 \xff\xc3\xa9\r\n", "\\xff\u{e9}"),
            ("550 a\u{202e}b\u{85}\r\n".as_bytes(), "a\\u{202e}b\\u{85}"),
        ] {
            assert_eq!(&*one(bytes).text, text);
        }
        for unit in [&b"x"[..], b"\0", b"\xff", "\u{e9}".as_bytes(), "\u{2028}".as_bytes()] {
            let mut bytes = b"550-".to_vec();
            bytes.extend(unit.repeat(1_200));
            bytes.extend_from_slice(b"\r\n550 tail\r\n");
            assert!(one(&bytes).text.len() <= REPLY_TEXT_BYTES_MAX);
        }
    }

    /// Proves: RFC 2034 §4
    /// Covers: A4.3
    #[test]
    fn three_digits_win_over_the_enhanced_code() {
        for (bytes, status) in [
            (&b"550 5.1.1 gone\r\n"[..], Some("5.1.1")),
            (b"450 5.1.1 gone\r\n", Some("4.1.1")),
            (b"550 2.0.0 fine\r\n", Some("5.0.0")),
            (b"550 gone\r\n", None),
            (b"550 192.0.2.1 is listed\r\n", None),
        ] {
            assert_eq!(one(bytes).status().map(|status| status.to_string()).as_deref(), status);
        }
    }

    /// Covers: A2.5
    #[test]
    fn cuts_make_no_difference() {
        let bytes = b"220-a\r\n220 b\r\n250-PIPELINING\r\n250-SIZE 10\n250 X\r\n354 go\r\n";
        let whole = read(bytes).unwrap();
        for cut in 0..bytes.len() {
            let mut reader = ReplyReader::default();
            let mut replies = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.push(part);
                while let Some(found) = reader.next_reply().unwrap() {
                    replies.push(reader.reply(found));
                }
            }
            assert_eq!(replies, whole, "cut at {cut}");
            assert!(reader.unread().is_empty());
        }
    }
}
