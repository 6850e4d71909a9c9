//! After a restart: handing the recovered mail to the shard, a little at a
//! time, so that delivery begins long before a deep queue is read.
//!
//! Never here: finding the mail (`recover`). Invariants: every message that
//! was live at recovery and has not ended since is handed out once; none is
//! before all doubts are in the log; recovered segments are not cleaned until
//! the last one is out, but for those in which nothing was ever written.

use base::SegmentId;

use crate::entry::Message;
use crate::medium::Medium;
use crate::walk::{Cursor, Step};
use crate::writer::Spool;

/// How far the handing out has come.
#[derive(Debug)]
pub(crate) struct Resume {
    /// Recovered segments still to come, last one first.
    segments: Vec<SegmentId>,
    cursor: Option<Cursor>,
}

impl Resume {
    /// Over `segments`, in ascending order.
    pub(crate) fn new(mut segments: Vec<SegmentId>) -> Self {
        segments.reverse();
        Self { segments, cursor: None }
    }
}

impl Spool {
    /// The next recovered message, read where that touches the fewest bytes;
    /// its recipients' standings by [`Spool::state`]. `None` means: not now. No
    /// message comes before what was in doubt is in the log (call
    /// [`Spool::kick`] after the next event), and a call looks at no more than
    /// 4096 records. Ask again while [`Spool::is_resuming`].
    pub fn next_recovered<'m, M: Medium + ?Sized>(&mut self, medium: &'m M) -> Option<Message<'m>> {
        if !self.doubts.is_empty() {
            return None;
        }
        let mut resume = self.resume.take()?;
        for _ in 0..RECORDS_PER_CALL_MAX {
            let Some(cursor) = &mut resume.cursor else {
                let segment = resume.segments.pop()?;
                let index = self.index.segment(segment);
                resume.cursor = index.map(|index| Cursor::new(segment, index.layout));
                continue;
            };
            match cursor.next(medium) {
                Step::End => resume.cursor = None,
                Step::Bad(at) => skip_damage(self, cursor, at),
                Step::Record(record) => {
                    let Some(message) = Message::parse(&record) else { continue };
                    let here = (record.segment, record.offset);
                    let entry = self.index.entry(message.id());
                    if entry.is_some_and(|(segment, entry)| (segment, entry.offset) == here) {
                        self.resume = Some(resume);
                        return Some(message);
                    }
                }
            }
        }
        self.resume = Some(resume);
        None
    }

    /// Whether recovered messages are still to be handed out.
    pub fn is_resuming(&self) -> bool {
        self.resume.is_some()
    }
}

/// Goes on at the next live message; over an index there is nothing to go on
/// with, and recovery has already seen that it is whole.
fn skip_damage(spool: &Spool, cursor: &mut Cursor, bad: u32) {
    let index = spool.index.segment(cursor.segment());
    let next = index.and_then(|index| index.live_from(bad + 1).next());
    match next {
        Some(entry) if !cursor.is_sealed() => cursor.skip_to(entry.offset),
        _ => cursor.stop(),
    }
}

const RECORDS_PER_CALL_MAX: u32 = 4096;
