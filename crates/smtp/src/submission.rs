//! The server's side of a session: submission, and every test that needs a
//! mail exchanger.
//!
//! Bytes come in by [`Session::push`], [`Session::advance`] turns them into
//! replies and messages. Never here: who may send, where to, and whether there
//! is room ([`Policy`] says so); trace fields; storage. Invariants: one reply
//! to each command, in order; a message is handed out whole, and no command
//! behind it runs before [`Session::answer`]; memory is bounded by the size of
//! one message and the two bounds on commands and on what is sent ahead.
//!
//! Read first: RFC 5321 §4.1, RFC 5321 §4.2, RFC 6409 §3, RFC 2920 §3.2.

mod commands;
mod content;
mod etrn;
mod lmtp;
mod log_in;
mod phase;
mod policy;
mod secure;
mod shown;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use base::Monotonic;
use base::limits::{AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, SENT_AHEAD_BYTES_MAX};
use mail::header::Facts;
use mail::{Domain, Envelope, Status};

use crate::answer::Answer;
use crate::data::DataReader;
use crate::ehlo::Extensions;
use crate::reply::{Class, Code};
use crate::sasl::server::Challenger;

pub use commands::{EXPANDED_MAX, TakeAll, Taken};
pub use policy::Policy;
pub use secure::Tls;

/// What a server offers and how much it bears.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name in greeting and EHLO, and the domain of `<postmaster>`.
    pub hostname: Domain,
    /// The extensions offered; [`Extensions::SUBMISSION`]. ETRN only to those of
    /// [`Session::with_etrn`].
    pub extensions: Extensions,
    /// Octets a message may have, without dot-stuffing; 50 MiB. A session
    /// holds at most one message in memory.
    pub message_bytes_max: u64,
    /// Recipients a message may have; 1 000, at least 100 by
    /// RFC 5321 §4.5.3.1.8.
    pub recipients_max: usize,
    /// 5yz replies since the last message taken after which the session is
    /// ended; 20. Of 4yz replies, 1 000 more are borne than a message may have
    /// recipients.
    pub errors_max: u32,
    /// Commands without a message coming of them after which the session is
    /// ended; 100.
    pub idle_commands_max: u32,
    /// For each whole command, and for a stall within a message; 5 min, which
    /// RFC 5321 §4.5.3.2.7 asks for.
    pub command_timeout: Duration,
    /// Whether users may log in; not unless asked for. Only within TLS, but for
    /// [`Session::with_log_in_in_the_clear`].
    pub log_in: bool,
    /// For a TLS handshake; 30 s.
    pub handshake_timeout: Duration,
    /// Octets per second of a message on average below which the session is
    /// ended; 256, at least 1.
    pub content_bytes_per_second_min: u64,
}

impl Settings {
    /// The defaults under the name `hostname`.
    pub fn new(hostname: Domain) -> Self {
        Self {
            hostname,
            extensions: Extensions::SUBMISSION,
            message_bytes_max: 50 << 20,
            recipients_max: 1_000,
            errors_max: 20,
            idle_commands_max: 100,
            command_timeout: Duration::from_secs(300),
            log_in: false,
            handshake_timeout: Duration::from_secs(30),
            content_bytes_per_second_min: 256,
        }
    }
}

/// A whole message as it was sent.
#[derive(Clone, Debug)]
pub struct Received {
    /// Who sends it to whom.
    pub envelope: Envelope,
    /// Wire form: CRLF lines, dot-stuffed, ends with CRLF unless empty,
    /// without the final dot.
    pub body: Vec<u8>,
    /// Octets without dot-stuffing.
    pub size: u64,
    /// Whether any octet is above 127, whatever BODY declared.
    pub eight_bit: bool,
    /// What the header has and lacks.
    pub header: Facts,
    /// What the client called itself, printable ASCII.
    pub hello: Arc<str>,
    /// Whether it said EHLO.
    pub esmtp: bool,
}

/// What [`Session::advance`] came to.
#[derive(Debug)]
pub enum Progress {
    /// Everything is worked off; push more bytes.
    NeedInput,
    /// A message. Nothing goes on before [`Session::answer`].
    Message(Box<Received>),
    /// Write the output, then begin a TLS handshake as server, which ends with
    /// [`Session::secured`]; until then nothing of the client's is of use.
    StartTls,
    /// The session is over: write the output, then close.
    Close,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    input: Vec<u8>,
    /// Bytes at the start of `input` that are worked off.
    used: usize,
    state: State,
    /// The first reply instead of a greeting; then only QUIT is served.
    refusal: Option<Answer>,
    tls: Tls,
    log_in: log_in::LogIn,
    lmtp: lmtp::Lmtp,
    /// The client may ask for waiting mail.
    etrn: bool,
    hello: Option<Hello>,
    transaction: Option<Transaction>,
    trouble: Trouble,
    deadline: Monotonic,
    shutting_down: bool,
}

