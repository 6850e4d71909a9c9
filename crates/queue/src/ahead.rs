//! How much ready mail goes before an entry, by the rules of `schedule.rs`: its
//! lane in order, the destinations of its site in turn. Deferred mail would
//! come behind all that stands in its lane. For forecasts; looks at a bounded
//! number of members and extrapolates from there.

use crate::destination::{Destination, DestinationKey};
use crate::entry::{EntryKey, State, flag};
use crate::list::member;
use crate::pace::Mix;
use crate::queue::Queue;
use crate::site::SiteKey;

/// Entries of one lane looked at.
const ENTRIES_MAX: u32 = 100_000;
/// Destinations of one site looked at.
const DESTINATIONS_MAX: u64 = 10_000;

impl Queue {
    /// Transactions that begin before that of the entry, if it is ready, or
    /// would if it became ready now; those of other next hops as far as its
    /// site is known. `None` for mail in any other state.
    pub fn ahead(&self, key: EntryKey) -> Option<u64> {
        let entry = self.entries.get(key.0)?;
        let index = match entry.state {
            State::Ready => key.0.index(),
            // No member of a lane: all of them go before it.
            State::Deferred => u32::MAX,
            State::InFlight | State::Held => return None,
        };
        Some(self.before(entry.destination, entry.is(flag::URGENT), index))
    }

    /// The same for mail that would come to a next hop now.
    pub fn ahead_of_new(&self, key: DestinationKey) -> u64 {
        let known = self.destinations.contains(key.0);
        if known { self.before(key.0.index(), false, u32::MAX) } else { 0 }
    }

    fn before(&self, destination: u32, urgent: bool, index: u32) -> u64 {
        let at = member(&self.destinations, destination);
        let mut own = self.before_in_lane(at, urgent, index);
        if !urgent && !at.lanes[0].is_empty() {
            // Three urgent ones go before each of the others.
            let waiting = self.before_in_lane(at, true, u32::MAX);
            own += waiting.min(3 * own + 3);
        }
        own + self.of_others(destination, own)
    }

    /// Ready recipients of other next hops that have their turns before the last
    /// of so many of this one's.
    pub fn beside(&self, key: DestinationKey, own: u64) -> u64 {
        let known = self.destinations.contains(key.0);
        if known { self.of_others(key.0.index(), own.saturating_sub(1)) } else { 0 }
    }

    fn of_others(&self, destination: u32, own: u64) -> u64 {
        let Some(site) = member(&self.destinations, destination).site() else { return 0 };
        let site = member(&self.sites, site);
        let mut others = 0;
        let mut seen = 0;
        let mut before = true;
        for index in site.ring.members(&self.destinations) {
            if index == destination {
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
        if seen == DESTINATIONS_MAX { others * members / seen } else { others }
    }

    /// The site of a next hop, or else the one that it was at last, as long as
    /// that is remembered.
    pub fn last_site_of(&self, key: DestinationKey) -> Option<SiteKey> {
        let was_at = self.destinations.get(key.0)?.was_at.map(SiteKey);
        let was_at = was_at.filter(|site| self.sites.contains(site.0));
        self.site_of(key).or(was_at)
    }

    /// An attempt at a next hop, with so many before it, has ended.
    pub fn attempted(&mut self, key: DestinationKey, before: u16, put_off: bool) {
        let site = self.site_of(key).and_then(|site| self.sites.get_mut(site.0));
        if let Some(site) = site {
            site.meter.attempted(before, put_off);
        }
        self.mix.add(before, put_off);
    }

    /// Of a thousand attempts at a site, how many are put off: of first ones,
    /// of second ones and so on, to judge by the latest, there and elsewhere.
    pub fn put_off_per_mille(&self, site: Option<SiteKey>) -> [u32; Mix::KINDS] {
        let site = site.and_then(|site| self.sites.get(site.0));
        site.map(|site| site.meter.mix()).unwrap_or_default().put_off_per_mille(&self.mix)
    }

    /// The next hop whose turn it is at a site; none without ready mail.
    pub fn first_at(&self, key: SiteKey) -> Option<DestinationKey> {
        let head = self.sites.get(key.0)?.ring.head()?;
        self.destinations.key_at(head).map(DestinationKey)
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
    use crate::story::{HOUR, Story};
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
        assert_eq!(story.queue.ahead(bulk[1]), Some(1), "nobody knows where it goes");
        let urgent = crate::New { urgent: true, ..story.new_mail() };
        let urgent = story.put("a", &urgent, When::Now);
        story.connections("s", 1);
        assert_eq!(story.queue.ahead(urgent), Some(0));
        assert_eq!(story.queue.ahead(bulk[1]), Some(2));
        story.queue.hold(bulk[1]);
        assert_eq!(story.queue.ahead(bulk[1]), None);
    }

    /// What waits for its time comes behind what is ready then.
    #[test]
    fn deferred_mail_would_come_last_and_a_site_is_remembered() {
        let mut story = Story::new();
        story.mails("a", 3);
        story.mails("b", 9);
        let (new, due) = (story.new_mail(), story.wall_in(HOUR));
        let later = story.put("a", &new, When::At(due));
        let at = story.queue.entry(story.now, later).unwrap().destination;
        assert_eq!(story.queue.last_site_of(at), None);
        let site = story.connections("s", 1)[0];
        assert_eq!(story.queue.ahead(later), Some(6), "three of each");
        assert_eq!(story.queue.ahead_of_new(at), 6);
        assert_eq!(story.queue.beside(at, 100), 9);
        story.queue.suspend(at, None, "stopped");
        assert_eq!(story.queue.site_of(at), None);
        assert_eq!(story.queue.last_site_of(at), Some(site));
        assert_eq!(story.queue.ahead(later), Some(3), "of the others nobody knows");
    }
}
