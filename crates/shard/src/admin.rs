//! Commands from the control socket. What touches single entries goes over the
//! queue in bounded pieces, so that a million entries never stop the shard.

mod job;
mod meant;

use std::time::Duration;

use base::Monotonic;
use control::api::How;
use control::{By, Filter, QueueAct, Request};
use eventlog::{Field, Kind, Line, rfc3339};
use queue::{Act, EntryKey, Select, State, Sweep, View};
use serde_json::{Value, json};

use crate::armed::Timer;
use crate::command::{Answer, Command};
use crate::effect::Effect;
use crate::handoff::spool_place;
use crate::mesh::SettledAs;
use crate::shard::{Shard, Turn};
use job::why_task;
pub(crate) use job::{Elsewhere, Job, Task};
use meant::Meant;

/// Slots of the queue looked at in one piece.
const SLOTS_PER_PIECE: u32 = 8_192;
/// The same for mail that is routed anew, each piece of which is read, and for
/// mail whose standing changes, each piece of which is written.
const SLOTS_CHANGED: u32 = 1_024;
/// Pause after a piece that was written. Owners walk faster than writers write;
/// without it a purge of everything would stand between a writer and its
/// clients for as long as it takes, and in memory.
const PAUSE_WRITTEN: Duration = Duration::from_millis(20);

impl Shard {
    /// Starts a command, or answers it at once.
    pub(crate) fn command(&mut self, turn: &mut Turn<'_>, request: u64, command: Command) {
        let mut how = How::default();
        let (filter, task) = match command {
            Request::Status
            | Request::DnsCache(_)
            | Request::DnsFlush(_)
            | Request::DnsServers
            | Request::HostsList(_)
            | Request::HostsPin { .. }
            | Request::SessionsList(_)
            | Request::SessionAbort(_)
            | Request::Sites(_)
            | Request::HostsForget(_)
            | Request::Sample { .. } => {
                let answer = self.answer_at_once(turn, &command);
                return turn.effects.push(Effect::Reply { request, answer });
            }
            Request::Explain(address) => return self.explain(turn, request, &address),
            Request::QueueExport(id) => return self.export(turn, request, id),
            Request::Limits(limit) => return self.limits(turn, request, limit as usize),
            Request::Diagnose(address) => return self.diagnose(turn, request, address),
            Request::Why { asked, limit } => why_task(asked, limit as usize),
            Request::QueueList { by: By::Message, filter, limit } => {
                (filter, Task::List { limit: limit as usize })
            }
            Request::QueueList { by, filter, limit } => {
                let answer = if is_about_messages(&filter) {
                    Answer::refused(
                        "only by=message takes id, sender, recipient, route, older, state, in_doubt",
                    )
                } else {
                    Answer::ok(self.top(turn, by, &filter, limit as usize))
                };
                return reply(turn, request, answer);
            }
            Request::QueueIds { filter, after, limit } => {
                (filter, Task::Ids { after, limit: limit as usize })
            }
            Request::QueueShow(message) => {
                (Filter { id: Some(message), ..Filter::default() }, Task::Show(message))
            }
            Request::QueueAct { act, filter, how: said } => {
                how = said;
                (filter, Task::Do(act))
            }
            // Configuration, log, suspensions, new mail, all numbers: answered in front.
            _ => return reply(turn, request, Answer::not_found("this is not kept by shards")),
        };
        let mut to = None;
        if let Some(name) = &how.to {
            let named = self.policy.ways().iter().find(|way| way.name == *name && !way.is_local);
            let Some(way) = named else {
                return reply(
                    turn,
                    request,
                    Answer::not_found(&format!("there is no route {name}")),
                );
            };
            to = Some(self.epochs.route(way.index));
        }
        if task == Task::Do(QueueAct::Flush) && !how.dry_run {
            self.forget_troubles();
        }
        let sweep = Sweep::new(self.select(&filter), Act::List);
        self.start(turn, Job { how, to, ..Job::new(Some(request), sweep, filter, task) });
    }

    /// Starts to send what a filter means, as by command; nobody waits for the
    /// answer.
    pub(crate) fn start_flush(&mut self, turn: &Turn<'_>, filter: Filter, reason: &str) {
        self.peers.forget_down();
        self.pop_log_ins.forget();
        let sweep = Sweep::new(self.select(&filter), Act::List);
        let job = Job::new(None, sweep, filter, Task::Do(QueueAct::Flush));
        self.start(turn, Job { how: How { reason: reason.into(), ..How::default() }, ..job });
    }

    fn start(&mut self, turn: &Turn<'_>, job: Job) {
        self.jobs.push_back(job);
        self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
    }

