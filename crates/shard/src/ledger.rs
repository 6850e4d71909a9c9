//! The writer's side of an end: what owners settled is written into the log,
//! reported to the sender where that is due, and told to the operator in one
//! log line per recipient.
//!
//! Invariants: a settlement is applied once; one that the log does not take now
//! waits here and is tried again, for it is true all the same; what waits is in
//! the order in which it was told, but for ends: they stand before the rest,
//! as the log has room for them when it has none for deferrals, and what is
//! told of a recipient that has ended is not owed any more.

use std::time::Duration;

use base::MessageId;
use base::planted::{Bug, planted};
use eventlog::{Field, Kind, Line};
use mail::dsn::Action;
use spool::{Change, Note, Outcome, Phase, Place, Refusal, Settled};

use crate::armed::Timer;
use crate::bounce::{Letter, action};
use crate::commit::Waiter;
use crate::mesh::{SettledAs, Settlement};
use crate::shard::{Shard, Turn};

/// Wait before the log is asked again to take what it refused.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Groups of waiting outcomes that one step writes: each may bring a report.
const RETRIED_PER_STEP: usize = 256;
/// Kinds of report, in the order of writing; first what calls for none.
const KINDS: [Option<Action>; 5] = [
    None,
    Some(Action::Failed),
    Some(Action::Delayed),
    Some(Action::Relayed),
    Some(Action::Delivered),
];

impl Shard {
    /// Owners tell what became of recipients of messages written here.
    pub(crate) fn settled(&mut self, turn: &mut Turn<'_>, settlements: Vec<Settlement>) {
        let mut left = Vec::new();
        let mut ends_refused = false;
        for group in groups(&settlements) {
            if self.unsettled.is_empty() && left.is_empty() {
                left.extend(self.settle_message(turn, group).err().into_iter().flatten());
                continue;
            }
            // What came first is written first, but for ends.
            let (ends, rest): (Vec<_>, Vec<_>) = group.iter().cloned().partition(is_end);
            left.extend(rest);
            if ends_refused {
                left.extend(ends);
            } else if let Err(refused) = self.settle_message(turn, &ends) {
                ends_refused = true;
                left.extend(refused);
            }
        }
        let (ends, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_end);
        let at = self.unsettled.partition_point(is_end);
        self.unsettled.splice(at..at, ends);
        self.unsettled.extend(rest);
    }

    /// Tries again what the log did not take: a piece of it, and no more once
    /// the log refuses.
    pub(crate) fn retry_unsettled(&mut self, turn: &mut Turn<'_>) {
        let mut waiting = std::mem::take(&mut self.unsettled);
        let (mut tried, mut refused) = (0, None);
        let alike = waiting.chunk_by(|a, b| is_one_group(a, b) && is_end(a) == is_end(b));
        for group in alike.take(RETRIED_PER_STEP) {
            tried += group.len();
            if let Err(left) = self.settle_message(turn, group) {
                refused = Some(left);
                break;
            }
        }
        let goes_on = refused.is_none() && tried < waiting.len();
        waiting.splice(..tried, refused.unwrap_or_default());
        if !waiting.is_empty() {
            self.unsettled = waiting;
        }
        if goes_on {
            self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
        }
    }

    /// Writes one group; the error is what the log does not take now.
    fn settle_message(
        &mut self,
        turn: &mut Turn<'_>,
        group: &[Settlement],
    ) -> Result<(), Vec<Settlement>> {
        for (n, kind) in KINDS.into_iter().enumerate() {
            let of_kind = group.iter().filter(|s| action(s) == kind && self.is_owed(s));
            let alike = self.alike(turn, of_kind.collect());
            for (at, of_kind) in alike.iter().enumerate() {
                let written = self.settle_kind(turn, of_kind);
                if written < of_kind.len() {
                    let others = alike[at + 1..].iter().flatten().copied();
                    let later = group.iter().filter(|s| KINDS[n + 1..].contains(&action(s)));
                    let left = of_kind[written..].iter().copied().chain(others).chain(later);
                    return Err(left.cloned().collect());
                }
            }
        }
        Ok(())
    }

