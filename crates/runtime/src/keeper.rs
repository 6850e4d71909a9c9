//! The thread that makes segments ready and retires them, with blocking
//! calls, so that no shard ever waits for the file system; and that tells
//! every shard once a second how much room is left.
//!
//! Never touches a segment a shard appends to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base::{SegmentId, ShardId};
use crossbeam::channel::{Receiver, RecvTimeoutError};

use crate::contract::Keeper;
use crate::inbox::{Inbox, Mail};

/// How often shards are told about room on the disk.
const DISK_EVERY: Duration = Duration::from_secs(1);

/// What shards want of the keeper. The queue of wishes is bounded by the
/// number of segments, since a shard asks for one at a time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Create(ShardId),
    Retire(SegmentId),
}

/// Runs until every shard has gone or `stopping` is set. `complain` gets one
/// sentence for each thing that failed without a shard waiting for it.
pub(crate) fn keep(
    mut keeper: Box<dyn Keeper>,
    wishes: &Receiver<Wish>,
    inboxes: &[Arc<Inbox>],
    stopping: &AtomicBool,
    complain: &dyn Fn(&str),
) {
    let mut tell_at = Instant::now();
    let mut may_prepare = true;
    while !stopping.load(Ordering::Acquire) {
        if Instant::now() >= tell_at {
            tell_disk(&*keeper, inboxes, complain);
            tell_at = Instant::now() + DISK_EVERY;
            may_prepare = true;
        }
        let patience =
            if may_prepare { Duration::ZERO } else { tell_at.duration_since(Instant::now()) };
        match wishes.recv_timeout(patience) {
            Ok(Wish::Create(shard)) => {
                create(&mut *keeper, inboxes, shard, stopping);
                may_prepare = true;
            }
            Ok(Wish::Retire(segment)) => {
                if let Err(reason) = keeper.retire(segment) {
                    complain(&format!("segment {segment} cannot be retired: {reason}"));
                }
            }
            Err(RecvTimeoutError::Timeout) if may_prepare => match keeper.prepare() {
                Ok(more) => may_prepare = more,
                Err(reason) => {
                    complain(&format!("no spare segment can be made: {reason}"));
                    may_prepare = false;
                }
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn create(keeper: &mut dyn Keeper, inboxes: &[Arc<Inbox>], shard: ShardId, stopping: &AtomicBool) {
    let mail = match keeper.create() {
        Ok((segment, bytes)) => Mail::SegmentReady { segment, bytes },
        Err(reason) => Mail::NoSegment { reason },
    };
    let inbox = &inboxes[usize::from(shard.0)];
    inbox.post_patiently(mail, || !stopping.load(Ordering::Acquire));
}

fn tell_disk(keeper: &dyn Keeper, inboxes: &[Arc<Inbox>], complain: &dyn Fn(&str)) {
    match keeper.free() {
        Ok((free_bytes, free_inodes)) => {
            for inbox in inboxes {
                // A shard with a full mailbox hears it the next second.
                let _ = inbox.post(Mail::Disk { free_bytes, free_inodes });
            }
        }
        Err(reason) => complain(&format!("the room left on the disk cannot be read: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Makes segments 1, 2, 3, then says the disk is full.
    struct Three {
        next: u32,
        spares: u32,
        retired: Arc<Mutex<Vec<SegmentId>>>,
    }

    impl Keeper for Three {
        fn create(&mut self) -> Result<(SegmentId, u32), String> {
            if self.next == 4 {
                return Err("no space left on device".into());
            }
            self.next += 1;
            Ok((SegmentId(self.next - 1), 4_096))
        }
        fn prepare(&mut self) -> Result<bool, String> {
            self.spares += 1;
            if self.spares == 3 { Err("disk full".into()) } else { Ok(true) }
        }
        fn retire(&mut self, segment: SegmentId) -> Result<(), String> {
            self.retired.lock().unwrap().push(segment);
            Err("busy".into())
        }
        fn free(&self) -> Result<(u64, u64), String> {
            Ok((1_000, 10))
        }
    }

    #[test]
    fn wishes_are_answered_in_order_and_failures_are_told() {
        let (wish, wishes) = crossbeam::channel::unbounded();
        let inboxes = [Arc::new(Inbox::new().unwrap()), Arc::new(Inbox::new().unwrap())];
        let retired = Arc::new(Mutex::new(Vec::new()));
        let complaints = Mutex::new(Vec::new());
        for _ in 0..4 {
            wish.send(Wish::Create(ShardId(1))).unwrap();
        }
        wish.send(Wish::Retire(SegmentId(2))).unwrap();
        drop(wish);
        let keeper = Three { next: 1, spares: 0, retired: retired.clone() };
        keep(Box::new(keeper), &wishes, &inboxes, &AtomicBool::new(false), &|sentence| {
            complaints.lock().unwrap().push(sentence.to_string());
        });
        assert_eq!(*retired.lock().unwrap(), [SegmentId(2)]);
        assert_eq!(*complaints.lock().unwrap(), ["segment 2 cannot be retired: busy"]);
        assert!(matches!(
            inboxes[0].take(),
            Some(Mail::Disk { free_bytes: 1_000, free_inodes: 10 })
        ));
        assert!(inboxes[0].take().is_none());
        assert!(matches!(inboxes[1].take(), Some(Mail::Disk { .. })));
        for n in 1..=3 {
            let Some(Mail::SegmentReady { segment, bytes: 4_096 }) = inboxes[1].take() else {
                panic!("segment {n} is missing");
            };
            assert_eq!(segment, SegmentId(n));
        }
        assert!(matches!(inboxes[1].take(), Some(Mail::NoSegment { .. })));
    }
}
