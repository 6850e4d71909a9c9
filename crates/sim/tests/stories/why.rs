//! `why`: for each way in which mail can wait its cause is named, and the time
//! at which it is said to go on is the time at which it does.

use std::sync::Arc;
use std::time::Duration;

use base::Wall;
use control::{QueueAct, Request, Scope, Suspension, Suspensions, Why};
use mail::Address;
use serde_json::Value;
use shard::event::Event;
use sim::{Act, Host, Stage, World, minutes, seconds};

use crate::stories_support::{HOST, world};

const MX: &str = "[delivery]\nretry = [\"7m\"]\njitter = \"0%\"\n";
const TO: &str = "b@there.example";

/// Content that takes a host with a pace of 1 about a second.
fn second() -> String {
    "x".repeat(900)
}

fn mail(world: &mut World, to: &str) {
    world.accept(0, "a@from.example", &[to]);
}

/// So many messages of a second each, and when they are all accepted.
fn backlog(world: &mut World, count: usize) {
    for n in 0..count {
        world.submit(0, "a@from.example", &[&format!("b{n}@there.example")], &second());
    }
    world.run_for(seconds(5));
}

/// What is said of the one recipient of an address.
fn why(world: &mut World, to: &str) -> Value {
    let asked = Why::Recipient(Address::parse(to, true).unwrap());
    let answer = world.command(Request::Why { asked, limit: 10 });
    let rows = answer.body["recipients"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 1, "{to}: {answer:?}");
    rows[0].clone()
}

/// A time of the January in which stories begin.
fn time(text: &Value) -> Wall {
    let text = text.as_str().expect("a time");
    let number = |from: usize, to: usize| -> u64 { text[from..to].parse().unwrap() };
    let days = number(8, 10) - 1;
    let s = ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * 60 + number(17, 19);
    sim::START + Duration::from_millis(s * 1_000 + number(20, 23))
}

/// Within 10 % of the wait, or 2 s.
fn assert_near(said: Wall, came: Wall, asked: Wall, what: &Value) {
    let off = said.since(came).max(came.since(said));
    let bound = (came.since(asked) / 10).max(seconds(2));
    assert!(off <= bound, "off by {off:?} of {:?}: {what}", came.since(asked));
}

/// Asks why, expects `cause`, and waits for `goes_on`, which must come when it
/// was said to.
fn waits(world: &mut World, to: &str, cause: &str, mut goes_on: impl FnMut(&mut World) -> bool) {
    let asked = world.now.wall;
    let row = why(world, to);
    assert_eq!(row["cause"], cause, "{row}");
    let said = time(&row["next_attempt"]);
    assert!(!goes_on(world), "it has gone on already: {row}");
    world.run_until("a way on", goes_on);
    assert_near(said, world.now.wall, asked, &row);
}

/// Expects `cause` and no time: it waits for somebody.
fn waits_for_somebody(world: &mut World, to: &str, cause: &str) {
    let row = why(world, to);
    assert_eq!(row["cause"], cause, "{row}");
    assert_eq!(row["next_attempt"], Value::Null, "{row}");
}

/// The host has the mail of an address.
fn arrives(to: &'static str) -> impl FnMut(&mut World) -> bool {
    move |world| world.at(HOST).delivered_to().contains(&to)
}

/// Somebody dials the host once more.
fn dials(world: &mut World) -> impl FnMut(&mut World) -> bool + use<> {
    let before = world.at(HOST).connects.len();
    move |world| world.at(HOST).connects.len() > before
}

/// The name server is asked once more.
fn asks(world: &World) -> impl FnMut(&mut World) -> bool + use<> {
    let before = world.names.asked.len();
    move |world| world.names.asked.len() > before
}

fn order(world: &mut World, kind: &str, name: &str, length: Option<Duration>) {
    let (scope, now) = (Scope::new(kind, name).unwrap(), world.now.wall);
    let until = length.map(|length| now + length);
    let mut list = Suspensions::default();
    list.suspend(Suspension { scope, reason: "a test".into(), since: now, until }).unwrap();
    world.tell(0, seconds(0), Event::Suspensions(Arc::new(list)));
    world.run_for(Duration::from_millis(1));
}

/// The log has told of it under the same name.
fn told_by_the_log(world: &World, cause: &str) {
    let told = world.logged("limit-reached");
    assert!(told.iter().any(|line| line["limit"] == cause), "{cause}: {told:?}");
}

/// Mail to a host whose rate is used up: the tenth goes with the tenth token.
///
/// Shows: A41
#[test]
fn why_names_a_rate() {
    let mut world = world("[delivery]\nrate = \"6/1m\"\n", Host::new());
    backlog(&mut world, 10);
    waits(&mut world, "b9@there.example", "rate", arrives("b9@there.example"));
    told_by_the_log(&world, "rate");
    world.run_for(minutes(2));
}

