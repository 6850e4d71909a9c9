//! Which addresses of a site are tried, in which order, and what connecting to
//! each needs.
//!
//! Never here: connecting. Invariant: an address that a stranger named and that
//! must not be dialled is not in a plan.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::ConnId;
use base::limits::ADDRESSES_PER_ATTEMPT_MAX;
use control::{Identity, LogIn, Smarthost, TlsMode, Trust};
use eventlog::{Field, Kind, Line};
use mail::Host;
use queue::{Phase, SiteKey};

use crate::dispatch::{FixedHost, Hosting};
use crate::effect::Effect;
use crate::epoch::Way;
use crate::folder::NOWHERE;
use crate::pop_first::PopHost;
use crate::shard::{Shard, Turn};

/// One address to try.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The host's name.
    pub(crate) host: Arc<str>,
    /// Its address and port.
    pub(crate) addr: SocketAddr,
    /// The Unix socket that it is reached by instead.
    pub(crate) socket: Option<Arc<str>>,
    /// TLS towards it.
    pub(crate) tls: TlsMode,
    /// Who may have signed its certificate.
    pub(crate) trust: Trust,
    /// What we prove ourselves with.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Its TLS has shown to be broken, and the way allows to go without.
    pub(crate) without_tls: bool,
    /// The log-in there.
    pub(crate) auth: Option<Arc<LogIn>>,
    /// The POP3 server that must know us first.
    pub(crate) pop: Option<Arc<PopHost>>,
}

impl Candidate {
    /// How it is called in logs and reports.
    pub(crate) fn shown(&self) -> String {
        self.to_string()
    }
}

/// `name [address]`, the literal or the path alone.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.host.starts_with('[') || self.socket.is_some() {
            return Ok(());
        }
        write!(f, " [{}]", self.addr.ip())
    }
}

impl FixedHost {
    /// A relay host of a way, at these addresses.
    pub(crate) fn relay(way: &Way, smarthost: &Smarthost, addresses: &[IpAddr]) -> Self {
        let at = |ip: &IpAddr| SocketAddr::new(*ip, smarthost.port);
        Self {
            name: smarthost.host.to_string().into(),
            addresses: addresses.iter().map(at).collect(),
            socket: None,
            tls: smarthost.tls,
            trust: smarthost.trust.clone(),
            identity: smarthost.identity.clone(),
            auth: way.log_in(smarthost, way.exit()).cloned(),
            pop: None,
            from_stranger: false,
        }
    }

    /// The host that a recipient's address names by number.
    pub(crate) fn literal(way: &Way, ip: IpAddr) -> Self {
        Self {
            name: Host::Literal(ip).to_string().into(),
            addresses: vec![SocketAddr::new(ip, way.port)],
            socket: None,
            tls: way.tls,
            trust: way.trust.clone(),
            identity: None,
            auth: None,
            pop: None,
            from_stranger: true,
        }
    }

    /// Whoever listens at a path of this machine.
    pub(crate) fn at_socket(path: Arc<str>) -> Self {
        Self {
            name: path.as_ref().into(),
            addresses: vec![NOWHERE],
            socket: Some(path),
            pop: None,
            tls: TlsMode::None,
            trust: Trust::default(),
            identity: None,
            auth: None,
            from_stranger: false,
        }
    }
}

impl Shard {
    /// Addresses of a site in the order to try: by preference, hosts that are
    /// down last, forbidden ones not at all.
    pub(crate) fn plan(&mut self, turn: &Turn<'_>, site: SiteKey) -> VecDeque<Candidate> {
        let target = &self.targets[&site];
        let order = target.hosts.order(&mut self.rng);
        self.candidates(turn, &target.hosts, &target.way, &order)
    }

