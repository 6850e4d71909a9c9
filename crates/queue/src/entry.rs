//! One recipient that waits: 64 bytes. It never holds text; what it is called
//! and what it says stands in the segment its [`Place`] points to.
//!
//! Times of the future are kept on the monotonic clock from the moment they
//! come in, and the arrival on the queue's own steady clock, so a jump of the
//! wall clock neither ages nor expires nor delays anything.
//!
//! Invariant: `words` are list links in state `Ready` and the time of the next
//! attempt in state `Deferred`; nobody reads them in any other state.

use base::planted::{Bug, planted};
use base::{Key, MessageId, Monotonic, Now, SegmentId, ShardId, TimerKey, Wall};

use crate::destination::DestinationKey;
use crate::list::{Link, Linked};

/// Names one waiting recipient; stale once it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey(pub(crate) Key);

/// Where the message's record lies now. A hint: after a relocation the spool
/// still finds the message by its id, and [`crate::Queue::set_place`] repairs
/// the hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The segment.
    pub segment: SegmentId,
    /// Offset of the record in it, in bytes.
    pub offset: u32,
    /// Length of the record, in bytes.
    pub len: u32,
}

/// A recipient to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct New {
    /// The message.
    pub message: MessageId,
    /// Where it lies.
    pub place: Place,
    /// The shard that wrote it and records its outcome.
    pub writer: ShardId,
    /// Which of the message's recipients, counted from 0.
    pub recipient: u16,
    /// Attempts made so far.
    pub attempts: u16,
    /// When the message was accepted.
    pub arrived: Wall,
    /// End of its lifetime.
    pub expires: Wall,
    /// When a delay notice is due; `None` when none is wanted or one was sent.
    /// Kept in whole seconds, rounded up.
    pub notice: Option<Wall>,
    /// Goes before bulk mail of the same next hop, but does not starve it.
    pub urgent: bool,
    /// An earlier attempt may have delivered it.
    pub in_doubt: bool,
}

/// When a new entry's next attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as it is its turn.
    Now,
    /// It has waited its turn: before all that arrived later, as far as they
    /// stand in front.
    Turn,
    /// Not before this time.
    At(Wall),
    /// Not before it is released.
    Held,
}

/// What an entry waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// For the time of its next attempt.
    Deferred,
    /// For its turn: a look-up, a connection, a permit.
    Ready,
    /// For the shard, which tries, bounces or removes it.
    InFlight,
    /// For an operator.
    Held,
}

/// An entry as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The message.
    pub message: MessageId,
    /// Where it was last known to lie.
    pub place: Place,
    /// The shard that wrote it.
    pub writer: ShardId,
    /// Which of the message's recipients, counted from 0.
    pub recipient: u16,
    /// Attempts made so far.
    pub attempts: u16,
    /// When the message was accepted, by the wall clock as it goes now: the
    /// present less the time that has passed.
    pub arrived: Wall,
    /// End of its lifetime; the present when that is over.
    pub expires: Wall,
    /// Earliest time of the next attempt, of a deferred entry only.
    pub next_attempt: Option<Wall>,
    /// What it waits for.
    pub state: State,
    /// Where it goes.
    pub destination: DestinationKey,
    /// Whether it goes before bulk mail.
    pub urgent: bool,
    /// Whether an earlier attempt may have delivered it.
    pub in_doubt: bool,
}

/// Flag bits of an [`Entry`].
pub(crate) mod flag {
    pub(crate) const URGENT: u8 = 1;
    pub(crate) const IN_DOUBT: u8 = 2;
    /// To be held when it comes back from its attempt.
    pub(crate) const HOLD: u8 = 4;
    /// To be removed when it comes back from its attempt.
    pub(crate) const REMOVE: u8 = 8;
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) message: MessageId,
    pub(crate) place: Place,
    pub(crate) writer: ShardId,
    pub(crate) recipient: u16,
    pub(crate) attempts: u16,
    pub(crate) state: State,
    flags: u8,
    /// On the queue's steady clock (`Queue::steady`).
    arrived: Ms48,
    expires: Ms48,
    /// Monotonic seconds of the delay notice; `NO_NOTICE`: none.
    notice_s: u32,
    /// Slot of the destination.
    pub(crate) destination: u32,
    words: Link,
    pub(crate) timer: TimerKey,
}

const _: () = assert!(size_of::<Entry>() <= 64);
const NO_NOTICE: u32 = u32::MAX;

impl EntryKey {
    /// The key as one number, for use as an outside handle.
    pub const fn as_u64(self) -> u64 {
        self.0.as_u64()
    }

    /// The inverse of [`EntryKey::as_u64`].
    pub const fn from_u64(bits: u64) -> Self {
        Self(Key::from_u64(bits))
    }
}

fn notice_seconds(now: Now, notice: Option<Wall>) -> u32 {
    let seconds = |at| u32::try_from(now.mono_at(at).as_millis().div_ceil(1_000)).ok();
    notice.and_then(seconds).unwrap_or(NO_NOTICE)
}

