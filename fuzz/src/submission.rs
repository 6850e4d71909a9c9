//! The submission session: any bytes of a client, in any cuts.
//!
//! Input: four bytes of settings, then what the client sends. Oracle: the same
//! replies and the same messages however the bytes are cut and however long a
//! message waits for its reply; a model of where commands and content begin
//! and end, which knows nothing but CRLF, the final dot and the size in BDAT,
//! says what each message holds; memory is bounded; every wait has an end.
//!
//! Read first: RFC 5321 §4.1.1, RFC 5321 §4.5.2, RFC 3030 §2.

mod framing;

use std::sync::Arc;

use base::Monotonic;
use mail::header::Scanner;
use mail::{Domain, Envelope, Recipient, ReversePath, Status};
use smtp::submission::Settings;
use smtp::{Answer, Extension, Extensions, Policy, Progress, Received, Session};

use crate::input::{Input, cut};
use crate::wire::{assert_wire_form, unstuffed};

/// Runs the target.
pub fn submission(data: &[u8]) {
    let mut input = Input::new(data);
    let way = input.byte();
    let plan = Plan::read(&mut input);
    let bytes = input.rest();
    let whole = serve(&plan, bytes, 0, 0);
    for other in [serve(&plan, bytes, way, way % 5), serve(&plan, bytes, 1, 0)] {
        let texts = (whole.out.escape_ascii(), other.out.escape_ascii());
        assert_eq!(whole.out, other.out, "\n  {}\n  {}\ncut as {way}", texts.0, texts.1);
        assert_eq!(whole.messages.len(), other.messages.len());
        for (one, two) in whole.messages.iter().zip(&other.messages) {
            assert_same(one, two);
        }
    }
    check_replies(&whole.out);
    framing::check(&plan, bytes, &whole.out, &whole.messages);
    whole.messages.iter().for_each(|message| check(message, &plan.settings));
}

/// What the server is like.
struct Plan {
    settings: Arc<Settings>,
    /// Every so many-th message is refused; 0: none.
    refused: usize,
    /// Recipients whose local part begins so are refused.
    unknown: Option<u8>,
}

impl Plan {
    fn read(input: &mut Input<'_>) -> Self {
        let bounds = input.byte();
        let offers = input.byte();
        let policy = input.byte();
        let all = [
            Extension::Pipelining,
            Extension::Size,
            Extension::EightBitMime,
            Extension::SmtpUtf8,
            Extension::Chunking,
            Extension::Dsn,
        ];
        let mut extensions = Extensions::SUBMISSION;
        for (place, extension) in all.into_iter().enumerate() {
            if offers >> place & 1 == 1 {
                extensions = extensions.without(extension);
            }
        }
        let hostname = Domain::parse("mx.example").expect("a name");
        let settings = Settings {
            extensions,
            message_bytes_max: [50 << 20, 0, 10, 64, 300, 5_000][usize::from(bounds & 7) % 6],
            recipients_max: [1_000, 1, 3, 100][usize::from(bounds >> 3 & 3)],
            errors_max: [20, 0, 3, 1_000][usize::from(bounds >> 5 & 3)],
            idle_commands_max: if bounds >> 7 == 1 { 3 } else { 1_000 },
            ..Settings::new(hostname)
        };
        Self {
            settings: Arc::new(settings),
            refused: usize::from(policy & 3),
            unknown: (policy & 4 != 0).then_some(b'x'),
        }
    }

    /// The reply to the message with this number.
    fn answer(&self, number: usize) -> Answer {
        if self.refused > 0 && number.is_multiple_of(self.refused) {
            return Answer::new(451, Status::SYSTEM, format!("refused {number}"));
        }
        Answer::new(250, Status::OK, format!("stored {number}"))
    }
}

