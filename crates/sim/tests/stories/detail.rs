//! What operators look at closely: what they named is told in full, from the
//! first byte, and nothing else is.

use std::sync::Arc;
use std::time::Duration;

use control::{Direction, Focus, Watches};
use mail::Domain;
use serde_json::Value;
use shard::event::Event;
use sim::{Act, Host, Stage, World, minutes, seconds};

use crate::stories_support::{HOST, world};

const OTHER: [u8; 4] = [198, 51, 100, 8];
const MX: &str = "[delivery]\nretry = [\"1m\"]\njitter = \"0%\"\n";
const RELAY: &str = "[delivery]\nmode = \"relay\"\nhosts = [\"198.51.100.7:25\"]\n\
                     retry = [\"1m\"]\njitter = \"0%\"\n";
/// Events of the level `detail`.
const DETAIL: [&str; 6] = ["connected", "dialogue", "query", "answer", "plan", "permit"];

/// Two domains with an exchanger each.
fn two(config: &str) -> World {
    let mut world = world(config, Host::new());
    world.names.exchanger("other.example", 10, "mx.other.example", OTHER);
    world.host(OTHER, Host::new());
    world
}

fn domain(name: &str) -> Focus {
    Focus { domain: Some(Domain::parse(name).unwrap()), ..Focus::default() }
}

/// Puts these in force: what is looked at, and whether somebody is attached.
fn look(world: &mut World, all: &[(Focus, bool)], span: Duration) -> Watches {
    let mut watches = Watches::default();
    for (focus, attached) in all {
        watches.add(focus.clone(), *attached, world.now.wall, span).unwrap();
    }
    world.tell(0, seconds(0), Event::Watches(Arc::new(watches.clone())));
    world.run_for(Duration::from_millis(1));
    watches
}

fn detail(lines: &[Value]) -> Vec<&Value> {
    let is_detail = |line: &&Value| DETAIL.contains(&line["event"].as_str().unwrap());
    lines.iter().filter(is_detail).collect()
}

/// What was shown to those in these slots.
fn traced(world: &World, slots: u32) -> Vec<Value> {
    let meant = world.traced.iter().filter(|(to, _)| to & slots != 0);
    let lines = meant.flat_map(|(_, lines)| lines.split(|byte| *byte == b'\n'));
    let whole = lines.filter(|line| !line.is_empty());
    whole.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The words of dialogues, in their order.
fn words(lines: &[Value], way: &str) -> Vec<String> {
    let of_way = lines.iter().filter(|line| line["event"] == "dialogue" && line["way"] == way);
    let said = of_way.map(|line| line["said"].as_str().or(line["heard"].as_str()).unwrap());
    said.map(str::to_owned).collect()
}

fn position(words: &[String], begin: &str) -> usize {
    let found = words.iter().position(|word| word.starts_with(begin));
    found.unwrap_or_else(|| panic!("no {begin} in {words:#?}"))
}

/// One domain is told in full, from the client's greeting over look-ups and
/// permits to the next hop's QUIT, the other not at all; it ends by itself.
///
/// Shows: S4.7, S2.19
#[test]
fn a_domain_is_told_in_full_for_its_time_and_no_other() {
    let mut world = two(MX);
    look(&mut world, &[(domain("there.example"), false)], minutes(10));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.accept(0, "a@from.example", &["b@other.example"]);
    world.run_for(minutes(2));
    for event in DETAIL {
        assert!(!world.logged(event).is_empty(), "{event}");
    }
    let all = detail(&world.log).into_iter().cloned().collect::<Vec<_>>();
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("other.example"), "{text}");
    assert!(!text.contains("leading dot"), "{text}");
    for (way, order) in [
        ("in", ["220 ", "EHLO client", "MAIL FROM", "RCPT TO", "DATA", "354 ", "250 2.0.0 Ok: q"]),
        ("out", ["220 ", "EHLO ", "MAIL FROM", "RCPT TO", "DATA", "354 ", "QUIT"]),
    ] {
        let words = words(&all, way);
        let places = order.map(|begin| position(&words, begin));
        assert!(places.is_sorted(), "{way}: {words:#?}");
    }
    let names: Vec<&str> =
        world.logged("query").iter().map(|line| line["domain"].as_str().unwrap()).collect();
    assert!(names.contains(&"there.example") && names.contains(&"mx.there.example"), "{names:?}");
    // Its time is over.
    world.run_for(minutes(8));
    let before = detail(&world.log).len();
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(2));
    assert_eq!(detail(&world.log).len(), before);
    world.assert_over();
}

