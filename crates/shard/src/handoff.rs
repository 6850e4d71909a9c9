//! From the shard that stored a message to the shards that deliver it: a
//! descriptor per recipient, in batches, and outcomes back. Storage and
//! ownership are two things (design §3): who owns a recipient is computed from
//! the policy each time and never stored.

use base::planted::{Bug, planted};
use base::{MessageId, ShardId};
use control::placement::{Placement, place};
use control::{Delivery, Fate, InDoubtPolicy, Policy};
use mail::{Address, Host, Status};
use queue::{New, NextHop, When};
use spool::{Place, Restated};

use crate::effect::Effect;
use crate::epoch::Epochs;
use crate::mesh::{Descriptor, MeshMessage, SettledAs, Settlement};
use crate::shard::{Shard, Turn};

/// Recovered messages handed out in one step: a deep queue must not keep new
/// mail waiting.
const RECOVERED_PER_STEP: usize = 256;
/// What all mail that goes to one place by one route is called in the queue.
pub(crate) const RELAY_HOP: &str = "relay";
/// Stands for a recipient's address that cannot be read.
const NAMELESS: &str = "unreadable@unreadable.invalid";

impl Shard {
    /// A message is durable: its recipients go to their owners.
    pub(crate) fn hand_off_message(&mut self, turn: &mut Turn<'_>, message: MessageId) {
        let stored = match self.spool.message(&*turn.medium, message) {
            Ok(stored) => stored,
            Err(error) => return self.hold_unreadable(turn, message, &error.to_string()),
        };
        let fresh = Descriptor {
            message,
            place: stored.place(),
            recipient: 0,
            attempts: 0,
            arrived: stored.arrival(),
            due: stored.arrival(),
            held: false,
            in_doubt: false,
            delay_noticed: stored.is_report() || stored.sender().is_empty(),
            taken: false,
            route: None,
        };
        let last = usize::from(stored.recipient_count() - 1).max(1);
        let count = if planted(Bug::LastRecipientDropped) { last } else { usize::MAX };
        for (index, recipient) in (0u16..).zip(stored.recipients()).take(count) {
            let descriptor = Descriptor { recipient: index, ..fresh.clone() };
            self.place_recipient(turn, descriptor, recipient.address);
        }
    }

    /// Goes on handing out what a start found in the log. True: there is more
    /// that could be done now.
    pub(crate) fn hand_off_recovered(&mut self, turn: &mut Turn<'_>) -> bool {
        for _ in 0..RECOVERED_PER_STEP {
            let Some(stored) = self.spool.next_recovered(&*turn.medium) else {
                // While doubts wait for a segment nothing can be done here.
                return self.spool.is_resuming() && self.spool.doubts().is_empty();
            };
            let message = stored.id();
            self.hand_off_pending(turn, message);
        }
        true
    }

    /// The same for a message that has a past.
    pub(crate) fn hand_off_pending(&mut self, turn: &mut Turn<'_>, message: MessageId) {
        let stored = match self.spool.message(&*turn.medium, message) {
            Ok(stored) => stored,
            Err(error) => return self.hold_unreadable(turn, message, &error.to_string()),
        };
        self.log_recovered(turn.now, turn.effects, &stored);
        let quiet = stored.is_report() || stored.sender().is_empty();
        for (index, recipient) in (0u16..).zip(stored.recipients()) {
            let Some(state) = self.spool.state(message, index) else { continue };
            let held = match state.phase {
                spool::Phase::Done(_) => continue,
                spool::Phase::Held => !planted(Bug::HoldForgotten),
                spool::Phase::Waiting => false,
            };
            let doubted = state.in_doubt
                && state.crashes > 0
                && self.policy.queue.in_doubt_policy == InDoubtPolicy::Hold;
            let poisonous = state.crashes >= base::limits::OPEN_ATTEMPT_CRASHES_MAX;
            let descriptor = Descriptor {
                message,
                place: stored.place(),
                recipient: index,
                attempts: if planted(Bug::AttemptsForgotten) { 0 } else { state.attempts },
                arrived: stored.arrival(),
                due: state.next,
                held: held || doubted || poisonous,
                in_doubt: state.in_doubt,
                delay_noticed: state.delay_noticed || quiet,
                taken: false,
                route: None,
            };
            self.place_recipient(turn, descriptor, recipient.address);
        }
    }

