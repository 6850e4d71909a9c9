//! Shards over real files: what the runtime does, without threads and without
//! waiting, and the random work that it is done for.
//!
//! Never a judgement (`facts`), never a short cut past the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use base::{MessageId, Monotonic, Now, Rng, SegmentId, Wall};
use mail::{Envelope, Recipient, ReversePath, Status};
use spool::{
    Change, Medium, Meta, Note, Outcome, Phase, Place, Refusal, Report, Spool, Try, recover,
    verify_body,
};

use super::facts::{Facts, Found, Mail, Noted, Of, Standing, Text, Tried, When};
use crate::tests::trace;
use crate::{FileMedium, Folder, FolderError, Keeper, Request, disk};

/// As small as still holds a few messages and their index.
pub const SEGMENT: u32 = 16 * 1024;

/// Shards at work in one folder.
pub struct World {
    #[expect(dead_code, reason = "held for its lock")]
    folder: Folder,
    media: Vec<FileMedium>,
    keeper: Keeper,
    spools: Vec<Spool>,
    pub facts: Facts,
    syncs: Vec<(usize, SegmentId)>,
    now: u64,
    written: u64,
    pub rng: Rng,
}

/// Opens the folder. A process that another test starts holds every lock of
/// ours from its fork to its exec: moments, and bounded here.
fn folder(root: &Path) -> Folder {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Folder::open(root) {
            Err(FolderError::LocalInUse { .. }) if Instant::now() < until => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

impl World {
    /// Opens the folder and recovers, twice: both must find the same.
    pub fn open(root: &Path, shards: u16, rng: Rng) -> (Self, Report) {
        let folder = folder(root);
        let medium = folder.medium();
        let (again, same) = recover(&medium, &folder.list(), shards).unwrap();
        let (spools, report) = recover(&medium, &folder.list(), shards).unwrap();
        assert_eq!(report, same, "recovery is repeatable");
        drop(again);
        let media = spools.iter().map(|_| folder.medium()).collect();
        let keeper = folder.keeper(SEGMENT).unwrap();
        let world = Self {
            folder,
            media,
            keeper,
            spools,
            facts: Facts::default(),
            syncs: Vec::new(),
            now: 0,
            written: 0,
            rng,
        };
        (world, report)
    }

    /// Every message that is live and can be read, by its id.
    pub fn found(&self, ids: impl Iterator<Item = MessageId>) -> BTreeMap<MessageId, Found> {
        let found = ids.filter_map(|id| {
            let shard = self.writer(id)?;
            let (spool, medium) = (&self.spools[shard], &self.media[shard]);
            let message = spool.message(medium, id).ok().filter(|m| verify_body(medium, m))?;
            let body = Text(message.body(medium)?.to_vec());
            let count = message.recipient_count();
            let standings = (0..count).map(|r| standing(spool, medium, id, r)).collect();
            Some((id, (body, standings)))
        });
        found.collect()
    }

    /// The shard that has a message in its table.
    pub fn writer(&self, id: MessageId) -> Option<usize> {
        self.spools.iter().position(|spool| spool.place(id).is_some())
    }

    /// Where a live message stands.
    pub fn place(&self, id: MessageId) -> Option<Place> {
        self.spools.iter().find_map(|spool| spool.place(id))
    }

    /// Bytes of a segment.
    pub fn bytes(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
        self.media[0].read(segment, offset, len)
    }

    /// Gets every shard its segments, and has doubts noted.
    pub fn settle_in(&mut self) {
        for _ in 0..4 {
            for shard in 0..self.spools.len() {
                self.kick(shard);
            }
            self.answer();
        }
    }

    /// Takes out all recovered mail: each message once, each doubt noted.
    pub fn hand_out(&mut self, report: &Report) -> BTreeSet<MessageId> {
        let mut out = BTreeMap::new();
        for (spool, medium) in self.spools.iter_mut().zip(&self.media) {
            assert_eq!(spool.doubts(), [], "doubts are noted before mail is handed out");
            while spool.is_resuming() {
                let Some(message) = spool.next_recovered(medium) else { continue };
                assert_eq!(out.insert(message.id(), message.place()), None, "handed out twice");
                assert_eq!(spool.place(message.id()), Some(message.place()));
            }
        }
        assert_eq!(out.len() as u64, report.messages, "all that was counted is handed out");
        out.into_keys().collect()
    }

    /// Brings the facts up to what recovery and [`World::settle_in`] made.
    pub fn note_doubts(&mut self, report: &Report) {
        for doubt in &report.in_doubt {
            let Some(mail) = self.facts.mail.get_mut(&doubt.message) else { continue };
            let spool = &self.spools[mail.writer];
            let standing =
                standing(spool, &self.media[mail.writer], doubt.message, doubt.recipient);
            assert!(standing.in_doubt && standing.attempts == doubt.attempt, "{doubt:?}");
            let held = doubt.crashes >= base::limits::OPEN_ATTEMPT_CRASHES_MAX;
            assert!(!held || standing.phase == Phase::Held, "{doubt:?}");
            let of = &mut mail.recipients[usize::from(doubt.recipient)];
            // Open again, should the note of the doubt be lost.
            let when = When::found(mail.writer);
            of.tried.push(Tried { attempt: doubt.attempt, when, ended: true });
            let when = When::written(0, mail.writer, spool.last_position());
            of.noted.push(Noted { standing, when });
        }
        self.note_durable();
    }

    /// Does one thing by chance.
    pub fn step(&mut self) {
        self.now += 60;
        let shard = self.rng.below(self.spools.len() as u64) as usize;
        match self.rng.below(64) {
            0..12 => self.accept(shard),
            12..22 => self.attempt(shard),
            22..36 => self.settle(),
            36..39 => self.report(),
            39..46 => self.kick(shard),
            46..56 => self.answer(),
            56..62 => self.reclaim(shard),
            62 => self.fail_sync(),
            _ => {
                self.keeper.prepare().unwrap();
            }
        }
    }

    /// Lets every shard finish what it began.
    pub fn finish(&mut self) {
        self.now += 200;
        for _ in 0..3 {
            for shard in 0..self.spools.len() {
                self.kick(shard);
            }
            self.answer();
        }
    }

    /// Cleans as long as there is something to clean.
    pub fn clean(&mut self, turns: u32) {
        for _ in 0..turns {
            for shard in 0..self.spools.len() {
                self.reclaim(shard);
                self.kick(shard);
            }
            self.answer();
            self.keeper.prepare().unwrap();
        }
    }

    /// Writes a message with a body no other has.
    pub fn accept(&mut self, shard: usize) {
        let recipients = 1 + self.rng.below(3) as u8;
        let envelope = envelope(recipients);
        let bytes = match self.rng.below(8) {
            0 => 0,
            1 => 4_000,
            _ => self.rng.below(1_500),
        };
        self.written += 1;
        let mut text = Rng::new(self.written ^ self.rng.next_u64());
        let body: Vec<u8> = (0..bytes).map(|_| b' ' + (text.next_u64() % 90) as u8).collect();
        let (from, now) = (trace::len(), self.at());
        let (spool, medium) = (&mut self.spools[shard], &mut self.media[shard]);
        let parts = body.split_at(body.len() / 2);
        let meta = Meta::default();
        let appended =
            match spool.append_message(medium, now, &meta, &envelope, &[parts.0, parts.1]) {
                Ok(appended) => appended,
                Err(refusal) => return assert!(refusal == Refusal::LocalFull || spool.is_down()),
            };
        let when = When::written(from, shard, appended.position);
        let recipients = (0..recipients).map(|_| Of::fresh(when.clone())).collect();
        self.add(appended.id, appended.place, when, body, recipients);
    }

    fn add(&mut self, id: MessageId, place: Place, when: When, body: Vec<u8>, recipients: Vec<Of>) {
        let header = self.bytes(place.segment, place.offset, 40).unwrap();
        let (header, body) = (Text(header.to_vec()), Text(body));
        let mail = Mail { writer: when.shard, when, place, header, body, recipients };
        assert!(self.facts.mail.insert(id, mail).is_none(), "{id} was given out twice");
    }

    /// A recipient of a durable message that is still owed.
    fn pick(&mut self) -> Option<(MessageId, usize)> {
        let owed = |(id, mail): (&MessageId, &Mail)| {
            let open = |of: &Of| !of.now().is_done();
            let recipient = mail.recipients.iter().position(open)?;
            (mail.when.is_acked() && self.writer(*id).is_some()).then_some((*id, recipient))
        };
        let all: Vec<_> = self.facts.mail.iter().filter_map(owed).collect();
        (!all.is_empty()).then(|| all[self.rng.below(all.len() as u64) as usize])
    }

    fn attempt(&mut self, shard: usize) {
        let Some((id, recipient)) = self.pick() else { return };
        let (from, now) = (trace::len(), self.at());
        let home = self.place(id).expect("owed mail has a place").segment;
        let mail = self.facts.mail.get_mut(&id).unwrap();
        let of = &mut mail.recipients[recipient];
        let attempt = of.highest_attempt() + 1;
        let tries = [Try { recipient: recipient as u16, attempt }];
        let (spool, medium) = (&mut self.spools[shard], &mut self.media[shard]);
        if let Ok(position) = spool.append_attempt(medium, now, id, home, &tries) {
            let when = When::written(from, shard, position);
            of.tried.push(Tried { attempt, when, ended: false });
        }
    }

    /// Settles a recipient of some message.
    pub fn settle(&mut self) {
        let Some((id, recipient)) = self.pick() else { return };
        let how = self.rng.below(60);
        let phase = match how % 6 {
            0 => Phase::Held,
            1 | 2 => Phase::Waiting,
            3 => Phase::Done(Outcome::Failed),
            _ => Phase::Done(Outcome::Delivered),
        };
        let text = format!("450 4.3.0 answer {how}");
        let note = Note { status: Status::SYSTEM, text: &text, host: "mx.example.org" };
        let note = (!how.is_multiple_of(5)).then_some(note);
        let (from, now) = (trace::len(), self.at());
        let mail = self.facts.mail.get_mut(&id).unwrap();
        let of = &mut mail.recipients[recipient];
        let mut change = change(recipient, phase, of.highest_attempt(), note);
        change.next = Wall::from_millis(how * 1_000);
        let (spool, medium) = (&mut self.spools[mail.writer], &mut self.media[mail.writer]);
        let Ok(settled) = spool.settle(medium, now, id, &[change]) else { return };
        let old = of.now().clone();
        let standing = Standing {
            phase,
            attempts: change.attempts.max(old.attempts),
            in_doubt: old.in_doubt,
            next: if matches!(phase, Phase::Done(_)) { old.next } else { change.next },
            text: note.map_or(old.text, |note| note.text.into()),
        };
        let when = When::written(from, mail.writer, settled.position);
        of.noted.push(Noted { standing, when });
    }

    /// Fails a recipient and reports it, in one record.
    fn report(&mut self) {
        let Some((id, recipient)) = self.pick() else { return };
        let (from, now) = (trace::len(), self.at());
        let body = vec![b'r'; self.rng.below(300) as usize];
        let mail = self.facts.mail.get_mut(&id).unwrap();
        let of = &mut mail.recipients[recipient];
        let phase = Phase::Done(Outcome::Failed);
        let change = [change(recipient, phase, of.highest_attempt(), None)];
        let (spool, medium) = (&mut self.spools[mail.writer], &mut self.media[mail.writer]);
        let written = spool.append_report(medium, now, &envelope(1), &[&body], id, &change);
        let Ok((appended, settled)) = written else { return };
        let standing = Standing { phase, attempts: of.highest_attempt(), ..of.now().clone() };
        let when = When::written(from, mail.writer, settled.position);
        of.noted.push(Noted { standing, when: when.clone() });
        let recipients = vec![Of::fresh(when.clone())];
        self.add(appended.id, appended.place, when, body, recipients);
    }

    fn kick(&mut self, shard: usize) {
        let now = self.at();
        self.spools[shard].kick(&mut self.media[shard], now);
        self.collect(shard);
    }

    fn reclaim(&mut self, shard: usize) {
        self.now += 300;
        let (now, short) = (self.at(), self.rng.chance(1, 2));
        let records = 1 + self.rng.below(40) as u32;
        let (spool, medium) = (&mut self.spools[shard], &mut self.media[shard]);
        spool.reclaim(medium, now, records, short);
        self.collect(shard);
    }

    fn collect(&mut self, shard: usize) {
        let mut requests = Vec::new();
        self.media[shard].take_requests(&mut requests);
        for request in requests {
            match request {
                Request::Sync(segment) => self.syncs.push((shard, segment)),
                Request::NewSegment => {
                    let (segment, bytes) = self.keeper.create().unwrap();
                    self.spools[shard].segment_ready(segment, bytes);
                }
                Request::Retire(segment) => self.keeper.retire(segment).unwrap(),
            }
        }
    }

    /// Ends all syncs that are under way.
    fn answer(&mut self) {
        for (shard, segment) in std::mem::take(&mut self.syncs) {
            disk::sync(&self.file(segment)).unwrap();
            assert_eq!(self.spools[shard].synced(segment, true), None);
            self.note_durable();
        }
    }

    /// One sync ends badly; not a second time before the mail has moved.
    fn fail_sync(&mut self) {
        if self.syncs.is_empty() || !self.spools.iter().all(Spool::is_healthy) {
            return;
        }
        let (shard, segment) = self.syncs.remove(0);
        trace::sync_failed(&self.file(segment));
        let Some(lost) = self.spools[shard].synced(segment, false) else { return };
        self.facts.whens().for_each(|when| when.note_lost(shard, lost));
    }

    fn file(&self, segment: SegmentId) -> File {
        File::options().write(true).open(self.media[0].path(segment)).unwrap()
    }

    /// Writes down what is durable by now, and gives attempts back.
    fn note_durable(&mut self) {
        let now = trace::len();
        for (shard, spool) in self.spools.iter().enumerate() {
            let durable = spool.durable();
            self.facts.whens().for_each(|when| when.note_durable(shard, durable, now));
        }
        for (id, mail) in &mut self.facts.mail {
            for (r, of) in mail.recipients.iter_mut().enumerate() {
                let settled = of.settled_attempts();
                for tried in of.tried.iter_mut().filter(|t| !t.ended && t.attempt <= settled) {
                    tried.ended = true;
                    self.spools[tried.when.shard].attempt_ended(*id, std::iter::once(r as u16));
                }
            }
        }
    }

    fn at(&self) -> Now {
        let mono = Monotonic::from_millis(self.now);
        Now::new(mono, Wall::from_millis(1_000_000 + self.now))
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.spools.len()
    }
}

fn standing(spool: &Spool, medium: &FileMedium, id: MessageId, recipient: u16) -> Standing {
    let state = spool.state(id, recipient).unwrap();
    let note = spool.note(medium, id, recipient);
    Standing {
        phase: state.phase,
        attempts: state.attempts,
        in_doubt: state.in_doubt,
        next: state.next,
        text: note.map_or(String::new(), |note| note.text.into()),
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
