//! Promise 6, no wait is for ever: once all faults are over, mail that could go
//! is tried: within the longest wait of any list, its site has been dialled.
//!
//! Judged by sites, not by recipients: while a site sends us away, one message
//! bears each attempt and the others wait with it. Room: who was ever held, was
//! in doubt under a policy that holds, or was quarantined; a disk that failed;
//! and a rate, under which mail goes one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use base::Monotonic;

use crate::observation::{LogEvent, Observation, Stamped};
use crate::rules::Way;

use super::book::{Fate, Mail};
use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Progress {
    calm: Option<Monotonic>,
    /// When to look at a message again.
    due: BTreeSet<(Monotonic, u32)>,
    /// When each address was last dialled.
    dialled: BTreeMap<SocketAddr, Monotonic>,
    /// Recipients that were held at some time.
    held: BTreeSet<(u32, usize)>,
    quarantined: bool,
}

/// What may go by beside the wait of a list: a connection that hangs until its
/// last deadline, failed look-ups, hosts in turn.
const SLACK: Duration = Duration::from_secs(3_600);

impl Oracle for Progress {
    fn name(&self) -> &'static str {
        "what may go goes"
    }

    fn promise(&self) -> u8 {
        6
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        match &seen.what {
            Observation::Dialled { to, .. } => {
                self.dialled.insert(*to, seen.at.mono);
            }
            Observation::Calm if self.calm.is_none() => {
                self.calm = Some(seen.at.mono);
                self.due.extend(book.mail.keys().map(|message| (seen.at.mono, *message)));
            }
            Observation::Logged { line, .. } => match line.event {
                LogEvent::Held => self.held.extend(book.about(line)),
                LogEvent::Quarantined => self.quarantined = true,
                _ => {}
            },
            _ => {}
        }
        self.look_due(book, seen.at.mono)
    }
}

impl Progress {
    fn look_due(&mut self, book: &Book, now: Monotonic) -> Verdict {
        while let Some((at, message)) = self.due.first().copied().filter(|(at, _)| *at < now) {
            self.due.remove(&(at, message));
            let Some(mail) = book.mail.get(&message) else { continue };
            if let Some(next) = self.look(book, now, mail, message)? {
                self.due.insert((next.max(now), message));
            }
        }
        Ok(())
    }

    /// Whether a recipient waits for nothing, and when to look again.
    fn look(
        &self,
        book: &Book,
        now: Monotonic,
        mail: &Mail,
        message: u32,
    ) -> Result<Option<Monotonic>, Fault> {
        let mut again = None;
        if book.damaged || self.quarantined || !book.disk_troubles.is_empty() {
            return Ok(None);
        }
        for (place, fate) in mail.fates.iter().enumerate() {
            let doubted = !fate.doubts.is_empty();
            let ours = mail.is_ours(place) && !fate.has_ended();
            if !ours || doubted || self.held.contains(&(message, place)) {
                continue;
            }
            let to = &mail.letter.to[place].address;
            let bound = self.last(book, now, fate, to) + patience(book, to);
            if bound < now {
                let what = "it waits, and nobody tries its site";
                return Err(Fault::new(what).with(message).to(to));
            }
            again = Some(again.map_or(bound, |again: Monotonic| again.min(bound)));
        }
        Ok(again)
    }

    /// When a recipient, or its site, last had something to wait for.
    fn last(&self, book: &Book, now: Monotonic, fate: &Fate, to: &str) -> Monotonic {
        let rules = book.now_in_force();
        let leads = |at: SocketAddr| book.leads_to(&rules, now, to, at);
        if book.links.values().any(|link| leads(link.to)) {
            return now;
        }
        let tried = self.dialled.iter().filter(|(at, _)| leads(**at)).map(|(_, when)| *when);
        let told = fate.line.as_ref().map(|line| line.at.mono);
        tried.chain(told).chain(self.calm).max().unwrap_or(now)
    }
}

/// How long a site may go undialled.
fn patience(book: &Book, to: &str) -> Duration {
    let rules = book.now_in_force();
    let way = rules.way(to);
    let waiting = book.mail.values().flat_map(|mail| &mail.fates).filter(|f| !f.has_ended());
    let waiting = waiting.count() as u32;
    let wait = |way: &Way| {
        let longest = way.retry.iter().max().copied().unwrap_or_default();
        let turn = way.rate.map_or(Duration::ZERO, |(count, per)| per * waiting / count.max(1));
        longest * 3 / 2 + turn
    };
    SLACK + wait(way).max(wait(&rules.default))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::play::{Play, TO};

    fn begun() -> Play {
        let mut play = Play::of(Progress::default());
        play.rules(|rules| {
            rules.default = Way {
                lifetime: Duration::from_secs(864_000),
                retry: vec![Duration::from_secs(300), Duration::from_secs(600)],
                ..Way::default()
            };
        });
        play.after(10).accepted(1, &[TO]);
        play
    }

    #[test]
    fn a_site_that_nobody_dials_is_caught() {
        let mut play = begun();
        play.after(86_400).see(Observation::Calm);
        play.after(4_000).see(Observation::Calm);
        play.still_fine();
        play.after(1_000).see(Observation::Calm);
        play.caught("nobody tries its site");
    }

    #[test]
    fn each_dial_begins_the_wait_anew_and_a_connection_is_none() {
        let mut play = begun();
        play.see(Observation::Calm);
        for n in 0..20 {
            play.after(3_000).dialled(2 * n + 1);
            play.after(10).ended(2 * n + 1);
        }
        play.dialled(99);
        play.after(86_400).see(Observation::Calm);
        play.fine();
    }

    #[test]
    fn who_is_held_waits_with_good_reason() {
        let mut play = begun();
        play.line("held", TO, 0, "");
        play.see(Observation::Calm);
        play.after(86_400).see(Observation::Calm);
        play.fine();
    }

    #[test]
    fn before_the_calm_faults_explain_everything() {
        let mut play = begun();
        play.after(86_400).dialled(1);
        play.fine();
    }
}