    /// Sends a recipient to its owner, which may be this shard.
    fn place_recipient(&mut self, turn: &Turn<'_>, descriptor: Descriptor, address: &str) {
        let Ok(address) = Address::parse(address, true) else {
            unreachable!("only parsed addresses are stored, and the head's checksum held");
        };
        match self.fate_of(&descriptor, &address) {
            Fate::Deliver => {}
            fate => return self.unknown_user(turn, &descriptor, &address, fate),
        }
        let way = way_for(&self.policy, &self.epochs, &address, descriptor.route);
        match place(way, &address, self.shards) {
            Placement::Owner(owner)
                if owner != self.id && planted(Bug::HandOffLost) && self.spool.is_resuming() => {}
            Placement::Owner(owner) if owner != self.id => {
                self.handoffs[usize::from(owner.0)].push(descriptor);
            }
            _ => self.enqueue(turn, &descriptor, &address, self.id),
        }
    }

    /// Recipients handed over by another shard.
    pub(crate) fn take_over(
        &mut self,
        turn: &mut Turn<'_>,
        from: ShardId,
        descriptors: Vec<Descriptor>,
    ) {
        for descriptor in descriptors {
            match self.address_of(turn, descriptor.message, descriptor.place, descriptor.recipient)
            {
                Some(address) => self.enqueue(turn, &descriptor, &address, from),
                None if planted(Bug::MisplacedLost) => {}
                // Cleaned away under our hands: the writer knows where it went.
                None => self.send(turn, from, MeshMessage::Misplaced(vec![descriptor])),
            }
        }
    }

    /// Another shard did not find messages where we said they were.
    pub(crate) fn replace(&mut self, turn: &mut Turn<'_>, descriptors: Vec<Descriptor>) {
        if planted(Bug::MisplacedLost) {
            return;
        }
        for descriptor in descriptors {
            let message = descriptor.message;
            let state = self.spool.state(message, descriptor.recipient);
            let state = state.filter(|state| !matches!(state.phase, spool::Phase::Done(_)));
            let (Some(place), Some(state)) = (self.spool.place(message), state) else { continue };
            let delay_noticed = state.delay_noticed;
            let descriptor = Descriptor { place, delay_noticed, ..descriptor };
            match self.address_of(turn, message, place, descriptor.recipient) {
                Some(address) => self.place_recipient(turn, descriptor, &address.to_string()),
                None => {
                    let why = spool::Unreadable::LocalDamaged.to_string();
                    if state.phase == spool::Phase::Waiting {
                        self.quarantine(turn, message, &why);
                    }
                    self.hold_nameless(turn, descriptor, state.phase, &why);
                }
            }
        }
    }

    /// The head of a message written here cannot be read: what is not done of
    /// it is held, in the log too, and waits for an operator in this shard.
    fn hold_unreadable(&mut self, turn: &mut Turn<'_>, message: MessageId, why: &str) {
        let Some(place) = self.spool.place(message) else { return };
        let Some(states) = self.spool.states(message) else { return };
        let states: Vec<spool::State> = states.collect();
        self.quarantine(turn, message, why);
        for (recipient, state) in (0u16..).zip(states) {
            if matches!(state.phase, spool::Phase::Done(_)) {
                continue;
            }
            let descriptor = Descriptor {
                message,
                place,
                recipient,
                attempts: state.attempts,
                // When it came stands in what cannot be read.
                arrived: turn.now.wall,
                due: turn.now.wall,
                held: true,
                in_doubt: state.in_doubt,
                delay_noticed: true,
                taken: false,
                route: None,
            };
            self.hold_nameless(turn, descriptor, state.phase, why);
        }
    }

    /// Holds a recipient whose address cannot be read, under a name that never
    /// resolves, so that operators see it and can remove it.
    fn hold_nameless(
        &mut self,
        turn: &Turn<'_>,
        descriptor: Descriptor,
        phase: spool::Phase,
        why: &str,
    ) {
        let address = Address::parse(NAMELESS, true).expect("it is an address");
        let descriptor = Descriptor { held: true, ..descriptor };
        self.enqueue(turn, &descriptor, &address, self.id);
        // Once: from then on the log says so itself, over restarts.
        if phase != spool::Phase::Waiting {
            return;
        }
        let settlement = Settlement {
            message: descriptor.message,
            recipient: descriptor.recipient,
            attempt: descriptor.attempts,
            result: SettledAs::Held,
            in_doubt: false,
            status: Status::SYSTEM,
            text: why.into(),
            host: Box::default(),
            source: Box::default(),
            site: None,
            route: None,
            session: None,
            owner: self.id,
        };
        self.settle_with(self.id, settlement);
    }

