//! A whole shard over a medium in memory: any events that the contract allows,
//! in any order, with crashes and other configurations between them; then a
//! world in good order, in which all mail must come to its end.
//!
//! Input: a byte of settings, then steps. Oracle: no panic; every deadline
//! moves on; effects name connections and queries that are there, and nothing
//! follows an end; a message is confirmed only when a power cut at that moment
//! would leave it on the disk; a step does a bounded number of things; what
//! was taken ends.
//!
//! Read first: the heads of the shard's events and effects.

mod peer;
mod world;

use std::time::Duration;

use base::MessageId;
use control::api::How;
use control::{Filter, QueueAct, Request as Command};
use shard::event::{ConnectFailure, Event};

use crate::dns_answer::packet;
use crate::input::Input;
use world::{Crash, POLICIES, World};

/// Runs the target.
pub fn shard_events(data: &[u8]) {
    let mut input = Input::new(data);
    let plan = input.byte();
    let mut world = World::new(usize::from(plan) % POLICIES.len());
    for _ in 0..3 {
        world.answer_all();
    }
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
    }
    come_to_the_end(&mut world, plan & 4 != 0, plan & 8 != 0);
}

/// Bounds the time of one run.
const STEPS_MAX: usize = 400;

fn step(world: &mut World, input: &mut Input<'_>) {
    match input.byte() % 32 {
        0 => world.accept(),
        1..=3 => speak(world, input),
        4 => {
            if let Some(conn) = world.chosen_client(input) {
                world.client_gone(conn);
            }
        }
        5..=7 => world.connect_one(input, None),
        8 => {
            let failures = [
                ConnectFailure::Peer("refused".to_owned()),
                ConnectFailure::Local("no descriptor".to_owned()),
            ];
            let failure = failures[input.below(2)].clone();
            world.connect_one(input, Some(failure));
        }
        9..=12 => world.peer_answers(input),
        13 => world.peer_says(input),
        14 => world.drained(input),
        15 => world.peer_gone(input),
        16 => world.handshake(input),
        17 | 18 => world.plain_dns(input),
        19 => {
            if let Some((query, bytes)) = world.chosen_query(input) {
                let answer = packet::answer(&bytes, input);
                world.event(Event::Answer { query, bytes: &answer });
            }
        }
        20 => {
            if let Some((query, _)) = world.chosen_query(input) {
                world.event(Event::QueryFailed { query, reason: "unreachable".to_owned() });
            }
        }
        21 | 22 => world.answer_one(input, true),
        23 => {
            let well = input.below(4) != 3;
            world.answer_one(input, well);
        }
        24 => {
            let ok = input.below(8) != 7;
            world.prefetched(ok);
        }
        25 => world.tick(),
        26 => {
            let span = input.pick(&[1u64, 50, 1_000, 30_000, 600_000, 3_600_000]);
            world.pass(Duration::from_millis(span));
        }
        27 => {
            let free_bytes = input.pick(&[1u64 << 40, 0, 1 << 20]);
            world.event(Event::Disk { free_bytes, free_inodes: free_bytes });
        }
        28 => command(world, input),
        29 => world.adopt(input.below(POLICIES.len())),
        30 if input.below(4) == 3 => {
            let crash = if input.flag() { Crash::Power(input.byte()) } else { Crash::Program };
            world.restart(crash);
        }
        _ => world.good_turn(),
    }
}

/// A client says something.
fn speak(world: &mut World, input: &mut Input<'_>) {
    let Some(conn) = world.chosen_client(input) else { return };
    let number = input.byte();
    let to = number % 4;
    let text = match input.below(10) {
        0..=3 => format!(
            "EHLO c.example\r\nMAIL FROM:<s{number}@a.example>\r\nRCPT TO:<r@d{to}.example>\r\n\
             RCPT TO:<t@d0.example> NOTIFY=SUCCESS,FAILURE,DELAY\r\nDATA\r\nSubject: {number}\r\n\
             \r\n..dot\r\n.\r\n"
        ),
        4 => format!("EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<r@d{to}.example>\r\n"),
        5 => "DATA\r\n".to_owned(),
        6 => "Subject: x\r\n\r\nM\u{fc}ll\r\n.\r\n".to_owned(),
        7 => format!("{}\r\n.\r\n", "x".repeat(usize::from(number) * 3)),
        8 => "QUIT\r\n".to_owned(),
        _ => {
            let bytes = input.bytes();
            return world.client_says(conn, bytes);
        }
    };
    world.client_says(conn, text.as_bytes());
}

fn command(world: &mut World, input: &mut Input<'_>) {
    let all = Filter { all: true, ..Filter::default() };
    let id = MessageId::from_u64(1 << 32 | 4_096);
    let some = Filter { id: Some(id), ..Filter::default() };
    let filter = if input.flag() { some } else { all };
    let by = input.pick(&[control::By::Site, control::By::Domain, control::By::Message]);
    let how = How::default();
    let command = match input.below(8) {
        0 => Command::Status,
        1 => Command::QueueList { by, filter: Filter::default(), limit: 20 },
        2 => Command::QueueShow(id),
        3 => Command::QueueAct { act: QueueAct::Hold, filter, how },
        4 => Command::QueueAct { act: QueueAct::Release, filter, how },
        5 => Command::QueueAct { act: QueueAct::Flush, filter, how },
        6 => Command::QueueAct { act: QueueAct::Remove, filter, how },
        _ => control::ConfigRequest::Show.into(),
    };
    world.command(command);
}

/// Everybody does what they should from now on: all that was taken ends.
fn come_to_the_end(world: &mut World, restart: bool, patient: bool) {
    // After a failed sync or a drain only a restart sets a shard right.
    if restart || world.is_spoilt() {
        world.restart(Crash::Program);
    }
    world.adopt(0);
    world.event(Event::Disk { free_bytes: 1 << 40, free_inodes: 1 << 40 });
    if patient {
        return wait_for_the_end(world);
    }
    let all = || Filter { all: true, ..Filter::default() };
    for round in 0..12 {
        world.command(Command::QueueAct {
            act: QueueAct::Release,
            filter: all(),
            how: How::default(),
        });
        world.command(Command::QueueAct {
            act: QueueAct::Flush,
            filter: all(),
            how: How::default(),
        });
        for _ in 0..600 {
            world.good_turn();
            if world.is_over() {
                return;
            }
        }
        world.pass(Duration::from_secs(60 << round.min(6)));
    }
    panic!("mail does not end: {}", world.told());
}

/// Without a command: held mail too has no more than its lifetime.
fn wait_for_the_end(world: &mut World) {
    let until = world.ms() + LIFETIME.as_millis() as u64 + 3_600_000;
    while world.ms() < until {
        world.good_turn();
        if world.is_over() {
            return;
        }
    }
    panic!("mail outlives its lifetime: {}", world.told());
}

/// The longest lifetime of all configurations.
const LIFETIME: Duration = Duration::from_secs(4 * 3_600);
