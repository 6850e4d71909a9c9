//! The rare orders of events that the random histories seldom meet.

use super::*;
use crate::rig::{SEGMENT, answer, answer_but, at, delivered, envelope, fill, ready, settle_in};
use crate::state::Note;
use crate::{Change, MemoryMedium, Meta, Outcome, Phase, Try, recover, verify_body};

/// Cleans and syncs for a while; `keep` stays although given up.
fn work(spool: &mut Spool, medium: &mut MemoryMedium, keep: &[SegmentId], turns: u64) {
    for turn in 1..=turns {
        let now = at(turn * 300);
        spool.reclaim(medium, now, 1_000, false);
        spool.kick(medium, now);
        answer_but(spool, medium, keep);
    }
}

fn add(spool: &mut Spool, medium: &mut MemoryMedium, body: &[u8]) -> MessageId {
    let envelope = envelope(&["b@example.org"]);
    spool.append_message(medium, at(0), &Meta::default(), &envelope, &[body]).unwrap().id
}

/// Covers: B6
#[test]
fn a_nearly_dead_segment_is_emptied_and_given_up() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = add(&mut spool, &mut medium, b"x\r\n");
    let held = Change { phase: Phase::Held, note: Some(NOTE), ..delivered(0) };
    spool.settle(&mut medium, at(0), id, &[held]).unwrap();
    for _ in 0..3 {
        fill(&mut spool, &mut medium);
    }
    let before = spool.state(id, 0);
    work(&mut spool, &mut medium, &[], 20);
    let place = spool.place(id).unwrap();
    assert_ne!(place.segment, id.segment);
    assert_eq!(medium.size(id.segment), None);
    assert_eq!(spool.state(id, 0), before);
    assert_eq!(spool.note(&medium, id, 0).unwrap().text, NOTE.text);
    let message = spool.message(&medium, id).unwrap();
    assert_eq!((message.id(), message.arrival()), (id, at(0).wall));
    assert!(verify_body(&medium, &message));
    assert_eq!(message.body(&medium), Some(&b"x\r\n"[..]));
}

/// Mail is moved, then ends; the segment it was moved to dies first. Its old
/// copy must not come back with the outcome gone.
///
/// Covers: B6
#[test]
fn a_segment_is_not_given_up_before_those_its_mail_came_from_are_gone() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = add(&mut spool, &mut medium, b"x\r\n");
    for _ in 0..3 {
        fill(&mut spool, &mut medium);
    }
    let old = id.segment;
    work(&mut spool, &mut medium, &[old], 20);
    let new = spool.place(id).unwrap().segment;
    assert_ne!(new, old);
    fill(&mut spool, &mut medium);
    spool.settle(&mut medium, at(0), id, &[delivered(0)]).unwrap();
    for _ in 0..4 {
        fill(&mut spool, &mut medium);
        work(&mut spool, &mut medium, &[old], 20);
    }
    assert!(medium.size(old).is_some());
    assert!(medium.size(new).is_some(), "it waits for the old one");
    medium.power_cut(|_, _| 0);
    let (_, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!(report.messages, 0, "what was delivered stays delivered");
}

