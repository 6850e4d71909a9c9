//! Connections between shards and exchangers: bytes on their way, who is
//! connected to whom, and how connections come and go.
//!
//! Invariants: what travels on one connection keeps its order; nothing reaches
//! a shard about a connection that it has given up.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::{ConnId, Monotonic};
use shard::event::{ConnectFailure, Event};

use super::client::{Client, Ticket};
use super::customer::Customer;
use super::host::{Act, Host, Stage};
use super::remote::{Fact, Reaction, Remote};
use super::{LATENCY, Thing, World};
use crate::observation::{Link as Name, Observation, Shortage, Side, Verb};

/// Bytes that the kernel takes for a peer that does not.
const KERNEL_BYTES: usize = 64 << 10;

/// How often a slow host takes something, in weather.
const SLICE: Duration = Duration::from_millis(100);

/// Everything outside the shards.
pub struct Network {
    /// The hosts, by address.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// Every connection that a shard began.
    pub dialled: Vec<SocketAddr>,
    /// Bytes that reach a shard at once.
    pub piece: usize,
    /// Our own machine has no means for connections.
    pub no_descriptors: bool,
    pub(super) tickets: Vec<Ticket>,
    pub(super) clients: BTreeMap<(usize, u64), Client>,
    pub(super) customers: BTreeMap<(usize, u64), Customer>,
    pub(super) next_inbound: u64,
    links: BTreeMap<(usize, u64), Link>,
}

/// A connection to a host.
struct Link {
    ip: IpAddr,
    from: Option<IpAddr>,
    remote: Option<Remote>,
    output: VecDeque<Output>,
    /// A body is in the output: its progress is told.
    with_body: bool,
    flowing: bool,
    /// Time on the way.
    delay: Duration,
    /// Bytes that come at once.
    piece: usize,
    /// Nothing arrives before this: it would overtake.
    last: Monotonic,
}

/// Something a shard sent.
struct Output {
    left: Monotonic,
    bytes: Vec<u8>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            dialled: Vec::new(),
            piece: usize::MAX,
            no_descriptors: false,
            tickets: Vec::new(),
            clients: BTreeMap::new(),
            customers: BTreeMap::new(),
            next_inbound: 0,
            links: BTreeMap::new(),
        }
    }
}

impl Network {
    /// Connections that stand or are being made, clients included.
    pub fn open(&self) -> usize {
        self.links.len() + self.open_clients()
    }

    /// Whether a connection leaves from an address.
    pub(super) fn is_used(&self, from: Option<IpAddr>) -> bool {
        from.is_some() && self.links.values().any(|link| link.from == from)
    }

    /// Connections of clients.
    pub fn open_clients(&self) -> usize {
        self.clients.len() + self.customers.len()
    }

    /// Whether the shard still knows a connection.
    pub(super) fn expects(&self, shard: usize, conn: ConnId) -> bool {
        let key = (shard, conn.0);
        self.links.contains_key(&key)
            || self.clients.contains_key(&key)
            || self.customers.get(&key).is_some_and(|customer| !customer.is_closed())
    }

    /// All connections to hosts are gone: the program has ended.
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

fn named(shard: usize, conn: ConnId) -> Name {
    Name { shard: shard as u16, conn: conn.0 }
}

impl World {
    pub(super) fn connect(
        &mut self,
        shard: usize,
        conn: ConnId,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) {
        self.check_link(from);
        self.see(Observation::Dialled { link: named(shard, conn), to, from });
        self.network.dialled.push(to);
        let short = self.network.no_descriptors || self.weather.strikes(self.weather.shortage);
        let act = match self.network.hosts.get_mut(&to.ip()) {
            _ if short => Some(Act::Shortage),
            None => Some(Act::Drop),
            Some(host) => {
                host.connects.push(self.now.mono);
                host.strikes(Stage::Connect)
            }
        };
        let delay = self.weather.span(&self.weather.wire_ms.clone());
        let crumbles = self.weather.strikes(self.weather.connections_crumble);
        let piece = if crumbles { 1 + self.weather.below(7) as usize } else { self.network.piece };
        let link = Link {
            ip: to.ip(),
            from,
            remote: None,
            output: VecDeque::new(),
            with_body: false,
            flowing: false,
            delay,
            piece,
            last: self.now.mono,
        };
        self.network.links.insert((shard, conn.0), link);
        let failure = match act {
            None => return self.stand(shard, conn),
            Some(Act::Stall) => return,
            Some(Act::Shortage) => {
                let (what, link) = (Shortage::Descriptors, Some(named(shard, conn)));
                self.see(Observation::Shortage { shard: shard as u16, what, link });
                ConnectFailure::Local("too many open files".into())
            }
            Some(_) => ConnectFailure::Peer("connection refused".into()),
        };
        self.tell(shard, delay, Event::ConnectFailed { conn, failure });
    }

