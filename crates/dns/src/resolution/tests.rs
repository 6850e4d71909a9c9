//! Whole resolutions against a zone in memory.

use super::*;
use crate::script::Zone;
use base::limits::{ADDRESSES_PER_HOST_MAX, EXCHANGERS_MAX};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, Ipv6Addr};

const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn dns() -> Dns {
    let config = Config {
        servers: vec![([192, 0, 2, 53], 53).into(), ([192, 0, 2, 54], 53).into()],
        timeout: crate::TIMEOUT_DEFAULT,
        attempts: crate::ATTEMPTS_DEFAULT,
        cache_entries_max: 1_000,
        seed: 3,
    };
    let own = Own { names: vec![domain("us.example")], addresses: Vec::new() };
    Dns::new(config, own, Family::Ipv6First)
}

/// Answers out of `zone` until nothing is asked any more; says what was asked.
fn serve(dns: &mut Dns, now: Monotonic, zone: &Zone) -> Vec<(String, RecordType)> {
    let mut asked = Vec::new();
    while let Some(query) = dns.poll_transmit() {
        asked.push(crate::script::question(&query.bytes));
        dns.answer(now, query.query, &zone.answer(&query.bytes));
    }
    asked
}

fn mail(dns: &mut Dns, now: Monotonic, zone: &Zone, text: &str) -> Exchange {
    let token = match dns.resolve_mail(now, &domain(text)) {
        Resolution::Cached(exchange) => return exchange,
        Resolution::Pending(token) => token,
    };
    serve(dns, now, zone);
    let (ended, resolved) = dns.poll_resolved().expect("an end");
    assert_eq!(ended, token);
    assert_eq!(dns.poll_resolved(), None);
    match resolved {
        Resolved::Mail(name, exchange) => {
            assert_eq!(name, domain(text));
            exchange
        }
        Resolved::Host(..) => panic!("mail was asked for"),
    }
}

fn found(exchange: Exchange) -> Arc<crate::Exchangers> {
    match exchange {
        Exchange::Found(exchangers) => exchangers,
        other => panic!("{other:?}"),
    }
}

fn two_hosts() -> Zone {
    Zone::default()
        .mx("example.com", 20, "b.example.net")
        .mx("example.com", 10, "a.example.net")
        .a("a.example.net", [192, 0, 2, 1])
        .aaaa("a.example.net", V6)
        .a("b.example.net", [192, 0, 2, 2])
}

/// Proves: RFC 5321 §5.1
/// Covers: A2.20
#[test]
fn a_domain_resolves_to_its_exchangers_in_order_with_both_families() {
    let mut dns = dns();
    let exchangers = found(mail(&mut dns, at(0), &two_hosts(), "example.com"));
    let names: Vec<&str> = exchangers.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["a.example.net", "b.example.net"]);
    let first: Vec<IpAddr> = vec![V6.into(), [192, 0, 2, 1].into()];
    assert_eq!(exchangers.hosts[0].addresses, first);
    assert_eq!(exchangers.site_key, "a.example.net,b.example.net");
    assert!(!exchangers.implicit);
    assert_eq!(exchangers.expires, at(300_000));
    let again = dns.resolve_mail(at(299_999), &domain("example.com"));
    assert_eq!(again, Resolution::Cached(Exchange::Found(exchangers)));
    assert!(matches!(
        dns.resolve_mail(at(300_000), &domain("example.com")),
        Resolution::Pending(_)
    ));
}

#[test]
fn addresses_are_asked_for_in_parallel_and_once_for_all_domains() {
    let mut dns = dns();
    let zone =
        two_hosts().mx("other.example", 5, "a.example.net").mx("other.example", 5, "b.example.net");
    for text in ["example.com", "other.example", "example.com"] {
        assert!(matches!(dns.resolve_mail(at(0), &domain(text)), Resolution::Pending(_)));
    }
    let mx: Vec<Transmit> = std::iter::from_fn(|| dns.poll_transmit()).collect();
    assert_eq!(mx.len(), 2, "one each");
    for query in &mx {
        dns.answer(at(1), query.query, &zone.answer(&query.bytes));
    }
    let asked = serve(&mut dns, at(2), &zone);
    assert_eq!(asked.len(), 4, "two hosts, two families, for both domains: {asked:?}");
    let ended: Vec<Resolved> =
        std::iter::from_fn(|| dns.poll_resolved()).map(|(_, resolved)| resolved).collect();
    assert_eq!(ended.len(), 2);
    let keys: Vec<String> = ended
        .into_iter()
        .map(|resolved| match resolved {
            Resolved::Mail(_, exchange) => found(exchange).site_key.clone(),
            Resolved::Host(..) => panic!("mail was asked for"),
        })
        .collect();
    assert_eq!(keys[0], keys[1], "one MX set is one site");
    let third = zone.mx("third.example", 1, "b.example.net");
    assert!(matches!(dns.resolve_mail(at(3), &domain("third.example")), Resolution::Pending(_)));
    assert_eq!(serve(&mut dns, at(3), &third).len(), 1, "the rest is in the cache");
}