/// Mail was moved, and the sync of its copy failed. The copy passed for
/// durable ("or reported as lost", but nobody waits for a copy), so the
/// segment it came from was given up, and a power cut took the mail.
///
/// Covers: B6, B14
#[test]
fn a_segment_outlives_a_copy_whose_sync_failed() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = add(&mut spool, &mut medium, b"x\r\n");
    for _ in 0..3 {
        fill(&mut spool, &mut medium);
    }
    for turn in 1.. {
        spool.reclaim(&mut medium, at(turn * 300), 1_000, false);
        if spool.place(id).unwrap().segment != id.segment {
            break;
        }
        spool.kick(&mut medium, at(turn * 300));
        answer(&mut spool, &mut medium);
    }
    let copy = spool.place(id).unwrap().segment;
    spool.kick(&mut medium, at(9_000));
    let requests = medium.requests();
    assert!(requests.contains(&crate::Request::Sync(copy)), "{requests:?}");
    medium.finish_sync(copy, false);
    spool.synced(copy, false);
    // Cut at every turn from here to the end, all is there.
    for turn in 0..20 {
        spool.reclaim(&mut medium, at(10_000 + turn * 300), 1, false);
        spool.kick(&mut medium, at(10_000 + turn * 300));
        answer(&mut spool, &mut medium);
        let mut cut = medium.clone();
        cut.power_cut(|_, _| 0);
        let (spools, report) = recover(&cut, &cut.list(), 1).unwrap();
        assert_eq!(report.messages, 1, "turn {turn}");
        assert!(verify_body(&cut, &spools[0].message(&cut, id).unwrap()));
    }
    assert!(spool.is_healthy());
    assert_eq!((medium.size(id.segment), medium.size(copy)), (None, None));
}

/// An index leaves out mail that has ended. It must not be believed before the
/// end itself is durable.
///
/// Covers: B6
#[test]
fn an_index_counts_only_once_what_it_leaves_out_is_durable() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let stays = add(&mut spool, &mut medium, &[b's'; 20_000]);
    let ends = add(&mut spool, &mut medium, b"x\r\n");
    for _ in 0..2 {
        fill(&mut spool, &mut medium);
    }
    // Not synced, because nobody waits for it yet.
    spool.settle(&mut medium, at(0), ends, &[delivered(0)]).unwrap();
    for turn in 0..5 {
        spool.reclaim(&mut medium, at(turn * 10), 1_000, false);
    }
    let mut early = medium.clone();
    early.power_cut(|segment, len| if segment == ends.segment { len } else { 0 });
    let (_, report) = recover(&early, &early.list(), 1).unwrap();
    assert_eq!((report.sealed, report.messages), (0, 2));
    work(&mut spool, &mut medium, &[], 5);
    medium.power_cut(|_, _| 0);
    let (spools, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!((report.sealed, report.messages), (1, 1));
    assert!(spools[0].place(stays).is_some());
    let message = spools[0].message(&medium, stays).unwrap();
    assert_eq!(message.body(&medium), Some(&[b's'; 20_000][..]));
}

/// A report has been delivered, but its record also tells of a recipient of a
/// message that still waits, and so stands in the index. The simulator saw the
/// report sent a second time, hours later: the index had left out that it had
/// ended, and the next start took it for live.
///
/// Covers: B6
#[test]
fn a_report_that_has_ended_does_not_come_back_with_what_it_tells() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let to = envelope(&["b@example.org", "c@example.org"]);
    let body = [b's'; 20_000];
    let about = spool.append_message(&mut medium, at(0), &Meta::default(), &to, &[&body]).unwrap();
    let failed = Change { phase: Phase::Done(Outcome::Failed), ..delivered(0) };
    let (report, _) = spool
        .append_report(&mut medium, at(0), &envelope(&["a@x.y"]), &[b"x\r\n"], about.id, &[failed])
        .unwrap();
    spool.settle(&mut medium, at(0), report.id, &[delivered(0)]).unwrap();
    assert_eq!(report.id.segment, about.id.segment);
    for _ in 0..3 {
        fill(&mut spool, &mut medium);
    }
    work(&mut spool, &mut medium, &[], 20);
    medium.power_cut(|_, _| 0);
    let (spools, found) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!((found.sealed, found.messages), (1, 1));
    assert!(spools[0].place(about.id).is_some());
    assert_eq!(spools[0].place(report.id), None, "what was delivered stays delivered");
    let first = spools[0].state(about.id, 0).unwrap();
    assert_eq!(first.phase, Phase::Done(Outcome::Failed));
}

