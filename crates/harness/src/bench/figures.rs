//! What a load test found, as numbers: the report file, and the arithmetic on
//! it. Everything a page or a comparison shows is computed here.
//!
//! Never rounds before it prints, and keeps every histogram whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::disk::DiskTest;
use super::machine::Machine;
use crate::times::Times;

/// Form of the report file; another number is another form.
pub const FORM: u32 = 1;
/// The target that is no server: the source straight into the sink.
pub const CEILING: &str = "ceiling";

/// A report file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchReport {
    /// [`FORM`].
    pub form: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// Its text, and what was set over it.
    pub plan: String,
    /// Settings over the text.
    pub overrides: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// Version of the program that measured.
    pub version: String,
    /// Commit of the folder it was started in, where that is one.
    pub commit: Option<String>,
    /// What it ran on.
    pub machine: Machine,
    /// What its disk can do.
    pub disk: DiskTest,
    /// All rounds in the order in which they ran.
    pub rounds: Vec<Round>,
}

/// One round of one target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Round {
    /// Who was loaded.
    pub target: String,
    /// Which round of this target, from 1.
    pub number: u32,
    /// How it was configured, as text.
    pub configuration: String,
    /// Messages given a 250.
    pub accepted: u64,
    /// Messages with any other outcome.
    pub failed: u64,
    /// Deliveries promised to healthy sites.
    pub promised: u64,
    /// Deliveries that arrived there.
    pub arrived: u64,
    /// Deliveries promised to faulty sites, and arrived there.
    pub faulty: (u64, u64),
    /// Promised but never arrived, at healthy sites.
    pub missing: u64,
    /// Arrived more than once; each further copy counts.
    pub doubled: u64,
    /// Arrived with another content.
    pub altered: u64,
    /// Arrived without having been promised.
    pub unexpected: u64,
    /// Digest of what was promised, and of what arrived.
    pub digests: (String, String),
    /// From the start to the last 250, in seconds.
    pub accept_seconds: f64,
    /// From the start to the last arrival, in seconds.
    pub seconds: f64,
    /// Bytes that the source sent.
    pub bytes: u64,
    /// What the server used meanwhile; absent for the ceiling.
    pub cost: Option<Cost>,
    /// Time of source and sinks, user and system, in microseconds.
    pub load_cpu: u64,
    /// Times, by [`TIMES`].
    pub times: BTreeMap<String, Times>,
    /// Events over time.
    pub flow: Flow,
    /// What the server used over time.
    pub samples: Vec<Sample>,
    /// Figures of this kind of scenario, by name.
    pub extra: BTreeMap<String, f64>,
    /// Refusals and broken sessions at the source.
    pub troubles: BTreeMap<String, u64>,
}

/// Names of the times of a round, and what they are.
pub const TIMES: [(&str, &str); 5] = [
    ("accept", "MAIL (or when it was due) to 250"),
    ("dot", "final dot to 250"),
    ("queue", "250 to MAIL at the exchanger"),
    ("deliver", "MAIL to final dot at the exchanger"),
    ("whole", "MAIL (or when it was due) to final dot at the exchanger"),
];

/// What a server used in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Time in user mode, in microseconds.
    pub user: u64,
    /// Time in the kernel, in microseconds.
    pub system: u64,
    /// Most memory of its own, without mapped files, in bytes.
    pub anonymous_peak: u64,
    /// Most memory, with mapped files, in bytes.
    pub resident_peak: u64,
    /// Most descriptors.
    pub descriptors_peak: u64,
    /// Bytes that the server had written, by its own account.
    pub written: u64,
    /// Bytes that the disk wrote, for everybody on the machine.
    pub disk_written: Option<u64>,
    /// Flushes that the disk did, for everybody on the machine.
    pub disk_flushes: Option<u64>,
    /// Syncs that the server counted.
    pub syncs: Option<u64>,
    /// System calls of the server, where they were counted.
    pub syscalls: Option<u64>,
}

/// Events over time, in bins of equal length from the start of the round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Length of a bin in milliseconds.
    pub bin: u64,
    /// Messages accepted in each bin.
    pub accepted: Vec<u64>,
    /// Deliveries in each bin.
    pub delivered: Vec<u64>,
}

/// What the server had used at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Milliseconds from the start of the round.
    pub at: u64,
    /// Time in user mode so far, in microseconds.
    pub user: u64,
    /// Time in the kernel so far, in microseconds.
    pub system: u64,
    /// Memory of its own now, in bytes.
    pub anonymous: u64,
    /// All memory now, in bytes.
    pub resident: u64,
    /// Descriptors now.
    pub descriptors: u64,
}

impl Round {
    /// Deliveries to healthy sites per second, from the first byte in to the
    /// last dot out.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.arrived as f64 / self.seconds } else { 0.0 }
    }

    /// Messages accepted per second.
    pub fn accept_rate(&self) -> f64 {
        if self.accept_seconds > 0.0 { self.accepted as f64 / self.accept_seconds } else { 0.0 }
    }

    /// Whether everything promised to healthy sites came once and unaltered,
    /// and nothing else did.
    pub fn is_exactly_once(&self) -> bool {
        [self.missing, self.doubled, self.altered, self.unexpected] == [0; 4]
    }

    /// A sum of the server's, for each message accepted.
    pub fn each(&self, of: impl Fn(&Cost) -> Option<u64>) -> Option<f64> {
        let sum = self.cost.as_ref().and_then(of)?;
        (self.accepted > 0).then(|| sum as f64 / self.accepted as f64)
    }

    /// Microseconds of processor for each message: user, system.
    pub fn cpu(&self) -> Option<(f64, f64)> {
        Some((self.each(|cost| Some(cost.user))?, self.each(|cost| Some(cost.system))?))
    }
}

