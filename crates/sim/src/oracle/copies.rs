//! Promise 3, duplicates are named: a second copy for a recipient follows only
//! a mark that the first may have been delivered; and the log claims no delivery
//! that no exchanger confirmed.
//!
//! The list is exact both ways: after a crash of the program (with
//! `in_doubt = "power"` after a power cut too) every recipient whose copy was
//! taken, and whose outcome the log had not told yet, is on it; and nobody is on
//! it whose message was never begun anywhere. Room that the promise leaves: what
//! was not synced when the power went, and what a failing disk lost.

use std::collections::BTreeSet;

use base::Monotonic;

use crate::observation::{LogEvent, LogLine, Observation, Recovery, Stamped, Taken};

use super::book::{Fate, Mail};
use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Recipients that must be on the next list: message and place.
    expected: BTreeSet<(u32, u16)>,
    /// Reports that have come, by their bytes, and how often.
    second_reports: u32,
    reports: BTreeSet<u64>,
}

impl Oracle for Copies {
    fn name(&self) -> &'static str {
        "duplicates are named"
    }

    fn promise(&self) -> u8 {
        3
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        match &seen.what {
            Observation::Took { copy, .. } if copy.message().is_none() => self.report(book, copy),
            Observation::Took { copy, .. } => taken(book, copy),
            Observation::Logged { line, .. } => claimed(book, line),
            Observation::Crashed { power } => {
                self.expected = expected(book, *power, seen.at.mono);
                Ok(())
            }
            Observation::Recovered { report, .. } => {
                let expected = std::mem::take(&mut self.expected);
                listed(book, &expected, report)
            }
            _ => Ok(()),
        }
    }
}

impl Copies {
    /// A report's second copy is the same bytes: it must have been in doubt.
    fn report(&mut self, book: &Book, copy: &Taken) -> Verdict {
        if self.reports.insert(crate::digest::digest(&copy.content)) {
            return Ok(());
        }
        self.second_reports += 1;
        let doubts: u32 = book.reports.values().map(|report| report.doubts).sum();
        let power = book.crashes.iter().any(|(_, power)| *power);
        let lost = power && !book.now_in_force().exact_after_power;
        if self.second_reports > doubts && !lost && book.disk_troubles.is_empty() {
            return Err(Fault::new("a second copy of a report, and none was in doubt"));
        }
        Ok(())
    }
}

/// Another copy is taken.
fn taken(book: &Book, copy: &Taken) -> Verdict {
    for one in &copy.to {
        let Some(who) = book.whose(&one.address) else { continue };
        let (_, to, fate) = book.fate(who);
        let unnamed = fate.copies.len().saturating_sub(fate.doubts.len());
        let forgiven = fate.copies.iter().filter(|copy| forgotten(book, copy.at)).count();
        if unnamed > forgiven {
            let what = "a second copy, and the first was not in doubt";
            return Err(Fault::new(what).with(who.0).to(&to.address));
        }
    }
    Ok(())
}

/// Whether the product can have lost its record of a copy's attempt.
fn forgotten(book: &Book, at: base::Monotonic) -> bool {
    let exact =
        !book.rules_since(at).any(|rules| !rules.exact_after_power) && !book.rules.is_empty();
    let later = |crash: &&(base::Monotonic, bool)| crash.0 >= at;
    let crash = book.crashes.iter().find(later);
    let failed = book.disk_troubles.iter().any(|t| *t + super::FORGET >= at);
    match crash {
        Some((_, true)) if !exact => book.may_be_forgotten(at),
        Some(_) => failed,
        None => false,
    }
}

/// The log tells an outcome.
fn claimed(book: &Book, line: &LogLine) -> Verdict {
    let Some(who) = book.about(line) else { return Ok(()) };
    let (_, to, fate) = book.fate(who);
    let mut mine = fate.copies.iter().filter(|copy| copy.life == book.life && !copy.claimed);
    match line.event {
        LogEvent::Delivered => match mine.find(|copy| copy.heard.is_some()) {
            None => {
                let what = "the log claims a delivery that no exchanger confirmed";
                Err(Fault::new(what).with(who.0).to(&to.address))
            }
            Some(copy) if line.address().is_some_and(|ip| ip != copy.remote.ip()) => {
                let what = format!("the log names {}, but {} took it", line.host, copy.remote);
                Err(Fault::new(what).with(who.0).to(&to.address))
            }
            Some(_) => Ok(()),
        },
        LogEvent::Failed | LogEvent::Expired if mine.any(|copy| copy.heard.is_some()) => {
            let what = format!("{:?} after an exchanger had said yes", line.event);
            Err(Fault::new(what).with(who.0).to(&to.address))
        }
        _ => Ok(()),
    }
}

