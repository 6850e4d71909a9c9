//! `hosts`: relay hosts, as text or as tables, in the order in which they are
//! tried. What a host does not say comes from its way.

use std::sync::Arc;

use mail::Host;

use super::cx::{Cx, Item, Keys, named};
use super::log_in::log_in;
use super::pop::{WrittenPop, pop, pop_keys};
use super::submission::{IDENTITY, WrittenIdentity};
use super::values;
use super::way::trust;
use crate::log_in::{AuthMethod, LogIn};
use crate::mode::{SMARTHOSTS_MAX, Smarthost, TlsMode, Trust};
use crate::preset::{self, PRESETS, Preset};
use crate::submission::Identity;

/// A relay host as written: what is absent comes from the way.
#[derive(Clone, Debug)]
pub(super) struct WrittenHost {
    host: Host,
    port: Option<u16>,
    tls: Option<TlsMode>,
    trust: Option<Trust>,
    identity: Option<Arc<Identity>>,
    auth: Option<Option<Arc<LogIn>>>,
    pop: Option<WrittenPop>,
    /// The log-ins that its provider takes, where that is known.
    methods: Option<&'static [AuthMethod]>,
}

/// What a way says for those of its hosts that do not.
pub(super) struct FromWay<'w> {
    pub(super) port: Option<u16>,
    pub(super) tls: Option<TlsMode>,
    pub(super) trust: &'w Trust,
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
    fn new(host: Host, port: Option<u16>) -> Self {
        let (tls, trust, identity, auth) = (None, None, None, None);
        Self { host, port, tls, trust, identity, auth, pop: None, methods: None }
    }

    fn of_preset(preset: &'static Preset) -> Self {
        let host = mail::Domain::parse(preset.host).expect("presets name hosts");
        let written = Self::new(Host::Name(host), Some(preset.port));
        Self { tls: Some(preset.tls), methods: Some(preset.methods), ..written }
    }

    /// Each setting: the host's own, the way's, or the usual one.
    pub(super) fn resolve(&self, way: &FromWay<'_>) -> Smarthost {
        let auth = self.auth.clone().unwrap_or_else(|| way.auth.clone());
        let auth = auth.map(|auth| self.taken(auth));
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
        let trust = self.trust.as_ref().unwrap_or(way.trust).clone();
        let identity = self.identity.clone().filter(|_| tls != TlsMode::None);
        let host = self.host.clone();
        let pop = self.pop.as_ref().and_then(|pop| pop.resolve(&host, &trust));
        Smarthost { host, port, tls, trust, identity, auth, by_sender, pop }
    }

    /// A log-in with those of its methods that the provider takes; all of them
    /// where it takes none, which is reported elsewhere.
    fn taken(&self, auth: Arc<LogIn>) -> Arc<LogIn> {
        let Some(taken) = self.methods else { return auth };
        let methods = auth.methods.iter().copied().filter(|method| taken.contains(method));
        let methods: Box<[AuthMethod]> = methods.collect();
        if methods.is_empty() || methods == auth.methods {
            return auth;
        }
        Arc::new(LogIn { methods, ..LogIn::clone(&auth) })
    }

    /// What the host itself says of a log-in.
    pub(super) fn own_auth(&self) -> Option<&Option<Arc<LogIn>>> {
        self.auth.as_ref()
    }

    /// Why a log-in is of no use here, if so.
    pub(super) fn refuses(&self, auth: &LogIn) -> Option<String> {
        let taken = self.methods?;
        if auth.methods.iter().any(|method| taken.contains(method)) {
            return None;
        }
        let taken: Vec<_> = taken.iter().map(ToString::to_string).collect();
        let key =
            if taken == ["xoauth2"] { "token_file` or `token_command" } else { "password_file" };
        Some(format!("cannot be used at {}, which takes {} (`{key}`)", self.host, taken.join(", ")))
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
    if parts.host_given && parts.preset.is_some() {
        cx.error(before, "has `host` and `preset`; a preset names the host");
        return None;
    }
    let preset = parts.preset.flatten();
    let Some(mut host) = parts.host.or_else(|| preset.map(WrittenHost::of_preset)) else {
        if !parts.host_given && parts.preset.is_none() {
            cx.error(before, "lacks `host`, or `preset`");
        }
        return None;
    };
    if preset.is_none() && host.port.is_some() && parts.port.is_some() {
        cx.error(before.clone(), "gives the port twice, behind the host and as `port`");
    }
    host.port = parts.port.or(host.port);
    host.tls = parts.tls.or(host.tls);
    (host.trust, host.auth, host.pop) = (parts.trust, parts.auth, parts.pop);
    host.identity = parts.identity.resolve(cx, before);
    Some(host)
}

#[derive(Default)]
struct HostTable {
    host: Option<WrittenHost>,
    host_given: bool,
    /// It was there, and whether it could be read.
    preset: Option<Option<&'static Preset>>,
    port: Option<u16>,
    tls: Option<TlsMode>,
    trust: Option<Trust>,
    identity: WrittenIdentity,
    auth: Option<Option<Arc<LogIn>>>,
    pop: Option<WrittenPop>,
}

const HOST: &Keys<HostTable> = &[
    ("host", |cx, item, parts| {
        parts.host_given = true;
        parts.host = host_text(cx, item);
    }),
    ("preset", |cx, item, parts| parts.preset = Some(preset(cx, item))),
    ("port", |cx, item, parts| parts.port = values::number(cx, item, 1..=u16::MAX)),
    ("tls", |cx, item, parts| parts.tls = values::choice(cx, item, &TLS_MODES)),
    ("trust", |cx, item, parts| parts.trust = trust(cx, item)),
    ("certificate", |cx, item, parts| (IDENTITY[0].1)(cx, item, &mut parts.identity)),
    ("key", |cx, item, parts| (IDENTITY[1].1)(cx, item, &mut parts.identity)),
    ("auth", |cx, item, parts| parts.auth = log_in(cx, item)),
    ("pop", |cx, item, parts| parts.pop = pop(cx, item)),
];

/// The paths of the keys of one host.
pub(super) fn hosts_keys() -> Vec<String> {
    [named("delivery.hosts.", HOST), pop_keys()].concat()
}

/// The name of a provider.
fn preset(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<&'static Preset> {
    let name = values::text(cx, item)?;
    let found = preset::find(name);
    if found.is_none() {
        cx.unnamed(item.span(), name, PRESETS.iter().map(|preset| preset.name));
    }
    found
}

fn host_text(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<WrittenHost> {
    let text = values::text(cx, item)?;
    if let Some((host, port)) = split_host(text) {
        return Some(WrittenHost::new(host, port));
    }
    let message = format!(
        "{} is no host; write \"name\", \"name:port\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"",
        values::quoted(text)
    );
    cx.error(item.span(), message);
    None
}

pub(super) fn split_host(text: &str) -> Option<(Host, Option<u16>)> {
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
