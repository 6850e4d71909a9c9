//! The log against the checked medium in memory, as short stories.

use super::*;
use crate::entry::verify_body;
use crate::memory::MemoryMedium;
use crate::rig::{SEGMENT, answer, at, delivered, envelope, fill, ready, waiting};
use crate::state::{Change, Note, Outcome, Phase};
use crate::{Settled, Try};
use base::Wall;
use mail::{Body, Notify, Return, Status};

/// Covers: B17, B90
#[test]
fn a_message_is_read_back_as_it_was_written() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
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

/// Covers: A1.24
#[test]
fn an_append_is_durable_after_the_sync_that_started_after_it() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
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
    let mut spool = ready(&mut medium, 0);
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

/// While a sync took longer than the wait for company, the time to write the
/// outcome lay in the past, and the shard ticked without a pause until the
/// disk was done.
#[test]
fn an_outcome_behind_a_slow_sync_waits_for_it_and_not_for_time() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    let id = spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap().id;
    spool.kick(&mut medium, at(0));
    let settled = spool.settle(&mut medium, at(10), id, &[delivered(0)]).unwrap();
    spool.kick(&mut medium, at(10));
    assert_eq!(spool.next_deadline(), Some(at(110).mono));
    spool.kick(&mut medium, at(110));
    assert_eq!(spool.next_deadline(), None, "the sync in flight ends when it ends");
    answer(&mut spool, &mut medium);
    assert!(spool.durable() < settled.position, "that sync began before the outcome");
    spool.kick(&mut medium, at(5_000));
    answer(&mut spool, &mut medium);
    assert_eq!(spool.durable(), settled.position);
    assert_eq!(spool.next_deadline(), None);
}

#[test]
fn a_deferral_keeps_the_answer_and_a_later_hold_does_too() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
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

/// Covers: B21
#[test]
fn marks_and_reports_still_fit_when_mail_no_longer_does() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let body = [b'x'; 1000];
    let mut ids = Vec::new();
    // The disk is full from now on.
    let refusal = loop {
        spool.kick(&mut medium, at(0));
        if medium.requests().contains(&crate::Request::Segment) {
            spool.no_segment(at(0));
        }
        match spool.append_message(&mut medium, at(0), &Meta::default(), &envelope, &[&body]) {
            Ok(appended) => ids.push(appended.id),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, Refusal::LocalFull);
    assert_eq!(spool.place_message(&Meta::default(), &envelope, 1000), Err(Refusal::LocalFull));
    assert_eq!(spool.next_deadline(), Some(at(1_000).mono), "it asks again");
    // Deferrals stop in time, however often they come: the rest is for ends.
    let mut deferrals = 0;
    while spool.settle(&mut medium, at(0), ids[0], &[waiting(0, 1)]).is_ok() {
        deferrals += 1;
        assert!(deferrals < 10_000, "the disk is full");
    }
    let refused = spool.settle(&mut medium, at(0), ids[0], &[waiting(0, 1)]);
    assert_eq!(refused, Err(Refusal::LocalFull));
    for id in &ids {
        let tries = [Try { recipient: 0, attempt: 1 }];
        spool.append_attempt(&mut medium, at(0), *id, id.segment, &tries).unwrap();
        let report = Meta { report: true, ..Meta::default() };
        spool.append_message(&mut medium, at(0), &report, &envelope, &[b"x\r\n"]).unwrap();
        spool.settle(&mut medium, at(0), *id, &[delivered(0)]).unwrap();
    }
    spool.kick(&mut medium, at(1_000));
    answer(&mut spool, &mut medium);
    spool.kick(&mut medium, at(1_000));
    answer(&mut spool, &mut medium);
    assert!(spool.has_room(), "and takes mail again by itself");
    fill(&mut spool, &mut medium);
}

#[test]
fn a_message_larger_than_a_segment_is_refused_and_the_largest_is_not() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    let fits = |spool: &mut Spool, bytes| spool.place_message(&meta, &envelope, bytes);
    let largest = (0..SEGMENT).rev().find(|bytes| fits(&mut spool, *bytes).is_ok()).unwrap();
    assert!(largest > SEGMENT - FIRST_RECORD - 1_000);
    assert_eq!(fits(&mut spool, largest + 1), Err(Refusal::LocalTooLarge));
    assert_eq!(fits(&mut spool, u32::MAX), Err(Refusal::LocalTooLarge));
    let body = vec![b'x'; largest as usize];
    let stored = spool.append_message(&mut medium, at(0), &meta, &envelope, &[&body]).unwrap();
    assert_eq!(stored.place.offset, FIRST_RECORD);
}

