//! Stories of a clock and of those who tell it the time.

use super::*;
use crate::sntp::packet;

const NOW: Duration = Duration::from_secs(100);
/// What our clock shows at [`NOW`].
const WALL: Duration = Duration::from_secs(1_800_000_000);
const WAY: Duration = Duration::from_millis(20);

fn server(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 123))
}

fn client(servers: u8) -> Client {
    let mut client = Client::default();
    let servers: Vec<_> = (1..=servers).map(server).collect();
    client.set_servers(NOW, &servers);
    client
}

/// Begins a round; questions are numbered from 1.
fn ask(client: &mut Client, now: Duration, wall: Duration) -> usize {
    let mut last = 0;
    let actions = client.tick(now, wall, || {
        last += 1;
        last
    });
    assert!(actions.iter().all(|action| matches!(action, Action::Ask { .. })), "{actions:?}");
    actions.len()
}

/// The server with this number answers that our clock is `behind` by so many
/// milliseconds.
fn tell(client: &mut Client, at: Duration, last: u8, behind: i64) -> Vec<Action> {
    let right = (WALL + (at - NOW)).as_millis() as i64 + behind + WAY.as_millis() as i64 / 2;
    let time = Duration::from_millis(right as u64);
    let answer = packet(Answer::Time { received: time, sent: time }, last.into());
    client.heard(at + WAY, server(last), &answer)
}

fn millis(actions: &[Action]) -> Option<i64> {
    actions.iter().find_map(|action| match action {
        Action::Set(nanos) => Some((nanos + 500_000).div_euclid(1_000_000)),
        _ => None,
    })
}

#[test]
fn a_clock_that_is_behind_is_set_and_asked_about_seldom() {
    let mut client = client(1);
    assert_eq!(client.next(), Some(NOW));
    assert_eq!(ask(&mut client, NOW, WALL), 1);
    let actions = tell(&mut client, NOW, 1, 3_600_000);
    assert_eq!(millis(&actions), Some(3_600_000));
    assert_eq!(actions.last(), Some(&Action::IsRight));
    assert_eq!(client.error(), None, "what is left of it is not known");
    // Soon it is looked at whether that was right; nothing is said of it.
    let later = NOW + WAY + CHECK_WAIT;
    assert_eq!(client.next(), Some(later));
    assert_eq!(ask(&mut client, later, WALL + (later - NOW)), 1);
    assert_eq!(tell(&mut client, later, 1, 3), [Action::Keep]);
    assert_eq!(client.error(), Some(3_000_000));
    assert_eq!(client.next(), Some(later + WAY + WAIT_MAX));
}

#[test]
fn errors_are_told_in_both_directions_and_small_ones_are_left_alone() {
    for behind in [-90_000, -5, 5, 400] {
        let mut client = client(1);
        ask(&mut client, NOW, WALL);
        assert_eq!(millis(&tell(&mut client, NOW, 1, behind)), Some(behind));
    }
    for behind in [-4, 0, 4] {
        let mut client = client(1);
        ask(&mut client, NOW, WALL);
        assert_eq!(tell(&mut client, NOW, 1, behind), [Action::Keep, Action::IsRight]);
    }
}

#[test]
fn one_wrong_server_of_three_leads_nobody_astray() {
    for wrong in 1..=3 {
        let mut client = client(3);
        assert_eq!(ask(&mut client, NOW, WALL), 3);
        let behind = |last| if last == wrong { 86_400_000 } else { 700 + i64::from(last) };
        assert_eq!(tell(&mut client, NOW, 1, behind(1)), []);
        assert_eq!(tell(&mut client, NOW, 2, behind(2)), []);
        let set = millis(&tell(&mut client, NOW, 3, behind(3))).unwrap();
        assert!((701..=703).contains(&set), "{wrong}: {set}");
    }
}

#[test]
fn two_that_differ_are_not_believed() {
    let mut client = client(2);
    ask(&mut client, NOW, WALL);
    tell(&mut client, NOW, 1, 0);
    let actions = tell(&mut client, NOW, 2, 5_000);
    assert_eq!(actions, [Action::Unknown("two time servers differ")]);
    assert_eq!(client.next(), Some(NOW + WAY + FIRST_WAIT));
}

