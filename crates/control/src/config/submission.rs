//! `[submission]`: listeners with their TLS, and who may hand in how much.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;

use super::cx::{Cx, Item, Keys};
use super::hosts::TLS_MODES;
use super::sections::{ENTRIES_MAX, SEGMENT_MAX, networks};
use super::values;
use crate::mode::TlsMode;
use crate::network::Network;
use crate::submission::{Identity, IntakeLimits, Listener, Submission};
use crate::units::Rate;
use crate::users::Users;

/// A server takes messages of at least 64 KiB (RFC 5321 §4.5.3.1.7).
const MESSAGE_MIN: u64 = 64 << 10;

const SMTP_PORT: u16 = 25;

/// What was written: listeners are resolved when all of it is read.
#[derive(Default)]
pub(super) struct Written {
    submission: Submission,
    listen: Option<Vec<WrittenListener>>,
}

/// A listener as written: what is absent comes from the section.
#[derive(Default)]
struct WrittenListener {
    address: Option<SocketAddr>,
    tls: Option<TlsMode>,
    identity: WrittenIdentity,
    proxies: Vec<Network>,
    lmtp: bool,
    place: std::ops::Range<usize>,
}

/// The two files of an identity.
#[derive(Default)]
pub(super) struct WrittenIdentity {
    certificate: Option<(Box<str>, Vec<u8>)>,
    key: Option<(Box<str>, Vec<u8>)>,
    /// A file was named that cannot be used.
    faulty: bool,
}

/// Reads the section.
pub(super) fn submission(cx: &mut Cx<'_>, item: &Item<'_>) -> Submission {
    let mut written = Written::default();
    cx.table(item, SUBMISSION, &mut written);
    let Written { mut submission, listen } = written;
    match listen {
        Some(listen) => {
            let tls = submission.tls.clone();
            let resolve = |listener: WrittenListener| listener.resolve(cx, tls.as_ref());
            submission.listen = listen.into_iter().filter_map(resolve).collect();
        }
        None if submission.tls.is_some() => {
            for listener in &mut submission.listen {
                listener.tls = TlsMode::Opportunistic;
                listener.identity.clone_from(&submission.tls);
            }
        }
        None => {}
    }
    submission
}

pub(super) const SUBMISSION: &Keys<Written> = &[
    ("listen", |cx, item, w| {
        w.listen = values::list(cx, item, ENTRIES_MAX, listener);
    }),
    ("tls", |cx, item, w| {
        let mut files = WrittenIdentity::default();
        cx.table(item, IDENTITY, &mut files);
        if matches!((&files.certificate, &files.key, files.faulty), (None, None, false)) {
            cx.error(item.span(), "needs `certificate` and `key`");
        }
        w.submission.tls = files.resolve(cx, item.span());
    }),
    ("allow", |cx, item, w| cx.set(&mut w.submission.allow, item, networks)),
    ("users", |cx, item, w| w.submission.users = users(cx, item)),
    ("auth_in_clear", |cx, item, w| cx.set(&mut w.submission.auth_in_clear, item, networks)),
    ("etrn", |cx, item, w| cx.set(&mut w.submission.etrn, item, networks)),
    ("wrong_passwords", |cx, item, w| {
        cx.set(&mut w.submission.wrong_passwords, item, values::parsed::<Rate>);
    }),
    ("user_limits", |cx, item, w| cx.table(item, LIMITS, &mut w.submission.user_limits)),
    ("limits", |cx, item, w| {
        cx.set(&mut w.submission.limits, item, |cx, item| {
            values::list(cx, item, ENTRIES_MAX, network_limits)
        });
    }),
    ("max_message", |cx, item, w| {
        cx.set(&mut w.submission.max_message, item, |cx, item| {
            values::size(cx, item, MESSAGE_MIN..=SEGMENT_MAX)
        });
    }),
    ("max_recipients", |cx, item, w| {
        cx.set(&mut w.submission.max_recipients, item, |cx, item| {
            values::number(cx, item, 100..=50_000)
        });
    }),
    ("max_connections", |cx, item, w| {
        cx.set(&mut w.submission.max_connections, item, |cx, item| {
            values::number(cx, item, 1..=1_000_000)
        });
    }),
    ("max_connections_per_peer", |cx, item, w| {
        let slot = &mut w.submission.max_connections_per_peer;
        cx.set(slot, item, |cx, item| values::number(cx, item, 1..=1_000_000));
    }),
    ("timeout", |cx, item, w| {
        let range = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
        cx.set(&mut w.submission.timeout, item, |cx, item| values::span(cx, item, range));
    }),
    ("max_errors", |cx, item, w| {
        cx.set(&mut w.submission.max_errors, item, |cx, item| values::number(cx, item, 1..=10_000));
    }),
];

pub(super) const IDENTITY: &Keys<WrittenIdentity> = &[
    ("certificate", |cx, item, files| {
        files.certificate = pem(cx, item, "CERTIFICATE");
        files.faulty |= files.certificate.is_none();
    }),
    ("key", |cx, item, files| {
        files.key = pem(cx, item, "PRIVATE KEY");
        files.faulty |= files.key.is_none();
    }),
];

