//! One next hop with waiting mail, as the shard names it. It belongs to a site
//! once it is resolved; until then, and when its name cannot be looked up, it
//! waits as one. Made on first use; dropped when empty, after a while in a
//! bounded list of idle ones.
//!
//! Invariants: `ringed` exactly if it stands in its site's ring, which is when
//! it is resolved and has ready mail; `idle` exactly if it stands in the list
//! of idle ones, which is when it has no mail at all. One link serves both.

use std::sync::Arc;

use base::map::Equivalent;
use base::{Key, Monotonic, TimerKey, Wall};

use crate::list::{Link, Linked, List};
use crate::tally::Tally;

/// Bytes of a reason that are kept; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 256;

/// Names one destination; stale once it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey(pub(crate) Key);

/// What the shard calls a next hop: a name such as `mx:example.com`, the route
/// that leads there and the exit by which mail leaves. Equal names with
/// different routes or exits are different next hops, because routes carry
/// settings and a connection has one exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop<'a> {
    /// The name; meaningful to the shard only.
    pub name: &'a str,
    /// The route's index in the configuration.
    pub route: u32,
    /// The exit; meaningful to the shard only.
    pub exit: u32,
}

/// [`NextHop`] as the map keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HopName {
    pub(crate) name: Arc<str>,
    pub(crate) route: u32,
    pub(crate) exit: u32,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) hop: HopName,
    pub(crate) resolution: Resolution,
    /// Ready mail in order: urgent, then bulk.
    pub(crate) lanes: [List; 2],
    /// Urgent transactions since the last bulk one.
    urgent_run: u8,
    pub(crate) ringed: bool,
    pub(crate) idle: bool,
    /// Whether it stands in the list of work.
    pub(crate) asked: bool,
    link: Link,
    pub(crate) tally: Tally,
    /// The site that it was at last; may be gone.
    pub(crate) was_at: Option<Key>,
    /// Why mail last had to wait here.
    pub(crate) reason: Option<Arc<str>>,
}

/// Whether it is known where the next hop is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resolution {
    /// Not known; asked for as soon as mail is ready.
    Unresolved,
    /// Asked for.
    Resolving,
    /// Known, unless `until` passed or the queue's epoch is another.
    At { site: u32, until: Monotonic, epoch: u32 },
    /// The look-up failed; next one at `until`.
    Failed { until: Monotonic, timer: TimerKey },
    /// There is no such place: ready mail goes back to the shard.
    Rejected,
    /// An operator stopped it, perhaps until a known time; see `suspend.rs`.
    Suspended { until: Option<Wall> },
}

/// Urgent transactions in a row while bulk mail waits.
const URGENT_RUN_MAX: u8 = 3;

impl DestinationKey {
    /// The key as one number, for use as an outside handle.
    pub const fn as_u64(self) -> u64 {
        self.0.as_u64()
    }

    /// The inverse of [`DestinationKey::as_u64`].
    pub const fn from_u64(bits: u64) -> Self {
        Self(Key::from_u64(bits))
    }
}

impl Equivalent<HopName> for NextHop<'_> {
    fn equivalent(&self, key: &HopName) -> bool {
        self.route == key.route && self.exit == key.exit && *self.name == *key.name
    }
}

impl Destination {
    pub(crate) fn new(hop: HopName) -> Self {
        Self {
            hop,
            resolution: Resolution::Unresolved,
            lanes: [List::EMPTY; 2],
            urgent_run: 0,
            ringed: false,
            idle: false,
            asked: false,
            link: Link::NOWHERE,
            tally: Tally::new(),
            was_at: None,
            reason: None,
        }
    }

    pub(crate) fn lane(&mut self, urgent: bool) -> &mut List {
        &mut self.lanes[usize::from(!urgent)]
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.is_empty())
    }

    /// The first entry of the lane whose turn it is, noting the turn.
    pub(crate) fn next_head(&mut self) -> Option<u32> {
        let [urgent, bulk] = self.lanes.map(|lane| lane.head());
        if urgent.is_some() && (bulk.is_none() || self.urgent_run < URGENT_RUN_MAX) {
            self.urgent_run = self.urgent_run.saturating_add(1).min(URGENT_RUN_MAX);
            return urgent;
        }
        self.urgent_run = 0;
        bulk
    }

    pub(crate) fn site(&self) -> Option<u32> {
        match self.resolution {
            Resolution::At { site, .. } => Some(site),
            _ => None,
        }
    }
}

impl Linked for Destination {
    fn link(&self) -> Link {
        self.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// Keeps `reason`, cut to [`REASON_BYTES_MAX`], in `slot`; costs nothing when
/// it is the one already there.
pub(crate) fn keep_reason(slot: &mut Option<Arc<str>>, reason: &str) -> Option<Arc<str>> {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    if slot.as_deref() != Some(reason) {
        *slot = (!reason.is_empty()).then(|| Arc::from(reason));
    }
    slot.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_its_bound_between_characters() {
        let mut slot = None;
        let bound = "x".repeat(REASON_BYTES_MAX);
        assert_eq!(keep_reason(&mut slot, &bound).as_deref(), Some(bound.as_str()));
        let over = format!("{}é", "x".repeat(REASON_BYTES_MAX - 1));
        keep_reason(&mut slot, &over);
        assert_eq!(slot.as_deref().map(str::len), Some(REASON_BYTES_MAX - 1));
        keep_reason(&mut slot, "");
        assert_eq!(slot, None);
    }

    #[test]
    fn equal_reasons_are_kept_once() {
        let (mut one, mut two) = (None, None);
        two = keep_reason(&mut one, "refused").or(two);
        assert!(Arc::ptr_eq(&keep_reason(&mut one, "refused").unwrap(), &two.unwrap()));
    }
}
