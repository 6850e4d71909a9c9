//! Log-ins: which mechanism, over which connection, and what a refusal means.

use base::secret::Secret;

use super::*;
use crate::auth::LogIn;
use crate::sasl::{Credentials, Mechanism, Mechanisms};

fn log_in(mechanisms: Mechanisms) -> LogIn {
    let credentials = Credentials { user: "tim".into(), secret: Secret::new(b"pass"), mechanisms };
    LogIn {
        credentials: Arc::new(credentials),
        secret_in_tls: true,
        secret_in_clear: false,
        nonce: [0; 16],
    }
}

fn session(tls: Tls, log_in: LogIn, replies: &[&str]) -> String {
    let mut play = Play::new(tls, None);
    let settings = Settings { log_in: Some(log_in), ..settings(tls) };
    play.client = Client::new(settings, play.now);
    play.hear(replies).log()
}

const OFFERS: &str = "250-mx|250 AUTH LOGIN plain CRAM-MD5 NTLM|";

/// base64 of `\0tim\0pass`, `tim` and `pass`.
const PLAIN_RESPONSE: &str = "AHRpbQBwYXNz";

/// Proves: RFC 4954 §4
/// Covers: A5.12
/// Shows: S2.2
#[test]
fn the_strongest_mechanism_that_both_know_is_used() {
    let log = session(
        Tls::Implicit,
        log_in(Mechanisms::PASSWORD),
        &["220 hi|", OFFERS, "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2U+|", "235 2.7.0 in|"],
    );
    // As any implementation of HMAC-MD5 has it for this challenge.
    let response = "dGltIGUxOTQyODhhMzgxMTk2NWFkZjE5NzNkZTRmZTQ3MmY2";
    assert_eq!(log, format!("> EHLO out.example|\n> AUTH CRAM-MD5|\n> {response}|\nready"));

    let plain = Mechanisms::NONE.with(Mechanism::Plain);
    let log = session(Tls::Implicit, log_in(plain), &["220 hi|", OFFERS, "235 in|"]);
    let expected = format!("> EHLO out.example|\n> AUTH PLAIN {PLAIN_RESPONSE}|\nready");
    assert_eq!(log, expected);

    let login = Mechanisms::NONE.with(Mechanism::Login);
    let replies = ["220 hi|", OFFERS, "334 VXNlcm5hbWU6|", "334 no base64!|", "235 in|"];
    let log = session(Tls::Implicit, log_in(login), &replies);
    assert_eq!(log, "> EHLO out.example|\n> AUTH LOGIN|\n> dGlt|\n> cGFzcw==|\nready");
}

/// Proves: RFC 4954 §4
/// Covers: A5.12
#[test]
fn an_initial_response_too_long_for_the_line_waits_to_be_asked_for() {
    let long = "x".repeat(600);
    let credentials = Credentials {
        user: "tim".into(),
        secret: Secret::new(long.as_bytes()),
        mechanisms: Mechanisms::TOKEN,
    };
    let log_in = LogIn { credentials: Arc::new(credentials), ..log_in(Mechanisms::TOKEN) };
    let hello = "250-mx|250 AUTH XOAUTH2|";
    let log = session(Tls::Implicit, log_in.clone(), &["220 hi|", hello, "334 |", "235 in|"]);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[1], "> AUTH XOAUTH2|");
    assert!(lines[2].len() > 800, "{log}");
    assert_eq!(lines[3], "ready");

    // The peer says in a challenge what is wrong, and wants an empty answer.
    let replies = ["220 hi|", hello, "334 |", "334 eyJzIjo0MDB9|", "535 5.7.8 no|", "221 |"];
    let log = session(Tls::Implicit, log_in, &replies);
    assert!(log.ends_with("> |\n> QUIT|\nclosed, deferred 4.7.8 Host"), "{log}");
}