/// When a stop ends, all that stands before it goes first.
#[test]
fn why_counts_the_turns_behind_a_stop() {
    let mut world = world("[delivery]\nrate = \"6/1m\"\n", Host::new());
    backlog(&mut world, 10);
    order(&mut world, "domain", "there.example", Some(minutes(5)));
    waits(&mut world, "b9@there.example", "suspended", arrives("b9@there.example"));
}

/// `explain` says of mail to come what `why` would say of it once it is there.
#[test]
fn explain_says_when_mail_would_be_tried_that_came_now() {
    let mut world = world("[delivery]\nrate = \"6/1m\"\n", Host::new());
    let ask = |world: &mut World| {
        let asked = Request::Explain(Address::parse(TO, true).unwrap());
        world.command(asked).body["forecast"].clone()
    };
    let fresh = ask(&mut world);
    assert_eq!((&fresh["cause"], &fresh["ahead"]), (&"turn".into(), &0.into()), "{fresh}");
    backlog(&mut world, 10);
    let (asked, told) = (world.now.wall, ask(&mut world));
    assert_eq!(told["cause"], "rate", "{told}");
    mail(&mut world, TO);
    world.run_until("its turn", arrives(TO));
    assert_near(time(&told["next_attempt"]), world.now.wall, asked, &told);
}

/// Shows: A41
#[test]
fn why_names_a_limit_of_connections() {
    let mut world = world("[delivery]\nconnections = 1\n", Host::new().slow(1));
    backlog(&mut world, 30);
    let row = why(&mut world, "b29@there.example");
    assert!(row["because"].as_str().unwrap().contains("in use: 1/1"), "{row}");
    waits(&mut world, "b29@there.example", "connections", arrives("b29@there.example"));
    told_by_the_log(&world, "connections");
    world.assert_over();
}

/// Two shards, one connection: the one that has none hears whose turn it is.
#[test]
fn why_names_a_permit_that_another_shard_has() {
    let mut world = World::new(2, "[delivery]\nconnections = 1\n");
    world.names.address("mx.big.example", HOST);
    world.host(HOST, Host::new().slow(1));
    for n in 0..20 {
        world.names.mx(&format!("d{n}.example"), 10, "mx.big.example");
        world.submit(0, "a@from.example", &[&format!("b@d{n}.example")], &second());
    }
    world.run_until("a shard without a connection", |world| {
        let rows = world.rows();
        rows.iter().any(|row| {
            let row = why(world, row["recipient"].as_str().unwrap());
            row["cause"] == "connections" && row["limits"]["connections_here"] == 0
        })
    });
    let asked = world.now.wall;
    let rows: Vec<Value> = world.rows();
    let rows: Vec<Value> =
        rows.iter().map(|row| why(&mut world, row["recipient"].as_str().unwrap())).collect();
    let first = rows
        .iter()
        .find(|row| row["limits"]["connections_here"] == 0 && row["ahead"] == 0)
        .expect("one is next");
    assert_eq!(first["cause"], "connections", "{first}");
    assert!(first["because"].as_str().unwrap().contains("1/1"), "{first}");
    let to = first["recipient"].as_str().unwrap().to_owned();
    world.run_until("its turn", |world| world.at(HOST).delivered_to().contains(&&*to));
    let said = time(&first["next_attempt"]);
    // It is told when its attempt begins, and its content takes a second.
    assert_near(said + seconds(1), world.now.wall, asked, first);
}

#[test]
fn why_names_connections_that_have_carried_enough() {
    let config = "[delivery]\nconnections = 1\nmessages_per_connection = 1\n";
    let mut world = world(config, Host::new().slow(1));
    backlog(&mut world, 20);
    let to = "b19@there.example";
    waits(&mut world, to, "messages-per-connection", arrives("b19@there.example"));
}

/// A site that is known for less than its limit allows.
#[test]
fn why_names_what_a_site_has_shown_to_take() {
    let mut world = world("[delivery]\nconnections = 20\n", Host::new().slow(1));
    backlog(&mut world, 40);
    let row = why(&mut world, "b39@there.example");
    assert_eq!(row["cause"], "concurrency", "{row}");
    assert_eq!(row["limits"]["connections"], 20);
    let said = time(&row["next_attempt"]);
    let asked = world.now.wall;
    world.run_until("its turn", arrives("b39@there.example"));
    assert_near(said, world.now.wall, asked, &row);
}