/// Nobody asked: none of it is told. A change of the configuration ends nothing.
///
/// Shows: S4.6, S4.7
#[test]
fn without_an_order_nothing_is_told_and_a_new_policy_ends_none() {
    let mut world = two(MX);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(2));
    assert_eq!(detail(&world.log).len(), 0);
    look(&mut world, &[(domain("there.example"), false)], minutes(10));
    world.configure("[delivery]\nretry = [\"2m\"]\n");
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(2));
    assert!(detail(&world.log).len() > 10);
    look(&mut world, &[], minutes(1));
    let before = detail(&world.log).len();
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(2));
    assert_eq!(detail(&world.log).len(), before, "taken back");
    world.assert_over();
}

/// Over one connection to a relay goes mail for both domains: what is shown of
/// it is the session's begin, and the transaction that is meant.
///
/// Shows: A43
#[test]
fn of_a_shared_connection_only_what_is_meant_is_shown() {
    let mut world = two(RELAY);
    let watches = look(&mut world, &[(domain("there.example"), true)], minutes(10));
    for to in ["b@other.example", "b@there.example", "c@other.example"] {
        world.submit(0, "a@from.example", &[to], "x");
    }
    world.run_for(minutes(2));
    assert_eq!(world.at(HOST).got.len(), 3);
    assert_eq!(detail(&world.log).len(), 0, "the log is not what was asked for");
    let lines = traced(&world, watches.slots());
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("other.example"), "{text}");
    let out = words(&lines, "out");
    let places = ["220 ", "EHLO ", "MAIL FROM", "RCPT TO:<b@there.example>", "DATA"]
        .map(|begin| position(&out, begin));
    assert!(places.is_sorted(), "{out:#?}");
    assert_eq!(places[0], 0, "the first byte of the session: {out:#?}");
    world.assert_over();
}

/// Two are attached with different conditions: each sees its own, each line
/// once, also what was said before its condition was met.
///
/// Shows: A43
#[test]
fn two_who_are_attached_see_their_own() {
    let mut world = two(MX);
    let sender = Focus { sender: Some("late@from.example".into()), ..Focus::default() };
    let inbound = Focus { direction: Some(Direction::In), ..Focus::default() };
    let outbound = Focus {
        direction: Some(Direction::Out),
        network: "198.51.100.8".parse().ok(),
        ..Focus::default()
    };
    let all = [(sender, true), (inbound, true), (outbound, true)];
    look(&mut world, &all, minutes(10));
    world.accept(0, "late@from.example", &["b@there.example"]);
    world.accept(0, "soon@from.example", &["b@other.example"]);
    world.run_for(minutes(2));
    let by_sender = traced(&world, 0b001);
    let inbound = words(&by_sender, "in");
    assert_eq!(position(&inbound, "220 "), 0);
    for once in ["EHLO ", "MAIL FROM:<late", "RCPT TO:<b@there", "DATA"] {
        let count = inbound.iter().filter(|word| word.starts_with(once)).count();
        assert_eq!(count, 1, "{once}: {inbound:#?}");
    }
    assert!(words(&by_sender, "out").iter().any(|word| word.starts_with("MAIL FROM:<late")));
    assert!(!serde_json::to_string(&by_sender).unwrap().contains("soon@"));
    let of_clients = traced(&world, 0b010);
    assert!(words(&of_clients, "out").is_empty());
    assert_eq!(words(&of_clients, "in").iter().filter(|word| *word == "DATA").count(), 2);
    let of_host = traced(&world, 0b100);
    assert!(words(&of_host, "in").is_empty());
    assert_eq!(words(&of_host, "out").iter().filter(|word| *word == "DATA").count(), 1);
    world.assert_over();
}

/// A session that is met by nobody for long keeps a little; whoever meets it at
/// last is told that something was left out.
#[test]
fn what_is_kept_of_a_session_is_bounded_and_what_is_not_is_counted() {
    let mut world = world(RELAY, Host::new().next(Stage::Connect, Act::Drop, 1));
    let focus = Focus { sender: Some("a@from.example".into()), ..domain("last.example") };
    let watches = look(&mut world, &[(focus, true)], minutes(10));
    let many: Vec<String> =
        (0..300).map(|n| format!("{}{n}@first.example", "x".repeat(40))).collect();
    let mut to: Vec<&str> = many.iter().map(String::as_str).collect();
    to.push("b@last.example");
    world.submit(0, "a@from.example", &to, "x");
    world.run_for(minutes(2));
    let lines = traced(&world, watches.slots());
    let kept: usize = lines.iter().map(|line| line.to_string().len()).sum();
    let lost = lines.iter().find(|line| line["event"] == "lines-lost");
    assert!(lost.is_some_and(|line| line["lines"].as_u64().unwrap() > 100), "{lost:?}");
    assert!(kept < 200_000, "{kept}");
    assert!(words(&lines, "in").iter().any(|word| word == "DATA"));
    world.assert_over();
}
