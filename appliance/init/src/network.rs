//! `network.conf`, the appliance's own addresses: lines of `key = value`.
//!
//! Without the file, or without an address in it, every wired port asks DHCP;
//! with a VLAN and no address only that VLAN does. Never guesses: an unknown key
//! or a value that does not parse refuses the whole file, with its line, and
//! then DHCP stands in.
//!
//! ```text
//! hostname   = mail.example.com
//! interface  = 52:54:00:12:34:56      # or a name such as eth0; without it the first port
//! vlan       = 100                    # the addresses are on this VLAN of the port
//! address    = 192.0.2.10/24          # may stand several times, IPv6 too
//! gateway    = 192.0.2.1
//! nameserver = 192.0.2.53
//! timeserver = 192.0.2.123             # or with its port
//! ```

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Lines of the file that are read.
pub const LINES_MAX: usize = 1_000;
/// Octets of the file that are read.
pub const BYTES_MAX: usize = 64 << 10;
/// Numbers of VLANs that a frame can carry and that mean one.
const VLANS: std::ops::RangeInclusive<u16> = 1..=4_094;
/// The port of time servers.
const NTP: u16 = 123;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The machine's name.
    pub hostname: Option<String>,
    /// The port that has the addresses, by hardware address or name.
    pub interface: Option<String>,
    /// The VLAN of that port on which the addresses are, 1 to 4094; none is
    /// the port itself.
    pub vlan: Option<u16>,
    /// Own addresses, with the bits of their networks; none is DHCP.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Ways out, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Name servers, before those that DHCP tells of.
    pub name_servers: Vec<IpAddr>,
    /// Time servers, before those that DHCP tells of.
    pub time_servers: Vec<SocketAddr>,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

impl Network {
    /// Reads the file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let mut network = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let said = line.split('#').next().unwrap_or_default().trim();
            if number > LINES_MAX {
                return Err(Refused { line: number, why: format!("more than {LINES_MAX} lines") });
            }
            if !said.is_empty() {
                network.take(said).map_err(|why| Refused { line: number, why })?;
            }
        }
        match network.unreachable() {
            Some(why) => Err(Refused { line: text.lines().count(), why }),
            None => Ok(network),
        }
    }

    fn take(&mut self, said: &str) -> Result<(), String> {
        let (key, value) = said.split_once('=').ok_or("not of the form key = value")?;
        let value = value.trim();
        match key.trim() {
            "hostname" => once(&mut self.hostname, host_name(value)?, "hostname"),
            "interface" => once(&mut self.interface, value.to_lowercase(), "interface"),
            "vlan" => once(&mut self.vlan, vlan(value)?, "vlan"),
            "address" => {
                self.addresses.push(with_prefix(value)?);
                Ok(())
            }
            "gateway" => {
                let gateway = address(value)?;
                if self.gateways.iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
                    return Err("a second gateway of its family".to_owned());
                }
                self.gateways.push(gateway);
                Ok(())
            }
            "nameserver" => {
                self.name_servers.push(address(value)?);
                Ok(())
            }
            "timeserver" => {
                self.time_servers.push(time_server(value)?);
                Ok(())
            }
            other => Err(format!(
                "`{other}` is none of hostname, interface, vlan, address, gateway, nameserver, \
                 timeserver"
            )),
        }
    }

    /// A gateway that no address of ours leads to locks the operator out.
    fn unreachable(&self) -> Option<String> {
        let has_use = !self.addresses.is_empty() || self.vlan.is_some();
        if !has_use && self.interface.is_some() {
            return Some("an interface without an address or a VLAN".to_owned());
        }
        if self.addresses.is_empty() && !self.gateways.is_empty() {
            return Some("a gateway without an address".to_owned());
        }
        let far = self.gateways.iter().find(|gateway| !self.leads_to(**gateway))?;
        let alone = if far.is_ipv4() { 32 } else { 128 };
        Some(format!(
            "the gateway {far} is in the network of no address; only where all addresses are \
             /{alone} may it be outside"
        ))
    }

    /// Whether the gateway can be meant: it is in a network of ours, or we have
    /// none, as clouds give addresses, and then any may be on the wire. Beside a
    /// network one outside is a slip of the pen.
    fn leads_to(&self, gateway: IpAddr) -> bool {
        let alone = if gateway.is_ipv4() { 32 } else { 128 };
        let mut family =
            self.addresses.iter().filter(|(own, _)| own.is_ipv4() == gateway.is_ipv4());
        let has_some = family.clone().next().is_some();
        !is_outside(gateway, &self.addresses)
            || (has_some && family.all(|(_, bits)| *bits == alone))
    }

    /// Time servers to ask, `told` by DHCP behind our own.
    pub fn clocks(&self, told: &[IpAddr]) -> Vec<SocketAddr> {
        let mut servers: Vec<SocketAddr> = Vec::new();
        let told = told.iter().map(|server| SocketAddr::new(*server, NTP));
        for server in self.time_servers.iter().copied().chain(told) {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers
    }

    /// `resolv.conf` with these name servers, `told` by DHCP behind our own.
    pub fn resolv_conf(&self, told: &[IpAddr]) -> String {
        let mut servers: Vec<IpAddr> = Vec::new();
        for server in self.name_servers.iter().chain(told) {
            if !servers.contains(server) {
                servers.push(*server);
            }
        }
        servers.iter().map(|server| format!("nameserver {server}\n")).collect()
    }
}

