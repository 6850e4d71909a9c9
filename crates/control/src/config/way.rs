//! `[delivery]` and `[[route]]`: the same keys, a route's laid over the default
//! way's. What depends on several keys (the port of a relay host, whether hosts
//! are needed) is resolved only when both layers are known.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::cx::{Cx, Item, Key, Keys, named};
use super::hosts::{FromWay, TLS_MODES, WrittenHost, hosts, hosts_keys};
use super::log_in::{log_in, log_in_keys, sender_keys, senders};
use super::schedule::{schedule, schedule_keys};
use super::{reports, values};
use crate::delivery::Delivery;
use crate::log_in::{LogIn, Senders};
use crate::mode::{Mode, OnFailure, Smarthost, Timeouts, TlsMode, Trust};
use crate::policy::{Policy, RoutesInRelayMode};
use crate::retry::Retry;
use crate::route::Pattern;
use crate::units::{Rate, SPAN_MAX};

/// A way with the keys that are not resolved yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    delivery: Delivery,
    pattern: Option<Pattern>,
    /// Of the default way alone.
    pub(super) routes_in_relay_mode: RoutesInRelayMode,
    relay: bool,
    port: Option<u16>,
    tls: Option<TlsMode>,
    auth: Option<Arc<LogIn>>,
    senders: Option<Arc<Senders>>,
    hosts: Arc<[WrittenHost]>,
    /// The name of a source or pool.
    source: Option<Box<str>>,
    /// What only a route says of reports.
    reports: Option<Box<reports::Written>>,
    /// Where this layer itself sets `mode`, `hosts`, `tls`, `auth`,
    /// `sender_auth`, `source`.
    own_mode: Option<Range<usize>>,
    own_hosts: Option<Range<usize>>,
    own_tls: Option<Range<usize>>,
    own_auth: Option<Range<usize>>,
    own_senders: Option<Range<usize>>,
    own_source: Option<Range<usize>>,
}

/// A route, read but not resolved.
pub(super) struct Route {
    pub(super) pattern: Pattern,
    pub(super) way: Way,
    pub(super) place: Range<usize>,
    /// Its place among the routes of the file, from 1.
    pub(super) number: usize,
}

const ON_FAILURE: [(&str, OnFailure); 3] =
    [("retry", OnFailure::Retry), ("hold", OnFailure::Hold), ("bounce", OnFailure::Bounce)];

/// Shortest and longest deadline of a phase.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

const IN_RELAY_MODE: [(&str, RoutesInRelayMode); 2] =
    [("obey", RoutesInRelayMode::Obey), ("ignore", RoutesInRelayMode::Ignore)];

/// The keys of `[delivery]`.
pub(super) const MAIN: &Keys<Way> =
    &with::<{ DELIVERY.len() + 1 }>(&[(ROUTES_IN_RELAY_MODE, |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::choice(cx, item, &IN_RELAY_MODE);
        cx.set(&mut way.routes_in_relay_mode, item, read);
    })]);

