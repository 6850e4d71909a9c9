//! A scenario: what is sent, over which small internet, how that behaves, and
//! what is measured. One TOML file, and everything follows from its seed.
//!
//! Never takes a key it does not know, and every number has a bound.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sink::Rule;
use crate::source::{Pace, SourceSettings};
use crate::spec;
use crate::tls::Tls;
use crate::workload::{DOMAINS_MAX, RECIPIENTS_MAX, Workload};
use crate::world::World;

/// Messages of one round.
pub const MESSAGES_MAX: u64 = 50_000_000;
/// Sessions of the source, and idle ones.
pub const SESSIONS_MAX: usize = 50_000;

/// What is done with the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Mail in, mail out.
    #[default]
    Flow,
    /// Delivery is stopped until all is accepted; then the queue drains.
    Drain,
    /// As drain, with a restart of the server over the full queue.
    Restart,
    /// Mail flows at a fixed rate, and what grows is looked for.
    Soak,
    /// Sessions that say nothing.
    Idle,
}

/// Where mail goes from the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// All to one host.
    #[default]
    Relay,
    /// By the exchangers of each domain, found by DNS.
    Mx,
}

/// How some of the sites behave.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Sites in 100, spread evenly over all; at least one site.
    pub percent: u32,
    /// A rule such as `dot delay=5s`.
    pub rule: String,
}

/// A scenario as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// What it shows, in a sentence.
    pub about: String,
    /// What is done.
    pub kind: Kind,
    /// Where mail goes.
    pub way: Way,
    /// Everything follows from it.
    pub seed: u64,
    /// Messages of a round.
    pub messages: u64,
    /// Sessions of the source.
    pub sessions: usize,
    /// Threads of the source, and of the sink.
    pub threads: usize,
    /// Messages of one session; 0 for no end.
    pub messages_per_session: u64,
    /// Whether the source sends commands in groups.
    pub pipelining: bool,
    /// Messages due each second; 0 for a closed loop.
    pub rate: f64,
    /// Sizes, as [`crate::spec`] reads them.
    pub size: String,
    /// Recipients of each message.
    pub recipients: u32,
    /// Recipient domains.
    pub domains: u32,
    /// Sites that take their mail.
    pub sites: u32,
    /// How recipients spread over domains.
    pub spread: String,
    /// TLS on both sides of the server.
    pub tls: bool,
    /// How all exchangers behave, as [`crate::spec`] reads rules.
    pub rules: Vec<String>,
    /// How some of them behave. Their mail does not count as healthy.
    pub fault: Vec<Fault>,
    /// Sessions held open without a word, for [`Kind::Idle`].
    pub idle_sessions: usize,
    /// How long that is looked at.
    pub idle_seconds: u64,
    /// How long nothing may arrive before a round is given up.
    pub silence: String,
    /// Settings for Ringpost, over those that the harness makes.
    pub ringpost: toml::Table,
    /// Lines for Postfix's main.cf, behind all others.
    pub postfix: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            about: String::new(),
            kind: Kind::Flow,
            way: Way::Relay,
            seed: 1,
            messages: 10_000,
            sessions: 50,
            threads: 1,
            messages_per_session: 0,
            pipelining: true,
            rate: 0.0,
            size: "2KiB".to_owned(),
            recipients: 1,
            domains: 1,
            sites: 1,
            spread: "even".to_owned(),
            tls: false,
            rules: Vec::new(),
            fault: Vec::new(),
            idle_sessions: 1_000,
            idle_seconds: 30,
            silence: "30s".to_owned(),
            ringpost: toml::Table::new(),
            postfix: String::new(),
        }
    }
}

