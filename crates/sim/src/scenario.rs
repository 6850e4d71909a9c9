//! The stage of a run: hosts and what kind they are, domains and who takes
//! their mail, how large and how slow everything is. All of it drawn from the
//! seed before anything runs.
//!
//! Never changes during a run: what changes are faults.

use std::net::IpAddr;
use std::time::Duration;

use base::Rng;
use smtp::Extension;

use crate::observation::Site;
use crate::rules::Timeouts;
use crate::world::{Host, Kind, Weather, World};

/// Domains that recipients have, at most.
pub const DOMAINS_MAX: u64 = 10;
/// Domains of senders.
pub const SENDERS: u64 = 2;

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Shards at the first start.
    pub shards: u16,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// The hosts, by number.
    pub hosts: Vec<HostPlan>,
    /// The domains, and their exchangers by number with their preference.
    pub domains: Vec<(String, Vec<(u16, u64)>)>,
    /// How long faults go on.
    pub active: Duration,
    /// Whether attempts are recorded for a power cut too.
    pub exact_after_power: bool,
    /// The longest waits.
    pub timeouts: Timeouts,
    /// How many messages in the mean.
    pub visits: u64,
    /// Odds of the weather in the mean.
    pub rough: u64,
}

/// One host.
#[derive(Clone, Copy, Debug)]
pub struct HostPlan {
    kind: Kind,
    starttls: bool,
    pace: usize,
    without: Option<Extension>,
}

impl Scenario {
    /// A scenario by chance; `hours` where somebody wants them.
    pub fn draw(rng: &mut Rng, hours: Option<u64>) -> Self {
        let hosts = 2 + rng.below(5);
        let mut domains: Vec<(String, Vec<(u16, u64)>)> = Vec::new();
        for n in 0..2 + rng.below(DOMAINS_MAX - 1) {
            domains.push((domain_name(n), exchangers(rng, hosts)));
        }
        for n in 0..SENDERS {
            domains.push((format!("from{n}.example"), exchangers(rng, hosts)));
        }
        let minutes = match hours {
            Some(hours) => 60 * hours,
            None if rng.below(20) == 0 => 360,
            None => pick(rng, &[2, 5, 10, 20, 20, 60]),
        };
        let short = Duration::from_secs(pick(rng, &[5, 20]));
        Self {
            shards: pick(rng, &[1, 2, 2, 3, 4]),
            segment_bytes: pick(rng, &[64, 128, 256]) << 10,
            hosts: (0..hosts).map(|_| HostPlan::draw(rng)).collect(),
            domains,
            active: Duration::from_secs(60 * minutes),
            exact_after_power: rng.below(2) == 0,
            timeouts: pick(rng, &[Timeouts::DEFAULT, Timeouts::all(short)]),
            visits: pick(rng, &[5, 12, 12, 30]),
            rough: pick(rng, &[0, 3, 30]),
        }
    }

    /// Puts everything that is outside the shards into a world.
    pub fn set(&self, world: &mut World) {
        for (n, plan) in (0..).zip(&self.hosts) {
            world.names.address(&host_name(n), host_ip(n));
            world.host(host_ip(n), plan.host());
        }
        for (domain, exchangers) in &self.domains {
            for (preference, host) in exchangers {
                world.names.mx(domain, *preference, &host_name(*host));
            }
        }
        world.names.null_mx("null.example");
        world.names.mx("void.example", 10, "nothing.void.example");
    }

    /// Who takes whose mail.
    pub fn sites(&self) -> Vec<Site> {
        let mut sites: Vec<Site> = Vec::new();
        for (domain, exchangers) in &self.domains {
            let mut addresses: Vec<IpAddr> =
                exchangers.iter().map(|(_, host)| host_ip(*host).into()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            let domain = domain.as_str().into();
            match sites.iter_mut().find(|site| site.addresses == addresses) {
                Some(site) => site.domains.push(domain),
                None => {
                    let name = format!("site{}", sites.len()).into();
                    sites.push(Site { name, domains: vec![domain], addresses });
                }
            }
        }
        sites
    }

    /// The weather of a run.
    pub fn weather(&self, seed: u64) -> Weather {
        let mut weather = Weather::calm(seed);
        let mut rng = Rng::new(seed);
        weather.wire_ms = pick(&mut rng, &[1..=1, 1..=20, 5..=400]);
        weather.mesh_ms = pick(&mut rng, &[0..=1, 0..=3, 1..=40]);
        weather.sync_ms = pick(&mut rng, &[1..=8, 4..=60, 20..=900]);
        weather.segment_ms = pick(&mut rng, &[1..=4, 1..=300]);
        weather.answer_ms = pick(&mut rng, &[1..=30, 1..=2_000]);
        let mut odds = |most: u64| if self.rough == 0 { 0 } else { rng.below(most * self.rough) };
        weather.answers_lost = odds(10);
        weather.answers_doubled = odds(10);
        weather.answers_forged = odds(10);
        weather.connections_break = odds(4);
        weather.connections_vanish = odds(2);
        weather.connections_crumble = odds(2);
        weather.shortage = odds(3);
        weather
    }
}

impl HostPlan {
    fn draw(rng: &mut Rng) -> Self {
        let some = |rng: &mut Rng, most: u64| (rng.below(5) == 0).then(|| 1 + rng.below(most));
        let without = [
            Extension::Pipelining,
            Extension::Dsn,
            Extension::EightBitMime,
            Extension::Size,
            Extension::EnhancedStatusCodes,
            Extension::SmtpUtf8,
        ];
        let mut plan = Self {
            kind: Kind {
                lmtp: false,
                connections_max: some(rng, 3).map(|n| n as u32),
                recipients_max: some(rng, 3).map(|n| n as u32),
                messages_max: some(rng, 4).map(|n| n as u32),
                size_max: some(rng, 3).map(|n| n << 12),
                greylisting: some(rng, 12).map(|n| Duration::from_secs(60 * n)),
                wordy: rng.below(4) == 0,
                no_ehlo: rng.below(12) == 0,
                mailboxes: true,
                hangs_up: false,
            },
            starttls: rng.below(2) == 0,
            pace: pick(rng, &[usize::MAX, usize::MAX, usize::MAX, 200, 20]),
            without: (rng.below(2) == 0).then(|| pick(rng, &without)),
        };
        plan.kind.hangs_up = plan.kind.messages_max.is_some_and(|most| most % 2 == 0);
        plan
    }

    fn host(&self) -> Host {
        let mut host = self.without.map_or(Host::new(), |extension| Host::new().without(extension));
        (host.kind, host.starttls, host.pace) = (self.kind, self.starttls, self.pace);
        host.remembers = false;
        host
    }
}

fn exchangers(rng: &mut Rng, hosts: u64) -> Vec<(u16, u64)> {
    let mut chosen: Vec<(u16, u64)> = Vec::new();
    for _ in 0..1 + rng.below(3) {
        let host = rng.below(hosts);
        if chosen.iter().all(|(_, taken)| *taken != host) {
            chosen.push((10 * rng.below(2) as u16, host));
        }
    }
    chosen
}

/// One of some things.
pub fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize].clone()
}

/// The name of a domain of recipients.
pub fn domain_name(n: u64) -> String {
    format!("d{n}.example")
}

/// The name of a host.
pub fn host_name(n: u64) -> String {
    format!("mx{n}.hosts.example")
}

/// The address of a host.
pub fn host_ip(n: u64) -> [u8; 4] {
    [198, 51, 100, 10 + n as u8]
}
