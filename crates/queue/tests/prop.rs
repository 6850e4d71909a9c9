//! The queue against a naive model, over random histories: no entry is lost,
//! each is in the state it should be in, every lifetime ends on time, limits
//! and fairness hold, and in the end everything can be delivered.

#[cfg(test)]
mod model;

use std::collections::BTreeMap;
use std::time::Duration;

use base::{MessageId, Monotonic, Now, Wall};
use model::{Op, Story, any_op};
use proptest::prelude::*;
use queue::{Bounds, New, NextHop, Phase, Place, Queue, Take, When, Work};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Every operation in any order; see `model.rs` for what is checked.
    #[test]
    fn prop_the_queue_agrees_with_a_naive_model(
        ops in prop::collection::vec(any_op(), 1..200),
        idle_max in 0usize..4,
    ) {
        let mut story = Story::new(idle_max);
        for op in ops {
            story.play(op);
            story.check();
        }
        story.play(Op::Pass { ms: 1 });
        story.check();
        story.deliver_everything();
    }

    /// Between two transactions of one destination every other that has ready
    /// mail has one, and all mail is served.
    #[test]
    fn prop_destinations_of_a_site_take_turns(sizes in prop::collection::vec(1usize..40, 1..12)) {
        let (mut queue, now) = (Queue::new(Monotonic::default(), 3, Bounds::default()), Now::default());
        let names: Vec<String> = (0..sizes.len()).map(|n| format!("mx:{n}")).collect();
        let mut message = 0;
        for (name, size) in names.iter().zip(&sizes) {
            for _ in 0..*size {
                message += 1;
                queue.insert(now, NextHop { name, route: 0, exit: 0 }, &mail(message), When::Now).unwrap();
            }
        }
        let mut site = None;
        while let Some(work) = queue.poll_work(now) {
            match work {
                Work::Resolve(key) => {
                    let until = now.mono + Duration::from_secs(60);
                    site = queue.resolved(now, key, "site", 1, until);
                }
                Work::Open(key) => prop_assert_eq!(Some(key), site),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let site = site.unwrap();
        let mut left: BTreeMap<String, usize> = names.into_iter().zip(sizes).collect();
        let mut since: BTreeMap<String, usize> = left.keys().map(|name| (name.clone(), 0)).collect();
        let (mut phase, mut entries) = (Phase::Dispatched, Vec::new());
        while let Take::Batch(batch) = queue.take(now, site, phase, 10, &mut entries) {
            phase = Phase::Busy;
            let name = queue.destination(batch.destination).unwrap().0.name.to_owned();
            for (other, turns) in &mut since {
                *turns = if *other == name || left[other] == 0 { 0 } else { *turns + 1 };
                prop_assert!(*turns < left.len(), "{} waits too long", other);
            }
            *left.get_mut(&name).unwrap() -= entries.len();
            entries.iter().for_each(|key| assert!(queue.done(*key)));
        }
        prop_assert!(left.values().all(|left| *left == 0));
        prop_assert_eq!(queue.counts().total(), 0);
    }
}

fn mail(message: u64) -> New {
    New {
        message: MessageId::from_u64(message),
        place: Place::default(),
        writer: Default::default(),
        recipient: 0,
        attempts: 0,
        arrived: Wall::default(),
        expires: Wall::from_millis(1_000_000),
        notice: None,
        urgent: false,
        in_doubt: false,
    }
}
