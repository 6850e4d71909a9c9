//! The owner's side of an end: a verdict becomes an outcome for the writer and
//! feedback for the queue. Here, and only here, it is decided what happens
//! next to a recipient whose attempt is over (with [`control::Delivery::next`]).
//!
//! Invariant: each entry that comes here leaves flight in the same step.

use base::planted::{Bug, planted};
use base::{Rng, ShardId, Wall};
use control::{Next, Trouble as Why};
use mail::Status;
use meter::Stage;
use queue::{Due, EntryKey, View};
use smtp::{Cause, Fault, Trouble, Verdict};

use crate::handoff::spool_place;
use crate::mesh::{SettledAs, Settlement};
use crate::outbound::Via;
use crate::shard::{Shard, Turn};

/// How an attempt for one recipient ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// What the remote's answer amounts to.
    pub(crate) kind: EndedAs,
    /// The status code that goes with it.
    pub(crate) status: Status,
    /// The remote's words, or ours.
    pub(crate) text: Box<str>,
    /// Why not now, as far as that makes a difference.
    pub(crate) trouble: Why,
}

/// The kinds of end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndedAs {
    /// Taken; `dsn_passed_on`: with the duty to report.
    Delivered {
        /// The next hop got the DSN parameters.
        dsn_passed_on: bool,
    },
    /// No, and never.
    Failed,
    /// Not now.
    Deferred,
    /// Sent, and no answer.
    InDoubt,
}

impl Ended {
    /// One whose reason makes no difference.
    pub(crate) fn new(kind: EndedAs, status: Status, text: impl Into<Box<str>>) -> Self {
        Self { kind, status, text: text.into(), trouble: Why::Other }
    }

    /// What a session's verdict amounts to; `None` for a recipient that is to
    /// go at once in another transaction, which is no end.
    pub(crate) fn of_verdict(verdict: &Verdict, dsn_passed_on: bool) -> Option<Self> {
        let (kind, trouble) = match verdict {
            Verdict::Delivered { reply } => {
                let status = reply.status().unwrap_or(Status::OK);
                let kind = EndedAs::Delivered { dsn_passed_on };
                return Some(Self::new(kind, status, reply.to_string()));
            }
            Verdict::LaterTransaction { .. } => return None,
            Verdict::Deferred(trouble) => (EndedAs::Deferred, trouble),
            Verdict::Failed(trouble) => (EndedAs::Failed, trouble),
            Verdict::InDoubt(trouble) => (EndedAs::InDoubt, trouble),
        };
        Some(Self { kind, ..Self::of_trouble(trouble) })
    }

    /// A session's end by a fault, as a failure for now.
    pub(crate) fn of_fault(fault: Fault) -> Self {
        Self::of_trouble(&Trouble::of_fault(fault))
    }

    fn of_trouble(trouble: &Trouble) -> Self {
        // A reply stands for itself, as reports must quote it (RFC 3464 §2.3.6).
        let (text, why) = match &trouble.cause {
            Cause::Reply { reply, .. } => {
                let text = reply.to_string();
                let why = Why::of_answer(&text);
                (text, why)
            }
            Cause::Fault(fault) => (fault.to_string(), Why::Unreachable),
        };
        let text = text.into();
        Self { kind: EndedAs::Deferred, status: trouble.status, text, trouble: why }
    }
}

impl Shard {
    /// An attempt for `key` is over. `via` is where it went, or would have.
    pub(crate) fn settle_attempt(
        &mut self,
        turn: &mut Turn<'_>,
        key: EntryKey,
        ended: &Ended,
        via: &Via,
    ) {
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        let route = self.queue.destination(view.destination).map(|(hop, _)| hop.route);
        let attempts = view.attempts.saturating_add(1);
        // That nobody answered says nothing of the mail.
        if ended.trouble != Why::Unreachable {
            let put_off = matches!(ended.kind, EndedAs::Deferred | EndedAs::InDoubt);
            self.queue.attempted(view.destination, view.attempts, put_off);
        }
        let result = match ended.kind {
            EndedAs::Delivered { dsn_passed_on } => {
                self.queue.done(key);
                self.count_at_site(turn, &view, queue::Ended::Delivered);
                self.time_from_arrival(turn, Stage::EndToEnd, view.arrived);
                SettledAs::Delivered { dsn_passed_on, in_mailbox: via.in_mailbox }
            }
            EndedAs::Failed => {
                self.queue.done(key);
                self.count_at_site(turn, &view, queue::Ended::Failed);
                SettledAs::Failed
            }
            EndedAs::Deferred | EndedAs::InDoubt => {
                if ended.kind == EndedAs::InDoubt {
                    self.queue.set_in_doubt(key, true);
                }
                self.put_off(turn, key, &view, attempts, ended)
            }
        };
        let in_doubt = ended.kind == EndedAs::InDoubt && !planted(Bug::InDoubtForgotten);
        let settlement = Settlement {
            message: view.message,
            recipient: view.recipient,
            attempt: attempts,
            result,
            in_doubt,
            status: ended.status,
            text: ended.text.clone(),
            host: via.host.clone(),
            source: via.source.clone(),
            site: Some(via.site.clone()),
            route,
            session: via.session,
            owner: self.id,
        };
        self.settle_with(view.writer, settlement);
    }

