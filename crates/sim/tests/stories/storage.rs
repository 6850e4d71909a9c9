//! Disks that are worse than one fault at a time.

use crate::stories_support::world;
use sim::{Act, Host, Stage, minutes, seconds};

const BUSY: Act = Act::Say(451, "busy");

/// Seed 79 of the simulator: a second sync fails while no segment can be had.
/// Storage is down for this life and asks for nothing more; the shard went on
/// to wake up for a question that it did not ask, as fast as the machine could.
#[test]
fn a_disk_that_failed_twice_while_it_was_full_is_waited_for_quietly() {
    let mut world = world("[delivery]\nretry = \"1m\"\n", Host::new().next(Stage::Data, BUSY, 1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(5));
    world.disk_full = true;
    world.failing_syncs = 2;
    world.submit(0, "a@from.example", &["c@there.example"], "x");
    // The one spare segment is kept for what becomes of older mail.
    world.run_for(minutes(2));
    assert_eq!(world.status()["storage"], "failed");
    let before = world.ticks;
    world.run_for(minutes(10));
    assert!(world.ticks - before < 3_000, "{} wake-ups", world.ticks - before);
}
