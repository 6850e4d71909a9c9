//! The policy: one immutable snapshot of everything an operator has decided,
//! shared by all shards and swapped whole between two steps.
//!
//! Every setting is resolved; nothing here is read from a file or a machine.
//! `config.rs` makes a policy of text, and [`Policy::new`] is what an empty
//! file gives.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mail::{Address, Domain};

use crate::alert::AlertSettings;
use crate::delivery::{Delivery, RouteIndex};
use crate::exit::Exits;
use crate::local::{Local, Locals};
use crate::metrics::MetricsSettings;
use crate::mode::{Mode, Trust};
use crate::network::Network;
use crate::remote::{Authority, RemoteControl};
use crate::reports::Reports;
use crate::route::{Pattern, RouteTable};
use crate::sink::{Syslog, Webhook};
use crate::submission::Submission;
use crate::timetable::Timetable;

/// A checked configuration in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Counts the policies of one run, so that messages between shards can
    /// tell old limits from new ones. 0 until set by whoever swaps policies.
    pub revision: u64,
    /// The name said in EHLO, `Received` and reports.
    pub hostname: Domain,
    /// Executors; none: as many as the machine has cores.
    pub shards: Option<u16>,
    /// Who may hand mail in, and how much.
    pub submission: Submission,
    /// Bounds of the queue.
    pub queue: QueueSettings,
    /// Where connections leave from, and what they must not reach.
    pub egress: Egress,
    /// Ways out that a way of delivery may name.
    pub exits: Exits,
    /// How names are looked up.
    pub dns: DnsSettings,
    /// Who is told of failures.
    pub dsn: DsnSettings,
    /// Files that become mail.
    pub pickup: PickupSettings,
    /// What is logged.
    pub log: LogSettings,
    /// What is watched, and who is told.
    pub alerts: AlertSettings,
    /// Where its lines are posted to.
    pub webhooks: Box<[Webhook]>,
    /// Where people look at it.
    pub page: PageSettings,
    /// Who gets the numbers.
    pub metrics: MetricsSettings,
    /// Control from elsewhere; none: it is off.
    pub control: Option<Arc<RemoteControl>>,
    /// Which syslog servers get them.
    pub syslogs: Box<[Syslog]>,
    /// Whether routes count while the default way is a relay.
    pub routes_in_relay_mode: RoutesInRelayMode,
    /// Domains whose mail is handed to mailboxes of our own side.
    pub locals: Locals,
    ways: Vec<Delivery>,
    /// Those of the ways, each once.
    timetables: Vec<Arc<Timetable>>,
    patterns: Vec<Pattern>,
    table: RouteTable,
}

/// `[queue]`
#[derive(Clone, Debug, PartialEq)]
pub struct QueueSettings {
    /// Size of a segment file in bytes, a multiple of 4096; default 64 MiB.
    pub segment: u32,
    /// Bytes of live mail before intake answers 452; default 100 GiB.
    pub max_bytes: u64,
    /// Live messages before intake answers 452; default 10 000 000.
    pub max_messages: u64,
    /// Free bytes of the file system below which intake answers 452; default
    /// 2 GiB.
    pub min_free: u64,
    /// Which accidents the list of in-doubt mail survives exactly.
    pub in_doubt: InDoubt,
    /// What becomes of in-doubt mail.
    pub in_doubt_policy: InDoubtPolicy,
}

/// After which accident the in-doubt list is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InDoubt {
    /// A crash of the program: the final dot does not wait for a sync.
    #[default]
    Program,
    /// A power cut too: the final dot waits for the sync of its attempt record.
    Power,
}

/// What becomes of a recipient whose mail may have been delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InDoubtPolicy {
    /// Tried again: a second copy rather than none.
    #[default]
    Retry,
    /// Held for a human.
    Hold,
}

/// `[egress]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Egress {
    /// Own addresses to dial from, at most one used per family and
    /// connection; empty: the machine's choice.
    pub source: Vec<IpAddr>,
    /// Networks that mail exchangers may lie in although forbidden by default.
    pub permit: Vec<Network>,
    /// Which family is dialled first, or alone.
    pub family: Family,
}

/// Order of the address families of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv6, then IPv4, in turn.
    #[default]
    Ipv6First,
    /// IPv4, then IPv6, in turn.
    Ipv4First,
    /// IPv6 alone.
    Ipv6Only,
    /// IPv4 alone.
    Ipv4Only,
}

/// `[dns]`
#[derive(Clone, Debug, PartialEq)]
pub struct DnsSettings {
    /// Name servers; empty: the machine's own.
    pub servers: Vec<SocketAddr>,
    /// Wait for one answer; default 3 s.
    pub timeout: Duration,
    /// Questions sent before a look-up is given up for now, at least 2;
    /// default 4.
    pub attempts: u32,
    /// How long beyond its time an answer is used while the servers cannot
    /// tell; zero: never. Default 1 d.
    pub stale: Duration,
}

