//! Sources that cannot be used just now: their mail leaves by others of its
//! pool, or waits. That is our own shortage, so it is no attempt and nobody's
//! fault (design §1.5).
//!
//! Never tests a source: an attempt found it wanting, and the first one after
//! the pause tries it again.

use std::time::Duration;

use base::{Map, MessageId, Monotonic, Now};
use control::{Delivery, Source};
use eventlog::{Field, Kind, Line};
use mail::Address;
use queue::{Phase, SiteKey};
use spool::Place;

use crate::epoch::Way;
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

/// How long a source is passed over once it could not be used.
pub(crate) const SUSPENDED_FOR: Duration = Duration::from_secs(60);

/// The sources passed over, by name. Bounded by the sources of the policies that
/// were in force within [`SUSPENDED_FOR`].
#[derive(Debug, Default)]
pub(crate) struct Unusable {
    until: Map<Box<str>, Monotonic>,
}

impl Unusable {
    /// Until when the source called `name` is passed over, if it is.
    pub(crate) fn until(&self, now: Monotonic, name: &str) -> Option<Monotonic> {
        self.until.get(name).copied().filter(|until| *until > now)
    }

    /// Passes a source over from now on. False when it was already.
    fn note(&mut self, now: Monotonic, name: &str) -> bool {
        let news = self.until(now, name).is_none();
        self.until.retain(|_, until| *until > now);
        self.until.insert(name.into(), now + SUSPENDED_FOR);
        news
    }
}

impl Shard {
    /// By which exit of `way` a message leaves, as the queue takes it.
    pub(crate) fn exit_of(
        &self,
        turn: &Turn<'_>,
        way: &Delivery,
        message: MessageId,
        place: Place,
    ) -> u32 {
        let sender = || {
            let stored = spool::message_at(&*turn.medium, message, place).ok()?;
            Address::parse(stored.sender(), true).ok()
        };
        let usable = |source: &Source| self.is_usable(turn.now, source);
        way.exit(message.as_u64(), sender, usable).to_bits()
    }

    /// Whether mail may leave from a source, as far as is known.
    pub(crate) fn is_usable(&self, now: Now, source: &Source) -> bool {
        self.unusable.until(now.mono, &source.name).is_none()
            && self.suspensions.of_source(now.wall, source).is_none()
            && self.links.failed_until(source).is_none()
    }

    /// Until when nothing can leave by the exit of `way`, if so, and whether
    /// another of its exits can be used.
    fn passes_over(&self, now: Now, way: &Way) -> Option<(Monotonic, bool)> {
        let source = way.source()?;
        let mut members = way.source.iter().flat_map(|pool| pool.members.iter());
        let others = members.any(|(source, _)| self.is_usable(now, source));
        // Whoever has no other way out waits for the link itself.
        let link = || self.links.failed_until(source).filter(|_| others);
        let until = self.unusable.until(now.mono, &source.name).or_else(link)?;
        Some((until, others))
    }

    /// Whether the exit of `way` is stopped by an order, or for want of its
    /// link, and another one is not: its mail leaves by that.
    pub(crate) fn leaves_elsewhere(&self, now: Now, way: &Way) -> bool {
        let stopped = |source: &Source| {
            self.suspensions.of_source(now.wall, source).is_some()
                || self.links.failed_until(source).is_some()
        };
        let mut others = way.source.iter().flat_map(|pool| pool.members.iter());
        way.source().is_some_and(|source| stopped(source))
            && others.any(|(source, _)| self.is_usable(now, source))
    }

