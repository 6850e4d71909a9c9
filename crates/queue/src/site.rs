//! What shares connections, limits and back-off: an MX set, or the hosts of a
//! relay with what else makes them one. Its destinations with ready mail take
//! turns in a ring. A site that is down waits as one, on one timer, whatever
//! the number of its entries; then one connection finds out whether it is back.
//!
//! Invariants: `idle + dispatched + closing ≤ open`; the tally is the sum of the
//! members'; a site with members or connections is never dropped.

use std::sync::Arc;
use std::time::Duration;

use base::planted::{Bug, planted};
use base::{Key, Monotonic, Now, TimerKey, Wall};

use crate::concurrency::Window;
use crate::destination::keep_reason;
use crate::lately::{Ended, Lately};
use crate::list::{Link, Linked, List, member_mut};
use crate::pace::{Meter, Pace};
use crate::queue::{Queue, Wait};
use crate::tally::{Counts, Tally};

/// Names one site; stale once it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteKey(pub(crate) Key);

/// Whether a site answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As far as is known.
    Up,
    /// Not tried before its time.
    Down,
    /// One connection finds out.
    Probing,
}

/// What a connection of a site is doing, as the queue counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Handed out as [`crate::Work::Open`] or [`crate::Work::Use`] and has not
    /// asked for mail since.
    Dispatched,
    /// Has asked for mail: it carries some, or ends a transaction.
    Busy,
    /// Reported by [`Queue::connection_idle`].
    Idle,
    /// Was told [`crate::Take::Close`].
    Closing,
}

/// A site as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteView<'a> {
    /// Its key string.
    pub name: &'a str,
    /// Whether it answers.
    pub health: Health,
    /// End of its down time.
    pub down_until: Option<Monotonic>,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it fails, if it does.
    pub failing_since: Option<Monotonic>,
    /// Why it failed or mail was last deferred.
    pub reason: Option<&'a str>,
    /// Connections, being opened or standing.
    pub open: u32,
    /// Connections that stand without work.
    pub idle: u32,
    /// Connections it may have by experience.
    pub window: u32,
    /// Connections it may have by limit.
    pub limit: u32,
    /// Connections it may have until more permits come, if those are fewer.
    pub cap: Option<u32>,
    /// Connections on their way to mail.
    pub dispatched: u32,
    /// Whether it waits for a rate or a permit.
    pub paused: bool,
    /// Until when, where that is a moment.
    pub paused_until: Option<Monotonic>,
    /// Whether an operator stopped it.
    pub halted: bool,
    /// How fast its mail goes.
    pub pace: Option<Pace>,
    /// What a transaction takes.
    pub service: Option<Duration>,
    /// Its entries.
    pub counts: Counts,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: Arc<str>,
    pub(crate) ring: List,
    pub(crate) members: u32,
    pub(crate) tally: Tally,
    pub(crate) open: u32,
    pub(crate) dispatched: u32,
    pub(crate) idle: u32,
    pub(crate) closing: u32,
    pub(crate) window: Window,
    /// Connections it may have until more permits come.
    pub(crate) cap: u32,
    pub(crate) health: Health,
    pub(crate) failures: u32,
    /// Since the first failure behind the last success.
    pub(crate) failing_since: Option<Monotonic>,
    down_until: Monotonic,
    pub(crate) pause: Pause,
    /// Stopped by an operator; see `suspend.rs`.
    pub(crate) halt: Halt,
    pub(crate) timer: TimerKey,
    pub(crate) meter: Meter,
    pub(crate) lately: Lately,
    pub(crate) reason: Option<Arc<str>>,
    /// Whether it stands in the list of work.
    pub(crate) asked: bool,
    /// Whether it stands in the list of unused sites.
    pub(crate) unused: bool,
    link: Link,
}

/// A wait on a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    No,
    Until(Monotonic),
    ForPermits,
}

/// Whether an operator stopped a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    No,
    /// Until this time, if one is known.
    Until(Option<Wall>),
}

impl SiteKey {
    /// The key as one number, for use as an outside handle.
    pub const fn as_u64(self) -> u64 {
        self.0.as_u64()
    }

    /// The inverse of [`SiteKey::as_u64`].
    pub const fn from_u64(bits: u64) -> Self {
        Self(Key::from_u64(bits))
    }
}

impl Site {
    pub(crate) fn new(name: Arc<str>, limit: u32) -> Self {
        Self {
            name,
            ring: List::EMPTY,
            members: 0,
            tally: Tally::new(),
            open: 0,
            dispatched: 0,
            idle: 0,
            closing: 0,
            window: Window::new(limit),
            cap: u32::MAX,
            health: Health::Up,
            failures: 0,
            failing_since: None,
            down_until: Monotonic::default(),
            pause: Pause::No,
            halt: Halt::No,
            timer: TimerKey::NONE,
            meter: Meter::default(),
            lately: Lately::default(),
            reason: None,
            asked: false,
            unused: false,
            link: Link::NOWHERE,
        }
    }