    /// Puts a recipient into this shard's queue.
    pub(crate) fn enqueue(
        &mut self,
        turn: &Turn<'_>,
        d: &Descriptor,
        address: &Address,
        writer: ShardId,
    ) {
        let way = way_for(&self.policy, &self.epochs, address, d.route);
        // A clock that was ahead when it was written must not keep it for ever.
        let now = turn.now.wall;
        let arrived = d.arrived.min(now);
        let born = if planted(Bug::LifetimeRestarted) { now } else { arrived };
        let new = New {
            message: d.message,
            place: queue_place(d.place),
            writer,
            recipient: d.recipient,
            attempts: d.attempts,
            arrived,
            expires: way.expires(born),
            notice: way.delay_notice_at(arrived).filter(|_| !d.delay_noticed),
            urgent: false,
            in_doubt: d.in_doubt,
        };
        let when = match d {
            Descriptor { held: true, .. } => When::Held,
            // It has waited its turn already.
            _ if d.taken => When::Turn,
            _ if d.due <= now => When::Now,
            _ => When::At(d.due.min(now + way.longest_wait())),
        };
        let route = self.epochs.route(way.index);
        let apart = self.tells_apart(address, turn.now.wall);
        let exit = self.exit_of(turn, way, d.message, d.place);
        let name = hop_name(way, address, apart, &mut self.hop_name);
        self.queue
            .insert(turn.now, NextHop { name, route, exit }, &new, when)
            .expect("the queue numbers more entries than the bound on messages allows");
    }

    /// The address of a recipient, read from where its message stands.
    pub(crate) fn address_of(
        &self,
        turn: &Turn<'_>,
        message: MessageId,
        place: Place,
        recipient: u16,
    ) -> Option<Address> {
        let stored = spool::message_at(&*turn.medium, message, place).ok()?;
        Address::parse(stored.recipient(recipient)?.address, true).ok()
    }

    /// Puts an entry where the policy in force sends it: its way has changed
    /// since it was queued. On a way of that policy it stays: an operator may
    /// have put it there. False when its message is not where it says, which
    /// is for the caller to see to.
    pub(crate) fn reroute(
        &mut self,
        turn: &Turn<'_>,
        key: queue::EntryKey,
        view: &queue::View,
    ) -> bool {
        let now = self.queue.destination(view.destination).map(|(hop, _)| hop.route);
        self.reroute_to(turn, key, view, now)
    }

    /// Puts an entry on a way of the policy in force, `None`: on the one that
    /// takes it. It stays there until the routes change or the program starts
    /// anew. Answers as [`Shard::reroute`] does.
    pub(crate) fn reroute_to(
        &mut self,
        turn: &Turn<'_>,
        key: queue::EntryKey,
        view: &queue::View,
        to: Option<u32>,
    ) -> bool {
        let place = spool_place(view.place);
        let Some(address) = self.address_of(turn, view.message, place, view.recipient) else {
            return false;
        };
        let way = way_for(&self.policy, &self.epochs, &address, to);
        let route = self.epochs.route(way.index);
        let apart = self.tells_apart(&address, turn.now.wall);
        let exit = self.exit_of(turn, way, view.message, place);
        let name = hop_name(way, &address, apart, &mut self.hop_name);
        self.queue.reroute(key, NextHop { name, route, exit });
        let (expires, notice) = (way.expires(view.arrived), way.delay_notice_at(view.arrived));
        self.queue.set_lifetime(turn.now, key, expires, notice);
        true
    }

    /// Routes an entry anew that was taken for no attempt after all.
    pub(crate) fn put_back(&mut self, turn: &mut Turn<'_>, key: queue::EntryKey) {
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        if self.reroute(turn, key, &view) {
            self.queue.ready_again(turn.now, key);
        } else {
            self.return_misplaced(turn, key, &view);
        }
    }

    /// The message is not where the entry says: its writer hands it out anew,
    /// as it stands; one that an operator removed meanwhile ends here.
    pub(crate) fn return_misplaced(
        &mut self,
        turn: &mut Turn<'_>,
        key: queue::EntryKey,
        view: &queue::View,
    ) {
        let now = self.queue.destination(view.destination).map(|(hop, _)| hop.route);
        self.return_for(turn, key, view, now);
    }