/// The message that a report tells of ends while the index is being made: the
/// report's record is in it already, and its own end must still get there.
///
/// Covers: B6
#[test]
fn a_report_stays_ended_when_what_it_tells_of_ends_meanwhile() {
    for moment in 0..12 {
        let mut medium = MemoryMedium::new(SEGMENT);
        let mut spool = ready(&mut medium, 0);
        let to = envelope(&["b@example.org", "c@example.org"]);
        let body = [b's'; 20_000];
        let about = spool.append_message(&mut medium, at(0), &Meta::default(), &to, &[&body]);
        let about = about.unwrap().id;
        let failed = [Change { phase: Phase::Done(Outcome::Failed), ..delivered(0) }];
        let to = envelope(&["a@x.y"]);
        let report = spool.append_report(&mut medium, at(0), &to, &[b"x\r\n"], about, &failed);
        let report = report.unwrap().0.id;
        spool.settle(&mut medium, at(0), report, &[delivered(0)]).unwrap();
        for _ in 0..3 {
            fill(&mut spool, &mut medium);
        }
        // Dead segments go first.
        while medium.list().len() > 4 {
            work(&mut spool, &mut medium, &[], 1);
        }
        for turn in 0..40 {
            if turn == moment {
                spool.settle(&mut medium, at(0), about, &[delivered(1)]).unwrap();
            }
            spool.reclaim(&mut medium, at(1_000 + turn * 300), 1, false);
            spool.kick(&mut medium, at(1_000 + turn * 300));
            answer(&mut spool, &mut medium);
            let (spools, _) = recover(&medium, &medium.list(), 1).unwrap();
            assert_eq!(spools[0].place(report), None, "moment {moment}, turn {turn}");
        }
        assert_eq!(medium.size(about.segment), None, "all of it has ended");
    }
}

/// One recipient has got the message long ago; the other gets it while the
/// index is being made. The message's record was in it already, the first end
/// was left out, since the message was no more: with the next start the first
/// recipient got it again.
///
/// Covers: B6
#[test]
fn a_message_that_ends_while_its_segment_is_sealed_stays_ended() {
    for moment in 0..12 {
        let mut medium = MemoryMedium::new(SEGMENT);
        let mut spool = ready(&mut medium, 0);
        let two = envelope(&["b@example.org", "c@example.org"]);
        let body = [b's'; 20_000];
        let id = spool.append_message(&mut medium, at(0), &Meta::default(), &two, &[&body]);
        let id = id.unwrap().id;
        spool.settle(&mut medium, at(0), id, &[delivered(0)]).unwrap();
        for _ in 0..3 {
            fill(&mut spool, &mut medium);
        }
        while medium.list().len() > 4 {
            work(&mut spool, &mut medium, &[], 1);
        }
        for turn in 0..40 {
            let ended = turn >= moment;
            if turn == moment {
                spool.settle(&mut medium, at(0), id, &[delivered(1)]).unwrap();
            }
            spool.reclaim(&mut medium, at(1_000 + turn * 300), 1, false);
            spool.kick(&mut medium, at(1_000 + turn * 300));
            answer(&mut spool, &mut medium);
            let (spools, _) = recover(&medium, &medium.list(), 1).unwrap();
            assert_eq!(spools[0].place(id).is_none(), ended, "moment {moment}, turn {turn}");
        }
    }
}

