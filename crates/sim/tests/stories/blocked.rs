//! Port 25 is blocked on the way out, as many providers do it: every exchanger
//! is silent. Nobody's mail pays for that, and nobody's site.

use std::net::{IpAddr, Ipv4Addr};

use control::{Request, Why};
use mail::Address;
use serde_json::Value;
use sim::{Act, Host, Stage, World, minutes, seconds};

const CONFIG: &str = "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\nlifetime = \"5d\"\n\
                      delay_notice = \"none\"\nmax_attempts = 2\n";
/// Silent sites from which on everything looks blocked.
const LIMIT: usize = 5;

fn at(number: u8) -> [u8; 4] {
    [198, 51, 100, 10 + number]
}

/// So many domains, each with an exchanger of its own that does the same.
fn sites(shards: u16, config: &str, count: u8, host: fn() -> Host) -> World {
    let mut world = World::new(shards, config);
    for number in 0..count {
        let name = format!("mx.d{number}.example");
        world.names.exchanger(&format!("d{number}.example"), 10, &name, at(number));
        world.host(at(number), host());
    }
    world
}

fn silent() -> Host {
    Host::new().always(Stage::Connect, Act::Stall)
}

fn submit(world: &mut World, number: u8, messages: usize) {
    for n in 0..messages {
        let shard = n % world.shards.len();
        world.submit(shard, "", &[&format!("{n}@d{number}.example")], "x");
    }
}

fn silent_sites(world: &mut World) -> u64 {
    world.command(Request::Status).body["silent_sites"].as_u64().unwrap()
}

fn why(world: &mut World, to: &str) -> Value {
    let asked = Why::Recipient(Address::parse(to, true).unwrap());
    let answer = world.command(Request::Why { asked, limit: 10 });
    answer.body["recipients"][0].clone()
}

/// Thirty sites, four shards, a day: what was tried before it was clear is put
/// off as ever; all else waits without an attempt, nothing is returned, a few
/// connections a minute find out, and `why` says what it is. Then the provider
/// opens the port, and everything goes out.
///
/// Shows: S0.11
#[test]
fn a_blocked_port_costs_no_mail_an_attempt_and_no_site_its_name() {
    let mut world = sites(4, CONFIG, 30, silent);
    for number in 0..30 {
        submit(&mut world, number, 3);
    }
    world.run_for(minutes(2));
    let rows = world.rows();
    let untried = rows.iter().filter(|row| row["attempts"] == 0);
    let causes: Vec<Value> =
        untried.map(|row| why(&mut world, row["recipient"].as_str().unwrap())).collect();
    let blocked: Vec<_> = causes.iter().filter(|row| row["cause"] == "port-blocked").collect();
    assert!(blocked.len() > 30, "{} of {}", blocked.len(), causes.len());
    let because = blocked[0]["because"].as_str().unwrap();
    assert!(because.starts_with("port 25 looks blocked at this machine: 30 sites"), "{because}");
    assert_eq!(silent_sites(&mut world), 30);
    let dialled = world.network.dialled.len();
    world.run_for(minutes(24 * 60));
    let dials = world.network.dialled.len() - dialled;
    // Every shard tries once in 30 s.
    assert!((6_000..4 * 2 * 24 * 60 + 100).contains(&dials), "{dials} dials in a day");
    // What one shard finds the others know a moment later; until then each may
    // take a few for themselves, with up to three connections each.
    let few = 4 * (LIMIT - 1);
    assert!(world.logged("site-down").len() <= few, "{}", world.logged("site-down").len());
    assert!(world.logged("deferred").len() <= 3 * few, "{}", world.logged("deferred").len());
    for event in ["failed", "expired", "report"] {
        assert_eq!(world.logged(event).len(), 0, "{event}");
    }
    let told = world.logged("shortage");
    assert!(told.iter().any(|line| line["reason"].as_str().unwrap().contains("looks blocked")));
    for number in 0..30 {
        world.at(at(number)).mend();
    }
    world.run_for(minutes(6));
    assert_eq!((world.logged("delivered").len(), silent_sites(&mut world)), (90, 0));
    world.assert_over();
}

