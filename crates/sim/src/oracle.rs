//! The oracles: one per promise, each with a model of its own made from the
//! promise's words, and all of them together as a court.
//!
//! Never asks the product what it thinks: what was seen outside decides. Where
//! a promise leaves room (a power cut forgets what was not synced, a shard
//! hears of a change a moment later), the oracle allows that much and says so
//! in its head. Invariant: an oracle changes nothing in a run.

mod accept;
mod blame;
mod book;
mod change;
mod content;
mod copies;
mod limits;
mod memory;
mod outcome;
mod progress;
mod report;
mod reports;
mod schedule;
mod waits;

#[cfg(test)]
mod play;

use std::fmt;
use std::time::Duration;

use crate::observation::{Stamped, Text};
pub(crate) use book::Book;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The oracle that says so.
    pub oracle: &'static str,
    /// The promise's number in the design.
    pub promise: u8,
    /// What happened.
    pub what: String,
    /// The world's number of the message concerned.
    pub message: Option<u32>,
    /// The recipient concerned.
    pub recipient: Option<Text>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promise {} ({}): {}", self.promise, self.oracle, self.what)?;
        if let Some(message) = self.message {
            write!(f, ", message {message}")?;
        }
        match &self.recipient {
            Some(recipient) => write!(f, ", <{recipient}>"),
            None => Ok(()),
        }
    }
}

/// What an oracle objects to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    what: String,
    message: Option<u32>,
    recipient: Option<Text>,
}

impl Fault {
    /// Something is wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// With this message.
    pub(crate) fn with(self, message: u32) -> Self {
        Self { message: Some(message), ..self }
    }

    /// For this recipient.
    pub(crate) fn to(self, recipient: &Text) -> Self {
        Self { recipient: Some(recipient.clone()), ..self }
    }
}

/// What an oracle says.
pub(crate) type Verdict = Result<(), Fault>;

/// One promise's judge.
pub(crate) trait Oracle {
    /// Its name in reports.
    fn name(&self) -> &'static str;
    /// The number of the promise it judges.
    fn promise(&self) -> u8;
    /// Judges one observation. `book` holds what was known before it.
    fn see(&mut self, book: &Book, seen: &Stamped) -> Verdict;
    /// Judges what is left when the run is over. `book` holds everything.
    fn end(&mut self, _book: &Book, _seen: &Stamped) -> Verdict {
        Ok(())
    }
}

/// How long a shard may take to hear of a change, in any of these rules.
pub(crate) const HEARSAY: Duration = Duration::from_secs(1);
/// How late the wheel and the clock may be: one tick.
pub(crate) const TICK: Duration = Duration::from_secs(2);
/// How old a record may be that a power cut still forgets: the wait for a slow
/// sync to end, and another slow one.
pub(crate) const FORGET: Duration = Duration::from_secs(15);

/// How long after its last connection an attempt may look for its next host.
pub(crate) const NEXT_HOST: Duration = Duration::from_secs(30);

/// All oracles together.
pub struct Court {
    book: Book,
    oracles: Vec<Box<dyn Oracle>>,
    fallen: bool,
}

impl Court {
    /// A court that has seen nothing.
    pub fn new() -> Self {
        let oracles: Vec<Box<dyn Oracle>> = vec![
            Box::new(accept::Accept::default()),
            Box::new(outcome::Outcome::default()),
            Box::new(schedule::Schedule),
            Box::new(copies::Copies::default()),
            Box::new(limits::Limits::default()),
            Box::new(blame::Blame::default()),
            Box::new(waits::Waits::default()),
            Box::new(progress::Progress::default()),
            Box::new(change::Change),
            Box::new(memory::Memory),
            Box::new(content::Content),
            Box::new(reports::Reports::default()),
        ];
        Self { book: Book::default(), oracles, fallen: false }
    }

    /// Judges one observation. After the first breach the court is closed: it
    /// says nothing more.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn see(&mut self, seen: &Stamped) -> Result<(), Breach> {
        if self.fallen {
            return Ok(());
        }
        for oracle in &mut self.oracles {
            if let Err(fault) = oracle.see(&self.book, seen) {
                self.fallen = true;
                return Err(breach(&**oracle, fault));
            }
        }
        self.book.see(seen);
        if matches!(seen.what, crate::observation::Observation::Over { .. }) {
            for oracle in &mut self.oracles {
                if let Err(fault) = oracle.end(&self.book, seen) {
                    self.fallen = true;
                    return Err(breach(&**oracle, fault));
                }
            }
        }
        Ok(())
    }

    /// Names of the oracles and the promises they judge.
    pub fn oracles(&self) -> impl Iterator<Item = (&'static str, u8)> + '_ {
        self.oracles.iter().map(|oracle| (oracle.name(), oracle.promise()))
    }
}

impl Default for Court {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Court {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.oracles()).finish()
    }
}

fn breach(oracle: &dyn Oracle, fault: Fault) -> Breach {
    Breach {
        oracle: oracle.name(),
        promise: oracle.promise(),
        what: fault.what,
        message: fault.message,
        recipient: fault.recipient,
    }
}
