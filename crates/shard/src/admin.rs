//! Commands from the control socket. What touches single entries goes over the
//! queue in bounded pieces, so that a million entries never stop the shard.

use base::MessageId;
use control::{By, Facts, Filter, QueueAct, Request};
use queue::{Act, EntryKey, Select, State, Sweep, View};
use serde_json::{Value, json};

use crate::armed::Timer;
use crate::command::{Answer, Command};
use crate::delivery_log::{Line, rfc3339};
use crate::effect::Effect;
use crate::handoff::{RELAY_HOP, spool_place};
use crate::mesh::SettledAs;
use crate::shard::{Shard, Turn};

/// Slots of the queue looked at in one piece.
const SLOTS_PER_PIECE: u32 = 8_192;
/// The same for mail that is routed anew, each piece of which is read.
const SLOTS_REROUTED: u32 = 1_024;

/// A command on its way over the queue.
#[derive(Debug)]
pub(crate) struct Job {
    request: u64,
    sweep: Sweep,
    filter: Filter,
    task: Task,
    count: u64,
    rows: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    List {
        limit: usize,
    },
    Show(MessageId),
    Do(QueueAct),
    /// Not asked for by anybody: a new policy wants it.
    Reroute,
}

impl Shard {
    /// Starts a command, or answers it at once.
    pub(crate) fn command(&mut self, turn: &mut Turn<'_>, request: u64, command: Command) {
        let (filter, task) = match command {
            Request::Status => {
                let answer = Answer::ok(self.status(turn));
                return turn.effects.push(Effect::Reply { request, answer });
            }
            Request::ConfigShow
            | Request::SuspensionsList
            | Request::Suspend(_)
            | Request::Resume(_) => {
                let answer = Answer::not_found("this is not kept by shards");
                return turn.effects.push(Effect::Reply { request, answer });
            }
            Request::QueueList { by: By::Message, filter, limit } => {
                (filter, Task::List { limit: limit as usize })
            }
            Request::QueueList { by, filter, limit } => {
                let answer = if is_about_messages(&filter) {
                    Answer::refused("id, sender, recipient, state and in_doubt need by=message")
                } else {
                    Answer::ok(self.top(turn, by, &filter, limit as usize))
                };
                return turn.effects.push(Effect::Reply { request, answer });
            }
            Request::QueueShow(message) => {
                (Filter { id: Some(message), ..Filter::default() }, Task::Show(message))
            }
            Request::QueueAct { act, filter } => (filter, Task::Do(act)),
        };
        if task == Task::Do(QueueAct::Flush) {
            self.peers.forget_down();
        }
        let sweep = Sweep::new(self.select(&filter), Act::List);
        self.jobs.push_back(Job { request, sweep, filter, task, count: 0, rows: Vec::new() });
        self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
    }

    /// Starts to send all waiting mail where the policy in force sends it, with
    /// the lifetime that it gives.
    pub(crate) fn start_rerouting(&mut self, turn: &Turn<'_>) {
        self.jobs.retain(|job| job.task != Task::Reroute);
        let sweep = Sweep::new(Select::All, Act::List);
        let (filter, rows) = (Filter::default(), Vec::new());
        self.jobs.push_back(Job { request: 0, sweep, filter, task: Task::Reroute, count: 0, rows });
        self.work_armed.set(&mut self.timers, Some(turn.now.mono), Timer::Work);
    }

