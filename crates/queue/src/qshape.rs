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

use crate::destination::{Destination, DestinationKey, Resolution};
use crate::list::member;
use crate::queue::Queue;
use crate::site::{Halt, Health, Pause, Site};
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
    /// An operator, until then or until further notice.
    Suspended(Option<Wall>),
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
    /// What is known of a site; none for a next hop.
    pub site: Option<AtSite>,
}

/// How a site has fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtSite {
    /// Connections it may have.
    pub limit: u32,
    /// Since when none of its hosts would do, if so.
    pub failing_since: Option<Wall>,
    /// Recipients that it has taken in the last ten minutes.
    pub delivered: u32,
    /// Recipients that it has refused for good in that time.
    pub failed: u32,
}

/// Where mail waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// As [`Queue::top_sites`] gives them.
    pub sites: Vec<Row>,
    /// As [`Queue::top_destinations`] gives them.
    pub destinations: Vec<Row>,
    /// Arrival of the oldest of all; approximate, never too late.
    pub oldest: Option<Wall>,
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
        let row = |place| self.place_row(now, place);
        largest(sites.chain(astray), rows_max).into_iter().map(row).collect()
    }

    /// The sites with mail, next hops without a site among them, and with
    /// `idle` the sites that are known without any; in no certain order.
    pub fn all_sites(&self, now: Now, idle: bool) -> Vec<Row> {
        let wanted = |counts: Counts| idle || counts.total() > 0;
        let sites = self.sites.iter().filter(|(_, site)| wanted(site.tally.counts));
        let astray = self.destinations.iter().map(|(_, at)| at);
        let astray = astray.filter(|at| at.site().is_none() && at.tally.counts.total() > 0);
        let sites = sites.map(|(_, site)| self.site_row(now, site));
        sites.chain(astray.map(|at| self.destination_row(now, at))).collect()
    }

    /// The line of a site, or of a next hop without one.
    fn place_row(&self, now: Now, (is_site, index): (bool, u32)) -> Row {
        if is_site {
            self.site_row(now, member(&self.sites, index))
        } else {
            self.destination_row(now, member(&self.destinations, index))
        }
    }

    /// Both tables, and the oldest entry of all, by one look at each next hop.
    pub fn overview(&self, now: Now, rows_max: usize) -> Overview {
        let (mut hops, mut places) = (Largest::new(rows_max), Largest::new(rows_max));
        let mut oldest: Option<Wall> = None;
        for (key, at) in self.destinations.iter() {
            let count = at.tally.counts.total();
            if count == 0 {
                continue;
            }
            hops.offer(count, Reverse(key.index()));
            if at.site().is_none() {
                places.offer(count, Reverse((false, key.index())));
            }
            oldest = oldest.into_iter().chain(at.tally.ages.oldest()).min();
        }
        for (key, site) in self.sites.iter() {
            places.offer(site.tally.counts.total(), Reverse((true, key.index())));
        }
        let steady = self.steady(now);
        let hop = |index| self.destination_row(now, member(&self.destinations, index));
        Overview {
            sites: places.into_iter().map(|place| self.place_row(now, place)).collect(),
            destinations: hops.into_iter().map(hop).collect(),
            oldest: oldest.map(|arrived| now.wall - steady.since(arrived)),
        }
    }

    /// The line of one next hop, unless it is gone.
    pub fn row_of(&self, now: Now, key: DestinationKey) -> Option<Row> {
        Some(self.destination_row(now, self.destinations.get(key.0)?))
    }

    fn destination_row(&self, now: Now, destination: &Destination) -> Row {
        let status = match destination.resolution {
            Resolution::At { site, .. } => site_status(now, member(&self.sites, site)),
            Resolution::Unresolved if !destination.has_ready() => Status::Unknown,
            Resolution::Unresolved | Resolution::Resolving => Status::LookingUp,
            Resolution::Failed { until, .. } => Status::LookupFailed(now.wall_at(until)),
            Resolution::Rejected => Status::Rejected,
            Resolution::Suspended { until } => Status::Suspended(until),
        };
        let name = Arc::clone(&destination.hop.name);
        // What keeps the site is not told to each of its destinations.
        let at_site = match (&destination.resolution, status) {
            (Resolution::At { site, .. }, Status::Down(_) | Status::Probing) => {
                member(&self.sites, *site).reason.clone()
            }
            _ => None,
        };
        let reason = at_site.or_else(|| destination.reason.clone());
        let clocks = (now, self.steady(now));
        row(clocks, name, Some(destination.hop.route), &destination.tally, status, reason)
    }

    fn site_row(&self, now: Now, site: &Site) -> Row {
        let status = site_status(now, site);
        let clocks = (now, self.steady(now));
        let name = Arc::clone(&site.name);
        let [delivered, failed] = site.lately.sums(now.mono);
        let at_site = AtSite {
            limit: site.window.limit(),
            failing_since: site.failing_since.map(|since| now.wall - now.mono.since(since)),
            delivered,
            failed,
        };
        let row = row(clocks, name, None, &site.tally, status, site.reason.clone());
        Row { site: Some(at_site), ..row }
    }
}

