//! TLS over memory buffers: bytes from the socket go in, plaintext
//! comes out; plaintext goes in, bytes for the socket come out. As client, one
//! [`TlsConfigs`] per shard keeps one configuration per kind of trust, with a
//! bounded store of sessions each, so that a session made without checking a
//! certificate is never resumed where it must be checked.
//!
//! Never touches a socket or a clock of its own, never decides whether a
//! failure matters.
//!
//! Read first: RFC 8446 §4.6.1 (resumption), RFC 3207, RFC 7435.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use base::Map;
use control::{Authority, Identity, Mode, Policy, Trust};
use rustls::ServerConnection;
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig};
use shard::effect::TlsCheck;

use crate::tls_server::read_identity;
use crate::tls_verify::AcceptAny;

/// Sessions kept for resumption, per shard and kind of trust. One takes about
/// 1 KiB (four TLS 1.3 tickets).
const SESSIONS_MAX: usize = 4_096;

/// Plaintext that rustls holds at most before it must be read: its limit of
/// 16 KiB, passed by the last record.
const PLAINTEXT_WAITING_MAX: usize = 2 * 16_384;

/// A shard's TLS configurations, made when first needed.
pub struct TlsConfigs {
    configs: Map<Kind, Arc<ClientConfig>>,
}

/// Whom we trust, and what we prove ourselves with.
type Kind = (Option<Trust>, Option<Arc<Identity>>);

/// Why a handshake could not begin or did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// As text for log and deferral.
    pub reason: String,
    /// The peer's certificate did not satisfy the demanded check.
    pub certificate: bool,
}

/// What came of feeding received bytes.
#[derive(Debug, Default)]
pub struct Fed {
    /// The handshake ended with these bytes: protocol version and suite.
    pub established: Option<String>,
    /// The peer said it will send nothing more.
    pub closed: bool,
    /// The session is broken; nothing more can be read or written.
    pub failure: Option<TlsFailure>,
}

/// One TLS session, as client or as server.
#[derive(Debug)]
pub struct TlsSession {
    connection: Connection,
    established: bool,
    failed: bool,
}

impl TlsConfigs {
    /// No configuration yet.
    pub fn new() -> Self {
        Self { configs: Map::default() }
    }

    /// Forgets the roots, and the sessions made under them, that come from
    /// files, so that the next handshake takes those of now.
    pub fn reload(&mut self) {
        let kept = |trust: &Option<Trust>| matches!(trust, None | Some(Trust::WebPki));
        self.configs.retain(|(trust, identity), _| kept(trust) && identity.is_none());
    }

    /// A session that will prove what `check` demands. `peer` names the
    /// session where the name cannot be sent and need not be proved.
    ///
    /// # Errors
    /// [`TlsFailure`] when the roots cannot be read or the name is none a
    /// certificate could hold.
    pub fn session(&mut self, check: &TlsCheck, peer: IpAddr) -> Result<TlsSession, TlsFailure> {
        let name = server_name(check, peer)?;
        let kind = (check.trust.clone(), check.identity.clone());
        let config = match self.configs.get(&kind) {
            Some(config) => config.clone(),
            None => {
                let config = config_for(check.trust.as_ref(), check.identity.as_deref())?;
                let config = Arc::new(config);
                self.configs.insert(kind, config.clone());
                config
            }
        };
        let connection = ClientConnection::new(config, name)
            .map_err(|error| TlsFailure { reason: error.to_string(), certificate: false })?;
        Ok(TlsSession::new(connection.into()))
    }
}

impl Default for TlsConfigs {
    fn default() -> Self {
        Self::new()
    }
}

impl TlsSession {
    fn new(connection: Connection) -> Self {
        Self { connection, established: false, failed: false }
    }

    /// A session as server, which waits for the client's first words.
    ///
    /// # Errors
    /// [`TlsFailure`] when there is no randomness for it.
    pub fn accepting(config: Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        let connection = ServerConnection::new(config)
            .map_err(|error| TlsFailure { reason: error.to_string(), certificate: false })?;
        Ok(Self::new(connection.into()))
    }

    /// The SHA-256 of the certificate that a client has shown and proved.
    pub fn client_certificate(&self) -> Option<[u8; 32]> {
        let Connection::Server(server) = &self.connection else { return None };
        let shown = server.peer_certificates()?.first()?;
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
        suite.common.hash_provider.hash(shown).as_ref().try_into().ok()
    }

