//! What operators see of a reader of the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base::Wall;
use eventlog::{Bookmark, rfc3339};
use meter::exposition::LogReader;
use serde_json::{Value, json};

use crate::log_readers::LogEnd;

/// What a reader tells of itself.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<Facts>);

#[derive(Clone, Debug, Default)]
struct Facts {
    bookmark: Bookmark,
    /// With those written since the start, how far behind it is.
    lines: i64,
    bytes: i64,
    batches: u64,
    /// In a row.
    failures: u64,
    last: Option<(Wall, String)>,
    next: Option<Wall>,
}

impl Shown {
    /// How far it is.
    pub(super) fn set(&self, bookmark: &Bookmark, lines: i64, bytes: i64) {
        let mut facts = self.facts();
        (facts.bookmark, facts.lines, facts.bytes) = (*bookmark, lines, bytes);
    }

    /// A batch was taken.
    pub(super) fn succeeded(&self, at: Wall, said: &str) {
        let mut facts = self.facts();
        facts.batches += 1;
        (facts.failures, facts.next) = (0, None);
        facts.last = Some((at, said.to_owned()));
    }

    /// A batch was not taken; when it is tried again.
    pub(super) fn failed(&self, at: Wall, why: &str, next: Option<Wall>) {
        let mut facts = self.facts();
        facts.failures += 1;
        facts.next = next;
        facts.last = Some((at, why.to_owned()));
    }

    /// The same as a row of a table; `end` is where the log ends, if that can
    /// be told.
    pub(super) fn row(&self, name: &str, target: &str, end: Option<LogEnd>) -> Value {
        let Facts { bookmark, lines, bytes, batches, failures, last, next } = self.facts().clone();
        let behind =
            |before: i64, written: u64| u64::try_from(before + written as i64).unwrap_or(0);
        let (at, said) = last.unzip();
        json!({
            "name": name,
            "to": target,
            "place": bookmark.done.to_string(),
            "events_behind": end.map(|end| behind(lines, end.lines)),
            "bytes_behind": end.map(|end| behind(bytes, end.bytes)),
            "events_sent": bookmark.taken,
            "events_lost": bookmark.lost,
            "batches": batches,
            "failures": failures,
            "last_answer": said,
            "last_at": at.map(rfc3339),
            "next_try": next.map(rfc3339),
        })
    }

    /// How far it is, in numbers.
    pub(super) fn numbers(&self, name: &str, end: Option<LogEnd>) -> LogReader {
        let facts = self.facts();
        let behind = end.map(|end| u64::try_from(facts.lines + end.lines as i64).unwrap_or(0));
        LogReader { name: name.to_owned(), behind, lost: facts.bookmark.lost }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
