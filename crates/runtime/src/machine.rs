//! What the machine says about itself: its name, its addresses, its name
//! servers. Read at the start and when the configuration is read again.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use mail::Domain;

/// Where the machine's resolver is configured.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The machine's name as a mail domain; `localhost.localdomain` where it has
/// none that could be one.
pub fn host_name() -> Domain {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let name = name.trim_end_matches('.');
    Domain::parse(name)
        .or_else(|_| Domain::parse("localhost.localdomain"))
        .expect("a constant name that is valid")
}

/// User and process id of this program.
pub(crate) fn own_ids() -> (u32, i32) {
    (rustix::process::getuid().as_raw(), rustix::process::getpid().as_raw_nonzero().get())
}

/// Addresses of the machine's interfaces; empty when they cannot be read.
pub fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Whether the machine does not have this address now. Asks the kernel, which
/// also has whole networks as its own.
pub fn lacks(address: SocketAddr) -> bool {
    let mut any_port = address;
    any_port.set_port(0);
    let bound = UdpSocket::bind(any_port);
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// The machine's name servers; the local one where none is configured.
pub fn name_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    dns::servers_from_resolv_conf(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows: S0.7
    #[test]
    fn every_machine_has_a_name_loopback_and_a_name_server() {
        assert!(!host_name().as_str().is_empty());
        assert!(own_addresses().iter().any(IpAddr::is_loopback));
        assert!(!name_servers().is_empty());
    }
    #[test]
    fn addresses_of_others_are_lacked_and_those_that_stand_for_all_are_not() {
        for (address, lacked) in [
            ("127.0.0.1:25", false),
            ("127.9.8.7:25", false),
            ("0.0.0.0:25", false),
            ("192.0.2.1:25", true),
            ("198.51.100.1:0", true),
            ("[2001:db8::1]:25", true),
        ] {
            assert_eq!(lacks(address.parse().unwrap()), lacked, "{address}");
        }
    }
}
