//! Segments of any bytes: what stands on the disk is not trusted.
//!
//! Input: for each segment raw bytes, or records that are framed as the format
//! says, with right checksums and anything in them. Oracle: recovery ends and
//! says the same twice; what it hands out lies within its segment; every cut
//! does; a shard that starts on such a disk can settle what it found, take new
//! mail, reclaim and restart, and what it settled does not come back.
//!
//! Read first: the page on the queue's format.

mod frame;

use base::{MessageId, Monotonic, Now, ShardId, Wall};
use mail::{Address, Envelope, Recipient, ReversePath};
use spool::{
    Change, FIRST_RECORD, MemoryMedium, Message, Meta, Outcome, Phase, Request, Spool, message_at,
    recover, verify_body,
};

use crate::input::Input;

/// Runs the target.
pub fn spool_record(data: &[u8]) {
    let mut input = Input::new(data);
    let shards = 1 + input.below(3) as u16;
    let mut medium = MemoryMedium::new(SEGMENT_BYTES);
    for _ in 0..1 + input.below(3) {
        let (segment, _) = medium.create();
        frame::fill(medium.bytes_mut(segment), segment.0, &mut input);
    }
    medium.program_crash();
    let segments = medium.list();
    // A newer format is refused, and nothing else.
    let Ok((mut spools, report)) = recover(&medium, &segments, shards) else { return };
    let again = recover(&medium, &segments, shards).map(|(_, report)| report);
    assert_eq!(again.as_ref(), Ok(&report), "recovery says something else the second time");
    assert_eq!(report.segments, segments.len() as u64);
    let live: u64 = spools.iter().map(Spool::live_messages).sum();
    assert_eq!(live, report.messages);
    for cut in &report.cuts {
        let end = u64::from(cut.offset) + u64::from(cut.bytes);
        assert!(end <= SEGMENT_BYTES.into() && cut.bytes > 0, "{cut:?}");
    }
    let mut ended = Vec::new();
    for spool in &mut spools {
        ended.extend(live_on(spool, &mut medium));
    }
    for crash in [true, false] {
        restart(&mut medium, crash, &ended);
    }
}

const SEGMENT_BYTES: u32 = 16 << 10;

fn at(ms: u64) -> Now {
    Now::new(Monotonic::from_millis(ms), Wall::from_millis(1 << 40 | ms))
}

/// A shard starts, ends all mail that it finds, and takes some of its own.
fn live_on(spool: &mut Spool, medium: &mut MemoryMedium) -> Vec<MessageId> {
    let mut found = Vec::new();
    for round in 0..200 {
        spool.kick(medium, at(round));
        answer(spool, medium);
        while let Some(message) = spool.next_recovered(medium) {
            check(medium, &message);
            found.push((message.id(), message.recipient_count()));
        }
        if !spool.is_resuming() && round > 3 {
            break;
        }
    }
    let mut ended = Vec::new();
    for (id, recipients) in found {
        let changes: Vec<Change<'_>> = (0..recipients).map(delivered).collect();
        if spool.states(id).is_some() && spool.settle(medium, at(300), id, &changes).is_ok() {
            assert!(spool.states(id).is_none(), "settled mail has ended");
            ended.push(id);
        }
        spool.kick(medium, at(300));
        answer(spool, medium);
    }
    take_mail(spool, medium);
    for round in 0..50 {
        let done = spool.reclaim(medium, at(2_000 + round * 1_000), 64, true);
        spool.kick(medium, at(2_000 + round * 1_000));
        answer(spool, medium);
        if !done.more && round > 2 {
            break;
        }
    }
    ended
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

fn take_mail(spool: &mut Spool, medium: &mut MemoryMedium) {
    let address = Address::parse("c@d.example", false).expect("an address");
    let envelope = Envelope::new(ReversePath::Null, vec![Recipient::new(address)]);
    let body = b"Subject: x\r\n\r\n";
    let meta = Meta::default();
    if let Ok(appended) = spool.append_message(medium, at(400), &meta, &envelope, &[body]) {
        let message = message_at(medium, appended.id, appended.place).expect("just written");
        assert_eq!(message.body(medium), Some(&body[..]));
        let settled = spool.settle(medium, at(401), appended.id, &[delivered(0)]);
        assert!(settled.is_ok(), "{settled:?}");
    }
}

/// Whatever a message says of itself, all of it lies within its segment.
fn check(medium: &MemoryMedium, message: &Message<'_>) {
    let place = message.place();
    let end = u64::from(place.offset) + u64::from(place.len);
    assert!(place.offset >= FIRST_RECORD && end <= SEGMENT_BYTES.into(), "{place:?}");
    assert!(message.recipient_count() > 0);
    assert_eq!(message.recipients().count(), usize::from(message.recipient_count()));
    assert!(message.recipient(message.recipient_count()).is_none());
    let (_, offset, len) = message.body_range();
    assert!(offset >= place.offset && u64::from(offset) + u64::from(len) <= end);
    let whole = verify_body(medium, message);
    assert_eq!(message.body(medium).map(<[u8]>::len), Some(len as usize), "whole: {whole}");
    let texts = [message.sender(), message.helo(), message.envid().unwrap_or_default()];
    assert!(texts.iter().map(|text| text.len()).sum::<usize>() <= place.len as usize);
    let _ = (message.client(), message.body_kind(), message.ret(), message.is_report());
}

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

/// What was settled before stays so; the shard that settled it wrote it down.
fn restart(medium: &mut MemoryMedium, crash: bool, ended: &[MessageId]) {
    match crash {
        true => medium.program_crash(),
        false => medium.power_cut(|_, _| 0),
    }
    let segments = medium.list();
    let (spools, _) = recover(medium, &segments, 1).expect("read before");
    for id in ended {
        assert!(spools[0].states(*id).is_none(), "{id} comes back");
    }
    assert_eq!(spools[0].shard(), ShardId(0));
}
