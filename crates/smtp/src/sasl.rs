//! How a client proves who it is: SASL mechanisms as dialogues of challenges
//! and responses, without the SMTP around them (`auth`).
//!
//! Never here: base64 and lines, whether a mechanism may be used over this
//! connection, randomness (the nonce is an argument). What a peer sends is
//! bounded by the reply reader; how long it can make us compute, by
//! [`scram::ITERATIONS_MAX`].
//!
//! Read first: RFC 4422 §3, RFC 4616 §2, RFC 2195 §2.

pub mod scram;
pub mod server;

use std::fmt;

use base::hex;
use base::secret::Secret;
use hmac::{Hmac, Mac};
use md5::Md5;

use scram::Scram;

/// A way to prove who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// SCRAM-SHA-256 (RFC 7677 §3): the password is not sent, and the peer
    /// proves that it knows it, too.
    ScramSha256,
    /// CRAM-MD5 (RFC 2195 §2): the password is not sent.
    CramMd5,
    /// XOAUTH2: a token instead of a password, sent as it is.
    XOAuth2,
    /// PLAIN (RFC 4616 §2): the password, sent as it is.
    Plain,
    /// LOGIN: the same in two steps; never standardised, widely spoken.
    Login,
}

/// All mechanisms and their names, strongest first: the order in which they
/// are tried.
pub const MECHANISMS: [(Mechanism, &str); 5] = [
    (Mechanism::ScramSha256, "SCRAM-SHA-256"),
    (Mechanism::CramMd5, "CRAM-MD5"),
    (Mechanism::XOAuth2, "XOAUTH2"),
    (Mechanism::Plain, "PLAIN"),
    (Mechanism::Login, "LOGIN"),
];

impl Mechanism {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        MECHANISMS[self as usize].1
    }

    /// The mechanism of that name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        let known =
            MECHANISMS.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map(|(mechanism, _)| *mechanism)
    }

    /// Whether whoever reads along learns the secret.
    pub fn sends_secret(self) -> bool {
        matches!(self, Self::XOAuth2 | Self::Plain | Self::Login)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of mechanisms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms(u8);

impl Mechanisms {
    /// No mechanism.
    pub const NONE: Self = Self(0);

    /// What a password may be used with.
    pub const PASSWORD: Self = Self::NONE
        .with(Mechanism::ScramSha256)
        .with(Mechanism::CramMd5)
        .with(Mechanism::Plain)
        .with(Mechanism::Login);

    /// What we serve.
    pub const SERVED: Self =
        Self::NONE.with(Mechanism::ScramSha256).with(Mechanism::Plain).with(Mechanism::Login);

    /// What a token may be used with.
    pub const TOKEN: Self = Self::NONE.with(Mechanism::XOAuth2);

    /// This set and `mechanism`.
    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | 1 << mechanism as u8)
    }

    /// This set without `mechanism`.
    #[must_use]
    pub const fn without(self, mechanism: Mechanism) -> Self {
        Self(self.0 & !(1 << mechanism as u8))
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `mechanism` is in the set.
    pub const fn has(self, mechanism: Mechanism) -> bool {
        self.0 & 1 << mechanism as u8 != 0
    }

    /// The set, strongest first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        MECHANISMS.iter().map(|(mechanism, _)| *mechanism).filter(move |one| self.has(*one))
    }
}

/// Who we are to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The name to log in with; no NUL.
    pub user: Box<str>,
    /// The password, or the token.
    pub secret: Secret,
    /// What may be tried with it.
    pub mechanisms: Mechanisms,
}

/// Why a dialogue cannot go on. None of them is told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslFault {
    /// A challenge where none is due.
    #[error("the peer asked for more than the mechanism has")]
    PeerUnasked,
    /// A challenge that the mechanism does not know.
    #[error("the peer's challenge makes no sense")]
    PeerMalformed,
    /// Fewer rounds than are safe, or more than we are willing to compute.
    #[error("the peer demands {0} rounds of hashing")]
    PeerRounds(u32),
    /// The peer does not know our password: it is not who it should be.
    #[error("the peer could not prove that it knows the password")]
    PeerUnproven,
}

/// One dialogue.
#[derive(Debug)]
pub struct Dialogue {
    mechanism: Mechanism,
    /// Challenges answered.
    answered: u8,
    scram: Option<Scram>,
}

impl Dialogue {
    /// A dialogue that has not begun. `nonce` is never used twice.
    pub fn new(mechanism: Mechanism, nonce: [u8; 16]) -> Self {
        let scram = (mechanism == Mechanism::ScramSha256).then(|| Scram::new(nonce));
        Self { mechanism, answered: 0, scram }
    }

    /// What is said without being asked; none where the peer speaks first.
    pub fn initial(&mut self, who: &Credentials) -> Option<Vec<u8>> {
        let (user, secret) = (who.user.as_bytes(), who.secret.expose());
        match self.mechanism {
            Mechanism::Plain => Some([b"\0", user, b"\0", secret].concat()),
            Mechanism::XOAuth2 => {
                Some([b"user=", user, b"\x01auth=Bearer ", secret, b"\x01\x01"].concat())
            }
            Mechanism::ScramSha256 => self.scram.as_ref().map(|scram| scram.first(&who.user)),
            Mechanism::CramMd5 | Mechanism::Login => None,
        }
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// A [`SaslFault`]: the dialogue is to be cancelled.
    pub fn answer(&mut self, who: &Credentials, challenge: &[u8]) -> Result<Vec<u8>, SaslFault> {
        let turn = self.answered;
        self.answered = turn.saturating_add(1);
        match (self.mechanism, turn) {
            (Mechanism::Login, 0) => Ok(who.user.as_bytes().to_vec()),
            (Mechanism::Login, 1) => Ok(who.secret.expose().to_vec()),
            (Mechanism::CramMd5, 0) => Ok(cram_md5(who, challenge)),
            // What is wrong with the token; an empty answer asks for the end.
            (Mechanism::XOAuth2, 0) => Ok(Vec::new()),
            (Mechanism::ScramSha256, _) => match &mut self.scram {
                Some(scram) => scram.answer(who, challenge),
                None => Err(SaslFault::PeerUnasked),
            },
            _ => Err(SaslFault::PeerUnasked),
        }
    }

    /// The peer says that we have proved it.
    ///
    /// # Errors
    /// [`SaslFault::PeerUnproven`] where the peer had to prove something first.
    pub fn accepted(&self) -> Result<(), SaslFault> {
        match &self.scram {
            Some(scram) if !scram.is_proved() => Err(SaslFault::PeerUnproven),
            _ => Ok(()),
        }
    }
}

fn cram_md5(who: &Credentials, challenge: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Md5>::new_from_slice(who.secret.expose()).expect("a key of any length");
    mac.update(challenge);
    let mut response = who.user.as_bytes().to_vec();
    response.push(b' ');
    response.extend_from_slice(hex::encode(&mac.finalize().into_bytes()).as_bytes());
    response
}

#[cfg(test)]
mod tests;
