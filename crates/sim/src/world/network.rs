//! Connections between shards and the world outside: bytes on their way, who
//! is connected to whom, and how connections come and go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use base::ConnId;
use shard::event::{ConnectFailure, Event};

use super::client::{Client, Ticket};
use super::host::{Act, Host, Reaction, Remote, Stage};
use super::{LATENCY, Thing, World};

/// Everything outside the shards.
pub struct Network {
    pub hosts: BTreeMap<IpAddr, Host>,
    /// Every connection that a shard began.
    pub dialled: Vec<SocketAddr>,
    /// Bytes that reach a shard at once.
    pub piece: usize,
    pub(super) tickets: Vec<Ticket>,
    pub(super) clients: BTreeMap<(usize, u64), Client>,
    pub(super) next_inbound: u64,
    links: BTreeMap<(usize, u64), Link>,
}

/// A connection to a host.
struct Link {
    ip: IpAddr,
    remote: Option<Remote>,
    output: Vec<u8>,
    /// A body is in the output: its progress is told.
    with_body: bool,
    flowing: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            dialled: Vec::new(),
            piece: usize::MAX,
            tickets: Vec::new(),
            clients: BTreeMap::new(),
            next_inbound: 0,
            links: BTreeMap::new(),
        }
    }
}

impl Network {
    /// Connections that stand or are being made, clients included.
    pub fn open(&self) -> usize {
        self.links.len() + self.clients.len()
    }

    /// Whether the shard still knows a connection.
    pub(super) fn expects(&self, shard: usize, conn: ConnId) -> bool {
        let key = (shard, conn.0);
        self.links.contains_key(&key) || self.clients.contains_key(&key)
    }

    /// All connections are gone: the program has ended.
    pub(super) fn cut(&mut self) {
        for link in std::mem::take(&mut self.links).into_values() {
            self.left(&link);
        }
        self.clients.clear();
    }

    fn left(&mut self, link: &Link) {
        if let (Some(_), Some(host)) = (&link.remote, self.hosts.get_mut(&link.ip)) {
            host.open -= 1;
        }
    }
}

impl World {
    pub(super) fn connect(&mut self, shard: usize, conn: ConnId, to: SocketAddr) {
        self.network.dialled.push(to);
        let refused = || ConnectFailure::Peer("connection refused".into());
        let ip = to.ip();
        let (act, standing) = match self.network.hosts.get_mut(&ip) {
            None => (Some(Act::Drop), None),
            Some(host) => {
                host.connects.push(self.now.mono);
                match host.strikes(Stage::Connect) {
                    None => {
                        host.open += 1;
                        host.peak = host.peak.max(host.open);
                        (None, Some(Remote::new(host, self.now)))
                    }
                    act => (act, None),
                }
            }
        };
        let failure = match act {
            None | Some(Act::Stall) => None,
            Some(Act::Shortage) => Some(ConnectFailure::Local("too many open files".into())),
            Some(_) => Some(refused()),
        };
        if let Some(failure) = failure {
            return self.tell(shard, LATENCY, Event::ConnectFailed { conn, failure });
        }
        let (remote, reaction) = standing.map_or((None, None), |(r, said)| (Some(r), Some(said)));
        let link = Link { ip, remote, output: Vec::new(), with_body: false, flowing: false };
        self.network.links.insert((shard, conn.0), link);
        if let Some(reaction) = reaction {
            let local = ([192, 0, 2, 1], 50_000).into();
            self.tell(shard, LATENCY, Event::Connected { conn, local });
            self.react(shard, conn, reaction);
        }
    }

    pub(super) fn send(&mut self, shard: usize, conn: ConnId, bytes: Vec<u8>) {
        if self.network.clients.contains_key(&(shard, conn.0)) {
            return self.plan(LATENCY, Thing::ToClient(shard, conn, bytes));
        }
        self.put_out(shard, conn, &bytes, false);
    }

    pub(super) fn send_body(&mut self, shard: usize, conn: ConnId, bytes: Vec<u8>) {
        self.put_out(shard, conn, &bytes, true);
    }

