//! Whole reports, looked at as a reader would.

use super::*;
use crate::envelope::Notify;

const HEADER: &str = "Received: from a\r\nFrom: a@b\r\nSubject: hello\r\n";

struct Case {
    host: Domain,
    from: Address,
    to: Address,
    remote: Host,
    recipient: Recipient,
}

impl Case {
    fn new() -> Self {
        Self::with("sender@client.example", "user@example.org", false)
    }

    fn with(to: &str, recipient: &str, utf8: bool) -> Self {
        Self {
            host: Domain::parse("mail.example.com").unwrap(),
            from: Address::parse("MAILER-DAEMON@mail.example.com", false).unwrap(),
            to: Address::parse(to, utf8).unwrap(),
            remote: Host::parse("mx.example.org").unwrap(),
            recipient: Recipient::new(Address::parse(recipient, utf8).unwrap()),
        }
    }

    fn outcome(&self, action: Action) -> Outcome<'_> {
        Outcome {
            recipient: &self.recipient,
            action,
            status: Status::BAD_MAILBOX,
            remote: Some(Remote { host: &self.remote, ip: Some([192, 0, 2, 1].into()) }),
            reply: b"550-5.1.1 No such user\r\n550 5.1.1 here\r\n",
            reason: "The host refused the recipient",
            attempts: 3,
            last_attempt: Some(Wall::from_millis(1_795_298_400_000)),
            retry_until: Some(Wall::from_millis(1_795_384_800_000)),
        }
    }

    fn report<'a>(&'a self, recipients: &'a [Outcome<'a>], wire: &'a [u8]) -> Report<'a> {
        Report {
            unique: "0123.abc",
            now: Wall::from_millis(1_795_298_401_000),
            host: &self.host,
            from: &self.from,
            to: &self.to,
            template: None,
            original: Original {
                id: MessageId::from_u64(77),
                arrival: Wall::from_millis(1_795_212_000_000),
                envid: Some("QQ+2B1"),
                ret: None,
                smtputf8: false,
                wire,
                is_whole: true,
            },
            recipients,
        }
    }
}

fn composed(report: &Report<'_>) -> (Composed, String) {
    let composed = compose(report);
    assert_wire_form(&composed.wire);
    let text = String::from_utf8(composed.wire.clone()).unwrap();
    assert_eq!(composed.body == Body::SevenBit, composed.wire.is_ascii());
    (composed, text)
}

fn assert_wire_form(wire: &[u8]) {
    assert!(wire.ends_with(b"\r\n"));
    for line in wire.split_inclusive(|byte| *byte == b'\n') {
        assert!(line.ends_with(b"\r\n") && line.len() <= 1_000);
        assert!(memchr::memchr(b'\r', &line[..line.len() - 2]).is_none());
        assert!(line[0] != b'.' || line[1] == b'.', "unstuffed dot");
    }
}

fn message() -> Vec<u8> {
    format!("{HEADER}\r\nthe body\r\n..dot\r\n").into_bytes()
}

/// Proves: RFC 6522 §3, RFC 3464 §2.1, RFC 3464 §2.2, RFC 3464 §2.3, RFC 3834 §5
/// Covers: A3.5, A7.10, A7.11, A7.12, A7.14
#[test]
fn a_failure_report_has_its_three_parts() {
    let mut case = Case::new();
    case.recipient.orcpt = Some("rfc822;first+2Bx@example.net".into());
    case.recipient.notify = Notify::FAILURE;
    let (outcomes, message) = ([case.outcome(Action::Failed)], message());
    let (composed, text) = composed(&case.report(&outcomes, &message));
    assert_eq!((composed.body, composed.smtputf8), (Body::SevenBit, false));
    for line in [
        "From: Mail Delivery System <MAILER-DAEMON@mail.example.com>",
        "To: sender@client.example",
        "Subject: Undelivered mail returned to sender",
        "Date: Sat, 21 Nov 2026 22:00:01 +0000",
        "Message-ID: <0123.abc@mail.example.com>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "  <user@example.org>",
        "    The host refused the recipient.",
        "    The host mx.example.org [192.0.2.1] said:",
        "        550-5.1.1 No such user",
        "        550 5.1.1 here",
        "    Tried 3 times, the last time on Sat, 21 Nov 2026 22:00:00 +0000.",
        "Content-Type: message/delivery-status",
        "Original-Envelope-Id: QQ+1",
        "Reporting-MTA: dns; mail.example.com",
        "Arrival-Date: Fri, 20 Nov 2026 22:00:00 +0000",
        "Original-Recipient: rfc822; first+x@example.net",
        "Final-Recipient: rfc822; user@example.org",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.example.org",
        "Diagnostic-Code: smtp; 550-5.1.1 No such user 550 5.1.1 here",
        "Last-Attempt-Date: Sat, 21 Nov 2026 22:00:00 +0000",
        "Content-Type: text/rfc822-headers",
    ] {
        assert_eq!(
            text.matches(&format!("\r\n{line}\r\n")).count() + usize::from(text.starts_with(line)),
            1,
            "{line}\n{text}"
        );
    }
    assert!(text.contains(&format!("\r\n\r\n{HEADER}\r\n--=_0123.abc--\r\n")));
    assert!(!text.contains("the body") && !text.contains("Will-Retry-Until"));
}

