//! Lines as a reader takes them, without making a tree of each: the value of a
//! field, and the time.
//!
//! Invariant: any bytes are taken; what is no line of the log has no fields.

use std::borrow::Cow;

use base::Wall;
use mail::Timestamp;

use crate::field::Field;

/// The value of a field in a line: text unescaped, anything else as it stands.
/// Works on lines as the writer makes them: one object, no nesting.
pub fn value(line: &[u8], field: Field) -> Option<Cow<'_, str>> {
    let mut rest = line.strip_prefix(b"{")?;
    loop {
        let (key, after) = string(rest)?;
        let after = after.strip_prefix(b":")?;
        let (raw, after) = scalar(after)?;
        if key == field.key().as_bytes() {
            return unescaped(raw);
        }
        rest = after.strip_prefix(b",")?;
    }
}

/// Whether this is a whole line, without or with its end: one object of
/// fields, nothing behind it. The end of a line that a crash cut short is none.
pub fn is_whole(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let plain =
        |raw: &[u8]| raw == b"true" || !raw.is_empty() && raw.iter().all(u8::is_ascii_digit);
    let fields = || {
        let mut rest = line.strip_prefix(b"{")?;
        loop {
            let (_, after) = string(rest)?;
            let after = after.strip_prefix(b":")?;
            let (raw, behind) = scalar(after)?;
            if after.first() != Some(&b'"') && !plain(raw) {
                return None;
            }
            if behind == b"}" {
                return Some(());
            }
            rest = behind.strip_prefix(b",")?;
        }
    };
    let text = str::from_utf8(line).is_ok() && !line.iter().any(|byte| *byte < b' ');
    text && fields().is_some()
}

/// When a line was written.
pub fn time(line: &[u8]) -> Option<Wall> {
    exact(line.strip_prefix(b"{\"time\":\"")?.get(..24)?)
}

/// A time as people write it: `2026-11-21T22:15:30Z` or any begin of that, from
/// the day on, in UTC.
pub fn parse_time_begun(text: &str) -> Option<Wall> {
    const MIDNIGHT: &[u8] = b"0000-00-00T00:00:00.000Z";
    let text = text.strip_suffix('Z').unwrap_or(text).as_bytes();
    if !matches!(text.len(), 10 | 13 | 16 | 19 | 23) {
        return None;
    }
    exact(&[text, &MIDNIGHT[text.len()..]].concat())
}

fn exact(text: &[u8]) -> Option<Wall> {
    Timestamp::parse(text).map(|Timestamp(at)| at)
}

/// What stands between quotes, still escaped, and what follows.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn scalar(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.first() == Some(&b'"') {
        return string(text);
    }
    let end = text.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    Some((&text[..end], &text[end..]))
}

fn unescaped(raw: &[u8]) -> Option<Cow<'_, str>> {
    let raw = str::from_utf8(raw).ok()?;
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let mut chars = after.chars();
        let c = match chars.next()? {
            'u' => {
                let code = u32::from_str_radix(after.get(1..5)?, 16).ok()?;
                chars = after.get(5..)?.chars();
                char::from_u32(code)?
            }
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        };
        text.push(c);
        rest = chars.as_str();
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Line, rfc3339};

    #[test]
    fn what_was_written_is_read() {
        let said = "a \"b\"\\ \u{85}\r\n\u{e9}";
        let line = Line::new(Wall::from_millis(951_782_400_005), Kind::Deferred)
            .text(Field::Id, "0000400000010")
            .text(Field::Status, "4.0.0")
            .text(Field::Reply, said)
            .flag(Field::InDoubt, true)
            .number(Field::Attempt, 7_u32)
            .end();
        assert_eq!(time(&line), Some(Wall::from_millis(951_782_400_005)));
        assert_eq!(value(&line, Field::Event).as_deref(), Some("deferred"));
        assert_eq!(value(&line, Field::Reply).as_deref(), Some(said));
        assert_eq!(value(&line, Field::Attempt).as_deref(), Some("7"));
        assert_eq!(value(&line, Field::InDoubt).as_deref(), Some("true"));
        assert_eq!(value(&line, Field::Host), None);
    }

    /// A crash cuts a line anywhere; what is left is none, and neither is what
    /// a disk makes of it.
    #[test]
    fn only_a_whole_line_is_one() {
        let line =
            Line::new(Wall::from_millis(5), Kind::Stop).text(Field::Reason, "a \"}\" \u{e9}").end();
        assert!(is_whole(&line) && is_whole(&line[..line.len() - 1]));
        for end in 0..line.len() - 1 {
            assert!(!is_whole(&line[..end]), "{end}");
        }
        for bad in
            ["{}", "{\"a\":}", "{\"a\":x}", "{\"a\":1}}", "{\"a\":1}{", "[1]", "", "{\"a\":\"\0\"}"]
        {
            assert!(!is_whole(bad.as_bytes()), "{bad}");
        }
        assert!(!is_whole(b"{\"a\":\"\xff\"}"));
        assert!(is_whole(b"{\"a\":1,\"b\":true,\"c\":\"\"}"));
    }

    #[test]
    fn any_bytes_are_taken() {
        for bad in [
            &b""[..],
            b"{",
            b"{}",
            b"{\"event",
            b"{\"event\":",
            b"{\"event\":\"a",
            b"\xff",
            b"{\"event\":\"\\u12\"}",
            b"{\"event\":\"\\u\xc3\xa9\xc3\xa9\"}",
            b"{\"event\":\"\\",
        ] {
            assert_eq!(value(bad, Field::Event), None, "{bad:?}");
            assert_eq!(time(bad), None);
        }
    }

    #[test]
    fn a_time_may_be_begun() {
        let at = |text: &str| parse_time_begun(text).map(rfc3339);
        assert_eq!(at("2026-11-21").as_deref(), Some("2026-11-21T00:00:00.000Z"));
        assert_eq!(at("2026-11-21T22:15").as_deref(), Some("2026-11-21T22:15:00.000Z"));
        assert_eq!(at("2026-11-21T22:15:30Z").as_deref(), Some("2026-11-21T22:15:30.000Z"));
        assert_eq!(at("2026-11-21T22:15:30.125Z").as_deref(), Some("2026-11-21T22:15:30.125Z"));
        for bad in ["2026-11", "2026-11-2\u{e9}", "now", "", "2026-11-21T2"] {
            assert_eq!(parse_time_begun(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_agree_with_those_written() {
        for days in (0..80_000).step_by(13) {
            let at = Wall::from_millis(days * 86_400_000 + days * 1_001 % 86_400_000);
            assert_eq!(exact(rfc3339(at).as_bytes()), Some(at));
        }
        for bad in [
            "2026-13-21T22:15:30.125Z",
            "1969-01-01T00:00:00.000Z",
            "2026-11-21T22:15:30.1Z",
            "2026-11-21 22:15:30.125Z",
            "",
        ] {
            assert_eq!(exact(bad.as_bytes()), None, "{bad}");
        }
    }
}
