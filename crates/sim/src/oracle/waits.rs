//! Promise 6, every wait has an end: no phase of a connection to an exchanger
//! outlasts its deadline, a silent client is sent away, a client gets its
//! answer, and at the end nothing is open.
//!
//! Which phase a connection is in shows by the first command without a reply,
//! or by the last reply where the exchanger hears nothing any more. Room: a
//! minute, for waits of our own between two phases (a read ahead, the sync that
//! a dot waits for), and the time that the content itself may take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::Monotonic;

use crate::observation::{Disk, Link, Observation, Stamped, Verb};
use crate::rules::{Rules, Timeouts, Way};

use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Waits {
    links: BTreeMap<Link, Phase>,
    clients: BTreeMap<Link, Monotonic>,
    deadlines: BTreeSet<(Monotonic, Link)>,
    /// While the disk takes nothing, clients wait for their answer.
    disk_down: bool,
}

#[derive(Debug, Default)]
struct Phase {
    deadline: Monotonic,
    /// Commands without a reply.
    open: VecDeque<Verb>,
}

/// Waits of our own.
const SLACK: Duration = Duration::from_secs(60);
/// The longest wait for an answer to the final dot (RFC 5321 §4.5.3.2.6).
const ANSWER_MAX: Duration = Duration::from_secs(600);
/// How long a connection may stand without mail while a rate lets little go.
const RATED_IDLE_MAX: Duration = Duration::from_secs(86_400);
/// Octets of content that a peer must take in a second, on average.
const PACE_MIN: u64 = 1_024;

impl Oracle for Waits {
    fn name(&self) -> &'static str {
        "every wait has an end"
    }

    fn promise(&self) -> u8 {
        6
    }

    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict {
        let now = seen.at.mono;
        self.look_due(now)?;
        match &seen.what {
            Observation::Crashed { .. } => *self = Self::default(),
            Observation::Disk { what, .. } => {
                self.disk_down |= matches!(what, Disk::SyncFailed | Disk::WriteFailed);
            }
            Observation::ClientCame { client, .. } | Observation::ClientSpoke { client } => {
                let rules = book.rules_since(now).map(|rules| rules.client_timeout).max();
                self.await_client(*client, now + rules.unwrap_or(ANSWER_MAX) + SLACK);
            }
            Observation::Handed { client, .. } => {
                self.await_client(*client, now + ANSWER_MAX + SLACK);
            }
            Observation::Answered { client, .. } if self.clients.contains_key(client) => {
                let rules = book.rules_since(now).map(|rules| rules.client_timeout).max();
                self.await_client(*client, now + rules.unwrap_or(ANSWER_MAX) + SLACK);
            }
            Observation::ClientGone { client, .. } => {
                if let Some(deadline) = self.clients.remove(client) {
                    self.deadlines.remove(&(deadline, *client));
                }
            }
            Observation::Ended { link, .. } | Observation::DialFailed { link, .. } => {
                if let Some(phase) = self.links.remove(link) {
                    self.deadlines.remove(&(phase.deadline, *link));
                }
            }
            other => self.on_link(book, now, other),
        }
        Ok(())
    }

    fn end(&mut self, _: &Book, seen: &Stamped) -> Verdict {
        let Observation::Over { left } = &seen.what else { return Ok(()) };
        let counts =
            [("clients", left.clients), ("connections", left.links), ("permits", left.permits)];
        for (name, count) in counts {
            if count > 0 && !left.unfinished {
                return Err(Fault::new(format!("{count} {name} are left open")));
            }
        }
        if left.messages > 0 && !left.unfinished {
            return Err(Fault::new(format!("{} messages are left in the spool", left.messages)));
        }
        if left.recipients > 0 && !left.unfinished {
            return Err(Fault::new(format!("{} recipients are left waiting", left.recipients)));
        }
        Ok(())
    }
}

impl Waits {
    fn look_due(&self, now: Monotonic) -> Verdict {
        let Some((at, link)) = self.deadlines.first().copied().filter(|(at, _)| *at < now) else {
            return Ok(());
        };
        if self.clients.contains_key(&link) {
            return if self.disk_down {
                Ok(())
            } else {
                Err(Fault::new(format!("client {link} waits or is let wait since long ago")))
            };
        }
        let phase = self.links.get(&link).and_then(|phase| phase.open.front());
        let late = now.since(at).as_millis();
        Err(Fault::new(format!("link {link} hangs (at {phase:?}), {late} ms over its deadline")))
    }

