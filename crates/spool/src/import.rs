//! A message that comes from another queue: stored with its time of arrival and
//! the standings of its recipients, in one record.
//!
//! Such a record is that of a relocated message whose first place is its own: so
//! a crash leaves message and standings or neither, and every reader knows it
//! already. Never here: files, and what stands in them (`mail::exported`).

use base::{MessageId, SegmentId, Wall};
use mail::Envelope;

use crate::entry::{Meta, encode_head};
use crate::index::Entry;
use crate::medium::Medium;
use crate::record::Kind;
use crate::settle::changed;
use crate::state::{Change, Prefix, Slot, begin_block, push_state};
use crate::writer::{Appended, Class, Draft, Refusal, Spool};

/// Where a recipient stood in the queue it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// What is left to do, and what was said last.
    pub change: Change<'a>,
    /// Crashes in a row that found an attempt open.
    pub crashes: u8,
}

impl Spool {
    /// Writes a message that arrived at another queue at `arrival`, as
    /// [`Spool::append_message`] does a new one. A recipient without standing
    /// is as of a new message.
    ///
    /// # Errors
    /// Any [`Refusal`] but `MisuseUnknown`.
    ///
    /// # Panics
    /// No recipient, or a standing of one that is not there.
    pub fn append_imported(
        &mut self,
        medium: &mut (impl Medium + ?Sized),
        meta: &Meta<'_>,
        envelope: &Envelope,
        arrival: Wall,
        standings: &[Standing<'_>],
        body: &[&[u8]],
    ) -> Result<Appended, Refusal> {
        assert!(!envelope.recipients.is_empty(), "a message has recipients");
        let mut head = Vec::new();
        // The id is known once there is room; it takes as much room as any.
        encode(medium, MessageId::default(), meta, envelope, standings, &mut head);
        let body_bytes = body.iter().map(|part| part.len()).sum::<usize>();
        let body_bytes = u32::try_from(body_bytes).map_err(|_| Refusal::LocalTooLarge)?;
        self.make_room(Class::Mail, head.len() as u32, body_bytes)?;
        let active = self.active.as_ref().expect("room was made in it");
        let id = MessageId { segment: active.segment, offset: active.end };
        head.clear();
        encode(medium, id, meta, envelope, standings, &mut head);
        let draft = Draft { body, ..Draft::new(Kind::Relocated, Class::Mail, arrival, &head) };
        let (place, position) = self.append_once(medium, &draft)?;
        assert_eq!((place.segment, place.offset), (id.segment, id.offset), "room was made there");
        // Lost with a failed sync like a new one: who brought it keeps the file.
        let mut entry = Entry::new(place.offset, place.len, false, envelope.recipients.len());
        let (prefix, _) = Prefix::split(&head).expect("a prefix that was just made");
        for state in prefix.block.states() {
            entry.slots_mut()[usize::from(state.recipient)] = Slot::of_entry(&state, place.start());
        }
        self.index.insert(id, place.segment, entry);
        self.commit.want(position);
        Ok(Appended { id, place, position })
    }
}

fn encode(
    medium: &(impl Medium + ?Sized),
    id: MessageId,
    meta: &Meta<'_>,
    envelope: &Envelope,
    standings: &[Standing<'_>],
    head: &mut Vec<u8>,
) {
    Prefix::begin(SegmentId::default(), head);
    begin_block(id, id.segment, standings.len(), head);
    for Standing { change, crashes } in standings {
        let mut state = changed(medium, &Slot::NEW, change);
        state.crashes = *crashes;
        push_state(&state, head);
    }
    Prefix::end(head);
    encode_head(envelope, meta, head);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{answer, at, envelope, ready, settle_in};
    use crate::{MemoryMedium, Note, Outcome, Phase, recover};

    const ARRIVED: Wall = Wall::from_millis(77_000);
    const NEXT: Wall = Wall::from_millis(9_000_000);

    fn held() -> Standing<'static> {
        let note = Note { status: mail::Status::DEFERRED, text: "450 later", host: "mx" };
        let change = Change {
            recipient: 1,
            phase: Phase::Held,
            attempts: 4,
            next: NEXT,
            in_doubt: true,
            delay_noticed: true,
            note: Some(note),
        };
        Standing { change, crashes: 2 }
    }

    fn import(spool: &mut Spool, medium: &mut MemoryMedium) -> Appended {
        let envelope = envelope(&["b@b.example", "c@c.example"]);
        let meta = Meta { helo: "client", ..Meta::default() };
        spool
            .append_imported(medium, &meta, &envelope, ARRIVED, &[held()], &[b"x", b"y\r\n"])
            .unwrap()
    }

    fn is_whole(spool: &Spool, medium: &MemoryMedium, id: MessageId) {
        let message = spool.message(medium, id).unwrap();
        assert_eq!((message.arrival(), message.helo()), (ARRIVED, "client"));
        assert_eq!(message.body(medium), Some(&b"xy\r\n"[..]));
        assert!(crate::verify_body(medium, &message));
        let [fresh, old]: [_; 2] =
            spool.states(id).unwrap().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((fresh.phase, fresh.attempts, fresh.in_doubt), (Phase::Waiting, 0, false));
        assert_eq!((old.phase, old.attempts, old.crashes, old.next), (Phase::Held, 4, 2, NEXT));
        assert!(old.in_doubt && old.delay_noticed);
        let note = spool.note(medium, id, 1).unwrap();
        assert_eq!((note.text, note.host, note.next), ("450 later", "mx", NEXT));
    }

    /// Shows: S2.21
    #[test]
    fn arrival_and_standings_come_along_and_survive_a_crash() {
        let mut medium = MemoryMedium::new(crate::rig::SEGMENT);
        let mut spool = ready(&mut medium, 0);
        let appended = import(&mut spool, &mut medium);
        assert!(spool.durable() < appended.position, "not yet on stable storage");
        spool.kick(&mut medium, at(0));
        answer(&mut spool, &mut medium);
        assert!(spool.durable() >= appended.position);
        is_whole(&spool, &medium, appended.id);
        medium.power_cut(|_, _| 0);
        let (mut spools, report) = recover(&medium, &medium.list(), 1).unwrap();
        assert_eq!((report.messages, report.recipients), (1, 2));
        let mut spool = spools.remove(0);
        is_whole(&spool, &medium, appended.id);
        settle_in(&mut spool, &mut medium);
        let done = |recipient| Change {
            recipient,
            phase: Phase::Done(Outcome::Delivered),
            note: None,
            ..held().change
        };
        let ended = spool.settle(&mut medium, at(9), appended.id, &[done(0), done(1)]).unwrap();
        assert!(ended.done);
        assert_eq!(spool.live_messages(), 0);
    }

    #[test]
    fn it_moves_like_any_other_when_its_segment_goes() {
        let mut medium = MemoryMedium::new(crate::rig::SEGMENT);
        let mut spool = ready(&mut medium, 0);
        let Appended { id, .. } = import(&mut spool, &mut medium);
        for _ in 0..3 {
            crate::rig::fill(&mut spool, &mut medium);
        }
        for turn in 1..20 {
            spool.reclaim(&mut medium, at(turn * 300), 1_000, false);
            spool.kick(&mut medium, at(turn * 300));
            answer(&mut spool, &mut medium);
        }
        assert_eq!(medium.size(id.segment), None, "its first place is gone");
        is_whole(&spool, &medium, id);
        medium.power_cut(|_, _| 0);
        let (spools, _) = recover(&medium, &medium.list(), 1).unwrap();
        is_whole(&spools[0], &medium, id);
    }

    #[test]
    fn what_was_not_durable_is_gone_with_all_of_it() {
        let mut medium = MemoryMedium::new(crate::rig::SEGMENT);
        let mut spool = ready(&mut medium, 0);
        let appended = import(&mut spool, &mut medium);
        spool.kick(&mut medium, at(0));
        let segment = appended.place.segment;
        medium.finish_sync(segment, false);
        assert!(spool.synced(segment, false).is_some(), "who brought it is told");
        assert_eq!(spool.live_messages(), 0);
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused_and_leaves_nothing() {
        let mut medium = MemoryMedium::new(crate::rig::SEGMENT);
        let mut spool = ready(&mut medium, 0);
        let large = vec![b'x'; crate::rig::SEGMENT as usize];
        let (meta, envelope) = (Meta::default(), envelope(&["b@b.example"]));
        let refused = spool.append_imported(&mut medium, &meta, &envelope, ARRIVED, &[], &[&large]);
        assert_eq!(refused.unwrap_err(), Refusal::LocalTooLarge);
        assert_eq!(spool.live_messages(), 0);
        import(&mut spool, &mut medium);
    }
}
