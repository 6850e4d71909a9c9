//! Dialogues with a peer that says what a table makes it say.

use std::time::Duration;

use mail::{Body, Notify, Return, Status};

use super::*;
use crate::transaction::{RecipientTo, Transaction, Unfit};

/// A session that begins `transaction` when it is ready for the first time and
/// writes all its outputs down.
struct Play<'a> {
    client: Client,
    now: Monotonic,
    transaction: Option<Transaction<'a>>,
    /// Octets left in the caller's hands when a message is handed out; none:
    /// the caller says nothing.
    left: Option<u64>,
    log: Vec<String>,
}

const ONE: &[RecipientTo<'_>] =
    &[RecipientTo { address: "c@d.example", notify: Notify::UNSET, orcpt: None }];

const TWO: &[RecipientTo<'_>] =
    &[ONE[0], RecipientTo { address: "e@d.example", notify: Notify::NEVER, orcpt: Some("x;y") }];

fn to<'a>(recipients: &'a [RecipientTo<'a>]) -> Transaction<'a> {
    Transaction {
        sender: "a@b.example",
        recipients,
        size: 100,
        body: Body::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
    }
}

fn settings(tls: Tls) -> Settings {
    Settings {
        ehlo_name: "out.example".into(),
        tls,
        timeouts: Timeouts::default(),
        pipelining: true,
        log_in: None,
        lmtp: false,
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered { reply } => format!("delivered {reply}"),
        Verdict::Deferred(trouble) => format!("deferred {} {:?}", trouble.status, trouble.scope),
        Verdict::Failed(trouble) => format!("failed {} {:?}", trouble.status, trouble.scope),
        Verdict::InDoubt(trouble) => format!("in doubt {}", trouble.status),
        Verdict::LaterTransaction { .. } => "later".into(),
    }
}

impl<'a> Play<'a> {
    fn new(tls: Tls, transaction: Option<Transaction<'a>>) -> Self {
        Self::with(settings(tls), transaction)
    }

    fn with(settings: Settings, transaction: Option<Transaction<'a>>) -> Self {
        let now = Monotonic::from_millis(0);
        let client = Client::new(settings, now);
        Self { client, now, transaction, left: Some(0), log: Vec::new() }
    }

    /// The peer says each of `replies` in a read of its own; `|` is CRLF.
    fn hear(&mut self, replies: &[&str]) -> &mut Self {
        for reply in replies {
            match *reply {
                "close" => self.client.closed(self.now, Loss::PeerClosed),
                "late" => {
                    let deadline = self.client.deadline().unwrap();
                    self.now = deadline;
                    self.client.timeout(deadline);
                }
                "tls" => self.client.tls_established(self.now),
                _ => self.client.received(self.now, reply.replace('|', "\r\n").as_bytes()),
            }
            self.take_outputs();
        }
        self
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Send(bytes) => {
                    let text = str::from_utf8(&bytes).unwrap().replace("\r\n", "|");
                    self.log.push(format!("> {text}"));
                    self.client.recycle(bytes);
                }
                Output::Body => self.log.push("> BODY".into()),
                Output::StartTls => self.log.push("start TLS".into()),
                Output::Ready => {
                    self.log.push("ready".into());
                    if let Some(transaction) = self.transaction.take() {
                        self.client.begin(self.now, &transaction).unwrap();
                    }
                }
                Output::BodyDue => {
                    self.log.push("body due".into());
                    self.client.continue_body(self.now);
                }
                Output::Recipient { index, verdict } => {
                    self.log.push(format!("{index} {}", word(&verdict)));
                }
                Output::Done => self.log.push("done".into()),
                Output::Closed(closure) => {
                    let verdict = closure.verdict.as_ref().map_or("quit".into(), word);
                    let hint = closure.hint.map_or(String::new(), |hint| format!(" {hint:?}"));
                    self.log.push(format!("closed, {verdict}{hint}"));
                }
            }
        }
        if let (Some(left), State::Body { drained: None }) = (self.left, self.client.state) {
            self.client.drained(self.now, left);
            self.take_outputs();
        }
    }

    /// What was logged since the last time, one line each.
    fn log(&mut self) -> String {
        std::mem::take(&mut self.log).join("\n")
    }
}

/// Everything a session with these replies does.
fn play(tls: Tls, transaction: Transaction<'_>, replies: &[&str]) -> String {
    Play::new(tls, Some(transaction)).hear(replies).log()
}

const PLAIN: &str = "250 mx|";
const AHEAD: &str = "250-mx|250 PIPELINING|";

/// Proves: RFC 5321 §3.1, RFC 5321 §3.3, RFC 5321 §4.1.1.10
/// Covers: A2.1, A2.15, A2.16, A6.4, A7.5
#[test]
fn without_extensions_each_command_waits_for_its_reply() {
    let mut play = Play::new(Tls::None, Some(to(TWO)));
    assert_eq!(play.hear(&["220-mx|", "220 "]).log(), "", "the greeting is not over");
    assert_eq!(play.hear(&["hi|"]).log(), "> EHLO out.example|");
    assert_eq!(play.hear(&[PLAIN]).log(), "ready\n> MAIL FROM:<a@b.example>|");
    assert_eq!(play.hear(&["250 ok|"]).log(), "> RCPT TO:<c@d.example>|");
    assert_eq!(play.hear(&["250 ok|"]).log(), "> RCPT TO:<e@d.example>|");
    assert_eq!(play.hear(&["251 ok|"]).log(), "> DATA|");
    assert_eq!(play.hear(&["354 go|"]).log(), "body due\n> BODY\n> .|");
    let expected = "0 delivered 250 2.0.0 id 7\n1 delivered 250 2.0.0 id 7\ndone";
    assert_eq!(play.hear(&["250 2.0.0 id 7|"]).log(), expected);
    play.client.quit(play.now);
    assert_eq!(play.hear(&[]).log(), "");
    play.take_outputs();
    assert_eq!(play.log(), "> QUIT|");
    assert_eq!(play.hear(&["500 what|"]).log(), "closed, quit");
    assert_eq!(play.client.deadline(), None);
}

/// Proves: RFC 2920 §3.1, RFC 1870 §6.2, RFC 3461 §5.2.1, RFC 6152 §3
/// Covers: A2.11, A6.3, A6.4, A6.12, A7.4
#[test]
fn with_extensions_one_write_asks_for_all() {
    let transaction = Transaction {
        body: Body::EightBit,
        smtputf8: true,
        ret: Some(Return::Headers),
        envid: Some("QQ+2B1"),
        ..to(TWO)
    };
    let hello = "250-mx|250-PIPELINING|250-SIZE 100|250-8BITMIME|250-SMTPUTF8|250 DSN|";
    let log = play(Tls::None, transaction, &["220 hi|", hello]);
    assert_eq!(
        log,
        "> EHLO out.example|\nready\n\
         > MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1|\
         RCPT TO:<c@d.example> ORCPT=rfc822;c@d.example|\
         RCPT TO:<e@d.example> NOTIFY=NEVER ORCPT=x;y|DATA|"
    );
    let log = play(
        Tls::None,
        to(TWO),
        &["220 hi|", AHEAD, "250 ok|250 ok|550 5.1.1 no", "|", "354 go|", "250 taken|"],
    );
    let expected = "1 failed 5.1.1 Recipient\nbody due\n> BODY\n> .|\n0 delivered 250 taken\ndone";
    assert!(log.ends_with(expected), "{log}");
    let null = Transaction { sender: "", ..to(ONE) };
    let log = play(Tls::None, null, &["220 hi|", PLAIN]);
    assert!(log.ends_with("> MAIL FROM:<>|"), "{log}");
}

/// The whole of the extensions offered after HELO is none.
///
/// Proves: RFC 5321 §3.2
/// Covers: A2.3, A6.4
#[test]
fn helo_follows_a_refused_ehlo() {
    for refusal in ["500 what|", "502 no|", "550 no|"] {
        let log = play(Tls::Opportunistic, to(ONE), &["220 hi|", refusal, AHEAD]);
        let expected =
            "> EHLO out.example|\n> HELO out.example|\nready\n> MAIL FROM:<a@b.example>|";
        assert_eq!(log, expected, "{refusal}");
    }
    let log = play(Tls::None, to(ONE), &["220 hi|", "502 no|", "502 no|", "221 bye|"]);
    assert!(log.ends_with("> QUIT|\nclosed, failed 5.5.1 Host"), "{log}");
    let log = play(Tls::Required, to(ONE), &["220 hi|", "502 no|", PLAIN, "221 bye|"]);
    assert!(log.ends_with("> QUIT|\nclosed, deferred 4.7.4 Host"), "{log}");
}

/// Proves: RFC 5321 §4.5.3.1.10
/// Covers: A2.14
#[test]
fn too_many_recipients_leave_the_rest_for_another_transaction() {
    for hello in [PLAIN, AHEAD] {
        let mut play = Play::new(Tls::None, Some(to(TWO)));
        play.hear(&["220 hi|", hello]).log();
        let replies = ["250 ok|", "250 ok|", "452 4.5.3 many|", "354 go|", "250 ok|"];
        let log = play.hear(&replies).log();
        assert!(log.contains("1 later"), "{log}");
        assert!(log.ends_with("0 delivered 250 ok\ndone"), "{log}");
    }
}

/// Proves: RFC 2920 §3.1
/// Covers: A6.5
#[test]
fn a_354_for_nobody_gets_a_lone_dot() {
    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.hear(&["220 hi|", AHEAD]).log();
    let log = play.hear(&["250 ok|550 no|354 go|"]).log();
    assert_eq!(log, "0 failed 5.1.1 Recipient\n> .|");
    assert_eq!(play.hear(&["554 nobody|"]).log(), "done");

    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.hear(&["220 hi|", AHEAD]).log();
    let log = play.hear(&["450 no|250 ok|354 go|"]).log();
    let expected = "0 deferred 4.0.0 Transaction\nclosed, deferred 4.5.0 Host WithoutPipelining";
    assert_eq!(log, expected, "a dot would send an empty message");
}

#[test]
fn a_transaction_that_came_to_nothing_is_reset() {
    for (hello, replies) in [
        (PLAIN, &["250 ok|", "550 no|"][..]),
        (AHEAD, &["250 ok|550 no|503 no|"]),
        (AHEAD, &["250 ok|250 ok|451 no|"]),
    ] {
        let mut play = Play::new(Tls::None, Some(to(ONE)));
        let log = play.hear(&["220 hi|", hello]).hear(replies).log();
        assert!(log.ends_with("> RSET|"), "{log}");
        assert_eq!(play.client.deadline(), Some(play.now + Duration::from_secs(10)));
        assert_eq!(play.hear(&["250 ok|"]).log(), "done");
        play.client.begin(play.now, &to(ONE)).unwrap();
    }
    let log = play(Tls::None, to(ONE), &["220 hi|", AHEAD, "550 no|503 no|503 no|"]);
    assert!(log.ends_with("0 failed 5.0.0 Transaction\ndone"), "{log}");
    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.hear(&["220 hi|", PLAIN, "250 ok|", "550 no|"]).log();
    assert_eq!(play.hear(&["late"]).log(), "closed, deferred 4.4.2 Host");
}

#[test]
fn one_connection_carries_many_messages() {
    let mut play = Play::new(Tls::None, None);
    play.hear(&["220 hi|", AHEAD]).log();
    for _ in 0..3 {
        assert_eq!(play.client.deadline(), None);
        assert_eq!(play.client.phase(), Phase::Idle);
        play.client.begin(play.now, &to(ONE)).unwrap();
        let log = play.hear(&["250 ok|250 ok|354 go|", "250 ok|"]).log();
        let expected = "> MAIL FROM:<a@b.example>|RCPT TO:<c@d.example>|DATA|\n\
                        body due\n> BODY\n> .|\n0 delivered 250 ok\ndone";
        assert_eq!(log.replace("> MAIL", "\n> MAIL").trim(), expected);
    }
    assert_eq!(play.hear(&["421 idle too long|"]).log(), "closed, deferred 4.3.2 Host");
}

/// Covers: A6.3, A6.12, A6.15, B56, B57
#[test]
fn a_message_the_peer_cannot_take_is_not_begun() {
    let begin = |hello, transaction: Transaction<'_>| {
        let mut play = Play::new(Tls::None, None);
        play.hear(&["220 hi|", hello]).log();
        let outcome = play.client.begin(play.now, &transaction);
        play.take_outputs();
        assert_eq!(outcome.is_ok(), !play.log().is_empty());
        outcome
    };
    let eight = Transaction { body: Body::EightBit, ..to(ONE) };
    let utf8 = [RecipientTo { address: "j\u{f6}rg@d.example", ..ONE[0] }];
    let evil = [RecipientTo { address: "a@b>\r\nRSET", ..ONE[0] }];
    let too_small = Unfit::PeerTooSmall { size: 100, size_max: 99 };
    assert_eq!(begin("250-mx|250 SIZE 99|", to(ONE)), Err(too_small));
    assert!(begin("250-mx|250 SIZE 100|", to(ONE)).is_ok());
    assert!(begin("250-mx|250 SIZE 0|", to(ONE)).is_ok());
    assert_eq!(begin(PLAIN, eight), Err(Unfit::PeerNeedsConversion));
    assert!(begin("250-mx|250 8BITMIME|", eight).is_ok());
    assert_eq!(begin(PLAIN, to(&utf8)), Err(Unfit::PeerNeedsAscii));
    assert_eq!(begin(PLAIN, Transaction { smtputf8: true, ..to(ONE) }), Err(Unfit::PeerNeedsAscii));
    assert_eq!(begin(PLAIN, to(&evil)), Err(Unfit::LocalMalformed));
    assert_eq!(begin(PLAIN, to(ONE)).map(|begun| begun.dsn), Ok(false));
    assert_eq!(begin("250-mx|250 DSN|", to(ONE)).map(|begun| begun.dsn), Ok(true));
    assert_eq!(too_small.status(), Status::TOO_LARGE);
}

