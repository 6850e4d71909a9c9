//! `[alerts]`: who is told of what from when on.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::cx::{Cx, Item, Keys};
use super::values;
use crate::alert::{AlertSettings, Rule, Unit};

/// Most addresses that get alerts.
const MAIL_TO_MAX: usize = 16;
const AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const SPANS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_650 * 86_400);
const FAR: u64 = 1 << 60;
/// Silent sites that a shard remembers at least.
const SITES_MAX: u64 = 1_000;

pub(super) const ALERTS: &Keys<AlertSettings> = &[
    ("mail_to", |cx, item, s| {
        cx.set(&mut s.mail_to, item, |cx, item| {
            values::list(cx, item, MAIL_TO_MAX, values::address).map(Vec::into)
        });
    }),
    ("raise_after", |cx, item, s| {
        cx.set(&mut s.raise_after, item, |cx, item| values::span(cx, item, AFTER));
    }),
    ("clear_after", |cx, item, s| {
        cx.set(&mut s.clear_after, item, |cx, item| values::span(cx, item, AFTER));
    }),
    ("queue_age", |cx, item, s| limit(cx, item, s, Rule::QueueAge)),
    ("queue_size", |cx, item, s| limit(cx, item, s, Rule::QueueSize)),
    ("queue_full", |cx, item, s| limit(cx, item, s, Rule::QueueFull)),
    ("failure_rate", |cx, item, s| limit(cx, item, s, Rule::FailureRate)),
    ("site_down", |cx, item, s| limit(cx, item, s, Rule::SiteDown)),
    ("route_down", |cx, item, s| limit(cx, item, s, Rule::RouteDown)),
    ("port_25", |cx, item, s| limit(cx, item, s, Rule::Port25)),
    ("disk_free", |cx, item, s| limit(cx, item, s, Rule::DiskFree)),
    ("certificate", |cx, item, s| limit(cx, item, s, Rule::Certificate)),
    ("clock_step", |cx, item, s| limit(cx, item, s, Rule::ClockStep)),
    ("resolver", |cx, item, s| limit(cx, item, s, Rule::Resolver)),
    ("lines_lost", |cx, item, s| limit(cx, item, s, Rule::LinesLost)),
];

/// The limit of a rule; `"none"` switches it off.
fn limit(cx: &mut Cx<'_>, item: &Item<'_>, s: &mut AlertSettings, rule: Rule) {
    let off = matches!(item.get_ref(), DeValue::String(text) if text == "none");
    let read = match rule.described().unit {
        _ if off => Some(None),
        Unit::Span => values::span(cx, item, SPANS).map(|span| Some(span.as_millis() as u64)),
        Unit::Count if rule == Rule::Port25 => values::number(cx, item, 1..=SITES_MAX).map(Some),
        Unit::Count => values::number(cx, item, 1..=FAR).map(Some),
        Unit::Size => values::size(cx, item, 1..=FAR).map(Some),
        Unit::Percent => percent(cx, item).map(Some),
    };
    if let Some(limit) = read {
        s.limits[rule as usize] = limit;
    }
}

fn percent(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<u64> {
    let text = values::text(cx, item)?;
    let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    let number = number.filter(|number| (1..=100).contains(number));
    if number.is_none() {
        let message = format!("must be from \"1%\" to \"100%\", not {}", values::quoted(text));
        cx.error(item.span(), message);
    }
    number
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use crate::alert::Rule;
    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        let machine = Domain::parse("box.example").unwrap();
        let text = format!("[alerts]\n{text}\n");
        Config::parse(&text, &machine).map_err(|refused| refused.to_string())
    }

    #[test]
    fn limits_are_read_by_their_units_shown_and_switched_off() {
        let text = "mail_to = [\"a@b.example\"]\nraise_after = \"2s\"\nclear_after = \"3s\"\n\
                    queue_age = \"1h\"\nqueue_size = 7\nqueue_full = \"50%\"\n\
                    disk_free = \"1GiB\"\nsite_down = \"none\"";
        let policy = read(text).unwrap().policy;
        let limit = |rule| policy.alerts.limit(rule);
        let few =
            [Rule::QueueAge, Rule::QueueSize, Rule::QueueFull, Rule::DiskFree, Rule::SiteDown];
        assert_eq!(few.map(limit), [Some(3_600_000), Some(7), Some(50), Some(1 << 30), None]);
        assert_eq!(limit(Rule::FailureRate), Some(25), "the usual");
        assert_eq!(policy.alerts.mail_to.len(), 1);
        let shown = policy.effective_toml();
        let machine = Domain::parse("box.example").unwrap();
        assert_eq!(Config::parse(&shown, &machine).unwrap().policy, policy, "{shown}");
    }

    #[test]
    fn each_fault_of_an_alert_has_its_own_words() {
        for (text, words) in [
            ("queue_age = 5", "lacks a unit"),
            ("queue_full = \"101%\"", "must be from"),
            ("queue_full = \"half\"", "must be from"),
            ("queue_size = 0", "must be from 1"),
            ("queue_size = \"many\"", "must be a whole number"),
            ("port_25 = 1001", "must be from 1 to 1000"),
            ("mail_to = \"nobody\"", "is no mailbox"),
            ("queue_sise = 1", "`queue_size`?"),
            ("raise_after = \"0s\"", "must be from 1s"),
        ] {
            let found = read(text).map(|_| ()).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
    }
}
