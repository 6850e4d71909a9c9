//! DHCP packets, as a client writes and reads them.
//!
//! Never believes an answer that is not to our own question, and takes from
//! one what it needs and no more: at most [`SERVERS_MAX`] name servers and one
//! gateway. Any bytes are read without a panic.
//!
//! Read first: RFC 2131, RFC 2132.

use std::net::Ipv4Addr;

/// Name servers taken from an answer, and time servers.
pub const SERVERS_MAX: usize = 3;
/// Octets of the smallest packet that some servers take (RFC 1542).
const PACKET_BYTES_MIN: usize = 300;
/// Where the options begin, behind the magic cookie.
const OPTIONS_AT: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// The kinds of message that a client sends or gets, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has an address for us?
    Discover = 1,
    /// A server has one.
    Offer = 2,
    /// We want it, or still want it.
    Request = 3,
    /// It is ours.
    Ack = 5,
    /// It is not.
    Nak = 6,
}

/// What a client says.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// [`Kind::Discover`] or [`Kind::Request`].
    pub kind: Kind,
    /// Names the exchange.
    pub exchange: u32,
    /// Our port's hardware address.
    pub hardware: [u8; 6],
    /// Our address, if we may use it already.
    pub current: Option<Ipv4Addr>,
    /// The address asked for.
    pub wanted: Option<Ipv4Addr>,
    /// The server whose offer is taken.
    pub server: Option<Ipv4Addr>,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// [`Kind::Offer`], [`Kind::Ack`] or [`Kind::Nak`].
    pub kind: Kind,
    /// The address for us; unspecified in a refusal.
    pub address: Ipv4Addr,
    /// Bits of its network, 1 to 32.
    pub prefix: u8,
    /// Who says so.
    pub server: Ipv4Addr,
    /// The way out.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers, at most [`SERVERS_MAX`].
    pub name_servers: Vec<Ipv4Addr>,
    /// Time servers, at most [`SERVERS_MAX`].
    pub time_servers: Vec<Ipv4Addr>,
    /// Seconds for which the address is ours; [`u32::MAX`] is for ever.
    pub lease_seconds: u32,
    /// Seconds until it is to be renewed, and until any server will do.
    pub renew_seconds: Option<u32>,
    /// See `renew_seconds`.
    pub rebind_seconds: Option<u32>,
}

impl Question {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = vec![0; OPTIONS_AT - COOKIE.len()];
        packet[..4].copy_from_slice(&[1, 1, 6, 0]);
        packet[4..8].copy_from_slice(&self.exchange.to_be_bytes());
        match self.current {
            Some(address) => packet[12..16].copy_from_slice(&address.octets()),
            // Without an address we can hear broadcasts only.
            None => packet[10] = 0x80,
        }
        packet[28..34].copy_from_slice(&self.hardware);
        packet.extend_from_slice(&COOKIE);
        option(&mut packet, 53, &[self.kind as u8]);
        if let Some(address) = self.wanted {
            option(&mut packet, 50, &address.octets());
        }
        if let Some(server) = self.server {
            option(&mut packet, 54, &server.octets());
        }
        let mut identity = vec![1];
        identity.extend_from_slice(&self.hardware);
        option(&mut packet, 61, &identity);
        // Mask, router, name servers, time servers, lease, both times to renew.
        option(&mut packet, 55, &[1, 3, 6, 42, 51, 58, 59]);
        option(&mut packet, 57, &1500u16.to_be_bytes());
        packet.push(255);
        packet.resize(packet.len().max(PACKET_BYTES_MIN), 0);
        packet
    }
}

