//! Look-ups of exchangers and addresses: any answers of name servers, in any
//! order, with losses and time between them.
//!
//! Input: steps. Oracle: what does not match id and question changes nothing;
//! every address that comes out stood in an answer that matched; each
//! resolution ends once and within a bounded time; answers are kept within
//! their bounds; each query's socket is closed once.
//!
//! Read first: RFC 5452 §9.1, RFC 2308 §5, RFC 1034 §5.3.

pub(crate) mod packet;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::limits::{ADDRESSES_PER_HOST_MAX, EXCHANGERS_MAX};
use base::{Monotonic, Set};
use dns::{
    ATTEMPTS_DEFAULT, Config, Dns, Exchange, Family, Hosts, Own, Resolution, Resolved,
    TIMEOUT_DEFAULT, Token, Transmit,
};
use mail::Domain;

use crate::input::Input;

/// Runs the target.
pub fn dns_answer(data: &[u8]) {
    let mut input = Input::new(data);
    let families = [Family::Ipv6First, Family::Ipv4First, Family::Ipv6Only, Family::Ipv4Only];
    let family = input.pick(&families);
    let servers = 1 + input.below(3);
    let address = |number: usize| SocketAddr::from(([192, 0, 2, 1 + number as u8], 53));
    let config = Config {
        servers: (0..servers).map(address).collect(),
        timeout: TIMEOUT_DEFAULT,
        attempts: ATTEMPTS_DEFAULT,
        cache_entries_max: 16,
        seed: 7,
    };
    let own = Own { names: vec![domain("out.example")], ..Own::default() };
    let mut world = World {
        dns: Dns::new(config, own, family),
        now: Monotonic::from_millis(1_000_000),
        open: BTreeMap::new(),
        pending: BTreeMap::new(),
        heard: Vec::new(),
    };
    while !input.is_empty() {
        world.step(&mut input);
        world.drain();
    }
    world.wait_for_the_end();
}

const DOMAINS: [&str; 6] =
    ["d.example", "mx1.d.example", "mx2.d.example", "alias.example", "out.example", "e.example"];

fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a name")
}

struct World {
    dns: Dns,
    now: Monotonic,
    /// Queries whose socket is open.
    open: BTreeMap<u64, Transmit>,
    /// Resolutions under way, and since when.
    pending: BTreeMap<Token, Monotonic>,
    /// All answers that matched a query.
    heard: Vec<Vec<u8>>,
}

