//! One table: what a peer may do, at each stage, and what comes of it.

use super::*;

/// What a peer may do where the last reply of `before` leaves off.
struct Stage {
    name: &'static str,
    before: &'static [&'static str],
    /// What follows on a 4yz, a 5yz, a 421, a 2yz about the connection,
    /// garbage, a lost connection and a deadline.
    then: [&'static str; 7],
}

const BEHAVIOUR: [&str; 7] = ["450 x|", "550 x|", "421 x|", "221 x|", "hello|", "close", "late"];

const STAGES: [Stage; 6] = [
    Stage {
        name: "greeting",
        before: &[],
        then: [
            "closed, deferred 4.0.0 Host",
            "closed, failed 5.0.0 Host",
            "closed, deferred 4.3.2 Host",
            "> EHLO out.example|",
            "closed, deferred 4.5.0 Host",
            "closed, deferred 4.4.2 Host",
            "closed, deferred 4.4.2 Host",
        ],
    },
    Stage {
        name: "EHLO",
        before: &["220 hi|"],
        then: [
            "closed, deferred 4.0.0 Host",
            "> HELO out.example|",
            "closed, deferred 4.3.2 Host",
            "closed, deferred 4.5.0 Host",
            "closed, deferred 4.5.0 Host",
            "closed, deferred 4.4.2 Host",
            "closed, deferred 4.4.2 Host",
        ],
    },
    Stage {
        name: "MAIL",
        before: &["220 hi|", PLAIN],
        then: [
            "0 deferred 4.0.0 Transaction|1 deferred 4.0.0 Transaction|done",
            "0 failed 5.0.0 Transaction|1 failed 5.0.0 Transaction|done",
            "0 deferred 4.3.2 Host|1 deferred 4.3.2 Host|closed, deferred 4.3.2 Host",
            "0 deferred 4.5.0 Host|1 deferred 4.5.0 Host|closed, deferred 4.5.0 Host",
            "0 deferred 4.5.0 Host|1 deferred 4.5.0 Host|closed, deferred 4.5.0 Host",
            "0 deferred 4.4.2 Host|1 deferred 4.4.2 Host|closed, deferred 4.4.2 Host",
            "0 deferred 4.4.2 Host|1 deferred 4.4.2 Host|closed, deferred 4.4.2 Host",
        ],
    },
    Stage {
        name: "RCPT",
        before: &["220 hi|", PLAIN, "250 ok|", "250 ok|"],
        then: [
            "1 deferred 4.2.0 Recipient|> DATA|",
            "1 failed 5.1.1 Recipient|> DATA|",
            "0 deferred 4.3.2 Host|1 deferred 4.3.2 Host|closed, deferred 4.3.2 Host",
            "0 deferred 4.5.0 Host|1 deferred 4.5.0 Host|closed, deferred 4.5.0 Host",
            "0 deferred 4.5.0 Host|1 deferred 4.5.0 Host|closed, deferred 4.5.0 Host",
            "0 deferred 4.4.2 Host|1 deferred 4.4.2 Host|closed, deferred 4.4.2 Host",
            "0 deferred 4.4.2 Host|1 deferred 4.4.2 Host|closed, deferred 4.4.2 Host",
        ],
    },
    Stage {
        name: "DATA",
        before: &["220 hi|", PLAIN, "250 ok|", "250 ok|", "550 5.1.1 no|"],
        then: [
            "0 deferred 4.0.0 Transaction|> RSET|",
            "0 failed 5.0.0 Transaction|> RSET|",
            "0 deferred 4.3.2 Host|closed, deferred 4.3.2 Host",
            "0 deferred 4.5.0 Host|closed, deferred 4.5.0 Host",
            "0 deferred 4.5.0 Host|closed, deferred 4.5.0 Host",
            "0 deferred 4.4.2 Host|closed, deferred 4.4.2 Host",
            "0 deferred 4.4.2 Host|closed, deferred 4.4.2 Host",
        ],
    },
    Stage {
        name: "dot",
        before: &["220 hi|", PLAIN, "250 ok|", "250 ok|", "550 5.1.1 no|", "354 go|"],
        then: [
            "0 deferred 4.0.0 Transaction|done",
            "0 failed 5.0.0 Transaction|done",
            "0 deferred 4.3.2 Host|closed, deferred 4.3.2 Host",
            "0 in doubt 4.5.0|closed, deferred 4.5.0 Host",
            "0 in doubt 4.5.0|closed, deferred 4.5.0 Host",
            "0 in doubt 4.4.2|closed, deferred 4.4.2 Host",
            "0 in doubt 4.4.2|closed, deferred 4.4.2 Host",
        ],
    },
];

/// Faults 38 to 45 of the catalogue.
///
/// Proves: RFC 5321 §4.2.1, RFC 5321 §3.8, RFC 5321 §4.2.5
/// Covers: A2.2, A2.7, A2.8, A2.9, A2.10, B39, B40, B41, B42, B43, B44
#[test]
fn each_behaviour_at_each_stage_has_its_verdict() {
    for Stage { name, before, then } in STAGES {
        for (behaviour, expected) in BEHAVIOUR.iter().zip(then) {
            let mut play = Play::new(Tls::None, Some(to(TWO)));
            play.hear(before).log();
            let log = play.hear(&[behaviour]).log();
            // A goodbye may be said before; the peer takes its time.
            let log = log.replace("> QUIT|", "") + &play.hear(&["221 bye|"]).log();
            let log = log.trim_start_matches('\n').replace("|\n", "|").replace('\n', "|");
            assert!(log.starts_with(expected), "{behaviour} to {name}: {log}");
            assert!(!log.contains("delivered"), "{behaviour} to {name}: {log}");
        }
    }
}
