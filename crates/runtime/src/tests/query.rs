//! DNS queries over datagrams and streams.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};

use shard::effect::Effect;
use shard::event::Event;

use super::*;
use crate::script::{Stage, script, seen};

fn ask(stage: &mut Stage<'_>, query: u64, server: SocketAddr, tcp: bool, bytes: &[u8]) {
    stage.effects.push(Effect::Query { query, server, tcp, bytes: bytes.to_vec() });
}

/// Covers: A12.1, A12.2
#[test]
fn datagrams_come_back_whole_until_the_query_is_done() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = server.local_addr().unwrap();
    let (saw, seen) = seen();
    let mut begun = false;
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Disk { .. } if !begun => {
                begun = true;
                ask(stage, 1, address, false, b"one");
                ask(stage, 2, address, false, b"two");
            }
            Event::Answer { query, bytes } => {
                saw.send((query, bytes.to_vec())).unwrap();
                if bytes == b"last" {
                    stage.effects.push(Effect::QueryDone { query });
                }
            }
            Event::QueryFailed { query, reason } => panic!("query {query} failed: {reason}"),
            _ => {}
        })],
        b"",
    );
    let mut ports = Vec::new();
    for _ in 0..2 {
        let mut bytes = [0; 64];
        let (len, peer) = server.recv_from(&mut bytes).unwrap();
        assert!([&b"one"[..], b"two"].contains(&&bytes[..len]));
        ports.push(peer);
        for reply in [&b"first"[..], &[9; 4_000], b"last"] {
            server.send_to(reply, peer).unwrap();
        }
    }
    assert_ne!(ports[0], ports[1], "each query has a port of its own");
    let mut answers: Vec<_> = (0..6).map(|_| seen.next()).collect();
    answers.sort_by_key(|(query, _)| *query);
    for query in 0..2 {
        let lens: Vec<_> = answers[3 * query..][..3].iter().map(|(_, b)| b.len()).collect();
        assert_eq!(lens, [5, 4_000, 4]);
    }
    drop(fleet);
    assert!(seen.nothing());
}

/// Covers: B75
#[test]
fn a_refused_query_fails_once() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = server.local_addr().unwrap();
    drop(server);
    let (saw, seen) = seen();
    let mut begun = false;
    let _fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Disk { .. } if !begun => {
                begun = true;
                ask(stage, 5, address, false, b"anyone?");
                ask(stage, 6, address, true, b"anyone?");
                ask(stage, 7, address, true, &[0; 65_536]);
            }
            Event::QueryFailed { query, .. } => saw.send(query).unwrap(),
            _ => {}
        })],
        b"",
    );
    let mut failed = [seen.next(), seen.next(), seen.next()];
    failed.sort_unstable();
    assert_eq!(failed, [5, 6, 7]);
}

/// Covers: A12.4
#[test]
fn a_stream_is_cut_into_messages_however_it_arrives() {
    let (listener, address) = listener();
    let (saw, seen) = seen();
    let mut begun = false;
    let _fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Disk { .. } if !begun => {
                begun = true;
                ask(stage, 3, address, true, b"question");
            }
            Event::Answer { query: 3, bytes } => saw.send(bytes.len()).unwrap(),
            Event::QueryFailed { query: 3, .. } => saw.send(usize::MAX).unwrap(),
            _ => {}
        })],
        b"",
    );
    let (mut far, _) = listener.accept().unwrap();
    far.set_nodelay(true).unwrap();
    let mut question = [0; 10];
    far.read_exact(&mut question).unwrap();
    assert_eq!(question, *b"\x00\x08question");
    let mut stream = vec![0xff, 0xff];
    stream.extend(vec![1; 65_535]);
    stream.extend([0, 3, 7, 7, 7, 0, 0]);
    let (early, late) = stream.split_at(1);
    far.write_all(early).unwrap();
    far.write_all(late).unwrap();
    drop(far);
    let lens = [seen.next(), seen.next(), seen.next(), seen.next()];
    assert_eq!(lens, [65_535, 3, 0, usize::MAX]);
}
