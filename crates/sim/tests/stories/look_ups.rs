//! What the name server says, and what becomes of the mail.

use crate::stories_support::{HOST, SENDER, world};
use sim::{Host, World, minutes, seconds};

/// SERVFAIL, then silence: the mail waits, no attempt is counted and nothing
/// is bounced; with an answer it goes out.
/// Proves: RFC 5321 §4.5.4.1
/// Covers: A2.18, A2.25, B73, B82
#[test]
fn a_name_server_that_fails_makes_mail_wait_and_nothing_else() {
    let mut world = world("", Host::new());
    world.names.fail("there.example", true);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(60));
    assert_eq!(world.logged("deferred").len() + world.logged("failed").len(), 0);
    assert_eq!(world.rows()[0]["attempts"], 0);
    let asked = world.names.asked.len();
    assert!(asked < 600, "{asked} questions in an hour");
    world.names.fail("there.example", false);
    world.run_for(minutes(30));
    assert_eq!(world.logged("delivered")[0]["attempt"], 1);
    world.assert_over();
}

/// A name server that never answers is the same.
///
/// Covers: B60, B73, B82
#[test]
fn a_silent_name_server_makes_mail_wait() {
    let mut world = world("[delivery]\nlifetime = \"1h\"\n", Host::new());
    world.names.silence("gone.example");
    world.accept(0, "a@from.example", &["b@gone.example"]);
    world.run_for(minutes(59));
    assert_eq!(world.logged("deferred").len() + world.logged("expired").len(), 0);
    world.run_for(minutes(2));
    assert_eq!(world.logged("expired").len(), 1, "but not for ever");
    assert_eq!(world.at(SENDER).got.len(), 1);
    world.assert_over();
}

/// No such domain, a null MX, an exchanger without address: permanent, each
/// with its code, and the sender is told.
/// Proves: RFC 7505 §3, RFC 5321 §5.1
/// Covers: A2.22, A2.25, A2.27, A4.4, A7.12, B80
/// Shows: S1.10
#[test]
fn what_certainly_cannot_be_reached_is_returned() {
    let mut world = world("", Host::new());
    world.names.null_mx("null.example");
    world.names.mx("void.example", 10, "nothing.void.example");
    let cases = [("none.example", "5.1.2"), ("null.example", "5.1.10"), ("void.example", "5.4.4")];
    for (n, (domain, code)) in cases.into_iter().enumerate() {
        world.accept(0, "a@from.example", &[&format!("b@{domain}")]);
        world.run_for(seconds(10));
        let failed = world.logged("failed");
        assert_eq!(failed.len(), n + 1, "{domain}");
        assert_eq!(failed[n]["status"], code, "{domain}");
        assert_eq!(world.at(SENDER).got.len(), n + 1, "{domain}");
        assert!(world.at(SENDER).got[n].body.contains(&format!("Status: {code}")), "{domain}");
    }
    world.assert_over();
}

/// An MX that leads to our own machine or network is never dialled; with
/// `permit` it is.
///
/// Covers: A2.30, B79
/// Shows: A18
#[test]
fn a_forbidden_address_is_never_dialled() {
    for ip in [[127, 0, 0, 1], [10, 1, 2, 3], [169, 254, 1, 1]] {
        let mut world = world("", Host::new());
        world.names.exchanger("evil.example", 10, "mx.evil.example", ip);
        world.host(ip, Host::new());
        world.accept(0, "a@from.example", &["b@evil.example", "c@evil.example"]);
        world.run_for(minutes(1));
        assert_eq!(world.at(ip).connects.len(), 0, "{ip:?}");
        assert_eq!(world.logged("failed").len(), 2, "{ip:?}");
        world.assert_over();
        world.configure(
            "[egress]\npermit = [\"127.0.0.0/8\", \"10.0.0.0/8\", \"169.254.0.0/16\"]\n",
        );
        world.accept(0, "a@from.example", &["b@evil.example"]);
        world.run_for(minutes(1));
        assert_eq!(world.at(ip).got.len(), 1, "{ip:?}");
        world.assert_over();
    }
}

