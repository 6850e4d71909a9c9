//! SCRAM-SHA-256 as client, without channel binding.
//!
//! Never here: a password that is not proved by both sides. What is not ASCII
//! in a password goes in as it is: stringprep is left to whoever sets it.
//!
//! Read first: RFC 5802 §3, RFC 5802 §5, RFC 7677 §3.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{Credentials, SaslFault};

/// Fewest rounds that are believed: whoever stands between could ask for one,
/// and guess the password from the answer (RFC 7677 §4).
pub const ITERATIONS_MIN: u32 = 4_096;
/// Most rounds that are computed: what takes about 30 ms of a core.
pub const ITERATIONS_MAX: u32 = 100_000;

/// The client's side of one exchange.
#[derive(Debug)]
pub struct Scram {
    nonce: String,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    First,
    /// What the peer must answer.
    Final {
        signature: [u8; 32],
    },
    Proved,
}

impl Scram {
    pub(crate) fn new(nonce: [u8; 16]) -> Self {
        Self::with_nonce(STANDARD.encode(nonce))
    }

    fn with_nonce(nonce: String) -> Self {
        Self { nonce, stage: Stage::First }
    }

    /// The client-first-message.
    pub(crate) fn first(&self, user: &str) -> Vec<u8> {
        format!("n,,{}", self.first_bare(user)).into_bytes()
    }

    fn first_bare(&self, user: &str) -> String {
        // RFC 5802 §5.1: the two characters that have a meaning of their own.
        let user = user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// Whether the peer has shown that it knows the password.
    pub(crate) fn is_proved(&self) -> bool {
        matches!(self.stage, Stage::Proved)
    }

    pub(crate) fn answer(
        &mut self,
        who: &Credentials,
        challenge: &[u8],
    ) -> Result<Vec<u8>, SaslFault> {
        let text = str::from_utf8(challenge).map_err(|_| SaslFault::PeerMalformed)?;
        match self.stage {
            Stage::First => self.last(who, text),
            Stage::Final { signature } => {
                let claimed = text.strip_prefix("v=").ok_or(SaslFault::PeerUnproven)?;
                let claimed = claimed.split(',').next().unwrap_or_default();
                if STANDARD.decode(claimed).ok().as_deref() != Some(&signature[..]) {
                    return Err(SaslFault::PeerUnproven);
                }
                self.stage = Stage::Proved;
                Ok(Vec::new())
            }
            Stage::Proved => Err(SaslFault::PeerUnasked),
        }
    }

    /// Reads the server-first-message, makes the client-final-message.
    fn last(&mut self, who: &Credentials, server_first: &str) -> Result<Vec<u8>, SaslFault> {
        let Demand { nonce, salt, iterations } = Demand::parse(server_first)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(SaslFault::PeerMalformed);
        }
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(who.secret.expose(), &salt, iterations, &mut salted);
        let client_key = hmac(&salted, b"Client Key");
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        // `biws` is "n,," again: we bind to no channel.
        let without_proof = format!("c=biws,r={nonce}");
        let first = self.first_bare(&who.user);
        let message = format!("{first},{server_first},{without_proof}");
        let mut proof = hmac(&stored_key, message.as_bytes());
        for (byte, key) in proof.iter_mut().zip(client_key) {
            *byte ^= key;
        }
        let server_key = hmac(&salted, b"Server Key");
        self.stage = Stage::Final { signature: hmac(&server_key, message.as_bytes()) };
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }
}

/// A server-first-message.
struct Demand<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Demand<'a> {
    fn parse(text: &'a str) -> Result<Self, SaslFault> {
        let mut fields = text.split(',');
        let mut next = |name: &str| {
            fields.next().and_then(|field| field.strip_prefix(name)).ok_or(SaslFault::PeerMalformed)
        };
        let (nonce, salt, iterations) = (next("r=")?, next("s=")?, next("i=")?);
        let salt = STANDARD.decode(salt).map_err(|_| SaslFault::PeerMalformed)?;
        let iterations: u32 = iterations.parse().map_err(|_| SaslFault::PeerMalformed)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(SaslFault::PeerRounds(iterations));
        }
        Ok(Self { nonce, salt, iterations })
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use base::secret::Secret;

    use super::*;
    use crate::sasl::Mechanisms;

    fn pencil() -> Credentials {
        Credentials {
            user: "user".into(),
            secret: Secret::new(b"pencil"),
            mechanisms: Mechanisms::PASSWORD,
        }
    }

    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn exchange() -> Scram {
        Scram::with_nonce("rOprNGfwEbeRWgbNEkqO".into())
    }

    /// The example of the standard, octet for octet.
    ///
    /// Proves: RFC 7677 §3
    /// Covers: A5.15
    #[test]
    fn the_standards_example_comes_out() {
        let (who, mut scram) = (pencil(), exchange());
        assert_eq!(scram.first("user"), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = scram.answer(&who, SERVER_FIRST.as_bytes()).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(last).unwrap(), expected);
        assert!(!scram.is_proved());
        assert_eq!(scram.answer(&who, SERVER_FINAL), Ok(Vec::new()));
        assert!(scram.is_proved());
        assert_eq!(scram.answer(&who, SERVER_FINAL), Err(SaslFault::PeerUnasked));
    }

    #[test]
    fn a_peer_that_does_not_know_the_password_is_found_out() {
        let other = b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        for wrong in [&other[..], b"e=other-error", b"v=", b"", b"v=###"] {
            let (who, mut scram) = (pencil(), exchange());
            scram.answer(&who, SERVER_FIRST.as_bytes()).unwrap();
            assert_eq!(scram.answer(&who, wrong), Err(SaslFault::PeerUnproven), "{wrong:?}");
            assert!(!scram.is_proved());
        }
    }

    #[test]
    fn demands_out_of_bounds_are_refused() {
        let demand = |i: u32| format!("r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={i}");
        for (rounds, good) in [
            (1, false),
            (ITERATIONS_MIN - 1, false),
            (ITERATIONS_MIN, true),
            (ITERATIONS_MAX + 1, false),
            (u32::MAX, false),
        ] {
            let answer = exchange().answer(&pencil(), demand(rounds).as_bytes());
            let expected = if good { Ok(()) } else { Err(SaslFault::PeerRounds(rounds)) };
            assert_eq!(answer.map(|_| ()), expected, "{rounds}");
        }
        let bad: [&[u8]; 8] = [
            b"",
            b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=#,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
            b"m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"\xff",
        ];
        for challenge in bad {
            let answer = exchange().answer(&pencil(), challenge);
            assert_eq!(answer, Err(SaslFault::PeerMalformed), "{challenge:?}");
        }
    }

    #[test]
    fn a_name_with_signs_of_the_grammar_is_written_around() {
        assert_eq!(exchange().first_bare("a=b,c"), "n=a=3Db=2Cc,r=rOprNGfwEbeRWgbNEkqO");
    }
}