/// Two shards: one had an attempt open for the other's message when the power
/// went, and cleans up before the other has noted the doubt durably.
///
/// Covers: B5
#[test]
fn an_open_attempt_of_an_earlier_run_outlives_its_segment() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut one = ready(&mut medium, 0);
    let id = add(&mut one, &mut medium, b"x\r\n");
    one.kick(&mut medium, at(0));
    answer(&mut one, &mut medium);
    // Odd and even: after the start the two belong to different shards.
    medium.create();
    let mut two = ready(&mut medium, 1);
    let attempted = two.active.as_ref().unwrap().segment;
    assert_ne!(attempted.0 % 2, id.segment.0 % 2);
    let tries = [Try { recipient: 0, attempt: 1 }];
    two.append_attempt(&mut medium, at(0), id, id.segment, &tries).unwrap();
    medium.program_crash();
    let list = medium.list();
    let (mut spools, report) = recover(&medium, &list, 2).unwrap();
    assert_eq!(report.in_doubt.len(), 1);
    let writer = usize::from(id.segment.0 % 2 == 1);
    settle_in(&mut spools[writer], &mut medium);
    let cleaner = &mut spools[1 - writer];
    settle_in(cleaner, &mut medium);
    while cleaner.is_resuming() {
        cleaner.next_recovered(&medium);
    }
    work(cleaner, &mut medium, &[], 20);
    assert_eq!(medium.size(attempted), None, "it has cleaned");
    // The writer has never synced.
    medium.power_cut(|_, _| 0);
    let (_, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!(report.in_doubt.len(), 1, "the doubt is still known");
}

#[test]
fn a_closed_attempt_for_another_shards_mail_goes_with_its_segment() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let foreign = MessageId { segment: SegmentId(1), offset: 12_000 };
    assert!(medium.size(foreign.segment).is_some());
    let tries = |attempt| [Try { recipient: 3, attempt }];
    for attempt in 1..=2 {
        spool
            .append_attempt(&mut medium, at(0), foreign, foreign.segment, &tries(attempt))
            .unwrap();
    }
    let record = |attempt: u16| {
        let mut head = Vec::new();
        begin_block(foreign, foreign.segment, 1, &mut head);
        crate::state::push_attempt(3, attempt, &mut head);
        head
    };
    let need = |spool: &Spool, attempt| {
        let head = record(attempt);
        let block = Block::parse(&head).unwrap();
        let here = spool.active.as_ref().unwrap().segment;
        spool.need_of_attempt(&medium, &block, here)
    };
    assert_eq!(need(&spool, 1), Marks::Nothing, "a later one is open");
    assert_eq!(need(&spool, 2), Marks::Verbatim);
    spool.attempt_ended(foreign, [3].into_iter());
    assert_eq!(need(&spool, 2), Marks::Nothing);
}

/// A damaged record keeps its segment for people to look at; the mail behind
/// it moves all the same where its disk is given up.
///
/// Covers: B18
#[test]
fn a_damaged_segment_is_never_given_up() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let first = add(&mut spool, &mut medium, b"x\r\n");
    let second = add(&mut spool, &mut medium, b"y\r\n");
    for _ in 0..3 {
        fill(&mut spool, &mut medium);
    }
    let place = spool.place(first).unwrap();
    medium.bytes_mut(place.segment)[place.offset as usize + 50] ^= 1;
    work(&mut spool, &mut medium, &[], 20);
    assert_ne!(spool.place(second).unwrap().segment, second.segment);
    assert_eq!(spool.place(first), Some(place));
    assert!(medium.size(place.segment).is_some());
    assert_eq!(spool.message(&medium, first).unwrap_err(), crate::Unreadable::LocalDamaged);
}

/// A body that went bad was moved as it was, to stay bad. Behind a restart the
/// copy looked like a torn tail, and mail that had been moved after it, whole
/// and durable, was cut off with it; where it came from was gone.
///
/// Covers: B17
#[test]
fn a_damaged_body_is_not_moved_in_front_of_what_is_whole() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let bad = add(&mut spool, &mut medium, b"good\r\n");
    let good = add(&mut spool, &mut medium, b"better\r\n");
    for _ in 0..3 {
        fill(&mut spool, &mut medium);
    }
    let (segment, offset, _) = spool.message(&medium, bad).unwrap().body_range();
    medium.bytes_mut(segment)[offset as usize] ^= 1;
    work(&mut spool, &mut medium, &[], 20);
    assert_eq!(spool.place(bad).unwrap().segment, segment, "it keeps its segment");
    assert_ne!(spool.place(good).unwrap().segment, segment);
    medium.program_crash();
    let (spools, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!((report.messages, report.cuts.as_slice()), (2, &[][..]));
    let read = |id| verify_body(&medium, &spools[0].message(&medium, id).unwrap());
    assert!(read(good) && !read(bad));
}

