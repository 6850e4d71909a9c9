//! What a shard tells the event log of the life of mail: reception, attempts,
//! and what became of each recipient; and what is asked before anything is
//! told: whether the log wants it, and what a session is called there.
//!
//! Other lines are written where their events are seen. Never on the way of
//! mail that the log does not tell of: at the level `quiet` no line is made.

use std::time::Duration;

use base::{ConnId, Map, MessageId, Monotonic, Now, Wall};
use control::LogLevel;
use eventlog::{Field, Kind, Line, SessionName};
use mail::ReversePath;
use queue::{EntryKey, View};
use smtp::submission::Received;
use spool::Message;

use crate::accept::Door;
use crate::effect::Effect;
use crate::handoff::spool_place;
use crate::mesh::{SettledAs, Settlement};
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn, push};

/// What the log was told.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    /// Trouble with storage was told, and nothing was stored since.
    pub(crate) complained: bool,
    /// Limits told of lately: at most one line a minute for each.
    limits: Map<Box<str>, Told>,
    /// Recovered messages that arrived later may lack their line.
    until: Option<Wall>,
}

#[derive(Debug)]
struct Told {
    at: Monotonic,
    /// Times that it was reached since.
    again: u64,
}

/// Limits that are kept apart; all are forgotten when there are more.
const LIMITS_MAX: usize = 1_024;
/// How long one is not told of again.
const LIMIT_QUIET: Duration = Duration::from_secs(60);

impl Logged {
    /// Notes that a limit was reached. How often, with this time, if it is to
    /// be told now.
    fn note(&mut self, now: Monotonic, limit: &str) -> Option<u64> {
        if let Some(told) = self.limits.get_mut(limit) {
            told.again += 1;
            if now < told.at + LIMIT_QUIET {
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.again));
        }
        if self.limits.len() >= LIMITS_MAX {
            self.limits.clear();
        }
        self.limits.insert(limit.into(), Told { at: now, again: 0 });
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
            .show(Field::Id, stored.id())
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
        let line = Line::new(turn.now.wall, Kind::Rerouted).show(Field::Id, view.message);
        let place = spool_place(view.place);
        let to = self.address_of(turn, view.message, place, view.recipient);
        let moved = self.queue.entry(turn.now, key);
        let way = moved.and_then(|view| self.way_of(view.destination));
        let line = line.show_some(Field::To, to);
        turn.log(line.show_some(Field::Route, way.map(|way| way.name.clone())));
    }

    /// A limit made something wait, or be refused for now.
    pub(crate) fn log_limit(
        &mut self,
        turn: &mut Turn<'_>,
        limit: &str,
        of: &str,
        most: Option<u64>,
    ) {
        if !self.logs_mail() {
            return;
        }
        // Whose it is tells them apart better than what it is.
        let Some(count) = self.logged.note(turn.now.mono, of) else { return };
        let line = Line::new(turn.now.wall, Kind::LimitReached).text(Field::Limit, limit);
        let line = line.text(Field::Of, of).number(Field::Count, count);
        turn.log(match most {
            Some(most) => line.number(Field::Most, most),
            None => line,
        });
    }

    /// Whether the log's `detail` level is on.
    pub(crate) fn detailed(&self) -> bool {
        self.policy.log.level >= LogLevel::Detail
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
        let line = Line::new(turn.now.wall, Kind::Accepted).show(Field::Id, id);
        let line = match door {
            Door::Session { conn, inbound } => line
                .show(Field::Session, self.session_name(*conn))
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
            .show(Field::Id, batch.message)
            .number(Field::Attempt, first.attempts.saturating_add(1))
            .number(Field::Recipients, 1 + views.count() as u64)
            .show(Field::Host, &out.at)
            .text(Field::Site, &out.limit_key)
            .show_some(Field::Session, out.session)
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
        let mut line = Line::new(now.wall, kind_of(s.result)).show(Field::Id, s.message);
        if let Some(stored) = stored {
            line = line.text(Field::From, stored.sender());
            line = line.text(Field::To, to.unwrap_or_default());
            let delay = now.wall.since(stored.arrival()).as_millis() as u64;
            line = line.number(Field::DelayMs, delay);
        }
        line = line.text_if(Field::Host, &s.host).text_if(Field::Source, &s.source);
        let source = self.policy.exits.source(&s.source);
        let proxy = source.and_then(|source| source.proxy.as_ref());
        line = line.show_some(Field::Proxy, proxy).show_some(Field::Session, s.session);
        line = line.text_if(Field::Site, s.site.as_deref().unwrap_or_default());
        line = line.show(Field::Status, s.status).text_if(Field::Reply, text);
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
    fn a_limit_is_told_of_once_a_minute_with_how_often_it_was_reached() {
        let mut told = Logged::default();
        let start = Monotonic::from_millis(1_000);
        assert_eq!(told.note(start, "a"), Some(1));
        assert_eq!(told.note(start + LIMIT_QUIET / 2, "a"), None);
        assert_eq!(told.note(start + LIMIT_QUIET / 2, "b"), Some(1));
        assert_eq!(told.note(start + LIMIT_QUIET, "a"), Some(2));
        assert_eq!(told.note(start + LIMIT_QUIET, "a"), None);
        for n in 0..2 * LIMITS_MAX {
            told.note(start, &n.to_string());
        }
        assert!(told.limits.len() <= LIMITS_MAX, "strangers cannot make it grow");
    }
}