pub(crate) fn site_status(now: Now, site: &Site) -> Status {
    let wall = |at: Monotonic| now.wall_at(at);
    if let Halt::Until(until) = site.halt {
        return Status::Suspended(until);
    }
    match (site.health, site.pause) {
        (Health::Down, _) => Status::Down(site.down_until().map_or(now.wall, wall)),
        (_, Pause::Until(until)) => Status::Paused(Some(wall(until))),
        (_, Pause::ForPermits) => Status::Paused(None),
        (Health::Probing, Pause::No) => Status::Probing,
        (Health::Up, Pause::No) => Status::Up,
    }
}

/// `steady` is the present on the clock that arrivals are kept on.
pub(crate) fn row(
    (now, steady): (Now, Wall),
    name: Arc<str>,
    route: Option<u32>,
    tally: &Tally,
    status: Status,
    reason: Option<Arc<str>>,
) -> Row {
    let mut ages = [0; AGE_COLUMNS];
    for cell in tally.ages.cells() {
        let arrived = Wall::from_millis(u64::from(cell.from) * 1_000);
        let minutes = steady.since(arrived).as_secs() / 60;
        let column = AGE_BOUNDS_MINUTES.partition_point(|bound| u64::from(*bound) <= minutes);
        ages[column] += cell.count;
    }
    let due = tally.next_due(now);
    let ready = match status {
        Status::Down(until) | Status::LookupFailed(until) | Status::Paused(Some(until)) => {
            Some(until)
        }
        Status::Suspended(until) => until,
        _ => Some(now.wall),
    };
    let ready = ready.filter(|_| tally.counts.ready > 0);
    Row {
        name,
        route,
        counts: tally.counts,
        ages,
        oldest: tally.ages.oldest().map(|arrived| now.wall - steady.since(arrived)),
        next_attempt: ready.into_iter().chain(due).min(),
        status,
        reason,
        site: None,
    }
}

/// The members with the largest counts, largest first, lower slots before
/// higher ones; those without entries are left out.
fn largest<M: Ord + Copy>(
    members: impl Iterator<Item = (u32, Reverse<M>)>,
    rows_max: usize,
) -> Vec<M> {
    let mut kept = Largest::new(rows_max);
    members.for_each(|(count, slot)| kept.offer(count, slot));
    kept.into_iter().collect()
}

/// See [`largest`].
struct Largest<M> {
    rows_max: usize,
    kept: BinaryHeap<Reverse<(u32, Reverse<M>)>>,
}

impl<M: Ord + Copy> Largest<M> {
    fn new(rows_max: usize) -> Self {
        Self { rows_max, kept: BinaryHeap::new() }
    }

    fn offer(&mut self, count: u32, slot: Reverse<M>) {
        if count == 0 {
            return;
        }
        self.kept.push(Reverse((count, slot)));
        if self.kept.len() > self.rows_max {
            self.kept.pop();
        }
    }

