//! Dialogues of the mechanisms that are older than SCRAM.

use super::*;

fn tim(secret: &[u8]) -> Credentials {
    let mechanisms = Mechanisms::PASSWORD;
    Credentials { user: "tim".into(), secret: Secret::new(secret), mechanisms }
}

fn begin(mechanism: Mechanism, who: &Credentials) -> (Dialogue, Option<Vec<u8>>) {
    let mut dialogue = Dialogue::new(mechanism, [7; 16]);
    let initial = dialogue.initial(who);
    (dialogue, initial)
}

#[test]
fn the_table_is_in_the_order_of_strength_and_names_are_heard_in_any_case() {
    for (place, (mechanism, name)) in MECHANISMS.iter().enumerate() {
        assert_eq!(*mechanism as usize, place);
        assert_eq!(Mechanism::named(name.to_lowercase().as_bytes()), Some(*mechanism));
    }
    assert_eq!(Mechanism::named(b"GSSAPI"), None);
    let both = Mechanisms::PASSWORD.and(Mechanisms::TOKEN.with(Mechanism::Plain));
    assert_eq!(both.iter().collect::<Vec<_>>(), [Mechanism::Plain]);
    assert_eq!(both.without(Mechanism::Plain), Mechanisms::NONE);
}

/// The example of the standard, octet for octet.
///
/// Proves: RFC 2195 §2
/// Covers: A5.15
#[test]
fn cram_md5_proves_the_password_without_sending_it() {
    let who = tim(b"tanstaaftanstaaf");
    let (mut dialogue, initial) = begin(Mechanism::CramMd5, &who);
    assert_eq!(initial, None);
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
    let response = dialogue.answer(&who, challenge).unwrap();
    assert_eq!(response, b"tim b913a602c7eda7a495b4e6e7334d3890");
    assert_eq!(dialogue.accepted(), Ok(()));
    assert_eq!(dialogue.answer(&who, challenge), Err(SaslFault::PeerUnasked));
}

/// Proves: RFC 4616 §2
/// Covers: A5.15
#[test]
fn plain_says_all_at_once() {
    let (mut dialogue, initial) = begin(Mechanism::Plain, &tim(b"tanstaaf"));
    assert_eq!(initial.unwrap(), b"\0tim\0tanstaaf");
    assert_eq!(dialogue.answer(&tim(b""), b""), Err(SaslFault::PeerUnasked));
}

#[test]
fn login_says_name_and_password_whatever_the_prompts() {
    let who = tim(b"secret");
    let (mut dialogue, initial) = begin(Mechanism::Login, &who);
    assert_eq!(initial, None);
    assert_eq!(dialogue.answer(&who, b"User Name").unwrap(), b"tim");
    assert_eq!(dialogue.answer(&who, b"").unwrap(), b"secret");
    assert_eq!(dialogue.answer(&who, b"Password:"), Err(SaslFault::PeerUnasked));
}

#[test]
fn a_token_is_sent_and_its_refusal_is_heard_out() {
    let (mut dialogue, initial) = begin(Mechanism::XOAuth2, &tim(b"ya29.x"));
    assert_eq!(initial.unwrap(), b"user=tim\x01auth=Bearer ya29.x\x01\x01");
    assert_eq!(dialogue.answer(&tim(b""), b"{\"status\":\"400\"}"), Ok(Vec::new()));
    assert_eq!(dialogue.answer(&tim(b""), b""), Err(SaslFault::PeerUnasked));
}

#[test]
fn success_without_the_peers_proof_is_no_success() {
    let (dialogue, _) = begin(Mechanism::ScramSha256, &tim(b"x"));
    assert_eq!(dialogue.accepted(), Err(SaslFault::PeerUnproven));
}

#[test]
fn only_those_that_prove_without_sending_keep_the_secret() {
    let sending = MECHANISMS.iter().filter(|(mechanism, _)| mechanism.sends_secret());
    let names: Vec<_> = sending.map(|(_, name)| *name).collect();
    assert_eq!(names, ["XOAUTH2", "PLAIN", "LOGIN"]);
}
