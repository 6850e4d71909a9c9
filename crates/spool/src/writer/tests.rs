//! The log against the checked medium in memory, as short stories.

use super::*;
use crate::entry::verify_body;
use crate::memory::{MemoryMedium, Request};
use crate::state::{Change, Note, Outcome, Phase};
use base::Wall;
use mail::{Body, Notify, Recipient, Return, ReversePath, Status};

const SEGMENT: u32 = 64 * 1024;

fn at(ms: u64) -> Now {
    Now { mono: Monotonic::from_millis(ms), wall: Wall::from_millis(1_000_000 + ms) }
}

fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        sender: ReversePath::parse("<a@example.com>", false).unwrap(),
        recipients: recipients
            .iter()
            .map(|text| Recipient::new(mail::Address::parse(text, false).unwrap()))
            .collect(),
        body: Body::EightBit,
        smtputf8: false,
        ret: Some(Return::Headers),
        envid: Some("QQ314".into()),
    }
}

/// A spool with an active segment and a spare.
fn ready(medium: &mut MemoryMedium) -> Spool {
    let mut spool = Spool::new(ShardId(0));
    for _ in 0..2 {
        spool.kick(medium, at(0));
        answer(&mut spool, medium);
    }
    spool.kick(medium, at(0));
    assert!(spool.has_room());
    spool
}

/// Answers all requests well.
fn answer(spool: &mut Spool, medium: &mut MemoryMedium) {
    for request in medium.requests() {
        match request {
            Request::Sync(segment) => {
                medium.finish_sync(segment, true);
                assert_eq!(spool.synced(segment, true), None);
            }
            Request::Segment => {
                let (segment, bytes) = medium.create();
                spool.segment_ready(segment, bytes);
            }
            Request::Retire(segment) => medium.remove(segment),
        }
    }
}

fn delivered(recipient: u16) -> Change<'static> {
    Change {
        recipient,
        phase: Phase::Done(Outcome::Delivered),
        attempts: 1,
        next: Wall::default(),
        in_doubt: false,
        delay_noticed: false,
        note: None,
    }
}

#[test]
fn a_message_is_read_back_as_it_was_written() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium);
    let mut envelope = envelope(&["b@example.org", "c@[192.0.2.1]"]);
    envelope.recipients[1].notify = Notify::NEVER;
    envelope.recipients[1].orcpt = Some("rfc822;x@y".into());
    let meta = Meta {
        client: Some("2001:db8::1".parse().unwrap()),
        helo: "client.example",
        report: false,
    };
    let placed = spool.place_message(&meta, &envelope, 100).unwrap();
    let body: [&[u8]; 2] = [b"Subject: x\r\n\r\n", b"..dot\r\n"];
    let appended = spool.append_message(&mut medium, at(5), &meta, &envelope, &body).unwrap();
    assert_eq!(appended.id, placed);
    let message = spool.message(&medium, placed).unwrap();
    assert_eq!(message.id(), placed);
    assert_eq!(message.place(), appended.place);
    assert_eq!(message.arrival(), at(5).wall);
    assert_eq!(message.sender(), "a@example.com");
    assert_eq!(message.envid(), Some("QQ314"));
    assert_eq!(message.ret(), Some(Return::Headers));
    assert_eq!(message.body_kind(), Body::EightBit);
    assert_eq!(message.helo(), "client.example");
    assert_eq!(message.client(), meta.client);
    assert!(!message.smtputf8());
    assert!(!message.is_report());
    assert_eq!(message.recipient_count(), 2);
    let second = message.recipient(1).unwrap();
    assert_eq!(second.address, "c@[192.0.2.1]");
    assert_eq!((second.notify, second.orcpt), (Notify::NEVER, Some("rfc822;x@y")));
    assert_eq!(message.recipient(2), None);
    assert_eq!(message.body(&medium).unwrap(), body.concat());
    assert!(verify_body(&medium, &message));
    let (segment, offset, _) = message.body_range();
    medium.bytes_mut(segment)[offset as usize] ^= 1;
    let message = spool.message(&medium, placed).unwrap();
    assert!(!verify_body(&medium, &message), "a flipped bit in the body is found");
}

#[test]
fn an_append_is_durable_after_the_sync_that_started_after_it() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    let add = |spool: &mut Spool, medium: &mut MemoryMedium| {
        spool.append_message(medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap().position
    };
    let first = add(&mut spool, &mut medium);
    spool.kick(&mut medium, at(0));
    let second = add(&mut spool, &mut medium);
    spool.kick(&mut medium, at(0));
    assert!(spool.durable() < first);
    answer(&mut spool, &mut medium);
    assert_eq!(spool.durable(), first, "one sync was in flight, and only it");
    assert!(second > first);
    spool.kick(&mut medium, at(0));
    answer(&mut spool, &mut medium);
    assert_eq!(spool.durable(), second);
}

#[test]
fn an_outcome_waits_for_company_but_not_for_ever() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    let id = spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap().id;
    spool.kick(&mut medium, at(0));
    answer(&mut spool, &mut medium);
    let settled = spool.settle(&mut medium, at(10), id, &[delivered(0)]).unwrap();
    assert!(settled.done);
    assert_eq!(spool.live_messages(), 0);
    spool.kick(&mut medium, at(10));
    assert_eq!(medium.requests(), []);
    assert_eq!(spool.next_deadline(), Some(at(110).mono));
    spool.kick(&mut medium, at(110));
    answer(&mut spool, &mut medium);
    assert_eq!(spool.durable(), settled.position);
    assert_eq!(spool.next_deadline(), None);
}

#[test]
fn a_deferral_keeps_the_answer_and_a_later_hold_does_too() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium);
    let envelope = envelope(&["b@example.org", "c@example.org"]);
    let meta = Meta::default();
    let id = spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap().id;
    let note = Note { status: Status::SYSTEM, text: "450 4.3.0 later", host: "mx.example.org" };
    let next = Wall::from_millis(5_500);
    let deferral = Change { phase: Phase::Waiting, next, note: Some(note), ..delivered(1) };
    spool.settle(&mut medium, at(0), id, &[deferral]).unwrap();
    let hold = Change { phase: Phase::Held, attempts: 0, note: None, ..deferral };
    let settled = spool.settle(&mut medium, at(1), id, &[hold, delivered(0)]).unwrap();
    assert!(!settled.done);
    let state = spool.state(id, 1).unwrap();
    assert_eq!((state.phase, state.attempts), (Phase::Held, 1));
    assert_eq!(state.next, Wall::from_millis(6_000), "rounded up to the second");
    let view = spool.note(&medium, id, 1).unwrap();
    assert_eq!((view.status, view.text, view.host), (note.status, note.text, note.host));
    assert_eq!(view.next, next);
    assert_eq!(spool.state(id, 0).unwrap().phase, Phase::Done(Outcome::Delivered));
    let late = Change { phase: Phase::Waiting, ..delivered(0) };
    spool.settle(&mut medium, at(2), id, &[late]).unwrap();
    assert_eq!(spool.state(id, 0).unwrap().phase, Phase::Done(Outcome::Delivered));
}
