//! Was every promise kept? Holds what the source was promised against what the
//! exchangers took: exactly once each, unaltered, and nothing else.
//!
//! Never guesses: a message without an answer may have arrived or not, and is
//! counted apart.

use std::fmt;

use base::Map;

use crate::sink::{SinkReport, recipient_key};
use crate::source::{Outcome, SourceReport};
use crate::workload::Workload;

/// Examples kept of each kind of failure.
pub const EXAMPLES_MAX: usize = 20;

/// One message to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Number of the message.
    pub number: u64,
    /// The recipient, or the key of one that nobody named.
    pub recipient: String,
}

/// A count with its first examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cases {
    /// How many.
    pub count: u64,
    /// The first [`EXAMPLES_MAX`] of them.
    pub examples: Vec<Case>,
}

/// The outcome of [`verify`]. All counts are of (message, recipient) pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Delivery was promised.
    pub promised: u64,
    /// Promised, and arrived unaltered at least once.
    pub kept: u64,
    /// Promised, and never arrived.
    pub missing: Cases,
    /// Arrived more than once; each further copy counts.
    pub doubled: Cases,
    /// Arrived with another content than was sent.
    pub altered: Cases,
    /// Arrived although refused, never sent, or for a recipient it did not name.
    pub unexpected: Cases,
    /// Arrived without a promise, which is allowed: the answer was lost.
    pub unanswered: u64,
}

/// Compares what was promised with what arrived.
pub fn verify(workload: &Workload, source: &SourceReport, sink: &SinkReport) -> Verdict {
    let mut verdict = Verdict::default();
    let mut arrived: Map<(u64, u64), Copies> = Map::default();
    for arrival in &sink.arrivals {
        let copies = arrived.entry((arrival.number, arrival.recipient)).or_default();
        copies.count += 1;
        copies.altered += u64::from(arrival.altered);
    }
    for record in &source.records {
        let recipients = workload.recipients(record.number);
        for (place, recipient) in recipients.into_iter().enumerate() {
            let refused = record.refused.contains(&(place as u32));
            let promise = if refused { Promise::None } else { Promise::of(record.outcome) };
            let copies = arrived.remove(&(record.number, recipient_key(&recipient)));
            verdict.judge(promise, copies.unwrap_or_default(), record.number, recipient);
        }
    }
    let mut strangers: Vec<_> = arrived.into_iter().collect();
    strangers.sort_unstable_by_key(|(key, _)| *key);
    for ((number, key), copies) in strangers {
        verdict.judge(Promise::None, copies, number, format!("recipient {key:016x}"));
    }
    verdict
}

#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    count: u64,
    altered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Made,
    /// The answer to the final dot was lost.
    Unknown,
    None,
}

impl Promise {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted => Self::Made,
            Outcome::Unanswered => Self::Unknown,
            Outcome::Refused(_) | Outcome::Unsent => Self::None,
        }
    }
}

impl Verdict {
    /// Whether every promise was kept exactly once and nothing else came.
    pub fn is_exactly_once(&self) -> bool {
        let failures =
            [&self.missing, &self.doubled, &self.altered, &self.unexpected].map(|kind| kind.count);
        failures == [0; 4]
    }

    fn judge(&mut self, promise: Promise, copies: Copies, number: u64, recipient: String) {
        self.promised += u64::from(promise == Promise::Made);
        let whole = copies.count - copies.altered;
        match promise {
            Promise::Made if copies.count == 0 => self.missing.add(1, number, &recipient),
            Promise::Made => self.kept += u64::from(whole > 0),
            Promise::Unknown => self.unanswered += u64::from(copies.count > 0),
            Promise::None if copies.count > 0 => self.unexpected.add(1, number, &recipient),
            Promise::None => {}
        }
        self.doubled.add(copies.count.saturating_sub(1), number, &recipient);
        self.altered.add(copies.altered, number, &recipient);
    }
}