    /// Goes on with a command that had to wait, before all others.
    fn go_on_later(&mut self, turn: &Turn<'_>, job: Job) {
        self.jobs.push_front(job);
        self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
    }

    /// Forgets what would keep mail from leaving now.
    fn forget_troubles(&mut self) {
        self.peers.forget_down();
        self.pop_log_ins.forget();
        self.tokens.forget_failures();
    }

    /// Answers what takes no walk over the queue.
    fn answer_at_once(&mut self, turn: &mut Turn<'_>, command: &Command) -> Answer {
        match command {
            Request::Status => Answer::counted(self.status(turn), self.reading()),
            Request::Sample { rows } => {
                Answer::counted(Value::Null, self.sample(turn, *rows as usize))
            }
            Request::SessionsList(limit) => self.sessions(turn, *limit as usize),
            Request::SessionAbort(name) => self.abort_session(turn, name),
            Request::Sites(asked) => self.sites(turn, asked),
            Request::DnsCache(asked) => self.dns_cache(turn, asked),
            Request::DnsFlush(domain) => self.dns_flush(domain.as_ref()),
            Request::DnsServers => self.dns_servers(),
            Request::HostsList(limit) => self.hosts(turn, *limit as usize),
            Request::HostsPin { address, pin } => {
                if !self.peers.pin(turn.now.mono, *address, *pin) {
                    return Answer::refused("as many hosts are pinned as may be");
                }
                Answer::ok(json!({ "hosts": self.host_rows(turn, Some(*address)) }))
            }
            Request::HostsForget(address) => {
                Answer::ok(json!({ "entries": self.peers.forget(*address) }))
            }
            _ => Answer::refused("no shard answers this"),
        }
    }

    /// Starts to send all waiting mail where the policy in force sends it, with
    /// the lifetime that it gives.
    pub(crate) fn start_rerouting(&mut self, turn: &Turn<'_>) {
        self.jobs.retain(|job| job.task != Task::Reroute);
        let sweep = Sweep::new(Select::All, Act::List);
        self.start(turn, Job::new(None, sweep, Filter::default(), Task::Reroute));
    }

    /// Goes on with the first command that does not pause. Gives when there is
    /// more to do, if there is.
    pub(crate) fn go_on_with_jobs(&mut self, turn: &mut Turn<'_>) -> Option<Monotonic> {
        let now = turn.now.mono;
        if let Some(at) = self.jobs.iter().position(|job| job.not_before <= now) {
            self.go_on_with_job(turn, at);
        }
        self.jobs.iter().map(|job| job.not_before).min()
    }

    fn go_on_with_job(&mut self, turn: &mut Turn<'_>, at: usize) {
        let Some(mut job) = self.jobs.remove(at) else { return };
        let slots = match job.task {
            Task::List { .. }
            | Task::Ids { .. }
            | Task::Show(_)
            | Task::Why { .. }
            | Task::Forecast { .. } => SLOTS_PER_PIECE,
            Task::Do(_) | Task::Reroute => SLOTS_CHANGED,
        };
        if job.to.is_some_and(|to| !self.epochs.is_current(to)) {
            let answer = Answer::refused("the routes changed meanwhile; ask again");
            return answered(turn, &job, answer);
        }
        if !job.unread.is_empty() {
            return self.ask_places(turn, job);
        }
        let met = job.count;
        // What was asked for comes before the next piece.
        let mut keys = std::mem::take(&mut job.placed);
        let asked = !keys.is_empty();
        let more = asked || self.queue.sweep(turn.now, &mut job.sweep, slots, &mut keys);
        for key in keys {
            let Some(view) = self.queue.entry(turn.now, key) else { continue };
            if job.task == Task::Reroute {
                let now = self.queue.destination(view.destination).map(|(hop, _)| hop.route);
                self.move_entry(turn, key, &view, now);
                continue;
            }
            match self.is_meant(turn, &job, &view) {
                Meant::Yes => self.apply(turn, &mut job, key, &view),
                Meant::No => {}
                Meant::Unread { .. } if !asked => job.unread.push(key),
                Meant::Unread { all_the_same: true } => self.apply(turn, &mut job, key, &view),
                Meant::Unread { .. } => {}
            }
        }
        let full = match job.task {
            Task::List { limit } => job.rows.len() >= limit,
            Task::Why { limit } => job.keys.len() >= limit,
            _ => false,
        };
        let more = more || !job.unread.is_empty();
        if more && !full {
            if job.writes() && job.count > met {
                job.not_before = turn.now.mono + PAUSE_WRITTEN;
            }
            return self.jobs.insert(at, job);
        }
        if matches!(job.task, Task::Why { .. } | Task::Forecast { .. }) {
            let Some(request) = job.request else { return };
            return self.ask_why(turn, request, job.keys, job.queues);
        }
        match job.task {
            Task::Reroute => {}
            _ if job.elsewhere.is_empty() => self.conclude(turn, job),
            _ => self.ask_writers(turn, job),
        }
    }

