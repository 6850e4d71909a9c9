//! TLS over a blocking socket, at both ends, for threads with one peer each:
//! control from elsewhere.
//!
//! Never on a shard. Invariants: whatever is waited for has a deadline, however
//! slowly its bytes come; nothing is said or heard before both sides have proved
//! who they are.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::secret::Secret;
use control::{Authority, Identity, Trust};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    AlertDescription, CertificateError, ClientConnection, Connection, ServerConfig,
    ServerConnection,
};

use crate::http::Timed;
use crate::tls;

/// Largest file of a certificate or key that is read, in octets.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How long, and how much of it, a peer that was refused is listened to, so that
/// it hears why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 << 10;

/// A connection on which both sides have proved who they are.
pub struct TlsStream {
    connection: Connection,
    socket: Deadlined,
}

/// A socket whose reads and writes end together at a point in time.
struct Deadlined {
    stream: TcpStream,
    until: Cell<Instant>,
}

/// Who is asked, and what both sides prove themselves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The file of the authority that made the host's certificate.
    pub authority: PathBuf,
    /// The file of our certificate.
    pub certificate: PathBuf,
    /// The file of our key.
    pub key: PathBuf,
}

/// Why nothing can be asked, in a sentence.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A file of our own.
    #[error("{0}")]
    MisuseFile(String),
    /// Nobody answers, or breaks off.
    #[error("{0}")]
    PeerAway(String),
    /// It does not prove to be the host that was meant.
    #[error("{0}")]
    PeerUnproved(String),
    /// It does not let us in.
    #[error("{0}")]
    PeerRefuses(String),
}

impl TlsStream {
    /// As server; returns when the client has proved who it is.
    ///
    /// # Errors
    /// It has not, or not in time: why, in words for the log.
    pub(crate) fn accept(
        stream: TcpStream,
        config: Arc<ServerConfig>,
        time: Duration,
    ) -> Result<Self, String> {
        let connection = ServerConnection::new(config).map_err(|error| error.to_string())?;
        let mut accepted = Self::new(connection.into(), stream, time);
        match accepted.shake_hands() {
            Ok(()) => Ok(accepted),
            Err(error) => {
                accepted.linger();
                Err(match tls_error(&error) {
                    Some(rustls::Error::NoCertificatesPresented) => {
                        "it shows no certificate".into()
                    }
                    Some(rustls::Error::InvalidCertificate(why)) => {
                        format!("its certificate is not taken: {}", in_words(why))
                    }
                    Some(other) => other.to_string(),
                    None => error.to_string(),
                })
            }
        }
    }

    fn new(connection: Connection, stream: TcpStream, time: Duration) -> Self {
        let until = Cell::new(Instant::now() + time);
        Self { connection, socket: Deadlined { stream, until } }
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        while self.connection.is_handshaking() {
            let (read, written) = self.connection.complete_io(&mut self.socket)?;
            if read + written == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// The certificate that the other side has shown and proved.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    /// Says that nothing more comes, so that nobody takes a part for the whole.
    pub(crate) fn end(&mut self) {
        self.connection.send_close_notify();
        let _ = self.limit(LINGER);
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut self.socket).is_err() {
                return;
            }
        }
        self.linger();
    }

