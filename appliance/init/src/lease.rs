//! A DHCP client for one port: asks, takes, renews, and gives up an address.
//!
//! Never sends and reads no clock: packets and the time since the machine's
//! start come in, [`Action`]s go out. There is always a next time at which
//! [`Client::tick`] wants to be called, so that no lease is forgotten and no
//! question is asked more often than once in [`FIRST_WAIT`].
//!
//! Read first: RFC 2131, its section on the client's behaviour.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::{Answer, Kind, Question};

/// The wait after a first question; each further one waits twice as long.
pub const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait between questions without an address.
pub const WAIT_MAX: Duration = Duration::from_secs(32);
/// The shortest wait between questions about a lease that runs out.
pub const RENEW_WAIT_MIN: Duration = Duration::from_secs(60);
/// The longest: of a lease for ever half is for ever too.
pub const RENEW_WAIT_MAX: Duration = Duration::from_secs(86_400);
/// Requests for an offer before the search begins anew.
const REQUESTS_MAX: u32 = 4;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this packet to the server's port, to all or to one.
    Send {
        /// The packet.
        packet: Vec<u8>,
        /// None is everybody on the wire.
        to: Option<Ipv4Addr>,
    },
    /// The address is ours: use it, and nothing else on this port.
    Use(Answer),
    /// The address is no longer ours.
    Drop(Answer),
}

/// The client of one port.
#[derive(Clone, Debug)]
pub struct Client {
    hardware: [u8; 6],
    exchange: u32,
    state: State,
    /// Questions of this state so far.
    asked: u32,
    next: Duration,
}

#[derive(Clone, Debug)]
enum State {
    Searching,
    Requesting(Answer),
    Holding { lease: Answer, since: Duration },
}

impl Client {
    /// A client that begins to search at its first tick. `exchange` is random,
    /// so that answers to others are told apart.
    pub fn new(hardware: [u8; 6], exchange: u32) -> Self {
        let state = State::Searching;
        Self { hardware, exchange, state, asked: 0, next: Duration::ZERO }
    }

    /// When `tick` is to be called at the latest.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// The lease that is held.
    pub fn lease(&self) -> Option<&Answer> {
        match &self.state {
            State::Holding { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// The link came back: what is held is asked for anew, at once.
    pub fn link_is_back(&mut self, now: Duration) {
        self.next = self.next.min(now);
    }

    /// The time has come to `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if now < self.next {
            return Vec::new();
        }
        match self.state.clone() {
            State::Searching => self.search(now),
            State::Requesting(_) if self.asked >= REQUESTS_MAX => self.begin(now),
            State::Requesting(offer) => self.request(now, &offer),
            State::Holding { lease, since } => self.renew(now, lease, since),
        }
    }

    /// Something was heard.
    pub fn heard(&mut self, now: Duration, packet: &[u8]) -> Vec<Action> {
        let Some(answer) = Answer::decode(packet, self.exchange, self.hardware) else {
            return Vec::new();
        };
        match (self.state.clone(), answer.kind) {
            (State::Searching, Kind::Offer) => {
                self.asked = 0;
                self.state = State::Requesting(answer.clone());
                self.request(now, &answer)
            }
            (State::Requesting(offer), Kind::Ack) if answer.server == offer.server => {
                self.hold(now, answer.clone());
                vec![Action::Use(answer)]
            }
            (State::Requesting(offer), Kind::Nak) if answer.server == offer.server => {
                // Not at once: a server that refuses what it offers does so again.
                self.restart(now + FIRST_WAIT);
                Vec::new()
            }
            (State::Holding { lease, .. }, Kind::Ack) if self.asked > 0 => {
                self.hold(now, answer.clone());
                if answer.address == lease.address && answer.prefix == lease.prefix {
                    vec![Action::Use(answer)]
                } else {
                    vec![Action::Drop(lease), Action::Use(answer)]
                }
            }
            (State::Holding { lease, .. }, Kind::Nak) if self.asked > 0 => {
                self.restart(now + FIRST_WAIT);
                vec![Action::Drop(lease)]
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, now: Duration) -> Vec<Action> {
        self.restart(now);
        self.search(now)
    }

    fn restart(&mut self, next: Duration) {
        self.exchange = self.exchange.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        self.state = State::Searching;
        self.asked = 0;
        self.next = next;
    }

    fn search(&mut self, now: Duration) -> Vec<Action> {
        self.asked_at(now);
        vec![Action::Send { packet: self.question(Kind::Discover).encode(), to: None }]
    }

    fn request(&mut self, now: Duration, offer: &Answer) -> Vec<Action> {
        self.asked_at(now);
        let wanted = Some(offer.address);
        let question =
            Question { wanted, server: Some(offer.server), ..self.question(Kind::Request) };
        vec![Action::Send { packet: question.encode(), to: None }]
    }

    fn renew(&mut self, now: Duration, lease: Answer, since: Duration) -> Vec<Action> {
        let times = Times::of(&lease);
        let age = now.saturating_sub(since);
        if times.end.is_some_and(|end| age >= end) {
            let mut actions = vec![Action::Drop(lease)];
            actions.extend(self.begin(now));
            return actions;
        }
        self.asked = self.asked.saturating_add(1);
        let is_late = age >= times.rebind;
        // Half of what is left until the next stage, as RFC 2131 wants it.
        let stage = if is_late { times.end.unwrap_or(Duration::MAX) } else { times.rebind };
        let wait = (stage.saturating_sub(age) / 2).clamp(RENEW_WAIT_MIN, RENEW_WAIT_MAX);
        let end = times.end.map(|end| since.saturating_add(end));
        let next = now.saturating_add(wait);
        self.next = end.map_or(next, |end| next.min(end));
        let question = Question { current: Some(lease.address), ..self.question(Kind::Request) };
        let to = (!is_late).then_some(lease.server);
        vec![Action::Send { packet: question.encode(), to }]
    }

    fn hold(&mut self, now: Duration, lease: Answer) {
        self.asked = 0;
        self.next = now.saturating_add(Times::of(&lease).renew);
        self.state = State::Holding { lease, since: now };
    }

    fn asked_at(&mut self, now: Duration) {
        let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(self.asked.min(10)));
        self.asked = self.asked.saturating_add(1);
        self.next = now + wait.min(WAIT_MAX);
    }

    fn question(&self, kind: Kind) -> Question {
        Question {
            kind,
            exchange: self.exchange,
            hardware: self.hardware,
            current: None,
            wanted: None,
            server: None,
        }
    }
}

/// When a lease is renewed with its server, then with any, and over; since it
/// was given.
struct Times {
    renew: Duration,
    rebind: Duration,
    end: Option<Duration>,
}

impl Times {
    /// What the server says, put into order where it is in none.
    fn of(lease: &Answer) -> Self {
        // A lease of seconds would have us ask without end.
        let seconds = u64::from(lease.lease_seconds).max(2 * RENEW_WAIT_MIN.as_secs());
        let rebind = lease.rebind_seconds.map_or(seconds * 7 / 8, u64::from).min(seconds);
        let renew = lease.renew_seconds.map_or(seconds / 2, u64::from).min(rebind);
        let end = (lease.lease_seconds != u32::MAX).then(|| Duration::from_secs(seconds));
        let renew = Duration::from_secs(renew).max(RENEW_WAIT_MIN);
        Self { renew, rebind: Duration::from_secs(rebind).max(renew), end }
    }
}

#[cfg(test)]
mod tests;
