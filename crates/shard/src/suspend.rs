//! What an operator stopped, and what that means here. A next hop is looked at
//! before its name is looked up, and again when its site is known; mail that
//! one relay takes for everybody is told apart by its recipients' domains as
//! it is taken.
//!
//! Invariants: nothing that an order in force covers begins a transaction; what
//! had begun goes on; no attempt is counted; when an order ends, its mail is
//! asked for without anybody's help.

use std::sync::Arc;
use std::time::Duration;

use base::Wall;
use control::{Scope, Site, Suspensions, Whereabouts};
use eventlog::{Field, Kind, Line};
use mail::{Address, Host};
use queue::{Awaking, Batch, DestinationKey, EntryKey, NextHop, View};

use crate::armed::Timer;
use crate::epoch::Way;
use crate::handoff::{RELAY_HOP, spool_place};
use crate::shard::{Shard, Turn};
use crate::timetable::LOOK_EVERY;

/// Slots of the table of destinations looked at in one piece of work.
const SLOTS_PER_PIECE: u32 = 8_192;
/// Batches that a connection finds to be stopped before it pauses: each of
/// them is read.
pub(crate) const PARTED_RUN_MAX: u32 = 64;
/// How long it pauses; other work comes in between.
pub(crate) const PARTED_PAUSE: Duration = Duration::from_millis(5);

/// A stop: until when, if that is known, and what stands as the reason.
pub(crate) type Stop = (Option<Wall>, String);

impl Shard {
    /// Puts orders in force before the shard has seen anything.
    pub fn suspended_from_start(mut self, orders: Arc<Suspensions>) -> Self {
        assert!(!self.ticked_first, "nothing has happened yet");
        self.suspensions = orders;
        self
    }

    /// Other orders are in force from now on.
    pub(crate) fn order_suspensions(&mut self, turn: &mut Turn<'_>, orders: Arc<Suspensions>) {
        let old = std::mem::replace(&mut self.suspensions, orders);
        let domains = |list: &Suspensions| {
            list.iter().filter(|one| matches!(one.scope, Scope::Domain(_))).count()
        };
        let apart = domains(&old) + domains(&self.suspensions) > 0;
        for site in old.iter().filter_map(|one| site_of(&one.scope)) {
            self.judge_site(turn, site);
        }
        // Mail on its way to a relay changes its next hop with the orders.
        if apart && self.policy.ways().iter().any(|way| way.mode.is_one_place()) {
            self.start_rerouting(turn);
        }
        self.suspensions_changed(turn);
    }

    /// The end of an order has come.
    pub(crate) fn suspensions_due(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.wall;
        let all = self.suspensions.iter();
        let ended: Vec<Scope> =
            all.filter(|one| !one.is_on(now)).map(|one| one.scope.clone()).collect();
        if ended.is_empty() {
            return self.arm_suspensions(turn);
        }
        Arc::make_mut(&mut self.suspensions).forget_ended(now);
        for name in ended.iter().filter_map(site_of) {
            self.judge_site(turn, name);
        }
        if self.id.0 == 0 {
            for scope in &ended {
                let line = Line::new(now, Kind::Resumed).show(Field::Scope, scope);
                turn.log(line.text(Field::Reason, "its time is over"));
            }
        }
        self.suspensions_changed(turn);
    }

    /// Every next hop is looked at again: those that go before their next
    /// transaction, those that stand in pieces of work.
    pub(crate) fn suspensions_changed(&mut self, turn: &mut Turn<'_>) {
        let sites: Vec<Box<str>> =
            self.suspensions.iter().filter_map(|one| site_of(&one.scope)).map(Box::from).collect();
        for site in sites {
            self.judge_site(turn, &site);
        }
        self.look_at_all_again(turn);
        self.arm_suspensions(turn);
    }

    /// Asks anew of every next hop whether its mail may leave.
    pub(crate) fn look_at_all_again(&mut self, turn: &Turn<'_>) {
        self.queue.forget_resolutions();
        self.awaking = Some(Awaking::default());
        self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
    }

    /// Goes on with waking what was stopped. True: there is more to do.
    pub(crate) fn go_on_awaking(&mut self) -> bool {
        let Some(awaking) = &mut self.awaking else { return false };
        if self.queue.awake(awaking, SLOTS_PER_PIECE) {
            return true;
        }
        self.awaking = None;
        false
    }

    /// Whether mail for a next hop must wait, before it is looked up.
    pub(crate) fn stops_hop(&self, turn: &Turn<'_>, hop: &str, way: &Way) -> Option<Stop> {
        if self.suspensions.is_empty() {
            return self.outside_windows(turn.now.wall, way);
        }
        let for_all = hop == RELAY_HOP && way.mode.is_one_place();
        let domain = (!for_all).then_some(hop);
        let source = way.source().map(|source| &**source);
        let stop = self.stop(turn, &Whereabouts { domain, route: &way.name, site: None, source });
        stop.or_else(|| self.outside_windows(turn.now.wall, way))
    }

