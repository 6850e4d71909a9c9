//! `ringpost bench …`: load testing, of Ringpost or of any other SMTP server.
//!
//! Only arguments and printing; what measures stands in `harness`. Never loads
//! anything but loopback and test networks.

mod ends;
mod runs;

use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use harness::network::{Allowed, Network};

/// `ringpost bench …`
#[derive(Debug, Subcommand)]
pub enum BenchVerb {
    /// Send mail to any server, in a closed loop or at fixed times
    Source(ends::SourceArgs),
    /// Take mail on many addresses, and answer by script
    Sink(ends::SinkArgs),
    /// Answer for the test's domains, d001.example and on, and for their exchangers
    Dns(ends::DnsArgs),
    /// Load Ringpost by a scenario: its own daemon, exchangers and name server as processes
    Run(runs::SingleArgs),
    /// The same scenario against several servers in turn, A B A B, with ratios and spread
    Compare(runs::CompareArgs),
    /// One page of figures and plots from report files, side by side where there are several
    Report(runs::ReportArgs),
    /// What a sync costs on a disk, and whether it seems to lie
    Disk(runs::DiskArgs),
    /// The scenarios that come along
    Scenarios,
}

/// What may be loaded.
#[derive(Clone, Debug, Args)]
struct Laboratory {
    /// A network of test machines of your own, such as 10.1.2.0/24; loopback and the networks of
    /// RFC 2544 and RFC 5737 are always allowed, and nothing else is
    #[arg(long = "test-network", value_name = "NETWORK")]
    networks: Vec<Network>,
}

impl Laboratory {
    /// Whether all `addresses` may be loaded.
    fn check(&self, addresses: &[IpAddr]) -> Result<(), String> {
        let allowed = Allowed::with(&self.networks)?;
        addresses.iter().try_for_each(|address| allowed.check(*address))
    }
}

/// Runs one of the verbs.
pub fn run(verb: &BenchVerb) -> ExitCode {
    let outcome = match verb {
        BenchVerb::Source(args) => ends::source(args),
        BenchVerb::Sink(args) => ends::sink(args),
        BenchVerb::Dns(args) => ends::dns(args),
        BenchVerb::Run(args) => runs::single(args),
        BenchVerb::Compare(args) => runs::compare(args),
        BenchVerb::Report(args) => runs::report(args),
        BenchVerb::Disk(args) => runs::disk(args),
        BenchVerb::Scenarios => Ok(runs::list()),
    };
    outcome.unwrap_or_else(|why| {
        eprintln!("bench: {why}");
        ExitCode::from(2)
    })
}
