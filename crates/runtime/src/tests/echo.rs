//! Reading and writing: replies, large output to a slow reader, pausing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use base::SegmentId;
use shard::effect::Effect;
use shard::event::Event;

use super::*;
use crate::script::{script, seen};

/// Sends back what arrives.
fn echo(event: Event<'_>, effects: &mut Vec<Effect>) {
    if let Event::Received { conn, bytes } = event {
        effects.push(Effect::Send { conn, bytes: bytes.to_vec() });
    }
}

#[test]
fn a_thousand_connections_get_their_own_bytes_back() {
    let fleet = Fleet::start(vec![script(|event, stage| echo(event, stage.effects))], b"");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut clients: Vec<_> = (0..1_000).map(|_| client_of(&fleet, 0, &listener)).collect();
    for round in 0..3u32 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(format!("{round}:{number:05}\r\n").as_bytes()).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut reply = [0; 9];
            client.read_exact(&mut reply).unwrap();
            assert_eq!(reply[..], *format!("{round}:{number:05}\r\n").as_bytes());
        }
    }
}

#[test]
fn connections_are_numbered_evenly_and_told_with_their_addresses() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, _| {
            if let Event::Accepted { conn, peer, local, .. } = event {
                saw.send((conn.0, peer, local)).unwrap();
            }
        })],
        b"",
    );
    for number in 0..3 {
        let client = client(&fleet, 0);
        let expected = (2 * number, client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!(seen.next(), expected);
    }
}

#[test]
fn a_slow_reader_gets_all_and_progress_is_told_to_the_end() {
    const BODY: usize = 3 << 20;
    let body: Vec<u8> = (0..BODY).map(|n| (n / 7) as u8).collect();
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => {
                stage.effects.push(Effect::Send { conn, bytes: b"354 go\r\n".to_vec() });
                for half in 0..2 {
                    stage.effects.push(Effect::SendBody {
                        conn,
                        segment: SegmentId(7),
                        offset: half * BODY as u32 / 2,
                        len: BODY as u32 / 2,
                    });
                }
                stage.effects.push(Effect::Send { conn, bytes: b".\r\n".to_vec() });
            }
            Event::Drained { left, .. } => saw.send(left).unwrap(),
            Event::Received { .. } => saw.send(u64::MAX).unwrap(),
            _ => {}
        })],
        &body,
    );
    let mut client = client(&fleet, 0);
    let mut got = vec![0; 8 + BODY + 3];
    for piece in got.chunks_mut(60_000) {
        client.read_exact(piece).unwrap();
    }
    assert_eq!(got[..8], *b"354 go\r\n");
    assert!(got[8..8 + BODY] == body, "the body arrived damaged");
    assert_eq!(got[8 + BODY..], *b".\r\n");
    client.write_all(b"250 ok\r\n").unwrap();
    let mut left = BODY as u64 + 11;
    while left > 0 {
        let now_left = seen.next();
        assert!(now_left < left, "{now_left} of {left} bytes are left");
        left = now_left;
    }
    assert_eq!(seen.next(), u64::MAX, "the end is told once");
}

#[test]
fn output_without_a_body_is_never_reported_as_drained() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| {
            if matches!(event, Event::Drained { .. }) {
                saw.send(()).unwrap();
            }
            echo(event, stage.effects);
        })],
        b"",
    );
    let mut client = client(&fleet, 0);
    for _ in 0..10 {
        client.write_all(b"NOOP\r\n").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
    }
    assert!(seen.nothing());
}

#[test]
fn a_paused_connection_is_read_again_only_when_resumed() {
    let (saw, seen) = seen();
    let mut first = None;
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } if first.is_none() => {
                first = Some(conn);
                stage.effects.push(Effect::Pause { conn, paused: true });
            }
            // The second connection resumes the first.
            Event::Received { conn, .. } if Some(conn) != first => {
                saw.send("second").unwrap();
                let conn = first.unwrap();
                stage.effects.push(Effect::Pause { conn, paused: false });
            }
            Event::Received { bytes, .. } => {
                assert_eq!(bytes, b"waiting");
                saw.send("first").unwrap();
            }
            _ => {}
        })],
        b"",
    );
    let mut paused = client(&fleet, 0);
    paused.write_all(b"waiting").unwrap();
    let mut other = client(&fleet, 0);
    other.write_all(b"go on").unwrap();
    assert_eq!((seen.next(), seen.next()), ("second", "first"));
}

#[test]
fn a_client_that_goes_is_told_with_its_last_words() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, _| match event {
            Event::Received { bytes, .. } => saw.send(bytes.to_vec()).unwrap(),
            Event::Closed { error, .. } => {
                assert_eq!(error, None);
                saw.send(b"(closed)".to_vec()).unwrap();
            }
            _ => {}
        })],
        b"",
    );
    let mut client = client(&fleet, 0);
    client.write_all(b"QUIT\r\n").unwrap();
    drop(client);
    assert_eq!(seen.next(), b"QUIT\r\n");
    assert_eq!(seen.next(), b"(closed)");
}
