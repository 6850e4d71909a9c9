//! The only control flow of a shard: one event in, effects out.
//!
//! A step ends when nothing is left that could be done without waiting: the
//! queue has no work, the inbox is empty, the log has been asked for its sync,
//! and one deadline is known ([`Shard::next_deadline`]).

use std::time::Duration;

use base::{ConnId, Now, ShardId};
use eventlog::{Field, Kind, Line};
use spool::Medium;

use crate::accept::lost;
use crate::armed::Timer;
use crate::commit::Waiter;
use crate::effect::Effect;
use crate::event::Event;
use crate::mesh::MeshMessage;
use crate::shard::{Free, Shard, Turn};

/// Records looked at by one step of reclaiming.
const RECLAIM_RECORDS: u32 = 128;
/// How often reclaiming is asked for when nothing else brings it up.
const WORK_EVERY: Duration = Duration::from_secs(1);

impl Shard {
    /// Takes in one event and appends what is to be done to `effects`, which
    /// must be carried out in order before the next step.
    pub fn step(
        &mut self,
        now: Now,
        event: Event<'_>,
        medium: &mut dyn Medium,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn { now, medium, effects };
        self.lookups.returning.begin();
        self.take(&mut turn, event);
        self.settle_down(&mut turn);
    }

    fn take(&mut self, turn: &mut Turn<'_>, event: Event<'_>) {
        if self.diagnoses(&event) {
            return self.diagnosis_event(turn, event);
        }
        match event {
            Event::Tick => self.tick(turn),
            Event::Policy(policy) => self.adopt(turn, policy),
            Event::Suspensions(orders) => self.order_suspensions(turn, orders),
            Event::Watches(watches) => self.order_watches(turn, watches),
            Event::Accepted { conn, peer, listener, .. } => {
                self.came(turn, conn, peer, listener);
            }
            Event::Connected { conn, .. } => self.connected(turn, conn),
            Event::ConnectFailed { conn, failure } => self.connect_failed(turn, conn, failure),
            Event::Received { conn, bytes } if is_inbound(conn) => {
                self.inbound_received(turn, conn, bytes);
            }
            Event::Received { conn, bytes } => self.outbound_received(turn, conn, bytes),
            Event::Drained { conn, left } => self.outbound_drained(turn, conn, left),
            Event::Deposited { conn, index, outcome } => {
                self.deposited(turn, conn, index, outcome);
            }
            Event::Closed { conn, .. } if is_inbound(conn) => self.inbound_closed(conn),
            Event::Closed { conn, error } => self.outbound_closed(turn, conn, error.as_deref()),
            Event::ClientCertificate { conn, sha256 } => self.client_shows(conn, sha256),
            Event::TlsEstablished { conn, description } if is_inbound(conn) => {
                self.client_secured(turn, conn, &description);
            }
            Event::TlsEstablished { conn, description } => self.tls_up(turn, conn, &description),
            Event::TlsFailed { conn, reason, .. } if is_inbound(conn) => {
                self.client_not_secured(turn, conn, &reason);
            }
            Event::TlsFailed { conn, reason, .. } => self.tls_down(turn, conn, &reason),
            Event::Answer { query, bytes } => {
                if self.detailed() {
                    self.tell_answer(turn, bytes);
                }
                self.dns.answer(turn.now.mono, query, bytes);
            }
            Event::QueryFailed { query, .. } => self.dns.failed(turn.now.mono, query),
            Event::Synced { segment, ok } => self.synced(turn, segment, ok),
            Event::SegmentReady { segment, bytes } => {
                self.spool.segment_ready(segment, bytes);
                self.spool.kick(turn.medium, turn.now);
                self.resume_stalled(turn);
                self.retry_unsettled(turn);
            }
            Event::NoSegment { reason } => {
                turn.log(Line::new(turn.now.wall, Kind::Storage).text(Field::Error, &reason));
                self.spool.no_segment(turn.now);
                self.resume_stalled(turn);
            }
            Event::Prefetched { token, ok } => self.prefetched(turn, token, ok),
            Event::Disk { free_bytes, free_inodes } => {
                self.free = Free { bytes: free_bytes, inodes: free_inodes };
            }
            Event::Ran { number, ending } if self.token_ran(turn, number, &ending) => {}
            Event::Ran { number, ending } => self.link_ran(turn, number, &ending),
            Event::Mesh { from, message } => self.heard(turn, from, message),
            Event::Submitted { request, came, received } => {
                self.submit(turn, request, came, received);
            }
            Event::Command { request, command } => self.command(turn, request, command),
            Event::Drain => self.drain(turn),
        }
    }