impl Answer {
    /// Reads a packet; None if it is no answer to the exchange, or lacks what
    /// an answer of its kind must have.
    pub fn decode(packet: &[u8], exchange: u32, hardware: [u8; 6]) -> Option<Self> {
        let fixed = packet.get(..OPTIONS_AT)?;
        let ours = fixed[4..8] == exchange.to_be_bytes() && fixed[28..34] == hardware;
        if fixed[..3] != [2, 1, 6] || !ours || fixed[236..] != COOKIE {
            return None;
        }
        let options = Options(&packet[OPTIONS_AT..]);
        let kind = match options.find(53)? {
            [2] => Kind::Offer,
            [5] => Kind::Ack,
            [6] => Kind::Nak,
            _ => return None,
        };
        let server = options.address(54)?;
        let address = Ipv4Addr::from([fixed[16], fixed[17], fixed[18], fixed[19]]);
        let usable = is_host(address) && is_host(server);
        let (prefix, lease_seconds) = match kind {
            Kind::Nak => (32, 0),
            _ if !usable => return None,
            _ => (prefix(options.address(1), address)?, options.number(51)?),
        };
        Some(Self {
            kind,
            address: if kind == Kind::Nak { Ipv4Addr::UNSPECIFIED } else { address },
            prefix,
            server,
            gateway: options.address(3).filter(|gateway| is_host(*gateway)),
            name_servers: options.servers(6),
            time_servers: options.servers(42),
            lease_seconds,
            renew_seconds: options.number(58),
            rebind_seconds: options.number(59),
        })
    }
}

struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The first option with this number, as far as it is whole.
    fn find(&self, number: u8) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            match rest {
                [0, behind @ ..] => rest = behind,
                [255, ..] | [] | [_] => return None,
                [found, bytes, behind @ ..] => {
                    let value = behind.get(..usize::from(*bytes))?;
                    if *found == number {
                        return Some(value);
                    }
                    rest = &behind[value.len()..];
                }
            }
        }
    }

    fn address(&self, number: u8) -> Option<Ipv4Addr> {
        let four: [u8; 4] = self.find(number)?.get(..4)?.try_into().ok()?;
        Some(four.into())
    }

    fn servers(&self, number: u8) -> Vec<Ipv4Addr> {
        let (fours, _) = self.find(number).unwrap_or_default().as_chunks::<4>();
        let servers = fours.iter().map(|four| Ipv4Addr::from(*four));
        servers.filter(|server| is_host(*server)).take(SERVERS_MAX).collect()
    }

    fn number(&self, number: u8) -> Option<u32> {
        Some(u32::from(self.address(number)?))
    }
}

fn option(packet: &mut Vec<u8>, number: u8, value: &[u8]) {
    let bytes = u8::try_from(value.len()).expect("options of ours are short");
    packet.extend_from_slice(&[number, bytes]);
    packet.extend_from_slice(value);
}

fn is_host(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast()
}

/// Bits of a mask; without one those of the address's old class. None for a
/// mask with holes, or without a bit.
fn prefix(mask: Option<Ipv4Addr>, address: Ipv4Addr) -> Option<u8> {
    let Some(mask) = mask else {
        return Some(match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            _ => 24,
        });
    };
    let mask = u32::from(mask);
    let bits = mask.leading_ones();
    (bits > 0 && bits == mask.count_ones()).then_some(bits as u8)
}

