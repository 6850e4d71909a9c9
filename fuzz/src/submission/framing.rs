//! Where commands and content begin and end in what a client sent: a model
//! that reads the client's bytes beside the server's replies.
//!
//! It takes from the replies only whether a command was taken, never where
//! anything ends. Whatever the server took for content must be what the model
//! takes for it, octet by octet: nobody can smuggle a message within another.
//!
//! Read first: RFC 5321 §4.1.1.4, RFC 3030 §2.

use base::limits::COMMAND_LINE_BYTES_MAX;
use smtp::submission::Settings;
use smtp::{Extension, Received};

use super::{HANDSHAKE, Plan};
use crate::wire::{content_of, is_clean, unstuffed};

/// Holds the messages against what the model says was sent.
pub(super) fn check(plan: &Plan, bytes: &[u8], out: &[u8], messages: &[Received]) {
    let mut model = Model {
        settings: &plan.settings,
        lmtp: plan.lmtp,
        rest: bytes,
        replies: replies(out),
        messages: messages.iter(),
        recipients: 0,
        chunks: Vec::new(),
        is_asked: false,
    };
    if plan.implicit && !model.handshake() {
        assert!(out.is_empty(), "something is said in the clear");
        return;
    }
    let greeting = model.replies.next().expect("the server speaks first");
    assert!(greeting.starts_with("220 "));
    while model.command() {}
    assert_eq!(model.messages.next().map(|message| &message.body), None, "a message nobody sent");
    assert_eq!(model.replies.next(), None, "a reply to nothing");
}

/// Replies of the server, each as its last line.
fn replies(out: &[u8]) -> std::vec::IntoIter<String> {
    let lines = out.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = String::from_utf8_lossy(line);
        line.trim_end_matches("\r\n").to_owned()
    });
    let last = lines.filter(|line| line.as_bytes().get(3) != Some(&b'-'));
    last.collect::<Vec<_>>().into_iter()
}

struct Model<'a> {
    settings: &'a Settings,
    lmtp: bool,
    rest: &'a [u8],
    replies: std::vec::IntoIter<String>,
    messages: std::slice::Iter<'a, Received>,
    /// RCPTs taken in this transaction.
    recipients: usize,
    /// Octets of the chunks taken in this transaction.
    chunks: Vec<u8>,
    /// Within a log-in: the next line is a response.
    is_asked: bool,
}

