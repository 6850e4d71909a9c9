//! Dialogues with the server side, told line by line.

use std::fmt::Write as _;

use base::limits::HEADER_BYTES_MAX;

use mail::{Address, Recipient};

use crate::command::Node;

use super::*;

mod etrn;
mod lmtp;
mod log_in;
mod secure;

struct Talk {
    session: Session,
    now: Monotonic,
    messages: Vec<Received>,
    closed: bool,
    /// The session has asked for a handshake.
    handshake: bool,
}

/// Refuses by the local part: `550@`, `450@`, `421@`; and content from `full@`.
struct ByName;

fn by_name(local: &str) -> Result<(), Answer> {
    match local {
        "550" => Err(Answer::new(550, Status::POLICY, "No")),
        "450" => Err(Answer::new(450, Status::DEFERRED, "Later")),
        "421" => Err(Answer::new(421, Status::SYSTEM_CLOSED, "Away")),
        _ => Ok(()),
    }
}

impl Policy for ByName {
    fn mail(&mut self, envelope: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        by_name(envelope.sender.address().map_or("", |address| address.local()))
    }

    fn rcpt(&mut self, _: &Envelope, recipient: &Recipient) -> Result<Taken, Answer> {
        by_name(recipient.address.local())?;
        let count = match recipient.address.local() {
            "three" => 3,
            "crowd" => 20_000,
            _ => return Ok(Taken::AsIs),
        };
        let member = |n| Address::parse(format!("m{n}@b.example"), false).unwrap();
        Ok(Taken::As((0..count).map(|n| Recipient::new(member(n))).collect()))
    }

    fn etrn(&mut self, node: &Node) -> Result<(), Answer> {
        match node.domain.as_str() {
            "busy.example" => Err(Answer::new(458, Status::DEFERRED, "Not now")),
            "yours.example" => Ok(()),
            _ => TakeAll.etrn(node),
        }
    }

    fn content(&mut self, envelope: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        match envelope.sender.address() {
            Some(address) if address.local() == "full" => {
                Err(Answer::new(452, Status::SYSTEM_FULL, "Queue is full"))
            }
            _ => Ok(()),
        }
    }
}

fn settings() -> Settings {
    Settings::new(Domain::parse("mx.example").unwrap())
}

impl Talk {
    fn with(settings: Settings) -> Self {
        let now = Monotonic::from_millis(1_000);
        let session = Session::new(Arc::new(settings), now);
        let mut talk = Self::of(session, now);
        assert_eq!(talk.send(""), "220 mx.example ESMTP Ringpost\r\n");
        talk
    }

    fn of(session: Session, now: Monotonic) -> Self {
        Self { session, now, messages: Vec::new(), closed: false, handshake: false }
    }

    fn new() -> Self {
        Self::with(settings())
    }

    /// After EHLO.
    fn ready() -> Self {
        let mut talk = Self::new();
        talk.send("EHLO c.example\r\n");
        talk
    }

    /// Sends bytes, answers every message with 250, gives all replies.
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.session.push(bytes.as_ref());
        let mut out = Vec::new();
        loop {
            match self.session.advance(self.now, &mut out, &mut ByName) {
                Progress::NeedInput => break,
                Progress::Message(received) => {
                    self.messages.push(*received);
                    self.session.answer(self.now, &Answer::new(250, Status::OK, "Taken"), &mut out);
                }
                Progress::StartTls => self.handshake = true,
                Progress::Close => {
                    self.closed = true;
                    break;
                }
            }
        }
        String::from_utf8(out).unwrap()
    }

    /// The codes of the replies, as `250 2.1.0`, joined by blanks.
    fn codes(&mut self, bytes: impl AsRef<[u8]>) -> String {
        codes(&self.send(bytes))
    }
}

fn codes(replies: &str) -> String {
    let mut codes = String::new();
    for line in replies.lines().filter(|line| line.as_bytes()[3] == b' ') {
        let status = Status::parse(&line.as_bytes()[4..]);
        let status = status.map_or(String::new(), |status| format!("/{status}"));
        let _ = write!(codes, "{}{status} ", &line[..3]);
    }
    codes.trim_end().to_owned()
}

