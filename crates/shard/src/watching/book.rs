//! What is known of what operators look at: the sessions with what they carry,
//! the early lines of each, the names and limits that belong to a domain.
//!
//! Knows no shard. Invariants: early lines are bounded for each session and for
//! all; each goes once to each place.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use base::{ConnId, Map, MessageId};
use control::{Direction, Sighting, Slots, Watches};
use eventlog::{Field, Kind, Line};

use crate::effect::Effect;
use crate::outbound::Outbound;
use crate::shard::Turn;

/// Octets of lines kept of one session that is not meant yet.
const EARLY_BYTES_MAX: usize = 8 << 10;
/// … and of all of a shard.
const EARLY_ALL_BYTES_MAX: usize = 8 << 20;
/// Recipients' domains of one message that are told apart.
pub(super) const DOMAINS_MAX: usize = 100;
/// Names of hosts, and of limits, that belong to domains that are looked at.
const NAMES_MAX: usize = 256;
/// Stands for the event log among the slots.
pub(super) const LOG: Slots = 1 << 31;
const _: () = assert!(control::watch::WATCHES_MAX < 31, "a bit is left for the log");

/// What is looked at, and what is known for it; there only while somebody looks.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(super) watches: Arc<Watches>,
    all: Slots,
    attached: Slots,
    pub(super) sessions: Map<ConnId, Looked>,
    /// Names that are asked for on behalf of a domain, and limits that hold it.
    pub(super) hosts: Vec<(Slots, Box<str>)>,
    pub(super) limits: Vec<(Slots, Box<str>)>,
    /// Octets of early lines.
    held: usize,
}

/// One session.
#[derive(Debug)]
pub(super) struct Looked {
    direction: Direction,
    peer: Option<IpAddr>,
    source: Box<str>,
    pub(super) message: Option<MessageId>,
    pub(super) sender: Option<Box<str>>,
    pub(super) domains: Vec<Box<str>>,
    /// Those that mean it now.
    slots: Slots,
    early: VecDeque<Early>,
    early_bytes: usize,
    left_out: u32,
    /// A transaction has begun at some time.
    begun: bool,
}

/// A line from before the session was meant by all.
#[derive(Debug)]
struct Early {
    line: Box<[u8]>,
    /// Where it has gone.
    given: Slots,
    /// It was said before the first transaction.
    head: bool,
}

impl Watching {
    pub(super) fn new(watches: Arc<Watches>) -> Self {
        Self {
            watches,
            all: 0,
            attached: 0,
            sessions: Map::default(),
            hosts: Vec::new(),
            limits: Vec::new(),
            held: 0,
        }
    }

    pub(super) fn adopt(&mut self, watches: Arc<Watches>) {
        // Another watch may have got the slot of one that has ended.
        let same = watches.shared_with(&self.watches);
        for list in [&mut self.hosts, &mut self.limits] {
            list.iter_mut().for_each(|(slots, _)| *slots &= same);
            list.retain(|(slots, _)| *slots != 0);
        }
        for looked in self.sessions.values_mut() {
            looked.slots &= same;
            looked.early.iter_mut().for_each(|early| early.given &= same | LOG);
        }
        (self.all, self.attached) = (watches.slots(), watches.attached());
        self.watches = watches;
    }

    /// Where lines go that these mean.
    pub(super) fn places(&self, slots: Slots) -> Slots {
        let log = if slots & !self.attached != 0 { LOG } else { 0 };
        slots & self.attached | log
    }

    /// Where a line of a session goes; it is kept for those that may come to
    /// mean the session later.
    pub(super) fn of_session(&mut self, conn: ConnId, line: &[u8], log: Slots) -> Slots {
        let Some(looked) = self.sessions.get(&conn) else { return log };
        let to = self.places(looked.slots) | log;
        if self.all & !looked.slots != 0 {
            self.keep(conn, line, to);
        }
        to
    }

    fn keep(&mut self, conn: ConnId, line: &[u8], given: Slots) {
        let Some(looked) = self.sessions.get_mut(&conn) else { return };
        let fits = looked.early_bytes + line.len() <= EARLY_BYTES_MAX
            && self.held + line.len() <= EARLY_ALL_BYTES_MAX;
        if !fits {
            looked.left_out += 1;
            return;
        }
        looked.early_bytes += line.len();
        self.held += line.len();
        looked.early.push_back(Early { line: line.into(), given, head: !looked.begun });
    }

