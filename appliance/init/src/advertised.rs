//! What routers advertise (RFC 4861, RFC 4862): how much of it a port takes, and
//! which addresses the kernel has from it.
//!
//! Never touches the kernel: settings go out as values, its list of addresses
//! comes in as text. Invariant: a machine with addresses of `network.conf` has no
//! other, for what sends from an address that nobody knows of is refused
//! elsewhere and shown nowhere.

use std::net::{IpAddr, Ipv6Addr};

use crate::network::Network;

/// Addresses that are read of the kernel's list.
pub const ADDRESSES_MAX: usize = 64;

/// How much a port takes of what routers advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing: it has its addresses and ways out, or is not used.
    Nothing,
    /// The way out: it has an IPv6 address, and no gateway was named for it.
    WayOut,
    /// Addresses too, as of DHCP.
    All,
}

impl Taken {
    /// By the port with the addresses of `network.conf`.
    pub fn beside(network: &Network) -> Self {
        let has_own = network.addresses.iter().any(|(own, _)| own.is_ipv6());
        let has_gateway = network.gateways.iter().any(IpAddr::is_ipv6);
        if has_own && !has_gateway { Self::WayOut } else { Self::Nothing }
    }

    /// The kernel's settings below `net/ipv6/conf/PORT`, in this order and
    /// before the port gets addresses: its IPv6 goes and comes, since nothing
    /// else takes away what was advertised before.
    pub fn settings(self) -> [(&'static str, &'static str); 4] {
        let digit = |is: bool| if is { "1" } else { "0" };
        [
            ("disable_ipv6", "1"),
            ("accept_ra", digit(self != Self::Nothing)),
            ("autoconf", digit(self == Self::All)),
            ("disable_ipv6", "0"),
        ]
    }
}

/// Addresses of the whole world's scope that links have and may use: the link's
/// name, the address, the bits of its network. `list` is `/proc/net/if_inet6`;
/// lines that are none are passed over.
pub fn addresses(list: &str) -> Vec<(&str, IpAddr, u8)> {
    list.lines().filter_map(line).take(ADDRESSES_MAX).collect()
}

/// `20010db8000000000000000000000015 02 40 00 00     eth0`
fn line(line: &str) -> Option<(&str, IpAddr, u8)> {
    /// Still being asked for on the wire, found there, or no longer to be used.
    const NOT_TO_BE_USED: u8 = 0x40 | 0x08 | 0x20;
    let mut words = line.split_ascii_whitespace();
    let address = u128::from_str_radix(words.next()?, 16).ok()?;
    let _link = words.next()?;
    let mut number = || u8::from_str_radix(words.next()?, 16).ok();
    let (bits, scope, flags) = (number()?, number()?, number()?);
    let name = words.next()?;
    let is_used = scope == 0 && flags & NOT_TO_BE_USED == 0 && bits <= 128;
    is_used.then_some((name, IpAddr::V6(Ipv6Addr::from(address)), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(text: &str) -> Taken {
        Taken::beside(&Network::parse(text).unwrap())
    }

    #[test]
    fn beside_addresses_of_its_own_a_machine_takes_no_others() {
        assert_eq!(beside("address = 192.0.2.10/24"), Taken::Nothing);
        let named = "address = 2001:db8::10/64\ngateway = 2001:db8::1";
        assert_eq!(beside(named), Taken::Nothing);
        // Without a word on the gateway the routers' word is the only one.
        assert_eq!(beside("address = 2001:db8::10/64"), Taken::WayOut);
        let mixed = "address = 192.0.2.10/24\naddress = 2001:db8::10/64\ngateway = 192.0.2.1";
        assert_eq!(beside(mixed), Taken::WayOut);
        for taken in [Taken::Nothing, Taken::WayOut] {
            assert!(taken.settings().contains(&("autoconf", "0")), "{taken:?}");
        }
    }

    #[test]
    fn what_was_advertised_before_goes_and_settings_are_made_in_between() {
        for (taken, accepts, makes) in
            [(Taken::Nothing, "0", "0"), (Taken::WayOut, "1", "0"), (Taken::All, "1", "1")]
        {
            let settings = taken.settings();
            assert_eq!(settings[0], ("disable_ipv6", "1"));
            assert_eq!(settings[1..3], [("accept_ra", accepts), ("autoconf", makes)]);
            assert_eq!(settings[3], ("disable_ipv6", "0"));
        }
    }

    #[test]
    fn addresses_of_the_world_are_read() {
        let list = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    20010db8000000000000000000000015 02 40 00 00     eth0\n\
                    fe80000000000000505400fffe123456 02 40 20 80     eth0\n\
                    fec00000000000000000000000000001 02 40 40 00     eth0\n\
                    20010db8000000000000000000000016 03 80 00 80  vlan100\n";
        let read: Vec<String> = addresses(list)
            .iter()
            .map(|(name, address, bits)| format!("{name} {address}/{bits}"))
            .collect();
        assert_eq!(read, ["eth0 2001:db8::15/64", "vlan100 2001:db8::16/128"]);
    }

    #[test]
    fn addresses_that_are_not_to_be_used_are_none() {
        let with = |flags: &str| {
            let line = format!("20010db8000000000000000000000015 02 40 00 {flags} eth0\n");
            addresses(&line).len()
        };
        assert_eq!(with("00"), 1);
        assert_eq!(with("40"), 0, "tentative");
        assert_eq!(with("c8"), 0, "somebody else has it");
        assert_eq!(with("20"), 0, "deprecated");
    }

    #[test]
    fn a_list_is_bounded_and_lines_that_are_none_are_passed_over() {
        let line = "20010db8000000000000000000000015 02 40 00 00 eth0\n";
        assert_eq!(addresses(&line.repeat(ADDRESSES_MAX + 1)).len(), ADDRESSES_MAX);
        for end in 0..line.len() - 6 {
            assert!(addresses(&line[..end]).is_empty(), "{end}");
        }
        let long = "1".repeat(40);
        assert!(addresses(&format!("{long} 02 40 00 00 eth0\nx\n\n")).is_empty());
        assert!(addresses(&line.replace(" 40 ", " 81 ")).is_empty(), "129 bits");
    }
}