/// Who must be on the list after this end of the program.
fn expected(book: &Book, power: bool, end: Monotonic) -> BTreeSet<(u32, u16)> {
    let exact = !power || book.now_in_force().exact_after_power && book.rules.len() == 1;
    if !exact || !book.disk_troubles.is_empty() || book.damaged {
        return BTreeSet::new();
    }
    let mut expected = BTreeSet::new();
    for (message, mail) in book.mail.iter().filter(|(_, mail)| mail.id.is_some()) {
        for (place, fate) in mail.fates.iter().enumerate() {
            if may_have_got_it(book, mail, fate, end) {
                expected.insert((*message, mail.index_of(place)));
            }
        }
    }
    expected
}

/// Whether a copy was taken in this life whose outcome the log has not told. One
/// whose answer came just before the end may have its outcome on record, and only
/// the log line is missing; if it has not, a second copy shows it.
fn may_have_got_it(book: &Book, mail: &Mail, fate: &Fate, end: Monotonic) -> bool {
    let Some(copy) = fate.copies.last() else { return false };
    let told_since = fate.line.as_ref().is_some_and(|line| line.at.mono >= copy.at);
    let ended = fate.ends.iter().any(|(_, at, life)| *life == book.life && at.mono >= copy.at);
    let may_be_kept = copy.heard_just_before(end);
    copy.life == book.life && !told_since && !ended && !may_be_kept && mail.promised
}

