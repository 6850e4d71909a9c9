//! `[[webhook]]` and `[[syslog]]`: where lines of the event log are sent.

use std::time::Duration;

use base::secret::Secret;

use super::cx::{Cx, Item, Keys, named};
use super::values;
use crate::mode::Trust;
use crate::sink::{
    BATCH_LINES_MAX, EVENTS, FACILITIES, SYSLOGS_MAX, Selection, Syslog, SyslogTo, Url,
    WEBHOOKS_MAX, Webhook,
};

/// Most kinds that one selection names.
const EVENTS_MAX: usize = 256;
/// Spans of waiting for more, of one attempt, between two attempts.
const WAIT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3_600);
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);
const RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);

/// What was written of a webhook.
#[derive(Default)]
struct Written {
    name: Box<str>,
    url: Option<Url>,
    selection: Selection,
    secret: Option<(Box<str>, Secret)>,
    batch: Option<u32>,
    wait: Option<Duration>,
    timeout: Option<Duration>,
    retry: Option<Duration>,
    trust: Option<Trust>,
    plain: bool,
    /// A key was there whose value was refused.
    faulty: bool,
}

const WEBHOOK: &Keys<Written> = &[
    ("name", |cx, item, hook| match super::sources::name(cx, item) {
        Some(name) => hook.name = name,
        None => hook.faulty = true,
    }),
    ("url", |cx, item, hook| {
        hook.url = values::parsed::<Url>(cx, item);
        hook.faulty |= hook.url.is_none();
    }),
    ("events", |cx, item, hook| cx.set(&mut hook.selection.events, item, events)),
    ("domain", |cx, item, hook| cx.set(&mut hook.selection.domain, item, domain)),
    ("site", |cx, item, hook| cx.set(&mut hook.selection.site, item, site)),
    ("secret_file", |cx, item, hook| {
        let Some(path) = values::text(cx, item) else { return };
        match cx.file(path).and_then(|bytes| super::log_in::secret(&bytes)) {
            Ok(secret) => hook.secret = Some((path.into(), secret)),
            Err(reason) => cx.error(item.span(), reason),
        }
    }),
    ("batch", |cx, item, hook| hook.batch = values::number(cx, item, 1..=BATCH_LINES_MAX)),
    ("wait", |cx, item, hook| hook.wait = values::span(cx, item, WAIT)),
    ("timeout", |cx, item, hook| hook.timeout = values::span(cx, item, TIMEOUT)),
    ("retry", |cx, item, hook| hook.retry = values::span(cx, item, RETRY)),
    ("trust", |cx, item, hook| hook.trust = super::way::trust(cx, item)),
    ("plain", |cx, item, hook| cx.set(&mut hook.plain, item, values::boolean)),
];

/// What was written of a syslog server.
#[derive(Default)]
struct WrittenSyslog {
    name: Box<str>,
    to: Option<SyslogTo>,
    selection: Selection,
    facility: Option<u8>,
    timeout: Option<Duration>,
    retry: Option<Duration>,
    trust: Option<Trust>,
    /// A key was there whose value was refused.
    faulty: bool,
}

const SYSLOG: &Keys<WrittenSyslog> = &[
    ("name", |cx, item, log| match super::sources::name(cx, item) {
        Some(name) => log.name = name,
        None => log.faulty = true,
    }),
    ("to", |cx, item, log| {
        log.to = values::parsed::<SyslogTo>(cx, item);
        log.faulty |= log.to.is_none();
    }),
    ("events", |cx, item, log| cx.set(&mut log.selection.events, item, events)),
    ("domain", |cx, item, log| cx.set(&mut log.selection.domain, item, domain)),
    ("site", |cx, item, log| cx.set(&mut log.selection.site, item, site)),
    ("facility", |cx, item, log| log.facility = values::choice(cx, item, &FACILITIES)),
    ("timeout", |cx, item, log| log.timeout = values::span(cx, item, TIMEOUT)),
    ("retry", |cx, item, log| log.retry = values::span(cx, item, RETRY)),
    ("trust", |cx, item, log| log.trust = super::way::trust(cx, item)),
];

/// The paths of all keys.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = named("webhook.", WEBHOOK);
    keys.extend(named("syslog.", SYSLOG));
    keys
}

