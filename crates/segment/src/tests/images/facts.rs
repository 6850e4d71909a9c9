//! What a history has written and what it was told is durable, each with its
//! moment in the trace, and what a power cut at a moment may make of that.
//!
//! Never here: the code under test, but for the types it speaks in.

use std::collections::BTreeMap;

use base::{MessageId, Wall};
use spool::{Phase, Place, Position, Report};

/// Where a recipient stands, as far as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub phase: Phase,
    pub attempts: u16,
    pub in_doubt: bool,
    pub next: Wall,
    pub text: String,
}

/// When something was written, and since when it is known to be durable.
#[derive(Clone, Debug)]
pub struct When {
    pub shard: usize,
    pub position: Option<Position>,
    from: u64,
    acked: Option<u64>,
    /// Reported as lost by a failed sync.
    lost: bool,
}

/// One of the standings a recipient was given.
#[derive(Clone, Debug)]
pub struct Noted {
    pub standing: Standing,
    pub when: When,
}

/// One attempt whose record was written.
#[derive(Clone, Debug)]
pub struct Tried {
    pub attempt: u16,
    pub when: When,
    /// Given back to the shard that tried.
    pub ended: bool,
}

/// All about one recipient, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Of {
    pub noted: Vec<Noted>,
    pub tried: Vec<Tried>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Mail {
    pub writer: usize,
    pub when: When,
    /// Where it was written, and the first bytes there.
    pub place: Place,
    pub header: Text,
    pub body: Text,
    pub recipients: Vec<Of>,
}

/// A message's body; a failed test shows only its length and checksum.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

/// A message as found: its body, its recipients' standings.
pub type Found = (Text, Vec<Standing>);

/// All that a history wrote.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub mail: BTreeMap<MessageId, Mail>,
    /// The number of shards has changed. A message may then have its last
    /// answer in a segment of another shard, which may be cleaned away under
    /// it: the text is lost, where the recipient stands is not.
    pub resharded: bool,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sum = self.0.iter().fold(0u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
        write!(f, "{} bytes {sum:08x}", self.0.len())
    }
}

impl When {
    pub fn written(from: u64, shard: usize, position: Position) -> Self {
        Self { shard, position: Some(position), from, acked: None, lost: false }
    }

    /// Found by recovery: as durable as what it was found in.
    pub fn found(shard: usize) -> Self {
        Self { shard, position: None, from: 0, acked: Some(0), lost: false }
    }

    /// Whether it may be there after a cut at `cut`.
    pub fn may_be(&self, cut: u64) -> bool {
        self.from < cut || self.is_sure(cut)
    }

    pub fn is_sure(&self, cut: u64) -> bool {
        self.acked.is_some_and(|acked| acked <= cut)
    }

    pub fn is_acked(&self) -> bool {
        self.acked.is_some()
    }

    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// A shard says that everything up to `durable` is on stable storage.
    pub fn note_durable(&mut self, shard: usize, durable: Position, now: u64) {
        let covered = self.position.is_some_and(|position| position <= durable);
        if self.shard == shard && covered && !self.lost {
            self.acked.get_or_insert(now);
        }
    }

    /// A shard says that a range is lost.
    pub fn note_lost(&mut self, shard: usize, lost: spool::Lost) {
        let hit = self.position.is_some_and(|p| lost.first <= p && p <= lost.last);
        self.lost |= self.shard == shard && hit;
    }
}

impl Of {
    pub fn fresh(when: When) -> Self {
        let standing = Standing {
            phase: Phase::Waiting,
            attempts: 0,
            in_doubt: false,
            next: Wall::default(),
            text: String::new(),
        };
        Self { noted: vec![Noted { standing, when }], tried: Vec::new() }
    }

    pub fn now(&self) -> &Standing {
        &self.noted.last().expect("a recipient always stands somewhere").standing
    }

    pub fn highest_attempt(&self) -> u16 {
        let tried = self.tried.iter().map(|tried| tried.attempt).max().unwrap_or(0);
        tried.max(self.now().attempts)
    }

    /// The attempts up to the last settled one that is durable.
    pub fn settled_attempts(&self) -> u16 {
        let sure = self.noted.iter().rev().find(|noted| noted.when.is_acked());
        sure.map_or(0, |noted| noted.standing.attempts)
    }

    /// What may be found: any standing from the last durable one on.
    pub fn candidates(&self, cut: u64) -> impl Iterator<Item = &Standing> {
        let sure = self.noted.iter().rposition(|noted| noted.when.is_sure(cut)).unwrap_or(0);
        let noted = self.noted[sure..].iter().filter(move |noted| noted.when.may_be(cut));
        noted.map(|noted| &noted.standing)
    }

    fn whens(&mut self) -> impl Iterator<Item = &mut When> {
        let noted = self.noted.iter_mut().map(|noted| &mut noted.when);
        noted.chain(self.tried.iter_mut().map(|tried| &mut tried.when))
    }

