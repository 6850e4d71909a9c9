//! Relay hosts that want a log-in at a POP3 server first: it is held over a
//! connection of its own, from the same source, before the host is dialled, and
//! remembered for as long as the configuration says.
//!
//! Invariants: no SMTP connection is made to such a host unless a log-in
//! succeeded within that time; of one account one log-in is under way at a time;
//! a log-in that fails is the host's failure, in the server's words.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, Map, Monotonic};
use control::{PopFirst, TlsMode};
use eventlog::{Field, Kind, Line};
use queue::{Phase, SiteKey};
use smtp::pop::{Pop, PopOutput, PopSettings};

use crate::connect::{tls_check, unreachable};
use crate::effect::Effect;
use crate::epoch::Way;
use crate::outbound::{Link, Outbound};
use crate::plan::Candidate;
use crate::shard::{Shard, Turn};

/// How long a connection waits for a log-in that is under way before it looks
/// again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A POP3 server with its addresses.
#[derive(Clone, Debug)]
pub(crate) struct PopHost {
    /// The log-in there.
    pub(crate) log_in: Arc<PopFirst>,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl PopHost {
    pub(crate) fn new(log_in: &Arc<PopFirst>, addresses: &[IpAddr]) -> Arc<Self> {
        let at = |ip: &IpAddr| SocketAddr::new(*ip, log_in.port);
        let addresses = addresses.iter().map(at).collect();
        Arc::new(Self { log_in: log_in.clone(), addresses })
    }
}

/// Log-ins, by account and source. Bounded by what policies named within a day.
#[derive(Debug, Default)]
pub(crate) struct PopLogIns {
    known: Map<Box<str>, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// As against under way.
    good: bool,
    until: Monotonic,
}

impl PopLogIns {
    fn is(&self, now: Monotonic, account: &str, good: bool) -> bool {
        self.known.get(account).is_some_and(|known| known.good == good && known.until > now)
    }

    fn note(&mut self, now: Monotonic, account: &str, good: bool, until: Monotonic) {
        self.known.retain(|_, known| known.until > now);
        self.known.insert(account.into(), Known { good, until });
    }

    /// Forgets all of them: the next connection logs in anew.
    pub(crate) fn forget(&mut self) {
        self.known.retain(|_, known| !known.good);
    }
}

impl Shard {
    /// Whether a connection to `at` has to wait for a log-in that is under way:
    /// the site pauses for a moment.
    pub(crate) fn waits_for_log_in(
        &mut self,
        turn: &mut Turn<'_>,
        site: SiteKey,
        limit_key: &str,
        (at, way): (&Candidate, &Way),
    ) -> bool {
        let under_way =
            |pop: &Arc<PopHost>| self.pop_log_ins.is(turn.now.mono, &account(pop, way), false);
        if !at.pop.as_ref().is_some_and(under_way) {
            return false;
        }
        self.close_permit(turn, limit_key);
        self.queue.pause(site, Some(turn.now.mono + LOOK_AGAIN));
        self.queue.connection_closed(site, Phase::Dispatched);
        true
    }

    /// What must be dialled before the host at hand: its POP3 server, unless
    /// that knows us.
    ///
    /// # Errors
    /// None of its addresses can be reached from the way's source.
    pub(crate) fn first_leg(
        &mut self,
        turn: &Turn<'_>,
        out: &Outbound,
    ) -> Result<Option<Box<Candidate>>, String> {
        let Some(pop) = &out.at.pop else { return Ok(None) };
        let (now, account) = (turn.now.mono, account(pop, &out.way));
        if self.pop_log_ins.is(now, &account, true) {
            return Ok(None);
        }
        let PopFirst { host, tls, trust, .. } = &*pop.log_in;
        let reached = pop.addresses.iter().find(|addr| out.way.reaches(addr.ip()));
        let Some(addr) = reached.copied() else {
            return Err(format!("no address of the POP3 server {host} is within reach"));
        };
        // Longer than any of its steps; an end is noted when it comes.
        let limits = &out.way.timeouts;
        let steps = limits.connect + limits.tls + limits.greeting + limits.ehlo * 3;
        self.pop_log_ins.note(now, &account, false, now + steps);
        Ok(Some(Box::new(Candidate {
            socket: None,
            host: host.to_string().into(),
            addr,
            tls: *tls,
            trust: trust.clone(),
            identity: None,
            without_tls: false,
            auth: None,
            pop: None,
        })))
    }

