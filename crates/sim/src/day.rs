//! A day of a sender, replayed: mail comes by a daily curve and in mailings,
//! providers take it by their limits and moods, and now and then somebody asks
//! when waiting mail goes on and when a queue is empty. What the daemon's own
//! code answers to `why` is held against what comes.
//!
//! What is forecast of a message is its next attempt; where its site is down or
//! its domain cannot be looked up, the next try of that, which comes first.
//! What is forecast of a queue is the last of the next attempts for what is
//! ready in it at that moment, and the end of all that waits in it then: the
//! last of that is delivered, returned or expired. Mail that comes later is no
//! part of it, but takes its turns.
//!
//! Never forecasts anything itself. Invariant: a day is a function of its plan.

mod arrivals;
mod judge;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Monotonic, Rng, Wall};
use control::{Request, Why};
use serde_json::Value;

pub use judge::{Errors, Report};

use crate::world::World;
use arrivals::Coming;
use judge::{About, Letter, Said, time};
use stage::{Happening, SCRIPT_MINUTES, SHARDS, Stage, Target};

/// How often somebody asks.
const ASKED_EVERY: Duration = Duration::from_secs(307);
/// Messages of one queue that are asked about at once.
const ASKED_OF_EACH: usize = 3;
/// Small queues that are asked about at once.
const SMALL_ASKED: usize = 6;
/// No day lasts longer behind its last message: lifetimes end before.
const LONGEST_REST: Duration = Duration::from_secs(14 * 3_600);

/// A day to be replayed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of everything that is drawn.
    pub seed: u64,
    /// Days, each of them six hours long, one behind the other.
    pub days: u32,
    /// Messages of each.
    pub messages: u32,
}

/// Replays days and judges what was said in them.
pub fn replay(plan: &Plan) -> Report {
    let stage = Stage::draw();
    let world = stage.set(plan.seed);
    let began = world.now.mono;
    let mut day = Day {
        stage,
        world,
        rng: Rng::new(plan.seed),
        letters: BTreeMap::new(),
        waiting: BTreeSet::new(),
        targets: BTreeMap::new(),
        look_ups: BTreeMap::new(),
        said: Vec::new(),
        handed_in: 0,
    };
    let length = Duration::from_secs(60 * SCRIPT_MINUTES);
    for number in 0..plan.days {
        day.go(began + length * number, length, plan.messages);
    }
    day.rest();
    day.judged()
}

/// See the head of this file.
struct Day {
    stage: Stage,
    world: World,
    rng: Rng,
    /// Every message, by its id.
    letters: BTreeMap<String, Letter>,
    /// Ids of those that are not gone.
    waiting: BTreeSet<String>,
    /// Domains of addresses that came, by number.
    targets: BTreeMap<String, usize>,
    /// When look-ups of each domain ended.
    look_ups: BTreeMap<String, Vec<Wall>>,
    said: Vec<Said>,
    handed_in: usize,
}

/// What comes next.
enum Next {
    Mail(Coming),
    Turn(Happening),
    Question,
}

impl Day {
    /// One day, from its first message to its end.
    fn go(&mut self, from: Monotonic, length: Duration, messages: u32) {
        let mut all: Vec<(Duration, Next)> = Vec::new();
        let coming = arrivals::of_a_day(&self.stage, length, messages, &mut self.rng);
        all.extend(coming.into_iter().map(|coming| (coming.at, Next::Mail(coming))));
        all.extend(self.stage.script().map(|(at, turn)| (at, Next::Turn(turn))));
        let asked = (1..).map(|n| ASKED_EVERY * n).take_while(|at| *at < length);
        all.extend(asked.map(|at| (at, Next::Question)));
        all.sort_by_key(|(at, _)| *at);
        for (at, next) in all {
            let at = from + at;
            self.world.run_for(at.since(self.world.now.mono));
            match next {
                Next::Mail(coming) => {
                    self.targets.insert(coming.to.clone(), coming.target);
                    let shard = self.handed_in % usize::from(SHARDS);
                    self.world.send_beside(shard, coming.letter());
                    self.handed_in += 1;
                }
                Next::Turn(turn) => turn.happens(&self.stage, &mut self.world),
                Next::Question => self.ask(),
            }
        }
        self.world.run_for((from + length).since(self.world.now.mono));
    }

    /// No more mail comes; what waits goes, or its lifetime ends.
    fn rest(&mut self) {
        let end = self.world.now.mono + LONGEST_REST;
        self.read_log();
        while !self.waiting.is_empty() && self.world.now.mono < end {
            self.world.run_for(ASKED_EVERY);
            self.read_log();
        }
        assert_eq!(self.letters.len(), self.handed_in, "each message was accepted");
        assert!(self.waiting.is_empty(), "mail outlives its lifetime: {:?}", self.waiting);
    }

