//! STARTTLS, and sessions inside TLS from the first byte.

use super::*;

fn with_tls(tls: Tls) -> Talk {
    let now = Monotonic::from_millis(1_000);
    let mut talk = Talk::of(Session::new(Arc::new(settings()), now).with_tls(tls), now);
    talk.send("");
    talk
}

/// Up to the handshake, with `sent` in one piece.
fn handshake(sent: &str) -> (Talk, String) {
    let mut talk = with_tls(Tls::Offered);
    let said = talk.send(sent);
    assert!(talk.handshake, "{said}");
    (talk, said)
}

/// Proves: RFC 3207 §4
/// Covers: A5.1
#[test]
fn starttls_is_offered_once_and_takes_no_parameter() {
    let mut talk = with_tls(Tls::Offered);
    assert!(talk.send("EHLO c\r\n").contains("250 STARTTLS\r\n"));
    assert_eq!(talk.codes("STARTTLS now\r\n"), "501/5.5.4");
    assert_eq!(
        talk.codes(format!("{OPEN}STARTTLS\r\nRSET\r\n")),
        "250/2.1.0 250/2.1.5 503/5.5.1 250/2.0.0"
    );
    assert_eq!(talk.codes("STARTTLS\r\n"), "220/2.0.0");
    assert!(talk.handshake);
    talk.session.secured(talk.now);
    assert!(talk.session.is_secure());
    assert!(!talk.send("EHLO c\r\n").contains("STARTTLS"));
    assert_eq!(talk.codes("STARTTLS\r\n"), "503/5.5.1");
    // Where there is no certificate, the command is unknown.
    let mut without = Talk::ready();
    assert_eq!(without.codes("STARTTLS\r\n"), "502/5.5.1");
}

/// Proves: RFC 3207 §4.2
/// Covers: A5.2
#[test]
fn nothing_from_before_the_handshake_is_left() {
    let (mut talk, _) = handshake("EHLO before.example\r\nSTARTTLS\r\n");
    talk.session.secured(talk.now);
    assert_eq!(talk.codes("MAIL FROM:<a@b.example>\r\n"), "503/5.5.1", "EHLO is asked for anew");
    talk.send("HELO after.example\r\n");
    talk.codes(format!("{OPEN}DATA\r\nA: b\r\n\r\nx\r\n.\r\n"));
    assert_eq!(&*talk.messages[0].hello, "after.example");
}

/// Proves: RFC 3207 §6
/// Covers: A5.3
#[test]
fn commands_sent_ahead_of_the_handshake_are_never_run() {
    for ahead in ["RSET\r\n", "RSET\r\nNOOP\r\n", "MAIL FROM:<evil@b.example>\r\n", "RS"] {
        let (mut talk, said) = handshake(&format!("EHLO c\r\nSTARTTLS\r\n{ahead}"));
        assert_eq!(said.matches("220 ").count(), 1, "{said}");
        assert!(said.ends_with("220 2.0.0 Ready to start TLS\r\n"), "{ahead}: {said}");
        // What the runtime may have read already goes nowhere either.
        assert_eq!(talk.send("NOOP\r\n"), "");
        talk.session.secured(talk.now);
        assert_eq!(talk.send(""), "", "{ahead}");
        assert_eq!(talk.codes("ET\r\n"), "500/5.5.1", "{ahead}: half a command was kept");
        assert_eq!(talk.codes("NOOP\r\n"), "250/2.0.0");
    }
}

/// Proves: RFC 3207 §4
/// Covers: A5.1
#[test]
fn where_tls_is_required_nothing_else_comes_first() {
    let mut talk = with_tls(Tls::Required);
    talk.send("EHLO c\r\n");
    assert_eq!(talk.codes("NOOP\r\n"), "250/2.0.0");
    for refused in ["MAIL FROM:<a@b.example>", "RCPT TO:<a@b.example>", "DATA", "RSET", "VRFY a"] {
        assert_eq!(talk.codes(format!("{refused}\r\n")), "530/5.7.0", "{refused}");
    }
    assert_eq!(talk.codes("STARTTLS\r\n"), "220/2.0.0");
    talk.session.secured(talk.now);
    talk.send("EHLO c\r\n");
    assert_eq!(talk.codes(OPEN), "250/2.1.0 250/2.1.5");
    // The octets of a chunk come unasked, and none of them is a command.
    let mut talk = with_tls(Tls::Required);
    assert_eq!(talk.codes("BDAT 6 LAST\r\nQUIT\r\n"), "421/4.3.2");
    assert!(talk.closed);
}

/// Proves: RFC 8314 §3.3
/// Covers: A3.6
#[test]
fn a_session_inside_tls_from_the_first_byte_greets_behind_the_handshake() {
    let now = Monotonic::from_millis(1_000);
    let session = Session::new(Arc::new(settings()), now).with_implicit_tls(now);
    let mut talk = Talk::of(session, now);
    assert_eq!(talk.send("EHLO c\r\n"), "", "nothing is said or heard in the clear");
    talk.session.secured(now);
    assert_eq!(talk.send(""), "220 mx.example ESMTP Ringpost\r\n");
    assert_eq!(talk.codes("STARTTLS\r\n"), "503/5.5.1");
}

/// Covers: B64
#[test]
fn a_handshake_has_a_deadline_and_ends_without_a_word() {
    let (mut talk, _) = handshake("STARTTLS\r\n");
    let deadline = talk.now + settings().handshake_timeout;
    assert_eq!(talk.session.deadline(), Some(deadline));
    let mut out = Vec::new();
    assert!(talk.session.timeout(deadline, &mut out));
    assert_eq!(out, b"", "nothing is said in the clear");
    assert!(matches!(talk.session.advance(deadline, &mut out, &mut ByName), Progress::Close));
    // A shutdown does not wait for it.
    let (mut talk, _) = handshake("STARTTLS\r\n");
    talk.session.shut_down();
    assert_eq!(talk.send(""), "");
    assert!(talk.closed);
}
