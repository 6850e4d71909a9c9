//! Connections to those who take lines: TCP, in the clear or in TLS, each step
//! under a deadline.
//!
//! Invariant: with TLS, whoever is at the other end has proved to be the host
//! that was asked for.

use std::io::{self, Read, Write};
use std::sync::Arc;

use control::Trust;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::patient::{Deadline, Lookups, Patient};
use crate::tls;

/// Connects to one host, as often as it is asked to.
pub(super) struct Dialer {
    host: Box<str>,
    port: u16,
    /// None: in the clear.
    trust: Option<Trust>,
    config: Option<Arc<ClientConfig>>,
    lookups: Lookups,
}

/// A connection.
pub(super) enum Connection {
    /// In the clear.
    Plain(Patient),
    /// In TLS.
    Tls(Box<StreamOwned<ClientConnection, Patient>>),
}

impl Dialer {
    /// For a host by name or address; with `trust` by TLS.
    pub(super) fn new(host: &str, port: u16, trust: Option<Trust>) -> Self {
        let (config, lookups) = (None, Lookups::default());
        Self { host: host.into(), port, trust, config, lookups }
    }

    /// A new connection. Of TLS the first words are said with the first bytes.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn dial(&mut self, deadline: &Deadline) -> io::Result<Connection> {
        let addresses = self.lookups.addresses(&self.host, self.port, deadline)?;
        let stream = Patient::connect(&addresses, deadline)?;
        let Some(trust) = &self.trust else { return Ok(Connection::Plain(stream)) };
        let name = ServerName::try_from(self.host.to_string()).map_err(io::Error::other)?;
        let config = match &self.config {
            Some(config) => config.clone(),
            None => {
                let made = tls::config_for(Some(trust), None);
                let made = made.map_err(|failure| io::Error::other(failure.reason))?;
                self.config.insert(Arc::new(made)).clone()
            }
        };
        let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Connection::Tls(Box::new(StreamOwned::new(session, stream))))
    }
}

impl Connection {
    /// Puts another deadline in force.
    pub(super) fn set(&mut self, deadline: &Deadline) {
        match self {
            Self::Plain(stream) => stream.set(deadline),
            Self::Tls(stream) => stream.sock.set(deadline),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