const OPEN: &str = "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n";

/// Proves: RFC 5321 §3.1, RFC 5321 §4.1.1.1, RFC 2034 §4
/// Covers: A1.4, A1.5, A4.1, A6.1, A6.10
#[test]
fn greeting_and_hello() {
    let mut talk = Talk::new();
    assert_eq!(
        talk.send("EHLO c.example\r\n"),
        "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
         250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 DSN\r\n"
    );
    assert_eq!(talk.send("HELO c.example\r\n"), "250 mx.example\r\n");
    assert_eq!(talk.codes("QUIT\r\n"), "221/2.0.0");
    assert!(talk.closed);
    assert_eq!(talk.session.deadline(), None);
    assert!(!talk.session.wants_input());
}

/// Proves: RFC 5321 §3.1
/// Covers: A1.4, A1.26
#[test]
fn a_refusing_server_serves_quit_only() {
    let now = Monotonic::from_millis(0);
    let refusal = Answer { code: Code::new(554), status: None, text: "No service".into() };
    let session = Session::refusing(Arc::new(settings()), refusal, now);
    let mut talk = Talk::of(session, now);
    assert_eq!(talk.send(""), "554 No service\r\n");
    assert_eq!(talk.codes(format!("EHLO a.example\r\n{OPEN}")), "503/5.5.1 503/5.5.1 503/5.5.1");
    assert_eq!(talk.codes("QUIT\r\n"), "221/2.0.0");
    let busy = Answer::new(421, Status::SYSTEM_CLOSED, "Too many connections");
    let session = Session::refusing(Arc::new(settings()), busy, now);
    let mut talk = Talk::of(session, now);
    assert_eq!(talk.codes(""), "421/4.3.2");
    assert!(talk.closed);
}

/// Proves: RFC 5321 §4.1.1.4, RFC 5321 §4.5.2, RFC 2920 §3.2
/// Covers: A1.3, A1.16, A1.23, A6.6
#[test]
fn a_pipelined_session_is_answered_in_order() {
    let mut talk = Talk::new();
    let replies = talk.codes(
        "EHLO c.example\r\nMAIL FROM:<a@b.example> SIZE=9 BODY=8BITMIME\r\n\
         RCPT TO:<550@d.example>\r\nRCPT TO:<C@d.example>\r\nDATA\r\n..x\r\n\r\n\u{e9}\r\n.\r\n\
         MAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nDate: x\r\n\r\n.\r\nQUIT\r\n",
    );
    assert_eq!(
        replies,
        "250 250/2.1.0 550/5.7.1 250/2.1.5 354 250/2.0.0 \
         250/2.1.0 250/2.1.5 354 250/2.0.0 221/2.0.0"
    );
    let [first, second] = &talk.messages[..] else { panic!("two messages were sent") };
    assert_eq!(first.body, "..x\r\n\r\n\u{e9}\r\n".as_bytes());
    assert_eq!(first.size, 10);
    assert!(first.eight_bit);
    assert_eq!(first.envelope.body, mail::Body::EightBit);
    assert_eq!(first.envelope.recipients[0].address.to_string(), "C@d.example");
    assert_eq!(first.envelope.recipients.len(), 1);
    assert_eq!(&*first.hello, "c.example");
    assert!(first.esmtp);
    assert!(second.envelope.sender.is_null());
    assert_eq!(second.envelope.recipients[0].address.to_string(), "postmaster@mx.example");
    assert!(second.header.has_date);
    assert!(!second.eight_bit);
}

