//! What the tests of this room share: a clock, an envelope, a spool over the
//! checked medium in memory, and answers to its requests.
//!
//! Never anything that a test asserts about.

use base::{Monotonic, Now, SegmentId, ShardId, Wall};
use mail::{Body, Envelope, Recipient, Return, ReversePath};

use crate::{Change, MemoryMedium, Meta, Outcome, Phase, Request, Spool};

pub(crate) const SEGMENT: u32 = 64 * 1024;

pub(crate) fn at(ms: u64) -> Now {
    Now::new(Monotonic::from_millis(ms), Wall::from_millis(1_000_000 + ms))
}

pub(crate) fn envelope(recipients: &[&str]) -> Envelope {
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
pub(crate) fn ready(medium: &mut MemoryMedium, shard: u16) -> Spool {
    let mut spool = Spool::new(ShardId(shard));
    settle_in(&mut spool, medium);
    spool
}

/// Gives a spool its first segments, or its next ones.
pub(crate) fn settle_in(spool: &mut Spool, medium: &mut MemoryMedium) {
    for _ in 0..3 {
        spool.kick(medium, at(0));
        answer(spool, medium);
    }
    spool.kick(medium, at(0));
    assert!(spool.has_room());
}

/// Answers all requests well; retired segments stay if `keep` names them.
pub(crate) fn answer_but(spool: &mut Spool, medium: &mut MemoryMedium, keep: &[SegmentId]) {
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
            Request::Retire(segment) if keep.contains(&segment) => {}
            Request::Retire(segment) => medium.remove(segment),
        }
    }
}

pub(crate) fn answer(spool: &mut Spool, medium: &mut MemoryMedium) {
    answer_but(spool, medium, &[]);
}

pub(crate) fn delivered(recipient: u16) -> Change<'static> {
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

pub(crate) fn waiting(recipient: u16, attempts: u16) -> Change<'static> {
    Change { phase: Phase::Waiting, attempts, ..delivered(recipient) }
}

/// Fills the active segment with mail that is delivered at once, until the
/// next segment begins. Gives the segment that was filled.
pub(crate) fn fill(spool: &mut Spool, medium: &mut MemoryMedium) -> SegmentId {
    let envelope = envelope(&["filler@example.org"]);
    let body = [b'f'; 4_000];
    let mut first = None;
    loop {
        let stored = spool.append_message(medium, at(0), &Meta::default(), &envelope, &[&body]);
        let stored = stored.unwrap();
        spool.settle(medium, at(0), stored.id, &[delivered(0)]).unwrap();
        spool.kick(medium, at(0));
        answer(spool, medium);
        let filled = *first.get_or_insert(stored.place.segment);
        if stored.place.segment != filled {
            return filled;
        }
    }
}
