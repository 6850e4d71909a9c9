//! `sites`: what waits for each site and how it fares, for lists that people
//! search, sort and turn the pages of.
//!
//! Every shard gives all that match, as far as [`LIMIT_MAX`] goes, for a site's
//! mail may lie with several of them: only who has joined the rows knows their
//! order and how many there are. So that a shard is not held up, it gives them
//! as one text, a line for each; who asked takes it apart.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use base::Wall;
use control::api::{LIMIT_MAX, SiteOrder, Sites};
use eventlog::rfc3339;
use queue::{Counts, Row, SiteKey};
use serde_json::{Map, Value, json};

use crate::command::Answer;
use crate::dispatch::Hosting;
use crate::shard::{Shard, Turn};
use crate::view::{joined_by_name, status_words, tell_times};

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
    /// The sites with mail that match, as a text.
    pub(crate) fn sites(&self, turn: &Turn<'_>, asked: &Sites) -> Answer {
        let connections = self.connections_by_site();
        let at_site = |row: &Row| {
            let site = row.site.and_then(|_| self.queue.find_site(&row.name));
            let connections = site.and_then(|site| connections.get(&site)).copied();
            (connections.unwrap_or(0), site.and_then(|site| self.tls_of(site)))
        };
        let mut rows = self.queue.all_sites(turn.now, asked.all);
        if rows.len() > LIMIT_MAX as usize {
            rows.sort_by_key(|row| std::cmp::Reverse(row.counts.total()));
        }
        let (mut table, mut lines, mut left_out) = (String::new(), 0, 0_u64);
        for row in &rows {
            let named = asked.name.is_empty() || row.name.to_lowercase().contains(&asked.name);
            let (state, _) = status_words(row.status);
            if !named || asked.state.as_ref().is_some_and(|wanted| *wanted != state) {
                continue;
            }
            match lines < LIMIT_MAX {
                true => put_line(&mut table, row, at_site(row)),
                false => left_out += 1,
            }
            lines += 1;
        }
        Answer::ok(json!({ "tables": [table], "left_out": left_out }))
    }

    /// The TLS of the first of its addresses with which a session has begun;
    /// `none` where that was in the clear.
    fn tls_of(&self, site: SiteKey) -> Option<&str> {
        let target = self.targets.get(&site)?;
        let seen = |address| self.peers.tls_seen(address);
        match &target.hosts {
            Hosting::Exchangers(exchangers) => {
                let mut addresses = exchangers.hosts.iter().flat_map(|host| &host.addresses);
                addresses.find_map(|ip| seen(SocketAddr::new(*ip, target.way.port)))
            }
            Hosting::Fixed(hosts) => {
                let mut addresses = hosts.iter().flat_map(|host| &host.addresses);
                addresses.find_map(|address| seen(*address))
            }
            Hosting::Folders(_) => None,
        }
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
    let tables = body["tables"].as_array().map_or(&[][..], Vec::as_slice);
    let lines = tables.iter().filter_map(Value::as_str).flat_map(str::lines);
    let mut rows = joined_by_name(lines.map(row_of).collect());
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
    for row in &mut page {
        tell_times(row);
        row["since"] = row["since_ms"].as_u64().map(|ms| rfc3339(Wall::from_millis(ms))).into();
    }
    *body = json!({ "sites": page, "total": total, "states": states });
}

/// Numbers of a line, in their order, by the names that rows have for them.
const NUMBERS: [&str; 12] = [
    "count",
    "ready",
    "deferred",
    "in_flight",
    "held",
    "connections",
    "delivered",
    "failed",
    "connections_max",
    "since_ms",
    "oldest_ms",
    "next_attempt_ms",
];

/// Appends a row: numbers, state, its end, TLS, name and reason, with tabs
/// between.
fn put_line(table: &mut String, row: &Row, (connections, tls): (u32, Option<&str>)) {
    let Counts { ready, deferred, in_flight, held } = row.counts;
    let count = row.counts.total();
    let ms = |at: Option<Wall>| at.map(Wall::as_millis);
    let site = row.site.unwrap_or_default();
    let ended = [site.delivered, site.failed];
    for number in [count, ready, deferred, in_flight, held, connections].into_iter().chain(ended) {
        // Writing to a String cannot fail.
        let _ = write!(table, "{number}\t");
    }
    let limit = row.site.map(|site| u64::from(site.limit));
    for number in [limit, ms(site.failing_since), ms(row.oldest), ms(row.next_attempt)] {
        let _ = number.map(|number| write!(table, "{number}"));
        table.push('\t');
    }
    let (state, until) = status_words(row.status);
    table.push_str(state);
    table.push('\t');
    table.extend(until.map(rfc3339));
    for text in [tls.unwrap_or_default(), &*row.name, row.reason.as_deref().unwrap_or_default()] {
        table.push('\t');
        // Words of a remote have no line of their own.
        table.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    table.push('\n');
}

/// The inverse of [`put_line`].
fn row_of(line: &str) -> Value {
    let mut cells = line.split('\t');
    let mut row = Map::new();
    for name in NUMBERS {
        let number: Option<u64> = cells.next().and_then(|cell| cell.parse().ok());
        row.insert(name.into(), number.into());
    }
    for name in ["state", "until", "tls", "name", "reason"] {
        let text = cells.next().filter(|text| !text.is_empty());
        row.insert(name.into(), text.into());
    }
    row.into()
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
        | SiteOrder::Delivered
        | SiteOrder::Failed
        | SiteOrder::Connections => {
            rows.sort_by_key(|row| std::cmp::Reverse(number(row, order.word())));
        }
    }
}

