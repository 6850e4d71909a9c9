//! The resolver against a scripted server and a clock of numbers.

use super::*;
use crate::script::Reply;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use mail::Domain;

fn name(text: &str) -> Name {
    Name::of(&Domain::parse(text).unwrap()).unwrap()
}

fn at(ms: u64) -> Monotonic {
    Monotonic::from_millis(ms)
}

fn server(last: u8) -> SocketAddr {
    ([192, 0, 2, last], 53).into()
}

fn resolver(servers: u8) -> Resolver {
    Resolver::new(Config {
        servers: (1..=servers).map(server).collect(),
        timeout: TIMEOUT_DEFAULT,
        attempts: ATTEMPTS_DEFAULT,
        cache_entries_max: 100,
        seed: 42,
    })
}

fn pending(asked: Asked) -> LookupToken {
    match asked {
        Asked::Pending(token) => token,
        Asked::Cached(lookup) => panic!("cached: {lookup:?}"),
    }
}

/// The only message to send.
fn sent(resolver: &mut Resolver) -> Transmit {
    let transmit = resolver.poll_transmit().expect("something to send");
    assert_eq!(resolver.poll_transmit(), None);
    transmit
}

fn reason(resolver: &mut Resolver) -> Reason {
    match resolver.poll_answer().expect("an end") {
        (_, Lookup::Unknown { reason, .. }) => reason,
        (_, other) => panic!("{other:?}"),
    }
}

fn is_found(resolver: &mut Resolver) -> bool {
    matches!(resolver.poll_answer(), Some((_, Lookup::Found { .. })))
}

fn an_address(query: &[u8]) -> Vec<u8> {
    let owner = Message::from_vec(query).unwrap().queries[0].name().to_ascii();
    Reply::to(query).a(&owner, 60, [192, 0, 2, 80]).bytes()
}

fn failure(query: &[u8], code: ResponseCode) -> Vec<u8> {
    Reply::to(query).code(code).bytes()
}

/// Lets the time come for whatever is due next.
fn wait(resolver: &mut Resolver) -> Monotonic {
    let now = resolver.next_deadline().expect("something is due");
    resolver.timeout(now);
    now
}

#[test]
fn an_answer_is_found_once_then_cached_until_it_expires() {
    let mut dns = resolver(1);
    let token = pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let query = sent(&mut dns);
    assert_eq!((query.server, query.tcp), (server(1), false));
    dns.answer(at(20), query.query, &an_address(&query.bytes));
    let (ended, lookup) = dns.poll_answer().unwrap();
    assert_eq!(ended, token);
    assert_eq!(lookup.expires(), at(60_020));
    assert_eq!(dns.poll_done(), Some(query.query));
    assert_eq!(dns.lookup(at(60_019), &name("a.example"), Kind::A), Asked::Cached(lookup));
    assert_eq!(dns.next_deadline(), None);
    pending(dns.lookup(at(60_020), &name("a.example"), Kind::A));
    dns.answer(at(60_021), query.query, &an_address(&query.bytes));
    assert_eq!(dns.poll_answer(), None, "a late answer to a closed query is nothing");
}

/// Conformance A12.15: coalescing of equal questions.
///
/// Covers: A12.15
#[test]
fn equal_questions_are_asked_once() {
    let mut dns = resolver(2);
    let first = pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    assert_eq!(pending(dns.lookup(at(1), &name("a.example"), Kind::A)), first);
    assert_ne!(pending(dns.lookup(at(1), &name("a.example"), Kind::Aaaa)), first);
    assert_eq!(std::iter::from_fn(|| dns.poll_transmit()).count(), 2);
}

