//! The requests with which the kernel is told about links, VLANs, addresses and
//! routes, as bytes for a route netlink socket, and what it answers.
//!
//! Never opens the socket. Numbers are in the machine's own byte order, and
//! everything begins at a multiple of four.
//!
//! Read first: the manual pages netlink(7) and rtnetlink(7).

use std::net::IpAddr;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const ERROR: u16 = 2;

const REQUEST_WITH_ANSWER: u16 = 0x1 | 0x4;
const CREATE_OR_REPLACE: u16 = 0x400 | 0x100;
const CREATE_NEW: u16 = 0x400 | 0x200;

/// Octets of a link's name that the kernel takes, without its end.
pub const NAME_BYTES_MAX: usize = 15;

/// The link is to be up.
const UP: u32 = 1;
/// The address is not looked for at the neighbours first.
const NOT_ASKED_FOR: u8 = 2;
/// Rank of the first link's way out; each further link's comes behind, and all
/// before those of router advertisements (1024). With one rank for two links
/// the kernel would replace the one by the other.
const RANK: u32 = 100;
/// The next hop is on the link, whatever the addresses say.
const ON_LINK: u32 = 4;

/// A request; `sequence` comes back in its answer.
pub fn link_up(sequence: u32, link: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(link.to_ne_bytes());
    body.extend(UP.to_ne_bytes());
    body.extend(UP.to_ne_bytes());
    message(NEW_LINK, REQUEST_WITH_ANSWER, sequence, &body)
}

/// Makes the link `name` that is VLAN `vlan` of the link `port`. `name` has at
/// most [`NAME_BYTES_MAX`] octets.
pub fn add_vlan(sequence: u32, port: u32, vlan: u16, name: &str) -> Vec<u8> {
    assert!(name.len() <= NAME_BYTES_MAX, "links of ours have short names");
    // Neither family nor number: those are the kernel's to choose.
    let mut body = vec![0; 16];
    attribute(&mut body, 3, &[name.as_bytes(), &[0]].concat());
    attribute(&mut body, 5, &port.to_ne_bytes());
    let (mut data, mut kind) = (Vec::new(), Vec::new());
    attribute(&mut data, 1, &vlan.to_ne_bytes());
    attribute(&mut kind, 1, b"vlan");
    attribute(&mut kind, 2, &data);
    attribute(&mut body, 18, &kind);
    message(NEW_LINK, REQUEST_WITH_ANSWER | CREATE_NEW, sequence, &body)
}

/// Takes a link away that we made.
pub fn delete_link(sequence: u32, link: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(link.to_ne_bytes());
    body.extend([0; 8]);
    message(DELETE_LINK, REQUEST_WITH_ANSWER, sequence, &body)
}

/// Gives a link an address with the bits of its network. One of IPv6 is ours at
/// once: until the kernel had asked for it on the wire, for a second and more, or
/// until there is a cable, nobody could send from it, and if any neighbour said
/// that it is theirs, nobody ever. It is the operator's word, as with IPv4, where
/// nobody asks either.
pub fn add_address(sequence: u32, link: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let flags = REQUEST_WITH_ANSWER | CREATE_OR_REPLACE;
    message(NEW_ADDRESS, flags, sequence, &address_body(link, address, prefix))
}

/// Takes it away again.
pub fn delete_address(sequence: u32, link: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let body = address_body(link, address, prefix);
    message(DELETE_ADDRESS, REQUEST_WITH_ANSWER, sequence, &body)
}

/// Makes `gateway` the way to everything else through this link; that of another
/// link stays, and is used when this one is gone. `is_outside`: no network of
/// the link has it, and the kernel is to believe that it is on the wire.
pub fn default_route(sequence: u32, link: u32, gateway: IpAddr, is_outside: bool) -> Vec<u8> {
    let flags = REQUEST_WITH_ANSWER | CREATE_OR_REPLACE;
    let body = route_body(link, gateway, if is_outside { ON_LINK } else { 0 });
    message(NEW_ROUTE, flags, sequence, &body)
}

/// Makes it that no longer.
pub fn delete_default_route(sequence: u32, link: u32, gateway: IpAddr) -> Vec<u8> {
    message(DELETE_ROUTE, REQUEST_WITH_ANSWER, sequence, &route_body(link, gateway, 0))
}

/// The kernel's answer to request `sequence`: its error number, 0 for done.
/// None if the bytes answer something else.
pub fn outcome(bytes: &[u8], sequence: u32) -> Option<i32> {
    let word = |at: usize| {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(four))
    };
    let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    if kind != ERROR || word(8)? != sequence {
        return None;
    }
    Some((word(16)? as i32).saturating_neg())
}

fn address_body(link: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let flags = if address.is_ipv6() { NOT_ASKED_FOR } else { 0 };
    let mut body = vec![family(address), prefix, flags, 0];
    body.extend(link.to_ne_bytes());
    attribute(&mut body, 2, &octets(address));
    attribute(&mut body, 1, &octets(address));
    body
}