    /// Goes on with the first command. True: there is more to do.
    pub(crate) fn go_on_with_jobs(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(mut job) = self.jobs.pop_front() else { return false };
        let mut keys = Vec::new();
        let slots = if job.task == Task::Reroute { SLOTS_REROUTED } else { SLOTS_PER_PIECE };
        let more = self.queue.sweep(turn.now, &mut job.sweep, slots, &mut keys);
        for key in keys {
            if job.task == Task::Reroute {
                self.reroute(turn, key);
                continue;
            }
            let Some(view) = self.queue.entry(turn.now, key) else { continue };
            if self.is_meant(turn, &job.filter, &view) {
                self.apply(turn, &mut job, key, &view);
            }
        }
        let full = matches!(job.task, Task::List { limit } if job.rows.len() >= limit);
        if more && !full {
            self.jobs.push_front(job);
            return true;
        }
        if job.task != Task::Reroute {
            let answer = self.concluded(turn, &mut job);
            turn.effects.push(Effect::Reply { request: job.request, answer });
        }
        !self.jobs.is_empty()
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

    fn is_meant(&self, turn: &Turn<'_>, filter: &Filter, view: &View) -> bool {
        let (hop, site) = self.whereabouts(view);
        let mut facts = Facts {
            id: view.message,
            state: filter_state(view.state),
            in_doubt: view.in_doubt,
            domain: Some(&hop),
            site: site.as_deref(),
            sender: None,
            recipient: None,
        };
        let relayed = hop.as_ref() == RELAY_HOP;
        if relayed {
            facts.domain = None;
        }
        let by_domain = relayed && filter.domain.is_some();
        if !filter.needs_envelope() && !by_domain {
            return filter.matches(&facts);
        }
        let Some(stored) = self.stored(turn, view) else { return false };
        facts.sender = Some(stored.sender());
        facts.recipient = stored.recipient(view.recipient).map(|r| r.address);
        facts.domain = facts.recipient.and_then(|r| r.rsplit_once('@')).map(|(_, domain)| domain);
        filter.matches(&facts)
    }

    fn apply(&mut self, turn: &mut Turn<'_>, job: &mut Job, key: EntryKey, view: &View) {
        job.count += 1;
        let Task::Do(act) = job.task else {
            let row = self.row(turn, view);
            return job.rows.push(row);
        };
        // No words: the last answer stays the one that is shown.
        let by = "";
        match act {
            QueueAct::Flush => {
                self.queue.flush(key);
            }
            QueueAct::Hold => {
                self.queue.hold(key);
                self.settle_unsent(turn, key, SettledAs::Held, mail::Status::DEFERRED, by);
            }
            // One in flight may have been told to be held when it comes back.
            QueueAct::Release if matches!(view.state, State::Held | State::InFlight) => {
                self.queue.release(key);
                self.settle_unsent(turn, key, SettledAs::Released, mail::Status::DEFERRED, by);
            }
            QueueAct::Release => job.count -= 1,
            QueueAct::Remove => {
                if self.queue.remove(turn.now, key) {
                    self.remove(turn, key);
                }
            }
        }
    }

    fn concluded(&mut self, turn: &mut Turn<'_>, job: &mut Job) -> Answer {
        let rows = std::mem::take(&mut job.rows);
        match job.task {
            Task::List { .. } => Answer::ok(json!({ "messages": rows })),
            Task::Reroute => Answer::ok(Value::Null),
            Task::Show(message) => match self.life_of(turn, message) {
                Some(mut life) => {
                    life["waiting"] = Value::Array(rows);
                    Answer::ok(life)
                }
                None if rows.is_empty() => Answer::not_found("no such message in the queue"),
                None => Answer::ok(json!({ "waiting": rows })),
            },
            Task::Do(act) => {
                let line = Line::new(turn.now.wall, "command").show("act", act);
                turn.log(line.number("recipients", job.count));
                Answer::ok(json!({ "recipients": job.count }))
            }
        }
    }

    /// The message of an entry; where the entry's place is out of date, as its
    /// writer knows it, if that is this shard.
    fn stored<'m>(&self, turn: &'m Turn<'_>, view: &View) -> Option<spool::Message<'m>> {
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
    fn whereabouts(&self, view: &View) -> (Box<str>, Option<Box<str>>) {
        let hop =
            self.queue.destination(view.destination).map_or("".into(), |(h, _)| h.name.into());
        let site = self.queue.site_of(view.destination).and_then(|site| self.queue.site(site));
        (hop, site.map(|site| site.name.into()))
    }

    /// A message written here: envelope, and where each recipient stands.
    fn life_of(&self, turn: &Turn<'_>, message: MessageId) -> Option<Value> {
        let stored = self.spool.message(&*turn.medium, message).ok()?;
        let recipients: Vec<Value> = (0u16..)
            .zip(stored.recipients())
            .map(|(index, recipient)| {
                let state = self.spool.state(message, index);
                let note = self.spool.note(&*turn.medium, message, index);
                json!({
                    "recipient": recipient.address,
                    "state": state.map(|s| format!("{:?}", s.phase).to_lowercase()),
                    "attempts": state.map(|s| s.attempts),
                    "in_doubt": state.is_some_and(|s| s.in_doubt),
                    "status": note.map(|n| n.status.to_string()),
                    "last_answer": note.map(|n| n.text.to_string()),
                    "last_host": note.map(|n| n.host.to_string()),
                })
            })
            .collect();
        let (segment, offset, len) = stored.body_range();
        Some(json!({
            "id": message.to_string(),
            "sender": stored.sender(),
            "arrived": rfc3339(stored.arrival()),
            "size": len,
            "segment": segment.0,
            "offset": offset,
            "client": stored.client().map(|ip| ip.to_string()),
            "helo": stored.helo(),
            "is_report": stored.is_report(),
            "recipients": recipients,
        }))
    }
}

/// Whether a filter asks for what only single messages have.
fn is_about_messages(filter: &Filter) -> bool {
    let of_message = filter.id.is_some() || filter.state.is_some() || filter.in_doubt.is_some();
    of_message || filter.needs_envelope()
}

fn filter_state(state: State) -> control::State {
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
