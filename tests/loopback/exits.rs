//! Ways out: a real Postfix sees the addresses and names that mail leaves by,
//! and an address that is gone costs no attempt.

use crate::support::postfix::Postfix;
use crate::support::{Config, Daemon, submit, until};

const A: &str = "name = \"a\"\naddress = \"127.0.0.21\"\nhostname = \"a.out.example\"";
const B: &str = "name = \"b\"\naddress = \"127.0.0.22\"\nhostname = \"b.out.example\"";
/// No address of this machine.
const GONE: &str = "name = \"gone\"\naddress = \"192.0.2.77\"";

/// Sends `count` messages to `domain` and waits for all of them.
fn send(daemon: &Daemon, count: usize, domain: &str) {
    for number in 0..count {
        submit(daemon.address(), "a@source.example", &[&format!("b{number}@{domain}")]);
    }
    for number in 0..count {
        let history = daemon.until_settled(&format!("b{number}@{domain}"), 1);
        assert_eq!(history[0].event, "delivered", "{history:?}");
    }
}

/// Shows: A11, A12, S0.7, S2.7, S2.25
#[test]
fn each_source_is_seen_by_its_address_under_its_name() {
    let postfix = Postfix::receiving("d001.example d002.example d003.example");
    let config = Config::relay(postfix.address())
        .table("source", A)
        .table("source", B)
        .table("pool", "name = \"both\"\nsources = [{ source = \"a\", weight = 3 }, \"b\"]")
        .set("delivery", "source", "\"both\"")
        .route("match = \"d002.example\"\nsource = \"b\"")
        .route("match = \"d003.example\"\nsource = \"none\"");
    let daemon = Daemon::start(config);
    send(&daemon, 24, "d001.example");
    send(&daemon, 3, "d002.example");
    send(&daemon, 3, "d003.example");
    until("all of it", crate::support::PATIENCE, || (postfix.count() == 30).then_some(()));
    let (mut of_a, mut of_b, mut of_none) = (0, 0, 0);
    for text in postfix.delivered() {
        let first = text.lines().find(|line| line.starts_with("Received: from"));
        let first = first.unwrap_or_else(|| panic!("no trace field:\n{text}"));
        let seen = |name: &str, ip: &str| {
            first.starts_with(&format!("Received: from {name} ")) && first.contains(ip)
        };
        if seen("a.out.example", "[127.0.0.21]") {
            of_a += 1;
            assert!(text.contains("@d001.example>"), "by the wrong source:\n{text}");
        } else if seen("b.out.example", "[127.0.0.22]") {
            of_b += 1;
            assert!(!text.contains("@d003.example>"), "by the wrong source:\n{text}");
        } else {
            assert!(seen("ringpost.example", "[127.0.0.1]"), "{first}");
            assert!(text.contains("@d003.example>"), "by the wrong source:\n{text}");
            of_none += 1;
        }
    }
    assert_eq!((of_a + of_b, of_none), (27, 3));
    assert!(of_a > 0 && of_b > 3, "both share the load: {of_a} and {of_b}");
    let logged = |source: &str| {
        let of = |line: &serde_json::Value| line["source"] == source;
        daemon.events("delivered").into_iter().filter(of).count()
    };
    assert_eq!((logged("a"), logged("b")), (of_a, of_b));
}

/// Shows: A15
#[test]
fn a_source_whose_address_is_gone_is_passed_over_and_costs_no_attempt() {
    let postfix = Postfix::receiving("d001.example d002.example");
    let config = Config::relay(postfix.address())
        .table("source", A)
        .table("source", GONE)
        .table("pool", "name = \"both\"\nsources = [\"a\", { source = \"gone\", weight = 9 }]")
        .set("delivery", "source", "\"both\"")
        .set("delivery", "fallback", "false");
    let alone = config.clone().route("match = \"d002.example\"\nsource = \"gone\"");
    let mut daemon = Daemon::start(alone);
    send(&daemon, 12, "d001.example");
    for line in daemon.events("delivered") {
        assert_eq!((&line["source"], &line["attempt"]), (&"a".into(), &1.into()), "{line}");
    }
    let alert = daemon.until_logged("the alert", |line| line["event"] == "source-suspended");
    assert_eq!(alert["source"], "gone");
    assert!(alert["reason"].as_str().is_some_and(|why| why.contains("192.0.2.77")), "{alert}");

    // With no other source its mail waits, and is not counted as tried.
    submit(daemon.address(), "a@source.example", &["late@d002.example"]);
    daemon.until_log_is_written();
    assert!(daemon.history("late@d002.example").is_empty());
    let row = &daemon.list("domain=d002.example")[0];
    assert_eq!(row["attempts"], 0, "{row}");
    daemon.configure(config);
    daemon.process().signal(rustix::process::Signal::HUP);
    let history = daemon.until_settled("late@d002.example", 1);
    assert_eq!((history[0].event.as_str(), history[0].attempt), ("delivered", 1));
}
