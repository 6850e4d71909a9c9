//! What is kept of numbers, as JSON: history in columns, statistics in rows.

use base::Wall;
use control::api::numbers::{Past, StatsBy};
use eventlog::rfc3339;
use meter::history::{Point, SHOWN, Step};
use meter::statistics::{self, Day, Kind};
use meter::{History, OUTCOMES, Statistics, Tally};
use serde_json::{Map, Value, json};

const DAY_MS: u64 = 86_400_000;

/// Points in columns, oldest first.
pub(super) fn history(history: &History, past: Past) -> Value {
    let step = if past.coarse { Step::Coarse } else { Step::Fine };
    let points: Vec<&Point> = history.points(step, past.since).collect();
    let column = |of: &dyn Fn(&Point) -> Value| -> Value {
        points.iter().map(|point| of(point)).collect::<Vec<_>>().into()
    };
    let mut body = json!({
        "step_ms": step.millis(),
        "t": column(&|point| point.at.as_millis().into()),
        "accepted": column(&|point| point.accepted.into()),
        "delivered": column(&|point| point.delivered.into()),
        "deferred": column(&|point| point.deferred.into()),
        "bounced": column(&|point| point.bounced.into()),
        "expired": column(&|point| point.expired.into()),
        "queued": column(&|point| point.queued.into()),
    });
    for (at, stage) in SHOWN.into_iter().enumerate() {
        let name = stage.name();
        body[format!("{name}_p50_us")] =
            column(&|point| point.latencies[at].map(|(half, _)| half).into());
        body[format!("{name}_p99_us")] =
            column(&|point| point.latencies[at].map(|(_, most)| most).into());
    }
    body
}

/// Rows of one kind of name, or of days.
pub(super) fn stats(book: &Statistics, now: Wall, by: StatsBy, limit: usize) -> Value {
    let since = rfc3339(book.since);
    let kind = match by {
        StatsBy::Domain => Kind::Domain,
        StatsBy::Site => Kind::Site,
        StatsBy::Route => Kind::Route,
        StatsBy::Source => Kind::Source,
        StatsBy::Day => {
            let rows: Vec<Value> = book.days().take(limit).map(day).collect();
            return json!({ "by": by.name(), "since": since, "rows": rows, "rest": null });
        }
    };
    let (hour, seconds) = statistics::hour_of(now);
    let table = book.traffic().of(kind);
    let mut rest = *table.rest();
    let mut rows = Vec::new();
    for (at, row) in table.largest(usize::MAX).into_iter().enumerate() {
        if at >= limit {
            rest.add(&row.tally);
            continue;
        }
        let mut shown = counts(&row.tally);
        shown.insert("name".into(), row.name.as_ref().into());
        shown.insert("per_hour".into(), row.per_hour(hour, seconds).into());
        shown.insert("missing_at_most".into(), row.inherited.into());
        rows.push(Value::Object(shown));
    }
    json!({ "by": by.name(), "since": since, "rows": rows, "rest": counts(&rest) })
}

fn day((number, of): (u32, &Day)) -> Value {
    let begin = rfc3339(Wall::from_millis(u64::from(number) * DAY_MS));
    let mut shown = counts(&of.tally);
    shown.insert("name".into(), begin.split('T').next().unwrap_or_default().into());
    shown.insert("accepted".into(), of.accepted.into());
    shown.insert("bytes".into(), of.bytes.into());
    Value::Object(shown)
}

fn counts(tally: &Tally) -> Map<String, Value> {
    let each = OUTCOMES.into_iter();
    each.map(|outcome| (outcome.name().to_owned(), tally.of(outcome).into())).collect()
}

#[cfg(test)]
mod tests {
    use meter::{Counters, Outcome, Reading, Stage, Traffic};

    use super::*;

    #[test]
    fn history_is_columns_of_one_length() {
        let mut kept = History::default();
        let mut reading = Reading::default();
        for step in 0..4u64 {
            kept.note(Wall::from_millis(10_000 * step), &reading, step);
            reading.counters.messages_accepted += step;
            reading.latencies.record(Stage::Accept, 100 * step);
        }
        let shown = history(&kept, Past::default());
        assert_eq!(shown["t"], json!([0, 10_000, 20_000]));
        assert_eq!(shown["accepted"], json!([0, 1, 2]));
        assert_eq!(shown["queued"], json!([1, 2, 3]));
        assert_eq!(shown["deliver_p50_us"], json!([null, null, null]));
        assert!(shown["accept_p99_us"][2].as_u64() >= Some(200), "{shown}");
        let columns = shown.as_object().unwrap().values().filter_map(Value::as_array);
        assert!(columns.map(Vec::len).all(|len| len == 3), "{shown}");
        let since = Some(Wall::from_millis(10_000));
        assert_eq!(history(&kept, Past { coarse: false, since })["t"], json!([20_000]));
        assert_eq!(history(&kept, Past { coarse: true, since: None })["t"], json!([]));
    }

    #[test]
    fn statistics_are_rows_with_the_rest_as_one() {
        let mut book = Statistics::new(Wall::from_millis(0), 1);
        let mut traffic = Traffic::new(0);
        for (name, count) in [("a", 3), ("b", 2), ("c", 1)] {
            (0..count).for_each(|_| traffic.count(Kind::Domain, name, Outcome::Delivered));
        }
        let after = Counters { delivered: 6, messages_accepted: 5, ..Counters::default() };
        let now = Wall::from_millis(DAY_MS + 1);
        book.absorb(now, &traffic, &Counters::default(), &after);
        let shown = stats(&book, now, StatsBy::Domain, 2);
        assert_eq!(shown["rows"][0]["name"], "a");
        assert_eq!(
            (&shown["rows"][1]["delivered"], &shown["rows"][1]["per_hour"]),
            (&2.into(), &2.into())
        );
        assert_eq!((&shown["rest"]["delivered"], &shown["rows"][2]), (&1.into(), &Value::Null));
        let days = stats(&book, now, StatsBy::Day, 9);
        assert_eq!(days["rows"][0]["name"], "1970-01-02");
        assert_eq!(
            (&days["rows"][0]["accepted"], &days["rows"][0]["delivered"]),
            (&5.into(), &6.into())
        );
    }
}