/// Proves: RFC 5321 §5.1
/// Covers: A2.21, A2.22, A2.23, A2.24, A2.26, A2.27, B80
#[test]
fn each_kind_of_domain_has_its_own_outcome() {
    let zone = Zone::default()
        .a("implicit.example", [192, 0, 2, 3])
        .with("null.example", null_mx())
        .bare("empty.example")
        .mx("hollow.example", 10, "nowhere.example")
        .a("hollow.example", [192, 0, 2, 9])
        .mx("loop.example", 10, "us.example")
        .cname("alias.example", "example.com")
        .cname("bare-alias.example", "implicit.example")
        .mx("via-alias.example", 10, "alias-host.example")
        .cname("alias-host.example", "implicit.example")
        .cname("circle.example", "circle.example")
        .failing("down.example", ResponseCode::ServFail)
        .mx("half-down.example", 10, "down.example")
        .mx("half-down.example", 20, "implicit.example")
        .mx("all-down.example", 10, "down.example");
    let zone =
        ["example.com"].iter().fold(zone, |zone, owner| zone.mx(owner, 1, "implicit.example"));
    let mut dns = dns();
    let mut resolve = |text: &str| mail(&mut dns, at(0), &zone, text);
    let implicit = found(resolve("implicit.example"));
    assert!(implicit.implicit);
    assert_eq!(implicit.site_key, "implicit.example");
    assert_eq!(resolve("null.example"), Exchange::NullMx);
    assert_eq!(resolve("gone.example"), Exchange::NoDomain);
    assert_eq!(resolve("empty.example"), Exchange::NoAddress);
    assert_eq!(resolve("hollow.example"), Exchange::NoAddress, "its A record is not used");
    assert_eq!(resolve("loop.example"), Exchange::Loop);
    assert_eq!(found(resolve("alias.example")).hosts[0].name, domain("implicit.example"));
    assert_eq!(found(resolve("bare-alias.example")).hosts[0].name, domain("bare-alias.example"));
    assert_eq!(found(resolve("via-alias.example")).hosts[0].name, domain("alias-host.example"));
    assert_eq!(found(resolve("half-down.example")).hosts.len(), 1);
    for text in ["down.example", "all-down.example"] {
        let exchange = resolve(text);
        let reason = Reason::PeerServerFailure;
        assert_eq!(exchange, Exchange::Unknown { reason, retry_after: at(1_000) }, "{text}");
    }
    let looping = Exchange::Unknown { reason: Reason::PeerAliasLoop, retry_after: at(1_000) };
    assert_eq!(resolve("circle.example"), looping);
}

fn null_mx() -> hickory_proto::rr::RData {
    use hickory_proto::rr::{Name, RData, rdata::MX};
    RData::MX(MX::new(0, Name::root()))
}

/// Proves: RFC 7505 §3
/// Covers: A2.27
#[test]
fn a_null_mx_asks_for_no_addresses() {
    let zone = Zone::default().with("null.example", null_mx());
    let mut dns = dns();
    assert!(matches!(dns.resolve_mail(at(0), &domain("null.example")), Resolution::Pending(_)));
    let asked = serve(&mut dns, at(0), &zone);
    assert_eq!(asked, [("null.example".into(), RecordType::MX)]);
}

/// Covers: A2.29
#[test]
fn the_bounds_on_hosts_and_addresses_hold() {
    let mut zone = Zone::default();
    for at_host in 0..EXCHANGERS_MAX + 4 {
        let host = format!("h{at_host:02}.example");
        zone = zone.mx("wide.example", 10, &host);
        for last in 0..ADDRESSES_PER_HOST_MAX as u8 + 2 {
            zone = zone.a(&host, [192, 0, 2, last]);
        }
    }
    let exchangers = found(mail(&mut dns(), at(0), &zone, "wide.example"));
    assert_eq!(exchangers.hosts.len(), EXCHANGERS_MAX);
    for host in &exchangers.hosts {
        assert_eq!(host.addresses.len(), ADDRESSES_PER_HOST_MAX);
    }
}

