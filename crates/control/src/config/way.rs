//! `[delivery]` and `[[route]]`: the same keys, a route's laid over the default
//! way's. What depends on several keys (the port of a relay host, whether hosts
//! are needed) is resolved only when both layers are known.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mail::Host;
use toml::de::DeValue;

use super::cx::{Cx, Item, Key, Keys};
use super::values;
use crate::delivery::Delivery;
use crate::mode::{Mode, OnFailure, SMARTHOSTS_MAX, Smarthost, Timeouts, TlsMode, Trust};
use crate::retry::{INTERVAL_MIN, INTERVALS_MAX, JITTER_PERCENT_MAX, Retry};
use crate::route::Pattern;
use crate::units::{Rate, SPAN_MAX};

/// A way with the keys that are not resolved yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    delivery: Delivery,
    pattern: Option<Pattern>,
    relay: bool,
    port: Option<u16>,
    hosts: Arc<[WrittenHost]>,
    /// Where this layer itself sets `mode`, `hosts` and `tls`.
    own_mode: Option<Range<usize>>,
    own_hosts: Option<Range<usize>>,
    own_tls: Option<Range<usize>>,
}

/// A relay host as written: what is absent comes from the way.
#[derive(Clone, Debug)]
struct WrittenHost {
    host: Host,
    port: Option<u16>,
    tls: Option<TlsMode>,
}

/// A route, read but not resolved.
pub(super) struct Route {
    pub(super) pattern: Pattern,
    pub(super) way: Way,
    pub(super) place: Range<usize>,
    /// Its place among the routes of the file, from 1.
    pub(super) number: usize,
}

pub(super) const TLS_MODES: [(&str, TlsMode); 4] = [
    ("none", TlsMode::None),
    ("opportunistic", TlsMode::Opportunistic),
    ("required", TlsMode::Required),
    ("implicit", TlsMode::Implicit),
];

const ON_FAILURE: [(&str, OnFailure); 3] =
    [("retry", OnFailure::Retry), ("hold", OnFailure::Hold), ("bounce", OnFailure::Bounce)];

/// Shortest and longest deadline of a phase.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// The keys of `[delivery]`.
pub(super) const DELIVERY: &Keys<Way> = &[
    ("mode", |cx, item, way| {
        way.own_mode = Some(item.span());
        let modes = [("independent", false), ("relay", true)];
        cx.set(&mut way.relay, item, |cx, item| values::choice(cx, item, &modes));
    }),
    ("hosts", |cx, item, way| {
        way.own_hosts = Some(item.span());
        cx.set(&mut way.hosts, item, hosts);
    }),
    ("port", |cx, item, way| {
        cx.set(&mut way.port, item, |cx, item| values::number(cx, item, 1..=u16::MAX).map(Some));
    }),
    ("tls", |cx, item, way| {
        way.own_tls = Some(item.span());
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::choice(cx, item, &TLS_MODES);
        cx.set(&mut way.delivery.tls, item, read);
    }),
    ("trust", |cx, item, way| cx.set(&mut way.delivery.trust, item, trust)),
    ("retry", |cx, item, way| {
        let jitter = way.delivery.retry.jitter_percent();
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| retry(cx, item, jitter);
        cx.set(&mut way.delivery.retry, item, read);
    }),
    ("jitter", |cx, item, way| {
        if let Some(percent) = percent(cx, item) {
            // The list may come earlier or later in the table; both keep the other.
            let intervals = way.delivery.retry.intervals().to_vec();
            let retry = Retry::new(&intervals, percent);
            way.delivery.retry = retry.expect("the percentage was checked, the list is unchanged");
        }
    }),
    ("lifetime", |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::span(cx, item, SECOND..=SPAN_MAX);
        cx.set(&mut way.delivery.lifetime, item, read);
    }),
    ("max_attempts", |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::number(cx, item, 0..=10_000);
        cx.set(&mut way.delivery.max_attempts, item, read);
    }),
    ("timeout", |cx, item, way| timeouts(cx, item, &mut way.delivery.timeouts)),
    ("connections", |cx, item, way| {
        way.delivery.own_limits = true;
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::number(cx, item, 1..=100_000);
        cx.set(&mut way.delivery.connections, item, read);
    }),
    ("messages_per_connection", |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::number(cx, item, 1..=1_000_000);
        cx.set(&mut way.delivery.messages_per_connection, item, read);
    }),
    ("recipients_per_message", |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::number(cx, item, 1..=10_000);
        cx.set(&mut way.delivery.recipients_per_message, item, read);
    }),
    ("rate", |cx, item, way| {
        way.delivery.own_limits = true;
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| unless_none(cx, item, values::parsed::<Rate>);
        cx.set(&mut way.delivery.rate, item, read);
    }),
    ("idle", |cx, item, way| {
        let range = Duration::ZERO..=Duration::from_secs(3600);
        cx.set(&mut way.delivery.idle, item, |cx, item| values::span(cx, item, range));
    }),
    ("on_failure", |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::choice(cx, item, &ON_FAILURE);
        cx.set(&mut way.delivery.on_failure, item, read);
    }),
    ("fallback", |cx, item, way| cx.set(&mut way.delivery.fallback, item, values::boolean)),
    ("delay_notice", |cx, item, way| {
        let span = |cx: &mut Cx<'_>, item: &Item<'_>| values::span(cx, item, SECOND..=SPAN_MAX);
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| unless_none(cx, item, span);
        cx.set(&mut way.delivery.delay_notice, item, read);
    }),
];