/// What a client did since its last message that was of no use to anyone.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// 5yz replies.
    errors: u32,
    /// 4yz replies.
    put_off: usize,
    idle_commands: u32,
    /// The last MAIL was put off: what was sent ahead behind it fails for that,
    /// and not by the client's fault.
    mail_put_off: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing said yet.
    Start,
    /// Between commands, or within one.
    Command,
    /// Within a command line beyond all bounds.
    Skipping,
    /// Within a message behind DATA.
    Data {
        reader: DataReader,
        began: Monotonic,
        touched: bool,
    },
    /// Within a BDAT chunk.
    Chunk(content::OpenChunk),
    /// A message was handed out.
    Waiting,
    /// Within a log-in: the next line is a response.
    Response(Challenger),
    /// Within a response beyond its bound, which ends the log-in.
    LongResponse,
    /// A wrong password has its answer when the deadline comes.
    Penalty(Answer),
    /// STARTTLS was answered with 220.
    StartTls,
    /// Within a TLS handshake.
    Handshake {
        /// We have spoken before it.
        greeted: bool,
    },
    Closed,
}

#[derive(Clone, Debug)]
struct Hello {
    name: Arc<str>,
    esmtp: bool,
}

#[derive(Debug)]
struct Transaction {
    envelope: Envelope,
    /// RCPT commands taken: each may stand for several recipients.
    taken: usize,
    declared: Option<u64>,
    /// The content, once a BDAT began it.
    chunks: Option<content::OpenChunks>,
    /// A chunk was refused: so are all others until RSET.
    spoilt: bool,
}

impl Session {
    /// A session whose greeting goes out with the first
    /// [`Session::advance`].
    pub fn new(settings: Arc<Settings>, now: Monotonic) -> Self {
        let deadline = now + settings.command_timeout;
        Self {
            settings,
            input: Vec::new(),
            used: 0,
            state: State::Start,
            refusal: None,
            tls: Tls::None,
            log_in: log_in::LogIn::default(),
            lmtp: lmtp::Lmtp::default(),
            etrn: false,
            hello: None,
            transaction: None,
            trouble: Trouble::default(),
            deadline,
            shutting_down: false,
        }
    }

    /// A session that greets with `refusal` (554, or 421, which ends it) and
    /// serves nothing but QUIT (RFC 5321 §3.1).
    pub fn refusing(settings: Arc<Settings>, refusal: Answer, now: Monotonic) -> Self {
        Self { refusal: Some(refusal), ..Self::new(settings, now) }
    }

