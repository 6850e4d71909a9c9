//! Statistics: what became of recipients by domain, site, route and source, and
//! of everything by day. Shards count what comes between two takings
//! ([`Traffic`]); one book ([`Statistics`]) adds takings up, is stored, and
//! goes on with what it was after a start.
//!
//! Bounds: [`NAMES_MAX`] names of each kind and the rest as one, [`DAYS_MAX`]
//! days; about 2 MiB at most with names of usual length.

mod file;

use std::collections::BTreeMap;

use base::Wall;

use crate::counters::Counters;
use crate::tally::{Outcome, Table, Tally};

pub use file::Damaged;

/// Names of one kind that are told apart.
pub const NAMES_MAX: usize = 2_048;
/// Days that are kept.
pub const DAYS_MAX: usize = 400;
const DAY_MS: u64 = 86_400_000;

/// What names stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Domains of recipients.
    Domain,
    /// Destinations that share their exchangers or relay hosts.
    Site,
    /// Routes; the default way is `default`.
    Route,
    /// Ways out; the machine's choice is `default`.
    Source,
}

/// Kinds of names, in the order of their tables.
pub const KINDS: [Kind; 4] = [Kind::Domain, Kind::Site, Kind::Route, Kind::Source];

impl Kind {
    /// What it is called, in requests and in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Site => "site",
            Self::Route => "route",
            Self::Source => "source",
        }
    }
}

/// What became of recipients, by each kind of name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    tables: [Table; KINDS.len()],
}

impl Traffic {
    /// Nothing; `seed` is secret to the run.
    pub fn new(seed: u64) -> Self {
        Self { tables: KINDS.map(|kind| Table::new(NAMES_MAX, seed ^ kind as u64)) }
    }

    /// One more recipient, by one kind of name.
    pub fn count(&mut self, kind: Kind, name: &str, outcome: Outcome) {
        self.tables[kind as usize].count(name, outcome);
    }

    /// Those of one kind.
    pub fn of(&self, kind: Kind) -> &Table {
        &self.tables[kind as usize]
    }

    /// Adds what was counted since, at `hour` hours after 1970.
    pub fn absorb(&mut self, since: &Self, hour: u32) {
        for (own, more) in self.tables.iter_mut().zip(&since.tables) {
            own.absorb(more, hour);
        }
    }
}

/// What came of one day, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Messages taken.
    pub accepted: u64,
    /// Their octets as received.
    pub bytes: u64,
    /// What became of recipients.
    pub tally: Tally,
}

/// The book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// When counting began.
    pub since: Wall,
    days: BTreeMap<u32, Day>,
    traffic: Traffic,
}

impl Statistics {
    /// Counting begins now.
    pub fn new(since: Wall, seed: u64) -> Self {
        Self { since, days: BTreeMap::new(), traffic: Traffic::new(seed) }
    }

    /// Adds what was counted since the last time: names, and how far all
    /// counters came from `before` to `after`.
    pub fn absorb(&mut self, now: Wall, since: &Traffic, before: &Counters, after: &Counters) {
        self.traffic.absorb(since, hour_of(now).0);
        let day = self.days.entry(day_of(now)).or_default();
        let came = |now: u64, before: u64| now.saturating_sub(before);
        day.accepted += came(after.messages_accepted, before.messages_accepted);
        day.bytes += came(after.bytes_accepted, before.bytes_accepted);
        day.tally.add(&Tally::new([
            came(after.delivered, before.delivered),
            came(after.deferred, before.deferred),
            came(after.failed, before.failed),
            came(after.expired, before.expired),
            came(after.removed, before.removed),
        ]));
        while self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
    }

    /// Names with their counts.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Days since 1970 with what came of them, the latest first.
    pub fn days(&self) -> impl Iterator<Item = (u32, &Day)> {
        self.days.iter().rev().map(|(day, of)| (*day, of))
    }
}

/// The hour since 1970, and the seconds into it.
pub fn hour_of(at: Wall) -> (u32, u32) {
    let seconds = at.as_millis() / 1_000;
    (u32::try_from(seconds / 3_600).unwrap_or(u32::MAX), (seconds % 3_600) as u32)
}

/// The day since 1970.
fn day_of(at: Wall) -> u32 {
    u32::try_from(at.as_millis() / DAY_MS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_fill_by_what_counters_gained_and_the_oldest_go() {
        let mut book = Statistics::new(Wall::from_millis(0), 3);
        let traffic = Traffic::new(1);
        let mut before = Counters::default();
        for day in 0..DAYS_MAX as u64 + 5 {
            let after =
                Counters { delivered: before.delivered + day, messages_accepted: 9, ..before };
            book.absorb(Wall::from_millis(day * DAY_MS + 5), &traffic, &before, &after);
            before = after;
        }
        assert_eq!(book.days().count(), DAYS_MAX);
        let (day, last) = book.days().next().unwrap();
        assert_eq!(u64::from(day), DAYS_MAX as u64 + 4);
        assert_eq!(last.tally.of(Outcome::Delivered), u64::from(day));
        assert_eq!(last.accepted, 0, "a counter that stands adds nothing");
        // A daemon that began anew has smaller counters: nothing is taken back.
        book.absorb(Wall::from_millis(DAY_MS * 404), &traffic, &before, &Counters::default());
        assert_eq!(book.days().next().unwrap().1.tally.of(Outcome::Delivered), 404);
    }

    #[test]
    fn each_kind_of_name_has_a_table_of_its_own() {
        let mut traffic = Traffic::new(0);
        for (at, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            (0..=at).for_each(|_| traffic.count(kind, "same", Outcome::Delivered));
        }
        let mut book = Traffic::new(5);
        book.absorb(&traffic, 1);
        let counts = KINDS.map(|kind| book.of(kind).rows()[0].tally.total());
        assert_eq!(counts, [1, 2, 3, 4]);
    }
}