/// The one key that only a route has.
const MATCH: &str = "match";

/// Reads one `[[route]]` over the default way; `None` without a pattern.
pub(super) fn route(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    default: &Way,
    number: usize,
) -> Option<Route> {
    let mut way = default.clone();
    (way.own_mode, way.own_hosts, way.own_tls) = (None, None, None);
    way.delivery.own_limits = false;
    let DeValue::Table(table) = item.get_ref() else {
        cx.error(item.span(), "must be a table, written [[route]]");
        return None;
    };
    let Some(pattern) = table.get(MATCH) else {
        cx.error(item.span(), "lacks `match`, which says what mail goes this way");
        cx.entries(table, DELIVERY, &mut way);
        return None;
    };
    cx.entries(table, ROUTE, &mut way);
    Some(Route { pattern: way.pattern.take()?, way, place: pattern.span(), number })
}

/// The keys of `[[route]]`.
const ROUTE: &Keys<Way> = &with_match();

const fn with_match() -> [Key<Way>; DELIVERY.len() + 1] {
    let mut keys = [DELIVERY[0]; DELIVERY.len() + 1];
    let mut place = 0;
    while place < DELIVERY.len() {
        keys[place] = DELIVERY[place];
        place += 1;
    }
    keys[place] = (MATCH, |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::parsed::<Pattern>(cx, item).map(Some);
        cx.set(&mut way.pattern, item, read);
    });
    keys
}

impl Way {
    /// Settles what depends on several keys, and reports what contradicts
    /// itself. What a route inherits was reported of the default way.
    pub(super) fn resolve(self, cx: &mut Cx<'_>) -> Delivery {
        self.contradictions(cx);
        let Self { mut delivery, port, .. } = self;
        if self.relay {
            let hosts = self.hosts.iter().map(|written| written.resolve(&delivery, port));
            delivery.mode = Mode::Relay(hosts.collect());
        }
        delivery.port = port.unwrap_or(25);
        delivery
    }

    fn contradictions(&self, cx: &mut Cx<'_>) {
        let mut fault = |key, place: &Range<usize>, message: &str| {
            cx.within(key, |cx| cx.error(place.clone(), message));
        };
        if self.relay {
            let no_hosts = self.hosts.is_empty() && self.own_hosts.is_none();
            if let Some(mode) = self.own_mode.as_ref().filter(|_| no_hosts) {
                fault("mode", mode, "is \"relay\", but no `hosts` are given");
            }
            return;
        }
        if let Some(hosts) = &self.own_hosts {
            let message = "are given, but mail goes by mail exchangers; set mode = \"relay\"";
            fault("hosts", hosts, message);
        }
        if self.delivery.tls == TlsMode::Implicit && self.port.is_none() {
            let message = "would speak TLS first to mail exchangers on port 25, which answer in \
                           plain text; set `port`, or tls = \"required\"";
            match (&self.own_tls, &self.own_mode) {
                (Some(tls), _) => fault("tls", tls, message),
                (None, Some(mode)) => fault("mode", mode, message),
                (None, None) => {}
            }
        }
    }
}

impl WrittenHost {
    /// The port: the host's own, the way's, or the usual one.
    fn resolve(&self, way: &Delivery, port: Option<u16>) -> Smarthost {
        let tls = self.tls.unwrap_or(way.tls);
        let usual = if tls == TlsMode::Implicit { 465 } else { 25 };
        Smarthost { host: self.host.clone(), port: self.port.or(port).unwrap_or(usual), tls }
    }
}

