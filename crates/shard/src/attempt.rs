//! One transaction after the other over a connection: what the session asks
//! for is done, what the peer says becomes verdicts.
//!
//! Invariants: the attempt record is in the log before the final dot goes out
//! (design §1.3); each recipient of a batch is settled, put back or carried to
//! the next host exactly once.
//!
//! Read first: RFC 5321 §4.2.5, RFC 2920 §3.1.

use base::planted::{Bug, planted};
use base::{ConnId, MessageId};
use control::InDoubt;
use mail::Status;
use meter::Stage;
use queue::{EntryKey, Phase, Take};
use smtp::{Closure, Output, Scope, Unfit, Verdict};
use spool::Try;

use crate::again::{is_our_end, parting};
use crate::batch::{Batch, BodySource};
use crate::commit::Waiter;
use crate::connect::tls_check;
use crate::effect::Effect;
use crate::handoff::spool_place;
use crate::outbound::{Link, Outbound};
use crate::permit::Spend;
use crate::settle::{Ended, EndedAs};
use crate::shard::{Shard, Turn};
use crate::suspend::{PARTED_PAUSE, PARTED_RUN_MAX};

impl Shard {
    /// Bytes from a next hop.
    pub(crate) fn outbound_received(&mut self, turn: &mut Turn<'_>, conn: ConnId, bytes: &[u8]) {
        let Some(mut out) = self.pick(conn) else { return };
        if matches!(out.link, Link::Proxy { .. }) {
            return self.proxy_said(turn, conn, out, bytes);
        }
        if self.detailed() {
            self.heard_in(turn, conn, "out", bytes);
        }
        if bytes.is_empty() {
            return self.keep(turn, conn, out);
        }
        if matches!(out.link, Link::Idle { .. }) {
            self.leave_idle(conn, &mut out);
        }
        match &mut out.link {
            Link::Session(client) => client.received(turn.now.mono, bytes),
            Link::Pop(pop) => {
                let said = pop.received(turn.now.mono, bytes);
                return self.go_on_with_log_in(turn, conn, out, said);
            }
            Link::Token { .. }
            | Link::Connecting { .. }
            | Link::Proxy { .. }
            | Link::Handshake { .. }
            | Link::Folder { .. }
            | Link::Idle { .. } => {}
        }
        self.drive(turn, conn, out);
    }

    /// Output reached the kernel; `left` bytes of it did not yet.
    pub(crate) fn outbound_drained(&mut self, turn: &mut Turn<'_>, conn: ConnId, left: u64) {
        let Some(mut out) = self.pick(conn) else { return };
        if let Link::Session(client) = &mut out.link {
            client.drained(turn.now.mono, left);
        }
        self.drive(turn, conn, out);
    }

    /// Carries out what a session wants, until it waits for the peer.
    pub(crate) fn drive(&mut self, turn: &mut Turn<'_>, conn: ConnId, mut out: Box<Outbound>) {
        while let Link::Session(client) = &mut out.link {
            match client.poll() {
                None if std::mem::take(&mut out.body_unwatched) => {
                    client.drained(turn.now.mono, 0);
                }
                None => break,
                Some(Output::Send(bytes)) => {
                    if self.detailed() {
                        let secret = client.phase() == smtp::Phase::Auth;
                        self.said_to_host(turn, conn, &bytes, secret);
                    }
                    turn.effects.push(Effect::Send { conn, bytes });
                }
                Some(Output::Body) => {
                    let batch = out.batch.as_ref();
                    out.body_unwatched = batch.is_some_and(|batch| !batch.send_body(turn, conn));
                }
                Some(Output::StartTls) => {
                    out.since = turn.now.micros;
                    turn.effects.push(Effect::StartTls { conn, check: tls_check(&out.at) });
                }
                Some(Output::Ready) => {
                    if out.at.socket.is_none() {
                        self.peers.note_up(turn.now.mono, out.at.addr);
                    }
                    self.next_batch(turn, conn, &mut out);
                }
                Some(Output::Done) => {
                    out.sent += 1;
                    out.batch = None;
                    self.time(turn, Stage::Deliver, out.since);
                    self.site_took_mail(turn, &out);
                    self.next_batch(turn, conn, &mut out);
                }
                Some(Output::BodyDue) => self.body_due(turn, conn, &mut out),
                Some(Output::Recipient { index, verdict }) => {
                    self.recipient_verdict(turn, &mut out, index, &verdict);
                }
                Some(Output::Closed(closure)) => {
                    return self.session_over(turn, conn, out, closure);
                }
            }
        }
        match out.link {
            Link::Folder { over: true, .. } => self.release(turn, out),
            _ => self.keep(turn, conn, out),
        }
    }

