//! Starting again: formats, damage, doubts that pile up.

use base::limits::OPEN_ATTEMPT_CRASHES_MAX;

use super::*;
use crate::memory::MemoryMedium;
use crate::rig::{SEGMENT, answer, at, delivered, envelope, fill, ready, settle_in, waiting};
use crate::{Change, FORMAT_VERSION, Meta, Note, Phase, Try};

fn add(spool: &mut Spool, medium: &mut MemoryMedium, recipients: &[&str]) -> MessageId {
    let envelope = envelope(recipients);
    let stored = spool.append_message(medium, at(7), &Meta::default(), &envelope, &[b"x\r\n"]);
    let id = stored.unwrap().id;
    spool.kick(medium, at(7));
    answer(spool, medium);
    id
}

/// Covers: B30
#[test]
fn a_newer_format_is_refused_and_named() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let (segment, _) = medium.create();
    let newer = FORMAT_VERSION + 1;
    let bytes = medium.bytes_mut(segment);
    bytes[8..10].copy_from_slice(&newer.to_le_bytes());
    bytes[10..12].copy_from_slice(&newer.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
    bytes[28..32].copy_from_slice(&crc);
    let error = recover(&medium, &[segment], 1).unwrap_err();
    let fault = SuperblockFault::LocalNewerFormat { version: newer };
    assert_eq!(error, RecoverError::LocalNewerFormat { segment, fault });
    assert!(error.to_string().contains("written in format 2"), "{error}");
    // Newer, but readable by us.
    let bytes = medium.bytes_mut(segment);
    bytes[10..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]).to_le_bytes();
    bytes[28..32].copy_from_slice(&crc);
    assert!(recover(&medium, &[segment], 1).is_ok());
}

/// Covers: B18
#[test]
fn a_damaged_superblock_costs_no_mail() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = add(&mut spool, &mut medium, &["b@example.org"]);
    medium.bytes_mut(id.segment)[3] ^= 1;
    let (spools, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!(report.cuts.len(), 1);
    assert_eq!(report.cuts[0].reason, CutReason::Superblock);
    assert!(spools[0].place(id).is_some());
}

/// A file that somebody cut, made longer or put in another's place is not what
/// it was; what it holds may be all there is. It was given up as if dead.
///
/// Covers: B18
#[test]
fn a_file_of_another_size_or_name_is_reported_and_kept() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let ended = add(&mut spool, &mut medium, &["b@example.org"]);
    spool.settle(&mut medium, at(0), ended, &[delivered(0)]).unwrap();
    let segment = ended.segment;
    let superblock = |segment, bytes| Superblock { segment, bytes }.encode();
    let kept = |mut medium: MemoryMedium, superblock: [u8; 32]| {
        medium.bytes_mut(segment)[..32].copy_from_slice(&superblock);
        medium.program_crash();
        let (mut spools, report) = recover(&medium, &medium.list(), 1).unwrap();
        settle_in(&mut spools[0], &mut medium);
        while spools[0].is_resuming() {
            spools[0].next_recovered(&medium);
        }
        for turn in 1..20 {
            spools[0].reclaim(&mut medium, at(turn * 300), 1_000, true);
            spools[0].kick(&mut medium, at(turn * 300));
            answer(&mut spools[0], &mut medium);
        }
        let kept = medium.size(segment).is_some();
        (kept, report.cuts.first().map(|cut| (cut.offset, cut.bytes, cut.reason)))
    };
    let clone = || medium.clone();
    assert_eq!(kept(clone(), superblock(segment, SEGMENT)), (false, None));
    let longer = superblock(segment, SEGMENT + 100);
    assert_eq!(kept(clone(), longer), (true, Some((SEGMENT, 100, CutReason::Damaged))));
    let shorter = superblock(segment, SEGMENT - 8);
    assert_eq!(kept(clone(), shorter), (true, Some((SEGMENT - 8, 8, CutReason::Damaged))));
    let other = superblock(SegmentId(77), SEGMENT);
    assert_eq!(kept(clone(), other), (true, Some((0, 4096, CutReason::Superblock))));
}

