//! How much ready mail goes before an entry, by the rules of `schedule.rs`: its
//! lane in order, the destinations of its site in turn. For forecasts; looks at
//! a bounded number of members and extrapolates from there.

use crate::destination::{Destination, DestinationKey};
use crate::entry::{EntryKey, State, flag};
use crate::list::member;
use crate::queue::Queue;
use crate::site::SiteKey;

/// Entries of one lane looked at.
const ENTRIES_MAX: u32 = 100_000;
/// Destinations of one site looked at.
const DESTINATIONS_MAX: u64 = 10_000;

impl Queue {
    /// Transactions that the entry's site begins before that of the entry;
    /// `None` unless it is ready and its site is known.
    pub fn ahead(&self, key: EntryKey) -> Option<u64> {
        let entry = self.entries.get(key.0).filter(|entry| entry.state == State::Ready)?;
        let at = member(&self.destinations, entry.destination);
        let site = member(&self.sites, at.site()?);
        let urgent = entry.is(flag::URGENT);
        let mut own = self.before_in_lane(at, urgent, key.0.index());
        if !urgent && !at.lanes[0].is_empty() {
            // Three urgent ones go before each of the others.
            let waiting = self.before_in_lane(at, true, u32::MAX);
            own += waiting.min(3 * own + 3);
        }
        let mut others = 0;
        let mut seen = 0;
        let mut before = true;
        for index in site.ring.members(&self.destinations) {
            if index == entry.destination {
                before = false;
                continue;
            }
            let ready = u64::from(member(&self.destinations, index).tally.counts.ready);
            others += ready.min(own + u64::from(before));
            seen += 1;
            if seen == DESTINATIONS_MAX {
                break;
            }
        }
        let members = u64::from(site.members.saturating_sub(1)).max(seen);
        let others = if seen == DESTINATIONS_MAX { others * members / seen } else { others };
        Some(own + others)
    }

    /// The next hop whose turn it is at a site; none without ready mail.
    pub fn first_at(&self, key: SiteKey) -> Option<DestinationKey> {
        let head = self.sites.get(key.0)?.ring.head()?;
        self.destinations.key_at(head).map(DestinationKey)
    }

    /// Next hops with ready mail that take turns at a site, as far as they are
    /// counted.
    pub fn turns_at(&self, key: SiteKey) -> u32 {
        let Some(site) = self.sites.get(key.0) else { return 0 };
        site.ring.members(&self.destinations).take(DESTINATIONS_MAX as usize).count() as u32
    }

    /// Transactions of a lane before the entry in slot `index`: recipients of
    /// one message that stand together go as one.
    fn before_in_lane(&self, at: &Destination, urgent: bool, index: u32) -> u64 {
        let lane = at.lanes[usize::from(!urgent)];
        let mut message = None;
        let (mut transactions, mut looked_at) = (0, 0);
        for slot in lane.members(&self.entries) {
            let entry = member(&self.entries, slot);
            let same = message == Some(entry.message);
            if slot == index {
                return transactions - u64::from(same);
            }
            transactions += u64::from(!same);
            message = Some(entry.message);
            looked_at += 1;
            if looked_at == ENTRIES_MAX {
                return u64::from(at.tally.counts.ready).max(transactions);
            }
        }
        transactions
    }
}

#[cfg(test)]
mod tests {
    use crate::story::Story;
    use crate::{Phase, Take, When};

    /// Counts the transactions before one that has been asked about.
    #[test]
    fn what_is_said_to_go_before_goes_before() {
        for asked in [0, 5, 20, 38] {
            let mut story = Story::new();
            let mut keys = story.mails("a", 20);
            keys.extend(story.mails("b", 3));
            let mut new = story.new_mail();
            for recipient in 0..4 {
                new.recipient = recipient;
                keys.push(story.put("a", &new, When::Now));
            }
            keys.extend(story.mails("a", 15));
            let site = story.connections("s", 1)[0];
            let said = story.queue.ahead(keys[asked]).unwrap();
            let mut phase = Phase::Dispatched;
            let mut before = 0;
            loop {
                let (taken, entries) = story.take(site, phase);
                assert!(matches!(taken, Take::Batch(_)));
                phase = Phase::Busy;
                if entries.contains(&keys[asked]) {
                    break;
                }
                before += 1;
            }
            assert_eq!(said, before, "{asked}");
        }
    }

    #[test]
    fn urgent_mail_goes_before_and_what_is_not_ready_has_no_turn() {
        let mut story = Story::new();
        let bulk = story.mails("a", 2);
        assert_eq!(story.queue.ahead(bulk[0]), None, "nobody knows where it goes");
        let urgent = crate::New { urgent: true, ..story.new_mail() };
        let urgent = story.put("a", &urgent, When::Now);
        story.connections("s", 1);
        assert_eq!(story.queue.ahead(urgent), Some(0));
        assert_eq!(story.queue.ahead(bulk[1]), Some(2));
        story.queue.hold(bulk[1]);
        assert_eq!(story.queue.ahead(bulk[1]), None);
    }
}
