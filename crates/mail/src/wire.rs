//! Text we write, in the form it goes over the wire: lines that end in CRLF,
//! a dot in front of every line that starts with one (RFC 5321 §4.5.2), no
//! line near the bound of RFC 5322 §2.1.1.
//!
//! Never here: the final dot, which belongs to the session, and raw text of a
//! peer: [`clean`] comes first.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Columns at which running text and header fields are folded.
const COLUMNS: usize = 76;
/// Octets of a word that are written in one piece.
const WORD_BYTES_MAX: usize = 900;

/// Formats into octets.
pub(crate) fn append(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    Octets(out).write_fmt(text).expect("a vector takes all it is given");
}

/// The lines of a text in wire form, without line ends and stuffed dots. A last
/// line without its end counts.
pub(crate) fn unstuffed_lines(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    wire.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.strip_prefix(b".").unwrap_or(line)
    })
}

/// A peer's text made harmless: one line, no control characters, no more than
/// `bytes_max` octets (and a mark if there was more), ASCII only unless `utf8`.
pub(crate) fn clean(text: &[u8], utf8: bool, bytes_max: usize) -> String {
    let (text, is_cut) = match text.get(..bytes_max) {
        Some(head) if text.len() > bytes_max => (head, true),
        _ => (text, false),
    };
    let text: Cow<'_, str> =
        if utf8 { String::from_utf8_lossy(text) } else { ascii_lossy(text).into() };
    let mut out = String::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().map(visible));
    }
    if is_cut {
        out.push_str(" [...]");
    }
    out
}

/// As [`clean`], for a text whose blanks matter: each character has its place,
/// those behind `bytes_max` are cut without a mark.
pub(crate) fn clean_exactly(text: &str, utf8: bool, bytes_max: usize) -> String {
    let text = &text[..text.floor_char_boundary(bytes_max)];
    text.chars().map(|char| if utf8 || char.is_ascii() { visible(char) } else { '?' }).collect()
}

fn visible(char: char) -> char {
    if char.is_control() { '?' } else { char }
}

/// A growing text in wire form.
#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) wire: Vec<u8>,
}

impl Lines {
    /// One line. The text has no line end and is not longer than a line may be.
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) {
        let start = self.wire.len();
        append(&mut self.wire, text);
        debug_assert!(memchr::memchr2(b'\r', b'\n', &self.wire[start..]).is_none());
        if self.wire.get(start) == Some(&b'.') {
            self.wire.insert(start, b'.');
        }
        self.wire.extend_from_slice(b"\r\n");
    }

    /// An empty line.
    pub(crate) fn empty_line(&mut self) {
        self.wire.extend_from_slice(b"\r\n");
    }

    /// Running text, wrapped, each line behind `indent`.
    pub(crate) fn paragraph(&mut self, indent: &str, text: &str) {
        self.wrap(indent, indent, text);
    }

    /// One line of somebody else's, wrapped where it must be, the rest of it
    /// indented further.
    pub(crate) fn quote(&mut self, indent: &str, text: &str) {
        self.wrap(indent, &format!("{indent}  "), text);
    }

    /// A header field, folded at its blanks, so that unfolding gives them back.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        self.wrap(&format!("{name}: "), " ", value);
    }

    fn wrap(&mut self, first: &str, next: &str, text: &str) {
        let mut line = String::from(first);
        let mut is_fresh = true;
        for word in text.split_ascii_whitespace().flat_map(pieces) {
            if !is_fresh && line.len() + 1 + word.len() > COLUMNS {
                self.line(format_args!("{line}"));
                line.clear();
                line.push_str(next);
                is_fresh = true;
            }
            if !is_fresh {
                line.push(' ');
            }
            line.push_str(word);
            is_fresh = false;
        }
        self.line(format_args!("{}", if is_fresh { line.trim_end() } else { &line }));
    }
}

struct Octets<'a>(&'a mut Vec<u8>);

impl fmt::Write for Octets<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A word in pieces that fit a line.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let end = rest.floor_char_boundary(WORD_BYTES_MAX);
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn ascii_lossy(text: &[u8]) -> String {
    text.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 5321 §4.5.2
    /// Covers: A1.23
    #[test]
    fn lines_are_stuffed_and_unstuffed() {
        let mut lines = Lines::default();
        lines.line(format_args!(".a"));
        lines.line(format_args!("b."));
        lines.empty_line();
        lines.line(format_args!("."));
        assert_eq!(lines.wire, b"..a\r\nb.\r\n\r\n..\r\n");
        let back: Vec<&[u8]> = unstuffed_lines(&lines.wire).collect();
        assert_eq!(back, [&b".a"[..], b"b.", b"", b"."]);
        assert_eq!(unstuffed_lines(b"").count(), 0);
        assert_eq!(unstuffed_lines(b"a\r\nb").collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn text_is_wrapped_and_long_words_are_broken() {
        let mut lines = Lines::default();
        lines.paragraph("  ", &format!("{} . {}", "word ".repeat(30), "x".repeat(2_000)));
        lines.field("Name", "");
        let text = String::from_utf8(lines.wire).unwrap();
        assert!(text.ends_with("\r\nName:\r\n"));
        assert!(text.lines().all(|line| line.len() <= WORD_BYTES_MAX + 2));
        assert!(text.lines().filter(|line| !line.contains('x')).all(|line| line.len() <= COLUMNS));
        assert_eq!(text.matches('x').count(), 2_000);
    }

    /// Covers: A1.23
    #[test]
    fn a_wrapped_dot_is_stuffed() {
        let mut lines = Lines::default();
        lines.paragraph("", &format!("{} .b", "a".repeat(COLUMNS)));
        assert!(lines.wire.ends_with(b"\r\n..b\r\n"));
    }

    /// Covers: B46
    #[test]
    fn peers_text_is_made_harmless() {
        for (text, utf8, shown) in [
            ("550 a\r\n550 b\r\n", false, "550 a 550 b"),
            ("a\0b\x1b[1m\x7f", false, "a?b?[1m?"),
            ("\u{e9}", false, "??"),
            ("\u{e9}\u{85}", true, "\u{e9}?"),
            (" \t ", true, ""),
        ] {
            assert_eq!(clean(text.as_bytes(), utf8, 100), shown);
        }
        assert_eq!(clean(b"\xff", true, 100), "\u{fffd}");
        assert_eq!(clean(b"abc", false, 3), "abc");
        assert_eq!(clean(b"abcd", false, 3), "abc [...]");
        assert_eq!(clean("a\u{e9}".as_bytes(), true, 2), "a\u{fffd} [...]");
        assert_eq!(clean_exactly("a  \u{e9}\r\n ", true, 100), "a  \u{e9}?? ");
        assert_eq!(clean_exactly("a  \u{e9}", false, 100), "a  ?");
        assert_eq!(clean_exactly("ab\u{e9}", true, 3), "ab");
    }
}
