//! From ready mail to a place to connect to: what the queue wants done is done
//! here, look-ups first. Three kinds of answer stay apart: found goes on, none
//! is permanent and comes back as a rejection, unknown waits and is nobody's
//! fault (design §1.5).
//!
//! Never picks the host to try: that is `connect`'s.
//!
//! Read first: RFC 5321 §5.1, RFC 7505 §3.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::{ConnId, Map, Micros, Monotonic, Rng, Set};
use control::{Identity, LogIn, Maildir, Mode, Site, Smarthost, TlsMode, Trust};
use dns::{Exchange, Exchangers, Hosts, Resolution, Resolved, Token};
use eventlog::{Field, Kind, Line};
use mail::{Domain, Host, Status};
use queue::{DestinationKey, SiteKey, Work};

use crate::effect::Effect;
use crate::epoch::Way;
use crate::pop_first::PopHost;
use crate::returned::Returning;
use crate::shard::{Shard, Turn};

/// Shortest time for which a resolved next hop is believed, so that a TTL of 0
/// does not turn every message into a look-up.
const BELIEVED_MIN: Duration = Duration::from_secs(5);
/// Longest time: a site notices changes of relay hosts' addresses by then.
pub(crate) const BELIEVED_LITERAL: Duration = Duration::from_secs(3_600);

/// Why mail for a domain can never go.
pub(crate) const NULL_MX: &str = "the domain takes no mail (null MX)";
pub(crate) const NO_DOMAIN: &str = "the domain does not exist";
pub(crate) const NO_ADDRESS: &str = "the domain has no mail exchanger with an address";
pub(crate) const LOOP: &str = "the domain's best mail exchanger is this host";

/// Where a site's connections go.
#[derive(Debug)]
pub(crate) struct Target {
    /// The name its limits are counted under.
    pub(crate) limit_key: Arc<str>,
    /// The way that led here last.
    pub(crate) way: Way,
    /// Its hosts.
    pub(crate) hosts: Hosting,
}

impl Target {
    /// What the limit of these hosts is called when `way` leads to them.
    pub(crate) fn limit_key_by(&self, way: &Way) -> Option<String> {
        let site = match &self.hosts {
            Hosting::Exchangers(exchangers) => {
                Site::of_exchangers(way, way.exit(), &exchangers.site_key)
            }
            Hosting::Fixed(hosts) => match hosts.first().filter(|host| host.from_stranger) {
                Some(literal) => {
                    let ip = literal.addresses.first()?.ip().to_string();
                    Site::of_exchangers(way, way.exit(), &ip)
                }
                None => Site::of_relay(way, way.exit())?,
            },
            Hosting::Folders(_) => Site::of_relay(way, way.exit())?,
        };
        Some(site.limit_key)
    }
}

/// The hosts of a site.
#[derive(Debug)]
pub(crate) enum Hosting {
    /// Mail exchangers, with preferences.
    Exchangers(Arc<Exchangers>),
    /// Hosts in order, with what connecting to each needs.
    Fixed(Vec<FixedHost>),
    /// Mail folders of this machine.
    Folders(Arc<Maildir>),
}

impl Hosting {
    /// The order in which this attempt tries exchangers; nothing where the
    /// order is fixed.
    pub(crate) fn order(&self, rng: &mut Rng) -> Vec<usize> {
        match self {
            Self::Exchangers(exchangers) => exchangers.ordered(rng),
            Self::Fixed(_) | Self::Folders(_) => Vec::new(),
        }
    }
}

/// A relay host, or an address literal.
#[derive(Clone, Debug)]
pub(crate) struct FixedHost {
    /// Its name.
    pub(crate) name: Box<str>,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The Unix socket where it listens instead.
    pub(crate) socket: Option<Arc<str>>,
    /// TLS towards it.
    pub(crate) tls: TlsMode,
    /// Who may have signed its certificate.
    pub(crate) trust: Trust,
    /// What we prove ourselves with.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The log-in there.
    pub(crate) auth: Option<Arc<LogIn>>,
    /// The POP3 server that must know us first.
    pub(crate) pop: Option<Arc<PopHost>>,
    /// A stranger named it: its addresses are filtered as exchangers' are.
    pub(crate) from_stranger: bool,
}

