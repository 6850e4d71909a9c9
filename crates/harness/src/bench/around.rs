//! What stands round a server under load: exchangers for healthy sites, others
//! for faulty ones, and the name server, each a process of its own, so that a
//! faulty site cannot cost a healthy one anything at the receiving end.
//!
//! Never counts a faulty site's mail as healthy.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::Child;
use super::plan::{Plan, Way};
use super::target::free_port;
use super::usage::Usage;
use crate::arrivals::{self, Row};

/// How long one of them may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(30);
/// Where a name server answers if it may: Postfix asks port 53 only.
const NAMES_AT: &str = "127.78.0.53:53";

/// The small internet of one round.
#[derive(Debug)]
pub struct Around {
    healthy: Sink,
    faulty: Option<Sink>,
    names: Option<Child>,
    /// Port of all exchangers.
    pub port: u16,
    /// First exchanger of a healthy site.
    pub relay: SocketAddr,
    /// The name server, or a port where nobody is.
    pub dns: SocketAddr,
}

#[derive(Debug)]
struct Sink {
    child: Child,
    arrivals: PathBuf,
    taken: u64,
}

impl Around {
    /// Starts everything that `plan` needs, with `program` as `ringpost bench`.
    ///
    /// # Errors
    /// A sentence: which part does not start.
    pub fn start(plan: &Plan, program: &Path, folder: &Path) -> Result<Self, String> {
        let faulty = plan.faulty_rules();
        let sick: Vec<IpAddr> = faulty.iter().map(|(address, _)| *address).collect();
        let all = plan.world().addresses();
        let well: Vec<IpAddr> = all.into_iter().filter(|address| !sick.contains(address)).collect();
        let port = free_port()?;
        let healthy = Sink::start("healthy", plan, program, folder, (&well, port), &plan.rules)?;
        let rules = faulty.iter().map(|(address, rule)| {
            let (stage, rest) = rule.split_once(' ').unwrap_or((rule, ""));
            format!("{stage} @{address} {rest}")
        });
        let rules: Vec<String> = rules.collect();
        let faulty = match sick.is_empty() {
            true => None,
            false => Some(Sink::start("faulty", plan, program, folder, (&sick, port), &rules)?),
        };
        let relay = well.first().ok_or("every site is faulty")?;
        let (names, dns) = match plan.way {
            Way::Relay => (None, SocketAddr::from(([127, 0, 0, 1], free_port()?))),
            Way::Mx => {
                let (child, dns) = start_names(plan, program, folder)?;
                (Some(child), dns)
            }
        };
        Ok(Self { healthy, faulty, names, port, relay: SocketAddr::new(*relay, port), dns })
    }

    /// Deliveries that healthy exchangers have taken so far.
    pub fn taken(&mut self) -> u64 {
        self.healthy.count()
    }

    /// Waits until healthy exchangers have taken `wanted`, or nothing for
    /// `silence`. True when they have.
    pub fn wait_for(&mut self, wanted: u64, silence: Duration) -> bool {
        let (mut last, mut since) = (self.taken(), Instant::now());
        while last < wanted {
            if since.elapsed() >= silence || self.healthy.child.has_ended() {
                return false;
            }
            // A line comes ten times a second, whether mail came or not.
            self.healthy.next();
            let now = self.taken();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        true
    }

    /// Time that all of it has used so far, in microseconds.
    pub fn cpu(&self) -> u64 {
        let children = [Some(&self.healthy.child), self.faulty.as_ref().map(|sink| &sink.child)];
        let pids = children.into_iter().chain([self.names.as_ref()]).flatten().map(Child::pid);
        pids.map(Usage::of).map(|usage| usage.user + usage.system).sum()
    }

    /// Ends all of it: what arrived.
    ///
    /// # Errors
    /// A part had to be killed, or its file cannot be read.
    pub fn end(self) -> Result<Vec<Row>, String> {
        let mut rows = self.healthy.end()?;
        if let Some(faulty) = self.faulty {
            rows.extend(faulty.end()?);
        }
        if let Some(names) = self.names {
            names.end(Signal::TERM)?;
        }
        rows.sort_unstable_by_key(|row| row.at);
        Ok(rows)
    }
}

impl Sink {
    fn start(
        name: &str,
        plan: &Plan,
        program: &Path,
        folder: &Path,
        (addresses, port): (&[IpAddr], u16),
        rules: &[String],
    ) -> Result<Self, String> {
        let arrivals = folder.join(format!("{name}.arrivals"));
        let mut words = vec!["bench".to_owned(), "sink".to_owned(), "--with-parent".to_owned()];
        words.extend(["--progress".to_owned(), "--port".to_owned(), port.to_string()]);
        words.extend(["--threads".to_owned(), plan.threads.to_string()]);
        words.extend(["--arrivals".to_owned(), arrivals.display().to_string()]);
        if plan.tls {
            words.push("--tls".to_owned());
        }
        for address in addresses {
            words.extend(["--listen".to_owned(), address.to_string()]);
        }
        for rule in rules {
            words.extend(["--rule".to_owned(), rule.clone()]);
        }
        let mut child = Child::start(name, program, &words, &[], folder)?;
        child.until("ready", READY_MAX)?;
        Ok(Self { child, arrivals, taken: 0 })
    }

    fn count(&mut self) -> u64 {
        for line in self.child.lines() {
            self.hear(&line);
        }
        self.taken
    }

    fn next(&mut self) {
        if let Some(line) = self.child.line(Duration::from_millis(500)) {
            self.hear(&line);
        }
    }

    fn hear(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("taken ").and_then(|count| count.parse().ok()) {
            self.taken = count;
        }
    }

    fn end(self) -> Result<Vec<Row>, String> {
        self.child.end(Signal::TERM)?;
        arrivals::read(&self.arrivals)
            .map_err(|error| format!("{}: {error}", self.arrivals.display()))
    }
}

/// On port 53 where that is allowed, else anywhere.
fn start_names(plan: &Plan, program: &Path, folder: &Path) -> Result<(Child, SocketAddr), String> {
    let anywhere = format!("127.0.0.1:{}", free_port()?);
    let mut why = String::new();
    for place in [NAMES_AT, &anywhere] {
        let (domains, sites) = (plan.domains.to_string(), plan.sites.to_string());
        let words = ["bench", "dns", "--with-parent", "--listen", place, "--domains", &domains];
        let words: Vec<String> =
            words.iter().chain(&["--sites", &sites]).map(|word| (*word).to_owned()).collect();
        let mut child = Child::start("names", program, &words, &[], folder)?;
        match child.until("ready", READY_MAX) {
            Ok(_) => return Ok((child, place.parse().expect("both places are addresses"))),
            Err(told) => why = told,
        }
    }
    Err(why)
}
