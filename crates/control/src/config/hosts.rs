//! `hosts`: relay hosts, as text or as tables, in the order in which they are
//! tried. What a host does not say comes from its way.

use std::sync::Arc;

use mail::Host;

use super::cx::{Cx, Item, Keys, named};
use super::log_in::log_in;
use super::values;
use crate::log_in::LogIn;
use crate::mode::{SMARTHOSTS_MAX, Smarthost, TlsMode};

/// A relay host as written: what is absent comes from the way.
#[derive(Clone, Debug)]
pub(super) struct WrittenHost {
    host: Host,
    port: Option<u16>,
    tls: Option<TlsMode>,
    auth: Option<Option<Arc<LogIn>>>,
}

/// What a way says for those of its hosts that do not.
pub(super) struct FromWay<'w> {
    pub(super) port: Option<u16>,
    pub(super) tls: Option<TlsMode>,
    pub(super) auth: &'w Option<Arc<LogIn>>,
    /// Senders have log-ins of their own.
    pub(super) by_sender: bool,
}

pub(super) const TLS_MODES: [(&str, TlsMode); 4] = [
    ("none", TlsMode::None),
    ("opportunistic", TlsMode::Opportunistic),
    ("required", TlsMode::Required),
    ("implicit", TlsMode::Implicit),
];

impl WrittenHost {
    /// Each setting: the host's own, the way's, or the usual one.
    pub(super) fn resolve(&self, way: &FromWay<'_>) -> Smarthost {
        let auth = self.auth.clone().unwrap_or_else(|| way.auth.clone());
        let by_sender = way.by_sender && self.auth.is_none();
        // Whoever has a password wants it kept.
        let usual =
            if auth.is_some() || by_sender { TlsMode::Required } else { TlsMode::default() };
        let tls = self.tls.or(way.tls).unwrap_or(usual);
        let port = self.port.or(way.port).unwrap_or(match tls {
            TlsMode::Implicit => 465,
            _ if auth.is_some() || by_sender => 587,
            _ => 25,
        });
        Smarthost { host: self.host.clone(), port, tls, auth, by_sender }
    }
}

pub(super) fn hosts(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Arc<[WrittenHost]>> {
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
    (host.tls, host.auth) = (parts.tls, parts.auth);
    Some(host)
}

#[derive(Default)]
struct HostTable {
    host: Option<WrittenHost>,
    host_given: bool,
    port: Option<u16>,
    tls: Option<TlsMode>,
    auth: Option<Option<Arc<LogIn>>>,
}

const HOST: &Keys<HostTable> = &[
    ("host", |cx, item, parts| {
        parts.host_given = true;
        parts.host = host_text(cx, item);
    }),
    ("port", |cx, item, parts| parts.port = values::number(cx, item, 1..=u16::MAX)),
    ("tls", |cx, item, parts| parts.tls = values::choice(cx, item, &TLS_MODES)),
    ("auth", |cx, item, parts| parts.auth = log_in(cx, item)),
];

/// The paths of the keys of one host.
pub(super) fn hosts_keys() -> Vec<String> {
    named("delivery.hosts.", HOST)
}

fn host_text(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<WrittenHost> {
    let text = values::text(cx, item)?;
    if let Some((host, port)) = split_host(text) {
        return Some(WrittenHost { host, port, tls: None, auth: None });
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