/// Look-ups under way, and why destinations were rejected.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    mail: Map<Token, Vec<DestinationKey>>,
    hosts: Map<Token, Vec<(DestinationKey, usize)>>,
    /// When each question was asked.
    pub(crate) asked: Map<Token, Micros>,
    relays: Map<DestinationKey, Vec<Option<Hosts>>>,
    pub(crate) rejected: Map<DestinationKey, (Status, String)>,
    /// Destinations whose mail goes the default way for now.
    pub(crate) falling: Set<DestinationKey>,
    pub(crate) returning: Returning,
}

impl Lookups {
    /// Next hops whose names are being looked up.
    pub(crate) fn asking(&self) -> impl Iterator<Item = DestinationKey> + '_ {
        self.mail.values().flatten().copied().chain(self.relays.keys().copied())
    }
}

impl Shard {
    /// Does what the queue and the DNS room want done, until both are quiet.
    pub(crate) fn pump(&mut self, turn: &mut Turn<'_>) {
        loop {
            let mut quiet = true;
            while let Some((token, resolved)) = self.dns.poll_resolved() {
                quiet = false;
                self.resolved(turn, token, resolved);
            }
            while let Some(work) = self.next_work(turn) {
                quiet = false;
                match work {
                    Work::Resolve(destination) => self.resolve(turn, destination),
                    Work::Reject(destination) => self.return_rejected(turn, destination),
                    Work::Open(site) => self.open(turn, site),
                    Work::Use(site) => self.use_idle(turn, site),
                }
            }
            if quiet {
                break;
            }
        }
        while let Some(query) = self.dns.poll_done() {
            turn.effects.push(Effect::QueryDone { query });
        }
        while let Some(dns::Transmit { query, server, tcp, bytes }) = self.dns.poll_transmit() {
            if self.detailed() {
                self.tell_query(turn, server, &bytes);
            }
            turn.effects.push(Effect::Query { query, server, tcp, bytes });
        }
    }

    fn next_work(&mut self, turn: &Turn<'_>) -> Option<Work> {
        // Without storage no outcome could be kept (design §4).
        let stopped = self.draining || self.spool.is_down();
        if stopped { None } else { self.queue.poll_work(turn.now) }
    }

    fn resolve(&mut self, turn: &mut Turn<'_>, destination: DestinationKey) {
        let Some((hop, _)) = self.queue.destination(destination) else { return };
        let name: Box<str> = hop.name.into();
        // Of an earlier policy: the drain routes each recipient anew.
        let Some(way) = self.epochs.way(hop) else {
            return self.route_anew(destination);
        };
        if self.leaves_elsewhere(turn.now, &way) {
            return self.route_anew(destination);
        }
        if let Some(stop) = self.stops_hop(turn, &name, &way) {
            return self.suspend(destination, stop);
        }
        if self.waits_for_link(turn, destination, &way) {
            return;
        }
        if self.falls_back_now(&way) && !self.stops_relay(turn, &way) {
            return self.let_fall(destination);
        }
        match &way.mode {
            Mode::Relay(hosts) => self.resolve_relay(turn, destination, hosts.clone()),
            Mode::Socket(path) => {
                let host = FixedHost::at_socket(path.clone());
                self.at_own_place(turn, destination, &way, Hosting::Fixed(vec![host]));
            }
            Mode::Folders(at) => {
                self.at_own_place(turn, destination, &way, Hosting::Folders(at.clone()));
            }
            Mode::Independent => match literal(&name) {
                Some(ip) => self.at_literal(turn, destination, &way, ip),
                None => self.resolve_domain(turn, destination, &name),
            },
        }
    }

    fn resolve_domain(&mut self, turn: &mut Turn<'_>, destination: DestinationKey, name: &str) {
        let domain = Domain::parse(name).expect("next hops in independent mode are mail domains");
        match self.dns.resolve_mail(turn.now.mono, &domain) {
            Resolution::Cached(exchange) => {
                self.metrics.lookups_cached += 1;
                self.exchange_known(turn, destination, &exchange);
            }
            Resolution::Pending(token) => {
                self.metrics.lookups_asked += 1;
                self.lookups.note_asked(token, turn.now);
                self.lookups.mail.entry(token).or_default().push(destination);
            }
        }
    }

