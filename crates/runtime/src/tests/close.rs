//! `Close` and `Abort`: what the peer sees, and that nothing more is told.

use std::io::{self, Read, Write};

use base::SegmentId;
use shard::effect::Effect;
use shard::event::Event;

use super::*;
use crate::script::{script, seen};

/// Covers: A1.26
#[test]
fn close_sends_what_is_left_even_to_a_talkative_peer() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Received { conn, .. } => {
                saw.send("received").unwrap();
                stage.effects.push(Effect::Send { conn, bytes: b"421 4.3.2 bye\r\n".to_vec() });
                stage.effects.push(Effect::Close { conn });
                // What comes after the end has no effect.
                stage.effects.push(Effect::Send { conn, bytes: b"ghost".to_vec() });
                stage.effects.push(Effect::Pause { conn, paused: true });
            }
            Event::Closed { .. } => saw.send("closed").unwrap(),
            _ => {}
        })],
        b"",
    );
    let mut client = client(&fleet, 0);
    client.write_all(b"EHLO").unwrap();
    assert_eq!(seen.next(), "received");
    // Unread input must not turn our last words into a reset.
    let _ = client.write_all(&vec![b'x'; 100_000]);
    let mut words = Vec::new();
    client.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"421 4.3.2 bye\r\n");
    drop(client);
    drop(fleet);
    assert!(seen.nothing(), "a closed connection is told no more");
}

#[test]
fn close_delivers_large_output_before_the_end() {
    const BODY: usize = 4 << 20;
    let body: Vec<u8> = (0..BODY).map(|n| (n / 3) as u8).collect();
    let fleet = Fleet::start(
        vec![script(move |event, stage| {
            if let Event::Accepted { conn, .. } = event {
                stage.effects.push(Effect::SendBody {
                    conn,
                    segment: SegmentId(7),
                    offset: 0,
                    len: BODY as u32,
                });
                stage.effects.push(Effect::Close { conn });
            }
        })],
        &body,
    );
    let mut client = client(&fleet, 0);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert!(got == body, "{} of {BODY} bytes arrived", got.len());
}

#[test]
fn abort_resets_at_once_and_drops_the_output() {
    const BODY: usize = 8 << 20;
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => stage.effects.push(Effect::SendBody {
                conn,
                segment: SegmentId(7),
                offset: 0,
                len: BODY as u32,
            }),
            Event::Received { conn, .. } => {
                stage.effects.push(Effect::Abort { conn });
                saw.send("aborted").unwrap();
            }
            Event::Closed { .. } => saw.send("told").unwrap(),
            _ => {}
        })],
        &vec![1; BODY],
    );
    let mut client = client(&fleet, 0);
    client.write_all(b"stop").unwrap();
    assert_eq!(seen.next(), "aborted");
    let mut got = Vec::new();
    let error = client.read_to_end(&mut got).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(got.len() < BODY);
    drop(fleet);
    assert!(seen.nothing(), "an aborted connection is told no more");
}

#[test]
fn abort_frees_a_paused_connection() {
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => {
                stage.effects.push(Effect::Pause { conn, paused: true });
                *stage.deadline = Some(stage.now.mono + std::time::Duration::from_millis(20));
            }
            Event::Tick if stage.deadline.is_some() => {
                *stage.deadline = None;
                stage.effects.push(Effect::Abort { conn: base::ConnId(0) });
            }
            _ => {}
        })],
        b"",
    );
    let mut client = client(&fleet, 0);
    let error = client.read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Covers: B42
#[test]
fn a_peer_that_resets_while_we_write_is_told_as_closed_with_an_error() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Accepted { conn, .. } => stage.effects.push(Effect::SendBody {
                conn,
                segment: SegmentId(7),
                offset: 0,
                len: 8 << 20,
            }),
            Event::Closed { error, .. } => saw.send(error).unwrap(),
            _ => {}
        })],
        &vec![1; 8 << 20],
    );
    let mut client = client(&fleet, 0);
    client.read_exact(&mut [0; 1_000]).unwrap();
    // Unread input makes this close a reset.
    drop(client);
    assert!(seen.next().is_some());
}
