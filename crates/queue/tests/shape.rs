//! The age by domain table of a queue of a million recipients for a hundred
//! thousand domains: what it says is exact, though no entry is looked at.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use base::{MessageId, Monotonic, Now, ShardId, Wall};
use queue::{AGE_COLUMNS, Bounds, New, NextHop, Place, Queue, When};

const DOMAINS: u32 = 100_000;
/// One age for each column of the table, in minutes, the oldest first.
const AGES: [u64; AGE_COLUMNS] = [2_000, 1_000, 500, 200, 100, 60, 30, 15, 7, 1];
const DAY: Duration = Duration::from_secs(86_400);

fn new(now: Now, number: u64, minutes: u64) -> New {
    New {
        message: MessageId::from_u64(1 << 32 | number),
        place: Place::default(),
        writer: ShardId(0),
        recipient: 0,
        attempts: 0,
        arrived: now.wall - Duration::from_secs(60 * minutes),
        expires: now.wall + DAY,
        notice: None,
        urgent: false,
        in_doubt: false,
    }
}

/// Shows: A39
#[test]
fn the_age_table_of_a_million_is_exact() {
    let now = Now::new(Monotonic::from_millis(1 << 40), Wall::from_millis(1_795_000_000_000));
    let mut queue = Queue::new(now.mono, 7, Bounds::default());
    let names: Vec<String> = (0..DOMAINS).map(|n| format!("d{n}.example")).collect();
    let mut number = 0;
    for minutes in AGES {
        for (at, name) in names.iter().enumerate() {
            // The first twenty have more of the oldest, each one less than the
            // one before.
            let count = if minutes == AGES[0] { 1 + 20usize.saturating_sub(at) } else { 1 };
            for _ in 0..count {
                number += 1;
                let hop = NextHop { name, route: 3, exit: 0 };
                let when = if number % 2 == 0 { When::Now } else { When::At(now.wall + DAY / 2) };
                queue.insert(now, hop, &new(now, number, minutes), when).unwrap();
            }
        }
    }
    assert_eq!(number, 1_000_210);
    let rows = queue.top_destinations(now, 20);
    let found: Vec<&str> = rows.iter().map(|row| &*row.name).collect();
    assert_eq!(found, names[..20]);
    for (at, row) in rows.iter().enumerate() {
        let mut ages = [1; AGE_COLUMNS];
        ages[AGE_COLUMNS - 1] += 20 - at as u32;
        assert_eq!(row.ages, ages, "{}", row.name);
        assert_eq!(row.counts.total(), ages.iter().sum::<u32>());
    }
    let whole = queue.routes(now).remove(0).row;
    assert_eq!((whole.route, u64::from(whole.counts.total())), (Some(3), number));
    assert_eq!(u64::from(whole.ages.iter().sum::<u32>()), number);
    let oldest = queue.overview(now, 20).oldest.unwrap();
    let age = now.wall.since(oldest).as_secs() / 60;
    assert_eq!(age, AGES[0]);
    assert_eq!(queue.top_sites(now, 3).len(), 3, "next hops stand for sites not known yet");
}
