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

/// The options of the question asked last: wanted address, server, and the
/// address we say we have.
fn asked_for(actions: &[Action]) -> (bool, bool, [u8; 4]) {
    let packet = actions.iter().find_map(|action| match action {
        Action::Send { packet, .. } => Some(packet),
        _ => None,
    });
    let packet = packet.expect("a question");
    // Behind the kind come the wanted address, the server, our identity.
    let wanted = packet[243] == 50;
    let server = packet[243] == 54 || (wanted && packet[249] == 54);
    (wanted, server, packet[12..16].try_into().unwrap())
}

#[test]
fn a_cable_that_comes_back_asks_everybody_at_once_for_the_address_of_before() {
    let mut client = holding(3_600);
    client.link_is_back(seconds(100));
    let question = client.tick(seconds(100));
    assert_eq!(sent(&question), [(3, None)]);
    assert_eq!(asked_for(&question), (true, false, [0; 4]), "as after a start");
    assert!(client.lease().is_some(), "it is used meanwhile");
    // Who answers is the server of here and now.
    let server = Ipv4Addr::new(192, 0, 2, 3);
    let ack = Answer { server, ..answer(Kind::Ack, 7_200) };
    assert_eq!(hear(&mut client, seconds(101), &ack), [Action::Use(ack.clone())]);
    assert_eq!(client.next(), seconds(3_701));
    assert_eq!(sent(&client.tick(seconds(3_701))), [(3, Some(server))]);
}

#[test]
fn a_cable_in_another_network_gives_the_address_up_and_searches() {
    let mut client = holding(3_600);
    client.link_is_back(seconds(100));
    client.tick(seconds(100));
    let dropped = hear(&mut client, seconds(101), &answer(Kind::Nak, 0));
    assert_eq!(dropped, [Action::Drop(answer(Kind::Ack, 3_600))]);
    assert_eq!(client.lease(), None);
    assert_eq!(sent(&client.tick(seconds(103))), [(1, None)]);
}

#[test]
fn silence_after_the_cable_leads_to_a_search_and_then_to_another_address() {
    let mut client = holding(3_600);
    client.link_is_back(seconds(100));
    let mut log = Vec::new();
    while log.len() < 5 {
        let now = client.next();
        log.push((now.as_secs(), sent(&client.tick(now))[0].0));
    }
    assert_eq!(log, [(100, 3), (102, 3), (106, 3), (114, 1), (116, 1)]);
    assert!(client.lease().is_some(), "until somebody offers another");
    let there = |kind| Answer {
        address: Ipv4Addr::new(198, 51, 100, 7),
        server: Ipv4Addr::new(198, 51, 100, 1),
        ..answer(kind, 600)
    };
    hear(&mut client, seconds(117), &there(Kind::Offer));
    let actions = hear(&mut client, seconds(117), &there(Kind::Ack));
    let old = answer(Kind::Ack, 3_600);
    assert_eq!(actions, [Action::Drop(old), Action::Use(there(Kind::Ack))]);
}

#[test]
fn what_nobody_confirms_is_given_up_after_a_while_also_a_lease_for_ever() {
    for (lease_seconds, end) in [(3_600, 400), (u32::MAX, 400), (150, 151)] {
        let mut client = holding(lease_seconds);
        client.link_is_back(seconds(100));
        let mut dropped = Vec::new();
        while client.next() < seconds(1_000) {
            let now = client.next();
            let gone = Action::Drop(answer(Kind::Ack, lease_seconds));
            dropped.extend(client.tick(now).contains(&gone).then_some(now));
            // That it went again gives it no more time.
            if dropped.is_empty() && now == seconds(114) {
                client.link_is_back(now);
            }
            assert!(client.next() > now);
        }
        assert_eq!(dropped, [seconds(end)], "{lease_seconds}");
    }
}

#[test]
fn a_loose_cable_asks_no_more_often_than_once_in_two_seconds() {
    for mut client in [holding(3_600), Client::new(HARDWARE, 7)] {
        let mut times = Vec::new();
        for ms in (10_000..70_000).step_by(250) {
            let now = Duration::from_millis(ms);
            client.link_is_back(now);
            times.extend((!client.tick(now).is_empty()).then_some(now));
        }
        assert!(times.len() >= 29, "{}", times.len());
        assert!(times.windows(2).all(|two| two[1] - two[0] >= FIRST_WAIT), "{times:?}");
    }
}

#[test]
fn an_answer_to_a_question_before_the_cable_went_is_none() {
    let mut client = holding(3_600);
    client.tick(seconds(1_801));
    let late = packet(&answer(Kind::Nak, 0), client.exchange, HARDWARE);
    client.link_is_back(seconds(1_810));
    client.tick(client.next());
    assert!(client.heard(seconds(1_811), &late).is_empty());
    assert!(client.lease().is_some());
}

#[test]
fn an_offer_of_before_the_cable_went_is_forgotten() {
    let mut client = Client::new(HARDWARE, 7);
    client.tick(seconds(0));
    hear(&mut client, seconds(1), &answer(Kind::Offer, 3_600));
    client.link_is_back(seconds(10));
    assert_eq!(sent(&client.tick(seconds(10))), [(1, None)]);
}

#[test]
fn a_search_that_began_without_a_cable_goes_on_when_it_is_there() {
    let mut client = Client::new(HARDWARE, 7);
    while client.next() < seconds(30) {
        client.tick(client.next());
    }
    client.link_is_up(seconds(31));
    assert_eq!(sent(&client.tick(seconds(31))), [(1, None)]);
    // Whoever has a lease had a cable.
    let mut client = holding(3_600);
    client.link_is_up(seconds(31));
    assert_eq!(client.next(), seconds(1_801));
}
