//! What asks the daemon, on a thread of its own, so that the screen answers
//! keys while the daemon does not answer.
//!
//! Decides nothing about the screen. Invariant: one question at a time.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use control::api::SiteOrder;
use serde_json::{Value, json};

use super::model::{Act, Order};
use super::seen::Seen;
use crate::client::{self, Failure};
use crate::remote::At;
use crate::verbs::encoded;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows of sites and of failures that are asked for.
const SITES: u32 = 300;
const FAILURES: u32 = 12;

/// What is wanted of the daemon.
#[derive(Debug)]
pub enum Asked {
    /// Sites by this filter, in this order.
    Look(String, SiteOrder),
    /// Do something to a site.
    Do(Order),
}

/// What came of it.
#[derive(Debug)]
pub enum Told {
    /// The daemon as it is.
    Seen(Box<Seen>),
    /// It does not answer, or not so.
    Missed(String),
    /// What became of an order.
    Done(String),
}

/// Asks until nobody listens.
pub fn run(at: &At, asked: &Receiver<Asked>, mut tell: impl FnMut(Told) -> bool) {
    let mut feed = Feed { at: at.clone(), filter: String::new(), sort: SiteOrder::Count };
    loop {
        let begun = Instant::now();
        let told = match feed.look() {
            Ok(seen) => Told::Seen(Box::new(seen)),
            Err(failure) => Told::Missed(words(failure)),
        };
        if !tell(told) {
            return;
        }
        let until = begun + LOOK_EVERY;
        match asked.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Asked::Look(filter, sort)) => (feed.filter, feed.sort) = (filter, sort),
            Ok(Asked::Do(order)) => {
                if !tell(Told::Done(feed.done(&order))) {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Two looks a second apart, for a frame with rates in it.
///
/// # Errors
/// The daemon does not answer.
pub fn twice(at: &At, filter: &str, sort: SiteOrder) -> Result<(Seen, Seen), Failure> {
    let feed = Feed { at: at.clone(), filter: filter.into(), sort };
    let first = feed.look()?;
    std::thread::park_timeout(LOOK_EVERY);
    Ok((first, feed.look()?))
}

struct Feed {
    at: At,
    filter: String,
    sort: SiteOrder,
}

impl Feed {
    fn look(&self) -> Result<Seen, Failure> {
        let (name, sort) = (encoded(&self.filter), self.sort.word());
        let sites = format!("/v1/sites?limit={SITES}&sort={sort}&name={name}");
        let get = |path: &str| client::request(&self.at, "GET", path, None);
        let status = get("/v1/status")?;
        let sites = get(&sites)?;
        let orders = get("/v1/suspensions")?;
        // What an older daemon does not know, and a log that cannot be read, are
        // no reason to show nothing.
        let alerts = get("/v1/alerts").unwrap_or(Value::Null);
        let failures = get(&format!("/v1/failures?limit={FAILURES}")).unwrap_or(Value::Null);
        Ok(Seen::of(&status, &sites, &failures, &orders, &alerts))
    }

    fn done(&self, order: &Order) -> String {
        let Order { act, site, .. } = order;
        // A next hop whose site is not known yet stands there as its domain.
        let scope = if site.contains(':') { "site" } else { "domain" };
        let (path, body) = match act {
            Act::Suspend => ("/v1/suspend", json!({ scope: site, "reason": "from ringpost top" })),
            Act::Resume => ("/v1/resume", json!({ scope: site })),
            Act::Flush => {
                ("/v1/queue/flush", json!({ scope: site, "reason": "from ringpost top" }))
            }
        };
        match client::request(&self.at, "POST", path, Some(&body)) {
            Ok(answer) => match act {
                Act::Suspend => format!("Delivery to {site} is stopped."),
                Act::Resume => format!("Delivery to {site} goes on."),
                Act::Flush => {
                    format!("{} recipients of {site} are tried now.", answer["recipients"])
                }
            },
            Err(failure) => format!("Not done: {}", words(failure)),
        }
    }
}

fn words(failure: Failure) -> String {
    match failure {
        Failure::NotThere(why)
        | Failure::Refused(_, why)
        | Failure::Garbled(why)
        | Failure::Misuse(why)
        | Failure::Unproved(why) => why,
    }
}