    /// The same, to be queued by `route`; none: by the one that takes it.
    pub(crate) fn return_for(
        &mut self,
        turn: &mut Turn<'_>,
        key: queue::EntryKey,
        view: &queue::View,
        route: Option<u32>,
    ) {
        if self.queue.is_to_be_removed(key) {
            return self.remove(turn, key, "");
        }
        let held = view.state == queue::State::Held || self.queue.is_to_be_held(key);
        self.queue.done(key);
        let descriptor = Descriptor {
            message: view.message,
            place: spool_place(view.place),
            recipient: view.recipient,
            attempts: view.attempts,
            arrived: view.arrived,
            due: view.next_attempt.unwrap_or(turn.now.wall),
            held,
            in_doubt: view.in_doubt,
            delay_noticed: false,
            taken: view.state == queue::State::InFlight,
            route,
        };
        self.send(turn, view.writer, MeshMessage::Misplaced(vec![descriptor]));
    }

    /// Tells other shards where standings of their mail are to be read now.
    pub(crate) fn tell_restated(&mut self, turn: &mut Turn<'_>, restated: &[Restated]) {
        for writer in (0..self.shards).map(ShardId) {
            let its = restated.iter().filter(|one| one.writer(self.shards) == writer);
            let its: Vec<Restated> = its.copied().collect();
            // Of its own mail only what has ended is not in its table.
            if !its.is_empty() && writer != self.id {
                self.send(turn, writer, MeshMessage::Restated(its));
            }
        }
    }

    /// Tells a message's writer what became of a recipient.
    pub(crate) fn settle_with(&mut self, writer: ShardId, settlement: Settlement) {
        self.settlements[usize::from(writer.0)].push(settlement);
    }

    /// Sends to a shard; to this one by way of the inbox, so that no step
    /// meets itself.
    pub(crate) fn send(&mut self, turn: &mut Turn<'_>, to: ShardId, message: MeshMessage) {
        if to == self.id {
            self.inbox.push_back(message);
        } else {
            turn.effects.push(Effect::Mesh { to, message });
        }
    }

    /// Sends what this step collected for other shards; this shard's own part
    /// goes to the inbox. True when the inbox has something to do.
    pub(crate) fn flush_mesh(&mut self, turn: &mut Turn<'_>) -> bool {
        for to in 0..self.shards {
            let shard = ShardId(to);
            let descriptors = std::mem::take(&mut self.handoffs[usize::from(to)]);
            if !descriptors.is_empty() {
                self.send(turn, shard, MeshMessage::HandOff(descriptors));
            }
            let settlements = std::mem::take(&mut self.settlements[usize::from(to)]);
            if !settlements.is_empty() {
                self.send(turn, shard, MeshMessage::Settled(settlements));
            }
        }
        !self.inbox.is_empty()
    }
}

/// The way of mail to an address: the one that `said` is the number of, if that
/// is of the policy in force, or else the one that takes it.
fn way_for<'p>(
    policy: &'p Policy,
    epochs: &Epochs,
    address: &Address,
    said: Option<u32>,
) -> &'p Delivery {
    let said = said.and_then(|said| policy.way(epochs.index(said)?));
    let own = policy.route(address);
    // Mail for a local domain goes there and nowhere else, and no other does.
    said.filter(|said| !said.is_local && !own.is_local).unwrap_or(own)
}

/// What a next hop is called in the queue: the mail domain or address literal,
/// or one name for all that goes to relay hosts, but for what must be told
/// apart.
pub(crate) fn hop_name<'a>(
    way: &control::Delivery,
    address: &'a Address,
    apart: bool,
    text: &'a mut String,
) -> &'a str {
    match (&way.mode, address.host()) {
        (mode, _) if mode.is_one_place() && !apart => RELAY_HOP,
        (_, Host::Name(domain)) => domain.as_str(),
        (_, literal @ Host::Literal(_)) => {
            use std::fmt::Write;
            text.clear();
            write!(text, "{literal}").expect("a String takes everything");
            text
        }
    }
}

/// The same place in the spool's words.
pub(crate) fn spool_place(place: queue::Place) -> Place {
    Place { segment: place.segment, offset: place.offset, len: place.len }
}

pub(crate) fn queue_place(place: Place) -> queue::Place {
    queue::Place { segment: place.segment, offset: place.offset, len: place.len }
}