/// Proves: RFC 3461 §6.2
/// Covers: A7.8, B98
#[test]
fn the_whole_message_returns_on_request_on_failure_only() {
    let (case, message) = (Case::new(), message());
    let full = |action, is_whole, wire: &[u8]| {
        let outcomes = [case.outcome(action)];
        let mut report = case.report(&outcomes, wire);
        report.original.ret = Some(Return::Full);
        report.original.is_whole = is_whole;
        composed(&report).1
    };
    let text = full(Action::Failed, true, &message);
    let returned = "Content-Type: message/rfc822\r\n\r\n";
    assert!(text.contains(returned) && text.contains("\r\n\r\nthe body\r\n..dot\r\n\r\n--=_"));
    for (action, is_whole) in [(Action::Failed, false), (Action::Delayed, true)] {
        let text = full(action, is_whole, &message);
        assert!(!text.contains(returned) && !text.contains("the body"));
    }
}

/// Covers: A7.8, B98
#[test]
fn a_message_over_the_bound_returns_its_header() {
    let case = Case::new();
    let outcomes = [case.outcome(Action::Failed)];
    for (bytes, is_full) in
        [(RETURNED_MESSAGE_BYTES_MAX, true), (RETURNED_MESSAGE_BYTES_MAX + 1, false)]
    {
        let mut wire = format!("{HEADER}\r\n").into_bytes();
        wire.resize(bytes - 2, b'a');
        for at in (wire.len().min(500)..bytes - 4).step_by(500) {
            wire[at..at + 2].copy_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"\r\n");
        let mut report = case.report(&outcomes, &wire);
        report.original.ret = Some(Return::Full);
        let text = composed(&report).1;
        assert_eq!(text.contains("Content-Type: message/rfc822\r\n"), is_full);
    }
}

/// Covers: A7.8, B98
#[test]
fn a_header_over_the_bound_is_cut_at_a_line() {
    let case = Case::new();
    let outcomes = [case.outcome(Action::Failed)];
    let line = "X-Long: 0123456789abcdef\r\n";
    let fits = RETURNED_HEADER_BYTES_MAX / line.len();
    for (lines, shown) in [(fits, fits), (fits + 1, fits), (fits * 3, fits)] {
        let wire = format!("{}\r\nbody\r\n", line.repeat(lines));
        let text = composed(&case.report(&outcomes, wire.as_bytes())).1;
        assert_eq!(text.matches(line).count(), shown);
    }
    // A message given only in part may end anywhere.
    for wire in ["", "A", "A: b", "A: b\r", "A: b\r\n", "A: b\r\n\r"] {
        composed(&case.report(&outcomes, wire.as_bytes()));
    }
}

/// Proves: RFC 6522 §4
/// Covers: A7.10
#[test]
fn eight_bit_headers_are_encoded_and_eight_bit_messages_declared() {
    let case = Case::new();
    let outcomes = [case.outcome(Action::Failed)];
    let message = "Subject: \u{e9}\r\n\r\nb\u{f6}dy\r\n";
    let mut report = case.report(&outcomes, message.as_bytes());
    let (headers, text) = composed(&report);
    assert_eq!(headers.body, Body::SevenBit);
    assert!(text.contains(
        "Content-Type: text/rfc822-headers\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nSubject: =C3=A9\r\n"
    ));
    report.original.ret = Some(Return::Full);
    let (full, text) = composed(&report);
    assert_eq!((full.body, full.smtputf8), (Body::EightBit, false));
    assert!(text.contains(&format!(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{message}"
    )));
}

