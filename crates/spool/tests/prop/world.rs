//! Shards over one checked medium, and what must be true of them.

use std::collections::BTreeMap;

use super::model::{Mail, Noted, Of, Standing, Tried, standing};
use base::{MessageId, Monotonic, Now, Rng, SegmentId, ShardId, Wall};
use mail::{Envelope, Recipient, ReversePath, Status};
use spool::{
    Change, MemoryMedium, Meta, Note, Outcome, Phase, Position, Refusal, Report, Request, Spool,
    Try, message_at, recover, verify_body,
};

const SEGMENT: u32 = 16 * 1024;

/// One step of a history; numbers pick among what there is.
#[derive(Clone, Debug)]
pub enum Op {
    Accept(u16, u8, u16),
    Attempt(u16, u16),
    Settle(u16, u8),
    /// Fails a recipient and reports it, in one.
    Report(u16, u8),
    Kick(u16),
    /// Answers everything that was asked for.
    Answer,
    Reclaim(u16, u8, bool),
    /// Lets a retired segment go for good.
    Remove(u16),
    FailSync,
    ProgramCrash(u8),
    PowerCut(u8, u64),
}

pub struct World {
    medium: MemoryMedium,
    spools: Vec<Spool>,
    mail: BTreeMap<MessageId, Mail>,
    syncs: Vec<(usize, SegmentId)>,
    retired: Vec<SegmentId>,
    now: u64,
}

impl World {
    pub fn new(shards: u8) -> Self {
        let medium = MemoryMedium::new(SEGMENT);
        let spools = (0..shards).map(|shard| Spool::new(ShardId(shard.into()))).collect();
        let mut world = Self {
            medium,
            spools,
            mail: BTreeMap::new(),
            syncs: Vec::new(),
            retired: Vec::new(),
            now: 0,
        };
        world.settle_in();
        world
    }

    pub fn into_medium(self) -> MemoryMedium {
        self.medium
    }

    pub fn apply(&mut self, op: &Op) {
        self.now += 60;
        match *op {
            Op::Accept(shard, recipients, bytes) => self.accept(shard, recipients, bytes),
            Op::Attempt(mail, shard) => self.attempt(mail, shard),
            Op::Settle(mail, how) => self.settle(mail, how),
            Op::Report(mail, bytes) => self.report(mail, bytes),
            Op::Kick(shard) => self.kick(shard as usize % self.spools.len()),
            Op::Answer => self.answer(true),
            Op::Reclaim(shard, records, short) => self.reclaim(shard, records, short),
            Op::Remove(number) => {
                if !self.retired.is_empty() {
                    let at = number as usize % self.retired.len();
                    self.medium.remove(self.retired.swap_remove(at));
                }
            }
            Op::FailSync => self.fail_sync(),
            Op::ProgramCrash(shards) => {
                self.medium.program_crash();
                self.restart(shards, false);
            }
            Op::PowerCut(shards, seed) => {
                let mut rng = Rng::new(seed);
                self.medium.power_cut(|_, len| match rng.below(3) {
                    0 => 0,
                    1 => len,
                    _ => rng.below(u64::from(len) + 1) as u32,
                });
                self.restart(shards, true);
            }
        }
    }

    /// Ends all mail and cleans until nothing is left but what is in use.
    pub fn drain(&mut self) {
        let ids: Vec<_> = self.mail.keys().copied().collect();
        for id in ids {
            let mail = &self.mail[&id];
            let writer = mail.writer;
            let all: Vec<Change<'_>> = (0..mail.recipients.len())
                .map(|r| change(r, Phase::Done(Outcome::Removed), 0, None))
                .collect();
            match self.spools[writer].settle(&mut self.medium, at(self.now), id, &all) {
                Ok(settled) => assert!(settled.done),
                Err(error) => assert!(matches!(error, Refusal::MisuseUnknown), "{error}"),
            }
            self.now += 200;
            self.kick(writer);
            self.answer(true);
        }
        for _ in 0..200 {
            self.now += 300;
            for shard in 0..self.spools.len() {
                self.reclaim(shard as u16, 255, true);
                self.kick(shard);
            }
            self.answer(true);
            for _ in 0..self.retired.len() {
                self.apply(&Op::Remove(0));
            }
        }
        assert!(self.spools.iter().all(|spool| spool.live_messages() == 0));
        // Active and spares of each shard, and one of marks on its way out.
        let most = self.spools.len() * 4;
        assert!(self.medium.list().len() <= most, "segments left: {:?}", self.medium.list());
    }

    fn settle_in(&mut self) {
        for shard in 0..self.spools.len() {
            for _ in 0..4 {
                self.kick(shard);
                self.answer(true);
            }
        }
    }

