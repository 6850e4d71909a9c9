//! A configuration as plain facts: what the oracles hold a run against. Told
//! by whoever wrote the configuration file, not read back from the product.
//!
//! Never decides anything: which rule fits an address is all that is worked
//! out here, by the words of the reference.

use std::net::SocketAddr;
use std::time::Duration;

use crate::digest::Hasher64;
use crate::observation::Text;

/// One configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Names it in a history.
    pub revision: u64,
    /// The routes in the file's order; the first match wins.
    pub routes: Vec<Way>,
    /// The default way.
    pub default: Way,
    /// `in_doubt = "power"`: the list is exact after a power cut too.
    pub exact_after_power: bool,
    /// `in_doubt_policy = "hold"`.
    pub holds_doubted: bool,
    /// Sessions of clients at once, over all shards; and of one client.
    pub clients: u32,
    /// Sessions of one client at once.
    pub clients_per_peer: u32,
    /// Silence of a client after which it is sent away.
    pub client_timeout: Duration,
    /// Octets of a message, and recipients of one.
    pub message_bytes: u64,
    /// Recipients of one message.
    pub recipients: u32,
    /// Who hears of failures.
    pub failure: Told,
    /// Who hears of delays.
    pub delay: Told,
    /// Who hears of successes, where asked for.
    pub success: Told,
    /// Where reports go that go to the postmaster.
    pub postmaster: Text,
}

/// Who is told by a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The message's sender.
    Sender,
    /// The postmaster.
    Postmaster,
    /// Nobody.
    Nobody,
}

/// What becomes of mail after a failure for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Another attempt by the list of waits.
    Retry,
    /// Kept until released.
    Hold,
    /// Returned at once.
    Bounce,
}

/// One way of delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// `*`, a domain, `*.domain` or a mailbox; `default` for the default way.
    pub pattern: Text,
    /// Relay hosts in order; empty: by exchangers.
    pub hosts: Vec<SocketAddr>,
    /// Whether connections and rate are counted for this route alone.
    pub own_limits: bool,
    /// Connections to one site at once.
    pub connections: u32,
    /// Messages over one connection.
    pub messages_per_connection: u32,
    /// Recipients in one transaction.
    pub recipients_per_message: u32,
    /// Messages to one site within a span.
    pub rate: Option<(u32, Duration)>,
    /// From acceptance to the end.
    pub lifetime: Duration,
    /// The waits between attempts; the last one repeats.
    pub retry: Vec<Duration>,
    /// Jitter to either side in percent of the wait.
    pub jitter_percent: u8,
    /// Attempts after the first; 0 for no bound.
    pub max_attempts: u16,
    /// What becomes of mail after a failure for now.
    pub failing: Failing,
    /// Whether mail goes the default way when all relay hosts are down.
    pub fallback: bool,
    /// When the sender is told that mail is late.
    pub delay_notice: Option<Duration>,
    /// The longest wait of each phase.
    pub timeouts: Timeouts,
    /// How long a connection without work is kept.
    pub idle: Duration,
}

/// The longest waits towards an exchanger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection.
    pub connect: Duration,
    /// For the greeting.
    pub greeting: Duration,
    /// For the replies to EHLO and STARTTLS.
    pub hello: Duration,
    /// For the handshake.
    pub tls: Duration,
    /// For the reply to MAIL.
    pub mail: Duration,
    /// For the reply to RCPT.
    pub rcpt: Duration,
    /// For the reply to DATA.
    pub data: Duration,
    /// Without progress of the content.
    pub block: Duration,
    /// For the reply to the final dot.
    pub dot: Duration,
    /// For the replies to RSET and QUIT.
    pub quit: Duration,
}

impl Timeouts {
    /// What holds where a configuration says nothing (RFC 5321 §4.5.3.2).
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(30),
        greeting: Duration::from_secs(300),
        hello: Duration::from_secs(300),
        tls: Duration::from_secs(30),
        mail: Duration::from_secs(300),
        rcpt: Duration::from_secs(300),
        data: Duration::from_secs(120),
        block: Duration::from_secs(180),
        dot: Duration::from_secs(600),
        quit: Duration::from_secs(20),
    };

    /// The same wait for every phase.
    pub fn all(span: Duration) -> Self {
        Self {
            connect: span,
            greeting: span,
            hello: span,
            tls: span,
            mail: span,
            rcpt: span,
            data: span,
            block: span,
            dot: span,
            quit: span,
        }
    }

    fn each(&self) -> [Duration; 10] {
        [
            self.connect,
            self.greeting,
            self.hello,
            self.tls,
            self.mail,
            self.rcpt,
            self.data,
            self.block,
            self.dot,
            self.quit,
        ]
    }
}

impl Default for Way {
    /// What an empty file gives.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            pattern: "default".into(),
            hosts: Vec::new(),
            own_limits: false,
            connections: 20,
            messages_per_connection: 100,
            recipients_per_message: 100,
            rate: None,
            lifetime: minutes(5 * 24 * 60),
            retry: [5, 10, 20, 40, 60].map(minutes).into(),
            jitter_percent: 10,
            max_attempts: 0,
            failing: Failing::Retry,
            fallback: true,
            delay_notice: Some(minutes(240)),
            timeouts: Timeouts::DEFAULT,
            idle: Duration::from_secs(5),
        }
    }
}

impl Default for Rules {
    /// What an empty file gives, for a host `mail.sender.example`.
    fn default() -> Self {
        Self {
            revision: 0,
            routes: Vec::new(),
            default: Way::default(),
            exact_after_power: false,
            holds_doubted: false,
            clients: 1_000,
            clients_per_peer: 100,
            client_timeout: Duration::from_secs(300),
            message_bytes: 50 << 20,
            recipients: 1_000,
            failure: Told::Sender,
            delay: Told::Sender,
            success: Told::Sender,
            postmaster: "postmaster@mail.sender.example".into(),
        }
    }
}

