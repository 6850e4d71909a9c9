//! One session of the source: which command is sent next, and what its reply
//! means for the message under way.
//!
//! Never touches a socket or a clock.

use std::collections::VecDeque;
use std::time::Instant;

use super::{LogIn, Outcome, Record, SourceSettings};
use crate::message::Composer;
use crate::tls::Tls;
use crate::wire::{Reply, reply};

/// A reply that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    Helo,
    Mail,
    Rcpt(u32),
    Data,
    Dot,
    Rset,
    Quit,
}

/// What is left to be said for one message.
#[derive(Debug)]
struct Transaction {
    number: u64,
    began: Instant,
    recipients: Vec<String>,
    /// Recipients named so far.
    named: usize,
    accepted: u32,
    refused: Vec<u32>,
    /// First refusal that concerns the whole message.
    code: Option<u16>,
    /// When the content with its dot was handed to the wire.
    dot_sent: Option<Instant>,
}

/// What the worker is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Wait for more bytes.
    Wait,
    /// Hand in the next message, if there is one.
    Idle,
    /// Go on in TLS, and send what stands there inside of it.
    Secure,
    /// Close: the session is over.
    Over,
    /// Close: the peer talks nonsense or has sent us away.
    Broken(String),
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    hostname: String,
    expected: VecDeque<Expect>,
    may_pipeline: bool,
    /// STARTTLS is still to be said.
    wants_tls: bool,
    /// The line that logs in, still to be said.
    log_in: Option<String>,
    pipelining: bool,
    transaction: Option<Transaction>,
    /// Messages begun.
    pub(crate) messages: u64,
}

/// What a session works with in one turn.
pub(crate) struct Talk<'a> {
    pub(crate) now: Instant,
    pub(crate) composer: &'a mut Composer,
    /// Bytes to be sent.
    pub(crate) out: &'a mut Vec<u8>,
    /// The message that came to its end in this turn.
    pub(crate) done: Option<Record>,
}

impl Session {
    pub(crate) fn new(settings: &SourceSettings) -> Self {
        Self {
            hostname: settings.hostname.clone(),
            expected: VecDeque::from([Expect::Greeting]),
            may_pipeline: settings.pipelining,
            wants_tls: settings.tls == Tls::StartTls,
            log_in: settings.log_in.as_ref().map(LogIn::line),
            pipelining: false,
            transaction: None,
            messages: 0,
        }
    }

    /// Begins message `number`; the session must be idle.
    pub(crate) fn begin(&mut self, number: u64, began: Instant, talk: &mut Talk<'_>) {
        assert!(self.transaction.is_none(), "one message at a time");
        let workload = talk.composer.workload();
        let sender = workload.sender(number);
        let recipients = workload.recipients(number);
        self.messages += 1;
        self.say(Expect::Mail, &["MAIL FROM:<", &sender, ">"], talk.out);
        let mut transaction = Transaction {
            number,
            began,
            recipients,
            named: 0,
            accepted: 0,
            refused: Vec::new(),
            code: None,
            dot_sent: None,
        };
        if self.pipelining {
            while transaction.named < transaction.recipients.len() {
                self.name_next(&mut transaction, talk.out);
            }
            self.say(Expect::Data, &["DATA"], talk.out);
        }
        self.transaction = Some(transaction);
    }

    /// Says QUIT; the session must be idle.
    pub(crate) fn quit(&mut self, out: &mut Vec<u8>) {
        self.say(Expect::Quit, &["QUIT"], out);
    }

    /// Works through the replies in `input`. Returns the bytes consumed and
    /// what to do.
    pub(crate) fn advance(&mut self, input: &[u8], talk: &mut Talk<'_>) -> (usize, Turn) {
        let mut start = 0;
        loop {
            let (code, bytes) = match reply(&input[start..]) {
                Reply::Whole { code, bytes } => (code, bytes),
                Reply::Partial => return (start, Turn::Wait),
                Reply::Nonsense => return (start, Turn::Broken("not an SMTP reply".to_owned())),
            };
            let text = &input[start..start + bytes];
            start += bytes;
            let turn = match self.expected.pop_front() {
                Some(expected) => self.hear(expected, code, text, talk),
                None => broken(text),
            };
            if turn != Turn::Wait {
                return (start, turn);
            }
        }
    }

    /// Ends the message under way, whose session is gone.
    pub(crate) fn abandon(&mut self, now: Instant) -> Option<Record> {
        let transaction = self.transaction.take()?;
        let outcome = match (transaction.dot_sent, transaction.code) {
            (_, Some(code)) => Outcome::Refused(code),
            (Some(_), None) => Outcome::Unanswered,
            (None, None) => Outcome::Unsent,
        };
        Some(transaction.end(outcome, now))
    }