/// Reads all syslog servers.
pub(super) fn syslogs(cx: &mut Cx<'_>, document: &toml::de::DeTable<'_>) -> Box<[Syslog]> {
    let mut all: Vec<Syslog> = Vec::new();
    values::tables(cx, document, "syslog", SYSLOGS_MAX, |cx, item, _| {
        let mut written = WrittenSyslog::default();
        cx.table(item, SYSLOG, &mut written);
        let WrittenSyslog { name, to, selection, facility, timeout, retry, trust, faulty } =
            written;
        if faulty || lacks(cx, item, &[("name", name.is_empty()), ("to", to.is_none())]) {
            return;
        }
        let Some(to) = to else { return };
        let usual = Syslog::new(&name, to);
        let log = Syslog {
            selection,
            facility: facility.unwrap_or(usual.facility),
            timeout: timeout.unwrap_or(usual.timeout),
            retry: retry.unwrap_or(usual.retry),
            trust: trust.unwrap_or_else(|| usual.trust.clone()),
            ..usual
        };
        if is_new(cx, item, &log.name, all.iter().map(|other| &*other.name)) {
            all.push(log);
        }
    });
    all.into()
}

/// Whether a key is missing, which is reported.
fn lacks(cx: &mut Cx<'_>, item: &Item<'_>, keys: &[(&str, bool)]) -> bool {
    let missing: Vec<_> = keys.iter().filter(|(_, missing)| *missing).collect();
    for (key, _) in &missing {
        cx.error(item.span(), format!("lacks `{key}`"));
    }
    !missing.is_empty()
}

fn is_new<'n>(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    name: &str,
    mut others: impl Iterator<Item = &'n str>,
) -> bool {
    let taken = others.any(|other| other == name);
    if taken {
        cx.error(item.span(), format!("is called {}, as another is", values::quoted(name)));
    }
    !taken
}

/// Reads all webhooks.
pub(super) fn webhooks(cx: &mut Cx<'_>, document: &toml::de::DeTable<'_>) -> Box<[Webhook]> {
    let mut hooks: Vec<Webhook> = Vec::new();
    values::tables(cx, document, "webhook", WEBHOOKS_MAX, |cx, item, _| {
        let mut written = Written::default();
        cx.table(item, WEBHOOK, &mut written);
        if let Some(hook) = finished(cx, item, written)
            && is_new(cx, item, &hook.name, hooks.iter().map(|other| &*other.name))
        {
            hooks.push(hook);
        }
    });
    hooks.into()
}

/// What was written, if it is whole and makes sense.
fn finished(cx: &mut Cx<'_>, item: &Item<'_>, written: Written) -> Option<Webhook> {
    let missing = [("name", written.name.is_empty()), ("url", written.url.is_none())];
    if written.faulty || lacks(cx, item, &missing) {
        return None;
    }
    let url = written.url?;
    if !url.tls && !url.is_loopback() && !written.plain {
        let message = "would send addresses in the clear beyond this machine; use https, or say \
                       `plain = true`";
        cx.within("url", |cx| cx.error(item.span(), message));
    }
    let usual = Webhook::new(&written.name, url);
    Some(Webhook {
        selection: written.selection,
        secret: written.secret,
        batch: written.batch.unwrap_or(usual.batch),
        wait: written.wait.unwrap_or(usual.wait),
        timeout: written.timeout.unwrap_or(usual.timeout),
        retry: written.retry.unwrap_or(usual.retry),
        trust: written.trust.unwrap_or_else(|| usual.trust.clone()),
        plain: written.plain,
        ..usual
    })
}

