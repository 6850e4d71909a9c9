//! Crashes, power cuts and starts: what was acknowledged arrives, and what may
//! arrive twice is named.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Rng;

use crate::stories_support::{HOST, SENDER, world};
use sim::{Act, Host, Stage, minutes, seconds};

const QUICK: &str = "[delivery]\nretry = [\"1m\"]\njitter = \"0%\"\nlifetime = \"5d\"\n\
                     delay_notice = \"none\"\n";

/// The program ends just before the dot's outcome is written: the recipient is
/// listed in doubt, tried again, and arrives a second time.
///
/// Covers: B51
#[test]
fn a_crash_between_dot_and_outcome_is_named() {
    let mut world = world(QUICK, Host::new().next(Stage::Dot, Act::Stall, 1));
    let id = world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(1));
    let report = world.crash(1);
    assert_eq!(report.in_doubt.len(), 1);
    assert_eq!(report.in_doubt[0].message, id);
    world.run_until("rows", |world| world.shards[0].live_messages() == 1);
    world.run_for(seconds(5));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// With `in_doubt_policy = "hold"` it waits for a human instead.
///
/// Covers: B43
#[test]
fn doubted_mail_may_be_held() {
    let config = format!("{QUICK}[queue]\nin_doubt_policy = \"hold\"\n");
    let mut world = world(&config, Host::new().next(Stage::Dot, Act::Stall, 1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(1));
    world.crash(1);
    world.run_for(minutes(10));
    let rows = world.rows();
    assert_eq!((&rows[0]["state"], &rows[0]["in_doubt"]), (&"held".into(), &true.into()));
    world.act(control::QueueAct::Release, None);
    world.run_for(minutes(1));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// With `in_doubt = "power"` the dot waits for the attempt's sync, and the list
/// is exact after a power cut too.
///
/// Covers: B51
#[test]
fn the_dot_waits_for_its_record_where_power_matters() {
    let config = format!("{QUICK}[queue]\nin_doubt = \"power\"\n");
    let mut world = world(&config, Host::new().next(Stage::Dot, Act::LoseReply, 1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_until("the message is there", |world| !world.at(HOST).got.is_empty());
    let report = world.power_cut(1, |_, _| 0);
    assert_eq!(report.in_doubt.len(), 1);
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 2);
    world.assert_over();
}

/// The record that the dot waits for is lost: the dot does not go out, nobody
/// is blamed, and the mail goes out later.
///
/// Covers: B14
#[test]
fn a_lost_attempt_record_is_our_own_trouble() {
    let config = format!("{QUICK}[queue]\nin_doubt = \"power\"\n");
    let mut world = world(&config, Host::new());
    world.names.fail("there.example", true);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(1));
    world.failing_syncs = 1;
    world.names.fail("there.example", false);
    world.run_for(minutes(30));
    assert_eq!(world.failing_syncs, 0);
    assert_eq!(world.at(HOST).got.len(), 1);
    assert_eq!(world.logged("deferred").len(), 0);
    assert_eq!(world.logged("delivered")[0]["attempt"], 1);
    world.assert_over();
}

/// Attempts and times survive a restart, with another number of shards too.
#[test]
fn waiting_mail_keeps_its_time_and_attempts() {
    let busy = Act::Say(451, "later");
    let config = QUICK.replace("1m", "30m");
    let mut world = world(&config, Host::new().next(Stage::Rcpt, busy, 2));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(10));
    for shards in [2, 3, 1] {
        world.crash(shards);
        world.run_for(minutes(5));
    }
    assert_eq!(world.at(HOST).connects.len(), 1, "not before its time");
    world.run_for(minutes(60));
    let attempts: Vec<u64> =
        world.logged("deferred").iter().map(|l| l["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(world.logged("delivered")[0]["attempt"], 3);
    world.assert_over();
}

/// A start on a full disk: nothing can be written, so nothing is handed out,
/// and the shard does not spin; with room everything goes.
///
/// Covers: B20
#[test]
fn a_start_without_room_waits_quietly() {
    let mut world = world(QUICK, Host::new().next(Stage::Dot, Act::Stall, 1));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(1));
    world.disk_full = true;
    world.crash(1);
    let before = world.ticks;
    world.run_for(minutes(10));
    assert!(world.ticks - before < 3_000, "{} wake-ups", world.ticks - before);
    world.disk_full = false;
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// Two starts deal the segments out anew, so that a message and what was said of
/// it last come to belong to two shards, and the one that has the answer's
/// segment empties it. The writer's table still pointed there: nobody could say
/// any more why the mail waits, and in the end its sender was told that no
/// attempt could be made.
#[test]
fn the_last_answer_outlives_its_segment_whoever_empties_it() {
    let config = "[delivery]\nretry = [\"2h\"]\njitter = \"0%\"\nlifetime = \"1h\"\n\
                  delay_notice = \"none\"\n";
    for shards in 2..6 {
        let busy = Act::Say(451, "come again");
        let mut world = world(config, Host::new().always(Stage::Rcpt, busy));
        world.names.fail("there.example", true);
        // As large a part of its segment as keeps it there.
        let body = "a line of many\n".repeat(20_000);
        let ticket = world.submit(0, "a@from.example", &["b@there.example"], &body);
        world.run_for(seconds(5));
        let id = world.ticket(ticket).id.expect("it was taken");
        world.crash(1);
        world.names.fail("there.example", false);
        world.run_until("an answer", |world| !world.logged("deferred").is_empty());
        world.run_for(seconds(1));
        world.crash(shards);
        world.run_for(minutes(5));
        let shown = world.command(control::Request::QueueShow(id)).body;
        let answer = &shown["recipients"][0]["last_answer"];
        assert!(answer.as_str().is_some_and(|it| it.contains("come again")), "{shards}: {shown}");
        world.run_for(minutes(60));
        let text = world.at(SENDER).got[0].body.clone();
        assert!(text.contains("come again"), "{shards}: {text}");
        world.assert_over();
    }
}

/// Mail under load, with the program or the power going at random moments:
/// everything with a 250 arrives, and twice only what was listed in doubt
/// or, after a power cut, what was sent since the last sync.
///
/// Covers: A1.24, A2.32, B1, B2, B3, B4, B5, B51
#[test]
fn nothing_acknowledged_is_lost_at_any_moment() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let power = seed % 3 == 0;
        let mut world = world(QUICK, Host::new().slow(400));
        let (mut tickets, mut doubted) = (Vec::new(), Vec::new());
        for round in 0..3 {
            for n in 0..20 {
                let to = format!("r{round}n{n}@there.example");
                let shard = n % world.shards.len();
                tickets.push((to.clone(), world.submit(shard, "a@from.example", &[&to], "x")));
            }
            world.run_for(Duration::from_millis(rng.below(60)));
            let shards = 1 + rng.below(3) as u16;
            let report = match power {
                true => world.power_cut(shards, |_, len| rng.below(u64::from(len) + 1) as u32),
                false => world.crash(shards),
            };
            doubted.extend(report.in_doubt.iter().map(|doubt| doubt.message));
        }
        world.run_for(minutes(30));
        let mut copies: BTreeMap<String, u32> = BTreeMap::new();
        for to in world.at(HOST).delivered_to() {
            *copies.entry(to.to_owned()).or_default() += 1;
        }
        for (to, ticket) in tickets {
            let ticket = world.ticket(ticket);
            let copies = copies.get(&to).copied().unwrap_or(0);
            let acknowledged = ticket.answer.is_some_and(|(code, _)| code == 250);
            assert!(copies > 0 || !acknowledged, "seed {seed}: {to} is lost");
            let listed = ticket.id.is_some_and(|id| doubted.contains(&id));
            let excused = copies <= 1 || power || listed || !acknowledged;
            assert!(excused, "seed {seed}: {copies} copies of {to}");
        }
        world.assert_over();
    }
}

/// A bounce meets a failing sync: the report goes out all the same, once.
///
/// Covers: A2.32, B14
#[test]
fn a_report_outlives_a_failed_sync() {
    let host = Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 1);
    let mut world = world(QUICK, host.always(Stage::Rcpt, Act::Say(550, "no")));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(30));
    world.failing_syncs = 1;
    world.run_for(minutes(10));
    assert_eq!(world.failing_syncs, 0);
    assert_eq!(world.at(SENDER).got.len(), 1);
    world.assert_over();
    let report = world.power_cut(1, |_, _| 0);
    assert_eq!(report.messages, 0);
    world.assert_over();
}

/// A bounce meets a power cut at every moment: in the end the sender has one
/// report, and never none.
///
/// Covers: A2.32, B4
#[test]
fn a_report_and_its_outcome_survive_together() {
    for whole in 0..5 {
        for ms in 0..40 {
            let mut world = world(QUICK, Host::new().always(Stage::Rcpt, Act::Say(550, "no")));
            world.accept(0, "a@from.example", &["b@there.example"]);
            world.at(SENDER).pace = 5;
            world.run_for(Duration::from_millis(ms));
            let mut left = whole;
            world.power_cut(1, |_, len| {
                left -= 1;
                if left >= 0 { len } else { 0 }
            });
            world.at(SENDER).pace = usize::MAX;
            world.run_for(minutes(10));
            let reports = world.at(SENDER).got.len();
            assert_eq!(reports, 1, "cut after {ms} ms, {whole} writes kept");
            world.assert_over();
        }
    }
}
