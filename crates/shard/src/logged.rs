//! What a shard tells the event log of the life of mail: reception, attempts,
//! and what became of each recipient; and what is asked before anything is
//! told: whether the log wants it, and what a session is called there.
//!
//! Other lines are written where their events are seen. Never on the way of
//! mail that the log does not tell of: at the level `quiet` no line is made.

use std::time::Duration;

use base::{ConnId, Map, MessageId, Monotonic, Now, Wall};
use control::{LogLevel, Policy, Rate};
use eventlog::{Field, Kind, Line, SessionName};
use mail::ReversePath;
use queue::{EntryKey, View};
use smtp::submission::Received;
use spool::Message;

use crate::accept::Door;
use crate::armed::Armed;
use crate::effect::Effect;
use crate::handoff::spool_place;
use crate::mesh::{SettledAs, Settlement};
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn, push};
use crate::watching::Watching;

/// What the log was told.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    /// Trouble with storage was told, and nothing was stored since.
    pub(crate) complained: bool,
    /// Limits told of lately: at most one line a minute for each.
    limits: Map<Box<str>, Told>,
    /// Recovered messages that arrived later may lack their line.
    until: Option<Wall>,
    /// What is looked at closely, if anything is.
    pub(crate) watching: Option<Box<Watching>>,
    pub(crate) watches_armed: Armed,
    /// Lines at level `detail` are wanted, of something at least.
    tells_detail: bool,
}

#[derive(Debug)]
struct Told {
    /// When it was told.
    at: Monotonic,
    /// When it was reached last.
    last: Monotonic,
    /// Times that it was reached since it was told.
    again: u64,
}

/// A limit that was reached.
pub(crate) struct Reached<'a> {
    /// Which; the word that `why` has for it as a cause, if it has one.
    pub(crate) limit: &'a str,
    /// Whom or what it limits.
    pub(crate) of: &'a str,
    /// What it allows.
    pub(crate) most: Option<u64>,
    /// … in which time, of a rate.
    pub(crate) rate: Option<Rate>,
}

/// Limits that are kept apart; all are forgotten when there are more.
const LIMITS_MAX: usize = 1_024;
/// Without being reached for so long it has ended to bind: what comes then is
/// told of as new.
const LIMIT_QUIET: Duration = Duration::from_secs(60);
/// One that goes on to bind is told of again after so long.
const LIMIT_REMIND: Duration = Duration::from_secs(3_600);

impl Logged {
    /// Nothing was told yet.
    pub(crate) fn of(policy: &Policy) -> Self {
        Self { tells_detail: policy.log.level >= LogLevel::Detail, ..Self::default() }
    }

    /// Notes that a limit was reached. Whether its home should hear of it.
    pub(crate) fn is_news(&mut self, now: Monotonic, limit: &str, of: &str) -> bool {
        self.note(now, &format!("{limit} of {of}")).is_some()
    }

    /// Notes that a limit was reached. How often, with this time, if it is to
    /// be told now.
    fn note(&mut self, now: Monotonic, limit: &str) -> Option<u64> {
        if let Some(told) = self.limits.get_mut(limit) {
            told.again += 1;
            let before = std::mem::replace(&mut told.last, now);
            if now < before + LIMIT_QUIET && now < told.at + LIMIT_REMIND {
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.again));
        }
        if self.limits.len() >= LIMITS_MAX {
            self.limits.clear();
        }
        self.limits.insert(limit.into(), Told { at: now, last: now, again: 0 });
        Some(1)
    }
}

impl Shard {
    /// The log may lack the lines of messages that arrived after `at`: those
    /// that are found in the queue get theirs anew.
    pub fn with_log_until(mut self, at: Wall) -> Self {
        assert!(!self.ticked_first, "nothing has happened yet");
        self.logged.until = Some(at);
        self
    }

