//! Messages that come without a session: made ready on the caller's thread,
//! handed to one of the shards, answered when they are on stable storage.
//!
//! Never touches a shard's state; the work on a large text is done here, where
//! no other mail waits for it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::ShardId;
use control::api::Submission;
use crossbeam::channel::Receiver;
use shard::command::Answer;

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
    /// `by` says how it came, as `shard::event::Event::Submitted` has it. A
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
        let until = Instant::now() + time;
        let policy = self.in_force();
        let Submission { envelope, text } = message;
        let most = policy.submission.max_recipients;
        if envelope.recipients.len() > most as usize {
            return Err(Answer::refused(&format!("a message may have {most} recipients at most")));
        }
        let received = smtp::direct::received(envelope, &text, policy.submission.max_message)
            .map_err(|refusal| Answer::not_taken(&refusal))?;
        let (answer, answers) = crossbeam::channel::bounded(1);
        let place = self.next_writer.fetch_add(1, Ordering::AcqRel) % self.inboxes.len();
        let mail = Mail::Submitted { by: by.into(), received, answer };
        self.inboxes[place].post_patiently(mail, || self.is_running() && Instant::now() < until);
        Ok(Offered { answers, until })
    }

    /// The policy that rules now.
    pub(crate) fn in_force(&self) -> std::sync::Arc<control::Policy> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Offered {
    /// Waits for the answer.
    pub(crate) fn answer(self) -> Answer {
        match self.answers.recv_deadline(self.until) {
            Ok((_, answer)) => answer,
            Err(_) => Answer {
                status: 503,
                body: serde_json::json!({ "error": "no answer in time; it may have been taken" }),
            },
        }
    }
}
