//! Histories that keep the limits, and histories that pass them.

use super::*;
use crate::observation::Site;
use crate::oracle::play::{Play, REMOTE, TO};
use std::sync::Arc;

fn site(name: &str, domains: &[&str], address: SocketAddr) -> Site {
    let domains = domains.iter().map(|domain| (*domain).into()).collect();
    Site { name: name.into(), domains, addresses: vec![address.ip()] }
}

fn begun(make: impl FnOnce(&mut Way)) -> Play {
    let mut play = Play::of(Limits::default());
    let two = SocketAddr::new([198, 51, 100, 2].into(), 25);
    let sites =
        [site("one", &["one.example", "uno.example"], REMOTE), site("two", &["two.example"], two)];
    play.see(Observation::Topology(Arc::from(sites)));
    play.rules(|rules| make(&mut rules.default));
    play.after(10);
    play
}

#[test]
fn connections_within_the_limit_are_fine() {
    let mut play = begun(|way| way.connections = 2);
    for round in 0..3 {
        for conn in [1, 3] {
            play.dialled(10 * round + conn);
            play.envelope(10 * round + conn, &[TO]);
        }
        for conn in [1, 3] {
            play.ended(10 * round + conn);
        }
    }
    play.fine();
}

#[test]
fn one_connection_too_many_is_caught_over_all_shards() {
    let mut play = begun(|way| way.connections = 2);
    for shard in 0..3 {
        let link = Link { shard, conn: 1 };
        play.see(Observation::Dialled { link, to: REMOTE, from: None });
    }
    play.caught("3 connections");
    // A site is all of its addresses.
    let mut play = Play::of(Limits::default());
    let other = SocketAddr::new([198, 51, 100, 9].into(), 25);
    let mut both = site("one", &["one.example"], REMOTE);
    both.addresses.push(other.ip());
    play.see(Observation::Topology(Arc::from([both])));
    play.rules(|rules| rules.default.connections = 1);
    play.after(10).dialled(1);
    play.envelope(1, &[TO]);
    play.dialled_to(3, other);
    play.envelope(3, &[TO]);
    play.caught("2 connections to one");
}

#[test]
fn a_lowered_limit_lets_old_connections_be_and_no_new_ones_in() {
    let mut play = begun(|way| way.connections = 3);
    for conn in [1, 3, 5] {
        play.dialled(conn);
        play.envelope(conn, &[TO]);
    }
    play.rules(|rules| rules.default.connections = 1);
    play.after(10).envelope(1, &["c@uno.example"]);
    play.ended(1);
    // The attempt goes on at its next host.
    play.after(5).dialled(7);
    play.envelope(7, &[TO]);
    play.ended(7);
    play.still_fine();
    play.after(60).dialled(9);
    play.envelope(9, &[TO]);
    play.caught("3 connections to one");
}

#[test]
fn a_crash_frees_all_connections() {
    let mut play = begun(|way| way.connections = 1);
    play.dialled(1);
    play.crash(false);
    play.dialled(1);
    play.fine();
}

#[test]
fn a_route_with_its_own_limits_counts_apart() {
    let mut play = begun(|_| ());
    play.rules(|rules| {
        rules.default.connections = 1;
        let route = Way {
            pattern: "uno.example".into(),
            own_limits: true,
            connections: 1,
            ..Way::default()
        };
        rules.routes.push(route);
    });
    play.after(10).dialled(1);
    play.envelope(1, &[TO]);
    play.dialled(3);
    play.envelope(3, &["b@uno.example"]);
    play.still_fine();
    play.dialled(5);
    play.caught("3 connections");
}

#[test]
fn a_fallback_to_the_same_host_counts_for_nobody_knows_whom() {
    for fallback in [true, false] {
        let mut play = begun(|_| ());
        play.rules(|rules| {
            rules.default.connections = 2;
            let hosts = vec![REMOTE];
            let pattern = "one.example".into();
            let connections = 1;
            rules.routes.push(Way { pattern, hosts, fallback, connections, ..Way::default() });
        });
        play.after(10);
        for conn in [1, 3] {
            play.dialled(conn);
            play.envelope(conn, &[TO]);
        }
        if fallback { play.fine() } else { play.caught("2 connections to relay") }
    }
}

fn send(play: &mut Play, conn: u64) {
    play.envelope(conn, &[TO]);
    play.heard(conn, Command::Dot);
}

#[test]
fn messages_over_the_rate_are_caught_in_any_window() {
    let mut play = begun(|way| way.rate = Some((3, Duration::from_secs(60))));
    play.after(600).dialled(1);
    for _ in 0..4 {
        send(play.after(25), 1);
    }
    play.still_fine();
    send(play.after(5), 1);
    play.caught("more than 3 messages");
}

#[test]
fn what_one_connection_and_one_transaction_carry_is_bounded() {
    let mut play = begun(|way| {
        way.messages_per_connection = 2;
        way.recipients_per_message = 2;
    });
    play.dialled(1);
    play.envelope(1, &[TO, "c@one.example"]);
    play.still_fine();
    let mut wide = play.again();
    wide.envelope(1, &[TO, "c@one.example", "d@one.example"]);
    wide.caught("3 recipients at once");
    for _ in 0..3 {
        send(&mut play, 1);
    }
    play.caught("3 messages over");
}

#[test]
fn a_client_beyond_the_bound_is_not_served() {
    let mut play = Play::of(Limits::default());
    play.rules(|rules| rules.clients = 1);
    let mail = |play: &mut Play, conn| {
        let (client, to) = (Play::link(conn), Verb::Mail);
        play.after(1).see(Observation::Answered { client, message: 1, to, code: 250, id: None });
    };
    mail(&mut play, 2);
    play.see(Observation::ClientGone { client: Play::link(2), by_us: true });
    mail(&mut play, 4);
    let (client, to) = (Play::link(4), Verb::Dot);
    play.see(Observation::Answered { client, message: 1, to, code: 250, id: None });
    mail(&mut play, 4);
    play.still_fine();
    mail(&mut play, 6);
    play.caught("2 clients at once");
}
