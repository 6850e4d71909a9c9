//! How fast waiting mail goes once nothing but its turn keeps it: by what the
//! site takes, by what its rate allows, and only while the windows of its way
//! are open. Plain numbers.

use std::time::Duration;

use base::Wall;
use control::Timetable;

/// Windows that one forecast looks through.
const WINDOWS_MAX: usize = 200;
/// Connections with which a site begins that was down (`queue`'s window).
const AT_ONCE_BACK: f64 = 2.0;

/// How fast mail of a site goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed {
    /// What a transaction takes; zero where nobody knows.
    pub(crate) service: Duration,
    /// Transactions at once; at least 1.
    pub(crate) at_once: u32,
    /// From one transaction to the next, as it goes just now.
    pub(crate) paced: Option<Duration>,
    /// From one to the next by the rate.
    pub(crate) rated: Option<Duration>,
}

impl Speed {
    /// From one transaction to the next.
    pub(crate) fn each(&self) -> Duration {
        let shown = self.paced.unwrap_or(self.service / self.at_once.max(1));
        shown.max(self.rated.unwrap_or_default())
    }

    /// The same for a site that has been down, once so many are done: it gets
    /// one connection more for each round of all it has.
    pub(crate) fn each_back(&self, done: f64) -> Duration {
        let twice = 2.0 * AT_ONCE_BACK - 1.0;
        let window = ((1.0 + (twice * twice + 8.0 * done).sqrt()) / 2.0).floor();
        let at_once = window.clamp(1.0, f64::from(self.at_once.max(1)));
        self.service.div_f64(at_once).max(self.rated.unwrap_or_default())
    }

    /// How long `ahead` transactions hold up the one behind them where nothing
    /// is under way; others, of other shards, take turns with each.
    pub(crate) fn behind_at_rest(&self, ahead: u64, others: &[u32]) -> Duration {
        let places = contended(ahead, others);
        let rounds = times(self.service, places / u64::from(self.at_once.max(1)));
        rounds.max(times(self.rated.unwrap_or_default(), places))
    }
}

/// Transactions before the one behind `ahead` others, with those of other
/// queues which take turns with them, as long as they last.
pub(crate) fn contended(ahead: u64, others: &[u32]) -> u64 {
    ahead + others.iter().map(|other| u64::from(*other).min(ahead)).sum::<u64>()
}

/// The windows of a way, as far as they were looked for; without a table it is
/// always open.
#[derive(Clone, Debug)]
pub(crate) struct Windows<'a> {
    table: Option<&'a Timetable>,
    /// Those found, in order: when each opens and closes.
    open: Vec<(Wall, Wall)>,
    /// Where to look for the next one; none where there is none.
    next: Option<Wall>,
}

impl<'a> Windows<'a> {
    /// All windows from a moment on.
    pub(crate) fn new(table: Option<&'a Timetable>, from: Wall) -> Self {
        Self { table, open: Vec::new(), next: Some(from) }
    }

    /// When work of this length is done that begins at `from` and goes on only
    /// while windows are open; `None` where that is never, or too far.
    pub(crate) fn through(&mut self, from: Wall, work: Duration) -> Option<Wall> {
        let Some(table) = self.table else { return Some(from + work) };
        let (mut at, mut left) = (from, work);
        for place in 0..WINDOWS_MAX {
            if place == self.open.len() {
                self.find_one(table)?;
            }
            let (opens, closes) = self.open[place];
            if closes <= at {
                continue;
            }
            at = at.max(opens);
            let open = closes.since(at);
            if left < open {
                return Some(at + left);
            }
            (at, left) = (closes, left - open);
        }
        None
    }

    fn find_one(&mut self, table: &Timetable) -> Option<()> {
        let from = self.next.take()?;
        let opens = if table.is_open(from) { from } else { table.changes(from)? };
        self.next = table.changes(opens);
        self.open.push((opens, self.next.unwrap_or(Wall::from_millis(u64::MAX))));
        Some(())
    }
}

pub(crate) fn times(span: Duration, count: u64) -> Duration {
    let ms = span.as_micros().saturating_mul(u128::from(count)) / 1_000;
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_767_225_600_000);

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn the_slower_of_site_and_rate_counts() {
        let site = Speed { service: s(8), at_once: 4, paced: None, rated: None };
        assert_eq!(site.each(), s(2));
        assert_eq!(Speed { paced: Some(s(3)), ..site }.each(), s(3));
        assert_eq!(Speed { rated: Some(s(5)), ..site }.each(), s(5));
        assert_eq!(site.behind_at_rest(3, &[]), s(0), "four go at once");
        assert_eq!(site.behind_at_rest(9, &[]), s(16));
        assert_eq!(site.behind_at_rest(4, &[1, 100]), s(16), "nine go before it");
        assert_eq!(site.each_back(0.0), s(4), "two at once");
        assert_eq!(site.each_back(1e6), s(2), "never more than it may have");
    }

    #[test]
    fn work_goes_on_in_the_next_window() {
        let text = "[delivery]\nschedule = { zone = \"UTC\", windows = [\"02:00-03:00\"] }\n";
        let machine = mail::Domain::parse("box.example").unwrap();
        let policy = control::Config::parse(text, &machine).unwrap().policy;
        let table = policy.ways()[0].schedule.as_deref();
        let done = |from: u64, work: u64| {
            let done = Windows::new(table, NOW).through(NOW + s(from), s(work));
            done.map(|at| at.since(NOW).as_secs())
        };
        assert_eq!(done(0, 0), Some(7_200));
        assert_eq!(done(0, 600), Some(7_800));
        assert_eq!(done(9_000, 1_800), Some(26 * 3_600), "the rest of the window is not enough");
        assert_eq!(done(9_000, 1_799), Some(10_799));
        assert_eq!(done(0, 365 * 86_400), None, "too far");
        let mut windows = Windows::new(table, NOW);
        let days: Vec<_> = (0..5).map(|n| windows.through(NOW + s(n * 86_400), s(1))).collect();
        assert!(days.iter().all(Option::is_some) && windows.open.len() == 5, "each is found once");
        assert_eq!(Windows::new(None, NOW).through(NOW, s(5)), Some(NOW + s(5)));
    }
}
