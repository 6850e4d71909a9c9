//! From a client's connection to the 250 and on to the next hop.

use std::collections::VecDeque;

use base::ShardId;

use sim::{Host, SYNC, World, seconds};

/// The owner of a domain among two shards, and the other one.
pub fn owner_and_other(domain: &str) -> (usize, usize) {
    let ShardId(owner) = control::owner(domain, 2);
    (owner.into(), usize::from(owner == 0))
}

/// A message to an address literal: the 250 comes only after a sync, the
/// message arrives once and unchanged, and nothing is left behind.
/// Proves: RFC 5321 §6.1
/// Covers: A1.14, A1.24, A1.28, A2.32, A2.34
/// Shows: S0.1
#[test]
fn the_250_waits_for_the_disk_and_the_mail_arrives() {
    let mut world = World::new(1, "");
    world.host([198, 51, 100, 7], Host::new());
    let before = world.now.mono.as_millis();
    let ticket = world.submit(0, "a@from.example", &["b@[198.51.100.7]"], "Hello.\n..dots");
    world.run_until("an answer", |world| world.ticket(ticket).answer.is_some());
    let ticket = world.ticket(ticket);
    assert_eq!(ticket.answer.unwrap().0, 250);
    // Accept and greeting, EHLO, MAIL, RCPT, DATA, content: 6 ways there, 6 back.
    assert_eq!(ticket.at_ms - before, 12 + SYNC.as_millis() as u64);
    world.run_for(seconds(5));
    let got = &world.at([198, 51, 100, 7]).got;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].sender, "a@from.example");
    assert_eq!(got[0].recipients, ["b@[198.51.100.7]"]);
    assert!(got[0].body.starts_with("Received: from client.example"), "{}", got[0].body);
    assert!(got[0].body.contains(&ticket.id.unwrap().to_string()));
    assert!(got[0].body.ends_with("\r\nHello.\r\n..dots\r\n"), "{}", got[0].body);
    assert_eq!(world.logged("delivered").len(), 1);
    world.assert_over();
}

/// One client hands mail in on the shard that does not own the domain: it is
/// written there once, delivered by the owner, and settled at the writer.
#[test]
fn writer_and_owner_are_two_shards() {
    let mut world = World::new(2, "");
    world.names.exchanger("there.example", 10, "mx.there.example", [198, 51, 100, 7]);
    world.host([198, 51, 100, 7], Host::new());
    let (_, other) = owner_and_other("there.example");
    world.accept(other, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(5));
    assert_eq!(world.at([198, 51, 100, 7]).delivered_to(), ["b@there.example"]);
    world.assert_over();
}

/// Three recipients of two domains: one message in the log, one transaction
/// for each next hop, each recipient once.
/// Proves: RFC 5321 §4.5.4.1
/// Covers: A2.17
#[test]
fn many_recipients_are_one_write_and_one_copy_for_each_next_hop() {
    let mut world = World::new(2, "");
    world.names.exchanger("one.example", 10, "mx.one.example", [198, 51, 100, 1]);
    world.names.exchanger("two.example", 10, "mx.two.example", [198, 51, 100, 2]);
    world.host([198, 51, 100, 1], Host::new());
    world.host([198, 51, 100, 2], Host::new());
    let to = ["a@one.example", "b@two.example", "c@one.example"];
    world.accept(0, "s@from.example", &to);
    let status = world.status();
    assert_eq!(status["counters"]["messages_accepted"], 1);
    world.run_for(seconds(5));
    assert_eq!(world.at([198, 51, 100, 1]).delivered_to(), ["a@one.example", "c@one.example"]);
    assert_eq!(world.at([198, 51, 100, 1]).got.len(), 1, "one copy for two");
    assert_eq!(world.at([198, 51, 100, 2]).delivered_to(), ["b@two.example"]);
    world.assert_over();
}

