//! The operator's view: which next hops and sites hold the most mail, how old
//! it is, and what it waits for. Made of counters that are kept as mail moves;
//! no entry is looked at.
//!
//! Approximate where it says so: ages come from the histogram of `ages.rs`,
//! the next attempt is the earliest that is known.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use base::{Monotonic, Now, Wall};

use crate::destination::{Destination, Resolution};
use crate::list::member;
use crate::queue::Queue;
use crate::site::{Health, Pause, Site};
use crate::tally::{Counts, Tally};

/// Columns of the age table.
pub const AGE_COLUMNS: usize = 10;
/// Upper bounds of the columns in minutes; the last column has none.
pub const AGE_BOUNDS_MINUTES: [u32; AGE_COLUMNS - 1] = [5, 10, 20, 40, 80, 160, 320, 640, 1_280];

/// What a next hop or site waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No ready mail, so nobody asked where it is.
    Unknown,
    /// Its look-up is under way.
    LookingUp,
    /// Its look-up failed and is tried again then.
    LookupFailed(Wall),
    /// It does not exist; its mail is on its way back.
    Rejected,
    /// Nothing but its turn.
    Up,
    /// It does not answer; one connection tries again then.
    Down(Wall),
    /// One connection finds out whether it is back.
    Probing,
    /// A rate, until then, or a permit.
    Paused(Option<Wall>),
}

/// One line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the site, or of the next hop.
    pub name: Arc<str>,
    /// The route, of a next hop.
    pub route: Option<u32>,
    /// Entries by state.
    pub counts: Counts,
    /// Entries by age, see [`AGE_BOUNDS_MINUTES`].
    pub ages: [u32; AGE_COLUMNS],
    /// Arrival of the oldest; approximate, never too late.
    pub oldest: Option<Wall>,
    /// No attempt before this; the present when mail is ready, `None` when
    /// nothing waits for a time.
    pub next_attempt: Option<Wall>,
    /// What it waits for.
    pub status: Status,
    /// Why mail last had to wait.
    pub reason: Option<Arc<str>>,
}

impl Queue {
    /// The `rows_max` next hops with the most mail, most first.
    pub fn top_destinations(&self, now: Now, rows_max: usize) -> Vec<Row> {
        let sizes = self
            .destinations
            .iter()
            .map(|(key, destination)| (destination.tally.counts.total(), Reverse(key.index())));
        let row = |index| self.destination_row(now, member(&self.destinations, index));
        largest(sizes, rows_max).into_iter().map(row).collect()
    }

    /// The `rows_max` sites with the most mail, most first; next hops without a
    /// site stand among them under their own names.
    pub fn top_sites(&self, now: Now, rows_max: usize) -> Vec<Row> {
        let sites = self
            .sites
            .iter()
            .map(|(key, site)| (site.tally.counts.total(), Reverse((true, key.index()))));
        let astray = self.destinations.iter().filter(|(_, at)| at.site().is_none()).map(
            |(key, destination)| (destination.tally.counts.total(), Reverse((false, key.index()))),
        );
        let row = |(is_site, index)| {
            if is_site {
                site_row(now, member(&self.sites, index))
            } else {
                self.destination_row(now, member(&self.destinations, index))
            }
        };
        largest(sites.chain(astray), rows_max).into_iter().map(row).collect()
    }

    fn destination_row(&self, now: Now, destination: &Destination) -> Row {
        let status = match destination.resolution {
            Resolution::At { site, .. } => site_status(now, member(&self.sites, site)),
            Resolution::Unresolved if !destination.has_ready() => Status::Unknown,
            Resolution::Unresolved | Resolution::Resolving => Status::LookingUp,
            Resolution::Failed { until, .. } => Status::LookupFailed(now.wall_at(until)),
            Resolution::Rejected => Status::Rejected,
        };
        let name = Arc::clone(&destination.hop.name);
        let reason = destination.reason.clone();
        row(now, name, Some(destination.hop.route), &destination.tally, status, reason)
    }
}

fn site_row(now: Now, site: &Site) -> Row {
    let status = site_status(now, site);
    row(now, Arc::clone(&site.name), None, &site.tally, status, site.reason.clone())
}

fn site_status(now: Now, site: &Site) -> Status {
    let wall = |at: Monotonic| now.wall_at(at);
    match (site.health, site.pause) {
        (Health::Down, _) => Status::Down(site.down_until().map_or(now.wall, wall)),
        (_, Pause::Until(until)) => Status::Paused(Some(wall(until))),
        (_, Pause::ForPermits) => Status::Paused(None),
        (Health::Probing, Pause::No) => Status::Probing,
        (Health::Up, Pause::No) => Status::Up,
    }
}

fn row(
    now: Now,
    name: Arc<str>,
    route: Option<u32>,
    tally: &Tally,
    status: Status,
    reason: Option<Arc<str>>,
) -> Row {
    let mut ages = [0; AGE_COLUMNS];
    for cell in tally.ages.cells() {
        let arrived = Wall::from_millis(u64::from(cell.from) * 1_000);
        let minutes = now.wall.since(arrived).as_secs() / 60;
        let column = AGE_BOUNDS_MINUTES.partition_point(|bound| u64::from(*bound) <= minutes);
        ages[column] += cell.count;
    }
    let due = tally.next_due(now);
    let ready = (tally.counts.ready > 0).then_some(match status {
        Status::Down(until) | Status::LookupFailed(until) | Status::Paused(Some(until)) => until,
        _ => now.wall,
    });
    Row {
        name,
        route,
        counts: tally.counts,
        ages,
        oldest: tally.ages.oldest(),
        next_attempt: ready.into_iter().chain(due).min(),
        status,
        reason,
    }
}

/// The members with the largest counts, largest first, lower slots before
/// higher ones; those without entries are left out.
fn largest<M: Ord + Copy>(
    members: impl Iterator<Item = (u32, Reverse<M>)>,
    rows_max: usize,
) -> Vec<M> {
    let mut kept = BinaryHeap::new();
    for (count, slot) in members {
        if count == 0 {
            continue;
        }
        kept.push(Reverse((count, slot)));
        if kept.len() > rows_max {
            kept.pop();
        }
    }
    kept.into_sorted_vec().into_iter().map(|Reverse((_, Reverse(slot)))| slot).collect()
}
