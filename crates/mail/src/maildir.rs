//! A message as it lies in a mail folder: the file's name, the fields in front,
//! and the content with the line ends of files.
//!
//! Touches no file. Invariant: the same message for the same recipient always
//! has the same name, so that a second copy is the same file.
//!
//! Read first: RFC 5321 §4.4.

use base::{MessageId, Wall};

use crate::domain::Domain;

/// The name of a message's file: time, what tells it from all others, host.
pub fn file_name(id: MessageId, recipient: u16, arrival: Wall, host: &Domain) -> String {
    let millis = arrival.as_millis();
    format!("{}.M{:03}R{id}N{recipient}.{host}", millis / 1_000, millis % 1_000)
}

/// The fields that final delivery puts in front (RFC 5321 §4.4); `sender` is
/// empty for the null reverse-path.
pub fn front(sender: &str, recipient: &str) -> Vec<u8> {
    format!("Return-Path: <{sender}>\nDelivered-To: {recipient}\n").into_bytes()
}

/// The content of a message in wire form: without the dots that quote dots, and
/// with line ends as files have them.
pub fn content(wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(wire.len());
    for line in wire.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_prefix(b".").unwrap_or(line);
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                content.extend_from_slice(text);
                content.push(b'\n');
            }
            None => content.extend_from_slice(line),
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_for_one_recipient_has_one_name() {
        let host = Domain::parse("mail.example").unwrap();
        let arrival = Wall::from_millis(1_700_000_000_007);
        let name = |id, recipient| file_name(MessageId::from_u64(id), recipient, arrival, &host);
        assert_eq!(name(33, 2), "1700000000.M007R0000000000011N2.mail.example");
        assert_eq!(name(33, 2), name(33, 2));
        assert_ne!(name(33, 2), name(33, 1));
        assert_ne!(name(33, 2), name(34, 2));
    }

    /// Proves: RFC 5321 §4.5.2
    /// Covers: A14.5
    #[test]
    fn dots_that_quote_dots_go_and_lines_end_as_in_files() {
        let wire = b"A: b\r\n\r\n..\r\n.hidden\r\nx.\r\n\r\nbare\rcr\r\n";
        let expected = b"A: b\n\n.\nhidden\nx.\n\nbare\rcr\n";
        assert_eq!(content(wire), expected);
        assert_eq!(content(b""), b"");
    }

    /// Proves: RFC 5321 §4.4
    /// Covers: A14.5
    #[test]
    fn the_envelope_stands_in_front() {
        let front = |sender| String::from_utf8(super::front(sender, "b@c.example")).unwrap();
        assert_eq!(front("a@b.example"), "Return-Path: <a@b.example>\nDelivered-To: b@c.example\n");
        assert!(front("").starts_with("Return-Path: <>\n"));
    }
}
