//! Segments, syncs, look-ahead reads, the timer, draining, the log.

use std::time::Duration;

use base::SegmentId;
use shard::effect::Effect;
use shard::event::Event;

use super::*;
use crate::script::{script, seen};

#[test]
fn a_segment_is_made_written_synced_and_retired() {
    let (saw, seen) = seen();
    let mut begun = false;
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Disk { .. } if !begun => {
                begun = true;
                stage.medium.request_segment();
            }
            Event::SegmentReady { segment, bytes } => {
                assert_eq!(bytes, 4_096);
                stage.medium.append(segment, 8, &[b"rec", b"ord"]).unwrap();
                stage.medium.start_sync(segment);
            }
            Event::Synced { segment, ok } => {
                assert!(ok);
                stage.effects.push(Effect::Prefetch { token: 9, segment, offset: 8, len: 6 });
                stage.effects.push(Effect::Prefetch { token: 8, segment, offset: 4_090, len: 7 });
                stage.effects.push(Effect::Prefetch {
                    token: 7,
                    segment: SegmentId(99),
                    offset: 0,
                    len: 1,
                });
                saw.send((0, segment.0 > 0)).unwrap();
            }
            Event::Prefetched { token, ok } => saw.send((token, ok)).unwrap(),
            _ => {}
        })],
        b"",
    );
    assert_eq!(seen.next(), (0, true));
    let mut prefetched = [seen.next(), seen.next(), seen.next()];
    prefetched.sort_unstable();
    assert_eq!(prefetched, [(7, false), (8, false), (9, true)]);
    let bytes = std::fs::read(fleet.folder.path().join("segment-20")).unwrap();
    assert_eq!(bytes[8..14], *b"record");
}

/// Covers: B14
#[test]
fn a_sync_of_nothing_is_told_as_failed() {
    let (saw, seen) = seen();
    let mut begun = false;
    let _fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Disk { .. } if !begun => {
                begun = true;
                stage.medium.start_sync(SegmentId(1_234));
            }
            Event::Synced { segment, ok } => saw.send((segment, ok)).unwrap(),
            _ => {}
        })],
        b"",
    );
    assert_eq!(seen.next(), (SegmentId(1_234), false));
}

#[test]
fn ticks_come_at_their_deadline_and_deadlines_may_move_earlier() {
    let (saw, seen) = seen();
    let fleet = Fleet::start(
        vec![script(move |event, stage| match event {
            Event::Disk { .. } => {
                stage.deadline.get_or_insert(stage.now.mono + Duration::from_secs(3_600));
            }
            Event::Accepted { .. } => {
                *stage.deadline = Some(stage.now.mono + Duration::from_millis(25));
            }
            Event::Tick if stage.deadline.is_some() => {
                let late = stage.now.mono.since(stage.deadline.take().unwrap());
                saw.send(late).unwrap();
            }
            _ => {}
        })],
        b"",
    );
    for _ in 0..3 {
        let _client = client(&fleet, 0);
        assert!(seen.next() < Duration::from_secs(5));
    }
    assert!(seen.nothing());
}

/// Covers: B33
#[test]
fn draining_is_told_and_reported() {
    let fleet = Fleet::start(
        vec![script(move |event, stage| {
            if matches!(event, Event::Drain) {
                stage.effects.push(Effect::Log { lines: b"{\"event\":\"drained\"}\n".to_vec() });
                stage.effects.push(Effect::Drained);
            }
        })],
        b"",
    );
    fleet.post(0, Mail::Drain);
    assert_eq!(fleet.drained.recv_timeout(PATIENCE).unwrap(), base::ShardId(0));
}
