//! Plays a run: brings the faults at their moments, ends those that last, and
//! when the time of faults is over mends everything and waits for rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{MessageId, Monotonic};
use control::QueueAct;

use super::{Options, Plan, Watch, stream};
use crate::configuration::Configuration;
use crate::fault::What;
use crate::observation::{Left, Letter, Observation, Text, Verb, Whom};
use crate::scenario::{Scenario, host_ip, pick};
use crate::world::{Act, NAME_SERVERS, Power, Stage, World, read_policy};

/// How long faults are over before the run is looked at, and how often then.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// A drain that has not ended by then is ended.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// Clients come back so often with one message.
const AGAIN_MAX: u32 = 6;
/// What comes after the last fault is not a fault's doing any more.
const SETTLE: Duration = Duration::from_secs(30);

pub(super) struct Play<'a> {
    pub(super) seed: u64,
    pub(super) scenario: &'a Scenario,
    pub(super) world: World,
    pub(super) watch: Watch,
    pub(super) started: Monotonic,
    plan: &'a Plan,
    options: &'a Options,
    /// What is to be done, by moment.
    todo: BTreeMap<(Monotonic, u64), Todo>,
    order: u64,
    revision: u64,
    /// Which crash comes next, and how the next life begins.
    next_life: (Power, u16),
    calm: bool,
    /// The highest number of a message so far.
    pub(super) numbers: u32,
    /// How often a message was handed in before.
    pub(super) tries: BTreeMap<u32, u32>,
    /// Some ids that clients were told.
    ids: Vec<MessageId>,
    /// The longest lifetime of any configuration so far.
    lifetime: Duration,
}

enum Todo {
    Fault(usize),
    /// What this fault brought is over.
    Over(usize),
    Again(Arc<Letter>),
    /// A drain that does not end.
    Impatience(u16),
}

impl<'a> Play<'a> {
    pub(super) fn new(seed: u64, plan: &'a Plan, options: &'a Options) -> Self {
        let policy = read_policy(&plan.first.text).expect("configurations that are drawn are good");
        let scenario = &plan.scenario;
        let mut world = World::silent(seed, Arc::new(policy), scenario.segment_bytes);
        world.watch();
        world.forget();
        scenario.set(&mut world);
        world.weather = scenario.weather(seed);
        let started = world.now.mono;
        let mut play = Self {
            seed,
            scenario,
            world,
            watch: Watch { keeps: options.history, ..Watch::default() },
            started,
            plan,
            options,
            todo: BTreeMap::new(),
            order: 0,
            revision: 1,
            next_life: (Power::Stays, scenario.shards),
            calm: false,
            numbers: 0,
            tries: BTreeMap::new(),
            ids: Vec::new(),
            lifetime: Duration::ZERO,
        };
        play.in_force(&plan.first);
        play.world.see(Observation::Topology(scenario.sites().into()));
        play.world.begin(scenario.shards);
        for (place, fault) in plan.faults.iter().enumerate() {
            if !options.without.contains(&place) {
                play.later(fault.at, Todo::Fault(place));
            }
        }
        play
    }

    /// The whole run.
    pub(super) fn go(&mut self) {
        self.run_to(self.started + self.scenario.active);
        self.mend();
        // What expires last brings a report with a lifetime of its own.
        let end = self.world.now.mono + 2 * self.lifetime + SETTLE + LOOK_EVERY;
        while self.world.now.mono < end && self.watch.breach.is_none() {
            self.run_to(self.world.now.mono + LOOK_EVERY);
            if self.is_at_rest() {
                break;
            }
        }
        // Idle connections close, syncs end, permits come home.
        self.run_to(self.world.now.mono + 20 * SETTLE);
        self.conclude();
    }

    fn later(&mut self, after: Duration, todo: Todo) {
        self.order += 1;
        let at = self.world.now.mono + after;
        self.todo.insert((at, self.order), todo);
    }

