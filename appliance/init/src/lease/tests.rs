//! A client of DHCP and the servers it meets.

use super::*;
use crate::dhcp::packet;

const HARDWARE: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 15);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn answer(kind: Kind, lease_seconds: u32) -> Answer {
    Answer {
        kind,
        address: OURS,
        prefix: 24,
        server: SERVER,
        gateway: None,
        name_servers: Vec::new(),
        time_servers: Vec::new(),
        lease_seconds,
        renew_seconds: None,
        rebind_seconds: None,
    }
}

/// Kind of the question, where it goes.
fn sent(actions: &[Action]) -> Vec<(u8, Option<Ipv4Addr>)> {
    let kind = |action: &Action| match action {
        Action::Send { packet, to } => Some((packet[242], *to)),
        _ => None,
    };
    actions.iter().filter_map(kind).collect()
}

fn hear(client: &mut Client, now: Duration, answer: &Answer) -> Vec<Action> {
    let bytes = packet(answer, client.exchange, HARDWARE);
    client.heard(now, &bytes)
}

/// A client with a lease of so many seconds, given at one second.
fn holding(lease_seconds: u32) -> Client {
    let mut client = Client::new(HARDWARE, 7);
    assert_eq!(sent(&client.tick(seconds(0))), [(1, None)]);
    let request = hear(&mut client, seconds(1), &answer(Kind::Offer, lease_seconds));
    assert_eq!(sent(&request), [(3, None)]);
    let ack = answer(Kind::Ack, lease_seconds);
    assert_eq!(hear(&mut client, seconds(1), &ack), [Action::Use(ack.clone())]);
    assert_eq!(client.lease(), Some(&ack));
    client
}

#[test]
fn nobody_answers_and_questions_grow_rare() {
    let mut client = Client::new(HARDWARE, 7);
    let (mut now, mut times) = (seconds(0), Vec::new());
    while now < seconds(200) {
        assert_eq!(sent(&client.tick(now)), [(1, None)]);
        times.push(now.as_secs());
        now = client.next();
    }
    assert_eq!(times, [0, 2, 6, 14, 30, 62, 94, 126, 158, 190]);
}

#[test]
fn a_tick_before_its_time_does_nothing() {
    let mut client = holding(3_600);
    assert_eq!(client.next(), seconds(1_801));
    assert!(client.tick(seconds(1_800)).is_empty());
}

#[test]
fn a_lease_is_renewed_with_its_server_and_goes_on() {
    let mut client = holding(3_600);
    assert_eq!(sent(&client.tick(seconds(1_801))), [(3, Some(SERVER))]);
    let ack = answer(Kind::Ack, 3_600);
    assert_eq!(hear(&mut client, seconds(1_802), &ack), [Action::Use(ack.clone())]);
    assert_eq!(client.next(), seconds(3_602));
    assert!(hear(&mut client, seconds(1_803), &ack).is_empty(), "nobody asked");
}

#[test]
fn a_silent_server_then_any_then_the_end() {
    let mut client = holding(3_600);
    let mut log = Vec::new();
    loop {
        let now = client.next();
        let actions = client.tick(now);
        let is_over = actions.contains(&Action::Drop(answer(Kind::Ack, 3_600)));
        log.push((now.as_secs() - 1, sent(&actions)[0]));
        if is_over {
            break;
        }
        assert!(client.next() > now, "time goes on");
    }
    let (end, last) = log.pop().expect("the end of the lease");
    assert_eq!((end, last), (3_600, (1, None)), "over, and the search begins");
    let (own, any): (Vec<_>, Vec<_>) = log.iter().partition(|(_, (_, to))| to.is_some());
    assert!(own.iter().all(|(at, _)| *at < 3_150) && own.len() >= 3, "{own:?}");
    assert!(any.iter().all(|(at, _)| *at >= 3_150) && any.len() >= 2, "{any:?}");
    assert!(client.lease().is_none());
}

#[test]
fn a_refused_lease_is_given_up_at_once() {
    let mut client = holding(3_600);
    assert!(hear(&mut client, seconds(5), &answer(Kind::Nak, 0)).is_empty(), "nobody asked");
    client.tick(seconds(1_801));
    let dropped = hear(&mut client, seconds(1_802), &answer(Kind::Nak, 0));
    assert_eq!(dropped, [Action::Drop(answer(Kind::Ack, 3_600))]);
    assert_eq!(client.next(), seconds(1_804));
}

#[test]
fn another_address_takes_the_place_of_the_old_one() {
    let mut client = holding(3_600);
    client.tick(seconds(1_801));
    let other = Answer { address: Ipv4Addr::new(192, 0, 2, 99), ..answer(Kind::Ack, 3_600) };
    let actions = hear(&mut client, seconds(1_802), &other);
    assert_eq!(actions, [Action::Drop(answer(Kind::Ack, 3_600)), Action::Use(other)]);
}

#[test]
fn an_offer_that_nobody_stands_by_ends_in_a_new_search() {
    let mut client = Client::new(HARDWARE, 7);
    client.tick(seconds(0));
    hear(&mut client, seconds(1), &answer(Kind::Offer, 3_600));
    let mut kinds = Vec::new();
    for _ in 0..4 {
        kinds.push(sent(&client.tick(client.next()))[0].0);
    }
    assert_eq!(kinds, [3, 3, 3, 1]);
    let now = client.next();
    let late = hear(&mut client, now, &answer(Kind::Ack, 3_600));
    assert!(late.is_empty(), "no offer was taken since");
}

#[test]
fn another_servers_word_about_an_offer_does_not_count() {
    let mut client = Client::new(HARDWARE, 7);
    client.tick(seconds(0));
    hear(&mut client, seconds(1), &answer(Kind::Offer, 3_600));
    let stranger = Ipv4Addr::new(192, 0, 2, 66);
    let other = Answer { server: stranger, ..answer(Kind::Ack, 3_600) };
    assert!(hear(&mut client, seconds(1), &other).is_empty());
    let other = Answer { server: stranger, ..answer(Kind::Nak, 0) };
    assert!(hear(&mut client, seconds(1), &other).is_empty());
    assert!(client.lease().is_none());
}

#[test]
fn times_in_no_order_are_put_into_one() {
    for (lease, renew, rebind) in [
        (0, None, None),
        (1, Some(0), Some(0)),
        (u32::MAX, None, None),
        (u32::MAX, Some(u32::MAX), Some(0)),
        (600, Some(900), Some(100)),
    ] {
        let lease =
            Answer { renew_seconds: renew, rebind_seconds: rebind, ..answer(Kind::Ack, lease) };
        let times = Times::of(&lease);
        assert!(times.renew >= RENEW_WAIT_MIN && times.renew <= times.rebind, "{lease:?}");
        assert_eq!(times.end.is_none(), lease.lease_seconds == u32::MAX);
    }
}

#[test]
fn a_lease_for_ever_is_never_dropped_by_time() {
    let mut client = holding(u32::MAX);
    for _ in 0..100 {
        let now = client.next();
        let actions = client.tick(now);
        assert!(actions.iter().all(|action| matches!(action, Action::Send { .. })));
        assert!(client.next() >= now + RENEW_WAIT_MIN);
    }
}

#[test]
fn a_link_that_comes_back_asks_at_once() {
    let mut client = holding(3_600);
    client.link_is_back(seconds(100));
    assert_eq!(sent(&client.tick(seconds(100))), [(3, Some(SERVER))]);
}
