//! `on_demand` of a source: the link that its connections leave by; and
//! programs, wherever the configuration names one.

use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::cx::{Cx, Item, Keys, named};
use super::values;
use crate::program::{Program, WORD_BYTES_MAX, WORDS_MAX};
use crate::retry::{INTERVAL_MIN, INTERVALS_MAX, Retry};
use crate::units::SPAN_MAX;
use crate::uplink::{IDLE_MIN, OnDemand};

/// Most recipients that a link may wait for.
const RECIPIENTS_MAX: u32 = 100_000;
/// Shortest and longest time for a program.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

const MINUTE: Duration = Duration::from_secs(60);

/// What was written of a link.
struct Written {
    raise: Option<Program>,
    rest: OnDemand,
    /// A key was there whose value was refused.
    faulty: bool,
}

const KEYS: &Keys<Written> = &[
    ("raise", |cx, item, written| {
        written.raise = program(cx, item);
        written.faulty |= written.raise.is_none();
    }),
    ("lower", |cx, item, written| {
        written.rest.lower = program(cx, item);
        written.faulty |= written.rest.lower.is_none();
    }),
    ("raise_timeout", |cx, item, written| {
        cx.set(&mut written.rest.raise_timeout, item, timeout);
    }),
    ("lower_timeout", |cx, item, written| {
        cx.set(&mut written.rest.lower_timeout, item, timeout);
    }),
    ("retry", |cx, item, written| cx.set(&mut written.rest.retry, item, waits)),
    ("idle", |cx, item, written| {
        cx.set(&mut written.rest.idle, item, |cx, item| values::span(cx, item, IDLE_MIN..=DAY));
    }),
    ("recipients", |cx, item, written| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::number(cx, item, 1..=RECIPIENTS_MAX);
        cx.set(&mut written.rest.recipients, item, read);
    }),
    ("wait", |cx, item, written| {
        let range = Duration::ZERO..=SPAN_MAX;
        cx.set(&mut written.rest.wait, item, |cx, item| values::span(cx, item, range));
    }),
];

/// The paths of the keys of a link.
pub(super) fn known_keys() -> Vec<String> {
    named("source.on_demand.", KEYS)
}