    /// The session can take mail: the batch that came along, or what is next.
    pub(crate) fn next_batch(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &mut Outbound) {
        match &out.batch {
            Some(Batch { body: BodySource::Unread, .. }) => return self.prefetch(turn, conn, out),
            Some(_) => return self.begin(turn, conn, out),
            None => {}
        }
        let mut parted = 0;
        loop {
            let spent = out.sent >= out.way.messages_per_connection;
            let stopped = self.draining || self.spool.is_down();
            let leave = stopped || spent || self.permits.must_shrink(&out.limit_key);
            if leave || !self.is_current(out) {
                return quit(turn, out);
            }
            let exempt = planted(Bug::RatePassed) && out.sent > 0;
            let allowed = exempt || self.take_token(turn, out);
            let most = out.way.recipients_per_message as usize;
            let mut entries = Vec::new();
            let taken = self.queue.take(turn.now, out.site, out.phase, most, &mut entries);
            out.phase = Phase::Busy;
            match taken {
                Take::Batch(batch) => {
                    self.part_suspended(turn, batch, &mut entries);
                    if entries.is_empty() {
                        self.return_token(out, allowed);
                        parted += 1;
                        if parted >= PARTED_RUN_MAX {
                            self.queue.pause(out.site, Some(turn.now.mono + PARTED_PAUSE));
                        }
                        continue;
                    }
                    self.note_all_in_use(turn, out);
                    out.batch = self.cold_batch(turn, batch.message, &entries);
                    if out.batch.is_some() {
                        return self.prefetch(turn, conn, out);
                    }
                    if self.load(turn, out, batch.message, entries) {
                        return self.begin(turn, conn, out);
                    }
                }
                Take::Nothing => {
                    self.return_token(out, allowed);
                    return self.become_idle(turn, conn, out);
                }
                Take::Close => {
                    self.return_token(out, allowed);
                    out.phase = Phase::Closing;
                    return quit(turn, out);
                }
            }
            self.return_token(out, allowed);
        }
    }

    /// Whether the connection's settings are those of the policy in force.
    fn is_current(&self, out: &Outbound) -> bool {
        self.epochs.is_of_current(&out.way)
    }

    /// Spends a token of the way's rate; without one the site waits.
    fn take_token(&mut self, turn: &mut Turn<'_>, out: &Outbound) -> bool {
        if out.way.limits(0).rate.is_none() {
            return true;
        }
        let ready = self.queue.ready_at(out.site);
        if ready == 0 {
            return false;
        }
        match self.permits.take_token(turn.now.mono, &out.limit_key, ready) {
            Spend::Taken => return true,
            Spend::Ask(want) => self.ask_permits(turn, &out.limit_key, &out.way, want),
            Spend::Wait => {}
        }
        self.queue.pause(out.site, None);
        self.wait_for_verdict(out.site, &out.limit_key);
        false
    }

    fn return_token(&mut self, out: &Outbound, allowed: bool) {
        if allowed && out.way.limits(0).rate.is_some() {
            self.permits.return_token(&out.limit_key);
        }
    }

    /// Finds the message of entries just taken. False when it is not to be
    /// sent from here; the entries are gone then.
    pub(crate) fn load(
        &mut self,
        turn: &mut Turn<'_>,
        out: &mut Outbound,
        message: MessageId,
        entries: Vec<EntryKey>,
    ) -> bool {
        let Some(view) = entries.first().and_then(|key| self.queue.entry(turn.now, *key)) else {
            return false;
        };
        let place = spool_place(view.place);
        let Ok(stored) = spool::message_at(&*turn.medium, message, place) else {
            for key in entries {
                if let Some(view) = self.queue.entry(turn.now, key) {
                    self.return_misplaced(turn, key, &view);
                }
            }
            return false;
        };
        let (segment, offset, len) = stored.body_range();
        if !spool::verify_body(&*turn.medium, &stored) {
            self.hold_damaged(turn, message, &entries);
            return false;
        }
        out.batch = Some(Batch {
            message,
            place,
            entries: entries.into_iter().map(Some).collect(),
            body: BodySource::Stored { segment, offset, len },
            dsn: false,
        });
        true
    }

    /// A stored body is not what was accepted: it is never sent.
    pub(crate) fn hold_damaged(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        entries: &[EntryKey],
    ) {
        self.quarantine(turn, message, "the stored body is damaged");
        for key in entries {
            let held = crate::mesh::SettledAs::Held;
            self.queue.hold(*key);
            self.queue.ready_again(turn.now, *key);
            self.settle_unsent(turn, *key, held, Status::SYSTEM, "the stored body is damaged");
        }
    }

