//! A naive model of the queue: a map from entry to what must be true of it,
//! and a shard that answers in random ways.

mod op;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{MessageId, Monotonic, Now, ShardId, Wall};
pub use op::{Op, any_op};
use queue::{
    Act, Bounds, Counts, DestinationKey, Due, EntryKey, Health, New, NextHop, Phase, Place, Queue,
    Select, SiteKey, State, Sweep, Take, When, Work,
};

/// Next hops there are.
const HOPS: usize = 6;
/// Sites there are.
const SITES: usize = 3;
const LIMIT: u32 = 4;

#[derive(Debug)]
struct Known {
    state: State,
    hop: usize,
    expires: u64,
    until: u64,
    notice: Option<u64>,
    /// The shard got it as expired or removed.
    handed_over: bool,
    hold: bool,
    remove: bool,
}

pub struct Story {
    queue: Queue,
    now: Now,
    known: BTreeMap<EntryKey, Known>,
    connections: Vec<(SiteKey, Phase)>,
    asked: BTreeSet<DestinationKey>,
    messages: u64,
}

impl Story {
    pub fn new(idle_max: usize) -> Self {
        let now = Now::new(Monotonic::from_millis(5), Wall::from_millis(1 << 40));
        let bounds =
            Bounds { entries_max: 100, idle_destinations_max: idle_max, idle_sites_max: idle_max };
        Self {
            queue: Queue::new(now.mono, 9, bounds),
            now,
            known: BTreeMap::new(),
            connections: Vec::new(),
            asked: BTreeSet::new(),
            messages: 0,
        }
    }

    pub fn play(&mut self, op: Op) {
        match op {
            Op::Insert { hop, life, after, notice, urgent } => {
                let when = after.map_or(When::Now, |ms| When::At(self.wall(ms)));
                self.insert(hop, life, when, notice, urgent, 1);
            }
            Op::InsertHeld { hop, recipients } => {
                self.insert(hop, 400_000, When::Held, None, false, recipients);
            }
            Op::Pass { ms } => self.pass(ms),
            Op::Work { answer } => self.work(answer),
            Op::Ask { connection } => self.ask(connection),
            Op::Close { connection, failed } => self.close(connection, failed),
            Op::Settle { entry, how } => self.settle(entry, how),
            Op::Command { entry, act } => {
                if let Some(key) = pick(&self.known.keys().copied().collect::<Vec<_>>(), entry) {
                    self.command(key, act);
                }
            }
            Op::SweepHop { hop, act } => self.sweep(hop, act),
            Op::Reroute { entry, hop } => {
                if let Some(key) = pick(&self.known.keys().copied().collect::<Vec<_>>(), entry) {
                    let name = hop_name(hop);
                    assert!(self.queue.reroute(key, NextHop { name: &name, route: 0, exit: 0 }));
                    self.known.get_mut(&key).unwrap().hop = hop;
                }
            }
            Op::Site { site, how } => self.site(site, how),
            Op::Forget => self.queue.forget_resolutions(),
        }
    }

    /// Totals and every single entry.
    pub fn check(&self) {
        let mut counts = Counts::default();
        for (key, known) in &self.known {
            assert_eq!(self.queue.state(*key), Some(known.state), "{key:?} {known:?}");
            match known.state {
                State::Deferred => counts.deferred += 1,
                State::Ready => counts.ready += 1,
                State::InFlight => counts.in_flight += 1,
                State::Held => counts.held += 1,
            }
        }
        assert_eq!(self.queue.counts(), counts);
        for hop in 0..HOPS {
            let name = hop_name(hop);
            let here = self.known.values().filter(|known| known.hop == hop).count();
            let key = self.queue.find_destination(NextHop { name: &name, route: 0, exit: 0 });
            let total = key.map_or(0, |key| self.queue.destination(key).unwrap().1.total());
            assert_eq!(total as usize, here, "{name}");
        }
        for site in (0..SITES).filter_map(|site| self.queue.find_site(&site_name(site))) {
            let open = self.connections.iter().filter(|(at, _)| *at == site).count();
            let view = self.queue.site(site).unwrap();
            assert_eq!(view.open as usize, open);
            assert!(view.window >= 1);
            assert!(view.window <= view.limit);
        }
        let rows = self.queue.top_destinations(self.now, 100);
        let sum: u32 = rows.iter().map(|row| row.ages.iter().sum::<u32>()).sum();
        assert_eq!(sum, counts.total(), "the age table shows everything");
        let rows = self.queue.top_sites(self.now, 100);
        let sum: u32 = rows.iter().map(|row| row.ages.iter().sum::<u32>()).sum();
        assert_eq!(sum, counts.total(), "so does the one by site");
    }

