//! From facts about one waiting recipient to what it waits for: every condition
//! that keeps it, in the order in which it would meet them, and which of them
//! binds: the one that holds longest. Plain facts in, a chain out.
//!
//! Invariant: [`Chain::next`] is the first moment at which no condition that
//! ends by itself keeps the mail any more; none while one waits for somebody.

use std::time::Duration;

use base::Wall;
use control::{Timetable, Trouble};
use queue::{Health, Pace, State};

use eventlog::rfc3339;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// What kind; a word that programs may rely on.
    pub(crate) cause: &'static str,
    /// In words.
    pub(crate) words: String,
    /// Until when.
    pub(crate) until: Until,
}

/// Until when a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until then.
    At(Wall),
    /// Until somebody does something.
    Somebody,
    /// Nobody can say; not long.
    Soon,
}

/// All conditions of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// In the order in which they are met; never empty.
    pub(crate) links: Vec<Link>,
    /// The one that binds.
    pub(crate) binding: usize,
    /// The earliest next attempt, if one comes without anybody's help.
    pub(crate) next: Option<Wall>,
}

/// What is known of one recipient.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) now: Wall,
    pub(crate) state: State,
    /// Why it is held.
    pub(crate) hold: Option<(&'static str, String)>,
    /// Of a deferred one.
    pub(crate) next_attempt: Option<Wall>,
    /// The last answer.
    pub(crate) answer: Option<String>,
    /// What its attempt is doing, of one in flight.
    pub(crate) under_way: String,
    /// An order of an operator's.
    pub(crate) stopped: Option<(Option<Wall>, String)>,
    /// Its link is not up; until when at most, if that is known.
    pub(crate) link: Option<(Option<Wall>, String)>,
    /// When its way is open; none: always.
    pub(crate) schedule: Option<&'a Timetable>,
    /// Why this machine sends nothing.
    pub(crate) ours: Option<&'static str>,
    pub(crate) look_up: LookUp,
    /// Its site, once it is known.
    pub(crate) site: Option<SiteFacts>,
}

/// Whether it is known where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// It is, or nobody needs to know yet.
    Known,
    UnderWay,
    Failed(Wall, String),
    /// There is no such place.
    Rejected(String),
}

/// What is known of a site and its limits.
#[derive(Clone, Debug)]
pub(crate) struct SiteFacts {
    pub(crate) name: Box<str>,
    pub(crate) health: Health,
    pub(crate) down_until: Option<Wall>,
    pub(crate) reason: String,
    /// Its source cannot be used.
    pub(crate) source_until: Option<Wall>,
    pub(crate) paused_until: Option<Wall>,
    pub(crate) paused: bool,
    /// Connections of this shard: open, and those of them that have carried as
    /// much as they may.
    pub(crate) open: u32,
    pub(crate) idle: u32,
    pub(crate) spent: u32,
    /// Connections it may have by experience, and until more permits come.
    pub(crate) window: u32,
    pub(crate) cap: Option<u32>,
    pub(crate) connections: Connections,
    pub(crate) per_connection: u32,
    pub(crate) rate: Option<RateFacts>,
    /// Transactions before this one.
    pub(crate) ahead: u64,
    /// Until the next transaction begins, and from one to the next.
    pub(crate) pace: Option<(Wall, Duration)>,
}

/// The limit of connections, over all shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) limit: u32,
    pub(crate) out: u32,
    /// More were asked for.
    pub(crate) asked: bool,
    /// When others are told to give some up.
    pub(crate) recall: Option<Wall>,
}

/// The limit of messages in time, over all shards.
#[derive(Clone, Debug)]
pub(crate) struct RateFacts {
    pub(crate) words: String,
    /// Tokens of this shard that may still be spent.
    pub(crate) held: u32,
    /// When the next one comes, and from one to the next; those of other
    /// shards counted.
    pub(crate) next: Wall,
    pub(crate) pace: Duration,
}

impl RateFacts {
    /// When the transaction that comes behind `ahead` others gets its token.
    fn at(&self, now: Wall, ahead: u64) -> Wall {
        let Some(place) = ahead.checked_sub(u64::from(self.held)) else { return now };
        self.next.max(now) + times(self.pace, place)
    }
}

impl Chain {
    /// What `facts` amount to.
    pub(crate) fn of(facts: &Facts<'_>) -> Self {
        let mut chain = Self { next: Some(facts.now), ..Self::default() };
        chain.own_state(facts);
        if facts.state != State::InFlight {
            chain.way(facts);
        }
        if chain.links.is_empty() {
            chain.add("turn", "nothing: it goes at once".into(), Until::Soon);
        }
        chain
    }

    /// The condition that binds.
    pub(crate) fn binding(&self) -> &Link {
        &self.links[self.binding]
    }

    fn own_state(&mut self, facts: &Facts<'_>) {
        match facts.state {
            State::Held => {
                let (cause, words) = facts.hold.clone().unwrap_or(("held", "held".into()));
                self.add(cause, words, Until::Somebody);
            }
            State::InFlight => self.add("under-way", facts.under_way.clone(), Until::Soon),
            State::Deferred => {
                let until = facts.next_attempt.unwrap_or(facts.now);
                let answer = facts.answer.as_deref();
                let (cause, what) = match answer {
                    Some(text) if Trouble::of_answer(text) == Trouble::Greylisted => {
                        ("greylisted", "greylisted: ")
                    }
                    _ => ("back-off", "its last attempt did not succeed: "),
                };
                let words = match answer {
                    Some(text) => format!("{what}{text}"),
                    None => "it waits for its next attempt".into(),
                };
                self.add(cause, words, Until::At(until));
            }
            State::Ready => {}
        }
    }

