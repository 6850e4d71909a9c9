//! Several hosts, several domains: who is tried, and how a site that is down
//! waits.

use crate::stories_support::{HOST, world};
use sim::{Act, Host, Stage, World, minutes, seconds};

const SPARE: [u8; 4] = [198, 51, 100, 8];
const EXACT: &str = "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\nlifetime = \"5d\"\n\
                     delay_notice = \"none\"\n";

/// `there.example` with two exchangers, the first with a script.
fn two_hosts(first: Host) -> World {
    let mut world = world(EXACT, first);
    world.names.exchanger("there.example", 20, "mx2.there.example", SPARE);
    world.host(SPARE, Host::new());
    world
}

/// The first exchanger refuses, stalls, sends us away or breaks off before the
/// dot: the second one gets the mail within the same attempt.
/// Proves: RFC 5321 §5.1
/// Covers: A2.2, A2.8, A2.20, B38
/// Shows: A20
#[test]
fn a_host_that_fails_is_followed_by_the_next() {
    let ways = [
        (Stage::Connect, Act::Drop),
        (Stage::Connect, Act::Stall),
        (Stage::Greeting, Act::Say(421, "busy")),
        (Stage::Greeting, Act::Say(554, "no service")),
        (Stage::Greeting, Act::Drop),
        (Stage::Ehlo, Act::Drop),
        (Stage::Mail, Act::Say(421, "busy")),
        (Stage::Mail, Act::Drop),
        (Stage::Data, Act::Drop),
        (Stage::Body, Act::Drop),
        (Stage::Body, Act::Stall),
    ];
    for (stage, act) in ways {
        let mut world = two_hosts(Host::new().always(stage, act).slow(100));
        world.accept(0, "a@from.example", &["b@there.example", "c@there.example"]);
        world.run_for(minutes(20));
        let to = ["b@there.example", "c@there.example"];
        assert_eq!(world.at(SPARE).delivered_to(), to, "{stage:?} {act:?}");
        let delivered = world.logged("delivered");
        assert!(delivered.iter().all(|line| line["attempt"] == 1), "{stage:?} {act:?}");
        assert_eq!(world.logged("deferred").len(), 0, "{stage:?} {act:?}");
        world.assert_over();
    }
}

/// The first exchanger is away for now, and the second takes no mail at all: the
/// mail waits for the first. What one host says of itself for good is no end
/// while another may be back.
///
/// Proves: RFC 5321 §3.1
/// Covers: A2.2, B41
#[test]
fn a_host_that_takes_no_mail_does_not_speak_for_one_that_is_away() {
    for (stage, act) in [
        (Stage::Connect, Act::Drop),
        (Stage::Connect, Act::Stall),
        (Stage::Greeting, Act::Say(421, "busy")),
        (Stage::Greeting, Act::Say(450, "later")),
        (Stage::Mail, Act::Drop),
    ] {
        let mut world = two_hosts(Host::new().always(stage, act));
        let refusing = Host::new().always(Stage::Greeting, Act::Say(554, "no mail here"));
        world.host(SPARE, refusing);
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(minutes(2));
        assert_eq!(world.logged("failed").len(), 0, "{stage:?} {act:?}");
        let deferred = world.logged("deferred");
        assert_eq!(deferred.len(), 1, "{stage:?} {act:?}");
        let host = deferred[0]["host"].as_str().unwrap();
        assert!(host.starts_with("mx.there.example"), "{host} is not who is waited for");
        world.at(HOST).mend();
        world.run_for(minutes(10));
        assert_eq!(world.at(HOST).got.len(), 1, "{stage:?} {act:?}");
        world.assert_over();
    }
}

/// A 4xx or 5xx to a recipient is the domain's word: the next host is not
/// asked for another opinion.
///
/// Covers: B41
#[test]
fn an_answer_about_the_mail_is_not_asked_for_twice() {
    let mut world = two_hosts(Host::new().always(Stage::Rcpt, Act::Say(550, "unknown")));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.logged("failed").len(), 1);
    assert_eq!(world.at(SPARE).connects.len(), 0);
    world.assert_over();
}

