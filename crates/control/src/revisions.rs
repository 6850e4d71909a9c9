//! The history of the configuration: numbered revisions, which one rules, and
//! which one is in force.
//!
//! Never keeps a text, reads a clock or writes a file: the caller stores what
//! is to be stored ([`mod@file`]) and tells when that is done.
//!
//! Invariants: numbers only rise and are never used twice; the *current*
//! revision is the one that rules after a restart, so that a revision which
//! waits for its confirmation is never current and a crash undoes it; a commit
//! is refused unless its base is the current revision.

pub mod file;

use std::sync::Arc;
use std::time::Duration;

use base::{Monotonic, Wall};
use thiserror::Error;

/// One revision, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u64,
    /// The revision it was made from; 0 for the first one.
    pub base: u64,
    /// When it was made.
    pub time: Wall,
    /// User id of who made it; the daemon's own for what it read by itself, and
    /// nobody's for what came from elsewhere.
    pub uid: u32,
    /// Process id of who made it; a hint.
    pub pid: i32,
    /// How it came.
    pub origin: Origin,
    /// What its maker said about it; at most [`COMMENT_BYTES_MAX`] bytes.
    pub comment: String,
}

/// How a revision came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Out of the configuration file.
    File,
    /// Over the control socket.
    Socket,
    /// From elsewhere, by who showed a certificate made out to this name; at
    /// most [`MAKER_BYTES_MAX`] bytes.
    Remote(Arc<str>),
}

/// Longest name of who made a revision, in bytes.
pub const MAKER_BYTES_MAX: usize = 1_024;

/// Longest comment of a revision, in bytes.
pub const COMMENT_BYTES_MAX: usize = 1_024;
/// Revisions kept; the oldest go first, but never one that may be needed.
pub const REVISIONS_MAX: usize = 100;
/// Bytes of texts kept, beyond those that may be needed.
pub const KEPT_BYTES_MAX: u64 = 256 << 20;
/// Longest time that a commit may wait for its confirmation.
pub const CONFIRM_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a new revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in force, and rules after a restart.
    Rules,
    /// It is in force, but does not rule after a restart: it is undone at this
    /// time unless somebody confirms it.
    Unconfirmed(Monotonic),
    /// It rules after a restart, and is not in force before.
    NextStart,
    /// It rules after a restart, and is in force as soon as
    /// [`History::activate`] says so.
    WhenIdle,
}

/// Where a revision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Rules, or did once.
    InForce,
    /// In force until confirmed or undone.
    Unconfirmed,
    /// Rules from the next start on.
    NextStart,
    /// Waits until no mail is on its way.
    WhenIdle,
    /// Was followed by another.
    Earlier,
    /// Was never confirmed.
    Undone,
}

/// Why something cannot be done to the history as it is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Conflict {
    /// Somebody else was faster.
    #[error("it was based on revision {base}, but revision {current} rules by now")]
    PeerStale {
        /// What the change was made from.
        base: u64,
        /// What it would have to be made from.
        current: u64,
    },
    /// Another one waits for its confirmation.
    #[error("revision {0} waits to be confirmed or rolled back first")]
    PeerUnconfirmed(u64),
    /// There is nothing to confirm.
    #[error("no revision waits for a confirmation")]
    PeerNothingWaits,
    /// Another one than that named waits.
    #[error("revision {0} is the one that waits for a confirmation")]
    PeerOther(u64),
}

/// The history that was read is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the history of the configuration lacks revision {0}, which is needed")]
pub struct LocalLost(pub u64);

/// The revisions that are kept, and what is in force.
#[derive(Clone, Debug)]
pub struct History {
    /// In the order of their numbers, each with the bytes of its text.
    kept: Vec<(Revision, u64)>,
    current: u64,
    in_force: u64,
    /// Until when the one in force must be confirmed, and what was in force
    /// before it.
    confirm_by: Option<(Monotonic, u64)>,
    /// The current one is not in force yet, and waits for no start.
    waits_for_idle: bool,
    /// The revision that the configuration file last held.
    file: u64,
}