impl Policy for &Plan {
    fn rcpt(&mut self, envelope: &Envelope, recipient: &Recipient) -> Result<(), Answer> {
        assert!(envelope.recipients.len() < self.settings.recipients_max, "beyond the limit");
        match self.unknown {
            Some(first) if recipient.address.local().as_bytes().first() == Some(&first) => {
                Err(Answer::new(550, Status::BAD_MAILBOX, "No such mailbox"))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Default)]
struct Served {
    out: Vec<u8>,
    messages: Vec<Received>,
}

/// Serves `bytes` in pieces; each message waits for its reply until `delay`
/// more pieces are here, or the session wants no more.
fn serve(plan: &Plan, bytes: &[u8], way: u8, delay: u8) -> Served {
    let now = Monotonic::from_millis(1_000);
    let mut session = Session::new(plan.settings.clone(), now);
    let mut served = Served::default();
    let mut pieces = std::iter::once(&b""[..]).chain(cut(bytes, way));
    let mut waits_for: Option<u8> = None;
    loop {
        let piece = pieces.next();
        if let Some(pieces_left) = &mut waits_for {
            assert_eq!(session.deadline(), None, "the client has nothing to do");
            *pieces_left = pieces_left.saturating_sub(1);
            if *pieces_left == 0 || piece.is_none() || !session.wants_input() {
                waits_for = None;
                let answer = plan.answer(served.messages.len());
                session.answer(now, &answer, &mut served.out);
            }
        }
        session.push(piece.unwrap_or_default());
        let held_max = 4 * plan.settings.message_bytes_max + 4 * bytes.len() as u64 + (256 << 10);
        assert!(session.message_bytes_held() as u64 <= held_max, "memory is not bounded");
        loop {
            match session.advance(now, &mut served.out, &mut &*plan) {
                Progress::Message(received) => {
                    served.messages.push(*received);
                    if delay > 0 {
                        waits_for = Some(delay);
                        break;
                    }
                    let answer = plan.answer(served.messages.len());
                    session.answer(now, &answer, &mut served.out);
                }
                Progress::NeedInput => break,
                Progress::StartTls => session.secured(now),
                Progress::Close => return ended(session, served),
            }
        }
        if piece.is_none() && waits_for.is_none() {
            return timed_out(session, served, now);
        }
    }
}

/// The session has closed: nothing wakes it again.
fn ended(mut session: Session, mut served: Served) -> Served {
    assert!(!session.wants_input());
    assert_eq!(session.deadline(), None);
    let before = served.out.len();
    session.push(b"NOOP\r\n");
    let end = session.advance(Monotonic::from_millis(2_000), &mut served.out, &mut TakeNothing);
    assert!(matches!(end, Progress::Close));
    assert_eq!(served.out.len(), before, "something is said after the end");
    served
}

/// The client says no more: the session ends by itself.
fn timed_out(mut session: Session, mut served: Served, now: Monotonic) -> Served {
    let deadline = session.deadline().expect("a wait for the client has an end");
    let at_most = now + 2 * Settings::new(Domain::parse("a").expect("a name")).command_timeout;
    assert!(deadline > now && deadline <= at_most, "the wait is too long");
    let mut goodbye = Vec::new();
    assert!(session.timeout(deadline, &mut goodbye));
    assert!(goodbye.starts_with(b"421 4.4.2 "));
    check_replies(&goodbye);
    ended(session, std::mem::take(&mut served))
}

struct TakeNothing;

impl Policy for TakeNothing {
    fn mail(&mut self, _: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        panic!("a command is run after the end")
    }
}

fn assert_same(one: &Received, two: &Received) {
    assert_eq!(one.envelope, two.envelope);
    assert_eq!(one.body.escape_ascii().to_string(), two.body.escape_ascii().to_string());
    assert_eq!((one.size, one.eight_bit, one.header), (two.size, two.eight_bit, two.header));
    assert_eq!((&one.hello, one.esmtp), (&two.hello, two.esmtp));
}

/// Every reply is whole, short and printable.
fn check_replies(out: &[u8]) {
    for line in out.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("a reply line ends with CRLF");
        assert!(line.len() <= 512, "a reply line is too long");
        assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~')), "a reply is not printable");
        assert!(text.len() >= 3 && text[..3].iter().all(u8::is_ascii_digit));
        assert!(matches!(text.get(3), None | Some(b' ' | b'-')));
    }
}

/// What holds for every message handed out, whatever was sent.
fn check(message: &Received, settings: &Settings) {
    assert_wire_form(&message.body);
    assert_eq!(message.size, unstuffed(&message.body).len() as u64);
    assert!(message.size <= settings.message_bytes_max, "larger than the limit");
    assert_eq!(message.eight_bit, !message.body.is_ascii());
    assert_eq!(message.header, Scanner::scan(&message.body));
    assert!(message.hello.bytes().all(|byte| byte.is_ascii_graphic()));
    let Envelope { sender, recipients, smtputf8, .. } = &message.envelope;
    assert!((1..=settings.recipients_max).contains(&recipients.len()));
    let path = sender.to_string();
    assert_eq!(ReversePath::parse(&path, *smtputf8).as_ref(), Ok(sender), "{path}");
    for recipient in recipients {
        let address = recipient.address.to_string();
        let again = mail::Address::parse(&address, *smtputf8);
        assert_eq!(again.as_ref(), Ok(&recipient.address), "{address}");
    }
}