    fn await_client(&mut self, client: Link, until: Monotonic) {
        if let Some(old) = self.clients.insert(client, until) {
            self.deadlines.remove(&(old, client));
        }
        self.deadlines.insert((until, client));
    }

    fn on_link(&mut self, book: &Book, now: Monotonic, what: &Observation) {
        let of = |pick: fn(&Timeouts) -> Duration| longest(book, now, |way| pick(&way.timeouts));
        let next = |book: &Book| {
            // One that waits for the rate's next message is idle again each time,
            // as long as any mail waits, which may be as long as any comes.
            let rate = |way: &Way| way.rate.map_or(Duration::ZERO, |_| RATED_IDLE_MAX);
            let idle = longest(book, now, |way| way.idle + rate(way) + 2 * way.timeouts.quit);
            of(|t| t.mail).max(of(|t| t.hello)).max(idle)
        };
        let (link, span) = match what {
            Observation::Dialled { link, .. } => (*link, of(|t| t.connect)),
            Observation::Stands { link } => (*link, of(|t| t.greeting)),
            Observation::Secured { link, .. } => (*link, of(|t| t.hello)),
            Observation::Progress { link } => (*link, of(|t| t.block) + of(|t| t.dot)),
            Observation::Heard { link, command, .. } => {
                let Some(phase) = self.links.get_mut(link) else { return };
                phase.open.push_back(command.verb());
                if phase.open.len() > 1 {
                    return;
                }
                (*link, awaited(command.verb(), of).max(content_time(book, command.verb(), of)))
            }
            Observation::Said { link, to, code } => {
                let Some(phase) = self.links.get_mut(link) else { return };
                while phase.open.pop_front().is_some_and(|verb| verb != *to) {}
                let waiting = phase.open.front().map(|verb| awaited(*verb, of));
                let body = of(|t| t.block) + of(|t| t.dot) + content_time(book, Verb::Dot, of);
                let span = match (to, code) {
                    (Verb::Greeting, _) => of(|t| t.hello).max(of(|t| t.quit)),
                    (Verb::StartTls, 220) => of(|t| t.tls),
                    (Verb::Data, 354) => body,
                    (Verb::Rcpt | Verb::Mail, _) => {
                        waiting.unwrap_or(of(|t| t.rcpt).max(of(|t| t.data)).max(of(|t| t.quit)))
                    }
                    _ => waiting.unwrap_or(next(book)),
                };
                (*link, span)
            }
            _ => return,
        };
        self.await_link(link, now + span + SLACK);
    }

    fn await_link(&mut self, link: Link, until: Monotonic) {
        let phase = self.links.entry(link).or_default();
        let old = std::mem::replace(&mut phase.deadline, until);
        self.deadlines.remove(&(old, link));
        self.deadlines.insert((until, link));
    }
}

/// The longest wait for the reply to a command.
fn awaited(verb: Verb, of: impl Fn(fn(&Timeouts) -> Duration) -> Duration) -> Duration {
    match verb {
        Verb::Greeting => of(|t| t.greeting),
        Verb::Hello | Verb::StartTls | Verb::Other => of(|t| t.hello),
        Verb::Mail => of(|t| t.mail),
        Verb::Rcpt => of(|t| t.rcpt),
        Verb::Data => of(|t| t.data),
        Verb::Dot => of(|t| t.dot),
        Verb::Reset | Verb::Quit => of(|t| t.quit),
    }
}

/// How long the largest content may take on its way, where one is under way.
fn content_time(
    book: &Book,
    verb: Verb,
    of: impl Fn(fn(&Timeouts) -> Duration) -> Duration,
) -> Duration {
    if !matches!(verb, Verb::Data | Verb::Dot) {
        return Duration::ZERO;
    }
    let bytes = book.largest_content() as u64;
    of(|t| t.block) + Duration::from_secs(bytes / PACE_MIN)
}

