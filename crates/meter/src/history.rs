//! The last hours and days as points: what came in each step of ten seconds
//! and in each of five minutes, for plots. In memory only.
//!
//! Invariant: at most [`FINE_MAX`] and [`COARSE_MAX`] points, 2 MiB with what
//! the steps under way began with; a point appears when its step is over, and a
//! step that nobody looked at has none.

use std::collections::VecDeque;

use base::Wall;

use crate::counters::Counters;
use crate::latency::{Latencies, Stage};
use crate::reading::Reading;

/// Points of ten seconds: six hours.
pub const FINE_MAX: usize = 2_160;
/// Points of five minutes: seven days.
pub const COARSE_MAX: usize = 2_016;

/// How fine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ten seconds.
    #[default]
    Fine,
    /// Five minutes.
    Coarse,
}

impl Step {
    /// Its length in milliseconds.
    pub const fn millis(self) -> u64 {
        match self {
            Self::Fine => 10_000,
            Self::Coarse => 300_000,
        }
    }
}

/// Stages that points tell percentiles of.
pub const SHOWN: [Stage; 3] = [Stage::Accept, Stage::Deliver, Stage::EndToEnd];

/// What came in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// When the step began, a multiple of its length.
    pub at: Wall,
    /// Messages taken.
    pub accepted: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Recipients put off.
    pub deferred: u64,
    /// Recipients failed for good.
    pub bounced: u64,
    /// Recipients given up for age or attempts.
    pub expired: u64,
    /// Recipients that waited at its end.
    pub queued: u64,
    /// Half took no longer, 99 in 100 took no longer, in microseconds, of each
    /// of [`SHOWN`] that happened at all.
    pub latencies: [Option<(u64, u64)>; SHOWN.len()],
}

/// Points of both steps.
#[derive(Clone, Debug, Default)]
pub struct History {
    fine: Series,
    coarse: Series,
}

/// Points of one step, and where the one under way began.
#[derive(Clone, Debug, Default)]
struct Series {
    points: VecDeque<Point>,
    open: Option<Begun>,
}

/// The state at the begin of a step.
#[derive(Clone, Debug)]
struct Begun {
    at: Wall,
    counters: Counters,
    latencies: Latencies,
}

impl History {
    /// Takes a reading in, best right after a step's end. What was counted
    /// between two readings counts for the step of the earlier one.
    pub fn note(&mut self, now: Wall, reading: &Reading, queued: u64) {
        self.fine.note(Step::Fine.millis(), FINE_MAX, now, reading, queued);
        self.coarse.note(Step::Coarse.millis(), COARSE_MAX, now, reading, queued);
    }

    /// The points that began after `since`, oldest first.
    pub fn points(&self, step: Step, since: Option<Wall>) -> impl Iterator<Item = &Point> {
        let series = match step {
            Step::Fine => &self.fine,
            Step::Coarse => &self.coarse,
        };
        series.points.iter().filter(move |point| since.is_none_or(|since| point.at > since))
    }
}

impl Series {
    fn note(&mut self, step: u64, points_max: usize, now: Wall, reading: &Reading, queued: u64) {
        let at = Wall::from_millis(now.as_millis() / step * step);
        match &self.open {
            Some(open) if open.at == at => return,
            // A clock that was set back begins anew: a plot has one value at a
            // time.
            Some(open) if open.at < at => self.points.push_back(open.until(reading, queued)),
            Some(_) => self.points.retain(|point| point.at < at),
            None => {}
        }
        if self.points.len() > points_max {
            self.points.pop_front();
        }
        let (counters, latencies) = (reading.counters.clone(), reading.latencies.clone());
        self.open = Some(Begun { at, counters, latencies });
    }
}

impl Begun {
    fn until(&self, reading: &Reading, queued: u64) -> Point {
        let (now, before) = (&reading.counters, &self.counters);
        Point {
            at: self.at,
            accepted: now.messages_accepted.saturating_sub(before.messages_accepted),
            delivered: now.delivered.saturating_sub(before.delivered),
            deferred: now.deferred.saturating_sub(before.deferred),
            bounced: now.failed.saturating_sub(before.failed),
            expired: now.expired.saturating_sub(before.expired),
            queued,
            latencies: SHOWN.map(|stage| {
                let times = reading.latencies.of(stage).since(self.latencies.of(stage));
                times.permille(500).zip(times.permille(990))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_795_000_200_000;

    /// A daemon that takes a message each second, with a wait as long as the
    /// seconds passed.
    fn reading(second: u64) -> Reading {
        let mut reading = Reading::default();
        reading.counters.messages_accepted = second;
        reading.counters.delivered = second / 2;
        (0..second).for_each(|n| reading.latencies.record(Stage::Accept, n));
        reading
    }

    #[test]
    fn a_point_tells_what_came_in_its_step_and_no_more() {
        let mut history = History::default();
        for second in 0..=30 {
            history.note(Wall::from_millis(START + second * 1_000), &reading(second), second);
        }
        let points: Vec<Point> = history.points(Step::Fine, None).copied().collect();
        assert_eq!(points.len(), 3);
        assert_eq!(points[1].at, Wall::from_millis(START + 10_000));
        assert_eq!((points[1].accepted, points[1].delivered, points[1].queued), (10, 5, 20));
        assert_eq!(points[1].latencies, [Some((14, 19)), None, None]);
        let last = history.points(Step::Fine, Some(points[1].at)).collect::<Vec<_>>();
        assert_eq!(last, [&points[2]]);
        assert_eq!(history.points(Step::Coarse, None).count(), 0, "it is not over");
        let after = Wall::from_millis(START + 300_000);
        history.note(after, &reading(40), 3);
        let coarse: Vec<_> = history.points(Step::Coarse, None).collect();
        assert_eq!((coarse.len(), coarse[0].accepted, coarse[0].queued), (1, 40, 3));
        assert_eq!(coarse[0].latencies[0], Some((19, 39)));
        // Nobody looked between: one point holds it all, the others are missing.
        let fine: Vec<_> = history.points(Step::Fine, Some(points[2].at)).collect();
        assert_eq!((fine.len(), fine[0].accepted), (1, 10));
    }

    #[test]
    fn points_are_bounded_and_a_clock_set_back_has_one_value_at_a_time() {
        let mut history = History::default();
        let end = 3 * COARSE_MAX as u64;
        let now = |step: u64| Wall::from_millis(START + step * Step::Coarse.millis());
        for step in 0..end {
            history.note(now(step), &Reading::default(), 0);
        }
        assert_eq!(history.points(Step::Fine, None).count(), FINE_MAX);
        assert_eq!(history.points(Step::Coarse, None).count(), COARSE_MAX);
        let places = history.fine.points.capacity() + history.coarse.points.capacity();
        let readings = 2 * crate::STAGES.len() * crate::histogram::BYTES_MAX;
        let bytes = size_of::<Point>() * places + readings;
        assert!(bytes <= 2 << 20, "{bytes}");
        history.note(now(end - 5), &Reading::default(), 0);
        history.note(now(end), &Reading::default(), 0);
        let times: Vec<_> = history.points(Step::Coarse, None).map(|point| point.at).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(times.last(), Some(&now(end - 5)));
    }
}