    /// Starts the transaction of the batch at hand.
    fn begin(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &mut Outbound) {
        if matches!(out.link, Link::Folder { .. }) {
            return self.deposit(turn, conn, out);
        }
        let (Some(batch), Link::Session(client)) = (&mut out.batch, &mut out.link) else { return };
        batch.entries.retain(|entry| entry.is_some() || planted(Bug::VerdictOfWrongRecipient));
        let Ok(stored) = spool::message_at(&*turn.medium, batch.message, batch.place) else {
            return self.misplaced(turn, out);
        };
        let indexes: Vec<u16> = batch
            .unsettled()
            .filter_map(|key| self.queue.entry(turn.now, key).map(|view| view.recipient))
            .collect();
        let unfit = match batch.offer(turn, client, &stored, &indexes) {
            Ok(()) => {
                if self.logged.watching.is_some() {
                    self.look_at_batch(turn, conn, batch);
                }
                self.time_attempt(turn, out);
                return self.log_attempt(turn, out);
            }
            Err(unfit) => unfit,
        };
        if unfit == Unfit::PeerNeedsConversion && batch.convert(turn, &stored) {
            return self.begin(turn, conn, out);
        }
        let text: Box<str> = unfit.to_string().into();
        let ended = Ended::new(EndedAs::Failed, unfit.status(), text);
        let (via, batch) = (out.via(), out.batch.take());
        for key in batch.iter().flat_map(Batch::unsettled) {
            self.settle_attempt(turn, key, &ended, &via);
        }
        // Ended here and opened anew when there is more: rare, and simple.
        quit(turn, out);
    }

    /// The message of the batch no longer stands where it did: its writer hands
    /// it out anew, and this session, which may have begun with it, ends.
    pub(crate) fn misplaced(&mut self, turn: &mut Turn<'_>, out: &mut Outbound) {
        for key in out.batch.take().iter().flat_map(Batch::unsettled) {
            if let Some(view) = self.queue.entry(turn.now, key) {
                self.return_misplaced(turn, key, &view);
            }
        }
        quit(turn, out);
    }

    /// The peer takes the message: the attempt goes on record, then the body
    /// may go out.
    fn body_due(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &mut Outbound) {
        let Some(batch) = &out.batch else { unreachable!("a body is due only of a batch") };
        if !batch.is_there(turn) {
            return self.misplaced(turn, out);
        }
        let tries: Vec<Try> = batch
            .unsettled()
            .filter_map(|key| self.queue.entry(turn.now, key))
            .map(|view| Try { recipient: view.recipient, attempt: view.attempts.saturating_add(1) })
            .collect();
        let (message, home) = (batch.message, batch.place.segment);
        if planted(Bug::AttemptUnrecorded) {
            return dot_may_go(turn, out);
        }
        match self.spool.append_attempt(turn.medium, turn.now, message, home, &tries) {
            Ok(_) if planted(Bug::DotBeforeSync) => dot_may_go(turn, out),
            Ok(position) if self.policy.queue.in_doubt == InDoubt::Power => {
                self.spool.want(position);
                self.commits.wait(position, Waiter::Dot { conn });
            }
            Ok(_) => dot_may_go(turn, out),
            Err(error) => self.unrecorded(turn, out, &error.to_string()),
        }
    }

    /// The attempt cannot be put on record: without that a crash would make an
    /// unlisted duplicate, so the dot does not go out, and nobody is to blame.
    pub(crate) fn unrecorded(&mut self, turn: &mut Turn<'_>, out: &mut Outbound, reason: &str) {
        self.metrics.local_shortages += 1;
        for key in out.batch.take().iter().flat_map(|batch| batch.unsettled().rev()) {
            self.queue.ready_again(turn.now, key);
        }
        self.queue.pause(out.site, Some(turn.now.mono + crate::ledger::ASK_AGAIN));
        self.complain(turn, reason);
        quit(turn, out);
    }

    /// The attempt record that a final dot waited for was lost.
    pub(crate) fn withhold_dot(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let Some(mut out) = self.pick(conn) else { return };
        self.unrecorded(turn, &mut out, "the sync failed");
        self.drive(turn, conn, out);
    }

    /// The attempt record that a final dot waited for is on stable storage.
    pub(crate) fn release_dot(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let Some(mut out) = self.pick(conn) else { return };
        match &out.batch {
            Some(batch) if !batch.is_there(turn) => self.misplaced(turn, &mut out),
            _ if matches!(out.link, Link::Folder { .. }) => self.write_out(turn, conn, &mut out),
            _ => dot_may_go(turn, &mut out),
        }
        self.drive(turn, conn, out);
    }