    fn resolved(&mut self, turn: &mut Turn<'_>, token: Token, resolved: Resolved) {
        self.time_look_up(turn, token);
        match resolved {
            Resolved::Mail(domain, exchange) => {
                self.diagnosis_found(turn, token, &exchange);
                self.log_lookup(turn, &domain, &exchange);
                for destination in self.lookups.mail.remove(&token).unwrap_or_default() {
                    self.exchange_known(turn, destination, &exchange);
                }
            }
            Resolved::Host(_, hosts) => {
                self.diagnosis_found_host(turn, token, &hosts);
                for (destination, place) in self.lookups.hosts.remove(&token).unwrap_or_default() {
                    let Some(slots) = self.lookups.relays.get_mut(&destination) else { continue };
                    slots[place] = Some(hosts.clone());
                    self.relay_known(turn, destination);
                }
            }
        }
    }

    fn exchange_known(
        &mut self,
        turn: &mut Turn<'_>,
        destination: DestinationKey,
        exchange: &Exchange,
    ) {
        let Some(way) = self.way_of(destination) else {
            return self.route_anew(destination);
        };
        let (status, reason) = match exchange {
            Exchange::Found(exchangers) => {
                let site = Site::of_exchangers(&way, way.exit(), &exchangers.site_key);
                let until = exchangers.expires;
                let hosts = Hosting::Exchangers(exchangers.clone());
                return self.at_site(turn, destination, way, site, hosts, until);
            }
            Exchange::Unknown { reason, retry_after } => {
                self.metrics.local_shortages += 1;
                let reason = format!("look-up failed: {reason}");
                return self.queue.resolve_failed(destination, *retry_after, &reason);
            }
            Exchange::NullMx => (Status::NULL_MX, NULL_MX),
            Exchange::NoDomain => (Status::BAD_DOMAIN, NO_DOMAIN),
            Exchange::NoAddress => (Status::UNROUTABLE, NO_ADDRESS),
            Exchange::Loop => (Status::LOOP, LOOP),
        };
        self.reject(destination, status, reason.to_string());
    }

    fn at_literal(
        &mut self,
        turn: &mut Turn<'_>,
        destination: DestinationKey,
        way: &Way,
        ip: IpAddr,
    ) {
        let site = Site::of_exchangers(way, way.exit(), &ip.to_string());
        let host = FixedHost::literal(way, ip);
        let until = turn.now.mono + BELIEVED_LITERAL;
        self.at_site(turn, destination, way.clone(), site, Hosting::Fixed(vec![host]), until);
    }

    fn resolve_relay(
        &mut self,
        turn: &mut Turn<'_>,
        destination: DestinationKey,
        hosts: Arc<[Smarthost]>,
    ) {
        let mut slots = Vec::with_capacity(hosts.len());
        // The POP3 servers come last, in the order of their hosts.
        let pops = hosts.iter().filter_map(|host| Some(&host.pop.as_ref()?.host));
        for (place, host) in hosts.iter().map(|host| &host.host).chain(pops).enumerate() {
            slots.push(match host {
                Host::Literal(ip) => Some(Hosts::Found(Arc::new(dns::Host {
                    addresses: vec![*ip],
                    expires: turn.now.mono + BELIEVED_LITERAL,
                }))),
                Host::Name(name) => match self.dns.resolve_host(turn.now.mono, name) {
                    Resolution::Cached(hosts) => Some(hosts),
                    Resolution::Pending(token) => {
                        self.lookups.note_asked(token, turn.now);
                        self.lookups.hosts.entry(token).or_default().push((destination, place));
                        None
                    }
                },
            });
        }
        self.lookups.relays.insert(destination, slots);
        self.relay_known(turn, destination);
    }

