//! Promise 2, one final outcome: each recipient that we answer for ends exactly
//! once, and none stays beyond its lifetime by more than a tick.
//!
//! Answered for is what was acknowledged, and what shows later that it was
//! stored. Room that the promise leaves: storage that has failed twice writes no
//! end until the next start; an end may come a second time when a
//! power cut (or a crash after a failed sync) can have forgotten the first; an
//! attempt that is open when the lifetime ends may run to its own end, which is
//! allowed as long as a connection stands that can be its own, an hour at most.

use std::collections::BTreeSet;
use std::time::Duration;

use base::Monotonic;

use crate::observation::{LogEvent, Observation, Stamped};

use super::book::{Fate, Mail};
use super::{Book, Fault, HEARSAY, Oracle, TICK, Verdict};

#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// When to look whether somebody has stayed too long.
    due: BTreeSet<(Monotonic, u32)>,
}

/// The longest that an open attempt may outlast the lifetime.
const ATTEMPT_MAX: Duration = Duration::from_secs(3_600);
/// After a start, mail is handed to its owners anew.
const START_MAX: Duration = Duration::from_secs(30);

impl Oracle for Outcome {
    fn name(&self) -> &'static str {
        "one final outcome"
    }

    fn promise(&self) -> u8 {
        2
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        self.look_due(book, seen.at.mono)?;
        match &seen.what {
            Observation::Handed { message, .. } => {
                self.due.insert((seen.at.mono, *message));
                Ok(())
            }
            // Lifetimes have changed: everybody is looked at anew.
            Observation::Configured(_) => {
                let soon = seen.at.mono + HEARSAY;
                self.due.extend(book.mail.keys().map(|message| (soon, *message)));
                Ok(())
            }
            Observation::Logged { line, .. } if line.event.is_end() => {
                let Some(who) = book.about(line) else { return Ok(()) };
                let (mail, to, fate) = book.fate(who);
                let says = |what: &str| Err(Fault::new(what).with(who.0).to(&to.address));
                if mail.answer.is_some_and(|(code, _)| code >= 400) && mail.life == book.life {
                    return says("an outcome of what was refused");
                }
                if ended_for_good(book, fate) {
                    return says("a second end");
                }
                if line.event == LogEvent::Removed && fate.removal.is_none() {
                    return says("removed, and nobody ordered it");
                }
                Ok(())
            }
            Observation::Took { copy, .. } => {
                for one in &copy.to {
                    let Some(who) = book.whose(&one.address) else { continue };
                    let (_, to, fate) = book.fate(who);
                    let given_up = |end: &LogEvent| *end != LogEvent::Delivered;
                    let ended = fate
                        .ends
                        .iter()
                        .any(|(end, at, _)| given_up(end) && !book.may_be_forgotten(at.mono));
                    if ended {
                        let what = "delivered after it had been given up";
                        return Err(Fault::new(what).with(who.0).to(&to.address));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        let Observation::Over { left } = &seen.what else { return Ok(()) };
        if left.unfinished {
            return Ok(());
        }
        // Bytes that were changed behind our back cannot be promised.
        if book.damaged {
            return Ok(());
        }
        for (message, mail) in &book.mail {
            for (place, to) in mail.letter.to.iter().enumerate() {
                if !mail.fates[place].has_ended() && mail.is_ours(place) {
                    let what = "accepted, and it never ended";
                    return Err(Fault::new(what).with(*message).to(&to.address));
                }
            }
        }
        Ok(())
    }
}

/// Whether an end was told that can not have been forgotten.
fn ended_for_good(book: &Book, fate: &Fate) -> bool {
    fate.ends.iter().any(|(_, at, _)| !book.may_be_forgotten(at.mono))
}

impl Outcome {
    fn look_due(&mut self, book: &Book, now: Monotonic) -> Verdict {
        while let Some((at, message)) = self.due.first().copied().filter(|(at, _)| *at < now) {
            self.due.remove(&(at, message));
            let Some(mail) = book.mail.get(&message) else { continue };
            if let Some(next) = look(book, now, mail, message)? {
                self.due.insert((next.max(now + HEARSAY), message));
            }
        }
        Ok(())
    }
}

/// Whether somebody has stayed too long, and when to look again; `None` once
/// all have ended, or nobody answers for them.
fn look(
    book: &Book,
    now: Monotonic,
    mail: &Mail,
    message: u32,
) -> Result<Option<Monotonic>, Fault> {
    // Taken in somewhere between its last byte and the answer to it.
    let taken = mail.answer.map_or(mail.handed.mono, |(_, at)| at.mono);
    let mut again = None;
    for (place, to) in mail.letter.to.iter().enumerate() {
        if mail.fates[place].has_ended() || book.damaged {
            continue;
        }
        if !mail.is_ours(place) || book.may_be_down() {
            again = Some(now + 60 * TICK);
            continue;
        }
        let lifetimes = book.rules_since(now).map(|rules| rules.way(&to.address).lifetime);
        let ends = taken + lifetimes.max().unwrap_or(Duration::MAX);
        let started = book.crashes.last().map_or(Monotonic::default(), |(at, _)| *at + START_MAX);
        let full =
            |(_, until): &(Monotonic, Option<Monotonic>)| until.unwrap_or(now) + 2 * ATTEMPT_MAX;
        let full = book.disk_full.last().map_or(Monotonic::default(), full);
        let down = book.disk_troubles.last().map_or(Monotonic::default(), |at| *at + ATTEMPT_MAX);
        let bound = (ends + TICK).max(started).max(full).max(down);
        let next = if now <= bound {
            bound
        } else if now <= bound + ATTEMPT_MAX && attempt_may_be_open(book, ends, &to.address) {
            now + TICK
        } else {
            let what = "it has stayed beyond its lifetime";
            return Err(Fault::new(what).with(message).to(&to.address));
        };
        again = Some(again.map_or(next, |again: Monotonic| again.min(next)));
    }
    Ok(again)
}

/// Whether a connection stands, dialled before the end, that can be an
/// attempt's for this recipient. The rules that brought the end may have come
/// when it stood.
fn attempt_may_be_open(book: &Book, ends: Monotonic, address: &str) -> bool {
    let changed = book.rules.last().map_or(ends, |(at, _)| *at);
    book.links.values().any(|link| {
        let since = link.since.min(ends);
        let mut rules = book.rules_since(since).peekable();
        link.since <= ends.max(changed) + HEARSAY
            && (rules.peek().is_none()
                || rules.any(|rules| book.leads_to(rules, since, address, link.to)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Act, Disk, Left, Whom};
    use crate::oracle::play::{Play, TO};

    fn over(play: &mut Play) {
        play.see(Observation::Over { left: Left::default() });
    }

    #[test]
    fn one_end_for_each_is_fine() {
        let mut play = Play::of(Outcome::default());
        play.accepted(1, &[TO, "c@two.example"]);
        play.after(60).line("delivered", TO, 1, "");
        play.after(60).line("failed", "c@two.example", 1, "");
        over(&mut play);
        play.fine();
    }

    #[test]
    fn a_second_end_and_a_missing_one_are_caught() {
        let mut play = Play::of(Outcome::default());
        play.accepted(1, &[TO]);
        play.after(60).line("delivered", TO, 1, "");
        play.after(60).line("expired", TO, 1, "");
        play.caught("a second end");
        let mut play = Play::of(Outcome::default());
        play.accepted(1, &[TO, "c@two.example"]);
        play.line("delivered", TO, 1, "");
        over(&mut play);
        play.caught("never ended");
    }

    #[test]
    fn an_end_of_the_program_may_keep_a_line_back_but_no_outcome() {
        for (wait, fine) in [(0, true), (1, false)] {
            let mut play = Play::of(Outcome::default());
            play.accepted(1, &[TO]);
            play.delivery(1, 1, &[TO]);
            play.after(wait).crash(false);
            over(&mut play);
            if fine { play.fine() } else { play.caught("never ended") }
        }
    }

    #[test]
    fn what_nobody_acknowledged_may_vanish_but_not_once_it_has_shown() {
        let mut play = Play::of(Outcome::default());
        play.handed(1, &[TO]);
        play.crash(true);
        let mut vanished = play.again();
        over(&mut vanished);
        vanished.fine();
        play.after(60).line("deferred", TO, 1, "");
        over(&mut play);
        play.caught("never ended");
    }

    #[test]
    fn a_power_cut_may_forget_a_fresh_end_and_no_old_one() {
        let mut play = Play::of(Outcome::default());
        play.accepted(1, &[TO]);
        play.after(60).line("delivered", TO, 1, "");
        let mut fresh = play.again();
        fresh.after(1).crash(true);
        fresh.after(60).line("delivered", TO, 1, "");
        over(&mut fresh);
        fresh.fine();
        let mut old = play.again();
        old.after(60).crash(true);
        old.after(60).line("delivered", TO, 1, "");
        old.caught("a second end");
        play.after(1).crash(false);
        play.after(60).line("delivered", TO, 1, "");
        play.caught("a second end");
    }

    #[test]
    fn what_was_refused_has_no_outcome() {
        let mut play = Play::of(Outcome::default());
        play.handed(1, &[TO]);
        play.answered(1, 451);
        play.line("delivered", TO, 1, "");
        play.caught("of what was refused");
    }

    #[test]
    fn a_removal_needs_an_order() {
        let mut play = Play::of(Outcome::default());
        play.accepted(1, &[TO]);
        let mut ordered = play.again();
        ordered.see(Observation::Ordered { order: 1, act: Act::Remove, whom: Whom::All });
        ordered.line("removed", TO, 0, "");
        ordered.fine();
        play.line("removed", TO, 0, "");
        play.caught("nobody ordered");
    }

    #[test]
    fn nobody_stays_beyond_the_lifetime() {
        let mut play = Play::of(Outcome::default());
        play.lifetime(3_600);
        play.accepted(1, &[TO]);
        play.after(3_601).see(Observation::Calm);
        play.still_fine();
        play.after(4).see(Observation::Calm);
        play.caught("beyond its lifetime");
    }

    #[test]
    fn an_open_attempt_may_outlast_the_lifetime_for_a_while() {
        let mut play = Play::of(Outcome::default());
        play.lifetime(3_600);
        play.accepted(1, &[TO]);
        play.after(3_590).dialled(1);
        play.after(60).see(Observation::Calm);
        play.after(600).see(Observation::Calm);
        play.still_fine();
        let mut ended = play.again();
        ended.ended(1);
        ended.after(10).see(Observation::Calm);
        ended.after(10).see(Observation::Calm);
        ended.caught("beyond its lifetime");
        play.after(3_600).see(Observation::Calm);
        play.caught("beyond its lifetime");
    }

    #[test]
    fn a_shorter_lifetime_counts_for_what_waits() {
        let mut play = Play::of(Outcome::default());
        play.lifetime(36_000);
        play.accepted(1, &[TO]);
        play.after(7_200).lifetime(3_600);
        play.still_fine();
        play.after(10).see(Observation::Calm);
        play.after(10).see(Observation::Calm);
        play.caught("beyond its lifetime");
    }

    #[test]
    fn storage_that_has_failed_for_good_ends_nothing_until_the_next_start() {
        let mut play = Play::of(Outcome::default());
        play.lifetime(3_600);
        play.accepted(1, &[TO]);
        for _ in 0..2 {
            play.see(Observation::Disk { segment: None, what: Disk::SyncFailed });
        }
        play.after(9_000).see(Observation::Calm);
        play.still_fine();
        play.crash(false);
        play.after(200).see(Observation::Calm);
        play.after(10).see(Observation::Calm);
        play.caught("beyond its lifetime");
    }

    #[test]
    fn what_was_given_up_is_not_delivered() {
        let mut play = Play::of(Outcome::default());
        play.accepted(1, &[TO]);
        play.after(60).line("failed", TO, 1, "550 no");
        play.dialled(1);
        play.copy(1, 1, &[TO]);
        play.caught("given up");
    }
}
