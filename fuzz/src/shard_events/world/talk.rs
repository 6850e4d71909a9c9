//! What clients and exchangers do on their connections.
//!
//! Never speaks on a connection that the shard has paused.

use std::net::SocketAddr;

use base::ConnId;
use shard::event::{ConnectFailure, Event};

use super::super::peer::Peer;
use super::World;
use crate::input::Input;

impl World {
    pub(in super::super) fn accept(&mut self) {
        let conn = ConnId(self.conns * 2);
        self.conns += 1;
        self.clients.insert(conn);
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let local = SocketAddr::from(([127, 0, 0, 1], 2_525));
        self.event(Event::Accepted { conn, peer, local, listener: 0 });
    }

    pub(in super::super) fn chosen_client(&mut self, input: &mut Input<'_>) -> Option<ConnId> {
        let place = input.byte();
        if self.clients.is_empty() {
            self.accept();
        }
        let count = self.clients.len().max(1);
        self.clients.iter().nth(usize::from(place) % count).copied()
    }

    pub(in super::super) fn client_says(&mut self, conn: ConnId, bytes: &[u8]) {
        if !self.paused.contains(&conn) && !bytes.is_empty() {
            self.event(Event::Received { conn, bytes });
        }
    }

    pub(in super::super) fn client_gone(&mut self, conn: ConnId) {
        self.clients.remove(&conn);
        self.paused.remove(&conn);
        self.gone = Some(conn);
        self.event(Event::Closed { conn, error: None });
    }

    fn chosen_peer(&self, input: &mut Input<'_>, wanted: impl Fn(&Peer) -> bool) -> Option<ConnId> {
        let place = usize::from(input.byte());
        let conns: Vec<ConnId> =
            self.peers.iter().filter(|(_, peer)| wanted(peer)).map(|(conn, _)| *conn).collect();
        conns.get(place % conns.len().max(1)).copied()
    }

    pub(in super::super) fn connect_one(
        &mut self,
        input: &mut Input<'_>,
        failure: Option<ConnectFailure>,
    ) {
        let Some(conn) = self.chosen_peer(input, |peer| !peer.is_up) else { return };
        match failure {
            Some(failure) => {
                self.peers.remove(&conn);
                self.gone = Some(conn);
                self.event(Event::ConnectFailed { conn, failure });
            }
            None => self.connect(conn),
        }
    }

    pub(super) fn connect(&mut self, conn: ConnId) {
        self.peer(conn).is_up = true;
        let local = SocketAddr::from(([198, 51, 100, 1], 50_000));
        self.event(Event::Connected { conn, local });
    }

    pub(super) fn says(&mut self, conn: ConnId, bytes: &[u8]) {
        if !self.paused.contains(&conn) && !bytes.is_empty() {
            self.event(Event::Received { conn, bytes });
        }
    }

    /// A peer answers one command as a good one would, or refuses it.
    pub(in super::super) fn peer_answers(&mut self, input: &mut Input<'_>) {
        let mood = input.byte();
        let Some(conn) = self.chosen_peer(input, Peer::can_speak) else { return };
        if let Some(reply) = self.peer(conn).reply(mood) {
            self.says(conn, reply);
        }
    }

    /// A peer says something, asked or not.
    pub(in super::super) fn peer_says(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.chosen_peer(input, Peer::can_speak) else { return };
        let bytes = input.bytes();
        self.says(conn, bytes);
    }

    pub(in super::super) fn drained(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.chosen_peer(input, |peer| peer.undrained) else { return };
        let left = u64::from(input.byte() & 3);
        self.peer(conn).undrained = left > 0;
        self.event(Event::Drained { conn, left });
    }

    pub(in super::super) fn peer_gone(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.chosen_peer(input, |peer| peer.is_up) else { return };
        self.peers.remove(&conn);
        self.gone = Some(conn);
        let error = input.flag().then(|| "reset".to_owned());
        self.event(Event::Closed { conn, error });
    }

    pub(in super::super) fn handshake(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.chosen_peer(input, |peer| peer.handshake_due) else { return };
        self.peer(conn).handshake_due = false;
        match input.below(3) {
            0 => {
                let (reason, certificate) = ("no".to_owned(), input.flag());
                self.event(Event::TlsFailed { conn, reason, certificate });
            }
            _ => self.event(Event::TlsEstablished { conn, description: "TLSv1.3".to_owned() }),
        }
    }
}
