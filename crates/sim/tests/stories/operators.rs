//! What operators do to waiting mail, and the end of the program.

use control::{QueueAct, Request};

use crate::stories_support::{HOST, SENDER, world};
use sim::{Act, Host, Stage, World, minutes, seconds};

const SLOW: &str = "[delivery]\nretry = [\"1h\"]\njitter = \"0%\"\nlifetime = \"5d\"\n\
                    delay_notice = \"none\"\n";

/// One message that was put off for an hour.
fn deferred() -> (World, base::MessageId) {
    let mut world = world(SLOW, Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 1));
    let id = world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(5));
    (world, id)
}

/// Shows: S2.9, A35
#[test]
fn a_flush_tries_at_once() {
    let (mut world, id) = deferred();
    assert_eq!(world.act(QueueAct::Flush, Some(id)), 1);
    world.run_for(seconds(5));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// A site that is down is flushed too: one command, and everything goes.
///
/// Shows: A35
#[test]
fn a_flush_wakes_a_dead_site() {
    let mut world = world(SLOW, Host::new().always(Stage::Connect, Act::Drop));
    for n in 0..20 {
        world.submit(0, "a@from.example", &[&format!("{n}@there.example")], "x");
    }
    world.run_for(minutes(1));
    world.at(HOST).mend();
    assert_eq!(world.act(QueueAct::Flush, None), 20);
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).got.len(), 20);
    world.assert_over();
}

