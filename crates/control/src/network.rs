//! Blocks of IP addresses (`192.0.2.0/24`, `::1/128`, or one address), for
//! relay rights and for targets permitted although forbidden by default.
//!
//! An IPv4 address that arrives in its IPv6-mapped form counts as IPv4, so
//! that a listener on `[::]` cannot be used to slip past an IPv4 rule.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A block of addresses. No bit is set behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// What is wrong with a written block, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// Neither an address nor address and prefix length.
    #[error("is not a network; write an address and a prefix length, such as \"192.0.2.0/24\"")]
    PolicyNotANetwork,
    /// Prefix longer than the address.
    #[error("has a prefix length above {0}")]
    PolicyPrefixTooLong(u8),
    /// Bits set behind the prefix.
    #[error("has bits set behind the prefix; the network is {0}")]
    PolicyHostBits(Network),
}

impl Network {
    /// Whether `address` lies in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        mask(address.to_canonical(), self.prefix) == Some(self.address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address =
            address.parse::<IpAddr>().map_err(|_| NetworkError::PolicyNotANetwork)?.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(NetworkError::PolicyNotANetwork);
            }
            Some(digits) => digits.parse().map_err(|_| NetworkError::PolicyPrefixTooLong(bits))?,
        };
        let masked = mask(address, prefix).ok_or(NetworkError::PolicyPrefixTooLong(bits))?;
        let network = Self { address: masked, prefix };
        if masked != address {
            return Err(NetworkError::PolicyHostBits(network));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The address with every bit behind the prefix cleared; `None` when the
/// prefix is longer than the address.
fn mask(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let host_bits = 32u32.checked_sub(u32::from(prefix))?;
            let kept = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & kept)))
        }
        IpAddr::V6(v6) => {
            let host_bits = 128u32.checked_sub(u32::from(prefix))?;
            let kept = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & kept)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_what_shares_their_prefix() {
        for (network, inside, outside) in [
            ("127.0.0.0/8", "127.255.0.1", "128.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
            ("::1/128", "::1", "::2"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
    }

    #[test]
    fn wrong_blocks_are_refused_with_a_reason() {
        use NetworkError::*;
        for (text, error) in [
            ("", PolicyNotANetwork),
            ("localhost", PolicyNotANetwork),
            ("192.0.2.0/", PolicyNotANetwork),
            ("192.0.2.0/+8", PolicyNotANetwork),
            ("192.0.2.0/33", PolicyPrefixTooLong(32)),
            ("192.0.2.0/256", PolicyPrefixTooLong(32)),
            ("::/129", PolicyPrefixTooLong(128)),
            ("192.0.2.1/24", PolicyHostBits("192.0.2.0/24".parse().unwrap())),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }
}
