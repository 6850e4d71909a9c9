//! What one end of a load saw, as JSON: for `ringpost bench source` and `bench
//! sink`, whose other end may be any server on any of the test machines.
//!
//! Invariant: the `digest` of a source is that of the sink exactly when every
//! accepted delivery arrived once, unaltered, and nothing else did. It is a sum
//! and so does not depend on the order.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

use crate::message::digest;
use crate::sink::{SinkReport, recipient_key};
use crate::source::{Outcome, SourceReport};
use crate::times::{Gathering, Times};
use crate::workload::Workload;

/// What a source saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// Messages begun.
    pub messages: u64,
    /// Messages given a 250.
    pub accepted: u64,
    /// Deliveries promised: accepted messages times recipients not refused.
    pub promised: u64,
    /// Messages with any other outcome.
    pub failed: u64,
    /// Bytes written, commands included.
    pub bytes: u64,
    /// Connections opened.
    pub connections: u64,
    /// From the start to the last 250.
    pub seconds: f64,
    /// Messages accepted per second.
    pub rate: f64,
    /// Of what was promised.
    pub digest: String,
    /// From MAIL, or from when the message was due, to the 250; microseconds.
    pub accept: Times,
    /// From the final dot to the 250; microseconds.
    pub dot: Times,
    /// Refusals and broken sessions by their text.
    pub troubles: BTreeMap<String, u64>,
}

/// What a sink saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkSummary {
    /// Deliveries of a source's messages, message times recipient.
    pub arrived: u64,
    /// Of these, with another content than was sent.
    pub altered: u64,
    /// Messages that no source of ours sent.
    pub foreign: u64,
    /// Connections taken.
    pub connections: u64,
    /// Most connections open at one time.
    pub peak: u64,
    /// From the first arrival to the last.
    pub seconds: f64,
    /// Arrivals per second between the first and the last.
    pub rate: f64,
    /// Of what arrived unaltered.
    pub digest: String,
    /// From MAIL to the final dot; microseconds.
    pub deliver: Times,
    /// By address: connections, most open at one time, messages, and when the
    /// first and the last one came, in milliseconds from the first of all.
    pub hosts: Vec<HostSummary>,
}

/// What one exchanger saw; those that saw nothing are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostSummary {
    /// Its address.
    pub address: String,
    /// Connections taken.
    pub connections: u64,
    /// Most open at one time.
    pub peak: u64,
    /// Messages taken.
    pub messages: u64,
    /// First seen, in milliseconds behind the first message of all; absent
    /// where no message came.
    pub first_ms: Option<f64>,
    /// Last seen, likewise.
    pub last_ms: Option<f64>,
}

impl SourceSummary {
    /// Sums up what `report` says of `workload`.
    pub fn new(workload: &Workload, report: &SourceReport) -> Self {
        let (mut accept, mut dot) = (Gathering::new(), Gathering::new());
        let (mut last, mut sum) = (report.began, Sum::default());
        for record in report.records.iter().filter(|one| one.outcome == Outcome::Accepted) {
            accept.add(record.ended.saturating_duration_since(record.began));
            if let Some(sent) = record.dot_sent {
                dot.add(record.ended.saturating_duration_since(sent));
            }
            last = last.max(record.ended);
            for (place, to) in workload.recipients(record.number).iter().enumerate() {
                if !record.refused.contains(&(place as u32)) {
                    sum.add(record.number, recipient_key(to));
                }
            }
        }
        let accepted = report.count(Outcome::Accepted);
        let seconds = last.duration_since(report.began).as_secs_f64();
        Self {
            messages: report.records.len() as u64,
            accepted,
            promised: sum.count,
            failed: report.records.len() as u64 - accepted,
            bytes: report.bytes,
            connections: report.connections,
            seconds,
            rate: per_second(accepted, seconds),
            digest: sum.text(),
            accept: accept.times(),
            dot: dot.times(),
            troubles: report.troubles.clone(),
        }
    }
}

impl SinkSummary {
    /// Sums up what `report` says.
    pub fn new(report: &SinkReport) -> Self {
        let (mut deliver, mut sum) = (Gathering::new(), Sum::default());
        for arrival in &report.arrivals {
            deliver.add(arrival.at.saturating_duration_since(arrival.began));
            if !arrival.altered {
                sum.add(arrival.number, arrival.recipient);
            }
        }
        let first = report.hosts.iter().filter_map(|host| host.seen).map(|seen| seen.0).min();
        let last = report.hosts.iter().filter_map(|host| host.seen).map(|seen| seen.1).max();
        let millis = |at: Instant| {
            first.map_or(0.0, |first| at.saturating_duration_since(first).as_secs_f64() * 1e3)
        };
        let seconds = last.map_or(0.0, millis) / 1e3;
        let hosts = report.hosts.iter().filter(|host| host.connections > 0);
        Self {
            arrived: report.arrivals.len() as u64,
            altered: report.arrivals.len() as u64 - sum.count,
            foreign: report.foreign,
            connections: report.connections,
            peak: report.peak,
            seconds,
            rate: per_second(report.arrivals.len() as u64, seconds),
            digest: sum.text(),
            deliver: deliver.times(),
            hosts: hosts
                .map(|host| HostSummary {
                    address: host.address.to_string(),
                    connections: host.connections,
                    peak: host.peak,
                    messages: host.messages,
                    first_ms: host.seen.map(|seen| millis(seen.0)),
                    last_ms: host.seen.map(|seen| millis(seen.1)),
                })
                .collect(),
        }
    }
}

/// A digest of deliveries that does not depend on their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    sum: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, number: u64, recipient: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(digest(number, &recipient.to_le_bytes(), b""));
    }

    pub(crate) fn text(self) -> String {
        format!("{:016x}", self.sum)
    }
}

/// A rate; 0 where no time has passed.
pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Fault, SinkSettings, Sinks};
    use crate::source::{Source, SourceSettings};

    fn both(fault: Option<Fault>) -> (SourceSummary, SinkSummary) {
        let workload = Workload { recipients: 3, ..Workload::new(200, 10, 1) };
        let sinks = Sinks::start(SinkSettings { fault, ..SinkSettings::default() }).unwrap();
        let sent = Source::run(sinks.first(), &workload, SourceSettings::default()).unwrap();
        (SourceSummary::new(&workload, &sent), SinkSummary::new(&sinks.report()))
    }

    #[test]
    fn both_ends_have_one_digest_when_all_arrived() {
        let (source, sink) = both(None);
        assert_eq!((source.accepted, source.promised, sink.arrived), (200, 600, 600));
        assert_eq!((source.failed, sink.altered, sink.foreign), (0, 0, 0));
        assert_eq!(source.digest, sink.digest);
        assert_eq!((source.accept.count, source.dot.count, sink.deliver.count), (200, 200, 600));
        assert!(source.dot.max <= source.accept.max);
        let host = &sink.hosts[0];
        assert_eq!((host.messages, host.first_ms), (200, Some(0.0)));
        assert!(host.last_ms.unwrap() / 1e3 <= sink.seconds + 1e-9);
    }

    #[test]
    fn the_digest_tells_of_every_fault() {
        for fault in [Fault::Lose(3), Fault::Double(3), Fault::Alter(3)] {
            let (source, sink) = both(Some(fault));
            assert_ne!(source.digest, sink.digest, "{fault:?}");
        }
    }
}
