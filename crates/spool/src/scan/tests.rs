//! Where the log ends: whole records, torn ones, zeros, garbage, old bytes.

use base::Rng;

use super::*;
use crate::memory::MemoryMedium;
use crate::rig::{SEGMENT, answer, at, envelope, ready};
use crate::{Meta, Place, Spool};

/// A segment with durable and undurable messages, and where they stand.
fn written(durable: usize, more: usize) -> (MemoryMedium, Vec<Place>) {
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let mut places = Vec::new();
    for n in 0..durable + more {
        places.push(add(&mut spool, &mut medium, n));
        if n + 1 == durable {
            spool.kick(&mut medium, at(0));
            answer(&mut spool, &mut medium);
        }
    }
    (medium, places)
}

fn add(spool: &mut Spool, medium: &mut MemoryMedium, n: usize) -> Place {
    let body = vec![b'a' + n as u8; 700];
    let envelope = envelope(&["b@example.org"]);
    spool.append_message(medium, at(0), &Meta::default(), &envelope, &[&body]).unwrap().place
}

fn end(place: Place) -> u32 {
    place.offset + place.len
}

/// Covers: B10
#[test]
fn zeros_end_the_log_without_a_word() {
    let (medium, places) = written(2, 3);
    let scan = scan(&medium, places[0].segment, None);
    assert_eq!(scan, Scan { end: end(places[4]), sequence: 5, cuts: Vec::new() });
}

/// Every way of cutting the last record short ends the log in front of it.
///
/// Covers: B1, B7
#[test]
fn a_record_torn_anywhere_is_cut_off_whole() {
    let (medium, places) = written(2, 1);
    let last = places[2];
    // The padding, of up to 7 bytes, does not count.
    for at in last.offset..end(last) - 8 {
        let mut torn = medium.clone();
        torn.bytes_mut(last.segment)[at as usize..end(last) as usize].fill(0);
        let scan = scan(&torn, last.segment, None);
        assert_eq!((scan.end, scan.sequence), (last.offset, 2), "torn at {at}");
        // With not even its segment number, nothing shows that it was there.
        if at >= last.offset + 13 {
            assert_eq!(scan.cuts.len(), 1, "torn at {at}");
            assert_eq!(scan.cuts[0].reason, CutReason::TornTail);
        }
    }
}

/// Any sector of the last record never reached the disk, whatever did: the record
/// counts whole or not at all.
///
/// Covers: B7, B8
#[test]
fn a_record_that_lacks_any_sector_does_not_count() {
    const SECTOR: u32 = 512;
    let mut medium = MemoryMedium::new(SEGMENT);
    let mut spool = ready(&mut medium, 0);
    let first = add(&mut spool, &mut medium, 0);
    spool.kick(&mut medium, at(0));
    answer(&mut spool, &mut medium);
    let body = vec![b'x'; 3 * 4_096];
    let envelope = envelope(&["b@example.org"]);
    let large = spool.append_message(&mut medium, at(0), &Meta::default(), &envelope, &[&body]);
    let large = large.unwrap().place;
    assert_eq!(scan(&medium, large.segment, None).end, end(large), "whole, it counts");
    let sectors = large.offset / SECTOR..=(end(large) - 8 - 1) / SECTOR;
    assert!(sectors.clone().count() >= 24, "over several pages");
    for sector in sectors {
        let mut torn = medium.clone();
        let from = (sector * SECTOR).max(large.offset);
        torn.bytes_mut(large.segment)[from as usize..((sector + 1) * SECTOR) as usize].fill(0);
        let scan = scan(&torn, large.segment, None);
        assert_eq!((scan.end, scan.sequence), (end(first), 1), "without sector {sector}");
    }
}

/// Covers: B9
#[test]
fn a_later_record_does_not_save_one_that_was_never_durable() {
    let (mut medium, places) = written(2, 3);
    let (torn, last) = (places[3], places[4]);
    medium.bytes_mut(torn.segment)[end(torn) as usize - 100] ^= 1;
    let scan = scan(&medium, torn.segment, None);
    assert_eq!(scan.end, torn.offset);
    let cut = Cut {
        segment: torn.segment,
        offset: torn.offset,
        bytes: end(last) - torn.offset,
        reason: CutReason::TornTail,
    };
    assert_eq!(scan.cuts, [cut]);
}

