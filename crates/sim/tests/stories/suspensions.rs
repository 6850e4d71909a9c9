//! What operators stop: nothing of it leaves, nothing of it is lost, and it
//! goes on by word or by the clock.

use std::sync::Arc;
use std::time::Duration;

use control::{Request, Scope, Suspension, Suspensions};
use shard::event::Event;
use sim::{Act, Host, Stage, World, minutes, seconds};

use crate::stories_support::{HOST, SENDER, world};

const OTHER: [u8; 4] = [198, 51, 100, 8];
const MX: &str = "[delivery]\nretry = [\"1m\"]\njitter = \"0%\"\n";
const RELAY: &str = "[delivery]\nmode = \"relay\"\nhosts = [\"198.51.100.7:25\"]\n\
                     retry = [\"1m\"]\njitter = \"0%\"\n";

fn orders(world: &World, orders: &[(&str, &str, Option<Duration>)]) -> Arc<Suspensions> {
    let mut list = Suspensions::default();
    let now = world.now.wall;
    for (kind, name, length) in orders {
        let scope = Scope::new(kind, name).unwrap();
        let until = length.map(|length| now + length);
        list.suspend(Suspension { scope, reason: "a test".into(), since: now, until }).unwrap();
    }
    Arc::new(list)
}

/// Puts these orders in force now.
fn order(world: &mut World, list: &[(&str, &str, Option<Duration>)]) {
    let list = orders(world, list);
    world.tell(0, seconds(0), Event::Suspensions(list));
    world.run_for(Duration::from_millis(1));
}

fn mail(world: &mut World, to: &str) {
    world.accept(0, "a@from.example", &[to]);
}

/// Two domains with an exchanger each.
fn two(config: &str) -> World {
    let mut world = world(config, Host::new());
    world.names.exchanger("other.example", 10, "mx.other.example", OTHER);
    world.host(OTHER, Host::new());
    world
}

/// A domain is stopped before and while its mail comes: nothing leaves and
/// nothing is counted; other mail goes; it resumes by word.
///
/// Shows: S3.22, A30
#[test]
fn a_stopped_domain_waits_and_others_do_not() {
    for config in [MX, RELAY] {
        let mut world = two(config);
        order(&mut world, &[("domain", "there.example", None)]);
        mail(&mut world, "b@there.example");
        mail(&mut world, "b@other.example");
        world.run_for(minutes(10));
        let rows = world.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0]["attempts"], 0);
        assert_eq!(rows[0]["suspended"], "suspended (domain there.example): a test");
        order(&mut world, &[]);
        world.run_for(seconds(5));
        assert_eq!(world.rows().len(), 0);
        world.assert_over();
    }
}

/// Mail that stands ready for a relay, in one queue with all other, is told
/// apart when its domain is stopped.
#[test]
fn ready_mail_of_a_relay_is_told_apart() {
    let mut world = world(RELAY, Host::new().next(Stage::Connect, Act::Drop, 1));
    for n in 0..200 {
        mail(&mut world, &format!("b{n}@there.example"));
        mail(&mut world, &format!("b{n}@other.example"));
    }
    order(&mut world, &[("domain", "there.example", None)]);
    world.run_for(minutes(30));
    let rows = world.rows();
    assert!(rows.iter().all(|row| row["recipient"].as_str().unwrap().ends_with("@there.example")));
    let got = world.at(HOST).got.len();
    let there = |to: &&str| to.contains("there.example");
    let before = world.at(HOST).delivered_to().iter().copied().filter(there).count();
    assert_eq!(got, 400 - rows.len());
    assert_eq!(before, 200 - rows.len());
    order(&mut world, &[]);
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 400);
    world.assert_over();
}

/// Everything is stopped while connections stand and mail flows: what had
/// begun ends, the rest waits, and the clock alone lets it go.
///
/// Shows: S1.2, A30
#[test]
fn a_stop_of_all_ends_at_its_time() {
    let mut world = world(MX, Host::new().slow(20));
    for n in 0..50 {
        world.submit(0, "a@from.example", &[&format!("b{n}@there.example")], "x");
    }
    world.run_until("the first delivery", |world| !world.at(HOST).got.is_empty());
    order(&mut world, &[("all", "", Some(minutes(30)))]);
    world.run_for(minutes(1));
    let before = world.at(HOST).got.len();
    assert!(before < 50, "the stop came too late to show anything");
    mail(&mut world, "late@there.example");
    world.run_for(minutes(28));
    assert_eq!(world.at(HOST).got.len(), before);
    assert_eq!(world.rows()[0]["attempts"], 0);
    world.run_for(minutes(2));
    assert_eq!(world.at(HOST).got.len(), 51);
    assert_eq!(world.logged("resumed").len(), 1);
    world.assert_over();
}

/// A site and a route are stopped by the names that lists show.
///
/// Shows: A30
#[test]
fn a_site_and_a_route_are_stopped_by_name() {
    let route = format!("{MX}[[route]]\nmatch = \"there.example\"\n");
    for (kind, name) in [("site", "mx:mx.there.example"), ("route", "there.example")] {
        let mut world = two(&route);
        mail(&mut world, "first@there.example");
        world.run_for(seconds(1));
        order(&mut world, &[(kind, name, None)]);
        mail(&mut world, "b@there.example");
        mail(&mut world, "b@other.example");
        world.run_for(minutes(10));
        assert_eq!(world.at(OTHER).got.len(), 1);
        assert_eq!(world.rows().len(), 1, "{kind}");
        assert!(world.rows()[0]["suspended"].as_str().unwrap().contains(name));
        order(&mut world, &[]);
        world.run_for(seconds(5));
        assert_eq!(world.at(HOST).got.len(), 2);
        world.assert_over();
    }
}

