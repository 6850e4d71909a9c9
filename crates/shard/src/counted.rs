//! What a shard counts, as readers get it: what became of recipients by name,
//! and a reading of everything.
//!
//! Recipients are counted by their message's writer, where their outcome is
//! written. Invariant: each outcome counts once under each kind of name, those
//! without one under [`NONE`].

use meter::statistics::Kind;
use meter::{Load, Outcome, Place, Reading, States, Traffic, Waiting};
use queue::{Counts, Overview, Row};

use crate::mesh::{SettledAs, Settlement};
use crate::shard::{Shard, Turn};

/// Stands for a name that there is none of: no attempt was made.
const NONE: &str = "(none)";
/// Stands for the way out that the machine chooses.
const MACHINE: &str = "(machine)";

impl Shard {
    /// An outcome is written; `domain` is its recipient's.
    pub(crate) fn count(&mut self, s: &Settlement, domain: Option<&str>) {
        let metrics = &mut self.metrics;
        metrics.in_doubt += u64::from(s.in_doubt);
        let (counter, outcome) = match s.result {
            SettledAs::Delivered { .. } => (&mut metrics.delivered, Outcome::Delivered),
            SettledAs::Failed => (&mut metrics.failed, Outcome::Failed),
            SettledAs::Expired => (&mut metrics.expired, Outcome::Expired),
            SettledAs::Removed => (&mut metrics.removed, Outcome::Removed),
            SettledAs::Deferred(_) => (&mut metrics.deferred, Outcome::Deferred),
            SettledAs::Held | SettledAs::Released | SettledAs::Delayed { .. } => return,
        };
        *counter += 1;
        let way = s.route.and_then(|route| self.policy.way(self.epochs.index(route)?));
        let source = match &s.site {
            None => NONE,
            Some(_) if s.source.is_empty() => MACHINE,
            Some(_) => &s.source,
        };
        self.measured.traffic.count(Kind::Domain, domain.unwrap_or(NONE), outcome);
        self.measured.traffic.count(Kind::Site, s.site.as_deref().unwrap_or(NONE), outcome);
        self.measured.traffic.count(Kind::Route, way.map_or(NONE, |way| &way.name), outcome);
        self.measured.traffic.count(Kind::Source, source, outcome);
    }

    /// What has been counted and timed so far.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            counters: self.metrics.clone(),
            latencies: self.measured.latencies.clone(),
            loads: vec![self.load_now()],
            ..Reading::default()
        }
    }

    /// The same with so many names of those where mail waits, and what was
    /// counted by name since the last time.
    pub(crate) fn sample(&mut self, turn: &Turn<'_>, rows: usize) -> Reading {
        let fresh = Traffic::new(self.jitter);
        let traffic = Some(std::mem::replace(&mut self.measured.traffic, fresh));
        let places = |rows: Vec<Row>| rows.into_iter().map(place).collect();
        let waiting = match rows {
            0 => Waiting::default(),
            rows => {
                let Overview { sites, destinations, oldest } = self.queue.overview(turn.now, rows);
                Waiting { sites: places(sites), domains: places(destinations), oldest }
            }
        };
        Reading { waiting, traffic, ..self.reading() }
    }

    fn load_now(&self) -> Load {
        Load {
            shard: self.id,
            messages: self.spool.live_messages(),
            bytes: self.spool.live_bytes(),
            queued: states(self.queue.counts()),
            clients: self.inbound.len() as u64,
            connections: self.outbound.len() as u64,
            sites: self.queue.sites() as u64,
            next_hops: self.queue.destinations() as u64,
            names_known: self.dns.names_known() as u64,
            intake_bytes: self.intake_held as u64,
            free_bytes: self.free.bytes,
            stores: !self.spool.is_down() && self.spool.has_room(),
            resumed: !self.spool.is_resuming(),
            draining: self.draining,
            ..Load::default()
        }
    }
}

fn states(counts: Counts) -> States {
    States {
        ready: counts.ready.into(),
        deferred: counts.deferred.into(),
        in_flight: counts.in_flight.into(),
        held: counts.held.into(),
    }
}

fn place(row: Row) -> Place {
    Place { name: row.name, queued: states(row.counts), oldest: row.oldest }
}