/// No resolution takes longer: an MX look-up and its addresses, each with its
/// aliases and fallbacks.
const RESOLUTION_TIME_MAX: Duration = Duration::from_secs(120);
const TTL_MAX: Duration = Duration::from_secs(86_400);
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3 * 3_600);

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 | 1 => {
                let name = domain(input.pick(&DOMAINS));
                match self.dns.resolve_mail(self.now, &name) {
                    Resolution::Cached(exchange) => self.check_exchange(&exchange),
                    Resolution::Pending(token) => self.wait_for(token),
                }
            }
            2 => {
                let name = domain(input.pick(&DOMAINS));
                match self.dns.resolve_host(self.now, &name) {
                    Resolution::Cached(hosts) => self.check_hosts(&hosts),
                    Resolution::Pending(token) => self.wait_for(token),
                }
            }
            3 => {
                if let Some(query) = self.chosen(input) {
                    self.dns.failed(self.now, query.query);
                }
            }
            4 => self.now = self.now + Duration::from_millis(u64::from(input.byte()) * 50),
            5 => self.now = self.now + Duration::from_secs(u64::from(input.byte()) * 600),
            6 => self.due(),
            7 => {
                self.dns.flush(&domain(input.pick(&DOMAINS)));
            }
            8 => self.stranger(input),
            9 => {
                let bytes = input.bytes();
                if let Some(query) = self.chosen(input) {
                    // Raw bytes match by chance at best.
                    self.heard.push(bytes.to_vec());
                    self.dns.answer(self.now, query.query, bytes);
                }
            }
            kind => {
                if let Some(query) = self.chosen(input) {
                    let answer = match kind {
                        10 => packet::plain_answer(&query.bytes, input.byte()),
                        _ => packet::answer(&query.bytes, input),
                    };
                    self.heard.push(answer.clone());
                    self.dns.answer(self.now, query.query, &answer);
                }
            }
        }
        if self.dns.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.due();
        }
    }

    fn wait_for(&mut self, token: Token) {
        self.pending.entry(token).or_insert(self.now);
    }

    fn due(&mut self) {
        if let Some(deadline) = self.dns.next_deadline() {
            self.now = self.now.max(deadline);
            self.dns.timeout(self.now);
            let next = self.dns.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline does not move on");
        }
    }

    /// One of the queries under way.
    fn chosen(&self, input: &mut Input<'_>) -> Option<Transmit> {
        let place = input.byte();
        let count = self.open.len().max(1);
        self.open.values().nth(usize::from(place) % count).cloned()
    }

    /// An answer that somebody made who did not see the query.
    fn stranger(&mut self, input: &mut Input<'_>) {
        let Some(query) = self.chosen(input) else { return };
        let how = input.byte();
        let mut answer = packet::answer(&query.bytes, input);
        let end = packet::question_end(&query.bytes);
        match how % 4 {
            0 => answer[usize::from(how >> 2 & 1)] ^= 1 << (how >> 3 & 7),
            1 => answer[end - 3] ^= 1 << (how >> 3 & 7),
            2 => answer[end - 1] ^= 1 << (how >> 3 & 7),
            // The bit that makes an answer of a query.
            _ => answer[2] &= 0x7f,
        }
        let before = (self.dns.next_deadline(), self.dns.records().count());
        self.dns.answer(self.now, query.query, &answer);
        assert_eq!((self.dns.next_deadline(), self.dns.records().count()), before);
        assert_eq!(self.dns.poll_done(), None, "a socket is closed for a stranger");
        assert_eq!(self.dns.poll_transmit(), None, "something is sent for a stranger");
        assert_eq!(self.dns.poll_resolved(), None, "a stranger is believed");
    }

    /// Carries out what the resolver asks for, and judges what it says.
    fn drain(&mut self) {
        while let Some(transmit) = self.dns.poll_transmit() {
            assert!(transmit.bytes.len() <= 512, "a query is large");
            let known = self.open.insert(transmit.query, transmit);
            assert!(known.is_none(), "a query's number is used twice");
        }
        while let Some(query) = self.dns.poll_done() {
            assert!(self.open.remove(&query).is_some(), "a socket is closed twice");
        }
        while let Some((token, resolved)) = self.dns.poll_resolved() {
            let began = self.pending.remove(&token).expect("each resolution ends once");
            assert!(self.now.since(began) <= RESOLUTION_TIME_MAX + TTL_MAX * 2);
            match resolved {
                Resolved::Mail(_, exchange) => self.check_exchange(&exchange),
                Resolved::Host(_, hosts) => self.check_hosts(&hosts),
            }
        }
        assert!(
            self.pending.is_empty() || self.dns.next_deadline().is_some(),
            "a wait without end"
        );
        for (_, _, lookup) in self.dns.records() {
            assert!(lookup.expires() <= self.now + TTL_MAX, "kept too long: {lookup:?}");
        }
    }

    fn check_exchange(&self, exchange: &Exchange) {
        match exchange {
            Exchange::Found(found) => {
                assert!((1..=EXCHANGERS_MAX).contains(&found.hosts.len()));
                assert!(found.expires <= self.now + TTL_MAX);
                assert!(found.hosts.is_sorted_by_key(|host| host.preference));
                for host in &found.hosts {
                    self.check_addresses(&host.addresses);
                }
            }
            Exchange::Unknown { retry_after, .. } => self.check_retry(*retry_after),
            Exchange::NullMx | Exchange::NoDomain | Exchange::NoAddress | Exchange::Loop => {
                self.check_permanent();
            }
        }
    }

    fn check_hosts(&self, hosts: &Hosts) {
        match hosts {
            Hosts::Found(host) => {
                assert!(host.expires <= self.now + TTL_MAX);
                self.check_addresses(&host.addresses);
            }
            Hosts::Unknown { retry_after, .. } => self.check_retry(*retry_after),
            Hosts::None { .. } => self.check_permanent(),
        }
    }

    /// Silence and failures are never taken for "none": somebody has said it.
    fn check_permanent(&self) {
        let says_so = |answer: &Vec<u8>| matches!(answer.get(3).map(|byte| byte & 15), Some(0 | 3));
        assert!(self.heard.iter().any(says_so), "a failure is taken for an answer");
    }

    fn check_retry(&self, retry_after: Monotonic) {
        assert!(retry_after <= self.now + NEGATIVE_TTL_MAX, "a failure is remembered too long");
    }

    /// Nobody is dialled whom no matching answer named.
    fn check_addresses(&self, addresses: &[IpAddr]) {
        assert!((1..=ADDRESSES_PER_HOST_MAX).contains(&addresses.len()));
        let distinct: Set<IpAddr> = addresses.iter().copied().collect();
        assert_eq!(distinct.len(), addresses.len(), "an address twice");
        for address in addresses {
            let octets = match address {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let stands = |answer: &Vec<u8>| answer.windows(octets.len()).any(|w| w == octets);
            assert!(self.heard.iter().any(stands), "{address} stood in no answer");
        }
    }

    /// Nobody answers any more: everything ends by time.
    fn wait_for_the_end(&mut self) {
        let began = self.now;
        for _ in 0..100_000 {
            if self.dns.next_deadline().is_none() {
                break;
            }
            self.due();
            self.drain();
        }
        assert!(self.pending.is_empty(), "a resolution does not end");
        assert!(self.open.is_empty(), "a socket stays open");
        assert!(self.now.since(began) <= RESOLUTION_TIME_MAX, "{:?}", self.now.since(began));
    }
}
