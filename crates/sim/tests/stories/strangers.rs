//! Who may hand mail in, and how much of the house one client can take.

use std::collections::VecDeque;

use shard::event::Event;

use crate::stories_support::{HOST, SENDER, world};
use sim::{Host, World, seconds};

const STRANGER: [u8; 4] = [203, 0, 113, 9];

fn attempt(world: &mut World, ip: [u8; 4], from: &str, to: &str) -> u16 {
    let said = [
        "EHLO client.example\r\n".to_owned(),
        format!("MAIL FROM:<{from}>\r\n"),
        format!("RCPT TO:{to}\r\n"),
        "DATA\r\n".to_owned(),
        "Subject: x\r\n\r\nx\r\n.\r\n".to_owned(),
        "QUIT\r\n".to_owned(),
    ];
    let ticket = world.session_from(0, ip, said.map(String::into_bytes).into());
    world.run_for(seconds(2));
    world.ticket(ticket).answer.expect("every session has an answer").0
}

/// A client of no known network is refused whatever it tries, so that nobody
/// is written to, by mail or by a report, on a stranger's word.
///
/// Proves: RFC 6409 §6.1
/// Covers: A3.7, A7.15, B92, B98
#[test]
fn a_stranger_cannot_hand_mail_in() {
    let mut world = world("", Host::new());
    for from in ["a@from.example", "", "postmaster@mail.sender.example"] {
        for to in [
            "<b@there.example>",
            "<@mail.sender.example:b@there.example>",
            "<b%there.example@mail.sender.example>",
            "<\"b@there.example\"@mail.sender.example>",
            "<b@mail.sender.example>",
            "<b@[198.51.100.7]>",
            "<postmaster>",
        ] {
            assert_eq!(attempt(&mut world, STRANGER, from, to), 550, "{from} {to}");
        }
    }
    assert_eq!(world.status()["counters"]["messages_accepted"], 0);
    assert_eq!(world.at(HOST).connects.len() + world.at(SENDER).connects.len(), 0);
    assert_eq!(attempt(&mut world, [127, 0, 0, 1], "a@from.example", "<b@there.example>"), 250);
    world.assert_over();
}

/// Too many connections of one client, and of all: 421, and those who are in
/// go on.
///
/// Covers: B88, B89
#[test]
fn one_client_cannot_take_all_connections() {
    let bounds = "[submission]\nmax_connections = 10\nmax_connections_per_peer = 3\n";
    let mut world = world(bounds, Host::new());
    let idle = || VecDeque::from([b"EHLO idle.example\r\n".to_vec()]);
    let greedy = [127, 0, 0, 66];
    let tickets: Vec<usize> = (0..8).map(|_| world.session_from(0, greedy, idle())).collect();
    world.run_for(seconds(1));
    let refused = |world: &World, tickets: &[usize]| {
        let answers = tickets.iter().filter_map(|ticket| world.ticket(*ticket).answer);
        answers.filter(|(code, _)| *code == 421).count()
    };
    assert_eq!(refused(&world, &tickets), 5);
    assert_eq!(attempt(&mut world, [127, 0, 0, 1], "a@from.example", "<b@there.example>"), 250);
    let others: Vec<usize> =
        (0..10u8).map(|n| world.session_from(0, [127, 0, 1, n], idle())).collect();
    world.run_for(seconds(1));
    assert_eq!(refused(&world, &others), 3, "ten in all, three of them greedy");
    assert_eq!(world.status()["sessions"]["in"], 10);
    // All of them fall silent, and are sent away.
    world.run_for(seconds(400));
    world.assert_over();
}

/// No inodes are left: as with a full disk, 452 until there are some.
///
/// Covers: A1.24, B20, B22
/// Shows: S1.7
#[test]
fn a_disk_without_inodes_says_452() {
    let mut world = world("", Host::new());
    let disk = |free_inodes| Event::Disk { free_bytes: 1 << 40, free_inodes };
    world.tell(0, seconds(0), disk(3));
    let from = [127, 0, 0, 1];
    assert_eq!(attempt(&mut world, from, "a@from.example", "<b@there.example>"), 452);
    world.tell(0, seconds(0), disk(1 << 20));
    assert_eq!(attempt(&mut world, from, "a@from.example", "<b@there.example>"), 250);
    world.assert_over();
}
