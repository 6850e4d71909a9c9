//! The resolver's bounds, and what an operator sees of its cache.

use super::*;

/// Conformance A12.15: the bound on sockets, and on look-ups.
///
/// Covers: A12.15
#[test]
fn sockets_and_lookups_are_bounded_and_those_who_wait_get_their_turn() {
    let mut dns = resolver(1);
    for at_name in 0..TASKS_MAX {
        pending(dns.lookup(at(0), &name(&format!("n{at_name}.example")), Kind::A));
    }
    let one_too_many = dns.lookup(at(0), &name("n.example"), Kind::A);
    let busy = Lookup::Unknown { reason: Reason::LocalBusy, until: at(1_000) };
    assert_eq!(one_too_many, Asked::Cached(busy));
    let first: Vec<Transmit> = std::iter::from_fn(|| dns.poll_transmit()).collect();
    assert_eq!(first.len(), FLIGHTS_MAX);
    for query in &first[..10] {
        dns.answer(at(1), query.query, &an_address(&query.bytes));
    }
    assert_eq!(std::iter::from_fn(|| dns.poll_transmit()).count(), 10);
    while let Some(due) = dns.next_deadline() {
        assert!(due <= at(18_000), "every wait ends: {due:?}");
        dns.timeout(due);
        while dns.poll_transmit().is_some() {}
        assert!(dns.flights.len() <= FLIGHTS_MAX);
    }
    let mut ends = [0; 3];
    while let Some((_, lookup)) = dns.poll_answer() {
        match lookup {
            Lookup::Found { .. } => ends[0] += 1,
            Lookup::Unknown { reason: Reason::LocalBusy, .. } => ends[1] += 1,
            Lookup::Unknown { .. } => ends[2] += 1,
            Lookup::None { .. } => panic!("nobody said none"),
        }
    }
    assert_eq!(ends.iter().sum::<usize>(), TASKS_MAX);
    assert_eq!(ends[0], 10);
    assert!(ends[2] >= FLIGHTS_MAX);
    assert!(dns.waiting.is_empty());
}

#[test]
fn the_cache_can_be_listed_and_flushed_by_name() {
    let mut dns = resolver(1);
    for text in ["a.example", "b.example"] {
        pending(dns.lookup(at(0), &name(text), Kind::A));
        let query = sent(&mut dns);
        dns.answer(at(1), query.query, &an_address(&query.bytes));
    }
    let mut listed: Vec<String> = dns.cached().map(|(name, _, _)| name.to_string()).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["a.example", "b.example"]);
    assert!(dns.flush(&name("a.example")));
    assert!(!dns.flush(&name("a.example")));
    assert_eq!(dns.cached().count(), 1);
    dns.flush_all();
    assert_eq!(dns.cached().count(), 0);
}
