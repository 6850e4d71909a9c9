//! The certificates that listeners prove themselves with, and what the port for
//! control from elsewhere asks of its clients, as rustls wants them: made of a
//! policy as a whole, so that one that cannot be used is refused before anything
//! changes.
//!
//! Never reads a file: the policy holds what the files held. TLS 1.2 at least
//! (RFC 8314 §4.1).

use std::sync::Arc;

use control::{Identity, Policy, RemoteControl, Submission};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::tls::check_as_client;
use crate::tls_verify::{AnyClient, NamedClient};

/// Sessions kept for resumption, per certificate.
const SESSIONS_MAX: usize = 4_096;

/// What each listener proves itself with, in the order of the policy.
#[derive(Clone, Debug, Default)]
pub struct ServerConfigs(Vec<Option<Arc<ServerConfig>>>);

impl ServerConfigs {
    /// The certificates of all listeners; the same one is made once.
    ///
    /// # Errors
    /// A sentence about the first certificate or key that cannot be used.
    pub fn of(submission: &Submission) -> Result<Arc<Self>, String> {
        let mut made: Vec<(&Arc<Identity>, Arc<ServerConfig>)> = Vec::new();
        let mut configs = Vec::new();
        let ask = submission.users.as_ref().is_some_and(|users| users.have_certificates());
        for listener in &submission.listen {
            let Some(identity) = &listener.identity else {
                configs.push(None);
                continue;
            };
            let known = made.iter().find(|(known, _)| *known == identity);
            let config = match known {
                Some((_, config)) => config.clone(),
                None => {
                    let config = Arc::new(config(identity, ask)?);
                    made.push((identity, config.clone()));
                    config
                }
            };
            configs.push(Some(config));
        }
        Ok(Arc::new(Self(configs)))
    }

    /// What the listener with this number proves itself with.
    pub fn at(&self, listener: u16) -> Option<Arc<ServerConfig>> {
        self.0.get(usize::from(listener)).cloned().flatten()
    }
}

/// The first certificate of a PEM text, in DER.
pub fn first_certificate(pem: &[u8]) -> Option<Vec<u8>> {
    Some(CertificateDer::pem_slice_iter(pem).next()?.ok()?.to_vec())
}

/// Whether every certificate and key of a policy can be used; asked before it
/// comes into force.
///
/// # Errors
/// A sentence about the first that cannot.
pub fn check(policy: &Policy) -> Result<(), String> {
    ServerConfigs::of(&policy.submission)?;
    check_as_client(policy)?;
    policy.control.as_deref().map_or(Ok(()), |control| control_config(control).map(|_| ()))
}

