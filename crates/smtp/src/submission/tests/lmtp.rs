//! Clients that speak LMTP.

use super::*;

fn ready() -> Talk {
    let now = Monotonic::from_millis(1_000);
    let mut talk = Talk::of(Session::new(Arc::new(settings()), now).with_lmtp(), now);
    assert_eq!(talk.send(""), "220 mx.example LMTP Ringpost\r\n");
    assert!(talk.send("LHLO c.example\r\n").starts_with("250-mx.example\r\n250-PIPELINING\r\n"));
    talk
}

/// Proves: RFC 2033 §4.1
/// Covers: A14.7
#[test]
fn each_protocol_has_its_own_greeting() {
    let mut talk = ready();
    assert_eq!(talk.codes("EHLO c.example\r\nHELO c.example\r\n"), "500/5.5.1 500/5.5.1");
    assert_eq!(talk.codes("LHLO\r\n"), "501/5.5.4");
    assert_eq!(Talk::new().codes("LHLO c.example\r\n"), "500/5.5.1");
    let mut early = ready();
    early.session = Session::new(Arc::new(settings()), early.now).with_lmtp();
    assert_eq!(early.codes(OPEN), "220 503/5.5.1 503/5.5.1");
}

/// Proves: RFC 2033 §4.2
/// Covers: A14.7
#[test]
fn a_message_has_a_reply_for_each_recipient_that_was_taken() {
    let three = "MAIL FROM:<a@b.example>\r\nRCPT TO:<one@d.example>\r\nRCPT TO:<550@d.example>\r\n\
                 RCPT TO:<three@d.example>\r\n";
    let mut talk = ready();
    let replies = talk.codes(format!("{three}DATA\r\nx\r\n.\r\nNOOP\r\n"));
    let opened = "250/2.1.0 250/2.1.5 550/5.7.1 250/2.1.5";
    assert_eq!(replies, format!("{opened} 354 250/2.0.0 250/2.0.0 250/2.0.0"), "and NOOP's");
    assert_eq!(talk.messages[0].envelope.recipients.len(), 4, "one stood for three");
    let bare = talk.codes(format!("{three}DATA\r\nx\ny\r\n.\r\nNOOP\r\n"));
    assert_eq!(bare, format!("{opened} 354 554/5.6.0 554/5.6.0 250/2.0.0"));
    let chunks = talk.codes(format!("{three}BDAT 2\r\nx\rBDAT 1 LAST\r\n\nNOOP\r\n"));
    assert_eq!(chunks, format!("{opened} 250/2.0.0 250/2.0.0 250/2.0.0 250/2.0.0"));
    assert_eq!(talk.messages.len(), 2);
}

/// Proves: RFC 2033 §4.2
/// Covers: A14.7
#[test]
fn without_a_recipient_there_is_no_content() {
    let mut talk = ready();
    let none = "MAIL FROM:<a@b.example>\r\nRCPT TO:<550@d.example>\r\n";
    assert_eq!(talk.codes(format!("{none}DATA\r\n")), "250/2.1.0 550/5.7.1 503/5.5.1");
    assert_eq!(talk.codes("BDAT 2 LAST\r\nx\nNOOP\r\n"), "503/5.5.1 250/2.0.0");
    let mut smtp = Talk::ready();
    assert_eq!(smtp.codes(format!("{none}DATA\r\n")), "250/2.1.0 550/5.7.1 554/5.5.1");
}

/// At a listener that demands TLS the greeting tells a client that there is some:
/// it was refused as long as there was none, so that nobody could send there.
///
/// Proves: RFC 3207 §4
/// Covers: A5.1, A14.7
#[test]
fn where_tls_is_required_the_greeting_offers_it() {
    let now = Monotonic::from_millis(1_000);
    let session = Session::new(Arc::new(settings()), now).with_lmtp();
    let mut talk = Talk::of(session.with_tls(Tls::Required), now);
    talk.send("");
    assert!(talk.send("LHLO c.example\r\n").contains("250 STARTTLS\r\n"));
    assert_eq!(talk.codes("MAIL FROM:<a@b.example>\r\n"), "530/5.7.0");
    assert_eq!(talk.codes("STARTTLS\r\n"), "220/2.0.0");
    talk.session.secured(now);
    assert!(talk.send("LHLO c.example\r\n").starts_with("250-mx.example\r\n"));
    assert_eq!(talk.codes(OPEN), "250/2.1.0 250/2.1.5");
}

/// What is refused counts as one error, however often it is said; behind a
/// goodbye nothing is said.
#[test]
fn one_refusal_is_one_error() {
    let mut talk = ready();
    let many = (0..30).map(|n| format!("RCPT TO:<r{n}@d.example>\r\n")).collect::<String>();
    let message = format!("MAIL FROM:<a@b.example>\r\n{many}DATA\r\nx\ny\r\n.\r\n");
    talk.send(&message);
    assert_eq!(talk.codes("NOOP\r\n"), "250/2.0.0", "20 errors would have ended it");
    let now = talk.now;
    talk.session.push(message.replace("x\ny", "x").as_bytes());
    let mut out = Vec::new();
    let handed = talk.session.advance(now, &mut out, &mut ByName);
    assert!(matches!(handed, Progress::Message(_)));
    out.clear();
    talk.session.answer(now, &Answer::new(421, Status::SYSTEM_CLOSED, "Away"), &mut out);
    assert_eq!(codes(str::from_utf8(&out).unwrap()), "421/4.3.2");
}
