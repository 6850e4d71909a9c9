//! What each command of a client does to the session.
//!
//! Never here: bytes of messages (`content`). The order of commands is checked
//! before their arguments, so that a command out of place never reaches the
//! policy.
//!
//! Read first: RFC 5321 §4.1.1, RFC 5321 §4.1.4.

use base::Monotonic;
use mail::{Envelope, Recipient, Status};

use super::{Hello, Policy, Session, State, Transaction, lmtp, shown};
use crate::answer::{Answer, write_line};
use crate::command::{self, Command};
use crate::data::DataReader;
use crate::ehlo;
use crate::reply::{Class, Code};

/// Replies that every message meets are written as they are.
const SENDER_OK: &[u8] = b"250 2.1.0 Ok\r\n";
const RECIPIENT_OK: &[u8] = b"250 2.1.5 Ok\r\n";
const OK: &[u8] = b"250 2.0.0 Ok\r\n";
const GO_ON: &[u8] = b"354 End data with <CR><LF>.<CR><LF>\r\n";

/// 4yz replies borne beyond one for each recipient that a message may have: a
/// client that sends its whole list at once is to keep what was taken of it.
const OVERSHOOT_MAX: usize = 1_000;

/// Recipients of one message, those that recipients stand for included: the log
/// counts them in 16 bits.
pub const EXPANDED_MAX: usize = 60_000;

const HELP: &str = "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS AUTH";

/// Takes everything: for sinks and tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakeAll;

impl Policy for TakeAll {}

/// Whom a recipient that is taken stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Itself.
    AsIs,
    /// These, as with an alias (RFC 5321 §3.9.1).
    As(Vec<Recipient>),
}

impl Session {
    pub(super) fn greet(&mut self, out: &mut Vec<u8>) {
        match self.refusal.clone() {
            Some(refusal) => self.say(&refusal, out),
            None => {
                let text = format!("{} {} Ringpost", self.settings.hostname, self.protocol());
                write_line(Code::READY, true, None, &text, out);
            }
        }
    }