    fn hear(&mut self, expected: Expect, code: u16, text: &[u8], talk: &mut Talk<'_>) -> Turn {
        let fine = (200..400).contains(&code);
        if code == 421 {
            let transaction = self.transaction.take();
            talk.done = transaction.map(|one| one.end(Outcome::Refused(code), talk.now));
            return broken(text);
        }
        let hostname = self.hostname.clone();
        match expected {
            Expect::Greeting if fine => self.say(Expect::Ehlo, &["EHLO ", &hostname], talk.out),
            Expect::Ehlo if fine => return self.greeted(text, talk),
            Expect::StartTls if code == 220 => {
                self.say(Expect::Ehlo, &["EHLO ", &hostname], talk.out);
                return Turn::Secure;
            }
            Expect::Auth if fine => return Turn::Idle,
            Expect::StartTls | Expect::Auth => return broken(text),
            Expect::Ehlo => self.say(Expect::Helo, &["HELO ", &hostname], talk.out),
            Expect::Helo if fine => return Turn::Idle,
            Expect::Greeting | Expect::Helo => return broken(text),
            Expect::Quit => return Turn::Over,
            Expect::Rset => return Turn::Idle,
            Expect::Mail | Expect::Rcpt(_) | Expect::Data | Expect::Dot => {
                let transaction = self.transaction.take();
                let transaction = transaction.expect("such a reply is expected within a message");
                return self.progress(transaction, expected, code, talk);
            }
        }
        Turn::Wait
    }

    /// What follows the answer to EHLO: TLS, a log-in, mail.
    fn greeted(&mut self, text: &[u8], talk: &mut Talk<'_>) -> Turn {
        if std::mem::take(&mut self.wants_tls) {
            self.say(Expect::StartTls, &["STARTTLS"], talk.out);
            return Turn::Wait;
        }
        self.pipelining = self.may_pipeline && offers_pipelining(text);
        let Some(line) = self.log_in.take() else { return Turn::Idle };
        self.say(Expect::Auth, &[&line], talk.out);
        Turn::Wait
    }

    fn progress(
        &mut self,
        mut transaction: Transaction,
        expected: Expect,
        code: u16,
        talk: &mut Talk<'_>,
    ) -> Turn {
        let fine = (200..400).contains(&code);
        match expected {
            Expect::Rcpt(_) if fine => transaction.accepted += 1,
            Expect::Rcpt(place) => transaction.refused.push(place),
            Expect::Dot if fine && transaction.code.is_none() => {
                talk.done = Some(transaction.end(Outcome::Accepted, talk.now));
                return Turn::Idle;
            }
            Expect::Data if code == 354 => self.send_content(&mut transaction, talk),
            _ if fine => {}
            _ => transaction.code = transaction.code.or(Some(code)),
        }
        if transaction.refused.len() == transaction.recipients.len() {
            transaction.code = transaction.code.or(Some(code));
        }
        if self.expected.is_empty() {
            if let Some(code) = transaction.code {
                talk.done = Some(transaction.end(Outcome::Refused(code), talk.now));
                self.say(Expect::Rset, &["RSET"], talk.out);
                return Turn::Wait;
            }
            self.name_next(&mut transaction, talk.out);
        }
        self.transaction = Some(transaction);
        Turn::Wait
    }

    /// Answers a 354: with the content, or with nothing where the envelope had
    /// been refused (RFC 2920 §3.1).
    fn send_content(&mut self, transaction: &mut Transaction, talk: &mut Talk<'_>) {
        if transaction.accepted == 0 || transaction.code.is_some() {
            talk.out.extend_from_slice(b".\r\n");
            transaction.code = transaction.code.or(Some(554));
        } else {
            talk.composer.write_wire(transaction.number, talk.out);
        }
        transaction.dot_sent = Some(talk.now);
        self.expected.push_back(Expect::Dot);
    }

    /// The next RCPT, or DATA behind the last.
    fn name_next(&mut self, transaction: &mut Transaction, out: &mut Vec<u8>) {
        let place = transaction.named;
        match transaction.recipients.get(place) {
            Some(recipient) => {
                transaction.named += 1;
                self.say(Expect::Rcpt(place as u32), &["RCPT TO:<", recipient, ">"], out);
            }
            None => self.say(Expect::Data, &["DATA"], out),
        }
    }

    fn say(&mut self, expect: Expect, parts: &[&str], out: &mut Vec<u8>) {
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        self.expected.push_back(expect);
    }
}

impl Transaction {
    fn end(self, outcome: Outcome, ended: Instant) -> Record {
        let Self { number, began, refused, dot_sent, .. } = self;
        Record { number, began, dot_sent, ended, outcome, refused }
    }
}

fn broken(text: &[u8]) -> Turn {
    Turn::Broken(String::from_utf8_lossy(text).trim_end().to_owned())
}

fn offers_pipelining(reply: &[u8]) -> bool {
    reply
        .split(|byte| *byte == b'\n')
        .any(|line| line.len() > 4 && line[4..].trim_ascii().eq_ignore_ascii_case(b"PIPELINING"))
}
