//! How long each stage of a message's way took, by the shards' own word.

use serde_json::Value;
use sim::{Act, Host, SYNC, Stage, World, seconds};

use super::acceptance::owner_and_other;

fn count(status: &Value, stage: &str) -> u64 {
    status["latency"][stage]["count"].as_u64().unwrap()
}

fn longest(status: &Value, stage: &str) -> u64 {
    status["latency"][stage]["max_us"].as_u64().unwrap()
}

/// A message is written by one shard and delivered by another: each stage is
/// timed once, where it ends, and the status adds both shards up. What is known
/// already, a connection, an answer of the name server, takes no time again;
/// what is refused was not delivered.
///
/// Shows: A87
#[test]
fn each_stage_is_timed_where_it_ends() {
    let mut world = World::new(2, "");
    world.names.exchanger("there.example", 10, "mx.there.example", [198, 51, 100, 7]);
    world.host([198, 51, 100, 7], Host::new().with_tls());
    let before = world.status();
    assert!(before["latency"]["accept"]["p50_us"].is_null(), "{before}");
    let (_, other) = owner_and_other("there.example");
    world.accept(other, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(1));
    let first = world.status();
    for stage in ["accept", "queue", "dns", "connect", "tls", "deliver", "end_to_end"] {
        assert_eq!(count(&first, stage), 1, "{stage}: {first}");
        assert_eq!(first["latency"][stage]["p99_us"], first["latency"][stage]["max_us"]);
    }
    // RCPT, DATA and the content each come a way after our answer's way.
    let sync = SYNC.as_micros() as u64;
    assert_eq!(longest(&first, "accept"), 6_000 + sync);
    assert!(count(&first, "sync") >= 1);
    assert_eq!(longest(&first, "sync"), sync);
    let parts = ["queue", "deliver"].map(|stage| longest(&first, stage));
    assert!(longest(&first, "end_to_end") >= parts.iter().sum::<u64>(), "{first}");

    world.at([198, 51, 100, 7]).rule(Stage::Rcpt, Act::Say(550, "5.1.1 nobody here"), 1);
    world.accept(other, "", &["nobody@there.example"]);
    world.run_for(seconds(5));
    let second = world.status();
    let counts = |stages: &[&str]| stages.iter().map(|s| count(&second, s)).collect::<Vec<_>>();
    assert_eq!(counts(&["accept", "queue", "deliver"]), [2, 2, 2]);
    assert_eq!(counts(&["dns", "connect", "tls", "end_to_end"]), [1, 1, 1, 1]);
    world.assert_over();
}
