//! Links that are raised on demand: mail for a source whose link is not up
//! waits here, and each link's home decides for all shards when it is raised
//! and lowered (`control::uplink`).
//!
//! Invariants: no connection begins by a link that is not known to be up; mail
//! that waits for one counts no attempt; a link that nobody has heard of yet is
//! down. What waits is counted when the first comes, and once a second.
//!
//! Never runs a program: that is the runtime's, as an errand.

mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Map, Monotonic, Set};
use control::{Ending, LinkAct, LinkFailure, LinkState, Need, News, Source, Uplink};
use eventlog::{Field, Kind, Line};
use queue::{Awaking, DestinationKey, Phase, SiteKey};

use crate::armed::{Armed, Timer};
use crate::effect::Effect;
use crate::epoch::Way;
use crate::errand::{Errand, Output};
use crate::mesh::MeshMessage;
use crate::shard::{Shard, Turn};

/// How often a link in use is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often one that closes is.
const LOOK_CLOSING_EVERY: Duration = Duration::from_millis(100);

/// The links of all policies in force so far.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Those that this shard has mail for, or has heard of.
    known: BTreeMap<Arc<str>, Known>,
    /// Those whose home is this shard.
    at_home: BTreeMap<Arc<str>, Uplink>,
    /// Largest number of a link's news, of those that are forgotten.
    numbers: u64,
    /// Programs under way, by errand: the link, and how long it may take.
    errands: Map<u64, (Arc<str>, Duration)>,
    /// Something about a link has changed that its home should know now.
    unsaid: bool,
    pub(crate) armed: Armed,
}

/// A link as one shard sees it.
#[derive(Debug, Default)]
struct Known {
    heard: u64,
    state: LinkState,
    told: Need,
    /// Next hops and sites whose mail was put to wait.
    destinations: Set<DestinationKey>,
    sites: Set<SiteKey>,
    since: Option<Monotonic>,
    urgent: bool,
    /// It was passed since the last look.
    used: bool,
}

impl Links {
    /// Nothing is under way that a stop would cut off.
    pub(crate) fn are_at_rest(&self) -> bool {
        self.at_home.values().all(Uplink::is_at_rest)
    }

    fn state(&self, name: &str) -> &LinkState {
        self.known.get(name).map_or(&LinkState::Down, |known| &known.state)
    }

    /// Until when a source cannot be used because its link cannot be raised.
    pub(crate) fn failed_until(&self, source: &Source) -> Option<Monotonic> {
        source.on_demand.as_ref()?;
        match self.state(&source.name) {
            LinkState::Failed { until, .. } => Some(*until),
            _ => None,
        }
    }
}

