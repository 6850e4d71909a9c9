//! Addresses that a stranger's MX record must not make us dial: our own
//! machine, our own network, and what is no host at all.
//!
//! Never here: which networks an operator permits (the caller knows). The check
//! is on the address that is dialled, after resolution, so that no second
//! look-up can slip another one in.
//!
//! Read first: RFC 6890, RFC 4291 §2.5.5, RFC 3056 §2, RFC 6052 §2.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why `ip` must not be dialled on a stranger's word, if so. An IPv6 address
/// that carries an IPv4 one counts as that. `permitted` is asked about either
/// form and outweighs everything, `own` (our addresses) included.
pub fn forbidden(
    ip: IpAddr,
    own: &[IpAddr],
    permitted: impl Fn(IpAddr) -> bool,
) -> Option<&'static str> {
    let meant = innermost(ip);
    if permitted(ip) || (meant != ip && permitted(meant)) {
        return None;
    }
    if own.iter().any(|ours| innermost(*ours) == meant) {
        return Some("one of our own addresses");
    }
    match meant {
        IpAddr::V4(ip) => forbidden_ipv4(ip),
        IpAddr::V6(ip) => forbidden_ipv6(ip),
    }
}

fn forbidden_ipv4(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, ..] = ip.octets();
    match a {
        0 => Some("an unspecified address"),
        127 => Some("a loopback address"),
        100 if b & 0xc0 == 64 => Some("a carrier-grade NAT address"),
        _ if ip.is_private() => Some("a private address"),
        _ if ip.is_link_local() => Some("a link-local address"),
        _ if ip.is_multicast() => Some("a multicast address"),
        _ if ip.is_broadcast() => Some("a broadcast address"),
        240.. => Some("a reserved address"),
        _ => None,
    }
}

fn forbidden_ipv6(ip: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, ..] = ip.segments();
    match a {
        _ if ip.is_unspecified() => Some("an unspecified address"),
        _ if ip.is_loopback() => Some("a loopback address"),
        0xfc00..=0xfdff => Some("a unique-local address"),
        0xfe80..=0xfebf => Some("a link-local address"),
        0xfec0..=0xfeff => Some("a site-local address"),
        0xff00.. => Some("a multicast address"),
        // Which octets hold the IPv4 address is known to that network only.
        0x0064 if (b, c) == (0xff9b, 1) => Some("an address of a local translator"),
        0x2001 if b == 0 => Some("a Teredo address"),
        _ => None,
    }
}

/// The IPv4 address inside an IPv4-mapped, IPv4-compatible, 6to4 or NAT64
/// address; any other address itself.
fn innermost(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let octets = v6.octets();
    let last = || Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]).into();
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] => last(),
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => ip,
        [0, 0, 0, 0, 0, 0, ..] => last(),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => last(),
        [0x2002, ..] => Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5]).into(),
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Option<&'static str> {
        let own = ["198.51.100.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        forbidden(text.parse().unwrap(), &own, |_| false)
    }

    /// Covers: A2.30, B79
    #[test]
    fn every_inner_network_is_forbidden_to_its_edges() {
        for text in [
            "0.0.0.0",
            "0.255.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "169.254.0.0",
            "169.254.169.254",
            "100.64.0.0",
            "100.127.255.255",
            "224.0.0.0",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b:1::a00:1",
            "2001:0:1::1",
            "198.51.100.7",
            "2001:db8::7",
        ] {
            assert!(judge(text).is_some(), "{text}");
        }
    }

    /// Covers: A2.30
    #[test]
    fn the_public_neighbours_of_each_are_free() {
        for text in [
            "1.0.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "223.255.255.255",
            "192.0.2.1",
            "198.51.100.8",
            "2001:db8::8",
            "2606:4700::1",
            "fbff::1",
            "2003::1",
            "2001:1::1",
        ] {
            assert_eq!(judge(text), None, "{text}");
        }
    }

    /// Covers: A2.30, B79
    #[test]
    fn an_ipv4_address_in_disguise_counts_as_itself() {
        for (text, reason) in [
            ("::ffff:127.0.0.1", Some("a loopback address")),
            ("::ffff:10.1.2.3", Some("a private address")),
            ("::127.0.0.1", Some("a loopback address")),
            ("64:ff9b::192.168.1.1", Some("a private address")),
            ("2002:7f00:1::1", Some("a loopback address")),
            ("2002:a9fe:a9fe::1", Some("a link-local address")),
            ("::ffff:198.51.100.7", Some("one of our own addresses")),
            ("::ffff:192.0.2.1", None),
            ("64:ff9b::192.0.2.1", None),
            ("2002:c000:201::1", None),
        ] {
            assert_eq!(judge(text), reason, "{text}");
        }
    }

    /// Covers: A2.30
    #[test]
    fn what_is_permitted_is_free_in_every_disguise() {
        let permitted = |ip: IpAddr| ip == IpAddr::from([127, 0, 0, 2]);
        for text in ["127.0.0.2", "::ffff:127.0.0.2", "2002:7f00:2::"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(forbidden(ip, &[ip], permitted), None, "{text}");
        }
        assert!(forbidden([127, 0, 0, 3].into(), &[], permitted).is_some());
    }
}
