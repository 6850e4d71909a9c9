//! `pop` of a relay host: the log-in at a POP3 server that comes before its
//! SMTP.

use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use mail::Host;
use toml::de::DeValue;

use super::cx::{Cx, Item, Keys, named};
use super::hosts::split_host;
use super::log_in::{secret, user};
use super::values;
use super::way::trust;
use crate::mode::{TlsMode, Trust};
use crate::pop::PopFirst;

/// A log-in as written: what is absent comes from the relay host.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenPop {
    host: Option<(Host, Option<u16>)>,
    tls: TlsMode,
    trust: Option<Trust>,
    user: Option<Box<str>>,
    password: Option<(Box<str>, Secret)>,
    remember: Duration,
    unchecked: bool,
    /// A key was there whose value was refused.
    faulty: bool,
}

const REMEMBER: Duration = Duration::from_secs(600);
const REMEMBER_MIN: Duration = Duration::from_secs(1);
const REMEMBER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A password must not go to whoever answers, so nothing is opportunistic.
const TLS: [(&str, TlsMode); 3] =
    [("none", TlsMode::None), ("required", TlsMode::Required), ("implicit", TlsMode::Implicit)];

const KEYS: &Keys<WrittenPop> = &[
    ("host", |cx, item, pop| {
        pop.host = values::text(cx, item).and_then(|text| {
            let host = split_host(text);
            if host.is_none() {
                let message =
                    format!("{} is no host; write \"name\" or \"name:port\"", values::quoted(text));
                cx.error(item.span(), message);
            }
            host
        });
        pop.faulty |= pop.host.is_none();
    }),
    ("tls", |cx, item, pop| cx.set(&mut pop.tls, item, |cx, item| values::choice(cx, item, &TLS))),
    ("trust", |cx, item, pop| pop.trust = trust(cx, item)),
    ("user", |cx, item, pop| {
        pop.user = user(cx, item);
        pop.faulty |= pop.user.is_none();
    }),
    ("password_file", |cx, item, pop| {
        pop.password = password(cx, item);
        pop.faulty |= pop.password.is_none();
    }),
    ("remember", |cx, item, pop| {
        let range = REMEMBER_MIN..=REMEMBER_MAX;
        cx.set(&mut pop.remember, item, |cx, item| values::span(cx, item, range));
    }),
    ("unchecked", |cx, item, pop| cx.set(&mut pop.unchecked, item, values::boolean)),
];

/// The paths of the keys of such a log-in.
pub(super) fn pop_keys() -> Vec<String> {
    named("delivery.hosts.pop.", KEYS)
}

/// Reads `pop`.
pub(super) fn pop(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<WrittenPop> {
    let DeValue::Table(_) = item.get_ref() else {
        cx.error(item.span(), "must be a table such as { user = \"…\", password_file = \"…\" }");
        return None;
    };
    let usual = WrittenPop { tls: TlsMode::Implicit, remember: REMEMBER, ..WrittenPop::default() };
    let mut pop = usual;
    cx.table(item, KEYS, &mut pop);
    if pop.faulty {
        return None;
    }
    if pop.user.is_none() || pop.password.is_none() {
        cx.error(item.span(), "needs `user` and `password_file`");
        return None;
    }
    if pop.tls == TlsMode::None && !pop.unchecked {
        let message = "sends the password as it is, and with tls = \"none\" to whoever answers; \
                       set tls = \"required\" or \"implicit\", or unchecked = true";
        cx.error(item.span(), message);
        return None;
    }
    Some(pop)
}

fn password(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<(Box<str>, Secret)> {
    let path = values::text(cx, item)?;
    match cx.file(path).and_then(|bytes| secret(&bytes)) {
        Ok(secret) => Some((path.into(), secret)),
        Err(reason) => {
            cx.error(item.span(), reason);
            None
        }
    }
}

impl WrittenPop {
    /// Each setting: its own, the relay host's, or the usual one.
    pub(super) fn resolve(&self, relay: &Host, relay_trust: &Trust) -> Option<Arc<PopFirst>> {
        let (host, port) = self.host.clone().unwrap_or_else(|| (relay.clone(), None));
        let port = port.unwrap_or(if self.tls == TlsMode::Implicit { 995 } else { 110 });
        let (file, secret) = self.password.clone()?;
        Some(Arc::new(PopFirst {
            host,
            port,
            tls: self.tls,
            trust: self.trust.as_ref().unwrap_or(relay_trust).clone(),
            user: self.user.clone()?,
            file,
            secret,
            remember: self.remember,
            unchecked: self.unchecked,
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::mode::Mode;

    fn read(pop: &str) -> Result<Config, String> {
        let text = format!(
            "[delivery]\nmode = \"relay\"\n\
             hosts = [{{ host = \"smtp.isp.example\", trust = \"system\", pop = {pop} }}]\n"
        );
        let machine = mail::Domain::parse("box.example").unwrap();
        Config::parse(&text, &machine).map_err(|refused| refused.to_string())
    }

    /// Shows: S2.4
    #[test]
    fn what_is_not_said_comes_from_the_relay_host() {
        let shown = |pop: &str| {
            let policy = read(pop).unwrap().policy;
            let Mode::Relay(hosts) = &policy.default_way().mode else { panic!("a relay") };
            let pop = hosts[0].pop.clone().unwrap();
            let again = policy.effective_toml();
            let machine = mail::Domain::parse("box.example").unwrap();
            assert_eq!(Config::parse(&again, &machine).unwrap().policy, policy, "{again}");
            format!("{} {} {} {} {:?}", pop.host, pop.port, pop.tls, pop.trust, pop.remember)
        };
        let who = "user = \"tim\", password_file = \"secret\"";
        assert_eq!(shown(&format!("{{ {who} }}")), "smtp.isp.example 995 implicit system 600s");
        let own = "host = \"pop.isp.example:1110\", tls = \"required\", trust = \"webpki\"";
        assert_eq!(
            shown(&format!("{{ {who}, {own}, remember = \"5m\" }}")),
            "pop.isp.example 1110 required webpki 300s"
        );
        let bare = format!("{{ {who}, tls = \"none\", unchecked = true }}");
        assert_eq!(shown(&bare), "smtp.isp.example 110 none system 600s");
    }

    #[test]
    fn no_password_goes_to_whoever_answers() {
        let refused = read("{ user = \"tim\", password_file = \"secret\", tls = \"none\" }");
        assert!(refused.unwrap_err().contains("or unchecked = true"));
        let refused = read("{ user = \"tim\", password_file = \"s\", tls = \"opportunistic\" }");
        assert!(refused.unwrap_err().contains("must be one of \"none\", \"required\""));
        assert!(read("{ user = \"tim\" }").unwrap_err().contains("needs `user` and"));
        assert!(read("\"tim\"").unwrap_err().contains("must be a table such as"));
    }
}
