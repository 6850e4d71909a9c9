//! What a shard tells the event log of the life of mail: reception, attempts,
//! and what became of each recipient; and what is asked before anything is
//! told: whether the log wants it, and what a session is called there.
//!
//! Other lines are written where their events are seen. Never on the way of
//! mail that the log does not tell of: at the level `quiet` no line is made.

use base::{ConnId, MessageId};
use control::LogLevel;
use eventlog::{Field, Kind, Line, SessionName};
use smtp::submission::Received;
use spool::{Message, Place};

use crate::accept::Door;
use crate::mesh::{SettledAs, Settlement};
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

impl Shard {
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
        let line = line.show(Field::From, &received.envelope.sender).show_some(Field::To, first);
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

    /// What became of a recipient.
    pub(crate) fn log_end(
        &self,
        turn: &mut Turn<'_>,
        place: Option<Place>,
        s: &Settlement,
        text: &str,
    ) {
        let mut line = Line::new(turn.now.wall, kind_of(s.result)).show(Field::Id, s.message);
        let stored = place.and_then(|at| spool::message_at(&*turn.medium, s.message, at).ok());
        if let Some(stored) = stored {
            line = described(line, &stored, s.recipient);
            let delay = turn.now.wall.since(stored.arrival()).as_millis() as u64;
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
        turn.log(line.flag(Field::InDoubt, s.in_doubt));
    }
}

fn described(line: Line, stored: &Message<'_>, recipient: u16) -> Line {
    let to = stored.recipient(recipient).map_or("", |r| r.address);
    line.text(Field::From, stored.sender()).text(Field::To, to)
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
