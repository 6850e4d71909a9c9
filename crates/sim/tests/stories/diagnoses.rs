//! Diagnoses: the way of mail walked up to MAIL, with whatever blocks it; and
//! that a diagnosis costs waiting mail nothing.

use std::sync::Arc;

use control::{Request, Scope, Suspension, Suspensions};
use serde_json::Value;
use shard::event::Event;
use sim::{Act, Host, Stage, World, minutes, seconds};
use smtp::Extension;

use crate::stories_support::{HOST, world};

const MX: &str = "[delivery]\nretry = [\"1h\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n";
const SECOND: [u8; 4] = [198, 51, 100, 8];

fn request(address: &str) -> Request {
    Request::Diagnose(mail::Address::parse(address, false).unwrap())
}

fn diagnosed(world: &mut World, address: &str) -> Value {
    let answer = world.command(request(address));
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body
}

fn steps(body: &Value) -> Vec<&str> {
    body["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

fn blocked_at(config: &str, host: Host) -> (String, String) {
    let mut world = world(config, host);
    let body = diagnosed(&mut world, "b@there.example");
    let blocker = &body["blocker"];
    let found = (blocker["step"].as_str(), blocker["said"].as_str());
    let (Some(step), Some(said)) = found else { panic!("something blocks: {body}") };
    let found = (step.to_owned(), said.to_owned());
    assert!(world.at(HOST).got.is_empty());
    world.assert_over();
    found
}

/// Every step in order, each with its time, and no mail at the end of it.
///
/// Shows: S3.22
#[test]
fn a_good_way_is_walked_up_to_mail() {
    let mut world = world(MX, Host::new().with_tls());
    let body = diagnosed(&mut world, "b@there.example");
    assert!(body["blocker"].is_null(), "{body}");
    let before = ["route", "suspensions", "queue", "look-up", "limits", "connect"];
    let session = ["greeting", "ehlo", "starttls", "tls", "ehlo", "quit"];
    assert_eq!(steps(&body), [&before[..], &session[..]].concat(), "{body}");
    let look_up = &body["steps"][3];
    assert_eq!(look_up["answer"][0]["name"], "mx.there.example");
    assert!(look_up["said"].as_str().unwrap().contains("answered just now"), "{look_up}");
    let again = diagnosed(&mut world, "b@there.example");
    assert!(again["steps"][3]["said"].as_str().unwrap().contains("in the cache"), "{again}");
    assert!(world.at(HOST).got.is_empty(), "no transaction was begun");
    world.assert_over();
}

/// Each thing that can block is named with its step.
///
/// Shows: S3.22
#[test]
fn the_first_blocker_is_named() {
    let required = format!("{MX}tls = \"required\"\n");
    let refused = Host::new().always(Stage::Connect, Act::Drop);
    let silent = Host::new().always(Stage::Greeting, Act::Stall);
    let rude = Host::new().always(Stage::Greeting, Act::Say(554, "go away"));
    let babbling = Host::new().always(Stage::Ehlo, Act::Babble);
    let bad = Host::new().with_tls().always(Stage::Handshake, Act::Drop);
    for (config, host, step, said) in [
        (MX, refused, "connect", "refused"),
        (MX, silent, "greeting", "timed out"),
        (MX, rude, "greeting", "554 go away"),
        (MX, babbling, "ehlo", "while we waited for EHLO"),
        (&*required, Host::new().without(Extension::StartTls), "starttls", "TLS is required"),
        (&*required, bad, "tls", "TLS handshake"),
    ] {
        let found = blocked_at(config, host);
        assert_eq!(found.0, step, "{found:?}");
        assert!(found.1.contains(said), "{found:?}");
    }
}

/// Shows: S3.22
#[test]
fn names_that_lead_nowhere_are_named() {
    let mut world = world(MX, Host::new());
    world.names.null_mx("none.example");
    world.names.fail("broken.example", true);
    world.names.exchanger("local.example", 10, "mx.local.example", [127, 0, 0, 1]);
    for (address, step, said) in [
        ("b@none.example", "look-up", "null MX"),
        ("b@nowhere.example", "look-up", "does not exist"),
        ("b@broken.example", "look-up", "no name server could tell"),
        ("b@local.example", "address", "never dialled on a stranger's word"),
    ] {
        let body = diagnosed(&mut world, address);
        assert_eq!(body["blocker"]["step"], step, "{body}");
        assert!(body["blocker"]["said"].as_str().unwrap().contains(said), "{body}");
    }
    world.assert_over();
}

/// A stopped domain is named as blocked, and its hosts are shown all the same:
/// they may be why it was stopped.
///
/// Shows: S3.22
#[test]
fn a_suspension_is_the_first_blocker() {
    let mut world = world(MX, Host::new());
    let scope = Scope::new("domain", "there.example").unwrap();
    let order = Suspension { scope, reason: "a test".into(), since: world.now.wall, until: None };
    let mut list = Suspensions::default();
    list.suspend(order).unwrap();
    world.tell(0, seconds(0), Event::Suspensions(Arc::new(list)));
    world.run_for(seconds(1));
    let body = diagnosed(&mut world, "b@there.example");
    assert_eq!(body["blocker"]["step"], "suspensions", "{body}");
    assert!(steps(&body).contains(&"ehlo"), "{body}");
    world.assert_over();
}

/// One host that will not do is told of, and blocks nothing where the next one
/// takes mail.
#[test]
fn a_second_host_makes_the_way_good() {
    let mut world = world(MX, Host::new().always(Stage::Connect, Act::Drop));
    world.names.exchanger("there.example", 20, "mx2.there.example", SECOND);
    world.host(SECOND, Host::new());
    let body = diagnosed(&mut world, "b@there.example");
    assert!(body["blocker"].is_null(), "{body}");
    let failed = |step: &&Value| step["result"] == "failed";
    let failed: Vec<_> = body["steps"].as_array().unwrap().iter().filter(failed).collect();
    assert_eq!(failed.len(), 1, "{body}");
    assert_eq!(failed[0]["host"], "mx.there.example [198.51.100.7]");
    world.assert_over();
}

/// A dead host that is diagnosed again and again while its mail waits: nothing
/// is learned against it, no attempt is counted, and the mail goes at its time.
///
/// Shows: S3.22
#[test]
fn a_diagnosis_costs_waiting_mail_nothing() {
    let mut world = world(MX, Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(5));
    world.at(HOST).rule(Stage::Connect, Act::Drop, 3);
    for _ in 0..3 {
        let body = diagnosed(&mut world, "other@there.example");
        assert_eq!(body["blocker"]["step"], "connect", "{body}");
    }
    let rows = world.rows();
    assert_eq!(
        (rows[0]["attempts"].as_u64(), rows[0]["state"].as_str()),
        (Some(1), Some("deferred"))
    );
    let hosts = world.command(Request::HostsList(10));
    let down = |row: &Value| !row["down"].is_null();
    assert!(!hosts.body["hosts"].as_array().unwrap().iter().any(down), "{:?}", hosts.body);
    world.run_for(minutes(61));
    assert_eq!(world.at(HOST).got.len(), 1, "at its time");
    world.assert_over();
}

/// One at a time: whoever asks meanwhile is told so, and a host that says
/// nothing ends with the step's deadline, not with delivery's.
#[test]
fn a_second_diagnosis_is_told_to_wait() {
    let mut world = world(MX, Host::new().next(Stage::Greeting, Act::Stall, 1));
    let began = world.now.mono;
    world.tell(0, seconds(0), Event::Command { request: 0, command: request("b@there.example") });
    world.run_for(seconds(2));
    let answer = world.command(request("c@there.example"));
    assert_eq!(answer.status, 409, "{:?}", answer.body);
    world.run_for(seconds(20));
    let body = diagnosed(&mut world, "b@there.example");
    assert!(body["blocker"].is_null(), "{body}");
    assert!(world.now.mono.since(began) < minutes(1));
    world.assert_over();
}

/// The limit of a site holds for diagnoses too: with its only connection busy
/// they say so, with it idle they take it over.
///
/// Shows: S3.22
#[test]
fn limits_hold_for_diagnoses() {
    let config = format!("{MX}connections = 1\n");
    let mut world = world(&config, Host::new().next(Stage::Mail, Act::Stall, 1));
    world.submit(0, "a@from.example", &["b@there.example"], "x");
    world.run_for(seconds(5));
    let busy = diagnosed(&mut world, "c@there.example");
    assert_eq!(busy["blocker"]["step"], "limits", "{busy}");
    assert_eq!(world.network.open(), 1);
    world.run_for(minutes(70));
    world.accept(0, "a@from.example", &["d@there.example"]);
    world.run_for(seconds(1));
    let idle = diagnosed(&mut world, "c@there.example");
    assert!(idle["blocker"].is_null(), "{idle}");
    world.assert_over();
}

/// Several shards: the owner of the domain answers, whichever it is.
#[test]
fn the_owner_answers_for_all_shards() {
    let mut world = World::new(4, MX);
    for n in 0..8u8 {
        let domain = format!("d{n}.example");
        world.names.exchanger(&domain, 10, &format!("mx.{domain}"), [198, 51, 100, 10 + n]);
        world.host([198, 51, 100, 10 + n], Host::new());
        let body = diagnosed(&mut world, &format!("b@{domain}"));
        assert!(body["blocker"].is_null(), "{body}");
    }
    world.assert_over();
}

/// A stop in the middle ends the diagnosis with an answer, and the daemon ends.
#[test]
fn a_stop_ends_a_diagnosis() {
    let mut world = world(MX, Host::new().always(Stage::Greeting, Act::Stall));
    world.tell(0, seconds(0), Event::Command { request: 0, command: request("b@there.example") });
    world.run_for(seconds(2));
    assert_eq!(world.network.open(), 1);
    world.tell(0, seconds(0), Event::Drain);
    world.run_for(seconds(2));
    assert_eq!(world.network.open(), 0);
}

/// What keeps mail of its own way back: the windows it waits for, and a log-in
/// that a diagnosis does not hold.
#[test]
fn a_closed_window_and_a_log_in_at_a_pop3_server_are_named() {
    let shut = "[delivery]\nschedule = { zone = \"UTC\", windows = [\"05:00-06:00\"] }\n";
    let (step, _) = blocked_at(shut, Host::new());
    assert_eq!(step, "schedule");
    let open = "[delivery]\nschedule = { zone = \"UTC\", windows = [\"00:00-06:00\"] }\n\
                mode = \"relay\"\nhosts = [{ host = \"198.51.100.7\", port = 25, \
                pop = { user = \"tim\", password_file = \"secret\" } }]\n";
    let mut world = world(open, Host::new());
    let body = diagnosed(&mut world, "b@there.example");
    let all = steps(&body);
    assert!(all.contains(&"schedule") && all.contains(&"pop"), "{body}");
}
