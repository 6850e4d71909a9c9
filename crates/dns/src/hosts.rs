//! Addresses of one host: A and AAAA answers → one list in the order to try.
//!
//! Never here: MX, the ban on inner addresses (`forbidden`), connecting.
//!
//! Read first: RFC 5321 §5.1, RFC 8305 §4.

use std::net::IpAddr;
use std::sync::Arc;

use base::Monotonic;
use base::limits::ADDRESSES_PER_HOST_MAX;

use crate::answer::Records;
use crate::error::Reason;
use crate::resolver::Lookup;

/// Which address families are used, and which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both, IPv6 first, in turns.
    #[default]
    Ipv6First,
    /// Both, IPv4 first, in turns.
    Ipv4First,
    /// AAAA is asked for only.
    Ipv6Only,
    /// A is asked for only.
    Ipv4Only,
}

impl Family {
    pub(crate) fn asks_ipv4(self) -> bool {
        self != Self::Ipv6Only
    }

    pub(crate) fn asks_ipv6(self) -> bool {
        self != Self::Ipv4Only
    }
}

/// A host that is named, not found by MX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// 1 to 8 addresses, families in turns, in the order to try.
    pub addresses: Vec<IpAddr>,
    /// Until when they may be used.
    pub expires: Monotonic,
}

/// What is known of a host's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// It has addresses.
    Found(Arc<Host>),
    /// It has none: permanent.
    None {
        /// The name does not exist at all.
        nxdomain: bool,
    },
    /// Nobody could tell: never permanent.
    Unknown {
        /// Why.
        reason: Reason,
        /// When asking again makes sense.
        retry_after: Monotonic,
    },
}

/// The answers to both questions about one host; `None` where not asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub ipv4: Option<Lookup>,
    pub ipv6: Option<Lookup>,
}

/// What the two answers together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    Found { addresses: Vec<IpAddr>, expires: Monotonic, whole: bool },
    None { nxdomain: bool, expires: Monotonic },
    Unknown { reason: Reason, until: Monotonic },
}

impl Addresses {
    /// Whether an answer is still to come.
    pub fn are_open(&self, family: Family) -> bool {
        (family.asks_ipv4() && self.ipv4.is_none()) || (family.asks_ipv6() && self.ipv6.is_none())
    }

    /// Merges the two. An unknown half does not hide the other half's
    /// addresses (then not `whole`), but it does keep a "none" from being
    /// believed.
    pub fn merge(&self, family: Family) -> Merged {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        let mut found_until = Monotonic::from_millis(u64::MAX);
        let mut none = (true, Monotonic::from_millis(u64::MAX));
        let mut unknown: Option<(Reason, Monotonic)> = None;
        for lookup in self.ipv6.iter().chain(&self.ipv4) {
            match lookup {
                Lookup::Found { records, expires } => {
                    found_until = found_until.min(*expires);
                    match &**records {
                        Records::A(list) => ipv4.extend(list.iter().copied().map(IpAddr::V4)),
                        Records::Aaaa(list) => ipv6.extend(list.iter().copied().map(IpAddr::V6)),
                        Records::Mx(_) | Records::Txt(_) | Records::Ptr(_) => {}
                    }
                }
                Lookup::None { nxdomain, expires } => {
                    none = (none.0 && *nxdomain, none.1.min(*expires));
                }
                Lookup::Unknown { reason, until } => {
                    let until = unknown.map_or(*until, |(_, earlier)| earlier.min(*until));
                    unknown = Some((*reason, until));
                }
            }
        }
        let addresses = match family {
            Family::Ipv6First | Family::Ipv6Only => in_turns(ipv6, ipv4),
            Family::Ipv4First | Family::Ipv4Only => in_turns(ipv4, ipv6),
        };
        match unknown {
            _ if !addresses.is_empty() => {
                Merged::Found { addresses, expires: found_until, whole: unknown.is_none() }
            }
            Some((reason, until)) => Merged::Unknown { reason, until },
            None => Merged::None { nxdomain: none.0, expires: none.1 },
        }
    }
}

/// One of the first, one of the second, and so on, to the bound (RFC 8305 §4):
/// a dead family costs one address before the other has its turn.
fn in_turns(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::with_capacity(ADDRESSES_PER_HOST_MAX);
    while mixed.len() < ADDRESSES_PER_HOST_MAX {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before {
            break;
        }
    }
    mixed.truncate(ADDRESSES_PER_HOST_MAX);
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    fn v4(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    fn v6(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
    }

    fn found4(count: u8, expires: u64) -> Option<Lookup> {
        let records = Arc::new(Records::A((1..=count).map(v4).collect()));
        Some(Lookup::Found { records, expires: at(expires) })
    }

    fn found6(count: u16, expires: u64) -> Option<Lookup> {
        let records = Arc::new(Records::Aaaa((1..=count).map(v6).collect()));
        Some(Lookup::Found { records, expires: at(expires) })
    }

    fn none(nxdomain: bool, expires: u64) -> Option<Lookup> {
        Some(Lookup::None { nxdomain, expires: at(expires) })
    }

    fn unknown(until: u64) -> Option<Lookup> {
        Some(Lookup::Unknown { reason: Reason::PeerTimeout, until: at(until) })
    }

    /// Proves: RFC 8305 §4
    /// Covers: A2.28
    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        let both = Addresses { ipv4: found4(1, 50), ipv6: found6(3, 70) };
        let v6_first: Vec<IpAddr> = vec![v6(1).into(), v4(1).into(), v6(2).into(), v6(3).into()];
        let found = |addresses| Merged::Found { addresses, expires: at(50), whole: true };
        assert_eq!(both.merge(Family::Ipv6First), found(v6_first));
        let v4_first = vec![v4(1).into(), v6(1).into(), v6(2).into(), v6(3).into()];
        assert_eq!(both.merge(Family::Ipv4First), found(v4_first));
    }

    /// Covers: A2.28
    #[test]
    fn the_bound_holds_and_leaves_both_families_in() {
        let many = Addresses { ipv4: found4(8, 50), ipv6: found6(8, 50) };
        let Merged::Found { addresses, .. } = many.merge(Family::Ipv6First) else { panic!() };
        assert_eq!(addresses.len(), ADDRESSES_PER_HOST_MAX);
        assert_eq!(addresses.iter().filter(|ip| ip.is_ipv4()).count(), 4);
    }

    /// Proves: RFC 5321 §5.1
    /// Covers: A2.25
    #[test]
    fn unknown_never_becomes_none_and_never_hides_what_was_found() {
        for (ipv4, ipv6, expected) in [
            (none(true, 9), none(true, 5), Merged::None { nxdomain: true, expires: at(5) }),
            (none(true, 9), none(false, 5), Merged::None { nxdomain: false, expires: at(5) }),
            (
                none(true, 9),
                unknown(3),
                Merged::Unknown { reason: Reason::PeerTimeout, until: at(3) },
            ),
            (unknown(4), unknown(3), Merged::Unknown { reason: Reason::PeerTimeout, until: at(3) }),
            (
                found4(1, 7),
                unknown(3),
                Merged::Found { addresses: vec![v4(1).into()], expires: at(7), whole: false },
            ),
            (None, none(false, 5), Merged::None { nxdomain: false, expires: at(5) }),
        ] {
            let addresses = Addresses { ipv4, ipv6 };
            assert_eq!(addresses.merge(Family::Ipv4First), expected, "{addresses:?}");
        }
    }
}
