//! Replies of a mail exchanger: any bytes, in any cuts.
//!
//! Input: one byte for the cuts, then what the peer sends. Oracle: a reader by
//! the words of the standard; the same replies and the same fault however the
//! bytes are cut; what is held is bounded; kept text is harmless.
//!
//! Read first: RFC 5321 §4.2, RFC 5321 §4.5.3.1.5.

use base::limits::{REPLY_BYTES_MAX, REPLY_LINE_BYTES_MAX, REPLY_TEXT_BYTES_MAX};
use mail::Status;
use smtp::reply::{ReplyFault, ReplyReader};
use smtp::{Capabilities, Reply};

use crate::input::{Input, cut};

/// Runs the target.
pub fn smtp_reply(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let bytes = input.rest();
    let (whole, fault) = read(bytes, 0);
    for way in [way, 1] {
        let (pieces, other) = read(bytes, way);
        assert_eq!(whole, pieces, "cut as {way}");
        assert_eq!(fault.map(kind), other.map(kind), "cut as {way}");
    }

    let (expected, is_fault) = model(bytes);
    let found: Vec<u16> = whole.iter().map(|reply| reply.code.number()).collect();
    assert_eq!((found, fault.is_some()), (expected, is_fault), "{fault:?}");
    whole.iter().for_each(check);
}

/// Which of two bounds is passed first may depend on the cuts.
fn kind(fault: ReplyFault) -> ReplyFault {
    if fault == ReplyFault::PeerTooLong { ReplyFault::PeerLineTooLong } else { fault }
}

fn read(bytes: &[u8], way: u8) -> (Vec<Reply>, Option<ReplyFault>) {
    let mut reader = ReplyReader::default();
    let mut replies = Vec::new();
    for piece in cut(bytes, way) {
        reader.push(piece);
        loop {
            match reader.next_reply() {
                Ok(Some(found)) => {
                    Capabilities::parse(reader.lines(found));
                    replies.push(reader.reply(found));
                }
                Ok(None) => break,
                Err(fault) => return (replies, Some(fault)),
            }
        }
        assert!(reader.unread().len() < REPLY_BYTES_MAX, "more than one unfinished reply is held");
    }
    (replies, None)
}

fn check(reply: &Reply) {
    assert!(reply.text.len() <= REPLY_TEXT_BYTES_MAX, "the text grows without bound");
    assert!(!reply.text.chars().any(char::is_control), "{:?} is not safe to show", reply.text);
    assert_eq!(&Reply::new(reply.code, &reply.text), reply, "what is clean stays as it is");
    if let Some(status) = reply.status() {
        let class = reply.code.number() / 100;
        assert!(class == 3 || u16::from(status.class()) == class, "{reply} is {status}");
        assert_eq!(Status::from_bits(status.bits()), Some(status));
        assert_eq!(Status::parse(status.to_string().as_bytes()), Some(status));
    }
}

/// The codes of all replies up to a fault, and whether there is one.
fn model(bytes: &[u8]) -> (Vec<u16>, bool) {
    let mut codes = Vec::new();
    let mut held = 0;
    let mut open: Option<u16> = None;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        held += line.len();
        if !line.ends_with(b"\n") {
            let is_fault = line.len() >= REPLY_LINE_BYTES_MAX || held >= REPLY_BYTES_MAX;
            return (codes, is_fault);
        }
        let text = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
        let digits = text.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let code = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u16>().ok());
        let Some(code) = code.filter(|code| (200..600).contains(code)) else {
            return (codes, true);
        };
        let goes_on = text.get(3) == Some(&b'-');
        let is_reply = goes_on || matches!(text.get(3), None | Some(b' ' | b'\t'));
        let is_bounded = line.len() <= REPLY_LINE_BYTES_MAX && held <= REPLY_BYTES_MAX;
        if !is_reply || !is_bounded || open.is_some_and(|first| first != code) {
            return (codes, true);
        }
        if goes_on {
            open = Some(code);
        } else {
            codes.push(code);
            (held, open) = (0, None);
        }
    }
    (codes, held >= REPLY_BYTES_MAX)
}
