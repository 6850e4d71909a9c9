//! Ways whose mail leaves in windows of the week: it waits for them, nothing is
//! counted while it does, and a flush lets it go once. The world begins on
//! Thursday, 2026-01-01, at one o'clock in Berlin.

use control::QueueAct;
use sim::{Act, Host, Stage, World, minutes, seconds};

use crate::stories_support::{HOST, SENDER, world};

const MX: &str = "[delivery]\nretry = [\"1m\"]\njitter = \"0%\"\n\
                  delay_notice = \"none\"\n";
const RELAY: &str = "[delivery]\nmode = \"relay\"\nhosts = [\"198.51.100.7:25\"]\n\
                     retry = [\"1m\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n";
/// Opens an hour after the world begins, for an hour.
const AT_TWO: &str = "schedule = { zone = \"Europe/Berlin\", windows = [\"02:00-03:00\"] }\n";
/// Closes an hour after the world begins.
const UNTIL_TWO: &str =
    "schedule = { zone = \"Europe/Berlin\", windows = [\"wed 22:00-02:00\"] }\n";

fn at_two(way: &str, host: Host) -> World {
    world(&format!("{way}{AT_TWO}"), host)
}

fn mail(world: &mut World, to: &str) {
    world.accept(0, "a@from.example", &[to]);
}

/// Shows: S2.8
#[test]
fn mail_waits_for_its_window_and_nothing_is_counted() {
    for way in [MX, RELAY] {
        let mut world = at_two(way, Host::new());
        let began = world.now.wall;
        mail(&mut world, "b@there.example");
        world.run_for(minutes(55));
        let rows = world.rows();
        assert_eq!((rows.len(), &rows[0]["attempts"]), (1, &0.into()), "{rows:?}");
        assert_eq!(
            rows[0]["suspended"],
            "outside its schedule, 02:00-03:00 (Europe/Berlin): opens 2026-01-01T01:00:00.000Z"
        );
        world.run_until("the window", |world| !world.at(HOST).got.is_empty());
        let waited = world.now.wall.since(began);
        assert!(waited >= minutes(59) && waited <= minutes(61), "{waited:?}");
        mail(&mut world, "c@there.example");
        world.run_for(seconds(5));
        assert_eq!(world.at(HOST).got.len(), 2, "at once while it is open");
        world.run_for(minutes(60));
        mail(&mut world, "d@there.example");
        world.run_for(minutes(60));
        assert_eq!(world.at(HOST).got.len(), 2, "it is closed again");
        world.run_for(minutes(22 * 60));
        assert_eq!(world.at(HOST).got.len(), 3, "it opens every day");
        let states: Vec<_> = world.logged("schedule").iter().map(|line| &line["state"]).collect();
        assert_eq!(states, ["open", "closed", "open"]);
        world.assert_over();
    }
}

/// One attempt and no more: what it leaves over waits for the window again,
/// and another flush is another attempt.
///
/// Shows: S2.8
#[test]
fn a_flush_sends_once_outside_the_window() {
    for way in [MX, RELAY] {
        let host = Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 1);
        let mut world = at_two(way, host);
        mail(&mut world, "b@there.example");
        mail(&mut world, "c@from.example");
        world.run_for(minutes(5));
        let id = world.rows()[0]["id"].as_str().and_then(|id| id.parse().ok());
        assert_eq!(world.act(QueueAct::Flush, id), 1);
        world.run_for(minutes(10));
        assert_eq!(world.logged("deferred").len(), 1, "once, and not by its retry");
        let rows = world.rows();
        let attempts: Vec<_> = rows.iter().map(|row| row["attempts"].as_u64()).collect();
        assert!(attempts.contains(&Some(1)) && attempts.contains(&Some(0)), "{rows:?}");
        assert!(rows.iter().all(|row| row["suspended"].is_string()), "{rows:?}");
        assert_eq!(world.act(QueueAct::Flush, id), 1);
        world.run_for(seconds(30));
        assert_eq!(world.rows().len(), 1, "the other one was not meant");
        world.run_for(minutes(60));
        let got = world.at(HOST).got.len() + world.at(SENDER).got.len();
        assert_eq!(got, 2);
        world.assert_over();
    }
}

#[test]
fn a_lifetime_ends_outside_the_window_too() {
    let mut world = at_two(&format!("{MX}lifetime = \"20m\"\n"), Host::new());
    mail(&mut world, "b@there.example");
    world.run_for(minutes(21));
    assert_eq!(world.logged("expired").len(), 1);
    world.run_for(minutes(60));
    assert_eq!(world.at(HOST).got.len(), 0);
}

/// What has begun ends in order; the rest waits, connections or not.
#[test]
fn a_window_closes_while_mail_flows() {
    let mut world = world(&format!("{MX}{UNTIL_TWO}"), Host::new().slow(20));
    world.run_for(minutes(60) - seconds(2));
    for n in 0..400 {
        mail(&mut world, &format!("b{n}@there.example"));
    }
    world.run_for(minutes(1));
    let got = world.at(HOST).got.len();
    assert!(got > 0 && got < 400, "{got} were sent, which shows nothing");
    world.run_for(minutes(30));
    assert_eq!(world.at(HOST).got.len(), got);
    assert_eq!(world.rows().len(), 400 - got);
    assert_eq!(world.logged("deferred").len(), 0);
    assert_eq!(world.act(QueueAct::Flush, None), 400 - got as u64);
    world.run_for(minutes(10));
    assert_eq!(world.at(HOST).got.len(), 400);
    world.assert_over();
}

/// A route has windows of its own, the others' mail goes; a change of the
/// configuration lets it go at once.
///
/// Shows: S2.8, S3.22
#[test]
fn a_route_has_its_own_windows_and_a_change_holds_at_once() {
    let route = |schedule: &str| format!("{MX}[[route]]\nmatch = \"there.example\"\n{schedule}");
    let mut world = world(&route(AT_TWO), Host::new());
    mail(&mut world, "b@there.example");
    mail(&mut world, "c@from.example");
    world.run_for(minutes(5));
    assert_eq!((world.at(HOST).got.len(), world.at(SENDER).got.len()), (0, 1));
    let address = mail::Address::parse("b@there.example", false).unwrap();
    let told = world.command(control::Request::Explain(address)).body;
    assert_eq!(told["schedule"]["open"], false, "{told}");
    assert_eq!(told["not_before"], "2026-01-01T01:00:00.000Z");
    assert!(told["blocker"].as_str().unwrap().starts_with("outside its schedule"), "{told}");
    world.configure(&route("schedule = \"immediately\"\n"));
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// The wall clock is set while mail waits: the window is found within minutes.
#[test]
fn a_clock_that_jumps_into_a_window_is_noticed() {
    let mut world = at_two(MX, Host::new());
    mail(&mut world, "b@there.example");
    world.run_for(minutes(1));
    world.now.wall = world.now.wall + minutes(61);
    world.run_for(minutes(11));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}