    /// Whether a settlement says anything new.
    fn is_owed(&self, s: &Settlement) -> bool {
        // Only the writer ends recipients, so what is not known has ended.
        let Some(state) = self.spool.state(s.message, s.recipient) else { return false };
        let told = matches!(s.result, SettledAs::Delayed { .. }) && state.delay_noticed;
        let passed_over = planted(Bug::DeferralForgotten) && is_mere_deferral(s);
        !told && !passed_over && !matches!(state.phase, Phase::Done(_))
    }

    /// Writes outcomes of one message that call for the same report, or for
    /// none, together with the report; in halves what no segment can hold.
    /// Gives how many it wrote, from the first on: fewer than all when the log
    /// takes no more now.
    fn settle_kind(&mut self, turn: &mut Turn<'_>, group: &[&Settlement]) -> usize {
        if group.is_empty() {
            return 0;
        }
        let texts: Vec<Box<str>> = group.iter().map(|s| self.words(turn, s)).collect();
        let letter = self.letter(turn, group[0].message, group, &texts);
        let reported = letter.is_some();
        match self.write_kind(turn, group, &texts, letter) {
            Ok(()) => group.len(),
            Err(Refusal::LocalTooLarge) if group.len() > 1 => {
                let (first, second) = group.split_at(group.len() / 2);
                let written = self.settle_kind(turn, first);
                if written < first.len() {
                    return written;
                }
                written + self.settle_kind(turn, second)
            }
            Err(Refusal::LocalTooLarge) if reported => self.settle_unreported(turn, group, &texts),
            Err(error) => self.put_off_writing(turn, group, &error),
        }
    }

    /// Writes one outcome whose report is larger than a segment.
    fn settle_unreported(
        &mut self,
        turn: &mut Turn<'_>,
        group: &[&Settlement],
        texts: &[Box<str>],
    ) -> usize {
        if let Err(error) = self.write_kind(turn, group, texts, None) {
            return self.put_off_writing(turn, group, &error);
        }
        self.metrics.reports_withheld += 1;
        let line = Line::new(turn.now.wall, Kind::ReportWithheld).id(Field::Id, group[0].message);
        turn.log(line.text(Field::Reason, "the report does not fit into a segment"));
        group.len()
    }

    /// The log refused outcomes. Gives how many of them need no second try.
    fn put_off_writing(
        &mut self,
        turn: &mut Turn<'_>,
        group: &[&Settlement],
        error: &Refusal,
    ) -> usize {
        match error {
            // It has ended: nobody is owed anything.
            Refusal::MisuseUnknown => group.len(),
            // Not even alone and without a report. The next start finds the
            // recipient as it was; asking again before that changes nothing.
            Refusal::LocalTooLarge => {
                let line = Line::new(turn.now.wall, Kind::Storage).id(Field::Id, group[0].message);
                turn.log(line.text(Field::Error, "an outcome does not fit into a segment"));
                group.len()
            }
            // The disk is not full: a segment is being made, as after a start.
            Refusal::LocalFull if self.spool.awaits_segment() => 0,
            // When to try again is known to the owner, and on a full disk that
            // must do: what waited here would be out of date by the next retry.
            Refusal::LocalFull if group.iter().all(|s| is_mere_deferral(s)) => {
                self.complain(turn, &error.to_string());
                let place = self.spool.place(group[0].message);
                let texts: Vec<Box<str>> = group.iter().map(|s| self.words(turn, s)).collect();
                self.log_group(turn, place, group, &texts);
                group.len()
            }
            _ if planted(Bug::OutcomeForgotten) => group.len(),
            Refusal::LocalFull | Refusal::LocalDown | Refusal::LocalWrite(_) => {
                self.complain(turn, &error.to_string());
                0
            }
        }
    }