/// Reads `on_demand`.
pub(super) fn on_demand(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Arc<OnDemand>> {
    if !item.get_ref().is_table() {
        let message = "must be a table such as { raise = [\"/usr/bin/pon\", \"isp\"], \
                       lower = [\"/usr/bin/poff\", \"isp\"] }";
        cx.error(item.span(), message);
        return None;
    }
    let nothing = Program::new(vec!["/".into()]).expect("a path is a program");
    let rest = OnDemand {
        raise: nothing,
        lower: None,
        raise_timeout: MINUTE,
        lower_timeout: MINUTE,
        retry: Retry::new(&[MINUTE, MINUTE * 5, MINUTE * 15], 0).expect("waits within bounds"),
        idle: MINUTE,
        recipients: 1,
        wait: MINUTE * 15,
    };
    let mut written = Written { raise: None, rest, faulty: false };
    cx.table(item, KEYS, &mut written);
    if written.raise.is_none() && !written.faulty {
        cx.error(item.span(), "lacks `raise`, the program that raises the link");
    }
    Some(Arc::new(OnDemand { raise: written.raise?, ..written.rest }))
}

/// Reads a program: its path, or a list of the path and its arguments.
pub(super) fn program(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Program> {
    let words = match item.get_ref() {
        DeValue::Array(_) | DeValue::String(_) => {
            values::list(cx, item, WORDS_MAX, |cx, item| Some(values::text(cx, item)?.into()))?
        }
        _ => {
            cx.error(item.span(), "must be a list of words such as [\"/usr/bin/pon\", \"isp\"]");
            return None;
        }
    };
    let path: Option<Box<str>> = words.first().cloned();
    let program = Program::new(words);
    if program.is_none() {
        let message = match path {
            Some(path) if !path.starts_with('/') => {
                let near = if path.contains(' ') { "; each word stands by itself" } else { "" };
                let path = values::quoted(&path);
                format!("begins with {path}, which is no absolute path of a program{near}")
            }
            _ => format!("must have 1 to {WORDS_MAX} words of at most {WORD_BYTES_MAX} octets"),
        };
        cx.error(item.span(), message);
    }
    program
}

/// Reads how long a program may take.
pub(super) fn timeout(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Duration> {
    values::span(cx, item, TIMEOUT_MIN..=TIMEOUT_MAX)
}

/// The waits between tries; the last one repeats.
fn waits(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Retry> {
    let wait = |cx: &mut Cx<'_>, item: &Item<'_>| values::span(cx, item, INTERVAL_MIN..=DAY);
    let retry = Retry::new(&values::list(cx, item, INTERVALS_MAX, wait)?, 0);
    if retry.is_none() {
        cx.error(item.span(), "must not be empty; write one wait or a list, such as \"5m\"");
    }
    retry
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use super::*;
    use crate::config::Config;

    fn read(rest: &str) -> Result<Config, String> {
        let machine = Domain::parse("box.example").unwrap();
        let text = format!("[[source]]\nname = \"isdn\"\n{rest}\n[delivery]\nsource = \"isdn\"\n");
        Config::parse(&text, &machine).map_err(|refused| refused.to_string())
    }

    fn link(config: &Config) -> &OnDemand {
        config.policy.exits.sources[0].on_demand.as_ref().unwrap()
    }

    /// Shows: S0.6
    #[test]
    fn a_link_is_read_shown_and_read_again() {
        let config = read("on_demand = { raise = \"/bin/up\" }").unwrap();
        let found = link(&config);
        assert_eq!((found.raise.path(), &found.lower), ("/bin/up", &None));
        assert_eq!((found.recipients, found.wait, found.idle), (1, MINUTE * 15, MINUTE));
        for text in [
            "on_demand = { raise = \"/bin/up\" }",
            "on_demand = { raise = [\"/bin/up\", \"a b\", \"\\\"\"], lower = [\"/bin/down\"] }",
            "[source.on_demand]\nraise = \"/u\"\nlower = \"/d\"\nraise_timeout = \"2m\"\n\
             lower_timeout = \"100ms\"\nretry = [\"1s\", \"1d\"]\nidle = \"2s\"\n\
             recipients = 100000\nwait = \"0s\"",
        ] {
            let config = read(text).unwrap();
            let shown = config.policy.effective_toml();
            let machine = Domain::parse("box.example").unwrap();
            assert_eq!(Config::parse(&shown, &machine).unwrap().policy, config.policy, "{shown}");
        }
    }

    #[test]
    fn each_fault_of_a_link_has_its_own_words() {
        let long = format!("raise = \"/{}\"", "x".repeat(WORD_BYTES_MAX));
        for (text, words) in [
            ("", "lacks `raise`"),
            ("raise = \"pon isp\"", "\"pon isp\", which is no absolute path of a program; each"),
            ("raise = []", "must have 1 to 64 words"),
            (&*long, "must have 1 to 64 words"),
            ("raise = 1", "must be a list of words such as"),
            ("raise = [\"/up\", 1]", "must be text in quotes"),
            ("raise = \"/up\", lower = \"down\"", "source[1].on_demand.lower begins with"),
            ("raise = \"/up\", raise_timeout = \"11m\"", "must be from 100ms to 10m"),
            ("raise = \"/up\", idle = \"1s\"", "must be from 2s to 1d"),
            ("raise = \"/up\", retry = []", "must not be empty"),
            ("raise = \"/up\", retry = \"1ms\"", "must be from 100ms to 1d"),
            ("raise = \"/up\", recipients = 0", "must be from 1 to 100000"),
            ("raise = \"/up\", recipient = 1", "did you mean `recipients`?"),
        ] {
            let found = read(&format!("on_demand = {{ {text} }}")).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
        let found = read("on_demand = \"/bin/up\"").unwrap_err();
        assert!(found.contains("must be a table such as"), "{found}");
    }
}
