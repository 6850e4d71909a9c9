//! Both ends of a round put together: what was promised, what arrived, and how
//! long each step took.
//!
//! Never counts a delivery twice, and keeps faulty sites apart: their mail says
//! nothing about how healthy sites were served.

use std::collections::BTreeSet;

use base::Map;

use super::figures::{Flow, Round};
use super::plan::Plan;
use crate::arrivals::Row;
use crate::clock::Clock;
use crate::sink::recipient_key;
use crate::source::{Outcome, Record, SourceReport};
use crate::summary::Sum;
use crate::times::Gathering;
use crate::workload::Workload;

/// One delivery that may happen.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// Place of its message's record.
    record: usize,
    is_healthy: bool,
    /// Whether a 250 stands for it; a lost answer does not.
    is_promised: bool,
    copies: u64,
}

/// Fills in everything of `round` that follows from both ends.
pub fn join(round: &mut Round, plan: &Plan, sent: &SourceReport, rows: &[Row], has_sites: bool) {
    let (workload, clock) = (plan.workload(), Clock::new());
    let sick: BTreeSet<u32> = match has_sites {
        true => plan.faulty().into_iter().flatten().collect(),
        false => BTreeSet::new(),
    };
    let mut expected = expect(round, plan, &workload, sent, &sick);
    let began = clock.at(sent.began);
    let mut delivered = Vec::with_capacity(rows.len());
    let (mut queue, mut deliver, mut whole) =
        (Gathering::new(), Gathering::new(), Gathering::new());
    let mut arrived = Sum::default();
    let mut last = began;
    for row in rows {
        let Some(one) = expected.get_mut(&(row.number, row.recipient)) else {
            round.unexpected += 1;
            continue;
        };
        one.copies += 1;
        round.doubled += u64::from(one.copies > 1);
        round.altered += u64::from(row.altered);
        if !one.is_healthy {
            round.faulty.1 += u64::from(one.copies == 1);
            continue;
        }
        round.arrived += 1;
        last = last.max(row.at);
        delivered.push(row.at.saturating_sub(began));
        if one.is_promised && !row.altered {
            arrived.add(row.number, row.recipient);
        }
        let record = &sent.records[one.record];
        queue.between(clock.at(record.ended), row.began);
        deliver.between(row.began, row.at);
        whole.between(clock.at(record.began), row.at);
    }
    let lost = |one: &&Expected| one.is_promised && one.is_healthy && one.copies == 0;
    round.missing = expected.values().filter(lost).count() as u64;
    round.digests.1 = arrived.text();
    round.seconds = (last - began) as f64 / 1e9;
    let accepted = incoming(round, sent, &clock, began);
    round.flow = Flow::new(&accepted, &delivered);
    for (name, times) in [("queue", queue), ("deliver", deliver), ("whole", whole)] {
        round.times.insert(name.to_owned(), times.times());
    }
}

/// Every delivery that may happen; fills in what was promised.
fn expect(
    round: &mut Round,
    plan: &Plan,
    workload: &Workload,
    sent: &SourceReport,
    sick: &BTreeSet<u32>,
) -> Map<(u64, u64), Expected> {
    let world = plan.world();
    let mut promised = Sum::default();
    let mut expected = Map::default();
    for (place, record) in sent.records.iter().enumerate() {
        let is_promised = record.outcome == Outcome::Accepted;
        if !is_promised && record.outcome != Outcome::Unanswered {
            continue;
        }
        for (at, recipient) in workload.recipients(record.number).iter().enumerate() {
            if record.refused.contains(&(at as u32)) {
                continue;
            }
            let key = recipient_key(recipient);
            let is_healthy = sick.is_empty()
                || domain_of(recipient).is_none_or(|domain| !sick.contains(&world.site_of(domain)));
            if is_promised && is_healthy {
                promised.add(record.number, key);
            } else if is_promised {
                round.faulty.0 += 1;
            }
            let one = Expected { record: place, is_healthy, is_promised, copies: 0 };
            expected.insert((record.number, key), one);
        }
    }
    round.promised = promised.count;
    round.digests.0 = promised.text();
    expected
}

