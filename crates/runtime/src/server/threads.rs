//! Threads of the server beside its shards: the keeper of segment files, and
//! the watchdog.
//!
//! Never decides what a finding means for mail: it is told to the log, and a
//! shard that is lost ends the program.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use base::{ShardId, Wall};
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
        let Some(line) = line_about(clock.now().wall, shard, finding) else { return };
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

/// What the log is told of a finding.
fn line_about(now: Wall, shard: ShardId, finding: Finding) -> Option<Line> {
    let event = match finding {
        Finding::Turns => return None,
        Finding::TurnsAgain => Kind::ShardTurnsAgain,
        Finding::Stalled => Kind::ShardStalled,
        Finding::Lost => Kind::ShardLost,
    };
    Some(Line::new(now, event).number(Field::Shard, shard.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows: S2.15
    #[test]
    fn a_shard_that_stands_still_is_told_of() {
        let told = |finding| {
            let line = line_about(Wall::from_millis(0), ShardId(3), finding)?.end();
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(line["shard"], 3);
            Some(line)
        };
        assert!(told(Finding::Turns).is_none());
        assert!(told(Finding::Stalled).is_some_and(|line| line["event"] == "shard-stalled"));
        assert!(told(Finding::TurnsAgain).is_some_and(|line| line["event"] == "shard-turns-again"));
        assert!(told(Finding::Lost).is_some_and(|line| line["event"] == "shard-lost"));
    }
}
