//! Messages that come without a session: the same rules, the same record, and
//! no answer before they are on stable storage.

use control::Request;
use mail::{Address, Envelope, Recipient, ReversePath};
use shard::event::Event;
use sim::{Act, Host, Stage, World, minutes, seconds};

use crate::stories_support::{HOST, world};

const MX: &str = "[delivery]\nretry = [\"1m\"]\njitter = \"0%\"\n";

fn letter(to: &[&str], text: &str) -> Box<smtp::submission::Received> {
    let address = |text: &str| Address::parse(text, false).unwrap();
    let sender = ReversePath::Address(address("a@from.example"));
    let to = to.iter().map(|to| Recipient::new(address(to))).collect();
    let envelope = Envelope::new(sender, to);
    smtp::direct::received(envelope, text.as_bytes(), 1 << 20).unwrap()
}

fn brought(world: &mut World, to: &[&str], text: &str) -> shard::command::Answer {
    let request = world.send_beside(0, letter(to, text));
    let mut answer = None;
    world.run_until("an answer", |world| {
        answer = world.answer_beside(request);
        answer.is_some()
    });
    answer.unwrap()
}

/// What came in a session and what came without is one record in the queue, but
/// for who brought it.
///
/// Shows: S4.8
#[test]
fn a_session_and_no_session_lead_to_the_same_record() {
    let mut world = world(MX, Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 2));
    let to = "b@there.example";
    let text = "From: a@from.example\nTo: somebody\nSubject: story\n\nx\n.dots\n";
    let ticket = world.submit(0, "a@from.example", &[to], "x\n..dots");
    world.run_for(seconds(2));
    assert!(world.ticket(ticket).id.is_some());
    let answer = brought(&mut world, &[to], text);
    assert_eq!(answer.status, 200, "{answer:?}");
    world.run_for(seconds(2));
    let mut rows = world.rows();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().any(|row| row["id"] == answer.body["id"]));
    for row in &mut rows {
        let row = row.as_object_mut().unwrap();
        for own in ["id", "arrived", "expires", "next_attempt"] {
            assert!(row.remove(own).is_some(), "{own}");
        }
    }
    assert_eq!(rows[0], rows[1]);
    world.run_for(minutes(2));
    let got = &world.at(HOST).got;
    assert_eq!(got.len(), 2);
    assert_eq!((&got[0].sender, &got[0].recipients), (&got[1].sender, &got[1].recipients));
    // Fields with a time or the message's name in them stand in front.
    let without_trace = |body: &str| body[body.find("Subject:").unwrap()..].to_owned();
    assert_eq!(without_trace(&got[0].body), without_trace(&got[1].body));
    let beside = got.iter().filter(|got| got.body.contains("over the control socket from uid 0"));
    assert_eq!(beside.count(), 1);
    world.assert_over();
}

/// Nothing is answered before the sync; a power cut before it leaves nothing,
/// one behind it leaves the message.
///
/// Shows: S4.8
#[test]
fn it_is_answered_only_when_it_is_on_stable_storage() {
    let mut world = world(MX, Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 1));
    let early = world.send_beside(0, letter(&["b@there.example"], "x\n"));
    world.run_for(seconds(0));
    assert!(world.answer_beside(early).is_none(), "no sync has ended");
    world.power_cut(1, |_, _| 0);
    assert_eq!(world.rows().len(), 0);
    let answer = brought(&mut world, &["b@there.example"], "x\n");
    assert_eq!(answer.status, 200);
    world.power_cut(1, |_, _| 0);
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// Whatever keeps clients out keeps these out too, and says that it is for now.
///
/// Shows: S4.8
#[test]
fn a_full_queue_takes_none() {
    let config = format!("{MX}[queue]\nmax_messages = 2\n");
    let mut world = world(&config, Host::new().next(Stage::Connect, Act::Drop, 3));
    for _ in 0..2 {
        assert_eq!(brought(&mut world, &["b@there.example"], "x\n").status, 200);
    }
    let answer = brought(&mut world, &["b@there.example"], "x\n");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body["error"].as_str().unwrap().contains("queue is full"), "{answer:?}");
    world.run_for(minutes(10));
    assert_eq!(world.at(HOST).got.len(), 2);
    assert_eq!(brought(&mut world, &["b@there.example"], "x\n").status, 200);
    world.run_for(minutes(1));
    world.assert_over();
}

/// A burst that finds no segment ready waits for one; a stop answers what still
/// waits.
#[test]
fn a_burst_waits_for_room_and_a_stop_ends_the_wait() {
    let mut world = world(MX, Host::new());
    let text = format!("Subject: x\n\n{}", "0123456789\n".repeat(50_000));
    let burst: Vec<u64> =
        (0..12).map(|_| world.send_beside(0, letter(&["b@there.example"], &text))).collect();
    world.run_for(minutes(2));
    for request in burst {
        let answer = world.answer_beside(request).expect("answered");
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    }
    world.run_for(minutes(5));
    let taken = world.command(Request::Status).body["counters"]["messages_accepted"].clone();
    assert_eq!(world.at(HOST).got.len() as u64, taken.as_u64().unwrap());
    world.tell(0, seconds(0), Event::Drain);
    let late = world.send_beside(0, letter(&["b@there.example"], "x\n"));
    world.run_for(seconds(2));
    assert_eq!(world.answer_beside(late).expect("answered").status, 503);
}