/// A list of recipients in doubt is told.
fn listed(book: &Book, expected: &BTreeSet<(u32, u16)>, report: &Recovery) -> Verdict {
    let known = |(id, place): &(base::MessageId, u16)| Some((book.message_of(*id)?, *place));
    let list: BTreeSet<(u32, u16)> = report.in_doubt.iter().filter_map(known).collect();
    let fault = |what: &str, (message, place): (u32, u16)| {
        let mail = &book.mail[&message];
        let to = mail.letter.to.get(mail.stored_at(place));
        let fault = Fault::new(what).with(message);
        to.map_or(fault.clone(), |to| fault.to(&to.address))
    };
    if let Some(missing) = expected.difference(&list).next() {
        return Err(fault("a copy was taken, and the list does not name it", *missing));
    }
    for (message, place) in list {
        let mail = &book.mail[&message];
        let Some(fate) = mail.fates.get(mail.stored_at(place)) else {
            return Err(fault("the list names a recipient that there is not", (message, place)));
        };
        if fate.asked.is_none() {
            let what = "the list names mail that was never begun anywhere";
            return Err(fault(what, (message, place)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::play::{Play, TO};
    use std::sync::Arc;

    fn begun() -> Play {
        let mut play = Play::of(Copies::default());
        play.accepted(1, &[TO]);
        play
    }

    /// An exchanger takes a copy and its answer gets lost.
    fn lost_reply(play: &mut Play, conn: u64) {
        play.dialled(conn);
        play.envelope(conn, &[TO]);
        play.heard(conn, crate::observation::Command::Dot);
        play.copy(conn, 1, &[TO]);
        play.ended(conn);
    }

    #[test]
    fn a_confirmed_delivery_is_fine() {
        let mut play = begun();
        play.delivery(1, 1, &[TO]);
        play.line("delivered", TO, 1, "250 ok");
        play.fine();
    }

    #[test]
    fn a_claim_without_a_confirmed_copy_is_caught() {
        let mut play = begun();
        play.line("delivered", TO, 1, "250 ok");
        play.caught("no exchanger confirmed");
        let mut play = begun();
        lost_reply(&mut play, 1);
        play.line("delivered", TO, 1, "250 ok");
        play.caught("no exchanger confirmed");
    }

    #[test]
    fn an_end_in_the_step_of_the_answer_may_have_the_outcome_on_record() {
        let mut play = begun();
        play.delivery(1, 1, &[TO]);
        let mut at_once = play.again();
        at_once.crash(false);
        at_once.still_fine();
        at_once.after(300).delivery(3, 1, &[TO]);
        at_once.caught("not in doubt");
        play.after(1).crash(false);
        play.line("delivered", TO, 1, "250 ok");
        play.caught("the list does not name it");
    }

    #[test]
    fn a_claim_names_who_took_it() {
        let mut play = begun();
        play.delivery(1, 1, &[TO]);
        let host = |ip: &str| format!("mx.one.example [{ip}]").into();
        let mut right = play.again();
        right.line_with("delivered", TO, 1, "250 ok", |line| LogLine {
            host: host("198.51.100.1"),
            ..line
        });
        right.fine();
        play.line_with("delivered", TO, 1, "250 ok", |line| LogLine {
            host: host("198.51.100.2"),
            ..line
        });
        play.caught("took it");
    }

    #[test]
    fn a_failure_after_a_yes_is_caught() {
        for event in ["failed", "expired"] {
            let mut play = begun();
            play.delivery(1, 1, &[TO]);
            play.line(event, TO, 1, "");
            play.caught("after an exchanger had said yes");
        }
    }

    #[test]
    fn a_second_copy_follows_only_a_named_doubt() {
        let mut play = begun();
        lost_reply(&mut play, 1);
        let mut unnamed = play.again();
        unnamed.line("deferred", TO, 1, "");
        unnamed.after(300).delivery(3, 1, &[TO]);
        unnamed.caught("not in doubt");
        let doubt = |line| LogLine { in_doubt: true, ..line };
        play.line_with("deferred", TO, 1, "", doubt);
        play.after(300).delivery(3, 1, &[TO]);
        play.still_fine();
        // One mark covers one copy.
        play.after(300).delivery(5, 1, &[TO]);
        play.caught("not in doubt");
    }

    #[test]
    fn the_list_after_a_crash_is_exact() {
        let mut play = begun();
        lost_reply(&mut play, 1);
        let mut missing = play.again();
        missing.crash(false);
        missing.caught("the list does not name it");
        play.crash_doubting(false, &[(1, 0)]);
        play.delivery(3, 1, &[TO]);
        play.fine();
        let mut play = begun();
        play.crash_doubting(false, &[(1, 0)]);
        play.caught("never begun");
        let mut play = begun();
        play.envelope(1, &[TO]);
        play.crash_doubting(false, &[(1, 7)]);
        play.caught("that there is not");
    }

    #[test]
    fn after_a_power_cut_the_list_is_exact_where_asked_for() {
        let mut play = Play::of(Copies::default());
        play.rules(|rules| rules.exact_after_power = true);
        play.accepted(1, &[TO]);
        lost_reply(&mut play, 1);
        play.crash(true);
        play.caught("the list does not name it");
        let mut play = begun();
        lost_reply(&mut play, 1);
        let mut fresh = play.again();
        fresh.crash(true);
        fresh.delivery(3, 1, &[TO]);
        fresh.fine();
        play.after(60).crash(true);
        play.delivery(3, 1, &[TO]);
        play.caught("not in doubt");
    }

    #[test]
    fn a_report_comes_twice_only_in_doubt() {
        let mut play = begun();
        let report = |copy| Taken { content: Arc::from(&b"Subject: report\r\n\r\n"[..]), ..copy };
        play.dialled(1);
        play.copy_as(1, report);
        let mut named = play.again();
        let other = crate::oracle::play::id(9);
        named.line_with("report", "", 0, "", |line| LogLine {
            id: Some(crate::oracle::play::id(1)),
            report: Some(other),
            ..line
        });
        named.line_with("deferred", "", 1, "", |line| LogLine {
            id: Some(other),
            in_doubt: true,
            ..line
        });
        named.copy_as(1, report);
        named.fine();
        play.copy_as(1, report);
        play.caught("second copy of a report");
    }
}