const NOTE: Note<'static> =
    Note { status: mail::Status::SYSTEM, text: "450 later", host: "mx.example.org" };

/// The program ends on a full disk, with a final dot sent. That must be noted
/// before anything is handed out, and no segment could be had for the note: the
/// spare of the life before was kept until everything was handed out. Neither
/// ever happened, and all mail waited for somebody to make room.
///
/// Covers: B20, B21
#[test]
fn a_segment_that_was_never_written_to_makes_room_for_what_is_in_doubt() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = add(&mut spool, &mut medium, b"x\r\n");
    let tried = Try { recipient: 0, attempt: 1 };
    spool.append_attempt(&mut medium, at(0), id, id.segment, &[tried]).unwrap();
    medium.program_crash();
    let (mut spools, report) = recover(&medium, &medium.list(), 1).unwrap();
    let mut spool = spools.remove(0);
    assert_eq!(report.in_doubt.len(), 1);
    let spare = *medium.list().last().unwrap();
    assert_ne!(spare, id.segment);
    spool.kick(&mut medium, at(0));
    assert_eq!(medium.requests(), [crate::Request::Segment]);
    spool.no_segment(at(0));
    for turn in 0..9 {
        assert!(spool.next_recovered(&medium).is_none(), "nothing before the note");
        spool.reclaim(&mut medium, at(turn * 300), 1_000, false);
    }
    assert_eq!(medium.requests(), [crate::Request::Retire(spare)]);
    medium.remove(spare);
    // Its file is the one that there is room for.
    spool.kick(&mut medium, at(3_000));
    answer(&mut spool, &mut medium);
    spool.kick(&mut medium, at(3_000));
    assert_eq!(spool.next_recovered(&medium).map(|message| message.id()), Some(id));
}

/// Segments are made smaller than they were, and an old one holds a message that
/// fits into none of them. Moving it was tried for as long as it lived, and
/// nothing else was ever given up: the disk filled with mail that had ended.
#[test]
fn a_message_larger_than_new_segments_holds_up_its_own_segment_only() {
    let mut medium = MemoryMedium::new(8 * SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let large = add(&mut spool, &mut medium, &[b'l'; 40_000]);
    let small = add(&mut spool, &mut medium, b"x\r\n");
    fill(&mut spool, &mut medium);
    medium.program_crash();
    medium.set_segment_bytes(SEGMENT / 2);
    let (mut spools, _) = recover(&medium, &medium.list(), 1).unwrap();
    let mut spool = spools.remove(0);
    settle_in(&mut spool, &mut medium);
    while spool.is_resuming() {
        spool.next_recovered(&medium);
    }
    work(&mut spool, &mut medium, &[], 20);
    let place = spool.place(small).unwrap();
    assert_ne!(place.segment, small.segment, "what can be moved is moved");
    // The segment of the moved one waits for that of the large one.
    fill(&mut spool, &mut medium);
    let dead = fill(&mut spool, &mut medium);
    fill(&mut spool, &mut medium);
    work(&mut spool, &mut medium, &[], 40);
    assert_eq!(medium.size(dead), None, "what is dead goes all the same");
    let message = spool.message(&medium, large).unwrap();
    assert!(verify_body(&medium, &message) && message.place().segment == large.segment);
    spool.settle(&mut medium, at(0), large, &[delivered(0)]).unwrap();
    fill(&mut spool, &mut medium);
    work(&mut spool, &mut medium, &[], 20);
    assert_eq!(medium.size(large.segment), None, "it goes with its message");
}