    /// What became of a recipient counts at the site where its next hop is now.
    fn count_at_site(&mut self, turn: &Turn<'_>, view: &View, ended: queue::Ended) {
        if let Some(site) = self.queue.site_of(view.destination) {
            self.queue.site_ended(turn.now.mono, site, ended);
        }
    }

    /// What comes after a failure for now.
    fn put_off(
        &mut self,
        turn: &Turn<'_>,
        key: EntryKey,
        view: &View,
        attempts: u16,
        ended: &Ended,
    ) -> SettledAs {
        // The same for all recipients of a message: they were tried together and
        // will be again.
        let batch = view.message.as_u64() ^ (u64::from(attempts) << 48) ^ self.jitter;
        let random = Rng::new(batch).next_u64();
        let now = turn.now;
        let next = match self.way_of(view.destination) {
            Some(way) => way.next_after(ended.trouble, now.wall, view.arrived, attempts, random),
            // The policy changed during the attempt: the one in force decides.
            None => {
                let place = spool_place(view.place);
                let address = self.address_of(turn, view.message, place, view.recipient);
                match address {
                    Some(address) => {
                        let way = self.policy.route(&address);
                        way.next_after(ended.trouble, now.wall, view.arrived, attempts, random)
                    }
                    // Moved meanwhile: its writer knows it, and says so soon.
                    None => Next::At(now.wall + std::time::Duration::from_secs(60)),
                }
            }
        };
        let doubted = ended.kind == EndedAs::InDoubt
            && self.policy.queue.in_doubt_policy == control::InDoubtPolicy::Hold;
        match next {
            Next::Expired | Next::AttemptsUsedUp => {
                self.queue.done(key);
                SettledAs::Expired
            }
            Next::Bounce => {
                self.queue.done(key);
                SettledAs::Failed
            }
            Next::At(at) if !doubted => {
                self.queue.defer(now, key, at, attempts, &ended.text);
                self.hurried_enough(key, view.destination);
                // A hold that came during the attempt takes effect now.
                match self.queue.state(key) {
                    Some(queue::State::Held) => SettledAs::Held,
                    _ => SettledAs::Deferred(at),
                }
            }
            Next::Hold | Next::At(_) => {
                self.queue.hold(key);
                self.queue.defer(now, key, now.wall, attempts, &ended.text);
                self.hurried_enough(key, view.destination);
                SettledAs::Held
            }
        }
    }

    /// A recipient ends, or changes, without an attempt.
    pub(crate) fn settle_unsent(
        &mut self,
        turn: &mut Turn<'_>,
        key: EntryKey,
        result: SettledAs,
        status: Status,
        text: &str,
    ) {
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        if matches!(result, SettledAs::Failed | SettledAs::Expired | SettledAs::Removed) {
            self.queue.done(key);
        }
        self.tell_writer(&view, result, status, text, self.id);
    }

    /// Sends a settlement that no attempt led to.
    fn tell_writer(
        &mut self,
        view: &View,
        result: SettledAs,
        status: Status,
        text: &str,
        owner: ShardId,
    ) {
        let settlement = Settlement {
            message: view.message,
            recipient: view.recipient,
            attempt: view.attempts,
            result,
            in_doubt: false,
            status,
            text: text.into(),
            host: Box::default(),
            source: Box::default(),
            site: None,
            route: self.queue.destination(view.destination).map(|(hop, _)| hop.route),
            session: None,
            owner,
        };
        self.settle_with(view.writer, settlement);
    }

    /// Carries out what the queue's timers brought up.
    pub(crate) fn settle_due(&mut self, turn: &mut Turn<'_>) {
        let mut due = Vec::new();
        self.queue.advance(turn.now, &mut due);
        for one in due {
            match one {
                // Success may still come; if not, it comes here again.
                Due::Expired { attempt_open: true, .. } if !planted(Bug::ExpiredInFlight) => {}
                Due::Expired { key, .. } => {
                    let text = self.kept_unblocked(turn, key).unwrap_or_default();
                    self.settle_unsent(turn, key, SettledAs::Expired, Status::EXPIRED, &text);
                }
                Due::DelayNotice(key) => self.notice_delay(turn, key),
                Due::Removed(key) => self.remove(turn, key, ""),
            }
        }
    }

    /// What kept an entry if nobody can be reached at all: its sender reads that
    /// instead of an answer that is long ago.
    fn kept_unblocked(&self, turn: &Turn<'_>, key: EntryKey) -> Option<String> {
        let view = self.queue.entry(turn.now, key)?;
        self.blocked_words(turn, &self.way_of(view.destination)?)
    }

    /// Records the removal of an entry by command.
    pub(crate) fn remove(&mut self, turn: &mut Turn<'_>, key: EntryKey, reason: &str) {
        let text = crate::admin::with_reason("removed by command", reason);
        self.settle_unsent(turn, key, SettledAs::Removed, Status::FAILED, &text);
    }

    fn notice_delay(&mut self, turn: &mut Turn<'_>, key: EntryKey) {
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        let until: Wall = view.expires;
        let result = SettledAs::Delayed { until };
        self.settle_unsent(turn, key, result, Status::DEFERRED, "");
    }
}
