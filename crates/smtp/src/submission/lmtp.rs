//! What differs where the client speaks LMTP: its greeting, and that a message
//! has a reply for each RCPT that was taken, in their order.
//!
//! All replies of a message say the same: it is stored as a whole, or not at all.
//! Never here: storage, mailboxes. Mail that comes so is ours to send on, like
//! any other.
//!
//! Read first: RFC 2033 §4.1, RFC 2033 §4.2.

use mail::Status;

use super::{Session, State};
use crate::answer::Answer;

/// Whether the session is one of LMTP.
#[derive(Debug, Default)]
pub(super) struct Lmtp {
    on: bool,
    /// Replies that the message at hand has.
    owed: usize,
}

impl Session {
    /// The client is to speak LMTP.
    pub fn with_lmtp(mut self) -> Self {
        self.lmtp.on = true;
        self
    }

    /// Whether the client is to speak LMTP.
    pub fn is_lmtp(&self) -> bool {
        self.lmtp.on
    }

    /// What the greeting calls the protocol.
    pub(super) fn protocol(&self) -> &'static str {
        if self.lmtp.on { "LMTP" } else { "ESMTP" }
    }

    /// A message has come for which so many RCPTs were taken.
    pub(super) fn owe(&mut self, taken: usize) {
        self.lmtp.owed = taken;
    }

    /// Writes the reply to a message as often as it is owed; counts it once.
    pub(super) fn say_of_message(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        self.say(answer, out);
        let more = if self.lmtp.on { self.lmtp.owed.saturating_sub(1) } else { 0 };
        // Behind a 421 there is nothing.
        if !matches!(self.state, State::Closed) {
            (0..more).for_each(|_| answer.write(out));
        }
    }
}

/// The answer to EHLO and HELO (RFC 2033 §4.1).
pub(super) fn lhlo_only() -> Answer {
    Answer::new(500, Status::BAD_COMMAND, "LMTP is spoken here: LHLO")
}
