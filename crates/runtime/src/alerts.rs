//! Watches what somebody should know of before mail is late: looks at the
//! daemon from outside, by the same questions that operators ask, on a thread
//! of its own, and tells what was raised and cleared to the log and by mail.
//!
//! Decides nothing: when an alert is raised is `control::alert`'s. Invariants:
//! no shard waits for it; what stands and what is silenced is kept over
//! restarts; so many messages an hour are sent and no more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use control::Request;
use control::alert::{Change, Turn, Watch};
use crossbeam::channel::{RecvTimeoutError, Sender};
use eventlog::{Field, Kind, Line, rfc3339};
use serde_json::{Value, json};
use shard::command::Answer;

use crate::error::StartError;
use crate::server::Running;

mod certificates;
mod kept;
mod letter;
mod look;

use letter::Letters;
use look::Look;

/// How often everything is looked at, at the most and at the least.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// The watching thread. Dropping it ends the thread.
pub struct Alerts {
    shared: Arc<Shared>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    running: Arc<Running>,
    /// Where what stands is kept.
    file: PathBuf,
    watch: Mutex<Watch>,
}

impl Alerts {
    /// Begins to watch `running`, whose data folder is `data`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(running: Arc<Running>, data: &Path) -> Result<Self, StartError> {
        let file = data.join("alerts.json");
        let watch = Mutex::new(kept::read(&file, running.clock().now().wall));
        let shared = Arc::new(Shared { running, file, watch });
        let (stop, stopping) = crossbeam::channel::bounded(0);
        let watcher = shared.clone();
        let thread = std::thread::Builder::new()
            .name("alerts".into())
            .spawn(move || {
                let (mut look, mut letters) = (Look::new(&watcher.running), Letters::default());
                let every = || {
                    let (least, most) = LOOK_EVERY;
                    watcher.running.in_force().alerts.raise_after.clamp(least, most)
                };
                while stopping.recv_timeout(every()) == Err(RecvTimeoutError::Timeout) {
                    watcher.turn(&mut look, &mut letters);
                }
            })
            .map_err(|e| StartError::LocalThread { what: "the alerts", reason: e.to_string() })?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Answers what is asked about alerts; none where it is about something
    /// else.
    pub fn answerer(&self) -> impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static {
        let shared = self.shared.clone();
        move |request| shared.answer(request)
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn turn(&self, look: &mut Look, letters: &mut Letters) {
        let policy = self.running.in_force();
        let now = self.running.clock().now();
        let seen = look.look(&self.running, &policy, now);
        let changes = {
            let mut watch = self.watch();
            let changes = watch.look(now, &policy.alerts, &seen);
            if !changes.is_empty() {
                // What cannot be kept is told again behind a restart.
                let _ = kept::write(&self.file, &watch);
            }
            changes
        };
        for change in &changes {
            self.tell(change);
        }
        letters.send(&self.running, &policy, now, &changes);
    }

    fn tell(&self, change: &Change) {
        let turn = if change.turn == Turn::Raised { "raised" } else { "cleared" };
        let line = Line::new(self.running.clock().now().wall, Kind::Alert)
            .text(Field::Alert, change.rule.word())
            .text(Field::Turn, turn)
            .text_if(Field::Scope, &change.subject)
            .text(Field::Reason, &change.reason)
            .flag(Field::Silenced, change.silenced);
        self.running.log(line);
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        let now = self.running.clock().now().wall;
        let mut watch = self.watch();
        match request {
            Request::AlertsList => return Some(Answer::ok(shown(&watch))),
            Request::AlertsSilence(order) => {
                let (rule, reason) = (order.rule, order.reason.clone());
                let silence = control::alert::Silence { rule, until: order.until(now), reason };
                if let Err(error) = watch.silence(now, silence) {
                    return Some(Answer::refused(&error.to_string()));
                }
            }
            Request::AlertsUnsilence(rule) => {
                if !watch.unsilence(*rule) {
                    return Some(Answer::not_found("no such silence stands"));
                }
            }
            _ => return None,
        }
        Some(match kept::write(&self.file, &watch) {
            Ok(()) => Answer::ok(shown(&watch)),
            Err(error) => {
                let error = format!("{} cannot be written: {error}", self.file.display());
                Answer::new(503, json!({ "error": error }))
            }
        })
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(watch: &Watch) -> Value {
    let alerts: Vec<Value> = watch
        .raised()
        .map(|one| {
            json!({
                "rule": one.rule.word(),
                "of": &*one.subject,
                "since": rfc3339(one.since),
                "reason": one.reason,
                "silenced": one.silenced,
            })
        })
        .collect();
    let silences = watch.silences().iter().map(|silence| {
        json!({
            "rule": silence.rule.map(control::alert::Rule::word),
            "until": rfc3339(silence.until),
            "reason": &*silence.reason,
        })
    });
    json!({ "alerts": alerts, "silences": silences.collect::<Vec<_>>() })
}
