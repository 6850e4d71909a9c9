//! What operators look at closely for a while: which sessions and messages,
//! until when, and where what was seen goes, to the event log or to somebody
//! who is attached.
//!
//! Orders about a running daemon, no settings: they outlive changes of the
//! policy and end with the program. Never holds what was seen.
//!
//! Invariants: at most [`WATCHES_MAX`] stand, each in a slot of its own; a
//! number is never used twice; one whose end has come sees nothing, whether it
//! was taken off the list or not.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base::{MessageId, Wall};
use mail::Domain;
use thiserror::Error;

use crate::network::Network;

/// Watches that may stand at once, of both kinds together.
pub const WATCHES_MAX: usize = 16;
/// Of these, people who are attached.
pub const ATTACHED_MAX: usize = 4;
/// Longest time of one.
pub const WATCH_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Time of one where none is given.
pub const WATCH_TIME_DEFAULT: Duration = Duration::from_secs(10 * 60);
/// Octets of a sender or of a source's name.
pub const WORD_BYTES_MAX: usize = 320;

/// A set of slots, one bit each.
pub type Slots = u32;

/// Which way a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A client hands mail in.
    In,
    /// We hand mail on.
    Out,
}

/// What is looked at: every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// Mail to recipients of this domain, and its look-ups.
    pub domain: Option<Domain>,
    /// Sessions with a peer of this block of addresses.
    pub network: Option<Network>,
    /// Mail from this address; `@domain` for all of a domain, empty for reports.
    pub sender: Option<Box<str>>,
    /// Mail that leaves from this source, by its name.
    pub source: Option<Box<str>>,
    /// This message.
    pub message: Option<MessageId>,
    /// Sessions of one direction only.
    pub direction: Option<Direction>,
}

/// What is known of a session, and of the message that it carries just now.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Which way it goes.
    pub direction: Direction,
    /// The address at the other end; none for a path of this machine.
    pub peer: Option<IpAddr>,
    /// The source that it leaves from; empty without one.
    pub source: &'a str,
    /// The message, once it has an id.
    pub message: Option<MessageId>,
    /// Its sender.
    pub sender: Option<&'a str>,
    /// Domains of its recipients; in front of the first message of an outbound
    /// session those that wait for it.
    pub domains: &'a [Box<str>],
}

/// One order to look closely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Names it; from 1.
    pub number: u64,
    /// Its bit in [`Slots`].
    slot: u8,
    /// What is looked at.
    pub focus: Focus,
    /// Somebody is attached and is shown what is seen; it goes to the event
    /// log otherwise.
    pub attached: bool,
    /// Since when.
    pub since: Wall,
    /// Until when.
    pub until: Wall,
}

/// All of them. Compared and swapped as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    list: Vec<Watch>,
    /// The number that was given last.
    last: u64,
}

/// Why an order is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WatchError {
    /// As many stand as may.
    #[error("{WATCHES_MAX} of these stand, more may not; stop one")]
    LocalFull,
    /// As many are attached as may be.
    #[error("{ATTACHED_MAX} are attached, more may not be")]
    LocalAttached,
}

impl Focus {
    /// Whether there is no condition: everything is meant.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what is seen is meant.
    pub fn meets(&self, it: &Sighting<'_>) -> bool {
        let domain = |wanted: &Domain| it.domains.iter().any(|one| **one == *wanted.as_str());
        self.direction.is_none_or(|direction| direction == it.direction)
            && self.network.is_none_or(|block| it.peer.is_some_and(|peer| block.contains(peer)))
            && self.source.as_deref().is_none_or(|source| source == it.source)
            && self.message.is_none_or(|message| it.message == Some(message))
            && self.sender.as_deref().is_none_or(|wanted| is_from(it.sender, wanted))
            && self.domain.as_ref().is_none_or(domain)
    }

    /// The domain whose look-ups and permits are meant: where nothing is asked
    /// of the session or the message that they are made for.
    pub fn looked_up(&self) -> Option<&Domain> {
        let Self { domain, network, sender, source, message, direction } = self;
        let of_session = network.is_some() || source.is_some();
        let of_message = sender.is_some() || message.is_some();
        let inbound = *direction == Some(Direction::In);
        domain.as_ref().filter(|_| !of_session && !of_message && !inbound)
    }
}

