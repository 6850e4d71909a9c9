//! MX rows: conformance A2.20 to A2.27, fault 80.

use super::*;
use crate::name::Name;
use hickory_proto::rr;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn found(list: &[(u16, &str)]) -> Lookup {
    let mut records: Vec<Mx> = list
        .iter()
        .map(|(preference, host)| {
            let host = rr::Name::from_labels(host.split('.').map(str::as_bytes)).unwrap();
            Mx { preference: *preference, exchange: Name::from_wire(&host).unwrap() }
        })
        .collect();
    records.sort_unstable();
    Lookup::Found { records: Arc::new(Records::Mx(records)), expires: at(900) }
}

fn us() -> Own {
    Own { names: vec![domain("us.example")], addresses: vec![[192, 0, 2, 7].into()] }
}

fn next(list: &[(u16, &str)]) -> Next {
    candidates(&domain("example.com"), &found(list), &us())
}

fn hosts(list: &[(&str, u16)]) -> Next {
    let hosts = list.iter().map(|(name, preference)| (domain(name), *preference)).collect();
    Next::Hosts { hosts, implicit: false }
}

/// Proves: RFC 7505 §3
/// Covers: A2.27
#[test]
fn a_null_mx_stands_alone() {
    let null = Lookup::Found {
        records: Arc::new(Records::Mx(vec![Mx {
            preference: 0,
            exchange: Name::from_wire(&rr::Name::root()).unwrap(),
        }])),
        expires: at(900),
    };
    let domain = domain("example.com");
    assert_eq!(candidates(&domain, &null, &us()), Next::Ended(Exchange::NullMx));
    let Lookup::Found { records, .. } = found(&[(10, "a.example")]) else { panic!() };
    let (Records::Mx(mut both), Lookup::Found { records: root, .. }) = ((*records).clone(), null)
    else {
        panic!()
    };
    let Records::Mx(root) = (*root).clone() else { panic!() };
    both.splice(0..0, root);
    let both = Lookup::Found { records: Arc::new(Records::Mx(both)), expires: at(900) };
    assert_eq!(candidates(&domain, &both, &us()), hosts(&[("a.example", 10)]), "not null then");
}

/// Proves: RFC 5321 §5.1
/// Covers: A2.21, A2.25, A2.26
#[test]
fn the_answer_without_records_decides_between_implicit_mx_none_and_unknown() {
    let domain = domain("example.com");
    let none = |nxdomain| Lookup::None { nxdomain, expires: at(900) };
    let unknown = Lookup::Unknown { reason: Reason::PeerServerFailure, until: at(5) };
    let implicit = Next::Hosts { hosts: vec![(domain.clone(), 0)], implicit: true };
    assert_eq!(candidates(&domain, &none(false), &us()), implicit);
    assert_eq!(candidates(&domain, &none(true), &us()), Next::Ended(Exchange::NoDomain));
    let later = Exchange::Unknown { reason: Reason::PeerServerFailure, retry_after: at(5) };
    assert_eq!(candidates(&domain, &unknown, &us()), Next::Ended(later));
    let ours = Own { names: vec![domain.clone()], ..Own::default() };
    assert_eq!(candidates(&domain, &none(false), &ours), Next::Ended(Exchange::Loop));
}

/// Proves: RFC 5321 §5.1
/// Covers: A2.26, B59
/// Shows: S1.15
#[test]
fn our_own_name_cuts_the_list_at_its_preference() {
    let full = [(5, "a.example"), (10, "us.example"), (10, "b.example"), (20, "c.example")];
    assert_eq!(next(&full), hosts(&[("a.example", 5)]));
    assert_eq!(next(&full[1..]), Next::Ended(Exchange::Loop));
    assert_eq!(next(&[(10, "A.example"), (20, "US.example")]), hosts(&[("a.example", 10)]));
    let equals: Vec<String> = (0..40).map(|at| format!("n{at}.example")).collect();
    let mut many: Vec<(u16, &str)> = equals.iter().map(|host| (10, host.as_str())).collect();
    many.push((10, "us.example"));
    assert_eq!(next(&many), Next::Ended(Exchange::Loop), "before the bound cuts us off");
}

