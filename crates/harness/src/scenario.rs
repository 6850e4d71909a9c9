//! The demo's small internet: recipient domains, their exchangers on loopback
//! addresses, a name server that knows them, and mail to send.
//!
//! Groups of four domains. In every second group all four share the exchangers
//! of the first, as customers of one provider do, so that sites with several
//! domains appear; in the others each domain has its own. Every third set of
//! exchangers has a second host with the same preference, every sixth one with
//! a worse one.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::nameserver::{NameServer, Zones};
use crate::sink::{Fault, Rule, SinkReport, SinkSettings, Sinks};
use crate::source::{Pace, Source, SourceReport, SourceSettings};
use crate::verify::{Verdict, verify};
use crate::workload::{Spread, Workload};

/// Addresses in use; with more hosts than this, hosts share addresses, so that
/// a thousand domains do not need a thousand listening sockets.
pub const ADDRESSES_MAX: usize = 250;

/// A scenario that can be started piece by piece.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What is sent.
    pub workload: Workload,
    /// How it is sent.
    pub source: SourceSettings,
    /// Behaviour of the exchangers.
    pub rules: Vec<Rule>,
    /// A fault that the exchangers commit, to show that the check can fail.
    pub fault: Option<Fault>,
    /// Messages that the exchangers keep whole.
    pub keep_max: usize,
}

impl Scenario {
    /// The demo: `messages` of 2 KiB over `domains`, 50 sessions, everything
    /// accepted.
    pub fn demo(messages: u64, domains: u32, seed: u64) -> Self {
        let workload = Workload { spread: Spread::Zipf, ..Workload::new(messages, domains, seed) };
        let source = SourceSettings { pace: Pace::Full, ..SourceSettings::default() };
        Self { workload, source, rules: Vec::new(), fault: None, keep_max: 0 }
    }

    /// The zones of all domains and hosts.
    pub fn zones(&self) -> Zones {
        let mut zones = Zones::new();
        for domain in 0..self.workload.domains {
            for (preference, host) in exchangers(domain) {
                zones.mx(&Workload::domain(domain), preference, &host.name());
                let node = zones.node(&host.name());
                if node.a.is_empty() {
                    node.a.push(host.address());
                }
            }
        }
        zones
    }

    /// Addresses of all hosts, each once, in order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let hosts = (0..self.workload.domains).flat_map(exchangers);
        let addresses: BTreeSet<Ipv4Addr> = hosts.map(|(_, host)| host.address()).collect();
        addresses.into_iter().map(IpAddr::V4).collect()
    }

    /// Starts the name server.
    ///
    /// # Errors
    /// As [`NameServer::start`].
    pub fn start_nameserver(&self) -> io::Result<NameServer> {
        NameServer::start(self.zones())
    }

    /// Starts the exchangers, all on one free port.
    ///
    /// # Errors
    /// As [`Sinks::start`].
    pub fn start_sinks(&self) -> io::Result<Sinks> {
        Sinks::start(SinkSettings {
            addresses: self.addresses(),
            rules: self.rules.clone(),
            fault: self.fault,
            keep_max: self.keep_max,
            ..SinkSettings::default()
        })
    }

    /// Starts to send to `target`.
    ///
    /// # Errors
    /// As [`Source::start`].
    pub fn start_source(&self, target: SocketAddr) -> io::Result<Source> {
        Source::start(target, &self.workload, self.source.clone())
    }

    /// Sends everything to `target`.
    ///
    /// # Errors
    /// As [`Source::start`].
    pub fn run_source(&self, target: SocketAddr) -> io::Result<SourceReport> {
        Ok(self.start_source(target)?.wait())
    }

    /// Holds what was promised against what arrived.
    pub fn verify(&self, source: &SourceReport, sink: &SinkReport) -> Verdict {
        verify(&self.workload, source, sink)
    }
}

/// One exchanger: the `place`-th of the set that belongs to `owner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Host {
    owner: u32,
    place: u32,
}

impl Host {
    fn name(self) -> String {
        format!("mx{}.{}", self.place + 1, Workload::domain(self.owner))
    }

    fn address(self) -> Ipv4Addr {
        let number = (u64::from(self.owner) * 2 + u64::from(self.place)) % ADDRESSES_MAX as u64;
        Ipv4Addr::new(127, 77, 0, number as u8 + 1)
    }
}

/// Preferences and hosts of `domain`.
fn exchangers(domain: u32) -> Vec<(u16, Host)> {
    let group = domain / 4;
    let owner = if group.is_multiple_of(2) { group * 4 } else { domain };
    let mut hosts = vec![(10, Host { owner, place: 0 })];
    if owner.is_multiple_of(3) {
        let preference = if owner.is_multiple_of(6) { 20 } else { 10 };
        hosts.push((preference, Host { owner, place: 1 }));
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use std::time::Duration;

    #[test]
    fn two_hundred_domains_make_sites_of_several_kinds() {
        let sets: BTreeSet<Vec<String>> = (0..200)
            .map(|domain| exchangers(domain).iter().map(|(_, host)| host.name()).collect())
            .collect();
        assert_eq!(sets.len(), 125);
        assert!(sets.iter().any(|set| set.len() == 2));
        let scenario = Scenario::demo(1, 200, 1);
        let addresses = scenario.addresses();
        assert!((120..=ADDRESSES_MAX).contains(&addresses.len()), "{}", addresses.len());
        assert!(addresses.iter().all(|address| address.is_loopback()));
        assert!(Scenario::demo(1, 5_000, 1).addresses().len() <= ADDRESSES_MAX);
    }

    #[test]
    fn source_straight_into_sink_is_exactly_once() {
        let scenario = Scenario::demo(2_000, 200, 42);
        let sinks = scenario.start_sinks().unwrap();
        let source = scenario.run_source(sinks.first()).unwrap();
        assert!(sinks.wait_for(2_000, Duration::from_secs(20)));
        let report = sinks.report();
        let verdict = scenario.verify(&source, &report);
        assert!(verdict.is_exactly_once(), "{verdict}");
        assert_eq!(verdict.kept, 2_000);
        assert_eq!(Report::new(&source, &report).arrived, 2_000);
    }

    #[test]
    fn each_fault_of_the_exchangers_fails_the_check() {
        for fault in [Fault::Lose(7), Fault::Double(7), Fault::Alter(7)] {
            let scenario = Scenario { fault: Some(fault), ..Scenario::demo(50, 10, 1) };
            let sinks = scenario.start_sinks().unwrap();
            let source = scenario.run_source(sinks.first()).unwrap();
            let verdict = scenario.verify(&source, &sinks.report());
            assert!(!verdict.is_exactly_once(), "{fault:?}");
            let counts = [&verdict.missing, &verdict.doubled, &verdict.altered];
            assert_eq!(counts.map(|kind| kind.count).iter().sum::<u64>(), 1, "{fault:?}");
        }
    }
}