fn is_from(sender: Option<&str>, wanted: &str) -> bool {
    let Some(sender) = sender else { return false };
    match wanted.strip_prefix('@') {
        Some(domain) => {
            sender.rsplit_once('@').is_some_and(|(_, of)| of.eq_ignore_ascii_case(domain))
        }
        None => sender.eq_ignore_ascii_case(wanted),
    }
}

/// As it is written in the control socket's requests, for log and lists.
impl fmt::Display for Focus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, network, sender, source, message, direction } = self;
        let mut between = "";
        let mut put = |name: &str, value: Option<&dyn fmt::Display>| {
            let Some(value) = value else { return Ok(()) };
            let written = write!(f, "{between}{name}={value}");
            between = " ";
            written
        };
        put("domain", domain.as_ref().map(|it| it as &dyn fmt::Display))?;
        put("ip", network.as_ref().map(|it| it as &dyn fmt::Display))?;
        put("sender", sender.as_ref().map(|it| it as &dyn fmt::Display))?;
        put("source", source.as_ref().map(|it| it as &dyn fmt::Display))?;
        put("message", message.as_ref().map(|it| it as &dyn fmt::Display))?;
        put("direction", direction.as_ref().map(|it| it as &dyn fmt::Display))?;
        if self.is_everything() { f.write_str("everything") } else { Ok(()) }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

impl Watch {
    /// Its bit.
    pub fn bit(&self) -> Slots {
        1 << self.slot
    }

    /// Whether its end has not come.
    pub fn is_on(&self, now: Wall) -> bool {
        now < self.until
    }
}

impl Watches {
    /// Adds one and gives its number.
    ///
    /// # Errors
    /// [`WatchError`] at a bound.
    pub fn add(
        &mut self,
        focus: Focus,
        attached: bool,
        now: Wall,
        span: Duration,
    ) -> Result<u64, WatchError> {
        self.forget_ended(now);
        let free = (0..WATCHES_MAX as u8).find(|slot| self.list.iter().all(|it| it.slot != *slot));
        let slot = free.ok_or(WatchError::LocalFull)?;
        if attached && self.list.iter().filter(|it| it.attached).count() >= ATTACHED_MAX {
            return Err(WatchError::LocalAttached);
        }
        self.last += 1;
        let until = now + span.min(WATCH_TIME_MAX);
        self.list.push(Watch { number: self.last, slot, focus, attached, since: now, until });
        Ok(self.last)
    }

    /// Takes one off the list. False: it was not there.
    pub fn remove(&mut self, number: u64) -> bool {
        let before = self.list.len();
        self.list.retain(|it| it.number != number);
        self.list.len() < before
    }

