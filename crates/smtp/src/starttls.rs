//! The step from plain text to TLS within a client session.
//!
//! Never here: TLS. The caller runs the handshake and then feeds the session
//! what comes out of it. Whatever was learned before is forgotten, and one
//! plain byte behind the 220 ends the session: somebody on the way put it
//! there. A peer that offers STARTTLS and then cannot do it is left; whether
//! to come back without TLS is the caller's to say, with the hint given.
//!
//! Read first: RFC 3207 §4, RFC 3207 §4.2, RFC 3207 §6.

use std::sync::Arc;

use base::Monotonic;
use base::planted::{Bug, planted};

use crate::client::{Client, Output, State};
use crate::reply::{Class, Code, Found};
use crate::timeout::Phase;
use crate::verdict::Fault;

impl Client {
    pub(crate) fn send_starttls(&mut self) {
        self.state = State::StartTls;
        self.await_phase(Phase::StartTls);
        self.send(b"STARTTLS\r\n");
    }

    pub(crate) fn starttls_reply(&mut self, found: Found) {
        if found.code.class() != Class::Positive {
            let reply = self.reader.reply(found);
            let fault = Fault::PeerTlsRefused { reply };
            return match found.code {
                Code::SHUTTING_DOWN => self.lose(fault),
                _ => self.say_goodbye(fault.verdict(false)),
            };
        }
        if !self.reader.unread().is_empty() {
            return self.lose(Fault::PeerInjected);
        }
        self.state = State::Handshake;
        self.await_phase(Phase::Tls);
        self.deadline = self.deadline.filter(|_| !planted(Bug::HandshakeUntimed));
        self.outputs.push_back(Output::StartTls);
    }

    /// The TLS handshake that [`Output::StartTls`] asked for is done. From now
    /// on give the session what TLS decrypted, and encrypt what it sends.
    pub fn tls_established(&mut self, now: Monotonic) {
        if self.state != State::Handshake {
            return;
        }
        self.now = now;
        self.in_tls = true;
        self.reader.clear();
        self.send_hello(State::Ehlo);
    }

    /// The handshake failed, or the peer could not prove who it is: `reason`
    /// in the words of the TLS library.
    pub fn tls_failed(&mut self, now: Monotonic, reason: impl Into<Arc<str>>) {
        if self.state == State::Handshake {
            self.now = now;
            self.lose(Fault::PeerTlsFailed { reason: reason.into() });
        }
    }
}
