//! The writer's side of an end: what owners settled is written into the log,
//! reported to the sender where that is due, and told to the operator in one
//! log line per recipient.
//!
//! Invariant: a settlement is applied once; one that the log does not take now
//! waits here and is tried again, for it is true all the same.

use std::time::Duration;

use base::MessageId;
use mail::dsn::Action;
use spool::{Change, Message, Note, Outcome, Phase, Place, Refusal, Settled};

use crate::bounce::{Letter, action};
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
            // What came first is written first.
            let behind = self.unsettled.iter().any(|s| s.message == group[0].message);
            if behind || !self.settle_message(turn, group) {
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

    /// Writes one group; false when the log cannot take all of it now.
    fn settle_message(&mut self, turn: &mut Turn<'_>, group: &[Settlement]) -> bool {
        let message = group[0].message;
        let kinds = [None, Some(Action::Failed), Some(Action::Delayed), Some(Action::Relayed)];
        let mut written = true;
        for kind in kinds {
            // Only the writer ends recipients, so what is not known has ended.
            let owed = |s: &&Settlement| {
                let state = self.spool.state(message, s.recipient);
                action(s) == kind && state.is_some_and(|s| !matches!(s.phase, Phase::Done(_)))
            };
            let group: Vec<&Settlement> = group.iter().filter(owed).collect();
            written &= group.is_empty() || self.settle_kind(turn, message, &group);
        }
        written
    }

    /// Writes outcomes that call for the same kind of report, or for none,
    /// together with the report.
    fn settle_kind(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        group: &[&Settlement],
    ) -> bool {
        let place = self.spool.place(message);
        let texts: Vec<Box<str>> = group.iter().map(|s| self.words(turn, s)).collect();
        let letter = self.letter(turn, message, group, &texts);
        let changes: Vec<Change<'_>> =
            group.iter().zip(&texts).map(|(s, text)| self.change(turn, s, text)).collect();
        let settled = match &letter {
            None => self.spool.settle(turn.medium, turn.now, message, &changes),
            Some(letter) => self.settle_with_report(turn, message, letter, &changes),
        };
        match settled {
            Ok(settled) => {
                self.complained = false;
                self.log_group(turn, place, group, &texts);
                let owner = group[0].owner;
                if owner != self.id {
                    let recipients = group.iter().map(|s| s.recipient).collect();
                    let waiter = Waiter::Recorded { owner, message, recipients };
                    self.commits.wait(settled.position, waiter);
                }
                true
            }
            Err(error) => {
                self.complain(turn, &error.to_string());
                false
            }
        }
    }

    /// Outcomes and their report in one record: a crash leaves both or neither.
    fn settle_with_report(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        letter: &Letter,
        changes: &[Change<'_>],
    ) -> Result<Settled, Refusal> {
        let Letter { envelope, wire } = letter;
        let (report, settled) =
            self.spool.append_report(turn.medium, turn.now, envelope, &[wire], message, changes)?;
        let waiter = Waiter::Accepted { conn: None, message: report.id };
        self.commits.wait(report.position, waiter);
        self.metrics.reports_sent += 1;
        let line = Line::new(turn.now.wall, "report").show("id", message);
        let line = line.show("report", report.id);
        turn.log(line.show("to", &envelope.recipients[0].address));
        Ok(settled)
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

    /// The log refuses to be written. Said once until it takes something again,
    /// for all that waits is tried again every second.
    pub(crate) fn complain(&mut self, turn: &mut Turn<'_>, error: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            turn.log(Line::new(turn.now.wall, "storage").text("error", error));
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