    /// Writes outcomes and, where there is one, their report.
    fn write_kind(
        &mut self,
        turn: &mut Turn<'_>,
        group: &[&Settlement],
        texts: &[Box<str>],
        letter: Option<Letter>,
    ) -> Result<(), Refusal> {
        let Settlement { message, owner, .. } = *group[0];
        let place = self.spool.place(message);
        let changes: Vec<Change<'_>> =
            group.iter().zip(texts).map(|(s, text)| self.change(turn, s, text)).collect();
        let settled = match &letter {
            None => self.spool.settle(turn.medium, turn.now, message, &changes),
            Some(letter) => self.settle_with_report(turn, message, letter, &changes),
        }?;
        self.logged.complained = false;
        self.log_group(turn, place, group, texts);
        if owner != self.id {
            let recipients = group.iter().map(|s| s.recipient).collect();
            let waiter = Waiter::Recorded { owner, message, recipients };
            self.commits.wait(settled.position, waiter);
        }
        Ok(())
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
        if planted(Bug::BouncedTwice) {
            let meta = spool::Meta { report: true, ..spool::Meta::default() };
            let report =
                self.spool.append_message(turn.medium, turn.now, &meta, envelope, &[wire])?;
            let waiter = Waiter::Accepted { conn: None, message: report.id };
            self.commits.wait(report.position, waiter);
            return self.spool.settle(turn.medium, turn.now, message, changes);
        }
        let (report, settled) =
            self.spool.append_report(turn.medium, turn.now, envelope, &[wire], message, changes)?;
        let waiter = Waiter::Accepted { conn: None, message: report.id };
        self.commits.wait(report.position, waiter);
        self.metrics.reports_sent += 1;
        if self.logs_mail() {
            let line = Line::new(turn.now.wall, Kind::Report).id(Field::Id, message);
            let line = line.id(Field::Report, report.id);
            turn.log(line.show(Field::To, &envelope.recipients[0].address));
        }
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
        if !std::mem::replace(&mut self.logged.complained, true) {
            turn.log(Line::new(turn.now.wall, Kind::Storage).text(Field::Error, error));
        }
    }

    /// A stored message cannot be read: said here, held by the caller, never
    /// sent.
    pub(crate) fn quarantine(&mut self, turn: &mut Turn<'_>, message: MessageId, why: &str) {
        let line = Line::new(turn.now.wall, Kind::Quarantined).id(Field::Id, message);
        turn.log(line.text(Field::Reason, why));
    }

    fn log_group(
        &mut self,
        turn: &mut Turn<'_>,
        place: Option<Place>,
        group: &[&Settlement],
        texts: &[Box<str>],
    ) {
        for (s, text) in group.iter().zip(texts) {
            let stored = place.and_then(|at| spool::message_at(&*turn.medium, s.message, at).ok());
            let recipient = stored.as_ref().and_then(|stored| stored.recipient(s.recipient));
            let address = recipient.map(|recipient| recipient.address);
            let domain = address.and_then(|address| Some(address.rsplit_once('@')?.1));
            self.count(s, domain);
            if self.logs_mail() {
                let line = self.end_line(turn.now, stored.as_ref(), address, s, text);
                turn.log(line);
            }
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
}

/// What one owner tells of one message, as long as nothing else comes between.
fn groups(settlements: &[Settlement]) -> impl Iterator<Item = &[Settlement]> {
    settlements.chunk_by(is_one_group)
}

fn is_one_group(a: &Settlement, b: &Settlement) -> bool {
    a.message == b.message && a.owner == b.owner
}

/// A failure for now, of which nothing is in doubt.
fn is_mere_deferral(s: &Settlement) -> bool {
    matches!(s.result, SettledAs::Deferred(_)) && !s.in_doubt
}

/// Whether nothing comes after it.
fn is_end(s: &Settlement) -> bool {
    match s.result {
        SettledAs::Delivered { .. }
        | SettledAs::Failed
        | SettledAs::Expired
        | SettledAs::Removed => true,
        SettledAs::Deferred(_)
        | SettledAs::Held
        | SettledAs::Released
        | SettledAs::Delayed { .. } => false,
    }
}