fn domain(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Option<Box<str>>> {
    values::domain(cx, item).map(|domain| Some(domain.as_str().into()))
}

fn site(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Option<Box<str>>> {
    values::text(cx, item).map(|site| Some(site.into()))
}

/// Kinds of event by their words.
pub(super) fn events(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Box<[Box<str>]>> {
    let word = |cx: &mut Cx<'_>, item: &Item<'_>| {
        let text = values::text(cx, item)?;
        if EVENTS.contains(&text) {
            return Some(Box::from(text));
        }
        cx.unnamed(item.span(), text, EVENTS.iter().copied());
        None
    };
    values::list(cx, item, EVENTS_MAX, word).map(Vec::into)
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use crate::config::Config;

    fn read(text: &str) -> Result<Config, String> {
        let machine = Domain::parse("box.example").unwrap();
        let mut files = |path: &str| match path {
            "hook.secret" => Ok(b"sesame\n".to_vec()),
            _ => Err(format!("names {path}, which is not there")),
        };
        Config::parse_with(text, &machine, &mut files).map_err(|refused| refused.to_string())
    }

    fn hook(rest: &str) -> String {
        format!("[[webhook]]\nname = \"audit\"\n{rest}")
    }

    /// What is shown names the secret's file, and read again gives the same.
    #[test]
    fn a_webhook_is_read_and_shown_without_its_secret() {
        let text = hook(
            "url = \"https://hooks.example/mail\"\nevents = [\"delivered\", \"failed\"]\n\
             domain = \"a.example\"\nsite = \"mx:b\"\nsecret_file = \"hook.secret\"\nbatch = 7\n\
             wait = \"250ms\"\ntimeout = \"5s\"\nretry = \"2m\"\ntrust = \"system\"\n\
             [[webhook]]\nname = \"near\"\nurl = \"http://[::1]:8080\"\n",
        );
        let policy = read(&text).unwrap().policy;
        let first = &policy.webhooks[0];
        assert_eq!((&*first.name, first.batch, first.selection.events.len()), ("audit", 7, 2));
        assert_eq!(first.secret.as_ref().unwrap().1.expose(), b"sesame");
        assert_eq!(&*policy.webhooks[1].url.target, "/");
        let shown = policy.effective_toml();
        assert!(!shown.contains("sesame"), "{shown}");
        assert_eq!(read(&shown).unwrap().policy, policy, "{shown}");
    }

    #[test]
    fn a_syslog_server_is_read_and_shown() {
        let text = "[[syslog]]\nname = \"a\"\nto = \"tls://log.example\"\nfacility = \"local3\"\n\
                    events = \"failed\"\nsite = \"mx:b\"\ntimeout = \"5s\"\nretry = \"2m\"\n\
                    trust = \"system\"\n[[syslog]]\nname = \"b\"\nto = \"journal\"\n";
        let policy = read(text).unwrap().policy;
        let [first, second] = &policy.syslogs[..] else { panic!("two were written") };
        assert_eq!((first.facility, &*first.selection.events), (19, &["failed".into()][..]));
        assert_eq!((second.facility, second.to.to_string()), (2, "journal".into()));
        let shown = policy.effective_toml();
        assert_eq!(read(&shown).unwrap().policy, policy, "{shown}");
        for (text, words) in [
            ("name = \"a\"", "lacks `to`"),
            ("to = \"journal\"", "lacks `name`"),
            ("name = \"a\"\nto = \"log.example\"", "must be udp://HOST"),
            ("name = \"a\"\nto = \"journal\"\nfacility = \"local9\"", "must be one of"),
            (
                "name = \"a\"\nto = \"journal\"\n[[syslog]]\nname = \"a\"\nto = \"journal\"",
                "as another",
            ),
        ] {
            let found = read(&format!("[[syslog]]\n{text}")).map(|_| ()).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
    }

    #[test]
    fn each_fault_of_a_webhook_has_its_own_words() {
        let url = "url = \"https://a.example\"\n";
        for (text, words) in [
            ("[[webhook]]\nurl = \"https://a.example\"".to_owned(), "lacks `name`"),
            (hook(""), "lacks `url`"),
            (hook("url = \"a.example\""), "must begin with https://"),
            (hook("url = \"http://a.example\""), "in the clear"),
            (hook(&format!("{url}events = [\"deliverd\"]")), "did you mean `delivered`?"),
            (hook(&format!("{url}events = [\"nonsense\"]")), "which is not there"),
            (hook(&format!("{url}batch = 0")), "must be from 1 to 10000"),
            (hook(&format!("{url}batch = 10001")), "must be from 1 to 10000"),
            (hook(&format!("{url}secret_file = \"no\"")), "which is not there"),
            (hook(&format!("{url}timeout = \"1h\"")), "must be from 100ms to 10m"),
            (hook(&format!("{url}{}", hook(url))), "is called \"audit\", as another is"),
            (hook(&format!("{url}secretfile = \"no\"")), "`secret_file`?"),
            ("webhook = 1".to_owned(), "must be written as [[webhook]]"),
        ] {
            let found = read(&text).map(|_| ()).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
        let many: String =
            (0..17).map(|n| format!("[[webhook]]\nname = \"n{n}\"\n{url}")).collect();
        assert!(read(&many).unwrap_err().contains("more than 16"));
        assert!(read(&hook("url = \"http://a.example\"\nplain = true")).is_ok());
    }
}
