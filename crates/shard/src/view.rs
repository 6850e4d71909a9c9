//! What operators see of a shard, as JSON values that add up over shards.

use std::collections::BTreeMap;

use base::{MessageId, Wall};
use control::{By, Filter, Request};
use eventlog::rfc3339;
use meter::{Latencies, Reading, STAGES, Stage};
use queue::{AGE_BOUNDS_MINUTES, Row, Status};
use serde_json::{Map, Value, json};

use crate::shard::{Shard, Turn};

impl Shard {
    /// Counters and health.
    pub(crate) fn status(&self, turn: &Turn<'_>) -> Value {
        let counts = self.queue.counts();
        json!({
            "hostname": self.policy.hostname.as_str(),
            "shards": 1,
            "uptime_ms": turn.now.mono.since(self.started.mono).as_millis() as u64,
            "storage_failed": u64::from(self.spool.is_down()),
            "storage_without_room": u64::from(!self.spool.is_down() && !self.spool.has_room()),
            "draining": self.draining,
            "messages": self.spool.live_messages(),
            "bytes": self.spool.live_bytes(),
            "recipients": {
                "ready": counts.ready,
                "deferred": counts.deferred,
                "in_flight": counts.in_flight,
                "held": counts.held,
            },
            "sessions": { "in": self.inbound.len(), "out": self.outbound.len() },
            "sites": self.queue.sites(),
            "next_hops": self.queue.destinations(),
            "free_bytes": self.free.bytes,
            "silent_sites": self.peers.blocked.sites(turn.now.mono),
            "links": self.links_view(turn.now),
            "by_shard": [{
                "shard": self.id.0,
                "messages_accepted": self.metrics.messages_accepted,
                "delivered": self.metrics.delivered,
                "deferred": self.metrics.deferred,
                "waiting": counts.total(),
                "in": self.inbound.len(),
                "out": self.outbound.len(),
            }],
            "counters": self.metrics.each().into_iter().collect::<BTreeMap<_, _>>(),
        })
    }

    /// A message written here: envelope, and where each recipient stands.
    pub(crate) fn life_of(&self, turn: &Turn<'_>, message: MessageId) -> Option<Value> {
        let stored = self.spool.message(&*turn.medium, message).ok()?;
        let recipients: Vec<Value> = (0u16..)
            .zip(stored.recipients())
            .map(|(index, recipient)| {
                let state = self.spool.state(message, index);
                let note = self.spool.note(&*turn.medium, message, index);
                json!({
                    "recipient": recipient.address,
                    "state": state.map(|s| format!("{:?}", s.phase).to_lowercase()),
                    "attempts": state.map(|s| s.attempts),
                    "in_doubt": state.is_some_and(|s| s.in_doubt),
                    "status": note.map(|n| n.status.to_string()),
                    "last_answer": note.map(|n| n.text.to_string()),
                    "last_host": note.map(|n| n.host.to_string()),
                })
            })
            .collect();
        let (segment, offset, len) = stored.body_range();
        Some(json!({
            "id": message.to_string(),
            "sender": stored.sender(),
            "arrived": rfc3339(stored.arrival()),
            "size": len,
            "segment": segment.0,
            "offset": offset,
            "client": stored.client().map(|ip| ip.to_string()),
            "helo": stored.helo(),
            "is_report": stored.is_report(),
            "recipients": recipients,
        }))
    }

    /// Routes by name; mail of an earlier configuration is on its way to one.
    /// Whether its next hops take mail adds up over the shards.
    fn route_rows(&self, turn: &Turn<'_>) -> Vec<Value> {
        let named = |route: queue::RouteRow| {
            let way = route.row.route.and_then(|number| self.epochs.index(number));
            let way = way.and_then(|index| self.policy.way(index));
            let mut row = row_json(&route.row);
            row["name"] = way.map_or("(being routed anew)", |way| &way.name).into();
            row["hops_up"] = route.hops_up.into();
            row["hops_down"] = route.hops_down.into();
            row["sites_down"] = route.sites_down.iter().map(|name| &**name).collect();
            row
        };
        self.queue.routes(turn.now).into_iter().map(named).collect()
    }

    /// The next hops or sites with the most mail.
    pub(crate) fn top(&self, turn: &Turn<'_>, by: By, filter: &Filter, limit: usize) -> Value {
        // A name that is asked for may stand far down.
        let named = filter.site.is_some() || filter.domain.is_some();
        let rows_max = if named { usize::MAX } else { limit };
        let (key, rows) = match by {
            By::Domain => ("domains", self.queue.top_destinations(turn.now, rows_max)),
            By::Route => {
                // A route is neither a site nor a domain.
                let rows = if named { Vec::new() } else { self.route_rows(turn) };
                return json!({ "routes": rows.into_iter().take(limit).collect::<Vec<_>>() });
            }
            By::Site | By::Message => ("sites", self.queue.top_sites(turn.now, rows_max)),
        };
        let wanted = |row: &&Row| {
            let site = filter.site.as_deref().is_none_or(|name| *row.name == *name);
            let domain = filter.domain.as_ref().is_none_or(|d| *row.name == *d.as_str());
            row.counts.total() > 0 && site && domain
        };
        let rows: Vec<Value> = rows.iter().filter(wanted).take(limit).map(row_json).collect();
        json!({ key: rows })
    }
}