impl History {
    /// A history that begins with `first`.
    pub fn new(first: Revision, bytes: u64) -> Self {
        let number = first.number;
        let kept = vec![(first, bytes)];
        let (current, in_force, file) = (number, number, number);
        Self { kept, current, in_force, confirm_by: None, waits_for_idle: false, file }
    }

    /// A history as it was stored: what rules is in force. `kept` in any order.
    ///
    /// # Errors
    /// [`LocalLost`] where the revision that rules is not among them.
    pub fn stored(
        mut kept: Vec<(Revision, u64)>,
        pointers: file::Pointers,
    ) -> Result<Self, LocalLost> {
        kept.sort_by_key(|(revision, _)| revision.number);
        let file::Pointers { current, file } = pointers;
        let (in_force, confirm_by) = (current, None);
        let history = Self { kept, current, in_force, confirm_by, waits_for_idle: false, file };
        match history.find(current) {
            Some(_) => Ok(history),
            None => Err(LocalLost(current)),
        }
    }

    /// The revision that rules after a restart, and that a change must be
    /// based on.
    pub fn current(&self) -> u64 {
        self.current
    }

    /// The revision whose settings hold now.
    pub fn in_force(&self) -> u64 {
        self.in_force
    }

    /// The revision that the configuration file last held.
    pub fn of_file(&self) -> u64 {
        self.file
    }

    /// What is stored beside the revisions.
    pub fn pointers(&self) -> file::Pointers {
        file::Pointers { current: self.current, file: self.file }
    }

    /// The revision that waits for its confirmation, and until when.
    pub fn unconfirmed(&self) -> Option<(u64, Monotonic)> {
        self.confirm_by.map(|(until, _)| (self.in_force, until))
    }

    /// The number that the next revision gets.
    pub fn next_number(&self) -> u64 {
        self.kept.last().map_or(1, |(last, _)| last.number + 1)
    }

    /// A revision that is kept.
    pub fn find(&self, number: u64) -> Option<&Revision> {
        let place =
            self.kept.binary_search_by_key(&number, |(revision, _)| revision.number).ok()?;
        Some(&self.kept[place].0)
    }

    /// All that are kept, the latest first.
    pub fn latest_first(&self) -> impl Iterator<Item = &Revision> {
        self.kept.iter().rev().map(|(revision, _)| revision)
    }

    /// Where a revision stands; it must be one that is kept.
    pub fn standing(&self, revision: &Revision) -> Standing {
        let number = revision.number;
        if self.confirm_by.is_some() && number == self.in_force {
            return Standing::Unconfirmed;
        }
        if number == self.in_force {
            return Standing::InForce;
        }
        if number == self.current {
            return if self.waits_for_idle { Standing::WhenIdle } else { Standing::NextStart };
        }
        // What rules now goes back, base by base, to everything that ever did,
        // as far as it is kept.
        let mut line = self.current;
        while line > number {
            let Some(revision) = self.find(line) else { return Standing::Earlier };
            line = revision.base;
        }
        if line == number { Standing::Earlier } else { Standing::Undone }
    }

    /// Whether a change made from `base` may become a revision now.
    ///
    /// # Errors
    /// [`Conflict::PeerUnconfirmed`], [`Conflict::PeerStale`].
    pub fn may_commit(&self, base: u64) -> Result<(), Conflict> {
        if let Some((number, _)) = self.unconfirmed() {
            return Err(Conflict::PeerUnconfirmed(number));
        }
        let current = self.current;
        if base == current { Ok(()) } else { Err(Conflict::PeerStale { base, current }) }
    }

