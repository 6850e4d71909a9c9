//! Links that are raised on demand: mail waits for its link, which is raised,
//! used and lowered again, by one shard for all, whatever fails meanwhile. The
//! world ends a story in which anything leaves by a link that is down, or one
//! is lowered under a connection.

use base::Rng;
use control::{QueueAct, Request};
use serde_json::Value;
use shard::event::Event;
use sim::{Act, Host, Mishap, Stage, World, minutes, seconds};

use crate::stories_support::{HOST, SENDER};

const OWN: [u8; 4] = [192, 0, 2, 77];
const MX: &str = "[delivery]\nsource = \"isdn\"\njitter = \"0%\"\ndelay_notice = \"none\"\n";
const RELAY: &str = "[delivery]\nsource = \"isdn\"\nmode = \"relay\"\nhosts = [\"198.51.100.7:25\"]\n\
                     jitter = \"0%\"\ndelay_notice = \"none\"\n";
const UP: &str = "/link/up isdn";
const DOWN: &str = "/link/down isdn";

fn source(rest: &str) -> String {
    format!(
        "[[source]]\nname = \"isdn\"\naddress = \"192.0.2.77\"\n\
         on_demand = {{ raise = [\"/link/up\", \"isdn\"], lower = [\"/link/down\", \"isdn\"], \
         retry = [\"1m\", \"5m\"], idle = \"30s\"{rest} }}\n"
    )
}

fn world(shards: u16, config: &str, host: Host) -> World {
    let mut world = World::new(shards, config);
    world.guard(OWN, "isdn");
    for n in 0..4 {
        world.names.exchanger(&format!("d{n}.example"), 10, "mx.there.example", HOST);
    }
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    world.host(HOST, host);
    world
}

fn mail(world: &mut World, n: usize) {
    let shard = n % world.shards.len();
    world.accept(shard, "a@from.example", &[&format!("m{n}@d{}.example", n % 4)]);
}

fn link(world: &mut World) -> Value {
    let links = world.status()["links"].clone();
    assert_eq!(links.as_array().map(Vec::len), Some(1), "{links}");
    links[0].clone()
}

/// Shows: S0.6
#[test]
fn mail_raises_its_link_which_is_lowered_when_it_is_quiet() {
    for (shards, way) in [(1, MX), (3, MX), (1, RELAY), (3, RELAY)] {
        let mut world = world(shards, &(source("") + way), Host::new());
        assert_eq!(link(&mut world)["state"], "down");
        for n in 0..8 {
            mail(&mut world, n);
        }
        world.run_for(seconds(1));
        assert_eq!(link(&mut world)["state"], "raising");
        assert!(world.names.asked.is_empty(), "names are asked for by the link too");
        let rows = world.rows();
        assert!(rows.iter().all(|row| row["attempts"] == 0), "{rows:?}");
        assert_eq!(rows[0]["suspended"], "waits for the link isdn: being raised");
        world.run_until("all mail", |world| world.at(HOST).got.len() == 8);
        assert_eq!(link(&mut world)["state"], "up");
        mail(&mut world, 8);
        world.run_for(seconds(2));
        assert_eq!(world.at(HOST).got.len(), 9, "at once while it is up");
        world.run_for(minutes(2));
        assert_eq!(link(&mut world)["state"], "down");
        assert_eq!(world.uplinks.ran, [UP, DOWN], "{way} {shards}");
        mail(&mut world, 9);
        world.run_for(minutes(2));
        assert_eq!(world.uplinks.ran, [UP, DOWN, UP, DOWN]);
        assert_eq!(world.at(HOST).got.len(), 10);
        let states: Vec<_> = world.logged("link").iter().map(|line| &line["link"]).collect();
        assert_eq!(states[..5], ["raising", "up", "closing", "lowering", "down"]);
        assert!(world.logged("delivered").iter().all(|line| line["attempt"] == 1));
        world.assert_over();
    }
}

