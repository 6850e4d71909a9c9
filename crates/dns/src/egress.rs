//! Whether an address that mail leaves from and the name it greets with belong
//! together, as many receivers ask: the name has the address, the address has
//! the name, and what the address is called leads back to it.
//!
//! Never asks anybody: look-ups come in, words go out.
//!
//! Read first: RFC 5321 §4.1.4.

use std::net::IpAddr;

use mail::Domain;

use crate::answer::Records;
use crate::name::Name;
use crate::query::Kind;
use crate::resolver::Lookup;

/// Names of an address that are followed back.
pub const POINTERS_MAX: usize = 4;

/// What to ask first: the addresses of the name, of the family of `address`,
/// and the names of the address. None where no such name can exist.
pub fn questions(address: IpAddr, name: &Domain) -> Option<[(Name, Kind); 2]> {
    Some([(Name::of(name)?, forward(address)), (Name::reverse(address), Kind::Ptr)])
}

/// What to ask then: the addresses of the first names that the address has.
pub fn back(address: IpAddr, pointers: &Lookup) -> Vec<(Name, Kind)> {
    let kind = forward(address);
    names(pointers).iter().take(POINTERS_MAX).map(|name| (name.clone(), kind)).collect()
}

/// What does not fit; nothing where all of it does. `back` are the answers to
/// [`back`], in their order.
pub fn disagreements(
    address: IpAddr,
    name: &Domain,
    ours: &Lookup,
    pointers: &Lookup,
    back: &[Lookup],
) -> Vec<String> {
    let mut found = Vec::new();
    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
    match ours {
        Lookup::Found { .. } if has(ours, address) => {}
        Lookup::Found { .. } => {
            let list = listed(addresses(ours).iter());
            found.push(format!("name and address: {name} has {list}, not {address}"));
        }
        Lookup::None { nxdomain: true, .. } => {
            found.push(format!("name and address: {name} does not exist"));
        }
        Lookup::None { .. } => {
            found.push(format!("name and address: {name} has no {kind} record"));
        }
        Lookup::Unknown { reason, .. } => {
            found.push(format!("nobody could tell the addresses of {name}: {reason}"));
        }
    }
    match pointers {
        Lookup::Found { .. } => {
            let names = names(pointers);
            if names.iter().all(|pointer| pointer.to_domain().as_ref() != Some(name)) {
                let list = listed(names.iter());
                found.push(format!("address and name: {address} is called {list}, not {name}"));
            }
            if !back.iter().any(|lookup| has(lookup, address)) {
                let list = listed(names.iter().take(POINTERS_MAX));
                found.push(format!("PTR and address: {list} does not lead back to {address}"));
            }
        }
        Lookup::None { .. } => {
            let asked = Name::reverse(address);
            found.push(format!("address and name: {address} has no name (no PTR at {asked})"));
        }
        Lookup::Unknown { reason, .. } => {
            found.push(format!("nobody could tell the name of {address}: {reason}"));
        }
    }
    found
}

/// The addresses in an answer.
pub fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    match lookup {
        Lookup::Found { records, .. } => match &**records {
            Records::A(list) => list.iter().copied().map(IpAddr::V4).collect(),
            Records::Aaaa(list) => list.iter().copied().map(IpAddr::V6).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The names in an answer.
pub fn names(lookup: &Lookup) -> &[Name] {
    match lookup {
        Lookup::Found { records, .. } => match &**records {
            Records::Ptr(list) => list,
            _ => &[],
        },
        _ => &[],
    }
}

fn has(lookup: &Lookup, address: IpAddr) -> bool {
    addresses(lookup).contains(&address)
}

fn forward(address: IpAddr) -> Kind {
    if address.is_ipv4() { Kind::A } else { Kind::Aaaa }
}

fn listed<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::Monotonic;

    use super::*;

    const LATER: Monotonic = Monotonic::from_millis(1);

    fn found(records: Records) -> Lookup {
        Lookup::Found { records: Arc::new(records), expires: LATER }
    }

    fn a(last: u8) -> Lookup {
        found(Records::A(vec![[192, 0, 2, last].into()]))
    }

    fn ptr(names: &[&str]) -> Lookup {
        let name = |text: &&str| Name::of(&Domain::parse(text).unwrap()).unwrap();
        found(Records::Ptr(names.iter().map(name).collect()))
    }

    fn none() -> Lookup {
        Lookup::None { nxdomain: false, expires: LATER }
    }

    fn judged(ours: &Lookup, pointers: &Lookup, back: &[Lookup]) -> String {
        let name = Domain::parse("mail.example.com").unwrap();
        disagreements([192, 0, 2, 1].into(), &name, ours, pointers, back).join("; ")
    }

    #[test]
    fn what_fits_is_passed_and_each_pair_that_does_not_is_named() {
        let ours = ptr(&["mail.example.com"]);
        assert_eq!(judged(&a(1), &ours, &[a(1)]), "");
        assert_eq!(
            judged(&a(1), &ptr(&["x.example.net", "mail.example.com"]), &[none(), a(1)]),
            ""
        );
        let wrong = judged(&a(9), &ours, &[a(9)]);
        assert!(wrong.contains("mail.example.com has 192.0.2.9, not 192.0.2.1"), "{wrong}");
        assert!(wrong.contains("mail.example.com does not lead back to 192.0.2.1"), "{wrong}");
        let other = judged(&a(1), &ptr(&["x.example.net"]), &[a(1)]);
        assert_eq!(
            other,
            "address and name: 192.0.2.1 is called x.example.net, not mail.example.com"
        );
        let bare = judged(&none(), &none(), &[]);
        assert!(
            bare.contains("has no A record") && bare.contains("1.2.0.192.in-addr.arpa"),
            "{bare}"
        );
    }

    #[test]
    fn addresses_are_asked_for_backwards() {
        assert_eq!(Name::reverse([192, 0, 2, 1].into()).to_string(), "1.2.0.192.in-addr.arpa");
        let six = Name::reverse("2001:db8::1".parse().unwrap()).to_string();
        assert!(six.starts_with("1.0.0.0.") && six.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{six}");
    }
}