impl Cases {
    fn add(&mut self, count: u64, number: u64, recipient: &str) {
        if count > 0 && self.examples.len() < EXAMPLES_MAX {
            self.examples.push(Case { number, recipient: recipient.to_owned() });
        }
        self.count += count;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exactly_once() {
            write!(f, "all {} promised deliveries arrived exactly once, unaltered", self.kept)?;
        } else {
            write!(
                f,
                "of {} promised deliveries: {} missing, {} doubled, {} altered, {} unexpected",
                self.promised,
                self.missing.count,
                self.doubled.count,
                self.altered.count,
                self.unexpected.count
            )?;
        }
        let kinds = [
            ("missing", &self.missing),
            ("doubled", &self.doubled),
            ("altered", &self.altered),
            ("unexpected", &self.unexpected),
        ];
        for (name, kind) in kinds {
            for case in &kind.examples {
                write!(f, "\n  {name}: message {} to {}", case.number, case.recipient)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Arrival;
    use crate::source::Record;
    use std::collections::BTreeMap;
    use std::time::Instant;

    fn record(number: u64, outcome: Outcome) -> Record {
        let now = Instant::now();
        Record { number, began: now, dot_sent: None, ended: now, outcome, refused: Vec::new() }
    }

    fn arrival(number: u64, recipient: &str) -> Arrival {
        let recipient = recipient_key(recipient);
        let now = Instant::now();
        Arrival { number, recipient, began: now, at: now, altered: false }
    }

    fn judge(records: Vec<Record>, arrivals: Vec<Arrival>) -> Verdict {
        let now = Instant::now();
        let source = SourceReport {
            records,
            began: now,
            ended: now,
            connections: 1,
            bytes: 0,
            troubles: BTreeMap::new(),
        };
        let (kept, hosts) = (Vec::new(), Vec::new());
        let sink = SinkReport { arrivals, kept, foreign: 0, hosts, connections: 1, peak: 1 };
        verify(&workload(), &source, &sink)
    }

    fn workload() -> Workload {
        Workload { recipients: 2, ..Workload::new(4, 2, 1) }
    }

    fn both(number: u64) -> [Arrival; 2] {
        let to = workload().recipients(number);
        [arrival(number, &to[0]), arrival(number, &to[1])]
    }

    #[test]
    fn kept_promises_are_exactly_once() {
        let verdict = judge(vec![record(0, Outcome::Accepted)], both(0).to_vec());
        assert!(verdict.is_exactly_once());
        assert_eq!((verdict.promised, verdict.kept), (2, 2));
        assert!(verdict.to_string().contains("all 2 promised deliveries arrived exactly once"));
    }

    #[test]
    fn each_kind_of_failure_is_found_and_named() {
        let accepted = || vec![record(0, Outcome::Accepted)];
        let verdict = judge(accepted(), both(0)[1..].to_vec());
        assert!(!verdict.is_exactly_once());
        assert_eq!(verdict.missing.count, 1);
        assert!(verdict.to_string().contains("missing: message 0 to r0.0@d001.example"));

        let verdict = judge(accepted(), [both(0).to_vec(), both(0).to_vec()].concat());
        assert_eq!((verdict.doubled.count, verdict.is_exactly_once()), (2, false));

        let mut altered = both(0).to_vec();
        altered[0].altered = true;
        let verdict = judge(accepted(), altered);
        assert_eq!((verdict.altered.count, verdict.kept, verdict.is_exactly_once()), (1, 1, false));

        let mut stranger = both(0).to_vec();
        stranger.push(arrival(0, "nobody@d001.example"));
        stranger.push(arrival(77, "r0.0@d001.example"));
        let verdict = judge(accepted(), stranger);
        assert_eq!((verdict.unexpected.count, verdict.is_exactly_once()), (2, false));
    }

    #[test]
    fn only_a_lost_answer_excuses_an_arrival_without_promise() {
        let verdict = judge(vec![record(1, Outcome::Unanswered)], both(1).to_vec());
        assert!(verdict.is_exactly_once());
        assert_eq!((verdict.promised, verdict.unanswered), (0, 2));
        assert!(judge(vec![record(1, Outcome::Unanswered)], Vec::new()).is_exactly_once());
        for outcome in [Outcome::Unsent, Outcome::Refused(450)] {
            let verdict = judge(vec![record(1, outcome)], both(1).to_vec());
            assert_eq!(verdict.unexpected.count, 2);
        }
        let mut refused = record(1, Outcome::Accepted);
        refused.refused.push(0);
        let verdict = judge(vec![refused.clone()], both(1)[1..].to_vec());
        assert!(verdict.is_exactly_once());
        assert_eq!(judge(vec![refused], both(1).to_vec()).unexpected.count, 1);
    }
}
