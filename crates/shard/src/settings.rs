//! What the policy means to the rooms: their own settings, made from it.
//!
//! Plain translation, nothing decided.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::secret::Secret;
use control::{AuthMethod, LogIn, Policy, TlsMode};
use smtp::sasl::{Credentials, Mechanism, Mechanisms};
use smtp::{Extension, Extensions};

/// Entries of the DNS cache, for records and for results each.
pub(crate) const DNS_CACHE_ENTRIES_MAX: usize = 20_000;

pub(crate) fn dns_config(policy: &Policy, machine: &[SocketAddr], seed: u64) -> dns::Config {
    let set = &policy.dns;
    dns::Config {
        servers: if set.servers.is_empty() { machine.to_vec() } else { set.servers.clone() },
        timeout: set.timeout,
        attempts: set.attempts,
        cache_entries_max: DNS_CACHE_ENTRIES_MAX,
        seed,
    }
}

/// Our own names and addresses; an address that the operator permits is no
/// sign of a loop.
pub(crate) fn own(policy: &Policy, addresses: &[IpAddr]) -> dns::Own {
    let addresses = addresses.iter().copied().filter(|ip| !policy.egress.permits(*ip));
    let of_sources = policy.exits.sources.iter().filter_map(|source| source.hostname.clone());
    let names = std::iter::once(policy.hostname.clone()).chain(of_sources);
    dns::Own { names: names.collect(), addresses: addresses.collect() }
}

pub(crate) fn family(policy: &Policy) -> dns::Family {
    match policy.egress.family {
        control::Family::Ipv6First => dns::Family::Ipv6First,
        control::Family::Ipv4First => dns::Family::Ipv4First,
        control::Family::Ipv6Only => dns::Family::Ipv6Only,
        control::Family::Ipv4Only => dns::Family::Ipv4Only,
    }
}

pub(crate) fn submission_settings(policy: &Policy) -> Arc<smtp::submission::Settings> {
    let set = &policy.submission;
    let extensions = match set.etrn.is_empty() {
        true => Extensions::SUBMISSION,
        false => Extensions::SUBMISSION.with(Extension::Etrn),
    };
    Arc::new(smtp::submission::Settings {
        extensions,
        message_bytes_max: set.max_message,
        recipients_max: set.max_recipients as usize,
        errors_max: set.max_errors,
        log_in: set.users.is_some(),
        command_timeout: set.timeout,
        ..smtp::submission::Settings::new(policy.hostname.clone())
    })
}

/// The deadlines of a session with a next hop.
pub(crate) fn session_timeouts(from: &control::Timeouts) -> smtp::Timeouts {
    smtp::Timeouts {
        connect: from.connect,
        greeting: from.greeting,
        hello: from.ehlo,
        tls: from.tls,
        mail: from.mail,
        rcpt: from.rcpt,
        data: from.data,
        block: from.data_block,
        dot: from.data_done,
        quit: from.quit,
        ..smtp::Timeouts::default()
    }
}

/// A log-in at a host to which `tls` leads. `random` is never used twice.
pub(crate) fn log_in(auth: &LogIn, tls: TlsMode, random: [u64; 2]) -> smtp::LogIn {
    let mechanism = |method: &AuthMethod| match method {
        AuthMethod::ScramSha256 => Mechanism::ScramSha256,
        AuthMethod::CramMd5 => Mechanism::CramMd5,
        AuthMethod::XOAuth2 => Mechanism::XOAuth2,
        AuthMethod::Plain => Mechanism::Plain,
        AuthMethod::Login => Mechanism::Login,
    };
    let mechanisms = auth.methods.iter().map(mechanism);
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random[0].to_le_bytes());
    nonce[8..].copy_from_slice(&random[1].to_le_bytes());
    smtp::LogIn {
        credentials: Arc::new(Credentials {
            user: auth.user.clone(),
            secret: Secret::clone(&auth.secret),
            mechanisms: mechanisms.fold(Mechanisms::NONE, Mechanisms::with),
        }),
        // Only these two make the peer prove who it is.
        secret_in_tls: auth.unchecked || matches!(tls, TlsMode::Required | TlsMode::Implicit),
        secret_in_clear: auth.unchecked,
        nonce,
    }
}