    /// Goes on with a relay way once all its hosts' look-ups have ended.
    fn relay_known(&mut self, turn: &mut Turn<'_>, destination: DestinationKey) {
        let done = |slots: &Vec<Option<Hosts>>| slots.iter().all(Option::is_some);
        if !self.lookups.relays.get(&destination).is_some_and(done) {
            return;
        }
        let mut slots = self.lookups.relays.remove(&destination).unwrap_or_default();
        let Some(way) = self.way_of(destination) else {
            return self.route_anew(destination);
        };
        let Mode::Relay(smarthosts) = &way.mode else {
            return self.route_anew(destination);
        };
        let mut fixed = Vec::new();
        let mut until = turn.now.mono + BELIEVED_LITERAL;
        let mut trouble = None;
        let mut pops = slots.split_off(slots.len().min(smarthosts.len())).into_iter().flatten();
        for (smarthost, hosts) in smarthosts.iter().zip(slots.into_iter().flatten()) {
            let pop = smarthost.pop.as_ref().and_then(|pop| Some((pop, pops.next()?)));
            let pop = pop.map(|(log_in, hosts)| Ok((log_in, found(turn, &log_in.host, hosts)?)));
            let pop = pop.transpose();
            match found(turn, &smarthost.host, hosts).and_then(|host| Ok((host, pop?))) {
                Ok((host, pop)) => {
                    until = until.min(host.expires);
                    let pop = pop.map(|(log_in, host)| {
                        until = until.min(host.expires);
                        PopHost::new(log_in, &host.addresses)
                    });
                    let relay = FixedHost::relay(&way, smarthost, &host.addresses);
                    fixed.push(FixedHost { pop, ..relay });
                }
                Err(why) => trouble = Some(why),
            }
        }
        if let (true, Some((until, reason))) = (fixed.is_empty(), trouble) {
            self.metrics.local_shortages += 1;
            return self.queue.resolve_failed(destination, until, &reason);
        }
        let Some(site) = Site::of_relay(&way, way.exit()) else {
            return self.route_anew(destination);
        };
        self.at_site(turn, destination, way, site, Hosting::Fixed(fixed), until);
    }

    pub(crate) fn at_site(
        &mut self,
        turn: &mut Turn<'_>,
        destination: DestinationKey,
        way: Way,
        site: Site,
        hosts: Hosting,
        until: Monotonic,
    ) {
        if let Some(stop) = self.stops_found(turn, destination, &way) {
            return self.suspend(destination, stop);
        }
        if self.waits_for_link(turn, destination, &way) {
            return;
        }
        let until = until.max(turn.now.mono + BELIEVED_MIN);
        let limit = way.limits(0).connections;
        let Some(key) = self.queue.resolved(turn.now, destination, &site.key, limit, until) else {
            return;
        };
        self.forget_unused_targets();
        if !self.suspensions.is_empty() {
            self.judge_site(turn, &site.key);
        }
        self.targets.insert(key, Target { limit_key: site.limit_key.into(), way, hosts });
    }

    fn use_idle(&mut self, turn: &mut Turn<'_>, site: SiteKey) {
        let list = self.idle.get_mut(&site);
        let (conn, last): (Option<ConnId>, bool) =
            list.map_or((None, false), |list| (list.pop(), list.is_empty()));
        if last {
            self.idle.remove(&site);
        }
        let conn = conn.expect("the queue counts a site's idle connections as we report them");
        self.resume_idle(turn, conn);
    }

    /// Targets follow the queue's sites, which come and go.
    fn forget_unused_targets(&mut self) {
        if self.targets.len() > 2 * self.queue.sites() + 64 {
            self.targets.retain(|site, _| self.queue.site(*site).is_some());
        }
    }

    fn log_lookup(&self, turn: &mut Turn<'_>, domain: &Domain, exchange: &Exchange) {
        let line = Line::new(turn.now.wall, Kind::Lookup).show(Field::Domain, domain);
        let result = |line: Line, word| line.text(Field::Result, word);
        let line = match exchange {
            Exchange::Found(found) => result(line, "found").text(Field::Mx, &found.site_key),
            Exchange::NullMx => result(line, "null-mx"),
            Exchange::NoDomain => result(line, "no-domain"),
            Exchange::NoAddress => result(line, "no-address"),
            Exchange::Loop => result(line, "loop"),
            Exchange::Unknown { reason, .. } => result(line, "unknown").show(Field::Reason, reason),
        };
        turn.log(line);
    }
}

/// A relay host's or POP3 server's addresses; or until when there are none, and
/// why. They are our operator's word: that a name is not found is a mistake to
/// be mended, not the mail's end.
fn found(
    turn: &Turn<'_>,
    host: &Host,
    hosts: Hosts,
) -> Result<Arc<dns::Host>, (Monotonic, String)> {
    match hosts {
        Hosts::Found(found) => Ok(found),
        Hosts::None { .. } => {
            let reason = format!("relay host {host} has no address");
            Err((turn.now.mono + Duration::from_secs(60), reason))
        }
        Hosts::Unknown { reason, retry_after } => {
            Err((retry_after, format!("look-up of {host} failed: {reason}")))
        }
    }
}

/// The address in a next hop's name, if it is a literal.
pub(crate) fn literal(name: &str) -> Option<IpAddr> {
    let inner = name.strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("IPv6:").unwrap_or(inner).parse().ok()
}
