//! The writer's side of an end: what owners settled is written into the log,
//! reported to the sender where that is due, and told to the operator in one
//! log line per recipient.
//!
//! Invariant: a settlement is applied once; one that the log does not take now
//! waits here and is tried again, for it is true all the same.

use std::time::Duration;

use base::MessageId;
use spool::{Change, Message, Note, Outcome, Phase, Place};

use crate::commit::Waiter;
use crate::delivery_log::{Line, rfc3339};
use crate::mesh::{SettledAs, Settlement};
use crate::shard::{Shard, Turn};

/// Wait before the log is asked again to take what it refused.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(250);

impl Shard {
    /// Owners tell what became of recipients of messages written here.
    pub(crate) fn settled(&mut self, turn: &mut Turn<'_>, settlements: Vec<Settlement>) {
        for group in settlements.chunk_by(|a, b| a.message == b.message && a.owner == b.owner) {
            if !self.settle_message(turn, group) {
                self.unsettled.extend_from_slice(group);
            }
        }
    }

    /// Tries again what the log did not take.
    pub(crate) fn retry_unsettled(&mut self, turn: &mut Turn<'_>) {
        let waiting = std::mem::take(&mut self.unsettled);
        if !waiting.is_empty() {
            self.settled(turn, waiting);
        }
    }

    /// Writes one group; false when the log cannot take it now.
    fn settle_message(&mut self, turn: &mut Turn<'_>, group: &[Settlement]) -> bool {
        let message = group[0].message;
        // Only the writer ends recipients, so what is not known has ended.
        let owed = |s: &&Settlement| {
            let state = self.spool.state(message, s.recipient);
            state.is_some_and(|state| !matches!(state.phase, Phase::Done(_)))
        };
        let group: Vec<&Settlement> = group.iter().filter(owed).collect();
        if group.is_empty() {
            return true;
        }
        let place = self.spool.place(message);
        let texts: Vec<Box<str>> = group.iter().map(|s| self.words(turn, s)).collect();
        if !self.report(turn, message, &group, &texts) {
            return false;
        }
        let changes: Vec<Change<'_>> =
            group.iter().zip(&texts).map(|(s, text)| self.change(turn, s, text)).collect();
        match self.spool.settle(turn.medium, turn.now, message, &changes) {
            Ok(settled) => {
                self.log_group(turn, place, &group, &texts);
                let owner = group[0].owner;
                if owner != self.id {
                    let recipients = group.iter().map(|s| s.recipient).collect();
                    let waiter = Waiter::Recorded { owner, message, recipients };
                    self.commits.wait(settled.position, waiter);
                }
                true
            }
            Err(error) => {
                let line = Line::new(turn.now.wall, "storage").show("error", &error);
                turn.log(line.show("id", message));
                false
            }
        }
    }

    /// What to say about a settlement: its own words, or, where time alone
    /// ended it, those of the last answer.
    fn words(&self, turn: &Turn<'_>, s: &Settlement) -> Box<str> {
        let timed = matches!(s.result, SettledAs::Expired | SettledAs::Delayed { .. });
        if !timed || !s.text.is_empty() {
            return s.text.clone();
        }
        match self.spool.note(&*turn.medium, s.message, s.recipient) {
            Some(note) => note.text.into(),
            None => "no attempt could be made".into(),
        }
    }

    /// A stored message cannot be read: it is reported and held, never sent.
    pub(crate) fn quarantine(&mut self, turn: &mut Turn<'_>, message: MessageId, why: &str) {
        let line = Line::new(turn.now.wall, "quarantined").show("id", message);
        turn.log(line.text("reason", why));
    }

    fn log_group(
        &mut self,
        turn: &mut Turn<'_>,
        place: Option<Place>,
        group: &[&Settlement],
        texts: &[Box<str>],
    ) {
        for (s, text) in group.iter().zip(texts) {
            self.count(s);
            let event = event_name(s.result);
            let mut line = Line::new(turn.now.wall, event).show("id", s.message);
            let stored = place.and_then(|at| spool::message_at(&*turn.medium, s.message, at).ok());
            if let Some(stored) = stored {
                line = described(line, &stored, s.recipient);
                let delay = turn.now.wall.since(stored.arrival()).as_millis() as u64;
                line = line.number("delay_ms", delay);
            }
            line = line.text_if("host", &s.host).show("status", s.status).text_if("reply", text);
            line = line.number("attempt", u64::from(s.attempt));
            if let SettledAs::Deferred(next) = s.result {
                line = line.text("next", &rfc3339(next));
            }
            if s.in_doubt {
                line = line.text("in_doubt", "yes");
            }
            turn.log(line);
        }
    }

    /// What is written about one settlement. One that changes nothing but a
    /// mark keeps the standing that is there.
    fn change<'a>(&self, turn: &Turn<'_>, s: &'a Settlement, text: &'a str) -> Change<'a> {
        let standing = self.spool.state(s.message, s.recipient);
        let (phase, next) = match s.result {
            SettledAs::Delivered { .. } => (Phase::Done(Outcome::Delivered), turn.now.wall),
            SettledAs::Failed => (Phase::Done(Outcome::Failed), turn.now.wall),
            SettledAs::Expired => (Phase::Done(Outcome::Expired), turn.now.wall),
            SettledAs::Removed => (Phase::Done(Outcome::Removed), turn.now.wall),
            SettledAs::Held => (Phase::Held, turn.now.wall),
            SettledAs::Deferred(next) => (Phase::Waiting, next),
            SettledAs::Released => (Phase::Waiting, turn.now.wall),
            SettledAs::Delayed { .. } => {
                standing.map_or((Phase::Waiting, turn.now.wall), |s| (s.phase, s.next))
            }
        };
        let told = matches!(s.result, SettledAs::Deferred(_) | SettledAs::Held);
        let note = Note { status: s.status, text, host: &s.host };
        Change {
            recipient: s.recipient,
            phase,
            attempts: s.attempt,
            next,
            in_doubt: s.in_doubt,
            delay_noticed: matches!(s.result, SettledAs::Delayed { .. }),
            note: (told && s.attempt > 0 && !text.is_empty()).then_some(note),
        }
    }

    fn count(&mut self, s: &Settlement) {
        let metrics = &mut self.metrics;
        match s.result {
            SettledAs::Delivered { .. } => metrics.delivered += 1,
            SettledAs::Failed => metrics.failed += 1,
            SettledAs::Expired => metrics.expired += 1,
            SettledAs::Removed => metrics.removed += 1,
            SettledAs::Deferred(_) => metrics.deferred += 1,
            SettledAs::Held | SettledAs::Released | SettledAs::Delayed { .. } => {}
        }
        metrics.in_doubt += u64::from(s.in_doubt);
    }
}

fn described(line: Line, stored: &Message<'_>, recipient: u16) -> Line {
    let to = stored.recipient(recipient).map_or("", |r| r.address);
    line.text("from", stored.sender()).text("to", to)
}

fn event_name(result: SettledAs) -> &'static str {
    match result {
        SettledAs::Delivered { .. } => "delivered",
        SettledAs::Failed => "failed",
        SettledAs::Expired => "expired",
        SettledAs::Removed => "removed",
        SettledAs::Deferred(_) => "deferred",
        SettledAs::Held => "held",
        SettledAs::Released => "released",
        SettledAs::Delayed { .. } => "delayed",
    }
}