fn route_body(link: u32, gateway: IpAddr, flags: u32) -> Vec<u8> {
    const TABLE_MAIN: u8 = 254;
    const BY_US_AT_START: u8 = 3;
    const UNICAST: u8 = 1;
    let mut body = vec![family(gateway), 0, 0, 0, TABLE_MAIN, BY_US_AT_START, 0, UNICAST];
    body.extend(flags.to_ne_bytes());
    attribute(&mut body, 5, &octets(gateway));
    attribute(&mut body, 4, &link.to_ne_bytes());
    attribute(&mut body, 6, &RANK.saturating_add(link).to_ne_bytes());
    body
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let bytes = u16::try_from(4 + value.len()).expect("attributes of ours are short");
    body.extend(bytes.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(16 + body.len()).expect("requests of ours are short");
    let mut message = bytes.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn requests_are_as_long_as_they_say_and_aligned() {
        let v4 = IpAddr::from([192, 0, 2, 15]);
        let v6 = "2001:db8::15".parse().unwrap();
        let all = [
            link_up(1, 2),
            add_address(2, 2, v4, 24),
            add_address(3, 2, v6, 64),
            delete_address(4, 2, v4, 24),
            default_route(5, 2, v6, false),
            delete_default_route(6, 2, v4),
            add_vlan(7, 2, 100, "vlan100"),
            delete_link(8, 3),
        ];
        for (request, sequence) in all.iter().zip(1u32..) {
            assert_eq!(request[..4], (request.len() as u32).to_ne_bytes());
            assert_eq!(request.len() % 4, 0);
            assert_eq!(request[8..12], sequence.to_ne_bytes());
        }
        let lengths: Vec<usize> = all.iter().map(Vec::len).collect();
        assert_eq!(lengths, [32, 40, 64, 40, 64, 52, 76, 32]);
    }

    #[test]
    fn an_address_stands_in_its_request() {
        let request = add_address(1, 7, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 15)), 24);
        assert_eq!(request[16..20], [2, 24, 0, 0]);
        assert_eq!(request[20..24], 7u32.to_ne_bytes());
        assert_eq!(request[28..32], [192, 0, 2, 15]);
        assert_eq!(request[36..40], [192, 0, 2, 15]);
        let v6 = "2001:db8::15".parse().unwrap();
        // Ours at once, so that whoever starts now can send from it.
        assert_eq!(add_address(1, 7, v6, 64)[16..20], [10, 64, 2, 0]);
    }

    #[test]
    fn a_gateway_outside_is_said_to_be_on_the_wire() {
        let gateway = IpAddr::from([172, 31, 1, 1]);
        let flags = |request: Vec<u8>| request[24..28].to_vec();
        assert_eq!(flags(default_route(1, 7, gateway, true)), 4u32.to_ne_bytes());
        assert_eq!(flags(default_route(1, 7, gateway, false)), [0; 4]);
    }

    #[test]
    fn the_ways_out_of_two_links_stand_beside_each_other() {
        let gateway = IpAddr::from([192, 0, 2, 1]);
        let rank = |request: Vec<u8>| {
            let at = request.len() - 8;
            assert_eq!(request[at..at + 4], [8u16.to_ne_bytes(), 6u16.to_ne_bytes()].concat());
            u32::from_ne_bytes(request[at + 4..].try_into().unwrap())
        };
        let first = rank(default_route(1, 2, gateway, false));
        let second = rank(default_route(1, 3, gateway, false));
        assert!(first < second && second < 1_024, "{first} {second}");
        // What is taken away is that link's, and no other's.
        assert_eq!(rank(delete_default_route(1, 3, gateway)), second);
        rank(default_route(1, u32::MAX, gateway, true));
    }

    #[test]
    fn a_vlan_names_its_port_its_kind_and_its_number() {
        let request = add_vlan(1, 7, 100, "vlan100");
        assert_eq!(request[16..32], [0; 16]);
        assert_eq!(&request[36..44], b"vlan100\0");
        assert_eq!(request[48..52], 7u32.to_ne_bytes());
        // Behind it nests what kind of link it is, and its number in that.
        assert_eq!(request[52..56], [24u16.to_ne_bytes(), 18u16.to_ne_bytes()].concat());
        assert_eq!(&request[60..64], b"vlan");
        assert_eq!(request[64..68], [12u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat());
        assert_eq!(request[72..74], 100u16.to_ne_bytes());
    }

    #[test]
    #[should_panic(expected = "short names")]
    fn a_name_that_the_kernel_would_cut_is_a_mistake_of_ours() {
        add_vlan(1, 7, 100, "sixteen-and-more");
    }

    #[test]
    fn the_kernels_answer_is_read() {
        let answer = |error: i32| message(ERROR, 0, 9, &error.to_ne_bytes());
        assert_eq!(outcome(&answer(0), 9), Some(0));
        assert_eq!(outcome(&answer(-17), 9), Some(17));
        assert_eq!(outcome(&answer(i32::MIN), 9), Some(i32::MAX));
        assert_eq!(outcome(&answer(0), 8), None, "to another request");
        assert_eq!(outcome(&answer(0)[..18], 9), None, "cut");
        assert_eq!(outcome(&[], 9), None);
        assert_eq!(outcome(&link_up(9, 1), 9), None, "no answer at all");
    }
}