/// Proves: RFC 4954 §9
/// Covers: A5.13
/// Shows: A68
#[test]
fn no_secret_goes_over_a_connection_that_is_not_good_enough() {
    let plain = log_in(Mechanisms::NONE.with(Mechanism::Plain));
    let left = "> EHLO out.example|\n> QUIT|\nclosed, deferred 4.7.4 Host";
    let replies = ["220 hi|", OFFERS, "221 bye|"];
    assert_eq!(session(Tls::None, plain.clone(), &replies), left);
    let unchecked = LogIn { secret_in_tls: false, ..plain.clone() };
    assert_eq!(session(Tls::Implicit, unchecked.clone(), &replies), left);
    let allowed = LogIn { secret_in_clear: true, ..plain };
    assert!(session(Tls::None, allowed, &replies).contains(PLAIN_RESPONSE));
    // What proves without sending may be used anywhere.
    let all = LogIn { secret_in_tls: false, ..log_in(Mechanisms::PASSWORD) };
    assert!(session(Tls::None, all, &replies).contains("AUTH CRAM-MD5|"));
}

#[test]
fn offers_from_before_tls_count_for_nothing_and_old_ones_are_heard() {
    let plain = log_in(Mechanisms::NONE.with(Mechanism::Plain));
    let starttls = "250-mx|250-AUTH PLAIN|250 STARTTLS|";
    let log = session(
        Tls::Required,
        plain.clone(),
        &["220 hi|", starttls, "220 go|", "tls", "250 mx|", "221 |"],
    );
    assert!(!log.contains("AUTH"), "{log}");
    assert!(log.ends_with("closed, deferred 4.7.4 Host"), "{log}");
    let log = session(Tls::Implicit, plain, &["220 hi|", "250-mx|250 AUTH=PLAIN LOGIN|"]);
    assert!(log.contains("AUTH PLAIN"), "{log}");
}

/// A wrong password is our trouble, not the mail's; it is said once.
///
/// Proves: RFC 4954 §6
/// Covers: A5.14
#[test]
fn a_refusal_never_fails_mail_and_only_an_unknown_mechanism_is_followed_by_the_next() {
    let replies = |reply| ["220 hi|", OFFERS, reply, "221 bye|"];
    for (reply, end) in [
        ("535 5.7.8 wrong|", "> QUIT|\nclosed, deferred 4.7.8 Host"),
        ("454 4.7.0 later|", "> QUIT|\nclosed, deferred 4.7.8 Host"),
        ("421 4.3.2 bye|", "closed, deferred 4.3.2 Host"),
        ("221 bye|", "closed, deferred 4.5.0 Host"),
        ("235 in|", "ready\nclosed, deferred 4.5.0 Host"),
        ("close", "closed, deferred 4.4.2 Host"),
        ("late", "closed, deferred 4.4.2 Host"),
        ("504 not that|", "> AUTH LOGIN|\nclosed, deferred 4.5.0 Host"),
        ("534 too weak|", "> AUTH LOGIN|\nclosed, deferred 4.5.0 Host"),
    ] {
        let some = Mechanisms::NONE.with(Mechanism::Plain).with(Mechanism::Login);
        let log = session(Tls::Implicit, log_in(some), &replies(reply));
        assert!(log.ends_with(end), "{reply}: {log}");
        assert_eq!(log.matches("AUTH PLAIN").count(), 1, "{reply}: {log}");
    }
}

/// Proves: RFC 4954 §4
/// Covers: A5.12
#[test]
fn a_dialogue_that_makes_no_sense_is_cancelled() {
    let plain = Mechanisms::NONE.with(Mechanism::Plain);
    let log = session(
        Tls::Implicit,
        log_in(plain),
        &["220 hi|", OFFERS, "334 more|", "501 cancelled|", "221 |"],
    );
    assert!(log.ends_with("> *|\n> QUIT|\nclosed, deferred 4.7.4 Host"), "{log}");
    let scram = Mechanisms::NONE.with(Mechanism::ScramSha256);
    let hello = "250-mx|250 AUTH SCRAM-SHA-256|";
    // Success without the peer's own proof: it does not know the password.
    let log = session(Tls::Implicit, log_in(scram), &["220 hi|", hello, "235 in|"]);
    assert!(log.ends_with("closed, deferred 4.7.4 Host"), "{log}");
    // A cancelled dialogue cannot succeed.
    let log = session(Tls::Implicit, log_in(plain), &["220 hi|", OFFERS, "334 more|", "235 in|"]);
    assert!(log.ends_with("> *|\nclosed, deferred 4.5.0 Host"), "{log}");
}