impl Flow {
    /// Bins `accepted` and `delivered`, nanoseconds from the start.
    pub fn new(accepted: &[u64], delivered: &[u64]) -> Self {
        let last = accepted.iter().chain(delivered).copied().max().unwrap_or(0) / 1_000_000;
        // Some sixty bins, of a length that people say.
        let lengths = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];
        let bin = lengths.into_iter().find(|bin| last / bin <= 75).unwrap_or(300_000);
        let count = (last / bin + 1) as usize;
        let fill = |times: &[u64]| {
            let mut bins = vec![0; if times.is_empty() { 0 } else { count }];
            for time in times {
                bins[(time / 1_000_000 / bin) as usize] += 1;
            }
            bins
        };
        Self { bin, accepted: fill(accepted), delivered: fill(delivered) }
    }
}

/// Least, middle and greatest of some figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The middle one, or the middle of the two in the middle.
    pub middle: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Spread {
    /// Of these figures; none are all zero.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let Some((least, greatest)) = sorted.first().zip(sorted.last()) else {
            return Self::default();
        };
        let half = sorted.len() / 2;
        let middle = match sorted.len() % 2 {
            0 => (sorted[half - 1] + sorted[half]) / 2.0,
            _ => sorted[half],
        };
        Self { least: *least, middle, greatest: *greatest }
    }

    /// How far apart least and greatest lie, as a share of the middle.
    pub fn width(self) -> f64 {
        if self.middle > 0.0 { (self.greatest - self.least) / self.middle } else { 0.0 }
    }

    /// How many times `other` this is: the middle by the middle, and the two
    /// extremes against each other, so that no choice of rounds is outside.
    pub fn over(self, other: Self) -> Self {
        let by = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        Self {
            least: by(self.least, other.greatest),
            middle: by(self.middle, other.middle),
            greatest: by(self.greatest, other.least),
        }
    }
}

/// Growth per second of `values` at `times` in seconds, by least squares; 0
/// where there are fewer than two.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count.max(1.0);
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}

impl BenchReport {
    /// Targets in the order of their first rounds, the ceiling apart.
    pub fn targets(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for round in &self.rounds {
            if round.target != CEILING && !names.contains(&round.target.as_str()) {
                names.push(&round.target);
            }
        }
        names
    }

    /// The rounds of one target.
    pub fn rounds_of<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Round> {
        self.rounds.iter().filter(move |round| round.target == target)
    }

    /// A figure of a target over its rounds; those without it are left out.
    pub fn spread(&self, target: &str, of: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        let figures: Vec<f64> = self.rounds_of(target).filter_map(of).collect();
        (!figures.is_empty()).then(|| Spread::of(figures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_fall_into_bins_of_a_round_length() {
        let seconds = |n: u64| n * 1_000_000_000;
        let flow = Flow::new(&[0, 1, seconds(9)], &[seconds(30)]);
        assert_eq!((flow.bin, flow.accepted.len(), flow.delivered.len()), (500, 61, 61));
        assert_eq!((flow.accepted[0], flow.accepted[18], flow.delivered[60]), (2, 1, 1));
        assert_eq!(flow.accepted.iter().sum::<u64>(), 3);
        assert!(Flow::new(&[], &[]).accepted.is_empty());
        assert_eq!(Flow::new(&[seconds(86_400)], &[]).bin, 300_000);
    }

    #[test]
    fn spreads_have_least_middle_and_greatest() {
        let three = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(three, Spread { least: 1.0, middle: 2.0, greatest: 3.0 });
        assert_eq!(three.width(), 1.0);
        assert_eq!(Spread::of([1.0, 2.0]).middle, 1.5);
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn a_ratio_holds_for_every_choice_of_rounds() {
        let ours = Spread::of([900.0, 1_100.0, 1_000.0]);
        let ratio = ours.over(Spread::of([50.0, 100.0]));
        assert_eq!((ratio.least, ratio.greatest), (9.0, 22.0));
        assert!((ratio.middle - 1_000.0 / 75.0).abs() < 1e-9);
        assert_eq!(ours.over(Spread::default()), Spread::default());
    }

    #[test]
    fn growth_is_found_and_standing_still_too() {
        let line: Vec<(f64, f64)> =
            (0..10).map(|n| (f64::from(n), 5.0 + 2.0 * f64::from(n))).collect();
        assert!((slope(&line) - 2.0).abs() < 1e-9);
        assert_eq!(slope(&[(0.0, 7.0), (1.0, 7.0)]), 0.0);
        assert_eq!((slope(&[]), slope(&[(1.0, 1.0)])), (0.0, 0.0));
    }

    #[test]
    fn figures_for_each_message_come_from_the_whole() {
        let cost = Cost { user: 5_000, system: 3_000, syncs: Some(10), ..Cost::default() };
        let round = Round {
            accepted: 100,
            arrived: 300,
            seconds: 2.0,
            cost: Some(cost),
            ..Round::default()
        };
        assert_eq!(round.cpu(), Some((50.0, 30.0)));
        assert_eq!((round.rate(), round.each(|cost| cost.syncs)), (150.0, Some(0.1)));
        assert_eq!(round.each(|cost| cost.syscalls), None);
        assert_eq!(Round::default().cpu(), None);
        assert!(round.is_exactly_once());
        assert!(!Round { doubled: 1, ..round }.is_exactly_once());
    }
}
