//! One message through a client session: MAIL, RCPT, DATA, the final dot.
//!
//! Never here: bytes of the message; they go from the store to the socket
//! without a stay in the session. Invariants: replies are matched to commands
//! one by one, in order; each recipient gets exactly one verdict; a message
//! goes out only to a peer that said 354 and took a recipient.
//!
//! Read first: RFC 5321 §4.1.1, RFC 2920 §3.1, RFC 5321 §4.2.5.

use base::Monotonic;
use base::planted::{Bug, planted};
use mail::{Body, Notify, Return, Status, xtext};

use crate::client::{Client, Output, State};
use crate::ehlo::{Capabilities, Extension};
use crate::reply::{Code, Found, Reply};
use crate::timeout::Phase;
use crate::verdict::{Fault, Judgement, Verdict, judge};

/// A message to be sent, its addresses as they stand on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The reverse-path without brackets; empty for the null path.
    pub sender: &'a str,
    /// At least one.
    pub recipients: &'a [RecipientTo<'a>],
    /// Octets of the message without dot-stuffing.
    pub size: u64,
    /// Whether it has octets above 127.
    pub body: Body,
    /// Whether it needs SMTPUTF8.
    pub smtputf8: bool,
    /// RET, for a peer that offers DSN.
    pub ret: Option<Return>,
    /// ENVID, xtext, for a peer that offers DSN.
    pub envid: Option<&'a str>,
}

/// A recipient of a [`Transaction`].
#[derive(Clone, Copy, Debug)]
pub struct RecipientTo<'a> {
    /// The forward-path without brackets.
    pub address: &'a str,
    /// NOTIFY, for a peer that offers DSN.
    pub notify: Notify,
    /// ORCPT as received, for a peer that offers DSN.
    pub orcpt: Option<&'a str>,
}

/// A transaction was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Whether the peer was told RET, ENVID, NOTIFY and ORCPT. When not,
    /// whoever asked for a report of success is owed one that says `relayed`
    /// (RFC 3461 §5.2.2).
    pub dsn: bool,
}

/// Why a message cannot be given to this peer as it is. Nothing was sent; the
/// session is as ready as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Larger than the peer takes (RFC 1870 §6.2).
    #[error("the message has {size} octets, and the peer takes {size_max}")]
    PeerTooSmall {
        /// Octets of the message.
        size: u64,
        /// What the peer announced.
        size_max: u64,
    },
    /// 8-bit content, and the peer takes ASCII only: convert it, or give up
    /// (RFC 6152 §3).
    #[error("the message has 8-bit content, and the peer does not offer 8BITMIME")]
    PeerNeedsConversion,
    /// UTF-8 in addresses or header fields, and the peer takes ASCII only
    /// (RFC 6531 §3.2).
    #[error("the message needs SMTPUTF8, and the peer does not offer it")]
    PeerNeedsAscii,
    /// An address or parameter that would break the command line it stands in.
    #[error("an address or parameter has a control character")]
    LocalMalformed,
}

impl Unfit {
    /// The enhanced code for a recipient that fails of it.
    pub const fn status(self) -> Status {
        match self {
            Self::PeerTooSmall { .. } => Status::TOO_LARGE,
            Self::PeerNeedsConversion => Status::CONVERSION_IMPOSSIBLE,
            Self::PeerNeedsAscii => Status::NOT_ASCII,
            Self::LocalMalformed => Status::BAD_RECIPIENT_SYNTAX,
        }
    }
}

/// The transaction under way. Its buffers serve one transaction after another.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// All command lines: MAIL, each RCPT, DATA.
    commands: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    sent: usize,
    answered: usize,
    /// One per recipient.
    fates: Vec<Fate>,
    taken: usize,
    /// In LMTP, how many of these have their reply to the final dot, and where
    /// the next one stands at the earliest.
    replied: usize,
    next_taken: usize,
    mail_taken: bool,
    /// A RCPT was taken after MAIL was refused: the peer makes no sense.
    nonsense: bool,
    size: u64,
    /// All commands are sent at once.
    pub(crate) ahead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Taken,
    Settled,
}

impl Open {
    /// Whether no more than one reply is to come.
    pub(crate) fn awaits_one(&self) -> bool {
        self.sent == self.answered + 1
    }