    /// Runs one line; an empty one stands for a line beyond all bounds.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) {
        match line {
            [] => policy.heard(b"(a line too long)"),
            line => policy.heard(shown::to_show(line)),
        }
        let outcome = match line {
            [] => Err(Answer::new(500, Status::BAD_SYNTAX, "Line too long")),
            [line @ .., b'\r', b'\n'] => command::parse(line, self.understood())
                .and_then(|command| self.run_command(command, now, out, policy)),
            // RFC 5321 §2.3.8: refused, not run, so that nobody can hide a
            // command from a filter that sees other lines than we do.
            _ => Err(Answer::new(500, Status::BAD_SYNTAX, "Line must end with CRLF")),
        };
        if let Err(answer) = outcome {
            self.say(&answer, out);
        }
        let too_many = Status::new(4, 7, 0);
        if matches!(self.state, State::Closed | State::StartTls) {
            return;
        }
        let put_off_max = self.settings.recipients_max.saturating_add(OVERSHOOT_MAX);
        if self.trouble.errors > self.settings.errors_max || self.trouble.put_off > put_off_max {
            self.end(too_many, "too many errors", out);
        } else if self.trouble.idle_commands > self.settings.idle_commands_max {
            self.end(too_many, "too many commands without a message", out);
        }
    }

    fn run_command(
        &mut self,
        command: Command<'_>,
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Result<(), Answer> {
        if self.refusal.is_some() && command != Command::Quit {
            // A chunk is never skipped here: nothing of it may be run either.
            return match command {
                Command::Bdat(_) => Err(Answer::new(421, Status::SYSTEM_CLOSED, "No service")),
                _ => Err(Answer::new(503, Status::BAD_COMMAND, "No service here")),
            };
        }
        self.may_run_in_the_clear(&command)?;
        match command {
            Command::Rcpt(_) | Command::Data | Command::Bdat(_) | Command::Quit => {}
            _ => self.trouble.idle_commands += 1,
        }
        match command {
            Command::Hello { .. } if self.is_lmtp() => return Err(lmtp::lhlo_only()),
            Command::Hello { esmtp, name } => self.hello(esmtp, name, out),
            Command::LmtpHello { name } if self.is_lmtp() => self.hello(true, name, out),
            Command::LmtpHello { .. } => return Err(command::not_recognized()),
            Command::Mail(argument) => return self.mail(argument, out, policy),
            Command::Rcpt(argument) => return self.rcpt(argument, out, policy),
            Command::Data => return self.begin_data(now, out, policy),
            Command::Bdat(Some(chunk)) => self.begin_chunk(chunk, now, policy),
            Command::Bdat(None) => {
                self.say(&Answer::new(501, Status::BAD_ARGUMENT, "Size cannot be read"), out);
                self.end(Status::SYSTEM_CLOSED, "the end of a chunk is not known", out);
            }
            Command::Reset => {
                self.transaction = None;
                out.extend_from_slice(OK);
            }
            Command::StartTls => return self.start_tls(out),
            Command::Auth { mechanism, initial } => {
                return self.auth(mechanism, initial, now, out, policy);
            }
            Command::Etrn(argument) => return self.etrn(argument, out, policy),
            Command::Noop => out.extend_from_slice(OK),
            Command::Help => self.say(&Answer::new(214, Status::OK, HELP), out),
            // Nothing is told about recipients (RFC 5321 §3.5.3).
            Command::Verify => {
                let text = "Not verified; mail for it is taken and tried";
                self.say(&Answer::new(252, Status::OK, text), out);
            }
            Command::Quit => {
                self.say(&Answer::new(221, Status::OK, "Bye"), out);
                self.state = State::Closed;
                self.transaction = None;
            }
        }
        Ok(())
    }

    /// EHLO and HELO; in mid-session they reset as well (RFC 5321 §4.1.4).
    fn hello(&mut self, esmtp: bool, name: &str, out: &mut Vec<u8>) {
        self.transaction = None;
        self.hello = Some(Hello { name: name.into(), esmtp });
        let hostname = self.settings.hostname.as_str();
        if esmtp {
            ehlo::write_offers(hostname, self.offered(), self.settings.message_bytes_max, out);
        } else {
            write_line(Code::new(250), true, None, hostname, out);
        }
    }

    fn mail(
        &mut self,
        argument: &[u8],
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Result<(), Answer> {
        if self.hello.is_none() {
            return Err(out_of_order("EHLO first"));
        }
        if self.transaction.is_some() {
            return Err(out_of_order("MAIL within a transaction"));
        }
        let mail = command::parse_mail(argument, self.understood())?;
        if mail.size.is_some_and(|size| size > self.settings.message_bytes_max) {
            return Err(Answer::new(552, Status::TOO_LARGE, "Message larger than the limit"));
        }
        let envelope = Envelope {
            sender: mail.sender,
            recipients: Vec::new(),
            body: mail.body,
            smtputf8: mail.smtputf8,
            ret: mail.ret,
            envid: mail.envid,
        };
        let taken = policy.mail(&envelope, mail.size);
        self.trouble.mail_put_off =
            taken.as_ref().is_err_and(|refusal| refusal.code.class() == Class::Transient);
        taken?;
        self.transaction = Some(Transaction {
            envelope,
            taken: 0,
            declared: mail.size,
            chunks: None,
            spoilt: false,
        });
        out.extend_from_slice(SENDER_OK);
        Ok(())
    }

    fn rcpt(
        &mut self,
        argument: &[u8],
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Result<(), Answer> {
        let settings = &self.settings;
        let Some(transaction) = &mut self.transaction else {
            return Err(out_of_order("MAIL first"));
        };
        if transaction.chunks.is_some() || transaction.spoilt {
            return Err(out_of_order("RCPT within a message"));
        }
        let envelope = &mut transaction.envelope;
        // Those accepted stay valid (RFC 5321 §4.5.3.1.10).
        let too_many = || Answer::new(452, Status::TOO_MANY_RECIPIENTS, "Too many recipients");
        if transaction.taken >= settings.recipients_max {
            return Err(too_many());
        }
        let rcpt = command::parse_rcpt(argument, envelope.smtputf8, settings.extensions)?;
        let recipient = Recipient {
            address: rcpt.path.or_at(&settings.hostname),
            notify: rcpt.notify,
            orcpt: rcpt.orcpt,
        };
        let stands_for = match policy.rcpt(envelope, &recipient)? {
            Taken::AsIs if envelope.recipients.len() < EXPANDED_MAX => {
                envelope.recipients.push(recipient);
                Vec::new()
            }
            Taken::AsIs => return Err(too_many()),
            Taken::As(others) => others,
        };
        if envelope.recipients.len() + stands_for.len() > EXPANDED_MAX {
            return Err(too_many());
        }
        envelope.recipients.extend(stands_for);
        transaction.taken += 1;
        out.extend_from_slice(RECIPIENT_OK);
        Ok(())
    }

    fn begin_data(
        &mut self,
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Result<(), Answer> {
        let Some(transaction) = &self.transaction else {
            return Err(out_of_order("MAIL first"));
        };
        if transaction.chunks.is_some() || transaction.spoilt {
            return Err(out_of_order("DATA after BDAT"));
        }
        if transaction.envelope.recipients.is_empty() {
            if self.is_lmtp() {
                // RFC 2033 §4.2
                return Err(out_of_order("No valid recipients"));
            }
            return Err(Answer::new(554, Status::BAD_COMMAND, "No valid recipients"));
        }
        policy.content(&transaction.envelope, transaction.declared)?;
        let capacity = capacity(transaction.declared);
        let reader = DataReader::new(self.settings.message_bytes_max, capacity);
        self.state = State::Data { reader, began: now, touched: false };
        out.extend_from_slice(GO_ON);
        Ok(())
    }
}

/// Room for a message whose size the client has declared: what it says, as
/// far as nobody can fill memory by declaring.
pub(super) fn capacity(declared: Option<u64>) -> usize {
    const UNDECLARED: u64 = 4 << 10;
    const DECLARED_MAX: u64 = 128 << 10;
    // Stuffing, and the final dot with what was sent ahead behind it.
    let with_stuffing = |size: u64| size.saturating_add(size / 64 + 64);
    declared.map_or(UNDECLARED, |size| with_stuffing(size).min(DECLARED_MAX)) as usize
}

pub(super) fn out_of_order(text: &'static str) -> Answer {
    Answer::new(503, Status::BAD_COMMAND, text)
}
