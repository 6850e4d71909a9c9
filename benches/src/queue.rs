//! The queue: mail put in, sites taking turns, mail done.

use std::time::Duration;

use ::queue::{Bounds, New, NextHop, Phase, Place, Queue, Take, When, Work as Due};
use base::{MessageId, Monotonic, Now, ShardId, Wall};

use crate::Work;

const MESSAGES: u64 = 100;
const SITES: u64 = 10;
const DAY: Duration = Duration::from_secs(86_400);

/// Puts mail in for several sites and hands all of it out.
pub(crate) fn schedule() -> Work {
    let now = Now::new(Monotonic::from_millis(77_000), Wall::from_millis(1_800_000_000_000));
    let mut queue = Queue::new(now.mono, 1, Bounds::default());
    let names: Vec<String> = (0..SITES).map(|number| format!("d{number}.example")).collect();
    let mut number = 0;
    Box::new(move || {
        for _ in 0..MESSAGES {
            number += 1;
            let name = &names[(number % SITES) as usize];
            let hop = NextHop { name, route: 0, exit: 0 };
            queue.insert(now, hop, &new(now, number), When::Now).expect("there is room");
        }
        let (mut sites, mut entries, mut done) = (Vec::new(), Vec::new(), 0);
        while let Some(work) = queue.poll_work(now) {
            match work {
                Due::Resolve(key) => {
                    let hop = queue.destination(key).expect("it is due").0.name.to_owned();
                    let site = queue.resolved(now, key, &hop, 20, now.mono + DAY);
                    site.expect("there is room for sites");
                }
                Due::Open(site) | Due::Use(site) => sites.push(site),
                Due::Reject(_) => return 0,
            }
        }
        for site in sites {
            let mut phase = Phase::Dispatched;
            loop {
                let take = queue.take(now, site, phase, 100, &mut entries);
                phase = if take == Take::Close { Phase::Closing } else { Phase::Busy };
                if !matches!(take, Take::Batch(_)) {
                    break;
                }
                for key in &entries {
                    done += u64::from(queue.done(*key));
                }
            }
            queue.connection_closed(site, phase);
        }
        done
    })
}

fn new(now: Now, number: u64) -> New {
    New {
        message: MessageId::from_u64(1 << 32 | number),
        place: Place::default(),
        writer: ShardId(0),
        recipient: 0,
        attempts: 0,
        arrived: now.wall,
        expires: now.wall + DAY,
        notice: None,
        urgent: false,
        in_doubt: false,
    }
}