    /// Plays until a moment, or until a promise is broken.
    fn run_to(&mut self, end: Monotonic) {
        while self.watch.breach.is_none() {
            let todo = self.todo.first_key_value().map(|((at, _), _)| *at);
            let thing = self.world.next_moment();
            let next = todo.into_iter().chain(thing).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            if todo == Some(next) {
                self.world.move_to(next);
                let (_, todo) = self.todo.pop_first().expect("just looked at");
                self.act(todo);
            } else {
                self.world.go_on();
            }
            if self.world.has_fallen() {
                let (power, shards) = self.next_life;
                self.world.rise(shards, power);
            } else if self.world.drained.len() == self.world.shards.len() {
                self.world.rise(self.next_life.1, Power::Stays);
            }
            self.look();
        }
        self.world.move_to(end);
    }

    /// Shows the court what was seen, and takes up what clients bring back.
    fn look(&mut self) {
        let seen = self.world.seen();
        for one in &seen {
            if let Observation::Answered { to: Verb::Dot, id: Some(id), .. } = &one.what {
                self.ids.push(*id);
            }
        }
        self.watch.look(seen);
        for letter in std::mem::take(&mut self.world.again) {
            let number = crate::letters::mark_of(&letter.content);
            let tries = self.tries.get(&number).copied().unwrap_or_default();
            if tries < AGAIN_MAX && !self.calm {
                let mut rng = stream(self.seed, 1 << 40 | u64::from(number));
                let seconds = pick(&mut rng, &[1, 30, 300, 900]);
                self.later(Duration::from_secs(seconds << tries), Todo::Again(letter));
            }
        }
    }

    fn act(&mut self, todo: Todo) {
        match todo {
            Todo::Fault(place) => {
                let what = &self.plan.faults[place].what;
                if let Some(lasts) = what.lasts() {
                    self.later(lasts, Todo::Over(place));
                }
                self.begin(what);
            }
            Todo::Over(place) => self.end(&self.plan.faults[place].what),
            Todo::Again(letter) if !self.calm => self.comes_again(&letter),
            Todo::Again(_) => {}
            Todo::Impatience(shards) => {
                self.next_life = (Power::Stays, shards);
                self.world.fall_now();
            }
        }
    }

    fn begin(&mut self, what: &What) {
        let world = &mut self.world;
        match what {
            What::Visit { seed } => self.visit(*seed),
            What::Rule { host, stage, act, times } => {
                world.at(host_ip(*host)).rule(*stage, *act, *times);
            }
            What::HostDown { host, hard, .. } => {
                let act = if *hard { Act::Stall } else { Act::Drop };
                world.at(host_ip(*host)).rule(Stage::Connect, act, u32::MAX);
            }
            What::HangUp(host) => world.hang_up(host_ip(*host)),
            What::GoSilent(host) => world.go_silent(host_ip(*host)),
            What::Name { name, trouble, .. } => world.names.trouble(name, Some(*trouble)),
            What::NameServerDown { server, .. } => {
                world.names.down.insert(NAME_SERVERS[*server]);
            }
            What::SyncsFail(count) => world.failing_syncs += count,
            What::WritesFail(count) => world.medium.fail_writes(*count),
            What::DiskFull(_) => world.fill_disk(true),
            What::DiskSlow(_) => world.weather.sync_ms = 500..=6_000,
            What::NoDescriptors(_) => world.short_of_descriptors(true),
            What::ReadsFail(count) => world.failing_prefetches += count,
            What::Crash { doom, power, shards } => {
                self.next_life = (*power, *shards);
                world.doom(*doom);
            }
            What::Drain { shards } => {
                self.next_life.1 = *shards;
                world.drain();
                self.later(DRAIN_MAX, Todo::Impatience(*shards));
            }
            What::Configure { seed } => self.configure(*seed),
            What::Misconfigure => self.misconfigure(),
            What::Order { act, seed } => self.order(*act, *seed),
            What::Look { seed } => {
                let id = self.some_id(*seed);
                self.world.look(*seed, id);
            }
        }
    }

    fn end(&mut self, what: &What) {
        let world = &mut self.world;
        match what {
            What::HostDown { host, .. } => world.at(host_ip(*host)).mend(),
            What::Name { name, .. } => world.names.trouble(name, None),
            What::NameServerDown { server, .. } => {
                world.names.down.remove(&NAME_SERVERS[*server]);
            }
            What::DiskFull(_) => world.fill_disk(false),
            What::DiskSlow(_) => {
                world.weather.sync_ms = self.scenario.weather(self.seed).sync_ms;
            }
            What::NoDescriptors(_) => world.short_of_descriptors(false),
            _ => {}
        }
    }

