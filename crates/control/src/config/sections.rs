//! The document's tables other than the ways, key by key.

use std::time::Duration;

use base::limits::SHARDS_MAX;
use mail::Domain;
use toml::de::DeTable;

use super::cx::{Cx, Item, Keys, named};
use super::way::{self, Route, Way};
use super::{ROUTES_MAX, alerts, check, local, metrics, remote, reports, sinks, sources, values};
use crate::network::Network;
use crate::policy::{
    DnsSettings, Egress, Family, InDoubt, InDoubtPolicy, LogLevel, LogSettings, PageSettings,
    PickupSettings, Policy, QueueSettings,
};

/// Most entries of a list of listeners, networks or addresses.
pub(super) const ENTRIES_MAX: usize = 1024;
/// Most name servers: each look-up that fails asks several of them.
pub(super) const NAME_SERVERS_MAX: usize = 16;
/// Smallest and largest segment file, in bytes. Offsets are 32 bits wide.
const SEGMENT_MIN: u64 = 2 << 20;
pub(super) const SEGMENT_MAX: u64 = 2 << 30;
const FAR: u64 = 1 << 60;

struct Document {
    policy: Policy,
    hostname: Option<Domain>,
}

/// Reads the whole document and checks it against itself.
pub(super) fn policy(cx: &mut Cx<'_>, document: &DeTable<'_>, machine_name: &Domain) -> Policy {
    // Ways first: routes are laid over the default, wherever it stands.
    let (default, routes) = ways(cx, document);
    let mut hostname = None;
    if let Some(item) = document.get("hostname") {
        cx.within("hostname", |cx| hostname = values::domain(cx, item));
    }
    let policy = Policy::new(hostname.clone().unwrap_or_else(|| machine_name.clone()));
    let mut read = Document { policy, hostname };
    read.policy.exits = sources::exits(cx, document);
    read.policy.webhooks = sinks::webhooks(cx, document);
    read.policy.syslogs = sinks::syslogs(cx, document);
    cx.entries(document, DOCUMENT, &mut read);
    check::contradictions(cx, &read.policy, read.hostname.is_some());
    check::ways(cx, &mut read.policy, &default, routes);
    local::locals(cx, document, &default, &mut read.policy);
    check::hidden_routes(cx, document, &read.policy);
    read.policy
}

const DOCUMENT: &Keys<Document> = &[
    ("hostname", |_, _, _| {}),
    ("shards", |cx, item, document| {
        let shards = values::number(cx, item, 1..=SHARDS_MAX as u16);
        document.policy.shards = shards;
    }),
    ("submission", |cx, item, document| {
        document.policy.submission = super::submission::submission(cx, item);
    }),
    ("queue", |cx, item, document| cx.table(item, QUEUE, &mut document.policy.queue)),
    ("delivery", |_, _, _| {}),
    ("route", |_, _, _| {}),
    ("local", |_, _, _| {}),
    ("source", |_, _, _| {}),
    ("pool", |_, _, _| {}),
    ("egress", |cx, item, document| cx.table(item, EGRESS, &mut document.policy.egress)),
    ("dns", |cx, item, document| cx.table(item, DNS, &mut document.policy.dns)),
    ("dsn", |cx, item, document| reports::dsn(cx, item, &mut document.policy.dsn)),
    ("pickup", |cx, item, document| cx.table(item, PICKUP, &mut document.policy.pickup)),
    ("log", |cx, item, document| cx.table(item, LOG, &mut document.policy.log)),
    ("alerts", |cx, item, document| {
        cx.table(item, alerts::ALERTS, &mut document.policy.alerts);
    }),
    ("webhook", |_, _, _| {}),
    ("page", |cx, item, document| cx.table(item, PAGE, &mut document.policy.page)),
    ("metrics", |cx, item, document| {
        metrics::metrics(cx, item, &mut document.policy.metrics);
    }),
    ("syslog", |_, _, _| {}),
    ("control", |cx, item, document| document.policy.control = remote::control(cx, item)),
];

/// The paths of all keys.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = named("", DOCUMENT);
    keys.extend(named("submission.", super::submission::SUBMISSION));
    keys.extend(named("queue.", QUEUE));
    keys.extend(way::known_keys());
    keys.extend(local::known_keys());
    keys.extend(named("egress.", EGRESS));
    keys.extend(sources::known_keys());
    keys.extend(named("dns.", DNS));
    keys.extend(reports::known_keys());
    keys.extend(named("pickup.", PICKUP));
    keys.extend(named("log.", LOG));
    keys.extend(named("alerts.", alerts::ALERTS));
    keys.extend(sinks::known_keys());
    keys.extend(named("page.", PAGE));
    keys.extend(named("metrics.", metrics::METRICS));
    keys.extend(named("control.", remote::CONTROL));
    keys
}

fn ways(cx: &mut Cx<'_>, document: &DeTable<'_>) -> (Way, Vec<Route>) {
    let mut default = Way::default();
    if let Some(item) = document.get("delivery") {
        cx.within("delivery", |cx| cx.table(item, way::MAIN, &mut default));
        default.note_main(item);
    }
    let mut routes = Vec::new();
    values::tables(cx, document, "route", ROUTES_MAX, |cx, item, number| {
        routes.extend(way::route(cx, item, &default, number));
    });
    (default, routes)
}

