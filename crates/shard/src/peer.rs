//! What this shard has learned of single hosts: down until when, TLS broken,
//! PIPELINING broken. Learned things expire by themselves and the table is
//! bounded: forgetting early costs one more try, never a message.
//!
//! Never decides about mail: `connect` asks here which address to skip.

use std::net::SocketAddr;
use std::time::Duration;

use base::{Map, Monotonic};

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

/// What is known of one host and port.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    down_until: Monotonic,
    tls_broken_until: Monotonic,
    pipelining_broken_until: Monotonic,
    reason: Box<str>,
}

/// The table of learned things.
#[derive(Debug, Default)]
pub struct Peers {
    known: Map<SocketAddr, Peer>,
}

impl Peers {
    /// Whether `host` should be passed over, and why.
    pub fn down(&self, now: Monotonic, host: SocketAddr) -> Option<&str> {
        self.known.get(&host).filter(|p| p.down_until > now).map(|p| &*p.reason)
    }

    /// Whether `host` has shown that its TLS does not work.
    pub fn tls_broken(&self, now: Monotonic, host: SocketAddr) -> bool {
        self.known.get(&host).is_some_and(|p| p.tls_broken_until > now)
    }

    /// Whether `host` has shown that it loses pipelined commands.
    pub fn pipelining_broken(&self, now: Monotonic, host: SocketAddr) -> bool {
        self.known.get(&host).is_some_and(|p| p.pipelining_broken_until > now)
    }

    /// `host` answered: it is up.
    pub fn note_up(&mut self, host: SocketAddr) {
        if let Some(peer) = self.known.get_mut(&host) {
            peer.down_until = Monotonic::default();
        }
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
        self.known.retain(|_, p| {
            p.down_until > now || p.tls_broken_until > now || p.pipelining_broken_until > now
        });
        if self.known.len() >= PEERS_MAX {
            self.known.clear();
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
        peers.note_up(host(1));
        assert_eq!(peers.down(now, host(1)), None);
    }

    /// Covers: A5.6
    #[test]
    fn broken_tls_is_remembered_beside_being_up() {
        let mut peers = Peers::default();
        let now = Monotonic::from_millis(1_000);
        peers.note_tls_broken(now, host(1));
        peers.note_up(host(1));
        assert!(peers.tls_broken(now, host(1)));
        assert!(!peers.tls_broken(now + TLS_BROKEN_FOR, host(1)));
        assert!(!peers.pipelining_broken(now, host(1)));
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
