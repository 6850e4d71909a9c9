//! What operators look at closely, and those who are attached and are shown it:
//! the list is kept here and put in force on all shards; lines go from shards to
//! readers through bounded channels.
//!
//! Decides nothing: what a watch covers is `control`'s to say, what is seen the
//! shards'. Invariant: a reader that is too slow loses lines, is told how many,
//! and holds nobody up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Wall;
use control::api::DetailRequest;
use control::watch::WATCH_TIME_MAX;
use control::{Focus, Request, Slots, WatchError, Watches};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use eventlog::{Field, Kind, Line, rfc3339};
use serde_json::{Value, json};
use shard::command::Answer;

use crate::inbox::Mail;
use crate::server::Running;

/// Pieces that wait for a reader: each is what one session said at once.
const PIECES_MAX: usize = 1_024;
/// How long shards may take to hear of a change.
const HEARD_BY_ALL_MAX: Duration = Duration::from_secs(10);

/// The list in force and who is attached.
#[derive(Debug, Default)]
pub(crate) struct WatchBook {
    list: Mutex<List>,
    /// Lines that readers were too slow for, since the start.
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct List {
    watches: Watches,
    readers: Vec<Reader>,
}

/// The shards' end of one who is attached.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    number: u64,
    slot: Slots,
    pieces: Sender<Vec<u8>>,
    lost: Arc<AtomicU64>,
    lost_by_all: Arc<AtomicU64>,
}

/// Those who are attached, as a shard's driver holds them.
pub(crate) type Readers = Arc<[Reader]>;

/// The other end: what is seen, piece by piece. Dropping it ends the watch.
pub struct Attached {
    running: Arc<Running>,
    number: u64,
    until: Wall,
    pieces: Receiver<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

impl Reader {
    /// Shows lines to those whose slot is among `slots`.
    pub(crate) fn show(readers: &[Self], slots: Slots, lines: &[u8], now: Wall) {
        for reader in readers.iter().filter(|reader| reader.slot & slots != 0) {
            reader.offer(lines, now);
        }
    }

    fn offer(&self, lines: &[u8], now: Wall) {
        let missed = self.lost.swap(0, Ordering::Relaxed);
        let mut piece = if missed > 0 { told_of(missed, now) } else { Vec::new() };
        piece.extend_from_slice(lines);
        if let Err(TrySendError::Full(_)) = self.pieces.try_send(piece) {
            let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.lost.fetch_add(missed + count, Ordering::Relaxed);
            self.lost_by_all.fetch_add(count, Ordering::Relaxed);
        }
    }
}

fn told_of(missed: u64, now: Wall) -> Vec<u8> {
    Line::new(now, Kind::LinesLost).number(Field::Lines, missed).end()
}

impl Attached {
    /// What is seen next, as lines of the event log; nothing after `time`
    /// without any; `None` when the watch has ended.
    pub fn next(&mut self, time: Duration) -> Option<Vec<u8>> {
        match self.pieces.recv_timeout(time) {
            Ok(lines) => Some(lines),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let now = self.running.clock.now().wall;
                let missed = self.lost.swap(0, Ordering::Relaxed);
                let goes_on = self.running.is_running() && now < self.until;
                let rest = if missed > 0 { told_of(missed, now) } else { Vec::new() };
                goes_on.then_some(rest)
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.running.forget_watch(self.number);
    }
}

impl List {
    fn readers(&self) -> Readers {
        self.readers.iter().cloned().collect()
    }

    /// Takes readers off whose watch has ended.
    fn tidy(&mut self, now: Wall) {
        self.watches.forget_ended(now);
        let Self { watches, readers } = self;
        readers.retain(|reader| watches.iter().any(|watch| watch.number == reader.number));
    }
}

impl WatchBook {
    fn locked(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, now: Wall) -> Answer {
        let list = self.locked();
        let rows = list.watches.iter().filter(|watch| watch.is_on(now)).map(|watch| {
            json!({
                "number": watch.number,
                "what": watch.focus.to_string(),
                "attached": watch.attached,
                "since": rfc3339(watch.since),
                "until": rfc3339(watch.until),
            })
        });
        let rows = Value::Array(rows.collect());
        let lost = self.lost.load(Ordering::Relaxed);
        Answer::ok(json!({ "detail": rows, "lines_lost": lost }))
    }
}

impl Running {
    /// Answers what is about detail in the event log; `None` for any other
    /// request.
    pub fn detail(&self, request: &Request) -> Option<Answer> {
        let Request::Detail(request) = request else { return None };
        let now = self.clock.now().wall;
        let refused = |error: WatchError| Answer::busy(&error.to_string());
        let changed = match &**request {
            DetailRequest::List => Ok(()),
            DetailRequest::Tell(focus, span) => self.change_watches(now, |list| {
                list.watches.add(focus.clone(), false, now, *span).map_err(refused)?;
                Ok(())
            }),
            DetailRequest::Stop(which) => self.change_watches(now, |list| {
                let meant = |number: u64| which.is_none_or(|wanted| wanted == number);
                let all = list.watches.iter().filter(|watch| !watch.attached);
                let numbers: Vec<u64> =
                    all.map(|watch| watch.number).filter(|number| meant(*number)).collect();
                if which.is_some() && numbers.is_empty() {
                    return Err(Answer::not_found("there is no such order"));
                }
                numbers.into_iter().for_each(|number| {
                    list.watches.remove(number);
                });
                Ok(())
            }),
            DetailRequest::Trace(_) => return None,
        };
        Some(changed.map_or_else(|answer| answer, |()| self.watches.shown(now)))
    }