/// Extra and early replies: faults 44 and 48.
///
/// Covers: B48
#[test]
fn a_peer_out_of_step_is_left() {
    let over = "closed, deferred 4.5.0 Host";
    for replies in [
        &["220 hi|250 early|"][..],
        &["220 hi|", "250 mx|250 again|"],
        &["220 hi|", PLAIN, "250 ok|250 early|"],
        &["220 hi|", AHEAD, "250 ok|250 ok|354 go|250 early|"],
    ] {
        let log = play(Tls::None, to(ONE), replies);
        let over_ahead = format!("{over} WithoutPipelining");
        assert!(log.ends_with(over) || log.ends_with(&over_ahead), "{replies:?}: {log}");
        assert!(!log.contains("delivered"), "{log}");
    }
    let mut play = Play::new(Tls::None, None);
    assert!(play.hear(&["220 hi|", PLAIN, "250 unasked|"]).log().ends_with(over));
}

/// Covers: A2.11, B48
#[test]
fn a_reply_to_the_dot_with_more_behind_it_is_in_doubt() {
    let dialogue = ["220 hi|", PLAIN, "250 ok|", "250 ok|", "354 go|"];
    for (last, expected) in [
        ("250 ok|250 more|", "0 in doubt 4.5.0\nclosed, deferred 4.5.0 Host"),
        ("550 no|250 more|", "0 in doubt 4.5.0\nclosed, deferred 4.5.0 Host"),
        ("250 ok|421 bye|", "0 delivered 250 ok\nclosed, deferred 4.3.2 Host"),
        ("250 ok|42", "0 delivered 250 ok\nclosed, deferred 4.5.0 Host"),
        ("550 no|421 bye|", "0 failed 5.0.0 Transaction\nclosed, deferred 4.3.2 Host"),
    ] {
        let log = play(Tls::None, to(ONE), &[&dialogue[..], &[last]].concat());
        assert!(log.ends_with(expected), "{last}: {log}");
    }
}