    fn kick(&mut self, shard: usize) {
        self.spools[shard].kick(&mut self.medium, at(self.now));
        self.collect(shard, true);
    }

    /// Takes what a shard asked for; makes segments at once where `room`.
    fn collect(&mut self, shard: usize, room: bool) {
        for request in self.medium.requests() {
            match request {
                Request::Sync(segment) => self.syncs.push((shard, segment)),
                Request::Segment if room => {
                    // A recycled file holds another segment's old records.
                    let old =
                        self.medium.list().first().map(|s| self.medium.bytes_mut(*s).to_vec());
                    let old = old.unwrap_or_default();
                    let (segment, bytes) = match self.now % 3 {
                        0 => self.medium.create(),
                        _ => self.medium.create_recycled(&old),
                    };
                    self.spools[shard].segment_ready(segment, bytes);
                }
                Request::Segment => self.spools[shard].no_segment(at(self.now)),
                Request::Retire(segment) => self.retired.push(segment),
            }
        }
    }

    fn answer(&mut self, ok: bool) {
        for (shard, segment) in std::mem::take(&mut self.syncs) {
            self.medium.finish_sync(segment, ok);
            let lost = self.spools[shard].synced(segment, ok);
            assert_eq!(lost, None);
        }
        let spools = &mut self.spools;
        for (id, mail) in &mut self.mail {
            for (r, of) in mail.recipients.iter_mut().enumerate() {
                let writer = &spools[mail.writer];
                let settled = of.noted.iter().rev().find(|noted| noted.is_durable(writer));
                let Some(attempts) = settled.map(|noted| noted.standing.attempts) else { continue };
                for tried in of.tried.iter_mut().filter(|t| !t.ended && t.attempt <= attempts) {
                    tried.ended = true;
                    spools[tried.shard].attempt_ended(*id, std::iter::once(r as u16));
                }
            }
        }
    }

    fn accept(&mut self, shard: u16, recipients: u8, bytes: u16) {
        let shard = shard as usize % self.spools.len();
        let envelope = envelope(recipients);
        let body = vec![b'a' + (bytes % 26) as u8; bytes as usize];
        let spool = &mut self.spools[shard];
        let meta = Meta::default();
        let now = at(self.now);
        let placed = match spool.place_message(&meta, &envelope, body.len() as u32) {
            Ok(placed) => placed,
            Err(refusal) => return assert!(refusal == Refusal::LocalFull || spool.is_down()),
        };
        let parts = body.split_at(body.len() / 2);
        match spool.append_message(&mut self.medium, now, &meta, &envelope, &[parts.0, parts.1]) {
            Ok(appended) => {
                assert_eq!(appended.id, placed);
                let recipients = (0..recipients).map(|_| Of::fresh(appended.position)).collect();
                let position = Some(appended.position);
                let mail = Mail { writer: shard, position, ghost: false, body, recipients };
                self.mail.insert(placed, mail);
            }
            Err(refusal) => assert!(matches!(refusal, Refusal::LocalWrite(_)), "{refusal}"),
        }
    }

    /// A recipient of a durable message that is still owed.
    fn pick(&self, number: u16) -> Option<(MessageId, usize)> {
        let owed = |(id, mail): (&MessageId, &Mail)| {
            let spool = &self.spools[mail.writer];
            let durable = mail.position.is_none_or(|p| p <= spool.durable());
            if !durable || mail.ghost {
                return None;
            }
            let open = |of: &Of| !matches!(of.now().phase, Phase::Done(_));
            let recipient = (0..mail.recipients.len()).find(|r| open(&mail.recipients[*r]))?;
            Some((*id, recipient))
        };
        let all: Vec<_> = self.mail.iter().filter_map(owed).collect();
        (!all.is_empty()).then(|| all[number as usize % all.len()])
    }

    fn attempt(&mut self, number: u16, shard: u16) {
        let Some((id, recipient)) = self.pick(number) else { return };
        let shard = shard as usize % self.spools.len();
        let mail = self.mail.get_mut(&id).unwrap();
        let place = self.spools[mail.writer].place(id).expect("owed mail has a place");
        let of = &mut mail.recipients[recipient];
        let attempt = of.highest_attempt() + 1;
        let tries = [Try { recipient: recipient as u16, attempt }];
        let now = at(self.now);
        let spool = &mut self.spools[shard];
        if let Ok(position) = spool.append_attempt(&mut self.medium, now, id, place.segment, &tries)
        {
            let position = Some(position);
            of.tried.push(Tried { shard, position, attempt, lost: false, ended: false });
        }
    }

