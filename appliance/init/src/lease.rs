//! A DHCP client for one port: asks, takes, renews, and gives up an address; when
//! the cable was away it asks whether the address is still its own.
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
/// How long a lease is kept while nobody confirms it after the cable was away: a
/// server that starts anew with the switch has its time, and on another network,
/// whose routers may pass over questions from our old address, it ends.
pub const UNCONFIRMED_MAX: Duration = Duration::from_secs(300);
/// Requests for an offer before the search begins anew.
const REQUESTS_MAX: u32 = 4;
/// Requests for the address of before, likewise.
const CONFIRMATIONS_MAX: u32 = 3;

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
    /// Used in every state, until its time has come or somebody says otherwise.
    held: Option<Held>,
    /// Questions of this state so far.
    asked: u32,
    /// When the last one was.
    last: Option<Duration>,
    next: Duration,
}

#[derive(Clone, Debug)]
enum State {
    Searching,
    Requesting(Answer),
    /// The lease is ours; from its half on it is renewed.
    Holding,
    /// The cable was away, and what it is in now may be another network.
    Confirming,
}

#[derive(Clone, Debug)]
struct Held {
    lease: Answer,
    since: Duration,
    /// When it is over at the latest; None is never.
    until: Option<Duration>,
}

impl Client {
    /// A client that begins to search at its first tick. `exchange` is random,
    /// so that answers to others are told apart.
    pub fn new(hardware: [u8; 6], exchange: u32) -> Self {
        let state = State::Searching;
        let next = Duration::ZERO;
        Self { hardware, exchange, state, held: None, asked: 0, last: None, next }
    }

    /// When `tick` is to be called at the latest.
    pub fn next(&self) -> Duration {
        self.next
    }

    /// The lease that is held.
    pub fn lease(&self) -> Option<&Answer> {
        self.held.as_ref().map(|held| &held.lease)
    }

    /// The link is there for the first time: a search that began without it goes
    /// on at once.
    pub fn link_is_up(&mut self, now: Duration) {
        if matches!(self.state, State::Searching) {
            self.asked = 0;
            self.next = self.soonest(now);
        }
    }

    /// The link came back: what is held is asked for anew, of everybody, since
    /// the server of before may be out of reach (RFC 2131, its section on the
    /// reuse of an address); it is used meanwhile, for [`UNCONFIRMED_MAX`].
    pub fn link_is_back(&mut self, now: Duration) {
        self.restart(self.soonest(now));
        if let Some(held) = &mut self.held {
            let until = now.saturating_add(UNCONFIRMED_MAX);
            held.until = Some(held.until.map_or(until, |before| before.min(until)));
            self.state = State::Confirming;
        }
    }

    /// The time has come to `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if now < self.next {
            return Vec::new();
        }
        let is_over = |held: &mut Held| held.until.is_some_and(|until| until <= now);
        if let Some(over) = self.held.take_if(is_over) {
            let mut actions = vec![Action::Drop(over.lease)];
            actions.extend(self.begin(now));
            return actions;
        }
        match self.state.clone() {
            State::Searching => self.search(now),
            State::Requesting(_) if self.asked >= REQUESTS_MAX => self.begin(now),
            State::Requesting(offer) => self.request(now, offer.address, Some(offer.server)),
            State::Confirming if self.asked >= CONFIRMATIONS_MAX => self.begin(now),
            State::Confirming => self.request(now, self.own().lease.address, None),
            State::Holding => self.renew(now),
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
                let (address, server) = (answer.address, answer.server);
                self.state = State::Requesting(answer);
                self.request(now, address, Some(server))
            }
            (State::Requesting(offer), Kind::Ack) if answer.server == offer.server => {
                self.hold(now, answer)
            }
            (State::Requesting(offer), Kind::Nak) if answer.server == offer.server => {
                // Not at once: a server that refuses what it offers does so again.
                self.restart(now + FIRST_WAIT);
                Vec::new()
            }
            (State::Holding | State::Confirming, Kind::Ack) if self.asked > 0 => {
                self.hold(now, answer)
            }
            (State::Holding | State::Confirming, Kind::Nak) if self.asked > 0 => {
                let refused = self.held.take().map(|held| Action::Drop(held.lease));
                self.restart(now + FIRST_WAIT);
                refused.into_iter().collect()
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

    /// Not before the last question's time: a loose cable comes back every second.
    fn soonest(&self, now: Duration) -> Duration {
        self.last.map_or(now, |last| now.max(last.saturating_add(FIRST_WAIT)))
    }

    fn search(&mut self, now: Duration) -> Vec<Action> {
        self.asked_at(now);
        vec![Action::Send { packet: self.question(Kind::Discover).encode(), to: None }]
    }

    /// For what `server` offers, or without one for what was ours.
    fn request(
        &mut self,
        now: Duration,
        wanted: Ipv4Addr,
        server: Option<Ipv4Addr>,
    ) -> Vec<Action> {
        self.asked_at(now);
        let question = Question { wanted: Some(wanted), server, ..self.question(Kind::Request) };
        vec![Action::Send { packet: question.encode(), to: None }]
    }

    fn renew(&mut self, now: Duration) -> Vec<Action> {
        let Held { lease, since, .. } = self.own();
        let (address, server) = (lease.address, lease.server);
        let times = Times::of(lease);
        let age = now.saturating_sub(*since);
        let is_late = age >= times.rebind;
        // Half of what is left until the next stage, as RFC 2131 wants it.
        let stage = if is_late { times.end.unwrap_or(Duration::MAX) } else { times.rebind };
        let wait = (stage.saturating_sub(age) / 2).clamp(RENEW_WAIT_MIN, RENEW_WAIT_MAX);
        self.wait(now, wait);
        let question = Question { current: Some(address), ..self.question(Kind::Request) };
        let to = (!is_late).then_some(server);
        vec![Action::Send { packet: question.encode(), to }]
    }

    /// The lease is ours from `now` on, and the one before no longer.
    fn hold(&mut self, now: Duration, lease: Answer) -> Vec<Action> {
        let times = Times::of(&lease);
        self.asked = 0;
        self.state = State::Holding;
        self.next = now.saturating_add(times.renew);
        let until = times.end.map(|end| now.saturating_add(end));
        let before = self.held.replace(Held { lease: lease.clone(), since: now, until });
        let is_other = |before: &Held| {
            (before.lease.address, before.lease.prefix) != (lease.address, lease.prefix)
        };
        let dropped = before.filter(is_other).map(|before| Action::Drop(before.lease));
        dropped.into_iter().chain([Action::Use(lease)]).collect()
    }

    fn own(&self) -> &Held {
        self.held.as_ref().expect("only what is held is renewed or confirmed")
    }

    fn asked_at(&mut self, now: Duration) {
        let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(self.asked.min(10)));
        self.wait(now, wait.min(WAIT_MAX));
    }

    /// A question was asked; the next one is due after `wait`, or with the end
    /// of what is held.
    fn wait(&mut self, now: Duration, wait: Duration) {
        self.asked = self.asked.saturating_add(1);
        self.last = Some(now);
        let next = now.saturating_add(wait);
        let until = self.held.as_ref().and_then(|held| held.until);
        self.next = until.map_or(next, |until| next.min(until));
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
