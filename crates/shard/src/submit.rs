//! Messages that come without a session, over the control socket or as files:
//! admitted by the same rules, stored in the same record, and answered when
//! that is on stable storage.
//!
//! Invariants: each gets exactly one answer; what waits for a segment is held
//! and counted like messages of clients.

use base::MessageId;
use mail::exported::{Past, Standing};
use serde_json::json;
use smtp::submission::Received;
use spool::{Change, Meta, Note, Phase, Refusal};

use crate::accept::{Door, refused};
use crate::command::Answer;
use crate::commit::Waiter;
use crate::effect::Effect;
use crate::event::Came;
use crate::local;
use crate::shard::{Shard, Turn};

/// One that waits for room in the log.
#[derive(Debug)]
pub(crate) struct Submitted {
    request: u64,
    came: Came,
    received: Box<Received>,
}

impl Shard {
    /// Somebody brings a message.
    pub(crate) fn submit(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        came: Came,
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
        // What was accepted once is ours: its sender is told by a report.
        if let Came::By(_) = came
            && let Err(refusal) = local::replace(&self.policy.locals, &mut received.envelope)
        {
            self.count_refusal(&refusal);
            return self.answer_submitted(turn, request, Err(&refusal));
        }
        self.intake_held += received.body.capacity();
        self.submitted.push_back(Submitted { request, came, received });
        self.store_submitted(turn);
    }

    /// Stores what was brought, in order, as far as there is room.
    pub(crate) fn store_submitted(&mut self, turn: &mut Turn<'_>) {
        while let Some(Submitted { request, came, received }) = self.submitted.pop_front() {
            let stored = match &came {
                Came::By(by) => self.admit(turn, &Door::Beside { request, by }, &received),
                Came::Exported(past) => self.admit_exported(turn, request, past, &received),
            };
            let Err(refusal) = stored else {
                self.intake_held -= received.body.capacity();
                continue;
            };
            self.spool.kick(turn.medium, turn.now);
            if refusal == Refusal::LocalFull && self.spool.awaits_segment() {
                self.submitted.push_front(Submitted { request, came, received });
                return;
            }
            self.intake_held -= received.body.capacity();
            let answer = refused(&refusal);
            self.count_refusal(&answer);
            self.answer_submitted(turn, request, Err(&answer));
        }
    }

    /// Writes a message with its past into the log.
    fn admit_exported(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        past: &Past,
        received: &Received,
    ) -> Result<(), Refusal> {
        let envelope = &received.envelope;
        let meta = Meta { client: past.client, helo: &past.helo, ..Meta::default() };
        // A clock that was ahead must not keep it for ever.
        let arrival = past.arrived.min(turn.now.wall);
        let standings: Vec<spool::Standing<'_>> =
            (0u16..).zip(&past.standings).filter_map(|(at, it)| standing(at, it)).collect();
        let appended = self.spool.append_imported(
            turn.medium,
            &meta,
            envelope,
            arrival,
            &standings,
            &[&received.body],
        )?;
        self.commits.wait(appended.position, Waiter::Imported { request, message: appended.id });
        self.metrics.messages_accepted += 1;
        self.metrics.recipients_accepted += envelope.recipients.len() as u64;
        self.metrics.bytes_accepted += received.size;
        if self.logs_mail() {
            let door = Door::Beside { request, by: "import" };
            self.log_accepted(turn, appended.id, &door, received);
        }
        Ok(())
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

/// Where a recipient stood, unless it stands as that of a new message.
fn standing(recipient: u16, past: &Standing) -> Option<spool::Standing<'_>> {
    if *past == (Standing { expires: past.expires, ..Standing::default() }) {
        return None;
    }
    let note = past.answer.as_ref();
    let change = Change {
        recipient,
        phase: if past.held { Phase::Held } else { Phase::Waiting },
        attempts: past.attempts,
        next: past.next,
        in_doubt: past.in_doubt,
        delay_noticed: past.delay_noticed,
        note: note.map(|it| Note { status: it.status, text: &it.text, host: &it.host }),
    };
    Some(spool::Standing { change, crashes: past.crashes })
}

fn smtp_later(why: &str) -> smtp::Answer {
    smtp::Answer::new(452, mail::Status::SYSTEM_FULL, why.to_owned())
}