    /// With every answer good and all limits gone, nothing stays behind.
    pub fn deliver_everything(&mut self) {
        for key in self.known.keys().copied().collect::<Vec<_>>() {
            if self.known[&key].handed_over {
                self.finish(key);
            } else if self.known[&key].state == State::InFlight {
                self.settle_key(key, 1);
            }
        }
        // No pause for a moment lasts longer, and only time ends one.
        self.pass(PAUSE_MS);
        for _ in 0..2_000 {
            (0..SITES).for_each(|site| self.site(site, 3));
            for key in self.known.keys().copied().collect::<Vec<_>>() {
                match self.known[&key] {
                    Known { handed_over: true, .. } => self.finish(key),
                    Known { state: State::Held, .. } => self.command(key, 2),
                    Known { state: State::Deferred, .. } => self.command(key, 0),
                    Known { state: State::Ready, .. } => self.command(key, 0),
                    Known { state: State::InFlight, .. } => self.finish(key),
                }
            }
            if self.known.is_empty() {
                break;
            }
            for key in std::mem::take(&mut self.asked) {
                self.answer(key, 0);
            }
            (0..30).for_each(|_| self.work(0));
            (0..self.connections.len()).for_each(|connection| self.ask(connection));
            self.check();
        }
        assert!(self.known.is_empty(), "{:?}", self.known);
        self.check();
    }

    fn insert(
        &mut self,
        hop: usize,
        life: u64,
        when: When,
        notice: Option<u64>,
        urgent: bool,
        recipients: usize,
    ) {
        self.messages += 1;
        for recipient in 0..recipients {
            let new = New {
                message: MessageId::from_u64(self.messages),
                place: Place::default(),
                writer: ShardId(1),
                recipient: recipient as u16,
                attempts: 0,
                arrived: self.now.wall,
                expires: self.wall(life),
                notice: notice.map(|ms| self.wall(ms)),
                urgent,
                in_doubt: false,
            };
            let name = hop_name(hop);
            let hop_ref = NextHop { name: &name, route: 0, exit: 0 };
            let Ok(key) = self.queue.insert(self.now, hop_ref, &new, when) else {
                assert_eq!(self.known.len(), 100, "refused although there is room");
                return;
            };
            let now = self.now.mono.as_millis();
            let (state, until) = match when {
                When::Now | When::Turn => (State::Ready, 0),
                When::At(at) => (State::Deferred, now + at.since(self.now.wall).as_millis() as u64),
                When::Held => (State::Held, 0),
            };
            let known = Known {
                state,
                hop,
                expires: now + life,
                until,
                notice: notice.map(|ms| (now + ms).div_ceil(1_000) * 1_000),
                handed_over: false,
                hold: false,
                remove: false,
            };
            assert!(self.known.insert(key, known).is_none(), "a key was given twice");
        }
    }

    /// Every lifetime ends on its millisecond, whatever the state; notices
    /// come once; deferred mail gets ready.
    fn pass(&mut self, ms: u64) {
        let span = Duration::from_millis(ms);
        self.now = Now::new(self.now.mono + span, self.now.wall + span);
        let mut due = Vec::new();
        while self.queue.next_deadline().is_some_and(|at| at <= self.now.mono) {
            self.queue.advance(self.now, &mut due);
        }
        let now = self.now.mono.as_millis();
        let mut expected = Vec::new();
        for (key, known) in self.known.iter_mut().filter(|(_, known)| !known.handed_over) {
            let in_flight = known.state == State::InFlight;
            if known.remove && !in_flight {
                expected.push(Due::Removed(*key));
                known.handed_over = true;
            } else if known.expires <= now {
                expected.push(Due::Expired { key: *key, attempt_open: in_flight });
                known.handed_over = true;
            } else {
                if known.notice.is_some_and(|at| at <= now) && !in_flight {
                    known.notice = None;
                    expected.push(Due::DelayNotice(*key));
                }
                if known.state == State::Deferred && known.until <= now {
                    known.state = State::Ready;
                }
            }
            if known.handed_over {
                known.state = State::InFlight;
            }
        }
        let order = |due: &Due| match due {
            Due::Expired { key, .. } | Due::DelayNotice(key) | Due::Removed(key) => *key,
        };
        due.sort_by_key(order);
        assert_eq!(due, expected, "at {now}");
    }