fn once<T>(place: &mut Option<T>, value: T, key: &str) -> Result<(), String> {
    if place.is_some() {
        return Err(format!("{key} stands twice"));
    }
    *place = Some(value);
    Ok(())
}

fn address(value: &str) -> Result<IpAddr, String> {
    let address: IpAddr = value.parse().map_err(|_| format!("`{value}` is no address"))?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!("`{value}` is the address of no machine"));
    }
    Ok(address)
}

fn vlan(value: &str) -> Result<u16, String> {
    let (first, last) = (VLANS.start(), VLANS.end());
    let number = value.parse().ok().filter(|number| VLANS.contains(number));
    number.ok_or_else(|| format!("`{value}` is no VLAN: {first} to {last}"))
}

fn time_server(value: &str) -> Result<SocketAddr, String> {
    match value.parse::<SocketAddr>() {
        Ok(server) => address(&server.ip().to_string()).map(|_| server),
        Err(_) => Ok(SocketAddr::new(address(value)?, NTP)),
    }
}

fn with_prefix(value: &str) -> Result<(IpAddr, u8), String> {
    let (own, prefix) =
        value.split_once('/').ok_or_else(|| format!("`{value}` lacks /BITS of its network"))?;
    let own = address(own.trim())?;
    let bits_max = if own.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.trim().parse().ok().filter(|bits| (1..=bits_max).contains(bits));
    Ok((own, prefix.ok_or_else(|| format!("`{value}`: 1 to {bits_max} bits"))?))
}

fn host_name(value: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-')
    };
    // The kernel keeps 64 octets of a name.
    if value.len() > 64 || !value.split('.').all(is_label) {
        return Err(format!("`{value}` is no host name of at most 64 characters"));
    }
    Ok(value.to_lowercase())
}

