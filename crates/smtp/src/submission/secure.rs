//! TLS on the server's side of a session: when it is offered or demanded, and
//! what is left of the session behind the handshake, which is nothing.
//!
//! Never here: the handshake itself. Invariant: no byte that came in the clear
//! behind STARTTLS is ever read as a command, in TLS or before it.
//!
//! Read first: RFC 3207 §4, RFC 3207 §4.2, RFC 3207 §6, RFC 8314 §3.3.

use base::Monotonic;
use mail::Status;

use super::commands::out_of_order;
use super::{Progress, Session, State};
use crate::answer::Answer;
use crate::command::Command;
use crate::ehlo::{Extension, Extensions};

/// What TLS is to a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not to be had.
    #[default]
    None,
    /// STARTTLS is offered.
    Offered,
    /// STARTTLS comes first: no mail without (RFC 3207 §4).
    Required,
    /// The session is inside.
    Up,
}

const READY: &[u8] = b"220 2.0.0 Ready to start TLS\r\n";

impl Session {
    /// The session with STARTTLS; [`Tls::Up`] for one whose caller has ended a
    /// handshake before.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The session inside TLS from the first byte on (RFC 8314 §3.3): it greets
    /// behind [`Session::secured`].
    #[must_use]
    pub fn with_implicit_tls(mut self, now: Monotonic) -> Self {
        self.state = State::Handshake { greeted: false };
        self.deadline = now + self.settings.handshake_timeout;
        self
    }

    /// The handshake has succeeded: whatever was said before it is forgotten
    /// (RFC 3207 §4.2). Call [`Session::advance`] next.
    ///
    /// # Panics
    /// When none was begun: a bug of the caller.
    pub fn secured(&mut self, now: Monotonic) {
        let State::Handshake { greeted } = self.state else {
            panic!("a handshake ended that the session did not ask for");
        };
        self.tls = Tls::Up;
        self.log_in.user = None;
        self.hello = None;
        self.transaction = None;
        self.deadline = now + self.settings.command_timeout;
        self.state = if greeted { State::Command } else { State::Start };
    }

    /// Whether the session is inside TLS.
    pub fn is_secure(&self) -> bool {
        self.tls == Tls::Up
    }

    /// What EHLO tells.
    pub(super) fn offered(&self) -> Extensions {
        let mut offered = self.settings.extensions;
        if matches!(self.tls, Tls::Offered | Tls::Required) {
            offered = offered.with(Extension::StartTls);
        }
        if !self.etrn {
            offered = offered.without(Extension::Etrn);
        }
        if self.may_log_in() { offered.with(Extension::Auth) } else { offered }
    }

    /// What is known as a command, though perhaps out of place.
    pub(super) fn understood(&self) -> Extensions {
        let mut understood = self.settings.extensions;
        if self.tls != Tls::None {
            understood = understood.with(Extension::StartTls);
        }
        if self.settings.log_in { understood.with(Extension::Auth) } else { understood }
    }

    /// Refuses what waits for TLS (RFC 3207 §4).
    pub(super) fn may_run_in_the_clear(&self, command: &Command<'_>) -> Result<(), Answer> {
        let harmless = matches!(
            command,
            Command::Hello { .. }
                | Command::LmtpHello { .. }
                | Command::Noop
                | Command::StartTls
                | Command::Quit
        );
        if self.tls != Tls::Required || harmless {
            return Ok(());
        }
        if matches!(command, Command::Bdat(_)) {
            // Its octets follow unasked, and none of them is a command.
            return Err(Answer::new(421, Status::SYSTEM_CLOSED, "STARTTLS first"));
        }
        Err(Answer::new(530, Status::new(5, 7, 0), "Must issue a STARTTLS command first"))
    }

    /// STARTTLS.
    pub(super) fn start_tls(&mut self, out: &mut Vec<u8>) -> Result<(), Answer> {
        if self.tls == Tls::Up {
            return Err(out_of_order("TLS is up already"));
        }
        if self.transaction.is_some() {
            return Err(out_of_order("STARTTLS within a transaction"));
        }
        out.extend_from_slice(READY);
        self.state = State::StartTls;
        Ok(())
    }

    /// What was sent ahead in the clear, by the client or by somebody in
    /// between, is dropped (RFC 3207 §6).
    pub(super) fn begin_handshake(&mut self, rest: &mut &[u8], now: Monotonic) -> Progress {
        *rest = &[];
        self.state = State::Handshake { greeted: true };
        self.deadline = now + self.settings.handshake_timeout;
        Progress::StartTls
    }
}
