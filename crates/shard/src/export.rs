//! One waiting message whole, as a file (`mail::exported`): asked for over the
//! control socket, answered by the shard that wrote it.
//!
//! Never changes anything. Invariant: what has waited long is brought in by an
//! asynchronous read before any byte of it is touched, as for an attempt.

use base::MessageId;
use mail::exported::{Exported, LastAnswer, Past, Standing};
use mail::{Address, Envelope, Recipient, ReversePath};
use spool::{Phase, Unreadable};

use crate::command::Answer;
use crate::effect::Effect;
use crate::prefetch::{Reading, WARM_FOR};
use crate::shard::{Shard, Turn};

impl Shard {
    /// Answers with a message, at once or when it has been read.
    pub(crate) fn export(&mut self, turn: &mut Turn<'_>, request: u64, id: MessageId) {
        let stored = self.spool.message(&*turn.medium, id);
        if let Ok(stored) = stored
            && turn.now.wall.since(stored.arrival()) >= WARM_FOR
        {
            let (place, reading) = (stored.place(), Reading::Export { request, id });
            return self.read_ahead(turn, place, reading);
        }
        self.answer_export(turn, request, id);
    }

    /// Answers with a message that is in memory, as far as it could be read.
    pub(crate) fn answer_export(&self, turn: &mut Turn<'_>, request: u64, id: MessageId) {
        let answer = match self.file_of(turn, id) {
            Ok(file) => Answer::file(file),
            Err(Unreadable::LocalGone) => Answer::not_found("no such message in the queue"),
            Err(damage) => Answer::busy(&damage.to_string()),
        };
        turn.effects.push(Effect::Reply { request, answer });
    }

    fn file_of(&self, turn: &Turn<'_>, id: MessageId) -> Result<Vec<u8>, Unreadable> {
        let stored = self.spool.message(&*turn.medium, id)?;
        if !spool::verify_body(&*turn.medium, &stored) {
            return Err(Unreadable::LocalDamaged);
        }
        let body = stored.body(&*turn.medium).ok_or(Unreadable::LocalDamaged)?;
        let sender = match stored.sender() {
            "" => ReversePath::Null,
            sender => ReversePath::Address(address(sender)?),
        };
        let (mut recipients, mut standings) = (Vec::new(), Vec::new());
        for (index, recipient) in (0u16..).zip(stored.recipients()) {
            let Some(state) = self.spool.state(id, index) else { continue };
            if matches!(state.phase, Phase::Done(_)) {
                continue;
            }
            let note = self.spool.note(&*turn.medium, id, index);
            let address = address(recipient.address)?;
            standings.push(Standing {
                held: state.phase == Phase::Held,
                in_doubt: state.in_doubt,
                delay_noticed: state.delay_noticed,
                crashes: state.crashes,
                attempts: state.attempts,
                next: note.map_or(state.next, |note| note.next),
                expires: Some(self.policy.route(&address).expires(stored.arrival())),
                answer: note.map(|note| LastAnswer {
                    status: note.status,
                    text: note.text.into(),
                    host: note.host.into(),
                }),
            });
            let orcpt = recipient.orcpt.map(Into::into);
            recipients.push(Recipient { address, notify: recipient.notify, orcpt });
        }
        let envelope = Envelope {
            sender,
            recipients,
            body: stored.body_kind(),
            smtputf8: stored.smtputf8(),
            ret: stored.ret(),
            envid: stored.envid().map(Into::into),
        };
        let past = Past {
            arrived: stored.arrival(),
            client: stored.client(),
            helo: stored.helo().into(),
            standings,
        };
        let mut file = Vec::new();
        let exported = Exported { id: id.to_string().into(), envelope, past };
        mail::exported::write(&exported, body, &mut file);
        Ok(file)
    }
}

fn address(text: &str) -> Result<Address, Unreadable> {
    Address::parse(text, true).map_err(|_| Unreadable::LocalDamaged)
}
