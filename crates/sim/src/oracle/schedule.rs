//! Promise 2, attempts: no attempt begins after the lifetime, none before its
//! time unless an operator hurried it, and never more of them than allowed; the
//! count goes up by one at a time, also over restarts.
//!
//! Judged by what exchangers heard and when it left us, against what the log
//! said was next and against the configuration's list of waits. Room: what a
//! power cut or a full disk forgot, recipients in doubt after a crash, and a
//! moment for each shard to hear of a new configuration.

use std::time::Duration;

use base::Monotonic;

use crate::observation::{Command, Link, LogEvent, LogLine, Observation, Stamped};
use crate::rules::Rules;

use super::book::{Fate, LastLine};
use super::{Book, Fault, HEARSAY, Oracle, TICK, Verdict};

/// The wait of mail whose way nobody at hand knows.
const MOVED_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Schedule;

impl Oracle for Schedule {
    fn name(&self) -> &'static str {
        "attempts in their time"
    }

    fn promise(&self) -> u8 {
        2
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        match &seen.what {
            Observation::Heard { link, left, command: Command::Rcpt(to) } => {
                asked(book, seen, *link, *left, to)
            }
            Observation::Logged { line, .. } => counted(book, seen, line),
            _ => Ok(()),
        }
    }
}

/// An exchanger is asked to take a recipient.
fn asked(book: &Book, seen: &Stamped, link: Link, left: Monotonic, to: &str) -> Verdict {
    let Some(who) = book.whose(to) else { return Ok(()) };
    let (mail, to, fate) = book.fate(who);
    let fault = |what: String| Err(Fault::new(what).with(who.0).to(&to.address));
    let taken = mail.answer.map_or(seen.at.mono, |(_, at)| at.mono);
    let lifetimes = book.rules_since(left).map(|rules| rules.way(&to.address).lifetime);
    let ends = taken + lifetimes.max().unwrap_or(Duration::MAX);
    let known = book.links.get(&link);
    if left > ends + TICK && known.is_some_and(|link| begun_after(link, ends + TICK)) {
        return fault("an attempt after the lifetime".into());
    }
    let Some(line) = &fate.line else { return Ok(()) };
    // It had left before that was told: sent ahead, to a host that is slow.
    if left <= line.at.mono {
        return Ok(());
    }
    let hurried = fate.hurried.is_some_and(|at| at + HEARSAY >= line.at.mono);
    let forgotten = book.deferral_may_be_forgotten(line.at.mono);
    // An attempt under way goes on, at its next host too.
    let under_way = known.is_some_and(|link| link.since <= line.at.mono && link.dots == 0);
    let held = line.event == LogEvent::Held && !under_way;
    if held && left > line.at.mono + TICK && !hurried && !forgotten {
        return fault("an attempt for mail that is held".into());
    }
    if line.event != LogEvent::Deferred || hurried || forgotten || line.life != book.life {
        return late_restart(book, fate, line, left, seen)
            .map_err(|fault| fault.with(who.0).to(&to.address));
    }
    let due = line.next.map(|next| left_until(seen, next));
    match due {
        Some(due) if left + TICK < due && !book.changed_since(line.at.mono) => {
            fault(format!("an attempt {} ms before its time", due.since(left).as_millis()))
        }
        _ => Ok(()),
    }
}

/// Times survive restarts: the last deferral of an earlier life still counts.
fn late_restart(
    book: &Book,
    fate: &Fate,
    line: &LastLine,
    left: Monotonic,
    seen: &Stamped,
) -> Verdict {
    let hurried = fate.hurried.is_some_and(|at| at + HEARSAY >= line.at.mono);
    let doubted = fate.doubts.last().is_some_and(|at| *at > line.at.mono);
    let forgotten = book.deferral_may_be_forgotten(line.at.mono);
    let lost = hurried || doubted || forgotten || book.changed_since(line.at.mono);
    if line.event != LogEvent::Deferred || line.life == book.life || lost {
        return Ok(());
    }
    match line.next.map(|next| left_until(seen, next)) {
        Some(due) if left + TICK < due => Err(Fault::new("a restart has forgotten the next time")),
        _ => Ok(()),
    }
}

/// Whether all that a connection does now began after `at`.
fn begun_after(link: &super::book::Standing, at: Monotonic) -> bool {
    // The transaction under way was chosen when the one before it had ended.
    link.dialled > at || link.dots > 0 && link.mail.is_some_and(|mail| mail > at + 60 * TICK)
}

/// The monotonic moment of a wall time, either way from now.
fn left_until(seen: &Stamped, wall_ms: u64) -> Monotonic {
    let (mono, wall) = (seen.at.mono.as_millis(), seen.at.wall.as_millis());
    Monotonic::from_millis((mono + wall_ms).saturating_sub(wall))
}

