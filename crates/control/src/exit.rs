//! Ways out: own addresses to leave from, each with the name it greets with,
//! and pools of them with weights.
//!
//! Values and a pure choice. The choice is by message, so that all of a
//! message leaves by one source and comes back by the same one at each attempt,
//! also after a restart: receivers that greylist know it again.
//!
//! Never here: whether an address is there. Who tries finds that out, and says
//! at the next choice which sources are usable.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::Rng;
use base::secret::Secret;
use mail::Domain;

use crate::units::Rate;
use crate::uplink::OnDemand;

/// `[[source]]`: one way out.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name, unique among sources and pools.
    pub name: Box<str>,
    /// Own addresses, at most one of each family. A family without one is not
    /// dialled; none at all leaves both to the machine's choice.
    pub addresses: Box<[IpAddr]>,
    /// The name said in EHLO; none: the machine's.
    pub hostname: Option<Domain>,
    /// Connections from here to one site, summed over all shards. With this or
    /// `rate`, both are counted apart from those of other sources; the one that
    /// is not set is the way's.
    pub connections: Option<u32>,
    /// Messages from here to one site.
    pub rate: Option<Rate>,
    /// What its connections go through.
    pub proxy: Option<Proxy>,
    /// The link that must be raised before anything leaves from here; it has
    /// the source's name.
    pub on_demand: Option<Arc<OnDemand>>,
}

/// What the connections of a source go through.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// Where it listens.
    pub server: SocketAddr,
}

/// How a proxy is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub enum ProxyKind {
    /// SOCKS5 (RFC 1928), as nobody or by a log-in. The proxy's own address is
    /// what receivers see: the source has none.
    Socks5(Option<ProxyLogIn>),
    /// The PROXY protocol, version 2: the proxy is told the source's address,
    /// which is one of its own.
    Haproxy,
}

/// A log-in at a SOCKS5 server (RFC 1929).
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyLogIn {
    /// The name; 1 to 255 octets.
    pub user: Box<str>,
    /// The file that holds the password.
    pub file: Box<str>,
    /// The password; 1 to 255 octets.
    pub secret: Secret,
}

/// `[[pool]]`: sources among which messages are spread. A way that names a
/// source has a pool of that one.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: Box<str>,
    /// Sources and their weights, each at least 1; 1 to [`POOL_SOURCES_MAX`].
    pub members: Box<[(Arc<Source>, u32)]>,
}

/// All sources and pools of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exits {
    /// The sources, in the order of the file; at most [`SOURCES_MAX`].
    pub sources: Vec<Arc<Source>>,
    /// The pools, in the order of the file; at most [`SOURCES_MAX`].
    pub pools: Vec<Arc<Pool>>,
}

/// How something leaves on a way: from which of its sources, and by which of
/// its senders' log-ins. Means nothing on another way or in another policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Exit {
    /// Place in the way's pool, from 1; 0 where the way has none.
    source: u16,
    /// Place among the way's log-ins by sender, from 1; 0 where the sender has
    /// none.
    log_in: u16,
    /// Outside the way's windows too: an operator said so.
    hurried: bool,
}

/// The bit of a hurried exit: no list of log-ins is so long.
const HURRIED: u32 = 1 << 31;
const _: () = assert!(crate::log_in::SENDERS_MAX < 1 << 15);

/// Most sources, and most pools.
pub const SOURCES_MAX: usize = 4_096;
/// Most sources of one pool.
pub const POOL_SOURCES_MAX: usize = 1_024;
/// Largest weight.
pub const WEIGHT_MAX: u32 = 1_000;
/// Longest name of a source or pool, in octets.
pub const NAME_BYTES_MAX: usize = 64;

impl Exits {
    /// The pool of this name, or a pool of the one source of this name.
    pub fn find(&self, name: &str) -> Option<Arc<Pool>> {
        if let Some(pool) = self.pools.iter().find(|pool| &*pool.name == name) {
            return Some(pool.clone());
        }
        let source = self.source(name)?;
        Some(Arc::new(Pool { name: name.into(), members: [(source.clone(), 1)].into() }))
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.iter().find(|source| &*source.name == name)
    }

    /// Names of all sources and pools.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let sources = self.sources.iter().map(|source| &*source.name);
        sources.chain(self.pools.iter().map(|pool| &*pool.name))
    }
}

impl Source {
    /// A source of which only the name is known.
    pub fn new(name: &str) -> Self {
        let addresses = Box::default();
        Self {
            name: name.into(),
            addresses,
            hostname: None,
            connections: None,
            rate: None,
            proxy: None,
            on_demand: None,
        }
    }

    /// The own address for a connection to `to`; `None` leaves it to the
    /// machine.
    pub fn address_for(&self, to: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == to.is_ipv4())
    }

    /// Whether a connection to `to` may leave from here: by an address of that
    /// family, or by any at all.
    pub fn reaches(&self, to: IpAddr) -> bool {
        self.addresses.is_empty() || self.address_for(to).is_some()
    }

    /// Whether its connections and messages are counted apart.
    pub fn own_limits(&self) -> bool {
        self.connections.is_some() || self.rate.is_some()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            ProxyKind::Socks5(_) => "socks5",
            ProxyKind::Haproxy => "haproxy",
        };
        write!(f, "{kind} {}", self.server)
    }
}