/// Sectors reach the disk in any order: a first record that left no trace,
/// behind it one of which only the header did. Its mail was lost unreported.
///
/// Covers: B9
#[test]
fn half_a_record_behind_a_hole_is_reported_too() {
    let (mut medium, places) = written(2, 2);
    let (gone, half) = (places[2], places[3]);
    let bytes = medium.bytes_mut(gone.segment);
    bytes[gone.offset as usize..end(gone) as usize].fill(0);
    bytes[half.offset as usize + 40..end(half) as usize].fill(0);
    let scan = scan(&medium, gone.segment, None);
    assert_eq!(scan.end, gone.offset);
    let cut = Cut {
        segment: gone.segment,
        offset: gone.offset,
        bytes: half.offset + 8 - gone.offset,
        reason: CutReason::TornTail,
    };
    assert_eq!(scan.cuts, [cut]);
}

/// The log ends in front of a torn body; what had ended it further on without
/// that is part of the same tail, and was left out of the report.
///
/// Covers: B7
#[test]
fn a_torn_body_in_front_of_a_torn_header_is_one_cut() {
    let (mut medium, places) = written(1, 3);
    let (body, header, last) = (places[1], places[2], places[3]);
    let bytes = medium.bytes_mut(body.segment);
    bytes[end(body) as usize - 100] ^= 1;
    bytes[header.offset as usize..][..8].fill(0);
    let scan = scan(&medium, body.segment, None);
    let cut = Cut {
        segment: body.segment,
        offset: body.offset,
        bytes: end(last) - body.offset,
        reason: CutReason::TornTail,
    };
    assert_eq!((scan.end, scan.cuts.as_slice()), (body.offset, &[cut][..]));
}

/// The last record of a sealed segment, with an index that is damaged as well:
/// nothing whole stands behind it to say that it was durable, but the footer does.
///
/// Covers: B18
#[test]
fn damage_at_the_end_of_a_sealed_segment_is_damage() {
    let (mut medium, places) = written(3, 0);
    let last = places[2];
    let bytes = medium.bytes_mut(last.segment);
    bytes[last.offset as usize..end(last) as usize].fill(0);
    let scan = scan(&medium, last.segment, Some(end(last)));
    let cut = Cut {
        segment: last.segment,
        offset: last.offset,
        bytes: last.len,
        reason: CutReason::Damaged,
    };
    assert_eq!((scan.end, scan.cuts.as_slice()), (last.offset, &[cut][..]));
}

/// Covers: B18
#[test]
fn damage_in_front_of_what_was_durable_is_not_the_end() {
    let (mut medium, places) = written(3, 2);
    let bad = places[1];
    medium.bytes_mut(bad.segment)[bad.offset as usize + 45] ^= 1;
    let scan = scan(&medium, bad.segment, None);
    assert_eq!((scan.end, scan.sequence), (end(places[4]), 5));
    let cut = Cut {
        segment: bad.segment,
        offset: bad.offset,
        bytes: bad.len,
        reason: CutReason::Damaged,
    };
    assert_eq!(scan.cuts, [cut]);
}

/// The body of durable mail is not read at the start: its checksum is looked
/// at before it is sent.
///
/// Covers: B17
#[test]
fn a_damaged_body_of_durable_mail_is_left_to_its_reader() {
    let (mut medium, places) = written(3, 1);
    let bad = places[1];
    medium.bytes_mut(bad.segment)[end(bad) as usize - 100] ^= 1;
    let scan = scan(&medium, bad.segment, None);
    assert_eq!((scan.end, scan.cuts.len()), (end(places[3]), 0));
}

/// Covers: B11
#[test]
fn old_records_of_a_recycled_file_do_not_count() {
    let (mut medium, places) = written(2, 3);
    let old = medium.bytes_mut(places[0].segment).to_vec();
    let (segment, _) = medium.create_recycled(&old);
    assert_eq!(scan(&medium, segment, None), Scan { end: 4096, sequence: 0, cuts: Vec::new() });
}

/// A stale sector brings an older record of this very segment to a wrong
/// place: number and checksum are right, the sequence is not.
///
/// Covers: B9, B19
#[test]
fn a_record_out_of_sequence_ends_the_log() {
    let (mut medium, places) = written(0, 4);
    let (from, to) = (places[0], places[3]);
    let bytes = medium.bytes_mut(from.segment);
    bytes.copy_within(from.offset as usize..end(from) as usize, to.offset as usize);
    assert_eq!(scan(&medium, from.segment, None).end, to.offset);
}

/// Covers: B7
#[test]
fn garbage_of_any_kind_ends_the_log() {
    let (medium, places) = written(2, 0);
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let mut medium = medium.clone();
        let tail = end(places[1]) as usize;
        for byte in &mut medium.bytes_mut(places[0].segment)[tail..] {
            *byte = rng.next_u64() as u8;
        }
        let scan = scan(&medium, places[0].segment, None);
        assert_eq!((scan.end as usize, scan.sequence), (tail, 2));
    }
}