#[test]
fn silence_is_told_once_and_asked_into_ever_more_seldom() {
    let mut client = client(1);
    let (mut now, mut waits, mut told) = (NOW, Vec::new(), 0);
    for _ in 0..12 {
        assert_eq!(ask(&mut client, now, WALL), 1);
        assert_eq!(client.next(), Some(now + ANSWER_TIME));
        now += ANSWER_TIME;
        let actions = client.tick(now, WALL, || 0);
        told += usize::from(actions == [Action::Unknown("no time server answers")]);
        let next = client.next().unwrap();
        waits.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(told, 1);
    assert_eq!(waits, [4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024, 1024, 1024]);
}

#[test]
fn a_lone_server_that_jumps_later_is_not_believed() {
    let mut client = client(1);
    ask(&mut client, NOW, WALL);
    tell(&mut client, NOW, 1, 10_000_000);
    let later = NOW + WAY + WAIT_MAX;
    ask(&mut client, later, WALL + (later - NOW));
    let actions = tell(&mut client, later, 1, 1_000_002);
    assert_eq!(actions, [Action::Unknown("the only time server jumped")]);
    let later = client.next().unwrap();
    ask(&mut client, later, WALL + (later - NOW));
    assert_eq!(millis(&tell(&mut client, later, 1, 999_990)), Some(999_990));
}

#[test]
fn what_nobody_asked_for_changes_nothing() {
    let mut client = client(2);
    assert_eq!(tell(&mut client, NOW, 1, 5_000), [], "before the question");
    ask(&mut client, NOW, WALL);
    let time = WALL + Duration::from_secs(5);
    let answer = packet(Answer::Time { received: time, sent: time }, 1);
    assert_eq!(client.heard(NOW + WAY, server(2), &answer), [], "another server's number");
    assert_eq!(client.heard(NOW + WAY, server(9), &answer), [], "a stranger");
    // Only its own server's answer counts, and only the first one.
    assert_eq!(tell(&mut client, NOW, 1, 100), []);
    assert_eq!(tell(&mut client, NOW, 1, 9_000), []);
    assert_eq!(millis(&tell(&mut client, NOW, 2, 102)), Some(100));
}

#[test]
fn answers_that_were_long_under_way_or_older_than_we_are_do_not_count() {
    let mut client = client(1);
    ask(&mut client, NOW, WALL);
    let time = WALL + Duration::from_secs(5);
    let answer = packet(Answer::Time { received: time, sent: time }, 1);
    let late = NOW + DIFFERENCE_MAX + Duration::from_millis(1);
    assert_eq!(client.heard(late, server(1), &answer), [Action::Unknown("no time server answers")]);
    let next = client.next().unwrap();
    ask(&mut client, next, WALL);
    let old = Duration::from_secs(1_700_000_000);
    let answer = packet(Answer::Time { received: old, sent: old }, 1);
    client.heard(next + WAY, server(1), &answer);
    assert_eq!(client.failed, 2);
}

#[test]
fn servers_are_bounded_and_other_ones_are_asked_at_once() {
    let mut client = client(SERVERS_MAX as u8 + 1);
    assert_eq!(ask(&mut client, NOW, WALL), SERVERS_MAX);
    for last in 1..=SERVERS_MAX as u8 {
        tell(&mut client, NOW, last, 0);
    }
    let later = NOW + Duration::from_secs(9);
    assert_eq!(ask(&mut client, later, WALL), 0);
    client.set_servers(later, &[server(9)]);
    assert_eq!(client.next(), Some(later));
    assert_eq!(ask(&mut client, later, WALL), 1);
    client.set_servers(later, &[]);
    client.tick(later + ANSWER_TIME, WALL, || 0);
    assert_eq!(client.next(), None, "nobody to ask");
}

#[test]
fn the_first_answer_is_awaited_but_not_for_long() {
    assert!(!Client::default().is_awaited(), "nobody is to be asked");
    let mut answered = client(1);
    assert!(answered.is_awaited());
    ask(&mut answered, NOW, WALL);
    assert!(answered.is_awaited());
    tell(&mut answered, NOW, 1, 0);
    assert!(!answered.is_awaited());

    let mut silent = client(1);
    let mut now = NOW;
    while silent.is_awaited() {
        silent.tick(now, WALL, || 1);
        now = silent.next().expect("there is a server").max(now);
    }
    assert!(now <= NOW + ANSWER_TIME * 2 + FIRST_WAIT * 3, "{:?}", now - NOW);
    assert!(silent.error().is_none());
    // Others are worth a wait of their own.
    silent.set_servers(now, &[server(9)]);
    assert!(silent.is_awaited());
}
