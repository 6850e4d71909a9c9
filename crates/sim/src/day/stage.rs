//! The stage of a day: what providers there are, how each takes mail, what its
//! operator has set for them, and what happens to each in the course of it.
//!
//! Never judges. Invariant: every address is that of one domain, and every host
//! has one place.

use std::sync::Arc;
use std::time::Duration;

use base::ShardId;
use control::{Scope, Suspension, Suspensions, Why};
use mail::Domain;
use shard::event::Event;

use crate::world::{Act, Host, Kind, Stage as At, Temper, Weather, World, read_policy};

/// Shards of the sender.
pub(super) const SHARDS: u16 = 2;
/// Domains with an exchanger of their own beside the providers.
const SMALL: u32 = 60;
/// Domains that share the exchanger of a hoster.
const HOSTED: u32 = 24;
const HOSTER_IP: [u8; 4] = [198, 51, 100, 10];
const SHARED_IP: [u8; 4] = [198, 51, 100, 11];
/// Hosts of providers and of small domains follow from here on.
const FIRST_IP: u8 = 20;

/// One provider: its share of a thousand messages, the way that its mail goes,
/// how long it thinks about each message, and what else it is like.
struct Provider {
    name: &'static str,
    weight: u32,
    way: &'static str,
    thinks_ms: (u64, u64),
    connections_max: Option<u32>,
    greylisting: Option<Duration>,
}

const fn provider(
    name: &'static str,
    weight: u32,
    way: &'static str,
    thinks_ms: (u64, u64),
) -> Provider {
    Provider { name, weight, way, thinks_ms, connections_max: None, greylisting: None }
}

/// Who takes most of the mail, and by which limit it waits there.
const PROVIDERS: [Provider; 9] = [
    provider("big.example", 220, "rate = \"6/1m\"\nconnections = 10\n", (300, 1_200)),
    provider("mail.example", 110, "connections = 3\n", (9_000, 21_000)),
    Provider {
        connections_max: Some(4),
        ..provider("wary.example", 90, "connections = 20\n", (9_000, 21_000))
    },
    provider("few.example", 60, "connections = 2\nmessages_per_connection = 3\n", (9_000, 21_000)),
    Provider {
        greylisting: Some(Duration::from_secs(240)),
        ..provider("grey.example", 60, "connections = 4\n", (1_000, 4_000))
    },
    provider("moody.example", 70, "connections = 4\n", (2_000, 8_000)),
    provider("night.example", 60, "rate = \"20/1m\"\nconnections = 4\n", (300, 1_200)),
    provider("dead.example", 60, "connections = 4\n", (2_000, 8_000)),
    provider("stopped.example", 50, "connections = 2\n", (4_000, 12_000)),
];

/// What happens, at which minute of the day's six hours.
const SCRIPT: [(u64, Turn); 14] = [
    (40, Turn::PutsOff("moody.example", 600)),
    (75, Turn::PutsOff("moody.example", 0)),
    (90, Turn::Dead("dead.example", true)),
    (100, Turn::Stop("stopped.example", 45)),
    (110, Turn::Unknown("small-1.example", true)),
    (130, Turn::Slow("mail.example", 3)),
    (140, Turn::PutsOff("big.example", 100)),
    (150, Turn::Dead("dead.example", false)),
    (170, Turn::Unknown("small-1.example", false)),
    (180, Turn::PutsOff("big.example", 0)),
    (220, Turn::Slow("mail.example", 1)),
    (240, Turn::PutsOff("moody.example", 300)),
    (260, Turn::Stop("big.example", 20)),
    (300, Turn::PutsOff("moody.example", 0)),
];