/// The source's side; when each message was accepted, from the start.
fn incoming(round: &mut Round, sent: &SourceReport, clock: &Clock, began: u64) -> Vec<u64> {
    let (mut accept, mut dot, mut times) = (Gathering::new(), Gathering::new(), Vec::new());
    let accepted = |record: &&Record| record.outcome == Outcome::Accepted;
    for record in sent.records.iter().filter(accepted) {
        accept.add(record.ended.saturating_duration_since(record.began));
        if let Some(sent) = record.dot_sent {
            dot.add(record.ended.saturating_duration_since(sent));
        }
        times.push(clock.at(record.ended).saturating_sub(began));
    }
    round.accepted = times.len() as u64;
    round.failed = sent.records.len() as u64 - round.accepted;
    round.accept_seconds = times.iter().copied().max().unwrap_or(0) as f64 / 1e9;
    round.bytes = sent.bytes;
    round.troubles.clone_from(&sent.troubles);
    round.times.insert("accept".to_owned(), accept.times());
    round.times.insert("dot".to_owned(), dot.times());
    times
}

/// The number of a recipient's domain, from 0.
fn domain_of(recipient: &str) -> Option<u32> {
    let (_, domain) = recipient.rsplit_once('@')?;
    let number = domain.strip_prefix('d')?.strip_suffix(".example")?;
    number.parse::<u32>().ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    const PLAN: &str = "way = \"mx\"\nmessages = 10\ndomains = 10\nsites = 10\n\
                        fault = [{ percent = 10, rule = \"dot drop\" }]";

    /// Ten messages a millisecond apart, each accepted after five.
    fn sent(began: Instant) -> SourceReport {
        let at = |ms| began + Duration::from_millis(ms);
        let record = |number| Record {
            number,
            began: at(number),
            dot_sent: Some(at(number + 2)),
            ended: at(number + 5),
            outcome: if number == 9 { Outcome::Refused(451) } else { Outcome::Accepted },
            refused: Vec::new(),
        };
        SourceReport {
            records: (0..10).map(record).collect(),
            began,
            ended: at(20),
            connections: 1,
            bytes: 1_000,
            troubles: BTreeMap::new(),
        }
    }

    fn row(plan: &Plan, began: u64, number: u64) -> Row {
        let recipient = recipient_key(&plan.workload().recipients(number)[0]);
        let at = |ms: u64| began + (number + ms) * 1_000_000;
        Row { number, recipient, began: at(7), at: at(8), altered: false }
    }

    fn joined(change: impl Fn(&mut Vec<Row>)) -> Round {
        let plan = Plan::parse(PLAN, &[]).unwrap();
        let began = Instant::now();
        let start = Clock::new().at(began);
        let mut rows: Vec<Row> = (0..9).map(|number| row(&plan, start, number)).collect();
        change(&mut rows);
        let mut round = Round::default();
        join(&mut round, &plan, &sent(began), &rows, true);
        round
    }

    #[test]
    fn both_ends_add_up_and_each_step_is_timed() {
        let round = joined(|_| {});
        assert_eq!((round.accepted, round.failed), (9, 1));
        assert_eq!((round.promised, round.arrived, round.faulty), (8, 8, (1, 1)));
        assert!(round.is_exactly_once());
        assert_eq!(round.digests.0, round.digests.1);
        let near = |name: &str, micros: u64| {
            let times = &round.times[name];
            assert!(times.p50.abs_diff(micros) < micros / 10, "{name}: {times:?}");
        };
        near("accept", 5_000);
        near("dot", 3_000);
        near("queue", 2_000);
        near("deliver", 1_000);
        near("whole", 8_000);
        assert_eq!(round.flow.accepted.iter().sum::<u64>(), 9);
        assert_eq!(round.flow.delivered.iter().sum::<u64>(), 8);
    }

    #[test]
    fn what_was_lost_doubled_altered_or_never_promised_is_counted() {
        let lost = joined(|rows| {
            rows.remove(0);
        });
        assert_eq!(lost.missing, 1);
        assert_ne!(lost.digests.0, lost.digests.1);
        let doubled = joined(|rows| rows.push(rows[0]));
        assert_eq!(doubled.doubled, 1);
        assert_ne!(doubled.digests.0, doubled.digests.1);
        assert_eq!(joined(|rows| rows[1].altered = true).altered, 1);
        assert_eq!(joined(|rows| rows[1].recipient ^= 1).unexpected, 1);
    }

    #[test]
    fn a_recipient_tells_its_domain() {
        assert_eq!(domain_of("r1.0@d001.example"), Some(0));
        assert_eq!(domain_of("r1.0@d10000.example"), Some(9_999));
        assert_eq!(domain_of("r1.0@d000.example"), None);
        assert_eq!(domain_of("nobody"), None);
    }
}
