//! Which machines may be loaded at all: this one, networks set aside for tests
//! and documentation, and what the caller names as its own test network.
//!
//! Never looks anything up. A load tool that can be pointed at anybody is a
//! weapon, so there is no switch that lifts this; a network that is named must
//! be small enough to be somebody's laboratory.
//!
//! RFCs to read first: RFC 2544, RFC 5737, RFC 3849, RFC 5180.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Networks that may always be loaded: loopback, RFC 5737 (192.0.2.0/24 and
/// the like), RFC 2544 (198.18.0.0/15), RFC 3849 and RFC 5180 for IPv6.
pub const ALWAYS: [&str; 8] = [
    "127.0.0.0/8",
    "::1/128",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "198.18.0.0/15",
    "2001:db8::/32",
    "2001:2::/48",
];

/// Shortest prefix of a network that a caller may name, IPv4 and IPv6.
const PREFIX_MIN: (u8, u8) = (16, 48);

/// A network in prefix notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// The networks that a run may load.
#[derive(Clone, Debug)]
pub struct Allowed(Vec<Network>);

impl Allowed {
    /// [`ALWAYS`] and the `named` ones.
    ///
    /// # Errors
    /// A named network is wider than a /16, or a /48 in IPv6.
    pub fn with(named: &[Network]) -> Result<Self, String> {
        for network in named {
            let least = if network.base.is_ipv4() { PREFIX_MIN.0 } else { PREFIX_MIN.1 };
            if network.prefix < least {
                return Err(format!(
                    "{network} is too wide for a test network: at most a /{least}"
                ));
            }
        }
        let always = ALWAYS.map(|text| text.parse().expect("the table holds networks"));
        Ok(Self(always.into_iter().chain(named.iter().copied()).collect()))
    }

    /// Whether `address` may be loaded.
    ///
    /// # Errors
    /// It may not; the sentence says what may.
    pub fn check(&self, address: IpAddr) -> Result<(), String> {
        let plain = address.to_canonical();
        if self.0.iter().any(|network| network.holds(plain)) {
            return Ok(());
        }
        Err(format!(
            "{address} is neither loopback nor a test network, and other people's machines are \
             not load tested; if it is your own laboratory, name its network with --test-network"
        ))
    }
}

impl Network {
    /// Whether `address` lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.base, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (u128::from(a.to_bits()), u128::from(b.to_bits()), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let host_bits = width - u32::from(self.prefix);
        host_bits == 128 || ours >> host_bits == theirs >> host_bits
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no network such as 10.1.2.0/24");
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(width);
        if prefix > width { Err(wrong()) } else { Ok(Self { base, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(named: &[&str]) -> Result<Allowed, String> {
        let named: Vec<Network> = named.iter().map(|text| text.parse().unwrap()).collect();
        Allowed::with(&named)
    }

    #[test]
    fn only_loopback_and_test_networks_may_be_loaded() {
        let only = allowed(&[]).unwrap();
        for fine in ["127.9.9.9", "::1", "192.0.2.7", "198.19.255.1", "2001:db8::9"] {
            assert_eq!(only.check(fine.parse().unwrap()), Ok(()), "{fine}");
        }
        for other in ["10.0.0.1", "192.168.1.1", "198.20.0.1", "9.9.9.9", "2001:3::1", "::2"] {
            let refused = only.check(other.parse().unwrap()).unwrap_err();
            assert!(refused.contains("--test-network"), "{refused}");
        }
    }

    #[test]
    fn a_mapped_address_is_judged_by_what_it_stands_for() {
        let only = allowed(&[]).unwrap();
        assert!(only.check("::ffff:127.0.0.1".parse().unwrap()).is_ok());
        assert!(only.check("::ffff:9.9.9.9".parse().unwrap()).is_err());
    }

    #[test]
    fn a_named_network_is_allowed_up_to_its_width() {
        let lab = allowed(&["10.1.2.0/24", "fd00:1::/64"]).unwrap();
        assert!(lab.check("10.1.2.200".parse().unwrap()).is_ok());
        assert!(lab.check("fd00:1::5".parse().unwrap()).is_ok());
        assert!(lab.check("10.1.3.1".parse().unwrap()).is_err());
        assert!(allowed(&["10.0.0.0/16"]).is_ok());
        assert!(allowed(&["10.0.0.0/15"]).unwrap_err().contains("too wide"));
        assert!(allowed(&["0.0.0.0/0"]).is_err());
        assert!(allowed(&["fd00::/47"]).is_err());
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        assert!("lab".parse::<Network>().is_err());
    }
}
