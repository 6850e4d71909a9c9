//! The log-in at a POP3 server that some relay hosts want before they take mail
//! from our address.
//!
//! Values only: the dialogue is `smtp`'s, when it is held the shard's to say.

use std::time::Duration;

use base::secret::Secret;
use mail::Host;

use crate::mode::{TlsMode, Trust};

/// Where and as whom to log in, and for how long that is good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PopFirst {
    /// The POP3 server.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// TLS towards it; never opportunistic.
    pub tls: TlsMode,
    /// Who may have signed its certificate.
    pub trust: Trust,
    /// The name; 1 to 255 octets, no control characters.
    pub user: Box<str>,
    /// The file that holds the password.
    pub file: Box<str>,
    /// The password.
    pub secret: Secret,
    /// How long a log-in is good.
    pub remember: Duration,
    /// The password may go over a connection without TLS.
    pub unchecked: bool,
}
