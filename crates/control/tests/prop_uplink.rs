//! Properties of links that are raised on demand: whatever shards, programs and
//! operators do, and however late news and needs arrive, no link is lowered
//! under a connection, one program runs at a time, and a link that nobody needs
//! comes down, as far as its own program lets it: a stop waits for no program
//! that has failed, and where raising was cut off and taking that back failed,
//! nobody knows how the link is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::{Monotonic, ShardId};
use control::{LinkAct, LinkFailure, LinkState, Need, News, OnDemand, Program, Retry, Uplink};
use proptest::prelude::*;

const SHARDS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Mail comes to a shard, and leaves at once if the link is up.
    Mail(usize),
    /// A connection of a shard ends.
    Ends(usize),
    /// A shard hears the oldest news on the way to it.
    Hears(usize),
    /// The link's home hears what a shard said.
    Told(usize),
    /// An operator wants mail of a shard to leave now.
    Urge(usize),
    /// The program under way ends, so.
    Program(u8),
    /// Seconds pass.
    Time(u64),
    /// The configuration names the link, or not.
    Settings(bool),
    /// The daemon ends.
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let shard = 0..SHARDS;
    prop_oneof![
        4 => shard.clone().prop_map(Step::Mail),
        3 => shard.clone().prop_map(Step::Ends),
        6 => shard.clone().prop_map(Step::Hears),
        6 => shard.clone().prop_map(Step::Told),
        1 => shard.prop_map(Step::Urge),
        4 => (0..6u8).prop_map(Step::Program),
        4 => (0..200u64).prop_map(Step::Time),
        1 => any::<bool>().prop_map(Step::Settings),
    ]
}

/// A shard, with what is on its way to it and from it.
#[derive(Default)]
struct Shard {
    state: LinkState,
    heard: u64,
    waiting: u32,
    in_use: u32,
    news: VecDeque<News>,
    needs: VecDeque<Need>,
}

struct World {
    link: Uplink,
    now: Monotonic,
    shards: [Shard; SHARDS],
    /// Whether the program under way raises the link.
    running: Option<bool>,
    is_up: bool,
    /// The last raise was cut off.
    is_cut_off: bool,
    /// And could not be taken back.
    is_unknown: bool,
}

fn settings() -> Arc<OnDemand> {
    let program = |path: &str| Program::new(vec![path.into()]).expect("a path");
    let second = Duration::from_secs(1);
    Arc::new(OnDemand {
        raise: program("/up"),
        lower: Some(program("/down")),
        raise_timeout: second * 60,
        lower_timeout: second * 60,
        retry: Retry::new(&[second * 30, second * 90], 0).expect("two waits"),
        idle: second * 20,
        recipients: 2,
        wait: second * 300,
    })
}

impl World {
    fn new() -> Self {
        let (mut link, now) = (Uplink::new(SHARDS as u16, 0), Monotonic::from_millis(1));
        link.set(now, Some(settings()));
        let shards = std::array::from_fn(|_| Shard::default());
        Self {
            link,
            now,
            shards,
            running: None,
            is_up: false,
            is_cut_off: false,
            is_unknown: false,
        }
    }

    fn say(&mut self, shard: usize, urgent: bool) {
        let Shard { waiting, in_use, heard, .. } = self.shards[shard];
        let since = (waiting > 0).then_some(self.now);
        self.shards[shard].needs.push_back(Need { waiting, since, urgent, in_use, heard });
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Mail(shard) => {
                let it = &mut self.shards[shard];
                match it.state {
                    LinkState::Up => it.in_use += 1,
                    _ => it.waiting += 1,
                }
                self.say(shard, false);
            }
            Step::Ends(shard) => {
                self.shards[shard].in_use = self.shards[shard].in_use.saturating_sub(1);
                self.say(shard, false);
            }
            Step::Hears(shard) => {
                let it = &mut self.shards[shard];
                let Some(News { number, state }) = it.news.pop_front() else { return };
                (it.heard, it.state) = (number, state);
                if it.state == LinkState::Up {
                    it.in_use += std::mem::take(&mut it.waiting);
                }
                self.say(shard, false);
            }
            Step::Told(shard) => {
                if let Some(need) = self.shards[shard].needs.pop_front() {
                    self.link.need(self.now, ShardId(shard as u16), need);
                }
            }
            Step::Urge(shard) => self.say(shard, true),
            Step::Program(how) => self.program_ends(how),
            Step::Time(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                self.link.advance(self.now);
            }
            Step::Settings(named) => self.link.set(self.now, named.then(settings)),
            Step::Drain => self.link.drain(self.now),
        }
        self.obey();
    }

    fn program_ends(&mut self, how: u8) {
        let Some(raises) = self.running.take() else { return };
        let failure = LinkFailure { reason: "no".into(), cut_off: how == 0 };
        let well = how > 1;
        self.is_up = if well { raises } else { self.is_up };
        self.is_unknown = !well && !raises && self.is_cut_off;
        self.is_cut_off = !well && raises && failure.cut_off;
        self.link.ended(self.now, if well { Ok(()) } else { Err(failure) });
    }

    fn obey(&mut self) {
        while let Some(act) = self.link.poll() {
            match act {
                LinkAct::Tell(news) => {
                    self.shards.iter_mut().for_each(|shard| shard.news.push_back(news.clone()));
                }
                LinkAct::Run { raises, .. } => {
                    assert!(self.running.is_none(), "two programs at once");
                    let used = self.shards.iter().any(|shard| shard.in_use > 0);
                    assert!(raises || !used, "lowered under a connection");
                    self.running = Some(raises);
                }
            }
        }
    }

    /// Everything arrives, connections end, programs end well, time goes on.
    fn come_to_rest(&mut self) {
        for _ in 0..60 {
            for shard in 0..SHARDS {
                while !self.shards[shard].news.is_empty() {
                    self.take(Step::Hears(shard));
                }
                while self.shards[shard].in_use > 0 {
                    self.take(Step::Ends(shard));
                }
                while !self.shards[shard].needs.is_empty() {
                    self.take(Step::Told(shard));
                }
            }
            self.take(Step::Program(5));
            self.take(Step::Time(60));
        }
    }
}

proptest! {
    #[test]
    fn prop_a_link_is_never_lowered_under_a_connection_and_comes_down_in_the_end(
        steps in proptest::collection::vec(step(), 1..160),
        drains: bool,
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.take(if drains { Step::Drain } else { Step::Settings(true) });
        world.come_to_rest();
        prop_assert!(world.link.is_at_rest() && world.running.is_none());
        let gave_up = drains && matches!(world.link.state(), LinkState::Stuck { .. });
        prop_assert!(!world.is_up || gave_up || world.is_unknown, "nobody needs it, and it is up");
        let waiting: u32 = world.shards.iter().map(|shard| shard.waiting).sum();
        prop_assert!(drains || waiting == 0, "{waiting} recipients wait for ever");
    }
}
