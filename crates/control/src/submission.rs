//! Who may hand mail in, where, and how much.
//!
//! Never here: sockets, handshakes, the dialogue. Certificates and keys are in
//! memory as their files say; what is rendered names the files.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;

use crate::mode::TlsMode;
use crate::network::Network;
use crate::units::Rate;
use crate::users::Users;

/// `[submission]`
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Where to listen; default 127.0.0.1:2525. Empty: no SMTP intake.
    pub listen: Vec<Listener>,
    /// What we prove who we are with, on listeners that have nothing of their
    /// own.
    pub tls: Option<Arc<Identity>>,
    /// Who may relay; default loopback.
    pub allow: Vec<Network>,
    /// Who may log in, and then relay from anywhere; default nobody.
    pub users: Option<Arc<Users>>,
    /// Who may send a password in the clear; default nobody.
    pub auth_in_clear: Vec<Network>,
    /// Who may ask by ETRN that waiting mail is tried now; default nobody.
    pub etrn: Vec<Network>,
    /// Wrong passwords that one address may try, per shard; default 10 in
    /// 10 min.
    pub wrong_passwords: Rate,
    /// How much each user may hand in who has no limits of its own.
    pub user_limits: IntakeLimits,
    /// How much networks may hand in, each as a whole; the first that holds the
    /// client counts.
    pub limits: Vec<(Network, IntakeLimits)>,
    /// Octets of one message; default 50 MiB.
    pub max_message: u64,
    /// Recipients of one transaction, at least 100 (RFC 5321 §4.5.3.1.8);
    /// default 1000.
    pub max_recipients: u32,
    /// Sessions at once, summed over all shards; default 1000.
    pub max_connections: u32,
    /// Sessions at once from one address, summed over all shards; default 500.
    pub max_connections_per_peer: u32,
    /// How long a session may be silent (RFC 5321 §4.5.3.2.7); default 5 min.
    pub timeout: Duration,
    /// Errors after which a session is closed with 421; default 20.
    pub max_errors: u32,
}

/// How much one user or one network may hand in, each shard with its share of
/// it, at least one. None: no bound but those of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntakeLimits {
    /// Transactions begun.
    pub messages: Option<Rate>,
    /// Recipients named.
    pub recipients: Option<Rate>,
    /// Sessions at once.
    pub connections: Option<u32>,
}

/// One address that takes mail.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The address; port 0 is any free port.
    pub address: SocketAddr,
    /// What TLS is there: not offered, offered by STARTTLS, demanded by
    /// STARTTLS, or from the first byte. Default: offered where there is an
    /// identity.
    pub tls: TlsMode,
    /// What we prove who we are with; never none but for [`TlsMode::None`].
    pub identity: Option<Arc<Identity>>,
    /// Proxies that say by a PROXY header, version 2, who the client is; then
    /// nobody else may connect. Default none: clients connect themselves.
    pub proxies: Vec<Network>,
    /// LMTP is spoken, not SMTP.
    pub lmtp: bool,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The file of the certificate and those that lead to its root.
    pub certificate: Box<str>,
    /// What it holds, PEM.
    pub chain: Arc<[u8]>,
    /// The file of the key.
    pub key: Box<str>,
    /// What it holds, PEM.
    pub secret: Secret,
}

impl Submission {
    /// Whether a client at `peer` may relay.
    pub fn may_relay(&self, peer: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(peer))
    }

    /// Whether a client at `peer` may send a password in the clear.
    pub fn may_log_in_in_the_clear(&self, peer: IpAddr) -> bool {
        self.auth_in_clear.iter().any(|network| network.contains(peer))
    }

    /// Whether a client at `peer` may ask for waiting mail.
    pub fn may_ask_for_mail(&self, peer: IpAddr) -> bool {
        self.etrn.iter().any(|network| network.contains(peer))
    }

    /// The addresses of all listeners.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listen.iter().map(|listener| listener.address)
    }
}

impl IntakeLimits {
    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Listener {
    /// One without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: TlsMode::None, identity: None, proxies: Vec::new(), lmtp: false }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, {})", self.certificate, self.key)
    }
}

impl Default for Submission {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"];
        Self {
            listen: vec![Listener::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 2525)))],
            tls: None,
            allow: loopback.map(|text| text.parse().expect("a valid network")).into(),
            users: None,
            auth_in_clear: Vec::new(),
            etrn: Vec::new(),
            wrong_passwords: "10/10m".parse().expect("a valid rate"),
            user_limits: IntakeLimits::default(),
            limits: Vec::new(),
            max_message: 50 << 20,
            max_recipients: 1000,
            max_connections: 1000,
            max_connections_per_peer: 500,
            timeout: Duration::from_secs(300),
            max_errors: 20,
        }
    }
}