/// Bytes arrive one by one, at clients and hosts: nothing changes.
#[test]
fn bytes_may_come_one_by_one() {
    let mut world = World::new(2, "");
    world.network.piece = 1;
    world.names.exchanger("there.example", 10, "mx.there.example", [198, 51, 100, 7]);
    world.host([198, 51, 100, 7], Host::new().with_tls().slow(100));
    for shard in [0, 1] {
        world.accept(shard, "a@from.example", &["b@there.example", "c@there.example"]);
    }
    world.run_for(seconds(5));
    assert_eq!(world.at([198, 51, 100, 7]).delivered_to().len(), 4);
    assert!(world.at([198, 51, 100, 7]).got.iter().all(|got| got.tls));
    world.assert_over();
}

/// A sync fails: the client hears 451 and keeps the message; mail accepted
/// before is moved and delivered; the next message is taken again.
///
/// Covers: A1.24, B14
#[test]
fn a_failed_sync_is_451_and_older_mail_survives() {
    let mut world = World::new(1, "");
    world.names.exchanger("there.example", 10, "mx.there.example", [198, 51, 100, 7]);
    world.names.fail("there.example", true);
    world.accept(0, "a@from.example", &["old@there.example"]);
    world.run_for(seconds(1));
    world.failing_syncs = 1;
    let ticket = world.submit(0, "a@from.example", &["lost@there.example"], "x");
    world.run_for(seconds(1));
    assert_eq!(world.ticket(ticket).answer.unwrap().0, 451);
    world.accept(0, "a@from.example", &["new@there.example"]);
    world.names.fail("there.example", false);
    world.host([198, 51, 100, 7], Host::new());
    world.run_for(seconds(3_600));
    let delivered = world.at([198, 51, 100, 7]).delivered_to();
    assert_eq!(delivered, ["new@there.example", "old@there.example"]);
    world.assert_over();
}

/// No segment can be had, or the operator's bound is reached: 452 and never
/// 5xx, and mail is taken again afterwards.
///
/// Covers: B20
/// Shows: S1.3, S1.7
#[test]
fn a_full_queue_says_452_and_nothing_harder() {
    let mut world = World::new(1, "[queue]\nmax_messages = 2\n");
    world.names.exchanger("there.example", 10, "mx.there.example", [198, 51, 100, 7]);
    world.names.fail("there.example", true);
    world.accept(0, "a@from.example", &["1@there.example"]);
    world.accept(0, "a@from.example", &["2@there.example"]);
    let ticket = world.submit(0, "a@from.example", &["3@there.example"], "x");
    world.run_for(seconds(1));
    assert_eq!(world.ticket(ticket).answer.unwrap().0, 452);
    world.names.fail("there.example", false);
    world.host([198, 51, 100, 7], Host::new());
    world.run_for(seconds(3_600));
    world.accept(0, "a@from.example", &["4@there.example"]);
    world.run_for(seconds(5));
    assert_eq!(world.at([198, 51, 100, 7]).got.len(), 3);
    world.assert_over();
}

/// The file system is nearly full: 452; when there is room again, 250.
///
/// Covers: B20
#[test]
fn a_full_disk_says_452() {
    let mut world = World::new(1, "");
    world.host([198, 51, 100, 7], Host::new());
    let disk = |free_bytes| shard::event::Event::Disk { free_bytes, free_inodes: 1 << 20 };
    world.tell(0, seconds(0), disk(1 << 20));
    let ticket = world.submit(0, "a@from.example", &["b@[198.51.100.7]"], "x");
    world.run_for(seconds(1));
    assert_eq!(world.ticket(ticket).answer.unwrap().0, 452);
    world.tell(0, seconds(0), disk(1 << 40));
    world.accept(0, "a@from.example", &["b@[198.51.100.7]"]);
    world.run_for(seconds(5));
    world.assert_over();
}

/// A client that stays silent is told 421 and its connection ends.
/// Proves: RFC 5321 §4.5.3.2.7
/// Covers: A1.27, B88
#[test]
fn a_silent_client_is_sent_away_in_time() {
    let mut world = World::new(1, "[submission]\ntimeout = \"5m\"\n");
    world.session(0, VecDeque::from([b"EHL".to_vec()]));
    world.run_for(seconds(299));
    assert_eq!(world.network.open(), 1);
    world.run_for(seconds(2));
    assert_eq!(world.network.open(), 0);
    world.assert_over();
}