    fn settle(&mut self, number: u16, how: u8) {
        let Some((id, recipient)) = self.pick(number) else { return };
        let mail = self.mail.get_mut(&id).unwrap();
        let of = &mut mail.recipients[recipient];
        let attempts = of.highest_attempt();
        let phase = match how % 6 {
            0 => Phase::Held,
            1 | 2 => Phase::Waiting,
            3 => Phase::Done(Outcome::Failed),
            _ => Phase::Done(Outcome::Delivered),
        };
        let text = format!("450 4.3.0 answer {how}");
        let note = (!how.is_multiple_of(5)).then_some(Note {
            status: Status::SYSTEM,
            text: &text,
            host: "mx.example.org",
        });
        let mut change = change(recipient, phase, attempts, note);
        change.next = Wall::from_millis(u64::from(how) * 1_000);
        let now = at(self.now);
        let spool = &mut self.spools[mail.writer];
        let Ok(settled) = spool.settle(&mut self.medium, now, id, &[change]) else { return };
        let old = of.now().clone();
        let done = matches!(phase, Phase::Done(_));
        let standing = Standing {
            phase,
            attempts: attempts.max(old.attempts),
            in_doubt: old.in_doubt,
            next: if done { old.next } else { change.next },
            text: note.map_or(old.text, |note| note.text.into()),
        };
        of.noted.push(Noted { standing, position: Some(settled.position), lost: false });
        let all_done = mail.recipients.iter().all(|of| matches!(of.now().phase, Phase::Done(_)));
        assert_eq!(settled.done, all_done);
        assert_eq!(spool.place(id).is_none(), all_done);
    }

    fn report(&mut self, number: u16, bytes: u8) {
        let Some((id, recipient)) = self.pick(number) else { return };
        let mail = self.mail.get_mut(&id).unwrap();
        let of = &mut mail.recipients[recipient];
        let attempts = of.highest_attempt();
        let phase = Phase::Done(Outcome::Failed);
        let change = [change(recipient, phase, attempts, None)];
        let body = vec![b'r'; usize::from(bytes)];
        let (now, spool) = (at(self.now), &mut self.spools[mail.writer]);
        let parts: [&[u8]; 1] = [&body];
        let written = spool.append_report(&mut self.medium, now, &envelope(1), &parts, id, &change);
        let Ok((appended, settled)) = written else { return };
        let standing = Standing { phase, attempts, ..of.now().clone() };
        of.noted.push(Noted { standing, position: Some(settled.position), lost: false });
        let all_done = mail.recipients.iter().all(|of| matches!(of.now().phase, Phase::Done(_)));
        assert_eq!(settled.done, all_done);
        let position = Some(appended.position);
        let recipients = vec![Of::fresh(appended.position)];
        let report = Mail { writer: mail.writer, position, ghost: false, body, recipients };
        self.mail.insert(appended.id, report);
    }

    fn reclaim(&mut self, shard: u16, records: u8, short: bool) {
        let shard = shard as usize % self.spools.len();
        self.now += 300;
        let spool = &mut self.spools[shard];
        let done = spool.reclaim(&mut self.medium, at(self.now), u32::from(records), short);
        for (id, place) in done.moved {
            assert_eq!(spool.place(id), Some(place));
            let message = message_at(&self.medium, id, place).unwrap();
            assert!(verify_body(&self.medium, &message));
        }
        self.collect(shard, true);
    }

    /// One sync ends badly; not a second time before the mail has moved.
    fn fail_sync(&mut self) {
        let healthy = self.spools.iter().all(Spool::is_healthy);
        if self.syncs.is_empty() || !healthy {
            return;
        }
        let (shard, segment) = self.syncs.remove(0);
        self.medium.finish_sync(segment, false);
        let Some(lost) = self.spools[shard].synced(segment, false) else { return };
        let range = lost.first..=lost.last;
        let hit = |position: Option<Position>| position.is_some_and(|p| range.contains(&p));
        for mail in self.mail.values_mut() {
            mail.ghost |= mail.writer == shard && hit(mail.position);
            for of in &mut mail.recipients {
                for noted in of.noted.iter_mut().filter(|_| mail.writer == shard) {
                    noted.lost |= hit(noted.position);
                }
                for tried in of.tried.iter_mut().filter(|tried| tried.shard == shard) {
                    tried.lost |= hit(tried.position);
                }
            }
        }
    }

    fn restart(&mut self, shards: u8, power: bool) {
        self.syncs.clear();
        self.retired.clear();
        let before = std::mem::take(&mut self.spools);
        let list = self.medium.list();
        let (spools, report) = recover(&self.medium, &list, shards.into()).unwrap();
        let (again, same) = recover(&self.medium, &list, shards.into()).unwrap();
        assert_eq!(report, same, "recovery is repeatable");
        drop(again);
        self.spools = spools;
        self.check(&before, &report, power);
        self.settle_in();
        self.check_handed_out(&report);
    }

