//! Stories of whole shards in a small world: each test tells what happens to
//! somebody's mail from one end to the other.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "stories/acceptance.rs"]
mod acceptance;
#[path = "stories/answers.rs"]
mod answers;
#[path = "stories/blocked.rs"]
mod blocked;
#[path = "stories/chaos.rs"]
mod chaos;
#[path = "stories/cold.rs"]
mod cold;
#[path = "stories/detail.rs"]
mod detail;
#[path = "stories/diagnoses.rs"]
mod diagnoses;
#[path = "stories/doors.rs"]
mod doors;
#[path = "stories/envelopes.rs"]
mod envelopes;
#[path = "stories/fallback.rs"]
mod fallback;
#[path = "stories/latency.rs"]
mod latency;
#[path = "stories/ledger.rs"]
mod ledger;
#[path = "stories/limits.rs"]
mod limits;
#[path = "stories/links.rs"]
mod links;
#[path = "stories/local.rs"]
mod local;
#[path = "stories/look_ups.rs"]
mod look_ups;
#[path = "stories/next_hops.rs"]
mod next_hops;
#[path = "stories/operators.rs"]
mod operators;
#[path = "stories/policies.rs"]
mod policies;
#[path = "stories/reports.rs"]
mod reports;
#[path = "stories/restarts.rs"]
mod restarts;
#[path = "stories/sessions.rs"]
mod sessions;
#[path = "stories/sites.rs"]
mod sites;
#[path = "stories/storage.rs"]
mod storage;
#[path = "stories/support.rs"]
mod stories_support;
#[path = "stories/strangers.rs"]
mod strangers;
#[path = "stories/suspensions.rs"]
mod suspensions;
#[path = "stories/tokens.rs"]
mod tokens;
#[path = "stories/ways.rs"]
mod ways;
#[path = "stories/why.rs"]
mod why;
#[path = "stories/windows.rs"]
mod windows;