/// Each line begins a fresh session after EHLO; `|` stands for CRLF.
///
/// Proves: RFC 5321 §4.1.4, RFC 5321 §4.1.1.5, RFC 5321 §4.1.1.11, RFC 5321 §3.3
/// Covers: A1.6, A1.7, A1.8, A1.9, A1.10, A1.11, A1.15, A1.32, A3.8, A4.1, A6.1, B93, B94
#[test]
fn commands_in_and_out_of_order() {
    let mail = "MAIL FROM:<a@b.example>|";
    let open = OPEN.replace("\r\n", "|");
    for (input, expected) in [
        ("RCPT TO:<c@d.example>|".to_owned(), "503/5.5.1"),
        ("DATA|".into(), "503/5.5.1"),
        (format!("{mail}DATA|"), "250/2.1.0 554/5.5.1"),
        (format!("{mail}{mail}"), "250/2.1.0 503/5.5.1"),
        (format!("{mail}RSET|{mail}"), "250/2.1.0 250/2.0.0 250/2.1.0"),
        (format!("{mail}EHLO x.example|DATA|"), "250/2.1.0 250 503/5.5.1"),
        (format!("{open}HELO x.example|DATA|"), "250/2.1.0 250/2.1.5 250 503/5.5.1"),
        ("RSET|".into(), "250/2.0.0"),
        ("NOOP|VRFY a|HELP|".into(), "250/2.0.0 252/2.0.0 214/2.0.0"),
        ("EXPN a|STARTTLS|XYZZY||".into(), "502/5.5.1 502/5.5.1 500/5.5.1 500/5.5.1"),
        ("MAIL FROM:a@b|".into(), "501/5.1.7"),
        ("MAIL FROM:<a@b> X=1|".into(), "555/5.5.4"),
        ("MAIL FROM:<550@b.example>|RCPT TO:<c@d.example>|".into(), "550/5.7.1 503/5.5.1"),
        ("MAIL FROM:<450@b.example>|".into(), "450/4.0.0"),
        ("MAIL FROM:<421@b.example>|NOOP|".into(), "421/4.3.2"),
        (format!("{mail}RCPT TO:<450@d.example>|DATA|"), "250/2.1.0 450/4.0.0 554/5.5.1"),
        (
            "MAIL FROM:<full@b.example>|RCPT TO:<c@d.example>|DATA|NOOP|".into(),
            "250/2.1.0 250/2.1.5 452/4.3.1 250/2.0.0",
        ),
        ("MAIL FROM:<a@b.example> SIZE=52428800|".into(), "250/2.1.0"),
        ("MAIL FROM:<a@b.example> SIZE=52428801|".into(), "552/5.3.4"),
        ("MAIL FROM:<a@b.example> SIZE=18446744073709551616|".into(), "552/5.3.4"),
        ("RCPT TO:<@hop.example:c@d.example>|".into(), "503/5.5.1"),
        (format!("{mail}RCPT TO:<@hop.example:c@d.example>|"), "250/2.1.0 250/2.1.5"),
    ] {
        assert_eq!(Talk::ready().codes(input.replace('|', "\r\n")), expected, "{input}");
    }
    assert_eq!(Talk::new().codes("MAIL FROM:<a@b.example>\r\n"), "503/5.5.1", "EHLO is missing");
}

/// Proves: RFC 5321 §2.3.8
/// Covers: A1.2, B84
#[test]
fn only_crlf_ends_a_command() {
    let mut talk = Talk::ready();
    assert_eq!(talk.codes("NOOP\nNOOP\r\n"), "500/5.5.2 250/2.0.0");
    assert_eq!(talk.codes("MAIL FROM:<a@b.example>\nRCPT TO:<c@d>\r\n"), "500/5.5.2 503/5.5.1");
    assert_eq!(talk.codes("NOOP\rNOOP\r\n"), "500/5.5.2");
    assert_eq!(talk.codes("NOOP \0\r\n"), "500/5.5.2");
    assert_eq!(talk.codes("NO"), "");
    assert_eq!(talk.codes("OP\r"), "");
    assert_eq!(talk.codes("\n"), "250/2.0.0");
}