/// The keys of every way.
const DELIVERY: &Keys<Way> = &[
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
        cx.set(&mut way.tls, item, |cx, item| read(cx, item).map(Some));
    }),
    ("auth", |cx, item, way| {
        way.own_auth = Some(item.span());
        cx.set(&mut way.auth, item, log_in);
    }),
    ("sender_auth", |cx, item, way| {
        way.own_senders = Some(item.span());
        cx.set(&mut way.senders, item, |cx, item| unless_none(cx, item, senders));
    }),
    ("trust", |cx, item, way| cx.set(&mut way.delivery.trust, item, trust)),
    ("source", |cx, item, way| {
        way.own_source = Some(item.span());
        let name = |cx: &mut Cx<'_>, item: &Item<'_>| Some(values::text(cx, item)?.into());
        cx.set(&mut way.source, item, |cx, item| unless_none(cx, item, name));
    }),
    ("schedule", |cx, item, way| cx.set(&mut way.delivery.schedule, item, schedule)),
    ("retry", |cx, item, way| {
        let jitter = way.delivery.retry.jitter_percent();
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| super::retry::retry(cx, item, jitter);
        cx.set(&mut way.delivery.retry, item, read);
    }),
    ("retry_after", |cx, item, way| {
        way.delivery.retry_after = super::retry::retry_after(cx, item);
    }),
    ("jitter", |cx, item, way| {
        if let Some(percent) = super::retry::jitter(cx, item) {
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

/// The paths of all keys of ways, and of what stands inside them.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = named("delivery.", MAIN);
    keys.extend(hosts_keys());
    keys.extend(log_in_keys());
    keys.extend(super::retry::retry_keys());
    keys.extend(sender_keys());
    keys.extend(schedule_keys());
    let phases = Timeouts::default().phases();
    keys.extend(phases.iter().map(|(phase, _)| format!("delivery.timeout.{phase}")));
    keys.extend([MATCH, DSN].map(|key| format!("route.{key}")));
    keys
}

/// A key that only a route has.
const MATCH: &str = "match";
/// Another: for the default way, `[dsn]` says it.
const DSN: &str = "dsn";
/// The one key that only the default way has.
const ROUTES_IN_RELAY_MODE: &str = "routes_in_relay_mode";

/// Reads one `[[route]]` over the default way; `None` without a pattern.
pub(super) fn route(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    default: &Way,
    number: usize,
) -> Option<Route> {
    let mut way = default.clone();
    (way.own_mode, way.own_hosts, way.own_tls, way.own_auth) = (None, None, None, None);
    (way.own_senders, way.own_source) = (None, None);
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
    way.delivery.origin.route = bits(table);
    Some(Route { pattern: way.pattern.take()?, way, place: pattern.span(), number })
}

/// What a local domain's way has of the default way: what becomes of mail in
/// time, and nothing of where it goes.
pub(super) fn of_local(default: &Way) -> Way {
    let default = &default.delivery;
    let delivery = Delivery {
        retry: default.retry.clone(),
        lifetime: default.lifetime,
        max_attempts: default.max_attempts,
        timeouts: default.timeouts,
        on_failure: default.on_failure,
        delay_notice: default.delay_notice,
        origin: default.origin,
        ..Delivery::default()
    };
    Way { delivery, ..Way::default() }
}

/// Reads one of the keys of ways.
///
/// # Panics
/// When ways have no such key: a bug of the caller.
pub(super) fn read(cx: &mut Cx<'_>, item: &Item<'_>, key: &'static str, way: &mut Way) {
    let known = DELIVERY.iter().find(|(name, _)| *name == key);
    (known.expect("a key of ways").1)(cx, item, way);
}

/// The bit of a key of ways; none for a key that is not one.
pub(crate) fn bit(key: &str) -> u64 {
    let mut keys = DELIVERY.iter().map(|(name, _)| *name).chain([DSN]);
    keys.position(|name| name == key).map_or(0, |place| 1 << place)
}

fn bits(table: &toml::de::DeTable<'_>) -> u64 {
    table.keys().map(|key| bit(key.get_ref())).fold(0, std::ops::BitOr::bitor)
}

const _: () = assert!(DELIVERY.len() < 64, "each key has its bit");

/// The keys of `[[route]]`.
const ROUTE: &Keys<Way> = &with::<{ DELIVERY.len() + 2 }>(&[
    (MATCH, |cx, item, way| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::parsed::<Pattern>(cx, item).map(Some);
        cx.set(&mut way.pattern, item, read);
    }),
    (DSN, |cx, item, way| way.reports = Some(Box::new(reports::of_route(cx, item)))),
]);

/// The keys of every way, and some more.
const fn with<const ALL: usize>(more: &[Key<Way>]) -> [Key<Way>; ALL] {
    let mut keys = [DELIVERY[0]; ALL];
    let mut place = 0;
    while place < ALL {
        let others = place < DELIVERY.len();
        keys[place] = if others { DELIVERY[place] } else { more[place - DELIVERY.len()] };
        place += 1;
    }
    keys
}

impl Way {
    /// The way as read, for who knows where it leads, with the keys of its
    /// `table` noted.
    pub(super) fn to(mut self, mode: Mode, lmtp: bool, table: &toml::de::DeTable<'_>) -> Delivery {
        self.delivery.origin.route = bits(table);
        Delivery { mode, lmtp, ..self.delivery }
    }

    /// Notes which keys `[delivery]` itself gives.
    pub(super) fn note_main(&mut self, item: &Item<'_>) {
        if let DeValue::Table(table) = item.get_ref() {
            self.delivery.origin.delivery = bits(table);
        }
    }

    /// Settles what depends on several keys, and reports what contradicts
    /// itself. What a route inherits was reported of the default way.
    pub(super) fn resolve(self, cx: &mut Cx<'_>, policy: &Policy) -> Delivery {
        self.contradictions(cx);
        let exits = &policy.exits;
        let mut delivery = self.delivery.clone();
        let reports = self.reports.as_ref().map(|written| written.over(&policy.dsn.reports));
        delivery.reports = reports.map(Arc::new);
        delivery.source = self.source.as_deref().and_then(|name| exits.find(name));
        if let (Some(name), None, Some(place)) = (&self.source, &delivery.source, &self.own_source)
        {
            let fault = |cx: &mut Cx<'_>| cx.unnamed(place.clone(), name, exits.names());
            cx.within("source", fault);
        }
        delivery.tls = self.tls.unwrap_or_default();
        if self.relay {
            let from_way = FromWay {
                port: self.port,
                tls: self.tls,
                trust: &self.delivery.trust,
                auth: &self.auth,
                by_sender: self.senders.is_some(),
            };
            let hosts = self.hosts.iter().map(|written| written.resolve(&from_way));
            delivery.mode = Mode::Relay(hosts.collect());
            delivery.senders = self.senders.clone();
            self.useless(cx);
            self.careless(cx, &delivery);
        }
        delivery.port = self.port.unwrap_or(25);
        delivery
    }

    /// Reports a log-in that a host's provider does not take.
    fn useless(&self, cx: &mut Cx<'_>) {
        let own = [&self.own_auth, &self.own_hosts].into_iter().flatten().next();
        let Some(place) = own else { return };
        let refusal = self.hosts.iter().find_map(|host| {
            let auth = host.own_auth().unwrap_or(&self.auth).as_ref()?;
            host.refuses(auth)
        });
        if let Some(message) = refusal {
            cx.within("auth", |cx| cx.error(place.clone(), message));
        }
    }

    /// Reports passwords that would go, or rather would never go, to whoever
    /// answers.
    fn careless(&self, cx: &mut Cx<'_>, delivery: &Delivery) {
        let Mode::Relay(hosts) = &delivery.mode else { return };
        let owns = [&self.own_auth, &self.own_senders, &self.own_tls, &self.own_hosts];
        let Some(place) = owns.into_iter().flatten().next() else { return };
        let is_careless = |auth: &Arc<LogIn>| {
            !auth.unchecked && auth.methods.iter().all(|method| method.sends_secret())
        };
        let mut senders = delivery.senders.iter().flat_map(|senders| senders.iter());
        let of_sender = senders.any(|(_, auth)| is_careless(auth));
        for Smarthost { host, tls, auth, by_sender, .. } in hosts.iter() {
            let proves = matches!(tls, TlsMode::Required | TlsMode::Implicit);
            if !proves && (auth.as_ref().is_some_and(is_careless) || *by_sender && of_sender) {
                let message = format!(
                    "sends the secret as it is, and with tls = \"{tls}\" {host} does not prove \
                     who it is; set tls = \"required\" or \"implicit\", or auth.unchecked = true"
                );
                return cx.within("auth", |cx| cx.error(place.clone(), message));
            }
        }
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
        if let (Some(place), Some(_)) = (&self.own_senders, &self.senders) {
            let message = "is given, but mail goes by mail exchangers; set mode = \"relay\"";
            fault("sender_auth", place, message);
        }
        if let Some(auth) = &self.own_auth {
            let message = "is given, but mail goes by mail exchangers; set mode = \"relay\"";
            fault("auth", auth, message);
        }
        if self.tls == Some(TlsMode::Implicit) && self.port.is_none() {
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

/// `webpki`, `system`, or a PEM file.
pub(super) fn trust(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Trust> {
    match values::text(cx, item)? {
        "webpki" => Some(Trust::WebPki),
        "system" => Some(Trust::System),
        // A lone word is more likely a typing error than a file.
        path if path.contains(['/', '.']) => cx.authority(item).map(Trust::Pem),
        other => {
            let message = "must be \"webpki\", \"system\" or the path of a PEM file, not";
            cx.error(item.span(), format!("{message} {}", values::quoted(other)));
            None
        }
    }
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
