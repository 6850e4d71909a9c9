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
    /// The same under another deadline, unless the other side has closed it:
    /// what is written then is lost without a word.
    pub(super) fn still_open(mut self, deadline: &Deadline) -> Option<Self> {
        self.set(deadline);
        let open = match &mut self {
            Self::Plain(stream) => is_idle(stream.at_once().read(&mut [0; 512])),
            Self::Tls(stream) => loop {
                let read = stream.conn.read_tls(stream.sock.at_once());
                if read.as_ref().is_ok_and(|count| *count > 0) {
                    // Tickets come when they like; data never does.
                    match stream.conn.process_new_packets() {
                        Ok(state) if !state.peer_has_closed() => continue,
                        _ => break false,
                    }
                }
                break is_idle(read);
            },
        };
        open.then_some(self)
    }

    /// Puts another deadline in force.
    pub(super) fn set(&mut self, deadline: &Deadline) {
        match self {
            Self::Plain(stream) => stream.set(deadline),
            Self::Tls(stream) => stream.sock.set(deadline),
        }
    }
}

/// Whether a read found nothing, and no end either.
fn is_idle(read: io::Result<usize>) -> bool {
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
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