    /// Answers a command that has met everything it is about.
    pub(crate) fn conclude(&self, turn: &mut Turn<'_>, mut job: Job) {
        let answer = self.concluded(turn, &mut job);
        answered(turn, &job, answer);
    }

    /// The narrowest walk that meets everything a filter may mean.
    fn select(&self, filter: &Filter) -> Select {
        if let Some(message) = filter.id {
            return Select::Message(message);
        }
        if let Some(site) = filter.site.as_deref().and_then(|name| self.queue.find_site(name)) {
            return Select::Site(site);
        }
        match filter.state {
            Some(state) => Select::State(queue_state(state)),
            None => Select::All,
        }
    }

    fn apply(&mut self, turn: &mut Turn<'_>, job: &mut Job, key: EntryKey, view: &View) {
        let act = match job.task {
            Task::Do(act) => act,
            Task::Why { limit } if job.keys.len() >= limit => return,
            Task::Why { .. } => return job.keys.push(key),
            Task::Forecast { whole } => return job.tally(view, whole),
            Task::Ids { after, limit } => return job.keep_first(view.message, after, limit),
            Task::List { .. } | Task::Show(_) | Task::Reroute => {
                if view.writer != self.id {
                    let recipient = (view.message, view.recipient);
                    let (row, writer) = (job.rows.len(), view.writer);
                    job.elsewhere.push(Elsewhere { row, writer, recipient });
                }
                let row = self.row(turn, view);
                return job.rows.push(row);
            }
        };
        if job.how.idle && view.state == State::InFlight {
            return;
        }
        if self.may(act, job.to, view) {
            job.count += 1;
            if job.how.idle {
                let stored = self.stored(turn, view);
                let met = stored.and_then(|stored| Some(stored.recipient(view.recipient)?.address));
                job.rows.push(met.into());
            }
            if !job.how.dry_run {
                self.act(turn, act, &job.how.reason, job.to, key);
            }
        }
    }

    /// Whether an act would change anything about a waiting recipient.
    fn may(&self, act: QueueAct, to: Option<u32>, view: &View) -> bool {
        match act {
            QueueAct::Flush | QueueAct::Hold | QueueAct::Remove => true,
            // One in flight may have been told to be held when it comes back.
            QueueAct::Release => matches!(view.state, State::Held | State::InFlight),
            // Success may still come of an attempt that is under way.
            QueueAct::Bounce => view.state != State::InFlight,
            QueueAct::Reroute => {
                let now = self.queue.destination(view.destination).map(|(hop, _)| hop.route);
                to.is_none() || now != to
            }
        }
    }

    fn act(
        &mut self,
        turn: &mut Turn<'_>,
        act: QueueAct,
        reason: &str,
        to: Option<u32>,
        key: EntryKey,
    ) {
        // No words: the last answer stays the one that is shown.
        let by = "";
        match act {
            QueueAct::Flush => {
                self.hurry(turn, key);
                self.queue.flush(key);
            }
            QueueAct::Hold => {
                self.queue.hold(key);
                self.settle_unsent(turn, key, SettledAs::Held, mail::Status::DEFERRED, by);
            }
            QueueAct::Release => {
                self.queue.release(key);
                self.settle_unsent(turn, key, SettledAs::Released, mail::Status::DEFERRED, by);
            }
            QueueAct::Remove => {
                if self.queue.remove(turn.now, key) {
                    self.remove(turn, key, reason);
                }
            }
            QueueAct::Bounce => {
                let text = with_reason("returned by command", reason);
                self.settle_unsent(turn, key, SettledAs::Failed, mail::Status::FAILED, &text);
            }
            QueueAct::Reroute => {
                if let Some(view) = self.queue.entry(turn.now, key) {
                    self.move_entry(turn, key, &view, to);
                }
            }
        }
    }

    /// Routes an entry anew, whatever its state. An attempt under way is
    /// nobody's to hand out anew; if mail is left after it, it is routed then.
    fn move_entry(&mut self, turn: &mut Turn<'_>, key: EntryKey, view: &View, to: Option<u32>) {
        if self.reroute_to(turn, key, view, to) {
            self.log_rerouted(turn, key, view);
        } else if view.state != State::InFlight {
            self.return_for(turn, key, view, to);
        }
    }

