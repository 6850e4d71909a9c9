//! The header of a message: a scanner that watches it arrive, and the fields
//! we put in front of it.
//!
//! The scanner keeps a few bytes of state however long the header is, and
//! stops looking once the header ended. It never changes, stores or decodes a
//! field, and never judges one: it reports facts. It may be fed a message as
//! it was sent, dot-stuffed, or as it was meant: a line that starts with a dot
//! is no header field either way.
//!
//! Read first: RFC 5322 §2.2, RFC 5322 §4.5, RFC 5321 §4.4.

mod fields;

pub use fields::{Protocol, Trace, date_field, message_id_field, received_beside, received_field};

/// What a scan of a header found. Counts cover what was fed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Octets of the header fields with their line ends: the offset at which
    /// the empty line, or else the body, begins. Before the end is reached, a
    /// lower bound.
    pub header_bytes: usize,
    /// How the header ended.
    pub end: HeaderEnd,
    /// `Received` fields, saturating at 65 535 (RFC 5321 §6.3).
    pub received: u16,
    /// Whether there is a `Date` field.
    pub has_date: bool,
    /// Whether there is a `Message-ID` field.
    pub has_message_id: bool,
    /// Whether there is a `From` field.
    pub has_from: bool,
    /// Whether a field has an octet beyond ASCII.
    pub eight_bit: bool,
}

/// How a header ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderEnd {
    /// Not yet: all that was fed is header, or the message ended within it.
    #[default]
    Open,
    /// With an empty line, as it should.
    EmptyLine,
    /// With a line that is no header field and no empty line before it. When
    /// this is the first line, `header_bytes` is 0, the message is all body,
    /// and whoever puts fields in front must put an empty line behind them.
    NotAField,
}

/// Watches a message arrive, in chunks cut anywhere.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    state: State,
    end: HeaderEnd,
    /// Octets fed while the header was open.
    fed: usize,
    /// Where the line now being read began.
    line_start: usize,
    received: u16,
    seen: Seen,
    eight_bit: bool,
}

impl Facts {
    /// Whether fields put in front of the message need an empty line behind them.
    pub fn needs_empty_line(&self) -> bool {
        self.end == HeaderEnd::NotAField && self.header_bytes == 0
    }
}

impl Scanner {
    /// A scanner at the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// The facts about `message`, given whole or from its start.
    pub fn scan(message: &[u8]) -> Facts {
        let mut scanner = Self::new();
        scanner.feed(message);
        scanner.facts()
    }

    /// Looks at the next bytes of the message, whose lines end in CRLF. Once
    /// the header ended this does nothing.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while self.end == HeaderEnd::Open && !rest.is_empty() {
            rest = match self.state {
                State::LineStart => self.line_start(rest),
                State::Name(name) => self.name(name, rest),
                State::Value => self.value(rest),
                State::EmptyLine => self.empty_line(rest),
            };
        }
    }

    /// Whether the header ended: nothing that is fed now changes the facts.
    pub fn is_done(&self) -> bool {
        self.end != HeaderEnd::Open
    }

    /// What was found so far.
    pub fn facts(&self) -> Facts {
        // An unfinished line counts only as part of a field that is one.
        let header_bytes = match self.state {
            State::Value if self.end == HeaderEnd::Open => self.fed,
            _ => self.line_start,
        };
        Facts {
            header_bytes,
            end: self.end,
            received: self.received,
            has_date: self.seen.date,
            has_message_id: self.seen.message_id,
            has_from: self.seen.from,
            eight_bit: self.eight_bit,
        }
    }

    fn line_start<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        self.line_start = self.fed;
        match rest[0] {
            b'\r' => self.take(rest, 1, State::EmptyLine),
            // Folding continues a field; where there is none, it is body.
            b' ' | b'\t' if self.fed > 0 => self.take(rest, 1, State::Value),
            _ => {
                self.state = State::Name(Name::default());
                rest
            }
        }
    }

    fn name<'a>(&mut self, mut name: Name, rest: &'a [u8]) -> &'a [u8] {
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b':' if name.len > 0 => {
                    self.note(name);
                    return self.take(rest, at + 1, State::Value);
                }
                // Blanks before the colon are obsolete but read (RFC 5322 §4.5).
                b' ' | b'\t' if name.len > 0 => name.ended = true,
                b'!'..=b'9' | b';'..=b'~' if !name.ended => name.push(*byte),
                _ => return self.finish(HeaderEnd::NotAField),
            }
        }
        self.take(rest, rest.len(), State::Name(name))
    }

    fn value<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let (end, state) = match memchr::memchr(b'\n', rest) {
            Some(newline) => (newline + 1, State::LineStart),
            None => (rest.len(), State::Value),
        };
        self.eight_bit |= !rest[..end].is_ascii();
        let rest = self.take(rest, end, state);
        if state == State::LineStart {
            self.line_start = self.fed;
        }
        rest
    }

    fn empty_line<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let end = if rest[0] == b'\n' { HeaderEnd::EmptyLine } else { HeaderEnd::NotAField };
        self.finish(end)
    }

    fn take<'a>(&mut self, rest: &'a [u8], count: usize, state: State) -> &'a [u8] {
        self.fed += count;
        self.state = state;
        &rest[count..]
    }

    fn finish<'a>(&mut self, end: HeaderEnd) -> &'a [u8] {
        self.end = end;
        &[]
    }

    fn note(&mut self, name: Name) {
        match name.text() {
            b"received" => self.received = self.received.saturating_add(1),
            b"date" => self.seen.date = true,
            b"message-id" => self.seen.message_id = true,
            b"from" => self.seen.from = true,
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    date: bool,
    message_id: bool,
    from: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    LineStart,
    /// Before the colon.
    Name(Name),
    /// Behind the colon, or in a folded line.
    Value,
    /// Behind the CR of a line that starts with it.
    EmptyLine,
}

/// As much of a field's name, in lower case, as telling the fields apart takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    /// Saturates one above the bound: a longer name is none of ours.
    len: u8,
    ended: bool,
}

/// `message-id`, the longest name told apart.
const NAME_BYTES_MAX: usize = 10;

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            *slot = byte.to_ascii_lowercase();
        }
        self.len = (self.len + 1).min(NAME_BYTES_MAX as u8 + 1);
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
