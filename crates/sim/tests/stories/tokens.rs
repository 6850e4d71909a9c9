//! Log-ins whose token a program prints. No host of the simulation lets anybody
//! log in, so these are about what happens while there is no token.

use control::{QueueAct, Request, Why};
use shard::event::Event;
use sim::{Host, Mishap, World, seconds};

use crate::stories_support::{HOST, SENDER};

const MINT: &str = "/token/up ann";

fn world(shards: u16) -> World {
    let mut world = World::new(
        shards,
        "[delivery]\nmode = \"relay\"\nhosts = [\"198.51.100.7:25\"]\njitter = \"0%\"\n\
         delay_notice = \"none\"\nauth = { user = \"ann\", unchecked = true, \
         token_command = [\"/token/up\", \"ann\"], token_timeout = \"5s\" }\n",
    );
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    world.host(HOST, Host::new());
    world
}

/// One run for all mail; each failure is told, counts no attempt, and is
/// followed by a longer wait, unless an operator has none.
///
/// Shows: S2.2, S3.10
#[test]
fn a_program_that_prints_no_token_puts_mail_off_without_an_attempt() {
    let mut world = world(1);
    world.uplinks.next = [Mishap::Fails, Mishap::Stalls, Mishap::None].into();
    for n in 0..20 {
        world.accept(0, "a@from.example", &[&format!("m{n}@d{}.example", n % 4)]);
    }
    let address = mail::Address::parse("m0@d0.example", false).unwrap();
    let mut reasons = Vec::new();
    for (span, runs) in [(2, 1), (5, 1), (10, 2), (3, 2), (22, 3), (35, 3), (10, 4)] {
        world.run_for(seconds(span));
        assert_eq!(world.uplinks.ran.len(), runs, "{reasons:?}");
        let told = world.command(Request::Explain(address.clone())).body.to_string();
        let reason = told.split("no token for ann from /token/up: ").nth(1).unwrap_or_default();
        reasons.push(reason.split(['"', ';']).next().unwrap_or_default().to_owned());
    }
    assert_eq!(reasons[0], "", "it runs");
    for why in ["exit status 1", "not done within 5s", "its output begins with no token"] {
        assert!(reasons.iter().any(|reason| reason == why), "{why}: {reasons:?}");
    }
    world.act(QueueAct::Flush, None);
    world.run_for(seconds(1));
    assert_eq!(world.uplinks.ran.len(), 5, "now means now");
    assert!(world.uplinks.ran.iter().all(|ran| ran == MINT));
    let asked = Why::Recipient(address);
    world.run_for(seconds(4));
    let told = world.command(Request::Why { asked, limit: 1 }).body["recipients"][0].clone();
    assert!(told.to_string().contains("no token for ann"), "{told}");
    let rows = world.rows();
    assert!(rows.len() == 20 && rows.iter().all(|row| row["attempts"] == 0), "{rows:?}");
    assert!(world.logged("deferred").is_empty() && world.logged("failed").is_empty());
}

/// A program that stalls keeps nobody from stopping, and nothing of its mail is
/// lost.
#[test]
fn a_stop_does_not_wait_for_a_token() {
    let mut world = world(2);
    world.uplinks.next = [Mishap::Stalls, Mishap::Stalls].into();
    for n in 0..4 {
        world.accept(n % 2, "a@from.example", &[&format!("m{n}@d{}.example", n)]);
    }
    world.run_for(seconds(1));
    assert!(!world.uplinks.ran.is_empty());
    assert_eq!(world.rows().len(), 4);
    for shard in 0..2 {
        world.tell(shard, seconds(0), Event::Drain);
    }
    world.run_for(seconds(1));
    assert_eq!(world.drained.len(), 2, "the program takes 5 s");
    assert_eq!(world.rows().len(), 4);
}

/// It waits for the program like anybody else, and says how it ended.
///
/// Shows: S3.22
#[test]
fn a_diagnosis_waits_for_the_token() {
    let mut world = world(1);
    world.uplinks.next = [Mishap::Stalls, Mishap::Fails].into();
    let address = mail::Address::parse("b@d0.example", false).unwrap();
    for (why, runs) in [("not done within 5s", 1), ("not done within 5s", 1), ("exit status 1", 2)]
    {
        let told = world.command(Request::Diagnose(address.clone())).body;
        let steps = told["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["step"] == "token").unwrap();
        let said = format!("no token for ann from /token/up: {why}");
        assert_eq!((&step["said"], world.uplinks.ran.len()), (&said.into(), runs), "{told}");
        world.run_for(seconds(if runs == 1 { 6 } else { 0 }));
    }
}

/// What another host would take under another log-in, or none, does not wait.
#[test]
fn a_host_without_a_token_is_passed_over() {
    let mut world = World::new(
        1,
        "[delivery]\nmode = \"relay\"\njitter = \"0%\"\ndelay_notice = \"none\"\n\
         hosts = [{ host = \"198.51.100.8\", auth = { user = \"ann\", unchecked = true, \
         token_command = [\"/token/up\", \"ann\"] } }, { host = \"198.51.100.7\", port = 25 }]\n",
    );
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    world.host(HOST, Host::new());
    world.uplinks.next = [Mishap::Fails].into();
    world.accept(0, "a@from.example", &["b@d0.example"]);
    world.run_for(seconds(8));
    assert_eq!((world.at(HOST).got.len(), world.uplinks.ran.len()), (1, 1));
    assert_eq!(world.logged("delivered")[0]["attempt"], 1);
    world.assert_over();
}