    /// Lets the other side read what was said last: a socket that is closed with
    /// something unread in it takes that back.
    fn linger(&mut self) {
        let Deadlined { stream, until } = &mut self.socket;
        until.set(Instant::now() + LINGER);
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        let mut unread = [0; 4 << 10];
        while left > 0 {
            match self.socket.read(&mut unread) {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    }
}

impl Remote {
    /// Connects, so that what is written next is heard by the host that was
    /// meant.
    ///
    /// # Errors
    /// [`RemoteError`]. Whether we are let in may show with the first answer
    /// only: see [`Remote::explain`].
    pub fn connect(&self, time: Duration) -> Result<TlsStream, RemoteError> {
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| RemoteError::MisuseFile(format!("{} is no name of a host", self.host)))?;
        let identity = self.identity()?;
        let certificates = read(&self.authority)?.into();
        let file = self.authority.display().to_string().into();
        let trust = Trust::Pem(Arc::new(Authority { file, certificates }));
        let config = tls::config_for(Some(&trust), Some(&identity))
            .map_err(|failure| RemoteError::MisuseFile(failure.reason))?;
        let until = Instant::now() + time;
        let stream = self.reach(until)?;
        let connection = ClientConnection::new(Arc::new(config), name)
            .map_err(|error| RemoteError::MisuseFile(error.to_string()))?;
        let left = until.saturating_duration_since(Instant::now());
        let mut connected = TlsStream::new(connection.into(), stream, left);
        match connected.shake_hands() {
            Ok(()) => Ok(connected),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// What an error of reading or writing means.
    pub fn explain(&self, error: &io::Error) -> RemoteError {
        let Self { authority, certificate, .. } = self;
        let (authority, ours) = (authority.display(), certificate.display());
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(why)) => RemoteError::PeerUnproved(match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    format!(
                        "{self} shows a certificate that {authority} did not make: it is not the host that was meant, or --ca names the wrong file"
                    )
                }
                other => format!("the certificate of {self} is not taken: {}", in_words(other)),
            }),
            Some(rustls::Error::AlertReceived(alert)) => RemoteError::PeerRefuses(format!(
                "{self} refuses our certificate {ours}: {}",
                said(*alert)
            )),
            Some(other) => {
                RemoteError::PeerAway(format!("{self}: {other}; is that the control port?"))
            }
            None => RemoteError::PeerAway(format!("{self}: {error}")),
        }
    }

    fn identity(&self) -> Result<Identity, RemoteError> {
        let chain = read(&self.certificate)?.into();
        let secret = Secret::new(&read(&self.key)?);
        let name = |path: &Path| path.display().to_string().into();
        Ok(Identity { certificate: name(&self.certificate), chain, key: name(&self.key), secret })
    }

    fn reach(&self, until: Instant) -> Result<TcpStream, RemoteError> {
        let away = |error: io::Error| RemoteError::PeerAway(format!("{self}: {error}"));
        let addresses: Vec<_> = (&*self.host, self.port).to_socket_addrs().map_err(away)?.collect();
        let mut last = io::Error::other("its name has no address");
        for (tried, address) in addresses.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(away(last))
    }
}

/// `mail.example.com:8026`
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RemoteError> {
    let told = |why: &dyn fmt::Display| {
        RemoteError::MisuseFile(format!("cannot read {}: {why}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(|error| told(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| told(&error))?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(told(&"it is larger than 1MiB")),
        false => Ok(bytes),
    }
}

/// What TLS says, if it is that.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn in_words(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "another authority made it".into()
        }
        CertificateError::ApplicationVerificationFailure => {
            "its name is not among those that may".into()
        }
        other => other.to_string(),
    }
}

/// What the other side means by an alert (RFC 8446 lists them).
fn said(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "another authority made it than those it knows".into(),
        AlertDescription::DecryptError => "another authority made it than those it knows".into(),
        AlertDescription::CertificateExpired => "its time is over, or has not come".into(),
        AlertDescription::AccessDenied => "its name is not among those that may".into(),
        AlertDescription::CertificateRequired => "it saw none".into(),
        other => format!("{other:?}"),
    }
}

impl Deadlined {
    fn left(&self) -> io::Result<Duration> {
        match self.until.get().saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// A socket says of an end of its time that it would have to wait on.
fn told(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Deadlined {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes).map_err(told)
    }
}

impl Write for Deadlined {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Read for TlsStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.connection {
            Connection::Client(client) => rustls::Stream::new(client, &mut self.socket).read(bytes),
            Connection::Server(server) => rustls::Stream::new(server, &mut self.socket).read(bytes),
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.connection {
            Connection::Client(client) => {
                rustls::Stream::new(client, &mut self.socket).write(bytes)
            }
            Connection::Server(server) => {
                rustls::Stream::new(server, &mut self.socket).write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.connection {
            Connection::Client(client) => rustls::Stream::new(client, &mut self.socket).flush(),
            Connection::Server(server) => rustls::Stream::new(server, &mut self.socket).flush(),
        }
    }
}

impl Timed for TlsStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.socket.until.set(Instant::now() + time);
        Ok(())
    }
}