#[test]
fn a_host_by_name_needs_no_mx() {
    let zone = two_hosts().failing("down.example", ResponseCode::Refused).bare("bare.example");
    let mut dns = dns();
    let mut resolve = |text: &str| {
        let name = domain(text);
        assert!(matches!(dns.resolve_host(at(0), &name), Resolution::Pending(_)));
        let asked = serve(&mut dns, at(0), &zone);
        assert!(asked.iter().all(|(_, kind)| *kind != RecordType::MX));
        let Some((_, Resolved::Host(ended, hosts))) = dns.poll_resolved() else { panic!() };
        assert_eq!(ended, name);
        assert_eq!(dns.resolve_host(at(1), &name), Resolution::Cached(hosts.clone()));
        hosts
    };
    let Hosts::Found(host) = resolve("a.example.net") else { panic!() };
    assert_eq!(host.addresses, [IpAddr::from(V6), [192, 0, 2, 1].into()]);
    assert_eq!(resolve("bare.example"), Hosts::None { nxdomain: false });
    assert_eq!(resolve("gone.example"), Hosts::None { nxdomain: true });
    let unknown = Hosts::Unknown { reason: Reason::PeerRefused, retry_after: at(1_000) };
    assert_eq!(resolve("down.example"), unknown);
}

/// Covers: A2.28
#[test]
fn a_family_that_is_off_is_not_asked_for() {
    for (family, kind) in [(Family::Ipv4Only, RecordType::A), (Family::Ipv6Only, RecordType::AAAA)]
    {
        let mut dns = dns();
        dns.set_policy(Own::default(), family);
        dns.resolve_host(at(0), &domain("a.example.net"));
        let asked = serve(&mut dns, at(0), &two_hosts());
        assert_eq!(asked, [("a.example.net".into(), kind)]);
        let Some((_, Resolved::Host(_, Hosts::Found(host)))) = dns.poll_resolved() else {
            panic!()
        };
        assert_eq!(host.addresses.len(), 1);
    }
}

#[test]
fn a_domain_longer_than_dns_allows_does_not_exist() {
    let label = "a".repeat(63);
    let longest = domain(&format!("{label}.{label}.{label}.{label}"));
    let mut dns = dns();
    assert_eq!(dns.resolve_mail(at(0), &longest), Resolution::Cached(Exchange::NoDomain));
    let none = Resolution::Cached(Hosts::None { nxdomain: true });
    assert_eq!(dns.resolve_host(at(0), &longest), none);
    assert_eq!(dns.poll_transmit(), None);
    assert_eq!(dns.poll_resolved(), None);
}

/// Covers: A12.15
#[test]
fn too_many_resolutions_are_our_own_shortage() {
    let mut dns = dns();
    for count in 0..RESOLUTIONS_MAX {
        let name = domain(&format!("n{count}.example"));
        assert!(matches!(dns.resolve_mail(at(0), &name), Resolution::Pending(_)));
    }
    let busy = Exchange::Unknown { reason: Reason::LocalBusy, retry_after: at(1_000) };
    let refused = dns.resolve_mail(at(0), &domain("one-more.example"));
    assert_eq!(refused, Resolution::Cached(busy));
}

#[test]
fn flushing_a_domain_forgets_its_hosts_too() {
    let mut dns = dns();
    mail(&mut dns, at(0), &two_hosts(), "example.com");
    assert_eq!(dns.exchanges().count(), 1);
    assert_eq!(dns.records().count(), 5);
    assert!(dns.flush(&domain("example.com")));
    assert_eq!(dns.exchanges().count(), 0);
    assert_eq!(dns.records().count(), 0);
    assert!(!dns.flush(&domain("example.com")));
    mail(&mut dns, at(0), &two_hosts(), "example.com");
    dns.flush_all();
    assert_eq!(dns.exchanges().count() + dns.records().count(), 0);
}

/// Conformance B2, fault 82: recovery after the servers were replaced.
///
/// Covers: B82
#[test]
fn new_servers_and_new_own_names_take_effect_at_once() {
    let mut dns = dns();
    let broken = Zone::default().failing("example.com", ResponseCode::ServFail);
    assert!(matches!(mail(&mut dns, at(0), &broken, "example.com"), Exchange::Unknown { .. }));
    dns.set_servers(vec![([192, 0, 2, 55], 53).into()]);
    assert_eq!(found(mail(&mut dns, at(1), &two_hosts(), "example.com")).hosts.len(), 2);
    let own = Own { names: vec![domain("b.example.net")], ..Own::default() };
    dns.set_policy(own.clone(), Family::Ipv6First);
    let cut = mail(&mut dns, at(1), &Zone::default(), "example.com");
    assert_eq!(found(cut).hosts.len(), 1, "concluded anew from the answers kept");
    dns.set_policy(own, Family::Ipv6First);
    assert_eq!(dns.exchanges().count(), 1, "nothing changed, nothing forgotten");
}