    fn work(&mut self, answer: usize) {
        let Some(work) = self.queue.poll_work(self.now) else { return };
        match work {
            Work::Resolve(key) if answer == 7 => {
                assert!(self.asked.insert(key), "asked twice");
            }
            Work::Resolve(key) => self.answer(key, answer),
            Work::Reject(key) => {
                let mut out = Vec::new();
                self.queue.drain(key, 2, &mut out);
                assert!((1..=2).contains(&out.len()));
                for key in out {
                    let known = self.known.get_mut(&key).unwrap();
                    assert_eq!(known.state, State::Ready);
                    known.state = State::InFlight;
                }
            }
            Work::Open(site) => {
                let view = self.queue.site(site).unwrap();
                assert_ne!(view.health, Health::Down);
                assert!(!view.paused);
                let allowed = if view.health == Health::Up { view.window } else { 1 };
                assert!(view.open <= allowed, "opened beyond the window");
                assert_eq!(view.idle, 0, "an idle one would have done");
                self.connections.push((site, Phase::Dispatched));
            }
            Work::Use(site) => {
                let idle = self.connections.iter_mut().find(|at| **at == (site, Phase::Idle));
                idle.expect("only idle connections are used").1 = Phase::Dispatched;
            }
        }
    }

    fn answer(&mut self, key: DestinationKey, answer: usize) {
        let until = self.now.mono + Duration::from_millis([500, 60_000][answer % 2]);
        match answer {
            0..=4 => {
                let site = site_name(answer % SITES);
                let known = self.queue.destination(key).is_some();
                let site = self.queue.resolved(self.now, key, &site, LIMIT, until);
                assert_eq!(site.is_some(), known);
            }
            5 => self.queue.resolve_failed(key, until, "SERVFAIL"),
            _ => self.queue.reject(key),
        }
    }

    fn ask(&mut self, connection: usize) {
        let asking: Vec<usize> = (0..self.connections.len())
            .filter(|at| matches!(self.connections[*at].1, Phase::Dispatched | Phase::Busy))
            .collect();
        let Some(at) = pick(&asking, connection) else { return };
        let (site, phase) = self.connections[at];
        let mut entries = Vec::new();
        let take = self.queue.take(self.now, site, phase, 3, &mut entries);
        self.connections[at].1 = Phase::Busy;
        match take {
            Take::Batch(batch) => {
                assert!((1..=3).contains(&entries.len()));
                for key in &entries {
                    let view = self.queue.entry(self.now, *key).unwrap();
                    assert_eq!(
                        (view.message, view.destination),
                        (batch.message, batch.destination)
                    );
                    let known = self.known.get_mut(key).unwrap();
                    assert_eq!(known.state, State::Ready);
                    known.state = State::InFlight;
                }
            }
            Take::Nothing => {
                assert_eq!(entries, []);
                self.queue.connection_idle(site);
                self.connections[at].1 = Phase::Idle;
            }
            Take::Close => {
                assert_eq!(entries, []);
                self.queue.connection_closed(site, Phase::Closing);
                self.connections.swap_remove(at);
            }
        }
    }

    fn close(&mut self, connection: usize, failed: bool) {
        let all: Vec<usize> = (0..self.connections.len()).collect();
        let Some(at) = pick(&all, connection) else { return };
        let (site, phase) = self.connections.swap_remove(at);
        self.queue.connection_closed(site, phase);
        if failed {
            let until = self.now.mono + Duration::from_millis(5_000);
            let others = self.connections.iter().any(|(other, _)| *other == site);
            let health = self.queue.site_failed(self.now.mono, site, until, "refused");
            assert_eq!(health == Health::Down, !others, "down only when nothing stands");
        }
    }

