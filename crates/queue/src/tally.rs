//! What is counted per destination and per site, kept as entries move, so that
//! tables for operators cost nothing while mail flows and no scan when asked.
//!
//! Invariant: a site's tally is the sum of its destinations'.

use base::{Monotonic, Now, Wall};

use crate::ages::Ages;
use crate::entry::State;

/// Entries by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for their time.
    pub deferred: u32,
    /// Waiting for their turn.
    pub ready: u32,
    /// With the shard.
    pub in_flight: u32,
    /// Waiting for an operator.
    pub held: u32,
}

/// Counts, ages, and the earliest time known of a next attempt.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) ages: Ages,
    next_due: Monotonic,
}

const NEVER: Monotonic = Monotonic::from_millis(u64::MAX);

impl Counts {
    /// All entries, whatever their state.
    pub fn total(&self) -> u32 {
        self.deferred + self.ready + self.in_flight + self.held
    }

    /// Counts one more.
    pub fn add(&mut self, state: State) {
        *self.of(state) += 1;
    }

    pub(crate) fn of(&mut self, state: State) -> &mut u32 {
        match state {
            State::Deferred => &mut self.deferred,
            State::Ready => &mut self.ready,
            State::InFlight => &mut self.in_flight,
            State::Held => &mut self.held,
        }
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { counts: Counts::default(), ages: Ages::default(), next_due: NEVER }
    }

    pub(crate) fn enter(&mut self, state: State, arrived: Wall) {
        *self.counts.of(state) += 1;
        self.ages.add(arrived);
    }

    pub(crate) fn leave(&mut self, state: State, arrived: Wall) {
        *self.counts.of(state) -= 1;
        self.ages.remove(arrived);
        self.forget_past_due();
    }

    pub(crate) fn change(&mut self, from: State, to: State) {
        *self.counts.of(from) -= 1;
        *self.counts.of(to) += 1;
        self.forget_past_due();
    }

    pub(crate) fn due_at(&mut self, until: Monotonic) {
        self.next_due = self.next_due.min(until);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.deferred += other.counts.deferred;
        self.counts.ready += other.counts.ready;
        self.counts.in_flight += other.counts.in_flight;
        self.counts.held += other.counts.held;
        self.ages.merge(&other.ages);
        self.next_due = self.next_due.min(other.next_due);
    }

    pub(crate) fn unmerge(&mut self, other: &Self) {
        self.counts.deferred -= other.counts.deferred;
        self.counts.ready -= other.counts.ready;
        self.counts.in_flight -= other.counts.in_flight;
        self.counts.held -= other.counts.held;
        self.ages.unmerge(&other.ages);
        self.forget_past_due();
    }

    /// No deferred entry is due before this; `None` when none is deferred. The
    /// entry it was noted for may be gone, so it is a bound, not a promise.
    pub(crate) fn next_due(&self, now: Now) -> Option<Wall> {
        (self.counts.deferred > 0).then(|| now.wall_at(self.next_due))
    }

    fn forget_past_due(&mut self) {
        if self.counts.deferred == 0 {
            self.next_due = NEVER;
        }
    }
}
