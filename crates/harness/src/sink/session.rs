//! One SMTP session of an exchanger: bytes in, replies out, behaviour by
//! script.
//!
//! Plain on purpose and written apart from the product's own SMTP code. Never
//! touches a socket. Input that is not yet a whole line or message stays with
//! the caller, who hands it in again with more behind it.
//!
//! RFCs to read first: RFC 5321 §4.1, RFC 5321 §4.5.2, RFC 2920 §3.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

use super::ledger::{Ledger, path};
use super::script::{Act, Facts, Script, Stage};
use crate::message::Stuffer;

/// Octets of a command line with its CRLF.
const LINE_BYTES_MAX: usize = 4_096;
/// Octets of one message, stuffing included.
const CONTENT_BYTES_MAX: usize = 128 * 1_024 * 1_024;

/// What all sessions of one thread share.
pub(crate) struct Desk<'a> {
    pub(crate) script: &'a Script,
    pub(crate) ledger: &'a Mutex<Ledger>,
    pub(crate) hostname: &'a str,
    /// EHLO keywords offered, STARTTLS apart.
    pub(crate) extensions: &'a [String],
    /// Whether the sink has a certificate.
    pub(crate) speaks_tls: bool,
    /// Connections open on this address, with this one.
    pub(crate) open: u64,
    pub(crate) tools: &'a mut Tools,
    pub(crate) now: Instant,
    /// Messages and recipients taken, added up.
    pub(crate) taken: (u64, u64),
}

/// Buffers and searchers that are costly to make anew.
#[derive(Debug)]
pub(crate) struct Tools {
    final_dot: Finder<'static>,
    stuffer: Stuffer,
    content: Vec<u8>,
}

impl Tools {
    pub(crate) fn new() -> Self {
        let final_dot = Finder::new(b"\r\n.\r\n");
        Self { final_dot, stuffer: Stuffer::new(), content: Vec::new() }
    }
}

/// How to go on with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Come back with more bytes.
    Go,
    /// Send what stands there, then close.
    Close,
    /// Reset at once.
    Reset,
    /// Send, then go on in TLS.
    Secure,
    /// Send and hand in nothing for this long.
    Pause(Duration),
    /// Throw away whatever comes.
    Deaf,
    /// Do not even read.
    StopReading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Command,
    /// The greeting was a refusal: only QUIT is served (RFC 5321 §3.1).
    Refused,
    Content,
    Handshake,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    address: IpAddr,
    phase: Phase,
    mail: Option<String>,
    rcpt: Vec<String>,
    /// The latest recipient named, accepted or not.
    latest: Vec<u8>,
    messages: u64,
    /// Bytes of the content that were searched for the final dot.
    searched: usize,
    secure: bool,
    /// When MAIL of the transaction was read.
    began: Instant,
}

impl Session {
    /// A session on our `address`; writes the greeting.
    pub(crate) fn open(address: IpAddr, out: &mut Vec<u8>, desk: &Desk<'_>) -> (Self, Next) {
        let mut session = Self {
            address,
            phase: Phase::Command,
            mail: None,
            rcpt: Vec::new(),
            latest: Vec::new(),
            messages: 0,
            searched: 0,
            secure: false,
            began: desk.now,
        };
        let greeting = format!("220 {} ESMTP", desk.hostname);
        let (done, next) = session.decide(Stage::Greeting, &greeting, out, desk);
        if !done {
            session.phase = Phase::Refused;
        }
        (session, next)
    }

