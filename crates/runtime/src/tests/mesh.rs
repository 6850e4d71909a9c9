//! Shards talking to each other and to themselves.

use base::ShardId;
use shard::effect::Effect;
use shard::event::Event;
use shard::mesh::MeshMessage;

use super::*;
use crate::script::{script, seen};

fn message(count: u32) -> MeshMessage {
    MeshMessage::PermitReturn { key: "site".into(), count }
}

fn count(message: &MeshMessage) -> u32 {
    match message {
        MeshMessage::PermitReturn { count, .. } => *count,
        other => panic!("not what was sent: {other:?}"),
    }
}

#[test]
fn messages_go_back_and_forth_between_two_shards() {
    const ROUNDS: u32 = 2_000;
    let (saw, seen) = seen();
    let mut cores = Vec::new();
    for own in 0..2u16 {
        let saw = saw.clone();
        let mut begun = own == 1;
        cores.push(script(move |event, stage| match event {
            Event::Disk { .. } if !begun => {
                begun = true;
                stage.effects.push(Effect::Mesh { to: ShardId(1), message: message(0) });
            }
            Event::Mesh { from, message: got } => {
                assert_eq!(from, ShardId(1 - own));
                if count(&got) == ROUNDS {
                    return saw.send(()).unwrap();
                }
                stage.effects.push(Effect::Mesh { to: from, message: message(count(&got) + 1) });
            }
            _ => {}
        }));
    }
    let _fleet = Fleet::start(cores, b"");
    seen.next();
}

#[test]
fn a_shard_that_talks_to_itself_still_serves_its_sockets() {
    use std::io::{Read, Write};
    let mut begun = false;
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Disk { .. } if !begun => {
                begun = true;
                stage.effects.push(Effect::Mesh { to: ShardId(0), message: message(0) });
            }
            Event::Mesh { message: got, .. } => {
                let next = message(count(&got).wrapping_add(1));
                stage.effects.push(Effect::Mesh { to: ShardId(0), message: next });
            }
            Event::Received { conn, bytes } => {
                stage.effects.push(Effect::Send { conn, bytes: bytes.to_vec() });
            }
            _ => {}
        })],
        b"",
    );
    let mut client = client(&fleet, 0);
    for _ in 0..50 {
        client.write_all(b"NOOP").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
    }
}

#[test]
fn a_core_that_always_wants_to_be_called_still_serves_its_sockets() {
    use std::io::{Read, Write};
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            // A deadline that has always passed already.
            Event::Tick => *stage.deadline = Some(stage.now.mono),
            Event::Received { conn, bytes } => {
                stage.effects.push(Effect::Send { conn, bytes: bytes.to_vec() });
            }
            _ => {}
        })],
        b"",
    );
    let mut client = client(&fleet, 0);
    let start = std::time::Instant::now();
    for _ in 0..100 {
        client.write_all(b"NOOP").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
    }
    // Far less than one preemption of the executor for each exchange.
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}
