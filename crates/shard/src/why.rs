//! `why`: why mail is where it is, and when it goes on, from what the queue and
//! the limits know. The recipients meant are found by a walk in pieces; then
//! the homes of their limits and the writers of their messages are asked for
//! their part; then each recipient's causes are put in order (`why/cause.rs`).
//!
//! Changes nothing, looks nothing up, dials nobody. Invariants: every question
//! is answered once; at most [`OPEN_MAX`] are open, and none for longer than
//! [`OPEN_FOR`].

mod cause;
mod drain;
mod facts;
mod forecast;
mod speed;

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Map, MessageId, Monotonic, ShardId};
use control::throttle::LimitView;
use queue::{EntryKey, View};
use serde_json::{Value, json};
use spool::Place;

use crate::admin::{Elsewhere, Job};
use crate::command::Answer;
use crate::effect::Effect;
use crate::explain::Explained;
use crate::handoff::RELAY_HOP;
use crate::mesh::MeshMessage;
use crate::shard::{Shard, Turn};
use cause::{Chain, Until};
use eventlog::rfc3339;
pub(crate) use facts::phase_of;
pub(crate) use forecast::Tallied;

/// Questions open at once; older ones are dropped.
const OPEN_MAX: usize = 64;
/// How long one is kept; who asked has gone by then.
const OPEN_FOR: Duration = Duration::from_secs(60);

/// What is not known here: asked of other shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The command that wants to know.
    pub request: u64,
    /// Limits, for their home.
    pub limits: Vec<Box<str>>,
    /// Recipients, for their writer.
    pub recipients: Vec<(MessageId, u16)>,
    /// Messages that are not where they were, for their writer.
    pub places: Vec<MessageId>,
    /// Sites, for everybody who may have mail for them.
    pub sites: Vec<Box<str>>,
}

impl Question {
    pub(crate) fn new(request: u64) -> Self {
        let (limits, recipients, places, sites) = Default::default();
        Self { request, limits, recipients, places, sites }
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The command that wants to know.
    pub request: u64,
    /// How limits stand, as far as they are in use.
    pub limits: Vec<(Box<str>, LimitView)>,
    /// Where recipients stand.
    pub standings: Vec<((MessageId, u16), Standing)>,
    /// Where messages stand.
    pub places: Vec<(MessageId, Place)>,
    /// Ready mail for sites, where there is some.
    pub waiting: Vec<(Box<str>, u32)>,
}

/// What only a message's writer knows of a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last answer.
    pub answer: Option<String>,
    /// Its status code.
    pub status: String,
    /// Who gave it.
    pub host: String,
    /// It is held, and the answer is what it is held for.
    pub held_for_it: bool,
    /// Crashes in a row that found an attempt open.
    pub crashes: u8,
}

/// A command that waits for what other shards know.
#[derive(Debug)]
pub(crate) struct Asking {
    about: About,
    awaited: u32,
    until: Monotonic,
    known: Known,
}

/// What it is about.
#[derive(Debug)]
enum About {
    /// Recipients and queues, and why they wait.
    Why(Vec<EntryKey>, Vec<Tallied>),
    /// A list whose rows lack what their writers know.
    List(Box<Job>),
    /// A command under way that has met messages that were moved.
    Places(Box<Job>),
    /// An explanation that lacks its forecast.
    Explained(Box<Explained>),
}

/// What other shards have told.
#[derive(Debug, Default)]
pub(crate) struct Known {
    limits: Map<Box<str>, LimitView>,
    standings: Map<(MessageId, u16), Standing>,
    places: Map<MessageId, Place>,
    /// Ready mail for sites at each of the other shards that has some.
    waiting: Map<Box<str>, Vec<u32>>,
}

impl Shard {
    /// The walk is over: asks who else knows about these recipients and
    /// queues.
    pub(crate) fn ask_why(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        keys: Vec<EntryKey>,
        queues: Vec<Tallied>,
    ) {
        if keys.is_empty() && queues.is_empty() {
            let answer = Answer::not_found("nothing of it waits here");
            return turn.effects.push(Effect::Reply { request, answer });
        }
        if !self.may_ask(turn) {
            let answer = Answer::busy("too many questions are open");
            return turn.effects.push(Effect::Reply { request, answer });
        }
        let questions = self.questions(turn, request, &keys, &queues);
        self.ask(turn, request, About::Why(keys, queues), questions);
    }

    /// A list is whole but for what the writers of some of its mail know; where
    /// too many questions are open it stays as it is.
    pub(crate) fn ask_writers(&mut self, turn: &mut Turn<'_>, job: Job) {
        let may = self.may_ask(turn);
        let Some(request) = job.request.filter(|_| may) else {
            return self.conclude(turn, job);
        };
        let mut questions: BTreeMap<ShardId, Question> = BTreeMap::new();
        for one in &job.elsewhere {
            let question = questions.entry(one.writer).or_insert_with(|| Question::new(request));
            question.recipients.push(one.recipient);
        }
        self.ask(turn, request, About::List(Box::new(job)), questions.into_iter().collect());
    }