/// Conformance A12.14: a lost first packet is no failure.
///
/// Covers: A12.2, A12.14
#[test]
fn lost_packets_are_repeated_over_the_servers_until_the_attempts_are_used_up() {
    let mut dns = resolver(2);
    pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let mut asked = Vec::new();
    let mut queries = Vec::new();
    for round in 1..=4 {
        let query = sent(&mut dns);
        asked.push(query.server);
        queries.push(query.query);
        assert_eq!(wait(&mut dns), at(3_000 * round));
        assert_eq!(dns.poll_done(), Some(query.query));
    }
    assert_ne!(asked[0], asked[1]);
    assert_eq!((asked[0], asked[1]), (asked[2], asked[3]));
    queries.dedup();
    assert_eq!(queries.len(), 4, "each transmission has a socket of its own");
    assert_eq!(reason(&mut dns), Reason::PeerTimeout);
    assert_eq!(dns.next_deadline(), None);

    let mut dns = resolver(1);
    pending(dns.lookup(at(0), &name("b.example"), Kind::A));
    sent(&mut dns);
    wait(&mut dns);
    let second = sent(&mut dns);
    dns.answer(at(3_050), second.query, &an_address(&second.bytes));
    assert!(is_found(&mut dns));
}

/// Covers: A12.14
#[test]
fn questions_rotate_over_the_servers() {
    let mut dns = resolver(3);
    let mut first: Vec<SocketAddr> = Vec::new();
    for at_name in 0..6 {
        pending(dns.lookup(at(0), &name(&format!("n{at_name}.example")), Kind::A));
        first.push(sent(&mut dns).server);
    }
    let mut once = first[..3].to_vec();
    once.sort_unstable();
    assert_eq!(once, [server(1), server(2), server(3)]);
    assert_eq!(first[..3], first[3..]);
}

/// Conformance B2, fault 73: each failure leads to the next server, then to
/// "unknown", never to "none".
/// Proves: RFC 9520 §2
/// Covers: A12.10, B73
#[test]
fn failures_lead_to_the_next_server_then_to_unknown() {
    for (code, expected) in [
        (ResponseCode::ServFail, Reason::PeerServerFailure),
        (ResponseCode::Refused, Reason::PeerRefused),
        (ResponseCode::NotAuth, Reason::PeerServerFailure),
    ] {
        let mut dns = resolver(2);
        pending(dns.lookup(at(0), &name("a.example"), Kind::Mx));
        let first = sent(&mut dns);
        dns.answer(at(1), first.query, &failure(&first.bytes, code));
        let second = sent(&mut dns);
        assert_ne!(first.server, second.server);
        dns.answer(at(2), second.query, &failure(&second.bytes, code));
        assert_eq!(reason(&mut dns), expected);
        assert_eq!(dns.poll_transmit(), None);
    }
    let mut dns = resolver(2);
    pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let first = sent(&mut dns);
    dns.answer(at(1), first.query, &failure(&first.bytes, ResponseCode::ServFail));
    let second = sent(&mut dns);
    dns.answer(at(2), second.query, &an_address(&second.bytes));
    assert!(is_found(&mut dns), "the second server's answer counts");
}

/// Covers: A12.6, B73
#[test]
fn a_malformed_answer_is_the_servers_failure() {
    let mut dns = resolver(1);
    pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let query = sent(&mut dns);
    let mut bytes = an_address(&query.bytes);
    bytes.pop();
    dns.answer(at(1), query.query, &bytes);
    assert_eq!(reason(&mut dns), Reason::PeerMalformed);
}

/// Conformance B2, fault 74: forged answers are ignored, the right one counts.
/// Proves: RFC 5452 §9.1
/// Covers: A12.1, B74
#[test]
fn forged_answers_change_nothing() {
    let mut dns = resolver(1);
    pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let query = sent(&mut dns);
    let right = an_address(&query.bytes);
    let before = dns.next_deadline();
    for place in [0, 1, 2, 5, 13, 22, 24] {
        let mut forged = right.clone();
        forged[place] ^= 0x81;
        dns.answer(at(1), query.query, &forged);
    }
    dns.answer(at(1), query.query + 1, &right);
    dns.answer(at(1), query.query, b"");
    dns.answer(at(1), query.query, &[0xff; 600]);
    assert_eq!(dns.poll_answer(), None);
    assert_eq!(dns.poll_transmit(), None);
    assert_eq!(dns.next_deadline(), before);
    dns.answer(at(2), query.query, &right);
    assert!(is_found(&mut dns));
}