    fn put_out(&mut self, shard: usize, conn: ConnId, bytes: &[u8], body: bool) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        link.output.extend_from_slice(bytes);
        link.with_body |= body;
        if !std::mem::replace(&mut link.flowing, true) {
            self.plan(LATENCY, Thing::Flow(shard, conn));
        }
    }

    /// Output goes to the kernel and on to the host.
    pub(super) fn flow(&mut self, shard: usize, conn: ConnId) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        let Some(host) = self.network.hosts.get_mut(&link.ip) else { return };
        // Who has stalled takes nothing either.
        if link.remote.as_ref().is_none_or(Remote::is_deaf) {
            return;
        }
        let take = link.output.len().min(host.pace);
        let bytes: Vec<u8> = link.output.drain(..take).collect();
        let left = link.output.len() as u64;
        let told = link.with_body;
        link.flowing = left > 0;
        link.with_body &= left > 0;
        let remote = link.remote.as_mut().expect("only what is connected flows");
        let reaction = remote.hear(host, self.now, &bytes);
        if left > 0 {
            self.plan(LATENCY, Thing::Flow(shard, conn));
        }
        self.react(shard, conn, reaction);
        if told {
            self.step(shard, Event::Drained { conn, left });
        }
    }

    fn react(&mut self, shard: usize, conn: ConnId, reaction: Reaction) {
        for piece in reaction.says.chunks(self.network.piece) {
            self.plan(LATENCY, Thing::Received(shard, conn, piece.to_vec()));
        }
        if reaction.closes {
            self.plan(LATENCY, Thing::Event(shard, Event::Closed { conn, error: None }));
            // What the shard sends from now on goes nowhere.
            if let Some(link) = self.network.links.get_mut(&(shard, conn.0)) {
                link.flowing = true;
            }
        }
    }

    /// The shard closes a connection, or learns that it is gone.
    pub(super) fn close(&mut self, shard: usize, conn: ConnId, orderly: bool) {
        if self.network.clients.contains_key(&(shard, conn.0)) {
            return self.plan(LATENCY, Thing::ClientGone(shard, conn));
        }
        let Some(mut link) = self.network.links.remove(&(shard, conn.0)) else { return };
        if let (true, Some(remote), Some(host)) =
            (orderly, &mut link.remote, self.network.hosts.get_mut(&link.ip))
        {
            let _ = remote.hear(host, self.now, &link.output);
        }
        self.network.left(&link);
    }

    /// What a client was still to hear it has heard.
    pub(super) fn client_gone(&mut self, shard: usize, conn: ConnId) {
        self.network.clients.remove(&(shard, conn.0));
    }

    /// The far end goes away.
    pub(super) fn lose(&mut self, shard: usize, conn: ConnId) {
        self.network.clients.remove(&(shard, conn.0));
        if let Some(link) = self.network.links.remove(&(shard, conn.0)) {
            self.network.left(&link);
        }
    }

    /// A host closes all its connections.
    pub fn hang_up(&mut self, ip: [u8; 4]) {
        let at = |(_, link): &(&(usize, u64), &Link)| link.ip == IpAddr::from(ip);
        let links: Vec<_> = self.network.links.iter().filter(at).map(|(key, _)| *key).collect();
        for (shard, conn) in links {
            let conn = ConnId(conn);
            self.tell(shard, LATENCY, Event::Closed { conn, error: None });
        }
    }

    pub(super) fn start_tls(&mut self, shard: usize, conn: ConnId) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        let host = self.network.hosts.get_mut(&link.ip).expect("a link leads to a host");
        let event = match host.strikes(Stage::Handshake) {
            None => {
                let remote = link.remote.as_mut().expect("only what is connected uses TLS");
                remote.secured(host, self.now);
                Event::TlsEstablished { conn, description: "TLSv1.3 story".into() }
            }
            Some(Act::Stall) => return,
            Some(Act::Drop) => Event::Closed { conn, error: Some("connection reset".into()) },
            Some(_) => {
                let reason = "handshake failure".into();
                Event::TlsFailed { conn, reason, certificate: false }
            }
        };
        self.tell(shard, LATENCY, event);
    }
}