    /// The queue wants a connection to `site`, whose mail leaves by `way`. True
    /// when none can be made because its source is passed over: the mail of one
    /// destination moves to another source, or the site waits.
    pub(crate) fn leaves_otherwise(
        &mut self,
        turn: &mut Turn<'_>,
        site: SiteKey,
        way: &Way,
    ) -> bool {
        match self.passes_over(turn.now, way) {
            None => return false,
            Some((until, false)) => {
                self.queue.pause(site, Some(until));
                self.queue.connection_closed(site, Phase::Dispatched);
            }
            Some((_, true)) => {
                let mut entries = Vec::new();
                let most = way.recipients_per_message as usize;
                let batch = self.queue.take_blamed(site, Phase::Dispatched, most, &mut entries);
                for key in entries.into_iter().rev() {
                    self.put_back(turn, key);
                }
                if let Some(batch) = batch {
                    self.route_anew(batch.destination);
                }
                self.queue.connection_closed(site, Phase::Busy);
            }
        }
        true
    }

    /// The own address of a connection's source is not there. What it was to
    /// carry leaves by another source, or waits.
    pub(crate) fn source_failed(
        &mut self,
        turn: &mut Turn<'_>,
        mut out: Box<Outbound>,
        reason: &str,
    ) {
        let Some(source) = out.way.source().cloned() else {
            return self.shortage(turn, out, reason);
        };
        self.metrics.local_shortages += 1;
        self.leave_log_in(turn, &mut out);
        let now = turn.now;
        if self.unusable.note(now.mono, &source.name) {
            let line = Line::new(now.wall, Kind::SourceSuspended);
            let line = line.text(Field::Source, &source.name).text(Field::Reason, reason);
            turn.log(line.time(Field::Until, now.wall + SUSPENDED_FOR));
        }
        if let Some(batch) = out.batch.take() {
            for key in batch.unsettled().rev() {
                self.queue.ready_again(now, key);
            }
        }
        // With another source its mail moves there at once.
        if let Some((until, false)) = self.passes_over(now, &out.way) {
            self.queue.pause(out.site, Some(until));
        }
        self.release(turn, out);
    }

    /// No host of the site has an address of a family that the source has: our
    /// operator's mistake, not the mail's end.
    pub(crate) fn unreached(&mut self, turn: &mut Turn<'_>, site: SiteKey, limit_key: &str) {
        self.metrics.local_shortages += 1;
        let name = self.targets[&site].way.source().map(|source| source.name.clone());
        let line = Line::new(turn.now.wall, Kind::Shortage);
        let line = line.text(Field::Source, &name.unwrap_or_default());
        let why = "the source has no address of the next hop's family";
        turn.log(line.text(Field::Reason, why));
        self.queue.pause(site, Some(turn.now.mono + SUSPENDED_FOR));
        self.close_permit(turn, limit_key);
        self.queue.connection_closed(site, Phase::Dispatched);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use control::{Pool, Source};

    use super::*;

    #[test]
    fn a_source_is_passed_over_for_its_time() {
        let members = ["a", "b"].map(|name| (Arc::new(Source::new(name)), 1));
        let pool = Pool { name: "pool".into(), members: members.into() };
        let way = Delivery { source: Some(Arc::new(pool)), ..Delivery::default() };
        let exit = |unusable: &Unusable, now, message: MessageId| {
            let usable = |source: &Source| unusable.until(now, &source.name).is_none();
            way.exit(message.as_u64(), || None, usable)
        };
        let mut unusable = Unusable::default();
        let now = Monotonic::from_millis(1_000);
        let name = |exit| way.source(exit).map(|source| source.name.to_string());
        let message = (1..)
            .map(MessageId::from_u64)
            .find(|message| name(exit(&unusable, now, *message)).as_deref() == Some("a"));
        let message = message.expect("half of them leave by each");
        assert!(unusable.note(now, "a"));
        assert!(!unusable.note(now, "a"), "no news");
        assert_eq!(name(exit(&unusable, now, message)).as_deref(), Some("b"));
        let later = now + SUSPENDED_FOR;
        assert_eq!(name(exit(&unusable, later, message)).as_deref(), Some("a"));
        unusable.note(later, "b");
        assert_eq!(unusable.until.len(), 1, "what is over is forgotten");
    }
}
