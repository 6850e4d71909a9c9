//! `[[syslog]]`: a syslog server, or the machine's own syslog or journal, gets
//! lines of the event log.
//!
//! Never here: what a message looks like (`eventlog`), sockets.
//!
//! Read first: RFC 5424 §6.2.1, RFC 5425 §4.1, RFC 5426 §3.3.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::url::host_and_port;
use super::{Selection, UrlError};
use crate::mode::Trust;

/// Most syslog servers: each is a thread and a connection.
pub const SYSLOGS_MAX: usize = 16;
/// Where the machine's journal takes entries.
pub const JOURNAL: &str = "/run/systemd/journal/socket";

/// `[[syslog]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Syslog {
    /// What it is called: its saved place has this name.
    pub name: Box<str>,
    /// Where messages go.
    pub to: SyslogTo,
    /// Which lines.
    pub selection: Selection,
    /// Place in [`FACILITIES`]; default that of mail.
    pub facility: u8,
    /// For one attempt; default 30 s.
    pub timeout: Duration,
    /// The longest wait between two attempts; default 1 min.
    pub retry: Duration,
    /// Who may vouch for the host's certificate.
    pub trust: Trust,
}

/// Where messages of syslog go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogTo {
    /// A datagram each (RFC 5426); host and port.
    Udp(Box<str>, u16),
    /// A stream in the clear (RFC 6587); host and port.
    Tcp(Box<str>, u16),
    /// A stream in TLS (RFC 5425); host and port.
    Tls(Box<str>, u16),
    /// A datagram socket of this machine.
    Unix(Box<str>),
    /// The journal's datagram socket, in its own protocol.
    Journal(Box<str>),
}

/// The facilities, in the order of their numbers (RFC 5424 §6.2.1).
pub const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Syslog {
    /// A server with the usual settings.
    pub fn new(name: &str, to: SyslogTo) -> Self {
        Self {
            name: name.into(),
            to,
            selection: Selection::default(),
            facility: 2,
            timeout: Duration::from_secs(30),
            retry: Duration::from_secs(60),
            trust: Trust::default(),
        }
    }

    /// The word for its facility.
    pub fn facility_word(&self) -> &'static str {
        let found = FACILITIES.iter().find(|(_, number)| *number == self.facility);
        found.map_or("mail", |(word, _)| word)
    }
}

/// A text that is no place for messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyslogToError {
    /// None of the forms.
    #[error(
        "must be udp://HOST, tcp://HOST, tls://HOST, each perhaps with a port, unix:PATH, journal \
         or journal:PATH"
    )]
    PolicyForm,
    /// Not the path of a file.
    #[error("must name a path that begins with a slash and has at most 107 octets")]
    PolicyPath,
    /// Host or port.
    #[error(transparent)]
    PolicyHost(#[from] UrlError),
}

/// Longest path of a socket, in octets.
const PATH_BYTES_MAX: usize = 107;

impl FromStr for SyslogTo {
    type Err = SyslogToError;

    fn from_str(text: &str) -> Result<Self, SyslogToError> {
        if text == "journal" {
            return Ok(Self::Journal(JOURNAL.into()));
        }
        let path = |path: &str| match path.starts_with('/') && path.len() <= PATH_BYTES_MAX {
            true if !path.contains('\0') => Ok(Box::from(path)),
            _ => Err(SyslogToError::PolicyPath),
        };
        let (scheme, rest) = text.split_once(':').ok_or(SyslogToError::PolicyForm)?;
        match scheme {
            "unix" => return path(rest).map(Self::Unix),
            "journal" => return path(rest).map(Self::Journal),
            _ => {}
        }
        let rest = rest.strip_prefix("//").ok_or(SyslogToError::PolicyForm)?;
        let (host, port) = host_and_port(rest)?;
        let port = |usual: u16| match port {
            None => Ok(usual),
            Some(digits) => {
                digits.parse().ok().filter(|port| *port > 0).ok_or(UrlError::PolicyPort)
            }
        };
        Ok(match scheme {
            "udp" => Self::Udp(host.into(), port(514)?),
            "tcp" => Self::Tcp(host.into(), port(514)?),
            "tls" => Self::Tls(host.into(), port(6_514)?),
            _ => return Err(SyslogToError::PolicyForm),
        })
    }
}

impl fmt::Display for SyslogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix(path) => return write!(f, "unix:{path}"),
            Self::Journal(path) if &**path == JOURNAL => return f.write_str("journal"),
            Self::Journal(path) => return write!(f, "journal:{path}"),
            Self::Udp(host, port) => ("udp", host, port),
            Self::Tcp(host, port) => ("tcp", host, port),
            Self::Tls(host, port) => ("tls", host, port),
        };
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_and_written_as_it_was() {
        for text in [
            "udp://192.0.2.1:514",
            "tcp://log.example:601",
            "tls://[2001:db8::1]:6514",
            "unix:/dev/log",
            "journal",
            "journal:/tmp/socket",
        ] {
            assert_eq!(text.parse::<SyslogTo>().unwrap().to_string(), text);
        }
        let tls = "tls://log.example".parse::<SyslogTo>().unwrap();
        assert_eq!(tls, SyslogTo::Tls("log.example".into(), 6_514));
        assert_eq!("tcp://h".parse::<SyslogTo>().unwrap(), SyslogTo::Tcp("h".into(), 514));
    }

    #[test]
    fn each_fault_of_a_place_has_its_own_words() {
        for (text, words) in [
            ("log.example", "must be udp://"),
            ("udp:log.example", "must be udp://"),
            ("http://log.example", "must be udp://"),
            ("unix:dev/log", "begins with a slash"),
            ("journal:", "begins with a slash"),
            ("udp://", "names no host"),
            ("tcp://h:0", "has a port"),
        ] {
            let why = text.parse::<SyslogTo>().unwrap_err().to_string();
            assert!(why.contains(words), "{text}: {why}");
        }
        let long = format!("unix:/{}", "x".repeat(PATH_BYTES_MAX));
        assert_eq!(long.parse::<SyslogTo>(), Err(SyslogToError::PolicyPath));
    }

    #[test]
    fn mail_is_the_usual_facility() {
        let syslog = Syslog::new("a", SyslogTo::Unix("/dev/log".into()));
        assert_eq!((syslog.facility, syslog.facility_word()), (2, "mail"));
    }
}