impl Shard {
    /// The source of a way whose link is not up.
    fn shut<'a>(&self, way: &'a Way) -> Option<&'a Source> {
        let source = way.source().filter(|source| source.on_demand.is_some())?;
        (*self.links.state(&source.name) != LinkState::Up).then_some(&**source)
    }

    /// Whether connections of a way must not begin, or go on, for its link's
    /// sake.
    pub(crate) fn is_shut(&self, way: &Way) -> bool {
        self.shut(way).is_some()
    }

    /// Puts the mail of a next hop to wait if its link is not up.
    pub(crate) fn waits_for_link(
        &mut self,
        turn: &Turn<'_>,
        destination: DestinationKey,
        way: &Way,
    ) -> bool {
        let Some(source) = self.shut(way) else { return false };
        self.queue.suspend(destination, None, &waits_for(&source.name));
        self.links
            .wait(&source.name, turn.now.mono, |known| known.destinations.insert(destination));
        true
    }

    /// The queue wants a connection to a site: puts the site to wait if its
    /// link is not up.
    pub(crate) fn site_waits_for_link(
        &mut self,
        turn: &Turn<'_>,
        site: SiteKey,
        way: &Way,
    ) -> bool {
        if let Some(source) = self.shut(way) {
            self.queue.suspend_site(site, None, &waits_for(&source.name));
            self.queue.connection_closed(site, Phase::Dispatched);
            self.links.wait(&source.name, turn.now.mono, |known| known.sites.insert(site));
            return true;
        }
        let source = way.source().filter(|source| source.on_demand.is_some());
        if let Some(known) = source.and_then(|source| self.links.known.get_mut(&*source.name)) {
            known.used = true;
            self.links.unsaid |= known.told.in_use == 0;
        }
        false
    }

    /// An operator wants mail of a way to leave now.
    pub(crate) fn urge_link(&mut self, way: &Way) {
        let Some(source) = self.shut(way) else { return };
        self.links.known(&source.name).urgent = true;
        self.links.unsaid = true;
    }

    /// Another policy is in force.
    pub(crate) fn adopt_links(&mut self, turn: &mut Turn<'_>) {
        let names: Vec<Arc<str>> = self.links.known.keys().cloned().collect();
        for name in names {
            self.let_sites_go(turn, &name);
        }
        let policy = self.policy.clone();
        let settings = |name: &str| policy.exits.source(name)?.on_demand.clone();
        for (name, link) in &mut self.links.at_home {
            link.set(turn.now.mono, settings(name));
        }
        self.links.known.retain(|name, known| {
            let quiet = known.told.waiting == 0 && known.told.in_use == 0;
            settings(name).is_some() || known.state != LinkState::Down || !quiet
        });
        self.links.unsaid |= !self.links.known.is_empty();
        self.do_at_home(turn);
    }

    /// The daemon ends: links that it raised are lowered.
    pub(crate) fn drain_links(&mut self, turn: &mut Turn<'_>) {
        for link in self.links.at_home.values_mut() {
            link.drain(turn.now.mono);
        }
        self.do_at_home(turn);
    }

    /// Time to look at links.
    pub(crate) fn links_due(&mut self, turn: &mut Turn<'_>) {
        for link in self.links.at_home.values_mut() {
            link.advance(turn.now.mono);
        }
        self.do_at_home(turn);
        self.say_needs(turn);
        for known in self.links.known.values_mut() {
            known.used = false;
        }
        self.arm_links(turn.now.mono);
    }

    /// Tells links' homes what has changed, if something has.
    pub(crate) fn say_unsaid(&mut self, turn: &mut Turn<'_>) {
        if std::mem::take(&mut self.links.unsaid) {
            self.say_needs(turn);
            self.arm_links(turn.now.mono);
        }
    }

    fn say_needs(&mut self, turn: &mut Turn<'_>) {
        let names: Vec<Arc<str>> = self.links.known.keys().cloned().collect();
        for name in names {
            let need = self.need_of(turn, &name);
            let known = self.links.known(&name);
            known.urgent = false;
            if need == known.told {
                continue;
            }
            known.told = Need { urgent: false, ..need };
            let home = control::owner(&name, self.shards);
            self.send(turn, home, MeshMessage::LinkNeed { link: name, need });
        }
    }

    /// What this shard needs of a link.
    fn need_of(&mut self, turn: &Turn<'_>, name: &Arc<str>) -> Need {
        let in_use = match self.links.state(name) {
            LinkState::Up | LinkState::Closing => self.uses_of(name),
            _ => 0,
        };
        let waiting = self.count_waiting(turn, name);
        let known = self.links.known(name);
        known.since = known.since.or(Some(turn.now.mono)).filter(|_| waiting > 0);
        let Known { since, urgent, heard, used, .. } = *known;
        Need { waiting, since, urgent, in_use: in_use.max(used.into()), heard }
    }

    /// Recipients that wait for a link, no more than raise it. What has none
    /// any more is let go, to be stopped again when it has.
    fn count_waiting(&mut self, turn: &Turn<'_>, name: &Arc<str>) -> u32 {
        let settings = self.policy.exits.source(name).and_then(|source| source.on_demand.as_ref());
        let enough = settings.map_or(1, |settings| settings.recipients);
        let (mut waiting, mut sites, mut destinations) = (0u32, Vec::new(), Vec::new());
        let known = self.links.known.entry(name.clone()).or_default();
        for site in &known.sites {
            match self.queue.site(*site).map_or(0, |site| site.counts.ready) {
                0 => sites.push(*site),
                ready => waiting = waiting.saturating_add(ready),
            }
            if waiting >= enough {
                return enough;
            }
        }
        for key in &known.destinations {
            match self.queue.destination(*key).map_or(0, |(_, counts)| counts.ready) {
                0 => destinations.push(*key),
                ready => waiting = waiting.saturating_add(ready),
            }
            if waiting >= enough {
                return enough;
            }
        }
        for site in sites {
            self.links.known(name).sites.remove(&site);
            self.let_site_go(turn, site);
        }
        for key in destinations {
            self.links.known(name).destinations.remove(&key);
            self.queue.awake_one(key);
        }
        waiting
    }

    /// Connections by a link, and what is on its way to become one.
    fn uses_of(&self, name: &str) -> u32 {
        let by = |way: &Way| way.source().is_some_and(|source| *source.name == *name);
        let open = self.outbound.values().filter(|out| by(&out.way)).count();
        let diagnosed = self.diagnosis.as_ref().is_some_and(|it| by(it.way()));
        let asked = self.lookups.asking().any(|key| self.way_of(key).is_some_and(|way| by(&way)));
        let count = open + usize::from(diagnosed) + usize::from(asked || self.awaking.is_some());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// A shard says what it needs of a link whose home this is.
    pub(crate) fn link_needed(
        &mut self,
        turn: &mut Turn<'_>,
        from: base::ShardId,
        link: Arc<str>,
        need: Need,
    ) {
        if !self.links.at_home.contains_key(&link) {
            let mut new = Uplink::new(self.shards, self.links.numbers);
            let source = self.policy.exits.source(&link);
            new.set(turn.now.mono, source.and_then(|source| source.on_demand.clone()));
            if self.draining {
                new.drain(turn.now.mono);
            }
            self.links.at_home.insert(link.clone(), new);
        }
        let uplink = self.links.at_home.get_mut(&link).expect("it was just put there");
        uplink.need(turn.now.mono, from, need);
        self.do_at_home(turn);
    }

    /// Does what links whose home this is want done.
    fn do_at_home(&mut self, turn: &mut Turn<'_>) {
        let names: Vec<Arc<str>> = self.links.at_home.keys().cloned().collect();
        for name in names {
            while let Some(act) = self.links.at_home.get_mut(&name).and_then(Uplink::poll) {
                match act {
                    LinkAct::Tell(news) => self.spread(turn, &name, &news),
                    LinkAct::Run { program, timeout, raises } => {
                        let output = Output::All;
                        let errand = Errand { program, timeout, output, outlives: !raises };
                        let number = self.next_errand();
                        self.links.errands.insert(number, (name.clone(), timeout));
                        let errand = Box::new(errand);
                        turn.effects.push(Effect::Run { number, errand });
                    }
                }
            }
        }
        let Links { at_home, numbers, .. } = &mut self.links;
        at_home.retain(|_, link| {
            let forgotten = link.is_forgotten();
            if forgotten {
                *numbers = link.number().max(*numbers);
            }
            !forgotten
        });
        self.arm_links(turn.now.mono);
    }

    fn spread(&mut self, turn: &mut Turn<'_>, name: &Arc<str>, news: &News) {
        let now = turn.now;
        let line = Line::new(now.wall, Kind::Link).text(Field::Source, name);
        let line = line.text(Field::Link, news.state.word());
        let (reason, until) = news.state.trouble().unzip();
        let line = line.show_some(Field::Reason, reason);
        turn.log(line.time_some(Field::Until, until.map(|at| now.wall_at(at))));
        for shard in 0..self.shards {
            let message = MeshMessage::LinkNews { link: name.clone(), news: news.clone() };
            self.send(turn, base::ShardId(shard), message);
        }
    }

    /// A program of a link has ended.
    pub(crate) fn link_ran(&mut self, turn: &mut Turn<'_>, number: u64, ending: &Ending) {
        let Some((name, timeout)) = self.links.errands.remove(&number) else { return };
        let cut_off = matches!(ending, Ending::Overdue);
        let result = ending.clone().done(timeout, true).map(|_| ());
        let result = result.map_err(|reason| LinkFailure { reason: reason.into(), cut_off });
        if let Some(link) = self.links.at_home.get_mut(&name) {
            link.ended(turn.now.mono, result);
        }
        self.do_at_home(turn);
    }

    /// The home of a link tells how it is.
    pub(crate) fn link_told(&mut self, turn: &mut Turn<'_>, link: &Arc<str>, news: News) {
        let known = self.links.known(link);
        (known.heard, known.state) = (news.number, news.state);
        self.links.unsaid = true;
        match self.links.state(link) {
            LinkState::Up => {
                let known = self.links.known(link);
                known.used = !known.destinations.is_empty() || !known.sites.is_empty();
                known.since = None;
                if !std::mem::take(&mut known.destinations).is_empty() {
                    self.awake_all(turn);
                }
                self.let_sites_go(turn, link);
            }
            LinkState::Closing => self.close_link(turn, link),
            // What has another way out takes that.
            LinkState::Failed { .. } if self.is_in_a_pool(link) => {
                self.awake_all(turn);
                self.let_sites_go(turn, link);
            }
            _ => {}
        }
    }

    fn is_in_a_pool(&self, name: &str) -> bool {
        let mut pools = self.policy.exits.pools.iter();
        pools.any(|pool| pool.members.iter().any(|(source, _)| *source.name == *name))
    }

    /// Lets sites that wait for a link ask again.
    fn let_sites_go(&mut self, turn: &Turn<'_>, link: &Arc<str>) {
        for site in std::mem::take(&mut self.links.known(link).sites) {
            self.let_site_go(turn, site);
        }
    }

    fn let_site_go(&mut self, turn: &Turn<'_>, site: SiteKey) {
        // An operator may have stopped it too.
        let name: Option<Box<str>> = self.queue.site(site).map(|site| site.name.into());
        if let Some(name) = name {
            self.judge_site(turn, &name);
        }
    }

    /// No new transaction begins by a link: its sites stop, and connections
    /// without work end.
    fn close_link(&mut self, turn: &mut Turn<'_>, link: &Arc<str>) {
        self.links.known(link).used = false;
        let sites: Vec<SiteKey> = self.sites_by(link);
        for site in sites {
            self.queue.suspend_site(site, None, &waits_for(link));
            self.links.known(link).sites.insert(site);
            for conn in self.idle.get(&site).cloned().unwrap_or_default() {
                if let Some(out) = self.pick(conn) {
                    self.dismiss(turn, conn, out);
                }
            }
        }
    }

    /// Sites whose connections leave by a link, in order.
    fn sites_by(&self, link: &str) -> Vec<SiteKey> {
        let by = |way: &Way| way.source().is_some_and(|source| *source.name == *link);
        let sites = self.targets.iter().filter(|(_, target)| by(&target.way));
        let mut sites: Vec<SiteKey> = sites.map(|(site, _)| *site).collect();
        sites.sort_unstable();
        sites
    }

    fn awake_all(&mut self, turn: &Turn<'_>) {
        self.awaking = Some(Awaking::default());
        self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
    }

    fn arm_links(&mut self, now: Monotonic) {
        let look = self.links.known.values().filter_map(|known| match known.state {
            LinkState::Closing => Some(now + LOOK_CLOSING_EVERY),
            LinkState::Up => Some(now + LOOK_EVERY),
            _ if known.sites.is_empty() && known.destinations.is_empty() => None,
            _ => Some(now + LOOK_EVERY),
        });
        let home = self.links.at_home.values().filter_map(Uplink::next_deadline);
        let next = look.chain(home).min();
        self.links.armed.set(&mut self.timers, next, Timer::Links);
    }
}

impl Links {
    fn known(&mut self, name: &str) -> &mut Known {
        if !self.known.contains_key(name) {
            self.known.insert(name.into(), Known::default());
        }
        self.known.get_mut(name).expect("it was just put there")
    }

    /// Notes that something waits for a link.
    fn wait(&mut self, name: &str, now: Monotonic, note: impl FnOnce(&mut Known) -> bool) {
        let known = self.known(name);
        note(known);
        known.since.get_or_insert(now);
        self.unsaid |= self.known[name].told.waiting == 0;
    }
}

/// What stands in tables, whatever the link does meanwhile.
fn waits_for(link: &str) -> String {
    format!("waits for its link, {link}")
}
