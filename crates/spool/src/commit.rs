//! What is appended, what is on stable storage, and which sync to start.
//!
//! One sync per segment is in flight; what is appended meanwhile is covered by
//! the next one, so a lone client waits for one sync and a crowd shares it.
//! There is no timer but one: records nobody waits for (attempts, outcomes)
//! ride along, or get a sync of their own after [`LAZY_MS_MAX`].
//!
//! Never here: bytes. Invariants: positions grow by one per record over all
//! segments of a shard; `durable` never goes back and never passes a record
//! that is neither durable nor reported as lost.

use std::collections::VecDeque;
use std::time::Duration;

use base::planted::{Bug, planted};
use base::{Monotonic, SegmentId};

use crate::medium::Medium;
use crate::writer::Spool;

/// Place of a record in the order in which a shard appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub(crate) u64);

/// Records that a failed sync lost: whoever waits for one of these positions
/// gets `451` (design §4). Both ends belong to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first lost position.
    pub first: Position,
    /// The last one.
    pub last: Position,
}

#[derive(Debug)]
struct Open {
    segment: SegmentId,
    appended: u64,
    synced: u64,
    in_flight: Option<u64>,
    /// End of what is appended, in flight and durable, as offsets.
    end: u32,
    in_flight_end: u32,
    durable_end: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Commit {
    last: u64,
    wanted: u64,
    lazy_by: Option<Monotonic>,
    /// Segments with records that are not known to be durable, and the active
    /// one, oldest first.
    open: VecDeque<Open>,
}

/// What the end of a sync means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All it covered is durable.
    Well,
    /// The segment failed: what is appended at `from` and above is lost.
    Badly { lost: Option<Lost>, from: u32 },
    /// Not a commit's sync.
    Foreign,
}

impl Commit {
    pub(crate) fn open(&mut self, segment: SegmentId, start: u32) {
        self.open.push_back(Open {
            segment,
            appended: self.last,
            synced: self.last,
            in_flight: None,
            end: start,
            in_flight_end: start,
            durable_end: start,
        });
    }

    /// Counts a record appended to the newest segment, which now ends at `end`.
    pub(crate) fn appended(&mut self, end: u32) -> Position {
        self.last += 1;
        let open = self.open.back_mut().expect("records are appended to an open segment");
        open.appended = self.last;
        open.end = end;
        Position(self.last)
    }

    /// Somebody waits for `position`.
    pub(crate) fn want(&mut self, position: Position) {
        self.wanted = self.wanted.max(position.0);
    }

    /// Nobody waits, but it should not take for ever.
    pub(crate) fn want_lazily(&mut self, now: Monotonic) {
        self.lazy_by.get_or_insert(now + Duration::from_millis(LAZY_MS_MAX));
    }

    pub(crate) fn last(&self) -> Position {
        Position(self.last)
    }

    pub(crate) fn durable(&self) -> Position {
        let from = if planted(Bug::SyncSkipped) { self.open.len().saturating_sub(1) } else { 0 };
        let behind = self.open.iter().skip(from).find(|open| open.synced < open.appended);
        Position(behind.map_or(self.last, |open| open.synced))
    }

    /// Offset up to which the newest segment is durable.
    pub(crate) fn durable_end(&self) -> u32 {
        self.open.back().map_or(0, |open| open.durable_end)
    }

    /// Whether records of `segment` still wait for a sync.
    pub(crate) fn is_open(&self, segment: SegmentId) -> bool {
        self.open.iter().any(|open| open.segment == segment)
    }

    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.lazy_by
    }

    /// Starts every sync that is wanted and not in flight.
    pub(crate) fn kick(&mut self, now: Monotonic, medium: &mut (impl Medium + ?Sized)) {
        if self.lazy_by.is_some_and(|by| by <= now) {
            // From here on it is wanted as any other: with a sync in flight
            // the end of that brings the next, and no clock.
            self.wanted = self.last;
            self.lazy_by = None;
        }
        for open in &mut self.open {
            let dirty = open.synced < open.appended;
            if dirty && open.in_flight.is_none() && open.synced < self.wanted {
                open.in_flight = Some(open.appended);
                open.in_flight_end = open.end;
                medium.start_sync(open.segment);
            }
        }
        let covered = |open: &Open| open.in_flight.unwrap_or(open.synced) == open.appended;
        if self.open.iter().all(covered) {
            self.lazy_by = None;
        }
    }

    /// A sync of `segment` has ended. `active` stays open even when clean.
    pub(crate) fn synced(&mut self, segment: SegmentId, ok: bool, active: bool) -> Ended {
        let Some(at) = self.open.iter().position(|open| open.segment == segment) else {
            return Ended::Foreign;
        };
        let open = &mut self.open[at];
        let Some(covers) = open.in_flight.take() else { return Ended::Foreign };
        if !ok && !planted(Bug::FailedSyncForgiven) {
            let lost = (open.synced < open.appended).then_some(Lost {
                first: Position(open.synced + 1),
                last: Position(open.appended),
            });
            let from = open.durable_end;
            self.open.remove(at);
            return Ended::Badly { lost, from };
        }
        open.synced = if planted(Bug::SyncCoversLater) { open.appended } else { covers };
        open.durable_end = open.in_flight_end;
        if !active && open.synced == open.appended {
            self.open.remove(at);
        }
        Ended::Well
    }

    /// `segment` takes no more records; forgotten at once when all is durable.
    pub(crate) fn close(&mut self, segment: SegmentId) {
        self.open.retain(|open| open.segment != segment || open.synced < open.appended);
    }
}

impl Spool {
    /// Whether a sync of what was appended is under way.
    pub fn is_syncing(&self) -> bool {
        self.commit.open.iter().any(|open| open.in_flight.is_some())
    }
}

/// How long a record that nobody waits for may stay unsynced, in milliseconds.
pub(crate) const LAZY_MS_MAX: u64 = 100;