/// Nothing is counted, the reason is told wherever somebody asks, and it is
/// tried again in its time; or now, if an operator says so.
///
/// Shows: S0.6
#[test]
fn mail_is_held_with_the_reason_while_its_link_cannot_be_raised() {
    for way in [MX, RELAY] {
        let mut world = world(2, &(source("") + way), Host::new());
        world.uplinks.next = [Mishap::Fails, Mishap::Stalls, Mishap::None, Mishap::Fails].into();
        mail(&mut world, 0);
        world.run_for(seconds(30));
        let words = "waits for the link isdn: down, raising it failed: exit status 1: NO CARRIER; \
                     tried again 2026-01-01T00:01:";
        let rows = world.rows();
        assert_eq!((rows.len(), &rows[0]["attempts"]), (1, &0.into()));
        assert!(rows[0]["suspended"].as_str().unwrap().starts_with(words), "{rows:?}");
        let address = mail::Address::parse("m0@d0.example", false).unwrap();
        let told = world.command(Request::Explain(address.clone())).body;
        assert!(told["blocker"].as_str().unwrap().starts_with(words), "{told}");
        assert_eq!(told["link"]["state"], link(&mut world)["state"]);
        let asked = control::api::Why::Recipient(address.clone());
        let told = world.command(Request::Why { asked, limit: 1 }).body["recipients"][0].clone();
        assert_eq!((&told["cause"], &told["because"]), (&"link".into(), &rows[0]["suspended"]));
        let told = world.command(Request::Diagnose(address)).body;
        assert!(told.to_string().contains(words), "{told}");
        // A stalled one is taken back: who knows how far it came.
        world.run_for(minutes(3));
        assert_eq!(world.uplinks.ran, [UP, UP, DOWN]);
        assert_eq!(link(&mut world)["reason"], "not done within 1m");
        world.act(QueueAct::Flush, None);
        world.run_for(seconds(4));
        assert_eq!(world.uplinks.ran.len(), 4, "now means now");
        assert!(world.at(HOST).got.is_empty(), "it failed");
        world.run_for(minutes(6));
        assert_eq!(world.at(HOST).got.len(), 1);
        assert_eq!(world.logged("delivered")[0]["attempt"], 1);
        world.assert_over();
    }
}

#[test]
fn few_recipients_wait_for_more_or_for_their_time() {
    let mut world = world(3, &(source(", recipients = 3, wait = \"20m\"") + MX), Host::new());
    mail(&mut world, 0);
    mail(&mut world, 1);
    world.run_for(minutes(15));
    assert!(world.uplinks.ran.is_empty());
    let words = "waits for the link isdn: down; it is raised for 3 recipients, or when the first \
                 has waited 20m";
    assert_eq!(world.rows()[0]["suspended"], words);
    mail(&mut world, 2);
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).got.len(), 3);
    world.run_for(minutes(5));
    mail(&mut world, 3);
    world.run_for(minutes(19));
    assert_eq!(world.at(HOST).got.len(), 3);
    world.run_for(minutes(2));
    assert_eq!(world.at(HOST).got.len(), 4);
    world.assert_over();
}

/// A host that is down is no reason to raise the link before its time.
#[test]
fn a_link_is_not_raised_for_what_could_not_be_sent() {
    for way in [MX, RELAY] {
        let config = source("") + way + "retry = [\"30m\"]\n";
        let host = Host::new().next(Stage::Connect, Act::Drop, 1);
        let mut world = world(1, &config, host);
        mail(&mut world, 0);
        world.run_for(minutes(25));
        assert_eq!(world.uplinks.ran, [UP, DOWN]);
        assert_eq!(world.rows().len(), 1);
        world.run_for(minutes(15));
        assert_eq!(world.uplinks.ran, [UP, DOWN, UP, DOWN]);
        assert_eq!(world.at(HOST).got.len(), 1);
        world.assert_over();
    }
}

/// What another source of the pool can send is not kept waiting.
#[test]
fn a_pool_goes_round_a_link_that_cannot_be_raised() {
    for way in [MX, RELAY] {
        let pool = "[[source]]\nname = \"lan\"\naddress = \"192.0.2.5\"\n\
                    [[pool]]\nname = \"both\"\nsources = [\"isdn\", \"lan\"]\n";
        let way = way.replace("\"isdn\"", "\"both\"");
        let mut world = world(2, &(source("") + pool + &way), Host::new());
        world.uplinks.next = [Mishap::Fails; 1].into();
        for n in 0..20 {
            mail(&mut world, n);
        }
        world.run_for(seconds(20));
        assert_eq!(world.at(HOST).got.len(), 20, "{:?}", world.rows());
        assert_eq!(world.uplinks.ran, [UP]);
        world.run_for(minutes(2));
        for n in 20..40 {
            mail(&mut world, n);
        }
        world.run_for(minutes(2));
        assert_eq!(world.at(HOST).got.len(), 40);
        assert_eq!(world.uplinks.ran, [UP, UP, DOWN], "later it is tried again");
        world.assert_over();
    }
}

