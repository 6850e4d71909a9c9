//! TLS, deadlines, goodbyes.

use super::*;

const OFFERED: &str = "250-mx|250-SIZE 5|250 STARTTLS|";

/// Proves: RFC 3207 §4.2
/// Covers: A5.4, A6.4, B62
#[test]
fn starttls_is_used_when_offered_and_all_is_forgotten() {
    for tls in [Tls::Opportunistic, Tls::Required] {
        let log = play(tls, to(ONE), &["220 hi|", OFFERED, "220 go|", "tls", PLAIN]);
        assert_eq!(
            log,
            "> EHLO out.example|\n> STARTTLS|\nstart TLS\n> EHLO out.example|\nready\n\
             > MAIL FROM:<a@b.example>|",
            "the 5 octets that SIZE allowed in plain text are void"
        );
    }
    for tls in [Tls::None, Tls::Implicit] {
        let log = play(tls, Transaction { size: 5, ..to(ONE) }, &["220 hi|", OFFERED]);
        assert!(log.ends_with("> MAIL FROM:<a@b.example> SIZE=5|"), "{log}");
    }
    let log = play(Tls::Opportunistic, to(ONE), &["220 hi|", PLAIN]);
    assert!(log.ends_with("> MAIL FROM:<a@b.example>|"), "{log}");
    let again = ["220 hi|", OFFERED, "220 go|", "tls", "250-mx|250 STARTTLS|"];
    let log = play(Tls::Opportunistic, to(ONE), &again);
    assert!(log.ends_with("> MAIL FROM:<a@b.example>|"), "TLS within TLS: {log}");
}

/// Faults 62 to 64 of the catalogue.
///
/// Proves: RFC 3207 §4.1, RFC 3207 §6
/// Covers: A4.4, A5.5, A5.6, B62, B63
#[test]
fn broken_tls_ends_the_session() {
    let missing = "closed, deferred 4.7.4 Host";
    let unproven = "closed, deferred 4.7.5 Host";
    let lost = "closed, deferred 4.4.2 Host";
    let garbage = "closed, deferred 4.5.0 Host";
    for (replies, expected, hinted) in [
        (&["454 no|", "221 bye|"][..], missing, true),
        (&["502 no|", "221 bye|"], missing, true),
        (&["421 no|"], missing, true),
        (&["late"], lost, true),
        (&["close"], lost, true),
        (&["hello|"], garbage, true),
        (&["220 go|250 injected|"], unproven, false),
        (&["220 go|2"], unproven, false),
        (&["220 go|", "250 injected|"], unproven, false),
        (&["220 go|", "late"], lost, true),
        (&["220 go|", "close"], lost, true),
        (&["220 go|", "tls", "late"], lost, true),
        (&["220 go|", "tls", "\x15\x03\x01|"], garbage, true),
    ] {
        for tls in [Tls::Opportunistic, Tls::Required] {
            let mut play = Play::new(tls, Some(to(ONE)));
            let log = play.hear(&["220 hi|", OFFERED]).hear(replies).log();
            let hint = if hinted && tls == Tls::Opportunistic { " WithoutTls" } else { "" };
            assert!(log.ends_with(&format!("{expected}{hint}")), "{replies:?}: {log}");
            assert!(!log.contains("MAIL"), "{log}");
        }
    }
    let log = play(Tls::Required, to(ONE), &["220 hi|", PLAIN, "221 bye|"]);
    assert!(log.ends_with("> QUIT|\nclosed, deferred 4.7.4 Host"), "{log}");

    let mut play = Play::new(Tls::Opportunistic, Some(to(ONE)));
    play.hear(&["220 hi|", OFFERED, "220 go|"]);
    assert_eq!(play.client.deadline(), Some(play.now + Duration::from_secs(30)));
    play.client.tls_failed(play.now, "certificate expired");
    play.take_outputs();
    assert!(play.log().ends_with("closed, deferred 4.7.5 Host WithoutTls"));
}

/// The time for a reply is the same whether the peer is silent or sends a
/// byte a second (fault 47).
///
/// Proves: RFC 5321 §4.5.3.2
/// Covers: A2.13, B39, B47
/// Shows: S2.12
#[test]
fn every_wait_has_an_end_that_dripping_does_not_move() {
    let minute = Duration::from_secs(60);
    for (before, phase, span) in [
        (&[][..], Phase::Greeting, 5 * minute),
        (&["220 hi|"], Phase::Hello, 5 * minute),
        (&["220 hi|", PLAIN], Phase::Mail, 5 * minute),
        (&["220 hi|", PLAIN, "250 ok|"], Phase::Rcpt, 5 * minute),
        (&["220 hi|", PLAIN, "250 ok|", "250 ok|"], Phase::Data, 2 * minute),
        (&["220 hi|", PLAIN, "250 ok|", "250 ok|", "354 go|"], Phase::Dot, 10 * minute),
        (&["220 hi|", AHEAD], Phase::Mail, 5 * minute),
        (&["220 hi|", AHEAD, "250 ok|"], Phase::Rcpt, 5 * minute),
        (&["220 hi|", AHEAD, "250 ok|250 ok|"], Phase::Data, 2 * minute),
        (&["554 no|"], Phase::Quit, minute / 6),
    ] {
        let mut play = Play::new(Tls::None, Some(to(ONE)));
        play.hear(before).log();
        assert_eq!(play.client.phase(), phase);
        let deadline = play.now + span;
        for byte in "250-".bytes().chain([b'x'; 40]) {
            assert_eq!(play.client.deadline(), Some(deadline), "{phase}");
            play.now = play.now + Duration::from_secs(1);
            play.client.timeout(play.now);
            if play.now >= deadline {
                break;
            }
            play.client.received(play.now, &[byte]);
        }
        play.client.timeout(deadline);
        play.take_outputs();
        assert!(play.log().contains("closed, "), "{phase}");
        assert_eq!(play.client.deadline(), None);
    }
}

