//! `sites`: what waits for each site, for lists that people search, sort and
//! turn the pages of.
//!
//! Every shard gives all that match, as far as [`LIMIT_MAX`] goes, for a site's
//! mail may lie with several of them: only who has joined the rows knows their
//! order and how many there are. That is a few milliseconds of a shard with ten
//! thousand sites, and only while somebody looks.

use std::collections::BTreeMap;

use control::api::{LIMIT_MAX, SiteOrder, Sites};
use queue::{Row, SiteKey};
use serde_json::{Map, Value, json};

use crate::command::Answer;
use crate::shard::{Shard, Turn};
use crate::view::{joined_by_name, row_json, tell_times};

/// States in the order in which somebody is needed.
const STATES: [&str; 9] = [
    "down",
    "look-up failed",
    "rejected",
    "suspended",
    "probing",
    "paused",
    "looking up",
    "waiting",
    "up",
];

impl Shard {
    /// The sites with mail that match.
    pub(crate) fn sites(&self, turn: &Turn<'_>, asked: &Sites) -> Answer {
        let connections = self.connections_by_site();
        let connected = |row: &Row| {
            let site = self.queue.find_site(&row.name);
            site.and_then(|site| connections.get(&site)).copied().unwrap_or(0)
        };
        let rows = self.queue.top_sites(turn.now, usize::MAX);
        let mut found = Vec::new();
        let mut left_out = 0_u64;
        for row in rows.iter().filter(|row| row.name.to_lowercase().contains(&asked.name)) {
            let mut shown = row_json(row);
            if asked.state.as_ref().is_some_and(|state| shown["state"] != **state) {
                continue;
            }
            if found.len() == LIMIT_MAX as usize {
                left_out += 1;
                continue;
            }
            if let Some(fields) = shown.as_object_mut() {
                fields.remove("ages");
            }
            shown["connections"] = connected(row).into();
            found.push(shown);
        }
        Answer::ok(json!({ "sites": found, "left_out": left_out }))
    }

    /// Open connections, and those being opened, site by site.
    fn connections_by_site(&self) -> BTreeMap<SiteKey, u32> {
        let mut counts = BTreeMap::new();
        for outbound in self.outbound.values() {
            *counts.entry(outbound.site).or_default() += 1;
        }
        counts
    }
}

/// Makes the joined rows of all shards the page that was asked for, and says
/// how many there are, by state too.
pub(crate) fn finish(asked: &Sites, body: &mut Value) {
    let rows = match body.get_mut("sites") {
        Some(Value::Array(rows)) => std::mem::take(rows),
        _ => Vec::new(),
    };
    let mut rows = joined_by_name(rows);
    let mut states: Map<String, Value> = Map::new();
    for row in &rows {
        let state = row["state"].as_str().unwrap_or_default();
        let before = states.get(state).and_then(Value::as_u64).unwrap_or(0);
        states.insert(state.into(), (before + 1).into());
    }
    let total = rows.len() as u64 + body["left_out"].as_u64().unwrap_or(0);
    sort(asked.sort, &mut rows);
    let mut page: Vec<Value> =
        rows.into_iter().skip(asked.offset as usize).take(asked.limit as usize).collect();
    page.iter_mut().for_each(tell_times);
    *body = json!({ "sites": page, "total": total, "states": states });
}

/// Equal rows stay in the order of their names.
fn sort(order: SiteOrder, rows: &mut [Value]) {
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap_or(0);
    match order {
        SiteOrder::Name => {}
        SiteOrder::Oldest => rows.sort_by_key(|row| row["oldest_ms"].as_u64().unwrap_or(u64::MAX)),
        SiteOrder::State => rows.sort_by_key(|row| {
            let state = row["state"].as_str();
            let place = STATES.iter().position(|known| Some(*known) == state);
            (place.unwrap_or(STATES.len()), std::cmp::Reverse(number(row, "count")))
        }),
        SiteOrder::Count
        | SiteOrder::Ready
        | SiteOrder::Deferred
        | SiteOrder::Held
        | SiteOrder::InFlight
        | SiteOrder::Connections => {
            rows.sort_by_key(|row| std::cmp::Reverse(number(row, order.word())));
        }
    }
}

#[cfg(test)]
mod tests {
    use control::Request;

    use super::*;
    use crate::command::merge;

    fn row(name: &str, count: u64, state: &str) -> Value {
        json!({ "name": name, "count": count, "state": state, "oldest_ms": 1_000 - count,
                "connections": count % 3, "next_attempt_ms": null })
    }

    fn page(asked: Sites, shards: &[Vec<Value>]) -> Value {
        let answers = shards.iter().map(|rows| Answer::ok(json!({ "sites": rows, "left_out": 0 })));
        merge(&Request::Sites(Box::new(asked)), answers.collect()).body
    }

    fn names(body: &Value) -> Vec<&str> {
        let rows = body["sites"].as_array().unwrap();
        rows.iter().map(|row| row["name"].as_str().unwrap()).collect()
    }

    /// A site whose mail lies with two shards is one row, and is counted once.
    ///
    /// Shows: A88
    #[test]
    fn pages_are_cut_from_what_all_shards_have() {
        let one = vec![row("mx:a", 5, "up"), row("mx:b", 4, "down"), row("mx:d", 1, "up")];
        let other = vec![row("mx:c", 6, "paused"), row("mx:a", 4, "up")];
        let shards = [one, other];
        let asked = |sort, offset, limit| Sites { sort, offset, limit, ..Sites::default() };
        let all = page(asked(SiteOrder::Count, 0, 20), &shards);
        assert_eq!(names(&all), ["mx:a", "mx:c", "mx:b", "mx:d"]);
        assert_eq!(all["sites"][0]["count"], 9);
        assert_eq!(all["sites"][0]["oldest"], "1970-01-01T00:00:00.995Z");
        assert_eq!((&all["total"], &all["states"]["up"]), (&json!(4), &json!(2)));
        assert_eq!(names(&page(asked(SiteOrder::Count, 1, 2), &shards)), ["mx:c", "mx:b"]);
        let by_name = page(asked(SiteOrder::Name, 2, 20), &shards);
        assert_eq!((names(&by_name), &by_name["total"]), (vec!["mx:c", "mx:d"], &json!(4)));
        let by_state = page(asked(SiteOrder::State, 0, 20), &shards);
        assert_eq!(names(&by_state), ["mx:b", "mx:c", "mx:a", "mx:d"]);
        assert_eq!(names(&page(asked(SiteOrder::Oldest, 0, 1), &shards)), ["mx:c"]);
        assert_eq!(names(&page(asked(SiteOrder::Count, 9, 2), &shards)), [""; 0]);
    }
}
