//! What may happen to a queue, and how often it does.

use proptest::prelude::*;

use super::{HOPS, SITES};

/// One thing that happens; indices pick among what there is.
#[derive(Clone, Debug)]
pub enum Op {
    Insert {
        hop: usize,
        life: u64,
        after: Option<u64>,
        notice: Option<u64>,
        urgent: bool,
    },
    InsertHeld {
        hop: usize,
        recipients: usize,
    },
    Pass {
        ms: u64,
    },
    /// Do the next piece of work, answering by `answer`.
    Work {
        answer: usize,
    },
    Ask {
        connection: usize,
    },
    Close {
        connection: usize,
        failed: bool,
    },
    Settle {
        entry: usize,
        how: usize,
    },
    Command {
        entry: usize,
        act: usize,
    },
    SweepHop {
        hop: usize,
        act: usize,
    },
    Reroute {
        entry: usize,
        hop: usize,
    },
    Site {
        site: usize,
        how: usize,
    },
    Forget,
}

pub fn any_op() -> impl Strategy<Value = Op> {
    let life = prop_oneof![Just(0), 1u64..100, 100u64..1_000_000];
    let time = prop_oneof![0u64..10, 0u64..1_000, 0u64..500_000];
    prop_oneof![
        6 => (0..HOPS, life, prop::option::of(time.clone()), prop::option::of(time.clone()), any::<bool>())
            .prop_map(|(hop, life, after, notice, urgent)| Op::Insert { hop, life, after, notice, urgent }),
        1 => (0..HOPS, 1usize..6).prop_map(|(hop, recipients)| Op::InsertHeld { hop, recipients }),
        4 => time.prop_map(|ms| Op::Pass { ms }),
        8 => (0usize..8).prop_map(|answer| Op::Work { answer }),
        6 => any::<usize>().prop_map(|connection| Op::Ask { connection }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(connection, failed)| Op::Close { connection, failed }),
        6 => (any::<usize>(), 0usize..4).prop_map(|(entry, how)| Op::Settle { entry, how }),
        2 => (any::<usize>(), 0usize..4).prop_map(|(entry, act)| Op::Command { entry, act }),
        1 => (0..HOPS, 0usize..4).prop_map(|(hop, act)| Op::SweepHop { hop, act }),
        1 => (any::<usize>(), 0..HOPS).prop_map(|(entry, hop)| Op::Reroute { entry, hop }),
        2 => (0..SITES, 0usize..6).prop_map(|(site, how)| Op::Site { site, how }),
        1 => Just(Op::Forget),
    ]
}