    /// The POP3 server is reached; `first` is what it has said by then.
    pub(crate) fn begin_log_in(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut out: Box<Outbound>,
        first: &[u8],
    ) {
        let Some(pop) = &out.at.pop else { unreachable!("the first leg is of a POP3 server") };
        let settings = PopSettings {
            user: pop.log_in.user.clone(),
            secret: pop.log_in.secret.clone(),
            stls: pop.log_in.tls == TlsMode::Required,
            reply: out.way.timeouts.greeting,
            tls: out.way.timeouts.tls,
        };
        let mut pop = Box::new(Pop::new(settings, turn.now.mono));
        let said = match first.is_empty() {
            true => PopOutput::Wait,
            false => pop.received(turn.now.mono, first),
        };
        out.link = Link::Pop(pop);
        self.go_on_with_log_in(turn, conn, out, said);
    }

    /// Does what a log-in wants.
    pub(crate) fn go_on_with_log_in(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        mut out: Box<Outbound>,
        said: PopOutput,
    ) {
        match said {
            PopOutput::Wait => self.keep(turn, conn, out),
            PopOutput::Send { bytes, secret } => {
                if self.detailed() {
                    self.said_to_host(turn, conn, &bytes, secret);
                }
                turn.effects.push(Effect::Send { conn, bytes });
                self.keep(turn, conn, out);
            }
            PopOutput::StartTls => {
                out.since = turn.now.micros;
                turn.effects.push(Effect::StartTls { conn, check: tls_check(out.leg()) });
                self.keep(turn, conn, out);
            }
            PopOutput::LoggedIn(bytes) => {
                turn.effects.push(Effect::Send { conn, bytes });
                turn.effects.push(Effect::Close { conn });
                self.logged_in(turn, &out);
                out.first = None;
                out.armed.clear(&mut self.timers);
                self.dial(turn, out);
            }
            PopOutput::Failed(fault) => {
                turn.effects.push(Effect::Abort { conn });
                self.next_host(turn, out, &unreachable(&fault.to_string()));
            }
        }
    }

    fn logged_in(&mut self, turn: &mut Turn<'_>, out: &Outbound) {
        let Some(pop) = &out.at.pop else { return };
        let (now, account) = (turn.now.mono, account(pop, &out.way));
        self.pop_log_ins.note(now, &account, true, now + pop.log_in.remember);
        let line = Line::new(turn.now.wall, Kind::PopLogIn).text(Field::Host, &out.leg().shown());
        turn.log(line.text(Field::User, &pop.log_in.user));
    }

    /// A connection gives up the host at hand. In words, if that was while it
    /// logged in.
    pub(crate) fn leave_log_in(&mut self, turn: &Turn<'_>, out: &mut Outbound) -> Option<String> {
        let leg = out.first.take()?;
        let pop = out.at.pop.as_ref()?;
        let now = turn.now.mono;
        self.pop_log_ins.note(now, &account(pop, &out.way), false, now);
        Some(format!("POP3 log-in at {}", leg.shown()))
    }
}

/// What a log-in is good for: the account, and the address that we come from.
fn account(pop: &PopHost, way: &Way) -> String {
    let PopFirst { host, port, user, .. } = &*pop.log_in;
    let source = way.source().map_or("", |source| &source.name);
    format!("{host}:{port};{source};{user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_is_under_way_then_good_and_forgotten_in_time() {
        let at = Monotonic::from_millis;
        let mut known = PopLogIns::default();
        known.note(at(1), "a", false, at(50));
        assert!(known.is(at(1), "a", false) && !known.is(at(1), "a", true));
        assert!(!known.is(at(50), "a", false), "it has an end");
        known.note(at(5), "a", true, at(100));
        assert!(known.is(at(99), "a", true) && !known.is(at(100), "a", true));
        known.note(at(100), "b", false, at(200));
        assert_eq!(known.known.len(), 1, "what is over is forgotten");
        known.forget();
        assert!(known.is(at(150), "b", false));
        known.note(at(150), "b", true, at(300));
        known.forget();
        assert!(!known.is(at(150), "b", true));
    }
}