    /// A message was found in the queue. Its line of reception may have been
    /// lost with the end of the daemon before.
    pub(crate) fn log_recovered(&self, now: Now, effects: &mut Vec<Effect>, stored: &Message<'_>) {
        let lost = self.logged.until.is_some_and(|until| stored.arrival() > until);
        if !lost || stored.is_report() || !self.logs_mail() {
            return;
        }
        let to = stored.recipients().next().map(|recipient| recipient.address);
        let (_, _, octets) = stored.body_range();
        let line = Line::new(now.wall, Kind::Accepted)
            .id(Field::Id, stored.id())
            .show_some(Field::Client, stored.client())
            .text(Field::From, stored.sender())
            .show_some(Field::To, to)
            .number(Field::Recipients, stored.recipient_count())
            .number(Field::Size, octets)
            .flag(Field::Recovered, true);
        push(effects, line);
    }

    /// An operator sends a recipient's mail another way.
    pub(crate) fn log_rerouted(&mut self, turn: &mut Turn<'_>, key: EntryKey, view: &View) {
        if !self.logs_mail() {
            return;
        }
        let line = Line::new(turn.now.wall, Kind::Rerouted).id(Field::Id, view.message);
        let place = spool_place(view.place);
        let to = self.address_of(turn, view.message, place, view.recipient);
        let moved = self.queue.entry(turn.now, key);
        let way = moved.and_then(|view| self.way_of(view.destination));
        let line = line.show_some(Field::To, to);
        turn.log(line.show_some(Field::Route, way.map(|way| way.name.clone())));
    }

    /// A limit made something wait, or be refused for now: told once for as long
    /// as it goes on to.
    pub(crate) fn log_limit(&mut self, turn: &mut Turn<'_>, reached: &Reached<'_>) {
        if !self.logs_mail() {
            return;
        }
        let Reached { limit, of, most, rate } = *reached;
        let name = format!("{limit} of {of}");
        let Some(count) = self.logged.note(turn.now.mono, &name) else { return };
        let line = Line::new(turn.now.wall, Kind::LimitReached).text(Field::Limit, limit);
        let line = line.text(Field::Of, of).number(Field::Count, count);
        let line = match most.or(rate.map(|rate| rate.count().into())) {
            Some(most) => line.number(Field::Most, most),
            None => line,
        };
        turn.log(line.show_some(Field::Rate, rate));
    }

    /// Whether lines of the level `detail` are wanted: of everything, or of
    /// something that is looked at ([`Shard::tell`]).
    pub(crate) fn detailed(&self) -> bool {
        self.logged.tells_detail
    }

    /// Whether the log wants all lines of the level `detail`.
    pub(crate) fn logs_all(&self) -> bool {
        self.policy.log.level >= LogLevel::Detail
    }

    /// Whether they are wanted may have changed.
    pub(crate) fn settle_detail(&mut self) {
        self.logged.tells_detail = self.logs_all() || self.logged.watching.is_some();
    }

    /// Whether the log tells of single messages.
    pub(crate) fn logs_mail(&self) -> bool {
        self.policy.log.level >= LogLevel::Basic
    }

    /// What a connection is called in the log.
    pub(crate) fn session_name(&self, conn: ConnId) -> SessionName {
        SessionName::new(self.started.wall, self.id, conn)
    }

    /// The line of reception, in the log before the 250 can be.
    pub(crate) fn log_accepted(
        &self,
        turn: &mut Turn<'_>,
        id: MessageId,
        door: &Door<'_>,
        received: &Received,
    ) {
        let line = Line::new(turn.now.wall, Kind::Accepted).id(Field::Id, id);
        let line = match door {
            Door::Session { conn, inbound } => line
                .session(self.session_name(*conn))
                .show(Field::Client, inbound.peer.ip())
                .text_if(Field::User, inbound.session.user().map_or("", |user| user)),
            Door::Beside { by, .. } => line.text(Field::By, by),
        };
        let recipients = &received.envelope.recipients;
        let first = recipients.first().map(|recipient| &recipient.address);
        let line = match &received.envelope.sender {
            ReversePath::Null => line.text(Field::From, ""),
            ReversePath::Address(sender) => line.show(Field::From, sender),
        };
        let line = line.show_some(Field::To, first);
        let line = line.number(Field::Recipients, recipients.len() as u64);
        turn.log(line.number(Field::Size, received.size));
    }

