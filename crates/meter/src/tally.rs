//! What became of recipients, counted by name, for as many names as there is
//! room for and the rest as one.
//!
//! Invariant: names and rest together count everything, exactly. Which names
//! are told apart is decided as space-saving does it: a newcomer takes the
//! place of a name that counts little and inherits its weight, so that a name
//! that often counts cannot be pushed out by many that rarely do. Instead of the
//! very least of all names, which would have to be kept in order at each count,
//! the least of a few neighbours goes, each neighbourhood in its turn.
//!
//! Read first: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent
//! and top-k elements in data streams" (2005).

use std::sync::Arc;

use base::{Map, map};

/// Names among which the least goes.
const NEIGHBOURS: usize = 8;
/// Longest name that is kept, in octets; a longer one is cut.
pub const NAME_BYTES_MAX: usize = 255;

/// What became of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken by a next hop.
    Delivered,
    /// Put off to a later attempt.
    Deferred,
    /// Failed for good.
    Failed,
    /// Given up for age or attempts.
    Expired,
    /// Removed by an operator.
    Removed,
}

/// Outcomes, in the order of their counts.
pub const OUTCOMES: [Outcome; 5] =
    [Outcome::Delivered, Outcome::Deferred, Outcome::Failed, Outcome::Expired, Outcome::Removed];

impl Outcome {
    /// What it is called, in answers, files and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Removed => "removed",
        }
    }
}

/// Recipients by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; OUTCOMES.len()]);

impl Tally {
    /// As many of each, in the order of [`OUTCOMES`].
    pub fn new(counts: [u64; OUTCOMES.len()]) -> Self {
        Self(counts)
    }

    /// One more.
    pub fn count(&mut self, outcome: Outcome) {
        let slot = &mut self.0[outcome as usize];
        *slot = slot.saturating_add(1);
    }

    /// Those of one outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            *own = own.saturating_add(more);
        }
    }
}

/// Tallies by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    rows: Vec<Row>,
    places: Map<Arc<str>, u32>,
    rest: Tally,
    rows_max: usize,
    /// The neighbourhood whose turn it is.
    hand: usize,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name.
    pub name: Arc<str>,
    /// What became of its recipients since it is told apart.
    pub tally: Tally,
    /// What was counted in its place before; so much at most is missing of its
    /// own.
    pub inherited: u64,
    /// Recipients in an hour and in the one before.
    lately: [u64; 2],
    /// That hour, since 1970.
    hour: u32,
}

impl Table {
    /// Room for so many names, strangers' among them; `seed` is secret to the
    /// run.
    pub fn new(rows_max: usize, seed: u64) -> Self {
        let places = map::seeded(seed);
        Self { rows: Vec::new(), places, rest: Tally::default(), rows_max, hand: 0 }
    }

    /// One more of a name.
    pub fn count(&mut self, name: &str, outcome: Outcome) {
        self.row(name).tally.count(outcome);
    }

    /// Names that are told apart, in no certain order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// All other names together.
    pub fn rest(&self) -> &Tally {
        &self.rest
    }

    /// Adds what counts for no name of its own.
    pub fn add_rest(&mut self, tally: &Tally) {
        self.rest.add(tally);
    }

    /// Puts a name back that was kept.
    pub fn restore(&mut self, name: &str, tally: &Tally, inherited: u64) {
        let row = self.row(name);
        row.tally.add(tally);
        row.inherited = row.inherited.saturating_add(inherited);
    }

    /// Adds what was counted since, at `hour` hours after 1970.
    pub fn absorb(&mut self, since: &Self, hour: u32) {
        self.rest.add(&since.rest);
        for one in &since.rows {
            let row = self.row(&one.name);
            row.tally.add(&one.tally);
            row.turn_to(hour);
            row.lately[0] = row.lately[0].saturating_add(one.tally.total());
        }
    }

    /// The row of a name that is told apart.
    pub fn get(&self, name: &str) -> Option<&Row> {
        Some(&self.rows[*self.places.get(cut(name))? as usize])
    }

    /// The names with the most of late, most first; those with none are left
    /// out.
    pub fn busiest(&self, rows_max: usize, hour: u32) -> Vec<&Row> {
        let rates = self.rows.iter().map(|row| (row.per_hour(hour, 0), row));
        let mut rows: Vec<(u64, &Row)> = rates.filter(|(rate, _)| *rate > 0).collect();
        rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
        rows.truncate(rows_max);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The names that count most, most first; of equals in their own order.
    pub fn largest(&self, rows_max: usize) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| {
            b.tally.total().cmp(&a.tally.total()).then_with(|| a.name.cmp(&b.name))
        });
        rows.truncate(rows_max);
        rows
    }

    /// The row of a name; a new one where there is none, in the place of
    /// another where there is no room.
    fn row(&mut self, name: &str) -> &mut Row {
        let name = cut(name);
        if let Some(at) = self.places.get(name) {
            return &mut self.rows[*at as usize];
        }
        let mut row = Row::new(name);
        let at = if self.rows.len() < self.rows_max { self.rows.len() } else { self.least() };
        self.places.insert(row.name.clone(), at as u32);
        match self.rows.get_mut(at) {
            Some(place) => {
                self.rest.add(&place.tally);
                self.places.remove(&place.name);
                row.inherited = place.weight();
                *place = row;
            }
            None => self.rows.push(row),
        }
        &mut self.rows[at]
    }

    /// The least of the neighbours whose turn it is.
    fn least(&mut self) -> usize {
        let first = self.hand;
        let last = (first + NEIGHBOURS).min(self.rows.len());
        self.hand = if last == self.rows.len() { 0 } else { last };
        let least = (first..last).min_by_key(|at| self.rows[*at].weight());
        least.expect("a table has room for a name")
    }
}

impl Row {
    fn new(name: &str) -> Self {
        let (tally, lately) = (Tally::default(), [0; 2]);
        Self { name: name.into(), tally, inherited: 0, lately, hour: 0 }
    }

    /// Recipients in the hour that ends `seconds` into the present one, as if
    /// those of the hour before had come evenly.
    pub fn per_hour(&self, hour: u32, seconds: u32) -> u64 {
        let mut row = self.clone();
        row.turn_to(hour);
        let left = u128::from(3_600 - seconds.min(3_600));
        let before = u128::from(row.lately[1]) * left / 3_600;
        row.lately[0].saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }

    /// What speaks for keeping it.
    fn weight(&self) -> u64 {
        self.tally.total().saturating_add(self.inherited)
    }

    fn turn_to(&mut self, hour: u32) {
        match hour.checked_sub(self.hour) {
            // A clock that was set back does not bring an hour back.
            Some(0) | None => return,
            Some(1) => self.lately = [0, self.lately[0]],
            Some(_) => self.lately = [0; 2],
        }
        self.hour = hour;
    }
}

/// A name without what is too long of it.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