const LISTENER: &Keys<WrittenListener> = &[
    ("address", |cx, item, listener| listener.address = values::socket(cx, item, None)),
    ("tls", |cx, item, listener| listener.tls = values::choice(cx, item, &TLS_MODES)),
    ("certificate", |cx, item, listener| (IDENTITY[0].1)(cx, item, &mut listener.identity)),
    ("key", |cx, item, listener| (IDENTITY[1].1)(cx, item, &mut listener.identity)),
    ("proxies", |cx, item, listener| cx.set(&mut listener.proxies, item, networks)),
    ("protocol", |cx, item, listener| {
        let words = [("smtp", false), ("lmtp", true)];
        cx.set(&mut listener.lmtp, item, |cx, item| values::choice(cx, item, &words));
    }),
];

/// `"192.0.2.1:25"`, or a table.
fn listener(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<WrittenListener> {
    let mut listener = WrittenListener { place: item.span(), ..WrittenListener::default() };
    if item.get_ref().is_table() {
        let lacking = item.get_ref().get("address").is_none();
        cx.table(item, LISTENER, &mut listener);
        if lacking {
            cx.error(item.span(), "lacks `address`");
        }
    } else {
        listener.address = values::socket(cx, item, None);
    }
    listener.address.is_some().then_some(listener)
}

const LIMITS: &Keys<IntakeLimits> = &[
    ("messages", |cx, item, limits| limits.messages = values::parsed(cx, item)),
    ("recipients", |cx, item, limits| limits.recipients = values::parsed(cx, item)),
    ("connections", |cx, item, limits| {
        limits.connections = values::number(cx, item, 1..=1_000_000);
    }),
];

/// A network with its limits.
type NetworkLimits = (Option<Network>, IntakeLimits);

const NETWORK_LIMITS: &Keys<NetworkLimits> = &[
    ("network", |cx, item, written| written.0 = values::parsed(cx, item)),
    ("messages", |cx, item, written| (LIMITS[0].1)(cx, item, &mut written.1)),
    ("recipients", |cx, item, written| (LIMITS[1].1)(cx, item, &mut written.1)),
    ("connections", |cx, item, written| (LIMITS[2].1)(cx, item, &mut written.1)),
];

fn network_limits(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<(Network, IntakeLimits)> {
    let mut written = NetworkLimits::default();
    cx.table(item, NETWORK_LIMITS, &mut written);
    if item.get_ref().is_table() && item.get_ref().get("network").is_none() {
        cx.error(item.span(), "lacks `network`");
    }
    Some((written.0?, written.1))
}

/// A file of users.
fn users(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Arc<Users>> {
    let path = values::text(cx, item)?;
    let read = cx.file(path).and_then(|bytes| {
        if bytes == super::UNREAD {
            return Ok(Users::unread(path));
        }
        let named = |why| format!("names {}, which cannot be used: {why}", values::quoted(path));
        Users::parse(path, &bytes).map_err(named)
    });
    match read {
        Ok(users) => Some(Arc::new(users)),
        Err(reason) => {
            cx.error(item.span(), reason);
            None
        }
    }
}

/// A file that holds at least one block of this kind.
pub(super) fn pem(cx: &mut Cx<'_>, item: &Item<'_>, kind: &str) -> Option<(Box<str>, Vec<u8>)> {
    let path = values::text(cx, item)?;
    let bytes = match cx.file(path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            cx.error(item.span(), reason);
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let holds = |line: &str| line.starts_with("-----BEGIN ") && line.contains(kind);
    if bytes != super::UNREAD && !text.lines().any(holds) {
        let message = format!("names {}, which holds no {kind} in PEM", values::quoted(path));
        cx.error(item.span(), message);
        return None;
    }
    Some((path.into(), bytes))
}

impl WrittenIdentity {
    /// Both files, or none; one alone is an error.
    pub(super) fn resolve(
        self,
        cx: &mut Cx<'_>,
        place: std::ops::Range<usize>,
    ) -> Option<Arc<Identity>> {
        match (self.certificate, self.key) {
            (Some((certificate, chain)), Some((key, secret))) => Some(Arc::new(Identity {
                certificate,
                chain: chain.into(),
                key,
                secret: Secret::new(&secret),
            })),
            (None, None) => None,
            _ if self.faulty => None,
            _ => {
                cx.error(place, "needs both, `certificate` and `key`");
                None
            }
        }
    }
}

impl WrittenListener {
    fn resolve(self, cx: &mut Cx<'_>, usual: Option<&Arc<Identity>>) -> Option<Listener> {
        let Self { address, tls, identity, proxies, lmtp, place } = self;
        // RFC 2033 §5
        if lmtp && address.is_some_and(|address| address.port() == SMTP_PORT) {
            let message = "speaks LMTP at port 25, which is SMTP's: give it another, such as 24";
            cx.within("listen", |cx| cx.error(place.clone(), message));
        }
        let faulty = identity.faulty;
        let own = cx.within("listen", |cx| identity.resolve(cx, place.clone()));
        let identity = own.or_else(|| usual.cloned());
        let usual_tls = if identity.is_some() { TlsMode::Opportunistic } else { TlsMode::None };
        let tls = tls.unwrap_or(usual_tls);
        if tls != TlsMode::None && identity.is_none() && !faulty {
            let message = "offers TLS, but there is no certificate: give `certificate` and `key` \
                           here, or `tls = { certificate = \"…\", key = \"…\" }` in [submission]";
            cx.within("listen", |cx| cx.error(place, message));
        }
        let identity = identity.filter(|_| tls != TlsMode::None);
        Some(Listener { address: address?, tls, identity, proxies, lmtp })
    }
}

#[cfg(test)]
mod tests;