    /// Attaches a reader: whatever begins after this is shown from its first
    /// byte on.
    ///
    /// # Errors
    /// The answer that says why not.
    pub fn attach(self: &Arc<Self>, focus: Focus) -> Result<Attached, Answer> {
        let now = self.clock.now().wall;
        let (pieces, seen) = crossbeam::channel::bounded(PIECES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let mut number = 0;
        self.change_watches(now, |list| {
            let added = list.watches.add(focus, true, now, WATCH_TIME_MAX);
            number = added.map_err(|error| Answer::busy(&error.to_string()))?;
            let slot = list.watches.iter().find(|watch| watch.number == number);
            list.readers.push(Reader {
                number,
                slot: slot.map_or(0, control::Watch::bit),
                pieces,
                lost: lost.clone(),
                lost_by_all: self.watches.lost.clone(),
            });
            Ok(())
        })?;
        let until = now + WATCH_TIME_MAX;
        Ok(Attached { running: self.clone(), number, until, pieces: seen, lost })
    }

    fn forget_watch(&self, number: u64) {
        let now = self.clock.now().wall;
        // Nothing to refuse, and nobody to tell.
        let _ = self.change_watches(now, |list| {
            list.watches.remove(number);
            Ok(())
        });
    }

    /// Changes the list and puts it in force; returns when all shards go by it.
    fn change_watches(
        &self,
        now: Wall,
        change: impl FnOnce(&mut List) -> Result<(), Answer>,
    ) -> Result<(), Answer> {
        {
            let mut list = self.watches.locked();
            list.tidy(now);
            change(&mut list)?;
            list.tidy(now);
            let (watches, readers) = (Arc::new(list.watches.clone()), list.readers());
            // Under the lock, so that shards hear of changes in their order.
            for inbox in self.inboxes.iter() {
                let mail = Mail::Watches(watches.clone(), readers.clone());
                inbox.post_patiently(mail, || self.is_running());
            }
        }
        // What is asked of a shard behind the list is answered behind it.
        self.command(Request::Status, HEARD_BY_ALL_MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pieces_max: usize) -> (Reader, Receiver<Vec<u8>>) {
        let (pieces, seen) = crossbeam::channel::bounded(pieces_max);
        let (lost, lost_by_all) = (Arc::default(), Arc::default());
        (Reader { number: 1, slot: 0b10, pieces, lost, lost_by_all }, seen)
    }

    /// A reader that does not read holds nobody up; it is told what it missed
    /// where it missed it.
    #[test]
    fn a_slow_reader_loses_lines_and_is_told_how_many() {
        let (reader, seen) = reader(2);
        let now = Wall::from_millis(1_000);
        let all = [reader.clone()];
        for line in ["a\n", "b\n", "c\nd\n", "e\n"] {
            Reader::show(&all, 0b11, line.as_bytes(), now);
        }
        assert_eq!(seen.try_iter().map(|it| it.len()).sum::<usize>(), 4, "a and b");
        Reader::show(&all, 0b10, b"f\n", now);
        let piece = String::from_utf8(seen.recv().unwrap()).unwrap();
        let (lost, rest) = piece.split_once('\n').unwrap();
        assert!(lost.contains(r#""event":"lines-lost","lines":3"#), "{lost}");
        assert_eq!(rest, "f\n");
        assert_eq!(reader.lost_by_all.load(Ordering::Relaxed), 3);
        Reader::show(&all, 0b01, b"for another\n", now);
        assert!(seen.is_empty());
    }
}