/// The answer as a server would write it, for tests of what reads it.
#[cfg(test)]
pub(crate) fn packet(answer: &Answer, exchange: u32, hardware: [u8; 6]) -> Vec<u8> {
    let mut packet = vec![0; OPTIONS_AT];
    packet[..4].copy_from_slice(&[2, 1, 6, 0]);
    packet[4..8].copy_from_slice(&exchange.to_be_bytes());
    packet[16..20].copy_from_slice(&answer.address.octets());
    packet[28..34].copy_from_slice(&hardware);
    packet[236..].copy_from_slice(&COOKIE);
    option(&mut packet, 53, &[answer.kind as u8]);
    option(&mut packet, 54, &answer.server.octets());
    packet.push(0);
    let mask = u32::MAX.checked_shl(32 - u32::from(answer.prefix)).unwrap_or(0);
    option(&mut packet, 1, &mask.to_be_bytes());
    option(&mut packet, 51, &answer.lease_seconds.to_be_bytes());
    if let Some(gateway) = answer.gateway {
        option(&mut packet, 3, &gateway.octets());
    }
    for (number, servers) in [(6, &answer.name_servers), (42, &answer.time_servers)] {
        let octets: Vec<u8> = servers.iter().flat_map(|server| server.octets()).collect();
        option(&mut packet, number, &octets);
    }
    for (number, seconds) in [(58, answer.renew_seconds), (59, answer.rebind_seconds)] {
        if let Some(seconds) = seconds {
            option(&mut packet, number, &seconds.to_be_bytes());
        }
    }
    packet.push(255);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARDWARE: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn answer() -> Answer {
        Answer {
            kind: Kind::Ack,
            address: Ipv4Addr::new(192, 0, 2, 15),
            prefix: 24,
            server: Ipv4Addr::new(192, 0, 2, 2),
            gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
            name_servers: vec![Ipv4Addr::new(192, 0, 2, 3)],
            time_servers: vec![Ipv4Addr::new(192, 0, 2, 9)],
            lease_seconds: 86_400,
            renew_seconds: None,
            rebind_seconds: Some(70_000),
        }
    }

    #[test]
    fn what_a_server_writes_is_read() {
        let packet = packet(&answer(), 7, HARDWARE);
        assert_eq!(Answer::decode(&packet, 7, HARDWARE), Some(answer()));
    }

    #[test]
    fn an_answer_to_somebody_else_is_none() {
        let packet = packet(&answer(), 7, HARDWARE);
        assert_eq!(Answer::decode(&packet, 8, HARDWARE), None);
        assert_eq!(Answer::decode(&packet, 7, [0; 6]), None);
        let mut question = packet.clone();
        question[0] = 1;
        assert_eq!(Answer::decode(&question, 7, HARDWARE), None);
    }

    #[test]
    fn a_cut_packet_is_none_or_a_shorter_answer() {
        let packet = packet(&answer(), 7, HARDWARE);
        for end in 0..packet.len() {
            if let Some(read) = Answer::decode(&packet[..end], 7, HARDWARE) {
                assert_eq!((read.address, read.prefix), (answer().address, 24));
            }
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        let refused = |change: fn(&mut Answer)| {
            let mut answer = answer();
            change(&mut answer);
            Answer::decode(&packet(&answer, 7, HARDWARE), 7, HARDWARE).is_none()
        };
        assert!(refused(|a| a.address = Ipv4Addr::UNSPECIFIED));
        assert!(refused(|a| a.address = Ipv4Addr::BROADCAST));
        assert!(refused(|a| a.server = Ipv4Addr::UNSPECIFIED));
        assert!(refused(|a| a.prefix = 0));
        assert!(!refused(|a| a.prefix = 32));
        assert_eq!(prefix(Some(Ipv4Addr::new(255, 0, 255, 0)), Ipv4Addr::LOCALHOST), None);
        assert_eq!(prefix(None, Ipv4Addr::new(192, 0, 2, 1)), Some(24));
    }

    #[test]
    fn a_refusal_needs_no_address() {
        let refusal = Answer { kind: Kind::Nak, address: Ipv4Addr::UNSPECIFIED, ..answer() };
        let read = Answer::decode(&packet(&refusal, 7, HARDWARE), 7, HARDWARE);
        assert_eq!(read.map(|answer| answer.kind), Some(Kind::Nak));
    }

    #[test]
    fn servers_are_bounded() {
        let many: Vec<_> = (1..=40).map(|last| Ipv4Addr::new(192, 0, 2, last)).collect();
        let answer = Answer { name_servers: many.clone(), time_servers: many, ..answer() };
        let read = Answer::decode(&packet(&answer, 7, HARDWARE), 7, HARDWARE).unwrap();
        assert_eq!(read.name_servers.len(), SERVERS_MAX);
        assert_eq!(read.time_servers.len(), SERVERS_MAX);
    }

    #[test]
    fn a_question_has_its_fields_where_they_belong() {
        let question = Question {
            kind: Kind::Request,
            exchange: 0x0102_0304,
            hardware: HARDWARE,
            current: None,
            wanted: Some(Ipv4Addr::new(192, 0, 2, 15)),
            server: Some(Ipv4Addr::new(192, 0, 2, 2)),
        };
        let packet = question.encode();
        assert_eq!(packet.len(), PACKET_BYTES_MIN);
        assert_eq!(packet[..8], [1, 1, 6, 0, 1, 2, 3, 4]);
        assert_eq!(packet[10], 0x80, "answers by broadcast");
        let options = Options(&packet[OPTIONS_AT..]);
        assert_eq!(options.find(53), Some(&[3][..]));
        assert_eq!(options.address(50), question.wanted);
        assert_eq!(options.address(54), question.server);
        let renewing = Question { current: question.wanted, ..question }.encode();
        assert_eq!((renewing[10], &renewing[12..16]), (0, &[192, 0, 2, 15][..]));
    }
}