    /// Whether the handshake has succeeded.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether bytes for the socket are waiting.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Feeds bytes from the socket and appends the plaintext in them to
    /// `plain`. After a failure everything is ignored.
    pub fn feed(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Fed {
        let mut fed = Fed::default();
        while !bytes.is_empty() && !self.failed && !fed.closed {
            let outcome = self.feed_some(&mut bytes, plain, &mut fed);
            if let Err(error) = outcome {
                self.failed = true;
                fed.failure = Some(failure_of(&error));
            }
        }
        if !self.established && !self.failed && !self.connection.is_handshaking() {
            self.established = true;
            fed.established = Some(self.description());
        }
        fed
    }

    fn feed_some(
        &mut self,
        bytes: &mut &[u8],
        plain: &mut Vec<u8>,
        fed: &mut Fed,
    ) -> Result<(), rustls::Error> {
        self.connection.read_tls(bytes).map_err(|e| rustls::Error::General(e.to_string()))?;
        let state = self.connection.process_new_packets();
        // What came in front of a broken record is whole and the peer's.
        let waiting = match &state {
            Ok(state) => state.plaintext_bytes_to_read(),
            Err(_) => PLAINTEXT_WAITING_MAX,
        };
        if waiting > 0 {
            let start = plain.len();
            plain.resize(start + waiting, 0);
            let read = self.connection.reader().read(&mut plain[start..]);
            plain.truncate(start + read.unwrap_or(0));
        }
        fed.closed |= state?.peer_has_closed();
        Ok(())
    }

    /// Encrypts as much of `bytes` as fits into the session's buffer; gives
    /// back how many bytes were taken. Nothing is taken before the handshake
    /// has succeeded.
    pub fn encrypt(&mut self, bytes: &[u8]) -> usize {
        if !self.established || self.failed {
            return 0;
        }
        self.connection.writer().write(bytes).unwrap_or(0)
    }

    /// Hands waiting bytes to `socket` until none is left.
    ///
    /// # Errors
    /// What `socket` gives, `WouldBlock` above all; what it did not take
    /// keeps waiting.
    pub fn write_to(&mut self, socket: &mut dyn Write) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Queues the notice that nothing more will be sent (RFC 8446 §6.1).
    pub fn close(&mut self) {
        if self.established && !self.failed {
            self.connection.send_close_notify();
        }
    }

    fn description(&self) -> String {
        let version = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let suite = self.connection.negotiated_cipher_suite().map(|s| s.suite());
        match suite.as_ref().and_then(|suite| suite.as_str()) {
            Some(suite) => format!("{version} {suite}"),
            None => version.to_string(),
        }
    }
}

fn server_name(check: &TlsCheck, peer: IpAddr) -> Result<ServerName<'static>, TlsFailure> {
    let name = check.name.strip_suffix('.').unwrap_or(&check.name);
    match ServerName::try_from(name.to_string()) {
        Ok(name) => Ok(name),
        // Without a check the name is only a hint to the peer; an address in
        // its place sends none.
        Err(_) if check.trust.is_none() => Ok(ServerName::IpAddress(peer.into())),
        Err(_) => Err(TlsFailure {
            reason: format!("no certificate can be issued for {name:?}"),
            certificate: true,
        }),
    }
}

pub(crate) fn config_for(
    trust: Option<&Trust>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, TlsFailure> {
    let builder = ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(|error| TlsFailure { reason: error.to_string(), certificate: false })?;
    let builder = match trust {
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny::new())),
        Some(trust) => builder.with_root_certificates(roots(trust)?),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let ours = |reason: String| TlsFailure { reason, certificate: false };
            let (chain, key) = read_identity(identity).map_err(ours)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                ours(format!("{} cannot be used: {error}", identity.certificate))
            })?
        }
    };
    config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(SESSIONS_MAX)));
    Ok(config)
}

/// Whether every certificate that we prove ourselves with to relay hosts, and
/// every file of roots, can be used; asked before a policy comes into force.
///
/// # Errors
/// A sentence about the first that cannot.
pub(crate) fn check_as_client(policy: &Policy) -> Result<(), String> {
    for authority in policy.authorities() {
        roots(&Trust::Pem(authority.clone())).map_err(|failure| failure.reason)?;
    }
    for way in policy.ways() {
        let Mode::Relay(hosts) = &way.mode else { continue };
        for identity in hosts.iter().filter_map(|host| host.identity.as_deref()) {
            config_for(None, Some(identity)).map_err(|failure| failure.reason)?;
        }
    }
    Ok(())
}

fn roots(trust: &Trust) -> Result<RootCertStore, TlsFailure> {
    let unreadable = |what: &str, reason: String| TlsFailure {
        reason: format!("cannot read {what}: {reason}"),
        certificate: false,
    };
    let mut store = RootCertStore::empty();
    match trust {
        Trust::WebPki => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                return Err(unreadable("the system's certificates", reasons.join("; ")));
            }
        }
        Trust::Pem(authority) => {
            let Authority { file, certificates } = &**authority;
            let certificates = CertificateDer::pem_slice_iter(certificates)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| unreadable(file, error.to_string()))?;
            store.add_parsable_certificates(certificates);
            if store.is_empty() {
                return Err(unreadable(file, "it holds no certificate".to_string()));
            }
        }
    }
    Ok(store)
}

fn failure_of(error: &rustls::Error) -> TlsFailure {
    let certificate = matches!(
        error,
        rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::UnsupportedNameType
    );
    TlsFailure { reason: error.to_string(), certificate }
}

#[cfg(test)]
mod tests;
