//! Which waiting mail a command means. Most is known from what the queue has of
//! it; for the rest its message is read, where it stands. A message that
//! cleaning has moved stands where its writer alone knows: that one is asked,
//! the queue learns of the place, and the command goes on.
//!
//! Invariants: a recipient is asked about once by one command; who cannot be
//! read then is passed over.

use std::collections::BTreeMap;

use base::{MessageId, ShardId};
use control::Facts;
use queue::View;

use super::{Job, PAUSE_WRITTEN, filter_state};
use crate::handoff::{RELAY_HOP, queue_place};
use crate::shard::{Shard, Turn};
use crate::why::Question;

/// Whether a command means a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    Yes,
    No,
    /// Its message is not where it was; `all_the_same`: it is meant, whatever
    /// the message says, which is wanted for the answer.
    Unread {
        all_the_same: bool,
    },
}

impl Shard {
    pub(super) fn is_meant(&self, turn: &Turn<'_>, job: &Job, view: &View) -> Meant {
        let filter = &job.filter;
        let (hop, site) = self.whereabouts(view);
        let way = filter.route.as_ref().and_then(|_| self.way_of(view.destination));
        let mut facts = Facts {
            id: view.message,
            state: filter_state(view.state),
            in_doubt: view.in_doubt,
            domain: Some(&hop),
            site: site.as_deref(),
            route: way.as_ref().map(|way| &*way.name),
            age: turn.now.wall.since(view.arrived),
            sender: None,
            recipient: None,
        };
        let relayed = hop.as_ref() == RELAY_HOP;
        if relayed {
            facts.domain = None;
        }
        let by_domain = relayed && filter.domain.is_some();
        // What is not known yet does not exclude: most need not be read.
        if !by_domain {
            let may = filter.matches(&facts);
            if !may {
                return Meant::No;
            }
            if !filter.needs_envelope() {
                let read = !job.shows() || view.writer == self.id;
                return match read || self.stored(turn, view).is_some() {
                    true => Meant::Yes,
                    false => Meant::Unread { all_the_same: true },
                };
            }
        }
        let Some(stored) = self.stored(turn, view) else {
            // What its own writer cannot read is damaged.
            let elsewhere = view.writer != self.id;
            return if elsewhere { Meant::Unread { all_the_same: false } } else { Meant::No };
        };
        facts.sender = Some(stored.sender());
        facts.recipient = stored.recipient(view.recipient).map(|r| r.address);
        facts.domain = facts.recipient.and_then(|r| r.rsplit_once('@')).map(|(_, domain)| domain);
        if filter.matches(&facts) { Meant::Yes } else { Meant::No }
    }

    /// Asks the writers of messages that a command has to read where these
    /// stand. While too many questions are open the command pauses.
    pub(super) fn ask_places(&mut self, turn: &mut Turn<'_>, mut job: Job) {
        if !self.may_ask(turn) {
            job.not_before = turn.now.mono + PAUSE_WRITTEN;
            return self.jobs.push_back(job);
        }
        // A command that nobody waits for has no number.
        let number = job.request.unwrap_or_else(|| u64::MAX - self.next_errand());
        let mut questions: BTreeMap<ShardId, Question> = BTreeMap::new();
        for view in job.unread.iter().filter_map(|key| self.queue.entry(turn.now, *key)) {
            let question = questions.entry(view.writer).or_insert_with(|| Question::new(number));
            question.places.push(view.message);
        }
        if questions.is_empty() {
            // All of it has gone meanwhile.
            job.unread.clear();
            return self.go_on_later(turn, job);
        }
        self.ask_for_places(turn, number, job, questions.into_iter().collect());
    }

    /// The writers have told where messages stand: the command goes on with
    /// what it could not read.
    pub(crate) fn places_told(
        &mut self,
        turn: &Turn<'_>,
        mut job: Job,
        place: impl Fn(MessageId) -> Option<spool::Place>,
    ) {
        job.placed = std::mem::take(&mut job.unread);
        for key in &job.placed {
            let message = self.queue.entry(turn.now, *key).map(|view| view.message);
            if let Some(place) = message.and_then(&place) {
                self.queue.set_place(*key, queue_place(place));
            }
        }
        self.go_on_later(turn, job);
    }
}
