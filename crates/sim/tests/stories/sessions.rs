//! Who is connected is seen, in and out; one that is stuck is cut, and what it
//! carried is not lost.

use control::{By, Filter, Request};
use sim::{Act, Host, Stage, World, minutes, seconds};

use crate::stories_support::{HOST, world};

const MX: &str = "[delivery]\nretry = [\"7m\"]\njitter = \"0%\"\n";

/// A host that says nothing more: its session shows where it is stuck, and is
/// cut by name; the mail is deferred, or in doubt behind the final dot, and
/// arrives by its next attempt.
///
/// Shows: S2.17, A42
#[test]
fn a_stuck_session_is_seen_and_cut() {
    for (stage, phase, doubt) in [
        (Stage::Ehlo, "EHLO", false),
        (Stage::Rcpt, "RCPT", false),
        (Stage::Dot, "end of the message", true),
    ] {
        let mut world = world(MX, Host::new().next(stage, Act::Stall, 1));
        let id = world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(20));
        let told = world.command(Request::SessionsList(10)).body;
        let row = &told["sessions"][0];
        assert_eq!((&told["in"], &told["out"]), (&0.into(), &1.into()), "{told}");
        assert_eq!(row["way"], "out");
        let shown = row["phase"].as_str().unwrap();
        assert!(shown.contains(phase), "{stage:?}: {shown}");
        // Before EHLO nobody has chosen what it carries.
        let carried = (stage != Stage::Ehlo).then(|| id.to_string());
        assert_eq!(row["message"], serde_json::json!(carried));
        let age = row["age_ms"].as_u64().unwrap();
        assert!((19_000..20_100).contains(&age), "{age}");
        let name: Box<str> = row["session"].as_str().unwrap().into();
        assert_eq!(world.command(Request::SessionAbort(name.clone())).status, 200);
        world.run_for(seconds(1));
        assert_eq!(world.command(Request::SessionAbort(name)).status, 404, "it is gone");
        // Like a peer that has gone: another way is tried at once, where there
        // is one.
        let doubted = world.rows().iter().any(|row| row["in_doubt"] == true);
        assert_eq!(doubted, doubt, "{stage:?}");
        world.run_for(minutes(8));
        assert_eq!(world.at(HOST).got.len(), 1);
        world.assert_over();
    }
}

/// A client that fell silent is cut; it had no promise, so nothing is left.
///
/// Shows: S2.17, A42
#[test]
fn a_silent_client_is_cut() {
    let mut world = world(MX, Host::new());
    let hello = vec![b"EHLO client.example\r\n".to_vec()];
    world.session(0, hello.into());
    world.run_for(seconds(3));
    let told = world.command(Request::SessionsList(10)).body;
    let row = &told["sessions"][0];
    assert_eq!((&row["way"], &row["phase"]), (&"in".into(), &"MAIL".into()), "{told}");
    assert_eq!(row["bytes"], 21);
    let name: Box<str> = row["session"].as_str().unwrap().into();
    assert_eq!(world.command(Request::SessionAbort(name)).status, 200);
    assert_eq!(world.command(Request::SessionsList(10)).body["in"], 0);
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(5));
    world.assert_over();
}

/// What waits, by route: counted over all next hops, with its next attempt.
///
/// Shows: S2.20
#[test]
fn the_queue_is_seen_by_domain_site_and_route() {
    let config = format!("{MX}[[route]]\nmatch = \"*.slow.example\"\nretry = [\"1h\"]\n");
    let busy = Host::new().always(Stage::Rcpt, Act::Say(451, "mailbox busy"));
    let mut world = World::new(2, &config);
    world.names.address("mx.there.example", HOST);
    world.host(HOST, busy);
    for name in ["there.example", "a.slow.example", "b.slow.example"] {
        world.names.mx(name, 10, "mx.there.example");
        world.accept(0, "a@from.example", &[&format!("b@{name}")]);
    }
    world.run_for(minutes(1));
    for (by, key, name, count) in [
        (By::Domain, "domains", "there.example", 1),
        (By::Site, "sites", "mx:mx.there.example", 3),
        (By::Route, "routes", "*.slow.example", 2),
        (By::Route, "routes", "default", 1),
    ] {
        let list = Request::QueueList { by, filter: Filter::default(), limit: 20 };
        let told = world.command(list).body;
        let rows = told[key].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).expect(name);
        assert_eq!((&row["count"], &row["deferred"]), (&count.into(), &count.into()), "{told}");
        assert!(row["oldest"].as_str().unwrap().starts_with("2026-01-01T00:0"), "{row}");
        let next = if name == "*.slow.example" { "T01:00" } else { "T00:07" };
        assert!(row["next_attempt"].as_str().unwrap().contains(next), "{row}");
        if by != By::Route {
            assert!(row["reason"].as_str().unwrap().contains("mailbox busy"), "{row}");
            assert!(row["state"].is_string());
        }
        assert_eq!(row["ages"]["under_5m"], count, "{row}");
    }
}

/// Which limit binds, site by site.
///
/// Shows: A41
#[test]
fn limits_name_what_binds_at_each_site() {
    let config =
        "[delivery]\nconnections = 2\n[[route]]\nmatch = \"rated.example\"\nrate = \"6/1m\"\n";
    let mut world = world(config, Host::new().slow(1));
    world.names.exchanger("rated.example", 10, "mx.rated.example", [198, 51, 100, 8]);
    world.host([198, 51, 100, 8], Host::new());
    let second = "x".repeat(900);
    for n in 0..20 {
        for domain in ["there.example", "rated.example"] {
            world.submit(0, "a@from.example", &[&format!("b{n}@{domain}")], &second);
        }
    }
    world.run_for(seconds(5));
    let told = world.command(Request::Limits(10)).body;
    let of = |site: &str| {
        let rows = told["queues"].as_array().unwrap();
        rows.iter().find(|row| row["site"].as_str().unwrap().starts_with(site)).unwrap().clone()
    };
    let (there, rated) = (of("mx:mx.there.example"), of("mx:mx.rated.example"));
    assert_eq!((&there["cause"], &rated["cause"]), (&"connections".into(), &"rate".into()));
    assert_eq!(there["limits"]["connections_out"], 2);
    assert!(rated["limits"]["rate"].as_str().unwrap().starts_with("6/"), "{rated}");
    world.run_for(minutes(10));
    assert_eq!(world.command(Request::Limits(10)).body["queues"].as_array().unwrap().len(), 0);
}

/// A write into a mail folder is cut while nobody knows how it goes: it may be
/// done, so the mail is in doubt, and its next attempt finds the file.
#[test]
fn a_write_that_is_cut_leaves_its_mail_in_doubt() {
    let config = format!(
        "{MX}[[local]]\nmatch = \"here.example\"\ndeliver = {{ maildir = \"/var/mail/{{user}}\" }}\n"
    );
    let mut world = world(&config, Host::new());
    world.folders.next = [sim::Fault::Silent].into();
    world.accept(0, "a@from.example", &["ann@here.example"]);
    world.run_for(seconds(5));
    let told = world.command(Request::SessionsList(10)).body;
    let name: Box<str> = told["sessions"][0]["session"].as_str().unwrap().into();
    assert_eq!(world.command(Request::SessionAbort(name)).status, 200);
    world.run_for(seconds(1));
    assert_eq!(world.rows()[0]["in_doubt"], true);
    world.run_for(minutes(8));
    assert_eq!(world.folders.files.len(), 1);
    world.assert_over();
}
