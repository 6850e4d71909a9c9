//! The machine's own list of name servers, out of the text of its
//! `resolv.conf`.
//!
//! Never here: reading the file (the runtime does), search lists (mail domains
//! are complete as they stand).
//!
//! Read first: the manual page resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// The name servers in the order of the file, with port 53. Lines that cannot
/// be read are passed over; a text that names no server means the one on this
/// machine, as everywhere. A zone index after `%` must be a number.
pub fn servers_from_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        if let Some(server) = words.next().and_then(server)
            && !servers.contains(&server)
        {
            servers.push(server);
        }
    }
    if servers.is_empty() {
        servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DNS_PORT));
    }
    servers
}

fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(ip) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, DNS_PORT));
    }
    let zoned: SocketAddrV6 = format!("[{word}]:{DNS_PORT}").parse().ok()?;
    Some(SocketAddr::V6(zoned))
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_order_and_nonsense_is_passed_over() {
        let text = "# nameserver 192.0.2.9\n; x\nsearch example.com\nnameserver 192.0.2.1\n\
                    nameserver\t2001:db8::1  # second\r\nnameserver fe80::1%2\nnameserver bogus\n\
                    nameserver\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\noptions edns0\n";
        let expected: Vec<SocketAddr> = ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53"]
            .map(|s| s.parse().unwrap())
            .into();
        assert_eq!(servers_from_resolv_conf(text), expected);
    }

    #[test]
    fn no_server_named_means_this_machine() {
        let here: Vec<SocketAddr> = vec!["127.0.0.1:53".parse().unwrap()];
        assert_eq!(servers_from_resolv_conf(""), here);
        assert_eq!(servers_from_resolv_conf("nameserver \u{fffd}\0\n"), here);
    }
}
