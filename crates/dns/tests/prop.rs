//! Properties of the DNS room: no bytes make it panic, and whatever order
//! answers, forgeries, broken sockets and time come in, each resolution ends
//! exactly once, in time, within the bounds.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use base::Monotonic;
use base::limits::{ADDRESSES_PER_HOST_MAX, EXCHANGERS_MAX};
use dns::{
    Asked, Config, Dns, Exchange, Family, Hosts, Kind, Lookup, Name, Own, Resolution, Resolved,
    Resolver, Token, Transmit, forbidden, servers_from_resolv_conf,
};
use hickory_proto::op::ResponseCode;
use mail::Domain;
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../src/script.rs"]
mod script;

use script::{Reply, Zone};

const TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 4;

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn config(servers: u8, seed: u64) -> Config {
    let servers: Vec<SocketAddr> =
        (0..servers).map(|last| ([192, 0, 2, last], 53).into()).collect();
    Config { servers, timeout: TIMEOUT, attempts: ATTEMPTS, cache_entries_max: 8, seed }
}

/// Eight domains that share hosts, fail, loop, or are not there.
fn zone() -> Zone {
    Zone::default()
        .mx("d0.example", 10, "h0.example")
        .mx("d0.example", 20, "h1.example")
        .mx("d1.example", 10, "h1.example")
        .mx("d1.example", 10, "h2.example")
        .a("d2.example", [192, 0, 2, 1])
        .mx("d3.example", 5, "down.example")
        .cname("d4.example", "d0.example")
        .cname("d5.example", "d5.example")
        .mx("d6.example", 1, "us.example")
        .a("h0.example", [192, 0, 2, 2])
        .a("h1.example", [192, 0, 2, 3])
        .bare("h2.example")
        .failing("down.example", ResponseCode::ServFail)
}

/// What happens next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Mail(u8),
    Host(u8),
    Answer(usize),
    Code(usize, u8),
    Truncated(usize),
    Alias(usize),
    Folded(usize),
    Flipped(usize, usize, u8),
    Garbage(usize, Vec<u8>),
    Failed(usize),
    Pass(u16),
    Servers(u8),
    Flush(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8u8).prop_map(Step::Mail),
        1 => (0..8u8).prop_map(Step::Host),
        8 => any::<usize>().prop_map(Step::Answer),
        1 => (any::<usize>(), 0..24u8).prop_map(|(which, code)| Step::Code(which, code)),
        1 => any::<usize>().prop_map(Step::Truncated),
        1 => any::<usize>().prop_map(Step::Alias),
        1 => any::<usize>().prop_map(Step::Folded),
        2 => (any::<usize>(), any::<usize>(), any::<u8>())
            .prop_map(|(which, place, bits)| Step::Flipped(which, place, bits)),
        1 => (any::<usize>(), vec(any::<u8>(), 0..80))
            .prop_map(|(which, bytes)| Step::Garbage(which, bytes)),
        1 => any::<usize>().prop_map(Step::Failed),
        3 => (0..4_000u16).prop_map(Step::Pass),
        1 => (0..4u8).prop_map(Step::Servers),
        1 => (0..8u8).prop_map(Step::Flush),
    ]
}

/// The world around a [`Dns`], and what it still owes.
struct World {
    dns: Dns,
    zone: Zone,
    now: Monotonic,
    open: BTreeMap<u64, Transmit>,
    queries: BTreeSet<u64>,
    pending: BTreeMap<Token, Monotonic>,
}

impl World {
    fn new(seed: u64) -> Self {
        let own = Own { names: vec![domain("us.example")], addresses: Vec::new() };
        Self {
            dns: Dns::new(config(2, seed), own, Family::Ipv6First),
            zone: zone(),
            now: at(seed % 100_000),
            open: BTreeMap::new(),
            queries: BTreeSet::new(),
            pending: BTreeMap::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Mail(which) => {
                let domain = domain(&format!("d{which}.example"));
                match self.dns.resolve_mail(self.now, &domain) {
                    Resolution::Cached(exchange) => check_exchange(&exchange),
                    Resolution::Pending(token) => self.waits(token),
                }
            }
            Step::Host(which) => {
                let name = domain(&format!("h{which}.example"));
                if let Resolution::Pending(token) = self.dns.resolve_host(self.now, &name) {
                    self.waits(token);
                }
            }
            Step::Pass(ms) => {
                self.now = self.now + Duration::from_millis(u64::from(ms));
                self.dns.timeout(self.now);
            }
            Step::Servers(count) => self.dns.set_servers(config(count, 0).servers),
            Step::Flush(which) => {
                self.dns.flush(&domain(&format!("d{which}.example")));
            }
            Step::Failed(which) => {
                if let Some(query) = self.pick(which) {
                    self.dns.failed(self.now, query.query);
                }
            }
            step => self.arrive(step),
        }
        self.drain();
    }