/// The log tells of an attempt.
fn counted(book: &Book, seen: &Stamped, line: &LogLine) -> Verdict {
    let Some(who) = book.about(line) else { return Ok(()) };
    let (mail, to, fate) = book.fate(who);
    let fault = |what: String| Err(Fault::new(what).with(who.0).to(&to.address));
    let Some(attempt) = line.attempt else { return Ok(()) };
    let before = fate.line.as_ref().map_or(0, |line| line.attempt);
    let restarted = fate.line.as_ref().map_or(mail.life, |line| line.life) != book.life;
    let doubts = fate.doubts.len() as u16;
    if line.event == LogEvent::Delayed {
        return Ok(());
    }
    let most = before + 1 + if restarted { doubts } else { 0 };
    // Storage that had failed for good could not tell what was tried, nor what
    // was put off a full one.
    let since = fate.line.as_ref().map_or(mail.handed.mono, |line| line.at.mono);
    let full = book.disk_full.iter().any(|(_, until)| until.is_none_or(|until| until >= since));
    let untold = full || restarted && book.disk_troubles.len() > 1;
    if attempt > most && !untold {
        return fault(format!("attempt {attempt} after attempt {before}"));
    }
    if attempt < before && !(restarted && book.deferral_may_be_forgotten(since)) {
        return fault(format!("attempt {attempt} told after attempt {before}: one was forgotten"));
    }
    if line.event == LogEvent::Deferred && attempt == before && !restarted {
        return fault(format!("attempt {attempt} was put off twice"));
    }
    // What has fallen back is bounded as the default way says.
    let bounds = book.rules_since(since).flat_map(|rules| {
        let (way, default) = (rules.way(&to.address), &rules.default);
        let back = (way.fallback && !way.hosts.is_empty()).then_some(default.max_attempts);
        std::iter::once(way.max_attempts).chain(back)
    });
    // No bound in one of the configurations is no bound.
    let bound = bounds.map(|bound| bound.wrapping_sub(1)).max().map(|most| most.wrapping_add(1));
    // Whom an operator lets go is tried once more.
    let released = fate.line.as_ref().is_some_and(|line| line.event == LogEvent::Released);
    let over =
        |bound: &u16| *bound > 0 && !released && attempt > before && attempt > bound + 1 + doubts;
    if let Some(bound) = bound.filter(over) {
        return fault(format!("attempt {attempt}, with {bound} allowed after the first"));
    }
    next_is_late_enough(book, seen, line, attempt, &to.address)
        .map_err(|fault| fault.with(who.0).to(&to.address))
}

