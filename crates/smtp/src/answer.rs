//! Our own replies, as a server gives them.
//!
//! Never here: when to say what. Whatever text comes in, what goes out is
//! printable ASCII in lines of at most 512 octets, all with the same code.
//!
//! Read first: RFC 5321 §4.2, RFC 5321 §4.5.3.1.5, RFC 2034 §4.

use std::borrow::Cow;

use mail::Status;

use crate::reply::Code;

/// Octets of a reply line with its CRLF (RFC 5321 §4.5.3.1.5).
pub const ANSWER_LINE_BYTES_MAX: usize = 512;
/// Room for the text itself: code, separator, the longest enhanced code, its
/// blank and CRLF come off.
const TEXT_BYTES_MAX: usize = ANSWER_LINE_BYTES_MAX - 4 - 10 - 2;

/// A reply that we give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its code.
    pub code: Code,
    /// The enhanced code; none only for the greeting, EHLO, HELO and 354
    /// (RFC 2034 §4).
    pub status: Option<Status>,
    /// Words for a human; what is not printable ASCII goes out as `?`.
    pub text: Cow<'static, str>,
}

impl Answer {
    /// A reply with an enhanced code.
    ///
    /// # Panics
    /// When the classes of the two codes differ, or `code` is no reply code:
    /// a bug of the caller.
    pub fn new(code: u16, status: Status, text: impl Into<Cow<'static, str>>) -> Self {
        assert_eq!(code / 100, u16::from(status.class()), "the two codes must be of one class");
        Self { code: Code::new(code), status: Some(status), text: text.into() }
    }

    /// Appends the reply to `out`, in several lines when one cannot hold it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut rest: &str = &self.text;
        while rest.len() > TEXT_BYTES_MAX {
            let (line, after) = rest.split_at(rest.floor_char_boundary(TEXT_BYTES_MAX));
            write_line(self.code, false, self.status, line, out);
            rest = after;
        }
        write_line(self.code, true, self.status, rest, out);
    }
}

/// Appends one line of a reply; `text` must fit.
pub(crate) fn write_line(
    code: Code,
    last: bool,
    status: Option<Status>,
    text: &str,
    out: &mut Vec<u8>,
) {
    use std::io::Write as _;
    let start = out.len();
    let separator = if last { ' ' } else { '-' };
    // Writing into memory cannot fail.
    let _ = match status {
        Some(status) => write!(out, "{code}{separator}{status} "),
        None => write!(out, "{code}{separator}"),
    };
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        out.extend_from_slice(text.as_bytes());
    } else {
        let printable = |char| if matches!(char, ' '..='~') { char as u8 } else { b'?' };
        out.extend(text.chars().map(printable));
    }
    out.extend_from_slice(b"\r\n");
    assert!(out.len() - start <= ANSWER_LINE_BYTES_MAX, "a reply line outgrew its bound");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Answer) -> String {
        let mut out = Vec::new();
        answer.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Covers: A4.1
    #[test]
    fn codes_stand_before_the_text() {
        let answer = Answer::new(250, Status::OK, "Ok");
        assert_eq!(written(&answer), "250 2.0.0 Ok\r\n");
        let greeting = Answer { code: Code::new(554), status: None, text: "No service".into() };
        assert_eq!(written(&greeting), "554 No service\r\n");
    }

    /// Proves: RFC 5321 §4.5.3.1.5
    /// Covers: A1.19, A4.1
    #[test]
    fn long_and_hostile_texts_stay_whole_replies() {
        let widest = Status::new(5, 999, 999);
        for (text, lines) in [
            ("x".repeat(TEXT_BYTES_MAX), 1),
            ("x".repeat(TEXT_BYTES_MAX + 1), 2),
            ("\u{e9}".repeat(TEXT_BYTES_MAX), 2),
            ("a\r\n250 forged\0\x1b".repeat(40), 2),
        ] {
            let text = written(&Answer::new(550, widest, text));
            let parts: Vec<&str> = text.split_terminator("\r\n").collect();
            assert_eq!(parts.len(), lines);
            for (place, part) in parts.iter().enumerate() {
                let separator = if place + 1 == lines { ' ' } else { '-' };
                assert!(part.starts_with(&format!("550{separator}5.999.999 ")), "{part}");
                assert!(part.len() + 2 <= ANSWER_LINE_BYTES_MAX);
                assert!(part.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }

    /// Covers: A4.1
    #[test]
    #[should_panic(expected = "one class")]
    fn codes_that_contradict_each_other_are_our_bug() {
        let _ = Answer::new(250, Status::FAILED, "");
    }
}