    /// Takes bytes of the client. Call [`Session::advance`] next, and this
    /// again only while [`Session::wants_input`].
    pub fn push(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Closed | State::Handshake { .. }) {
            return;
        }
        let rest = if self.input.is_empty() { self.take_content(bytes) } else { bytes };
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        self.input.extend_from_slice(rest);
    }

    /// Works off what was pushed and appends the replies to `out`, up to the
    /// next message or until bytes are lacking. Call it again unless it says
    /// [`Progress::NeedInput`].
    pub fn advance(
        &mut self,
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Progress {
        let input = mem::take(&mut self.input);
        let mut rest = &input[self.used..];
        let progress = self.run(&mut rest, now, out, policy);
        self.used = input.len() - rest.len();
        self.input = input;
        if self.used == self.input.len() || matches!(self.state, State::Closed) {
            self.input.clear();
            self.used = 0;
        }
        progress
    }

    /// Replies to the message that was handed out, in LMTP once for each RCPT: 250 only when it is safe
    /// (RFC 5321 §6.1). Call [`Session::advance`] next: commands may have been
    /// sent ahead.
    ///
    /// # Panics
    /// When no message waits for its reply: a bug of the caller.
    pub fn answer(&mut self, now: Monotonic, answer: &Answer, out: &mut Vec<u8>) {
        assert!(matches!(self.state, State::Waiting), "no message waits for a reply");
        self.state = State::Command;
        self.deadline = now + self.settings.command_timeout;
        if answer.code.class() == Class::Positive {
            self.trouble = Trouble::default();
        }
        self.say_of_message(answer, out);
    }

    /// Whether more bytes are of use now. When not, leave them in the kernel
    /// until [`Session::answer`].
    pub fn wants_input(&self) -> bool {
        match self.state {
            State::Closed => false,
            State::Waiting | State::Penalty(_) => {
                self.input.len() - self.used < SENT_AHEAD_BYTES_MAX
            }
            _ => true,
        }
    }

    /// When to call [`Session::timeout`]; none while the client has nothing to
    /// do. Changes with every call that takes `now`.
    pub fn deadline(&self) -> Option<Monotonic> {
        match self.state {
            State::Waiting | State::Closed => None,
            _ => Some(self.deadline),
        }
    }

    /// Ends the session with 421 and 4.4.2 when its deadline has come; says
    /// whether it did (RFC 5321 §4.5.3.2.7). Otherwise there may be output: the
    /// answer to a wrong password. Call [`Session::advance`] next.
    pub fn timeout(&mut self, now: Monotonic, out: &mut Vec<u8>) -> bool {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return false;
        }
        if matches!(self.state, State::Handshake { .. }) {
            // Nothing in the clear can be said any more.
            self.state = State::Closed;
            return true;
        }
        if matches!(self.state, State::Penalty(_)) {
            self.end_penalty(now, out);
            return matches!(self.state, State::Closed);
        }
        self.end(Status::BAD_CONNECTION, "timed out", out);
        true
    }

    /// Ends the session with 421 and 4.3.2 as soon as no message is under way
    /// (RFC 5321 §3.8); call [`Session::advance`] next.
    pub fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// Octets of memory that the message now coming in holds.
    pub fn message_bytes_held(&self) -> usize {
        match (&self.state, &self.transaction) {
            (State::Data { reader, .. }, _) => reader.bytes_held(),
            (_, Some(Transaction { chunks: Some(chunks), .. })) => chunks.reader.bytes_held(),
            _ => 0,
        }
    }

    fn run(
        &mut self,
        rest: &mut &[u8],
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Progress {
        loop {
            match &mut self.state {
                State::Start => {
                    self.state = State::Command;
                    self.greet(out);
                }
                State::Command | State::Response(_) | State::LongResponse | State::Penalty(_)
                    if self.shutting_down =>
                {
                    self.end(Status::SYSTEM_CLOSED, "shutting down", out);
                }
                State::Command | State::Skipping => {
                    let Some(line) = self.next_line(rest) else { return Progress::NeedInput };
                    self.set_command_deadline(now);
                    self.line(line, now, out, policy);
                }
                State::Data { .. } => {
                    if !self.data(rest, now) {
                        return Progress::NeedInput;
                    }
                    if let Some(received) = self.data_ended(now, out) {
                        return Progress::Message(received);
                    }
                }
                State::Chunk(_) => {
                    if !self.chunk(rest, now) {
                        return Progress::NeedInput;
                    }
                    if let Some(received) = self.chunk_ended(now, out) {
                        return Progress::Message(received);
                    }
                }
                State::Response(_) | State::LongResponse => {
                    let Some(line) = self.next_response(rest) else { return Progress::NeedInput };
                    self.response(line, now, out, policy);
                }
                State::StartTls => return self.begin_handshake(rest, now),
                State::Handshake { .. } if self.shutting_down => self.state = State::Closed,
                State::Waiting | State::Penalty(_) | State::Handshake { .. } => {
                    return Progress::NeedInput;
                }
                State::Closed => return Progress::Close,
            }
        }
    }

    /// The next command line with its line end, if it is here. A line without
    /// end is dropped as it comes (RFC 5321 §4.5.3.1.4), and none of it stands
    /// for the whole: an empty slice.
    fn next_line<'a>(&mut self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let Some(at) = memchr::memchr(b'\n', rest) else {
            if matches!(self.state, State::Skipping) || rest.len() >= self.line_bytes_max() {
                self.state = State::Skipping;
                *rest = &[];
            }
            return None;
        };
        let (line, after) = rest.split_at(at + 1);
        *rest = after;
        let bytes_max =
            if log_in::is_auth(line) { self.line_bytes_max() } else { COMMAND_LINE_BYTES_MAX };
        let too_long = matches!(self.state, State::Skipping) || line.len() > bytes_max;
        self.state = State::Command;
        Some(if too_long { &[] } else { line })
    }

    /// Writes a reply and counts it.
    fn say(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        answer.write(out);
        match answer.code.class() {
            Class::Positive | Class::Intermediate => {}
            Class::Transient => self.trouble.put_off += 1,
            Class::Permanent if self.trouble.mail_put_off && answer.code == Code::OUT_OF_ORDER => {
                self.trouble.put_off += 1;
            }
            Class::Permanent => self.trouble.errors += 1,
        }
        if answer.code == Code::SHUTTING_DOWN {
            self.state = State::Closed;
        }
    }

    /// Writes a 421 and closes.
    fn end(&mut self, status: Status, why: &'static str, out: &mut Vec<u8>) {
        let text = format!("{} closes the session: {why}", self.settings.hostname);
        Answer::new(421, status, text).write(out);
        self.state = State::Closed;
        self.transaction = None;
    }
}

#[cfg(test)]
mod tests;