    /// Connections that carry mail or end a transaction.
    pub(crate) fn busy(&self) -> u32 {
        self.open - self.idle - self.dispatched - self.closing
    }

    /// Connections it may have now.
    pub(crate) fn allowed(&self) -> u32 {
        match self.health {
            Health::Up => self.window.size().min(self.cap),
            Health::Probing => 1,
            Health::Down => 0,
        }
    }

    /// Whether one more connection, an idle one or a new one, would find mail
    /// that nobody is on the way for.
    pub(crate) fn wants_connection(&self) -> bool {
        let in_use = self.open - self.idle;
        self.pause == Pause::No
            && self.halt == Halt::No
            && !self.ring.is_empty()
            && self.tally.counts.ready > self.dispatched
            && in_use < self.allowed()
            && (self.idle > 0 || self.open < self.allowed())
    }

    pub(crate) fn down_until(&self) -> Option<Monotonic> {
        (self.health == Health::Down).then_some(self.down_until)
    }

    fn next_wait(&self) -> Option<Monotonic> {
        let pause = match self.pause {
            Pause::Until(until) => Some(until),
            _ => None,
        };
        [self.down_until(), pause].into_iter().flatten().min()
    }
}

impl Linked for Site {
    fn link(&self) -> Link {
        self.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl Queue {
    /// What is known of a site.
    pub fn site(&self, key: SiteKey) -> Option<SiteView<'_>> {
        let site = self.sites.get(key.0)?;
        Some(SiteView {
            name: &site.name,
            health: site.health,
            down_until: site.down_until(),
            failures: site.failures,
            failing_since: site.failing_since,
            reason: site.reason.as_deref(),
            open: site.open,
            idle: site.idle,
            window: site.window.size(),
            limit: site.window.limit(),
            cap: (site.cap < site.window.size()).then_some(site.cap),
            dispatched: site.dispatched,
            paused: site.pause != Pause::No,
            paused_until: match site.pause {
                Pause::Until(until) => Some(until),
                Pause::No | Pause::ForPermits => None,
            },
            halted: site.halt != Halt::No,
            pace: site.meter.pace(),
            service: site.meter.service(),
            counts: site.tally.counts,
        })
    }

    /// Ready recipients of a site.
    pub fn ready_at(&self, key: SiteKey) -> u32 {
        self.sites.get(key.0).map_or(0, |site| site.tally.counts.ready)
    }

    /// The connection has nothing to do and stays open: the next mail of its
    /// site comes as [`crate::Work::Use`]. Only from [`Phase::Busy`].
    pub fn connection_idle(&mut self, key: SiteKey) {
        let site = self.sites.get_mut(key.0).expect("a site with connections stays");
        assert!(site.busy() > 0, "an idle connection was busy before");
        site.idle += 1;
        self.wake_site(key.0.index());
    }

    /// A connection is gone, or could not be opened at all. When that was the
    /// site's fault, [`Queue::site_failed`] comes next; when it was our own
    /// shortage, [`Queue::pause`] comes first, so that it is not tried again
    /// at once.
    pub fn connection_closed(&mut self, key: SiteKey, phase: Phase) {
        let site = self.sites.get_mut(key.0).expect("a site with connections stays");
        site.open -= 1;
        match phase {
            Phase::Dispatched => site.dispatched -= 1,
            Phase::Idle => site.idle -= 1,
            Phase::Closing => site.closing -= 1,
            Phase::Busy => {}
        }
        assert!(
            site.idle + site.dispatched + site.closing <= site.open,
            "a connection closes in the phase it is in"
        );
        let index = key.0.index();
        self.wake_site(index);
        self.rest_site(index);
    }

    /// An idle connection is being closed: no mail comes to it any more. It is
    /// in [`Phase::Closing`] until [`Queue::connection_closed`].
    pub fn connection_leaving(&mut self, key: SiteKey) {
        let site = self.sites.get_mut(key.0).expect("a site with connections stays");
        site.idle -= 1;
        site.closing += 1;
        self.wake_site(key.0.index());
    }

    /// The site took part in a transaction, whatever its answer to a single
    /// recipient. It is up; its window grows when it is used to the full. Whether
    /// it was not before.
    pub fn site_succeeded(&mut self, key: SiteKey) -> bool {
        let Some(site) = self.sites.get_mut(key.0) else { return false };
        (site.failures, site.failing_since) = (0, None);
        let was_up = site.health == Health::Up;
        if was_up {
            site.window.success(site.open);
        } else {
            site.health = Health::Up;
            site.window.restart();
        }
        let index = key.0.index();
        self.time_site(index);
        self.wake_site(index);
        !was_up
    }

    /// A transaction with the site was brought to its end, and took so long.
    pub fn site_served(&mut self, key: SiteKey, micros: u64) {
        if let Some(site) = self.sites.get_mut(key.0) {
            site.meter.served(micros);
        }
    }

    /// What became of a recipient there.
    pub fn site_ended(&mut self, now: Monotonic, key: SiteKey, ended: Ended) {
        if let Some(site) = self.sites.get_mut(key.0) {
            site.lately.count(now, ended);
        }
    }

    /// The site has had enough (421, "too many connections"): fewer from now
    /// on. Connections beyond the new window get [`crate::Take::Close`].
    pub fn site_slowed(&mut self, key: SiteKey, reason: &str) {
        let Some(site) = self.sites.get_mut(key.0) else { return };
        keep_reason(&mut site.reason, reason);
        let in_use = site.open - site.idle - site.closing;
        site.window.trouble(in_use);
    }

    /// No host of the site could be reached, or none would talk. With other
    /// connections standing this is trouble like [`Queue::site_slowed`];
    /// without, the site is down until `until`, when one connection probes it.
    /// Its ready mail stays ready: no attempt was made.
    pub fn site_failed(
        &mut self,
        now: Monotonic,
        key: SiteKey,
        until: Monotonic,
        reason: &str,
    ) -> Health {
        let Some(site) = self.sites.get_mut(key.0) else { return Health::Down };
        keep_reason(&mut site.reason, reason);
        site.failures = site.failures.saturating_add(1);
        site.failing_since.get_or_insert(now);
        if site.open > 0 {
            let in_use = site.open - site.idle - site.closing;
            site.window.trouble(in_use);
            return site.health;
        }
        site.health = Health::Down;
        site.down_until = until;
        site.meter.rests();
        self.time_site(key.0.index());
        Health::Down
    }

    /// The site waits for a rate until `until`, or for a permit until
    /// [`Queue::resume`]: one wake-up for all its mail.
    pub fn pause(&mut self, key: SiteKey, until: Option<Monotonic>) {
        let Some(site) = self.sites.get_mut(key.0) else { return };
        site.pause = match (until, site.pause) {
            (Some(until), _) => Pause::Until(until),
            (None, Pause::Until(until)) => Pause::Until(until),
            (None, _) => Pause::ForPermits,
        };
        self.time_site(key.0.index());
    }

    /// What the site waited for is there. A wait for a moment goes on until
    /// then: it was for something else.
    pub fn resume(&mut self, key: SiteKey) {
        let Some(site) = self.sites.get_mut(key.0) else { return };
        if matches!(site.pause, Pause::Until(_)) {
            return;
        }
        site.pause = Pause::No;
        let index = key.0.index();
        self.time_site(index);
        self.wake_site(index);
    }

    /// Connections the site may have from now on, at least 1. A lower fence
    /// holds at once; a higher one is reached by success.
    pub fn set_limit(&mut self, key: SiteKey, limit: u32) {
        let Some(site) = self.sites.get_mut(key.0) else { return };
        site.window.set_limit(limit);
    }

    /// The site has permits for so many connections and no more; `None` ends
    /// that. Unlike a limit this leaves alone what experience has taught.
    pub fn cap_connections(&mut self, key: SiteKey, cap: Option<u32>) {
        let Some(site) = self.sites.get_mut(key.0) else { return };
        site.cap = cap.unwrap_or(u32::MAX);
        self.wake_site(key.0.index());
    }

    /// A site's time has come.
    pub(crate) fn site_due(&mut self, now: Now, index: u32) {
        let site = member_mut(&mut self.sites, index);
        if site.down_until().is_some_and(|until| until <= now.mono) {
            site.health = Health::Probing;
        }
        if matches!(site.pause, Pause::Until(until) if until <= now.mono) {
            site.pause = Pause::No;
        }
        self.time_site(index);
        if !planted(Bug::SiteNeverWoken) {
            self.wake_site(index);
        }
    }

    /// An operator wants a site that is down tried now.
    pub(crate) fn probe_now(&mut self, index: u32) {
        let site = member_mut(&mut self.sites, index);
        if site.health == Health::Down {
            site.health = Health::Probing;
            self.time_site(index);
            self.wake_site(index);
        }
    }

    /// Sets the site's one timer to its first wait.
    fn time_site(&mut self, index: u32) {
        let site = member_mut(&mut self.sites, index);
        self.waits.cancel(site.timer);
        site.timer = match site.next_wait() {
            Some(until) => self.waits.insert(until, Wait::Site(index)),
            None => TimerKey::NONE,
        };
    }
}
