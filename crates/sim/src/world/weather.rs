//! How long things take and how often they go astray: everything about the
//! world outside that is nobody's decision.
//!
//! Invariant: calm weather draws nothing, so that stories run by the clock;
//! all else is drawn from one generator, in the order in which it happens.

use std::ops::RangeInclusive;
use std::time::Duration;

use base::Rng;

use super::{LATENCY, SYNC};

/// The weather. Spans are in milliseconds, odds of a thousand.
#[derive(Clone, Debug)]
pub struct Weather {
    pub(super) rng: Rng,
    /// Bytes between us and anybody.
    pub wire_ms: RangeInclusive<u64>,
    /// Something from shard to shard.
    pub mesh_ms: RangeInclusive<u64>,
    /// A sync.
    pub sync_ms: RangeInclusive<u64>,
    /// Making a segment.
    pub segment_ms: RangeInclusive<u64>,
    /// An answer of a name server.
    pub answer_ms: RangeInclusive<u64>,
    /// Answers that get lost.
    pub answers_lost: u64,
    /// Answers that come twice.
    pub answers_doubled: u64,
    /// Answers before which a forged one comes.
    pub answers_forged: u64,
    /// Connections that break at a random moment.
    pub connections_break: u64,
    /// Connections whose far end goes without a word.
    pub connections_vanish: u64,
    /// Connections that come in pieces of one to a few bytes.
    pub connections_crumble: u64,
    /// Chances that our own machine has no means for a connection.
    pub shortage: u64,
    /// Chances that a read ahead fails for good.
    pub reads_fail: u64,
    /// Chances that a sync fails.
    pub syncs_fail: u64,
}

impl Weather {
    /// Everything takes its time and nothing goes astray.
    pub fn calm(seed: u64) -> Self {
        let fixed = |span: Duration| span.as_millis() as u64..=span.as_millis() as u64;
        Self {
            rng: Rng::new(seed),
            wire_ms: fixed(LATENCY),
            mesh_ms: fixed(LATENCY),
            sync_ms: fixed(SYNC),
            segment_ms: fixed(LATENCY),
            answer_ms: fixed(LATENCY),
            answers_lost: 0,
            answers_doubled: 0,
            answers_forged: 0,
            connections_break: 0,
            connections_vanish: 0,
            connections_crumble: 0,
            shortage: 0,
            reads_fail: 0,
            syncs_fail: 0,
        }
    }

    /// The same weather, in which nothing goes astray.
    pub(crate) fn without_trouble(mut self) -> Self {
        let calm = Self::calm(0);
        self.answers_lost = calm.answers_lost;
        self.answers_doubled = calm.answers_doubled;
        self.answers_forged = calm.answers_forged;
        self.connections_break = calm.connections_break;
        self.connections_vanish = calm.connections_vanish;
        self.connections_crumble = calm.connections_crumble;
        self.shortage = calm.shortage;
        self.reads_fail = calm.reads_fail;
        self.syncs_fail = calm.syncs_fail;
        self
    }

    /// Whether nothing is drawn at all.
    pub(super) fn is_calm(&self) -> bool {
        self.wire_ms.start() == self.wire_ms.end()
    }

    /// Whether something with odds of a thousand happens now.
    pub(super) fn strikes(&mut self, odds: u64) -> bool {
        odds > 0 && self.rng.below(1_000) < odds
    }

    /// A number below a bound.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// A span out of a range.
    pub(super) fn span(&mut self, range: &RangeInclusive<u64>) -> Duration {
        let (low, high) = (*range.start(), *range.end());
        let more = if high > low { self.rng.below(high - low + 1) } else { 0 };
        Duration::from_millis(low + more)
    }
}
