//! What a run was worth: rates and latencies, as numbers and as lines of text.
//!
//! Never rounds a number before it is printed. Histograms keep three digits.

use hdrhistogram::Histogram;

use base::Map;

use crate::sink::SinkReport;
use crate::source::{Outcome, SourceReport};

/// Longest time a histogram tells apart, in microseconds: one hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// Times of many events, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Events.
    pub count: u64,
    /// Half took no longer.
    pub p50: u64,
    /// 90 in 100 took no longer.
    pub p90: u64,
    /// 99 in 100 took no longer.
    pub p99: u64,
    /// 999 in 1 000 took no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// One run, from the first byte in to the last byte out.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Messages that were given a 250.
    pub accepted: u64,
    /// Messages with any other outcome.
    pub failed: u64,
    /// Deliveries at the exchangers, message times recipient.
    pub arrived: u64,
    /// Seconds from the start of the source to its last 250.
    pub accept_seconds: f64,
    /// Seconds from the start of the source to the last arrival.
    pub arrive_seconds: f64,
    /// Bytes that the source wrote.
    pub bytes: u64,
    /// Connections of the source.
    pub connections_in: u64,
    /// Connections at the exchangers.
    pub connections_out: u64,
    /// First byte of a message to its 250.
    pub accept: Latency,
    /// First byte of a message to its final dot at the exchanger.
    pub delivery: Latency,
    /// The 250 of a message to its final dot at the exchanger; 0 where the dot
    /// came first.
    pub queueing: Latency,
}

impl Report {
    /// Puts both ends of a run together.
    pub fn new(source: &SourceReport, sink: &SinkReport) -> Self {
        let mut accept = times();
        let mut by_number = Map::default();
        let mut last_accepted = source.began;
        for record in &source.records {
            by_number.insert(record.number, record);
            if record.outcome == Outcome::Accepted {
                add(&mut accept, record.ended.duration_since(record.began));
                last_accepted = last_accepted.max(record.ended);
            }
        }
        let mut delivery = times();
        let mut queueing = times();
        let mut last_arrived = source.began;
        for arrival in &sink.arrivals {
            last_arrived = last_arrived.max(arrival.at);
            if let Some(record) = by_number.get(&arrival.number) {
                add(&mut delivery, arrival.at.saturating_duration_since(record.began));
                add(&mut queueing, arrival.at.saturating_duration_since(record.ended));
            }
        }
        let accepted = source.count(Outcome::Accepted);
        Self {
            accepted,
            failed: source.records.len() as u64 - accepted,
            arrived: sink.arrivals.len() as u64,
            accept_seconds: last_accepted.duration_since(source.began).as_secs_f64(),
            arrive_seconds: last_arrived.duration_since(source.began).as_secs_f64(),
            bytes: source.bytes,
            connections_in: source.connections,
            connections_out: sink.connections,
            accept: Latency::of(&accept),
            delivery: Latency::of(&delivery),
            queueing: Latency::of(&queueing),
        }
    }

    /// Messages accepted per second; 0 when nothing was.
    pub fn accept_rate(&self) -> f64 {
        rate(self.accepted, self.accept_seconds)
    }

    /// Deliveries per second; 0 when nothing arrived.
    pub fn delivery_rate(&self) -> f64 {
        rate(self.arrived, self.arrive_seconds)
    }

    /// The report as lines of text, without line ends.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "accepted   {:>9} messages in {:.2} s  {:>8.0}/s  {} connections",
                self.accepted,
                self.accept_seconds,
                self.accept_rate(),
                self.connections_in
            ),
            format!(
                "delivered  {:>9} messages in {:.2} s  {:>8.0}/s  {} connections",
                self.arrived,
                self.arrive_seconds,
                self.delivery_rate(),
                self.connections_out
            ),
        ];
        if self.failed > 0 {
            lines.push(format!("not accepted {:>7} messages", self.failed));
        }
        let latencies = [
            ("first byte to 250", self.accept),
            ("250 to delivery", self.queueing),
            ("first byte to delivery", self.delivery),
        ];
        lines.extend(latencies.map(|(name, latency)| format!("{name:<22}  {latency}")));
        lines
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        write!(
            f,
            "p50 {:.1} ms  p90 {:.1} ms  p99 {:.1} ms  p99.9 {:.1} ms  max {:.1} ms",
            ms(self.p50),
            ms(self.p90),
            ms(self.p99),
            ms(self.p999),
            ms(self.max)
        )
    }
}

fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("these bounds are valid")
}

fn add(histogram: &mut Histogram<u64>, span: std::time::Duration) {
    histogram.saturating_record(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Arrival;
    use crate::source::Record;
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    fn run(arrivals: u64) -> Report {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let record = |number: u64| Record {
            number,
            began: at(number),
            dot_sent: None,
            ended: at(number + 10),
            outcome: if number < 100 { Outcome::Accepted } else { Outcome::Refused(451) },
            refused: Vec::new(),
        };
        let source = SourceReport {
            records: (0..110).map(record).collect(),
            began,
            ended: at(200),
            connections: 5,
            bytes: 1,
            troubles: BTreeMap::new(),
        };
        let arrival = |number| Arrival {
            number,
            recipient: 0,
            began: at(number + 20),
            at: at(number + 30),
            altered: false,
        };
        let sink = SinkReport {
            arrivals: (0..arrivals).map(arrival).collect(),
            kept: Vec::new(),
            foreign: 0,
            hosts: Vec::new(),
            connections: 7,
            peak: 3,
        };
        Report::new(&source, &sink)
    }

    #[test]
    fn both_ends_are_joined_by_number() {
        let report = run(100);
        assert_eq!((report.accepted, report.failed, report.arrived), (100, 10, 100));
        assert!(report.accept.p50.abs_diff(10_000) < 100);
        assert!(report.delivery.max.abs_diff(30_000) < 100);
        assert!(report.queueing.p99.abs_diff(20_000) < 100);
        assert!((report.arrive_seconds - 0.129).abs() < 1e-9);
        assert!((report.delivery_rate() - 100.0 / 0.129).abs() < 1.0);
        let lines = report.lines();
        assert_eq!(lines.len(), 6);
        assert!(lines[3].contains("p50 10.0 ms"), "{lines:?}");
    }

    #[test]
    fn a_run_without_arrivals_has_rate_zero() {
        let report = run(0);
        assert_eq!(report.delivery_rate(), 0.0);
        assert_eq!(report.delivery, Latency::default());
    }
}