    /// A transaction begins.
    pub(crate) fn log_attempt(&self, turn: &mut Turn<'_>, out: &Outbound) {
        let Some(batch) = out.batch.as_ref().filter(|_| self.logs_mail()) else { return };
        let mut views = batch.unsettled().filter_map(|key| self.queue.entry(turn.now, key));
        let Some(first) = views.next() else { return };
        let line = Line::new(turn.now.wall, Kind::Attempt)
            .id(Field::Id, batch.message)
            .number(Field::Attempt, first.attempts.saturating_add(1))
            .number(Field::Recipients, 1 + views.count() as u64)
            .show(Field::Host, &out.at)
            .text(Field::Site, &out.limit_key)
            .session_some(out.session)
            .text_if(Field::Route, &out.way.name)
            .text_if(Field::Source, out.way.source().map_or("", |source| &source.name));
        turn.log(line.show_some(Field::Proxy, out.way.proxy()));
    }

    /// What became of a recipient; `to` is its address.
    pub(crate) fn end_line(
        &self,
        now: Now,
        stored: Option<&Message<'_>>,
        to: Option<&str>,
        s: &Settlement,
        text: &str,
    ) -> Line {
        let mut line = Line::new(now.wall, kind_of(s.result)).id(Field::Id, s.message);
        if let Some(stored) = stored {
            line = line.text(Field::From, stored.sender());
            line = line.text(Field::To, to.unwrap_or_default());
            let delay = now.wall.since(stored.arrival()).as_millis() as u64;
            line = line.number(Field::DelayMs, delay);
        }
        line = line.text_if(Field::Host, &s.host).text_if(Field::Source, &s.source);
        let source = self.policy.exits.source(&s.source);
        let proxy = source.and_then(|source| source.proxy.as_ref());
        line = line.show_some(Field::Proxy, proxy).session_some(s.session);
        line = line.text_if(Field::Site, s.site.as_deref().unwrap_or_default());
        line = line.status(s.status).text_if(Field::Reply, text);
        line = line.number(Field::Attempt, s.attempt);
        if let SettledAs::Deferred(next) = s.result {
            line = line.time(Field::Next, next);
        }
        line.flag(Field::InDoubt, s.in_doubt)
    }
}

fn kind_of(result: SettledAs) -> Kind {
    match result {
        SettledAs::Delivered { .. } => Kind::Delivered,
        SettledAs::Failed => Kind::Failed,
        SettledAs::Expired => Kind::Expired,
        SettledAs::Removed => Kind::Removed,
        SettledAs::Deferred(_) => Kind::Deferred,
        SettledAs::Held => Kind::Held,
        SettledAs::Released => Kind::Released,
        SettledAs::Delayed { .. } => Kind::Delayed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_of_once_while_it_binds_with_how_often_it_was_reached() {
        let mut told = Logged::default();
        let start = Monotonic::from_millis(1_000);
        assert_eq!(told.note(start, "a"), Some(1));
        assert_eq!(told.note(start + LIMIT_QUIET / 2, "a"), None);
        assert_eq!(told.note(start + LIMIT_QUIET / 2, "b"), Some(1));
        assert_eq!(told.note(start + LIMIT_QUIET, "a"), None, "it has not let go since");
        assert_eq!(told.note(start + LIMIT_QUIET * 2, "a"), Some(3), "it had let go");
        assert_eq!(told.note(start + LIMIT_QUIET * 2, "a"), None);
        let every = LIMIT_QUIET / 2;
        let times = (5..).map(|n| start + every * n).take_while(|at| *at < start + LIMIT_REMIND);
        assert_eq!(times.filter_map(|at| told.note(at, "a")).count(), 0, "one that goes on");
        assert!(told.note(start + LIMIT_QUIET * 2 + LIMIT_REMIND, "a").is_some());
        for n in 0..2 * LIMITS_MAX {
            told.note(start, &n.to_string());
        }
        assert!(told.limits.len() <= LIMITS_MAX, "strangers cannot make it grow");
    }
}