fn fold(query: &[u8]) -> Vec<u8> {
    let mut bytes = an_address(query);
    bytes[12..23].make_ascii_lowercase();
    bytes
}

/// Conformance A12.3: the right spelling is waited for, a server that always
/// folds is asked in plain case after a while.
///
/// Covers: A12.3, B74
#[test]
fn a_folded_answer_is_not_taken_but_the_server_may_turn_out_to_fold() {
    let mut dns = resolver(1);
    for round in 0..2 {
        let now = at(10_000 * round);
        pending(dns.lookup(now, &name(&format!("n{round}abc.example")), Kind::A));
        let mixed = sent(&mut dns);
        dns.answer(now, mixed.query, &fold(&mixed.bytes));
        assert_eq!(dns.poll_answer(), None);
        assert_eq!(wait(&mut dns), now + FOLDED_WAIT);
        let plain = sent(&mut dns);
        assert!(!plain.bytes[12..].iter().any(u8::is_ascii_uppercase));
        dns.answer(now + FOLDED_WAIT, plain.query, &an_address(&plain.bytes));
        assert!(is_found(&mut dns));
    }
    pending(dns.lookup(at(20_000), &name("ncabcdefghijklmnopq.example"), Kind::A));
    let plain = sent(&mut dns);
    assert!(!plain.bytes[12..].iter().any(u8::is_ascii_uppercase), "learned");

    let mut dns = resolver(1);
    dns.servers[0].folded(at(0));
    pending(dns.lookup(at(0), &name("forged.example"), Kind::A));
    let mixed = sent(&mut dns);
    dns.answer(at(1), mixed.query, &fold(&mixed.bytes));
    dns.answer(at(2), mixed.query, &an_address(&mixed.bytes));
    assert!(is_found(&mut dns), "the right one still came");
    dns.servers[0].folded(at(3));
    assert!(dns.servers[0].keeps_case(at(3)), "and clears the server");
}

/// Conformance B2, fault 75.
/// Proves: RFC 7766 §5
/// Covers: A12.4, B75
#[test]
fn a_truncated_answer_is_asked_for_over_tcp_and_never_used() {
    for tcp_works in [true, false] {
        let mut dns = resolver(2);
        pending(dns.lookup(at(0), &name("a.example"), Kind::A));
        let udp = sent(&mut dns);
        let owner = "a.example";
        let cut = Reply::to(&udp.bytes).a(owner, 60, [203, 0, 113, 9]).truncated().bytes();
        dns.answer(at(1), udp.query, &cut);
        assert_eq!(dns.poll_done(), Some(udp.query));
        let tcp = sent(&mut dns);
        assert!(tcp.tcp);
        assert_eq!(tcp.server, udp.server);
        if tcp_works {
            dns.answer(at(2), tcp.query, &an_address(&tcp.bytes));
            assert!(is_found(&mut dns));
            continue;
        }
        dns.failed(at(2), tcp.query);
        let other = sent(&mut dns);
        assert!(other.tcp);
        assert_ne!(other.server, tcp.server);
        dns.answer(at(3), other.query, &cut_again(&other.bytes));
        let last = sent(&mut dns);
        wait(&mut dns);
        assert_eq!(dns.poll_answer(), None, "one try is left");
        assert_eq!(last.server, tcp.server);
        sent(&mut dns);
        wait(&mut dns);
        assert_eq!(reason(&mut dns), Reason::PeerTimeout);
        assert!(!dns.servers[0].is_down(at(9_000)), "no UDP query was lost");
    }
}

fn cut_again(query: &[u8]) -> Vec<u8> {
    Reply::to(query).truncated().bytes()
}