/// Proves: RFC 6533 §4
/// Covers: A6.17
#[test]
fn international_mail_is_reported_in_its_own_types() {
    let mut case = Case::with("sender@client.example", "j\u{f6}rg@b\u{fc}cher.example", true);
    case.recipient.orcpt = Some("utf-8;\\x{F6}@c".into());
    let mut outcome = case.outcome(Action::Failed);
    outcome.reply = "550 5.1.1 \u{e9}\r\n".as_bytes();
    let (outcomes, wire) = ([outcome], "Subject: \u{e9}\r\n\r\n");
    let mut report = case.report(&outcomes, wire.as_bytes());
    report.original.smtputf8 = true;
    let (composed_7bit, text) = composed(&report);
    assert_eq!((composed_7bit.body, composed_7bit.smtputf8), (Body::SevenBit, false));
    for line in [
        "Content-Type: text/plain; charset=utf-8",
        "Content-Type: message/global-delivery-status",
        "Content-Type: message/global-headers",
        "Original-Recipient: utf-8; =C3=B6@c",
        "Final-Recipient: utf-8; j=C3=B6rg@xn--bcher-kva.example",
        "Diagnostic-Code: smtp; 550 5.1.1 =C3=A9",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line}\n{text}");
    }
    let to = Address::parse("s\u{e9}nder@client.example", true).unwrap();
    report.to = &to;
    let (composed_8bit, text) = composed(&report);
    assert_eq!((composed_8bit.body, composed_8bit.smtputf8), (Body::EightBit, true));
    assert!(text.contains("Final-Recipient: utf-8; j\u{f6}rg@xn--bcher-kva.example\r\n"));
    assert!(!text.contains("quoted-printable"));
}

/// Covers: A2.12, B46
#[test]
fn what_a_peer_says_stays_in_its_place() {
    let case = Case::new();
    let mut outcome = case.outcome(Action::Failed);
    outcome.reply = b"550 a\r\n.\r\nQUIT\r\n\r\n--=_0123.abc\r\nX: \0\x1b[2J\rY: z\xff\r\n";
    let outcomes = [outcome];
    let text = composed(&case.report(&outcomes, b"")).1;
    assert!(
        text.contains("\r\nDiagnostic-Code: smtp; 550 a . QUIT --=_0123.abc X: ??[2J Y: z?\r\n")
    );
    assert!(text.contains("\r\n        .\r\n        QUIT\r\n        --=_0123.abc\r\n"));
    assert_eq!(text.matches("\r\n--=_0123.abc").count(), 4);

    let long = [b'x'; REPLY_SHOWN_BYTES_MAX + 1];
    for (bytes, is_cut) in [(REPLY_SHOWN_BYTES_MAX, false), (REPLY_SHOWN_BYTES_MAX + 1, true)] {
        let mut outcome = case.outcome(Action::Failed);
        outcome.reply = &long[..bytes];
        let outcomes = [outcome];
        let text = composed(&case.report(&outcomes, b"")).1;
        assert_eq!(text.matches("[...]").count(), if is_cut { 2 } else { 0 });
        let shown = text.lines().filter(|line| line.contains("xxx"));
        let shown: usize = shown.map(|line| line.matches('x').count()).sum();
        assert_eq!(shown, 2 * REPLY_SHOWN_BYTES_MAX);
    }
}

/// Proves: RFC 3464 §2.3.9
/// Covers: A7.7, A7.11
#[test]
fn a_delay_says_until_when() {
    let case = Case::new();
    let mut outcome = case.outcome(Action::Delayed);
    outcome.status = Status::NO_ANSWER;
    (outcome.reply, outcome.reason) = (b"", "The host did not answer");
    let outcomes = [outcome];
    let text = composed(&case.report(&outcomes, b"")).1;
    for line in [
        "Subject: Mail delayed, still being tried",
        "    The host tried last was mx.example.org [192.0.2.1].",
        "    It will be tried until Sun, 22 Nov 2026 22:00:00 +0000.",
        "Action: delayed",
        "Status: 4.4.1",
        "Diagnostic-Code: X-Ringpost; The host did not answer",
        "Will-Retry-Until: Sun, 22 Nov 2026 22:00:00 +0000",
    ] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}\n{text}");
    }
}