    /// The daemon ends: what can be ended is, and nothing new begins.
    fn drain(&mut self, turn: &mut Turn<'_>) {
        self.draining = true;
        self.dismiss_submitted(turn);
        self.break_off_diagnosis(turn, "the daemon is shutting down");
        self.dismiss_proxies(turn);
        self.shut_sessions(turn);
        self.dismiss_idle(turn);
        self.dismiss_tokenless(turn);
        self.drain_links(turn);
    }

    /// Something from another shard, or from this one.
    fn heard(&mut self, turn: &mut Turn<'_>, from: ShardId, message: MeshMessage) {
        match message {
            MeshMessage::HandOff(descriptors) => self.take_over(turn, from, descriptors),
            MeshMessage::Misplaced(descriptors) => self.replace(turn, descriptors),
            MeshMessage::Settled(settlements) => self.settled(turn, settlements),
            MeshMessage::Recorded { message, recipients } => {
                self.spool.attempt_ended(message, recipients.into_iter());
            }
            MeshMessage::Restated(all) => all.iter().for_each(|one| self.spool.restated(one)),
            MeshMessage::PermitAsk { key, limits, want } => {
                self.asked_for_permits(turn, from, &key, limits, want);
            }
            MeshMessage::PermitReturn { key, count } => {
                self.permits_returned(turn, from, &key, count);
            }
            MeshMessage::AllInUse { key, most } => self.log_all_in_use(turn, &key, most),
            MeshMessage::Silent { site, since } => {
                self.peers.blocked.silent(turn.now.mono, site, since)
            }
            MeshMessage::Heard { at } => self.peers.blocked.heard(at),
            MeshMessage::Ask(question) => self.asked_why(turn, from, *question),
            MeshMessage::Told(told) => self.told_why(turn, *told),
            MeshMessage::PermitVerdict { key, verdict } => {
                self.permit_verdict(turn, &key, verdict);
            }
            MeshMessage::Etrn { node, by } => self.etrn_heard(turn, from, node, &by),
            MeshMessage::LinkNeed { link, need } => self.link_needed(turn, from, link, need),
            MeshMessage::LinkNews { link, news } => self.link_told(turn, &link, news),
        }
    }

    fn tick(&mut self, turn: &mut Turn<'_>) {
        let mut due = Vec::new();
        self.timers.advance(turn.now.mono, &mut due);
        for timer in due {
            match timer {
                Timer::Conn(conn) if is_inbound(conn) => self.inbound_timer(turn, conn),
                Timer::Conn(conn) => self.outbound_timer(turn, conn),
                Timer::Spool => self.spool_armed.fired(),
                Timer::Dns => {
                    self.dns_armed.fired();
                    self.dns.timeout(turn.now.mono);
                }
                Timer::Queue => {
                    self.queue_armed.fired();
                    self.settle_due(turn);
                }
                Timer::Diagnosis => self.diagnosis_due(turn),
                Timer::Bank => {
                    self.bank_armed.fired();
                    self.tell_decisions(turn);
                }
                Timer::Links => {
                    self.links.armed.fired();
                    self.links_due(turn);
                }
                Timer::Suspensions => {
                    self.suspensions_armed.fired();
                    self.suspensions_due(turn);
                }
                Timer::Watches => {
                    self.logged.watches_armed.fired();
                    self.watches_due(turn);
                }
                Timer::Timetables => {
                    self.timetables.armed.fired();
                    self.timetables_due(turn);
                }
                Timer::Work => {
                    self.work_armed.fired();
                    self.long_work(turn);
                }
            }
        }
        if self.ticked_first {
            return;
        }
        self.ticked_first = true;
        if !self.suspensions.is_empty() {
            self.suspensions_changed(turn);
        }
        self.adopt_timetables(turn);
        self.long_work(turn);
    }

    /// A piece of whatever takes longer than a step may.
    fn long_work(&mut self, turn: &mut Turn<'_>) {
        self.retry_unsettled(turn);
        let mut more = self.hand_off_recovered(turn);
        let next_job = self.go_on_with_jobs(turn);
        more |= self.go_on_awaking();
        more |= self.go_on_returning(turn);
        more |= self.reclaim(turn);
        let now = turn.now.mono;
        let next = if more { now } else { next_job.unwrap_or(now + WORK_EVERY).max(now) };
        self.work_armed.set(&mut self.timers, Some(next.min(now + WORK_EVERY)), Timer::Work);
    }