#[cfg(test)]
mod tests {
    use control::Request;
    use queue::{AGE_COLUMNS, AtSite, Status};

    use super::*;
    use crate::command::merge;

    fn row(name: &str, count: u32, status: Status, reason: &str) -> String {
        let row = Row {
            name: name.into(),
            route: None,
            counts: Counts { ready: count, ..Counts::default() },
            ages: [0; AGE_COLUMNS],
            oldest: Some(Wall::from_millis(1_000 - u64::from(count))),
            next_attempt: None,
            status,
            reason: Some(reason.into()).filter(|_| !reason.is_empty()),
            site: Some(AtSite {
                limit: 20,
                failing_since: matches!(status, Status::Down(_)).then(|| Wall::from_millis(7)),
                delivered: count,
                failed: 1,
            }),
        };
        let mut line = String::new();
        put_line(&mut line, &row, (count % 3, Some("TLSv1.3").filter(|_| count > 4)));
        line
    }

    fn page(asked: Sites, shards: &[Vec<String>]) -> Value {
        let answer =
            |rows: &Vec<String>| Answer::ok(json!({ "tables": [rows.concat()], "left_out": 0 }));
        merge(&Request::Sites(Box::new(asked)), shards.iter().map(answer).collect()).body
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
        let until = Wall::from_millis(5_000);
        let words = "451 4.7.1 \tcome <b>\u{9}back</b>\r\n";
        let one = vec![
            row("mx:a", 5, Status::Up, ""),
            row("mx:b", 4, Status::Down(until), words),
            row("mx:d", 1, Status::Up, ""),
        ];
        let other = vec![row("mx:c", 6, Status::Paused(None), ""), row("mx:a", 4, Status::Up, "")];
        let shards = [one, other];
        let asked = |sort, offset, limit| Sites { sort, offset, limit, ..Sites::default() };
        let all = page(asked(SiteOrder::Count, 0, 20), &shards);
        assert_eq!(names(&all), ["mx:a", "mx:c", "mx:b", "mx:d"]);
        let first = &all["sites"][0];
        assert_eq!((&first["count"], &first["tls"]), (&json!(9), &json!("TLSv1.3")));
        let of = ["connections_max", "delivered", "failed"].map(|key| first[key].as_u64());
        assert_eq!(of, [Some(20), Some(9), Some(2)], "a limit holds over all shards");
        assert_eq!(all["sites"][0]["oldest"], "1970-01-01T00:00:00.995Z");
        assert_eq!((&all["total"], &all["states"]["up"]), (&json!(4), &json!(2)));
        assert_eq!(names(&page(asked(SiteOrder::Count, 1, 2), &shards)), ["mx:c", "mx:b"]);
        let by_name = page(asked(SiteOrder::Name, 2, 20), &shards);
        assert_eq!((names(&by_name), &by_name["total"]), (vec!["mx:c", "mx:d"], &json!(4)));
        let by_state = page(asked(SiteOrder::State, 0, 20), &shards);
        assert_eq!(names(&by_state), ["mx:b", "mx:c", "mx:a", "mx:d"]);
        let down = &by_state["sites"][0];
        assert_eq!(down["reason"], "451 4.7.1  come <b> back</b>  ");
        assert_eq!((&down["until"], &down["state"]), (&json!(rfc3339(until)), &json!("down")));
        assert_eq!(down["since"], "1970-01-01T00:00:00.007Z");
        assert!(first["since"].is_null() && down["tls"].is_null());
        assert_eq!((&down["connections"], &down["reason"].is_null()), (&json!(1), &false));
        assert!(
            by_state["sites"][1]["reason"].is_null() && by_state["sites"][1]["until"].is_null()
        );
        assert_eq!(names(&page(asked(SiteOrder::Oldest, 0, 1), &shards)), ["mx:c"]);
        assert_eq!(names(&page(asked(SiteOrder::Count, 9, 2), &shards)), [""; 0]);
    }
}