    /// Whether a recipient has no verdict yet.
    pub(crate) fn is_undecided(&self) -> bool {
        self.fates.iter().any(|fate| *fate != Fate::Settled)
    }

    /// In LMTP, whose reply to the final dot comes next, and whether it is the
    /// last.
    pub(crate) fn next_reply_for(&mut self) -> Option<(usize, bool)> {
        let rest = self.fates.get(self.next_taken..)?;
        let at = self.next_taken + rest.iter().position(|fate| *fate == Fate::Taken)?;
        self.next_taken = at + 1;
        self.replied += 1;
        Some((at, self.replied == self.taken))
    }

    fn phase(&self) -> Phase {
        match self.answered {
            0 => Phase::Mail,
            index if index <= self.fates.len() => Phase::Rcpt,
            _ => Phase::Data,
        }
    }

    fn write(&mut self, transaction: &Transaction<'_>, utf8: bool, peer: &Capabilities) {
        self.commands.clear();
        self.ends.clear();
        self.fates.clear();
        (self.sent, self.answered, self.taken) = (0, 0, 0);
        (self.replied, self.next_taken) = (0, 0);
        (self.mail_taken, self.nonsense) = (false, false);
        self.size = transaction.size;
        write_mail(transaction, utf8, peer, &mut self.commands);
        self.ends.push(self.commands.len());
        for recipient in transaction.recipients {
            write_rcpt(recipient, peer, &mut self.commands);
            self.ends.push(self.commands.len());
            self.fates.push(Fate::Unknown);
        }
        self.commands.extend_from_slice(b"DATA\r\n");
        self.ends.push(self.commands.len());
    }

    /// The next command line, or all that are left.
    fn unsent(&mut self, all: bool) -> &[u8] {
        let start = self.sent.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.sent = if all { self.ends.len() } else { self.sent + 1 };
        &self.commands[start..self.ends[self.sent - 1]]
    }
}

impl Client {
    /// Begins a transaction, after [`Output::Ready`] or [`Output::Done`].
    ///
    /// # Errors
    /// [`Unfit`], without a byte sent.
    ///
    /// # Panics
    /// When the session is not ready, or without recipients: a bug of the
    /// caller.
    pub fn begin(&mut self, now: Monotonic, transaction: &Transaction<'_>) -> Result<Begun, Unfit> {
        assert_eq!(self.state, State::Ready, "the session is not ready for a transaction");
        assert!(!transaction.recipients.is_empty(), "a transaction needs a recipient");
        let utf8 = check(transaction, &self.peer)?;
        self.now = now;
        self.state = State::Envelope;
        self.open.write(transaction, utf8, &self.peer);
        self.open.ahead = self.settings.pipelining && self.peer.has(Extension::Pipelining);
        self.send_commands(self.open.ahead);
        Ok(Begun { dsn: self.peer.has(Extension::Dsn) })
    }

    /// Lets the message go out, after [`Output::BodyDue`] and once the attempt
    /// is noted.
    ///
    /// # Panics
    /// When no message is due: a bug of the caller. A session that was closed
    /// meanwhile says so by its outputs.
    pub fn continue_body(&mut self, now: Monotonic) {
        if self.state == State::Closed {
            return;
        }
        assert_eq!(self.state, State::BodyDue, "no message is due");
        self.now = now;
        if !self.reader.unread().is_empty() {
            self.lose(Fault::PeerUnasked { phase: Phase::Body });
            return;
        }
        self.state = State::Body { drained: None };
        self.body_until = now + self.settings.timeouts.body_total(self.open.size);
        self.await_phase(Phase::Body);
        self.outputs.push_back(Output::Body);
        self.send(if planted(Bug::QuitBehindDot) { b".\r\nQUIT\r\n" } else { b".\r\n" });
    }

