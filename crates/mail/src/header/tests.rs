//! Headers good and bad, whole and in pieces.

use super::*;

const MESSAGE: &str = "Received: from a\r\n\tby b; x\r\nreceived : y\r\nSubject: s\r\n \r\n more\r\n\
    DATE: d\r\nMessage-Id: <m>\r\nX-Received: no\r\nFrom: f\r\n\r\nReceived: body\r\n";

/// Covers: A3.9
#[test]
fn fields_are_found_whatever_their_case() {
    let facts = Scanner::scan(MESSAGE.as_bytes());
    assert_eq!(facts.header_bytes, MESSAGE.find("\r\n\r\nRec").unwrap() + 2);
    assert_eq!(facts.end, HeaderEnd::EmptyLine);
    assert_eq!(facts.received, 2);
    assert!(facts.has_date && facts.has_message_id && facts.has_from);
    assert!(!facts.eight_bit && !facts.needs_empty_line());
}

#[test]
fn every_cut_gives_the_same_facts() {
    let whole = Scanner::scan(MESSAGE.as_bytes());
    for cut in 0..=MESSAGE.len() {
        let (head, tail) = MESSAGE.as_bytes().split_at(cut);
        let mut scanner = Scanner::new();
        scanner.feed(head);
        let partial = scanner.facts();
        assert!(partial.header_bytes <= whole.header_bytes);
        scanner.feed(tail);
        assert_eq!(scanner.facts(), whole, "cut at {cut}");
        assert!(scanner.is_done());
    }
}

#[test]
fn the_end_is_named_by_its_kind() {
    use HeaderEnd::*;
    for (message, header_bytes, end) in [
        ("", 0, Open),
        ("\r", 0, Open),
        ("\r\nbody", 0, EmptyLine),
        ("\rx", 0, NotAField),
        ("hello world\r\n", 0, NotAField),
        ("hello", 0, Open),
        (" folded\r\n", 0, NotAField),
        (": no name\r\n", 0, NotAField),
        ("..\r\n", 0, NotAField),
        ("From a@b Mon\r\nDate: x\r\n", 0, NotAField),
        ("\u{e9}: x\r\n", 0, NotAField),
        ("A: b\r\n", 6, Open),
        ("A: b\r\nhalf", 6, Open),
        ("A: b\r\nB: half", 13, Open),
        ("A: b\r\nbody\r\n", 6, NotAField),
        ("A: b\r\n folded\r\n\r\n", 15, EmptyLine),
        ("A:\r\n\r\n", 4, EmptyLine),
    ] {
        let facts = Scanner::scan(message.as_bytes());
        assert_eq!((facts.header_bytes, facts.end), (header_bytes, end), "{message:?}");
        assert_eq!(facts.needs_empty_line(), end == NotAField && header_bytes == 0);
    }
}

#[test]
fn eight_bit_counts_in_the_header_only() {
    assert!(Scanner::scan("A: \u{e9}\r\n\r\n".as_bytes()).eight_bit);
    assert!(Scanner::scan("A: b\r\n \u{e9}\r\n\r\n".as_bytes()).eight_bit);
    assert!(!Scanner::scan("A: b\r\n\r\n\u{e9}\r\n".as_bytes()).eight_bit);
    assert!(!Scanner::scan("A: b\r\nbody \u{e9}\r\n".as_bytes()).eight_bit);
}

#[test]
fn a_name_longer_than_any_of_ours_is_none_of_ours() {
    let facts = Scanner::scan(b"Message-IDs: x\r\nReceivedReceivedReceived: y\r\nDat: z\r\n\r\n");
    assert!(!facts.has_message_id && !facts.has_date);
    assert_eq!((facts.received, facts.end), (0, HeaderEnd::EmptyLine));
}

/// Proves: RFC 5321 §6.3
/// Covers: A1.30
#[test]
fn received_fields_are_counted_to_the_end_of_their_range() {
    let mut scanner = Scanner::new();
    for _ in 0..=u32::from(u16::MAX) {
        scanner.feed(b"Received: x\r\n");
    }
    assert_eq!(scanner.facts().received, u16::MAX);
}