/// Proves: RFC 5321 §4.5.3.1.4
/// Covers: A1.18, B86
#[test]
fn endless_command_lines_are_refused_in_bounded_memory() {
    let mut talk = Talk::ready();
    let line = |bytes: usize| format!("NOOP {}\r\n", "x".repeat(bytes - 7));
    assert_eq!(talk.codes(line(COMMAND_LINE_BYTES_MAX)), "250/2.0.0");
    assert_eq!(talk.codes(line(COMMAND_LINE_BYTES_MAX + 1)), "500/5.5.2");
    for _ in 0..1_000 {
        assert_eq!(talk.send("x".repeat(1_000)), "");
        assert!(talk.session.input.capacity() <= 8 * COMMAND_LINE_BYTES_MAX);
    }
    assert_eq!(talk.codes("\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0");
}

/// Proves: RFC 5321 §4.5.3.1.10, RFC 5321 §4.5.3.1.8
/// Covers: A1.21, A1.22, B87
#[test]
fn recipients_beyond_the_limit_are_put_off() {
    let mut talk = Talk::with(Settings { recipients_max: 100, ..settings() });
    talk.send("EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n");
    for _ in 0..100 {
        assert_eq!(talk.codes("RCPT TO:<c@d.example>\r\n"), "250/2.1.5");
    }
    assert_eq!(talk.codes("RCPT TO:<c@d.example>\r\n"), "452/4.5.3");
    assert_eq!(talk.codes("DATA\r\nx: y\r\n.\r\n"), "354 250/2.0.0");
    assert_eq!(talk.messages[0].envelope.recipients.len(), 100);

    talk.send(format!("MAIL FROM:<>\r\n{}", "RCPT TO:<c@d.example>\r\n".repeat(100)));
    let replies = talk.codes("RCPT TO:<c@d.example>\r\n".repeat(2_000));
    assert_eq!(replies.matches("452/4.5.3").count(), 1_101);
    assert!(replies.ends_with("421/4.7.0"));
    assert!(talk.closed);
}

/// An alias counts as one recipient; what it stands for has a bound of its own.
///
/// Shows: S3.4
#[test]
fn a_recipient_may_stand_for_others_within_a_bound() {
    let mut talk = Talk::with(Settings { recipients_max: 100, ..settings() });
    talk.send("EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n");
    assert_eq!(talk.codes("RCPT TO:<three@d.example>\r\n"), "250/2.1.5");
    for code in ["250/2.1.5", "250/2.1.5", "452/4.5.3"] {
        assert_eq!(talk.codes("RCPT TO:<crowd@d.example>\r\n"), code);
    }
    assert_eq!(talk.codes("RCPT TO:<c@d.example>\r\nDATA\r\n.\r\n"), "250/2.1.5 354 250/2.0.0");
    let recipients = &talk.messages[0].envelope.recipients;
    assert_eq!(recipients.len(), 3 + 2 * 20_000 + 1);
    assert_eq!(recipients[0].address.to_string(), "m0@b.example");
    assert_eq!(recipients[40_003].address.to_string(), "c@d.example");
}

/// Covers: A1.26, B87
#[test]
fn errors_and_idle_commands_have_an_end() {
    let mut talk = Talk::ready();
    for _ in 0..20 {
        assert_eq!(talk.codes("XYZZY\r\n"), "500/5.5.1");
    }
    assert_eq!(talk.codes("XYZZY\r\nNOOP\r\n"), "500/5.5.1 421/4.7.0");
    assert!(talk.closed);

    let mut talk = Talk::ready();
    for _ in 0..99 {
        assert_eq!(talk.codes("NOOP\r\n"), "250/2.0.0");
    }
    assert_eq!(talk.codes("RSET\r\n"), "250/2.0.0 421/4.7.0");

    // Put off at MAIL, with the rest sent ahead: no error of the client's.
    let mut talk = Talk::ready();
    for _ in 0..25 {
        let group = "MAIL FROM:<450@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";
        let codes = talk.codes(group);
        assert!(codes.starts_with("450") && codes.ends_with("503/5.5.1"), "{codes}");
    }

    let mut talk = Talk::ready();
    for _ in 0..300 {
        assert!(talk.codes(format!("{OPEN}DATA\r\n.\r\n")).ends_with("250/2.0.0"));
    }
}

/// The message is refused when its real end has come, and the session goes on.
///
/// Proves: RFC 5321 §2.3.8, RFC 1870 §6.3, RFC 5321 §6.3
/// Covers: A1.1, A1.20, A1.30, A3.1, A3.8, A6.2, B59, B84
#[test]
fn spoilt_messages_are_refused_after_the_dot() {
    let loops = |fields: usize| format!("{}\r\nx\r\n", "Received: x\r\n".repeat(fields));
    let long = |bytes: usize| format!("{}\r\n", "x".repeat(bytes - 2));
    for (body, expected) in [
        ("a\r\n".to_owned(), "250/2.0.0"),
        ("a\nb\r\n".into(), "554/5.6.0"),
        ("a\rb\r\n".into(), "554/5.6.0"),
        ("a\0b\r\n".into(), "554/5.6.0"),
        ("a\n.\nQUIT\r\n".into(), "554/5.6.0"),
        ("a\n.\r\nMAIL FROM:<x@y.example>\r\n".into(), "554/5.6.0"),
        (long(1_000), "250/2.0.0"),
        (long(1_001), "554/5.6.0"),
        (long(999).repeat(10), "250/2.0.0"),
        (format!("{}a\r\n", long(999).repeat(10)), "552/5.3.4"),
        (long(1_000).repeat(1_000), "552/5.3.4"),
        (loops(99), "250/2.0.0"),
        (loops(100), "554/5.4.6"),
    ] {
        let mut talk = Talk::with(Settings { message_bytes_max: 9_991, ..settings() });
        talk.send("EHLO c.example\r\n");
        let replies = talk.codes(format!("{OPEN}DATA\r\n{body}.\r\nNOOP\r\n"));
        assert_eq!(replies, format!("250/2.1.0 250/2.1.5 354 {expected} 250/2.0.0"), "{body:.60?}");
        assert!(talk.session.message_bytes_held() == 0);
    }
}

/// Covers: B86
#[test]
fn a_header_has_a_bound_of_its_own() {
    let field = |bytes: usize| format!("X: {}\r\n", "a".repeat(bytes - 5));
    let header = |bytes: usize| {
        let fields = field(1_000).repeat(bytes / 1_000 - 1);
        let last = bytes - fields.len();
        format!("{fields}{}{}\r\nx\r\n", field(last / 2), field(last - last / 2))
    };
    let at_bound = header(HEADER_BYTES_MAX);
    let counted = mail::header::Scanner::scan(at_bound.as_bytes()).header_bytes;
    let at_bound = header(2 * HEADER_BYTES_MAX - counted);
    let mut talk =
        Talk::with(Settings { message_bytes_max: 4 * HEADER_BYTES_MAX as u64, ..settings() });
    talk.send("EHLO c.example\r\n");
    assert!(talk.codes(format!("{OPEN}DATA\r\n{at_bound}.\r\n")).ends_with("250/2.0.0"));
    let over = format!("Y: y\r\n{at_bound}");
    assert!(talk.codes(format!("{OPEN}DATA\r\n{over}.\r\n")).ends_with("552/5.3.4"));
}

/// Proves: RFC 3030 §2
/// Covers: A1.8, A1.26, A6.8, B93, B94
#[test]
fn chunks_are_counted_off_whatever_becomes_of_them() {
    let open = OPEN.replace("\r\n", "|");
    for (input, expected) in [
        (format!("{open}BDAT 4|ab|BDAT 0 LAST|"), "250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0"),
        (format!("{open}BDAT 0 LAST|NOOP|"), "250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0"),
        ("BDAT 6|QUIT|NOOP|".to_owned(), "503/5.5.1 250/2.0.0"),
        ("MAIL FROM:<>|BDAT 6 LAST|QUIT|RSET|".into(), "250/2.1.0 503/5.5.1 250/2.0.0"),
        (format!("{open}BDAT 3|a|DATA|"), "250/2.1.0 250/2.1.5 250/2.0.0 503/5.5.1"),
        (
            format!("{open}BDAT 3|a|RCPT TO:<c@d>|{open}"),
            "250/2.1.0 250/2.1.5 250/2.0.0 503/5.5.1 503/5.5.1 503/5.5.1",
        ),
        (
            format!("{open}BDAT 3|a\nbBDAT 6|QUIT|BDAT 0 LAST|{open}"),
            "250/2.1.0 250/2.1.5 554/5.6.0 503/5.5.1 503/5.5.1 250/2.1.0 250/2.1.5",
        ),
        (
            format!("{open}BDAT 3|a\nbRSET|{open}"),
            "250/2.1.0 250/2.1.5 554/5.6.0 250/2.0.0 250/2.1.0 250/2.1.5",
        ),
        (
            "MAIL FROM:<full@b.example>|RCPT TO:<c@d>|BDAT 3 LAST|a|NOOP|".into(),
            "250/2.1.0 250/2.1.5 452/4.3.1 250/2.0.0",
        ),
        ("BDAT 99999999999999999999|QUIT|".into(), "501/5.5.4 421/4.3.2"),
        ("BDAT|QUIT|".into(), "501/5.5.4 421/4.3.2"),
    ] {
        let input = input.replace('|', "\r\n");
        for step in [1, 2, 3, input.len()] {
            let mut talk = Talk::ready();
            let mut replies = String::new();
            for part in input.as_bytes().chunks(step) {
                replies += &talk.send(part);
            }
            assert_eq!(codes(&replies), expected, "{input:?} by {step}");
        }
    }
}

/// Proves: RFC 3030 §2, RFC 5321 §4.5.2
/// Covers: A1.23, A6.8, A6.9
#[test]
fn a_message_in_chunks_is_stuffed_and_ended() {
    let mut talk = Talk::ready();
    talk.send(format!("{OPEN}BDAT 6\r\na\r\n.\r\nBDAT 2 LAST\r\n.b"));
    assert_eq!(talk.messages[0].body, b"a\r\n..\r\n..b\r\n");
    assert_eq!(talk.messages[0].size, 10);
    let mut talk = Talk::with(Settings { message_bytes_max: 5, ..settings() });
    talk.send("EHLO c.example\r\n");
    assert!(talk.codes(format!("{OPEN}BDAT 4\r\nabc\r")).ends_with("250/2.0.0"));
    assert_eq!(talk.codes("BDAT 3 LAST\r\n\nd\r"), "552/5.3.4");
}

/// Proves: RFC 5321 §3.8
/// Covers: A1.26, B33
#[test]
fn shutting_down_lets_a_message_end() {
    let mut talk = Talk::ready();
    talk.send(format!("{OPEN}DATA\r\nx: "));
    talk.session.shut_down();
    assert_eq!(talk.codes("y\r\n.\r\nNOOP\r\n"), "250/2.0.0 421/4.3.2");
    assert_eq!(talk.messages.len(), 1);
    assert!(talk.closed);
    let mut talk = Talk::ready();
    talk.session.shut_down();
    assert_eq!(talk.codes(""), "421/4.3.2");
}

/// Covers: A6.1, B25
#[test]
fn declaring_a_size_fills_no_memory() {
    let mut talk = Talk::ready();
    talk.send("MAIL FROM:<> SIZE=52428800\r\nRCPT TO:<c@d.example>\r\nDATA\r\n");
    let held = talk.session.message_bytes_held();
    assert!((1..=128 << 10).contains(&held));
    talk.send("x".repeat(900) + "\r\n");
    assert_eq!(talk.session.message_bytes_held(), held);
}

#[test]
#[should_panic(expected = "no message waits")]
fn an_answer_without_a_message_is_our_bug() {
    let mut talk = Talk::ready();
    talk.session.answer(talk.now, &Answer::new(250, Status::OK, ""), &mut Vec::new());
}

mod waits;