/// Whether no network of these, an address and its bits each, has `gateway` in
/// it: the kernel is to be told then that it is on the wire nevertheless.
pub fn is_outside(gateway: IpAddr, addresses: &[(IpAddr, u8)]) -> bool {
    let has_it = |(own, prefix): &(IpAddr, u8)| same_network(*own, gateway, *prefix);
    !is_link_local(gateway) && !addresses.iter().any(has_it)
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(Ipv6Addr::from(address.octets())),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    one.is_ipv4() == other.is_ipv4() && bits(one) & mask == bits(other) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Refused {
        Network::parse(text).expect_err("to be refused")
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = "# ours\nhostname = Mail.Example.com\ninterface=52:54:00:AA:00:01\n\n\
                    address = 192.0.2.10/24 # first\naddress = 2001:db8::10/64\n\
                    gateway = 192.0.2.1\ngateway = fe80::1\nnameserver = 192.0.2.53\n";
        let network = Network::parse(text).unwrap();
        assert_eq!(network.hostname.as_deref(), Some("mail.example.com"));
        assert_eq!(network.interface.as_deref(), Some("52:54:00:aa:00:01"));
        assert_eq!(network.addresses[0], (IpAddr::from([192, 0, 2, 10]), 24));
        assert_eq!((network.addresses.len(), network.gateways.len()), (2, 2));
    }

    #[test]
    fn a_vlan_has_the_addresses_or_asks_for_them() {
        let network = Network::parse("vlan = 100\naddress = 192.0.2.10/24\n").unwrap();
        assert_eq!((network.vlan, network.addresses.len()), (Some(100), 1));
        let asks = Network::parse("interface = eth1\nvlan = 4094\n").unwrap();
        assert_eq!((asks.vlan, asks.addresses.len()), (Some(4094), 0));
        for text in ["vlan = 0", "vlan = 4095", "vlan = x", "vlan = -1", "vlan = 1\nvlan = 2"] {
            refused(text);
        }
        refused("vlan = 7\ngateway = 192.0.2.1");
    }

    #[test]
    fn nothing_said_is_dhcp() {
        assert_eq!(Network::parse(""), Ok(Network::default()));
        assert_eq!(Network::parse("# nothing\n\n"), Ok(Network::default()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            ("\naddress = 192.0.2.10", 2),
            ("address = 192.0.2.10/33", 1),
            ("address = 192.0.2.10/0", 1),
            ("address = 0.0.0.0/8", 1),
            ("nameserver = x", 1),
            ("timeserver = time.example", 1),
            ("timeserver = 0.0.0.0:123", 1),
            ("hostname = a..b", 1),
            ("hostname = a\nhostname = b", 2),
            ("adress = 192.0.2.1/24", 1),
            ("address", 1),
        ];
        for (text, line) in cases {
            assert_eq!(refused(text).line, line, "{text}");
        }
        let hint = refused("adress = 192.0.2.1/24").why;
        assert!(hint.contains("address"), "{hint}");
    }

    #[test]
    fn a_gateway_out_of_reach_is_refused() {
        refused("address = 192.0.2.10/24\ngateway = 192.0.3.1");
        refused("gateway = 192.0.2.1");
        refused("interface = eth0");
        refused("address = 192.0.2.10/24\ngateway = 192.0.2.1\ngateway = 192.0.2.2");
        refused("address = 192.0.2.10/24\ngateway = 2001:db8::1");
        Network::parse("address = 2001:db8::10/64\ngateway = 2001:db8::1").unwrap();
    }

    #[test]
    fn an_address_without_a_network_may_have_its_gateway_anywhere() {
        for text in [
            "address = 203.0.113.5/32\ngateway = 172.31.1.1",
            "gateway = 172.31.1.1\naddress = 203.0.113.5/32\naddress = 203.0.113.6/32",
            "address = 2001:db8::10/128\ngateway = 2001:db8:ff::1",
            "address = 192.0.2.10/24\naddress = 2001:db8::10/128\ngateway = 2001:db8:ff::1",
        ] {
            let network = Network::parse(text).expect(text);
            assert!(is_outside(network.gateways[0], &network.addresses), "{text}");
        }
        // Beside a network, one outside is a slip of the pen.
        let slip = "address = 192.0.2.10/24\naddress = 203.0.113.5/32\ngateway = 192.0.3.1";
        let why = refused(slip).why;
        assert!(why.contains("192.0.3.1") && why.contains("/32"), "{why}");
        let other = "address = 203.0.113.5/32\ngateway = 2001:db8::1";
        assert!(refused(other).why.contains("/128"), "an address of the other family");
    }

    #[test]
    fn what_a_network_of_ours_has_is_not_outside() {
        let own = [(IpAddr::from([192, 0, 2, 10]), 24), (IpAddr::from([203, 0, 113, 5]), 32)];
        assert!(!is_outside(IpAddr::from([192, 0, 2, 1]), &own));
        assert!(is_outside(IpAddr::from([192, 0, 3, 1]), &own));
        assert!(is_outside("2001:db8::1".parse().unwrap(), &own));
        // One of the link itself needs no network.
        assert!(!is_outside("fe80::1".parse().unwrap(), &own));
    }

    #[test]
    fn lines_are_bounded() {
        assert!(Network::parse(&"\n".repeat(LINES_MAX)).is_ok());
        assert_eq!(refused(&"\n".repeat(LINES_MAX + 1)).line, LINES_MAX + 1);
    }

    #[test]
    fn own_time_servers_come_first_and_none_twice() {
        let text = "timeserver = 192.0.2.9\ntimeserver = [2001:db8::9]:1123\n";
        let network = Network::parse(text).unwrap();
        let told = [IpAddr::from([192, 0, 2, 9]), IpAddr::from([192, 0, 2, 10])];
        let clocks: Vec<_> = network.clocks(&told).iter().map(SocketAddr::to_string).collect();
        assert_eq!(clocks, ["192.0.2.9:123", "[2001:db8::9]:1123", "192.0.2.10:123"]);
    }

    #[test]
    fn own_name_servers_come_first_and_none_twice() {
        let network = Network::parse("nameserver = 192.0.2.53\n").unwrap();
        let told = [IpAddr::from([192, 0, 2, 3]), IpAddr::from([192, 0, 2, 53])];
        assert_eq!(network.resolv_conf(&told), "nameserver 192.0.2.53\nnameserver 192.0.2.3\n");
    }
}
