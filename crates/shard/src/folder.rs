//! Delivery into mail folders: a connection without a peer. Messages are handed
//! to whoever writes files, and each recipient ends by what that says.
//!
//! Never touches a file. Invariants: the attempt is in the log before anything
//! is written, as before a final dot; a full or missing disk is our shortage
//! and no attempt (design §1.5).
//!
//! Read first: RFC 5321 §4.4.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::ConnId;
use control::{Folder, Maildir, Mode, TlsMode, Trust};
use mail::{Status, maildir};
use queue::EntryKey;
use spool::Try;

use crate::commit::Waiter;
use crate::effect::{Deposit, Effect};
use crate::event::Deposited;
use crate::mesh::SettledAs;
use crate::outbound::{Link, Outbound};
use crate::plan::Candidate;
use crate::settle::{Ended, EndedAs};
use crate::shard::{Shard, Turn};

/// Wait after a shortage of disk before a recipient is tried again.
const SHORTAGE_WAIT: Duration = Duration::from_secs(60);

/// What a site is dialled by that has no internet address.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The place that stands for mail folders.
pub(crate) fn candidate(at: &Maildir) -> Candidate {
    Candidate {
        host: at.to_string().into(),
        addr: NOWHERE,
        socket: Some(Arc::from("")),
        tls: TlsMode::None,
        trust: Trust::default(),
        identity: None,
        without_tls: false,
        auth: None,
        pop: None,
    }
}

impl Shard {
    /// The message at hand is to be written for its recipients: first the
    /// attempt goes on record.
    pub(crate) fn deposit(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &mut Outbound) {
        let Some(batch) = &out.batch else { return };
        let views = batch.unsettled().filter_map(|key| self.queue.entry(turn.now, key));
        let tries: Vec<Try> = views
            .map(|v| Try { recipient: v.recipient, attempt: v.attempts.saturating_add(1) })
            .collect();
        let (message, home) = (batch.message, batch.place.segment);
        match self.spool.append_attempt(turn.medium, turn.now, message, home, &tries) {
            Ok(position) if self.policy.queue.in_doubt == control::InDoubt::Power => {
                self.spool.want(position);
                self.commits.wait(position, Waiter::Dot { conn });
            }
            Ok(_) => self.write_out(turn, conn, out),
            Err(error) => self.unrecorded(turn, out, &error.to_string()),
        }
    }

    /// Has the message at hand written.
    pub(crate) fn write_out(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &mut Outbound) {
        self.log_attempt(turn, out);
        let (Some(batch), Mode::Folders(folders)) = (&mut out.batch, &out.way.mode) else { return };
        let stored = spool::message_at(&*turn.medium, batch.message, batch.place);
        let found = stored.ok().and_then(|stored| Some((stored.body(&*turn.medium)?, stored)));
        let Some((wire, stored)) = found else { return self.misplaced(turn, out) };
        let content: Arc<[u8]> = maildir::content(wire).into();
        let host = &self.policy.hostname;
        let mut nameless = Vec::new();
        for (index, key) in batch.entries.iter().enumerate() {
            let Some(view) = key.and_then(|key| self.queue.entry(turn.now, key)) else { continue };
            let address = stored.recipient(view.recipient).map_or("", |to| to.address);
            let folder = mail::Address::parse(address, true).ok();
            let folder: Option<Folder> = folder.and_then(|address| folders.folder(&address));
            let Some(folder) = folder else {
                nameless.push(index);
                continue;
            };
            let name = maildir::file_name(batch.message, view.recipient, stored.arrival(), host);
            let front = maildir::front(stored.sender(), address);
            let deposit = Deposit {
                index,
                folder,
                name,
                front,
                content: content.clone(),
                again: view.in_doubt,
            };
            turn.effects.push(Effect::Deposit { conn, deposit: Box::new(deposit) });
        }
        let until = turn.now.mono + out.way.timeouts.data_done;
        out.link = Link::Folder { until: Some(until), over: false };
        for index in nameless {
            let failed = Ended::new(
                EndedAs::Failed,
                Status::BAD_MAILBOX,
                "no folder can be named after this address",
            );
            self.end_deposit(turn, out, index, &failed);
        }
        self.after_deposit(turn, conn, out);
    }

    /// Whoever writes files has an answer.
    pub(crate) fn deposited(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        index: usize,
        outcome: Deposited,
    ) {
        let Some(mut out) = self.pick(conn) else { return };
        match outcome {
            Deposited::Done => {
                let kind = EndedAs::Delivered { dsn_passed_on: false };
                let text = "written to the mail folder";
                self.end_deposit(turn, &mut out, index, &Ended::new(kind, Status::OK, text));
                self.site_took_mail(turn, &out);
            }
            Deposited::Refused(reason) => {
                let (kind, status) = (EndedAs::Deferred, Status::new(4, 2, 0));
                let ended = Ended::new(kind, status, reason);
                self.end_deposit(turn, &mut out, index, &ended);
            }
            Deposited::Short(reason) => self.deposit_later(turn, &mut out, index, &reason),
        }
        self.after_deposit(turn, conn, &mut out);
        self.drive(turn, conn, out);
    }

    /// No answer came, or none is waited for any more: the messages may have
    /// been written.
    pub(crate) fn deposit_doubted(&mut self, turn: &mut Turn<'_>, out: &mut Outbound, why: &str) {
        let count = out.batch.as_ref().map_or(0, |batch| batch.entries.len());
        let text = format!("{why} while the message was written to the mail folder");
        let ended = Ended::new(EndedAs::InDoubt, Status::SYSTEM, text);
        for index in 0..count {
            self.end_deposit(turn, out, index, &ended);
        }
        out.batch = None;
        out.link = Link::Folder { until: None, over: true };
    }

    fn end_deposit(
        &mut self,
        turn: &mut Turn<'_>,
        out: &mut Outbound,
        index: usize,
        ended: &Ended,
    ) {
        if let Some(key) = take_entry(out, index) {
            let via = out.via();
            self.settle_attempt(turn, key, ended, &via);
        }
    }

    /// The disk is at fault: tried again, and no attempt.
    fn deposit_later(
        &mut self,
        turn: &mut Turn<'_>,
        out: &mut Outbound,
        index: usize,
        reason: &str,
    ) {
        self.metrics.local_shortages += 1;
        self.queue.pause(out.site, Some(turn.now.mono + crate::ledger::ASK_AGAIN));
        let Some(key) = take_entry(out, index) else { return };
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        let until = turn.now.wall + SHORTAGE_WAIT;
        self.queue.defer(turn.now, key, until, view.attempts, reason);
        let held = self.queue.state(key) == Some(queue::State::Held);
        let result = if held { SettledAs::Held } else { SettledAs::Deferred(until) };
        self.settle_unsent(turn, key, result, Status::SYSTEM_FULL, reason);
    }

    /// Goes on with the next message once all recipients of one have ended.
    fn after_deposit(&mut self, turn: &mut Turn<'_>, conn: ConnId, out: &mut Outbound) {
        let waits = out.batch.as_ref().is_some_and(|batch| batch.unsettled().next().is_some());
        if !waits && out.batch.take().is_some() {
            out.sent += 1;
            out.link = Link::Folder { until: None, over: false };
            self.next_batch(turn, conn, out);
        }
    }
}

fn take_entry(out: &mut Outbound, index: usize) -> Option<EntryKey> {
    out.batch.as_mut()?.entries.get_mut(index)?.take()
}