/// Proves: RFC 6891 §7
/// Covers: A12.5
#[test]
fn a_server_that_stumbles_over_edns_is_asked_without() {
    for code in [ResponseCode::FormErr, ResponseCode::NotImp, ResponseCode::BADVERS] {
        let mut dns = resolver(1);
        pending(dns.lookup(at(0), &name("a.example"), Kind::A));
        let rich = sent(&mut dns);
        assert!(Message::from_vec(&rich.bytes).unwrap().edns.is_some());
        dns.answer(at(1), rich.query, &failure(&rich.bytes, code));
        let plain = sent(&mut dns);
        assert!(Message::from_vec(&plain.bytes).unwrap().edns.is_none());
        dns.answer(at(2), plain.query, &an_address(&plain.bytes));
        assert!(is_found(&mut dns));
        for (later, edns) in [(3, false), (900_003, true)] {
            pending(dns.lookup(at(later), &name(&format!("l{later}.example")), Kind::A));
            let query = sent(&mut dns);
            assert_eq!(Message::from_vec(&query.bytes).unwrap().edns.is_some(), edns);
        }
    }
    let mut dns = resolver(1);
    pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let rich = sent(&mut dns);
    dns.answer(at(1), rich.query, &failure(&rich.bytes, ResponseCode::FormErr));
    let plain = sent(&mut dns);
    dns.answer(at(2), plain.query, &failure(&plain.bytes, ResponseCode::FormErr));
    assert_eq!(reason(&mut dns), Reason::PeerFormat);
    pending(dns.lookup(at(3), &name("b.example"), Kind::A));
    let rich = sent(&mut dns);
    assert!(Message::from_vec(&rich.bytes).unwrap().edns.is_some(), "EDNS was not the fault");
}

/// Proves: RFC 9520 §3.2
/// Covers: A12.10, B73
#[test]
fn failures_are_remembered_twice_as_long_each_time_up_to_five_minutes() {
    let mut dns = resolver(1);
    let mut now = at(0);
    let mut spans = Vec::new();
    for _ in 0..11 {
        pending(dns.lookup(now, &name("a.example"), Kind::Mx));
        let query = sent(&mut dns);
        dns.answer(now, query.query, &failure(&query.bytes, ResponseCode::ServFail));
        let (_, lookup) = dns.poll_answer().unwrap();
        let until = lookup.expires();
        spans.push(until.since(now).as_secs());
        let just_before = until - Duration::from_millis(1);
        assert_eq!(dns.lookup(just_before, &name("a.example"), Kind::Mx), Asked::Cached(lookup));
        assert_eq!(dns.poll_transmit(), None, "no query while the failure is remembered");
        now = until;
    }
    assert_eq!(spans, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    now = now + FAILURE_MEMORY;
    pending(dns.lookup(now, &name("a.example"), Kind::Mx));
    let query = sent(&mut dns);
    dns.answer(now, query.query, &failure(&query.bytes, ResponseCode::ServFail));
    assert_eq!(dns.poll_answer().unwrap().1.expires(), now + FAILURE_MIN, "long forgotten");
}

/// Conformance B2, fault 82: all resolvers down, then up again.
///
/// Covers: B82
#[test]
fn when_all_servers_are_down_each_question_ends_and_recovery_is_noticed() {
    let mut dns = resolver(2);
    let mut now = at(0);
    let mut sent_in_all = 0;
    for round in 0..5 {
        pending(dns.lookup(now, &name(&format!("n{round}.example")), Kind::A));
        while let Some(due) = dns.next_deadline() {
            sent_in_all += std::iter::from_fn(|| dns.poll_transmit()).count();
            now = due;
            dns.timeout(now);
        }
        assert_eq!(reason(&mut dns), Reason::PeerTimeout);
    }
    assert_eq!(sent_in_all, 20);
    assert!(dns.servers.iter().all(|server| server.is_down(now)));
    pending(dns.lookup(now, &name("back.example"), Kind::A));
    let query = sent(&mut dns);
    dns.answer(now, query.query, &an_address(&query.bytes));
    assert!(is_found(&mut dns), "a dead server is still asked when there is no other");

    let mut dns = resolver(2);
    pending(dns.lookup(at(0), &name("refused.example"), Kind::A));
    let mut tries = 0;
    while let Some(query) = dns.poll_transmit() {
        tries += 1;
        dns.failed(at(0), query.query);
    }
    assert_eq!(tries, 4, "a socket that breaks at once makes no busy loop");
    assert_eq!(reason(&mut dns), Reason::PeerUnreachable);
}

/// Covers: A12.14
#[test]
fn a_dead_server_is_asked_last() {
    let mut dns = resolver(2);
    dns.servers[0].unreachable(at(0));
    for round in 0..4 {
        pending(dns.lookup(at(0), &name(&format!("n{round}.example")), Kind::A));
        assert_eq!(sent(&mut dns).server, server(2));
    }
    let mut dns = resolver(2);
    dns.servers[0].unreachable(at(0));
    pending(dns.lookup(at(0), &name("stubborn.example"), Kind::A));
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(sent(&mut dns).server);
        wait(&mut dns);
    }
    assert_eq!(asked, [server(2), server(2), server(2), server(1)], "but it is asked");
}

