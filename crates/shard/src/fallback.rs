//! Fallback: mail of a relay route whose hosts are all down goes the default
//! way instead, in the same attempt, until the hosts are probed again.
//!
//! Invariant: the default way never falls back, so mail falls once.

use control::{Mode, RouteIndex, Site};
use eventlog::{Field, Kind, Line};
use queue::{DestinationKey, EntryKey, Health, NextHop, SiteKey};

use crate::epoch::Way;
use crate::handoff::{hop_name, spool_place};
use crate::outbound::Via;
use crate::settle::Ended;
use crate::shard::{Shard, Turn};

impl Shard {
    /// Whether mail going `way` may go the default way when its hosts are down.
    pub(crate) fn may_fall_back(&self, way: &Way) -> bool {
        way.fallback && !way.is_default() && matches!(way.mode, Mode::Relay(_))
    }

    /// Whether the hosts of `way` are known to be down, and its mail may fall.
    pub(crate) fn falls_back_now(&self, way: &Way) -> bool {
        let site =
            || Site::of_relay(way, way.exit()).and_then(|site| self.queue.find_site(&site.key));
        let down = |site| self.queue.site(site).is_some_and(|site| site.health == Health::Down);
        self.may_fall_back(way) && site().is_some_and(down)
    }

    /// Lets all ready mail of a destination fall: it comes back from the queue
    /// as rejected mail does.
    pub(crate) fn let_fall(&mut self, destination: DestinationKey) {
        // Without ready mail the queue only forgets what it knew.
        if self.queue.destination(destination).is_some_and(|(_, counts)| counts.ready > 0) {
            self.lookups.falling.insert(destination);
        }
        self.queue.reject(destination);
    }

    /// All hosts have failed these entries: each falls, or bears the attempt, as
    /// its own route says. Routes with the same hosts share a connection.
    pub(crate) fn bear(
        &mut self,
        turn: &mut Turn<'_>,
        entries: &[EntryKey],
        failure: &Ended,
        via: &Via,
    ) {
        for key in entries.iter().rev() {
            let destination = self.queue.entry(turn.now, *key).map(|view| view.destination);
            match destination.filter(|to| self.mail_may_fall(*to)) {
                Some(destination) => {
                    self.fall_back(turn, *key);
                    // What comes after it is to fall at once as well.
                    self.let_fall(destination);
                }
                None => self.settle_attempt(turn, *key, failure, via),
            }
        }
    }

    /// No host of a site would do: lets all mail fall that waits for it and may.
    pub(crate) fn desert(&mut self, site: SiteKey, way: &Way) {
        // Who waits for mail exchangers has nowhere to fall.
        if !matches!(way.mode, Mode::Relay(_)) {
            return;
        }
        for destination in self.queue.waiting_at(site) {
            if self.mail_may_fall(destination) {
                self.let_fall(destination);
            }
        }
    }

    fn mail_may_fall(&self, destination: DestinationKey) -> bool {
        self.way_of(destination).is_some_and(|way| self.may_fall_back(&way))
    }

    /// Puts one entry, in flight now, at the front of the default way.
    pub(crate) fn fall_back(&mut self, turn: &mut Turn<'_>, key: EntryKey) {
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        let place = spool_place(view.place);
        let Some(address) = self.address_of(turn, view.message, place, view.recipient) else {
            return self.return_misplaced(turn, key, &view);
        };
        let way = self.policy.default_way();
        let route = self.epochs.route(RouteIndex::default());
        let apart = self.tells_apart(&address, turn.now.wall);
        let exit = self.exit_of(turn, way, view.message, place);
        let name = hop_name(way, &address, apart, &mut self.hop_name);
        self.queue.reroute(key, NextHop { name, route, exit });
        self.queue.ready_again(turn.now, key);
        if self.logs_mail() {
            let line = Line::new(turn.now.wall, Kind::Fallback).id(Field::Id, view.message);
            let why = "all hosts of the route are down";
            turn.log(line.show(Field::To, &address).text(Field::Reason, why));
        }
    }
}