    /// Whether mail for a next hop must wait: an order may have come during its
    /// look-up.
    pub(crate) fn stops_found(
        &self,
        turn: &Turn<'_>,
        destination: DestinationKey,
        way: &Way,
    ) -> Option<Stop> {
        let (hop, _) = self.queue.destination(destination)?;
        self.stops_hop(turn, hop.name, way)
    }

    /// Whether the hosts of a relay way are stopped as a site.
    pub(crate) fn stops_relay(&self, turn: &Turn<'_>, way: &Way) -> bool {
        let stopped = |site: Site| {
            let scope = Scope::Site(site.key.into());
            self.suspensions.iter().any(|one| one.scope == scope && one.is_on(turn.now.wall))
        };
        !self.suspensions.is_empty() && Site::of_relay(way, way.exit()).is_some_and(stopped)
    }

    /// Stops a site, or lets it go, as the orders in force say.
    pub(crate) fn judge_site(&mut self, turn: &Turn<'_>, name: &str) {
        let Some(key) = self.queue.find_site(name) else { return };
        let scope = Scope::Site(name.into());
        let order = self.suspensions.iter().find(|one| one.scope == scope);
        match order.filter(|one| one.is_on(turn.now.wall)) {
            Some(order) => self.queue.suspend_site(key, order.until, &order.to_string()),
            None => self.queue.resume_site(key),
        }
    }

    /// Whether mail of one next hop may be stopped for some recipients.
    pub(crate) fn tells_apart(&self, address: &Address, now: Wall) -> bool {
        match address.host() {
            Host::Name(domain) => self.suspensions.of_domain(now, domain.as_str()).is_some(),
            Host::Literal(_) => false,
        }
    }

    /// Takes recipients of stopped domains out of a batch for a relay: they
    /// wait under their domain's name.
    pub(crate) fn part_suspended(
        &mut self,
        turn: &mut Turn<'_>,
        batch: Batch,
        entries: &mut Vec<EntryKey>,
    ) {
        let hop = self.queue.destination(batch.destination).map(|(hop, _)| hop);
        let Some(NextHop { name: RELAY_HOP, route, exit }) = hop else { return };
        if !self.suspensions.names_domains() {
            return;
        }
        let mut kept = Vec::with_capacity(entries.len());
        // The last first, so that those put back stand in order again.
        for key in entries.drain(..).rev() {
            match self.stopped_domain(turn, key) {
                Some(name) => {
                    self.queue.reroute(key, NextHop { name: &name, route, exit });
                    self.queue.ready_again(turn.now, key);
                }
                None => kept.push(key),
            }
        }
        entries.extend(kept.into_iter().rev());
    }

    fn stopped_domain(&self, turn: &Turn<'_>, key: EntryKey) -> Option<String> {
        let view = self.queue.entry(turn.now, key)?;
        let place = spool_place(view.place);
        let address = self.address_of(turn, view.message, place, view.recipient)?;
        self.tells_apart(&address, turn.now.wall).then(|| address.host().to_string())
    }

    /// What stops a waiting recipient, in words for operators.
    pub(crate) fn suspension_of(&self, turn: &Turn<'_>, view: &View, to: &str) -> Option<String> {
        let way = self.way_of(view.destination)?;
        let outside = || {
            let shut = self.outside_windows(turn.now.wall, &way).map(|(_, reason)| reason);
            shut.or_else(|| self.link_words(turn.now, &way))
        };
        if self.suspensions.is_empty() {
            return outside();
        }
        let site = self.queue.site_of(view.destination).and_then(|site| self.queue.site(site));
        let relay = Site::of_relay(&way, way.exit()).map(|site| site.key);
        let at = Whereabouts {
            domain: to.rsplit_once('@').map(|(_, domain)| domain),
            route: &way.name,
            site: site.map(|site| site.name).or(relay.as_deref()),
            source: way.source().map(|source| &**source),
        };
        self.stop(turn, &at).map(|(_, reason)| reason).or_else(outside)
    }

    /// Keeps a destination from being looked up.
    pub(crate) fn suspend(&mut self, destination: DestinationKey, (until, reason): Stop) {
        self.queue.suspend(destination, until, &reason);
    }

    fn stop(&self, turn: &Turn<'_>, at: &Whereabouts<'_>) -> Option<Stop> {
        let order = self.suspensions.find(turn.now.wall, at)?;
        Some((order.until, order.to_string()))
    }

    fn arm_suspensions(&mut self, turn: &Turn<'_>) {
        let now = turn.now;
        // The wall clock may jump over an end.
        let end = self.suspensions.next_end(now.wall).map(|at| at.min(now.wall + LOOK_EVERY));
        let end = end.map(|at| now.mono_at(at));
        self.suspensions_armed.set(&mut self.timers, end, Timer::Suspensions);
    }
}

fn site_of(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::Site(name) => Some(name),
        _ => None,
    }
}
