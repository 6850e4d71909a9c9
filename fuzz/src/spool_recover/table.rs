//! What was written to the log, as a plain table, and what must be true of it
//! after a restart.
//!
//! Knows nothing of records, segments or syncs but whether the log called a
//! position durable, or lost.

use std::collections::{BTreeMap, BTreeSet};

use base::MessageId;
use mail::Envelope;
use spool::{Appended, Lost, MemoryMedium, Message, Phase, Position, Spool, verify_body};

/// How sure it is that something survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Written; no sync has covered it yet.
    Written(usize, Position),
    /// A sync covered it.
    Durable,
    /// Called lost, or gone with the power: it may come back, and need not.
    Uncertain,
}

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Its one final outcome.
    pub is_done: bool,
    /// Attempts settled.
    pub attempts: u16,
}

#[derive(Debug, Default)]
struct Fate {
    marks: Vec<(Standing, Mark)>,
    /// The attempt recorded last.
    attempt: Option<u16>,
}

#[derive(Debug)]
struct Written {
    standing: Standing,
    envelope: Envelope,
    body: Vec<u8>,
    fates: Vec<Fate>,
}

/// All that was written.
#[derive(Debug, Default)]
pub(super) struct Table {
    messages: BTreeMap<MessageId, Written>,
}

impl Table {
    pub(super) fn ids(&self) -> impl Iterator<Item = MessageId> {
        self.messages.keys().copied()
    }

    /// As many messages as can be alive.
    pub(super) fn live_max(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn append(
        &mut self,
        place: usize,
        appended: &Appended,
        envelope: &Envelope,
        body: Vec<u8>,
    ) {
        let written = Written {
            standing: Standing::Written(place, appended.position),
            envelope: envelope.clone(),
            body,
            fates: envelope.recipients.iter().map(|_| Fate::default()).collect(),
        };
        let before = self.messages.insert(appended.id, written);
        assert!(before.is_none(), "two messages have the id {}", appended.id);
    }

    pub(super) fn mark(
        &mut self,
        place: usize,
        id: MessageId,
        recipient: u16,
        position: Position,
        mark: Mark,
    ) {
        let written = self.messages.get_mut(&id).expect("marked mail was written");
        let standing = Standing::Written(place, position);
        written.fates[usize::from(recipient)].marks.push((standing, mark));
    }

    pub(super) fn attempt(&mut self, id: MessageId, recipient: u16, attempt: u16) {
        let written = self.messages.get_mut(&id).expect("tried mail was written");
        written.fates[usize::from(recipient)].attempt = Some(attempt);
    }

    /// All of a log up to `position` is durable, but for what was lost.
    pub(super) fn durable(&mut self, place: usize, position: Position) {
        self.each_standing(|standing| match *standing {
            Standing::Written(log, at) if log == place && at <= position => {
                *standing = Standing::Durable;
            }
            _ => {}
        });
    }

    pub(super) fn lost(&mut self, place: usize, lost: Lost) {
        self.each_standing(|standing| match *standing {
            Standing::Written(log, at)
                if log == place && (lost.first..=lost.last).contains(&at) =>
            {
                *standing = Standing::Uncertain;
            }
            _ => {}
        });
    }

    fn each_standing(&mut self, mut each: impl FnMut(&mut Standing)) {
        for written in self.messages.values_mut() {
            each(&mut written.standing);
            for (standing, _) in written.fates.iter_mut().flat_map(|fate| &mut fate.marks) {
                each(standing);
            }
        }
    }

    /// Holds what recovery found against what was written. After a power cut
    /// only what was durable counts; a crash of the program loses nothing.
    pub(super) fn check_recovered(
        &self,
        spools: &[Spool],
        doubts: BTreeSet<(MessageId, u16)>,
        power: bool,
        lossy: bool,
        cut: bool,
    ) {
        for (id, written) in &self.messages {
            let holders: Vec<&Spool> = spools.iter().filter(|s| s.states(*id).is_some()).collect();
            assert!(holders.len() <= 1, "{id} belongs to two shards");
            let certain = |standing: Standing| match standing {
                Standing::Durable => true,
                Standing::Written(..) => !power,
                Standing::Uncertain => false,
            };
            for (recipient, fate) in written.fates.iter().enumerate() {
                let state = holders.first().and_then(|spool| spool.state(*id, recipient as u16));
                let is_open = state.is_some_and(|state| !matches!(state.phase, Phase::Done(_)));
                let maybe_done = fate.marks.iter().any(|(_, mark)| mark.is_done);
                let done = fate.marks.iter().any(|(at, mark)| mark.is_done && certain(*at));
                if certain(written.standing) && !maybe_done {
                    assert!(is_open || (lossy && cut), "{id} recipient {recipient} is lost");
                }
                assert!(!(done && is_open) || lossy, "{id} recipient {recipient} comes back");
                let settled = fate.marks.iter().map(|(_, mark)| mark.attempts).max().unwrap_or(0);
                let tried = fate.attempt.is_some_and(|attempt| attempt > settled);
                if tried && is_open && !power && !lossy {
                    let doubted = doubts.contains(&(*id, recipient as u16));
                    assert!(doubted, "{id} recipient {recipient} is not in doubt");
                }
            }
        }
    }

    /// What the logs hold now is what counts from here on.
    pub(super) fn restarted(&mut self, spools: &[Spool]) {
        for (id, written) in &mut self.messages {
            let holder = spools.iter().find(|spool| spool.states(*id).is_some());
            let here = holder.is_some();
            written.standing = if here { Standing::Durable } else { Standing::Uncertain };
            for (recipient, fate) in written.fates.iter_mut().enumerate() {
                fate.attempt = None;
                let state = holder.and_then(|spool| spool.state(*id, recipient as u16));
                // What is gone has ended, or was never whole: it stays gone.
                let is_done = state.is_none_or(|state| matches!(state.phase, Phase::Done(_)));
                let attempts = state.map_or(0, |state| state.attempts);
                fate.marks = vec![(Standing::Durable, Mark { is_done, attempts })];
            }
        }
    }

    /// The message is one that was written, as it was written.
    pub(super) fn check_message(
        &self,
        medium: &MemoryMedium,
        message: &Message<'_>,
        is_damaged: bool,
    ) {
        let id = message.id();
        let written = self.messages.get(&id).unwrap_or_else(|| panic!("{id} was never written"));
        let sender = written.envelope.sender.address().map(ToString::to_string);
        assert_eq!(message.sender(), sender.unwrap_or_default());
        let found: Vec<&str> = message.recipients().map(|recipient| recipient.address).collect();
        let expected: Vec<String> =
            written.envelope.recipients.iter().map(|r| r.address.to_string()).collect();
        assert_eq!(found, expected);
        assert_eq!(message.envid(), written.envelope.envid.as_deref());
        let whole = verify_body(medium, message);
        assert!(whole || is_damaged, "the body of {id} is damaged");
        if whole {
            assert_eq!(message.body(medium), Some(&written.body[..]), "{id} is altered");
        }
    }
}