    /// Says that output reached the kernel and `left` octets of it did not yet,
    /// the message's own among them. Call it whenever a write completes: the
    /// message's deadline moves on with it, the wait for the reply to the
    /// final dot begins when nothing is left, and no reply counts for the dot
    /// before.
    pub fn drained(&mut self, now: Monotonic, left: u64) {
        let in_queue = |output: &Output| matches!(output, Output::Send(_) | Output::Body);
        if self.outputs.iter().any(in_queue) {
            // A write of earlier output completed; the message is here yet.
            return;
        }
        let State::Body { drained } = &mut self.state else { return };
        let was_out = *drained == Some(0);
        *drained = Some(left);
        self.now = now;
        if left > 0 {
            // What came before the dot was out is no answer to it.
            if self.early.is_some() || !self.reader.unread().is_empty() {
                self.lose(Fault::PeerUnasked { phase: Phase::Body });
            } else {
                self.await_phase(Phase::Body);
            }
        } else if !was_out {
            self.await_phase(Phase::Dot);
            if let Some(reply) = self.early.take() {
                self.dot_reply(&reply);
            }
            self.read_replies();
        }
    }

    fn send_commands(&mut self, all: bool) {
        let mut open = std::mem::take(&mut self.open);
        self.send(open.unsent(all));
        self.await_phase(open.phase());
        self.open = open;
    }

    /// The reply to a command of the envelope.
    pub(crate) fn envelope_reply(&mut self, found: Found) {
        let phase = self.open.phase();
        let index = self.open.answered;
        let others_taken = self.open.taken > 0;
        self.open.answered += 1;
        // Most replies are a 2yz that nobody will read again.
        let judgement = match self.plainly_good(phase, found.code) {
            true => Judgement::GoOn,
            false => judge(phase, &self.reader.reply(found), others_taken),
        };
        match (judgement, phase) {
            (Judgement::SessionOver(verdict), _) => return self.lose_by(verdict),
            (Judgement::GoOn, Phase::Mail) => self.open.mail_taken = true,
            (Judgement::Refused(verdict), Phase::Mail) => self.settle_rest(&verdict),
            (Judgement::GoOn, Phase::Rcpt) if self.open.mail_taken => {
                self.open.fates[index - 1] = Fate::Taken;
                self.open.taken += 1;
            }
            (Judgement::GoOn, Phase::Rcpt) => self.open.nonsense = true,
            (Judgement::Refused(verdict), Phase::Rcpt) => self.settle(index - 1, verdict),
            (Judgement::GoOn, _) => return self.may_send_body(),
            (Judgement::Refused(verdict), _) => {
                self.settle_rest(&verdict);
                return self.end_transaction();
            }
        }
        self.next_command();
    }

    fn plainly_good(&self, phase: Phase, code: Code) -> bool {
        matches!((phase, code.number()), (Phase::Mail | Phase::Rcpt, 250) | (Phase::Data, 354))
    }

    fn next_command(&mut self) {
        let open = &self.open;
        if open.sent > open.answered {
            return self.await_phase(open.phase());
        }
        let all_asked = open.answered > open.fates.len();
        if !open.mail_taken || (all_asked && open.taken == 0) {
            return self.end_transaction();
        }
        self.send_commands(false);
    }

    /// 354: the message may come, if there is anybody to get it.
    fn may_send_body(&mut self) {
        if self.open.taken > 0 {
            self.state = State::BodyDue;
            self.deadline = None;
            self.outputs.push_back(Output::BodyDue);
        } else if self.open.nonsense || self.settings.lmtp {
            // In LMTP nobody would answer a dot for nobody (RFC 2033 §4.2).
            self.lose(Fault::PeerUnasked { phase: Phase::Data });
        } else {
            // RFC 2920 §3.1: nobody is to get it, so there is nothing in it.
            self.state = State::EmptyDot;
            self.await_phase(Phase::Dot);
            self.send(b".\r\n");
        }
    }

    /// The reply to the final dot, or one that came while the message went out.
    pub(crate) fn dot_reply(&mut self, reply: &Reply) {
        if self.settings.lmtp {
            return self.dot_reply_for_one(reply);
        }
        let is_out = self.state == State::Body { drained: Some(0) };
        if !self.is_last_word() && !planted(Bug::QuitBehindDot) {
            // Which of the replies is meant for the dot nobody can know.
            return self.lose(Fault::PeerUnasked { phase: Phase::Dot });
        }
        match judge(Phase::Dot, reply, false) {
            Judgement::SessionOver(verdict) => self.lose_by(verdict),
            Judgement::GoOn => {
                self.settle_rest(&Verdict::Delivered { reply: reply.clone() });
                self.done();
            }
            Judgement::Refused(verdict) => {
                self.settle_rest(&verdict);
                if is_out {
                    self.done();
                } else {
                    // The rest of the message is not worth sending.
                    self.lose(Fault::PeerUnasked { phase: Phase::Body });
                }
            }
        }
    }