/// Covers: B14
#[test]
fn a_failed_sync_loses_what_it_covered_and_moves_the_rest() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    let add = |spool: &mut Spool, medium: &mut MemoryMedium| {
        spool.append_message(medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap()
    };
    let safe = add(&mut spool, &mut medium);
    spool.kick(&mut medium, at(0));
    answer(&mut spool, &mut medium);
    let covered = add(&mut spool, &mut medium);
    spool.kick(&mut medium, at(0));
    let later = add(&mut spool, &mut medium);
    let segment = safe.place.segment;
    medium.requests();
    medium.finish_sync(segment, false);
    let lost = spool.synced(segment, false).unwrap();
    assert_eq!((lost.first, lost.last), (covered.position, later.position));
    assert_eq!(spool.place(covered.id), None);
    assert_eq!(spool.place(later.id), None);
    assert_eq!(spool.live_messages(), 1);
    assert!(!spool.is_healthy());
    let mut moved = Vec::new();
    for turn in 0..20 {
        let now = at(turn * 300);
        spool.kick(&mut medium, now);
        answer(&mut spool, &mut medium);
        moved.extend(spool.reclaim(&mut medium, now, 100, false).moved);
    }
    assert_eq!(moved, [(safe.id, spool.place(safe.id).unwrap())]);
    assert_ne!(moved[0].1.segment, segment);
    assert!(spool.is_healthy());
    assert_eq!(medium.size(segment), None, "the bad file is given up");
    let message = spool.message(&medium, safe.id).unwrap();
    assert_eq!(message.sender(), "a@example.com");
    assert!(!spool.is_down());
}

/// Nobody else has a report: a failed sync does not take it, and it moves with
/// the outcome it tells.
///
/// Covers: B14
#[test]
fn a_failed_sync_leaves_a_report_and_its_outcome_together() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    let about = spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap();
    spool.kick(&mut medium, at(0));
    answer(&mut spool, &mut medium);
    let failed = Change { phase: Phase::Done(Outcome::Failed), ..delivered(0) };
    let (report, settled) = spool
        .append_report(&mut medium, at(0), &envelope, &[b"sorry\r\n"], about.id, &[failed])
        .unwrap();
    assert!(settled.done);
    spool.kick(&mut medium, at(0));
    medium.requests();
    medium.finish_sync(report.place.segment, false);
    let lost = spool.synced(report.place.segment, false).unwrap();
    assert_eq!((lost.first, lost.last), (report.position, report.position));
    assert!(spool.message(&medium, report.id).is_ok());
    for turn in 0..20 {
        spool.kick(&mut medium, at(turn * 300));
        answer(&mut spool, &mut medium);
        spool.reclaim(&mut medium, at(turn * 300), 100, false);
    }
    assert_ne!(spool.place(report.id).unwrap().segment, report.place.segment);
    medium.power_cut(|_, _| 0);
    let segments = medium.list();
    let (spools, found) = crate::recover(&medium, &segments, 1).unwrap();
    assert_eq!(found.messages, 1, "the report, and not what it is about");
    assert!(spools[0].message(&medium, report.id).unwrap().is_report());
}

/// Covers: B14
#[test]
fn a_second_failure_before_the_mail_has_moved_stops_all_writing() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    for round in 0..2 {
        spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap();
        spool.kick(&mut medium, at(0));
        for request in medium.requests() {
            match request {
                crate::Request::Sync(segment) => {
                    medium.finish_sync(segment, false);
                    assert!(spool.synced(segment, false).is_some());
                }
                crate::Request::Segment => {
                    let (segment, bytes) = medium.create();
                    spool.segment_ready(segment, bytes);
                }
                crate::Request::Retire(segment) => panic!("{segment} is not empty"),
            }
        }
        spool.kick(&mut medium, at(0));
        if round == 0 {
            answer(&mut spool, &mut medium);
            spool.kick(&mut medium, at(0));
        }
    }
    assert!(spool.is_down());
    assert!(!spool.has_room());
    let refused = spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]);
    assert_eq!(refused, Err(Refusal::LocalDown));
}

/// Covers: B23
#[test]
fn a_mark_gets_a_second_try_elsewhere_and_new_mail_does_not() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let meta = Meta::default();
    let stored = spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]).unwrap();
    spool.kick(&mut medium, at(0));
    answer(&mut spool, &mut medium);
    medium.break_writes(stored.place.segment);
    let doubted = Change { in_doubt: true, ..waiting(0, 1) };
    let settled = spool.settle(&mut medium, at(0), stored.id, &[doubted]).unwrap();
    assert_eq!(settled, Settled { position: settled.position, done: false });
    assert_eq!(spool.state(stored.id, 0).unwrap().attempts, 1);
    spool.kick(&mut medium, at(0));
    answer(&mut spool, &mut medium);
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let segment = spool.place_message(&meta, &envelope, 3).unwrap().segment;
    medium.break_writes(segment);
    let refused = spool.append_message(&mut medium, at(0), &meta, &envelope, &[b"x\r\n"]);
    assert!(matches!(refused, Err(Refusal::LocalWrite(_))));
    assert_eq!(spool.live_messages(), 0);
}

#[test]
fn what_is_not_in_the_table_cannot_be_settled() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = MessageId { segment: SegmentId(77), offset: 4096 };
    let settled = spool.settle(&mut medium, at(0), id, &[delivered(0)]);
    assert_eq!(settled, Err(Refusal::MisuseUnknown));
    assert_eq!(spool.state(id, 0), None);
    assert_eq!(spool.message(&medium, id).unwrap_err(), crate::Unreadable::LocalGone);
}