impl Rules {
    /// The way of mail to an address.
    pub fn way(&self, address: &str) -> &Way {
        self.routes.iter().find(|way| way.takes(address)).unwrap_or(&self.default)
    }

    /// All ways, the default one last.
    pub fn ways(&self) -> impl Iterator<Item = &Way> {
        self.routes.iter().chain([&self.default])
    }

    /// Takes the facts into a history's hash.
    pub fn feed(&self, to: &mut Hasher64) {
        to.number(self.revision);
        to.number(self.routes.len() as u64);
        self.ways().for_each(|way| way.feed(to));
        to.number(u64::from(self.exact_after_power) << 1 | u64::from(self.holds_doubted));
        to.number(u64::from(self.clients) << 32 | u64::from(self.clients_per_peer));
        to.number(self.client_timeout.as_millis() as u64);
        to.number(self.message_bytes);
        to.number(u64::from(self.recipients));
        for told in [self.failure, self.delay, self.success] {
            to.number(told as u64);
        }
        to.text(&self.postmaster);
    }
}

impl Way {
    /// Whether this route takes mail to an address.
    pub fn takes(&self, address: &str) -> bool {
        let pattern = &*self.pattern;
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        if let Some(parent) = pattern.strip_prefix("*.") {
            let start = domain.len().checked_sub(parent.len());
            return start.is_some_and(|at| {
                at > 0
                    && domain.as_bytes()[at - 1] == b'.'
                    && domain[at..].eq_ignore_ascii_case(parent)
            });
        }
        match pattern.rsplit_once('@') {
            Some((l, d)) => l == local && d.eq_ignore_ascii_case(domain),
            None => pattern == "*" || pattern.eq_ignore_ascii_case(domain),
        }
    }

    /// The shortest wait that may follow the attempt number `made`, 1 for the
    /// first.
    pub fn wait_min(&self, made: u16) -> Duration {
        let place = usize::from(made.max(1)) - 1;
        let wait = self.retry.get(place).or(self.retry.last()).copied().unwrap_or_default();
        wait * u32::from(100 - self.jitter_percent.min(100)) / 100
    }

    fn feed(&self, to: &mut Hasher64) {
        to.text(&self.pattern);
        to.number(self.hosts.len() as u64);
        for host in &self.hosts {
            feed_socket(*host, to);
        }
        to.number(u64::from(self.own_limits) << 1 | u64::from(self.fallback));
        to.number(u64::from(self.connections));
        to.number(u64::from(self.messages_per_connection));
        to.number(u64::from(self.recipients_per_message));
        to.maybe(self.rate.map(|(count, _)| count.into()));
        to.maybe(self.rate.map(|(_, per)| per.as_millis() as u64));
        to.number(self.retry.len() as u64);
        let spans = self.retry.iter().copied().chain([self.lifetime, self.idle]);
        spans.chain(self.timeouts.each()).for_each(|span| to.number(span.as_millis() as u64));
        to.number(u64::from(self.jitter_percent) << 16 | u64::from(self.max_attempts));
        to.number(self.failing as u64);
        to.maybe(self.delay_notice.map(|span| span.as_millis() as u64));
    }
}

/// Takes an address and port into a hash.
pub fn feed_socket(at: SocketAddr, to: &mut Hasher64) {
    feed_ip(at.ip(), to);
    to.number(at.port().into());
}

/// Takes an address into a hash.
pub fn feed_ip(ip: std::net::IpAddr, to: &mut Hasher64) {
    let bits = match ip {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        std::net::IpAddr::V6(ip) => ip.to_bits(),
    };
    to.number((bits >> 64) as u64);
    to.number(bits as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(pattern: &str) -> Way {
        Way { pattern: pattern.into(), ..Way::default() }
    }

    #[test]
    fn the_first_route_that_takes_an_address_wins() {
        let routes = vec![way("a@one.example"), way("one.example"), way("*.two.example")];
        let rules = Rules { routes, ..Rules::default() };
        let name = |address| &*rules.way(address).pattern;
        assert_eq!(name("a@ONE.example"), "a@one.example");
        assert_eq!(name("A@one.example"), "one.example");
        assert_eq!(name("a@x.y.Two.example"), "*.two.example");
        assert_eq!(name("a@two.example"), "default");
        assert_eq!(name("a@nottwo.example"), "default");
        let all = Rules { routes: vec![way("*")], ..Rules::default() };
        assert_eq!(&*all.way("a@b.example").pattern, "*");
    }

    #[test]
    fn the_shortest_wait_follows_the_list_less_the_jitter() {
        let seconds = Duration::from_secs;
        let way =
            Way { retry: vec![seconds(100), seconds(200)], jitter_percent: 10, ..Way::default() };
        let waits: Vec<_> = [1, 2, 3, 9].map(|made| way.wait_min(made).as_secs()).into();
        assert_eq!(waits, [90, 180, 180, 180]);
    }

    #[test]
    fn every_fact_counts_in_the_hash() {
        let of = |rules: &Rules| {
            let mut hasher = Hasher64::new();
            rules.feed(&mut hasher);
            hasher.finish()
        };
        let plain = Rules::default();
        let mut other = plain.clone();
        other.default.rate = Some((0, Duration::ZERO));
        assert_ne!(of(&plain), of(&other));
        let mut other = plain.clone();
        other.default.timeouts.dot += Duration::from_millis(1);
        assert_ne!(of(&plain), of(&other));
        assert_eq!(of(&plain), of(&plain.clone()));
    }
}
