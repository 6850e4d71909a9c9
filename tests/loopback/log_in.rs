//! Log-ins at a real Postfix that offers one mechanism at a time: each works,
//! under the right name, over TLS that is checked; and nothing that is logged
//! shows a secret.

use crate::support::postfix::Postfix;
use crate::support::{Config, Daemon, submit};

/// What a secret looks like in base64, alone and within a response of PLAIN.
const CODED: [&str; 4] =
    ["c2VjcmV0IG9mIHRpb", "AHRpbQBzZWNyZXQ", "c2VjcmV0IG9mIGFub", "AGFubgBzZWNyZXQ"];

/// Mail for d001.example goes out as tim, for d002.example as ann.
fn daemon(postfix: &Postfix, password: impl Fn(&str) -> String) -> Daemon {
    let route = |number: u8, user: &str| {
        format!(
            "match = \"d00{number}.example\"\nmode = \"relay\"\nhosts = [\"{}\"]\n\
             trust = \"{}\"\nauth = {{ user = \"{user}\", password_file = \"{user}.secret\" }}",
            postfix.address(),
            postfix.certificate().display(),
        )
    };
    let config = Config::new()
        .set("", "shards", "2")
        .set("log", "level", "\"detail\"")
        .set("delivery", "fallback", "false");
    let mut daemon = Daemon::prepare(config.route(&route(1, "tim")).route(&route(2, "ann")));
    for user in ["tim", "ann"] {
        daemon.scratch().write(&format!("{user}.secret"), &password(user));
    }
    daemon.launch();
    daemon
}

/// Covers: A5.12, A5.15
/// Shows: S2.1, S2.2, S2.3, A68
#[test]
fn each_mechanism_works_under_the_right_name_and_shows_no_secret() {
    for mechanism in ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"] {
        let postfix = Postfix::demanding(mechanism, "d001.example d002.example", &["tim", "ann"]);
        let daemon = daemon(&postfix, |user| format!("secret of {user}\n"));
        for number in 0..6 {
            let to = format!("b{number}@d00{}.example", 1 + number % 2);
            submit(daemon.address(), "a@source.example", &[&to]);
            let history = daemon.until_settled(&to, 1);
            assert_eq!(
                history[0].event,
                "delivered",
                "{mechanism}: {history:?}\n{}",
                postfix.log()
            );
        }
        let said = postfix.log();
        for user in ["tim", "ann"] {
            let name = format!("sasl_method={mechanism}, sasl_username={user}");
            assert_eq!(said.matches(&name).count(), 3, "{mechanism}, {user}:\n{said}");
        }
        let logs = daemon.all_logs();
        assert!(logs.contains(&format!("AUTH {mechanism}")), "{mechanism}: detail is on");
        assert!(!logs.contains("secret of"), "{mechanism}: a password is in a log");
        for coded in CODED {
            assert!(!logs.contains(coded), "{mechanism}: {coded} is in a log");
        }
    }
}

/// Covers: A5.14
#[test]
fn a_wrong_password_only_delays_and_is_said_in_the_peers_words() {
    let postfix = Postfix::demanding("PLAIN", "d001.example", &["tim", "ann"]);
    let daemon = daemon(&postfix, |_| "something else".to_owned());
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!(history[0].event, "deferred", "{history:?}");
    let line = daemon.until_logged("the refusal", |line| line["event"] == "deferred");
    let text = line.to_string();
    assert!(text.contains("4.7.8") && text.contains("refused our log-in"), "{text}");
    assert_eq!(postfix.count(), 0);
}

/// Each sender's mail goes out by its own log-in, over connections that nobody
/// else uses, however it comes in turn.
///
/// Shows: S2.3, S2.5, S2.24
#[test]
fn two_senders_at_one_relay_never_share_a_connection() {
    let postfix = Postfix::demanding("PLAIN", "d001.example", &["tim", "ann"]);
    let log_in = |user: &str| {
        format!(
            "match = \"{user}@source.example\", user = \"{user}\", password_file = \"{user}.secret\""
        )
    };
    let config = Config::new()
        .set("", "shards", "1")
        .set("log", "level", "\"detail\"")
        .set("delivery", "mode", "\"relay\"")
        .set("delivery", "hosts", &format!("[\"{}\"]", postfix.address()))
        .set("delivery", "trust", &format!("\"{}\"", postfix.certificate().display()))
        .set("delivery", "idle", "\"5m\"")
        .set("delivery", "connections", "1")
        .set(
            "delivery",
            "sender_auth",
            &format!("[{{ {} }}, {{ {} }}]", log_in("tim"), log_in("ann")),
        );
    let mut daemon = Daemon::prepare(config);
    for user in ["tim", "ann"] {
        daemon.scratch().write(&format!("{user}.secret"), &format!("secret of {user}\n"));
    }
    daemon.launch();
    for number in 0..8 {
        let user = ["tim", "ann"][number % 2];
        let to = format!("{user}{number}@d001.example");
        submit(daemon.address(), &format!("{user}@source.example"), &[&to]);
        let history = daemon.until_settled(&to, 1);
        assert_eq!(history[0].event, "delivered", "{history:?}\n{}", postfix.log());
    }
    let said = postfix.log();
    for user in ["tim", "ann"] {
        let logged = said.lines().filter(|line| line.contains(&format!("sasl_username={user}")));
        assert_eq!(logged.count(), 4, "{user}:\n{said}");
    }
    for text in postfix.delivered() {
        let user = if text.contains("Return-Path: <tim@") { "tim" } else { "ann" };
        assert!(
            text.contains(&format!("for <{user}"))
                || text.contains(&format!("Delivered-To: {user}")),
            "{text}"
        );
    }
    // With one connection allowed they take turns, each time with a new log-in.
    let logs = daemon.all_logs();
    assert!(!logs.contains("secret of"), "a password is in a log");
    for coded in CODED {
        assert!(!logs.contains(coded), "{coded} is in a log");
    }
    // Whose log-ins there are and where they are used, and nothing of a secret.
    let listed = daemon.verb(&["credentials"]).output().expect("the program runs");
    let shown = format!("{listed:?}{}", daemon.show("/v1/credentials"));
    for user in ["tim", "ann"] {
        let place = format!("delivery, sender {user}@source.example");
        assert!(shown.contains(&place) && shown.contains(&format!("{user}.secret")), "{shown}");
    }
    assert!(!shown.contains("secret of"), "{shown}");
    // A sender without a log-in is refused there, and nobody else's is used.
    submit(daemon.address(), "eve@source.example", &["eve@d001.example"]);
    let history = daemon.until_settled("eve@d001.example", 1);
    assert_ne!(history[0].event, "delivered", "{history:?}");
}