/// Shows: S3.22
#[test]
fn a_change_of_the_configuration_holds_for_links_too() {
    for way in [MX, RELAY] {
        let mut world = world(2, &(source("") + way), Host::new());
        world.uplinks.next = [Mishap::Stalls].into();
        mail(&mut world, 0);
        world.run_for(seconds(10));
        assert_eq!(link(&mut world)["state"], "raising");
        // Without a link it leaves at once: here by another address.
        let plain = "[[source]]\nname = \"isdn\"\naddress = \"192.0.2.5\"\n";
        world.configure(&(plain.to_owned() + way));
        world.run_for(seconds(10));
        assert_eq!(world.at(HOST).got.len(), 1);
        world.run_for(minutes(2));
        assert_eq!(world.uplinks.ran, [UP, DOWN], "what was cut off is taken back");
        assert_eq!(world.status()["links"], serde_json::json!([]));
        // One that is up is lowered when nobody knows it any more.
        world.configure(&(source("") + way));
        mail(&mut world, 1);
        world.run_for(seconds(10));
        assert_eq!(link(&mut world)["state"], "up");
        world.configure(&(plain.to_owned() + way));
        world.run_for(seconds(20));
        assert_eq!(world.uplinks.ran, [UP, DOWN, UP, DOWN]);
        assert_eq!(world.at(HOST).got.len(), 2);
        world.assert_over();
    }
}

/// A stop ends what is under way, then lowers what was raised; a crash does
/// neither, and the next life raises it again before anything leaves.
///
/// Shows: S0.6
#[test]
fn a_stop_lowers_the_link_and_a_crash_assumes_nothing() {
    for shards in [1, 3] {
        let mut world = world(shards, &(source("") + MX), Host::new().slow(20));
        for n in 0..12 {
            mail(&mut world, n);
        }
        world.run_until("some mail", |world| !world.at(HOST).got.is_empty());
        assert!(world.uplinks.up.contains("isdn"));
        world.crash(shards);
        world.run_until("more mail", |world| world.at(HOST).got.len() > 4);
        assert_eq!(world.uplinks.ran, [UP, UP], "raised again");
        for shard in 0..usize::from(shards) {
            world.tell(shard, seconds(0), Event::Drain);
        }
        let all = usize::from(shards);
        world.run_until("the end", |world| world.drained.len() == all);
        assert_eq!(world.uplinks.ran, [UP, UP, DOWN]);
        assert!(world.uplinks.up.is_empty());
    }
}

/// Shards, failing programs, restarts, orders and other configurations at
/// random moments: mail is sent, and the link is down in the end.
#[test]
fn whatever_happens_to_links_mail_is_sent() {
    for seed in 0..40 {
        live_through(seed);
    }
}

fn live_through(seed: u64) {
    let mut rng = Rng::new(seed);
    let config = |rng: &mut Rng| {
        let way = if rng.below(2) == 0 { MX } else { RELAY };
        let more = [", recipients = 4, wait = \"2m\"", "", ", raise_timeout = \"2s\""];
        let retry = "retry = [\"1m\", \"3m\"]\n";
        let plain = "[[source]]\nname = \"isdn\"\naddress = \"192.0.2.5\"\n".to_owned();
        let source = match rng.below(6) {
            0 => plain,
            n => source(more[n as usize % 3]),
        };
        source + way + retry
    };
    let mut world = world(1 + rng.below(3) as u16, &config(&mut rng), Host::new());
    world.weather = sim::Weather::calm(seed);
    world.weather.mesh_ms = 1..=400;
    let mut sent = 0;
    for _ in 0..30 {
        world.uplinks.odds = 400 * rng.below(2);
        for _ in 0..rng.below(4) {
            mail(&mut world, sent);
            sent += 1;
        }
        match rng.below(12) {
            0 => drop(world.crash(1 + rng.below(3) as u16)),
            1 => drop(world.act(QueueAct::Flush, None)),
            2 => world.configure(&config(&mut rng)),
            3 => world.hang_up(HOST),
            _ => {}
        }
        world.run_for(seconds(rng.below(90)));
    }
    world.uplinks.odds = 0;
    world.configure(&(source("") + MX + "retry = [\"1m\", \"3m\"]\n"));
    world.run_for(minutes(60));
    assert_eq!(world.rows(), [] as [Value; 0], "seed {seed}");
    assert!(world.at(HOST).got.len() >= sent, "seed {seed}");
    // A link that a crash left behind stays up until it is needed again.
    mail(&mut world, sent);
    world.run_for(minutes(10));
    assert!(world.uplinks.up.is_empty(), "seed {seed}: {:?}", world.uplinks.ran);
    world.assert_over();
}
