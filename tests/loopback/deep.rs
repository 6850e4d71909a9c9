//! A deep queue: the next hops of two hundred domains are unreachable and mail
//! piles up. How much memory it takes beyond the mapped files, how soon a
//! restarted daemon is ready, how long the operator's list takes.
//!
//! 20 000 messages, or with RINGPOST_LONG=1 a million, where the figures are
//! held to their bounds.

use std::time::{Duration, Instant};

use harness::{NameServer, Source, SourceSettings, Workload, Zones};

use crate::support::{Config, Daemon, until};

const DOMAINS: u32 = 200;
const MEMORY_BYTES_MAX: u64 = 250_000_000;
const READY_MAX: Duration = Duration::from_secs(10);
const LIST_MAX: Duration = Duration::from_millis(100);
/// Lists timed; the slowest counts.
const LISTS: usize = 10;

/// Covers: B25, B34
/// Shows: A39
#[test]
fn a_deep_queue_costs_little_and_is_soon_back() {
    let long = std::env::var_os("RINGPOST_LONG").is_some_and(|value| value == "1");
    let messages = if long { 1_000_000 } else { 20_000 };
    let patience = Duration::from_secs(if long { 1_800 } else { 120 });
    let mut zones = Zones::new();
    for number in 0..DOMAINS {
        let host = format!("mx.{}", Workload::domain(number));
        zones.mx(&Workload::domain(number), 10, &host);
        // Nobody listens there.
        zones.address(&host, [127, 0, 50, 1 + number as u8]);
    }
    let server = NameServer::start(zones).expect("a name server can be started");
    let config = Config::by_mx(server.address(), crate::support::config::free_port())
        .with_default_sizes()
        .set("delivery", "retry", "[\"2h\"]")
        .set("delivery", "delay_notice", "\"none\"");
    let mut daemon = Daemon::start(config);
    let began = Instant::now();
    let workload = Workload::new(messages, DOMAINS, 50);
    let source = Source::run(daemon.address(), &workload, SourceSettings::default());
    let source = source.expect("a source can be started");
    assert_eq!(source.promised(&workload), messages, "{:?}", source.troubles);
    let taken = began.elapsed();
    quiet(&daemon, messages, patience);
    let memory = daemon.process().memory("RssAnon");
    let list = slowest_list(&daemon, messages).max(slowest_shape(&daemon, messages));
    let ready = daemon.crash();
    quiet(&daemon, messages, patience);
    let memory_again = daemon.process().memory("RssAnon");
    let list_again = slowest_list(&daemon, messages);
    println!(
        "{messages} waiting messages, taken in {taken:.1?}: {} MB, top 20 by age in {list:.1?}; \
         restarted, ready in {ready:.1?}: {} MB, top 20 sites in {list_again:.1?}",
        memory / 1_000_000,
        memory_again / 1_000_000
    );
    if long {
        assert!(memory.max(memory_again) <= MEMORY_BYTES_MAX, "too much memory");
        assert!(ready <= READY_MAX, "ready too late");
        assert!(list.max(list_again) <= LIST_MAX, "the list takes too long");
    }
}

/// Waits until every recipient is known to the queue and none is being tried.
fn quiet(daemon: &Daemon, messages: u64, patience: Duration) {
    until("a quiet queue", patience, || {
        let recipients = daemon.show("/v1/status")["recipients"].clone();
        let count = |state: &str| recipients[state].as_u64().unwrap_or(0);
        let all = count("deferred") + count("ready") + count("held");
        (all == messages && count("in_flight") == 0).then_some(())
    });
    assert_eq!(daemon.waiting(), messages);
}

/// The list of the top 20 sites, several times; the slowest counts.
fn slowest_list(daemon: &Daemon, messages: u64) -> Duration {
    let times = (0..LISTS).map(|_| {
        let began = Instant::now();
        let answer = daemon.show("/v1/queue?by=site&limit=20");
        let took = began.elapsed();
        let sites = answer["sites"].as_array().expect("a list of sites has `sites`");
        assert_eq!(sites.len(), 20);
        let count = |site: &serde_json::Value| site["count"].as_u64().unwrap_or(0);
        let share = messages / u64::from(DOMAINS);
        assert!(sites.iter().all(|site| count(site) == share), "uneven: {answer}");
        took
    });
    times.max().expect("it was timed at least once")
}

/// The table of ages by domain, several times; the slowest counts.
fn slowest_shape(daemon: &Daemon, messages: u64) -> Duration {
    let times = (0..LISTS).map(|_| {
        let began = Instant::now();
        let answer = daemon.show(&format!("/v1/queue?by=domain&limit={DOMAINS}"));
        let took = began.elapsed();
        let rows = answer["domains"].as_array().expect("a list of domains has `domains`");
        let ages = rows.iter().filter_map(|row| row["ages"].as_object());
        let counts = ages.flat_map(|ages| ages.values().filter_map(serde_json::Value::as_u64));
        assert_eq!(counts.sum::<u64>(), messages, "each stands in one column");
        took
    });
    times.max().expect("it was timed at least once")
}