    /// No message was sent: a transaction that the peer still holds open is
    /// taken back.
    fn end_transaction(&mut self) {
        if !self.open.mail_taken {
            return self.done();
        }
        self.state = State::Reset;
        self.await_phase(Phase::Reset);
        self.send(b"RSET\r\n");
    }

    /// The session is ready for the next transaction.
    pub(crate) fn done(&mut self) {
        self.state = State::Ready;
        self.deadline = None;
        self.outputs.push_back(Output::Done);
    }

    /// Gives `verdict` to all recipients without one.
    pub(crate) fn settle_rest(&mut self, verdict: &Verdict) {
        for index in 0..self.open.fates.len() {
            self.settle(index, verdict.clone());
        }
    }

    pub(crate) fn settle(&mut self, index: usize, verdict: Verdict) {
        if std::mem::replace(&mut self.open.fates[index], Fate::Settled) != Fate::Settled {
            self.outputs.push_back(Output::Recipient { index, verdict });
        }
    }
}

/// Whether the peer can take the message as it is; says whether it needs
/// SMTPUTF8.
fn check(transaction: &Transaction<'_>, peer: &Capabilities) -> Result<bool, Unfit> {
    let Transaction { sender, recipients, size, envid, .. } = *transaction;
    let parameters = recipients.iter().filter_map(|recipient| recipient.orcpt).chain(envid);
    let addresses = recipients.iter().map(|recipient| recipient.address).chain([sender]);
    let mut needs_utf8 = transaction.smtputf8;
    for text in addresses.chain(parameters) {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(Unfit::LocalMalformed);
        }
        needs_utf8 |= !text.is_ascii();
    }
    if needs_utf8 && !peer.has(Extension::SmtpUtf8) {
        return Err(Unfit::PeerNeedsAscii);
    }
    if transaction.body == Body::EightBit && !peer.has(Extension::EightBitMime) {
        return Err(Unfit::PeerNeedsConversion);
    }
    match peer.size_max {
        Some(size_max) if size > size_max => Err(Unfit::PeerTooSmall { size, size_max }),
        _ => Ok(needs_utf8),
    }
}

/// Appends MAIL with the parameters that the peer knows (RFC 5321 §4.1.1.2).
fn write_mail(transaction: &Transaction<'_>, utf8: bool, peer: &Capabilities, out: &mut Vec<u8>) {
    let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend(part.as_bytes()));
    put(&["MAIL FROM:<", transaction.sender, ">"]);
    if peer.has(Extension::Size) {
        put(&[" SIZE=", &transaction.size.to_string()]);
    }
    if transaction.body == Body::EightBit {
        put(&[" BODY=8BITMIME"]);
    }
    if utf8 {
        put(&[" SMTPUTF8"]);
    }
    if peer.has(Extension::Dsn) {
        match transaction.ret {
            Some(Return::Full) => put(&[" RET=FULL"]),
            Some(Return::Headers) => put(&[" RET=HDRS"]),
            None => {}
        }
        if let Some(envid) = transaction.envid {
            put(&[" ENVID=", envid]);
        }
    }
    put(&["\r\n"]);
}

/// Appends RCPT; to a peer that offers DSN with the wishes of the submitter,
/// and with the address it was first meant for (RFC 3461 §5.2.1).
fn write_rcpt(recipient: &RecipientTo<'_>, peer: &Capabilities, out: &mut Vec<u8>) {
    let mut put = |parts: &[&str]| parts.iter().for_each(|part| out.extend(part.as_bytes()));
    put(&["RCPT TO:<", recipient.address, ">"]);
    if peer.has(Extension::Dsn) {
        if recipient.notify.is_set() {
            put(&[" NOTIFY=", &recipient.notify.to_string()]);
        }
        if let Some(orcpt) = recipient.orcpt {
            put(&[" ORCPT=", orcpt]);
        } else if recipient.address.is_ascii() {
            let mut address = String::with_capacity(recipient.address.len() + 8);
            xtext::encode(recipient.address, &mut address);
            put(&[" ORCPT=rfc822;", &address]);
        }
    }
    put(&["\r\n"]);
}
