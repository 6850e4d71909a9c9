//! Mail that has waited long is read ahead of need, so that no page fault stops
//! a shard; what cannot be read is held and told, and stops nobody else.

use crate::stories_support::{HOST, SENDER, world};
use control::{QueueAct, Request};
use sim::{Act, Host, LATENCY, Stage, World, minutes, seconds};

const RETRY: &str = "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n";

#[test]
fn old_mail_is_read_before_it_is_tried_and_fresh_mail_is_not() {
    let mut world = world(RETRY, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.prefetches, 0);
    world.run_for(minutes(6));
    assert_eq!(world.prefetches, 1);
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// The next hop hangs up while the message is being read: the mail is neither
/// lost nor sent twice.
#[test]
fn a_connection_may_break_while_its_message_is_read() {
    let mut world = world(RETRY, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_until("the message is being read", |world| world.prefetches == 1);
    world.hang_up(HOST);
    world.run_for(minutes(20));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// Covers: B15
#[test]
fn what_cannot_be_read_is_held_and_others_go_on() {
    let mut world = world(RETRY, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 2));
    let bad = world.accept(0, "a@from.example", &["b@there.example"]);
    world.accept(0, "a@from.example", &["c@there.example"]);
    world.failing_prefetches = 1;
    world.run_for(minutes(6));
    assert_eq!(world.at(HOST).delivered_to(), ["c@there.example"]);
    assert_eq!(world.logged("quarantined").len(), 1);
    let rows = world.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["id"], bad.to_string());
    assert_eq!(rows[0]["state"], "held");
}

/// The segment is cleaned and retired while the message is being read from it:
/// the message stands elsewhere by then, and goes out from there.
#[test]
fn what_was_moved_while_it_was_read_is_no_damage() {
    for ok in [false, true] {
        let mut world = world(RETRY, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 1));
        let id = world.accept(0, "a@from.example", &["b@there.example"]);
        world.prefetch_takes = minutes(2);
        world.failing_prefetches = u32::from(!ok);
        world.run_until("the message is being read", |world| world.prefetches == 1);
        world.prefetch_takes = LATENCY;
        let body = format!("{}\n", "x".repeat(900)).repeat(100);
        for _ in 0..60 {
            world.submit(0, "a@from.example", &["c@from.example"], &body);
            world.run_for(seconds(1));
        }
        assert!(!world.medium.list().contains(&id.segment), "it must be gone");
        assert_eq!(world.at(HOST).got.len(), 0, "it is still being read");
        world.run_for(minutes(5));
        assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"]);
        assert!(world.logged("quarantined").is_empty());
        world.assert_over();
    }
}

/// Mail that waits long is what cleaning moves, and whoever delivers it for
/// another shard learns of that when its turn comes. It used to go to the end
/// of the line then, behind all that had come later.
#[test]
fn what_was_moved_keeps_its_turn() {
    let config = "[[route]]\nmatch = \"there.example\"\nrate = \"1/10m\"\n";
    let mut world = World::new(2, config);
    world.names.exchanger("there.example", 10, "mx.there.example", HOST);
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    world.host(HOST, Host::new());
    let writer = 1 - usize::from(control::owner("there.example", 2).0);
    let accept = |world: &mut World, n: usize| {
        world.accept(writer, "a@from.example", &[&format!("b{n}@there.example")])
    };
    let first: Vec<_> = (0..4).map(|n| accept(&mut world, n)).collect();
    let body = format!("{}\n", "x".repeat(900)).repeat(100);
    for _ in 0..60 {
        world.submit(writer, "a@from.example", &["c@from.example"], &body);
        world.run_for(seconds(1));
    }
    assert!(!world.medium.list().contains(&first[1].segment), "it must be gone");
    (4..8).for_each(|n| assert_ne!(accept(&mut world, n), first[0]));
    world.run_for(minutes(120));
    let came: Vec<String> =
        world.at(HOST).got.iter().map(|got| got.recipients[0][..2].to_owned()).collect();
    // The fourth went while the writer was asked where the others are.
    assert_eq!(came, ["b0", "b4", "b1", "b2", "b3", "b5", "b6", "b7"]);
}

/// An operator's word comes while the message is being read and moved: it holds
/// for what the writer hands out anew, too.
#[test]
fn an_order_holds_for_mail_that_is_handed_out_anew() {
    for act in [QueueAct::Hold, QueueAct::Remove] {
        let mut world = world(RETRY, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 1));
        let id = world.accept(0, "a@from.example", &["b@there.example"]);
        world.prefetch_takes = minutes(2);
        world.run_until("the message is being read", |world| world.prefetches == 1);
        world.prefetch_takes = LATENCY;
        assert_eq!(world.act(act, Some(id)), 1);
        let body = format!("{}\n", "x".repeat(900)).repeat(100);
        for _ in 0..60 {
            world.submit(0, "a@from.example", &["c@from.example"], &body);
            world.run_for(seconds(1));
        }
        assert!(!world.medium.list().contains(&id.segment), "it must be gone");
        world.run_for(minutes(20));
        assert_eq!(world.at(HOST).got.len(), 0, "{act}");
        if act == QueueAct::Hold {
            assert_eq!(world.rows()[0]["state"], "held");
            assert_eq!(world.act(QueueAct::Release, Some(id)), 1);
            world.run_for(seconds(5));
            assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"]);
        }
        assert_eq!(world.logged("removed").len(), usize::from(act == QueueAct::Remove));
        world.assert_over();
    }
}

/// What cleaning has moved is met by what an operator asks and orders by its
/// envelope, in whichever shard it waits. A purge by sender used to pass it
/// over, and lists had no names for it.
#[test]
fn orders_by_envelope_meet_what_was_moved() {
    let config = "[delivery]\nretry = [\"1h\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n";
    let mut world = World::new(2, config);
    world.names.exchanger("there.example", 10, "mx.there.example", HOST);
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    world.host(HOST, Host::new().always(Stage::Rcpt, Act::Say(450, "later")));
    let writer = 1 - usize::from(control::owner("there.example", 2).0);
    let id = world.accept(writer, "a@from.example", &["b@there.example"]);
    let body = format!("{}\n", "x".repeat(900)).repeat(100);
    for _ in 0..60 {
        world.submit(writer, "z@from.example", &["c@from.example"], &body);
        world.run_for(seconds(1));
    }
    assert!(!world.medium.list().contains(&id.segment), "it must be gone");
    let rows = world.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["sender"], "a@from.example");
    assert_eq!(rows[0]["recipient"], "b@there.example");
    let purge = Request::parse("POST", "/v1/queue/remove", br#"{"sender": "a@from.example"}"#);
    assert_eq!(world.command(purge.unwrap()).body["recipients"], 1);
    world.run_for(seconds(1));
    assert_eq!(world.logged("removed").len(), 1);
    world.assert_over();
}
