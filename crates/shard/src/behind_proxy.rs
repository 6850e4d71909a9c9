//! Clients behind a proxy: until the proxy has said who one is there is no
//! session.
//!
//! Only proxies that the listener lists are heard, everybody else is let go
//! without a word. Invariants: what the header says counts for rights, limits
//! and trace; what follows it belongs to the session, or to its handshake.

use std::net::SocketAddr;
use std::time::Duration;

use base::ConnId;
use control::TlsMode;
use eventlog::{Field, Kind, Line};
use smtp::proxy::header::Header;

use crate::armed::{Armed, Timer};
use crate::effect::Effect;
use crate::shard::{Shard, Turn};

/// How long a proxy may take to say who its client is.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// A connection whose proxy has not said everything yet.
#[derive(Debug)]
pub(crate) struct Announcing {
    proxy: SocketAddr,
    listener: u16,
    /// At most a header and one read.
    begin: Vec<u8>,
    armed: Armed,
}

impl Shard {
    /// Somebody connected to a listener: a client, or its proxy.
    pub(crate) fn came(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        peer: SocketAddr,
        listener: u16,
    ) {
        let proxies = self.policy.submission.listen.get(usize::from(listener));
        let proxies = proxies.map_or(&[][..], |listener| &listener.proxies);
        if proxies.is_empty() {
            return self.accepted(turn, conn, peer, listener);
        }
        let listed = proxies.iter().any(|network| network.contains(peer.ip()));
        let room = self.announcing.len() as u32 + (self.inbound.len() as u32)
            < self.share(self.policy.submission.max_connections);
        if !listed || !room || self.draining {
            let why = if listed { "no room" } else { "not a proxy of this listener" };
            return self.dismiss_proxy(turn, conn, peer, why);
        }
        let mut armed = Armed::default();
        armed.set(&mut self.timers, Some(turn.now.mono + HEADER_TIME), Timer::Conn(conn));
        let announcing = Announcing { proxy: peer, listener, begin: Vec::new(), armed };
        self.announcing.insert(conn, announcing);
    }

    /// Bytes of a proxy; whether they were that.
    pub(crate) fn announced(&mut self, turn: &mut Turn<'_>, conn: ConnId, bytes: &[u8]) -> bool {
        let Some(announcing) = self.announcing.get_mut(&conn) else { return false };
        announcing.begin.extend_from_slice(bytes);
        let proxy = announcing.proxy;
        match Header::read(&announcing.begin) {
            Header::Partial => {}
            Header::Broken => {
                self.forget_announcing(conn);
                self.dismiss_proxy(turn, conn, proxy, "no PROXY header");
            }
            Header::Whole { bytes, client } => {
                let (listener, begin) =
                    (announcing.listener, std::mem::take(&mut announcing.begin));
                self.forget_announcing(conn);
                self.accepted(turn, conn, client.unwrap_or(proxy), listener);
                self.begins_with(turn, conn, listener, &begin[bytes..]);
            }
        }
        true
    }

    /// What came behind a header.
    fn begins_with(&mut self, turn: &mut Turn<'_>, conn: ConnId, listener: u16, rest: &[u8]) {
        if rest.is_empty() || !self.inbound.contains_key(&conn) {
            return;
        }
        if self.tls_at(listener) == TlsMode::Implicit {
            turn.effects.push(Effect::Unread { conn, bytes: rest.to_vec() });
        } else {
            self.inbound_received(turn, conn, rest);
        }
    }

    /// A proxy's time may be over; whether it was a proxy's.
    pub(crate) fn announced_too_late(&mut self, turn: &mut Turn<'_>, conn: ConnId) -> bool {
        let Some(announcing) = self.announcing.get_mut(&conn) else { return false };
        announcing.armed.fired();
        let proxy = announcing.proxy;
        self.forget_announcing(conn);
        self.dismiss_proxy(turn, conn, proxy, "no PROXY header in time");
        true
    }

    /// Forgets a connection of which nothing is known yet.
    pub(crate) fn forget_announcing(&mut self, conn: ConnId) {
        if let Some(mut announcing) = self.announcing.remove(&conn) {
            announcing.armed.clear(&mut self.timers);
        }
    }

    /// We are shutting down: nobody has said anything worth keeping.
    pub(crate) fn dismiss_proxies(&mut self, turn: &mut Turn<'_>) {
        let mut conns: Vec<ConnId> = self.announcing.keys().copied().collect();
        conns.sort_unstable();
        for conn in conns {
            self.forget_announcing(conn);
            turn.effects.push(Effect::Close { conn });
        }
    }

    fn dismiss_proxy(&mut self, turn: &mut Turn<'_>, conn: ConnId, proxy: SocketAddr, why: &str) {
        self.metrics.sessions_refused += 1;
        let line = Line::new(turn.now.wall, Kind::ProxyRefused).show(Field::Proxy, proxy);
        turn.log(line.text(Field::Error, why));
        turn.effects.push(Effect::Close { conn });
    }
}

#[cfg(test)]
mod tests;
