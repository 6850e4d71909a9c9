//! A policy written out as configuration, every default in its place: what
//! `config show` prints. Read again, it gives the same policy.
//!
//! A route is written with the settings in which it differs from the default
//! way. Secrets would never be written; no setting holds one yet.

mod alerts;
mod intake;
mod local;
mod log;
mod remote;
mod sinks;

use std::fmt::{Display, Write};
use std::sync::Arc;

use crate::delivery::Delivery;
use crate::exit::{Proxy, ProxyKind, Source};
use crate::log_in::{LogIn, Origin, Senders};
use crate::mode::{Mode, Smarthost};
use crate::policy::{
    DsnSettings, Egress, Family, InDoubt, InDoubtPolicy, Policy, RoutesInRelayMode,
};
use crate::pop::PopFirst;
use crate::program::Program;
use crate::reports::{NotifyTo, Reports};
use crate::retry::Retry;
use crate::route::Pattern;
use crate::timetable::Timetable;
use crate::token::TokenCommand;
use crate::units::{Size, Span};
use crate::uplink::OnDemand;

use intake::{files, limits, listener};
pub(crate) use local::deliver;

impl Policy {
    /// The whole policy as `ringpost.toml`.
    pub fn effective_toml(&self) -> String {
        let mut out = Out(String::with_capacity(2048 + 128 * self.patterns().len()));
        out.text("hostname", &self.hostname);
        match self.shards {
            Some(shards) => out.plain("shards", shards),
            None => out.0.push_str("# shards: one per core\n"),
        }
        self.intake(&mut out);
        self.exits(&mut out);
        self.delivery(&mut out);
        self.surroundings(&mut out);
        self.routes(&mut out);
        local::locals(self, &mut out);
        out.0
    }

    fn intake(&self, out: &mut Out) {
        let s = &self.submission;
        out.section("[submission]");
        let listeners: Vec<_> = s.listen.iter().map(|l| listener(l, s)).collect();
        out.line("listen", &format!("[{}]", listeners.join(", ")));
        if let Some(identity) = &s.tls {
            out.line("tls", &format!("{{ {} }}", files(identity)));
        }
        out.texts("allow", &s.allow);
        if let Some(users) = &s.users {
            out.text("users", &users.file);
        }
        out.texts("auth_in_clear", &s.auth_in_clear);
        out.texts("etrn", &s.etrn);
        out.text("wrong_passwords", s.wrong_passwords);
        if !s.user_limits.is_empty() {
            out.line("user_limits", &format!("{{ {} }}", limits(&s.user_limits).join(", ")));
        }
        if !s.limits.is_empty() {
            let of_network = |(network, bounds): &(_, _)| {
                let network = format!("network = {}", quote(network));
                let parts: Vec<_> = std::iter::once(network).chain(limits(bounds)).collect();
                format!("{{ {} }}", parts.join(", "))
            };
            let entries: Vec<_> = s.limits.iter().map(of_network).collect();
            out.line("limits", &format!("[{}]", entries.join(", ")));
        }
        out.text("max_message", Size(s.max_message));
        out.plain("max_recipients", s.max_recipients);
        out.plain("max_connections", s.max_connections);
        out.plain("max_connections_per_peer", s.max_connections_per_peer);
        out.text("timeout", Span(s.timeout));
        out.plain("max_errors", s.max_errors);
        let q = &self.queue;
        out.section("[queue]");
        out.text("segment", Size(q.segment.into()));
        out.text("max_bytes", Size(q.max_bytes));
        out.plain("max_messages", q.max_messages);
        out.text("min_free", Size(q.min_free));
        let in_doubt = match q.in_doubt {
            InDoubt::Program => "program",
            InDoubt::Power => "power",
        };
        out.text("in_doubt", in_doubt);
        let in_doubt_policy = match q.in_doubt_policy {
            InDoubtPolicy::Retry => "retry",
            InDoubtPolicy::Hold => "hold",
        };
        out.text("in_doubt_policy", in_doubt_policy);
    }