    /// Takes in a revision that [`History::may_commit`] let pass, with
    /// [`History::next_number`] as its number and the current one as its base.
    pub fn add(&mut self, revision: Revision, bytes: u64, fate: Fate) {
        assert_eq!(revision.number, self.next_number(), "numbers only rise");
        assert_eq!(self.may_commit(revision.base), Ok(()), "it was let pass");
        let number = revision.number;
        if revision.origin == Origin::File {
            self.file = number;
        }
        self.kept.push((revision, bytes));
        match fate {
            Fate::Rules => (self.current, self.in_force) = (number, number),
            Fate::Unconfirmed(until) => {
                self.confirm_by = Some((until, self.in_force));
                self.in_force = number;
            }
            Fate::NextStart | Fate::WhenIdle => self.current = number,
        }
        self.waits_for_idle = fate == Fate::WhenIdle;
    }

    /// What waited until no mail is on its way is in force.
    pub fn activate(&mut self) {
        assert!(self.waits_for_idle, "something waited");
        self.waits_for_idle = false;
        self.in_force = self.current;
    }

    /// The number that a confirmation would make current.
    ///
    /// # Errors
    /// [`Conflict::PeerNothingWaits`], [`Conflict::PeerOther`].
    pub fn may_confirm(&self, number: Option<u64>) -> Result<u64, Conflict> {
        let (waiting, _) = self.unconfirmed().ok_or(Conflict::PeerNothingWaits)?;
        match number {
            Some(other) if other != waiting => Err(Conflict::PeerOther(waiting)),
            _ => Ok(waiting),
        }
    }

    /// The revision in force rules from now on.
    pub fn confirm(&mut self) {
        self.confirm_by = None;
        self.current = self.in_force;
    }

    /// The revision that waited for its confirmation was undone: the one before
    /// it is in force again.
    pub fn undo(&mut self) {
        if let Some((_, before)) = self.confirm_by.take() {
            self.in_force = before;
        }
    }

    /// The file says the same as the current revision.
    pub fn file_agrees(&mut self) {
        self.file = self.current;
    }

    /// Takes out what is beyond the bounds, and returns their numbers.
    pub fn forget_old(&mut self) -> Vec<u64> {
        let before = self.confirm_by.map_or(self.in_force, |(_, before)| before);
        let needed = [self.current, self.in_force, self.file, before];
        let mut count = self.kept.len();
        let mut bytes: u64 = self.kept.iter().map(|(_, bytes)| bytes).sum();
        let mut gone = Vec::new();
        self.kept.retain(|(revision, own)| {
            let beyond = count > REVISIONS_MAX || bytes > KEPT_BYTES_MAX;
            let goes = beyond && !needed.contains(&revision.number);
            if goes {
                count -= 1;
                bytes -= own;
                gone.push(revision.number);
            }
            !goes
        });
        gone
    }
}

/// What the configuration file says beside the revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSays {
    /// What it said when it was last read: the revisions rule.
    Nothing,
    /// What the current revision says.
    TheSame,
    /// Something new, made from the current revision.
    Something,
    /// Something new, made from this earlier revision; somebody has committed
    /// since.
    Outdated(u64),
}

impl History {
    /// What a file with `text` says, where the revision that the file last held
    /// has the text `of_file` and the current one `current`.
    pub fn file_says(&self, text: &str, of_file: &str, current: &str) -> FileSays {
        if text == current {
            FileSays::TheSame
        } else if text == of_file {
            FileSays::Nothing
        } else if self.file == self.current {
            FileSays::Something
        } else {
            FileSays::Outdated(self.file)
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Socket => "socket",
            Self::Remote(_) => "remote",
        })
    }
}

impl Origin {
    /// Whom the certificate of its maker was made out to.
    pub fn maker(&self) -> Option<&str> {
        match self {
            Self::Remote(maker) => Some(maker),
            Self::File | Self::Socket => None,
        }
    }
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InForce => "in-force",
            Self::Unconfirmed => "unconfirmed",
            Self::NextStart => "next-start",
            Self::WhenIdle => "when-idle",
            Self::Earlier => "earlier",
            Self::Undone => "undone",
        })
    }
}

#[cfg(test)]
mod tests;
