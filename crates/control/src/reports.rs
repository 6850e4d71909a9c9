//! Who is told what became of mail, and in which words: `[dsn]`, and what a
//! route says instead.
//!
//! Plain values; what the sender asked for with NOTIFY is asked in the shard.

use std::sync::Arc;

use mail::dsn::Template;

/// Which reports are sent, to whom, in which words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reports {
    /// Who is told that mail was refused for good; default the sender.
    pub failure: NotifyTo,
    /// Who is told that mail is late; default the sender.
    pub delay: NotifyTo,
    /// Who is told of success where the sender asked; default the sender.
    pub success: NotifyTo,
    /// Who is told that mail was given up when its lifetime or its attempts
    /// were over; default as `failure`.
    pub expiry: NotifyTo,
    /// The words of reports, and the file that they came from; none: the usual
    /// ones.
    pub template: Option<(Box<str>, Arc<Template>)>,
}

/// Receiver of a kind of report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NotifyTo {
    /// The sender of the mail, as its NOTIFY asks.
    #[default]
    Sender,
    /// The postmaster of this machine.
    Postmaster,
    /// Nobody.
    None,
}

impl NotifyTo {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Postmaster => "postmaster",
            Self::None => "none",
        }
    }
}