impl Pool {
    /// The place, from 0, of the source for what `seed` stands for: by weight
    /// among all of them, and if that one is not usable, by weight among those
    /// that are. So a source that fails moves its own mail only. With none
    /// usable it is the one that would have been chosen first.
    pub fn choose(&self, seed: u64, usable: impl Fn(&Source) -> bool) -> usize {
        let mut rng = Rng::new(seed);
        let first = self.draw(&mut rng, |_| true).expect("a pool has a source, and weights");
        if usable(&self.members[first].0) {
            return first;
        }
        self.draw(&mut rng, usable).unwrap_or(first)
    }

    fn draw(&self, rng: &mut Rng, wanted: impl Fn(&Source) -> bool) -> Option<usize> {
        let members = || self.members.iter().enumerate().filter(|(_, (source, _))| wanted(source));
        let whole: u64 = members().map(|(_, (_, weight))| u64::from(*weight)).sum();
        if whole == 0 {
            return None;
        }
        let mut point = rng.below(whole);
        for (place, (_, weight)) in members() {
            let weight = u64::from(*weight);
            if point < weight {
                return Some(place);
            }
            point -= weight;
        }
        unreachable!("the point lies within the sum of the weights")
    }
}

impl Exit {
    /// The exit by the source and the log-in at these places of the way's pool
    /// and of its log-ins by sender.
    pub fn new(source: Option<usize>, log_in: Option<usize>) -> Self {
        let number = |place: Option<usize>| {
            place.map_or(0, |place| u16::try_from(place + 1).expect("both lists are bounded"))
        };
        Self { source: number(source), log_in: number(log_in), hurried: false }
    }

    /// The exit by the source at `place` of the way's pool.
    pub fn by_source(place: usize) -> Self {
        Self::new(Some(place), None)
    }

    /// The same, inside and outside the way's windows; or inside them only.
    pub fn hurried(self, hurried: bool) -> Self {
        Self { hurried, ..self }
    }

    /// Whether it is used outside the way's windows too.
    pub fn is_hurried(self) -> bool {
        self.hurried
    }

    /// As one number.
    pub fn to_bits(self) -> u32 {
        let hurried = if self.hurried { HURRIED } else { 0 };
        hurried | u32::from(self.log_in) << 16 | u32::from(self.source)
    }

    /// The inverse of [`Exit::to_bits`].
    pub fn from_bits(bits: u32) -> Self {
        let hurried = bits & HURRIED != 0;
        Self { source: bits as u16, log_in: ((bits & !HURRIED) >> 16) as u16, hurried }
    }

    /// Place in the way's pool.
    pub(crate) fn source(self) -> Option<usize> {
        usize::from(self.source).checked_sub(1)
    }

    /// Place among the way's log-ins by sender.
    pub(crate) fn log_in(self) -> Option<usize> {
        usize::from(self.log_in).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_in::SENDERS_MAX;

    fn pool(weights: &[u32]) -> Pool {
        let member =
            |(n, weight): (usize, &u32)| (Arc::new(Source::new(&format!("s{n}"))), *weight);
        Pool { name: "pool".into(), members: weights.iter().enumerate().map(member).collect() }
    }

    fn shares(pool: &Pool, usable: impl Fn(&Source) -> bool) -> Vec<u32> {
        let mut count = vec![0; pool.members.len()];
        for message in 0..10_000u64 {
            count[pool.choose(message, &usable)] += 1;
        }
        count
    }

    /// Shows: A12
    #[test]
    fn weights_of_three_to_one_give_three_quarters() {
        let count = shares(&pool(&[3, 1]), |_| true);
        assert!((7_300..=7_700).contains(&count[0]), "{count:?}");
        assert_eq!(count[0] + count[1], 10_000);
    }

    /// Shows: A15
    #[test]
    fn a_source_that_is_not_usable_moves_its_own_mail_only() {
        let pool = pool(&[2, 1, 1]);
        for message in 0..1_000 {
            let before = pool.choose(message, |_| true);
            let after = pool.choose(message, |source| &*source.name != "s0");
            assert_ne!(after, 0);
            assert!(before == 0 || before == after, "{message}: {before} {after}");
        }
        let count = shares(&pool, |source| &*source.name != "s0");
        assert!((4_800..=5_200).contains(&count[1]), "{count:?}");
        assert_eq!(pool.choose(7, |_| false), pool.choose(7, |_| true), "better than none");
    }

    #[test]
    fn a_family_without_an_own_address_is_not_reached() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut source = Source::new("a");
        assert!(source.reaches(ip("2001:db8::1")));
        assert_eq!(source.address_for(ip("192.0.2.1")), None);
        source.addresses = [ip("192.0.2.9")].into();
        assert!(!source.reaches(ip("2001:db8::1")));
        assert_eq!(source.address_for(ip("192.0.2.1")), Some(ip("192.0.2.9")));
    }

    #[test]
    fn an_exit_survives_as_a_number() {
        let both = Exit::new(Some(POOL_SOURCES_MAX - 1), Some(SENDERS_MAX - 1));
        for exit in [Exit::default(), Exit::by_source(0), Exit::new(None, Some(0)), both] {
            for exit in [exit, exit.hurried(true)] {
                assert_eq!(Exit::from_bits(exit.to_bits()), exit);
            }
        }
        assert_eq!((both.source(), both.log_in()), (Some(1_023), Some(9_999)));
        assert_eq!(Exit::default().source(), None);
    }
}