/// Covers: A7.13
#[test]
fn one_report_covers_several_recipients_worst_first() {
    let case = Case::new();
    let others = [Action::Delivered, Action::Failed, Action::Relayed, Action::Delayed];
    let outcomes = others.map(|action| case.outcome(action));
    let text = composed(&case.report(&outcomes, b"")).1;
    assert!(text.contains("\r\nSubject: Undelivered mail returned to sender\r\n"));
    let mut at = 0;
    for opening in ["This is final", "could not be delivered yet", "passed on", "was delivered"] {
        at += text[at..].find(opening).expect(opening);
    }
    for action in others {
        assert_eq!(text.matches(&format!("\r\nAction: {}\r\n", action.as_str())).count(), 1);
    }
    let mut lone = case.outcome(Action::Delivered);
    (lone.remote, lone.attempts) = (None, 1);
    let outcomes = [lone];
    let text = composed(&case.report(&outcomes, b"")).1;
    assert!(text.contains("\r\nSubject: Mail delivered\r\n"));
    assert!(text.contains("    The answer was:\r\n") && text.contains("    Tried once, on Sat,"));
    assert!(!text.contains("Remote-MTA"));
}

/// Shows: S1.9
#[test]
fn a_template_has_its_words_and_keeps_what_programs_read() {
    let text = "Subject: {subject} ({id})\n\nHello {to},\n  {{{count}}} {kind} at {hostname}, came \
                {arrived}.\n\n.dot\n{details}\nYours, ünsere Post\n";
    let template = Template::parse(text.as_bytes()).unwrap();
    let case = Case::new();
    let outcomes = [case.outcome(Action::Failed)];
    let wire = message();
    let usual = case.report(&outcomes, &wire);
    let from = Address::parse("reports@mail.example.com", false).unwrap();
    let report = Report { template: Some(&template), from: &from, ..usual };
    let (_, said) = composed(&report);
    let (_, before) = composed(&usual);
    let id = MessageId::from_u64(77);
    assert!(said.contains(&format!("\r\nSubject: Undelivered mail returned to sender ({id})\r\n")));
    assert!(said.contains("\r\nHello sender@client.example,\r\n"), "{said}");
    assert!(said.contains("\r\n  {1} failed at mail.example.com, came "), "{said}");
    assert!(said.contains("\r\n..dot\r\n"), "{said}");
    assert!(said.contains("<user@example.org>") && said.contains("550 5.1.1 here"), "{said}");
    assert!(said.contains("=C3=BCnsere"), "in seven bits: {said}");
    assert!(said.contains("From: Mail Delivery System <reports@mail.example.com>\r\n"), "{said}");
    let behind = |text: &str| text[text.find("Content-Type: message/").unwrap()..].to_owned();
    assert_eq!(behind(&said), behind(&before), "what programs read is the same");
}

#[test]
fn details_come_last_where_they_are_not_named() {
    let template = Template::parse(b"Sorry.\n").unwrap();
    let case = Case::new();
    let outcomes = [case.outcome(Action::Failed), case.outcome(Action::Delayed)];
    let wire = message();
    let (_, said) =
        composed(&Report { template: Some(&template), ..case.report(&outcomes, &wire) });
    assert!(said.find("Sorry.").unwrap() < said.find("<user@example.org>").unwrap(), "{said}");
    assert!(said.contains("Subject: Undelivered mail returned to sender\r\n"));
}

/// Shows: S1.9
#[test]
fn each_fault_of_a_template_is_told_with_its_line() {
    for (text, words) in [
        ("a\n{sender}\n", "line 2 names {sender}, which is none of {hostname}, {id}"),
        ("{host", "line 1 has a lone brace"),
        ("a } b", "line 1 has a lone brace"),
        ("{details}\n{details}\n", "line 2: {details} stands once"),
        ("see {details} below", "line 1: {details} stands once"),
        ("a\n\u{7}\n", "line 2 is longer than 500 octets or holds control characters"),
        ("Subject: ü\n", "line 1: a subject has"),
        ("Subject:  \n", "line 1: a subject has"),
    ] {
        let found = Template::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(found.contains(words), "{text}: {found}");
    }
    assert_eq!(Template::parse(&[0xff]), Err(TemplateError::PolicyNoText));
    assert!(Template::parse(&b"x\n".repeat(TEMPLATE_BYTES_MAX / 2)).is_ok());
    let over = b"x\n".repeat(TEMPLATE_BYTES_MAX / 2 + 1);
    assert_eq!(Template::parse(&over), Err(TemplateError::PolicyTooLarge));
    assert!(Template::parse("x".repeat(500).as_bytes()).is_ok());
    assert!(Template::parse("x".repeat(501).as_bytes()).is_err());
}
