//! Control from elsewhere: the port at which what the control socket answers is
//! answered over TLS, to clients with a certificate.
//!
//! Never here: sockets, handshakes. Certificates and keys are in memory as their
//! files say; what is rendered names the files. Invariant: there is no such port
//! without an authority for clients.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::submission::Identity;

/// The port where none is named.
pub const PORT_USUAL: u16 = 8026;
/// Most addresses it listens on.
pub const LISTEN_MAX: usize = 16;
/// Most names of clients.
pub const NAMES_MAX: usize = 256;

/// `[control]`
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteControl {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// What we prove who we are with.
    pub identity: Arc<Identity>,
    /// Whose certificates clients prove who they are with.
    pub authority: Authority,
    /// The common names of the certificates that may; empty: all of the
    /// authority's.
    pub names: Vec<Box<str>>,
}

/// Who makes the certificates that others prove themselves with.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    /// The file of its certificate, or of several.
    pub file: Box<str>,
    /// What it holds, PEM.
    pub certificates: Arc<[u8]>,
}

/// Of the name and the length alone: the roots of a whole system are 200 KiB, and
/// are looked up for each session.
impl Hash for Authority {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.file, self.certificates.len()).hash(state);
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.file)
    }
}
