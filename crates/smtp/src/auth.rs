//! The step of a client session in which we log in.
//!
//! Never here: what the mechanisms say (`sasl`). Mechanisms are tried from the
//! strongest on, among those that the peer offers, the credentials allow and
//! the connection is good enough for; a peer that does not speak one after all
//! is asked for the next. A refused log-in never fails mail: it is our
//! configuration that is wrong, or the peer's, and either can be mended while
//! the mail waits. It is not tried again with the next mechanism: three wrong
//! answers lock an account.
//!
//! Read first: RFC 4954 §4, RFC 4954 §6.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::{Client, State};
use crate::reply::{Class, Code, Found};
use crate::sasl::{Credentials, Dialogue, Mechanism, Mechanisms, SaslFault};
use crate::timeout::Phase;
use crate::verdict::{Fault, Scope, Trouble, Verdict};

/// Octets of a command line with an initial response, CRLF included
/// (RFC 4954 §4); a longer one waits to be asked for.
const COMMAND_BYTES_MAX: usize = 512;

/// A session's log-in.
#[derive(Clone, Debug)]
pub struct LogIn {
    /// Who we are.
    pub credentials: Arc<Credentials>,
    /// Whether the secret itself may be sent inside TLS: the caller checks the
    /// peer's certificate, or was told not to mind.
    pub secret_in_tls: bool,
    /// Whether it may be sent in the clear.
    pub secret_in_clear: bool,
    /// Random, and never the same twice.
    pub nonce: [u8; 16],
}

/// Where the log-in stands.
#[derive(Debug)]
pub(crate) struct Auth {
    log_in: LogIn,
    /// Mechanisms the peer said it does not speak.
    refused: Mechanisms,
    dialogue: Option<Dialogue>,
    mechanism: Mechanism,
    /// An initial response too long for the command's line.
    initial: Option<Vec<u8>>,
    fault: Option<SaslFault>,
    pub(crate) done: bool,
}

impl Auth {
    pub(crate) fn new(log_in: LogIn) -> Self {
        Self {
            log_in,
            refused: Mechanisms::NONE,
            dialogue: None,
            mechanism: Mechanism::Plain,
            initial: None,
            fault: None,
            done: false,
        }
    }

    fn choose(&self, offered: Mechanisms, in_tls: bool) -> Option<Mechanism> {
        let LogIn { credentials, secret_in_tls, secret_in_clear, .. } = &self.log_in;
        let safe = if in_tls { *secret_in_tls } else { *secret_in_clear };
        let mut common = offered.and(credentials.mechanisms).iter();
        common.find(|one| (safe || !one.sends_secret()) && !self.refused.has(*one))
    }
}

impl Client {
    /// Logs in, or says why that cannot be.
    pub(crate) fn send_auth(&mut self) {
        let Some(auth) = &mut self.auth else { return };
        let Some(mechanism) = auth.choose(self.peer.mechanisms, self.in_tls) else {
            let fault = match self.peer.mechanisms == Mechanisms::NONE {
                true => Fault::PolicyAuthMissing,
                false => Fault::PolicyAuthUnsafe,
            };
            return self.say_goodbye(fault.verdict(false));
        };
        let mut dialogue = Dialogue::new(mechanism, auth.log_in.nonce);
        let initial = dialogue.initial(&auth.log_in.credentials);
        (auth.mechanism, auth.dialogue) = (mechanism, Some(dialogue));
        let mut line = format!("AUTH {mechanism}");
        match initial.map(|initial| (STANDARD.encode(&initial), initial)) {
            Some((coded, _)) if line.len() + coded.len() + 3 <= COMMAND_BYTES_MAX => {
                // RFC 4954 §4: an empty one is told from none by a sign.
                line.extend([" ", if coded.is_empty() { "=" } else { &coded }]);
            }
            Some((_, initial)) => auth.initial = Some(initial),
            None => {}
        }
        line.push_str("\r\n");
        self.state = State::Auth;
        self.await_phase(Phase::Auth);
        self.send(line.as_bytes());
    }

    pub(crate) fn auth_reply(&mut self, found: Found) {
        let Some(auth) = &mut self.auth else { return };
        let fault = auth.fault.take();
        match found.code.class() {
            // What follows a cancelled dialogue is a refusal, or nonsense.
            Class::Positive | Class::Intermediate if fault.is_some() => {
                let phase = Phase::Auth;
                self.lose(Fault::PeerWrongReply { phase, reply: self.reader.reply(found) });
            }
            Class::Intermediate => self.answer_challenge(found),
            Class::Positive if found.code.is_about_connection() => {
                let phase = Phase::Auth;
                self.lose(Fault::PeerWrongReply { phase, reply: self.reader.reply(found) });
            }
            Class::Positive => self.logged_in(),
            Class::Transient | Class::Permanent => self.log_in_refused(found, fault),
        }
    }

    fn logged_in(&mut self) {
        let Some(auth) = &mut self.auth else { return };
        let proved = auth.dialogue.take().map_or(Ok(()), |dialogue| dialogue.accepted());
        auth.done = true;
        match proved {
            Ok(()) => self.ready(),
            Err(fault) => self.lose(Fault::PeerAuth { fault }),
        }
    }

    fn answer_challenge(&mut self, found: Found) {
        let Some(auth) = &mut self.auth else { return };
        let challenge =
            self.reader.lines(found).next().map(|line| STANDARD.decode(line.trim_ascii()));
        let answer = match (auth.initial.take(), challenge, &mut auth.dialogue) {
            (Some(initial), ..) => Ok(initial),
            // Prompts of LOGIN are not worth a failure.
            (None, Some(Err(_)), _) if auth.mechanism != Mechanism::Login => {
                Err(SaslFault::PeerMalformed)
            }
            (None, challenge, Some(dialogue)) => {
                let challenge = challenge.and_then(Result::ok).unwrap_or_default();
                dialogue.answer(&auth.log_in.credentials, &challenge)
            }
            (None, _, None) => Err(SaslFault::PeerUnasked),
        };
        let line = match answer {
            Ok(answer) => STANDARD.encode(answer),
            Err(fault) => {
                auth.fault = Some(fault);
                "*".to_owned()
            }
        };
        self.await_phase(Phase::Auth);
        self.send(line.as_bytes());
        self.send(b"\r\n");
    }

    fn log_in_refused(&mut self, found: Found, fault: Option<SaslFault>) {
        let reply = self.reader.reply(found);
        if found.code == Code::SHUTTING_DOWN {
            let trouble = Trouble::of_reply(Phase::Auth, Scope::Host, reply);
            return self.lose_by(Verdict::Deferred(trouble));
        }
        let Some(auth) = &mut self.auth else { return };
        if let Some(fault) = fault {
            return self.say_goodbye(Fault::PeerAuth { fault }.verdict(false));
        }
        if matches!(found.code.number(), 500 | 502 | 504 | 534) {
            auth.refused = auth.refused.with(auth.mechanism);
            if auth.choose(self.peer.mechanisms, self.in_tls).is_some() {
                return self.send_auth();
            }
        }
        self.say_goodbye(Fault::PeerAuthRefused { reply }.verdict(false));
    }
}
