//! The client's side of a session: delivery to one host.
//!
//! Inputs are method calls with the time, outputs are taken with
//! [`Client::poll`] until there is none, and [`Client::deadline`] says when
//! [`Client::timeout`] is due; do both after every input. Never here: which
//! host, when to retry, whether to reconnect; TLS, sockets, message bytes.
//! Invariants: each recipient of a transaction gets exactly one verdict, all
//! before [`Output::Done`] or [`Output::Closed`]; every wait has a deadline for
//! the whole reply; a reply out of place ends the session.
//!
//! Read first: RFC 5321 §3, RFC 5321 §4.5.3.2, RFC 2920 §3.1.

use std::collections::VecDeque;
use std::sync::Arc;

use base::Monotonic;
use base::limits::REPLY_BYTES_MAX;

use crate::auth::{Auth, LogIn};
use crate::ehlo::Capabilities;
use crate::reply::{Class, Code, Found, Reply, ReplyReader};
use crate::timeout::{Phase, Timeouts};
use crate::transaction::Open;
use crate::verdict::{Cause, Fault, Judgement, Loss, Scope, Trouble, Verdict, judge};

/// Whether and how a session uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    None,
    /// By STARTTLS when the peer offers it.
    Opportunistic,
    /// By STARTTLS, or no mail is sent.
    Required,
    /// From the first byte on: the caller has done the handshake.
    Implicit,
}

impl Tls {
    pub(crate) fn asks_for_starttls(self) -> bool {
        matches!(self, Self::Opportunistic | Self::Required)
    }

    pub(crate) fn is_required(self) -> bool {
        self == Self::Required
    }
}

/// How a session behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What we call ourselves: a name that leads back to us, or an address
    /// literal (RFC 5321 §4.1.4).
    pub ehlo_name: Arc<str>,
    /// TLS.
    pub tls: Tls,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Whether commands may be sent ahead to a peer that offers it; `true`.
    pub pipelining: bool,
    /// The log-in before the first message, where there is to be one.
    pub log_in: Option<LogIn>,
    /// LMTP rather than SMTP (RFC 2033); `false`.
    pub lmtp: bool,
}

/// What a session wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes; hand the buffer back with [`Client::recycle`].
    Send(Vec<u8>),
    /// Write the stored body, wire form without the final dot. What is to be
    /// sent behind it follows.
    Body,
    /// Run the TLS handshake, then call [`Client::tls_established`] or
    /// [`Client::tls_failed`].
    StartTls,
    /// The session may take a transaction: [`Client::begin`].
    Ready,
    /// The message may go out. Note the attempt, then call
    /// [`Client::continue_body`].
    BodyDue,
    /// What became of one recipient.
    Recipient {
        /// Its place in the transaction.
        index: usize,
        /// What became of it.
        verdict: Verdict,
    },
    /// All recipients have their verdict, and the session may take the next
    /// transaction.
    Done,
    /// The session is over: drop the connection.
    Closed(Closure),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// What it means for mail that waits for this connection: deferred, or
    /// failed when a 5yz to greeting or HELO says so, and always of
    /// [`Scope::Host`]. None when we asked for the end.
    pub verdict: Option<Verdict>,
    /// What may work better next time.
    pub hint: Option<Hint>,
    /// A message was under way, and what the caller still holds of it must not
    /// go out any more: nobody would be told of a copy that came about so.
    pub cut_off: bool,
}

impl Closure {
    /// An end in good order.
    fn orderly(verdict: Option<Verdict>, hint: Option<Hint>) -> Self {
        Self { verdict, hint, cut_off: false }
    }
}

/// What may work with a peer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A new connection without TLS; only where TLS was opportunistic.
    WithoutTls,
    /// A new connection without sending ahead.
    WithoutPipelining,
}

