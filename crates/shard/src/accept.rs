//! The way in: sessions of clients, and what it takes for a message to be
//! admitted: relay rights, bounds, id, trace header, the log.
//!
//! Never answers 250 itself: that is `commit`'s news, served by
//! [`Shard::serve_commits`]. Invariant: a refusal for our own shortage is a
//! 4yz, never a 5yz (design §1.8).
//!
//! Read first: RFC 5321 §4.4, RFC 6409 §8, RFC 5321 §6.1.

use std::net::SocketAddr;

use base::planted::{Bug, planted};
use base::{ConnId, MessageId, Micros, Monotonic};
use control::TlsMode;
use control::users::Fingerprint;
use eventlog::{Field, Kind, Line};
use mail::Status;
use mail::header::{self, Protocol, Trace};
use smtp::Answer;
use smtp::submission::{Progress, Received, Session};
use spool::{Meta, Refusal};

use crate::armed::{Armed, Timer};
use crate::client_tls::starttls;
use crate::commit::Waiter;
use crate::effect::Effect;
use crate::gate::{Gate, full};
use crate::quota::{Who, network_of};
use crate::shard::{Shard, Turn};

/// Octets of messages under way that one shard holds in memory before it
/// takes no new ones.
pub const INTAKE_BYTES_MAX: usize = 256 << 20;
/// Octets at which sessions are cut off rather than more memory used.
pub const INTAKE_BYTES_HARD_MAX: usize = 512 << 20;
/// Room for the fields put in front of a message.
const TRACE_BYTES_MAX: u32 = 4_096;

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) session: Session,
    pub(crate) peer: SocketAddr,
    may_relay: bool,
    /// Whose limits it counts under as a session.
    pub(crate) who: Who,
    /// The certificate that it has shown.
    pub(crate) certificate: Option<Fingerprint>,
    pub(crate) since: Monotonic,
    /// When the transaction under way began.
    pub(crate) begun: Option<Micros>,
    /// Octets that came.
    pub(crate) bytes: u64,
    paused: bool,
    held: usize,
    /// A whole message that waits for a segment.
    pending: Option<Box<Received>>,
    armed: Armed,
}

