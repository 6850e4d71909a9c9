//! What the world sees of the shards, written down for the oracles.
//!
//! Never judges. Invariant: with closed eyes nothing is written down, so that a
//! story of its own pays nothing.

use std::collections::BTreeMap;

use base::SegmentId;
use spool::MemoryMedium;

use super::World;
use crate::observation::{Letter, Observation, Stamped};

/// The eyes of a world.
#[derive(Debug, Default)]
pub(crate) struct Eyes {
    pub(super) open: bool,
    /// Steps of shards so far.
    pub(super) step: u64,
    seen: Vec<Stamped>,
    /// Where a message's header was written, by its number: by itself, when it
    /// was moved, and within reports.
    stored: BTreeMap<u32, Vec<(SegmentId, u32, u32)>>,
}

/// What every message of the world has in its header.
const MARK: &[u8] = b"\r\nX-Story: ";

impl World {
    /// Opens the eyes: from now on everything is written down.
    pub(crate) fn watch(&mut self) {
        self.eyes.open = true;
        self.medium.watch_writes();
    }

    /// Nothing is kept that the oracles do not need.
    pub(crate) fn forget(&mut self) {
        self.names.forgetful = true;
    }

    /// Something was seen.
    pub(crate) fn see(&mut self, what: Observation) {
        if self.eyes.open {
            self.eyes.seen.push(Stamped { at: self.now, step: self.eyes.step, what });
        }
    }

    /// What was seen since the last call.
    pub(crate) fn seen(&mut self) -> Vec<Stamped> {
        std::mem::take(&mut self.eyes.seen)
    }

    /// Notes which messages the last step wrote, and where.
    pub(super) fn look_at_writes(&mut self) {
        for (segment, from, to) in self.medium.writes() {
            let Some(bytes) = bytes(&self.medium, segment, from, to) else { continue };
            for at in bytes.windows(MARK.len()).enumerate().filter(|(_, w)| *w == MARK) {
                let digits = &bytes[at.0 + MARK.len()..];
                let number = digits.iter().take_while(|b| b.is_ascii_digit());
                let number = number.fold(0, |n: u32, d| n.wrapping_mul(10) + u32::from(d - b'0'));
                self.eyes.stored.entry(number).or_default().push((segment, from, to));
            }
        }
    }

    /// Whether stable storage holds a message whole, with all its recipients,
    /// at this moment.
    pub(super) fn is_safe(&self, message: u32, letter: &Letter, accepted: &[bool]) -> bool {
        let places = self.eyes.stored.get(&message).map_or(&[][..], Vec::as_slice);
        let whole = |&(segment, from, to): &(SegmentId, u32, u32)| {
            let Some(bytes) = bytes(&self.medium, segment, from, to) else { return false };
            let holds =
                |part: &[u8]| part.is_empty() || bytes.windows(part.len()).any(|w| w == part);
            let mut to_all = letter.to.iter().zip(accepted).filter(|(_, yes)| **yes);
            self.medium.is_durable(segment, from, to)
                && holds(letter.sender.as_bytes())
                && to_all.all(|(to, _)| holds(to.address.as_bytes()))
                && holds(tail(&letter.content))
        };
        places.iter().any(whole)
    }
}

/// The end of a content, which has no line that starts with a dot in it.
fn tail(content: &[u8]) -> &[u8] {
    let dots = content.windows(2).rposition(|pair| pair == b"\n.");
    &content[dots.map_or(0, |at| at + 2)..]
}

fn bytes(medium: &MemoryMedium, segment: SegmentId, from: u32, to: u32) -> Option<&[u8]> {
    use spool::Medium;
    medium.read(segment, from, to - from)
}
