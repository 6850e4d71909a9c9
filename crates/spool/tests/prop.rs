//! Random histories of accepting, attempting, settling, cleaning and crashing,
//! against a simple model: nothing durable is lost, nothing ended comes back,
//! whatever is open is in doubt, in any number of shards.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod prop {
    pub mod model;
    pub mod world;
}

use mail::{Envelope, Recipient, ReversePath};
use prop::world::{Op, World};
use proptest::prelude::*;
use spool::{MemoryMedium, recover};

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<u16>(), 1..4u8, 0..1500u16).prop_map(|(s, r, b)| Op::Accept(s, r, b)),
        8 => (any::<u16>(), any::<u16>()).prop_map(|(m, s)| Op::Attempt(m, s)),
        12 => (any::<u16>(), any::<u8>()).prop_map(|(m, how)| Op::Settle(m, how)),
        3 => (any::<u16>(), any::<u8>()).prop_map(|(m, bytes)| Op::Report(m, bytes)),
        6 => any::<u16>().prop_map(Op::Kick),
        10 => Just(Op::Answer),
        6 => (any::<u16>(), 1..40u8, any::<bool>()).prop_map(|(s, n, f)| Op::Reclaim(s, n, f)),
        3 => any::<u16>().prop_map(Op::Remove),
        1 => Just(Op::FailSync),
        1 => (1..4u8).prop_map(Op::ProgramCrash),
        1 => (1..4u8, any::<u64>()).prop_map(|(shards, seed)| Op::PowerCut(shards, seed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Covers: B1, B4, B5, B6
    #[test]
    fn prop_no_history_loses_or_resurrects_mail(
        ops in proptest::collection::vec(op(), 1..400),
        shards in 1..4u8,
        seed in any::<u64>(),
    ) {
        let mut world = World::new(shards);
        for op in &ops {
            world.apply(op);
        }
        world.apply(&Op::PowerCut(shards, seed));
        world.drain();
    }

    /// Covers: B7, B18
    #[test]
    fn prop_no_bytes_make_recovery_panic(
        junk in proptest::collection::vec(any::<u8>(), 0..2000),
        flips in proptest::collection::vec((any::<u32>(), any::<u8>()), 0..20),
        at in any::<u32>(),
    ) {
        let mut world = World::new(1);
        for n in 0..30 {
            world.apply(&Op::Accept(n, 2, n * 40));
            world.apply(&Op::Settle(n, n as u8));
        }
        let mut medium = world.into_medium();
        for segment in medium.list() {
            let bytes = medium.bytes_mut(segment);
            let size = bytes.len();
            for (place, flip) in &flips {
                bytes[*place as usize % size] ^= flip;
            }
            let start = at as usize % (size - 2000);
            bytes[start..start + junk.len()].copy_from_slice(&junk);
        }
        let list = medium.list();
        if let Ok((mut spools, _)) = recover(&medium, &list, 2) {
            for spool in &mut spools {
                while spool.is_resuming() && spool.doubts().is_empty() {
                    spool.next_recovered(&medium);
                }
            }
        }
    }
}

/// A million waiting messages must fit into the memory of a small machine; the
/// table's part is bounded per message, whatever is stored with it.
///
/// Covers: B25
#[test]
fn a_waiting_message_costs_at_most_forty_bytes_of_table() {
    let mut medium = MemoryMedium::new(1 << 20);
    let mut spool = spool::Spool::new(base::ShardId(0));
    let to = Recipient::new(mail::Address::parse("a@b.example", false).unwrap());
    let envelope = Envelope::new(ReversePath::Null, vec![to]);
    prop::world::feed(&mut spool, &mut medium, &envelope, 20_000);
    assert_eq!(spool.live_messages(), 20_000);
    assert!(spool.table_bytes() <= 40 * 20_000, "{} bytes", spool.table_bytes());
}
