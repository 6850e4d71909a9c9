//! AUTH on the server's side of a session: who may log in when, and what a
//! wrong password costs.
//!
//! Never here: the mechanisms (`sasl::server`), the users. Invariants: no
//! response is ever shown to anybody; the answer to a wrong password is late,
//! later each time, and nothing runs before it; after [`WRONG_MAX`] of them the
//! session ends.
//!
//! Read first: RFC 4954 §4, RFC 4954 §6.

use std::sync::Arc;
use std::time::Duration;

use base::Monotonic;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail::Status;

use super::commands::out_of_order;
use super::{AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, Policy, Session, State, Tls};
use crate::answer::Answer;
use crate::sasl::Mechanism;
use crate::sasl::server::{Challenger, Step};

/// Wrong passwords that a session bears.
pub const WRONG_MAX: u32 = 3;
/// How long the answer to the first one takes; each one after it twice as long.
const PENALTY: Duration = Duration::from_secs(1);

const PROVED: &[u8] = b"235 2.7.0 Authentication successful\r\n";

/// What a session knows of log-ins.
#[derive(Debug, Default)]
pub(super) struct LogIn {
    /// Who it is.
    pub(super) user: Option<Arc<str>>,
    wrong: u32,
    in_the_clear: bool,
}

/// Whether a line is a command that may carry a secret, however it is spelt.
pub(super) fn is_auth(line: &[u8]) -> bool {
    line.trim_ascii_start().get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"))
}

impl Session {
    /// The session of a client that may send passwords in the clear.
    #[must_use]
    pub fn with_log_in_in_the_clear(mut self) -> Self {
        self.log_in.in_the_clear = true;
        self
    }

    /// The client is this user by what it has shown within TLS.
    pub fn prove(&mut self, user: Arc<str>) {
        self.log_in.user = Some(user);
    }

    /// Who has logged in.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.log_in.user.as_ref()
    }

    /// Whether AUTH is served now, and so offered.
    pub(super) fn may_log_in(&self) -> bool {
        let safe = self.tls == Tls::Up || self.log_in.in_the_clear;
        self.settings.log_in && safe
    }

    /// Octets of the longest line that may be a command.
    pub(super) fn line_bytes_max(&self) -> usize {
        if self.settings.log_in { AUTH_LINE_BYTES_MAX } else { COMMAND_LINE_BYTES_MAX }
    }

    /// AUTH.
    pub(super) fn auth(
        &mut self,
        mechanism: &[u8],
        initial: Option<&[u8]>,
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Result<(), Answer> {
        if !self.may_log_in() {
            let text = "Encryption required for authentication";
            return Err(Answer::new(538, Status::new(5, 7, 11), text));
        }
        if self.hello.as_ref().is_none_or(|hello| !hello.esmtp) {
            return Err(out_of_order("EHLO first"));
        }
        if self.transaction.is_some() {
            return Err(out_of_order("AUTH within a transaction"));
        }
        if self.log_in.user.is_some() {
            return Err(out_of_order("Logged in already"));
        }
        let challenger = Mechanism::named(mechanism).and_then(Challenger::new);
        let Some(challenger) = challenger else {
            let text = "Mechanism not known";
            return Err(Answer::new(504, Status::BAD_ARGUMENT, text));
        };
        policy.users()?;
        let opening = challenger.opening();
        self.state = State::Response(challenger);
        match initial {
            None => challenge(opening, out),
            // An empty response (RFC 4954 §4).
            Some(b"=") => self.responded(&[], now, out, policy),
            Some(initial) => self.decode(initial, now, out, policy),
        }
        Ok(())
    }

    /// The next line of a log-in with its end; empty for one beyond the bound,
    /// of which nothing is kept.
    pub(super) fn next_response<'a>(&mut self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let Some(at) = memchr::memchr(b'\n', rest) else {
            if rest.len() >= AUTH_LINE_BYTES_MAX || matches!(self.state, State::LongResponse) {
                self.state = State::LongResponse;
                *rest = &[];
            }
            return None;
        };
        let (line, after) = rest.split_at(at + 1);
        *rest = after;
        let too_long =
            matches!(self.state, State::LongResponse) || line.len() > AUTH_LINE_BYTES_MAX;
        Some(if too_long { &[] } else { line })
    }

    /// Takes one line of a log-in.
    pub(super) fn response(
        &mut self,
        line: &[u8],
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) {
        policy.heard(b"(log-in)");
        self.set_command_deadline(now);
        match line {
            [] => {
                let text = "Authentication exchange line is too long";
                self.give_up(Answer::new(500, Status::new(5, 5, 6), text), out);
            }
            b"*\r\n" => self.give_up(Answer::new(501, Status::new(5, 7, 0), "Cancelled"), out),
            [line @ .., b'\r', b'\n'] => self.decode(line, now, out, policy),
            _ => {
                let text = "Line must end with CRLF";
                self.give_up(Answer::new(501, Status::BAD_SYNTAX, text), out);
            }
        }
    }

    /// Ends a log-in that was no try.
    fn give_up(&mut self, answer: Answer, out: &mut Vec<u8>) {
        self.state = State::Command;
        self.say(&answer, out);
    }

    fn decode(&mut self, coded: &[u8], now: Monotonic, out: &mut Vec<u8>, policy: &mut dyn Policy) {
        match STANDARD.decode(coded) {
            Ok(response) => self.responded(&response, now, out, policy),
            Err(_) => {
                let text = "Response is no base64";
                self.give_up(Answer::new(501, Status::BAD_SYNTAX, text), out);
            }
        }
    }

    fn responded(
        &mut self,
        response: &[u8],
        now: Monotonic,
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) {
        let State::Response(challenger) = &mut self.state else { return };
        let step = match policy.users() {
            Ok(users) => challenger.response(response, users),
            Err(refusal) => return self.give_up(refusal, out),
        };
        match step {
            Step::Challenge(words) => challenge(&words, out),
            Step::Proved(user) => {
                if let Err(refusal) = policy.log_in_ended(Some(&user), true) {
                    return self.give_up(refusal, out);
                }
                self.log_in = LogIn { user: Some(user.into()), wrong: 0, ..self.log_in };
                self.state = State::Command;
                out.extend_from_slice(PROVED);
            }
            Step::Refused { user } => {
                // It is refused anyhow.
                let _ = policy.log_in_ended(user.as_deref(), false);
                let text = "Authentication credentials invalid";
                self.state = State::Penalty(Answer::new(535, Status::new(5, 7, 8), text));
                self.deadline = now + PENALTY * (1 << self.log_in.wrong.min(WRONG_MAX));
                self.log_in.wrong += 1;
            }
            Step::TryLater => {
                let text = "Temporary authentication failure";
                self.give_up(Answer::new(454, Status::new(4, 7, 0), text), out);
            }
        }
    }

    /// Says at last that a password was wrong.
    pub(super) fn end_penalty(&mut self, now: Monotonic, out: &mut Vec<u8>) {
        let State::Penalty(answer) = std::mem::replace(&mut self.state, State::Command) else {
            return;
        };
        self.set_command_deadline(now);
        self.say(&answer, out);
        if self.log_in.wrong >= WRONG_MAX {
            self.end(Status::new(4, 7, 0), "too many wrong passwords", out);
        }
    }
}

fn challenge(words: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"334 ");
    out.extend_from_slice(STANDARD.encode(words).as_bytes());
    out.extend_from_slice(b"\r\n");
}
