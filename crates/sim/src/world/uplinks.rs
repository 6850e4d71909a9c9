//! Links that programs raise and lower: `["/link/up", NAME]` and
//! `["/link/down", NAME]`, each with a fate of its own, and the addresses that
//! nothing may leave from while their link is down.
//!
//! Never runs anything: a program is a name, and its end comes in its time. A
//! connection from a guarded address while its link is down ends the test, and
//! so does lowering a link under a connection.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use base::secret::Secret;
use control::Ending;
use shard::errand::Errand;
use shard::event::Event;

use super::World;

/// The links of the machine.
#[derive(Debug, Default)]
pub struct Uplinks {
    /// Those that are up. Links outlive the program.
    pub up: BTreeSet<String>,
    /// What becomes of the next programs; nothing: as the odds say.
    pub next: VecDeque<Mishap>,
    /// Odds of a thousand that a program fails or stalls.
    pub odds: u64,
    /// Every program that was run, path and link.
    pub ran: Vec<String>,
    guarded: BTreeMap<IpAddr, String>,
    /// Links that will be up when their program has ended.
    rising: BTreeMap<(usize, u64), String>,
}

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Well.
    None,
    /// With an exit status, in words.
    Fails,
    /// Not within its time.
    Stalls,
}

/// What a program takes that ends well.
const TAKES: Duration = Duration::from_secs(3);

impl World {
    /// Nothing may leave from an address unless a link is up.
    pub fn guard(&mut self, from: [u8; 4], link: &str) {
        self.uplinks.guarded.insert(from.into(), link.to_owned());
    }

    pub(super) fn run_program(&mut self, shard: usize, number: u64, errand: &Errand) {
        let words = errand.program.words();
        let link = words.get(1).expect("a program of a link names it").to_string();
        let raises = words[0].ends_with("up");
        self.uplinks.ran.push(words.join(" "));
        if !raises {
            let open = |(_, name): (&IpAddr, &String)| *name == link;
            let from = self.uplinks.guarded.iter().find(|pair| open(*pair)).map(|(ip, _)| *ip);
            assert!(!self.network.is_used(from), "{link} is lowered under a connection");
            self.uplinks.up.remove(&link);
        }
        let mishap = self.uplinks.next.pop_front().unwrap_or_else(|| {
            match self.weather.strikes(self.uplinks.odds) {
                true if self.weather.strikes(500) => Mishap::Stalls,
                true => Mishap::Fails,
                false => Mishap::None,
            }
        });
        let exited =
            |code, said: &str| Ending::Exited { code, output: Secret::new(said.as_bytes()) };
        let (after, ending) = match mishap {
            Mishap::None => (TAKES, exited(0, "")),
            Mishap::Fails => (TAKES, exited(1, "NO CARRIER\n")),
            Mishap::Stalls => (errand.timeout, Ending::Overdue),
        };
        if raises && mishap == Mishap::None {
            self.uplinks.rising.insert((shard, number), link);
        }
        self.tell(shard, after, Event::Ran { number, ending });
    }

    /// A program has ended.
    pub(super) fn program_ends(&mut self, shard: usize, number: u64) {
        self.uplinks.up.extend(self.uplinks.rising.remove(&(shard, number)));
    }

    /// What began them is gone, and with it who would hear of their end.
    pub(super) fn programs_are_forgotten(&mut self) {
        self.uplinks.rising.clear();
    }

    /// A connection begins.
    pub(super) fn check_link(&self, from: Option<IpAddr>) {
        if let Some(link) = from.and_then(|from| self.uplinks.guarded.get(&from)) {
            assert!(self.uplinks.up.contains(link), "a connection by {link}, which is down");
        }
    }
}