    /// Every attempt that is open for sure is in doubt, and no other.
    fn check_doubt(&self, what: &str, found: &Standing, doubt: Option<u16>, cut: u64) {
        let open = |tried: &&Tried| tried.attempt > found.attempts && !found.is_done();
        let sure = self.tried.iter().filter(open).filter(|tried| tried.when.is_sure(cut));
        let least = sure.map(|tried| tried.attempt).max();
        assert!(doubt >= least, "{what}: attempt {least:?} was open, in doubt is {doubt:?}");
        let known = |attempt| {
            let maybe = self.tried.iter().filter(open).filter(|tried| tried.when.may_be(cut));
            maybe.into_iter().any(|tried| tried.attempt == attempt)
        };
        assert!(doubt.is_none_or(known), "{what}: a doubt without an open attempt");
    }
}

impl Standing {
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done(_))
    }

    /// A done recipient's answer is not kept; another may be `forgotten`.
    pub fn same(&self, found: &Self, forgotten: bool) -> bool {
        let lost = self.is_done() || forgotten && found.text.is_empty();
        let text = self.text == found.text || lost;
        text && Self { text: found.text.clone(), ..self.clone() } == *found
    }
}

impl Facts {
    /// Everything that was ever written, with its moment.
    pub fn whens(&mut self) -> impl Iterator<Item = &mut When> {
        self.mail.values_mut().flat_map(|mail| {
            let of = mail.recipients.iter_mut().flat_map(Of::whens);
            std::iter::once(&mut mail.when).chain(of)
        })
    }

    /// Judges what was found after a cut at `cut`.
    pub fn check(&self, found: &BTreeMap<MessageId, Found>, report: &Report, cut: u64) {
        for id in found.keys() {
            let known = self.mail.get(id).is_some_and(|mail| mail.when.may_be(cut));
            assert!(known, "{id} was never written, or has long ended");
        }
        assert_eq!(report.messages, found.len() as u64, "all that is counted can be read");
        for (id, mail) in &self.mail {
            let Some((body, standings)) = found.get(id) else {
                let done = |of: &Of| of.candidates(cut).any(Standing::is_done);
                let ended = mail.recipients.iter().all(done);
                assert!(!mail.when.is_sure(cut) || ended, "{id} is lost: {mail:#?}");
                continue;
            };
            assert!(*body == mail.body, "{id} is altered");
            assert_eq!(standings.len(), mail.recipients.len());
            for (r, (of, standing)) in mail.recipients.iter().zip(standings).enumerate() {
                let what = format!("{id} recipient {r}");
                let known = of.candidates(cut).any(|s| s.same(standing, self.resharded));
                let ghost = mail.when.is_lost() || of.noted.iter().any(|n| n.when.is_lost());
                assert!(known || ghost, "{what}: {standing:?} is none of {of:#?}");
                let is_it = |d: &&spool::Doubt| (d.message, usize::from(d.recipient)) == (*id, r);
                let doubt = report.in_doubt.iter().find(is_it).map(|doubt| doubt.attempt);
                of.check_doubt(&what, standing, doubt, cut);
            }
            assert!(standings.iter().any(|s| !s.is_done()), "{id} has ended and is back");
        }
    }

    /// Whatever is left of mail that does not count is reported as cut.
    pub fn check_cuts(
        &self,
        found: &BTreeMap<MessageId, Found>,
        report: &Report,
        header_at: impl Fn(Place) -> Option<Text>,
    ) {
        for (id, mail) in &self.mail {
            let untouched = mail.recipients.iter().all(|of| of.noted.len() == 1);
            let gone = !found.contains_key(id) && untouched && mail.when.position.is_some();
            if !gone || header_at(mail.place).as_ref() != Some(&mail.header) {
                continue;
            }
            let Place { segment, offset, .. } = mail.place;
            let covers = |cut: &spool::Cut| {
                cut.segment == segment && (cut.offset..cut.offset + cut.bytes).contains(&offset)
            };
            assert!(report.cuts.iter().any(covers), "{id} was cut off without a word: {report:?}");
        }
    }

    /// What the next life starts from: what was found, and nothing else.
    pub fn adopt(
        &self,
        found: &BTreeMap<MessageId, Found>,
        writer: impl Fn(MessageId) -> usize,
    ) -> Self {
        let mail = found.iter().map(|(id, (_, standings))| {
            let shard = writer(*id);
            let old = &self.mail[id];
            let of = |standing: &Standing| Of {
                noted: vec![Noted { standing: standing.clone(), when: When::found(shard) }],
                tried: Vec::new(),
            };
            let recipients = standings.iter().map(of).collect();
            let mail = Mail { writer: shard, when: When::found(shard), recipients, ..old.clone() };
            (*id, mail)
        });
        Self { mail: mail.collect(), resharded: self.resharded }
    }
}