impl Entry {
    /// An entry in flight, in no list and without a timer. `steady` is the
    /// present on the queue's steady clock.
    pub(crate) fn new(now: Now, steady: Wall, new: &New, destination: u32) -> Self {
        let notice_s = notice_seconds(now, new.notice);
        let mut flags = 0;
        if new.urgent {
            flags |= flag::URGENT;
        }
        if new.in_doubt {
            flags |= flag::IN_DOUBT;
        }
        Self {
            message: new.message,
            place: new.place,
            writer: new.writer,
            recipient: new.recipient,
            attempts: new.attempts,
            state: State::InFlight,
            flags,
            arrived: Ms48::new((steady - now.wall.since(new.arrived)).as_millis()),
            expires: Ms48::new(now.mono_at(new.expires).as_millis()),
            notice_s,
            destination,
            words: Link::NOWHERE,
            timer: TimerKey::NONE,
        }
    }

    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn mark(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// On the queue's steady clock.
    pub(crate) fn arrived(&self) -> Wall {
        Wall::from_millis(self.arrived.millis())
    }

    pub(crate) fn expires(&self) -> Monotonic {
        Monotonic::from_millis(self.expires.millis())
    }

    pub(crate) fn notice(&self) -> Option<Monotonic> {
        (self.notice_s != NO_NOTICE)
            .then(|| Monotonic::from_millis(u64::from(self.notice_s) * 1_000))
    }

    /// Another end, and another time of the notice unless it has been given.
    pub(crate) fn set_lifetime(&mut self, now: Now, expires: Wall, notice: Option<Wall>) {
        self.expires = Ms48::new(now.mono_at(expires).as_millis());
        if self.notice_s != NO_NOTICE {
            self.notice_s = notice_seconds(now, notice);
        }
    }

    pub(crate) fn notice_given(&mut self) {
        self.notice_s = NO_NOTICE;
    }

    /// The next attempt of a deferred entry.
    pub(crate) fn until(&self) -> Monotonic {
        assert_eq!(self.state, State::Deferred, "only deferred mail waits for a time");
        let Link { previous, next } = self.words;
        Monotonic::from_millis(u64::from(previous) << 32 | u64::from(next))
    }

    /// Makes it deferred; it must stand in no list.
    pub(crate) fn set_until(&mut self, until: Monotonic) {
        let bits = until.as_millis();
        self.state = State::Deferred;
        self.words = Link { previous: (bits >> 32) as u32, next: bits as u32 };
    }

    /// When something must happen to it at the latest in its state.
    pub(crate) fn deadline(&self) -> Monotonic {
        let first = match self.notice() {
            // What is in flight may arrive yet: its notice waits for the end.
            Some(notice) if self.state != State::InFlight => notice.min(self.expires()),
            _ => self.expires(),
        };
        match self.state {
            State::Deferred if planted(Bug::RetryPastLifetime) => self.until(),
            State::Deferred => first.min(self.until()),
            State::Held if planted(Bug::HeldNeverExpires) => Monotonic::from_millis(1 << 42),
            State::Ready | State::InFlight | State::Held => first,
        }
    }

    pub(crate) fn view(&self, now: Now, steady: Wall, destination: DestinationKey) -> View {
        View {
            message: self.message,
            place: self.place,
            writer: self.writer,
            recipient: self.recipient,
            attempts: self.attempts,
            arrived: now.wall - steady.since(self.arrived()),
            expires: now.wall_at(self.expires()),
            next_attempt: (self.state == State::Deferred).then(|| now.wall_at(self.until())),
            state: self.state,
            destination,
            urgent: self.is(flag::URGENT),
            in_doubt: self.is(flag::IN_DOUBT),
        }
    }
}

impl Linked for Entry {
    fn link(&self) -> Link {
        assert_eq!(self.state, State::Ready, "only ready mail stands in a list");
        self.words
    }

    fn link_mut(&mut self) -> &mut Link {
        assert_eq!(self.state, State::Ready, "only ready mail stands in a list");
        &mut self.words
    }
}

/// Milliseconds in 48 bits (8 900 years); more saturates.
#[derive(Clone, Copy, Debug)]
struct Ms48([u16; 3]);

impl Ms48 {
    fn new(ms: u64) -> Self {
        let ms = ms.min((1 << 48) - 1);
        Self([(ms >> 32) as u16, (ms >> 16) as u16, ms as u16])
    }

    fn millis(self) -> u64 {
        let [high, middle, low] = self.0.map(u64::from);
        high << 32 | middle << 16 | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_survive_their_packing() {
        for ms in [0, 1, 0xffff, 0x1_0000, 0x1234_5678_9abc, (1 << 48) - 1] {
            assert_eq!(Ms48::new(ms).millis(), ms);
        }
        assert_eq!(Ms48::new(u64::MAX).millis(), (1 << 48) - 1);
    }

    #[test]
    fn a_deadline_is_the_first_thing_that_must_happen() {
        let now = Now::new(Monotonic::from_millis(500), Wall::from_millis(1_000_000));
        let new = New {
            message: MessageId::default(),
            place: Place::default(),
            writer: ShardId(0),
            recipient: 0,
            attempts: 0,
            arrived: now.wall,
            expires: now.wall + Duration::from_secs(100),
            notice: Some(now.wall + Duration::from_secs(50)),
            urgent: true,
            in_doubt: false,
        };
        let mut entry = Entry::new(now, now.wall, &new, 7);
        assert_eq!(entry.deadline().as_millis(), 100_500, "in flight: the end of its life");
        entry.state = State::Ready;
        assert_eq!(entry.deadline().as_millis(), 51_000, "the notice, rounded up to a second");
        entry.set_until(Monotonic::from_millis(1 << 40 | 5));
        assert_eq!(entry.until().as_millis(), 1 << 40 | 5);
        assert_eq!(entry.deadline().as_millis(), 51_000);
        entry.set_until(Monotonic::from_millis(2_000));
        assert_eq!(entry.deadline().as_millis(), 2_000);
        entry.notice_given();
        entry.state = State::Held;
        assert_eq!(entry.deadline().as_millis(), 100_500);
        assert!(entry.is(flag::URGENT));
    }
}