    /// A connection is made.
    fn stand(&mut self, shard: usize, conn: ConnId) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        let Some(host) = self.network.hosts.get_mut(&link.ip) else { return };
        host.open += 1;
        host.peak = host.peak.max(host.open);
        let (mut remote, reaction) = Remote::new(host);
        if self.weather.strikes(self.weather.connections_vanish) {
            remote.vanish();
        }
        link.remote = Some(remote);
        link.last = self.now.mono + link.delay;
        let delay = link.delay;
        let local = ([192, 0, 2, 1], 50_000).into();
        self.tell(shard, delay, Event::Connected { conn, local });
        self.react(shard, conn, reaction);
        if self.weather.strikes(self.weather.connections_break) {
            let magnitude = self.weather.below(14);
            let after = Duration::from_millis(self.weather.below(1 << magnitude));
            let error = Some("connection reset".into());
            self.tell(shard, delay + after, Event::Closed { conn, error });
        }
    }

    pub(super) fn send(&mut self, shard: usize, conn: ConnId, bytes: Vec<u8>) {
        let key = (shard, conn.0);
        if self.network.customers.contains_key(&key) {
            return self.customer_is_told(shard, conn, &bytes);
        }
        if self.network.clients.contains_key(&key) {
            return self.plan(LATENCY, Thing::ToClient(shard, conn, bytes));
        }
        self.put_out(shard, conn, bytes, false);
    }

    pub(super) fn send_body(&mut self, shard: usize, conn: ConnId, bytes: Vec<u8>) {
        self.put_out(shard, conn, bytes, true);
    }

