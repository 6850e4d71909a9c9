//! Waits of the server, and what clients send ahead.

use super::*;

/// Proves: RFC 5321 §4.5.3.2.7
/// Covers: A1.26, A1.27, B88
#[test]
fn every_wait_of_the_server_ends() {
    let second = Duration::from_secs(1);
    let mut talk = Talk::ready();
    let start = talk.now;
    let deadline = start + 300 * second;
    assert_eq!(talk.session.deadline(), Some(deadline));
    talk.now = start + 200 * second;
    talk.send("NOO");
    assert_eq!(talk.session.deadline(), Some(deadline), "a piece of a command buys no time");
    talk.send("P\r\n");
    assert_eq!(talk.session.deadline(), Some(start + 500 * second));
    let mut out = Vec::new();
    assert!(!talk.session.timeout(start + 499 * second, &mut out));
    assert!(talk.session.timeout(start + 500 * second, &mut out));
    assert_eq!(codes(str::from_utf8(&out).unwrap()), "421/4.4.2");
    assert!(talk.send("NOOP\r\n").is_empty());
    assert!(talk.closed);
}

/// Covers: B88
#[test]
fn a_dripping_client_is_cut_by_the_least_rate() {
    for command in ["DATA\r\n", "BDAT 1000000\r\n"] {
        let mut talk = Talk::ready();
        let start = talk.now;
        talk.send(format!("{OPEN}{command}"));
        let mut seconds = 0;
        let mut out = Vec::new();
        while !talk.session.timeout(talk.now, &mut out) {
            seconds += 60;
            talk.now = start + Duration::from_secs(seconds);
            if !talk.session.timeout(talk.now, &mut out) {
                talk.send("x\r\n");
            } else {
                break;
            }
            assert!(seconds <= 360, "{command}");
        }
        assert!(seconds >= 300, "{command}");
        assert!(out.starts_with(b"421 4.4.2"));
    }
}

/// A chunk that will be refused is counted off to its end, which may be beyond
/// all time: a byte every few minutes held a session for ever.
///
/// Covers: B88
#[test]
fn a_refused_chunk_buys_no_more_time_than_one_that_is_taken() {
    for before in ["", OPEN, "MAIL FROM:<a@b.example>\r\nBDAT 1\r\nx"] {
        let mut talk = Talk::ready();
        let spoilt = if before == OPEN { "BDAT 1\r\n\nBDAT 9\r\n\0\0\0\0\0\0\0\0\0" } else { "" };
        talk.send(format!("{before}{spoilt}BDAT 18446744073709551614 LAST\r\n"));
        let start = talk.now;
        let mut out = Vec::new();
        for minute in 1..=10 {
            talk.now = start + Duration::from_secs(60 * minute);
            if talk.session.timeout(talk.now, &mut out) {
                break;
            }
            talk.send("x");
        }
        assert!(out.starts_with(b"421 4.4.2"), "{before}");
        assert!(talk.now <= start + Duration::from_secs(300), "{before}");
    }
}

/// Covers: B88
#[test]
fn many_small_chunks_share_one_time() {
    let mut talk = Talk::ready();
    let start = talk.now;
    talk.send(OPEN);
    for minute in 0..5 {
        talk.now = start + Duration::from_secs(60 * minute);
        talk.send("BDAT 1\r\nx");
    }
    assert_eq!(talk.session.deadline(), Some(start + Duration::from_secs(300)));
}

/// Covers: A6.6
#[test]
fn what_is_sent_ahead_waits_and_is_bounded() {
    let mut talk = Talk::ready();
    let mut out = Vec::new();
    talk.session.push(format!("{OPEN}DATA\r\nx: y\r\n.\r\nNOOP\r\n").as_bytes());
    let progress = talk.session.advance(talk.now, &mut out, &mut TakeAll);
    assert!(matches!(progress, Progress::Message(_)));
    assert_eq!(talk.session.deadline(), None, "the wait is ours");
    assert!(talk.session.wants_input());
    let line = "NOOP xxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
    for _ in 0..SENT_AHEAD_BYTES_MAX / line.len() {
        assert!(talk.session.wants_input());
        talk.session.push(line.as_bytes());
        let progress = talk.session.advance(talk.now, &mut out, &mut TakeAll);
        assert!(matches!(progress, Progress::NeedInput));
    }
    assert!(!talk.session.wants_input());
    out.clear();
    talk.session.answer(talk.now, &Answer::new(451, Status::SYSTEM, "No"), &mut out);
    let progress = talk.session.advance(talk.now, &mut out, &mut TakeAll);
    assert!(matches!(progress, Progress::Close), "too many NOOPs");
    assert!(out.starts_with(b"451 4.3.0 No\r\n250 2.0.0 Ok\r\n"));
}
