//! Connections the core asks for.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base::ConnId;
use shard::effect::Effect;
use shard::event::{ConnectFailure, Event};

use super::*;
use crate::script::{Stage, script, seen};

fn at_first_disk(event: &Event<'_>, done: &mut bool) -> bool {
    // The keeper tells about the disk right after the start.
    matches!(event, Event::Disk { .. }) && !std::mem::replace(done, true)
}

fn connect(stage: &mut Stage<'_>, conn: u64, to: SocketAddr, from: Option<IpAddr>) {
    stage.effects.push(Effect::Connect { conn: ConnId(conn), to, from });
}

#[test]
fn a_connection_is_made_from_the_asked_address_and_carries_both_ways() {
    let (listener, to) = listener();
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
    let (saw, seen) = seen();
    let mut begun = false;
    let fleet = Fleet::start(
        vec![script(move |event, stage| {
            if at_first_disk(&event, &mut begun) {
                connect(stage, 1, to, Some(from));
            }
            match event {
                Event::Connected { conn, local } => {
                    assert_eq!(local.ip(), from);
                    stage.effects.push(Effect::Send { conn, bytes: b"EHLO\r\n".to_vec() });
                }
                Event::Received { bytes, .. } => saw.send(bytes.to_vec()).unwrap(),
                _ => {}
            }
        })],
        b"",
    );
    let (mut far, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), from);
    let mut words = [0; 6];
    far.read_exact(&mut words).unwrap();
    assert_eq!(words, *b"EHLO\r\n");
    far.write_all(b"250 ok\r\n").unwrap();
    assert_eq!(seen.next(), b"250 ok\r\n");
    drop(fleet);
}

/// Covers: B61
#[test]
fn refusals_are_the_peers_and_strange_sources_are_ours() {
    let (refusing, refused_at) = listener();
    drop(refusing);
    let (_listener, to) = listener();
    let strange = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));
    let (saw, seen) = seen();
    let mut begun = false;
    let _fleet = Fleet::start(
        vec![script(move |event, stage| {
            if at_first_disk(&event, &mut begun) {
                connect(stage, 1, refused_at, None);
                connect(stage, 3, to, Some(strange));
            }
            if let Event::ConnectFailed { conn, failure } = event {
                saw.send((conn.0, failure)).unwrap();
            }
        })],
        b"",
    );
    let mut failures = [seen.next(), seen.next()];
    failures.sort_by_key(|(conn, _)| *conn);
    assert!(matches!(failures[0], (1, ConnectFailure::Peer(_))), "{failures:?}");
    assert!(matches!(failures[1], (3, ConnectFailure::Source(_))), "{failures:?}");
}

/// Covers: B38
#[test]
fn a_connection_that_does_not_come_about_can_be_aborted() {
    // A listener whose queue is full lets further connections hang.
    let (listener, to) = listener();
    rustix::net::listen(&listener, 0).unwrap();
    let _fillers: Vec<_> = (0..2)
        .map(|_| {
            let socket =
                Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM.nonblocking(), None);
            let socket = socket.unwrap();
            let _ = socket.connect(&to.into());
            socket
        })
        .collect();
    let (saw, seen) = seen();
    let mut begun = false;
    let fleet = Fleet::start(
        vec![script(move |event, stage| {
            if at_first_disk(&event, &mut begun) {
                connect(stage, 1, to, None);
                *stage.deadline = Some(stage.now.mono + Duration::from_millis(30));
            }
            match event {
                Event::Tick if stage.deadline.is_some() => {
                    *stage.deadline = None;
                    stage.effects.push(Effect::Abort { conn: ConnId(1) });
                    saw.send("aborted").unwrap();
                }
                Event::Connected { .. } | Event::ConnectFailed { .. } => {
                    saw.send("told").unwrap();
                }
                _ => {}
            }
        })],
        b"",
    );
    assert_eq!(seen.next(), "aborted");
    drop(fleet);
    assert!(seen.nothing());
}
