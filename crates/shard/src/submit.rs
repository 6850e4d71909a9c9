//! Messages that come without a session, over the control socket or as files:
//! admitted by the same rules, stored in the same record, and answered when
//! that is on stable storage.
//!
//! Invariants: each gets exactly one answer; what waits for a segment is held
//! and counted like messages of clients.

use base::MessageId;
use serde_json::json;
use smtp::submission::Received;
use spool::Refusal;

use crate::accept::{Door, refused};
use crate::command::Answer;
use crate::effect::Effect;
use crate::local;
use crate::shard::{Shard, Turn};

/// One that waits for room in the log.
#[derive(Debug)]
pub(crate) struct Submitted {
    request: u64,
    /// Who brought it, for the trace field.
    by: Box<str>,
    received: Box<Received>,
}

impl Shard {
    /// Somebody brings a message.
    pub(crate) fn submit(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        by: Box<str>,
        mut received: Box<Received>,
    ) {
        let closed = match self.closed_for_mail() {
            _ if self.draining => Some("shutting down".to_owned()),
            Some(_) if self.spool.waits_for_room() => None,
            closed => closed.map(|answer| answer.text.to_string()),
        };
        if let Some(why) = closed {
            self.metrics.refused_for_now += 1;
            return self.answer_submitted(turn, request, Err(&smtp_later(&why)));
        }
        // Whoever brings it hears of an unknown user as a client does at RCPT.
        if let Err(refusal) = local::replace(&self.policy.locals, &mut received.envelope) {
            self.count_refusal(&refusal);
            return self.answer_submitted(turn, request, Err(&refusal));
        }
        self.intake_held += received.body.capacity();
        self.submitted.push_back(Submitted { request, by, received });
        self.store_submitted(turn);
    }

    /// Stores what was brought, in order, as far as there is room.
    pub(crate) fn store_submitted(&mut self, turn: &mut Turn<'_>) {
        while let Some(Submitted { request, by, received }) = self.submitted.pop_front() {
            let door = Door::Beside { request, by: &by };
            let Err(refusal) = self.admit(turn, &door, &received) else {
                self.intake_held -= received.body.capacity();
                continue;
            };
            self.spool.kick(turn.medium, turn.now);
            if refusal == Refusal::LocalFull && self.spool.awaits_segment() {
                self.submitted.push_front(Submitted { request, by, received });
                return;
            }
            self.intake_held -= received.body.capacity();
            let answer = refused(&refusal);
            self.count_refusal(&answer);
            self.answer_submitted(turn, request, Err(&answer));
        }
    }

    /// What waits for room is not taken any more.
    pub(crate) fn dismiss_submitted(&mut self, turn: &mut Turn<'_>) {
        for Submitted { request, received, .. } in std::mem::take(&mut self.submitted) {
            self.intake_held -= received.body.capacity();
            self.answer_submitted(turn, request, Err(&smtp_later("shutting down")));
        }
    }

    /// The answer: the message's name, or why it was not taken.
    pub(crate) fn answer_submitted(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        stored: Result<MessageId, &smtp::Answer>,
    ) {
        let answer = match stored {
            Ok(id) => Answer::ok(json!({ "id": id.to_string() })),
            Err(answer) => Answer::not_taken(answer),
        };
        turn.effects.push(Effect::Reply { request, answer });
    }
}

fn smtp_later(why: &str) -> smtp::Answer {
    smtp::Answer::new(452, mail::Status::SYSTEM_FULL, why.to_owned())
}