/// Proves: RFC 5321 §4.5.3.2.5
/// Covers: A2.13
#[test]
fn the_message_has_a_deadline_that_moves_with_it() {
    let second = Duration::from_secs(1);
    let large = Transaction { size: 102_400, ..to(ONE) };
    let mut play = Play::new(Tls::None, Some(large));
    play.left = Some(100_000);
    play.hear(&["220 hi|", PLAIN, "250 ok|", "250 ok|", "354 go|"]).log();
    let began = play.now;
    assert_eq!(play.client.phase(), Phase::Body);
    assert_eq!(play.client.deadline(), Some(began + 180 * second));
    play.client.drained(began + 60 * second, 50_000);
    assert_eq!(play.client.deadline(), Some(began + 240 * second));
    play.client.drained(began + 200 * second, 40_000);
    assert_eq!(play.client.deadline(), Some(began + 280 * second), "the least rate");
    play.client.drained(began + 210 * second, 0);
    assert_eq!(play.client.phase(), Phase::Dot);
    assert_eq!(play.client.deadline(), Some(began + 810 * second));
    play.client.drained(began + 220 * second, 0);
    assert_eq!(play.client.deadline(), Some(began + 810 * second));
}

/// Proves: RFC 5321 §4.1.1.10
/// Covers: A2.16
#[test]
fn goodbye_is_said_and_not_waited_for_for_ever() {
    for (reply, what) in [("221 bye|", "221"), ("late", "time"), ("close", "end"), ("??|", "junk")]
    {
        let mut play = Play::new(Tls::None, None);
        play.hear(&["220 hi|", PLAIN]).log();
        play.client.quit(play.now);
        play.client.quit(play.now);
        play.take_outputs();
        assert_eq!(play.log(), "> QUIT|");
        let log = play.hear(&[reply]).log();
        assert_eq!(log, "closed, quit", "{what}");
    }
    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.hear(&["220 hi|", PLAIN]).log();
    play.client.quit(play.now);
    play.take_outputs();
    assert_eq!(play.log(), "0 deferred 4.3.2 Host\nclosed, deferred 4.3.2 Host");
}

/// Fault 49: a peer that throws away what was sent ahead.
///
/// Covers: A6.7, B49
#[test]
fn replies_that_never_come_hint_at_no_pipelining() {
    let log = play(Tls::None, to(ONE), &["220 hi|", AHEAD, "250 ok|", "late"]);
    let expected = "0 deferred 4.4.2 Host\nclosed, deferred 4.4.2 Host WithoutPipelining";
    assert!(log.ends_with(expected), "{log}");
    let log = play(Tls::None, to(ONE), &["220 hi|", PLAIN, "250 ok|", "late"]);
    assert!(log.ends_with("closed, deferred 4.4.2 Host"), "{log}");
    let mut unhurried = settings(Tls::None);
    unhurried.pipelining = false;
    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.client = Client::new(unhurried, play.now);
    assert!(play.hear(&["220 hi|", AHEAD]).log().ends_with("> MAIL FROM:<a@b.example>|"));
}

/// A peer that refuses all recipients and hangs up has lost nothing of what was
/// sent ahead: it was written down for a day as one that does.
///
/// Covers: B49
#[test]
fn a_peer_that_refuses_all_and_hangs_up_may_be_sent_ahead_to() {
    let log = play(Tls::None, to(ONE), &["220 hi|", AHEAD, "250 ok|550 no|", "close"]);
    let expected = "0 failed 5.1.1 Recipient\nclosed, deferred 4.4.2 Host";
    assert!(log.ends_with(expected), "{log}");
    let log = play(Tls::None, to(TWO), &["220 hi|", AHEAD, "250 ok|550 no|", "close"]);
    assert!(log.ends_with("closed, deferred 4.4.2 Host WithoutPipelining"), "{log}");
}

/// Faults 45 and 46.
///
/// Covers: A2.12, B45
#[test]
fn endless_replies_end_the_session() {
    let line = "250-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|";
    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.hear(&["220 hi|"]).log();
    let mut lines = 0;
    while play.client.state != State::Closed {
        play.hear(&[line]);
        lines += 1;
        assert!(lines * line.len() <= 2 * REPLY_BYTES_MAX);
    }
    assert_eq!(play.log(), "closed, deferred 4.5.0 Host");
}
