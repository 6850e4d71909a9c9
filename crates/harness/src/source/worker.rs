//! The thread that drives sessions: epoll, connecting, pacing, deadlines.
//!
//! Opens at most its number of sessions, and no new one when nothing is left
//! to send.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::session::{Session, Talk, Turn};
use super::{Outcome, Record, Share, Shared};
use crate::message::Composer;
use crate::poll::{Interest, Poller, WAKE, Waker};
use crate::tls::{self, Tls};
use crate::wire::{Got, Wire};

/// Pause before a connection that failed is tried again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// How often silent sessions are looked for.
const DEADLINE_TICK: Duration = Duration::from_millis(100);

pub(crate) struct Worker {
    shared: Arc<Shared>,
    poller: Poller,
    composer: Composer,
    slots: Vec<Slot>,
    /// Slots whose session waits for a message to become due.
    idle: Vec<usize>,
    /// Since when nobody answers connections.
    down_since: Option<Instant>,
    deadlines_checked: Instant,
    share: Share,
    scratch: Vec<u8>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

enum Slot {
    /// No session; the next one opens at this time.
    Waiting(Instant),
    Live(Box<Live>),
    /// No session and none to come.
    Over,
}

struct Live {
    wire: Wire,
    session: Session,
    interest: Interest,
    greeted: bool,
    idle: bool,
    /// When the peer was last heard or asked.
    since: Instant,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, sessions: usize) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            poller: Poller::new()?,
            composer: Composer::new(&shared.workload),
            slots: (0..sessions).map(|_| Slot::Waiting(now)).collect(),
            idle: Vec::new(),
            down_since: None,
            deadlines_checked: now,
            share: Share::default(),
            scratch: Vec::new(),
            tls: match shared.settings.tls {
                Tls::None => None,
                Tls::StartTls | Tls::Implicit => Some(tls::client()?),
            },
            shared,
        })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.poller.waker()
    }

    /// Sends until nothing is left or the source is stopped.
    pub(crate) fn run(mut self) -> Share {
        let mut ready = Vec::new();
        loop {
            let now = Instant::now();
            self.open_due(now);
            self.feed_idle(now);
            self.drop_silent(now);
            if self.slots.iter().all(|slot| matches!(slot, Slot::Over)) {
                return self.share;
            }
            let timeout = self.next_wake().map(|at| at.saturating_duration_since(now));
            if let Err(error) = self.poller.wait(timeout, &mut ready) {
                self.share.trouble(&format!("epoll: {error}"));
                return self.share;
            }
            for token in ready.drain(..) {
                if token != WAKE {
                    self.serve(token as usize);
                }
            }
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let reopen = self.slots.iter().filter_map(|slot| match slot {
            Slot::Waiting(at) => Some(*at),
            Slot::Live(_) | Slot::Over => None,
        });
        let due = match self.idle.is_empty() {
            true => None,
            false => self.shared.due_next(),
        };
        reopen.chain(due).chain([self.deadlines_checked + DEADLINE_TICK]).min()
    }

    fn open_due(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            match self.slots[index] {
                Slot::Waiting(at) if at <= now => {}
                _ => continue,
            }
            self.slots[index] = Slot::Over;
            if self.shared.is_done() {
                continue;
            }
            let from_the_start =
                self.tls.as_ref().filter(|_| self.shared.settings.tls == Tls::Implicit);
            let opened = Wire::connect(self.shared.target).and_then(|mut wire| {
                if let Some(tls) = from_the_start {
                    wire.secure_as_client(tls)?;
                }
                self.poller.add(&wire.stream, index as u64, Interest::Read)?;
                Ok(wire)
            });
            match opened {
                Ok(wire) => self.slots[index] = self.live(wire, now),
                Err(error) => {
                    self.share.trouble(&format!("connect: {error}"));
                    self.reopen_later(index, now);
                }
            }
        }
    }

    fn live(&self, wire: Wire, now: Instant) -> Slot {
        let session = Session::new(&self.shared.settings);
        let interest = Interest::Read;
        Slot::Live(Box::new(Live {
            wire,
            session,
            interest,
            greeted: false,
            idle: false,
            since: now,
        }))
    }

    /// After a failure to connect: later, unless patience is at its end.
    fn reopen_later(&mut self, index: usize, now: Instant) {
        let since = *self.down_since.get_or_insert(now);
        let patient = now.duration_since(since) < self.shared.settings.connect_patience;
        self.slots[index] = if patient { Slot::Waiting(now + RECONNECT_PAUSE) } else { Slot::Over };
    }

    fn feed_idle(&mut self, now: Instant) {
        while let Some(index) = self.idle.pop() {
            let waits = matches!(&self.slots[index], Slot::Live(live) if live.idle);
            if waits && !self.feed(index, now) {
                // Nothing is due for the others either.
                return;
            }
        }
    }

    /// Gives an idle session its next message, or QUIT. False when it must
    /// wait for a message to become due.
    fn feed(&mut self, index: usize, now: Instant) -> bool {
        let Slot::Live(live) = &mut self.slots[index] else { return true };
        let limit = self.shared.settings.messages_per_session;
        let worn_out = limit > 0 && live.session.messages >= limit;
        let before = live.wire.output.len();
        match if worn_out { Err(None) } else { self.shared.claim(now) } {
            Ok((number, began)) => {
                let composer = &mut self.composer;
                let mut talk = Talk { now, composer, out: &mut live.wire.output, done: None };
                live.session.begin(number, began, &mut talk);
            }
            Err(None) => live.session.quit(&mut live.wire.output),
            Err(Some(_)) => {
                live.idle = true;
                self.idle.push(index);
                return false;
            }
        }
        live.idle = false;
        live.since = now;
        self.share.bytes += (live.wire.output.len() - before) as u64;
        self.flush(index, now);
        true
    }

    fn serve(&mut self, index: usize) {
        let Slot::Live(live) = &mut self.slots[index] else { return };
        let got = live.wire.read(&mut self.scratch);
        let now = Instant::now();
        match got {
            Got::Bytes => self.hear(index, now),
            Got::Nothing => self.flush(index, now),
            Got::End => self.lose(index, "connection closed", now),
        }
    }

    fn hear(&mut self, index: usize, now: Instant) {
        let Slot::Live(live) = &mut self.slots[index] else { return };
        live.since = now;
        let before = live.wire.output.len();
        let composer = &mut self.composer;
        let mut talk = Talk { now, composer, out: &mut live.wire.output, done: None };
        let (consumed, turn) = live.session.advance(&live.wire.input, &mut talk);
        let done = talk.done;
        live.wire.consume(consumed);
        live.greeted |= turn == Turn::Idle;
        let greeted = live.greeted;
        self.share.bytes += (live.wire.output.len() - before) as u64;
        if greeted {
            self.down_since = None;
        }
        if let Some(record) = done {
            self.finish(record);
        }
        match turn {
            Turn::Wait => self.flush(index, now),
            Turn::Idle => {
                self.feed(index, now);
            }
            Turn::Secure => self.secure(index, now),
            Turn::Over => {
                self.share.connections += 1;
                self.slots[index] = Slot::Waiting(now);
            }
            Turn::Broken(text) => self.lose(index, &text, now),
        }
    }

    fn secure(&mut self, index: usize, now: Instant) {
        let Slot::Live(live) = &mut self.slots[index] else { return };
        let tls = self.tls.as_ref().expect("STARTTLS is said with TLS only");
        match live.wire.secure_as_client(tls) {
            Ok(()) => self.flush(index, now),
            Err(error) => self.lose(index, &format!("TLS: {error}"), now),
        }
    }

    fn flush(&mut self, index: usize, now: Instant) {
        let Slot::Live(live) = &mut self.slots[index] else { return };
        let Ok(sent) = live.wire.flush() else {
            return self.lose(index, "connection reset", now);
        };
        let wanted = if sent { Interest::Read } else { Interest::ReadWrite };
        if live.interest != wanted {
            live.interest = wanted;
            if let Err(error) = self.poller.change(&live.wire.stream, index as u64, wanted) {
                self.lose(index, &format!("epoll: {error}"), now);
            }
        }
    }

    /// The session is gone; so is its message, and another session follows.
    fn lose(&mut self, index: usize, why: &str, now: Instant) {
        let slot = std::mem::replace(&mut self.slots[index], Slot::Over);
        let Slot::Live(mut live) = slot else { return };
        self.share.trouble(why);
        if let Some(record) = live.session.abandon(now) {
            self.finish(record);
        }
        if live.greeted {
            self.share.connections += 1;
            self.slots[index] = Slot::Waiting(now);
        } else {
            self.reopen_later(index, now);
        }
    }

    fn drop_silent(&mut self, now: Instant) {
        if now.duration_since(self.deadlines_checked) < DEADLINE_TICK {
            return;
        }
        self.deadlines_checked = now;
        for index in 0..self.slots.len() {
            let silent = match &self.slots[index] {
                Slot::Live(live) => {
                    let silence = now.duration_since(live.since);
                    !live.idle && silence >= self.shared.settings.reply_timeout
                }
                Slot::Waiting(_) | Slot::Over => false,
            };
            if silent {
                self.lose(index, "no reply in time", now);
            }
        }
    }

    fn finish(&mut self, record: Record) {
        match record.outcome {
            Outcome::Accepted => self.shared.accepted.fetch_add(1, Ordering::Relaxed),
            Outcome::Refused(code) => {
                self.share.trouble(&format!("refused with {code}"));
                self.shared.failed.fetch_add(1, Ordering::Relaxed)
            }
            Outcome::Unanswered | Outcome::Unsent => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        self.share.records.push(record);
    }
}
