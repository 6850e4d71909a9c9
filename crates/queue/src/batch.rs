//! What one transaction carries: ready recipients of one message that stand
//! together in one lane of one destination: one copy for many recipients of a
//! host (RFC 5321 §4.5.4.1). It never mixes messages or next hops.

use base::{MessageId, Now};

use crate::destination::DestinationKey;
use crate::entry::{EntryKey, flag};
use crate::list::{member, member_mut};
use crate::queue::Queue;
use crate::schedule::To;
use crate::site::{Halt, Pause, Phase, SiteKey};

/// The mail of one transaction; its entries are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The message.
    pub message: MessageId,
    /// Where it goes.
    pub destination: DestinationKey,
}

/// What a connection gets that asks for mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Something to send; the recipients are in the caller's list.
    Batch(Batch),
    /// Nothing now. When its transactions have ended, report it idle or close
    /// it.
    Nothing,
    /// Its site has too many connections, or was stopped: close it when its transactions have
    /// ended.
    Close,
}

impl Queue {
    /// A connection asks for mail, at most `recipients_max` recipients of one
    /// message, which are written to `entries`. A connection may ask for the
    /// next mail before the last has ended. `phase` is what it was until now,
    /// [`Phase::Dispatched`] or [`Phase::Busy`]; afterwards it is
    /// [`Phase::Closing`] if that is what it was told, else [`Phase::Busy`].
    pub fn take(
        &mut self,
        now: Now,
        key: SiteKey,
        phase: Phase,
        recipients_max: usize,
        entries: &mut Vec<EntryKey>,
    ) -> Take {
        entries.clear();
        let site = self.sites.get_mut(key.0).expect("a site with connections stays");
        match phase {
            Phase::Dispatched => site.dispatched -= 1,
            Phase::Busy => assert!(site.busy() > 0, "the asking connection is busy"),
            Phase::Idle => panic!("an idle connection waits for Work::Use"),
            Phase::Closing => panic!("a connection that was told to close asks no more"),
        }
        // Those told to close before count no more, or all would be told.
        let too_many = site.open - site.idle - site.closing > site.allowed();
        if too_many || site.halt != Halt::No {
            site.closing += 1;
            return Take::Close;
        }
        match site.pause {
            Pause::No => match self.fresh_head(now, key.0.index()) {
                Some(at) => {
                    let batch = self.take_batch(at, recipients_max.max(1), entries);
                    let site = self.sites.get_mut(key.0).expect("a site with connections stays");
                    let more = !site.ring.is_empty();
                    site.meter.taken(now.mono, entries.len() as u32, more, site.open);
                    Take::Batch(batch)
                }
                None => Take::Nothing,
            },
            _ => Take::Nothing,
        }
    }

    /// The connection that was opened found no host: gives it the mail that
    /// bears the attempt, the one that it would have got. Neither limits nor
    /// the age of the look-up matter any more. `phase` as in [`Queue::take`];
    /// afterwards it is [`Phase::Busy`].
    pub fn take_blamed(
        &mut self,
        key: SiteKey,
        phase: Phase,
        recipients_max: usize,
        entries: &mut Vec<EntryKey>,
    ) -> Option<Batch> {
        entries.clear();
        let site = self.sites.get_mut(key.0).expect("a site with connections stays");
        if phase == Phase::Dispatched {
            site.dispatched -= 1;
        }
        assert!(site.busy() > 0, "the asking connection is busy");
        let at = site.ring.head()?;
        Some(self.take_batch(at, recipients_max.max(1), entries))
    }

    /// Takes mail of the destination `at`, which stands in its site's ring.
    fn take_batch(&mut self, at: u32, recipients_max: usize, entries: &mut Vec<EntryKey>) -> Batch {
        let site = member(&self.destinations, at).site().expect("who stands in a ring has a site");
        let ring = &mut member_mut(&mut self.sites, site).ring;
        ring.unlink(&mut self.destinations, at);
        ring.push_back(&mut self.destinations, at);
        let destination = member_mut(&mut self.destinations, at);
        let mut next = destination.next_head();
        let first = next.expect("a ring holds destinations with ready mail");
        let first = member(&self.entries, first);
        let (message, urgent) = (first.message, first.is(flag::URGENT));
        while let Some(index) = next {
            entries.extend(self.entries.key_at(index).map(EntryKey));
            self.change(index, To::InFlight);
            next = member_mut(&mut self.destinations, at).lane(urgent).head();
            next = next.filter(|next| {
                entries.len() < recipients_max && member(&self.entries, *next).message == message
            });
        }
        let destination = self.destinations.key_at(at).expect("its mail was just taken");
        Batch { message, destination: DestinationKey(destination) }
    }
}
