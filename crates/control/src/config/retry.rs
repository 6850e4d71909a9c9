//! `retry`, `retry_after` and `jitter`: the waits between attempts, as one span, as a list, or
//! as a table of a first wait that grows to a longest one.
//!
//! A table is a shorter way to write its list, and is shown as that.

use std::time::Duration;

use toml::de::DeValue;

use super::cx::{Cx, Item, Keys, named};
use super::values;
use crate::retry::{INTERVAL_MIN, INTERVALS_MAX, JITTER_PERCENT_MAX, Retry, RetryAfter, growing};
use crate::units::SPAN_MAX;

/// A table of `retry`, as far as it is read.
#[derive(Default)]
struct Growth {
    first: Option<Duration>,
    factor_percent: Option<u32>,
    max: Option<Duration>,
}

const GROWTH: &Keys<Growth> = &[
    ("first", |cx, item, growth| growth.first = wait(cx, item)),
    ("factor", |cx, item, growth| growth.factor_percent = factor(cx, item)),
    ("max", |cx, item, growth| growth.max = wait(cx, item)),
];

/// Smallest and largest factor, in percent.
const FACTOR_PERCENT_MIN: u32 = 110;
const FACTOR_PERCENT_MAX: u32 = 10_000;
/// The factor where none is written.
const FACTOR_PERCENT: u32 = 200;

/// The paths of the keys of a table of `retry`.
pub(super) fn retry_keys() -> Vec<String> {
    [named("delivery.retry.", GROWTH), named("delivery.retry_after.", TROUBLES)].concat()
}

const TROUBLES: &Keys<RetryAfter> = &[
    ("greylisted", |cx, item, after| after.greylisted = waits(cx, item)),
    ("limited", |cx, item, after| after.limited = waits(cx, item)),
    ("unreachable", |cx, item, after| after.unreachable = waits(cx, item)),
];

/// Reads `retry_after`: for each kind of trouble what may stand at `retry`. What
/// a table does not name is as usual there.
pub(super) fn retry_after(cx: &mut Cx<'_>, item: &Item<'_>) -> RetryAfter {
    let mut after = RetryAfter::default();
    cx.table(item, TROUBLES, &mut after);
    after
}

