//! The configuration in force and its history: what the control socket's
//! requests about it do, and what the configuration file says beside it.
//!
//! Decides nothing about mail: a text is checked, stored and swapped as a
//! whole, or nothing happens. Invariants: what rules after a restart is on
//! disk before it is in force; what waits for its confirmation is undone by
//! its time, by a restart and by a crash alike; one change at a time.

mod answers;
mod backup;
mod candidates;
mod files;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base::Monotonic;
use control::api::config::{Activate, Commit, Rollback};
use control::revisions::{Conflict, Fate, FileSays, History, Origin, Revision};
use control::{Config, ConfigRequest, Policy, Refused, Request, Span};
use eventlog::{Field, Kind, Line};
use serde_json::{Value, json};

use crate::control_socket::Peer;
use crate::error::StartError;
use crate::http::HttpResponse;
use crate::revisions::Store;
use crate::server::Running;

pub use backup::Backups;
use candidates::{Candidates, owner};
use files::Pending;
pub use start::{Beginning, begin};

pub use crate::revisions::StoreError;

/// Reads configurations and the files that they name.
pub trait Loads: Send + Sync {
    /// Reads a configuration; `files` stand for those of these names.
    ///
    /// # Errors
    /// [`Refused`] with everything found.
    fn checked(&self, text: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Config, Refused>;

    /// The files that a configuration names, as far as it can be read.
    fn named(&self, text: &str) -> BTreeSet<String>;

    /// Where files lie that are named without a folder.
    fn folder(&self) -> &Path;
}

/// The configuration of a running server. Dropping it ends its thread.
pub struct Configuration {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    running: Arc<Running>,
    load: Box<dyn Loads>,
    store: Store,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    history: History,
    /// In force.
    policy: Arc<Policy>,
    /// In force again when what waits for its confirmation is undone.
    before: Option<Arc<Policy>>,
    /// In force as soon as no session runs.
    waiting: Option<Arc<Policy>>,
    candidates: Candidates,
    /// Files of what waits for its confirmation.
    pending: Pending,
    stopping: bool,
}

/// How long shards may take to adopt a policy before an answer is given.
const ADOPTION_TIME: Duration = Duration::from_secs(10);

/// How often it is looked whether any session runs, while something waits for
/// that.
const IDLE_LOOK: Duration = Duration::from_millis(100);

/// A change on its way to become a revision.
struct Change {
    text: String,
    base: u64,
    origin: Origin,
    comment: String,
    confirm: Option<Span>,
    next_start: bool,
    activate: Activate,
    /// Files that come with it, by the names that the text has for them.
    files: BTreeMap<String, Vec<u8>>,
}

impl Configuration {
    /// Keeps the configuration of `running`, which was started with `policy`,
    /// made of [`Beginning::text`].
    ///
    /// # Errors
    /// When the history cannot be stored or no thread be started.
    pub fn start(
        beginning: Beginning,
        running: Arc<Running>,
        policy: Arc<Policy>,
        load: Box<dyn Loads>,
    ) -> Result<Self, StartError> {
        let (store, history) = beginning.stored(running.clock())?;
        let state = State {
            history,
            policy,
            before: None,
            waiting: None,
            candidates: Candidates::default(),
            pending: Pending::default(),
            stopping: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { running, load, store, state, changed });
        let watched = shared.clone();
        let thread = std::thread::Builder::new()
            .name("confirm".into())
            .spawn(move || watched.undo_in_time())
            .map_err(|e| StartError::LocalThread {
                what: "the configuration",
                reason: e.to_string(),
            })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What answers requests about the configuration.
    pub fn answerer(&self) -> impl Fn(ConfigRequest, Peer) -> HttpResponse + Send + Sync + use<> {
        let shared = self.shared.clone();
        move |request, peer| shared.answer(request, &peer).unwrap_or_else(|refusal| refusal)
    }

    /// What makes and takes backups.
    pub fn backups(&self) -> Backups {
        Backups::of(self.shared.clone())
    }

    /// Takes in what the configuration file says now; returns a sentence about
    /// what that changed.
    ///
    /// # Errors
    /// A sentence; nothing has changed then.
    pub fn read_file(&self, text: Option<String>) -> Result<String, String> {
        let mut state = self.shared.state();
        match self.shared.take_file(&mut state, text) {
            Ok(said) => Ok(said),
            Err(refusal) => Err(answers::as_text(&refusal)),
        }
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: ConfigRequest, peer: &Peer) -> Result<HttpResponse, HttpResponse> {
        let mut state = self.state();
        let body = match request {
            ConfigRequest::Commit(commit) => self.commit(&mut state, commit, peer)?,
            ConfigRequest::Rollback(rollback) => self.rollback(&mut state, rollback, peer)?,
            ConfigRequest::Confirm(confirm) => {
                let number = state
                    .history
                    .may_confirm(confirm.revision)
                    .map_err(|conflict| answers::refusal(409, &conflict.to_string()))?;
                self.confirm(&mut state)?;
                self.log("confirmed", number, Some(peer));
                json!({ "revision": number, "in_force": number })
            }
            ConfigRequest::Discard => {
                json!({ "discarded": state.candidates.discard(&owner(peer)) })
            }
            ConfigRequest::Propose(proposal) => self.propose(&mut state, proposal, peer)?,
            ConfigRequest::Edit(edits) => self.edit(&mut state, &edits.edits, peer)?,
            reading => self.read(&state, reading, peer)?,
        };
        Ok(HttpResponse::json(200, &body))
    }

    fn commit(
        &self,
        state: &mut State,
        commit: Commit,
        peer: &Peer,
    ) -> Result<Value, HttpResponse> {
        let Commit { text, base, comment, confirm, next_start, activate } = commit;
        let of_candidate = text.is_none();
        let (text, base) = match (text, base) {
            (Some(text), Some(base)) => (text, base),
            (Some(text), None) => (text, state.history.current()),
            (None, base) => {
                let (candidate, made_from) =
                    state.candidates.of(&owner(peer)).ok_or_else(|| {
                        answers::refusal(409, "there is nothing to commit: nothing was changed")
                    })?;
                (candidate.to_owned(), base.unwrap_or(made_from))
            }
        };
        let origin = origin(peer);
        let files = BTreeMap::new();
        let change = Change { text, base, origin, comment, confirm, next_start, activate, files };
        let answer = self.make(state, change, peer)?;
        if of_candidate {
            state.candidates.discard(&owner(peer));
        }
        Ok(answer)
    }

    fn rollback(
        &self,
        state: &mut State,
        wanted: Rollback,
        peer: &Peer,
    ) -> Result<Value, HttpResponse> {
        let Rollback { revision, base, comment, confirm, next_start } = wanted;
        let current = state.history.current();
        if let Some((waiting, _)) = state.history.unconfirmed()
            && revision.is_none_or(|revision| revision == current)
        {
            self.undo(state);
            self.log("rolled-back", waiting, Some(peer));
            return Ok(json!({ "revision": current, "in_force": current, "undone": waiting }));
        }
        let Some(revision) = revision else {
            return Err(answers::refusal(409, &Conflict::PeerNothingWaits.to_string()));
        };
        let text = self.text(state, revision)?;
        let comment = match comment.is_empty() {
            true => format!("rollback to {revision}"),
            false => comment,
        };
        let (base, origin) = (base.unwrap_or(current), origin(peer));
        let (activate, files) = (Activate::AtOnce, BTreeMap::new());
        let change = Change { text, base, origin, comment, confirm, next_start, activate, files };
        self.make(state, change, peer)
    }

    /// Makes a revision of a change: checked, stored, in force; or nothing.
    fn make(&self, state: &mut State, change: Change, peer: &Peer) -> Result<Value, HttpResponse> {
        let Change { text, base, origin, comment, confirm, next_start, activate, files } = change;
        let history = &state.history;
        history.may_commit(base).map_err(|conflict| self.conflict(history, &conflict))?;
        let files = Pending::of(self.load.folder(), files);
        if self.text(state, history.current())? == text && files.is_empty() {
            return Err(answers::refusal(409, "there is nothing to commit: the text is the same"));
        }
        if confirm.is_some() && state.waiting.is_some() {
            let waits = "what was committed last still waits until no session runs";
            return Err(answers::refusal(409, waits));
        }
        let config = self.load.checked(&text, files.contents());
        let config = config.map_err(|refused| answers::refused(&refused))?;
        let needs_start = self.running.needs_start(&config.policy);
        if !needs_start.is_empty() && !next_start {
            return Err(answers::needs_start(&needs_start));
        }
        let now = self.running.clock().now();
        let fate = match confirm {
            Some(span) => Fate::Unconfirmed(now.mono + span.0),
            None if !needs_start.is_empty() => Fate::NextStart,
            None if activate == Activate::WhenIdle => Fate::WhenIdle,
            None => Fate::Rules,
        };
        let number = history.next_number();
        let (uid, pid) = ids(peer);
        let revision = Revision { number, base, time: now.wall, uid, pid, origin, comment };
        let mut next = history.clone();
        next.add(revision.clone(), text.len() as u64, fate);
        // What waits for its confirmation replaces nothing that is there.
        let replaces = confirm.is_none();
        let placed = files.place(replaces).map_err(|why| answers::refusal(507, &why))?;
        let stored =
            self.store.write(&revision, &text).and_then(|()| self.store.point(next.pointers()));
        if let Err(error) = stored {
            placed.undo();
            self.store.take_back(number, history.pointers());
            return Err(answers::not_stored(&error));
        }
        state.pending = if replaces { Pending::default() } else { files.left(placed) };
        state.history = next;
        let policy = Arc::new(config.policy);
        state.waiting = (fate == Fate::WhenIdle).then(|| policy.clone());
        if matches!(fate, Fate::Rules | Fate::Unconfirmed(_)) {
            let before = self.swap(state, policy);
            state.before = confirm.is_some().then_some(before);
        }
        self.changed.notify_all();
        for old in state.history.forget_old() {
            self.store.forget(old);
        }
        self.log(answers::fate_word(fate), number, Some(peer));
        Ok(json!({
            "revision": number,
            "in_force": state.history.in_force(),
            "confirm_within": confirm.map(|span| span.to_string()),
            "needs_start": needs_start,
            "warnings": answers::findings(&config.warnings),
        }))
    }

    /// Puts a policy in force, and returns the one before. When it is done,
    /// every shard goes by it.
    fn swap(&self, state: &mut State, policy: Arc<Policy>) -> Arc<Policy> {
        let in_force = self.running.set_policy(policy);
        let in_force =
            in_force.expect("its certificates were tried, and nothing in it needs a start");
        // Shards take what they are told in order: after the answer to this
        // they have adopted the policy.
        self.running.command(Request::Status, ADOPTION_TIME);
        std::mem::replace(&mut state.policy, in_force)
    }

    fn confirm(&self, state: &mut State) -> Result<(), HttpResponse> {
        let mut next = state.history.clone();
        next.confirm();
        let placed = state.pending.place(true).map_err(|why| answers::refusal(507, &why))?;
        if let Err(error) = self.store.point(next.pointers()) {
            placed.undo();
            let _ = self.store.point(state.history.pointers()); // They may have moved.
            return Err(answers::not_stored(&error));
        }
        state.pending = Pending::default();
        (state.history, state.before) = (next, None);
        self.changed.notify_all();
        Ok(())
    }

    /// Back to what rules.
    fn undo(&self, state: &mut State) {
        state.history.undo();
        std::mem::take(&mut state.pending).forget();
        if let Some(before) = state.before.take() {
            self.swap(state, before);
        }
        self.changed.notify_all();
    }

    fn take_file(&self, state: &mut State, text: Option<String>) -> Result<String, HttpResponse> {
        let history = &state.history;
        if let Some((waiting, _)) = history.unconfirmed() {
            return Err(answers::refusal(409, &Conflict::PeerUnconfirmed(waiting).to_string()));
        }
        let (current, of_file) = (history.current(), history.of_file());
        let says = match &text {
            None => FileSays::Nothing,
            Some(text) => {
                let of_file = self.text(state, of_file)?;
                history.file_says(text, &of_file, &self.text(state, current)?)
            }
        };
        match says {
            FileSays::Outdated(of_file) => {
                Err(answers::refusal(409, &start::outdated(of_file, current)))
            }
            FileSays::Something => {
                let (uid, pid) = crate::machine::own_ids();
                let (base, origin) = (current, Origin::File);
                let (text, comment) = (text.unwrap_or_default(), String::new());
                let (confirm, next_start, activate) = (None, false, Activate::AtOnce);
                let files = BTreeMap::new();
                let change =
                    Change { text, base, origin, comment, confirm, next_start, activate, files };
                let made = self.make(state, change, &Peer::Local { pid, uid })?;
                Ok(format!("configuration read again: revision {}", made["revision"]))
            }
            FileSays::TheSame | FileSays::Nothing => {
                if says == FileSays::TheSame && of_file != current {
                    state.history.file_agrees();
                    let pointers = state.history.pointers();
                    self.store.point(pointers).map_err(|error| answers::not_stored(&error))?;
                }
                // Files that it names may say something else by now.
                let text = self.text(state, state.history.in_force())?;
                let config = self.load.checked(&text, &BTreeMap::new());
                let config = config.map_err(|refused| answers::refused(&refused))?;
                self.swap(state, Arc::new(config.policy));
                Ok("configuration read again: it says nothing new".to_owned())
            }
        }
    }

    /// Puts in force what waited until no session runs.
    fn activate(&self, state: &mut State, policy: Arc<Policy>) {
        state.history.activate();
        self.swap(state, policy);
        self.log("activated", state.history.in_force(), None);
    }

    /// Whether no session with a next hop runs, on any shard.
    fn is_idle(&self) -> bool {
        let answer = self.running.command(Request::Status, ADOPTION_TIME);
        answer.body["sessions"]["out"] == 0
    }

    /// Undoes what was not confirmed in time, and puts in force what waits for
    /// a quiet moment, until the end.
    fn undo_in_time(&self) {
        let mut state = self.state();
        while !state.stopping {
            let now = self.running.clock().now().mono;
            let wait = match state.history.unconfirmed() {
                Some((number, until)) if until <= now => {
                    self.undo(&mut state);
                    self.log("not-confirmed", number, None);
                    continue;
                }
                Some((_, until)) => time_left(now, until),
                None if state.waiting.is_some() => {
                    if let Some(policy) = state.waiting.take_if(|_| self.is_idle()) {
                        self.activate(&mut state, policy);
                    }
                    IDLE_LOOK
                }
                None => Duration::from_secs(3600),
            };
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A line about what became of a revision.
    fn log(&self, what: &str, number: u64, peer: Option<&Peer>) {
        let now = self.running.clock().now().wall;
        let line = Line::new(now, Kind::Configuration)
            .text(Field::What, what)
            .number(Field::Revision, number);
        self.running.log(match peer {
            Some(peer) => peer.in_log(line),
            None => line,
        });
    }

    /// The text of a revision that is kept.
    fn text(&self, state: &State, number: u64) -> Result<String, HttpResponse> {
        let lost = || answers::refusal(404, &format!("revision {number} is not kept"));
        state.history.find(number).ok_or_else(lost)?;
        match self.store.text(number) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(lost()),
            Err(error) => Err(answers::refusal(500, &format!("revision {number}: {error}"))),
        }
    }

    fn conflict(&self, history: &History, conflict: &Conflict) -> HttpResponse {
        let mut body = json!({ "error": conflict.to_string(), "current": history.current() });
        if let Conflict::PeerStale { base, current } = conflict {
            let texts = (self.store.text(*base), self.store.text(*current));
            if let (Ok(Some(old)), Ok(Some(new))) = texts {
                body["diff"] =
                    answers::diff(&old, &new, &answers::name(*base), &answers::name(*current));
            }
            body["base"] = json!(base);
        }
        HttpResponse::json(409, &body)
    }
}

/// How a change comes that this client makes.
fn origin(peer: &Peer) -> Origin {
    match peer {
        Peer::Local { .. } => Origin::Socket,
        Peer::Remote { certificate, .. } => Origin::Remote(certificate.clone()),
    }
}

/// User and process id of a client; nobody's for one elsewhere.
fn ids(peer: &Peer) -> (u32, i32) {
    match peer {
        Peer::Local { pid, uid } => (*uid, *pid),
        Peer::Remote { .. } => (u32::MAX, 0),
    }
}

fn time_left(now: Monotonic, until: Monotonic) -> Duration {
    until.since(now).max(Duration::from_millis(1))
}
