//! Says plainly when a shard no longer turns, and after a bound ends the
//! program: crash-only, the supervisor starts it again and recovery does the
//! rest. A shard that hangs holds mail that others could deliver.
//!
//! Never touches a shard but by ringing its bell; whoever turns, answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::ShardId;
use crossbeam::channel::{Receiver, RecvTimeoutError};

use crate::executor::Pulse;
use crate::inbox::Inbox;

/// How often shards are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After what time without a turn something happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// It is said in the log.
    pub(crate) tell: Duration,
    /// The program is ended.
    pub(crate) give_up: Duration,
}

/// What the daemon uses: ten seconds are far beyond any single turn, even one
/// that reads cold pages from a slow disk.
pub(crate) const PATIENCE: Patience =
    Patience { tell: Duration::from_secs(10), give_up: Duration::from_secs(60) };

/// One shard as the watchdog sees it.
#[derive(Debug)]
struct Watched {
    turns: u64,
    since: Instant,
    told: bool,
}

/// What a look at one shard found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It turns.
    Turns,
    /// It turns again after it was reported.
    TurnsAgain,
    /// It does not turn; to be said once.
    Stalled,
    /// It will not turn any more.
    Lost,
}

impl Watched {
    fn look(&mut self, turns: u64, now: Instant, patience: Patience) -> Finding {
        if turns != self.turns {
            let again = std::mem::take(&mut self.told);
            *self = Self { turns, since: now, told: false };
            return if again { Finding::TurnsAgain } else { Finding::Turns };
        }
        let still = now.duration_since(self.since);
        if still >= patience.give_up {
            return Finding::Lost;
        }
        if still >= patience.tell && !self.told {
            self.told = true;
            return Finding::Stalled;
        }
        Finding::Turns
    }
}

/// Watches until `end` is dropped; tells `report` what is not as it should be.
pub(crate) fn watch(
    shards: &[(Arc<Inbox>, Arc<Pulse>)],
    patience: Patience,
    end: &Receiver<()>,
    report: &dyn Fn(ShardId, Finding),
) {
    let begin = Instant::now();
    let mut watched: Vec<Watched> =
        shards.iter().map(|_| Watched { turns: 0, since: begin, told: false }).collect();
    let every = LOOK_EVERY.min(patience.tell);
    while end.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        for (number, ((inbox, pulse), watched)) in shards.iter().zip(&mut watched).enumerate() {
            let turns = pulse.turns.load(Ordering::Relaxed);
            match watched.look(turns, Instant::now(), patience) {
                Finding::Turns => {}
                finding => report(ShardId(number as u16), finding),
            }
            // Whoever sleeps with nothing to do turns once for this.
            inbox.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Patience =
        Patience { tell: Duration::from_secs(10), give_up: Duration::from_secs(60) };

    /// Covers: B27
    #[test]
    fn a_stall_is_told_once_and_ends_in_giving_up() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut watched = Watched { turns: 5, since: start, told: false };
        assert_eq!(watched.look(5, at(9), SHORT), Finding::Turns);
        assert_eq!(watched.look(5, at(10), SHORT), Finding::Stalled);
        assert_eq!(watched.look(5, at(11), SHORT), Finding::Turns);
        assert_eq!(watched.look(6, at(12), SHORT), Finding::TurnsAgain);
        assert_eq!(watched.look(7, at(13), SHORT), Finding::Turns);
        assert_eq!(watched.look(7, at(72), SHORT), Finding::Stalled);
        assert_eq!(watched.look(7, at(73), SHORT), Finding::Lost);
    }

    /// Covers: B27
    #[test]
    fn a_shard_that_never_turns_is_reported() {
        let shards = [(Arc::new(Inbox::new().unwrap()), Arc::new(Pulse::default()))];
        let (ending, end) = crossbeam::channel::bounded(0);
        let (found_in, found) = std::sync::mpsc::channel();
        let patience =
            Patience { tell: Duration::from_millis(5), give_up: Duration::from_millis(50) };
        let watching = std::thread::spawn(move || {
            watch(&shards, patience, &end, &|shard, finding| {
                found_in.send((shard, finding)).unwrap();
            });
        });
        let next = || found.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(next(), (ShardId(0), Finding::Stalled));
        assert_eq!(next(), (ShardId(0), Finding::Lost));
        drop(ending);
        watching.join().unwrap();
    }
}