/// The longest span of any way in force.
fn longest(book: &Book, now: Monotonic, of: impl Fn(&Way) -> Duration) -> Duration {
    // A session keeps the waits it began with.
    let since = now - Duration::from_secs(3_600);
    let spans = book.rules_since(since).flat_map(Rules::ways).map(&of);
    spans.max().unwrap_or_else(|| of(&Way::default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Command, Left};
    use crate::oracle::play::{Play, TO};

    fn begun() -> Play {
        let mut play = Play::of(Waits::default());
        play.rules(|rules| {
            rules.default.timeouts = Timeouts::all(Duration::from_secs(30));
            rules.client_timeout = Duration::from_secs(300);
        });
        play.dialled(1);
        play
    }

    fn stands(play: &mut Play) {
        play.see(Observation::Stands { link: Play::link(1) });
    }

    fn tick(play: &mut Play, seconds: u64) {
        play.after(seconds).see(Observation::Calm);
    }

    #[test]
    fn phases_that_end_in_time_are_fine() {
        let mut play = begun();
        stands(play.after(30));
        play.after(30).said(1, Verb::Greeting, 220);
        play.after(1).heard(1, Command::Hello);
        play.after(30).said(1, Verb::Hello, 250);
        play.envelope(1, &[TO]);
        play.after(30).ended(1);
        tick(&mut play, 10_000);
        play.fine();
    }

    #[test]
    fn a_connection_that_never_comes_about_is_caught() {
        let mut play = begun();
        tick(&mut play, 89);
        play.still_fine();
        tick(&mut play, 2);
        play.caught("hangs");
    }

    #[test]
    fn each_phase_without_an_end_is_caught() {
        let stalled: [fn(&mut Play); 5] = [
            |_| (),
            |play| play.said(1, Verb::Greeting, 220),
            |play| play.said(1, Verb::StartTls, 220),
            |play| play.see(Observation::Secured { link: Play::link(1), ok: true }),
            |play| {
                play.said(1, Verb::Greeting, 220);
                play.envelope(1, &[TO]);
                play.heard(1, Command::Data);
            },
        ];
        for stall in stalled {
            let mut play = begun();
            stands(&mut play);
            stall(&mut play);
            tick(&mut play, 80);
            play.still_fine();
            tick(&mut play, 60);
            play.caught("hangs");
        }
    }

    #[test]
    fn a_dot_without_an_answer_is_caught() {
        let mut play = begun();
        stands(&mut play);
        play.said(1, Verb::Data, 354);
        play.heard(1, Command::Dot);
        tick(&mut play, 80);
        play.still_fine();
        tick(&mut play, 60);
        play.caught("hangs");
    }

    #[test]
    fn a_silent_client_is_sent_away() {
        let came = Observation::ClientCame { client: Play::CLIENT, peer: [127, 0, 0, 1].into() };
        let mut play = begun();
        play.ended(1);
        play.see(came.clone());
        let mut gone = play.again();
        gone.after(300).see(Observation::ClientGone { client: Play::CLIENT, by_us: true });
        tick(&mut gone, 1_000);
        gone.fine();
        play.after(300).see(Observation::ClientSpoke { client: Play::CLIENT });
        tick(&mut play, 350);
        play.still_fine();
        tick(&mut play, 20);
        play.caught("client");
    }

    #[test]
    fn a_message_without_an_answer_is_caught() {
        let mut play = begun();
        play.ended(1);
        play.handed(1, &[TO]);
        tick(&mut play, 661);
        play.caught("client");
    }

    #[test]
    fn what_is_open_at_the_end_is_caught() {
        let lefts = [
            Left { clients: 1, ..Left::default() },
            Left { links: 1, ..Left::default() },
            Left { permits: 1, ..Left::default() },
            Left { messages: 1, ..Left::default() },
            Left { recipients: 1, ..Left::default() },
        ];
        for left in lefts {
            let mut play = begun();
            play.see(Observation::Over { left: left.clone() });
            play.caught("are left");
            let mut cut = begun();
            cut.see(Observation::Over { left: Left { unfinished: true, ..left } });
            cut.fine();
        }
        let mut play = begun();
        play.see(Observation::Over { left: Left::default() });
        play.fine();
    }
}
