//! `socks5` and `haproxy` of a source: what its connections go through.

use std::net::SocketAddr;

use base::secret::Secret;

use super::cx::{Cx, Item, Keys, named};
use super::log_in::secret;
use super::values;
use crate::exit::{Proxy, ProxyKind, ProxyLogIn, Source};

/// Longest name and password at a SOCKS5 server (RFC 1929 §2).
const FIELD_BYTES_MAX: usize = 255;

#[derive(Default)]
struct Written {
    server: Option<SocketAddr>,
    user: Option<Box<str>>,
    password: Option<(Box<str>, Secret)>,
    /// A key was there whose value was refused.
    faulty: bool,
}

const HAPROXY: &Keys<Written> = &[("server", server)];
const SOCKS5: &Keys<Written> = &[
    ("server", server),
    ("user", |cx, item, written| {
        let user = values::text(cx, item);
        let user = user.filter(|user| (1..=FIELD_BYTES_MAX).contains(&user.len()));
        if user.is_none() {
            cx.error(item.span(), format!("must have 1 to {FIELD_BYTES_MAX} octets"));
        }
        written.faulty |= user.is_none();
        written.user = user.map(Box::from);
    }),
    ("password_file", |cx, item, written| {
        let password = password(cx, item);
        written.faulty |= password.is_none();
        written.password = password;
    }),
];

/// The paths of all keys of proxies.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = named("source.socks5.", SOCKS5);
    keys.extend(named("source.haproxy.", HAPROXY));
    keys
}

/// Gives a source the proxy that `read` finds; it can have one only.
pub(super) fn set(
    cx: &mut Cx<'_>,
    item: &Item<'_>,
    source: &mut Source,
    read: impl FnOnce(&mut Cx<'_>, &Item<'_>) -> Option<Proxy>,
) {
    if source.proxy.is_some() {
        return cx.error(item.span(), "is a second proxy; a source has one");
    }
    source.proxy = read(cx, item);
}

/// `"192.0.2.1:1080"`, or a table with a log-in.
pub(super) fn socks5(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Proxy> {
    let written = written(cx, item, SOCKS5)?;
    let log_in = match (written.user, written.password) {
        (Some(user), Some((file, secret))) => Some(ProxyLogIn { user, file, secret }),
        (None, None) => None,
        _ => {
            cx.error(item.span(), "needs both `user` and `password_file`, or neither");
            return None;
        }
    };
    Some(Proxy { kind: ProxyKind::Socks5(log_in), server: written.server? })
}

/// `"192.0.2.1:7000"`, or a table.
pub(super) fn haproxy(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Proxy> {
    let server = written(cx, item, HAPROXY)?.server?;
    Some(Proxy { kind: ProxyKind::Haproxy, server })
}

/// Reports addresses that a proxy makes meaningless, or lacks.
pub(super) fn check(cx: &mut Cx<'_>, item: &Item<'_>, source: &Source) {
    let message = match source.proxy.as_ref().map(|proxy| &proxy.kind) {
        Some(ProxyKind::Socks5(_)) if !source.addresses.is_empty() => {
            "has `address` and `socks5`; receivers see the address of the SOCKS5 server"
        }
        Some(ProxyKind::Haproxy) if source.addresses.is_empty() => {
            "has `haproxy` without `address`; the proxy must be told where to leave from"
        }
        _ => return,
    };
    cx.error(item.span(), message);
}

fn written(cx: &mut Cx<'_>, item: &Item<'_>, keys: &Keys<Written>) -> Option<Written> {
    let mut written = Written::default();
    if item.get_ref().is_table() {
        cx.table(item, keys, &mut written);
        if written.server.is_none() && !written.faulty {
            cx.error(item.span(), "lacks `server`");
        }
    } else {
        server(cx, item, &mut written);
    }
    (!written.faulty).then_some(written)
}

fn server(cx: &mut Cx<'_>, item: &Item<'_>, written: &mut Written) {
    written.server = values::socket(cx, item, None);
    written.faulty |= written.server.is_none();
}

fn password(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<(Box<str>, Secret)> {
    let path = values::text(cx, item)?;
    let found = cx.file(path).and_then(|bytes| secret(&bytes)).and_then(|secret| {
        match secret.expose().len() <= FIELD_BYTES_MAX {
            true => Ok(secret),
            false => Err(format!("names a file that must hold 1 to {FIELD_BYTES_MAX} octets")),
        }
    });
    match found {
        Ok(secret) => Some((path.into(), secret)),
        Err(reason) => {
            cx.error(item.span(), reason);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use crate::config::Config;

    fn read(proxy: &str) -> Result<Config, String> {
        let machine = Domain::parse("box.example").unwrap();
        let text = format!("[[source]]\nname = \"a\"\n{proxy}\n");
        let mut files = |path: &str| match path {
            "long" => Ok(vec![b'x'; 256]),
            _ => Ok(b"word\n".to_vec()),
        };
        Config::parse_with(&text, &machine, &mut files).map_err(|refused| refused.to_string())
    }

    #[test]
    fn proxies_are_read_shown_and_read_again() {
        for text in [
            "socks5 = \"127.0.0.1:1080\"",
            "socks5 = { server = \"[::1]:1080\", user = \"u\", password_file = \"p\" }",
            "haproxy = \"127.0.0.1:7000\"\naddress = \"192.0.2.1\"",
            "address = \"192.0.2.1\"\nhaproxy = { server = \"127.0.0.1:7000\" }",
        ] {
            let policy = read(text).unwrap().policy;
            assert!(policy.exits.sources[0].proxy.is_some(), "{text}");
            let shown = policy.effective_toml();
            assert!(!shown.contains("word\""), "{shown}");
            let machine = Domain::parse("box.example").unwrap();
            let mut files = |_: &str| Ok(b"word\n".to_vec());
            assert_eq!(Config::parse_with(&shown, &machine, &mut files).unwrap().policy, policy);
        }
    }

    #[test]
    fn each_fault_of_a_proxy_has_its_own_words() {
        for (text, words) in [
            ("socks5 = \"proxy\"", "is no IP address with a port"),
            ("socks5 = {}", "lacks `server`"),
            ("socks5 = { server = \"127.0.0.1:1\", user = \"u\" }", "needs both `user`"),
            ("socks5 = { server = \"127.0.0.1:1\", user = \"\" }", "1 to 255 octets"),
            (
                "socks5 = { server = \"127.0.0.1:1\", user = \"u\", password_file = \"long\" }",
                "must hold 1 to 255 octets",
            ),
            ("socks5 = { sever = \"127.0.0.1:1\" }", "did you mean `server`"),
            ("socks5 = \"127.0.0.1:1\"\naddress = \"192.0.2.1\"", "has `address` and `socks5`"),
            ("haproxy = \"127.0.0.1:1\"", "`haproxy` without `address`"),
            (
                "haproxy = \"127.0.0.1:1\"\nsocks5 = \"127.0.0.1:1\"\naddress = \"192.0.2.1\"",
                "a second proxy",
            ),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
    }
}