    /// Takes those off the list whose end has come.
    pub fn forget_ended(&mut self, now: Wall) {
        self.list.retain(|it| it.is_on(now));
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Watch> {
        self.list.iter()
    }

    /// Whether nothing is looked at.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The slots of those that mean what is seen.
    pub fn meeting(&self, it: &Sighting<'_>) -> Slots {
        let meeting = self.list.iter().filter(|watch| watch.focus.meets(it));
        meeting.fold(0, |slots, watch| slots | watch.bit())
    }

    /// The slots of all whose reader is attached.
    pub fn attached(&self) -> Slots {
        let attached = self.list.iter().filter(|watch| watch.attached);
        attached.fold(0, |slots, watch| slots | watch.bit())
    }

    /// The slots of all.
    pub fn slots(&self) -> Slots {
        self.list.iter().fold(0, |slots, watch| slots | watch.bit())
    }

    /// The slots that stand for the same watch here and in `other`.
    pub fn shared_with(&self, other: &Self) -> Slots {
        let same = |watch: &&Watch| other.list.iter().any(|it| it.number == watch.number);
        self.list.iter().filter(same).fold(0, |slots, watch| slots | watch.bit())
    }

    /// When the first of them ends by itself.
    pub fn next_end(&self) -> Option<Wall> {
        self.list.iter().map(|watch| watch.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn domain(name: &str) -> Focus {
        Focus { domain: Some(Domain::parse(name).unwrap()), ..Focus::default() }
    }

    fn meets(focus: &Focus) -> bool {
        focus.meets(&Sighting {
            direction: Direction::Out,
            peer: "192.0.2.7".parse().ok(),
            source: "out1",
            message: "0000400000010".parse().ok(),
            sender: Some("Ann@Corp.Example"),
            domains: &["a.example".into(), "b.example".into()],
        })
    }

    #[test]
    fn every_condition_must_hold() {
        let none = Focus::default;
        assert!(meets(&none()) && none().is_everything());
        assert!(meets(&domain("b.example")) && !meets(&domain("example")));
        for (block, met) in [("192.0.2.7", true), ("192.0.2.0/24", true), ("192.0.2.8", false)] {
            assert_eq!(meets(&Focus { network: block.parse().ok(), ..none() }), met, "{block}");
        }
        for (sender, met) in [
            ("ann@corp.example", true),
            ("@corp.example", true),
            ("bob@corp.example", false),
            ("@orp.example", false),
            ("", false),
        ] {
            assert_eq!(meets(&Focus { sender: Some(sender.into()), ..none() }), met, "{sender}");
        }
        assert!(meets(&Focus { source: Some("out1".into()), ..domain("a.example") }));
        assert!(!meets(&Focus { source: Some("out2".into()), ..domain("a.example") }));
        assert!(!meets(&Focus { direction: Some(Direction::In), ..none() }));
        assert!(meets(&Focus { message: "0000400000010".parse().ok(), ..none() }));
        assert!(!meets(&Focus { message: "0000400000011".parse().ok(), ..none() }));
    }

    #[test]
    fn look_ups_belong_to_a_domain_alone() {
        assert!(domain("a.example").looked_up().is_some());
        assert!(Focus::default().looked_up().is_none());
        let inbound = Focus { direction: Some(Direction::In), ..domain("a.example") };
        assert!(inbound.looked_up().is_none());
        let of_sender = Focus { sender: Some("@b.example".into()), ..domain("a.example") };
        assert!(of_sender.looked_up().is_none());
        assert_eq!(of_sender.to_string(), "domain=a.example sender=@b.example");
        assert_eq!(Focus::default().to_string(), "everything");
    }

    #[test]
    fn they_end_by_themselves_and_slots_are_used_again_numbers_not() {
        let mut all = Watches::default();
        let first = all.add(domain("a.example"), false, NOW, MINUTE).unwrap();
        let second = all.add(domain("b.example"), true, NOW, 2 * MINUTE).unwrap();
        assert_eq!((all.slots(), all.attached()), (0b11, 0b10));
        assert_eq!(all.next_end(), Some(NOW + MINUTE));
        let before = all.clone();
        all.forget_ended(NOW + MINUTE);
        assert_eq!((all.slots(), all.shared_with(&before)), (0b10, 0b10));
        let third = all.add(domain("c.example"), false, NOW + MINUTE, MINUTE).unwrap();
        assert!(first < second && second < third);
        assert_eq!((all.slots(), all.shared_with(&before)), (0b11, 0b10), "another is in the slot");
        assert!(all.remove(second) && !all.remove(second));
        let long = all.add(domain("d.example"), false, NOW, 2 * WATCH_TIME_MAX).unwrap();
        let until = all.iter().find(|it| it.number == long).map(|it| it.until);
        assert_eq!(until, Some(NOW + WATCH_TIME_MAX));
    }

    #[test]
    fn there_is_a_bound_on_them_and_on_those_attached() {
        let mut all = Watches::default();
        for _ in 0..ATTACHED_MAX {
            all.add(Focus::default(), true, NOW, MINUTE).unwrap();
        }
        let one_more = all.add(Focus::default(), true, NOW, MINUTE);
        assert_eq!(one_more, Err(WatchError::LocalAttached));
        for _ in ATTACHED_MAX..WATCHES_MAX {
            all.add(Focus::default(), false, NOW, MINUTE).unwrap();
        }
        let one_more = all.add(Focus::default(), false, NOW, MINUTE);
        assert_eq!(one_more, Err(WatchError::LocalFull));
        assert_eq!(all.slots().count_ones() as usize, WATCHES_MAX);
        // Those whose time is over make room.
        assert!(all.add(Focus::default(), false, NOW + MINUTE, MINUTE).is_ok());
    }
}
