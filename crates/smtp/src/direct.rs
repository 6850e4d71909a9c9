//! A message that comes without a session: over the control socket, or as a
//! file. Its text is made what a session would have handed out, so that what is
//! stored does not tell the doors apart.
//!
//! Never here: who sends it to whom. Lines may end in CRLF or, as in files, in
//! LF alone; all else that would spoil a message in a session spoils it here.
//!
//! Read first: RFC 5322 §2.1, RFC 5321 §2.3.8.

use base::limits::{HEADER_BYTES_MAX, RECEIVED_FIELDS_MAX};
use mail::header::{Facts, Scanner};
use mail::{Body, Envelope, Status};

use crate::answer::Answer;
use crate::chunking::ChunkReader;
use crate::submission::Received;

/// Makes a message of its text, without dot-stuffing, of at most
/// `message_bytes_max` octets.
///
/// # Errors
/// The reply that a session would have given.
pub fn received(
    mut envelope: Envelope,
    text: &[u8],
    message_bytes_max: u64,
) -> Result<Box<Received>, Answer> {
    let mut reader = ChunkReader::new(message_bytes_max, text.len() + text.len() / 32);
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let (line, behind) = rest.split_at(at);
        reader.take(line);
        reader.take(if line.ends_with(b"\r") { b"\n" } else { b"\r\n" });
        rest = &behind[1..];
    }
    reader.take(rest);
    let content = reader.finish().map_err(|fault| fault.answer())?;
    let header = checked_header(&content.body)?;
    if content.eight_bit {
        envelope.body = Body::EightBit;
    }
    Ok(Box::new(Received {
        envelope,
        body: content.body,
        size: content.size,
        eight_bit: content.eight_bit,
        header,
        hello: "".into(),
        esmtp: false,
    }))
}

/// The facts about a message's header, unless it may not be sent on.
///
/// # Errors
/// The refusal.
pub(crate) fn checked_header(body: &[u8]) -> Result<Facts, Answer> {
    let header = Scanner::scan(body);
    // RFC 5321 §6.3
    if usize::from(header.received) >= RECEIVED_FIELDS_MAX {
        return Err(Answer::new(554, Status::LOOP, "Mail loop: too many Received fields"));
    }
    if header.header_bytes > HEADER_BYTES_MAX {
        let text = "The message's header is too large";
        return Err(Answer::new(552, Status::TOO_LARGE, text));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{Address, Recipient, ReversePath};

    fn read(text: &[u8], size_max: u64) -> Result<Box<Received>, Answer> {
        let to = Address::parse("b@there.example", false).unwrap();
        let envelope = Envelope::new(ReversePath::Null, vec![Recipient::new(to)]);
        received(envelope, text, size_max)
    }

    #[test]
    fn lines_of_files_become_wire_form() {
        let unix = read(b"Subject: x\n\n.dot\nlast", 100).unwrap();
        let wire = read(b"Subject: x\r\n\r\n.dot\r\nlast\r\n", 100).unwrap();
        assert_eq!(unix.body, b"Subject: x\r\n\r\n..dot\r\nlast\r\n");
        assert_eq!((&unix.body, unix.size), (&wire.body, wire.size));
        assert_eq!(unix.envelope.body, Body::SevenBit);
        let eight = read("Subject: x\n\n\u{fc}\n".as_bytes(), 100).unwrap();
        assert_eq!(eight.envelope.body, Body::EightBit);
        assert!(read(b"", 100).unwrap().body.is_empty());
    }

    #[test]
    fn what_spoils_a_message_in_a_session_spoils_it_here() {
        let long = [b"x".repeat(999), b"\n".to_vec()].concat();
        for text in [&b"a\rb\n"[..], b"a\0b\n", b"a\r\r\n", &long] {
            assert_eq!(read(text, 10_000).unwrap_err().code.number(), 554, "{text:?}");
        }
        let loops = b"Received: x\n".repeat(RECEIVED_FIELDS_MAX);
        assert_eq!(read(&loops, 1 << 20).unwrap_err().code.number(), 554);
    }

    #[test]
    fn the_largest_message_is_as_large_as_in_a_session() {
        assert_eq!(read(b"12345\n", 7).unwrap().size, 7);
        assert_eq!(read(b"12345\n", 6).unwrap_err().code.number(), 552);
    }
}
