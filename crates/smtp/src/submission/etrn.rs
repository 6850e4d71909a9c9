//! ETRN: a client asks that mail which waits for a domain is tried now, for its
//! host is back.
//!
//! Never here: who may ask, how often, and what becomes of the mail (`Policy`).
//! The reply promises no more than a beginning: it never waits for the queue.
//!
//! Read first: RFC 1985 §5.

use mail::Status;

use super::commands::out_of_order;
use super::{Policy, Session};
use crate::answer::Answer;
use crate::command;

impl Session {
    /// The session of a client that may ask for waiting mail; it is offered
    /// where the settings have the extension.
    #[must_use]
    pub fn with_etrn(mut self) -> Self {
        self.etrn = true;
        self
    }

    /// ETRN. Not within a transaction, and only with EHLO, which offers it
    /// (RFC 1985 §5).
    pub(super) fn etrn(
        &mut self,
        argument: &[u8],
        out: &mut Vec<u8>,
        policy: &mut dyn Policy,
    ) -> Result<(), Answer> {
        if self.hello.as_ref().is_none_or(|hello| !hello.esmtp) {
            return Err(out_of_order("EHLO first"));
        }
        if self.transaction.is_some() {
            return Err(out_of_order("ETRN within a transaction"));
        }
        let node = command::parse_etrn(argument)?;
        policy.etrn(&node)?;
        self.say(&Answer::new(250, Status::OK, format!("Queuing for node {node} started")), out);
        Ok(())
    }
}
