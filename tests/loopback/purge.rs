//! A whole queue is taken back: delivery was stopped, too much mail had come
//! in, and an operator counts and purges all of it with two verbs. How long
//! that takes, what memory it needs on top, and how long a client waits that
//! hands mail in meanwhile.
//!
//! 20 000 messages, or with RINGPOST_LONG=1 a million, where the figures are
//! held to their bounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Source, SourceSettings, Workload};

use crate::support::{Config, Daemon, submit, until};

const PURGE_MAX: Duration = Duration::from_secs(30);
const MORE_MEMORY_BYTES_MAX: u64 = 50_000_000;
/// For a client that hands one message in while the purge runs.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Shows: S1.3, A32
#[test]
fn a_deep_queue_is_purged_at_one_word() {
    let long = std::env::var_os("RINGPOST_LONG").is_some_and(|value| value == "1");
    let messages = if long { 1_000_000 } else { 20_000 };
    let patience = Duration::from_secs(if long { 1_800 } else { 120 });
    let daemon = Daemon::start(Config::new().with_default_sizes());
    let (stopped, _) = daemon.ask("POST", "/v1/suspend", r#"{"all": true}"#);
    assert_eq!(stopped, 200);
    let workload = Workload::new(messages, 200, 50);
    let source = Source::run(daemon.address(), &workload, SourceSettings::default());
    let source = source.expect("a source can be started");
    assert_eq!(source.promised(&workload), messages, "{:?}", source.troubles);
    until("all of it to wait", patience, || (daemon.waiting() == messages).then_some(()));
    let (process, address) = (daemon.process(), daemon.address());
    let anon = || process.memory("RssAnon");
    let began = Instant::now();
    let counted = daemon.act("remove", r#"{"older": "0s", "dry_run": true}"#);
    let (counting, before) = (began.elapsed(), anon());
    assert_eq!(counted, messages);
    assert_eq!(daemon.waiting(), messages, "counting takes nothing away");
    let running = AtomicBool::new(true);
    let (took, peak, slowest) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut peak, mut slowest) = (0, Duration::ZERO);
            while running.load(Ordering::Relaxed) {
                let began = Instant::now();
                submit(address, "late@from.example", &["late@to.example"]);
                slowest = slowest.max(began.elapsed());
                peak = peak.max(anon());
            }
            (peak, slowest)
        });
        let began = Instant::now();
        let purged = daemon.act("remove", r#"{"older": "0s", "reason": "a test"}"#);
        let took = began.elapsed();
        running.store(false, Ordering::Relaxed);
        assert!(purged >= messages, "{purged} of {messages}");
        let (peak, slowest) = watch.join().expect("the watch reads and submits");
        (took, peak, slowest)
    });
    until("an emptied queue", patience, || {
        daemon.act("remove", r#"{"all": true}"#);
        (daemon.waiting() == 0).then_some(())
    });
    println!(
        "{messages} waiting messages: counted in {counting:.1?}, purged in {took:.1?}; \
         {} MB before, {} MB at most; a client meanwhile waited {slowest:.1?} at most",
        before / 1_000_000,
        peak / 1_000_000
    );
    if long {
        assert!(took <= PURGE_MAX, "the purge takes too long");
        assert!(peak <= before + MORE_MEMORY_BYTES_MAX, "the purge takes memory");
        assert!(slowest <= ANSWER_MAX, "a client has to wait");
    }
}