    fn exits(&self, out: &mut Out) {
        for source in &self.exits.sources {
            let Source { name, addresses, hostname, connections, rate, proxy, on_demand } =
                &**source;
            out.section("[[source]]");
            out.text("name", name);
            out.texts("address", addresses);
            if let Some(hostname) = hostname {
                out.text("hostname", hostname);
            }
            if let Some(connections) = connections {
                out.plain("connections", connections);
            }
            if let Some(rate) = rate {
                out.text("rate", rate);
            }
            if let Some(Proxy { kind, server }) = proxy {
                let (key, log_in) = match kind {
                    ProxyKind::Haproxy => ("haproxy", None),
                    ProxyKind::Socks5(log_in) => ("socks5", log_in.as_ref()),
                };
                let log_in = log_in.map_or_else(String::new, |log_in| {
                    let (user, file) = (quote(&log_in.user), quote(&log_in.file));
                    format!(", user = {user}, password_file = {file}")
                });
                out.line(key, &format!("{{ server = {}{log_in} }}", quote(server)));
            }
            if let Some(link) = on_demand {
                out.line("on_demand", &format!("{{ {} }}", on_demand_keys(link)));
            }
        }
        for pool in &self.exits.pools {
            out.section("[[pool]]");
            out.text("name", &pool.name);
            let member = |(source, weight): &(Arc<Source>, u32)| {
                format!("{{ source = {}, weight = {weight} }}", quote(&source.name))
            };
            let members: Vec<_> = pool.members.iter().map(member).collect();
            out.line("sources", &format!("[{}]", members.join(", ")));
        }
    }

    fn delivery(&self, out: &mut Out) {
        out.section("[delivery]");
        for (key, _, value) in SETTINGS {
            if let Some(value) = value(self.default_way()) {
                out.line(key, &value);
            }
        }
        let in_relay_mode = match self.routes_in_relay_mode {
            RoutesInRelayMode::Obey => "obey",
            RoutesInRelayMode::Ignore => "ignore",
        };
        out.text("routes_in_relay_mode", in_relay_mode);
        let phases = self.default_way().timeouts.phases();
        out.timeouts(phases.into_iter());
    }

    fn surroundings(&self, out: &mut Out) {
        let Egress { source, permit, family } = &self.egress;
        out.section("[egress]");
        out.texts("source", source);
        out.texts("permit", permit);
        let family = match family {
            Family::Ipv6First => "ipv6-first",
            Family::Ipv4First => "ipv4-first",
            Family::Ipv6Only => "ipv6",
            Family::Ipv4Only => "ipv4",
        };
        out.text("family", family);
        out.section("[dns]");
        match self.dns.servers.is_empty() {
            true => out.0.push_str("# servers: the machine's own\n"),
            false => out.texts("servers", &self.dns.servers),
        }
        out.text("timeout", Span(self.dns.timeout));
        out.plain("attempts", self.dns.attempts);
        out.text("stale", Span(self.dns.stale));
        let DsnSettings { reports, from, postmaster } = &self.dsn;
        out.section("[dsn]");
        for (key, value) in of_reports(reports) {
            out.line(key, &value);
        }
        out.text("from", from);
        out.text("postmaster", postmaster);
        if let Some(folder) = &self.pickup.folder {
            out.section("[pickup]");
            out.text("folder", folder);
        }
        log::settings(&self.log, out);
        alerts::settings(&self.alerts, out);
        self.webhooks.iter().for_each(|hook| sinks::webhook(hook, out));
        if let Some(listen) = &self.page.listen {
            out.section("[page]");
            out.text("listen", listen);
        }
        out.section("[metrics]");
        match self.metrics.listen {
            Some(listen) => out.text("listen", listen),
            None => out.0.push_str("# listen: no port, only the control sockets\n"),
        }
        out.plain("anywhere", self.metrics.anywhere);
        out.plain("names", self.metrics.names);
        self.syslogs.iter().for_each(|log| sinks::syslog(log, out));
        remote::control(self.control.as_deref(), out);
    }

    fn routes(&self, out: &mut Out) {
        let default = self.default_way();
        for (pattern, way) in self.patterns().iter().zip(self.route_ways()) {
            out.section("[[route]]");
            out.text("match", pattern);
            for (key, same, value) in SETTINGS {
                let value = if same(default, way) { None } else { value(way) };
                if let Some(value) = value {
                    out.line(key, &value);
                }
            }
            let phases = way.timeouts.phases().into_iter();
            let differing = phases.zip(default.timeouts.phases()).filter(|(a, b)| a != b);
            out.timeouts(differing.map(|(own, _)| own));
        }
    }
}