/// One session.
#[derive(Debug)]
pub struct Client {
    pub(crate) settings: Settings,
    /// The time of the last input.
    pub(crate) now: Monotonic,
    pub(crate) state: State,
    pub(crate) in_tls: bool,
    pub(crate) peer: Capabilities,
    pub(crate) reader: ReplyReader,
    pub(crate) outputs: VecDeque<Output>,
    /// What is awaited, for deadline and fault.
    phase: Phase,
    pub(crate) deadline: Option<Monotonic>,
    /// When the message must be out in any case.
    pub(crate) body_until: Monotonic,
    /// A good reply that came while the message went out.
    pub(crate) early: Option<Reply>,
    pub(crate) open: Open,
    pub(crate) auth: Option<Auth>,
    /// How the session will have ended when the goodbye is over.
    farewell: Option<Closure>,
    spare: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Auth,
    Ready,
    /// MAIL, RCPT and DATA.
    Envelope,
    BodyDue,
    /// The message and its dot were handed out; `drained`: octets that the
    /// caller last said it holds still.
    Body {
        drained: Option<u64>,
    },
    /// A dot without a message.
    EmptyDot,
    Reset,
    Quit,
    Closed,
}

/// Octets of buffer kept for the next output.
const SPARE_BYTES_MAX: usize = 64 << 10;

impl Client {
    /// A session on a fresh connection, which waits for the greeting.
    ///
    /// # Panics
    /// When the EHLO name is not printable ASCII: a bug of the caller.
    pub fn new(mut settings: Settings, now: Monotonic) -> Self {
        let name = settings.ehlo_name.as_bytes();
        assert!(!name.is_empty() && name.iter().all(u8::is_ascii_graphic), "the EHLO name is bad");
        let mut client = Self {
            auth: settings.log_in.take().map(Auth::new),
            in_tls: settings.tls == Tls::Implicit,
            settings,
            now,
            state: State::Greeting,
            peer: Capabilities::default(),
            reader: ReplyReader::default(),
            outputs: VecDeque::new(),
            phase: Phase::Greeting,
            deadline: None,
            body_until: now,
            early: None,
            open: Open::default(),
            farewell: None,
            spare: Vec::new(),
        };
        client.await_phase(Phase::Greeting);
        client
    }