impl Model<'_> {
    /// Follows one command; whether the session goes on behind it.
    fn command(&mut self) -> bool {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else { return false };
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        if std::mem::take(&mut self.is_asked) {
            let reply = self.replies.next().expect("a response has a reply");
            assert!(!reply.starts_with("250"), "{reply} to a response");
            self.is_asked = reply.starts_with("334");
            return self.goes_on(&reply);
        }
        if let Some((size, is_last)) = self.chunk_of(line) {
            return self.chunk(size, is_last);
        }
        let verb = line.trim_ascii_end().split(|byte| *byte == b' ').next().unwrap_or_default();
        let verb = verb.to_ascii_uppercase();
        let Some(reply) = self.replies.next() else {
            panic!("no reply to {}", line.escape_ascii())
        };
        match (&verb[..], &reply[..3]) {
            (b"DATA", "354") => return self.data(),
            (b"RCPT", "250") => self.recipients += 1,
            (b"MAIL" | b"EHLO" | b"HELO" | b"LHLO" | b"RSET", "250") => self.forget(),
            (b"STARTTLS", "220") => return self.handshake(),
            (b"AUTH", "334") => self.is_asked = true,
            (_, "220" | "334" | "354") => {
                panic!("{} does not lead there: {reply}", line.escape_ascii())
            }
            _ => {}
        }
        self.goes_on(&reply)
    }

    /// Nothing before the end of the handshake is read, nor remembered.
    fn handshake(&mut self) -> bool {
        self.forget();
        let end = self.rest.iter().position(|byte| *byte == HANDSHAKE);
        self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
        end.is_some()
    }

    /// Size and LAST, when the line is a BDAT that the server can read: then so
    /// many octets follow, whether it takes them or not.
    fn chunk_of(&self, line: &[u8]) -> Option<(usize, bool)> {
        let offered = self.settings.extensions.has(Extension::Chunking);
        let is_line = line.ends_with(b"\r\n") && line.len() <= COMMAND_LINE_BYTES_MAX;
        let text = str::from_utf8(line.trim_ascii_end()).ok()?;
        if !offered || !is_line || text.contains(|char: char| char.is_ascii_control()) {
            return None;
        }
        let (verb, arguments) = text.split_once(' ')?;
        let words: Vec<&str> = arguments.split(' ').filter(|word| !word.is_empty()).collect();
        let (size, is_last) = match words[..] {
            [size] => (size, false),
            [size, last] if last.eq_ignore_ascii_case("LAST") => (size, true),
            _ => return None,
        };
        let is_number = size.len() <= 20 && size.bytes().all(|byte| byte.is_ascii_digit());
        let size: usize = size.parse().ok()?;
        (verb.eq_ignore_ascii_case("BDAT") && is_number && size < usize::MAX)
            .then_some((size, is_last))
    }

    /// Whether the session goes on after `reply`.
    fn goes_on(&mut self, reply: &str) -> bool {
        if reply.starts_with("221") || reply.starts_with("421") {
            return false;
        }
        // Too much trouble: the goodbye follows on the heels of the reply.
        if self.replies.as_slice().first().is_some_and(|next| next.starts_with("421")) {
            self.replies.next();
            return false;
        }
        true
    }

    fn forget(&mut self) {
        self.recipients = 0;
        self.chunks.clear();
    }

    fn data(&mut self) -> bool {
        let Some((content, used)) = content_of(self.rest) else { return false };
        self.rest = &self.rest[used..];
        let content = unstuffed(content);
        self.ended(&content)
    }

    fn chunk(&mut self, size: usize, is_last: bool) -> bool {
        if self.replies.as_slice().first().is_some_and(|next| next.starts_with("421")) {
            self.replies.next();
            return false;
        }
        if self.rest.len() < size {
            return false;
        }
        let (chunk, rest) = self.rest.split_at(size);
        self.rest = rest;
        self.chunks.extend_from_slice(chunk);
        if is_last {
            let mut content = std::mem::take(&mut self.chunks);
            if !content.is_empty() && !content.ends_with(b"\n") {
                content.extend_from_slice(b"\r\n");
            }
            return self.ended(&content);
        }
        let reply = self.replies.next().expect("a chunk has a reply");
        if !reply.starts_with("250") {
            self.chunks.clear();
        }
        self.goes_on(&reply)
    }

    /// All of a message was sent, and `content` is what it holds.
    fn ended(&mut self, content: &[u8]) -> bool {
        let reply = self.replies.next().expect("a message has a reply");
        let was_handed_out = reply.contains(" stored ") || reply.contains(" refused ");
        if was_handed_out {
            let message = self.messages.next().expect("a message for the reply");
            let found = unstuffed(&message.body);
            assert_eq!(found.escape_ascii().to_string(), content.escape_ascii().to_string());
            assert_eq!(message.envelope.recipients.len(), self.recipients);
        } else if reply.starts_with("554 5.6.0") {
            let fits = is_clean(content) && crate::wire::longest_line(content) <= 1_000;
            assert!(!fits, "{reply}: {}", content.escape_ascii());
        } else if reply.starts_with("552 5.3.4 Message larger") {
            assert!(content.len() as u64 > self.settings.message_bytes_max, "{reply}");
        } else if reply.starts_with('2') {
            panic!("{reply} to a message that was not handed out");
        }
        // In LMTP each recipient has the reply, and all say the same.
        let copies = if self.lmtp { self.recipients.saturating_sub(1) } else { 0 };
        for _ in 0..copies {
            assert_eq!(self.replies.next().as_ref(), Some(&reply), "a reply for each");
        }
        self.forget();
        self.goes_on(&reply)
    }
}
