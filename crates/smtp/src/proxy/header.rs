//! The header of the PROXY protocol, version 2, as a server behind a proxy reads
//! it: who the client is.
//!
//! Never here: whom to believe. Invariant: no more than [`HEADER_BYTES_MAX`]
//! octets are waited for, and none behind the header are touched.
//!
//! Read first: HAProxy's `proxy-protocol.txt`, section 2.2.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Octets of the longest header that is read, with what proxies add behind the
/// addresses.
pub const HEADER_BYTES_MAX: usize = 4_096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version with command, family, length.
const FIXED: usize = 16;

/// What the first octets of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Not whole yet.
    Partial,
    /// A header of so many octets.
    Whole {
        /// Octets that belong to it.
        bytes: usize,
        /// The client; none when the proxy speaks for itself.
        client: Option<SocketAddr>,
    },
    /// None, or one of a kind that is not served.
    Broken,
}

impl Header {
    /// Reads what a connection began with.
    pub fn read(begin: &[u8]) -> Self {
        let same = begin.iter().zip(SIGNATURE).all(|(byte, expected)| byte == expected);
        if !same {
            return Self::Broken;
        }
        let Some(fixed) = begin.get(..FIXED) else { return Self::Partial };
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if fixed[12] >> 4 != 2 || FIXED + length > HEADER_BYTES_MAX {
            return Self::Broken;
        }
        let Some(rest) = begin[FIXED..].get(..length) else { return Self::Partial };
        let client = match (fixed[12] & 0xf, fixed[13]) {
            // LOCAL, or a client of which nothing is known.
            (0, _) | (1, 0) => None,
            (1, 0x11) => match ipv4(rest) {
                Some(client) => Some(client),
                None => return Self::Broken,
            },
            (1, 0x21) => match ipv6(rest) {
                Some(client) => Some(client),
                None => return Self::Broken,
            },
            _ => return Self::Broken,
        };
        Self::Whole { bytes: FIXED + length, client }
    }
}

/// Source and destination address, then their ports.
fn ipv4(rest: &[u8]) -> Option<SocketAddr> {
    let addresses = rest.get(..12)?;
    let ip: [u8; 4] = addresses[..4].try_into().ok()?;
    let port = u16::from_be_bytes([addresses[8], addresses[9]]);
    Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port))
}

fn ipv6(rest: &[u8]) -> Option<SocketAddr> {
    let addresses = rest.get(..36)?;
    let ip: [u8; 16] = addresses[..16].try_into().ok()?;
    let port = u16::from_be_bytes([addresses[32], addresses[33]]);
    Some(SocketAddr::new(Ipv6Addr::from(ip).into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::proxy_header;

    fn header(client: &str, to: &str) -> Vec<u8> {
        proxy_header(client.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    /// Shows: A57
    #[test]
    fn clients_of_both_families_are_known_by_any_piece_of_it() {
        for (client, to) in [("192.0.2.7", "198.51.100.1:25"), ("2001:db8::7", "[2001:db8::1]:25")]
        {
            let mut bytes = header(client, to);
            let whole = bytes.len();
            for cut in 0..whole {
                assert_eq!(Header::read(&bytes[..cut]), Header::Partial, "{client} {cut}");
            }
            bytes.extend_from_slice(b"EHLO");
            let client = Some(SocketAddr::new(client.parse().unwrap(), 0));
            assert_eq!(Header::read(&bytes), Header::Whole { bytes: whole, client });
        }
        // What stands behind the addresses is not looked at.
        let mut bytes = header("192.0.2.7", "198.51.100.1:25");
        bytes[15] += 3;
        bytes.extend_from_slice(b"abc");
        assert!(matches!(Header::read(&bytes), Header::Whole { bytes: 31, client: Some(_) }));
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        for (command, family) in [(0x20, 0), (0x20, 0x11), (0x21, 0)] {
            let mut bytes = header("192.0.2.7", "198.51.100.1:25");
            (bytes[12], bytes[13]) = (command, family);
            assert_eq!(Header::read(&bytes), Header::Whole { bytes: 28, client: None });
        }
    }

    #[test]
    fn what_is_none_is_broken_at_once_and_length_has_a_bound() {
        assert_eq!(Header::read(b"EHLO client"), Header::Broken);
        assert_eq!(Header::read(b"PROXY TCP4 "), Header::Broken);
        let good = header("192.0.2.7", "198.51.100.1:25");
        for (place, byte) in
            [(0, 0), (11, 0), (12, 0x11), (12, 0x22), (13, 0x12), (13, 0x31), (13, 0x21), (15, 11)]
        {
            let mut bytes = good.clone();
            bytes[place] = byte;
            bytes.truncate(16 + usize::from(bytes[15]));
            assert_eq!(Header::read(&bytes), Header::Broken, "{place} {byte:#x}");
        }
        for (length, expected) in
            [(HEADER_BYTES_MAX - 16, Header::Partial), (HEADER_BYTES_MAX - 15, Header::Broken)]
        {
            let mut bytes = good.clone();
            bytes[14..16].copy_from_slice(&(length as u16).to_be_bytes());
            assert_eq!(Header::read(&bytes), expected, "{length}");
        }
    }
}
