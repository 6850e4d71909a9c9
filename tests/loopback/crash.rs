//! `kill -9` at thirty random moments while mail flows in and out, each with a
//! restart: every message that got its 250 arrives, unaltered, and a second
//! copy comes only for recipients that a restarted daemon lists as in-doubt.
//!
//! The daemon holds in-doubt mail here (`in_doubt_policy = "hold"`), so that
//! its list can be read before it is acted on; the story releases what it has
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base::Rng;
use harness::{
    Outcome, SinkReport, SinkSettings, Sinks, Source, SourceReport, SourceSettings, Workload,
    verify,
};

use crate::support::{Config, Daemon, PATIENCE, until};

const CRASHES: u32 = 30;
/// Between the moment the daemon is ready and its end.
const LIFE_MS_MAX: u64 = 300;

/// Recipients listed as in-doubt, with how many restarts listed them.
type InDoubt = BTreeMap<String, u64>;

/// Covers: A1.24, B1, B2, B3, B25, B26, B29, B51
/// Shows: S0.1
#[test]
fn thirty_crashes_lose_nothing_and_double_only_what_they_list() {
    let seed = std::env::var("RINGPOST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("crash story: RINGPOST_SEED={seed}");
    let mut rng = Rng::new(seed);
    // More than can be sent: the source is stopped after the last crash.
    let workload = Workload::new(2_000_000, 50, seed);
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let config = Config::relay(sinks.first())
        .set("queue", "segment", "\"8MiB\"")
        .set("queue", "in_doubt_policy", "\"hold\"")
        .set("delivery", "retry", "[\"200ms\"]");
    let mut daemon = Daemon::start(config);
    let settings = SourceSettings {
        sessions: 20,
        messages_per_session: 50,
        connect_patience: PATIENCE,
        ..SourceSettings::default()
    };
    let source = Source::start(daemon.address(), &workload, settings).expect("it starts");
    let mut in_doubt = InDoubt::new();
    for _ in 0..CRASHES {
        let taken = sinks.progress().messages;
        let moment = Instant::now() + Duration::from_millis(rng.below(LIFE_MS_MAX));
        // Under load: mail comes out again, and then a random time passes.
        until("mail to flow", PATIENCE, || (sinks.progress().messages > taken).then_some(()));
        until("the moment", PATIENCE, || (Instant::now() >= moment).then_some(()));
        daemon.crash();
        note_in_doubt(&daemon, &mut BTreeSet::new(), &mut in_doubt);
    }
    source.stop();
    let source = source.wait();
    let mut listed = BTreeSet::new();
    until("an empty queue", PATIENCE, || {
        note_in_doubt(&daemon, &mut listed, &mut in_doubt);
        (daemon.waiting() == 0).then_some(())
    });
    println!("{}", judge(&workload, &source, &sinks.report(), &in_doubt));
}

/// Reads what the daemon holds, then lets the mail go on. `listed` are those
/// that this life of it has named before.
fn note_in_doubt(daemon: &Daemon, listed: &mut BTreeSet<String>, in_doubt: &mut InDoubt) {
    for row in daemon.list("state=held") {
        assert_eq!(row["in_doubt"], true, "held for another reason: {row}");
        let id = row["id"].as_str().expect("a row has an id");
        let recipient = row["recipient"].as_str().map_or_else(|| named(daemon, id), str::to_owned);
        daemon.act("release", &format!("{{\"id\": \"{id}\"}}"));
        if listed.insert(recipient.clone()) {
            *in_doubt.entry(recipient).or_default() += 1;
        }
    }
}

/// The recipient of message `id`: mail here has one each. A list does not name
/// it while the message is on its way to another segment.
fn named(daemon: &Daemon, id: &str) -> String {
    let message = daemon.show(&format!("/v1/queue/{id}"));
    let recipient = message["recipients"][0]["recipient"].as_str();
    recipient.unwrap_or_else(|| panic!("nobody is named: {message}")).to_owned()
}

/// Holds what arrived against what was promised; returns the figures.
fn judge(
    workload: &Workload,
    source: &SourceReport,
    sink: &SinkReport,
    in_doubt: &InDoubt,
) -> String {
    let verdict = verify(workload, source, sink);
    let figures = format!(
        "{CRASHES} crashes: {} promised, {} arrived without an answer, {} second copies, \
         {} in-doubt",
        verdict.promised,
        verdict.unanswered,
        verdict.doubled.count,
        in_doubt.len()
    );
    assert!(verdict.promised > u64::from(CRASHES), "hardly any load");
    assert_eq!(source.count(Outcome::Refused(451)), 0, "{:?}", source.troubles);
    assert_eq!(verdict.missing.count, 0, "lost: {:?}", verdict.missing.examples);
    assert_eq!(verdict.altered.count, 0, "altered: {:?}", verdict.altered.examples);
    assert_eq!(verdict.unexpected.count, 0, "from nowhere: {:?}", verdict.unexpected.examples);
    let mut copies: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for arrival in &sink.arrivals {
        *copies.entry((arrival.number, arrival.recipient)).or_default() += 1;
    }
    let listed: BTreeMap<u64, u64> = in_doubt
        .iter()
        .map(|(recipient, times)| (harness::sink::recipient_key(recipient), *times))
        .collect();
    let unlisted: BTreeSet<u64> = copies
        .iter()
        .filter(|((_, key), copies)| **copies > 1 + listed.get(key).copied().unwrap_or(0))
        .map(|((number, _), _)| *number)
        .collect();
    assert!(unlisted.is_empty(), "second copies that no list named, {figures}: {unlisted:?}");
    figures
}
