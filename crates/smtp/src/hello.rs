//! The beginning of a client session: greeting, EHLO or HELO, LHLO in LMTP.
//!
//! Never here: TLS itself (`starttls`). Nothing is sent before the whole
//! greeting was read, and no extension is used that the last EHLO did not
//! offer.
//!
//! Read first: RFC 5321 §3.1, RFC 5321 §3.2, RFC 5321 §4.1.1.1.

use crate::client::{Client, Output, State};
use crate::ehlo::{Capabilities, Extension};
use crate::reply::Found;
use crate::timeout::Phase;
use crate::verdict::{Fault, Judgement, Verdict, judge};

impl Client {
    pub(crate) fn greeting_reply(&mut self, found: Found) {
        match judge(Phase::Greeting, &self.reader.reply(found), false) {
            Judgement::GoOn => self.send_hello(State::Ehlo),
            Judgement::Refused(verdict) => self.say_goodbye(verdict),
            Judgement::SessionOver(verdict) => self.lose_by(verdict),
        }
    }

    /// Sends EHLO, or HELO to a peer that refused it.
    pub(crate) fn send_hello(&mut self, state: State) {
        let verb: &[u8] = match state {
            _ if self.settings.lmtp => b"LHLO ",
            State::Ehlo => b"EHLO ",
            _ => b"HELO ",
        };
        let name = self.settings.ehlo_name.clone();
        self.peer = Capabilities::default();
        self.state = state;
        self.await_phase(Phase::Hello);
        for part in [verb, name.as_bytes(), b"\r\n"] {
            self.send(part);
        }
    }

    pub(crate) fn hello_reply(&mut self, found: Found) {
        let judgement = judge(Phase::Hello, &self.reader.reply(found), false);
        let said_ehlo = self.state == State::Ehlo;
        match judgement {
            Judgement::GoOn if said_ehlo => {
                self.peer = Capabilities::parse(self.reader.lines(found));
                self.after_hello();
            }
            Judgement::GoOn => self.after_hello(),
            // RFC 5321 §3.2 names 500 and 502; no other 5yz promises more.
            Judgement::Refused(Verdict::Failed(_)) if said_ehlo && !self.settings.lmtp => {
                self.send_hello(State::Helo);
            }
            Judgement::Refused(verdict) => self.say_goodbye(verdict),
            Judgement::SessionOver(verdict) => self.lose_by(verdict),
        }
    }

    fn after_hello(&mut self) {
        let offered = self.peer.has(Extension::StartTls);
        if !self.in_tls && self.settings.tls.asks_for_starttls() && offered {
            return self.send_starttls();
        }
        if !self.in_tls && self.settings.tls.is_required() {
            return self.say_goodbye(Fault::PolicyTlsMissing.verdict(false));
        }
        if self.auth.as_ref().is_some_and(|auth| !auth.done) {
            return self.send_auth();
        }
        self.ready();
    }

    /// The session may take its first transaction.
    pub(crate) fn ready(&mut self) {
        self.state = State::Ready;
        self.deadline = None;
        self.outputs.push_back(Output::Ready);
    }
}