/// What a row waits for, in words, and until when.
pub(crate) fn status_words(status: Status) -> (&'static str, Option<Wall>) {
    match status {
        Status::Unknown => ("waiting", None),
        Status::LookingUp => ("looking up", None),
        Status::LookupFailed(until) => ("look-up failed", Some(until)),
        Status::Rejected => ("rejected", None),
        Status::Up => ("up", None),
        Status::Down(until) => ("down", Some(until)),
        Status::Probing => ("probing", None),
        Status::Paused(until) => ("paused", until),
        Status::Suspended(until) => ("suspended", until),
    }
}

fn row_json(row: &Row) -> Value {
    let (state, until) = status_words(row.status);
    let ages: Map<String, Value> = AGE_BOUNDS_MINUTES
        .iter()
        .map(|bound| format!("under_{bound}m"))
        .chain(["older".to_string()])
        .zip(row.ages.iter().map(|n| json!(n)))
        .collect();
    json!({
        "name": &*row.name,
        "count": row.counts.total(),
        "ready": row.counts.ready,
        "deferred": row.counts.deferred,
        "in_flight": row.counts.in_flight,
        "held": row.counts.held,
        "oldest_ms": row.oldest.map(|at| at.as_millis()),
        "next_attempt_ms": row.next_attempt.map(|at| at.as_millis()),
        "state": state,
        "until": until.map(rfc3339),
        "reason": row.reason.as_deref(),
        "ages": ages,
    })
}

/// How long each stage took, in microseconds; nulls where it never happened.
fn latencies(latencies: &Latencies) -> Value {
    let shown = |stage: Stage| {
        let times = latencies.of(stage);
        let count = times.count();
        let value = json!({
            "count": count,
            "mean_us": times.sum().checked_div(count),
            "p50_us": times.permille(500),
            "p99_us": times.permille(990),
            "p999_us": times.permille(999),
            "max_us": (count > 0).then(|| times.max()),
        });
        (stage.name().to_owned(), value)
    };
    Value::Object(STAGES.into_iter().map(shown).collect())
}

/// Makes merged lists what was asked for: one row per name, the fullest first,
/// no more than the limit.
pub(crate) fn finish(command: &Request, body: &mut Value, reading: Option<&Reading>) {
    if *command == Request::Status {
        body["latency"] = reading.map(|reading| latencies(&reading.latencies)).into();
        let some = |key: &str| body[key].as_u64().is_some_and(|shards| shards > 0);
        let storage = match (some("storage_failed"), some("storage_without_room")) {
            (true, _) => "failed",
            (false, true) => "no room",
            (false, false) => "ok",
        };
        body["storage"] = storage.into();
    }
    if let (Request::QueueIds { limit, .. }, Some(Value::Array(ids))) =
        (command, body.get_mut("ids"))
    {
        ids.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
        ids.dedup();
        ids.truncate(*limit as usize);
    }
    if let Request::Sites(asked) = command {
        return crate::sites::finish(asked, body);
    }
    let Request::QueueList { by, limit, .. } = command else { return };
    let limit = *limit as usize;
    let key = match by {
        By::Site => "sites",
        By::Route => "routes",
        By::Domain => "domains",
        By::Message => "messages",
    };
    let Some(Value::Array(rows)) = body.get_mut(key) else { return };
    if *by != By::Message {
        let count = |row: &Value| row["count"].as_u64().unwrap_or(0);
        let mut joined = joined_by_name(std::mem::take(rows));
        joined.sort_by_key(|row| std::cmp::Reverse(count(row)));
        joined.iter_mut().for_each(tell_times);
        if *by == By::Route {
            joined.iter_mut().for_each(tell_route);
        }
        *rows = joined;
    }
    rows.truncate(limit);
}

/// Says of a joined route whether any of its next hops takes mail.
fn tell_route(row: &mut Value) {
    let some = |key: &str| row[key].as_u64().is_some_and(|hops| hops > 0);
    let state = match (some("hops_up"), some("hops_down")) {
        (true, _) => "up",
        (false, true) => "down",
        (false, false) => "waiting",
    };
    row["state"] = state.into();
    if let Some(sites) = row["sites_down"].as_array_mut() {
        sites.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        sites.dedup();
    }
}

/// One row per name, in the order of the names.
pub(crate) fn joined_by_name(mut rows: Vec<Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    rows.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    for row in rows {
        match joined.last_mut() {
            Some(last) if last["name"] == row["name"] => crate::command::join(last, &row),
            _ => joined.push(row),
        }
    }
    joined
}

/// Says the times of a joined row in words, too.
pub(crate) fn tell_times(row: &mut Value) {
    for (text, ms) in [("oldest", "oldest_ms"), ("next_attempt", "next_attempt_ms")] {
        row[text] = row[ms].as_u64().map(|ms| rfc3339(Wall::from_millis(ms))).into();
    }
}
