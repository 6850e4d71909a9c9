//! LMTP: its greeting, and one reply for each recipient behind the final dot.

use super::*;

const THREE: &[RecipientTo<'_>] =
    &[ONE[0], RecipientTo { address: "no@d.example", ..ONE[0] }, TWO[1]];

fn lmtp<'a>(recipients: &'a [RecipientTo<'a>]) -> Play<'a> {
    let settings = Settings { lmtp: true, ..settings(Tls::None) };
    Play::with(settings, Some(to(recipients)))
}

const TAKES_TWO: &str = "250 ok|250 ok|550 5.1.1 no|250 ok|354 go|";

/// Proves: RFC 2033 §4.1, RFC 2033 §4.2
/// Covers: A14.1
/// Shows: S3.3, A69
#[test]
fn each_recipient_that_was_taken_has_a_reply_of_its_own() {
    let mut play = lmtp(THREE);
    assert_eq!(play.hear(&["220 hi|"]).log(), "> LHLO out.example|");
    play.hear(&[AHEAD]).log();
    let expected = "1 failed 5.1.1 Recipient\nbody due\n> BODY\n> .|";
    assert_eq!(play.hear(&[TAKES_TWO]).log(), expected);
    assert_eq!(play.hear(&["250 2.0.0 kept|"]).log(), "0 delivered 250 2.0.0 kept");
    let expected = "2 deferred 4.2.2 Recipient\ndone";
    assert_eq!(play.hear(&["452 4.2.2 full|"]).log(), expected);
    assert_eq!(play.client.deadline(), None);
    let mut play = lmtp(THREE);
    play.hear(&["220 hi|", AHEAD, TAKES_TWO]).log();
    let expected = "0 failed 5.7.1 Recipient\n2 delivered 250 ok\ndone";
    assert_eq!(play.hear(&["550 5.7.1 no|250 ok|"]).log(), expected, "in one read");
}

/// Proves: RFC 2033 §4.2
/// Covers: A14.1
#[test]
fn what_one_was_told_holds_when_the_session_breaks_before_the_next() {
    for (end, expected) in [
        ("close", "0 delivered 250 ok\n2 in doubt 4.4.2\nclosed, deferred 4.4.2 Host"),
        ("late", "0 delivered 250 ok\n2 in doubt 4.4.2\nclosed, deferred 4.4.2 Host"),
        ("354 what|", "0 delivered 250 ok\n2 in doubt 4.5.0\nclosed, deferred 4.5.0 Host"),
        ("421 bye|", "0 delivered 250 ok\n2 deferred 4.3.2 Host\nclosed, deferred 4.3.2 Host"),
    ] {
        let mut play = lmtp(THREE);
        play.hear(&["220 hi|", AHEAD, TAKES_TWO]).log();
        assert_eq!(play.hear(&["250 ok|", end]).log(), expected, "{end}");
    }
    let mut play = lmtp(THREE);
    play.hear(&["220 hi|", AHEAD, TAKES_TWO]).log();
    let expected = "0 deferred 4.3.2 Recipient\n2 in doubt 4.4.2\nclosed, deferred 4.4.2 Host";
    assert_eq!(play.hear(&["421 bye|", "close"]).log(), expected);
}

#[test]
fn one_reply_too_many_leaves_the_last_in_doubt() {
    let mut play = lmtp(TWO);
    play.hear(&["220 hi|", AHEAD, "250 ok|250 ok|250 ok|354 go|"]).log();
    let log = play.hear(&["250 a|250 b|250 c|"]).log();
    assert!(log.starts_with("0 delivered 250 a\n1 in doubt 4.5.0\nclosed"), "{log}");
}

/// A server that refuses LHLO speaks no LMTP, and none answers a message for
/// nobody.
///
/// Proves: RFC 2033 §4.2
/// Covers: A14.1
#[test]
fn nothing_is_tried_that_lmtp_does_not_have() {
    let log = lmtp(ONE).hear(&["220 hi|", "500 what|"]).log();
    assert_eq!(log, "> LHLO out.example|\n> QUIT|");
    let mut play = lmtp(ONE);
    play.hear(&["220 hi|", AHEAD]).log();
    let log = play.hear(&["250 ok|550 5.1.1 no|354 go|"]).log();
    let expected = "0 failed 5.1.1 Recipient\nclosed, deferred 4.5.0 Host WithoutPipelining";
    assert_eq!(log, expected, "asked one by one it may make sense");
    let mut play = lmtp(ONE);
    play.hear(&["220 hi|", AHEAD]).log();
    let log = play.hear(&["250 ok|550 5.1.1 no|503 nobody|"]).log();
    assert_eq!(log, "0 failed 5.1.1 Recipient\n> RSET|");
}

/// Replies while the message is still on its way are kept for the dot.
#[test]
fn replies_that_come_early_count_once_the_dot_is_out() {
    let mut play = lmtp(TWO);
    play.left = None;
    play.hear(&["220 hi|", AHEAD, "250 ok|250 ok|250 ok|354 go|"]).log();
    assert_eq!(play.hear(&["550 5.7.1 no|250 ok|"]).log(), "");
    play.client.drained(play.now, 0);
    play.take_outputs();
    assert_eq!(play.log(), "0 failed 5.7.1 Recipient\n1 delivered 250 ok\ndone");
}