/// How a message came to us.
pub(crate) enum Door<'a> {
    /// In a session.
    Session { conn: ConnId, inbound: &'a Inbound },
    /// Without one; `by` says how, and who brought it.
    Beside { request: u64, by: &'a str },
}

impl Shard {
    /// A client connected.
    pub(crate) fn accepted(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        peer: SocketAddr,
        listener: u16,
    ) {
        let (settings, bounds) = (self.submission.clone(), &self.policy.submission);
        let from_peer = self.inbound_of.get(&peer.ip()).copied().unwrap_or(0);
        let network = network_of(&self.policy, peer.ip());
        let enters = match (&mut self.quotas, network) {
            (Some(quotas), Some(network)) => quotas.enter_network(network, turn.now.mono),
            _ => true,
        };
        let network = network.filter(|_| enters);
        let refusal = if self.draining {
            Some(Answer::new(421, Status::SYSTEM_CLOSED, "shutting down"))
        } else if self.inbound.len() as u32
            >= self.share(bounds.max_connections) + u32::from(planted(Bug::ClientLimitPassed))
            || from_peer >= self.share(bounds.max_connections_per_peer)
            || !enters
        {
            Some(self.too_many_clients(turn, peer))
        } else {
            None
        };
        self.metrics.sessions_in += 1;
        let session = match (refusal, self.tls_at(listener)) {
            // Not worth a handshake, and not to be said in the clear.
            (Some(_), TlsMode::Implicit) => {
                turn.effects.push(Effect::Close { conn });
                self.leave(&Who { network, user: None });
                return;
            }
            (Some(refusal), _) => Session::refusing(settings, refusal, turn.now.mono),
            (None, TlsMode::Implicit) => {
                turn.effects.push(Effect::AcceptTls { conn });
                Session::new(settings, turn.now.mono).with_implicit_tls(turn.now.mono)
            }
            (None, mode) => Session::new(settings, turn.now.mono).with_tls(starttls(mode)),
        };
        let session = self.with_rights(session, peer.ip(), listener);
        let inbound = Inbound {
            session,
            peer,
            may_relay: self.policy.submission.may_relay(peer.ip()),
            who: Who { network, user: None },
            certificate: None,
            since: turn.now.mono,
            begun: None,
            bytes: 0,
            paused: false,
            held: 0,
            pending: None,
            armed: Armed::default(),
        };
        *self.inbound_of.entry(peer.ip()).or_insert(0) += 1;
        self.inbound.insert(conn, Box::new(inbound));
        if self.detailed() {
            let line = Line::new(turn.now.wall, Kind::Connected).text(Field::Way, "in");
            let line = line.session(self.session_name(conn));
            let line = line.show(Field::Client, peer.ip());
            self.look_at_client(turn, conn, peer);
            self.tell(turn, conn, line.number(Field::Port, peer.port()));
        }
        self.run_session(turn, conn, Vec::new());
    }

    /// A client sent bytes. While a segment is being made the clients wait, as
    /// at a slow disk: a burst is no reason to send anybody away.
    pub(crate) fn inbound_received(&mut self, turn: &mut Turn<'_>, conn: ConnId, bytes: &[u8]) {
        if !self.announcing.is_empty() && self.announced(turn, conn, bytes) {
            return;
        }
        let waits = self.spool.waits_for_room();
        let Some(inbound) = self.inbound.get_mut(&conn) else { return };
        inbound.bytes += bytes.len() as u64;
        inbound.session.push(bytes);
        if waits {
            if !inbound.paused {
                inbound.paused = true;
                turn.effects.push(Effect::Pause { conn, paused: true });
            }
            self.stalled.push(conn);
            return;
        }
        self.run_session(turn, conn, Vec::new());
    }

    /// The log has room again, or has said that there will be none: clients
    /// that waited for that go on.
    pub(crate) fn resume_stalled(&mut self, turn: &mut Turn<'_>) {
        for conn in std::mem::take(&mut self.stalled) {
            let whole = self.inbound.get(&conn).is_some_and(|inbound| inbound.pending.is_some());
            if self.spool.waits_for_room() && !whole {
                self.stalled.push(conn);
            } else {
                self.run_session(turn, conn, Vec::new());
            }
        }
        self.store_submitted(turn);
    }

    /// A client's deadline may have come.
    pub(crate) fn inbound_timer(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        if self.announced_too_late(turn, conn) {
            return;
        }
        let Some(inbound) = self.inbound.get_mut(&conn) else { return };
        inbound.armed.fired();
        let mut out = Vec::new();
        if inbound.session.timeout(turn.now.mono, &mut out) {
            self.finish_session(turn, conn, out);
        } else if !out.is_empty() {
            self.run_session(turn, conn, out);
        } else {
            let deadline = inbound.session.deadline();
            inbound.armed.set(&mut self.timers, deadline, Timer::Conn(conn));
        }
    }

    /// A client is gone. What it had not finished was never ours.
    pub(crate) fn inbound_closed(&mut self, conn: ConnId) {
        self.forget_announcing(conn);
        let Some(mut inbound) = self.inbound.remove(&conn) else { return };
        self.look_away(conn);
        inbound.armed.clear(&mut self.timers);
        self.leave(&inbound.who);
        self.intake_held -= inbound.held;
        let peer = inbound.peer.ip();
        if let Some(count) = self.inbound_of.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.inbound_of.remove(&peer);
            }
        }
    }

    /// Tells every session that we are shutting down; those with a message
    /// under way finish it first.
    pub(crate) fn shut_sessions(&mut self, turn: &mut Turn<'_>) {
        let mut conns: Vec<ConnId> = self.inbound.keys().copied().collect();
        conns.sort_unstable();
        for conn in conns {
            if let Some(inbound) = self.inbound.get_mut(&conn) {
                inbound.session.shut_down();
                self.run_session(turn, conn, Vec::new());
            }
        }
    }

    /// The sync for a client's message has ended, well or not.
    pub(crate) fn answer_client(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        stored: Result<MessageId, Answer>,
    ) {
        self.time_accepted(turn, conn, stored.is_ok());
        let Some(inbound) = self.inbound.get_mut(&conn) else { return };
        let answer = match stored {
            Ok(id) => Answer::new(250, Status::OK, format!("Ok: queued as {id}")),
            Err(answer) => answer,
        };
        let mut out = Vec::with_capacity(64);
        inbound.session.answer(turn.now.mono, &answer, &mut out);
        self.run_session(turn, conn, out);
    }

    /// Lets a session work off its input and carries out what comes of it.
    pub(crate) fn run_session(&mut self, turn: &mut Turn<'_>, conn: ConnId, mut out: Vec<u8>) {
        let told = self.tell_said(turn, conn, &out);
        let Some(mut inbound) = self.inbound.remove(&conn) else { return };
        let mut gate = Gate {
            may_relay: inbound.may_relay || inbound.session.user().is_some(),
            closed: self.closed_for_mail(),
            policy: (!self.policy.locals.is_empty()).then(|| self.policy.clone()),
            log_ins: self.log_ins.take(),
            quotas: self.quotas.take(),
            etrns: self.etrns.take(),
            who: inbound.who.clone(),
            client: inbound.peer.ip(),
            now: turn.now.mono,
            detailed: self.detailed(),
            watched: self.logged.watching.is_some(),
            seen: Vec::new(),
        };
        let (mut over, mut secure) = (false, false);
        let mut waits = match inbound.pending.take() {
            Some(received) => self.admit_or_answer(turn, conn, &mut inbound, received, &mut out),
            None => false,
        };
        while !waits {
            match inbound.session.advance(turn.now.mono, &mut out, &mut gate) {
                Progress::NeedInput => break,
                Progress::StartTls => secure = true,
                Progress::Close => {
                    over = true;
                    break;
                }
                Progress::Message(received) => {
                    waits = self.admit_or_answer(turn, conn, &mut inbound, received, &mut out);
                }
            }
        }
        inbound.who.user.clone_from(&gate.who.user);
        inbound.note_begun(turn.now);
        self.let_out(turn, conn, gate);
        let pending = inbound.pending.as_ref().map_or(0, |received| received.body.len());
        let held = inbound.session.message_bytes_held() + pending;
        self.intake_held = self.intake_held + held - inbound.held;
        inbound.held = held;
        if self.intake_held > INTAKE_BYTES_HARD_MAX && held > 0 {
            Answer::new(421, Status::SYSTEM_FULL, "out of memory, try again later").write(&mut out);
            self.metrics.refused_for_now += 1;
            over = true;
        }
        let paused = !inbound.session.wants_input();
        if paused != inbound.paused && !over {
            inbound.paused = paused;
            turn.effects.push(Effect::Pause { conn, paused });
        }
        let deadline = inbound.session.deadline();
        inbound.armed.set(&mut self.timers, deadline, Timer::Conn(conn));
        self.inbound.insert(conn, inbound);
        if over {
            self.end_session(turn, conn, out, told);
        } else if !out.is_empty() {
            self.say_to_client(turn, conn, out, told);
            if secure {
                turn.effects.push(Effect::AcceptTls { conn });
            }
        }
    }

    pub(crate) fn finish_session(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: Vec<u8>) {
        self.end_session(turn, conn, out, 0);
    }

    fn end_session(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: Vec<u8>, told: usize) {
        self.say_to_client(turn, conn, out, told);
        turn.effects.push(Effect::Close { conn });
        self.inbound_closed(conn);
    }

    /// Admits a message, or answers why not. True while its client must wait:
    /// for the sync, or for a segment that is being made.
    fn admit_or_answer(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        inbound: &mut Inbound,
        mut received: Box<Received>,
        out: &mut Vec<u8>,
    ) -> bool {
        // What a client sends counts, not what it declares: a next hop must be
        // told, or be spared what it cannot take (RFC 6152 §3).
        if received.eight_bit {
            received.envelope.body = mail::Body::EightBit;
        }
        let door = Door::Session { conn, inbound };
        let Err(refusal) = self.admit(turn, &door, &received) else {
            if planted(Bug::AnsweredBeforeSync) {
                let taken = Answer::new(250, Status::OK, "Ok: queued");
                inbound.session.answer(turn.now.mono, &taken, out);
            }
            return !planted(Bug::AnsweredBeforeSync);
        };
        self.spool.kick(turn.medium, turn.now);
        if refusal == Refusal::LocalFull && self.spool.awaits_segment() {
            inbound.pending = Some(received);
            self.stalled.push(conn);
            return true;
        }
        let answer = refused(&refusal);
        inbound.session.answer(turn.now.mono, &answer, out);
        self.count_refusal(&answer);
        false
    }

    /// Writes a message into the log and puts its client in the waiting line.
    pub(crate) fn admit(
        &mut self,
        turn: &mut Turn<'_>,
        door: &Door<'_>,
        received: &Received,
    ) -> Result<(), Refusal> {
        let client = match door {
            Door::Session { inbound, .. } => Some(inbound.peer.ip()),
            Door::Beside { .. } => None,
        };
        let meta = Meta { client, helo: &received.hello, ..Meta::default() };
        let room = u32::try_from(received.body.len())
            .ok()
            .and_then(|bytes| bytes.checked_add(TRACE_BYTES_MAX))
            .ok_or(Refusal::LocalTooLarge)?;
        let id = self.spool.place_message(&meta, &received.envelope, room)?;
        let mut front = std::mem::take(&mut self.scratch);
        front.clear();
        self.write_front(turn, id, door, received, &mut front);
        let appended = self.spool.append_message(
            turn.medium,
            turn.now,
            &meta,
            &received.envelope,
            &[&front, &received.body],
        );
        self.scratch = front;
        let appended = appended?;
        assert_eq!(appended.id, id, "the id in the trace header is the message's");
        let waiter = match door {
            Door::Session { conn, .. } => {
                let conn = Some(*conn).filter(|_| !planted(Bug::AnsweredBeforeSync));
                Waiter::Accepted { conn, message: id }
            }
            Door::Beside { request, .. } => Waiter::Submitted { request: *request, message: id },
        };
        self.commits.wait(appended.position, waiter);
        self.metrics.messages_accepted += 1;
        self.metrics.recipients_accepted += received.envelope.recipients.len() as u64;
        self.metrics.bytes_accepted += received.size;
        if self.logs_mail() {
            self.log_accepted(turn, id, door, received);
        }
        Ok(())
    }

    /// The fields in front of the message: `Received`, and what is missing
    /// (RFC 6409 §8.2, RFC 6409 §8.3).
    fn write_front(
        &self,
        turn: &Turn<'_>,
        id: MessageId,
        door: &Door<'_>,
        received: &Received,
        front: &mut Vec<u8>,
    ) {
        let only_recipient = match &received.envelope.recipients[..] {
            [only] => Some(&only.address),
            _ => None,
        };
        let (host, arrival) = (&self.policy.hostname, turn.now.wall);
        match door {
            Door::Session { inbound, .. } => {
                let trace = Trace {
                    hello: received.hello.as_bytes(),
                    client: inbound.peer.ip(),
                    host,
                    protocol: Protocol {
                        esmtp: received.esmtp,
                        smtputf8: received.envelope.smtputf8,
                        tls: inbound.session.is_secure(),
                        authenticated: inbound.session.user().is_some(),
                        lmtp: inbound.session.is_lmtp(),
                    },
                    only_recipient,
                    arrival,
                };
                header::received_field(&trace, id, front);
            }
            Door::Beside { by, .. } => {
                header::received_beside(by, host, only_recipient, arrival, id, front);
            }
        }
        if !received.header.has_date {
            header::date_field(turn.now.wall, front);
        }
        if !received.header.has_message_id {
            let unique = format_args!("{id}.{}", turn.now.wall.as_millis());
            header::message_id_field(unique, &self.policy.hostname, front);
        }
        if received.header.needs_empty_line() {
            front.extend_from_slice(b"\r\n");
        }
    }

    pub(crate) fn count_refusal(&mut self, answer: &Answer) {
        if answer.code.number() < 500 {
            self.metrics.refused_for_now += 1;
        } else {
            self.metrics.refused_for_good += 1;
        }
    }
}

/// The answer to a message that the log did not take.
pub(crate) fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::LocalFull => full("insufficient disk space, try again later"),
        Refusal::LocalTooLarge => {
            Answer::new(552, Status::TOO_LARGE, "message too large for this queue")
        }
        _ => Answer::new(451, Status::SYSTEM, "the message could not be stored, try again later"),
    }
}

/// The answer to a client whose message a failed sync lost.
pub(crate) fn lost() -> Answer {
    refused(&Refusal::LocalDown)
}
