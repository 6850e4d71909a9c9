//! `sessions`: who is connected, in and out, how far each session is, and its
//! end by an operator's word; and `limits`: which limit binds at the sites with
//! the most mail.
//!
//! Invariant: a session that is cut is like one whose peer has gone: what a
//! client had not been promised is forgotten, what was under way to a next hop
//! is deferred, or in doubt behind the final dot.

use base::{ConnId, Monotonic};
use serde_json::{Value, json};

use crate::accept::Inbound;
use crate::command::Answer;
use crate::effect::Effect;
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};
use crate::why::{Tallied, phase_of};

impl Shard {
    /// Sessions of this shard, the oldest first.
    pub(crate) fn sessions(&self, turn: &Turn<'_>, limit: usize) -> Answer {
        let inbound = self.inbound.iter().map(|(conn, it)| (it.since, *conn));
        let outbound = self.outbound.iter().map(|(conn, it)| (it.opened, *conn));
        let mut all: Vec<(Monotonic, ConnId)> = inbound.chain(outbound).collect();
        let counted = (self.inbound.len(), self.outbound.len());
        all.sort_unstable();
        let rows: Vec<Value> = all
            .into_iter()
            .take(limit)
            .filter_map(|(since, conn)| {
                let age = turn.now.mono.since(since).as_millis() as u64;
                match (self.inbound.get(&conn), self.outbound.get(&conn)) {
                    (Some(it), _) => Some(self.client_row(conn, age, it)),
                    (None, Some(it)) => Some(self.host_session_row(conn, age, it)),
                    (None, None) => None,
                }
            })
            .collect();
        Answer::ok(json!({ "sessions": rows, "in": counted.0, "out": counted.1 }))
    }

    fn client_row(&self, conn: ConnId, age_ms: u64, it: &Inbound) -> Value {
        json!({
            "session": self.session_name(conn).to_string(),
            "shard": self.id.0,
            "way": "in",
            "peer": it.peer.to_string(),
            "phase": it.session.phase(),
            "age_ms": age_ms,
            "bytes": it.bytes,
            "messages": Value::Null,
            "message": Value::Null,
            "site": Value::Null,
        })
    }

    fn host_session_row(&self, conn: ConnId, age_ms: u64, it: &Outbound) -> Value {
        let batch = it.batch.as_ref();
        json!({
            "session": self.session_name(conn).to_string(),
            "shard": self.id.0,
            "way": "out",
            "peer": it.host(),
            "phase": phase_of(it),
            "age_ms": age_ms,
            "bytes": batch.map_or(0, crate::batch::Batch::bytes),
            "messages": it.sent,
            "message": batch.map(|batch| batch.message.to_string()),
            "site": self.queue.site(it.site).map(|site| site.name),
        })
    }

    /// Cuts a session.
    pub(crate) fn abort_session(&mut self, turn: &mut Turn<'_>, name: &str) -> Answer {
        let all = self.inbound.keys().chain(self.outbound.keys());
        let named = |conn: &ConnId| self.session_name(*conn).to_string() == name;
        let Some(conn) = all.copied().find(named) else {
            return Answer::not_found("no such session");
        };
        turn.effects.push(Effect::Abort { conn });
        match self.inbound.contains_key(&conn) {
            true => self.inbound_closed(conn),
            false => self.outbound_closed(turn, conn, Some("cut by an operator")),
        }
        Answer::ok(json!({ "session": name }))
    }

    /// Which limit binds at the sites with the most ready mail.
    pub(crate) fn limits(&mut self, turn: &mut Turn<'_>, request: u64, limit: usize) {
        let queues = self.busiest(turn, limit);
        if !queues.is_empty() {
            return self.ask_why(turn, request, Vec::new(), queues);
        }
        let answer = Answer::ok(json!({ "recipients": [], "queues": [] }));
        turn.effects.push(Effect::Reply { request, answer });
    }

    /// The queues of the sites with the most ready mail, as `why` takes them.
    fn busiest(&self, turn: &Turn<'_>, limit: usize) -> Vec<Tallied> {
        let rows = self.queue.top_sites(turn.now, limit);
        let ready = rows.iter().filter(|row| row.counts.ready > 0);
        let tallied = |row: &queue::Row| {
            let site = self.queue.find_site(&row.name)?;
            let mut queue = Tallied::new(self.queue.first_at(site)?, true);
            (queue.counts, queue.oldest) = (row.counts, row.oldest);
            Some(queue)
        };
        ready.filter_map(tallied).collect()
    }
}