/// A flush does not beat a suspension, and a lifetime ends in it as anywhere.
#[test]
fn stopped_mail_is_not_flushed_and_expires() {
    let config = "[delivery]\nlifetime = \"1h\"\n";
    let mut world = world(config, Host::new());
    order(&mut world, &[("domain", "there.example", None)]);
    mail(&mut world, "b@there.example");
    world.act(control::QueueAct::Flush, None);
    world.run_for(minutes(50));
    assert_eq!(world.at(HOST).got.len(), 0);
    world.run_for(minutes(15));
    assert_eq!(world.logged("expired").len(), 1);
    assert_eq!(world.at(SENDER).got.len(), 1, "the sender hears of it");
    world.assert_over();
}

/// Two sources in a pool: what would leave from the stopped one leaves from the
/// other; with both stopped it waits, and nothing is counted; one resumed is
/// enough. Stopped by an address or by a name.
///
/// Shows: S2.7, S3.22
#[test]
fn a_stopped_source_leaves_its_mail_to_the_others_of_its_pool() {
    let pool = "[[source]]\nname = \"a\"\naddress = \"192.0.2.21\"\n\
                [[source]]\nname = \"b\"\naddress = \"192.0.2.22\"\n\
                [[pool]]\nname = \"both\"\nsources = [\"a\", \"b\"]\n";
    for way in [MX, RELAY] {
        let mut world = two(&format!("{pool}{way}source = \"both\"\n"));
        let from = |world: &World, source: &str| {
            world.logged("delivered").iter().filter(|line| line["source"] == source).count()
        };
        let send = |world: &mut World, name: &str| {
            (0..20).for_each(|n| mail(world, &format!("{name}{n}@there.example")));
        };
        order(&mut world, &[("source", "192.0.2.21", None)]);
        send(&mut world, "b");
        world.run_for(seconds(20));
        assert_eq!((from(&world, "a"), from(&world, "b")), (0, 20));
        order(&mut world, &[("source", "192.0.2.21", None), ("source", "b", Some(minutes(30)))]);
        send(&mut world, "c");
        world.run_for(minutes(10));
        let rows = world.rows();
        assert_eq!(rows.len(), 20);
        assert!(rows.iter().all(|row| row["attempts"] == 0), "{rows:?}");
        assert!(rows[0]["suspended"].as_str().unwrap().starts_with("suspended (source "));
        world.run_for(minutes(21));
        assert_eq!((from(&world, "a"), from(&world, "b")), (0, 40), "its time is over");
        order(&mut world, &[]);
        send(&mut world, "d");
        world.run_for(seconds(20));
        assert!(from(&world, "a") > 0, "it is used again");
        assert_eq!(world.rows().len(), 0);
        world.assert_over();
    }
}

/// One source is stopped by an order, the other one has no address just now:
/// mail waits for either without turning around.
#[test]
fn mail_between_a_stopped_source_and_a_missing_one_waits() {
    let config = format!(
        "[[source]]\nname = \"a\"\naddress = \"192.0.2.21\"\n\
         [[source]]\nname = \"six\"\naddress = \"2001:db8::1\"\n\
         [[pool]]\nname = \"both\"\nsources = [\"a\", \"six\"]\n{MX}source = \"both\"\n"
    );
    let mut world = two(&config);
    order(&mut world, &[("source", "a", None)]);
    mail(&mut world, "b@there.example");
    world.run_for(minutes(10));
    assert_eq!(world.rows()[0]["attempts"], 0);
    assert_eq!(world.at(HOST).got.len(), 0);
}

/// The clock was a day behind when an order came, and is set right: the order's
/// end, which lies behind us then, is seen within minutes and not a day later.
#[test]
fn an_end_that_the_clock_has_jumped_over_is_seen() {
    for (kind, name) in [("all", ""), ("site", "mx:mx.there.example")] {
        let mut world = two(MX);
        mail(&mut world, "first@there.example");
        world.run_for(seconds(5));
        order(&mut world, &[(kind, name, Some(minutes(60)))]);
        mail(&mut world, "b@there.example");
        world.run_for(minutes(1));
        assert_eq!(world.at(HOST).got.len(), 1);
        world.now.wall = world.now.wall + minutes(24 * 60);
        world.run_for(minutes(11));
        assert_eq!(world.at(HOST).got.len(), 2, "{kind}");
        assert_eq!(world.logged("resumed").len(), 1);
        world.assert_over();
    }
}

/// An operator has sent mail another way. A stop of some other domain does not
/// send it back to where it came from.
#[test]
fn a_stop_leaves_rerouted_mail_where_it_was_sent() {
    let config = format!(
        "{RELAY}[[route]]\nmatch = \"there.example\"\nmode = \"relay\"\n\
         hosts = [\"198.51.100.8:25\"]\nretry = [\"5m\"]\njitter = \"0%\"\n"
    );
    let mut world = two(&config);
    world.host(OTHER, Host::new().always(Stage::Rcpt, Act::Say(451, "later")));
    mail(&mut world, "b@there.example");
    world.run_for(seconds(10));
    let to = Request::parse("POST", "/v1/queue/reroute", br#"{"all": true, "to": "default"}"#);
    assert_eq!(world.command(to.unwrap()).body["recipients"], 1);
    order(&mut world, &[("domain", "elsewhere.example", None)]);
    world.run_for(minutes(6));
    assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"]);
    order(&mut world, &[]);
    world.assert_over();
}