/// `[dsn]`
#[derive(Clone, Debug, PartialEq)]
pub struct DsnSettings {
    /// What holds where a route says nothing else.
    pub reports: Reports,
    /// The `From` of reports.
    pub from: Address,
    /// Who `postmaster` is.
    pub postmaster: Address,
}

/// Whether static routes count while everything else goes to a relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RoutesInRelayMode {
    /// A route's mail goes its way in either mode.
    #[default]
    Obey,
    /// Routes are for independent mode: in relay mode all mail goes the
    /// default way.
    Ignore,
}

/// `[pickup]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PickupSettings {
    /// Where files become mail; a relative name is taken from the data folder.
    pub folder: Option<Box<str>>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// How much is logged.
    pub level: LogLevel,
    /// Bytes of a log file before the next one is begun; default 100 MiB.
    pub size: u64,
    /// Age of a log file at which the next one is begun; default a day.
    pub age: Duration,
    /// Bytes of all log files together, closed ones compressed; default 2 GiB.
    pub max_bytes: u64,
    /// Age at which closed log files go; default 90 days.
    pub retention: Duration,
}

/// `[page]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PageSettings {
    /// Where the web page is found beside the control sockets, an address of
    /// the machine's own loopback; none: nowhere else.
    pub listen: Option<SocketAddr>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// What operators do, and what becomes of the machine: no single message.
    Quiet,
    /// Look-ups, deliveries, failures.
    #[default]
    Basic,
    /// Every command both ways, connections and DNS too.
    Detail,
}

/// Who reports failures where nothing else is set, at our own name.
pub(crate) const REPORTER: &str = "MAILER-DAEMON";

impl Policy {
    /// What an empty configuration gives on a machine called `hostname`.
    pub fn new(hostname: Domain) -> Self {
        let postmaster = Address::postmaster(hostname.clone());
        // A name that leaves no room for the longer word is none that a
        // configuration takes.
        let from = Address::parse(format!("{REPORTER}@{hostname}"), false)
            .unwrap_or_else(|_| postmaster.clone());
        Self {
            revision: 0,
            shards: None,
            submission: Submission::default(),
            queue: QueueSettings::default(),
            egress: Egress::default(),
            exits: Exits::default(),
            dns: DnsSettings::default(),
            dsn: DsnSettings { reports: Reports::default(), from, postmaster },
            pickup: PickupSettings::default(),
            log: LogSettings::default(),
            alerts: AlertSettings::default(),
            webhooks: Box::default(),
            page: PageSettings::default(),
            metrics: MetricsSettings::default(),
            control: None,
            syslogs: Box::default(),
            routes_in_relay_mode: RoutesInRelayMode::default(),
            locals: Locals::default(),
            ways: vec![Delivery::default()],
            timetables: Vec::new(),
            patterns: Vec::new(),
            table: RouteTable::default(),
            hostname,
        }
    }

    /// Replaces the default way and all routes, and forgets local domains.
    /// Numbers and names are set here; at most `u32::MAX - 2` routes.
    pub fn set_ways(&mut self, default: Delivery, routes: Vec<(Pattern, Delivery)>) {
        self.ways.clear();
        self.ways.push(Delivery { index: number(0), name: "default".into(), ..default });
        self.patterns.clear();
        for (place, (pattern, way)) in routes.into_iter().enumerate() {
            let name = pattern.to_string().into();
            self.ways.push(Delivery { index: number(place + 1), name, ..way });
            self.patterns.push(pattern);
        }
        self.table = RouteTable::new(&self.patterns);
        self.locals = Locals::default();
        self.timetables.clear();
        for table in self.ways.iter().filter_map(|way| way.schedule.as_ref()) {
            note_timetable(&mut self.timetables, table);
        }
    }

    /// The timetables of all ways, each once.
    pub fn timetables(&self) -> &[Arc<Timetable>] {
        &self.timetables
    }

    /// Puts local domains in, behind [`Policy::set_ways`]. Numbers and names of
    /// their ways are set here.
    pub fn set_locals(&mut self, locals: Vec<(Local, Delivery)>) {
        self.ways.truncate(1 + self.patterns.len());
        let mut entries = Vec::with_capacity(locals.len());
        for (local, way) in locals {
            let index = number(self.ways.len());
            let name = local.patterns.first().map(|pattern| format!("local {pattern}"));
            let name = name.unwrap_or_default().into();
            self.ways.push(Delivery { index, name, is_local: true, fallback: false, ..way });
            entries.push(local);
        }
        self.locals = Locals::new(entries);
    }