/// Answers all but what `unanswered` says.
fn serve_but(dns: &mut Dns, now: Monotonic, unanswered: impl Fn(&str, RecordType) -> bool) {
    while let Some(query) = dns.poll_transmit() {
        let (owner, kind) = crate::script::question(&query.bytes);
        if !unanswered(&owner, kind) {
            dns.answer(now, query.query, &two_hosts().answer(&query.bytes));
        }
    }
}

/// Conformance A2.28: a dead family costs a moment, not a time-out.
///
/// Covers: A2.28
#[test]
fn addresses_that_can_be_done_without_are_not_waited_for() {
    let mut dns = dns();
    assert!(matches!(dns.resolve_mail(at(0), &domain("example.com")), Resolution::Pending(_)));
    serve_but(&mut dns, at(10), |owner, kind| kind == RecordType::AAAA || owner == "b.example.net");
    assert_eq!(dns.poll_resolved(), None);
    assert_eq!(dns.next_deadline(), Some(at(1_010)));
    dns.timeout(at(1_010));
    let Some((_, Resolved::Mail(_, exchange))) = dns.poll_resolved() else { panic!() };
    let exchangers = found(exchange);
    assert_eq!(exchangers.hosts.len(), 1);
    assert_eq!(exchangers.hosts[0].addresses, [IpAddr::from([192, 0, 2, 1])]);
    assert_eq!(exchangers.expires, at(61_010), "looked at again soon");
    assert_eq!(exchangers.site_key, "a.example.net,b.example.net");
    while let Some(due) = dns.next_deadline() {
        dns.timeout(due);
        serve_but(&mut dns, due, |_, _| false);
    }
    assert_eq!(dns.poll_resolved(), None, "it had ended");
    let Resolution::Cached(whole) = dns.resolve_mail(at(61_010), &domain("example.com")) else {
        panic!("the late answers were kept")
    };
    assert_eq!(found(whole).hosts.len(), 2);
}

/// Proves: RFC 5321 §5.1
/// Covers: A2.20
#[test]
fn a_preferred_host_is_waited_for() {
    let mut dns = dns();
    assert!(matches!(dns.resolve_mail(at(0), &domain("example.com")), Resolution::Pending(_)));
    serve_but(&mut dns, at(10), |owner, _| owner == "a.example.net");
    dns.timeout(at(1_010));
    assert_eq!(dns.poll_resolved(), None);
    dns.timeout(at(3_010));
    serve_but(&mut dns, at(3_020), |_, kind| kind == RecordType::AAAA);
    let Some((_, Resolved::Mail(_, exchange))) = dns.poll_resolved() else { panic!() };
    assert_eq!(found(exchange).hosts.len(), 2, "its first address is enough");
}

/// While no server answers, the last good answer goes on to be used, asked
/// about again and again, up to a set age; then nobody knows. A better answer
/// replaces it at once, and an old "no" is no answer.
///
/// Shows: S3.18
#[test]
fn a_good_answer_outlives_the_servers_for_a_set_time() {
    let zone = Zone::default()
        .mx("there.example", 10, "mx.there.example")
        .a("mx.there.example", [192, 0, 2, 7])
        .bare("mx.there.example");
    let down = |code| {
        let zone = Zone::default().failing("there.example", code);
        zone.failing("mx.there.example", code).failing("gone.example", code)
    };
    let broken = down(ResponseCode::ServFail);
    let mut dns = dns();
    dns.serve_stale(Duration::from_secs(3_600));
    let first = found(mail(&mut dns, at(0), &zone, "there.example"));
    let gone = mail(&mut dns, at(0), &zone, "gone.example");
    assert_eq!(gone, Exchange::NoDomain);
    let good_until = first.expires;
    let last = good_until + Duration::from_secs(3_599);
    for now in [good_until + Duration::from_secs(1), last] {
        let stale = found(mail(&mut dns, now, &broken, "there.example"));
        assert_eq!(stale.hosts, first.hosts);
        assert!(stale.expires > now && stale.expires < now + Duration::from_secs(600));
        let rows: Vec<_> = dns.exchanges().filter(|row| row.2 <= now).collect();
        assert!(rows.iter().any(|row| row.0.as_str() == "there.example"), "{rows:?}");
    }
    let gone = mail(&mut dns, last, &broken, "gone.example");
    assert!(matches!(gone, Exchange::Unknown { .. }), "{gone:?}");
    let later = last + Duration::from_secs(600);
    let over = mail(&mut dns, later, &broken, "there.example");
    assert!(matches!(over, Exchange::Unknown { .. }), "{over:?}");
    let back = later + Duration::from_secs(600);
    let again = found(mail(&mut dns, back, &zone, "there.example"));
    assert!(again.expires > back);
}