    /// The next thing to do, or none until the next input.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Client::timeout`]; none while nothing is awaited of the
    /// peer. Changes with every input.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.deadline
    }

    /// What the last EHLO offered.
    pub fn peer(&self) -> &Capabilities {
        &self.peer
    }

    /// Whether the session is in TLS.
    pub fn in_tls(&self) -> bool {
        self.in_tls
    }

    /// What is awaited, for those who look on.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Ready | State::Closed => Phase::Idle,
            State::BodyDue => Phase::Body,
            _ => self.phase,
        }
    }

    /// Takes a buffer of [`Output::Send`] back, to be used again.
    pub fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// The peer sent `bytes`.
    pub fn received(&mut self, now: Monotonic, bytes: &[u8]) {
        if self.state == State::Closed || bytes.is_empty() {
            return;
        }
        self.now = now;
        if self.state == State::Handshake {
            return self.lose(Fault::PeerInjected);
        }
        self.reader.push(bytes);
        self.read_replies();
    }

    /// The connection is gone.
    pub fn closed(&mut self, now: Monotonic, loss: Loss) {
        self.now = now;
        self.give_up(Fault::PeerGone { phase: self.phase(), loss });
    }

    /// Ends the session when its deadline has come. Call it at
    /// [`Client::deadline`].
    pub fn timeout(&mut self, now: Monotonic) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.now = now;
            self.give_up(Fault::PeerTimedOut { phase: self.phase });
        }
    }

    /// Ends the session: with QUIT and a bounded wait for its reply when
    /// nothing is under way (RFC 5321 §4.1.1.10), at once otherwise.
    pub fn quit(&mut self, now: Monotonic) {
        self.now = now;
        match self.state {
            State::Quit | State::Closed => {}
            State::Ready => self.send_quit(Closure::orderly(None, None)),
            _ => self.lose(Fault::LocalEnded),
        }
    }

    /// Works off the replies that are here.
    pub(crate) fn read_replies(&mut self) {
        loop {
            match self.state {
                State::Closed | State::Handshake => return,
                State::Ready | State::BodyDue if self.reader.unread().is_empty() => return,
                // The reply that came early is kept; the next ones can wait,
                // as far as they are bounded.
                State::Body { .. } if self.early.is_some() => {
                    if self.reader.unread().len() > REPLY_BYTES_MAX {
                        self.lose(Fault::PeerUnasked { phase: Phase::Body });
                    }
                    return;
                }
                _ => {}
            }
            match self.reader.next_reply() {
                Ok(Some(found)) => self.reply(found),
                Ok(None) if self.state == State::Ready => {
                    return self.lose(Fault::PeerUnasked { phase: Phase::Idle });
                }
                Ok(None) => return,
                Err(fault) => {
                    let phase = self.phase();
                    return self.give_up(Fault::PeerGarbage { phase, fault });
                }
            }
        }
    }

    fn reply(&mut self, found: Found) {
        let asked_one = match self.state {
            State::Envelope => self.open.awaits_one(),
            State::Body { .. } | State::StartTls | State::Quit => false,
            _ => true,
        };
        if asked_one && !self.is_last_word() && found.code != Code::SHUTTING_DOWN {
            return self.lose(Fault::PeerUnasked { phase: self.phase() });
        }
        match self.state {
            State::Greeting => self.greeting_reply(found),
            State::Ehlo | State::Helo => self.hello_reply(found),
            State::StartTls => self.starttls_reply(found),
            State::Auth => self.auth_reply(found),
            State::Envelope => self.envelope_reply(found),
            State::Body { drained } => {
                let reply = self.reader.reply(found);
                let refused = found.code.class() >= Class::Transient && !self.settings.lmtp;
                if drained == Some(0) || refused {
                    self.dot_reply(&reply);
                } else {
                    self.early = Some(reply);
                }
            }
            State::EmptyDot | State::Reset => self.formality_reply(found),
            State::Quit => self.finish(),
            State::Ready | State::BodyDue => self.unasked_reply(found),
            State::Handshake | State::Closed => {}
        }
    }

    /// The reply to a lone dot or RSET, which change nothing for any recipient.
    fn formality_reply(&mut self, found: Found) {
        let reply = self.reader.reply(found);
        match judge(self.phase, &reply, false) {
            Judgement::SessionOver(verdict) => self.lose_by(verdict),
            Judgement::Refused(verdict) if self.state == State::Reset => self.say_goodbye(verdict),
            Judgement::GoOn | Judgement::Refused(_) => self.done(),
        }
    }

    /// A reply while nothing was asked: the peer may take its leave, or refuse
    /// a message before it has begun; all else is out of step.
    fn unasked_reply(&mut self, found: Found) {
        let reply = self.reader.reply(found);
        let phase = if self.state == State::Ready { Phase::Idle } else { Phase::Body };
        let fault = Fault::PeerUnasked { phase };
        if found.code == Code::SHUTTING_DOWN {
            let trouble = Trouble::of_reply(phase, Scope::Host, reply);
            return self.lose_by(Verdict::Deferred(trouble));
        }
        if let (State::BodyDue, Judgement::Refused(verdict)) =
            (self.state, judge(phase, &reply, false))
        {
            self.settle_rest(&verdict);
        }
        self.lose(fault);
    }

    /// Whether nothing stands behind the reply just read, but perhaps a
    /// goodbye, or its beginning, that is no answer to anything.
    pub(crate) fn is_last_word(&self) -> bool {
        self.reader.unread().iter().zip(b"421").all(|(byte, expected)| byte == expected)
    }

    /// Begins to wait for `phase`.
    pub(crate) fn await_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.deadline = self.settings.timeouts.of(phase).map(|span| self.now + span);
        if phase == Phase::Body {
            self.deadline = self.deadline.map(|deadline| deadline.min(self.body_until));
        }
    }

    /// Adds bytes to what is sent in this turn.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if let Some(Output::Send(buffer)) = self.outputs.back_mut() {
            buffer.extend_from_slice(bytes);
            return;
        }
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.extend_from_slice(bytes);
        self.outputs.push_back(Output::Send(buffer));
    }

    /// Ends the session in good order, for a reason.
    pub(crate) fn say_goodbye(&mut self, verdict: Verdict) {
        let hint = self.hint(&verdict);
        self.send_quit(Closure::orderly(Some(verdict), hint));
    }

    fn send_quit(&mut self, closure: Closure) {
        self.farewell = Some(closure);
        self.state = State::Quit;
        self.await_phase(Phase::Quit);
        self.send(b"QUIT\r\n");
    }

    fn give_up(&mut self, fault: Fault) {
        match self.state {
            State::Closed => {}
            State::Quit => self.finish(),
            _ => self.lose(fault),
        }
    }

    /// The goodbye is over, whatever the peer had to say to it.
    fn finish(&mut self) {
        let closure = self.farewell.take().unwrap_or(Closure::orderly(None, None));
        self.close(closure);
    }

    /// Ends the session at once for `fault`.
    pub(crate) fn lose(&mut self, fault: Fault) {
        let verdict = fault.verdict(self.dot_may_be_out());
        self.lose_by(verdict);
    }

    /// Ends the session at once; who has no verdict gets this one.
    pub(crate) fn lose_by(&mut self, verdict: Verdict) {
        let hint = self.hint(&verdict);
        let cut_off = matches!(self.state, State::Body { drained } if drained != Some(0));
        // What was not taken yet is void: nothing more is sent, or begun.
        self.outputs.retain(|output| matches!(output, Output::Recipient { .. }));
        self.settle_rest(&verdict);
        let for_others = match verdict {
            Verdict::InDoubt(trouble) => Verdict::Deferred(trouble),
            verdict => verdict,
        };
        self.close(Closure { verdict: Some(for_others), hint, cut_off });
    }

    fn close(&mut self, closure: Closure) {
        self.state = State::Closed;
        self.deadline = None;
        self.early = None;
        self.reader.clear();
        self.outputs.push_back(Output::Closed(closure));
    }

    /// Whether the peer may have the whole message (RFC 5321 §4.2.5). The
    /// caller says with [`Client::drained`] what it has not written; when it
    /// said nothing yet, all may be out.
    fn dot_may_be_out(&self) -> bool {
        match self.state {
            State::Body { drained: Some(left) } => left == 0,
            State::Body { drained: None } => !self.outputs.contains(&Output::Body),
            _ => false,
        }
    }

    fn hint(&self, verdict: &Verdict) -> Option<Hint> {
        let (Verdict::Deferred(trouble) | Verdict::InDoubt(trouble)) = verdict else { return None };
        let Cause::Fault(fault) = &trouble.cause else { return None };
        let no_hint = matches!(
            fault,
            Fault::LocalEnded
                | Fault::PeerInjected
                | Fault::PolicyTlsMissing
                | Fault::PolicyAuthMissing
                | Fault::PolicyAuthUnsafe
        );
        if no_hint {
            return None;
        }
        let about_tls = match self.state {
            State::StartTls | State::Handshake => true,
            // Some break only when the first bytes come out of TLS.
            State::Ehlo => self.in_tls,
            _ => false,
        };
        if about_tls && self.settings.tls == Tls::Opportunistic {
            return Some(Hint::WithoutTls);
        }
        // Whoever refuses all and hangs up has lost nothing.
        let hung_up = matches!(fault, Fault::PeerGone { .. }) && !self.open.is_undecided();
        let lost_some = self.state == State::Envelope && self.open.ahead && !hung_up;
        lost_some.then_some(Hint::WithoutPipelining)
    }
}

#[cfg(test)]
mod tests;
