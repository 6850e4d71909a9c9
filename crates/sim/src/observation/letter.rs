//! Messages as their sender wrote them, and as exchangers got them.
//!
//! Never judges: whether a copy is true to its letter is an oracle's to say.

use std::sync::Arc;

use super::Text;

/// The header field by which the world knows its messages again:
/// `X-Story: 17`. Reports have none at the top of theirs.
pub const MARK: &str = "X-Story: ";

/// NOTIFY as bits, and its absence.
pub mod notify {
    /// Not given: failure and delay.
    pub const ABSENT: u8 = 0;
    /// SUCCESS.
    pub const SUCCESS: u8 = 1;
    /// FAILURE.
    pub const FAILURE: u8 = 2;
    /// DELAY.
    pub const DELAY: u8 = 4;
    /// NEVER.
    pub const NEVER: u8 = 8;
}

/// A message as a client sends it. By agreement, each recipient's address
/// stands in one letter of a run only, and is the sender of none: so it names
/// the letter in log lines and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The reverse-path; empty for none.
    pub sender: Text,
    /// To whom, in the order of RCPT; those refused there stand here too.
    pub to: Vec<Addressee>,
    /// RET: `F` or `H`; 0 where not given.
    pub ret: u8,
    /// ENVID as sent.
    pub envid: Option<Text>,
    /// The content, without dot-stuffing and without the final dot.
    pub content: Arc<[u8]>,
}

/// One recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The address.
    pub address: Text,
    /// NOTIFY, by the bits of [`notify`].
    pub notify: u8,
    /// ORCPT as sent.
    pub orcpt: Option<Text>,
}

impl Addressee {
    /// A recipient without parameters.
    pub fn new(address: &str) -> Self {
        Self { address: address.into(), notify: notify::ABSENT, orcpt: None }
    }
}

/// A message as an exchanger got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The reverse-path; empty for none.
    pub sender: Text,
    /// The recipients that the exchanger had said yes to.
    pub to: Vec<Addressee>,
    /// RET: `F` or `H`; 0 where not given.
    pub ret: u8,
    /// ENVID as it came.
    pub envid: Option<Text>,
    /// The content, without dot-stuffing and without the final dot.
    pub content: Arc<[u8]>,
    /// Whether the exchanger offers 8BITMIME: if not, the content may have been
    /// encoded anew.
    pub eight_bit: bool,
    /// Whether it offers DSN: if not, the envelope's parameters stay behind.
    pub dsn: bool,
}

impl Taken {
    /// The world's number of the message, by its mark in the header.
    pub fn message(&self) -> Option<u32> {
        marked(&self.content)
    }
}

/// The number in the mark of a content's header.
pub(crate) fn marked(content: &[u8]) -> Option<u32> {
    for line in content.split(|b| *b == b'\n') {
        if line.is_empty() || line == b"\r" {
            return None;
        }
        if let Some(number) = line.strip_prefix(MARK.as_bytes()) {
            return std::str::from_utf8(number).ok()?.trim().parse().ok();
        }
    }
    None
}