/// The address of a domain's first exchanger cannot be looked up, and its second
/// leads into our own network: the mail waits for the first. It is no reason to
/// return it that the second may never be dialled.
///
/// Covers: A2.25, A2.30, B73
#[test]
fn a_forbidden_exchanger_does_not_speak_for_one_that_is_unknown() {
    let mut world = world("", Host::new());
    world.names.exchanger("there.example", 20, "mx2.there.example", [10, 1, 2, 3]);
    world.names.fail("mx.there.example", true);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(10));
    assert_eq!(world.logged("failed").len(), 0);
    assert!(world.logged("shortage").len() <= 11, "once a minute will do");
    world.names.mend();
    world.run_for(minutes(7));
    assert_eq!(world.at(HOST).got.len(), 1);
    assert_eq!(world.logged("delivered")[0]["attempt"], 1, "no attempt was made before");
    world.assert_over();
}

/// A changed route takes waiting mail along: the next attempt already goes by
/// it, whatever the old one was waiting for.
///
/// Shows: S0.2, S3.21
#[test]
fn a_new_route_takes_waiting_mail_along() {
    let waits: [fn(&mut World); 3] = [
        |world| world.names.fail("there.example", true),
        |world| drop(world.network.hosts.remove(&HOST.into())),
        |world| {
            let busy = sim::Act::Say(451, "later");
            world.host(HOST, Host::new().always(sim::Stage::Rcpt, busy));
        },
    ];
    for (n, wait) in waits.into_iter().enumerate() {
        let mut world = world("", Host::new());
        wait(&mut world);
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.accept(0, "a@from.example", &["c@there.example"]);
        world.run_for(minutes(2));
        world.host([198, 51, 100, 50], Host::new());
        let route = "[[route]]\nmatch = \"there.example\"\nmode = \"relay\"\n\
                     hosts = [\"198.51.100.50:25\"]\n";
        world.configure(route);
        world.run_for(minutes(15));
        let delivered = world.at([198, 51, 100, 50]).delivered_to();
        assert_eq!(delivered, ["b@there.example", "c@there.example"], "case {n}");
        world.assert_over();
    }
}

/// All name servers fail, and the answers' time is over: mail goes on to be
/// delivered by the last good ones; the list says that they are stale, and a
/// flush makes the next attempt ask, which then waits.
///
/// Shows: S3.14, S3.18
#[test]
fn mail_goes_by_stale_answers_while_the_servers_fail() {
    let mut world = world("[delivery]\nretry = [\"10m\"]\n", Host::new());
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(5));
    let list = |world: &mut World| {
        let all = control::api::DnsCache { domain: None, limit: 10 };
        let body = world.command(control::Request::DnsCache(all)).body;
        let rows = body["domains"].as_array().cloned().unwrap();
        rows.into_iter().find(|row| row["domain"] == "there.example")
    };
    assert_eq!(list(&mut world).unwrap()["stale"], false);
    for name in ["there.example", "mx.there.example"] {
        world.names.fail(name, true);
    }
    world.run_for(minutes(180));
    world.accept(0, "a@from.example", &["c@there.example"]);
    world.run_for(minutes(2));
    assert_eq!(world.at(HOST).got.len(), 2, "it went by what was known");
    assert_eq!(list(&mut world).unwrap()["stale"], true);
    world.command(control::Request::DnsFlush(None));
    assert!(list(&mut world).is_none());
    world.accept(0, "a@from.example", &["d@there.example"]);
    world.run_for(minutes(2));
    assert_eq!(world.at(HOST).got.len(), 2, "nobody knows any more");
    for name in ["there.example", "mx.there.example"] {
        world.names.fail(name, false);
    }
    world.run_for(minutes(30));
    assert_eq!(world.at(HOST).got.len(), 3);
    world.assert_over();
}

/// Much mail waits for a name that turns out not to be there. It comes back in
/// pieces: a step that took all of it kept the shard from everything else, for
/// as long as it takes to read what may have waited for days.
#[test]
fn a_crowd_for_no_domain_comes_back_in_pieces() {
    let mut world = world("", Host::new());
    world.names.fail("gone.example", true);
    let all: Vec<String> = (0..5_000).map(|n| format!("b{n}@gone.example")).collect();
    for some in all.chunks(1_000) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        world.submit(0, "a@from.example", &some, "x");
    }
    world.run_for(seconds(20));
    assert_eq!(world.status()["recipients"]["ready"], 5_000);
    world.names.fail("gone.example", false);
    let (mut before, mut most) = (0, 0);
    world.run_until("the return of all", |world| {
        let failed = world.logged("failed").len();
        most = most.max(failed - before);
        before = failed;
        failed == 5_000
    });
    assert!(most <= 1_024, "{most} in one step");
    world.assert_over();
}
