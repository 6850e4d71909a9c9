//! Where lines of the event log go beyond its files: `[[webhook]]` and
//! `[[syslog]]`.
//!
//! Never here: what a line holds (`eventlog`), sockets, the saved place of a
//! reader. A secret is in memory only; what is rendered names its file.

use std::time::Duration;

use base::secret::Secret;

use crate::mode::Trust;

mod syslog;
mod url;
mod words;

pub use syslog::{FACILITIES, JOURNAL, SYSLOGS_MAX, Syslog, SyslogTo, SyslogToError};
pub use url::{URL_BYTES_MAX, Url, UrlError};
pub use words::EVENTS;

/// Most webhooks: each is a thread and a connection.
pub const WEBHOOKS_MAX: usize = 16;
/// Most lines of one batch.
pub const BATCH_LINES_MAX: u32 = 10_000;
/// `[[webhook]]`: lines are posted in batches, and again until they are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// What it is called: its saved place has this name.
    pub name: Box<str>,
    /// Where lines are posted to.
    pub url: Url,
    /// Which lines.
    pub selection: Selection,
    /// What batches are signed with, and the file that it came from.
    pub secret: Option<(Box<str>, Secret)>,
    /// Most lines of a batch, up to [`BATCH_LINES_MAX`]; default 500.
    pub batch: u32,
    /// How long a batch that is not full waits for more; default 1 s.
    pub wait: Duration,
    /// For look-up, connection, TLS and answer together; default 30 s.
    pub timeout: Duration,
    /// The longest wait between two attempts; default 1 min.
    pub retry: Duration,
    /// Who may vouch for the host's certificate.
    pub trust: Trust,
    /// Plain HTTP is permitted beyond this machine. Default false.
    pub plain: bool,
}

/// Which lines of the log are wanted: every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Kinds of event; none: all but those of the log's level `detail`.
    pub events: Box<[Box<str>]>,
    /// From or to addresses of this domain, or about it.
    pub domain: Option<Box<str>>,
    /// About this site, or a host of it.
    pub site: Option<Box<str>>,
}

impl Webhook {
    /// A webhook with the usual settings.
    pub fn new(name: &str, url: Url) -> Self {
        Self {
            name: name.into(),
            url,
            selection: Selection::default(),
            secret: None,
            batch: 500,
            wait: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            retry: Duration::from_secs(60),
            trust: Trust::default(),
            plain: false,
        }
    }
}