    fn reclaim(&mut self, turn: &mut Turn<'_>) -> bool {
        let queue = &self.policy.queue;
        let short = self.free.bytes < queue.min_free
            || self.spool.live_bytes() > self.share_u64(queue.max_bytes) / 2;
        let done = self.spool.reclaim(turn.medium, turn.now, RECLAIM_RECORDS, short);
        self.tell_restated(turn, &done.restated);
        done.more
    }

    /// The end of a sync: everything it covered is safe, or nothing is.
    fn synced(&mut self, turn: &mut Turn<'_>, segment: base::SegmentId, ok: bool) {
        self.metrics.syncs += 1;
        let lost = self.spool.synced(segment, ok);
        self.time_sync(turn, ok);
        if let Some(range) = lost {
            let line = Line::new(turn.now.wall, Kind::Storage).number(Field::Segment, segment.0);
            turn.log(line.text(Field::Error, "the sync failed; the segment is given up"));
            for waiter in self.commits.lost(range) {
                self.tell_lost(turn, waiter);
            }
        }
        while let Some(waiter) = self.commits.served(self.spool.durable()) {
            match waiter {
                Waiter::Accepted { conn, message } => {
                    if let Some(conn) = conn {
                        self.answer_client(turn, conn, Ok(message));
                    }
                    self.hand_off_message(turn, message);
                }
                Waiter::Submitted { request, message } => {
                    self.answer_submitted(turn, request, Ok(message));
                    self.hand_off_message(turn, message);
                }
                Waiter::Imported { request, message } => {
                    self.answer_submitted(turn, request, Ok(message));
                    self.hand_off_pending(turn, message);
                }
                Waiter::Recorded { owner, message, recipients } => {
                    self.send(turn, owner, MeshMessage::Recorded { message, recipients });
                }
                Waiter::Dot { conn } => self.release_dot(turn, conn),
            }
        }
        let more = self.reclaim(turn);
        if more {
            self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
        }
    }

    fn tell_lost(&mut self, turn: &mut Turn<'_>, waiter: Waiter) {
        match waiter {
            Waiter::Accepted { conn: Some(conn), .. } => {
                self.metrics.refused_for_now += 1;
                self.answer_client(turn, conn, Err(lost()));
            }
            Waiter::Submitted { request, .. } | Waiter::Imported { request, .. } => {
                self.metrics.refused_for_now += 1;
                self.answer_submitted(turn, request, Err(&lost()));
            }
            // Reports and outcomes are true whether a sync fails or not: they
            // move out of the lost segment like older mail.
            Waiter::Accepted { conn: None, message } => self.hand_off_message(turn, message),
            Waiter::Recorded { .. } => {}
            Waiter::Dot { conn } => self.withhold_dot(turn, conn),
        }
    }

    /// Does what can be done without waiting, and hangs up the deadlines.
    fn settle_down(&mut self, turn: &mut Turn<'_>) {
        loop {
            self.pump(turn);
            self.say_unsaid(turn);
            self.return_unused(turn);
            if !self.flush_mesh(turn) {
                break;
            }
            while let Some(message) = self.inbox.pop_front() {
                self.heard(turn, self.id, message);
            }
        }
        self.spool.kick(turn.medium, turn.now);
        self.note_sync(turn);
        let now = turn.now.mono;
        let timers = &mut self.timers;
        self.dns_armed.set(timers, self.dns.next_deadline(), Timer::Dns);
        self.queue_armed.set(timers, self.queue.next_deadline(), Timer::Queue);
        self.spool_armed.set(timers, self.spool.next_deadline(), Timer::Spool);
        debug_assert!(self.timers.next_deadline().is_some() || now == self.started.mono);
        if self.draining && !self.drained && self.is_quiet() {
            self.drained = true;
            turn.effects.push(Effect::Drained);
        }
    }

    /// Whether nothing is under way that a stop would cut off, and all that is
    /// known is on stable storage, or lost.
    fn is_quiet(&self) -> bool {
        self.inbound.is_empty()
            && self.announcing.is_empty()
            && self.outbound.is_empty()
            && self.diagnosis.is_none()
            && self.links.are_at_rest()
            && self.commits.len() == 0
            && self.unsettled.is_empty()
            && self.spool.durable() == self.spool.last_position()
    }

    fn dismiss_idle(&mut self, turn: &mut Turn<'_>) {
        let mut conns: Vec<ConnId> = self.idle.values().flatten().copied().collect();
        conns.sort_unstable();
        for conn in conns {
            if let Some(out) = self.pick(conn) {
                self.dismiss(turn, conn, out);
            }
        }
    }
}

/// The runtime numbers inbound connections evenly, the core outbound ones
/// oddly.
fn is_inbound(conn: ConnId) -> bool {
    conn.0.is_multiple_of(2)
}
