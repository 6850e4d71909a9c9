//! Limits hold, summed over all shards, and cost little while they are waited
//! for.

use sim::{Host, World, minutes, seconds};

const HOST: [u8; 4] = [198, 51, 100, 7];

/// So many domains behind one exchanger.
fn many_domains(config: &str, host: Host) -> World {
    let mut world = World::new(2, config);
    world.names.address("mx.big.example", HOST);
    for n in 0..50 {
        world.names.mx(&format!("d{n}.example"), 10, "mx.big.example");
    }
    world.host(HOST, host);
    world
}

fn submit(world: &mut World, messages: usize) {
    for n in 0..messages {
        let to = format!("b{n}@d{}.example", n % 50);
        world.submit(n % 2, "a@from.example", &[&to], "x");
    }
}

/// 50 domains behind one MX set, two shards, five connections: never a sixth,
/// and all five are used.
///
/// Covers: A2.17
#[test]
fn a_connection_limit_holds_over_shards_and_domains() {
    let mut world = many_domains("[delivery]\nconnections = 5\n", Host::new().slow(200));
    submit(&mut world, 400);
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 400);
    assert_eq!(world.at(HOST).peak, 5);
    world.assert_over();
}

/// One connection for all: both shards get their turns.
#[test]
fn one_connection_is_shared_by_two_shards() {
    let mut world = many_domains("[delivery]\nconnections = 1\n", Host::new());
    submit(&mut world, 200);
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 200);
    assert_eq!(world.at(HOST).peak, 1);
    world.assert_over();
}

/// A shard that has sent all it had leaves the rate to the other one. It used to
/// ask for eight tokens whatever it had, and for eight more when it had nothing;
/// what came ran out, and the other's mail went at half the rate.
#[test]
fn a_shard_without_mail_takes_nothing_of_a_rate() {
    for lonely in [0, 1] {
        let mut world = many_domains("[delivery]\nrate = \"6/1m\"\n", Host::new());
        let of = |shard: u16| {
            let names = (0..50).map(|n| format!("d{n}.example"));
            let mut owned = names.filter(move |name| control::owner(name, 2).0 == shard);
            owned.next().expect("each shard has some")
        };
        world.submit(0, "a@from.example", &[&format!("one@{}", of(lonely))], "x");
        for n in 0..12 {
            world.submit(0, "a@from.example", &[&format!("b{n}@{}", of(1 - lonely))], "x");
        }
        // Thirteen tokens in 10.2 s each, and one that the first shard loses.
        world.run_for(seconds(150));
        assert_eq!(world.at(HOST).got.len(), 13, "{lonely}");
        world.run_for(minutes(2));
    }
}

/// With plenty of mail a site gets more connections than at first.
#[test]
fn a_site_that_takes_mail_gets_more_connections() {
    let mut world = many_domains("[delivery]\nconnections = 16\n", Host::new().slow(100));
    submit(&mut world, 600);
    world.run_for(minutes(5));
    assert_eq!(world.at(HOST).got.len(), 600);
    assert_eq!(world.at(HOST).peak, 16);
    world.assert_over();
}

/// 30 messages a minute over two shards: no window of a minute ever has more,
/// and most of the rate is used.
#[test]
fn a_rate_is_never_passed_and_nearly_used() {
    let mut world = many_domains("[delivery]\nrate = \"30/1m\"\n", Host::new());
    submit(&mut world, 150);
    world.run_for(minutes(7));
    let times: Vec<u64> = world.at(HOST).got.iter().map(|got| got.at.mono.as_millis()).collect();
    assert_eq!(times.len(), 150, "all delivered in seven minutes");
    for window in times.windows(31) {
        assert!(window[30] - window[0] >= 60_000, "31 within {} ms", window[30] - window[0]);
    }
    world.assert_over();
}

/// A slow rate is lifted: what was waiting for it goes at once.
#[test]
fn a_lifted_rate_is_waited_for_no_longer() {
    let mut world = many_domains("[delivery]\nrate = \"2/1h\"\n", Host::new());
    submit(&mut world, 20);
    world.run_for(minutes(10));
    assert!(world.at(HOST).got.len() <= 2);
    world.configure("");
    world.run_for(minutes(2));
    assert_eq!(world.at(HOST).got.len(), 20);
    // The account of a rate is kept for as long as it matters.
    world.run_for(minutes(70));
    world.assert_over();
}