/// Held mail stays, through restarts too, until it is released.
///
/// Shows: S0.9, A36
#[test]
fn held_mail_waits_for_its_release() {
    let (mut world, id) = deferred();
    assert_eq!(world.act(QueueAct::Hold, Some(id)), 1);
    world.run_for(minutes(120));
    world.crash(1);
    world.run_for(minutes(120));
    assert_eq!(world.rows()[0]["state"], "held");
    assert_eq!(world.at(HOST).got.len(), 0);
    assert_eq!(world.act(QueueAct::Release, Some(id)), 1);
    world.run_for(seconds(5));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// A hold that meets an attempt under way: what comes back from it is held,
/// and stays so through a restart.
#[test]
fn a_hold_during_an_attempt_holds_what_comes_back() {
    let busy = Act::Say(451, "later");
    let mut world = world(SLOW, Host::new().always(Stage::Dot, busy).slow(10));
    let id = world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(std::time::Duration::from_millis(20));
    assert_eq!(world.rows()[0]["state"], "in-flight");
    assert_eq!(world.act(QueueAct::Hold, Some(id)), 1);
    world.run_for(minutes(1));
    assert_eq!(world.rows()[0]["state"], "held");
    world.crash(1);
    world.run_for(minutes(1));
    assert_eq!(world.rows()[0]["state"], "held");
    world.at(HOST).mend();
    world.act(QueueAct::Release, Some(id));
    world.run_for(minutes(1));
    world.assert_over();
}

/// Removed mail is gone, without a report, and stays gone.
///
/// Shows: S2.10
#[test]
fn removed_mail_is_gone_without_a_word() {
    let (mut world, id) = deferred();
    assert_eq!(world.act(QueueAct::Remove, Some(id)), 1);
    world.run_for(seconds(5));
    assert_eq!(world.logged("removed").len(), 1);
    assert_eq!(world.command(Request::QueueShow(id)).status, 404);
    world.crash(1);
    world.run_for(minutes(120));
    assert_eq!(world.at(HOST).got.len() + world.at(SENDER).got.len(), 0);
    world.assert_over();
}

/// A removal during an attempt takes effect when the attempt has failed.
#[test]
fn a_removal_during_an_attempt_waits_for_its_end() {
    let mut world = world(SLOW, Host::new().always(Stage::Dot, Act::Say(451, "x")).slow(10));
    let id = world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(std::time::Duration::from_millis(20));
    world.act(QueueAct::Remove, Some(id));
    world.run_for(minutes(1));
    assert_eq!(world.logged("removed").len(), 1);
    world.assert_over();
}

/// Orders by filter, in a queue of two domains: counted first, then given back
/// to the sender with the operator's reason, purged, or sent another way.
///
/// Shows: S0.9, S2.10, A32, A33
#[test]
fn bulk_orders_meet_what_the_filter_says() {
    let config = format!("{SLOW}[[route]]\nmatch = \"there.example\"\n");
    let mut world = world(&config, Host::new().always(Stage::Rcpt, Act::Say(451, "later")));
    for n in 0..30 {
        world.accept(0, "a@from.example", &[&format!("b{n}@there.example")]);
    }
    world.run_for(minutes(10));
    let mut ask = |act: &str, body: &str| {
        let path = format!("/v1/queue/{act}");
        let answer = world.command(Request::parse("POST", &path, body.as_bytes()).unwrap());
        (answer.status, answer.body["recipients"].as_u64())
    };
    assert_eq!(ask("bounce", r#"{"older": "1h"}"#), (200, Some(0)), "too young");
    assert_eq!(ask("bounce", r#"{"route": "default"}"#), (200, Some(0)), "another route");
    let reason = r#"{"recipient": "b1@there.example", "reason": "moved away"}"#;
    assert_eq!(ask("bounce", reason), (200, Some(1)));
    assert_eq!(ask("remove", r#"{"route": "there.example", "dry_run": true}"#), (200, Some(29)));
    assert_eq!(
        ask("remove", r#"{"recipient": "b2@there.example", "reason": "spam"}"#),
        (200, Some(1))
    );
    assert_eq!(ask("reroute", r#"{"all": true, "to": "nowhere.example"}"#).0, 404);
    assert_eq!(
        ask("reroute", r#"{"all": true, "to": "default", "dry_run": true}"#),
        (200, Some(28))
    );
    assert_eq!(ask("reroute", r#"{"all": true, "to": "default"}"#), (200, Some(28)));
    assert_eq!(
        ask("reroute", r#"{"all": true, "to": "default"}"#),
        (200, Some(0)),
        "they are there"
    );
    assert_eq!(ask("remove", r#"{"route": "default"}"#), (200, Some(28)));
    world.run_for(minutes(1));
    let reports = &world.at(SENDER).got;
    assert_eq!(reports.len(), 1, "purged mail brings no report");
    let text = format!("{reports:?}");
    assert!(text.contains("returned by command: moved away"), "{text}");
    assert_eq!(world.logged("removed").len(), 29);
    world.assert_over();
}

/// `show` tells the whole life of a message, `list` the top of the queue.
///
/// Shows: A38
#[test]
fn a_message_can_be_looked_at() {
    let (mut world, id) = deferred();
    let life = world.command(Request::QueueShow(id)).body;
    assert_eq!(life["sender"], "a@from.example");
    assert_eq!(life["recipients"][0]["recipient"], "b@there.example");
    assert_eq!(life["recipients"][0]["attempts"], 1);
    assert!(life["recipients"][0]["last_answer"].as_str().unwrap().contains("451"), "{life}");
    let filter = control::Filter { all: true, ..control::Filter::default() };
    let list = Request::QueueList { by: control::By::Site, filter, limit: 20 };
    let sites = world.command(list).body;
    assert_eq!(sites["sites"][0]["name"], "mx:mx.there.example");
    assert_eq!(sites["sites"][0]["deferred"], 1);
    world.act(QueueAct::Remove, None);
    world.assert_over();
}

/// Drain: clients are sent away, what is under way ends, waiting mail stays in
/// the log, and the shard says so once.
///
/// Covers: B33
#[test]
fn a_drain_finishes_what_is_under_way() {
    let mut world = world(SLOW, Host::new().slow(20));
    world.names.fail("later.example", true);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.accept(0, "a@from.example", &["c@later.example"]);
    world.session(0, [b"EHLO idle.example\r\n".to_vec()].into());
    world.run_for(std::time::Duration::from_millis(10));
    world.tell(0, seconds(0), shard::event::Event::Drain);
    world.run_until("drained", |world| !world.drained.is_empty());
    assert_eq!(world.at(HOST).got.len(), 1, "what was under way arrived");
    assert_eq!(world.network.open(), 0);
    world.run_for(minutes(10));
    assert_eq!(world.drained.len(), 1);
    let report = world.power_cut(1, |_, _| 0);
    assert_eq!(report.messages, 1);
    assert_eq!(report.in_doubt, []);
    world.act(QueueAct::Remove, None);
    world.assert_over();
}

/// A list by site does not pretend to have looked at single messages.
#[test]
fn a_list_by_site_takes_no_condition_on_messages() {
    let mut world = crate::stories_support::world("", sim::Host::new());
    let list = |by, filter: control::Filter| control::Request::QueueList { by, filter, limit: 5 };
    let held = control::Filter { state: Some(control::State::Held), ..Default::default() };
    let refused = world.command(list(control::By::Site, held.clone()));
    assert_eq!(refused.status, 400);
    assert!(refused.body["error"].as_str().unwrap().contains("by=message"));
    assert_eq!(world.command(list(control::By::Message, held)).status, 200);
}

/// `explain` names route, origin of settings, hosts, and the first thing that
/// keeps mail waiting, each time for another reason; it asks nobody.
///
/// Shows: S3.22
#[test]
fn an_address_is_explained_without_asking_anybody() {
    let config = format!("{SLOW}[[route]]\nmatch = \"there.example\"\nconnections = 3\n");
    let mut world = world(&config, Host::new().always(Stage::Connect, Act::Drop));
    let explain = |world: &mut World, address: &str| {
        let answer = world.command(Request::Explain(mail::Address::parse(address, false).unwrap()));
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body
    };
    let fresh = explain(&mut world, "b@there.example");
    assert_eq!(fresh["policy"]["route"], "there.example");
    assert_eq!((&fresh["limits"]["connections"], fresh["site"].as_str()), (&3.into(), None));
    assert!(fresh["blocker"].is_null() && fresh["not_before"].is_null(), "{fresh}");
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.names.fail("broken.example", true);
    world.accept(0, "a@from.example", &["b@broken.example"]);
    world.run_for(seconds(40));
    let down = explain(&mut world, "other@there.example");
    assert!(down["blocker"].as_str().unwrap().starts_with("no host answers"), "{down}");
    assert!(down["not_before"].is_string());
    assert_eq!(down["hosts"][0]["name"], "mx.there.example");
    assert!(down["hosts"][0]["down"].is_string());
    let broken = explain(&mut world, "b@broken.example");
    assert!(broken["blocker"].as_str().unwrap().contains("look-up failed"), "{broken}");
    world.act(QueueAct::Remove, None);
    world.run_for(seconds(5));
    world.assert_over();
}

/// Whichever shard wrote a message and whichever delivers it: the list and the
/// single message show what the peer said last.
///
/// Shows: S2.20
#[test]
fn the_last_answer_is_shown_whoever_wrote_the_mail() {
    let mut world = World::new(2, SLOW);
    world.names.exchanger("there.example", 10, "mx.there.example", HOST);
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    world.host(HOST, Host::new().always(Stage::Rcpt, Act::Say(451, "come later")));
    let ids: Vec<_> = (0..6)
        .map(|n| world.accept(n % 2, "a@from.example", &[&format!("b{n}@there.example")]))
        .collect();
    world.run_for(seconds(10));
    let rows = world.rows();
    assert_eq!(rows.len(), 6);
    let says = |row: &serde_json::Value| {
        row["last_answer"].as_str().is_some_and(|text| text.contains("come later"))
    };
    assert!(rows.iter().all(says), "{rows:#?}");
    for id in ids {
        let shown = world.command(Request::QueueShow(id)).body;
        assert!(says(&shown["waiting"][0]), "{shown:#}");
    }
}

/// Mail that an operator sends another way goes there, whether cleaning has
/// moved it before the order or moves it behind that.
#[test]
fn rerouted_mail_that_was_moved_goes_where_it_was_sent() {
    const OTHER: [u8; 4] = [198, 51, 100, 8];
    let config = "[delivery]\nmode = \"relay\"\nhosts = [\"198.51.100.7:25\"]\n\
                  delay_notice = \"none\"\n[[route]]\nmatch = \"there.example\"\n\
                  mode = \"relay\"\nhosts = [\"198.51.100.8:25\"]\nretry = [\"5m\"]\n\
                  jitter = \"0%\"\n";
    for moved_before in [true, false] {
        let mut world = world(config, Host::new());
        world.host(OTHER, Host::new().always(Stage::Rcpt, Act::Say(451, "later")));
        let id = world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(10));
        let clean = |world: &mut World| {
            let body = format!("{}\n", "x".repeat(900)).repeat(100);
            for _ in 0..60 {
                world.submit(0, "a@from.example", &["c@from.example"], &body);
                world.run_for(seconds(1));
            }
            assert!(!world.medium.list().contains(&id.segment), "it must have been moved");
        };
        if moved_before {
            clean(&mut world);
        }
        let body = br#"{"recipient": "b@there.example", "to": "default"}"#;
        let to = Request::parse("POST", "/v1/queue/reroute", body);
        assert_eq!(world.command(to.unwrap()).body["recipients"], 1);
        if !moved_before {
            clean(&mut world);
        }
        world.run_for(minutes(5));
        let there = world.at(HOST).delivered_to().contains(&"b@there.example");
        assert!(there, "{moved_before}");
        world.assert_over();
    }
}

/// What keeps a site that pauses is said as it is: it used to be the limit of
/// connections where it was the rate, and the rate where this machine was short
/// of something.
#[test]
fn an_explanation_names_what_a_paused_site_waits_for() {
    let address = mail::Address::parse("b@there.example", false).unwrap();
    let blocker = |world: &mut World| {
        let answer = world.command(Request::Explain(address.clone()));
        answer.body["blocker"].as_str().unwrap_or_default().to_owned()
    };
    let mut world = world("[delivery]\nrate = \"2/1h\"\n", Host::new());
    for _ in 0..5 {
        world.accept(0, "a@from.example", &["b@there.example"]);
    }
    world.run_for(minutes(1));
    assert_eq!(blocker(&mut world), "the rate 2/1h is used up");

    let mut world = crate::stories_support::world("", Host::new());
    world.network.no_descriptors = true;
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(1));
    let words = blocker(&mut world);
    assert!(words.starts_with("this machine lacked the means"), "{words}");
    world.network.no_descriptors = false;
    world.run_for(seconds(10));
    world.assert_over();
}