impl Plan {
    /// Reads a scenario, with `overrides` such as `messages=500` or
    /// `ringpost.shards=2` over it.
    ///
    /// # Errors
    /// A sentence with the place, or the key and its bound.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, String> {
        let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        for one in overrides {
            let wrong = || format!("{one:?} is no setting of a scenario such as messages=500");
            let (key, value) = one.split_once('=').ok_or_else(wrong)?;
            let line = |value: &str| toml::from_str::<toml::Table>(&format!("{key} = {value}"));
            let parsed = line(value).or_else(|_| line(&format!("{value:?}")));
            merge(&mut table, &parsed.map_err(|_| wrong())?);
        }
        let plan: Self = table.try_into().map_err(|error: toml::de::Error| error.to_string())?;
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        let bounds = [
            ("messages", self.messages, 1, MESSAGES_MAX),
            ("sessions", self.sessions as u64, 1, SESSIONS_MAX as u64),
            ("threads", self.threads as u64, 1, 256),
            ("recipients", u64::from(self.recipients), 1, u64::from(RECIPIENTS_MAX)),
            ("domains", u64::from(self.domains), 1, u64::from(DOMAINS_MAX)),
            ("sites", u64::from(self.sites), 1, u64::from(self.domains)),
            ("idle_sessions", self.idle_sessions as u64, 0, SESSIONS_MAX as u64),
            ("idle_seconds", self.idle_seconds, 1, 86_400),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("{key} = {value}: must lie between {least} and {most}"));
            }
        }
        if !(0.0..=1e6).contains(&self.rate) {
            return Err(format!("rate = {}: must lie between 0 and 1000000", self.rate));
        }
        if self.kind == Kind::Soak && self.rate == 0.0 {
            return Err("a soak needs a rate".to_owned());
        }
        if self.fault.iter().any(|fault| !(1..=99).contains(&fault.percent)) {
            return Err("a fault takes between 1 and 99 percent of the sites".to_owned());
        }
        if !self.fault.is_empty() && self.way == Way::Relay {
            return Err("faults of single sites need way = \"mx\"".to_owned());
        }
        self.size.parse::<crate::workload::Sizes>()?;
        self.spread.parse::<crate::workload::Spread>()?;
        spec::span(&self.silence)?;
        let faults = self.fault.iter().map(|fault| &fault.rule);
        self.rules.iter().chain(faults).try_for_each(|rule| rule.parse::<Rule>().map(|_| ()))
    }

    /// What is sent.
    pub fn workload(&self) -> Workload {
        Workload {
            messages: self.messages,
            domains: self.domains,
            spread: self.spread.parse().expect("checked when the plan was read"),
            sizes: self.size.parse().expect("checked when the plan was read"),
            recipients: self.recipients,
            seed: self.seed,
        }
    }

    /// How it is sent.
    pub fn source(&self) -> SourceSettings {
        let pace = match self.rate {
            0.0 => Pace::Full,
            per_second => Pace::Fixed { per_second },
        };
        SourceSettings {
            sessions: self.sessions,
            threads: self.threads,
            messages_per_session: self.messages_per_session,
            pipelining: self.pipelining,
            pace,
            tls: if self.tls { Tls::StartTls } else { Tls::None },
            ..SourceSettings::default()
        }
    }

    /// Domains and sites.
    pub fn world(&self) -> World {
        match self.way {
            Way::Relay => World::new(self.domains, 1),
            Way::Mx => World::new(self.domains, self.sites),
        }
    }

    /// How long nothing may arrive.
    pub fn silence(&self) -> Duration {
        spec::span(&self.silence).expect("checked when the plan was read")
    }

    /// The sites of each fault, in the order of the file. No site has two.
    pub fn faulty(&self) -> Vec<BTreeSet<u32>> {
        let sites = self.world().sites();
        let mut free: Vec<u32> = (0..sites).collect();
        let mut sets = Vec::new();
        for fault in &self.fault {
            let count = (sites * fault.percent / 100).max(1) as usize;
            let step = (free.len() / count).max(1);
            // From the middle of each step: the first site is the busiest by Zipf.
            let set: BTreeSet<u32> =
                free.iter().copied().skip(step / 2).step_by(step).take(count).collect();
            free.retain(|site| !set.contains(site));
            sets.push(set);
        }
        sets
    }

    /// The rules of exchangers on healthy sites.
    pub fn healthy_rules(&self) -> &[String] {
        &self.rules
    }

    /// Addresses of faulty sites with their rules.
    pub fn faulty_rules(&self) -> Vec<(IpAddr, String)> {
        let world = self.world();
        let sets = self.faulty().into_iter().zip(&self.fault);
        sets.flat_map(|(set, fault)| {
            set.into_iter().map(move |site| (IpAddr::V4(world.address(site)), fault.rule.clone()))
        })
        .collect()
    }
}

/// Puts `over` over `table`, key by key.
pub(super) fn merge(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_with_what_is_set_over_it() {
        let text = "about = \"x\"\nway = \"mx\"\ndomains = 200\nsites = 100\nspread = \"zipf\"\n\
                    [ringpost.delivery]\nretry = [\"1s\"]\n";
        let set = ["messages=77", "size=1KiB..9KiB", "ringpost.shards=2"].map(str::to_owned);
        let plan = Plan::parse(text, &set).unwrap();
        assert_eq!(plan.ringpost["shards"].as_integer(), Some(2));
        assert_eq!(
            (plan.messages, plan.size.as_str(), plan.world().sites()),
            (77, "1KiB..9KiB", 100)
        );
        assert!(plan.ringpost.contains_key("delivery"));
    }

    #[test]
    fn each_wrong_plan_says_what_is_wrong() {
        for (text, said) in [
            ("mesages = 5", "mesages"),
            ("messages = 0", "messages = 0"),
            ("size = \"big\"", "no size"),
            ("sites = 2", "sites = 2: must lie between 1 and 1"),
            ("rules = [\"dot fly\"]", "means nothing"),
            ("kind = \"soak\"", "needs a rate"),
            ("fault = [{ percent = 5, rule = \"dot drop\" }]", "way = \"mx\""),
            ("way = \"mx\"\nfault = [{ percent = 0, rule = \"dot drop\" }]", "between 1 and 99"),
            ("rate = -1.0", "rate = -1"),
        ] {
            let refused = Plan::parse(text, &[]).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        assert!(Plan::parse("", &["messages".to_owned()]).is_err());
        assert!(Plan::parse("", &["messages=many".to_owned()]).is_err());
    }

    #[test]
    fn faulty_sites_are_spread_and_have_one_fault_each() {
        let text = "way = \"mx\"\ndomains = 200\nsites = 200\n\
                    fault = [{ percent = 5, rule = \"dot delay=2s\" }, { percent = 2, rule = \"greeting stall\" }]";
        let plan = Plan::parse(text, &[]).unwrap();
        let sets = plan.faulty();
        assert_eq!((sets[0].len(), sets[1].len()), (10, 4));
        assert!(sets[0].is_disjoint(&sets[1]));
        assert!(sets[0].iter().max() > Some(&150) && sets[0].iter().min() < Some(&50), "{sets:?}");
        assert_eq!(plan.faulty_rules().len(), 14);
    }
}
