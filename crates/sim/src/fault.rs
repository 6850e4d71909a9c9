//! What goes wrong in a run, and what people do in it: one list, drawn from the
//! seed before anything runs, of plain data that can be cut down.
//!
//! Invariant: a fault says all about itself, so that a list without some of
//! them is a run as good as any.

use std::fmt;
use std::time::Duration;

use base::Rng;
use control::QueueAct;

use crate::scenario::{DOMAINS_MAX, SENDERS, Scenario, domain_name, host_name, pick};
use crate::world::{Act, Doom, Power, Stage, Trouble};

/// One thing, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Time from the start of the run.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happens. Numbers of hosts and name servers count from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A client comes; everything about it follows from the seed.
    Visit {
        /// See above.
        seed: u64,
    },
    /// A host does something for the next `times` times.
    Rule {
        /// The host.
        host: u64,
        /// Where in the session.
        stage: Stage,
        /// What it does.
        act: Act,
        /// How often.
        times: u32,
    },
    /// A host is down, `hard`: without a word.
    HostDown {
        /// The host.
        host: u64,
        /// Nothing answers, as against "refused".
        hard: bool,
        /// For how long.
        lasts: Duration,
    },
    /// A host closes all connections.
    HangUp(u64),
    /// A host forgets all connections.
    GoSilent(u64),
    /// A name fails.
    Name {
        /// The name.
        name: String,
        /// How.
        trouble: Trouble,
        /// For how long.
        lasts: Duration,
    },
    /// A name server is down.
    NameServerDown {
        /// Which.
        server: usize,
        /// For how long.
        lasts: Duration,
    },
    /// Syncs fail, so many.
    SyncsFail(u32),
    /// Writes fail, so many.
    WritesFail(u32),
    /// No segments can be had.
    DiskFull(Duration),
    /// Syncs take long.
    DiskSlow(Duration),
    /// No descriptors for connections.
    NoDescriptors(Duration),
    /// Reads ahead of need fail, so many.
    ReadsFail(u32),
    /// The program or the machine ends within a step.
    Crash {
        /// Which, and where in it.
        doom: Doom,
        /// What becomes of writes.
        power: Power,
        /// Shards at the next start.
        shards: u16,
    },
    /// The program is asked to end, and starts again.
    Drain {
        /// Shards at the next start.
        shards: u16,
    },
    /// A new configuration, drawn from the seed.
    Configure {
        /// See above.
        seed: u64,
    },
    /// A configuration that is refused.
    Misconfigure,
    /// An operator acts on mail, chosen by the seed.
    Order {
        /// What.
        act: QueueAct,
        /// On which.
        seed: u64,
    },
    /// An operator looks.
    Look {
        /// At what.
        seed: u64,
    },
}

const STAGES: [Stage; 9] = [
    Stage::Connect,
    Stage::Greeting,
    Stage::Ehlo,
    Stage::Handshake,
    Stage::Mail,
    Stage::Rcpt,
    Stage::Data,
    Stage::Body,
    Stage::Dot,
];