/// Covers: A2.11, B48
#[test]
fn a_reply_before_the_dot_is_out_is_no_success() {
    let upto_body = ["220 hi|", PLAIN, "250 ok|", "250 ok|", "354 go|"];
    let begin = |left| {
        let mut play = Play::new(Tls::None, Some(to(ONE)));
        play.left = left;
        play.hear(&upto_body).log();
        play
    };
    // The caller has not said anything yet: the write may be under way.
    let mut play = begin(None);
    assert_eq!(play.hear(&["250 ok|"]).log(), "");
    play.client.drained(play.now, 0);
    assert_eq!(play.hear(&[]).log(), "");
    play.take_outputs();
    assert_eq!(play.log(), "0 delivered 250 ok\ndone");
    // It turns out that the dot had not left.
    let mut play = begin(None);
    play.hear(&["250 ok|"]);
    play.client.drained(play.now, 10);
    play.take_outputs();
    assert_eq!(play.log(), "0 deferred 4.5.0 Host\nclosed, deferred 4.5.0 Host");
    // Refusals count at any time, and end it when the message is not out.
    for (reply, verdict) in
        [("552 5.3.4 big|", "failed 5.3.4 Transaction"), ("451 x|", "deferred 4.3.0 Transaction")]
    {
        let log = begin(Some(10)).hear(&[reply]).log();
        assert_eq!(log, format!("0 {verdict}\nclosed, deferred 4.5.0 Host"));
    }
    // A lost connection: what is not out cannot be in doubt.
    assert!(begin(Some(10)).hear(&["close"]).log().starts_with("0 deferred 4.4.2 Host"));
    assert!(begin(Some(0)).hear(&["close"]).log().starts_with("0 in doubt 4.4.2"));
    assert!(begin(None).hear(&["close"]).log().starts_with("0 in doubt 4.4.2"));
}

