//! A route whose hosts are all down: its mail goes the default way, and comes
//! back to the route when the hosts do.

use crate::stories_support::{HOST, world};
use sim::{Act, Host, Stage, World, minutes, seconds};

const DEPARTMENT: [u8; 4] = [198, 51, 100, 20];
const OTHER: [u8; 4] = [198, 51, 100, 21];

fn config(fallback: bool) -> String {
    format!(
        "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n\
         [[route]]\nmatch = \"there.example\"\nmode = \"relay\"\n\
         hosts = [\"198.51.100.20:25\", \"198.51.100.21:25\"]\nfallback = {fallback}\n"
    )
}

fn dead() -> Host {
    Host::new().always(Stage::Connect, Act::Drop)
}

fn with_dead_department(fallback: bool) -> World {
    let mut world = world(&config(fallback), Host::new());
    world.host(DEPARTMENT, dead());
    world.host(OTHER, dead());
    world
}

/// Both hosts refuse: the exchanger gets the mail in the same attempt, and
/// later mail at once, without asking the dead hosts again.
///
/// Shows: S3.2
#[test]
fn mail_of_a_dead_route_goes_the_default_way() {
    let mut world = with_dead_department(true);
    for _ in 0..3 {
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(10));
    }
    assert_eq!(world.at(HOST).got.len(), 3);
    assert_eq!(world.at(DEPARTMENT).connects.len(), 1);
    assert_eq!(world.at(OTHER).connects.len(), 1);
    assert_eq!(world.logged("fallback").len(), 3);
    assert_eq!(world.logged("deferred").len(), 0);
    world.assert_over();
}

/// When the hosts are back, one connection finds out and mail takes the route
/// again.
///
/// Shows: S3.2
#[test]
fn the_route_is_taken_again_when_its_hosts_are_back() {
    let mut world = with_dead_department(true);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(10));
    world.at(DEPARTMENT).mend();
    world.run_for(minutes(6));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.at(DEPARTMENT).got.len(), 1);
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// `fallback = false`: the mail waits for its own hosts.
///
/// Shows: S3.2
#[test]
fn a_route_may_refuse_to_fall_back() {
    let mut world = with_dead_department(false);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(4));
    assert_eq!(world.at(HOST).got.len(), 0);
    assert_eq!(world.logged("deferred").len(), 1);
    world.at(OTHER).mend();
    world.run_for(minutes(10));
    assert_eq!(world.at(OTHER).got.len(), 1);
    world.assert_over();
}

/// Seed 8300 of the simulator: two routes lead to the same hosts and share
/// their connections, and only one lets its mail fall back. One message for
/// both: each recipient does as its own route says, whoever's connection it
/// was that failed.
#[test]
fn each_recipient_falls_back_as_its_own_route_says() {
    for to in [["b@there.example", "b@here.example"], ["b@here.example", "b@there.example"]] {
        let other = "[[route]]\nmatch = \"here.example\"\nmode = \"relay\"\nfallback = false\n\
                     hosts = [\"198.51.100.20:25\", \"198.51.100.21:25\"]\n";
        let mut world = world(&(config(true) + other), Host::new());
        world.host(DEPARTMENT, dead());
        world.host(OTHER, dead());
        world.accept(0, "a@from.example", &to);
        world.run_for(minutes(1));
        assert_eq!(world.at(HOST).got.len(), 1);
        assert_eq!(world.at(HOST).got[0].recipients, ["b@there.example"]);
        world.at(OTHER).mend();
        world.run_for(minutes(10));
        assert_eq!(world.at(OTHER).got.len(), 1);
        world.assert_over();
    }
}