/// The way's jitter spreads them.
fn waits(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Retry> {
    retry(cx, item, 0)
}

/// Reads `retry`, and keeps the jitter.
pub(super) fn retry(cx: &mut Cx<'_>, item: &Item<'_>, jitter_percent: u8) -> Option<Retry> {
    let intervals = match item.get_ref() {
        DeValue::Table(_) => grown(cx, item)?,
        _ => values::list(cx, item, INTERVALS_MAX, wait)?,
    };
    let retry = Retry::new(&intervals, jitter_percent);
    if retry.is_none() {
        cx.error(item.span(), "must not be empty; write one wait or a list, such as \"5m\"");
    }
    retry
}

/// The list that a table stands for.
fn grown(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Vec<Duration>> {
    let (mut growth, before) = (Growth::default(), cx.errors());
    cx.table(item, GROWTH, &mut growth);
    if cx.errors() > before {
        return None;
    }
    let (Some(first), Some(max)) = (growth.first, growth.max) else {
        let message = "lacks `first` or `max`; write { first = \"1m\", factor = 2, max = \"4h\" }";
        cx.error(item.span(), message);
        return None;
    };
    if max < first {
        cx.error(item.span(), "has a `max` below its `first`");
        return None;
    }
    let waits = growing(first, growth.factor_percent.unwrap_or(FACTOR_PERCENT), max);
    if waits.is_none() {
        let message = format!("needs more than {INTERVALS_MAX} waits to come to its `max`");
        cx.error(item.span(), message);
    }
    waits
}

fn wait(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Duration> {
    values::span(cx, item, INTERVAL_MIN..=SPAN_MAX)
}

/// `2` or `1.5`, in percent.
fn factor(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<u32> {
    let written = match item.get_ref() {
        DeValue::Integer(digits) => digits.as_str().parse::<f64>().ok(),
        DeValue::Float(digits) => digits.as_str().parse().ok(),
        _ => None,
    };
    // What is out of range or no number ends at a bound of u32, or at zero.
    let percent = written.map(|factor| (factor * 100.0).round() as u32);
    let percent = percent.filter(|it| (FACTOR_PERCENT_MIN..=FACTOR_PERCENT_MAX).contains(it));
    if percent.is_none() {
        cx.error(item.span(), "must be a number from 1.1 to 100");
    }
    percent
}

/// Reads `jitter`, as `"10%"`.
pub(super) fn jitter(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<u8> {
    let text = values::text(cx, item)?;
    let digits = text.strip_suffix('%').unwrap_or_default();
    let percent = digits.parse().ok().filter(|percent| *percent <= JITTER_PERCENT_MAX);
    if percent.is_none() {
        let message = format!("must be from \"0%\" to \"{JITTER_PERCENT_MAX}%\"");
        cx.error(item.span(), message);
    }
    percent
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use crate::config::Config;
    use crate::units::Span;

    fn read(retry: &str) -> Result<Vec<String>, String> {
        let machine = Domain::parse("box.example").unwrap();
        let text = format!("[delivery]\n[[route]]\nmatch = \"a.example\"\nretry = {retry}\n");
        let policy = Config::parse(&text, &machine).map_err(|refused| refused.to_string())?.policy;
        let shown = policy.effective_toml();
        assert_eq!(Config::parse(&shown, &machine).unwrap().policy, policy, "{shown}");
        let waits = policy.ways()[1].retry.intervals().iter();
        Ok(waits.map(|wait| Span(*wait).to_string()).collect())
    }

    /// A route's waits as one span, as a list, and growing up to a longest one.
    ///
    /// Shows: A28
    #[test]
    fn kinds_of_trouble_have_waits_of_their_own_in_a_route() {
        let machine = mail::Domain::parse("mx.example").unwrap();
        let read = |text: &str| crate::Config::parse(text, &machine);
        let text = "delivery.retry_after = { greylisted = \"2m\", limited = [\"15m\", \"1h\"] }\n\
                    [[route]]\nmatch = \"a.example\"\njitter = \"0%\"\n\
                    retry_after = { unreachable = { first = \"1m\", max = \"4m\" } }\n";
        let policy = read(text).unwrap().policy;
        let shown = |way: &crate::Delivery| -> Vec<String> {
            let named = way.retry_after.named();
            named.map(|(name, retry)| format!("{name} {:?}", retry.intervals())).collect()
        };
        assert_eq!(shown(&policy.ways()[0]), ["greylisted [120s]", "limited [900s, 3600s]"]);
        assert_eq!(shown(&policy.ways()[1]), ["unreachable [60s, 120s, 240s]"], "all of its own");
        let again = read(&policy.effective_toml()).unwrap().policy;
        assert_eq!(shown(&again.ways()[1]), shown(&policy.ways()[1]));
        let address = mail::Address::parse("x@a.example", false).unwrap();
        let explained = crate::explain::explain(&policy, &address).to_string();
        assert!(explained.contains("unreachable = "), "{explained}");
        for (wrong, words) in [
            ("{ greylist = \"2m\" }", "did you mean `greylisted`?"),
            ("{ limited = [] }", "must not be empty"),
            ("\"5m\"", "table"),
        ] {
            let why = read(&format!("delivery.retry_after = {wrong}")).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }

    /// Shows: S1.6, A28
    #[test]
    fn waits_are_one_span_a_list_or_grow_up_to_a_longest_one() {
        assert_eq!(read("\"7m\"").unwrap(), ["7m"]);
        assert_eq!(read("[\"1m\", \"2h\"]").unwrap(), ["1m", "2h"]);
        let doubled = read("{ first = \"1m\", max = \"10m\" }").unwrap();
        assert_eq!(doubled, ["1m", "2m", "4m", "8m", "10m"]);
        let grown = read("{ first = \"1m\", factor = 1.5, max = \"3m\" }").unwrap();
        assert_eq!(grown, ["1m", "1m30s", "2m15s", "3m"]);
        assert_eq!(read("{ first = \"5m\", factor = 100, max = \"5m\" }").unwrap(), ["5m"]);
    }

    #[test]
    fn each_fault_of_growing_waits_has_its_own_words() {
        for (retry, words) in [
            ("[]", "must not be empty"),
            ("{ first = \"1m\" }", "lacks `first` or `max`"),
            ("{ max = \"1m\" }", "lacks `first` or `max`"),
            ("{ first = \"2m\", max = \"1m\" }", "has a `max` below its `first`"),
            ("{ first = \"1s\", factor = 1.1, max = \"3650d\" }", "needs more than 64 waits"),
            ("{ first = \"1m\", factor = 1, max = \"1h\" }", "must be a number from 1.1 to 100"),
            ("{ first = \"1m\", factor = 101, max = \"1h\" }", "must be a number from 1.1 to 100"),
            ("{ first = \"1m\", factor = nan, max = \"1h\" }", "must be a number from 1.1 to 100"),
            ("{ first = \"1m\", factor = \"2\", max = \"1h\" }", "must be a number from 1.1 to"),
            ("{ first = 60, max = \"1h\" }", "lacks a unit"),
            ("{ frist = \"1m\", max = \"1h\" }", "did you mean `first`?"),
        ] {
            let found = read(retry).unwrap_err();
            assert!(found.contains(words), "{retry}: {found}");
        }
    }
}
