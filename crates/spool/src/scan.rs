//! Finding the end of a segment that has no index.
//!
//! A record counts when its checksum, its segment number and its sequence are
//! right, so zeros, garbage and the old records of a recycled file all end the
//! log. Behind the first bad record the rest is searched: when a whole record
//! there says that the bad place was durable already, this is damage and the
//! log goes on; else it is the torn tail.
//!
//! Never here: changing anything. Invariants: the same bytes give the same
//! end; a body that was not known durable is read and checked, so no message
//! counts whose body did not reach the disk.

use base::SegmentId;
use base::planted::{Bug, planted};

use crate::medium::Medium;
use crate::record::{FIRST_RECORD, Header, Record, record_at};
use crate::recover::{Cut, CutReason};

/// A segment as far as it counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where its records end.
    pub end: u32,
    /// Number of the next record.
    pub sequence: u32,
    pub cuts: Vec<Cut>,
}

/// Scans a segment from its first record; with `sealed_end` up to there, where
/// everything is known to have been durable.
pub(crate) fn scan(
    medium: &(impl Medium + ?Sized),
    segment: SegmentId,
    sealed_end: Option<u32>,
) -> Scan {
    let size = medium.size(segment).unwrap_or(0);
    let mut scan = Scan { end: FIRST_RECORD, sequence: 0, cuts: Vec::new() };
    let mut durable = sealed_end.unwrap_or(FIRST_RECORD);
    let limit = sealed_end.unwrap_or(size).min(size);
    let mut unchecked = Vec::new();
    while scan.end < limit {
        match whole_record(medium, segment, scan.end, limit) {
            Some(record) if record.header.sequence == scan.sequence => {
                durable = durable.max(record.header.durable);
                scan.end = record.end();
                scan.sequence += 1;
                if record.header.kind.is_mail() {
                    unchecked.push(record);
                }
            }
            _ => match search(medium, segment, scan.end, limit, durable) {
                Behind::GoesOn { offset, sequence, durable: mark } => {
                    let bytes = offset - scan.end;
                    let reason = CutReason::Damaged;
                    scan.cuts.push(Cut { segment, offset: scan.end, bytes, reason });
                    (scan.end, scan.sequence) = (offset, sequence);
                    durable = durable.max(mark);
                }
                Behind::Torn { bytes } => {
                    // In a sealed segment all of it was durable.
                    let (bytes, reason) = match durable > scan.end {
                        true => (limit - scan.end, CutReason::Damaged),
                        false => (bytes, CutReason::TornTail),
                    };
                    if bytes > 0 {
                        scan.cuts.push(Cut { segment, offset: scan.end, bytes, reason });
                    }
                    break;
                }
            },
        }
    }
    cut_at_torn_body(medium, &mut scan, &unchecked, durable);
    scan
}

/// What stands behind a bad record.
enum Behind {
    GoesOn {
        offset: u32,
        sequence: u32,
        durable: u32,
    },
    /// Nothing that counts; `bytes` of it were ours all the same.
    Torn {
        bytes: u32,
    },
}

/// Looks behind the bad record at `bad` for whole ones, and for one that says
/// that the bad place was durable.
fn search(
    medium: &(impl Medium + ?Sized),
    segment: SegmentId,
    bad: u32,
    limit: u32,
    durable: u32,
) -> Behind {
    let Some(bytes) = medium.read(segment, 0, limit) else { return Behind::Torn { bytes: 0 } };
    // A torn header of ours is worth a report, old bytes of a recycled file
    // are not.
    let ours = |at: u32| {
        let raw = bytes.get(at as usize..);
        raw.and_then(|raw| Header::decode(raw, segment)).is_some()
    };
    let mut first: Option<(u32, u32)> = None;
    let mut torn_end = if ours(bad) { bad + 8 } else { bad };
    let mut mark = durable;
    let mut at = bad + 8;
    while at < limit {
        if !ours(at) {
            at += 8;
            continue;
        }
        let Some(record) = whole_record(medium, segment, at, limit) else {
            at += 8;
            torn_end = at;
            continue;
        };
        mark = mark.max(record.header.durable);
        first.get_or_insert((at, record.header.sequence));
        at = record.end();
        torn_end = at;
    }
    match first {
        Some((offset, sequence)) if mark > bad => {
            Behind::GoesOn { offset, sequence, durable: mark }
        }
        _ => Behind::Torn { bytes: torn_end - bad },
    }
}

/// Ends the log at the first message whose body is not whole, among those not
/// known durable.
fn cut_at_torn_body(
    medium: &(impl Medium + ?Sized),
    scan: &mut Scan,
    messages: &[Record<'_>],
    durable: u32,
) {
    let torn = messages.iter().filter(|record| record.end() > durable).find(|record| {
        let body = medium.read(record.segment, record.body_offset(), record.body_bytes());
        body.is_none_or(|body| crc32c::crc32c(body) != record.header.body_crc)
            && !planted(Bug::BodyCrcSkipped)
    });
    if let Some(record) = torn {
        // What was cut off behind it belongs to the same tail.
        let ends = scan.cuts.iter().map(|cut| cut.offset + cut.bytes);
        let bytes = ends.fold(scan.end, u32::max) - record.offset;
        scan.cuts.retain(|cut| cut.offset < record.offset);
        let (segment, offset, reason) = (record.segment, record.offset, CutReason::TornTail);
        scan.cuts.push(Cut { segment, offset, bytes, reason });
        (scan.end, scan.sequence) = (record.offset, record.header.sequence);
    }
}

fn whole_record<'m>(
    medium: &'m (impl Medium + ?Sized),
    segment: SegmentId,
    offset: u32,
    limit: u32,
) -> Option<Record<'m>> {
    let record = record_at(medium, segment, offset)?;
    let end = u64::from(offset) + u64::from(crate::record::frame_bytes(record.header.length));
    (end <= u64::from(limit)).then_some(record)
}

#[cfg(test)]
mod tests;