    /// Bytes arrive on an open socket.
    fn arrive(&mut self, step: Step) {
        let (Step::Answer(which)
        | Step::Code(which, _)
        | Step::Truncated(which)
        | Step::Alias(which)
        | Step::Folded(which)
        | Step::Flipped(which, ..)
        | Step::Garbage(which, _)) = step
        else {
            unreachable!("handled by the caller");
        };
        let Some(query) = self.pick(which) else { return };
        let mut bytes = self.zone.answer(&query.bytes);
        match step {
            Step::Code(_, code) => {
                let code = ResponseCode::from(code >> 4, code & 15);
                bytes = Reply::to(&query.bytes).code(code).bytes();
            }
            Step::Truncated(_) => bytes = Reply::to(&query.bytes).truncated().bytes(),
            Step::Alias(_) => {
                let (owner, _) = script::question(&query.bytes);
                bytes = Reply::to(&query.bytes).cname(&owner, 9, "d0.example").bytes();
            }
            Step::Folded(_) => bytes[12..].make_ascii_lowercase(),
            Step::Flipped(_, place, bits) => {
                let place = place % bytes.len();
                bytes[place] ^= bits;
            }
            Step::Garbage(_, garbage) => bytes = garbage,
            _ => {}
        }
        self.dns.answer(self.now, query.query, &bytes);
    }

    fn pick(&self, which: usize) -> Option<Transmit> {
        let count = self.open.len();
        (count > 0).then(|| self.open.values().nth(which % count).cloned()).flatten()
    }

    fn waits(&mut self, token: Token) {
        let span = TIMEOUT * (ATTEMPTS + 2) * 2;
        self.pending.entry(token).or_insert(self.now + span);
    }

    fn drain(&mut self) {
        while let Some(query) = self.dns.poll_transmit() {
            assert!(self.queries.insert(query.query), "a query number is used once");
            self.open.insert(query.query, query);
        }
        while let Some(query) = self.dns.poll_done() {
            assert!(self.open.remove(&query).is_some(), "a socket is closed once");
        }
        while let Some((token, resolved)) = self.dns.poll_resolved() {
            let deadline = self.pending.remove(&token).expect("a resolution ends once");
            assert!(self.now <= deadline + Duration::from_millis(4_000), "and in time");
            if let Resolved::Mail(_, exchange) = &resolved {
                check_exchange(exchange);
            }
        }
        assert!(self.dns.exchanges().count() <= 8);
        assert!(self.dns.records().count() <= 8);
        assert_eq!(self.open.is_empty(), self.dns.next_deadline().is_none());
    }

    /// Nobody answers any more: all that is pending ends by itself.
    fn finish(mut self) {
        while let Some(due) = self.dns.next_deadline() {
            self.now = self.now.max(due);
            self.dns.timeout(self.now);
            self.drain();
        }
        assert!(self.pending.is_empty());
        assert!(self.open.is_empty());
    }
}

fn check_exchange(exchange: &Exchange) {
    if let Exchange::Found(exchangers) = exchange {
        assert!((1..=EXCHANGERS_MAX).contains(&exchangers.hosts.len()));
        assert!(exchangers.hosts.is_sorted_by_key(|host| host.preference));
        for host in &exchangers.hosts {
            assert!((1..=ADDRESSES_PER_HOST_MAX).contains(&host.addresses.len()));
        }
    }
}

