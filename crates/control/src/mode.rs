//! How mail leaves: by the domain's own mail exchangers, through relay hosts,
//! or to what keeps the mailboxes of a local domain; with which TLS, and under
//! which time limits.
//!
//! Values only. Which host is tried when is decided by the shard; what TLS
//! must prove is carried out by the runtime.
//!
//! Read first: RFC 5321 §5.1 and RFC 5321 §4.5.3.2, RFC 3207, RFC 7435.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mail::Host;

use crate::log_in::LogIn;
use crate::maildir::Maildir;
use crate::pop::PopFirst;
use crate::remote::Authority;
use crate::submission::Identity;

/// How the next hop is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By the mail exchangers of the recipient's domain (RFC 5321 §5.1).
    Independent,
    /// Through these hosts, tried in this order within one attempt; 1 to
    /// [`SMARTHOSTS_MAX`].
    Relay(Arc<[Smarthost]>),
    /// To the Unix socket at this path; local domains only.
    Socket(Arc<str>),
    /// Into mail folders; local domains only.
    Folders(Arc<Maildir>),
}

impl Mode {
    /// Whether mail goes to one place, whatever domain it is for.
    pub fn is_one_place(&self) -> bool {
        !matches!(self, Self::Independent)
    }
}

/// One relay host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Smarthost {
    /// A name, looked up by A and AAAA only, or an address, never looked up.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// TLS towards this host.
    pub tls: TlsMode,
    /// Who may have signed its certificate where that must be valid.
    pub trust: Trust,
    /// What we prove ourselves with in TLS, if asked.
    pub identity: Option<Arc<Identity>>,
    /// The log-in there, if there is one.
    pub auth: Option<Arc<LogIn>>,
    /// A sender's own log-in goes before that one.
    pub by_sender: bool,
    /// The log-in at a POP3 server that must come first.
    pub pop: Option<Arc<PopFirst>>,
}

/// Whether a connection is encrypted, and whether that is demanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Never.
    None,
    /// STARTTLS where offered, with any certificate; plain text otherwise
    /// (RFC 7435).
    #[default]
    Opportunistic,
    /// STARTTLS with a valid certificate, or no delivery.
    Required,
    /// TLS from the first byte, with a valid certificate.
    Implicit,
}

/// Who may have signed a certificate that must be valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The roots built into the program.
    #[default]
    WebPki,
    /// The machine's own store.
    System,
    /// The certificates of a file.
    Pem(Arc<Authority>),
}

/// One deadline per phase of a delivery. Defaults are those of
/// RFC 5321 §4.5.3.2 where it names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// TCP connection; default 30 s.
    pub connect: Duration,
    /// Greeting (RFC 5321 §4.5.3.2.1); default 5 min.
    pub greeting: Duration,
    /// EHLO, HELO and STARTTLS commands; default 5 min.
    pub ehlo: Duration,
    /// TLS handshake; default 30 s.
    pub tls: Duration,
    /// MAIL (RFC 5321 §4.5.3.2.2); default 5 min.
    pub mail: Duration,
    /// RCPT (RFC 5321 §4.5.3.2.3); default 5 min.
    pub rcpt: Duration,
    /// DATA until the 354 (RFC 5321 §4.5.3.2.4); default 2 min.
    pub data: Duration,
    /// One block of the message (RFC 5321 §4.5.3.2.5); default 3 min.
    pub data_block: Duration,
    /// The answer to the final dot (RFC 5321 §4.5.3.2.6); default 10 min.
    pub data_done: Duration,
    /// RSET; default 20 s.
    pub rset: Duration,
    /// QUIT; default 10 s.
    pub quit: Duration,
}

/// What becomes of mail after a temporary failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// Tried again by the retry list.
    #[default]
    Retry,
    /// Kept until released by hand, or until its lifetime ends.
    Hold,
    /// Returned at once.
    Bounce,
}

/// Most hosts of one relay way.
pub const SMARTHOSTS_MAX: usize = 16;

impl Timeouts {
    /// Key in the configuration, and value, in the order of a session.
    pub fn phases(&self) -> [(&'static str, Duration); 11] {
        [
            ("connect", self.connect),
            ("greeting", self.greeting),
            ("ehlo", self.ehlo),
            ("tls", self.tls),
            ("mail", self.mail),
            ("rcpt", self.rcpt),
            ("data", self.data),
            ("data_block", self.data_block),
            ("data_done", self.data_done),
            ("rset", self.rset),
            ("quit", self.quit),
        ]
    }

    /// The same limit for every phase.
    pub fn all(limit: Duration) -> Self {
        Self {
            connect: limit,
            greeting: limit,
            ehlo: limit,
            tls: limit,
            mail: limit,
            rcpt: limit,
            data: limit,
            data_block: limit,
            data_done: limit,
            rset: limit,
            quit: limit,
        }
    }

    /// The phase with this key in the configuration.
    pub(crate) fn phase_mut(&mut self, key: &str) -> Option<&mut Duration> {
        Some(match key {
            "connect" => &mut self.connect,
            "greeting" => &mut self.greeting,
            "ehlo" => &mut self.ehlo,
            "tls" => &mut self.tls,
            "mail" => &mut self.mail,
            "rcpt" => &mut self.rcpt,
            "data" => &mut self.data,
            "data_block" => &mut self.data_block,
            "data_done" => &mut self.data_done,
            "rset" => &mut self.rset,
            "quit" => &mut self.quit,
            _ => return None,
        })
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            ehlo: minutes(5),
            tls: Duration::from_secs(30),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            data_block: minutes(3),
            data_done: minutes(10),
            rset: Duration::from_secs(20),
            quit: Duration::from_secs(10),
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Required => "required",
            Self::Implicit => "implicit",
        })
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebPki => "webpki",
            Self::System => "system",
            Self::Pem(authority) => &authority.file,
        })
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Bounce => "bounce",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: RFC 5321 §4.5.3.2
    /// Proves: RFC 5321 §4.5.3.2.1
    /// Proves: RFC 5321 §4.5.3.2.2
    /// Proves: RFC 5321 §4.5.3.2.3
    /// Proves: RFC 5321 §4.5.3.2.4
    /// Proves: RFC 5321 §4.5.3.2.5
    /// Proves: RFC 5321 §4.5.3.2.6
    /// Covers: A2.13
    #[test]
    fn defaults_are_not_below_the_standard() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let timeouts = Timeouts::default();
        assert!(timeouts.greeting >= minutes(5));
        assert!(timeouts.mail >= minutes(5));
        assert!(timeouts.rcpt >= minutes(5));
        assert!(timeouts.data >= minutes(2));
        assert!(timeouts.data_block >= minutes(3));
        assert!(timeouts.data_done >= minutes(10));
    }

    /// Shows: S2.12
    #[test]
    fn every_phase_is_reached_by_its_key() {
        let mut timeouts = Timeouts::default();
        for (number, (key, before)) in Timeouts::default().phases().into_iter().enumerate() {
            let slot = timeouts.phase_mut(key).unwrap();
            assert_eq!(*slot, before, "{key}");
            *slot = Duration::from_millis(number as u64);
        }
        for (number, (key, now)) in timeouts.phases().into_iter().enumerate() {
            assert_eq!(now, Duration::from_millis(number as u64), "{key}");
        }
        assert_eq!(timeouts.phase_mut("lunch"), None);
    }
}