/// Each kind of order that stops delivery, with an end.
///
/// Shows: A30
#[test]
fn why_names_the_order_that_stops_mail() {
    let route = format!("{MX}[[route]]\nmatch = \"there.example\"\n");
    let source =
        format!("[[source]]\nname = \"a\"\naddress = \"192.0.2.21\"\n{MX}source = \"a\"\n");
    for (config, kind, name) in [
        (MX, "domain", "there.example"),
        (MX, "site", "mx:mx.there.example"),
        (MX, "all", ""),
        (&route, "route", "there.example"),
        (&source, "source", "a"),
    ] {
        let mut world = world(config, Host::new());
        mail(&mut world, "first@there.example");
        world.run_for(seconds(10));
        order(&mut world, kind, name, Some(minutes(20)));
        mail(&mut world, TO);
        world.run_for(seconds(10));
        let row = why(&mut world, TO);
        assert!(row["because"].as_str().unwrap().contains("a test"), "{kind}: {row}");
        waits(&mut world, TO, "suspended", arrives(TO));
        order(&mut world, kind, name, None);
        mail(&mut world, "c@there.example");
        world.run_for(seconds(10));
        waits_for_somebody(&mut world, "c@there.example", "suspended");
    }
}

#[test]
fn why_tells_a_hold_by_command_from_one_after_a_failure() {
    let config = format!("{MX}[[route]]\nmatch = \"kept.example\"\non_failure = \"hold\"\n");
    let host = Host::new().always(Stage::Rcpt, Act::Say(451, "4.3.0 not now"));
    let mut world = world(&config, host);
    world.names.mx("kept.example", 10, "mx.there.example");
    mail(&mut world, TO);
    mail(&mut world, "b@kept.example");
    world.run_for(minutes(1));
    let kept = why(&mut world, "b@kept.example");
    assert_eq!(kept["cause"], "held-after-failure", "{kept}");
    assert!(kept["because"].as_str().unwrap().contains("not now"), "{kept}");
    assert_eq!(kept["next_attempt"], Value::Null);
    let id = why(&mut world, TO)["id"].as_str().and_then(|id| id.parse().ok());
    assert_eq!(world.act(QueueAct::Hold, id), 1);
    world.run_for(seconds(10));
    waits_for_somebody(&mut world, TO, "held-by-operator");
    let row = why(&mut world, TO);
    assert!(row["last_answer"].as_str().unwrap().contains("not now"), "it stays: {row}");
}

#[test]
fn why_names_a_window() {
    let table = "schedule = { zone = \"UTC\", windows = [\"01:00-01:20\"] }\n";
    let host = Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 1);
    let mut world = world(&format!("{MX}{table}"), host);
    mail(&mut world, TO);
    let dialled = dials(&mut world);
    waits(&mut world, TO, "schedule", dialled);
    world.run_for(seconds(10));
    assert_eq!(why(&mut world, TO)["cause"], "back-off", "its retry is within the window");
    world.configure(&format!("{MX}{table}").replace("7m", "40m"));
    world.at(HOST).rule(Stage::Rcpt, Act::Say(451, "later"), 1);
    world.run_for(minutes(8));
    let row = why(&mut world, TO);
    assert_eq!(row["chain"][0]["cause"], "back-off", "{row}");
    waits(&mut world, TO, "schedule", arrives(TO));
}

/// Shows: S2.9
#[test]
fn why_names_the_back_off_of_a_message() {
    let busy = Host::new().next(Stage::Rcpt, Act::Say(451, "4.2.1 mailbox busy"), 1);
    let mut world = world(MX, busy);
    mail(&mut world, TO);
    world.run_for(minutes(1));
    let row = why(&mut world, TO);
    assert_eq!(row["last_host"], "mx.there.example [198.51.100.7]");
    assert!(row["because"].as_str().unwrap().contains("mailbox busy"), "{row}");
    waits(&mut world, TO, "back-off", arrives(TO));
}

#[test]
fn why_knows_greylisting() {
    let mut host = Host::new();
    host.kind.greylisting = Some(minutes(5));
    let mut world = world(MX, host);
    mail(&mut world, TO);
    world.run_for(minutes(1));
    waits(&mut world, TO, "greylisted", arrives(TO));
}

/// One message bears the attempt, the others wait for the site.
#[test]
fn why_names_a_site_that_is_down() {
    for act in [Act::Drop, Act::Stall] {
        let mut world = world(MX, Host::new().always(Stage::Connect, act));
        mail(&mut world, "first@there.example");
        world.run_for(minutes(1));
        mail(&mut world, TO);
        world.run_for(minutes(1));
        let row = why(&mut world, TO);
        assert_eq!(row["health"]["state"], "down", "{row}");
        let dialled = dials(&mut world);
        waits(&mut world, TO, "site-down", dialled);
        world.at(HOST).mend();
        world.run_for(minutes(20));
        world.assert_over();
    }
}

