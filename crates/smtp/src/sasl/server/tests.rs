//! Dialogues with our own client's side, and with clients that make no sense.

use super::*;
use crate::sasl::{Credentials, Dialogue, MECHANISMS, Mechanisms};

/// One user called `a=b,c`, with the password `pencil`.
struct One {
    busy: bool,
}

fn pencil() -> Keys {
    Keys::derive(b"pencil", b"salt of one", ITERATIONS_MIN)
}

impl Users for One {
    fn keys(&mut self, user: &str) -> Keys {
        if user == "a=b,c" { pencil() } else { Keys::derive(user.as_bytes(), b"none", 4_096) }
    }

    fn is_password(&mut self, user: &str, password: &[u8]) -> Option<bool> {
        (!self.busy).then(|| user == "a=b,c" && pencil().fit(password))
    }

    fn nonce(&mut self) -> [u8; 16] {
        [7; 16]
    }
}

/// What our client's side and this one come to.
fn talk(mechanism: Mechanism, user: &str, password: &[u8]) -> Step {
    let who = Credentials {
        user: user.into(),
        secret: Secret::new(password),
        mechanisms: Mechanisms::PASSWORD,
    };
    let mut client = Dialogue::new(mechanism, [3; 16]);
    let mut server = Challenger::new(mechanism).unwrap();
    let mut response = match client.initial(&who) {
        Some(initial) => initial,
        None => client.answer(&who, server.opening()).unwrap(),
    };
    loop {
        match server.response(&response, &mut One { busy: false }) {
            Step::Challenge(challenge) => response = client.answer(&who, &challenge).unwrap(),
            Step::Proved(user) => {
                assert_eq!(client.accepted(), Ok(()), "both sides are proved");
                return Step::Proved(user);
            }
            other => return other,
        }
    }
}

/// Proves: RFC 4954 §4
/// Covers: A5.10
/// Shows: A67
#[test]
fn whoever_knows_the_password_is_let_in_by_each_mechanism() {
    for (mechanism, name) in MECHANISMS {
        if Challenger::new(mechanism).is_none() {
            assert!(matches!(mechanism, Mechanism::CramMd5 | Mechanism::XOAuth2), "{name}");
            continue;
        }
        let right = talk(mechanism, "a=b,c", b"pencil");
        assert_eq!(right, Step::Proved("a=b,c".into()), "{name}");
        for (user, password) in [("a=b,c", &b"pencils"[..]), ("a=b,c", b""), ("x", b"pencil")] {
            let refused = Step::Refused { user: Some(user.into()) };
            assert_eq!(talk(mechanism, user, password), refused, "{name} {user}");
        }
    }
    let mut plain = Challenger::new(Mechanism::Plain).unwrap();
    assert_eq!(plain.response(b"\0a=b,c\0pencil", &mut One { busy: true }), Step::TryLater);
}

/// The example of the standard, octet for octet, from the server's side.
///
/// Proves: RFC 5802 §7
/// Covers: A5.16
#[test]
fn the_standards_example_is_proved() {
    struct Example;
    impl Users for Example {
        fn keys(&mut self, _: &str) -> Keys {
            let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
            Keys::derive(b"pencil", &salt, 4_096)
        }
        fn is_password(&mut self, _: &str, _: &[u8]) -> Option<bool> {
            None
        }
        fn nonce(&mut self) -> [u8; 16] {
            [0; 16]
        }
    }
    let mut server = Challenger(Stage::ScramFinal {
        user: "user".into(),
        keys: Example.keys("user"),
        nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(),
        so_far: "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)\
                 hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
            .into(),
    });
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(server.response(last, &mut Example), Step::Challenge(proof.to_vec()));
    assert_eq!(server.response(b"", &mut Example), Step::Proved("user".into()));
}

#[test]
fn responses_that_make_no_sense_prove_nothing() {
    let refused = |mechanism, responses: &[&[u8]]| {
        let mut server = Challenger::new(mechanism).unwrap();
        let steps = responses.iter().map(|r| server.response(r, &mut One { busy: false }));
        let last = steps.last().unwrap();
        assert!(matches!(last, Step::Refused { .. }), "{responses:?}: {last:?}");
    };
    for response in
        [&b""[..], b"\0", b"a\0b", b"\0\0x", b"other\0a=b,c\0pencil", b"\xff\0\0", b"\0a\0b\0c"]
    {
        refused(Mechanism::Plain, &[response]);
    }
    for first in [
        "",
        "n,,",
        "p=tls-unique,,n=a,r=x",
        "n,,n=a,r=",
        "n,,n=a=2Xb,r=x",
        "n,a=z,n=a,r=x",
        "n,,m=1,n=a,r=x",
    ] {
        refused(Mechanism::ScramSha256, &[first.as_bytes()]);
    }
    for last in [
        "",
        "c=biws",
        "c=biws,r=x,p=",
        "c=cD10bHM=,r=xBwcHBwcHBwcHBwcHBwcHBw==,p=AA==",
        "c=biws,r=xBwcHBwcHBwcHBwcHBwcHBw==,p=AA==",
    ] {
        refused(Mechanism::ScramSha256, &[b"n,,n=a,r=x", last.as_bytes()]);
    }
    // A dialogue that is over stays so.
    refused(Mechanism::Plain, &[b"", b"\0a=b,c\0pencil"]);
}

/// Proves: RFC 5803 §3
/// Covers: A5.16
#[test]
fn keys_are_written_and_read_back_within_their_bounds() {
    let text = pencil().to_text();
    assert_eq!(Keys::parse(text.as_bytes()), Some(pencil()));
    assert!(format!("{:?}", pencil()).contains("server: Secret(…)"), "nothing shows a key");
    for (from, to, good) in [
        ("$4096:", "$4095:", false),
        ("$4096:", "$32768:", true),
        ("$4096:", "$32769:", false),
        ("SCRAM-SHA-256", "SCRAM-SHA-1", false),
        ("$4096:", "$4096:#", false),
        (":", "", false),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_eq!(Keys::parse(changed.as_bytes()).is_some(), good, "{changed}");
    }
}