    /// A command under way has met messages that were moved.
    pub(crate) fn ask_for_places(
        &mut self,
        turn: &mut Turn<'_>,
        number: u64,
        job: Job,
        questions: Vec<(ShardId, Question)>,
    ) {
        self.ask(turn, number, About::Places(Box::new(job)), questions);
    }

    /// An explanation is whole but for its forecast; where too many questions
    /// are open, that goes by what is known here.
    pub(crate) fn ask_for_explained(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        explained: Explained,
    ) {
        let (may, destination) = (self.may_ask(turn), explained.heading.destination);
        let Some(destination) = destination.filter(|_| may) else {
            let answer = self.explained(turn, explained, &Known::default());
            return turn.effects.push(Effect::Reply { request, answer });
        };
        let questions = self.questions(turn, request, &[], &[Tallied::new(destination, false)]);
        self.ask(turn, request, About::Explained(Box::new(explained)), questions);
    }

    /// Whether there is room for one more command that waits.
    pub(crate) fn may_ask(&mut self, turn: &Turn<'_>) -> bool {
        self.asking.retain(|_, asking| asking.until > turn.now.mono);
        self.asking.len() < OPEN_MAX
    }

    /// Asks; the command goes on once all have answered.
    fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        request: u64,
        about: About,
        questions: Vec<(ShardId, Question)>,
    ) {
        let (awaited, until) = (questions.len() as u32, turn.now.mono + OPEN_FOR);
        self.asking.insert(request, Asking { about, awaited, until, known: Known::default() });
        for (to, question) in questions {
            self.send(turn, to, MeshMessage::Ask(Box::new(question)));
        }
    }

    /// When mail would be tried that came now.
    fn explained(&self, turn: &Turn<'_>, explained: Explained, known: &Known) -> Answer {
        let Explained { heading, to, mut body } = explained;
        let facts = self.facts_of_new(turn, heading.destination, &heading.way, &to, known);
        let chain = Chain::of(&facts);
        body["forecast"] = json!({
            "cause": chain.binding().cause,
            "because": chain.binding().words,
            "next_attempt": chain.next.map(rfc3339),
            "ahead": facts.ahead,
        });
        Answer::ok(body)
    }

    /// Whom to ask for what; at least somebody.
    fn questions(
        &self,
        turn: &Turn<'_>,
        request: u64,
        keys: &[EntryKey],
        queues: &[Tallied],
    ) -> Vec<(ShardId, Question)> {
        let mut questions: Vec<Question> =
            (0..self.shards).map(|_| Question::new(request)).collect();
        let (mut limits, mut sites): (Vec<Box<str>>, Vec<Box<str>>) = (Vec::new(), Vec::new());
        let views = keys.iter().filter_map(|key| self.queue.entry(turn.now, *key));
        let mut destinations: Vec<_> = queues.iter().map(|queue| queue.destination).collect();
        for view in views {
            let asked = &mut questions[usize::from(view.writer.0)].recipients;
            asked.push((view.message, view.recipient));
            destinations.push(view.destination);
        }
        for destination in destinations {
            let target = self.queue.site_of(destination).and_then(|site| self.targets.get(&site));
            limits.extend(target.map(|target| Box::from(&*target.limit_key)));
            let site = self.queue.last_site_of(destination).and_then(|key| self.queue.site(key));
            sites.extend(site.map(|site| Box::from(site.name)));
        }
        for list in [&mut limits, &mut sites] {
            list.sort();
            list.dedup();
        }
        for key in limits {
            questions[usize::from(control::owner(&key, self.shards).0)].limits.push(key);
        }
        for (shard, question) in (0..self.shards).zip(&mut questions) {
            if shard != self.id.0 {
                question.sites.clone_from(&sites);
            }
        }
        let asked = |(_, q): &(ShardId, Question)| {
            !q.limits.is_empty() || !q.recipients.is_empty() || !q.sites.is_empty()
        };
        let mut all: Vec<_> = (0..self.shards).map(ShardId).zip(questions).collect();
        if !all.iter().any(asked) {
            return vec![(self.id, Question::new(request))];
        }
        all.retain(asked);
        all
    }

    /// Another shard wants to know something.
    pub(crate) fn asked_why(&mut self, turn: &mut Turn<'_>, from: ShardId, question: Question) {
        let Question { request, limits, recipients, places, sites } = question;
        let limits = limits
            .into_iter()
            .filter_map(|key| self.bank.view(from, &key).map(|view| (key, view)))
            .collect();
        let standings = recipients
            .into_iter()
            .filter_map(|(message, recipient)| {
                Some(((message, recipient), self.standing(turn, message, recipient)?))
            })
            .collect();
        let placed = |id| Some((id, self.spool.place(id)?));
        let places = places.into_iter().filter_map(placed).collect();
        let waiting = sites
            .into_iter()
            .filter_map(|name| {
                let site = self.queue.find_site(&name).and_then(|key| self.queue.site(key))?;
                Some((name, site.counts.ready))
            })
            .filter(|(_, ready)| *ready > 0)
            .collect();
        let told = Told { request, limits, standings, places, waiting };
        self.send(turn, from, MeshMessage::Told(Box::new(told)));
    }

    fn standing(&self, turn: &Turn<'_>, message: MessageId, recipient: u16) -> Option<Standing> {
        let state = self.spool.state(message, recipient)?;
        let note = self.spool.note(&*turn.medium, message, recipient);
        // A hold by a command comes later than the answer it leaves in place.
        let written_with = |note: &spool::NoteView<'_>| {
            note.next.as_millis().div_ceil(1_000) == state.next.as_millis().div_ceil(1_000)
        };
        Some(Standing {
            answer: note.map(|note| note.text.to_owned()),
            status: note.map(|note| note.status.to_string()).unwrap_or_default(),
            host: note.map(|note| note.host.to_owned()).unwrap_or_default(),
            held_for_it: state.phase == spool::Phase::Held
                && note.as_ref().is_some_and(written_with),
            crashes: state.crashes,
        })
    }

    /// Another shard has answered; the last answer ends the command.
    pub(crate) fn told_why(&mut self, turn: &mut Turn<'_>, told: Told) {
        let Some(asking) = self.asking.get_mut(&told.request) else { return };
        asking.known.limits.extend(told.limits);
        asking.known.standings.extend(told.standings);
        asking.known.places.extend(told.places);
        for (site, ready) in told.waiting {
            asking.known.waiting.entry(site).or_default().push(ready);
        }
        asking.awaited -= 1;
        if asking.awaited > 0 {
            return;
        }
        let request = told.request;
        let Some(Asking { about, known, .. }) = self.asking.remove(&request) else { return };
        let answer = match about {
            About::List(mut job) => {
                for Elsewhere { row, recipient, .. } in std::mem::take(&mut job.elsewhere) {
                    let answer = known.standings.get(&recipient).map(|it| &it.answer);
                    job.rows[row]["last_answer"] = json!(answer);
                }
                return self.conclude(turn, *job);
            }
            About::Places(job) => {
                return self.places_told(turn, *job, |id| known.places.get(&id).copied());
            }
            About::Explained(explained) => self.explained(turn, *explained, &known),
            About::Why(keys, queues) => self.why(turn, &keys, &queues, &known),
        };
        turn.effects.push(Effect::Reply { request, answer });
    }

    /// Why recipients and queues wait.
    fn why(&self, turn: &Turn<'_>, keys: &[EntryKey], queues: &[Tallied], known: &Known) -> Answer {
        let row = |key: &EntryKey| {
            let view = self.queue.entry(turn.now, *key)?;
            Some(self.why_row(turn, *key, &view, known))
        };
        let rows: Vec<Value> = keys.iter().filter_map(row).collect();
        let queues: Vec<Value> =
            queues.iter().map(|queue| self.forecast(turn, queue, known)).collect();
        match rows.is_empty() && queues.is_empty() {
            true => Answer::not_found("nothing of it waits here any more"),
            false => Answer::ok(json!({ "recipients": rows, "queues": queues })),
        }
    }

    /// One recipient with its causes.
    fn why_row(&self, turn: &Turn<'_>, key: EntryKey, view: &View, known: &Known) -> Value {
        let standing = known.standings.get(&(view.message, view.recipient));
        let stored = self.stored(turn, view);
        let recipient = stored.as_ref().and_then(|m| m.recipient(view.recipient));
        let to = recipient.map(|r| r.address).unwrap_or_default();
        let way = self.way_of(view.destination);
        let facts = self.facts(turn, (key, view), to, way.as_ref(), standing, known);
        let chain = Chain::of(&facts);
        let (hop, site) = self.whereabouts(view);
        let source = way.as_ref().and_then(|way| way.source()).map(|source| &source.name);
        json!({
            "id": view.message.to_string(),
            "recipient": to,
            "shard": self.id.0,
            "writer": view.writer.0,
            "state": crate::admin::filter_state(view.state).to_string(),
            "attempts": view.attempts,
            "arrived": rfc3339(view.arrived),
            "expires": rfc3339(view.expires),
            "cause": chain.binding().cause,
            "because": chain.binding().words,
            "next_attempt": chain.next.map(rfc3339),
            "chain": links(&chain),
            "last_answer": standing.and_then(|s| s.answer.as_deref()),
            "last_status": standing.map(|s| &s.status).filter(|s| !s.is_empty()),
            "last_host": standing.map(|s| &s.host).filter(|s| !s.is_empty()),
            "route": way.as_ref().map(|way| &way.name),
            "source": source,
            "next_hop": if &*hop == RELAY_HOP { None } else { Some(hop) },
            "site": site,
            "health": facts.site.as_ref().map(facts::health_of),
            "limits": facts.site.as_ref().map(facts::limits_of),
            "ahead": facts.site.as_ref().map(|_| facts.ahead),
        })
    }
}

fn links(chain: &Chain) -> Vec<Value> {
    let row = |link: &cause::Link| {
        let until = match link.until {
            Until::At(at) => Some(rfc3339(at)),
            Until::Somebody | Until::Soon => None,
        };
        json!({ "cause": link.cause, "words": link.words, "until": until,
                "by_itself": link.until != Until::Somebody })
    };
    chain.links.iter().map(row).collect()
}
