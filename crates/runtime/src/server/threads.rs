//! Threads of the server beside its shards: the keeper of segment files, and
//! the watchdog.
//!
//! Never decides what a finding means for mail: it is told to the log, and a
//! shard that is lost ends the program.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use base::ShardId;
use crossbeam::channel::Receiver;
use eventlog::{Field, Kind, Line};

use super::Watched;
use crate::clock::Clock;
use crate::error::StartError;
use crate::inbox::Inbox;
use crate::keeper::{self, Wish};
use crate::log_sink::LogSink;
use crate::watchdog::{self, Finding};

/// How long the last line has to reach the log file.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What the keeper's thread is started with.
pub(super) struct Keeping {
    pub(super) inboxes: Arc<[Arc<Inbox>]>,
    pub(super) stopping: Arc<AtomicBool>,
}

impl Keeping {
    /// Starts the thread that makes and retires segment files.
    pub(super) fn start(
        self,
        keeper: segment::Keeper,
        wishes: Receiver<Wish>,
        clock: Clock,
        log: &LogSink,
    ) -> Result<JoinHandle<()>, StartError> {
        let log = log.clone();
        let complain = move |sentence: &str| {
            log.line(Line::new(clock.now().wall, Kind::Storage).text(Field::Error, sentence));
        };
        let Self { inboxes, stopping } = self;
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || keeper::keep(Box::new(keeper), &wishes, &inboxes, &stopping, &complain))
            .map_err(|e| StartError::LocalThread { what: "the keeper", reason: e.to_string() })
    }
}

/// Starts the thread that watches whether the shards turn.
pub(super) fn start_watchdog(
    shards: Vec<Watched>,
    end: Receiver<()>,
    clock: Clock,
    log: &LogSink,
) -> Result<JoinHandle<()>, StartError> {
    let log = log.clone();
    let report = move |shard: ShardId, finding: Finding| {
        let event = match finding {
            Finding::Turns => return,
            Finding::TurnsAgain => Kind::ShardTurnsAgain,
            Finding::Stalled => Kind::ShardStalled,
            Finding::Lost => Kind::ShardLost,
        };
        let line = Line::new(clock.now().wall, event).number(Field::Shard, shard.0);
        log.line(line);
        if finding == Finding::Lost {
            // The line is with another thread; give it a moment.
            std::thread::sleep(LAST_WORDS);
            std::process::abort();
        }
    };
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || watchdog::watch(&shards, watchdog::PATIENCE, &end, &report))
        .map_err(|e| StartError::LocalThread { what: "the watchdog", reason: e.to_string() })
}