    /// The way of a recipient: that of its local domain, the first route that
    /// matches, or the default.
    pub fn route(&self, recipient: &Address) -> &Delivery {
        if let Some(place) = self.locals.find(recipient) {
            return &self.ways[1 + self.patterns.len() + place];
        }
        let found = if self.obeys_routes() { self.matching(recipient) } else { None };
        found.unwrap_or(&self.ways[0])
    }

    /// The route that would take a recipient, but counts for nothing in the
    /// mode in force.
    pub fn ignored_route(&self, recipient: &Address) -> Option<&Delivery> {
        let counts = self.obeys_routes() || self.locals.find(recipient).is_some();
        if counts { None } else { self.matching(recipient) }
    }

    /// Which reports are sent about mail of a way.
    pub fn reports<'a>(&'a self, way: &'a Delivery) -> &'a Reports {
        way.reports.as_deref().unwrap_or(&self.dsn.reports)
    }

    /// Whether routes count in the mode in force.
    pub fn obeys_routes(&self) -> bool {
        let relay = matches!(self.ways[0].mode, Mode::Relay(_));
        !relay || self.routes_in_relay_mode == RoutesInRelayMode::Obey
    }

    fn matching(&self, recipient: &Address) -> Option<&Delivery> {
        Some(&self.ways[self.table.find(recipient)? as usize + 1])
    }

    /// The way with this number; `None` for a number of another policy.
    pub fn way(&self, index: RouteIndex) -> Option<&Delivery> {
        self.ways.get(index.0 as usize)
    }

    /// The way of everything that no route takes.
    pub fn default_way(&self) -> &Delivery {
        &self.ways[0]
    }

    /// All ways: the default, then the routes in the order of the file, then
    /// those of the local domains.
    pub fn ways(&self) -> &[Delivery] {
        &self.ways
    }

    /// The ways of the routes, in the order of the file.
    pub fn route_ways(&self) -> &[Delivery] {
        &self.ways[1..=self.patterns.len()]
    }

    /// The ways of the local domains, in the order of the file.
    pub fn local_ways(&self) -> &[Delivery] {
        &self.ways[1 + self.patterns.len()..]
    }

    /// The files of roots that it names, each once.
    pub fn authorities(&self) -> impl Iterator<Item = &Arc<Authority>> {
        let mut trusts: Vec<&Trust> = Vec::new();
        for way in &self.ways {
            trusts.push(&way.trust);
            let Mode::Relay(hosts) = &way.mode else { continue };
            for host in hosts.iter() {
                trusts.push(&host.trust);
                trusts.extend(host.pop.iter().map(|pop| &pop.trust));
            }
        }
        trusts.extend(self.webhooks.iter().map(|hook| &hook.trust));
        trusts.extend(self.syslogs.iter().map(|log| &log.trust));
        let mut by_name = BTreeMap::new();
        for trust in trusts {
            if let Trust::Pem(authority) = trust {
                by_name.insert(&authority.file, authority);
            }
        }
        by_name.into_values()
    }

    /// Patterns of the routes in the order of the file.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Routes that no address can reach, each with the earlier route that
    /// takes everything it would take.
    pub fn shadowed(&self) -> impl Iterator<Item = (RouteIndex, RouteIndex)> + '_ {
        (0u32..).zip(&self.patterns).filter_map(|(position, pattern)| {
            let by = self.table.shadow(position, pattern)?;
            Some((RouteIndex(position + 1), RouteIndex(by + 1)))
        })
    }
}

/// Adds a timetable unless the list has it.
pub(crate) fn note_timetable(known: &mut Vec<Arc<Timetable>>, table: &Arc<Timetable>) {
    // Most routes have the default way's.
    if !known.iter().any(|other| Arc::ptr_eq(other, table) || other == table) {
        known.push(table.clone());
    }
}

fn number(place: usize) -> RouteIndex {
    RouteIndex(u32::try_from(place).expect("ways are bounded by the configuration"))
}

impl Egress {
    /// Whether `permit` names `address`.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.permit.iter().any(|network| network.contains(address))
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            segment: 64 << 20,
            max_bytes: 100 << 30,
            max_messages: 10_000_000,
            min_free: 2 << 30,
            in_doubt: InDoubt::default(),
            in_doubt_policy: InDoubtPolicy::default(),
        }
    }
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(3),
            attempts: 4,
            stale: Duration::from_secs(86_400),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LogLevel::default(),
            size: 100 << 20,
            age: Duration::from_secs(86_400),
            max_bytes: 2 << 30,
            retention: Duration::from_secs(90 * 86_400),
        }
    }
}