/// What the log says is next is no sooner than the list of waits says.
fn next_is_late_enough(
    book: &Book,
    seen: &Stamped,
    line: &LogLine,
    attempt: u16,
    to: &str,
) -> Verdict {
    let (LogEvent::Deferred, Some(next)) = (line.event, line.next) else { return Ok(()) };
    // What has fallen back waits as the default way says.
    let wait = |rules: &Rules| {
        let (way, default) = (rules.way(to), &rules.default);
        let falls_back = way.fallback && !way.hosts.is_empty();
        let back = if falls_back { default.wait_min(attempt) } else { Duration::MAX };
        way.wait_min(attempt).min(back)
    };
    let (mail, _, fate) = book.fate(book.whose(to).expect("just found"));
    // An attempt ends under the settings that it began with.
    let told = match &fate.line {
        // Told of an attempt under way.
        Some(LastLine { event: LogEvent::Held | LogEvent::Released, at, .. }) => {
            fate.asked.map_or(at.mono, |(asked, _)| asked.min(at.mono))
        }
        Some(line) => line.at.mono,
        None => mail.handed.mono,
    };
    let least = book.rules_since(told).map(wait).min().unwrap_or_default();
    let until = Duration::from_millis(next.saturating_sub(seen.at.wall.as_millis()));
    let taken = mail.handed.mono;
    let lifetime = |rules: &Rules| {
        let (way, default) = (rules.way(to), &rules.default);
        let falls_back = way.fallback && !way.hosts.is_empty();
        if falls_back { way.lifetime.min(default.lifetime) } else { way.lifetime }
    };
    let shortest = book.rules_since(seen.at.mono).map(lifetime).min();
    let ends = shortest.map(|lifetime| taken + lifetime);
    let at_the_end = ends.is_some_and(|ends| seen.at.mono + until + TICK >= ends);
    // The owner decided a moment before its writer could write it down.
    // So long waits mail that was moved while its way changed, for its writer to
    // say where it is.
    let moved = book.changed_since(told) && until + TICK >= MOVED_WAIT;
    if until + TICK < least
        && !at_the_end
        && !moved
        && book.disk_full.is_empty()
        && book.disk_troubles.is_empty()
    {
        return Err(Fault::new(format!("next after {until:?}, the list says {least:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Act, Disk, Whom};
    use crate::oracle::play::{Play, TO};
    use crate::rules::Way;

    fn begun() -> Play {
        let mut play = Play::of(Schedule);
        play.rules(|rules| {
            rules.default = Way {
                lifetime: Duration::from_secs(36_000),
                retry: vec![Duration::from_secs(300), Duration::from_secs(600)],
                jitter_percent: 0,
                max_attempts: 3,
                ..Way::default()
            };
        });
        play.after(10).accepted(1, &[TO]);
        play
    }

    fn deferred(play: &mut Play, attempt: u16, wait: u64) {
        let next = play.now().wall + Duration::from_secs(wait);
        play.line_with("deferred", TO, attempt, "451 later", |line| LogLine {
            next: Some(next.as_millis()),
            ..line
        });
    }

    fn attempt(play: &mut Play, conn: u64) {
        play.dialled(conn);
        play.envelope(conn, &[TO]);
        play.ended(conn);
    }

    #[test]
    fn attempts_in_their_time_are_fine() {
        let mut play = begun();
        attempt(&mut play, 1);
        deferred(&mut play, 1, 300);
        attempt(play.after(300), 3);
        deferred(&mut play, 2, 600);
        play.crash(false);
        attempt(play.after(600), 5);
        deferred(&mut play, 3, 600);
        attempt(play.after(600), 7);
        play.line("expired", TO, 4, "451 later");
        play.fine();
    }

    #[test]
    fn an_attempt_before_its_time_is_caught_unless_hurried() {
        let mut play = begun();
        deferred(&mut play, 1, 300);
        let mut hurried = play.again();
        hurried.after(5).see(Observation::Ordered { order: 1, act: Act::Flush, whom: Whom::All });
        attempt(hurried.after(5), 1);
        hurried.fine();
        attempt(play.after(200), 1);
        play.caught("before its time");
    }

    #[test]
    fn a_restart_does_not_forget_the_next_time() {
        let mut play = begun();
        deferred(&mut play, 1, 300);
        let mut forgot = play.again();
        forgot.crash(false);
        attempt(forgot.after(5), 1);
        forgot.caught("forgotten the next time");
        // What was not synced may be gone with the power.
        play.crash(true);
        attempt(play.after(5), 1);
        play.fine();
    }

    #[test]
    fn a_wait_shorter_than_the_list_is_caught() {
        let mut play = begun();
        deferred(&mut play, 1, 200);
        play.caught("the list says");
    }

    #[test]
    fn the_last_wait_may_be_cut_by_the_lifetime() {
        let mut play = begun();
        play.after(35_900);
        deferred(&mut play, 1, 100);
        play.fine();
    }

    #[test]
    fn attempts_are_counted_one_by_one() {
        let mut play = begun();
        deferred(&mut play, 2, 600);
        play.caught("attempt 2 after attempt 0");
        let mut play = begun();
        deferred(&mut play, 1, 300);
        let mut twice = play.again();
        deferred(&mut twice, 1, 300);
        twice.caught("put off twice");
        play.after(300);
        deferred(&mut play, 2, 600);
        play.crash(false);
        play.after(600);
        deferred(&mut play, 1, 300);
        play.caught("one was forgotten");
    }

    #[test]
    fn what_a_full_disk_did_not_take_may_be_told_again() {
        let mut play = begun();
        play.see(Observation::Disk { segment: None, what: Disk::Full });
        play.after(5_000);
        deferred(&mut play, 1, 300);
        let mut roomy = play.again();
        play.after(300);
        deferred(&mut play, 2, 600);
        play.crash(false);
        attempt(play.after(5), 1);
        deferred(&mut play, 1, 300);
        play.fine();
        roomy.see(Observation::Disk { segment: None, what: Disk::Roomy });
        roomy.after(5_000);
        deferred(&mut roomy, 2, 600);
        roomy.crash(false);
        attempt(roomy.after(5), 1);
        roomy.caught("forgotten the next time");
    }

    #[test]
    fn more_attempts_than_allowed_are_caught() {
        let mut play = begun();
        for n in 1..=4 {
            deferred(&mut play, n, 600);
            play.after(600);
        }
        play.still_fine();
        deferred(&mut play, 5, 600);
        play.caught("3 allowed");
    }

    #[test]
    fn no_attempt_begins_after_the_lifetime() {
        let mut play = begun();
        play.after(35_990).dialled(1);
        let mut open = play.again();
        open.after(30).envelope(1, &[TO]);
        open.fine();
        play.ended(1);
        attempt(play.after(30), 3);
        play.caught("after the lifetime");
    }

    #[test]
    fn held_mail_is_left_alone_until_somebody_lets_it_go() {
        let mut play = begun();
        play.line("held", TO, 0, "");
        let mut released = play.again();
        released.after(60).see(Observation::Ordered {
            order: 1,
            act: Act::Release,
            whom: Whom::All,
        });
        released.after(1);
        attempt(&mut released, 1);
        released.fine();
        play.after(60);
        attempt(&mut play, 1);
        play.caught("mail that is held");
    }
}