/// A host that broke is passed over for a while and preferred again later.
///
/// Covers: A2.19, B38
/// Shows: S0.3
#[test]
fn a_host_that_is_down_is_tried_last_for_a_minute() {
    let mut world = two_hosts(Host::new().next(Stage::Connect, Act::Drop, 1));
    let send = |world: &mut World| {
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(10));
        (world.at(HOST).got.len(), world.at(SPARE).got.len())
    };
    assert_eq!(send(&mut world), (0, 1));
    assert_eq!(send(&mut world), (0, 2));
    assert_eq!(world.at(HOST).connects.len(), 1, "not tried again yet");
    world.run_for(minutes(1));
    assert_eq!(send(&mut world), (1, 2));
    world.assert_over();
}

/// Equal preferences share the load.
///
/// Covers: A2.20
/// Shows: S1.10, S3.11
#[test]
fn equal_exchangers_both_get_mail() {
    let mut world = world("[delivery]\nmessages_per_connection = 1\n", Host::new());
    world.names.exchanger("there.example", 10, "mx2.there.example", SPARE);
    world.host(SPARE, Host::new());
    for n in 0..40 {
        world.submit(0, "a@from.example", &[&format!("{n}@there.example")], "x");
    }
    world.run_for(seconds(10));
    let (first, second) = (world.at(HOST).got.len(), world.at(SPARE).got.len());
    assert_eq!(first + second, 40);
    assert!(first >= 8 && second >= 8, "{first} and {second}");
    world.assert_over();
}

/// Every host is dead and a thousand messages wait: the site waits as one, a
/// handful of connects at first and one for each wait after that; when it is
/// back everything goes out.
///
/// Covers: A2.19, B55
#[test]
fn a_dead_site_waits_as_one() {
    let mut world = world(EXACT, Host::new().always(Stage::Connect, Act::Drop));
    for n in 0..1_000 {
        world.submit(0, "a@from.example", &[&format!("{n}@there.example")], "x");
    }
    world.run_for(minutes(1));
    let first = world.at(HOST).connects.len();
    assert!(first <= 10, "{first} connects in the first minute");
    world.run_for(minutes(60));
    let later = world.at(HOST).connects.len() - first;
    assert!((10..=14).contains(&later), "{later} connects in an hour");
    world.at(HOST).mend();
    world.run_for(minutes(12));
    assert_eq!(world.at(HOST).got.len(), 1_000);
    world.assert_over();
}

/// A host that takes every dot and never answers it cannot make mail that it
/// was never given pay for that.
///
/// Covers: B43
#[test]
fn only_mail_that_was_tried_bears_an_attempt() {
    let mut world = world(EXACT, Host::new().always(Stage::Dot, Act::Drop));
    let doubted = world.accept(0, "a@from.example", &["first@there.example"]);
    world.submit(0, "a@from.example", &["second@there.example"], "x");
    world.run_for(minutes(4));
    for line in world.logged("deferred") {
        assert_eq!(line["in_doubt"], true, "{line}");
    }
    assert!(world.logged("deferred").iter().any(|line| line["id"] == doubted.to_string()));
    world.at(HOST).mend();
    world.run_for(minutes(30));
    assert_eq!(world.logged("delivered").len(), 2);
    world.assert_over();
}

/// A connection stands idle without ever having carried mail, and its peer
/// hangs up or says 421: nothing comes of it.
///
/// Covers: B42
#[test]
fn a_peer_may_hang_up_on_a_connection_that_was_never_used() {
    let mut world = world(EXACT, Host::new());
    // Two connections for two messages; the first takes both.
    for late in [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20] {
        for to in ["b@there.example", "c@there.example"] {
            world.submit(0, "a@from.example", &[to], "x");
            world.run_for(std::time::Duration::from_millis(late));
        }
        world.run_for(seconds(1));
        world.hang_up([198, 51, 100, 7]);
        world.run_for(seconds(30));
    }
    assert_eq!(world.at(HOST).got.len(), 22);
    assert_eq!(world.logged("deferred").len(), 0);
    assert_eq!(world.logged("host-failed").len(), 0);
    world.assert_over();
}