    /// What the log has told since the last look.
    fn read_log(&mut self) {
        for line in std::mem::take(&mut self.world.log) {
            let at = time(&line["time"]).expect("a line has its time");
            if let (Some("lookup"), Some(domain)) =
                (line["event"].as_str(), line["domain"].as_str())
            {
                self.look_ups.entry(domain.to_owned()).or_default().push(at);
            }
            let Some(id) = line["id"].as_str() else { continue };
            match line["event"].as_str() {
                Some("accepted") => {
                    let to = line["to"].as_str().unwrap_or_default();
                    let Some(target) = self.targets.remove(to) else { continue };
                    let letter = Letter { target, tries: Vec::new(), end: None, ready: Some(at) };
                    self.letters.insert(id.to_owned(), letter);
                    self.waiting.insert(id.to_owned());
                }
                Some("attempt") => {
                    self.letters.entry(id.to_owned()).and_modify(|it| {
                        it.tries.push(at);
                        it.ready = None;
                    });
                }
                Some("deferred") => {
                    let next = time(&line["next"]);
                    self.letters.entry(id.to_owned()).and_modify(|it| it.ready = next);
                }
                Some("delivered" | "failed" | "expired") => {
                    self.letters.entry(id.to_owned()).and_modify(|it| it.end = Some(at));
                    self.waiting.remove(id);
                }
                _ => {}
            }
        }
    }

    /// Somebody asks about queues and about some of their messages.
    fn ask(&mut self) {
        self.read_log();
        let mut small = SMALL_ASKED;
        for number in 0..self.stage.places.len() {
            let place = self.stage.places[number].clone();
            let waits = |id: &&String| place.targets.contains(&self.letters[*id].target);
            let ids: Vec<String> = self.waiting.iter().filter(waits).cloned().collect();
            if ids.is_empty() {
                continue;
            }
            if place.is_small {
                if small == 0 {
                    continue;
                }
                small -= 1;
            }
            self.ask_queue(&place.asked, &ids);
            if !matches!(place.asked, Why::Site(_)) {
                self.ask_messages(ids);
            }
        }
    }

    /// When is this empty?
    fn ask_queue(&mut self, asked: &Why, ids: &[String]) {
        for row in self.answers(asked.clone(), "queues") {
            let shard = row["shard"].as_u64();
            let here = |id: &&String| {
                let target = self.letters[*id].target;
                Some(u64::from(self.stage.targets[target].shard.0)) == shard
            };
            let here: Vec<String> = ids.iter().filter(here).cloned().collect();
            let now = self.world.now.wall;
            let is_ready = |id: &&String| self.letters[*id].ready.is_some_and(|at| at <= now);
            let ready: Vec<String> = here.iter().filter(is_ready).cloned().collect();
            if !ready.is_empty() {
                self.note(&row, time(&row["tried"]), About::Tried(ready));
            }
            self.note(&row, time(&row["drained"]), About::Drained(here));
        }
    }

    /// When is this tried?
    fn ask_messages(&mut self, mut ids: Vec<String>) {
        self.rng.shuffle(&mut ids);
        for id in ids.into_iter().take(ASKED_OF_EACH) {
            let asked = Why::Message(id.parse().expect("an id of the log"));
            for row in self.answers(asked, "recipients") {
                let about = match row["cause"].as_str() {
                    Some("under-way") => continue,
                    Some("site-down") => About::Dial(self.target(&id).ip),
                    Some("look-up-failed") => About::LookUp(self.target(&id).name.clone()),
                    _ => About::Try(id.clone()),
                };
                self.note(&row, time(&row["next_attempt"]), about);
            }
        }
    }

    fn target(&self, id: &str) -> &Target {
        &self.stage.targets[self.letters[id].target]
    }

    fn answers(&mut self, asked: Why, what: &str) -> Vec<Value> {
        let answer = self.world.command(Request::Why { asked, limit: 10 });
        answer.body[what].as_array().cloned().unwrap_or_default()
    }

    fn note(&mut self, row: &Value, when: Option<Wall>, about: About) {
        let cause = row["cause"].as_str().unwrap_or_default().to_owned();
        self.said.push(Said { asked: self.world.now.wall, cause, when, about });
    }

    /// The day is over: what was said is held against what came.
    fn judged(mut self) -> Report {
        let mut report = Report { messages: self.letters.len(), ..Report::default() };
        for said in std::mem::take(&mut self.said) {
            let came = self.came(&said);
            report.judge(&said, came);
        }
        report
    }

    /// When the first attempt for a message began from then on, if one did.
    fn tried(&self, id: &str, from: Wall) -> Option<Wall> {
        let letter = &self.letters[id];
        letter.tries.iter().find(|at| **at >= from).copied().or(letter.end)
    }

    /// When that came which was said.
    fn came(&mut self, said: &Said) -> Option<Wall> {
        match &said.about {
            About::Try(id) => self.tried(id, said.asked),
            About::Tried(ids) => ids.iter().filter_map(|id| self.tried(id, said.asked)).max(),
            About::Dial(ip) => {
                let now = self.world.now;
                let dials = self.world.at(*ip).connects.iter();
                let at = |mono: Monotonic| now.wall - now.mono.since(mono);
                dials.map(|mono| at(*mono)).find(|at| *at >= said.asked)
            }
            About::LookUp(domain) => {
                let ends = self.look_ups.get(domain).into_iter().flatten();
                ends.copied().find(|at| *at >= said.asked)
            }
            About::Drained(ids) => ids.iter().filter_map(|id| self.letters[id].end).max(),
        }
    }
}
