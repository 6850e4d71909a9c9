//! Message content in any cut, smuggling vectors among it.

use super::*;

const BIG: u64 = 1 << 20;

/// Feeds `bytes` cut at every place `step` apart; gives the outcome and what
/// was left over, or none when the message did not end.
fn read(
    bytes: &[u8],
    step: usize,
    size_max: u64,
) -> Option<(Result<Content, ContentFault>, usize)> {
    let mut reader = DataReader::new(size_max, 0);
    let mut used = 0;
    for part in bytes.chunks(step) {
        let took = reader.take(part);
        used += took;
        if reader.has_ended() {
            assert_eq!(reader.bytes_seen(), used as u64);
            return Some((reader.finish(), bytes.len() - used));
        }
        assert_eq!(took, part.len());
    }
    None
}

/// The outcome of the whole at once. Every cut must give the same.
fn outcome(bytes: &[u8], size_max: u64) -> Option<(Result<Content, ContentFault>, usize)> {
    let whole = read(bytes, bytes.len().max(1), size_max);
    for step in 1..=bytes.len().min(9) {
        let cut = read(bytes, step, size_max);
        assert_eq!(cut, whole, "{} by {step}", bytes.escape_ascii());
    }
    whole
}

fn content(body: &[u8], size: u64) -> Option<(Result<Content, ContentFault>, usize)> {
    let eight_bit = !body.is_ascii();
    Some((Ok(Content { body: body.to_vec(), size, eight_bit }), 0))
}

/// Proves: RFC 5321 §4.1.1.4, RFC 5321 §4.5.2
/// Covers: A1.1, A1.23
#[test]
fn a_message_ends_at_its_final_dot() {
    for (bytes, body, size) in [
        (&b".\r\n"[..], &b""[..], 0),
        (b"\r\n.\r\n", b"\r\n", 2),
        (b"a: b\r\n\r\nhi\r\n.\r\n", b"a: b\r\n\r\nhi\r\n", 12),
        (b"..\r\n.\r\n", b"..\r\n", 3),
        (b"..a\r\n.b\r\n...\r\n.\r\n", b"..a\r\n.b\r\n...\r\n", 11),
        (b"\xc3\xa9\r\n.\r\n", b"\xc3\xa9\r\n", 4),
        (b". \r\n.\r\n", b". \r\n", 3),
    ] {
        assert_eq!(outcome(bytes, BIG), content(body, size), "{}", bytes.escape_ascii());
    }
}

/// Covers: A1.1
#[test]
fn what_stands_behind_the_end_is_left_alone() {
    let (message, left) = outcome(b"a\r\n.\r\nQUIT\r\n\0\n\r", BIG).unwrap();
    assert_eq!(message.unwrap().body, b"a\r\n");
    assert_eq!(left, 9);
    let (message, left) = outcome(b"a\n\r\n.\r\nQUIT\r\n", BIG).unwrap();
    assert_eq!(message, Err(ContentFault::PeerBareLf));
    assert_eq!(left, 6);
}

/// The known ways to make two hosts disagree about the end of a message.
///
/// Proves: RFC 5321 §2.3.8, RFC 5321 §4.1.1.4
/// Covers: A1.1, A3.2, B84
#[test]
fn no_other_sequence_ends_a_message() {
    use ContentFault::*;
    for (sequence, fault) in [
        (&b"\n.\n"[..], PeerBareLf),
        (b"\n.\r\n", PeerBareLf),
        (b"\r\n.\n", PeerBareLf),
        (b"\r.\r", PeerBareCr),
        (b"\r.\r\n", PeerBareCr),
        (b"\r\n.\r", PeerBareCr),
        (b"\r\n.\r\r\n", PeerBareCr),
        (b"\r\r\n.\r\r\n", PeerBareCr),
        (b"\n\n.\r\n", PeerBareLf),
        (b"\n.\r\r\n", PeerBareLf),
        (b"\r.\n", PeerBareLf),
        (b"\r\n.\0\r\n", PeerNul),
        (b"\r\n\0.\r\n", PeerNul),
        (b"\r\0\n.\r\n", PeerNul),
        (b"\r\n.\r\0\n", PeerNul),
        (b"\0\n.\n", PeerNul),
        (b"\n.\r\n\0", PeerBareLf),
    ] {
        let mut bytes = b"a: b\r\n\r\nfirst".to_vec();
        bytes.extend_from_slice(sequence);
        bytes.extend_from_slice(b"MAIL FROM:<admin@example.com>\r\n");
        assert_eq!(outcome(&bytes, BIG), None, "{} ended", sequence.escape_ascii());
        bytes.extend_from_slice(b"second\r\n.\r\n");
        let (message, left) = outcome(&bytes, BIG).unwrap();
        assert_eq!(message, Err(fault), "{}", sequence.escape_ascii());
        assert_eq!(left, 0);
    }
    assert_eq!(outcome(b"\n.\r\n", BIG), None, "a lone LF at the start is no line end");
    assert_eq!(outcome(b".\n", BIG), None);
    assert_eq!(outcome(b".\r", BIG), None);
}