/// Relay: both hosts in order, names and addresses, spread over all shards.
///
/// Shows: S0.3, S2.11
#[test]
fn a_relay_gets_everything_and_its_second_host_stands_in() {
    let config = "[delivery]\nmode = \"relay\"\n\
                  hosts = [\"relay.isp.example:587\", \"198.51.100.8:25\"]\n";
    let mut world = World::new(2, config);
    world.names.address("relay.isp.example", [198, 51, 100, 7]);
    world.host(HOST, Host::new());
    world.host(SPARE, Host::new());
    for shard in [0, 1] {
        world.accept(shard, "a@from.example", &["b@one.example", "c@two.example"]);
    }
    world.run_for(seconds(5));
    assert_eq!(world.at(HOST).got.len(), 2, "one copy of each for all its recipients");
    assert_eq!(world.network.dialled[0].port(), 587);
    world.network.hosts.remove(&HOST.into());
    world.run_for(minutes(1));
    world.accept(0, "a@from.example", &["d@one.example"]);
    world.run_for(seconds(5));
    assert_eq!(world.at(SPARE).delivered_to(), ["d@one.example"]);
    world.assert_over();
}

/// Three relay hosts: the first refuses, the second says nothing, the third
/// takes the mail within the same attempt. Later the first is the first again.
///
/// Shows: S0.3, S3.8
#[test]
fn the_third_host_takes_what_two_do_not_and_the_first_is_first_again() {
    const THIRD: [u8; 4] = [198, 51, 100, 9];
    let config = "[delivery]\nmode = \"relay\"\n\
                  hosts = [\"198.51.100.7:25\", \"198.51.100.8:25\", \"198.51.100.9:25\"]\n";
    let mut world = World::new(1, config);
    world.host(HOST, Host::new().next(Stage::Connect, Act::Drop, 1));
    world.host(SPARE, Host::new().always(Stage::Greeting, Act::Stall));
    world.host(THIRD, Host::new());
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(10));
    let asked: Vec<_> = world.network.dialled.iter().map(|to| to.ip()).collect();
    assert_eq!(asked, [HOST, SPARE, THIRD].map(std::net::IpAddr::from));
    assert_eq!(world.at(THIRD).delivered_to(), ["b@there.example"]);
    assert_eq!(world.logged("delivered")[0]["attempt"], 1);
    assert_eq!(world.logged("deferred").len(), 0);
    world.accept(0, "a@from.example", &["c@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).delivered_to(), ["c@there.example"]);
    world.assert_over();
}

/// Seed 1129 of the simulator: a host is silent until the mail's lifetime is
/// over. The next host used to be tried all the same, for as long as that took.
#[test]
fn no_host_is_tried_after_the_lifetime() {
    let config = "[delivery]\nlifetime = \"1m\"\ntimeout = { mail = \"90s\", rcpt = \"90s\" }\n";
    // A host that is silent to commands sent ahead is tried once more without.
    for stage in [Stage::Mail, Stage::Rcpt] {
        let mut world = world(config, Host::new().always(stage, Act::Stall));
        world.names.exchanger("there.example", 20, "mx2.there.example", SPARE);
        world.host(SPARE, Host::new());
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(200));
        assert_eq!(world.logged("expired").len(), 1, "{stage:?}");
        assert_eq!(world.at(HOST).connects.len(), 1, "{stage:?}");
        assert_eq!(world.at(SPARE).connects.len(), 0, "{stage:?}");
        world.assert_over();
    }
}

/// A site that goes down is one line, however often it is tried, and its return
/// another.
///
/// Shows: S2.15
#[test]
fn down_and_up_are_one_line_each() {
    let mut world = world(EXACT, Host::new().next(Stage::Connect, Act::Drop, 3));
    for n in 0..5 {
        world.accept(0, "a@from.example", &[&format!("b{n}@there.example")]);
    }
    world.run_for(minutes(2));
    let down = world.logged("site-down");
    assert_eq!(down.len(), 1, "{down:?}");
    let names_all = |name: &str| down[0][name].as_str().is_some_and(|text| !text.is_empty());
    assert!(["site", "reason", "until"].into_iter().all(names_all), "{}", down[0]);
    assert_eq!(world.logged("site-up").len(), 0);
    world.run_for(minutes(60));
    assert_eq!(world.at(HOST).got.len(), 5);
    assert_eq!(world.logged("site-down").len(), 1);
    let up = world.logged("site-up");
    assert_eq!(up.len(), 1, "{up:?}");
    assert_eq!(up[0]["site"], world.logged("site-down")[0]["site"]);
    world.assert_over();
}
