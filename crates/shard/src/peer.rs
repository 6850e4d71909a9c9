//! What this shard has learned of single hosts: when a session last began, by
//! which TLS, down until when, TLS broken, PIPELINING broken. Learned things
//! expire by themselves and the table is bounded: forgetting early costs one
//! more try, never a message. An operator may pin what is learned of a host as
//! up or down, for as long as the program runs.
//!
//! Never decides about mail: `connect` asks here which address to skip.

use std::net::SocketAddr;
use std::time::Duration;

use base::{Map, Monotonic};

use crate::blocked::Blocked;

/// How long a host that refused or stalled is passed over while another can be
/// tried (RFC 5321 §4.5.4.1: remember unreachable hosts).
pub const DOWN_FOR: Duration = Duration::from_secs(60);
/// How long a host with a broken handshake is spoken to without TLS where the
/// route allows that.
pub const TLS_BROKEN_FOR: Duration = Duration::from_secs(3_600);
/// How long a host that lost pipelined replies gets one command at a time.
pub const PIPELINING_BROKEN_FOR: Duration = Duration::from_secs(86_400);
/// Hosts remembered at most.
pub const PEERS_MAX: usize = 65_536;

/// Hosts that may be pinned.
pub const PINS_MAX: usize = 1_000;

/// What is known of one host and port.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// When a session last began.
    pub(crate) good: Option<Monotonic>,
    /// By which TLS, if by any.
    pub(crate) tls: Box<str>,
    /// What an operator says of it.
    pub(crate) pin: Option<Pin>,
    down_until: Monotonic,
    tls_broken_until: Monotonic,
    pipelining_broken_until: Monotonic,
    reason: Box<str>,
}

/// Down whatever was learned, or up.
pub use control::api::Pin;

/// The table of learned things.
#[derive(Debug, Default)]
pub struct Peers {
    known: Map<SocketAddr, Peer>,
    pins: usize,
    /// Whether none of them can be reached at all.
    pub(crate) blocked: Blocked,
}

impl Peer {
    /// Until when it is passed over; now or earlier: not.
    pub(crate) fn down_until(&self) -> Monotonic {
        match self.pin {
            Some(Pin::Down) => Monotonic::from_millis(u64::MAX),
            Some(Pin::Up) => Monotonic::default(),
            None => self.down_until,
        }
    }

    /// Why, or why it was last.
    pub(crate) fn reason(&self) -> &str {
        if self.pin == Some(Pin::Down) { "pinned as down" } else { &self.reason }
    }

    /// Whether something is learned of it that has not expired.
    fn is_fresh(&self, now: Monotonic) -> bool {
        self.pin.is_some()
            || self.down_until > now
            || self.tls_broken_until > now
            || self.pipelining_broken_until > now
    }
}

impl Peers {
    /// Whether `host` should be passed over, and why.
    pub fn down(&self, now: Monotonic, host: SocketAddr) -> Option<&str> {
        self.known.get(&host).filter(|p| p.down_until() > now).map(Peer::reason)
    }

    /// Whether `host` has shown that its TLS does not work.
    pub fn tls_broken(&self, now: Monotonic, host: SocketAddr) -> bool {
        self.known.get(&host).is_some_and(|p| p.tls_broken_until > now)
    }

    /// Whether `host` has shown that it loses pipelined commands.
    pub fn pipelining_broken(&self, now: Monotonic, host: SocketAddr) -> bool {
        self.known.get(&host).is_some_and(|p| p.pipelining_broken_until > now)
    }

    /// `host` began a session: it is up.
    pub fn note_up(&mut self, now: Monotonic, host: SocketAddr) {
        let peer = self.entry(now, host);
        peer.down_until = Monotonic::default();
        peer.good = Some(now);
    }

    /// A handshake with `host` came about.
    pub fn note_tls(&mut self, now: Monotonic, host: SocketAddr, description: &str) {
        let peer = self.entry(now, host);
        if *peer.tls != *description {
            peer.tls = description.into();
        }
    }

    /// By which TLS `host` was spoken to, `none` in the clear; nothing where no
    /// session has begun.
    pub fn tls_seen(&self, host: SocketAddr) -> Option<&str> {
        let peer = self.known.get(&host).filter(|peer| peer.good.is_some())?;
        Some(if peer.tls.is_empty() { "none" } else { &peer.tls })
    }

    /// An operator says what `host` is, or no longer does. False when
    /// [`PINS_MAX`] are pinned.
    pub fn pin(&mut self, now: Monotonic, host: SocketAddr, pin: Option<Pin>) -> bool {
        let pinned = self.known.get(&host).is_some_and(|peer| peer.pin.is_some());
        if pin.is_some() && !pinned && self.pins >= PINS_MAX {
            return false;
        }
        if pin.is_some() || pinned {
            self.entry(now, host).pin = pin;
        }
        self.pins = self.pins + usize::from(pin.is_some()) - usize::from(pinned);
        true
    }

    /// Forgets all that is known of `host`, or of every host, pins included.
    /// Gives how many that were.
    pub fn forget(&mut self, host: Option<SocketAddr>) -> usize {
        let before = self.known.len();
        match host {
            Some(host) => {
                let gone = self.known.remove(&host);
                self.pins -= usize::from(gone.is_some_and(|peer| peer.pin.is_some()));
            }
            None => {
                self.known.clear();
                self.blocked.forget();
                self.pins = 0;
            }
        }
        before - self.known.len()
    }