    fn put_out(&mut self, shard: usize, conn: ConnId, bytes: Vec<u8>, body: bool) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        link.output.push_back(Output { left: self.now.mono, bytes });
        link.with_body |= body;
        if !std::mem::replace(&mut link.flowing, true) {
            let delay = link.delay;
            self.plan(delay, Thing::Flow(shard, conn));
        }
    }

    /// Output goes to the kernel and on to the host.
    pub(super) fn flow(&mut self, shard: usize, conn: ConnId) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        let Some(host) = self.network.hosts.get(&link.ip) else { return };
        let deaf = link.remote.as_ref().is_none_or(Remote::is_deaf);
        let waiting: usize = link.output.iter().map(|output| output.bytes.len()).sum();
        // Who has stalled takes nothing either, nor does his kernel take much.
        if deaf && (self.weather.is_calm() || waiting > KERNEL_BYTES) {
            return;
        }
        // In weather a slow host takes larger pieces, more rarely.
        let every = if self.weather.is_calm() { LATENCY } else { SLICE };
        let mut room = host.pace.saturating_mul(every.as_millis() as usize);
        let mut sent = Vec::new();
        while let Some(first) = link.output.front_mut().filter(|_| room > 0) {
            let take = first.bytes.len().min(room);
            room -= take;
            let bytes: Vec<u8> = first.bytes.drain(..take).collect();
            sent.push((first.left, bytes));
            if first.bytes.is_empty() {
                link.output.pop_front();
            }
        }
        let left: usize = link.output.iter().map(|output| output.bytes.len()).sum();
        let left = left as u64;
        let told = link.with_body;
        link.flowing = left > 0;
        link.with_body &= left > 0;
        if left > 0 {
            self.plan(every, Thing::Flow(shard, conn));
        }
        for (at, bytes) in sent {
            self.arrive(shard, conn, at, &bytes);
        }
        if told {
            self.step(shard, Event::Drained { conn, left });
        }
    }

    /// Bytes reach the host.
    fn arrive(&mut self, shard: usize, conn: ConnId, left: Monotonic, bytes: &[u8]) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        let Some(host) = self.network.hosts.get_mut(&link.ip) else { return };
        let Some(remote) = link.remote.as_mut().filter(|remote| !remote.is_deaf()) else { return };
        let mut reaction = remote.hear(host, self.now, bytes);
        let facts = std::mem::take(&mut reaction.facts);
        self.see_facts(shard, conn, left, facts);
        self.react(shard, conn, reaction);
    }

    fn see_facts(&mut self, shard: usize, conn: ConnId, left: Monotonic, facts: Vec<Fact>) {
        let link = named(shard, conn);
        for fact in facts {
            self.see(match fact {
                Fact::Heard(command) => Observation::Heard { link, left, command },
                Fact::Progress => Observation::Progress { link },
                Fact::Took(copy) => Observation::Took { link, copy },
            });
        }
    }

    /// What a host says is on its way; whole replies are told as they arrive.
    fn react(&mut self, shard: usize, conn: ConnId, reaction: Reaction) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        let jitter = self.weather.span(&(0..=*self.weather.wire_ms.end() / 4));
        let mut at = (self.now.mono + link.delay + jitter).max(link.last);
        if self.weather.is_calm() {
            at = self.now.mono + link.delay;
        }
        let temper = self.network.hosts.get_mut(&link.ip).and_then(|host| host.temper.as_mut());
        if let Some(temper) = temper
            && reaction.says.iter().any(|reply| reply.to == Verb::Dot)
        {
            at = at + temper.thinks();
        }
        let mut bytes = Vec::new();
        let mut ends: VecDeque<(usize, Verb, u16)> = VecDeque::new();
        for reply in reaction.says {
            bytes.extend_from_slice(&reply.bytes);
            ends.push_back((bytes.len(), reply.to, reply.code));
        }
        let mut sent = 0;
        for piece in bytes.chunks(link.piece) {
            sent += piece.len();
            let mut whole = Vec::new();
            while let Some((_, verb, code)) = ends.pop_front_if(|(end, ..)| *end <= sent) {
                whole.push((verb, code));
            }
            self.order += 1;
            let thing = Thing::Received(shard, conn, piece.to_vec(), whole);
            self.agenda.insert((at, self.order), thing);
        }
        link.last = at;
        if reaction.closes {
            // What the shard sends from now on goes nowhere.
            link.flowing = true;
            let closed = Event::Closed { conn, error: None };
            self.order += 1;
            self.agenda.insert((at, self.order), Thing::Event(shard, closed));
        }
    }

    /// Replies reached a shard.
    pub(super) fn see_replies(&mut self, shard: usize, conn: ConnId, replies: Vec<(Verb, u16)>) {
        for (to, code) in replies.into_iter().filter(|(_, code)| *code > 0) {
            self.see(Observation::Said { link: named(shard, conn), to, code });
        }
    }

    /// The shard closes a connection, or learns that it is gone.
    pub(super) fn close(&mut self, shard: usize, conn: ConnId, orderly: bool) {
        let key = (shard, conn.0);
        if self.network.customers.contains_key(&key) {
            return self.customer_is_sent_away(shard, conn);
        }
        if self.network.clients.contains_key(&key) {
            return self.plan(LATENCY, Thing::ClientGone(shard, conn));
        }
        let Some(mut link) = self.network.links.remove(&key) else { return };
        let mut facts = Vec::new();
        if let (true, Some(remote), Some(host)) =
            (orderly, &mut link.remote, self.network.hosts.get_mut(&link.ip))
        {
            for Output { left, bytes } in &link.output {
                facts.push((*left, remote.hear(host, self.now, bytes).facts));
            }
        }
        for (left, facts) in facts {
            self.see_facts(shard, conn, left, facts);
        }
        self.see(Observation::Ended { link: named(shard, conn), by: Side::Us });
        self.network.left(&link);
    }

    /// What a client was still to hear it has heard.
    pub(super) fn client_gone(&mut self, shard: usize, conn: ConnId) {
        self.network.clients.remove(&(shard, conn.0));
    }

    /// The far end goes away.
    pub(super) fn lose(&mut self, shard: usize, conn: ConnId) {
        self.network.clients.remove(&(shard, conn.0));
        if self.network.customers.contains_key(&(shard, conn.0)) {
            return self.customer_has_left(shard, conn);
        }
        if let Some(link) = self.network.links.remove(&(shard, conn.0)) {
            self.network.left(&link);
            self.see(Observation::Ended { link: named(shard, conn), by: Side::Them });
        }
    }

    /// A connection does not come about.
    pub(super) fn not_made(&mut self, shard: usize, conn: ConnId, ours: bool) {
        self.network.links.remove(&(shard, conn.0));
        self.see(Observation::DialFailed { link: named(shard, conn), ours });
    }

    /// A host closes all its connections.
    pub fn hang_up(&mut self, ip: [u8; 4]) {
        for (shard, conn) in self.links_of(ip) {
            let conn = ConnId(conn);
            self.tell(shard, LATENCY, Event::Closed { conn, error: None });
        }
    }

    /// A host goes without a word: connections stand and nobody answers.
    pub fn go_silent(&mut self, ip: [u8; 4]) {
        for key in self.links_of(ip) {
            let link = self.network.links.get_mut(&key);
            if let Some(remote) = link.and_then(|link| link.remote.as_mut()) {
                remote.vanish();
            }
        }
    }

    fn links_of(&self, ip: [u8; 4]) -> Vec<(usize, u64)> {
        let at = |(_, link): &(&(usize, u64), &Link)| link.ip == IpAddr::from(ip);
        self.network.links.iter().filter(at).map(|(key, _)| *key).collect()
    }

    pub(super) fn start_tls(&mut self, shard: usize, conn: ConnId) {
        let Some(link) = self.network.links.get_mut(&(shard, conn.0)) else { return };
        let Some(host) = self.network.hosts.get_mut(&link.ip) else { return };
        let event = match host.strikes(Stage::Handshake) {
            None => {
                let Some(remote) = link.remote.as_mut().filter(|remote| !remote.is_deaf()) else {
                    return;
                };
                remote.secured();
                Event::TlsEstablished { conn, description: "TLSv1.3 story".into() }
            }
            Some(Act::Stall) => return,
            Some(Act::Drop) => Event::Closed { conn, error: Some("connection reset".into()) },
            Some(_) => {
                let reason = "handshake failure".into();
                Event::TlsFailed { conn, reason, certificate: false }
            }
        };
        let delay = link.delay;
        self.tell(shard, delay, event);
    }
}
