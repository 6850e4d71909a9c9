//! The submission session: any bytes of a client, in any cuts.
//!
//! Input: four bytes of settings, then what the client sends; where it has to
//! shake hands, everything up to [`HANDSHAKE`] stands for that. Oracle: the same
//! replies and the same messages however the bytes are cut and however long a
//! message waits for its reply; a model of where commands and content begin
//! and end, which knows nothing but CRLF, the final dot and the size in BDAT,
//! says what each message holds; nothing said before a handshake counts behind
//! it; nobody is a user without a password; memory is bounded; every wait has
//! an end.
//!
//! Read first: RFC 5321 §4.1.1, RFC 5321 §4.5.2, RFC 3030 §2, RFC 3207 §4.2,
//! RFC 4954 §4.

mod framing;
mod serve;
mod users;

use std::sync::Arc;

use mail::header::Scanner;
use mail::{Domain, Envelope, Recipient, ReversePath, Status};
use smtp::command::{Node, parse_etrn};
use smtp::sasl::server::Users;
use smtp::submission::{Settings, Taken, Tls};
use smtp::{Answer, Extension, Extensions, Policy, Received};

use self::serve::serve;
use self::users::Tim;
use crate::input::Input;
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
    tls: Tls,
    /// The handshake comes before the greeting.
    implicit: bool,
    /// Passwords may come without TLS.
    in_the_clear: bool,
    /// The client may ask for waiting mail.
    asks: bool,
    /// The client is to speak LMTP.
    lmtp: bool,
    /// There is no time for passwords now, nor a free session for users.
    busy: bool,
}

/// The end of a handshake, if the server waits for one; else a byte like any.
const HANDSHAKE: u8 = 0x16;

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
        let asks = offers >> 6 & 1 == 1;
        if asks {
            extensions = extensions.with(Extension::Etrn);
        }
        let hostname = Domain::parse("mx.example").expect("a name");
        let settings = Settings {
            extensions,
            message_bytes_max: [50 << 20, 0, 10, 64, 300, 5_000][usize::from(bounds & 7) % 6],
            recipients_max: [1_000, 1, 3, 100][usize::from(bounds >> 3 & 3)],
            errors_max: [20, 0, 3, 1_000][usize::from(bounds >> 5 & 3)],
            idle_commands_max: if bounds >> 7 == 1 { 3 } else { 1_000 },
            log_in: policy >> 5 & 1 == 1,
            ..Settings::new(hostname)
        };
        Self {
            settings: Arc::new(settings),
            refused: usize::from(policy & 3),
            unknown: (policy & 4 != 0).then_some(b'x'),
            tls: [Tls::None, Tls::Offered, Tls::Required, Tls::None][usize::from(policy >> 3 & 3)],
            implicit: policy >> 3 & 3 == 3,
            in_the_clear: policy >> 6 & 1 == 1,
            asks,
            lmtp: offers >> 7 == 1,
            busy: policy >> 7 == 1,
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

/// What a session asks of the world around it.
struct World<'a> {
    plan: &'a Plan,
    users: Tim,
}

impl Policy for World<'_> {
    fn rcpt(&mut self, envelope: &Envelope, recipient: &Recipient) -> Result<Taken, Answer> {
        let plan = self.plan;
        assert!(envelope.recipients.len() < plan.settings.recipients_max, "beyond the limit");
        match plan.unknown {
            Some(first) if recipient.address.local().as_bytes().first() == Some(&first) => {
                Err(Answer::new(550, Status::BAD_MAILBOX, "No such mailbox"))
            }
            _ => Ok(Taken::AsIs),
        }
    }

    fn etrn(&mut self, node: &Node) -> Result<(), Answer> {
        assert!(self.plan.asks, "nobody was to ask for mail");
        let shown = node.to_string();
        let again = parse_etrn(shown.as_bytes());
        assert_eq!(again.as_ref(), Ok(node), "{shown}");
        Ok(())
    }

    fn users(&mut self) -> Result<&mut dyn Users, Answer> {
        assert!(self.plan.settings.log_in, "nobody was to log in");
        Ok(&mut self.users)
    }

    fn log_in_ended(&mut self, user: Option<&str>, proved: bool) -> Result<(), Answer> {
        assert!(!proved || user == Some(users::NAME), "{user:?} has no password");
        if self.plan.busy && proved {
            return Err(Answer::new(421, Status::new(4, 7, 0), "Too many sessions"));
        }
        Ok(())
    }

    fn heard(&mut self, line: &[u8]) {
        let verb = line.trim_ascii_start().get(..4).unwrap_or_default();
        let is_secret = verb.eq_ignore_ascii_case(b"AUTH") && line != b"AUTH (log-in)";
        assert!(!is_secret, "a log-in can be read: {}", line.escape_ascii());
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