const QUEUE: &Keys<QueueSettings> = &[
    ("segment", |cx, item, s| cx.set(&mut s.segment, item, segment)),
    ("max_bytes", |cx, item, s| {
        cx.set(&mut s.max_bytes, item, |cx, item| values::size(cx, item, 1..=FAR));
    }),
    ("max_messages", |cx, item, s| {
        cx.set(&mut s.max_messages, item, |cx, item| values::number(cx, item, 1..=FAR));
    }),
    ("min_free", |cx, item, s| {
        cx.set(&mut s.min_free, item, |cx, item| values::size(cx, item, 0..=FAR));
    }),
    ("in_doubt", |cx, item, s| {
        let words = [("program", InDoubt::Program), ("power", InDoubt::Power)];
        cx.set(&mut s.in_doubt, item, |cx, item| values::choice(cx, item, &words));
    }),
    ("in_doubt_policy", |cx, item, s| {
        let words = [("retry", InDoubtPolicy::Retry), ("hold", InDoubtPolicy::Hold)];
        cx.set(&mut s.in_doubt_policy, item, |cx, item| values::choice(cx, item, &words));
    }),
];

const EGRESS: &Keys<Egress> = &[
    ("source", |cx, item, s| {
        cx.set(&mut s.source, item, |cx, item| values::list(cx, item, ENTRIES_MAX, values::ip));
    }),
    ("permit", |cx, item, s| cx.set(&mut s.permit, item, networks)),
    ("family", |cx, item, s| {
        cx.set(&mut s.family, item, |cx, item| values::choice(cx, item, &FAMILIES));
    }),
];

pub(super) const FAMILIES: [(&str, Family); 4] = [
    ("ipv6-first", Family::Ipv6First),
    ("ipv4-first", Family::Ipv4First),
    ("ipv6", Family::Ipv6Only),
    ("ipv4", Family::Ipv4Only),
];

const DNS: &Keys<DnsSettings> = &[
    ("servers", |cx, item, s| {
        let socket = |cx: &mut Cx<'_>, item: &Item<'_>| values::socket(cx, item, Some(53));
        cx.set(&mut s.servers, item, |cx, item| values::list(cx, item, NAME_SERVERS_MAX, socket));
    }),
    ("timeout", |cx, item, s| {
        let range = Duration::from_millis(10)..=Duration::from_secs(60);
        cx.set(&mut s.timeout, item, |cx, item| values::span(cx, item, range));
    }),
    ("attempts", |cx, item, s| {
        cx.set(&mut s.attempts, item, |cx, item| values::number(cx, item, 2..=20));
    }),
    ("stale", |cx, item, s| {
        let range = Duration::ZERO..=Duration::from_secs(7 * 24 * 3600);
        cx.set(&mut s.stale, item, |cx, item| values::span(cx, item, range));
    }),
];

const PICKUP: &Keys<PickupSettings> = &[("folder", |cx, item, s| {
    let Some(name) = values::text(cx, item) else { return };
    match name.is_empty() || name.contains('\0') {
        true => cx.error(item.span(), "must name a folder"),
        false => s.folder = Some(name.into()),
    }
})];

const LOG: &Keys<LogSettings> = &[
    ("level", |cx, item, s| {
        let words =
            [("quiet", LogLevel::Quiet), ("basic", LogLevel::Basic), ("detail", LogLevel::Detail)];
        cx.set(&mut s.level, item, |cx, item| values::choice(cx, item, &words));
    }),
    ("size", |cx, item, s| {
        cx.set(&mut s.size, item, |cx, item| values::size(cx, item, 64 << 10..=FAR));
    }),
    ("age", |cx, item, s| {
        let range = Duration::from_secs(60)..=Duration::from_secs(365 * 86_400);
        cx.set(&mut s.age, item, |cx, item| values::span(cx, item, range));
    }),
    ("max_bytes", |cx, item, s| {
        cx.set(&mut s.max_bytes, item, |cx, item| values::size(cx, item, 128 << 10..=FAR));
    }),
    ("retention", |cx, item, s| {
        let range = Duration::from_secs(60)..=Duration::from_secs(100 * 365 * 86_400);
        cx.set(&mut s.retention, item, |cx, item| values::span(cx, item, range));
    }),
];

const PAGE: &Keys<PageSettings> = &[("listen", |cx, item, s| {
    let Some(address) = values::socket(cx, item, None) else { return };
    if !address.ip().is_loopback() {
        let message = format!(
            "names {address}, which others reach: the page asks nobody who they are. Take an \
             address of this machine's own, such as \"127.0.0.1:8025\" or \"[::1]:8025\""
        );
        return cx.error(item.span(), message);
    }
    match address.port() {
        0 => cx.error(item.span(), "must name a port, such as \"127.0.0.1:8025\""),
        _ => s.listen = Some(address),
    }
})];

pub(super) fn networks(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Vec<Network>> {
    values::list(cx, item, ENTRIES_MAX, values::parsed::<Network>)
}

fn segment(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<u32> {
    let bytes = values::size(cx, item, SEGMENT_MIN..=SEGMENT_MAX)?;
    if !bytes.is_multiple_of(4096) {
        cx.error(item.span(), "must be a multiple of 4KiB");
        return None;
    }
    u32::try_from(bytes).ok()
}