/// Name servers that say they fail, and such as say nothing.
#[test]
fn why_names_a_dead_name_server() {
    for silent in [false, true] {
        let mut world = world(MX, Host::new());
        match silent {
            true => world.names.silence("there.example"),
            false => world.names.fail("there.example", true),
        }
        mail(&mut world, TO);
        world.run_until("an end of the look-up", |world| {
            why(world, TO)["cause"] == "look-up-failed"
        });
        let asked = asks(&world);
        waits(&mut world, TO, "look-up-failed", asked);
    }
}

/// A relay host whose name is not found is asked for again.
#[test]
fn why_names_a_relay_host_that_does_not_exist() {
    let relay = "[delivery]\nmode = \"relay\"\nhosts = [\"smtp.gone.example\"]\n";
    let mut world = world(relay, Host::new());
    mail(&mut world, TO);
    world.run_for(seconds(10));
    let row = why(&mut world, TO);
    assert!(row["because"].as_str().unwrap().contains("smtp.gone.example"), "{row}");
    assert_eq!(row["cause"], "look-up-failed");
    // The answer is kept for longer than that: nobody is asked, but it goes on.
    let first = time(&row["next_attempt"]);
    world.run_until("the next look", |world| time(&why(world, TO)["next_attempt"]) > first);
    assert_near(first, world.now.wall, time(&row["arrived"]), &row);
}

#[test]
fn why_names_a_shortage_of_our_own() {
    let mut world = world(MX, Host::new().always(Stage::Connect, Act::Shortage));
    mail(&mut world, TO);
    world.run_for(seconds(5));
    let row = why(&mut world, TO);
    assert_eq!(row["attempts"], 0);
    let dialled = world.network.dialled.len();
    waits(&mut world, TO, "own-shortage", |world| world.network.dialled.len() > dialled);
}

#[test]
fn why_names_a_source_that_cannot_be_used() {
    let source = "[[source]]\nname = \"six\"\naddress = \"2001:db8::1\"\n";
    let mut world = world(&format!("{source}{MX}source = \"six\"\n"), Host::new());
    mail(&mut world, TO);
    world.run_for(seconds(5));
    let first = time(&why(&mut world, TO)["next_attempt"]);
    let looked = |world: &mut World| time(&why(world, TO)["next_attempt"]) > first;
    waits(&mut world, TO, "source-down", looked);
}

/// The address whose attempt is under way, and one that is gone.
#[test]
fn why_tells_of_an_attempt_and_of_nothing() {
    let mut world = world(MX, Host::new().next(Stage::Dot, Act::Stall, 1));
    mail(&mut world, TO);
    world.run_for(seconds(5));
    let row = why(&mut world, TO);
    assert_eq!(row["cause"], "under-way");
    assert!(row["because"].as_str().unwrap().contains("198.51.100.7"), "{row}");
    let asked = Why::Recipient(Address::parse("nobody@there.example", true).unwrap());
    assert_eq!(world.command(Request::Why { asked, limit: 10 }).status, 404);
}

/// With two shards the last answer is with the writer, whoever delivers.
#[test]
fn why_knows_the_last_answer_from_any_shard() {
    let host = Host::new().always(Stage::Rcpt, Act::Say(451, "mailbox busy"));
    let mut world = World::new(3, MX);
    world.names.exchanger("there.example", 10, "mx.there.example", HOST);
    world.host(HOST, host);
    for shard in 0..3 {
        world.accept(shard, "a@from.example", &[&format!("b{shard}@there.example")]);
    }
    world.run_for(minutes(1));
    for shard in 0..3 {
        let row = why(&mut world, &format!("b{shard}@there.example"));
        assert_eq!(row["writer"], shard);
        assert!(row["last_answer"].as_str().unwrap().contains("mailbox busy"), "{row}");
    }
}

/// The forecast for a domain and a site, with and without a rate, comes true.
///
/// Shows: A41
#[test]
fn a_queue_is_empty_when_it_was_said_to_be() {
    let slow = "[delivery]\nconnections = 2\n";
    for (config, rate) in [(slow, false), ("[delivery]\nrate = \"20/1m\"\n", true)] {
        for asked in ["domain", "site"] {
            let mut world = world(config, if rate { Host::new() } else { Host::new().slow(1) });
            backlog(&mut world, 100);
            world.run_for(seconds(20));
            let why = match asked {
                "domain" => Why::Domain(mail::Domain::parse("there.example").unwrap()),
                _ => Why::Site("mx:mx.there.example".into()),
            };
            let began = world.now.wall;
            let told = world.command(Request::Why { asked: why, limit: 10 }).body;
            let queue = &told["queues"][0];
            assert_eq!(queue["cause"], if rate { "rate" } else { "connections" }, "{told}");
            world.run_until("the last one", |world| world.at(HOST).got.len() == 100);
            assert_near(time(&queue["drained"]), world.now.wall, began, queue);
        }
    }
}