/// Conformance B2, fault 80.
/// Proves: RFC 5321 §5.1
/// Covers: A2.22, B80
#[test]
fn unusable_targets_are_dropped_and_no_address_record_is_fallen_back_on() {
    for host in ["192.0.2.1", "localhost", "mx.localhost", "mail", "a b", "-x.example"] {
        assert_eq!(next(&[(10, host)]), Next::Ended(Exchange::NoAddress), "{host}");
        let both = [(10, host), (20, "good.example")];
        assert_eq!(next(&both), hosts(&[("good.example", 20)]), "{host}");
    }
}

/// Covers: A2.29
#[test]
fn hosts_are_bounded_and_the_preferred_ones_stay() {
    let names: Vec<String> = (0..30).map(|at| format!("n{at:02}.example")).collect();
    let list: Vec<(u16, &str)> =
        names.iter().enumerate().map(|(at, host)| (100 - at as u16, host.as_str())).collect();
    let Next::Hosts { hosts: kept, .. } = next(&list) else { panic!() };
    assert_eq!(kept.len(), EXCHANGERS_MAX);
    assert_eq!(kept[0], (domain("n29.example"), 71));
    assert_eq!(next(&[(10, "a.example"), (5, "a.example")]), hosts(&[("a.example", 5)]));
}

fn addresses(last: u8) -> Addresses {
    let records = Arc::new(Records::A(vec![[192, 0, 2, last].into()]));
    let found = Lookup::Found { records, expires: at(100_000) };
    Addresses { ipv4: Some(found), ipv6: Some(Lookup::None { nxdomain: false, expires: at(900) }) }
}

fn no_addresses(nxdomain: bool) -> Addresses {
    let none = Some(Lookup::None { nxdomain, expires: at(700) });
    Addresses { ipv4: none.clone(), ipv6: none }
}

fn unknown_addresses() -> Addresses {
    let unknown = Some(Lookup::Unknown { reason: Reason::PeerTimeout, until: at(3_000) });
    Addresses { ipv4: unknown.clone(), ipv6: unknown }
}

fn concluded(implicit: bool, list: &[(&str, u16, Addresses)]) -> (Exchange, Monotonic) {
    let hosts: Vec<_> = list
        .iter()
        .map(|(name, preference, addresses)| (domain(name), *preference, addresses.clone()))
        .collect();
    let answers = Answers { mx_expires: at(200_000), implicit, hosts: &hosts, whole: true };
    conclude(at(0), answers, &us(), Family::Ipv6First)
}

/// Proves: RFC 5321 §5.1
/// Covers: A2.22, A2.25
#[test]
fn what_some_hosts_lack_the_others_make_up_for() {
    let unknown = Exchange::Unknown { reason: Reason::PeerTimeout, retry_after: at(3_000) };
    for (list, expected, expires) in [
        (vec![("a.example", 1, no_addresses(true))], Exchange::NoAddress, 700),
        (
            vec![("a.example", 1, no_addresses(true)), ("b.example", 2, unknown_addresses())],
            unknown.clone(),
            3_000,
        ),
        (vec![("a.example", 1, unknown_addresses())], unknown, 3_000),
    ] {
        assert_eq!(concluded(false, &list), (expected, at(expires)));
    }
    let mixed = [
        ("b.example", 1, unknown_addresses()),
        ("a.example", 2, addresses(1)),
        ("c.example", 3, no_addresses(false)),
    ];
    let (Exchange::Found(some), expires) = concluded(false, &mixed) else { panic!() };
    assert_eq!(some.hosts.len(), 1);
    assert_eq!(some.hosts[0].name, domain("a.example"));
    assert_eq!(some.site_key, "a.example,b.example,c.example");
    assert_eq!((some.expires, expires), (at(700), at(700)));
    let (Exchange::Found(some), _) = concluded(false, &mixed[..2]) else { panic!() };
    assert_eq!(some.expires, at(60_000), "looked at again soon, for b's sake");
    let (Exchange::Found(whole), _) = concluded(false, &mixed[1..2]) else { panic!() };
    assert_eq!(whole.expires, at(100_000));
}