    /// All hosts, in no stated order.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &Peer)> {
        self.known.iter().map(|(host, peer)| (*host, peer))
    }

    /// `host` refused, stalled or sent us away.
    pub fn note_down(&mut self, now: Monotonic, host: SocketAddr, reason: &str) {
        let peer = self.entry(now, host);
        peer.down_until = now + DOWN_FOR;
        peer.reason = reason.into();
    }

    /// A handshake with `host` broke or stalled.
    pub fn note_tls_broken(&mut self, now: Monotonic, host: SocketAddr) {
        self.entry(now, host).tls_broken_until = now + TLS_BROKEN_FOR;
    }

    /// `host` shall be spoken to with TLS again, whatever came of it last.
    pub fn forget_tls_broken(&mut self, host: SocketAddr) {
        if let Some(peer) = self.known.get_mut(&host) {
            peer.tls_broken_until = Monotonic::default();
        }
    }

    /// `host` lost pipelined commands.
    pub fn note_pipelining_broken(&mut self, now: Monotonic, host: SocketAddr) {
        self.entry(now, host).pipelining_broken_until = now + PIPELINING_BROKEN_FOR;
    }

    /// Forgets that any host is down: an operator asked to try at once.
    pub fn forget_down(&mut self) {
        for peer in self.known.values_mut() {
            peer.down_until = Monotonic::default();
        }
    }

    fn entry(&mut self, now: Monotonic, host: SocketAddr) -> &mut Peer {
        if self.known.len() >= PEERS_MAX && !self.known.contains_key(&host) {
            self.make_room(now);
        }
        self.known.entry(host).or_default()
    }

    /// Drops what has expired; if all is fresh, drops all: relearning is cheap,
    /// choosing is not.
    fn make_room(&mut self, now: Monotonic) {
        self.known.retain(|_, peer| peer.is_fresh(now));
        if self.known.len() >= PEERS_MAX {
            self.known.retain(|_, peer| peer.pin.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn host(n: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::from(n)), 25)
    }

    /// Covers: A2.19
    #[test]
    fn a_host_is_down_for_its_time_and_preferred_again_after_it() {
        let mut peers = Peers::default();
        let now = Monotonic::from_millis(1_000);
        peers.note_down(now, host(1), "connection refused");
        assert_eq!(peers.down(now, host(1)), Some("connection refused"));
        assert_eq!(peers.down(now, host(2)), None);
        assert_eq!(peers.down(now + DOWN_FOR, host(1)), None);
        peers.note_down(now, host(1), "stalled");
        peers.note_up(now, host(1));
        assert_eq!(peers.down(now, host(1)), None);
    }

    /// Covers: A5.6
    #[test]
    fn broken_tls_is_remembered_beside_being_up() {
        let mut peers = Peers::default();
        let now = Monotonic::from_millis(1_000);
        peers.note_tls_broken(now, host(1));
        peers.note_up(now, host(1));
        assert!(peers.tls_broken(now, host(1)));
        assert!(!peers.tls_broken(now + TLS_BROKEN_FOR, host(1)));
        assert!(!peers.pipelining_broken(now, host(1)));
    }

    #[test]
    fn a_host_was_spoken_to_by_tls_or_in_the_clear_or_never() {
        let mut peers = Peers::default();
        let now = Monotonic::from_millis(1_000);
        peers.note_down(now, host(1), "refused");
        assert_eq!(peers.tls_seen(host(1)), None);
        peers.note_up(now, host(1));
        assert_eq!(peers.tls_seen(host(1)), Some("none"));
        peers.note_tls(now, host(1), "TLSv1.3");
        assert_eq!(peers.tls_seen(host(1)), Some("TLSv1.3"));
    }

    /// A pin holds against what is learned, is bounded, and ends by being taken
    /// back or forgotten.
    ///
    /// Shows: S3.17
    #[test]
    fn a_pin_holds_until_it_is_taken_back() {
        let mut peers = Peers::default();
        let now = Monotonic::from_millis(1_000);
        assert!(peers.pin(now, host(1), Some(Pin::Down)));
        peers.note_up(now, host(1));
        assert_eq!(peers.down(now + TLS_BROKEN_FOR, host(1)), Some("pinned as down"));
        peers.note_down(now, host(2), "refused");
        assert!(peers.pin(now, host(2), Some(Pin::Up)));
        assert_eq!(peers.down(now, host(2)), None);
        assert!(peers.pin(now, host(2), None));
        assert_eq!(peers.down(now, host(2)), Some("refused"));
        for n in 2..=PINS_MAX as u32 {
            assert!(peers.pin(now, host(n), Some(Pin::Up)));
        }
        assert!(!peers.pin(now, host(u32::MAX), Some(Pin::Up)), "the bound");
        assert_eq!(peers.forget(Some(host(1))), 1);
        assert!(peers.pin(now, host(u32::MAX), Some(Pin::Up)));
        assert_eq!(peers.forget(None), PINS_MAX);
        assert_eq!(peers.iter().count(), 0);
    }

    #[test]
    fn the_table_stays_within_its_bound() {
        let mut peers = Peers::default();
        let mut now = Monotonic::from_millis(1);
        for n in 0..PEERS_MAX as u32 {
            peers.note_down(now, host(n), "x");
        }
        now = now + DOWN_FOR;
        peers.note_down(now, host(u32::MAX), "x");
        assert_eq!(peers.known.len(), 1, "expired ones made room");
        for n in 0..PEERS_MAX as u32 {
            peers.note_down(now, host(n), "x");
        }
        assert!(peers.known.len() <= PEERS_MAX);
    }
}