    fn way(&mut self, facts: &Facts<'_>) {
        if let Some((until, words)) = &facts.stopped {
            self.add("suspended", words.clone(), until.map_or(Until::Somebody, Until::At));
        }
        if let Some(words) = facts.ours {
            self.add("own-shortage", words.into(), Until::Somebody);
        }
        if let Some((until, words)) = &facts.link {
            self.add("link", words.clone(), until.map_or(Until::Soon, Until::At));
        }
        match &facts.look_up {
            LookUp::Known => {}
            LookUp::UnderWay => {
                self.add("look-up", "its next hop is being looked up".into(), Until::Soon);
            }
            LookUp::Failed(until, why) => {
                self.add("look-up-failed", why.clone(), Until::At(*until));
            }
            LookUp::Rejected(why) => self.add("rejected", why.clone(), Until::Soon),
        }
        if let Some(site) = &facts.site {
            self.site(facts, site);
        }
        self.schedule(facts);
    }

    fn site(&mut self, facts: &Facts<'_>, site: &SiteFacts) {
        let reason = &site.reason;
        match (site.health, site.down_until) {
            (Health::Down, Some(until)) => {
                self.add("site-down", format!("no host answers: {reason}"), Until::At(until));
            }
            (Health::Probing, _) if site.open > 0 => {
                let words = format!("one connection finds out whether it is back: {reason}");
                self.add("site-probed", words, Until::Soon);
            }
            _ => {}
        }
        if let Some(until) = site.source_until {
            let words = "the source that it leaves from cannot be used".into();
            self.add("source-down", words, Until::At(until));
        } else if let Some(until) = site.paused_until {
            let words = "this machine lacked the means for a connection, or it waits for a log-in";
            self.add("own-shortage", words.into(), Until::At(until));
        }
        let goes = site.health == Health::Up && site.paused_until.is_none();
        let goes = goes && facts.link.is_none();
        if facts.state == State::Ready && goes && self.next.is_some() {
            self.limits(facts.now, site);
        }
    }

    /// What a ready one waits for at a site that answers.
    fn limits(&mut self, now: Wall, site: &SiteFacts) {
        let ahead = site.ahead;
        let before = match ahead {
            0 => "it is next".to_owned(),
            1 => "1 transaction goes before it".to_owned(),
            _ => format!("{ahead} transactions go before it"),
        };
        let turn = site.pace.map(|(next, each)| next.max(now) + times(each, ahead));
        if let Some(rate) = &site.rate {
            let at = rate.at(now, ahead);
            if site.paused && !site.connections.asked || at > turn.unwrap_or(now) {
                let words = format!("the rate {} is used up; {before}", rate.words);
                return self.add("rate", words, Until::At(at));
            }
        }
        let Connections { limit, out, recall, .. } = site.connections;
        let until = turn.map_or(Until::Soon, Until::At);
        if site.paused && site.open == 0 {
            let words =
                format!("all connections that {} may have are in use: {out}/{limit}", site.name);
            return self.add("connections", words, recall.map_or(until, Until::At));
        }
        let (in_use, window) = (site.open - site.idle, site.window);
        let (cause, words) = if in_use > 0 && site.spent >= in_use {
            let most = site.per_connection;
            (
                "messages-per-connection",
                format!("{in_use} connections end behind {most} messages each"),
            )
        } else if in_use > 0 && (in_use >= limit || site.cap.is_some_and(|cap| in_use >= cap)) {
            let words =
                format!("all connections that {} may have are in use: {out}/{limit}", site.name);
            ("connections", words)
        } else if in_use >= window {
            let words = format!(
                "{} has shown to take {window} connections; its limit is {limit}",
                site.name
            );
            ("concurrency", words)
        } else {
            ("turn", "it waits for its turn".into())
        };
        self.add(cause, format!("{words}; {before}"), until);
    }

    /// Windows come last: what else keeps it may end within one, or outside.
    fn schedule(&mut self, facts: &Facts<'_>) {
        let Some(table) = facts.schedule else { return };
        let at = self.next.unwrap_or(facts.now);
        if table.is_open(at) {
            return;
        }
        match table.changes(at) {
            Some(opens) => {
                let words = format!("outside its schedule, {table}: opens {}", rfc3339(opens));
                self.add("schedule", words, Until::At(opens));
            }
            None => {
                let words = format!("outside its schedule, {table}: does not open");
                self.add("schedule", words, Until::Somebody);
            }
        }
    }

    fn add(&mut self, cause: &'static str, words: String, until: Until) {
        let binds = match (until, self.next) {
            (_, None) => false,
            (Until::Somebody, Some(_)) => true,
            (Until::At(at), Some(next)) => at > next || self.links.is_empty(),
            (Until::Soon, Some(_)) => self.links.is_empty(),
        };
        if binds {
            self.binding = self.links.len();
            self.next = match until {
                Until::At(at) => self.next.max(Some(at)),
                Until::Somebody => None,
                Until::Soon => self.next,
            };
        }
        self.links.push(Link { cause, words, until });
    }
}

pub(crate) fn times(span: Duration, count: u64) -> Duration {
    let ms = span.as_micros().saturating_mul(u128::from(count)) / 1_000;
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// The pace of a site, as times of the wall clock.
pub(crate) fn on_the_wall(pace: Pace, now: base::Now) -> (Wall, Duration) {
    (now.wall_at(pace.last + pace.per_take), pace.per_take)
}

#[cfg(test)]
mod tests;