    /// The peer's word on one recipient.
    fn recipient_verdict(
        &mut self,
        turn: &mut Turn<'_>,
        out: &mut Outbound,
        index: usize,
        verdict: &Verdict,
    ) {
        let via = out.via();
        let Some(batch) = &mut out.batch else { return };
        let Some(Some(key)) = batch.entries.get(index).copied() else { return };
        // Another host, or the same one without TLS or PIPELINING, may do: the
        // session is about to end and decides then.
        if is_about_host(verdict) {
            return;
        }
        batch.entries[index] = None;
        out.bore = true;
        match Ended::of_verdict(verdict, batch.dsn) {
            Some(ended) => {
                let ended = self.spared(&out.at, verdict, ended);
                self.settle_attempt(turn, key, &ended, &via);
            }
            None => {
                self.queue.ready_again(turn.now, key);
            }
        }
    }

    /// A session has ended; what it left over moves on.
    fn session_over(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut out: Box<Outbound>,
        closure: Closure,
    ) {
        turn.effects.push(parting(conn, &closure));
        let left = out.batch.as_ref().is_some_and(|batch| batch.unsettled().next().is_some());
        if !left {
            out.batch = None;
        }
        let Some(out) = self.once_more(turn, out, &closure) else { return };
        let ended_here = |verdict: &&Verdict| !is_our_end(verdict);
        let verdict = closure.verdict.as_ref().filter(ended_here);
        match verdict.and_then(|verdict| Ended::of_verdict(verdict, false)) {
            // It was of no use to us any more, whatever its last words were.
            _ if out.phase == Phase::Closing && !left => self.release(turn, out),
            None => self.release(turn, out),
            Some(failure) if left || !(out.bore || out.sent > 0) => {
                self.next_host(turn, out, &failure);
            }
            // It took or refused mail and then sent us away: enough for now.
            Some(failure) => {
                self.queue.site_slowed(out.site, &failure.text);
                self.release(turn, out);
            }
        }
    }

    /// Nothing to send: the connection waits a while for more.
    fn become_idle(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &mut Outbound) {
        if matches!(out.link, Link::Folder { .. })
            || self.is_waited_for(&out.limit_key, out.site, &out.way)
        {
            return quit(turn, out);
        }
        let until = turn.now.mono + out.way.idle;
        let link = std::mem::replace(&mut out.link, Link::Connecting { until });
        let Link::Session(client) = link else { unreachable!("only sessions become idle") };
        out.link = Link::Idle { client, until };
        out.phase = Phase::Idle;
        self.queue.connection_idle(out.site);
        self.idle.entry(out.site).or_default().push(conn);
    }

    /// The queue has mail for a site with an idle connection.
    pub(crate) fn resume_idle(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let mut out = self.pick(conn).expect("idle connections are in the table");
        wake(&mut out);
        out.phase = Phase::Dispatched;
        self.next_batch(turn, conn, &mut out);
        self.drive(turn, conn, out);
    }

    /// An idle connection is about to be closed, by us or by the peer: no mail
    /// comes to it any more.
    pub(crate) fn leave_idle(&mut self, conn: ConnId, out: &mut Outbound) {
        if let Some(list) = self.idle.get_mut(&out.site) {
            list.retain(|other| *other != conn);
            if list.is_empty() {
                self.idle.remove(&out.site);
            }
        }
        self.queue.connection_leaving(out.site);
        out.phase = Phase::Closing;
        wake(out);
    }

    /// An idle connection has waited long enough.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>, conn: ConnId, mut out: Box<Outbound>) {
        self.leave_idle(conn, &mut out);
        quit(turn, &mut out);
        self.drive(turn, conn, out);
    }
}

fn wake(out: &mut Outbound) {
    let until = out.opened;
    let link = std::mem::replace(&mut out.link, Link::Connecting { until });
    out.link = match link {
        Link::Idle { client, .. } => Link::Session(client),
        other => other,
    };
}

fn quit(turn: &Turn<'_>, out: &mut Outbound) {
    match &mut out.link {
        Link::Session(client) => client.quit(turn.now.mono),
        Link::Folder { over, .. } => *over = true,
        _ => {}
    }
}

fn dot_may_go(turn: &Turn<'_>, out: &mut Outbound) {
    if let Link::Session(client) = &mut out.link {
        client.continue_body(turn.now.mono);
    }
}

fn is_about_host(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Deferred(trouble) | Verdict::Failed(trouble) => trouble.scope == Scope::Host,
        _ => false,
    }
}
