//! Mail that has waited long is read ahead of need, so that no page fault stops
//! a shard; what cannot be read is held and told, and stops nobody else.

use crate::stories_support::{HOST, world};
use sim::{Act, Host, LATENCY, Stage, minutes, seconds};

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
