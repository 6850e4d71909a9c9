//! A shard with a listener behind a proxy, one connection at a time.

use std::sync::Arc;

use base::{Monotonic, Now, ShardId, Wall};
use control::Config;
use mail::Domain;
use smtp::proxy::header::HEADER_BYTES_MAX;
use smtp::proxy::proxy_header;
use spool::{MemoryMedium, Request, Spool};

use super::*;
use crate::Setup;
use crate::event::Event;

struct Stage {
    shard: Shard,
    medium: MemoryMedium,
    now: u64,
}

impl Stage {
    fn new() -> Self {
        let text = "[submission]\nmax_connections = 3\n\
                    listen = [{ address = \"127.0.0.1:25\", proxies = \"10.0.0.0/8\" }]\n";
        let name = Domain::parse("box.example").unwrap();
        let policy = Arc::new(Config::parse(text, &name).unwrap().policy);
        let medium = MemoryMedium::new(64 << 20);
        let shard = Shard::new(Setup {
            id: ShardId(0),
            shards: 1,
            policy,
            own_addresses: Vec::new(),
            name_servers: Vec::new(),
            seed: 1,
            spool: Spool::new(ShardId(0)),
            now: at(1_000),
        });
        let mut stage = Self { shard, medium, now: 1_000 };
        stage.step(Event::Tick);
        // The disk does what it is asked for, until there is room for mail.
        while !stage.shard.spool.has_room() {
            for request in stage.medium.requests() {
                match request {
                    Request::Sync(segment) => {
                        stage.medium.finish_sync(segment, true);
                        stage.step(Event::Synced { segment, ok: true });
                    }
                    Request::Segment => {
                        let (segment, bytes) = stage.medium.create();
                        stage.step(Event::SegmentReady { segment, bytes });
                    }
                    Request::Retire(segment) => panic!("{segment} is retired"),
                }
            }
        }
        stage
    }

    /// Connections closed and bytes sent because of it.
    fn step(&mut self, event: Event<'_>) -> (Vec<ConnId>, String) {
        let mut effects = Vec::new();
        self.shard.step(at(self.now), event, &mut self.medium, &mut effects);
        let (mut closed, mut said) = (Vec::new(), String::new());
        for effect in effects {
            match effect {
                Effect::Close { conn } => closed.push(conn),
                Effect::Send { bytes, .. } => said += &String::from_utf8(bytes).unwrap(),
                _ => {}
            }
        }
        (closed, said)
    }

    fn comes(&mut self, conn: u64, ip: [u8; 4]) -> Vec<ConnId> {
        let [peer, local] = [ip, [127, 0, 0, 1]].map(|ip| SocketAddr::from((ip, 25)));
        self.step(Event::Accepted { conn: ConnId(conn), peer, local, listener: 0 }).0
    }

    fn says(&mut self, conn: u64, bytes: &[u8]) -> (Vec<ConnId>, String) {
        self.step(Event::Received { conn: ConnId(conn), bytes })
    }
}

fn at(millis: u64) -> Now {
    Now::new(Monotonic::from_millis(millis), Wall::from_millis(millis))
}

fn header() -> Vec<u8> {
    proxy_header([192, 0, 2, 7].into(), SocketAddr::from(([127, 0, 0, 1], 25))).unwrap()
}

/// Shows: A57
#[test]
fn a_session_begins_behind_the_header_in_any_pieces() {
    let mut stage = Stage::new();
    assert!(stage.comes(0, [10, 0, 0, 1]).is_empty());
    for byte in header() {
        assert!(stage.shard.inbound.is_empty());
        assert_eq!(stage.says(0, &[byte]).0, []);
    }
    assert_eq!(stage.shard.inbound[&ConnId(0)].peer.ip().to_string(), "192.0.2.7");
    let (_, said) = stage.says(0, b"NOOP\r\n");
    assert!(said.starts_with("250 "), "{said}");
    assert!(stage.comes(2, [10, 0, 0, 1]).is_empty());
    let (_, said) = stage.says(2, &[&header()[..], b"NOOP\r\n"].concat());
    assert!(said.starts_with("220 ") && said.contains("\r\n250 "), "{said}");
}

#[test]
fn strangers_are_not_heard_and_places_have_a_bound() {
    let mut stage = Stage::new();
    assert_eq!(stage.comes(0, [192, 0, 2, 1]), [ConnId(0)]);
    for conn in [2, 4, 6] {
        assert!(stage.comes(conn, [10, 0, 0, 1]).is_empty());
    }
    assert_eq!(stage.comes(8, [10, 0, 0, 1]), [ConnId(8)], "those without a header count");
    let mut endless = header();
    endless[14..16].copy_from_slice(&(HEADER_BYTES_MAX as u16).to_be_bytes());
    assert_eq!(stage.says(2, &endless).0, [ConnId(2)], "nobody is listened to for ever");
    assert_eq!(stage.says(4, b"EHLO c\r\n"), (vec![ConnId(4)], String::new()));
    stage.step(Event::Closed { conn: ConnId(6), error: None });
    assert!(stage.shard.announcing.is_empty());
    assert!(stage.comes(10, [10, 0, 0, 1]).is_empty());
}

#[test]
fn a_proxy_that_says_nothing_is_let_go_in_time() {
    let mut stage = Stage::new();
    stage.comes(0, [10, 0, 0, 1]);
    stage.says(0, &header()[..20]);
    stage.now += HEADER_TIME.as_millis() as u64 - 1;
    assert_eq!(stage.step(Event::Tick).0, []);
    stage.now += 10;
    assert_eq!(stage.step(Event::Tick).0, [ConnId(0)]);
    assert!(stage.shard.announcing.is_empty());
    // Nor does a shutdown wait for one.
    stage.comes(2, [10, 0, 0, 1]);
    assert_eq!(stage.step(Event::Drain).0, [ConnId(2)]);
}
