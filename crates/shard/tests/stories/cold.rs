//! Mail that has waited long is read ahead of need, so that no page fault stops
//! a shard; what cannot be read is held and told, and stops nobody else.

use crate::stories_support::{HOST, world};
use crate::world::{Act, Host, Stage, minutes, seconds};

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