proptest! {
    /// Covers: A2.29
    #[test]
    fn prop_each_resolution_ends_exactly_once(
        seed in any::<u64>(),
        steps in vec(step(), 1..200),
    ) {
        let mut world = World::new(seed);
        for step in steps {
            world.apply(step);
        }
        world.finish();
    }

    /// Only an answer that says so makes a "none": with damaged answers and
    /// failures alone, nothing permanent may come out.
    ///
    /// Covers: A2.25, B73
    #[test]
    fn prop_failures_and_damage_never_become_none(
        seed in any::<u64>(),
        damage in vec((0..6u8, any::<usize>()), 1..60),
    ) {
        let mut dns = Dns::new(config(2, seed), Own::default(), Family::Ipv6First);
        dns.resolve_mail(at(0), &domain("d0.example"));
        dns.resolve_host(at(0), &domain("h0.example"));
        let mut damage = damage.into_iter().cycle();
        let mut now = at(0);
        loop {
            while let Some(query) = dns.poll_transmit() {
                let (kind, place) = damage.next().unwrap();
                let reply = || Reply::to(&query.bytes);
                let whole = zone().answer(&query.bytes);
                match kind {
                    0 => dns.failed(now, query.query),
                    1 => dns.answer(now, query.query, &reply().truncated().bytes()),
                    2 => dns.answer(now, query.query, &reply().code(ResponseCode::ServFail).bytes()),
                    3 => dns.answer(now, query.query, &whole[..place % whole.len()]),
                    4 => dns.answer(now, query.query, &reply().referral("example").bytes()),
                    _ => {}
                }
            }
            let Some(due) = dns.next_deadline() else { break };
            now = now.max(due);
            dns.timeout(now);
        }
        while let Some((_, resolved)) = dns.poll_resolved() {
            let unknown = matches!(
                resolved,
                Resolved::Mail(_, Exchange::Unknown { .. })
                    | Resolved::Host(_, Hosts::Unknown { .. })
            );
            prop_assert!(unknown, "{:?}", resolved);
        }
    }

    /// Bytes that carry the right id and question, followed by anything.
    ///
    /// Covers: A12.6, A12.11, B76, B81
    #[test]
    fn prop_no_answer_makes_the_resolver_panic(
        seed in any::<u64>(),
        kind in 0..4u8,
        flags in any::<[u8; 2]>(),
        counts in any::<[u8; 3]>(),
        tail in vec(any::<u8>(), 0..300),
    ) {
        let kind = [Kind::Mx, Kind::A, Kind::Aaaa, Kind::Txt][usize::from(kind)];
        let mut resolver = Resolver::new(config(1, seed));
        let name = Name::of(&domain("mail.example")).unwrap();
        let Asked::Pending(_) = resolver.lookup(at(0), &name, kind) else { panic!() };
        let query = resolver.poll_transmit().unwrap();
        let mut bytes = query.bytes[..12 + 14 + 4].to_vec();
        bytes[2] = flags[0] & 0x07 | 0x80;
        bytes[3] = flags[1] & 0xf0 | if flags[1] & 4 == 0 { 0 } else { 3 };
        bytes[6..12].copy_from_slice(&[0, counts[0] % 6, 0, counts[1] % 4, 0, counts[2] % 4]);
        bytes.extend_from_slice(&tail);
        resolver.answer(at(1), query.query, &bytes);
        for answer in std::iter::from_fn(|| resolver.poll_answer()) {
            let bounded = match answer.1 {
                Lookup::Found { expires, .. } => expires <= at(86_400_001),
                Lookup::None { expires, .. } => expires <= at(10_800_001),
                Lookup::Unknown { until, .. } => until <= at(300_001),
            };
            prop_assert!(bounded);
        }
    }

    /// Covers: A2.30, B79
    #[test]
    fn prop_texts_and_addresses_of_any_kind_are_judged(text in ".{0,200}", ip in any::<u128>()) {
        prop_assert!(!servers_from_resolv_conf(&text).is_empty());
        let inside = (ip & 0xffff_ffff) as u32;
        let plain = forbidden(std::net::Ipv4Addr::from(inside).into(), &[], |_| false);
        let mapped = std::net::Ipv4Addr::from(inside).to_ipv6_mapped();
        prop_assert_eq!(plain, forbidden(mapped.into(), &[], |_| false));
        prop_assert_eq!(forbidden(std::net::Ipv6Addr::from(ip).into(), &[], |_| true), None);
    }
}