    /// The same for hosts that a way leads to, `order` being [`Hosting::order`].
    pub(crate) fn candidates(
        &self,
        turn: &Turn<'_>,
        hosts: &Hosting,
        way: &Way,
        order: &[usize],
    ) -> VecDeque<Candidate> {
        let mut plan: Vec<Candidate> = Vec::new();
        let mut add = |candidate: Candidate, from_stranger: bool| {
            let ip = candidate.addr.ip();
            let forbidden = from_stranger && self.forbids(ip).is_some();
            if !forbidden && way.reaches(ip) && plan.len() < ADDRESSES_PER_ATTEMPT_MAX {
                plan.push(candidate);
            }
        };
        let candidate = |host: &str, addr, (tls, trust): (_, &Trust), auth: &Option<Arc<LogIn>>| {
            let broken = self.peers.tls_broken(turn.now.mono, addr);
            let without_tls = tls == TlsMode::Opportunistic && broken;
            let (trust, auth) = (trust.clone(), auth.clone());
            let (host, socket, identity) = (host.into(), None, None);
            let pop = None;
            Candidate { host, addr, socket, tls, trust, identity, without_tls, auth, pop }
        };
        match hosts {
            Hosting::Exchangers(exchangers) => {
                for index in order {
                    let host = &exchangers.hosts[*index];
                    for ip in &host.addresses {
                        let addr = SocketAddr::new(*ip, way.port);
                        let tls = (way.tls, &way.trust);
                        add(candidate(host.name.as_str(), addr, tls, &None), true);
                    }
                }
            }
            Hosting::Fixed(hosts) => {
                for host in hosts {
                    for addr in &host.addresses {
                        let candidate =
                            candidate(&host.name, *addr, (host.tls, &host.trust), &host.auth);
                        let (identity, socket) = (host.identity.clone(), host.socket.clone());
                        let pop = host.pop.clone();
                        let candidate = Candidate { identity, socket, pop, ..candidate };
                        add(candidate, host.from_stranger);
                    }
                }
            }
            Hosting::Folders(at) => add(crate::folder::candidate(at), false),
        }
        let now = turn.now.mono;
        plan.sort_by_key(|candidate| self.peers.down(now, candidate.addr).is_some());
        plan.into()
    }

    /// Whether a site has addresses that may be dialled, but none of a family
    /// that its source has.
    pub(crate) fn is_unreached(&self, site: SiteKey) -> bool {
        let target = &self.targets[&site];
        let allowed = |ip: IpAddr, from_stranger: bool| {
            (!from_stranger || self.forbids(ip).is_none()) && !target.way.reaches(ip)
        };
        match &target.hosts {
            Hosting::Exchangers(exchangers) => {
                let mut addresses = exchangers.hosts.iter().flat_map(|host| &host.addresses);
                addresses.any(|ip| allowed(*ip, true))
            }
            Hosting::Fixed(hosts) => hosts.iter().any(|host| {
                host.addresses.iter().any(|addr| allowed(addr.ip(), host.from_stranger))
            }),
            Hosting::Folders(_) => false,
        }
    }

    /// No address of a site may be dialled that anybody told, but there is an
    /// exchanger of which nobody could tell any just now: its mail waits for that.
    /// True: so it is.
    pub(crate) fn waits_for_names(
        &mut self,
        turn: &mut Turn<'_>,
        site: SiteKey,
        limit_key: &str,
    ) -> bool {
        let Hosting::Exchangers(exchangers) = &self.targets[&site].hosts else { return false };
        let Some((reason, until)) = exchangers.unknown else { return false };
        let until = until.max(exchangers.expires);
        self.metrics.local_shortages += 1;
        let line = Line::new(turn.now.wall, Kind::Shortage).text(Field::Host, limit_key);
        turn.log(line.text(Field::Reason, &format!("look-up failed: {reason}")));
        self.queue.pause(site, Some(until));
        self.close_permit(turn, limit_key);
        self.queue.connection_closed(site, Phase::Dispatched);
        true
    }

    /// Why an address must not be dialled on a stranger's word, if so.
    pub(crate) fn forbids(&self, ip: IpAddr) -> Option<&'static str> {
        dns::forbidden(ip, &self.own_addresses, |ip| self.policy.egress.permits(ip))
    }
}

/// What begins a connection to `at`.
pub(crate) fn connecting(conn: ConnId, at: &Candidate, way: &Way) -> Effect {
    match &at.socket {
        Some(path) => Effect::ConnectSocket { conn, path: path.clone() },
        None => {
            let (to, from) = ends(at.addr, way);
            Effect::Connect { conn, to, from }
        }
    }
}

/// Where a connection to `to` leads at first, and the own address it leaves from.
fn ends(to: SocketAddr, way: &Way) -> (SocketAddr, Option<IpAddr>) {
    // What is our own is reached from anywhere.
    let usual: &[IpAddr] = if way.is_local { &[] } else { &way.policy().egress.source };
    match way.source() {
        Some(source) => match &source.proxy {
            Some(proxy) => (proxy.server, None),
            None => (to, source.address_for(to.ip())),
        },
        None => (to, usual.iter().copied().find(|ip| ip.is_ipv4() == to.is_ipv4())),
    }
}