/// Proves: RFC 5321 §4.5.3.1.6
/// Covers: A1.20, A3.1
#[test]
fn lines_may_have_1000_octets_and_no_more() {
    let line = |bytes: usize, first: &str| {
        format!("{first}{}\r\n.\r\n", "x".repeat(bytes - 2 - first.len())).into_bytes()
    };
    let message = read(&line(TEXT_LINE_BYTES_MAX, ""), 64, BIG).unwrap().0;
    assert_eq!(message.unwrap().size, TEXT_LINE_BYTES_MAX as u64);
    let fault = Err(ContentFault::PeerLineTooLong);
    assert_eq!(read(&line(TEXT_LINE_BYTES_MAX + 1, ""), 64, BIG).unwrap().0, fault);
    assert!(read(&line(TEXT_LINE_BYTES_MAX + 1, "."), 64, BIG).unwrap().0.is_ok(), "stuffing");
    assert_eq!(read(&line(TEXT_LINE_BYTES_MAX + 2, "."), 64, BIG).unwrap().0, fault);
}

/// Proves: RFC 1870 §6.3
/// Covers: A6.2, B86
#[test]
fn size_is_counted_without_stuffing_and_bounds_memory() {
    let bytes = b"..234567\r\n\r\n..x\r\n.\r\n";
    assert_eq!(outcome(bytes, 15).unwrap().0.unwrap().size, 15);
    assert_eq!(outcome(bytes, 14).unwrap().0, Err(ContentFault::PeerTooLarge));
    assert_eq!(outcome(b".\r\n", 0), content(b"", 0));

    let mut reader = DataReader::new(1_000, 0);
    for _ in 0..10_000 {
        reader.take(&b"0123456789abcdef\r\n".repeat(8));
        assert!(reader.bytes_held() <= 4_096);
    }
    assert_eq!(reader.take(b".\r\nQUIT\r\n"), 3);
    assert_eq!(reader.finish(), Err(ContentFault::PeerTooLarge));
}

/// Covers: B86
#[test]
fn an_endless_line_is_bounded_by_the_size() {
    let mut reader = DataReader::new(1_000, 0);
    for _ in 0..1_000 {
        assert_eq!(reader.take(&[b'.'; 100]), 100);
        assert!(reader.bytes_held() <= 4_096);
    }
    assert!(!reader.has_ended());
}

/// A message with several faults was refused for the one that its cuts on the
/// way happened to show first: 554 in one connection and 552 in the next.
#[test]
fn of_several_faults_the_first_is_named_in_every_cut() {
    use ContentFault::*;
    let long = [&[b'x'; 1_001][..], b"\0\r\n.\r\n"].concat();
    for (bytes, size_max, fault) in [
        (&b"x\0y\nz\r\n.\r\n"[..], BIG, PeerNul),
        (b"x\ny\0\r\n.\r\n", BIG, PeerBareLf),
        (b"0123456789\r\n\n\r\n.\r\n", 4, PeerTooLarge),
        (b"0\n12345678\r\n.\r\n", 4, PeerBareLf),
        (b"01\r2345678\r\n.\r\n", 4, PeerTooLarge),
        (b"01\r2\r\n.\r\n", 5, PeerTooLarge),
        (b"01\r2\r\n.\r\n", 6, PeerBareCr),
        (&long, BIG, PeerNul),
    ] {
        let (refused, left) = outcome(bytes, size_max).unwrap();
        assert_eq!((refused, left), (Err(fault), 0), "{}", bytes.escape_ascii());
    }
}