/// The list of a run.
pub fn draw(scenario: &Scenario, rng: &mut Rng) -> Vec<Fault> {
    let mut faults = Vec::new();
    let span = scenario.active.as_millis() as u64;
    let mut last = 0;
    for _ in 0..scenario.visits / 2 + rng.below(scenario.visits) {
        // Some clients come together, most by themselves.
        if rng.below(3) != 0 {
            last = rng.below(span);
        }
        let at = Duration::from_millis(last + rng.below(50));
        faults.push(Fault { at, what: What::Visit { seed: rng.next_u64() } });
    }
    if rng.below(8) == 0 {
        // All the world at once.
        let at = rng.below(span);
        for _ in 0..10 + rng.below(30) {
            let at = Duration::from_millis(at + rng.below(300));
            faults.push(Fault { at, what: What::Visit { seed: rng.next_u64() } });
        }
    }
    let crowd = pick(rng, &[0, 5, 20, 40]);
    for _ in 0..rng.below(crowd + 1) {
        // Much happens where mail comes in.
        let near = faults[rng.below(faults.len() as u64) as usize].at.as_millis() as u64;
        let far = pick(rng, &[10, 300, 10_000, 600_000]);
        let at = if rng.below(4) == 0 { rng.below(span) } else { near + rng.below(far) };
        let what = What::draw(scenario, rng);
        faults.push(Fault { at: Duration::from_millis(at.min(span)), what });
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

impl What {
    fn draw(scenario: &Scenario, rng: &mut Rng) -> Self {
        let hosts = scenario.hosts.len() as u64;
        match rng.below(32) {
            0..=7 => rule(hosts, rng),
            8 => Self::HostDown {
                host: rng.below(hosts),
                hard: rng.below(2) == 0,
                lasts: a_while(rng),
            },
            9 => Self::HangUp(rng.below(hosts)),
            10 => Self::GoSilent(rng.below(hosts)),
            11 | 12 => name(hosts, rng),
            13 => Self::NameServerDown { server: rng.below(2) as usize, lasts: a_while(rng) },
            14 => Self::SyncsFail(1 + rng.below(2) as u32),
            15 => Self::WritesFail(1),
            16 => Self::DiskFull(a_while(rng)),
            17 => Self::DiskSlow(a_while(rng)),
            18 => Self::NoDescriptors(a_while(rng)),
            19 => Self::ReadsFail(1),
            20..=22 => crash(rng),
            23 => Self::Drain { shards: 1 + rng.below(4) as u16 },
            24 | 25 => Self::Configure { seed: rng.next_u64() },
            26 => Self::Misconfigure,
            27..=29 => {
                let acts = [
                    QueueAct::Hold,
                    QueueAct::Release,
                    QueueAct::Flush,
                    QueueAct::Flush,
                    QueueAct::Remove,
                ];
                Self::Order { act: pick(rng, &acts), seed: rng.next_u64() }
            }
            _ => Self::Look { seed: rng.next_u64() },
        }
    }

    /// How long it lasts, if it does.
    pub fn lasts(&self) -> Option<Duration> {
        match self {
            Self::HostDown { lasts, .. }
            | Self::Name { lasts, .. }
            | Self::NameServerDown { lasts, .. }
            | Self::DiskFull(lasts)
            | Self::DiskSlow(lasts)
            | Self::NoDescriptors(lasts) => Some(*lasts),
            _ => None,
        }
    }
}

fn rule(hosts: u64, rng: &mut Rng) -> What {
    if rng.below(6) == 0 {
        // A host that keeps everybody waiting.
        let patient = [Stage::Handshake, Stage::Rcpt, Stage::Data, Stage::Body, Stage::Dot];
        let (host, stage) = (rng.below(hosts), pick(rng, &patient));
        return What::Rule { host, stage, act: Act::Stall, times: 100 };
    }
    let stage = pick(rng, &STAGES);
    let act = match stage {
        Stage::Connect => pick(rng, &[Act::Drop, Act::Stall, Act::Shortage]),
        Stage::Body => pick(rng, &[Act::Drop, Act::Stall]),
        Stage::Handshake => pick(rng, &[Act::Drop, Act::Stall, Act::Say(0, "")]),
        Stage::Dot if rng.below(2) == 0 => pick(rng, &[Act::LoseReply, Act::Swallow]),
        _ => pick(
            rng,
            &[
                Act::Drop,
                Act::Stall,
                Act::Babble,
                Act::Say(421, "busy"),
                Act::Say(450, "later"),
                Act::Say(452, "too many"),
                Act::Say(550, "no"),
                Act::Say(554, "never"),
                Act::Say(250, "whatever"),
                Act::Say(354, "whatever"),
            ],
        ),
    };
    // An answer out of place is a message taken or begun where none is: that
    // is no exchanger at all, but at these stages it can be told.
    let act = match (stage, act) {
        (Stage::Mail | Stage::Rcpt | Stage::Dot | Stage::Ehlo, Act::Say(250, _))
        | (Stage::Data, Act::Say(354, _)) => Act::Say(451, "not now"),
        (_, act) => act,
    };
    let times = pick(rng, &[1, 2, 3, 4, 5, 6, 100]);
    What::Rule { host: rng.below(hosts), stage, act, times }
}

fn name(hosts: u64, rng: &mut Rng) -> What {
    let name = match rng.below(4) {
        0 => host_name(rng.below(hosts)),
        1 => format!("from{}.example", rng.below(SENDERS)),
        _ => domain_name(rng.below(DOMAINS_MAX)),
    };
    let troubles = [
        Trouble::ServFail,
        Trouble::ServFail,
        Trouble::Refused,
        Trouble::NxDomain,
        Trouble::NoData,
        Trouble::Silent,
        Trouble::Truncated,
        Trouble::Garbage,
    ];
    What::Name { name, trouble: pick(rng, &troubles), lasts: a_while(rng) }
}

fn crash(rng: &mut Rng) -> What {
    let within = rng.below(3) == 0;
    let far = pick(rng, &[1, 20, 300]);
    let doom = Doom {
        steps: rng.below(far) as u32,
        writes: if within { rng.below(3) as u32 } else { u32::MAX },
        effects: if within { rng.below(4) as u32 } else { u32::MAX },
    };
    let power = match rng.below(2) {
        0 => Power::Stays,
        _ => Power::Goes { seed: rng.next_u64(), kept: pick(rng, &[0, 50, 90, 100]) },
    };
    What::Crash { doom, power, shards: 1 + rng.below(4) as u16 }
}

fn a_while(rng: &mut Rng) -> Duration {
    let most = pick(rng, &[1_000, 30_000, 600_000, 7_200_000]);
    Duration::from_millis(1 + rng.below(most))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3}s  {:?}", self.at.as_secs_f64(), self.what)
    }
}