    /// Takes a session out for its next transaction: what was said in the one
    /// before is of no use any more.
    pub(super) fn begin(&mut self, conn: ConnId) -> Option<Looked> {
        let mut looked = self.sessions.remove(&conn)?;
        self.held -= looked.early_bytes;
        looked.early.retain(|early| early.head);
        looked.early_bytes = looked.early.iter().map(|early| early.line.len()).sum();
        self.held += looked.early_bytes;
        looked.begun = true;
        (looked.message, looked.sender, looked.left_out) = (None, None, 0);
        looked.domains.clear();
        Some(looked)
    }

    /// Looks anew who means a session; who does for the first time is given
    /// what was said before.
    pub(super) fn rematch(&mut self, turn: &mut Turn<'_>, conn: ConnId) {
        let Some(looked) = self.sessions.get_mut(&conn) else { return };
        let slots = self.watches.meeting(&looked.sighting());
        let gained = slots & !looked.slots;
        looked.slots = slots;
        if gained == 0 {
            return;
        }
        let places = self.places(slots);
        let Some(looked) = self.sessions.get_mut(&conn) else { return };
        for early in &mut looked.early {
            give(turn, places & !early.given, &early.line);
            early.given |= places;
        }
        let left_out = std::mem::take(&mut looked.left_out);
        if left_out > 0 {
            let line = Line::new(turn.now.wall, Kind::LinesLost).number(Field::Lines, left_out);
            give(turn, places, &line.end());
        }
        if self.all & !slots == 0 {
            looked.early.clear();
            self.held -= std::mem::take(&mut looked.early_bytes);
        }
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        if let Some(looked) = self.sessions.remove(&conn) {
            self.held -= looked.early_bytes;
        }
    }

    /// Forgets sessions that have ended, when they are many.
    pub(super) fn forget_ended(&mut self, open: usize, there: impl Fn(&ConnId) -> bool) {
        if self.sessions.len() <= 2 * open + 64 {
            return;
        }
        self.sessions.retain(|conn, _| there(conn));
        self.held = self.sessions.values().map(|looked| looked.early_bytes).sum();
    }

    pub(super) fn follows_names(&self) -> bool {
        self.watches.iter().any(|watch| watch.focus.looked_up().is_some())
    }

    /// Those that mean a name that is looked up.
    pub(super) fn of_name(&self, name: &str) -> Slots {
        let domain = self
            .watches
            .iter()
            .filter(|watch| watch.focus.looked_up().is_some_and(|domain| domain.as_str() == name));
        domain.fold(named(&self.hosts, name), |slots, watch| slots | watch.bit())
    }
}

impl Looked {
    fn new(direction: Direction) -> Self {
        Self {
            direction,
            peer: None,
            source: Box::default(),
            message: None,
            sender: None,
            domains: Vec::new(),
            slots: 0,
            early: VecDeque::new(),
            early_bytes: 0,
            left_out: 0,
            begun: false,
        }
    }

    pub(super) fn of_client(peer: IpAddr) -> Self {
        Self { peer: Some(peer), ..Self::new(Direction::In) }
    }

    pub(super) fn of_host(out: &Outbound) -> Self {
        let leg = out.leg();
        let source = out.way.source().map(|source| source.name.clone());
        Self {
            peer: leg.socket.is_none().then(|| leg.addr.ip()),
            source: source.unwrap_or_default(),
            ..Self::new(Direction::Out)
        }
    }

    fn sighting(&self) -> Sighting<'_> {
        Sighting {
            direction: self.direction,
            peer: self.peer,
            source: &self.source,
            message: self.message,
            sender: self.sender.as_deref(),
            domains: &self.domains,
        }
    }

    pub(super) fn add_domain(&mut self, domain: &str) {
        if self.domains.len() < DOMAINS_MAX && !self.domains.iter().any(|it| **it == *domain) {
            self.domains.push(domain.into());
        }
    }
}

/// Hands a line to the event log and to those who are attached.
pub(super) fn give(turn: &mut Turn<'_>, places: Slots, line: &[u8]) {
    if places & LOG != 0 {
        turn.log_bytes(line);
    }
    let to = places & !LOG;
    if to == 0 {
        return;
    }
    match turn.effects.last_mut() {
        Some(Effect::Trace { slots, lines }) if *slots == to => lines.extend_from_slice(line),
        _ => turn.effects.push(Effect::Trace { slots: to, lines: line.to_vec() }),
    }
}

pub(super) fn named(list: &[(Slots, Box<str>)], name: &str) -> Slots {
    list.iter().find(|(_, known)| **known == *name).map_or(0, |(slots, _)| *slots)
}

pub(super) fn note(list: &mut Vec<(Slots, Box<str>)>, slots: Slots, name: &str) {
    if slots == 0 {
        return;
    }
    if let Some((known, _)) = list.iter_mut().find(|(_, known)| **known == *name) {
        *known |= slots;
    } else if list.len() < NAMES_MAX {
        list.push((slots, name.into()));
    }
}