    /// A configuration takes effect.
    fn in_force(&mut self, config: &Configuration) {
        let longest = config.rules.ways().map(|way| way.lifetime).max().unwrap_or_default();
        self.lifetime = self.lifetime.max(longest);
        self.world.see(Observation::Configured(Arc::new(config.rules.clone())));
        if self.options.history {
            self.watch.configurations.push(config.text.clone());
        }
    }

    fn configure(&mut self, seed: u64) {
        if self.options.config.is_some() {
            return;
        }
        self.revision += 1;
        let config = Configuration::draw(self.revision, self.scenario, &mut base::Rng::new(seed));
        let mut policy = read_policy(&config.text).expect("configurations that are drawn are good");
        policy.revision = self.revision;
        self.in_force(&config);
        self.world.adopt(Arc::new(policy));
    }

    fn misconfigure(&mut self) {
        let bad = "[delivery]\nretry = \"never\"\nconections = 4\n";
        assert!(read_policy(bad).is_err(), "a bad configuration is refused");
        self.world.see(Observation::ConfigurationRefused);
    }

    fn order(&mut self, act: QueueAct, seed: u64) {
        let mut rng = base::Rng::new(seed);
        let domain = pick(&mut rng, &self.scenario.domains).0;
        let number = u64::from(self.numbers.max(1));
        let whom = match (rng.below(6), self.some_id(seed)) {
            (0 | 1, _) if act != QueueAct::Remove => Whom::All,
            (2, _) => Whom::Domain(domain.as_str().into()),
            (3, _) => Whom::Sender("s1@from0.example".into()),
            (4, _) => {
                let to = format!("r-m{}.0@{domain}", 1 + rng.below(number));
                Whom::Recipient(Text::from(to))
            }
            (_, Some(id)) => Whom::Message(id),
            _ => Whom::Domain(domain.as_str().into()),
        };
        self.world.act_on(act, whom);
    }

    fn some_id(&self, seed: u64) -> Option<MessageId> {
        let count = self.ids.len() as u64;
        (count > 0).then(|| self.ids[(seed % count) as usize])
    }

    /// All faults are over for good.
    fn mend(&mut self) {
        self.calm = true;
        self.todo.clear();
        let world = &mut self.world;
        world.names.mend();
        world.network.hosts.values_mut().for_each(crate::world::Host::mend);
        world.weather = self.scenario.weather(self.seed).without_trouble();
        world.failing_syncs = 0;
        world.failing_prefetches = 0;
        world.medium.fail_writes(0);
        world.short_of_descriptors(false);
        world.undo_doom();
        world.fill_disk(false);
        // Whoever drains, or whose disk has failed for good, is started anew;
        // and what is held is let go.
        if self.has_ended_for_good() || self.seed.is_multiple_of(2) {
            self.next_life = (Power::Stays, self.scenario.shards);
            self.world.fall_now();
            self.world.rise(self.scenario.shards, Power::Stays);
        }
        self.world.see(Observation::Calm);
        self.look();
        self.run_to(self.world.now.mono + SETTLE);
        self.world.act_on(QueueAct::Release, Whom::All);
    }

    /// Whether some shard may do nothing more in this life; other runs go on as
    /// they are, so that what a start would heal shows.
    fn has_ended_for_good(&self) -> bool {
        let ends = |what: &What| {
            matches!(what, What::Drain { .. } | What::SyncsFail(_) | What::WritesFail(_))
        };
        self.plan.faults.iter().any(|fault| ends(&fault.what))
    }

    fn is_at_rest(&self) -> bool {
        self.world.shards.iter().all(|shard| shard.live_messages() == 0)
    }

    fn conclude(&mut self) {
        let world = &mut self.world;
        let left = Left {
            clients: world.network.open_clients() as u64,
            links: (world.network.open() - world.network.open_clients()) as u64,
            messages: world.shards.iter().map(shard::Shard::live_messages).sum(),
            recipients: 0,
            permits: world.shards.iter().map(|shard| shard.limits_in_use() as u64).sum(),
            unfinished: false,
        };
        world.see(Observation::Over { left });
        self.look();
    }
}