/// What the port for control from elsewhere proves itself with, and asks of its
/// clients. No session is resumed: who was let in once is looked at again.
///
/// # Errors
/// A sentence about what cannot be used.
pub(crate) fn control_config(control: &RemoteControl) -> Result<Arc<ServerConfig>, String> {
    let RemoteControl { identity, authority, names, .. } = control;
    let file = &authority.file;
    let unusable = |why: String| format!("the client_authority {file} cannot be used: {why}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authority.certificates) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let by = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    let (chain, secret) = read_identity(identity)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(Arc::new(NamedClient { by, names: names.clone() }))
        .with_single_cert(chain, secret)
        .map_err(|error| unusable_identity(identity, &error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Certificates and key as rustls has them.
///
/// # Errors
/// A sentence about what cannot be read.
pub(crate) fn read_identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let Identity { certificate, chain, key, secret } = identity;
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate {certificate} cannot be read: {error}"))?;
    let secret = PrivateKeyDer::from_pem_slice(secret.expose())
        .map_err(|error| format!("the key {key} cannot be read: {error}"))?;
    Ok((chain, secret))
}

fn config(identity: &Identity, ask: bool) -> Result<ServerConfig, String> {
    let (chain, secret) = read_identity(identity)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match ask {
        true => builder.with_client_cert_verifier(Arc::new(AnyClient::new())),
        false => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, secret);
    let mut config = config.map_err(|error| unusable_identity(identity, &error))?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(config)
}

fn unusable_identity(identity: &Identity, error: &rustls::Error) -> String {
    let Identity { certificate, key, .. } = identity;
    format!("the certificate {certificate} and the key {key} cannot be used: {error}")
}

#[cfg(test)]
mod tests {
    use base::secret::Secret;
    use control::{Listener, TlsMode};
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn identity() -> Identity {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["mx.example".into()]).unwrap();
        Identity {
            certificate: "a.pem".into(),
            chain: cert.pem().into_bytes().into(),
            key: "a.key".into(),
            secret: Secret::new(signing_key.serialize_pem().as_bytes()),
        }
    }

    fn listening(identities: Vec<Option<Identity>>) -> Result<Arc<ServerConfigs>, String> {
        let listen = identities.into_iter().map(|identity| Listener {
            address: "127.0.0.1:1".parse().unwrap(),
            tls: TlsMode::Opportunistic,
            identity: identity.map(Arc::new),
            proxies: Vec::new(),
            lmtp: false,
        });
        ServerConfigs::of(&Submission { listen: listen.collect(), ..Submission::default() })
    }

    #[test]
    fn each_certificate_is_made_once_and_found_by_its_listener() {
        let (a, b) = (identity(), identity());
        let configs = listening(vec![Some(a.clone()), None, Some(b), Some(a)]).unwrap();
        let at = |place| configs.at(place).map(|config| Arc::as_ptr(&config));
        assert!(at(0).is_some() && at(0) == at(3) && at(2).is_some() && at(2) != at(0));
        assert_eq!((at(1), at(4)), (None, None));
    }

    /// Covers: A3.11
    #[test]
    fn a_certificate_that_cannot_be_used_is_refused_by_name() {
        let foreign = Identity { secret: identity().secret, ..identity() };
        let empty = Identity { chain: Arc::from(&b""[..]), ..identity() };
        let no_key = Identity { secret: Secret::new(b"x"), ..identity() };
        let torn = Identity {
            chain: Arc::from(&b"-----BEGIN CERTIFICATE-----\n#\n-----END CERTIFICATE-----\n"[..]),
            ..identity()
        };
        for (identity, words) in [
            (foreign, "cannot be used"),
            (empty, "cannot be used"),
            (no_key, "a.key cannot be read"),
            (torn, "a.pem cannot be read"),
        ] {
            let refused = listening(vec![Some(identity)]).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    /// What a relay host is shown counts as much as what clients are: a change
    /// with a key of another certificate was once taken, and ended the daemon for
    /// good.
    #[test]
    fn what_relay_hosts_are_shown_is_tried_too() {
        let policy = |identity: Identity| {
            let mut files = |name: &str| match name {
                "a.pem" => Ok(identity.chain.to_vec()),
                _ => Ok(identity.secret.expose().to_vec()),
            };
            let text = "[delivery]\nmode = \"relay\"\nhosts = [{ host = \"relay.example\", \
                        certificate = \"a.pem\", key = \"a.key\" }]\n";
            let machine = mail::Domain::parse("box.example").unwrap();
            control::Config::parse_with(text, &machine, &mut files).unwrap().policy
        };
        assert_eq!(check(&policy(identity())), Ok(()));
        let foreign = Identity { secret: identity().secret, ..identity() };
        let why = check(&policy(foreign)).unwrap_err();
        assert!(why.contains("a.pem cannot be used"), "{why}");
    }

    #[test]
    fn roots_are_tried_too() {
        let tried = |pem: &[u8]| {
            let text = "[[route]]\nmatch = \"a.example\"\ntrust = \"ca.pem\"\n";
            let machine = mail::Domain::parse("box.example").unwrap();
            let mut files = |_: &str| Ok(pem.to_vec());
            check(&control::Config::parse_with(text, &machine, &mut files).unwrap().policy)
        };
        let good = identity().chain.to_vec();
        assert_eq!(tried(&good), Ok(()));
        let bent = String::from_utf8(good).unwrap().replace("MII", "!");
        let of_another_kind = bent.replace(" CERTIFICATE", " X509 CERTIFICATE REQUEST");
        for (pem, why) in [(&bent, ""), (&of_another_kind, "it holds no certificate")] {
            let said = tried(pem.as_bytes()).unwrap_err();
            assert!(said.starts_with(&format!("cannot read ca.pem: {why}")), "{said}");
        }
    }
}
