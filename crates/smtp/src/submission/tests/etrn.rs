//! Clients that ask for waiting mail.

use super::*;
use crate::ehlo::Extension;

fn serving() -> Settings {
    let extensions = Extensions::SUBMISSION.with(Extension::Etrn);
    Settings { extensions, ..settings() }
}

/// A client that may ask, after EHLO.
fn ready() -> Talk {
    let mut talk = Talk::with(serving());
    talk.session.etrn = true;
    assert!(talk.send("EHLO c.example\r\n").ends_with("250 ETRN\r\n"));
    talk
}

/// Proves: RFC 1985 §3
/// Covers: A13.4
#[test]
fn only_who_may_ask_is_offered_it_and_nobody_where_it_is_not_served() {
    let mut stranger = Talk::with(serving());
    assert!(!stranger.send("EHLO c.example\r\n").contains("ETRN"));
    let mut talk = Talk::new();
    talk.session.etrn = true;
    assert!(!talk.send("EHLO c.example\r\n").contains("ETRN"));
    assert_eq!(talk.codes("ETRN yours.example\r\n"), "502/5.5.1");
}

/// Proves: RFC 1985 §5, RFC 1985 §5.1
/// Covers: A13.4
#[test]
fn each_outcome_has_its_reply() {
    let mut talk = ready();
    let said = talk.send("etrn Yours.Example\r\n");
    assert_eq!(said, "250 2.0.0 Queuing for node yours.example started\r\n");
    for (line, code) in [
        ("ETRN @yours.example", "250/2.0.0"),
        ("ETRN busy.example", "458/4.0.0"),
        ("ETRN other.example", "459/4.7.1"),
        ("ETRN", "501/5.5.4"),
        ("ETRN @", "501/5.5.4"),
        ("ETRN a..example", "501/5.5.4"),
        ("ETRN yours.example now", "501/5.5.4"),
        ("ETRN [192.0.2.1]", "501/5.5.4"),
    ] {
        assert_eq!(talk.codes(format!("{line}\r\n")), code, "{line}");
    }
}

/// Proves: RFC 1985 §5.3
/// Covers: A13.5
#[test]
fn there_are_no_queues_by_name() {
    let mut talk = ready();
    assert_eq!(talk.codes("ETRN #uucp\r\nETRN #\r\n"), "458/4.3.3 501/5.5.4");
}

/// Proves: RFC 1985 §5
/// Covers: A13.4
#[test]
fn it_has_its_place_behind_ehlo_and_outside_of_transactions() {
    let ask = "ETRN yours.example\r\n";
    let mut talk = Talk::with(serving());
    talk.session.etrn = true;
    assert_eq!(talk.codes(ask), "503/5.5.1");
    assert_eq!(talk.codes(format!("HELO c.example\r\n{ask}")), "250 503/5.5.1");
    talk.send("EHLO c.example\r\n");
    let replies = talk.codes(format!("{OPEN}{ask}DATA\r\nx\r\n.\r\n{ask}"));
    assert_eq!(replies, "250/2.1.0 250/2.1.5 503/5.5.1 354 250/2.0.0 250/2.0.0");
    assert_eq!(talk.messages.len(), 1, "the transaction went on");
}

/// Nothing is asked for before TLS where that comes first, and nothing is
/// gained by asking on and on.
#[test]
fn it_waits_for_tls_and_ends_a_session_that_does_nothing_else() {
    let now = Monotonic::from_millis(1);
    let session = Session::new(Arc::new(serving()), now).with_tls(Tls::Required).with_etrn();
    let mut talk = Talk::of(session, now);
    talk.send("EHLO c.example\r\n");
    assert_eq!(talk.codes("ETRN yours.example\r\n"), "530/5.7.0");
    let mut talk = ready();
    let replies = talk.codes("ETRN yours.example\r\n".repeat(101));
    assert_eq!(replies.matches("250/2.0.0").count(), 100, "the 101st idle command ends it");
    assert!(replies.ends_with("421/4.7.0") && talk.closed, "{replies}");
}