    fn concluded(&self, turn: &mut Turn<'_>, job: &mut Job) -> Answer {
        let rows = std::mem::take(&mut job.rows);
        match job.task {
            Task::List { .. } => Answer::ok(json!({ "messages": rows })),
            // These end otherwise.
            Task::Reroute | Task::Why { .. } | Task::Forecast { .. } => Answer::ok(Value::Null),
            Task::Ids { .. } => {
                let ids: Vec<String> = job.ids.iter().map(ToString::to_string).collect();
                Answer::ok(json!({ "ids": ids }))
            }
            Task::Show(message) => match self.life_of(turn, message) {
                Some(mut life) => {
                    life["waiting"] = Value::Array(rows);
                    Answer::ok(life)
                }
                None if rows.is_empty() => Answer::not_found("no such message in the queue"),
                None => Answer::ok(json!({ "waiting": rows })),
            },
            Task::Do(act) => {
                let How { reason, dry_run, idle, .. } = &job.how;
                let line = Line::new(turn.now.wall, Kind::Command).show(Field::Act, act);
                let line = line.text_if(Field::Reason, reason);
                let line = line.number(Field::Recipients, job.count);
                turn.log(line.flag(Field::DryRun, *dry_run));
                let mut body = json!({ "recipients": job.count, "dry_run": dry_run });
                if *idle {
                    body["met"] = rows.into();
                }
                Answer::ok(body)
            }
        }
    }

    /// The message of an entry; where the entry's place is out of date, as its
    /// writer knows it, if that is this shard.
    pub(crate) fn stored<'m>(&self, turn: &'m Turn<'_>, view: &View) -> Option<spool::Message<'m>> {
        let place = spool_place(view.place);
        let there = spool::message_at(&*turn.medium, view.message, place).ok();
        there.or_else(|| self.spool.message(&*turn.medium, view.message).ok())
    }

    /// One waiting recipient as JSON.
    fn row(&self, turn: &Turn<'_>, view: &View) -> Value {
        let (hop, site) = self.whereabouts(view);
        let stored = self.stored(turn, view);
        let recipient = stored.as_ref().and_then(|m| m.recipient(view.recipient));
        let note = self.spool.note(&*turn.medium, view.message, view.recipient);
        let suspended = recipient.as_ref().and_then(|r| self.suspension_of(turn, view, r.address));
        json!({
            "id": view.message.to_string(),
            "sender": stored.as_ref().map(|m| m.sender()),
            "recipient": recipient.map(|r| r.address),
            "state": filter_state(view.state).to_string(),
            "attempts": view.attempts,
            "arrived": rfc3339(view.arrived),
            "expires": rfc3339(view.expires),
            "next_attempt": view.next_attempt.map(rfc3339),
            "next_hop": hop,
            "site": site,
            "in_doubt": view.in_doubt,
            "suspended": suspended,
            "last_answer": note.map(|n| n.text.to_string()),
        })
    }

    /// Names of a waiting recipient's next hop and site.
    pub(crate) fn whereabouts(&self, view: &View) -> (Box<str>, Option<Box<str>>) {
        let hop =
            self.queue.destination(view.destination).map_or("".into(), |(h, _)| h.name.into());
        let site = self.queue.site_of(view.destination).and_then(|site| self.queue.site(site));
        (hop, site.map(|site| site.name.into()))
    }
}

fn reply(turn: &mut Turn<'_>, request: u64, answer: Answer) {
    turn.effects.push(Effect::Reply { request, answer });
}

fn answered(turn: &mut Turn<'_>, job: &Job, answer: Answer) {
    if let Some(request) = job.request {
        reply(turn, request, answer);
    }
}

/// What an operator's act says where the remote's words would stand.
pub(crate) fn with_reason(what: &str, reason: &str) -> String {
    if reason.is_empty() { what.into() } else { format!("{what}: {reason}") }
}

/// Whether a filter asks for what only single messages have.
fn is_about_messages(filter: &Filter) -> bool {
    let of_message = filter.id.is_some()
        || filter.state.is_some()
        || filter.in_doubt.is_some()
        || filter.route.is_some()
        || filter.older.is_some();
    of_message || filter.needs_envelope()
}

pub(crate) fn filter_state(state: State) -> control::State {
    match state {
        State::Deferred => control::State::Deferred,
        State::Ready => control::State::Ready,
        State::InFlight => control::State::InFlight,
        State::Held => control::State::Held,
    }
}

fn queue_state(state: control::State) -> State {
    match state {
        control::State::Deferred => State::Deferred,
        control::State::Ready => State::Ready,
        control::State::InFlight => State::InFlight,
        control::State::Held => State::Held,
    }
}