/// A lowered limit holds as soon as the connections that stand have ended their
/// transactions.
#[test]
fn a_lowered_limit_is_reached_by_closing() {
    let mut world = many_domains("[delivery]\nconnections = 8\n", Host::new().slow(20));
    submit(&mut world, 400);
    world.run_for(seconds(3));
    assert!(world.at(HOST).open > 3, "{}", world.at(HOST).open);
    world.configure("[delivery]\nconnections = 3\n");
    world.run_for(seconds(3));
    let open = world.at(HOST).open;
    assert!(open <= 3, "{open} still open");
    world.at(HOST).peak = open;
    world.at(HOST).pace = 1_000;
    world.run_for(minutes(10));
    assert_eq!(world.at(HOST).got.len(), 400);
    assert_eq!(world.at(HOST).peak, 3);
    world.assert_over();
}

/// Nothing to do: a shard looks around once a second, and a wheel may wake it
/// once before.
#[test]
fn an_idle_shard_hardly_wakes() {
    let mut world = many_domains("", Host::new());
    submit(&mut world, 20);
    world.run_for(minutes(5));
    let before = world.ticks;
    world.run_for(minutes(60));
    let ticks = world.ticks - before;
    assert!(ticks <= 2 * 2 * 3_900, "{ticks} wake-ups of two shards in an idle hour");
}

/// Seed 811 of the simulator: our own machine has no descriptors, and the site
/// waits a second after each try. A permit that came back, or a token, used to
/// end that wait at once: the site dialled hundreds of times a second.
#[test]
fn a_permit_does_not_end_the_wait_for_descriptors() {
    for rate in ["none", "10/1m"] {
        let config = format!("[delivery]\nrate = \"{rate}\"\nconnections = 20\n");
        let shortage = Host::new().always(sim::Stage::Connect, sim::Act::Shortage);
        let mut world = many_domains(&config, shortage);
        submit(&mut world, 50);
        world.run_for(seconds(60));
        let dials = world.network.dialled.len();
        // One for each connection that a shard may open, each second at most.
        assert!((60..1_500).contains(&dials), "{rate}: {dials} dials in a minute");
        world.at(HOST).mend();
        world.run_for(minutes(10));
        world.assert_over();
    }
}

/// What binds is told once for as long as it does, by the word that `why` has
/// for it: the rate, and the connections, whichever shard asks for more.
///
/// Shows: A83
#[test]
fn a_limit_that_binds_is_told_once_and_not_for_each_message() {
    for (config, limit, most, rate) in [
        ("[delivery]\nrate = \"60/1m\"\n", "rate", 60, Some("60/1m")),
        ("[delivery]\nconnections = 1\n", "connections", 1, None),
    ] {
        let mut world = many_domains(config, Host::new().slow(100));
        submit(&mut world, 100);
        world.run_for(minutes(10));
        assert_eq!(world.at(HOST).got.len(), 100, "{config}");
        let told = world.logged("limit-reached");
        assert_eq!(told.len(), 1, "{told:?}");
        let line = told[0];
        assert_eq!((&line["limit"], &line["most"]), (&limit.into(), &most.into()), "{line}");
        assert_eq!(line["rate"].as_str(), rate, "{line}");
        assert!(line["of"].as_str().is_some_and(|of| of.contains("mx.big.example")), "{line}");
        world.assert_over();
    }
}

/// The connections of one shard alone use a limit up whose home is another:
/// nobody asks for more, and it is told all the same, once.
///
/// Shows: A83
#[test]
fn a_limit_is_told_of_wherever_its_home_is() {
    for number in 0..8 {
        let mut world = World::new(4, "[delivery]\nconnections = 1\n");
        let domain = format!("d{number}.example");
        world.names.exchanger(&domain, 10, "mx.big.example", HOST);
        world.host(HOST, Host::new().slow(100));
        for n in 0..40 {
            world.submit(0, "", &[&format!("{n}@{domain}")], "x");
        }
        world.run_for(minutes(10));
        assert_eq!(world.at(HOST).got.len(), 40);
        let told = world.logged("limit-reached");
        assert_eq!(told.len(), 1, "{domain}: {told:?}");
        assert_eq!((&told[0]["limit"], &told[0]["most"]), (&"connections".into(), &1.into()));
        world.assert_over();
    }
}
