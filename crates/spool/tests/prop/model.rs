//! What the log must know, in the plainest form.

use base::{MessageId, Wall};
use spool::{MemoryMedium, Phase, Position, Report, Spool};

/// A recipient's standing as far as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub phase: Phase,
    pub attempts: u16,
    pub in_doubt: bool,
    pub next: Wall,
    pub text: String,
}

#[derive(Debug)]
pub struct Noted {
    pub standing: Standing,
    /// `None`: found by recovery, so durable.
    pub position: Option<Position>,
    pub lost: bool,
}

#[derive(Debug)]
pub struct Tried {
    pub shard: usize,
    pub position: Option<Position>,
    pub attempt: u16,
    pub lost: bool,
    pub ended: bool,
}

#[derive(Debug, Default)]
pub struct Of {
    pub noted: Vec<Noted>,
    pub tried: Vec<Tried>,
}

#[derive(Debug)]
pub struct Mail {
    pub writer: usize,
    /// `None`: found by recovery.
    pub position: Option<Position>,
    /// Reported as lost, or never acknowledged: may be gone or come back.
    pub ghost: bool,
    pub body: Vec<u8>,
    pub recipients: Vec<Of>,
}

impl Of {
    pub fn fresh(position: Position) -> Self {
        let standing = Standing {
            phase: Phase::Waiting,
            attempts: 0,
            in_doubt: false,
            next: Wall::default(),
            text: String::new(),
        };
        Self {
            noted: vec![Noted { standing, position: Some(position), lost: false }],
            tried: Vec::new(),
        }
    }

    pub fn now(&self) -> &Standing {
        &self.noted.last().expect("a recipient always stands somewhere").standing
    }

    pub fn highest_attempt(&self) -> u16 {
        let tried = self.tried.iter().map(|tried| tried.attempt).max().unwrap_or(0);
        tried.max(self.now().attempts)
    }

    /// What recovery may find: after a crash of the program the last standing,
    /// after a power cut any from the last durable one on.
    pub fn candidates(&self, old: &Spool, power: bool) -> impl Iterator<Item = &Standing> {
        let last = self.noted.len() - 1;
        let durable = self.noted.iter().rposition(|noted| noted.is_durable(old)).unwrap_or(0);
        let from = if power { durable } else { last };
        self.noted[from..].iter().map(|noted| &noted.standing)
    }

    pub fn check_doubt(
        &self,
        before: &[Spool],
        report: &Report,
        id: MessageId,
        r: usize,
        found: &Standing,
        power: bool,
    ) {
        let is_it = |d: &&spool::Doubt| (d.message, usize::from(d.recipient)) == (id, r);
        let doubt = report.in_doubt.iter().find(is_it).map(|doubt| doubt.attempt);
        let open = |tried: &&Tried| tried.attempt > found.attempts && !found.is_done();
        let sure = |tried: &&Tried| {
            let durable = tried.position.is_none_or(|p| p <= before[tried.shard].durable());
            !power || durable && !tried.lost
        };
        let least = self.tried.iter().filter(open).filter(sure).map(|tried| tried.attempt).max();
        assert!(doubt >= least, "{id} {r}: attempt {least:?} was open, in doubt is {doubt:?}");
        let known = |attempt| self.tried.iter().filter(open).any(|tried| tried.attempt == attempt);
        assert!(doubt.is_none_or(known), "{id} {r}: a doubt without an open attempt");
    }
}

impl Noted {
    pub fn is_durable(&self, writer: &Spool) -> bool {
        !self.lost && self.position.is_none_or(|p| p <= writer.durable())
    }
}

impl Standing {
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done(_))
    }

    /// A done recipient's answer is not kept.
    pub fn same(&self, found: &Self) -> bool {
        let text = self.text == found.text || self.is_done();
        text && Self { text: found.text.clone(), ..self.clone() } == *found
    }
}

pub fn standing(spool: &Spool, medium: &MemoryMedium, id: MessageId, r: usize) -> Standing {
    let state = spool.state(id, r as u16).unwrap();
    let note = spool.note(medium, id, r as u16);
    Standing {
        phase: state.phase,
        attempts: state.attempts,
        in_doubt: state.in_doubt,
        next: state.next,
        text: note.map_or(String::new(), |note| note.text.into()),
    }
}