fn hosts(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Arc<[WrittenHost]>> {
    let hosts = values::list(cx, item, SMARTHOSTS_MAX, host)?;
    if hosts.is_empty() {
        cx.error(item.span(), "must name at least one host");
    }
    Some(hosts.into())
}

/// `"name"`, `"name:port"`, `"192.0.2.1"`, `"[2001:db8::1]:25"`, or a table.
fn host(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<WrittenHost> {
    if !item.get_ref().is_table() {
        return host_text(cx, item);
    }
    let mut parts = HostTable::default();
    let before = item.span();
    cx.table(item, HOST, &mut parts);
    let Some(mut host) = parts.host else {
        if !parts.host_given {
            cx.error(before, "lacks `host`");
        }
        return None;
    };
    if host.port.is_some() && parts.port.is_some() {
        cx.error(before, "gives the port twice, behind the host and as `port`");
    }
    host.port = host.port.or(parts.port);
    host.tls = parts.tls;
    Some(host)
}

#[derive(Default)]
struct HostTable {
    host: Option<WrittenHost>,
    host_given: bool,
    port: Option<u16>,
    tls: Option<TlsMode>,
}

const HOST: &Keys<HostTable> = &[
    ("host", |cx, item, parts| {
        parts.host_given = true;
        parts.host = host_text(cx, item);
    }),
    ("port", |cx, item, parts| parts.port = values::number(cx, item, 1..=u16::MAX)),
    ("tls", |cx, item, parts| parts.tls = values::choice(cx, item, &TLS_MODES)),
];

fn host_text(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<WrittenHost> {
    let text = values::text(cx, item)?;
    if let Some((host, port)) = split_host(text) {
        return Some(WrittenHost { host, port, tls: None });
    }
    let message = format!(
        "{} is no host; write \"name\", \"name:port\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"",
        values::quoted(text)
    );
    cx.error(item.span(), message);
    None
}

fn split_host(text: &str) -> Option<(Host, Option<u16>)> {
    if let Ok(ip) = text.parse() {
        return Some((Host::Literal(ip), None));
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, digits)) if !name.is_empty() && !digits.ends_with(']') => {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let port = digits.parse().ok().filter(|port| plain && *port > 0)?;
            (name, Some(port))
        }
        _ => (text, None),
    };
    let host = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(ip) => Host::Literal(ip.strip_prefix("IPv6:").unwrap_or(ip).parse().ok()?),
        None => match name.parse() {
            Ok(ip) => Host::Literal(std::net::IpAddr::V4(ip)),
            Err(_) => Host::Name(mail::Domain::parse_utf8(name).ok()?),
        },
    };
    Some((host, port))
}

/// `webpki`, `system`, or the path of a PEM file.
fn trust(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Trust> {
    match values::text(cx, item)? {
        "webpki" => Some(Trust::WebPki),
        "system" => Some(Trust::System),
        // A lone word is more likely a typing error than a file.
        path if path.contains(['/', '.']) => Some(Trust::Pem(path.to_owned())),
        other => {
            let message = "must be \"webpki\", \"system\" or the path of a PEM file, not";
            cx.error(item.span(), format!("{message} {}", values::quoted(other)));
            None
        }
    }
}

fn retry(cx: &mut Cx<'_>, item: &Item<'_>, jitter_percent: u8) -> Option<Retry> {
    let range = INTERVAL_MIN..=SPAN_MAX;
    let intervals =
        values::list(cx, item, INTERVALS_MAX, |cx, item| values::span(cx, item, range.clone()))?;
    let retry = Retry::new(&intervals, jitter_percent);
    if retry.is_none() {
        cx.error(item.span(), "must not be empty; write one wait or a list, such as \"5m\"");
    }
    retry
}

/// `"10%"`.
fn percent(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<u8> {
    let text = values::text(cx, item)?;
    let digits = text.strip_suffix('%').unwrap_or_default();
    let percent = digits.parse().ok().filter(|percent| *percent <= JITTER_PERCENT_MAX);
    if percent.is_none() {
        let message = format!("must be from \"0%\" to \"{JITTER_PERCENT_MAX}%\"");
        cx.error(item.span(), message);
    }
    percent
}

/// One limit for every phase, or a table of phases.
fn timeouts(cx: &mut Cx<'_>, item: &Item<'_>, timeouts: &mut Timeouts) {
    let range = TIMEOUT_MIN..=TIMEOUT_MAX;
    let DeValue::Table(table) = item.get_ref() else {
        cx.set(timeouts, item, |cx, item| values::span(cx, item, range).map(Timeouts::all));
        return;
    };
    let phases = timeouts.phases();
    for (key, item) in table {
        let name = key.get_ref().as_ref();
        let known = phases.iter().map(|(known, _)| *known);
        match (known.clone().find(|known| *known == name), timeouts.phase_mut(name)) {
            (Some(known), Some(phase)) => cx.within(known, |cx| {
                cx.set(phase, item, |cx, item| values::span(cx, item, range.clone()));
            }),
            _ => cx.unknown(key.span(), name, known),
        }
    }
}

/// `"none"` switches a setting off.
fn unless_none<T>(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    read: impl FnOnce(&mut Cx<'_>, &Item<'_>) -> Option<T>,
) -> Option<Option<T>> {
    match item.get_ref() {
        DeValue::String(text) if text == "none" => Some(None),
        _ => read(cx, item).map(Some),
    }
}