    fn into_iter(self) -> impl Iterator<Item = M> {
        self.kept.into_sorted_vec().into_iter().map(|Reverse((_, Reverse(slot)))| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{HOUR, SECOND, Story, hop};
    use crate::{Ended, Phase, When, Work};

    #[test]
    fn the_tables_name_who_holds_the_mail_and_what_it_waits_for() {
        let mut story = Story::new();
        story.mails("a.example", 3);
        story.mails("b.example", 2);
        let site = story.connections("shared", 20)[0];
        (0..4).for_each(|_| story.queue.connection_closed(site, Phase::Dispatched));
        let down_until = story.mono_in(HOUR);
        story.queue.connection_closed(site, Phase::Dispatched);
        story.queue.site_failed(story.now.mono, site, down_until, "connection refused");
        story.mails("lame.example", 4);
        let [Work::Resolve(lame)] = story.work()[..] else { panic!() };
        story.queue.resolve_failed(lame, story.mono_in(60 * SECOND), "SERVFAIL");
        story.mail("new.example");

        let now = story.now;
        let rows = story.queue.top_sites(now, 20);
        let names: Vec<_> = rows.iter().map(|row| (&*row.name, row.counts.total())).collect();
        assert_eq!(names, [("shared", 5), ("lame.example", 4), ("new.example", 1)]);
        assert_eq!(rows[0].status, Status::Down(story.wall_in(HOUR)));
        assert_eq!(rows[0].next_attempt, Some(story.wall_in(HOUR)));
        assert_eq!(rows[0].reason.as_deref(), Some("connection refused"));
        let failing = AtSite { limit: 20, failing_since: Some(now.wall), ..AtSite::default() };
        assert_eq!((rows[0].site, rows[1].site), (Some(failing), None));
        assert_eq!(rows[1].status, Status::LookupFailed(story.wall_in(60 * SECOND)));
        assert_eq!(rows[1].reason.as_deref(), Some("SERVFAIL"));
        assert_eq!((rows[2].status, rows[2].next_attempt), (Status::LookingUp, Some(now.wall)));
        let rows = story.queue.top_destinations(now, 2);
        let names: Vec<_> = rows.iter().map(|row| &*row.name).collect();
        assert_eq!(names, ["lame.example", "a.example"]);
        assert_eq!(rows[1].status, Status::Down(story.wall_in(HOUR)));
        assert_eq!(rows[1].reason.as_deref(), Some("connection refused"));
        assert_eq!(story.queue.top_sites(now, 0), []);
        for rows_max in [0, 1, 2, 20] {
            let whole = story.queue.overview(now, rows_max);
            assert_eq!(whole.sites, story.queue.top_sites(now, rows_max));
            assert_eq!(whole.destinations, story.queue.top_destinations(now, rows_max));
        }
    }

    /// A site without mail is told of where those are asked for, with what it
    /// took of late; a failure is told of until the site takes mail again.
    #[test]
    fn a_site_tells_how_it_has_fared() {
        let mut story = Story::new();
        let entries = story.mails("a.example", 2);
        let site = story.connections("site", 7)[0];
        let began = story.now.wall;
        story.queue.connection_closed(site, Phase::Dispatched);
        story.queue.site_failed(story.now.mono, site, story.mono_in(SECOND), "refused");
        story.after(5 * SECOND);
        story.queue.site_failed(story.now.mono, site, story.mono_in(SECOND), "refused");
        let row = story.queue.all_sites(story.now, false).remove(0);
        assert_eq!(row.site.and_then(|site| site.failing_since), Some(began));
        story.queue.site_succeeded(site);
        for (entry, ended) in entries.into_iter().zip([Ended::Delivered, Ended::Failed]) {
            story.queue.done(entry);
            story.queue.site_ended(story.now.mono, site, ended);
        }
        assert_eq!(story.queue.all_sites(story.now, false), []);
        let row = story.queue.all_sites(story.now, true).remove(0);
        let fared = AtSite { limit: 7, failing_since: None, delivered: 1, failed: 1 };
        assert_eq!((row.site, row.counts.total()), (Some(fared), 0));
    }

    /// Shows: A39
    #[test]
    fn ages_move_through_the_columns_and_deferrals_are_told() {
        let mut story = Story::new();
        let keys = story.mails("a.example", 2);
        let arrived = story.now.wall;
        let site = story.connections("site", 20)[0];
        story.take(site, Phase::Dispatched);
        story.defer(keys[0], 5 * HOUR);
        let row = story.queue.top_sites(story.now, 1).remove(0);
        assert_eq!((row.ages[0], row.ages.iter().sum::<u32>()), (2, 2));
        for (minutes, column) in [(4, 0), (1, 1), (5, 2), (10, 3), (20, 4), (240, 6)] {
            story.after(minutes * 60 * SECOND);
            let row = story.queue.top_sites(story.now, 1).remove(0);
            assert_eq!(row.ages[column], 2, "{minutes}");
        }
        story.mail("a.example");
        let row = story.queue.top_sites(story.now, 1).remove(0);
        assert_eq!((row.ages[0], row.ages[6], row.ages.iter().sum::<u32>()), (1, 2, 3));
        let oldest = row.oldest.unwrap();
        assert_eq!(story.queue.overview(story.now, 1).oldest, row.oldest);
        assert!(oldest <= arrived && arrived.since(oldest).as_secs() < 1);
        assert_eq!(row.reason.as_deref(), Some("try later"));
        story.queue.hold(keys[1]);
        let row = story.queue.top_sites(story.now, 1).remove(0);
        assert_eq!(row.counts, Counts { held: 1, deferred: 1, ready: 1, in_flight: 0 });
    }

    #[test]
    fn no_attempt_is_promised_before_the_first_deferral_ends() {
        let mut story = Story::new();
        for hours in [3, 2, 7] {
            let new = story.new_mail();
            story.put("a.example", &new, When::At(story.wall_in(hours * HOUR)));
        }
        let row = story.queue.top_destinations(story.now, 1).remove(0);
        assert_eq!(row.next_attempt, Some(story.wall_in(2 * HOUR)));
        assert_eq!((row.status, row.route), (Status::Unknown, Some(0)));
        let key = story.queue.find_destination(hop("a.example")).unwrap();
        story.resolve(key, "site", 1);
        let site = story.queue.top_sites(story.now, 1).remove(0);
        assert_eq!((site.next_attempt, site.status), (row.next_attempt, Status::Up));
    }
}
