//! A new configuration while mail waits or is under way: what is in force now
//! decides what happens next.

use crate::stories_support::{HOST, world};
use sim::{Act, Host, Stage, World, minutes, seconds};

fn config(lifetime: &str, route_lifetime: &str) -> String {
    format!(
        "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n\
         lifetime = \"{lifetime}\"\n\
         [[route]]\nmatch = \"there.example\"\nlifetime = \"{route_lifetime}\"\n"
    )
}

fn greylisting() -> Host {
    Host::new().always(Stage::Rcpt, Act::Say(450, "later"))
}

fn waiting(lifetime: &str) -> World {
    let mut world = world(&config("5d", lifetime), greylisting());
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(10));
    world
}

/// A longer lifetime saves mail that waits already.
///
/// Covers: B52
#[test]
fn a_longer_lifetime_reaches_waiting_mail() {
    let mut world = waiting("20m");
    world.configure(&config("5d", "2h"));
    world.run_for(minutes(60));
    assert_eq!(world.logged("expired").len(), 0);
    world.at(HOST).mend();
    world.run_for(minutes(10));
    assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"]);
    world.assert_over();
}

/// A shorter one ends it at the new time.
#[test]
fn a_shorter_lifetime_reaches_waiting_mail() {
    let mut world = waiting("2h");
    world.configure(&config("5d", "20m"));
    world.run_for(minutes(21));
    assert_eq!(world.logged("expired").len(), 1);
}

/// The reload comes while an attempt is open: its end is judged by the mail's
/// own route, not by the default way.
#[test]
fn mail_in_flight_keeps_its_route() {
    let mut world = world(&config("1m", "2h"), greylisting().slow(1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(3));
    let before = world.logged("deferred").len();
    world.run_until("an attempt is open", |world| world.status()["recipients"]["in_flight"] == 1);
    world.configure(&config("1m", "3h"));
    world.run_for(seconds(30));
    assert_eq!(world.logged("expired").len(), 0);
    assert_eq!(world.logged("deferred").len(), before + 1);
}

/// Seed 5753 of the simulator: the reload comes while an attempt is open whose
/// message has been moved meanwhile. The attempt is still the only one.
#[test]
fn moved_mail_in_flight_is_not_handed_out_a_second_time() {
    let swallows = Host::new().next(Stage::Dot, Act::Swallow, 1);
    let mut world = world(&config("5d", "2h"), swallows);
    let id = world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_until("a copy is taken", |world| world.at(HOST).got.len() == 1);
    let body = format!("{}\n", "x".repeat(900)).repeat(100);
    for _ in 0..60 {
        world.submit(0, "a@from.example", &["c@from.example"], &body);
        world.run_for(seconds(1));
    }
    assert!(!world.medium.list().contains(&id.segment), "it must have been moved");
    world.configure(&config("5d", "3h"));
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 1, "the first attempt still waits for its answer");
    world.run_for(minutes(30));
    assert_eq!(world.at(HOST).got.len(), 2);
    assert_eq!(world.logged("delivered").iter().filter(|l| l["id"] == id.to_string()).count(), 1);
    world.assert_over();
}

/// Cleaning has moved mail that waits for its next attempt. It used to be tried
/// at once, all of it, when a new configuration sent it anew.
#[test]
fn moved_mail_keeps_its_time_under_a_new_configuration() {
    let busy = Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 1);
    let mut world = world(&config("5d", "2h"), busy);
    let id = world.accept(0, "a@from.example", &["b@there.example"]);
    let body = format!("{}\n", "x".repeat(900)).repeat(100);
    for _ in 0..60 {
        world.submit(0, "a@from.example", &["c@from.example"], &body);
        world.run_for(seconds(1));
    }
    assert!(!world.medium.list().contains(&id.segment), "it must have been moved");
    world.configure(&config("5d", "3h"));
    world.run_for(minutes(3));
    assert_eq!(world.at(HOST).got.len(), 0, "its five minutes are not over");
    world.run_for(minutes(2));
    assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"]);
    world.assert_over();
}