/// One setting of a way: its key, whether two ways agree in it, and its TOML
/// value; `None` where the way does not have it.
pub(crate) type Setting =
    (&'static str, fn(&Delivery, &Delivery) -> bool, fn(&Delivery) -> Option<String>);

/// Every setting of a way but its timeouts, in the order of the reference.
pub(crate) const SETTINGS: [Setting; 23] = [
    (
        "mode",
        |a, b| is_relay(a) == is_relay(b),
        |way| Some(quote(if is_relay(way) { "relay" } else { "independent" })),
    ),
    (
        "hosts",
        |a, b| a.mode == b.mode,
        |way| match &way.mode {
            Mode::Independent | Mode::Socket(_) | Mode::Folders(_) => None,
            Mode::Relay(hosts) => {
                let hosts: Vec<_> = hosts.iter().map(host).collect();
                Some(format!("[{}]", hosts.join(", ")))
            }
        },
    ),
    (
        "sender_auth",
        |a, b| a.senders == b.senders,
        |way| Some(way.senders.as_ref().map_or(quote("none"), |senders| by_sender(senders))),
    ),
    // Without log-ins by sender each host says its own.
    (
        "auth",
        |a, b| a.senders.is_some() && for_others(a) == for_others(b),
        |way| {
            way.senders.as_ref()?;
            Some(for_others(way).map_or(quote("none"), |auth| log_in(auth)))
        },
    ),
    ("port", |a, b| a.port == b.port, |way| Some(way.port.to_string())),
    ("tls", |a, b| a.tls == b.tls, |way| Some(quote(way.tls))),
    ("trust", |a, b| a.trust == b.trust, |way| Some(quote(&way.trust))),
    (
        "source",
        |a, b| a.source == b.source,
        |way| Some(way.source.as_ref().map_or(quote("none"), |pool| quote(&pool.name))),
    ),
    (
        "schedule",
        |a, b| a.schedule == b.schedule,
        |way| Some(way.schedule.as_ref().map_or(quote("immediately"), |table| timetable(table))),
    ),
    ("retry", |a, b| a.retry.intervals() == b.retry.intervals(), |way| Some(waits(&way.retry))),
    (
        "retry_after",
        |a, b| a.retry_after == b.retry_after,
        |way| {
            let named = way.retry_after.named();
            let parts: Vec<_> =
                named.map(|(it, retry)| format!("{it} = {}", waits(retry))).collect();
            Some(format!("{{ {} }}", parts.join(", ")))
        },
    ),
    (
        "jitter",
        |a, b| a.retry.jitter_percent() == b.retry.jitter_percent(),
        |way| Some(quote(format_args!("{}%", way.retry.jitter_percent()))),
    ),
    ("lifetime", |a, b| a.lifetime == b.lifetime, |way| Some(quote(Span(way.lifetime)))),
    (
        "max_attempts",
        |a, b| a.max_attempts == b.max_attempts,
        |way| Some(way.max_attempts.to_string()),
    ),
    // Own limits are counted apart even where they are the same.
    (
        "connections",
        |a, b| a.connections == b.connections && !b.own_limits,
        |way| Some(way.connections.to_string()),
    ),
    (
        "messages_per_connection",
        |a, b| a.messages_per_connection == b.messages_per_connection,
        |way| Some(way.messages_per_connection.to_string()),
    ),
    (
        "recipients_per_message",
        |a, b| a.recipients_per_message == b.recipients_per_message,
        |way| Some(way.recipients_per_message.to_string()),
    ),
    (
        "rate",
        |a, b| a.rate == b.rate && !b.own_limits,
        |way| Some(way.rate.map_or(quote("none"), quote)),
    ),
    ("idle", |a, b| a.idle == b.idle, |way| Some(quote(Span(way.idle)))),
    ("on_failure", |a, b| a.on_failure == b.on_failure, |way| Some(quote(way.on_failure))),
    ("fallback", |a, b| a.fallback == b.fallback, |way| Some(way.fallback.to_string())),
    (
        "delay_notice",
        |a, b| a.delay_notice == b.delay_notice,
        |way| Some(way.delay_notice.map_or(quote("none"), |after| quote(Span(after)))),
    ),
    // Of a route alone, and then all of it.
    (
        "dsn",
        |a, b| a.reports == b.reports,
        |way| {
            let keys = of_reports(way.reports.as_ref()?);
            let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            Some(format!("{{ {} }}", keys.join(", ")))
        },
    ),
];

fn timetable(table: &Timetable) -> String {
    let windows: Vec<_> = table.windows().iter().map(quote).collect();
    format!("{{ zone = {}, windows = [{}] }}", quote(table.zone()), windows.join(", "))
}

fn is_relay(way: &Delivery) -> bool {
    matches!(way.mode, Mode::Relay(_))
}

fn host(host: &Smarthost) -> String {
    let Smarthost { host, port, tls, trust, identity, auth, by_sender, pop } = host;
    let pop = pop.as_ref().map_or_else(String::new, |pop| format!(", pop = {}", pop_first(pop)));
    let auth = auth.as_ref().map_or_else(|| quote("none"), |auth| log_in(auth));
    // A host that says so itself has no log-in by sender.
    let auth = if *by_sender { String::new() } else { format!(", auth = {auth}") };
    let (host, tls, trust) = (quote(host), quote(tls), quote(trust));
    let identity = identity.as_ref().map_or_else(String::new, |identity| {
        let (certificate, key) = (quote(&identity.certificate), quote(&identity.key));
        format!(", certificate = {certificate}, key = {key}")
    });
    format!("{{ host = {host}, port = {port}, tls = {tls}, trust = {trust}{identity}{auth}{pop} }}")
}

fn pop_first(pop: &PopFirst) -> String {
    let PopFirst { host, port, tls, trust, user, file, secret: _, remember, unchecked } = pop;
    let host = quote(format_args!("{host}:{port}"));
    let (tls, trust, remember) = (quote(tls), quote(trust), quote(Span(*remember)));
    let who = format!("user = {}, password_file = {}", quote(user), quote(file));
    format!(
        "{{ host = {host}, tls = {tls}, trust = {trust}, {who}, remember = {remember}, \
         unchecked = {unchecked} }}"
    )
}

fn on_demand_keys(link: &OnDemand) -> String {
    let OnDemand { raise, lower, raise_timeout, lower_timeout, .. } = link;
    let OnDemand { retry, idle, recipients, wait, .. } = link;
    let waits: Vec<_> = retry.intervals().iter().map(|wait| quote(Span(*wait))).collect();
    let lower = lower.as_ref().map_or_else(String::new, |it| format!(", lower = {}", program(it)));
    format!(
        "raise = {}{lower}, raise_timeout = {}, lower_timeout = {}, retry = [{}], idle = {}, \
         recipients = {recipients}, wait = {}",
        program(raise),
        quote(Span(*raise_timeout)),
        quote(Span(*lower_timeout)),
        waits.join(", "),
        quote(Span(*idle)),
        quote(Span(*wait)),
    )
}

fn program(program: &Program) -> String {
    let words: Vec<_> = program.words().iter().map(quote).collect();
    format!("[{}]", words.join(", "))
}

/// The log-in of senders without one of their own.
fn for_others(way: &Delivery) -> Option<&Arc<LogIn>> {
    let Mode::Relay(hosts) = &way.mode else { return None };
    hosts.iter().find(|host| host.by_sender)?.auth.as_ref()
}

fn by_sender(senders: &Senders) -> String {
    let one = |(pattern, auth): (&Pattern, &Arc<LogIn>)| {
        format!("{{ match = {}, {} }}", quote(pattern), log_in_keys(auth))
    };
    let all: Vec<_> = senders.iter().map(one).collect();
    format!("[{}]", all.join(", "))
}

fn log_in(auth: &LogIn) -> String {
    format!("{{ {} }}", log_in_keys(auth))
}

fn log_in_keys(auth: &LogIn) -> String {
    let LogIn { user, kind: _, origin, secret: _, methods, unchecked } = auth;
    let methods: Vec<_> = methods.iter().map(quote).collect();
    let origin = match origin {
        Origin::File(file) => quote(file),
        Origin::Command(TokenCommand { program: it, timeout }) => {
            format!("{}, token_timeout = {}", program(it), quote(Span(*timeout)))
        }
    };
    let (user, key, methods) = (quote(user), auth.key(), methods.join(", "));
    format!("user = {user}, {key} = {origin}, methods = [{methods}], unchecked = {unchecked}")
}

fn waits(retry: &Retry) -> String {
    let waits: Vec<_> = retry.intervals().iter().map(|wait| quote(Span(*wait))).collect();
    format!("[{}]", waits.join(", "))
}

/// The settings of reports with their values.
fn of_reports(reports: &Reports) -> [(&'static str, String); 5] {
    let Reports { failure, delay, success, expiry, template } = reports;
    let template = template.as_ref().map_or(NotifyTo::None.word(), |(file, _)| file);
    [
        ("failure", quote(failure.word())),
        ("delay", quote(delay.word())),
        ("success", quote(success.word())),
        ("expiry", quote(expiry.word())),
        ("template", quote(template)),
    ]
}

/// A TOML string.
fn quote(value: impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

/// The text so far. Writing to a String cannot fail.
struct Out(String);

impl Out {
    fn section(&mut self, head: &str) {
        let _ = write!(self.0, "\n{head}\n");
    }

    fn line(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, value: impl Display) {
        self.line(key, &quote(value));
    }

    fn texts<T: Display>(&mut self, key: &str, values: &[T]) {
        let values: Vec<_> = values.iter().map(quote).collect();
        let _ = writeln!(self.0, "{key} = [{}]", values.join(", "));
    }

    fn timeouts(&mut self, phases: impl Iterator<Item = (&'static str, std::time::Duration)>) {
        let phases: Vec<_> =
            phases.map(|(phase, limit)| format!("{phase} = {}", quote(Span(limit)))).collect();
        if !phases.is_empty() {
            let _ = writeln!(self.0, "timeout = {{ {} }}", phases.join(", "));
        }
    }
}