    /// Works through `input`; returns the bytes consumed and how to go on.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        desk: &mut Desk<'_>,
    ) -> (usize, Next) {
        let mut start = 0;
        while start < input.len() {
            let rest = &input[start..];
            let (consumed, next) = match self.phase {
                Phase::Content => self.content(rest, out, desk),
                Phase::Handshake => self.handshake(rest, out, desk),
                Phase::Command | Phase::Refused => self.line(rest, out, desk),
            };
            start += consumed;
            if next != Next::Go || consumed == 0 {
                return (start, next);
            }
        }
        (start, Next::Go)
    }

    fn line(&mut self, input: &[u8], out: &mut Vec<u8>, desk: &mut Desk<'_>) -> (usize, Next) {
        let Some(end) = memchr::memchr(b'\n', input) else {
            let next = if input.len() > LINE_BYTES_MAX { Next::Close } else { Next::Go };
            return (0, next);
        };
        let next = match input[..end].strip_suffix(b"\r") {
            Some(line) => {
                let line = String::from_utf8_lossy(line);
                let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
                self.command(&verb.to_ascii_uppercase(), rest, out, desk)
            }
            None => say("500 5.5.2 Bare line feed", out),
        };
        (end + 1, next)
    }

    fn command(&mut self, verb: &str, rest: &str, out: &mut Vec<u8>, desk: &Desk<'_>) -> Next {
        match verb {
            "QUIT" => match self.decide(Stage::Quit, "221 2.0.0 Bye", out, desk) {
                (true, Next::Go) => Next::Close,
                (_, next) => next,
            },
            _ if self.phase == Phase::Refused => say("503 5.5.1 No service here", out),
            "EHLO" => self.ehlo(out, desk),
            "HELO" => {
                let reply = format!("250 {}", desk.hostname);
                self.decide(Stage::Helo, &reply, out, desk).1
            }
            "MAIL" => self.mail(rest, out, desk),
            "RCPT" => self.rcpt(rest, out, desk),
            "DATA" => self.data(out, desk),
            "RSET" => {
                let (done, next) = self.decide(Stage::Rset, "250 2.0.0 Ok", out, desk);
                if done {
                    self.forget();
                }
                next
            }
            "STARTTLS" if self.offers_starttls(desk) => {
                let (done, next) = self.decide(Stage::StartTls, "220 2.0.0 Go ahead", out, desk);
                if done && next == Next::Go && desk.speaks_tls {
                    self.secure = true;
                    self.forget();
                    return Next::Secure;
                }
                if done {
                    self.phase = Phase::Handshake;
                }
                next
            }
            "NOOP" => say("250 2.0.0 Ok", out),
            "VRFY" => say("252 2.1.5 Send and see", out),
            _ => say("500 5.5.1 No such command", out),
        }
    }

    fn offers_starttls(&self, desk: &Desk<'_>) -> bool {
        !self.secure && (desk.speaks_tls || desk.script.offers_starttls(self.address))
    }

    fn ehlo(&mut self, out: &mut Vec<u8>, desk: &Desk<'_>) -> Next {
        self.forget();
        let mut lines = vec![desk.hostname.to_owned()];
        lines.extend(desk.extensions.iter().cloned());
        if self.offers_starttls(desk) {
            lines.push("STARTTLS".to_owned());
        }
        let last = lines.len() - 1;
        let reply: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(index, line)| format!("250{}{line}", if index == last { ' ' } else { '-' }))
            .collect();
        self.decide(Stage::Ehlo, &reply.join("\r\n"), out, desk).1
    }

    fn mail(&mut self, rest: &str, out: &mut Vec<u8>, desk: &Desk<'_>) -> Next {
        if self.mail.is_some() {
            return say("503 5.5.1 Nested MAIL", out);
        }
        if path(rest).is_none() {
            return say("501 5.5.4 No path", out);
        }
        let (done, next) = self.decide(Stage::Mail, "250 2.1.0 Ok", out, desk);
        if done {
            self.mail = Some(rest.to_owned());
            self.began = desk.now;
        }
        next
    }

    fn rcpt(&mut self, rest: &str, out: &mut Vec<u8>, desk: &Desk<'_>) -> Next {
        if self.mail.is_none() {
            return say("503 5.5.1 MAIL first", out);
        }
        let Some(address) = path(rest) else { return say("501 5.5.4 No path", out) };
        self.latest.clear();
        self.latest.extend_from_slice(address.as_bytes());
        let (done, next) = self.decide(Stage::Rcpt, "250 2.1.5 Ok", out, desk);
        if done {
            self.rcpt.push(rest.to_owned());
        }
        next
    }

    fn data(&mut self, out: &mut Vec<u8>, desk: &Desk<'_>) -> Next {
        if self.mail.is_none() || self.rcpt.is_empty() {
            return say("554 5.5.1 No valid recipients", out);
        }
        let (done, next) = self.decide(Stage::Data, "354 Go on", out, desk);
        if done {
            self.phase = Phase::Content;
            self.searched = 0;
        }
        next
    }

    fn handshake(&mut self, input: &[u8], out: &mut Vec<u8>, desk: &Desk<'_>) -> (usize, Next) {
        let next = match self.decide(Stage::Handshake, "", out, desk) {
            (_, Next::Go) => Next::Deaf,
            (_, next) => next,
        };
        (input.len(), next)
    }

    fn content(&mut self, input: &[u8], out: &mut Vec<u8>, desk: &mut Desk<'_>) -> (usize, Next) {
        if self.searched == 0 {
            let (done, next) = self.decide(Stage::Content, "", out, desk);
            let next = if done || next != Next::Go { next } else { Next::Close };
            // The rule has acted; the next bytes are not the first any more.
            self.searched = 1;
            if next != Next::Go {
                return (0, next);
            }
        }
        // The final dot may stand at the very start, behind DATA's own CRLF.
        let (content, end) = if input.starts_with(b".\r\n") {
            (&input[..0], 3)
        } else {
            let from = self.searched.saturating_sub(5);
            let Some(at) = desk.tools.final_dot.find(&input[from..]) else {
                self.searched = input.len();
                let too_long = input.len() > CONTENT_BYTES_MAX;
                return (0, if too_long { Next::Close } else { Next::Go });
            };
            (&input[..from + at + 2], from + at + 5)
        };
        self.phase = Phase::Command;
        (end, self.dot(content, out, desk))
    }

    fn dot(&mut self, wire: &[u8], out: &mut Vec<u8>, desk: &mut Desk<'_>) -> Next {
        let before = out.len();
        let (done, next) = self.decide(Stage::Dot, "", out, desk);
        let mut next = next;
        if done {
            self.take(wire, desk);
            if out.len() == before {
                let (_, last) = self.decide(Stage::Answer, "250 2.0.0 Taken", out, desk);
                next = if next == Next::Go { last } else { next };
            }
        }
        self.forget();
        next
    }

    fn take(&mut self, wire: &[u8], desk: &mut Desk<'_>) {
        desk.tools.stuffer.unstuff(wire, &mut desk.tools.content);
        let mail = self.mail.take().unwrap_or_default();
        let mut ledger = desk.ledger.lock().expect("no holder of this lock can panic");
        let times = (self.began, desk.now);
        let recipients = ledger.take(&mail, &self.rcpt, &desk.tools.content, times);
        self.messages += 1;
        desk.taken.0 += 1;
        desk.taken.1 += recipients;
    }

    fn forget(&mut self) {
        self.mail = None;
        self.rcpt.clear();
        self.latest.clear();
    }

    /// Does what the script says at `stage`; `usual` is the reply without a
    /// rule, empty for none. True when the command is to be carried out.
    fn decide(
        &self,
        stage: Stage,
        usual: &str,
        out: &mut Vec<u8>,
        desk: &Desk<'_>,
    ) -> (bool, Next) {
        let facts = Facts {
            address: self.address,
            recipient: &self.latest,
            recipients: self.rcpt.len() as u64,
            messages: self.messages,
            open: desk.open,
            now: desk.now,
        };
        let text = match desk.script.act(stage, facts) {
            Act::Drop => return (false, Next::Close),
            Act::Reset => return (false, Next::Reset),
            Act::Stall => return (false, Next::Deaf),
            Act::StopReading => return (false, Next::StopReading),
            Act::Reply(text) => text,
            accepted @ (Act::Accept | Act::Delay(_)) => {
                if !usual.is_empty() {
                    say(usual, out);
                }
                let Act::Delay(span) = accepted else { return (true, Next::Go) };
                return (true, Next::Pause(span));
            }
        };
        say(&text, out);
        let next = if text.starts_with("421") { Next::Close } else { Next::Go };
        (text.starts_with(['2', '3']), next)
    }
}

fn say(text: &str, out: &mut Vec<u8>) -> Next {
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
    Next::Go
}