    fn settle(&mut self, entry: usize, how: usize) {
        let flying: Vec<EntryKey> = self
            .known
            .iter()
            .filter(|(_, known)| known.state == State::InFlight)
            .map(|(key, _)| *key)
            .collect();
        if let Some(key) = pick(&flying, entry) {
            self.settle_key(key, how);
        }
    }

    fn settle_key(&mut self, key: EntryKey, how: usize) {
        let known = self.known.get_mut(&key).unwrap();
        if how == 0 || known.handed_over && known.remove {
            self.finish(key);
            return;
        }
        known.handed_over = false;
        let held = known.hold || known.remove;
        known.hold = false;
        if how == 1 {
            assert!(self.queue.ready_again(self.now, key));
            known.state = State::Ready;
        } else {
            let ms = [0, 30_000][how - 2];
            let until = self.now.wall + Duration::from_millis(ms);
            assert!(self.queue.defer(self.now, key, until, 3, "later"));
            known.state = State::Deferred;
            known.until = self.now.mono.as_millis() + ms;
        }
        if held {
            known.state = State::Held;
        }
    }

    fn finish(&mut self, key: EntryKey) {
        assert!(self.queue.done(key));
        assert!(!self.queue.done(key));
        self.known.remove(&key);
    }

    fn command(&mut self, key: EntryKey, act: usize) {
        match act {
            0 => assert!(self.queue.flush(key)),
            1 => assert!(self.queue.hold(key)),
            2 => assert!(self.queue.release(key)),
            _ => {
                let ours = self.queue.remove(self.now, key);
                assert_eq!(ours, self.known[&key].state != State::InFlight);
            }
        }
        self.expect_command(key, act);
    }

    fn expect_command(&mut self, key: EntryKey, act: usize) {
        let now = self.now.mono.as_millis();
        let known = self.known.get_mut(&key).unwrap();
        match (act, known.state) {
            (0, State::Deferred) => known.state = State::Ready,
            (1, State::Deferred | State::Ready) => known.state = State::Held,
            (1, State::InFlight) => known.hold = true,
            (2, State::Held) if !known.remove => known.state = State::Ready,
            (2, State::InFlight) => known.hold = false,
            (3, State::InFlight) => known.remove = known.expires > now,
            (3, _) => {
                known.state = State::InFlight;
                known.handed_over = true;
                known.remove = true;
            }
            _ => {}
        }
    }

    fn sweep(&mut self, hop: usize, act: usize) {
        let name = hop_name(hop);
        let Some(at) = self.queue.find_destination(NextHop { name: &name, route: 0, exit: 0 })
        else {
            return;
        };
        let act_named = [Act::Flush, Act::Hold, Act::Release, Act::Remove][act];
        let mut sweep = Sweep::new(Select::Destination(at), act_named);
        let mut out = Vec::new();
        while self.queue.sweep(self.now, &mut sweep, 5, &mut out) {}
        let here: Vec<EntryKey> =
            self.known.iter().filter(|(_, known)| known.hop == hop).map(|(key, _)| *key).collect();
        let applies = |key: &&EntryKey| act < 3 || self.known[*key].state != State::InFlight;
        let mut expected: Vec<EntryKey> = here.iter().filter(applies).copied().collect();
        out.sort();
        expected.sort();
        assert_eq!(out, expected);
        here.into_iter().for_each(|key| self.expect_command(key, act));
    }

    fn site(&mut self, site: usize, how: usize) {
        let Some(key) = self.queue.find_site(&site_name(site)) else { return };
        match how {
            0 => {
                self.queue.site_succeeded(key);
            }
            1 => self.queue.site_slowed(key, "421"),
            2 => self.queue.pause(key, None),
            3 => self.queue.resume(key),
            4 => self.queue.pause(key, Some(self.now.mono + Duration::from_millis(PAUSE_MS))),
            _ => self.queue.set_limit(key, LIMIT - 1),
        }
    }

    fn wall(&self, ms: u64) -> Wall {
        self.now.wall + Duration::from_millis(ms)
    }
}

/// How long a site pauses for a moment.
const PAUSE_MS: u64 = 700;

fn hop_name(hop: usize) -> String {
    format!("mx:{hop}.example")
}

fn site_name(site: usize) -> String {
    format!("site {site}")
}

fn pick<T: Copy>(from: &[T], index: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[index % from.len()])
}