/// As long as others answer, a site that does not is down for itself, however
/// many there are.
#[test]
fn sites_are_silent_for_themselves_while_others_answer() {
    let mut world = sites(2, CONFIG, 12, silent);
    world.at(at(0)).mend();
    world.at(at(1)).mend();
    (0..12).for_each(|number| submit(&mut world, number, 2));
    for round in 0..60 {
        submit(&mut world, round % 2, 1);
        world.run_for(seconds(20));
        assert!((silent_sites(&mut world) as usize) < LIMIT, "round {round}");
    }
    assert_eq!(world.logged("site-down").len(), 10);
    assert_eq!(world.logged("shortage").len(), 0);
    (0..12).for_each(|number| world.at(at(number)).mend());
    world.run_for(minutes(12));
    world.assert_over();
}

/// A machine with little mail, all of it to sites that are gone, may think
/// that it is blocked: what comes for another site is tried at once all the
/// same, and its answer ends it.
#[test]
fn a_site_that_was_not_tried_yet_waits_for_nobody() {
    let mut world = sites(2, CONFIG, 9, silent);
    world.at(at(8)).mend();
    (0..8).for_each(|number| submit(&mut world, number, 1));
    world.run_for(minutes(2));
    assert_eq!(silent_sites(&mut world), 8);
    submit(&mut world, 8, 1);
    world.run_for(seconds(1));
    assert_eq!((world.at(at(8)).got.len(), silent_sites(&mut world)), (1, 0));
    world.run_for(minutes(60));
    world.assert_over();
}

/// A lifetime is a lifetime: mail whose time is over goes back, and its sender
/// reads what it was.
#[test]
fn a_lifetime_ends_behind_a_blocked_port_too() {
    let config = CONFIG.replace("5d", "1h");
    let mut world = sites(1, &config, 8, silent);
    world.names.exchanger("from.example", 10, "mx.from.example", at(99));
    world.host(at(99), silent());
    (0..8).for_each(|number| submit(&mut world, number, 1));
    world.run_for(minutes(10));
    world.submit(0, "a@from.example", &["b@d7.example"], "x");
    world.run_for(minutes(70));
    let expired = world.logged("expired");
    let line = expired.iter().find(|line| line["to"] == "b@d7.example").unwrap();
    assert!(line["reply"].as_str().unwrap().starts_with("port 25 looks blocked"), "{line}");
    (0..8).chain([99]).for_each(|number| world.at(at(number)).mend());
    world.run_for(minutes(10));
    assert_eq!(world.at(at(99)).got.len(), 1, "the report");
    world.assert_over();
}

/// A refusal is an answer: where the port is open, and nobody listens at five
/// places, nothing is blocked.
#[test]
fn who_refuses_has_answered() {
    let refuses = || Host::new().always(Stage::Connect, Act::Drop);
    let mut world = sites(1, CONFIG, 9, refuses);
    (0..9).for_each(|number| submit(&mut world, number, 1));
    world.run_for(minutes(2));
    assert_eq!(silent_sites(&mut world), 0);
    assert_eq!(world.logged("site-down").len(), 9);
    world.run_for(minutes(30));
    world.assert_over();
}

/// A route by relays has no part in it: they may be silent together.
#[test]
fn relays_are_not_looked_at() {
    let address = |number| IpAddr::from(Ipv4Addr::from(at(number)));
    let hosts: Vec<String> = (0..8).map(|number| format!("\"{}\"", address(number))).collect();
    let mut config = String::from(CONFIG);
    for (number, host) in hosts.iter().enumerate() {
        let route = format!("[[route]]\nmatch = \"d{number}.example\"\nfallback = false\n");
        config += &format!("{route}mode = \"relay\"\nhosts = [{host}]\n");
    }
    let mut world = sites(1, &config, 8, silent);
    (0..8).for_each(|number| submit(&mut world, number, 1));
    world.run_for(minutes(5));
    assert_eq!((silent_sites(&mut world), world.logged("site-down").len()), (0, 8));
    (0..8).for_each(|number| world.at(at(number)).mend());
    world.run_for(minutes(10));
    world.assert_over();
}
