//! Zones as data: names with their records, or with the way they fail.
//!
//! Never checks that the data makes sense: senseless zones are what some tests
//! are about.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What happens to questions about a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// They are answered.
    #[default]
    Answered,
    /// Answered with SERVFAIL.
    ServFail,
    /// Answered with REFUSED.
    Refused,
    /// Never answered.
    Silent,
    /// Never answered over TCP; over UDP the answer is cut short.
    SilentOverTcp,
    /// Answered after this time.
    Late(Duration),
    /// Over UDP the answer is empty with TC set, whatever its size.
    Truncated,
    /// Answered with bytes that are not DNS.
    Garbage,
    /// Answered under another id, as a forger would.
    WrongId,
}

/// The records of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Preference and exchanger; an exchanger of `"."` with preference 0 and
    /// alone is a null MX (RFC 7505 §3).
    pub mx: Vec<(u16, String)>,
    /// Addresses.
    pub a: Vec<Ipv4Addr>,
    /// Addresses.
    pub aaaa: Vec<Ipv6Addr>,
    /// The name this one is an alias of.
    pub cname: Option<String>,
    /// What happens to questions about this name.
    pub fate: Fate,
}

/// Everything a server knows. Names are written without the last dot; their
/// case does not matter.
#[derive(Clone, Debug)]
pub struct Zones {
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) ttl: u32,
    pub(super) negative_ttl: u32,
}

impl Default for Zones {
    fn default() -> Self {
        Self::new()
    }
}

impl Zones {
    /// Nothing, with TTLs of 300 and 60 seconds.
    pub fn new() -> Self {
        Self { nodes: BTreeMap::new(), ttl: 300, negative_ttl: 60 }
    }

    /// TTL of records, and of answers that there is none, in seconds.
    pub fn ttl(mut self, ttl: u32, negative_ttl: u32) -> Self {
        (self.ttl, self.negative_ttl) = (ttl, negative_ttl);
        self
    }

    /// The node of `name`, made when it is not there.
    pub fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.entry(canonical(name)).or_default()
    }

    /// Adds an exchanger to `name`.
    pub fn mx(&mut self, name: &str, preference: u16, exchanger: &str) -> &mut Self {
        self.node(name).mx.push((preference, exchanger.to_owned()));
        self
    }

    /// Says that `name` takes no mail (RFC 7505 §3).
    pub fn null_mx(&mut self, name: &str) -> &mut Self {
        self.mx(name, 0, ".")
    }

    /// Adds an address to `name`.
    pub fn address(&mut self, name: &str, address: impl Into<IpAddr>) -> &mut Self {
        let node = self.node(name);
        match address.into() {
            IpAddr::V4(address) => node.a.push(address),
            IpAddr::V6(address) => node.aaaa.push(address),
        }
        self
    }

    /// Makes `name` an alias of `target`.
    pub fn alias(&mut self, name: &str, target: &str) -> &mut Self {
        self.node(name).cname = Some(target.to_owned());
        self
    }

    /// Says how questions about `name` end.
    pub fn fate(&mut self, name: &str, fate: Fate) -> &mut Self {
        self.node(name).fate = fate;
        self
    }

    /// Whether `name` is there, if only because something stands below it.
    pub(crate) fn exists(&self, name: &str) -> bool {
        let below = format!(".{name}");
        self.nodes.contains_key(name) || self.nodes.keys().any(|other| other.ends_with(&below))
    }
}

/// Lower case, without the last dot.
pub(super) fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
