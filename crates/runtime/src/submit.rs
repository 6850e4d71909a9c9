//! Messages that come without a session: made ready on the caller's thread,
//! handed to one of the shards, answered when they are on stable storage.
//!
//! Never touches a shard's state; the work on a large text is done here, where
//! no other mail waits for it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::ShardId;
use control::api::{Import, Submission};
use crossbeam::channel::Receiver;
use mail::{Envelope, Exported};
use serde_json::json;
use shard::command::Answer;
use shard::event::Came;

use crate::inbox::Mail;
use crate::server::Running;

/// A message on its way to stable storage.
#[derive(Debug)]
pub(crate) struct Offered {
    answers: Receiver<(ShardId, Answer)>,
    until: Instant,
}

impl Running {
    /// Takes a message, and waits at most `time` for it to be on stable storage.
    /// `by` says how it came, as [`Came::By`] has it. A
    /// message without an answer may have been taken all the same.
    pub fn submit(&self, message: Submission, by: &str, time: Duration) -> Answer {
        match self.offer(message, by, time) {
            Ok(offered) => offered.answer(),
            Err(refusal) => refusal,
        }
    }

    /// The same in two steps, so that several messages share a sync.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn offer(
        &self,
        message: Submission,
        by: &str,
        time: Duration,
    ) -> Result<Offered, Answer> {
        let Submission { envelope, text } = message;
        self.offer_as(envelope, &text, Came::By(by.into()), time)
    }

    /// Takes a message out of another queue, as [`Running::submit`] does a new
    /// one; 504: it may have been taken.
    pub fn import(&self, message: Import, time: Duration) -> Answer {
        let Import { exported: Exported { envelope, past, .. }, text } = message;
        match self.offer_as(envelope, &text, Came::Exported(Box::new(past)), time) {
            Ok(offered) => {
                offered.heard().unwrap_or_else(|| Answer::new(504, json!({ "error": UNKNOWN })))
            }
            Err(refusal) => refusal,
        }
    }

    fn offer_as(
        &self,
        envelope: Envelope,
        text: &[u8],
        came: Came,
        time: Duration,
    ) -> Result<Offered, Answer> {
        let until = Instant::now() + time;
        let policy = self.in_force();
        let most = policy.submission.max_recipients;
        if envelope.recipients.len() > most as usize {
            return Err(Answer::refused(&format!("a message may have {most} recipients at most")));
        }
        let received = smtp::direct::received(envelope, text, policy.submission.max_message)
            .map_err(|refusal| Answer::not_taken(&refusal))?;
        let (answer, answers) = crossbeam::channel::bounded(1);
        let place = self.next_writer.fetch_add(1, Ordering::AcqRel) % self.inboxes.len();
        let mail = Mail::Submitted { came, received, answer };
        self.inboxes[place].post_patiently(mail, || self.is_running() && Instant::now() < until);
        Ok(Offered { answers, until })
    }

    /// Where the web page is wanted now, if anywhere.
    pub fn page_listen(&self) -> Option<std::net::SocketAddr> {
        self.in_force().page.listen
    }

    /// What the daemon calls itself.
    pub fn hostname(&self) -> String {
        self.in_force().hostname.to_string()
    }

    /// The policy that rules now.
    pub(crate) fn in_force(&self) -> std::sync::Arc<control::Policy> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Offered {
    /// Waits for the answer.
    pub(crate) fn answer(self) -> Answer {
        self.heard().unwrap_or_else(|| Answer::new(503, json!({ "error": UNKNOWN })))
    }

    /// The same; none where none came in time.
    fn heard(self) -> Option<Answer> {
        self.answers.recv_deadline(self.until).ok().map(|(_, answer)| answer)
    }
}

const UNKNOWN: &str = "no answer in time; it may have been taken";