/// Minutes that [`SCRIPT`] is written for.
pub(super) const SCRIPT_MINUTES: u64 = 360;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Of a thousand recipients so many are put off from now on.
    PutsOff(&'static str, u64),
    /// Connections are refused, or no more.
    Dead(&'static str, bool),
    /// Each message takes so many times as long.
    Slow(&'static str, u64),
    /// The name server does not know where it is, or does again.
    Unknown(&'static str, bool),
    /// The operator stops its mail for so many minutes.
    Stop(&'static str, u64),
}

/// A domain of recipients.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// Its share of the mail.
    pub(super) weight: u32,
    /// Who delivers it.
    pub(super) shard: ShardId,
    /// The host that takes it.
    pub(super) ip: [u8; 4],
}

/// What an operator asks about as a whole.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) asked: Why,
    /// By number.
    pub(super) targets: Vec<usize>,
    /// One of many with little mail.
    pub(super) is_small: bool,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) targets: Vec<Target>,
    pub(super) places: Vec<Place>,
}

impl Stage {
    pub(super) fn draw() -> Self {
        let mut stage = Self { targets: Vec::new(), places: Vec::new() };
        let mut ip = [198, 51, 100, FIRST_IP];
        let mut next_ip = || {
            ip[3] += 1;
            ip
        };
        for it in &PROVIDERS {
            stage.add(it.name.to_owned(), it.weight, next_ip());
        }
        for n in 0..SMALL {
            stage.add(format!("small-{n}.example"), 1 + 60 / (n + 2), next_ip());
        }
        for (kind, ip) in [("hosted", HOSTER_IP), ("shared", SHARED_IP)] {
            let first = stage.targets.len();
            for n in 0..HOSTED {
                stage.add(format!("d{n}.{kind}.example"), 1 + 30 / (n + 1), ip);
            }
            let asked = Why::Site(format!("mx:mx.{kind}.example"));
            let targets = (first..stage.targets.len()).collect();
            stage.places.push(Place { asked, targets, is_small: false });
        }
        stage
    }

    /// A domain, which can be asked about.
    fn add(&mut self, name: String, weight: u32, ip: [u8; 4]) {
        let asked = Why::Domain(Domain::parse(&name).expect("a name"));
        let is_small = PROVIDERS.iter().all(|it| it.name != name);
        self.places.push(Place { asked, targets: vec![self.targets.len()], is_small });
        let shard = control::owner(&name, SHARDS);
        self.targets.push(Target { name, weight, shard, ip });
    }

    /// A world with everything in it, and shards that run.
    pub(super) fn set(&self, seed: u64) -> World {
        let policy = read_policy(&configuration()).expect("the configuration is good");
        let mut world = World::silent(seed, Arc::new(policy), 1 << 20);
        world.forget();
        world.weather = Weather::calm(seed);
        (world.weather.wire_ms, world.weather.answer_ms) = (10..=80, 5..=60);
        for target in &self.targets {
            let provider = PROVIDERS.iter().find(|it| it.name == target.name);
            let host = match &*target.name {
                name if name.ends_with("hosted.example") => "mx.hosted.example".to_owned(),
                name if name.ends_with("shared.example") => "mx.shared.example".to_owned(),
                name => format!("mx.{name}"),
            };
            world.names.mx(&target.name, 10, &host);
            if !world.network.hosts.contains_key(&target.ip.into()) {
                world.names.address(&host, target.ip);
                world.host(target.ip, made(provider, seed ^ u64::from(target.ip[3])));
            }
        }
        world.begin(SHARDS);
        world.run_for(Duration::from_secs(1));
        world
    }

    /// What happens in the course of a day, in order.
    pub(super) fn script(&self) -> impl Iterator<Item = (Duration, Happening)> {
        SCRIPT.iter().map(|(minute, turn)| (Duration::from_secs(60 * minute), Happening(*turn)))
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happening(Turn);

impl Happening {
    pub(super) fn happens(self, stage: &Stage, world: &mut World) {
        let ip_of = |name: &str| {
            let target = stage.targets.iter().find(|target| target.name == name);
            target.expect("the script names domains of the stage").ip
        };
        match self.0 {
            Turn::PutsOff(name, of_a_thousand) => {
                let temper = world.at(ip_of(name)).temper.as_mut();
                temper.expect("every host has one").puts_off = of_a_thousand;
            }
            Turn::Dead(name, true) => {
                world.at(ip_of(name)).rule(At::Connect, Act::Drop, u32::MAX);
                world.hang_up(ip_of(name));
            }
            Turn::Dead(name, false) => world.at(ip_of(name)).mend(),
            Turn::Slow(name, times) => {
                let provider = PROVIDERS.iter().find(|it| it.name == name);
                let (low, high) = provider.expect("a provider").thinks_ms;
                let temper = world.at(ip_of(name)).temper.as_mut();
                temper.expect("every host has one").thinks_ms = low * times..=high * times;
            }
            Turn::Unknown(name, unknown) => world.names.fail(name, unknown),
            Turn::Stop(name, minutes) => {
                let scope = Scope::new("domain", name).expect("a domain");
                let since = world.now.wall;
                let until = Some(since + Duration::from_secs(60 * minutes));
                let mut list = Suspensions::default();
                let order = Suspension { scope, reason: "their wish".into(), since, until };
                list.suspend(order).expect("the list has room");
                let list = Arc::new(list);
                for shard in 0..usize::from(SHARDS) {
                    world.tell(shard, Duration::ZERO, Event::Suspensions(list.clone()));
                }
            }
        }
    }
}

fn made(provider: Option<&Provider>, seed: u64) -> Host {
    let mut host = Host::new();
    host.remembers = false;
    host.kind = Kind { mailboxes: true, ..Kind::default() };
    let mut thinks_ms = 2_000..=9_000;
    if let Some(it) = provider {
        host.kind.connections_max = it.connections_max;
        host.kind.greylisting = it.greylisting;
        thinks_ms = it.thinks_ms.0..=it.thinks_ms.1;
    }
    host.temper = Some(Temper::new(seed, thinks_ms));
    host
}

/// The sender's configuration: limits for each provider, the usual waits.
fn configuration() -> String {
    let mut text = "hostname = \"mail.sender.example\"\n\
        [dns]\n\
        stale = \"0s\"\n\
        [delivery]\n\
        lifetime = \"12h\"\n\
        retry_after = { greylisted = [\"6m\"] }\n"
        .to_owned();
    for it in &PROVIDERS {
        text += &format!("[[route]]\nmatch = \"{}\"\n{}", it.name, it.way);
        if it.name == "night.example" {
            let windows: Vec<String> =
                (0..24).map(|h| format!("\"{h:02}:20-{h:02}:40\"")).collect();
            let windows = windows.join(", ");
            text += &format!("schedule = {{ zone = \"UTC\", windows = [{windows}] }}\n");
        }
    }
    text += "[[route]]\nmatch = \"*.hosted.example\"\nconnections = 2\n";
    text += "[[route]]\nmatch = \"*.shared.example\"\nrate = \"3/1m\"\nconnections = 6\n";
    text
}