    fn check(&mut self, before: &[Spool], report: &Report, power: bool) {
        let mut live = 0;
        for (id, mail) in &mut self.mail {
            let old = &before[mail.writer];
            let found = self.spools.iter().position(|spool| spool.place(*id).is_some());
            let durable = !mail.ghost && mail.position.is_none_or(|p| p <= old.durable());
            let certain = durable || (!power && !mail.ghost);
            let Some(shard) = found else {
                for of in &mail.recipients {
                    let may_be_done = of.candidates(old, power).any(|s| s.is_done());
                    assert!(!certain || may_be_done, "{id} is lost: {mail:?}");
                }
                mail.recipients.clear();
                continue;
            };
            live += 1;
            let spool = &self.spools[shard];
            let message = spool.message(&self.medium, *id).unwrap();
            assert_eq!(message.body(&self.medium).unwrap(), mail.body);
            assert!(verify_body(&self.medium, &message));
            for (r, of) in mail.recipients.iter_mut().enumerate() {
                let standing = standing(spool, &self.medium, *id, r);
                let known = of.candidates(old, power).any(|s| s.same(&standing));
                assert!(known || mail.ghost, "{id} {r}: {standing:?} is none of {of:?}");
                of.check_doubt(before, report, *id, r, &standing, power);
                of.noted = vec![Noted { standing, position: None, lost: false }];
                of.tried.clear();
            }
            (mail.writer, mail.position, mail.ghost) = (shard, None, false);
        }
        self.mail.retain(|_, mail| !mail.recipients.is_empty());
        assert_eq!(report.messages, live, "nothing but what was accepted");
    }

    /// All live mail is handed out once, with its doubts noted.
    fn check_handed_out(&mut self, report: &Report) {
        let mut out = BTreeMap::new();
        for spool in &mut self.spools {
            assert_eq!(spool.doubts(), [], "doubts are noted before mail is handed out");
            while spool.is_resuming() {
                let Some(message) = spool.next_recovered(&self.medium) else { continue };
                assert_eq!(out.insert(message.id(), message.place()), None);
                assert_eq!(spool.place(message.id()), Some(message.place()));
            }
        }
        assert_eq!(out.len(), self.mail.len());
        for (id, mail) in &mut self.mail {
            for (r, of) in mail.recipients.iter_mut().enumerate() {
                let spool = &self.spools[mail.writer];
                let standing = standing(spool, &self.medium, *id, r);
                let is_it = |d: &&spool::Doubt| (d.message, usize::from(d.recipient)) == (*id, r);
                if let Some(doubt) = report.in_doubt.iter().find(is_it) {
                    // Open again, should the note of the doubt be lost.
                    let attempt = doubt.attempt;
                    of.tried.push(Tried {
                        shard: 0,
                        position: None,
                        attempt,
                        lost: false,
                        ended: true,
                    });
                    assert!(standing.in_doubt);
                    assert_eq!(standing.attempts, doubt.attempt);
                    let held = doubt.crashes >= base::limits::OPEN_ATTEMPT_CRASHES_MAX;
                    assert!(!held || standing.phase == Phase::Held);
                    let position = Some(spool.last_position());
                    of.noted.push(Noted { standing, position, lost: false });
                } else {
                    assert_eq!(&standing, of.now());
                }
            }
        }
    }
}

fn change(recipient: usize, phase: Phase, attempts: u16, note: Option<Note<'_>>) -> Change<'_> {
    Change {
        recipient: recipient as u16,
        phase,
        attempts,
        next: Wall::default(),
        in_doubt: false,
        delay_noticed: false,
        note,
    }
}

fn envelope(recipients: u8) -> Envelope {
    let address = |n| mail::Address::parse(format!("r{n}@example.org"), false).unwrap();
    let sender = ReversePath::parse("<s@example.com>", false).unwrap();
    Envelope::new(sender, (0..recipients).map(|n| Recipient::new(address(n))).collect())
}

fn at(ms: u64) -> Now {
    Now::new(Monotonic::from_millis(ms), Wall::from_millis(1_000_000 + ms))
}

/// Appends `count` small messages, answering all requests.
pub fn feed(spool: &mut Spool, medium: &mut MemoryMedium, envelope: &Envelope, count: u32) {
    let mut written = 0;
    while written < count {
        spool.kick(medium, at(0));
        for request in medium.requests() {
            match request {
                Request::Sync(segment) => {
                    medium.finish_sync(segment, true);
                    spool.synced(segment, true);
                }
                Request::Segment => {
                    let (segment, bytes) = medium.create();
                    spool.segment_ready(segment, bytes);
                }
                Request::Retire(segment) => medium.remove(segment),
            }
        }
        if spool.append_message(medium, at(0), &Meta::default(), envelope, &[b"x\r\n"]).is_ok() {
            written += 1;
        }
    }
}