/// Covers: B18
#[test]
fn a_damaged_index_is_not_believed_and_the_records_are() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let envelope = envelope(&["b@example.org"]);
    let body = [b'x'; 20_000];
    let stored = spool.append_message(&mut medium, at(0), &Meta::default(), &envelope, &[&body]);
    let id = stored.unwrap().id;
    fill(&mut spool, &mut medium);
    fill(&mut spool, &mut medium);
    for turn in 1..6 {
        spool.reclaim(&mut medium, at(turn * 300), 1_000, false);
        spool.kick(&mut medium, at(turn * 300));
        answer(&mut spool, &mut medium);
    }
    let (_, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!((report.sealed, report.messages), (1, 1));
    let footer = Footer::read(&medium, id.segment).unwrap();
    medium.bytes_mut(id.segment)[footer.data_end as usize + 60] ^= 1;
    let (mut spools, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!((report.sealed, report.messages), (0, 1));
    assert_eq!(report.cuts.len(), 1);
    assert_eq!(report.cuts[0].reason, CutReason::Index);
    settle_in(&mut spools[0], &mut medium);
    assert_eq!(spools[0].next_recovered(&medium).unwrap().id(), id);
}

/// The program dies with the same attempt open, again and again.
///
/// Covers: B26
#[test]
fn mail_whose_attempt_is_open_in_three_crashes_in_a_row_is_held() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = add(&mut spool, &mut medium, &["b@example.org", "c@example.org"]);
    for crash in 1..=OPEN_ATTEMPT_CRASHES_MAX {
        let place = spool.place(id).unwrap();
        let attempt = u16::from(crash);
        let tries = [Try { recipient: 1, attempt }];
        spool.append_attempt(&mut medium, at(0), id, place.segment, &tries).unwrap();
        medium.program_crash();
        let (mut spools, report) = recover(&medium, &medium.list(), 1).unwrap();
        let doubt = Doubt { message: id, recipient: 1, attempt, crashes: crash };
        assert_eq!(report.in_doubt, [doubt]);
        spool = spools.remove(0);
        assert_eq!(spool.doubts(), [doubt]);
        assert!(spool.next_recovered(&medium).is_none(), "not before it is noted");
        settle_in(&mut spool, &mut medium);
        assert_eq!(spool.doubts(), []);
        assert_eq!(spool.next_recovered(&medium).unwrap().id(), id);
        let state = spool.state(id, 1).unwrap();
        assert_eq!((state.in_doubt, state.attempts), (true, attempt));
        let held = crash == OPEN_ATTEMPT_CRASHES_MAX;
        assert_eq!(state.phase, if held { Phase::Held } else { Phase::Waiting });
        assert_eq!(spool.state(id, 0).unwrap().phase, Phase::Waiting);
    }
}

/// Covers: B26
#[test]
fn an_answer_ends_the_row_of_crashes() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let id = add(&mut spool, &mut medium, &["b@example.org"]);
    let tries = [Try { recipient: 0, attempt: 1 }];
    spool.append_attempt(&mut medium, at(0), id, id.segment, &tries).unwrap();
    medium.program_crash();
    let (mut spools, _) = recover(&medium, &medium.list(), 1).unwrap();
    settle_in(&mut spools[0], &mut medium);
    spools[0].settle(&mut medium, at(0), id, &[waiting(0, 2)]).unwrap();
    let state = spools[0].state(id, 0).unwrap();
    assert_eq!((state.crashes, state.in_doubt), (0, true), "the doubt itself stays");
}

#[test]
fn another_number_of_shards_finds_the_same_mail() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let mut ids = Vec::new();
    for n in 0..200 {
        let id = add(&mut spool, &mut medium, &["b@example.org"]);
        if n % 3 == 0 {
            spool.settle(&mut medium, at(0), id, &[delivered(0)]).unwrap();
        } else {
            ids.push(id);
        }
    }
    medium.program_crash();
    for shards in [1, 2, 5] {
        let (spools, report) = recover(&medium, &medium.list(), shards).unwrap();
        assert_eq!((report.messages, report.recipients), (ids.len() as u64, ids.len() as u64));
        for id in &ids {
            let owner = usize::from((id.segment.0 % u32::from(shards)) as u16);
            assert!(spools[owner].place(*id).is_some());
        }
    }
}

#[test]
fn an_empty_folder_is_a_fine_start() {
    let medium = MemoryMedium::new(SEGMENT);
    let (mut spools, report) = recover(&medium, &[], 4).unwrap();
    assert_eq!(report, Report::default());
    assert_eq!(spools.len(), 4);
    assert!(spools[0].next_recovered(&medium).is_none());
    assert!(!spools[0].is_resuming());
}

/// A message to many was on its way to all of them at once, and each had been
/// put off with many words before. The note of the doubts was larger than a
/// segment: it was never written, and nothing was ever handed out again.
#[test]
fn any_number_of_doubts_finds_its_way_into_the_log() {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let names: Vec<String> = (0..100).map(|n| format!("r{n}@example.org")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = add(&mut spool, &mut medium, &names);
    let text = "w".repeat(512);
    let note = Note { status: mail::Status::DEFERRED, text: &text, host: "mx" };
    for recipient in 0..100 {
        let put_off = Change { note: Some(note), ..waiting(recipient, 1) };
        while spool.settle(&mut medium, at(0), id, &[put_off]).is_err() {
            spool.kick(&mut medium, at(0));
            answer(&mut spool, &mut medium);
        }
    }
    let tries: Vec<Try> = (0..100).map(|recipient| Try { recipient, attempt: 2 }).collect();
    spool.append_attempt(&mut medium, at(0), id, id.segment, &tries).unwrap();
    medium.program_crash();
    let (mut spools, report) = recover(&medium, &medium.list(), 1).unwrap();
    assert_eq!(report.in_doubt.len(), 100);
    let mut spool = spools.remove(0);
    for _ in 0..20 {
        spool.kick(&mut medium, at(0));
        answer(&mut spool, &mut medium);
    }
    assert_eq!(spool.next_recovered(&medium).map(|message| message.id()), Some(id));
    for recipient in 0..100 {
        let state = spool.state(id, recipient).unwrap();
        assert_eq!((state.in_doubt, state.attempts), (true, 2));
        assert_eq!(spool.note(&medium, id, recipient).unwrap().text, text);
    }
}