/// Proves: RFC 1034 §5.3.3
/// Covers: A2.23, A12.8, B78
#[test]
fn an_alias_without_its_target_is_asked_for_and_bounded() {
    let mut dns = resolver(1);
    pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let query = sent(&mut dns);
    let alias = Reply::to(&query.bytes).cname("a.example", 5, "b.example").bytes();
    dns.answer(at(1), query.query, &alias);
    let query = sent(&mut dns);
    assert_eq!(crate::script::question(&query.bytes), ("b.example".into(), RecordType::A));
    dns.answer(at(2), query.query, &an_address(&query.bytes));
    let (_, lookup) = dns.poll_answer().unwrap();
    assert_eq!(lookup.expires(), at(5_002), "the alias's time bounds the whole");
    assert_eq!(dns.lookup(at(3), &name("a.example"), Kind::A), Asked::Cached(lookup));

    pending(dns.lookup(at(0), &name("loop.example"), Kind::A));
    let mut queries = 0;
    while let Some(query) = dns.poll_transmit() {
        queries += 1;
        let (owner, _) = crate::script::question(&query.bytes);
        let alias = Reply::to(&query.bytes).cname(&owner, 5, &format!("x.{owner}")).bytes();
        dns.answer(at(1), query.query, &alias);
    }
    assert_eq!(queries, 1 + CNAME_CHAIN_MAX);
    assert_eq!(reason(&mut dns), Reason::PeerAliasLoop);
}

/// Covers: B82
#[test]
fn without_servers_nothing_is_known_and_new_servers_help_at_once() {
    let mut dns = resolver(0);
    let Asked::Cached(Lookup::Unknown { reason: why, until }) =
        dns.lookup(at(0), &name("a.example"), Kind::A)
    else {
        panic!("nobody to ask")
    };
    assert_eq!((why, until), (Reason::LocalNoServers, at(1_000)));
    dns.set_servers(vec![server(1), server(1)]);
    assert_eq!(dns.servers.len(), 1);
    dns.set_servers((1..=20).map(server).collect());
    assert_eq!(dns.servers.len(), SERVERS_MAX);

    let mut dns = resolver(2);
    pending(dns.lookup(at(0), &name("a.example"), Kind::A));
    let mut asked = Vec::new();
    for round in 0..4 {
        let query = sent(&mut dns);
        asked.push(query.server);
        if round == 1 {
            dns.set_servers(vec![server(8), server(9)]);
        }
        dns.answer(at(1), query.query, &failure(&query.bytes, ResponseCode::Refused));
    }
    asked.sort_unstable();
    assert_eq!(asked, [server(1), server(2), server(8), server(9)], "each had its say");
    assert_eq!(reason(&mut dns), Reason::PeerRefused);
    dns.set_servers(vec![server(1)]);
    pending(dns.lookup(at(2), &name("a.example"), Kind::A));
    let query = sent(&mut dns);
    dns.set_servers(Vec::new());
    dns.failed(at(2), query.query);
    assert_eq!(reason(&mut dns), Reason::LocalNoServers);
}

mod bounds;
