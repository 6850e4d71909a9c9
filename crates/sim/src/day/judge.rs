//! What was said of waiting mail, what came of it, and how far the two are
//! apart.
//!
//! An error is the distance between the moment that was said and the one that
//! came, as a part of the wait from the question on; a wait below
//! [`WAIT_MIN`] counts as that long, so that 2 s are as good as 10 %. A wait
//! that nobody has to be told of, 2 s or less both said and in truth, is left
//! out.
//!
//! Never asks. Invariant: what was said is judged once, when the day is over.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base::Wall;
use mail::Timestamp;
use serde_json::Value;

/// Of a shorter wait an error is reckoned as of one of this length.
const WAIT_MIN: Duration = Duration::from_secs(20);
/// Waits that are no waits.
const NO_WAIT: Duration = Duration::from_secs(2);

/// One message, as the log tells of it.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Its domain, by number.
    pub(super) target: usize,
    /// When attempts for it began.
    pub(super) tries: Vec<Wall>,
    /// When it was gone: delivered, returned, expired.
    pub(super) end: Option<Wall>,
    /// Since when it is ready; none while an attempt is under way.
    pub(super) ready: Option<Wall>,
}

/// What a forecast is about.
#[derive(Clone, Debug)]
pub(super) enum About {
    /// The next attempt for a message.
    Try(String),
    /// The next connection to a host that was down.
    Dial([u8; 4]),
    /// The next look-up of a domain that could not be looked up.
    LookUp(String),
    /// The next attempts for all these, which are ready.
    Tried(Vec<String>),
    /// The end of all these.
    Drained(Vec<String>),
}

/// A forecast.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) asked: Wall,
    pub(super) cause: String,
    /// Nothing: nobody can say.
    pub(super) when: Option<Wall>,
    pub(super) about: About,
}

/// What came of forecasts of one kind.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// Parts of the wait, ascending.
    parts: Vec<f64>,
    /// Waits of which nothing was said.
    pub unsaid: usize,
}

/// All errors of a day, by what the mail waited for when it was asked about.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages that came.
    pub messages: usize,
    /// Next attempts of messages.
    pub tries: BTreeMap<String, Errors>,
    /// The last attempts for all that was ready in queues.
    pub ready: BTreeMap<String, Errors>,
    /// Ends of queues.
    pub drains: BTreeMap<String, Errors>,
}

impl Errors {
    /// How many were judged.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The error that so many of a hundred do not pass.
    pub fn percentile(&self, percent: usize) -> f64 {
        let last = self.parts.len().saturating_sub(1);
        self.parts.get((last * percent + 50) / 100).copied().unwrap_or_default()
    }

    fn add(&mut self, part: f64) {
        let at = self.parts.partition_point(|other| *other < part);
        self.parts.insert(at, part);
    }

    /// All of these together.
    pub fn of_all<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for errors in all {
            sum.unsaid += errors.unsaid;
            errors.parts.iter().for_each(|part| sum.add(*part));
        }
        sum
    }
}

impl Report {
    /// Whether half of all forecasts of each kind are off by less than a tenth of
    /// the wait.
    pub fn holds(&self) -> bool {
        let tables = [&self.tries, &self.ready, &self.drains];
        tables.into_iter().all(|table| {
            let errors = Errors::of_all(table.values());
            !errors.is_empty() && errors.percentile(50) < 0.1
        })
    }

    /// Puts one forecast next to what came; nothing came within the replay of
    /// some, which are left out.
    pub(super) fn judge(&mut self, said: &Said, came: Option<Wall>) {
        let Some(came) = came else { return };
        let wait = came.since(said.asked);
        let spoken = said.when.map(|when| when.since(said.asked));
        if wait <= NO_WAIT && spoken.is_none_or(|spoken| spoken <= NO_WAIT) {
            return;
        }
        let table = match said.about {
            About::Try(_) | About::Dial(_) | About::LookUp(_) => &mut self.tries,
            About::Tried(_) => &mut self.ready,
            About::Drained(_) => &mut self.drains,
        };
        let errors = table.entry(said.cause.clone()).or_default();
        match spoken {
            Some(spoken) => {
                let off = spoken.abs_diff(wait);
                errors.add(off.as_secs_f64() / wait.max(WAIT_MIN).as_secs_f64());
            }
            None => errors.unsaid += 1,
        }
    }
}

/// The table as documents have it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| Forecast | Cause | Samples | Median | p90 | Unsaid |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        let tables =
            [("next attempt", &self.tries), ("all tried", &self.ready), ("empty", &self.drains)];
        for (what, table) in tables {
            let sum = Errors::of_all(table.values());
            let rows = table.iter().map(|(cause, errors)| (&**cause, errors));
            for (cause, errors) in rows.chain([("all", &sum)]) {
                let percent = |of| format!("{:.1} %", 100.0 * errors.percentile(of));
                let (median, most) = (percent(50), percent(90));
                let (samples, unsaid) = (errors.len(), errors.unsaid);
                writeln!(f, "| {what} | {cause} | {samples} | {median} | {most} | {unsaid} |")?;
            }
        }
        Ok(())
    }
}

/// A time as answers have it.
pub(super) fn time(text: &Value) -> Option<Wall> {
    Timestamp::parse(text.as_str()?.as_bytes()).map(|Timestamp(at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(cause: &str, when: Option<u64>) -> Said {
        let at = |s: u64| Wall::from_millis(1_000_000 + 1_000 * s);
        let about = About::Try("a".into());
        Said { asked: at(0), cause: cause.into(), when: when.map(at), about }
    }

    #[test]
    fn an_error_is_a_part_of_the_wait_and_two_seconds_are_ten_percent() {
        let came = |s: u64| Some(Wall::from_millis(1_000_000 + 1_000 * s));
        let mut report = Report::default();
        report.judge(&said("rate", Some(90)), came(100));
        report.judge(&said("rate", Some(7)), came(5));
        report.judge(&said("rate", Some(300)), came(100));
        report.judge(&said("rate", None), came(100));
        report.judge(&said("rate", Some(1)), came(2));
        report.judge(&said("turn", Some(9)), None);
        let errors = &report.tries["rate"];
        assert_eq!((errors.len(), errors.unsaid), (3, 1), "what is no wait is left out");
        let shown: Vec<u64> =
            errors.parts.iter().map(|part| (100.0 * part).round() as u64).collect();
        assert_eq!(shown, [10, 10, 200]);
        assert!(!report.tries.contains_key("turn"), "nothing came of it");
        assert!((errors.percentile(50) - 0.1).abs() < 1e-9 && errors.percentile(90) > 1.9);
        assert!(report.to_string().contains("| next attempt | rate | 3 | 10.0 % |"), "{report}");
    }
}
