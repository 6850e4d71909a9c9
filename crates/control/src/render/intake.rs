//! What `[submission]` says of listeners and limits, written out as
//! configuration.

use super::quote;
use crate::submission::{Identity, IntakeLimits, Listener, Submission};

pub(super) fn listener(listener: &Listener, section: &Submission) -> String {
    let Listener { address, tls, identity, proxies, lmtp } = listener;
    let address = quote(address);
    let own = identity.as_ref().filter(|_| *identity != section.tls);
    if own.is_none() && section.tls.is_none() && proxies.is_empty() && !lmtp {
        return address;
    }
    let mut parts = vec![format!("address = {address}"), format!("tls = {}", quote(tls))];
    parts.extend(own.map(|own| files(own)));
    if !proxies.is_empty() {
        let proxies: Vec<_> = proxies.iter().map(quote).collect();
        parts.push(format!("proxies = [{}]", proxies.join(", ")));
    }
    if *lmtp {
        parts.push("protocol = \"lmtp\"".into());
    }
    format!("{{ {} }}", parts.join(", "))
}

pub(super) fn files(identity: &Identity) -> String {
    format!("certificate = {}, key = {}", quote(&identity.certificate), quote(&identity.key))
}

pub(super) fn limits(limits: &IntakeLimits) -> Vec<String> {
    let rates = [("messages", limits.messages), ("recipients", limits.recipients)];
    let rates = rates.into_iter().filter_map(|(key, rate)| Some((key, rate?)));
    let mut parts: Vec<_> = rates.map(|(key, rate)| format!("{key} = {}", quote(rate))).collect();
    parts.extend(limits.connections.map(|count| format!("connections = {count}")));
    parts
}