/// Who uses what was found first may find that none of it can be used: what is
/// not known of the others, or still to come, is told with it.
///
/// Covers: A2.25
#[test]
fn what_is_found_tells_that_more_may_be() {
    let found = |whole, other: Addresses| {
        let hosts = [(domain("a.example"), 1, addresses(1)), (domain("b.example"), 2, other)];
        let answers = Answers { mx_expires: at(200_000), implicit: false, hosts: &hosts, whole };
        let (Exchange::Found(some), _) = conclude(at(0), answers, &us(), Family::Ipv6First) else {
            panic!()
        };
        some.unknown.map(|(reason, _)| reason)
    };
    assert_eq!(found(true, addresses(2)), None);
    assert_eq!(found(true, no_addresses(true)), None);
    assert_eq!(found(true, Addresses::default()), None, "of a name that nobody can be asked");
    assert_eq!(found(true, unknown_addresses()), Some(Reason::PeerTimeout));
    assert_eq!(found(false, Addresses::default()), Some(Reason::PeerTimeout));
}

/// Covers: A12.9
#[test]
fn a_domain_with_neither_mx_nor_addresses_is_told_from_one_that_is_gone() {
    let one = |nxdomain| [("example.com", 0, no_addresses(nxdomain))];
    assert_eq!(concluded(true, &one(false)).0, Exchange::NoAddress);
    assert_eq!(concluded(true, &one(true)).0, Exchange::NoDomain);
}

/// Covers: A2.26, B59
#[test]
fn our_own_address_cuts_the_list_too() {
    let list = [
        ("a.example", 5, addresses(1)),
        ("sly.example", 10, addresses(7)),
        ("z.example", 10, addresses(2)),
    ];
    let (Exchange::Found(some), _) = concluded(false, &list) else { panic!() };
    assert_eq!(some.hosts.len(), 1);
    assert_eq!(concluded(false, &list[1..]).0, Exchange::Loop);
}

/// We back up a domain whose first exchanger cannot be looked up just now: its
/// mail is no loop for that, it waits. A host behind us or beside us makes no
/// difference.
///
/// Proves: RFC 5321 §5.1
/// Covers: A2.25, A2.26, B59
#[test]
fn a_host_preferred_to_us_that_nobody_can_tell_is_no_loop() {
    let unknown = Exchange::Unknown { reason: Reason::PeerTimeout, retry_after: at(3_000) };
    for (preference, expected) in [(5, unknown), (10, Exchange::Loop), (20, Exchange::Loop)] {
        let mut list = vec![
            ("sly.example", 10, addresses(7)),
            ("first.example", preference, unknown_addresses()),
            ("z.example", 20, addresses(2)),
        ];
        list.sort_by_key(|(_, preference, _)| *preference);
        assert_eq!(concluded(false, &list).0, expected, "{preference}");
    }
}

/// Proves: RFC 5321 §5.1
/// Covers: A2.20
#[test]
fn equal_preferences_are_shuffled_anew_and_unequal_ones_never() {
    let list = [
        ("a.example", 10, addresses(1)),
        ("b.example", 10, addresses(2)),
        ("c.example", 10, addresses(3)),
        ("d.example", 20, addresses(4)),
    ];
    let (Exchange::Found(some), _) = concluded(false, &list) else { panic!() };
    let mut rng = Rng::new(1);
    let mut first = [0u32; 4];
    for _ in 0..3_000 {
        let order = some.ordered(&mut rng);
        assert_eq!(order[3], 3);
        first[order[0]] += 1;
    }
    assert_eq!(first[3], 0);
    assert!(first[..3].iter().all(|count| (850..1_150).contains(count)), "{first:?}");
}