#[test]
fn a_message_not_yet_handed_out_is_not_in_doubt() {
    let mut client = Client::new(settings(Tls::None), Monotonic::from_millis(0));
    let now = Monotonic::from_millis(1);
    let take = |client: &mut Client| std::iter::from_fn(|| client.poll()).collect::<Vec<_>>();
    for reply in ["220 hi\r\n", "250 mx\r\n"] {
        client.received(now, reply.as_bytes());
        take(&mut client);
    }
    client.begin(now, &to(ONE)).unwrap();
    for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        client.received(now, reply.as_bytes());
        take(&mut client);
    }
    client.continue_body(now);
    client.drained(now, 0);
    assert_eq!(client.state, State::Body { drained: None }, "that was an earlier write");
    client.closed(now, Loss::PeerReset);
    let outputs = take(&mut client);
    assert!(matches!(&outputs[0], Output::Recipient { verdict: Verdict::Deferred(_), .. }));
    assert!(matches!(&outputs[1..], [Output::Closed(_)]));
    client.continue_body(now);
    client.received(now, b"250 ghost\r\n");
    assert_eq!(client.poll(), None);
}

/// Covers: B48
#[test]
fn replies_while_the_attempt_is_noted() {
    for (reply, expected) in [
        ("", "> BODY\n> .|"),
        ("421 bye|", "0 deferred 4.3.2 Host\nclosed, deferred 4.3.2 Host"),
        ("552 no|", "0 failed 5.3.4 Transaction\nclosed, deferred 4.5.0 Host"),
        ("250 ok|", "0 deferred 4.5.0 Host\nclosed, deferred 4.5.0 Host"),
        ("25", "0 deferred 4.5.0 Host\nclosed, deferred 4.5.0 Host"),
    ] {
        let mut play = Play::new(Tls::None, Some(to(ONE)));
        play.left = None;
        play.hear(&["220 hi|", PLAIN, "250 ok|", "250 ok|"]).log();
        play.client.received(play.now, b"354 go\r\n");
        assert_eq!(play.client.poll(), Some(Output::BodyDue));
        assert_eq!(play.client.deadline(), None, "the wait is ours");
        play.client.received(play.now, reply.replace('|', "\r\n").as_bytes());
        play.client.continue_body(play.now);
        play.take_outputs();
        assert_eq!(play.log(), expected, "{reply}");
    }
}

/// Covers: A2.12, B45
#[test]
fn a_flood_while_the_message_goes_out_is_bounded() {
    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.left = None;
    play.hear(&["220 hi|", PLAIN, "250 ok|", "250 ok|", "354 go|", "250 ok|"]).log();
    for _ in 0..REPLY_BYTES_MAX / 16 {
        assert_eq!(play.hear(&["250 12345678901|"]).log(), "", "within the bound");
        if play.client.reader.unread().len() + 17 > REPLY_BYTES_MAX {
            break;
        }
    }
    assert!(play.hear(&["250 1234567890123|"]).log().starts_with("0 in doubt 4.5.0"));
}

#[test]
#[should_panic(expected = "not ready")]
fn beginning_twice_is_our_bug() {
    let mut play = Play::new(Tls::None, Some(to(ONE)));
    play.hear(&["220 hi|", PLAIN]);
    let _ = play.client.begin(play.now, &to(ONE));
}

mod lmtp;
mod log_in;
mod stages;
mod waits;
