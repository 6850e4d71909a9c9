//! How a client proves to us who it is: SASL mechanisms as a server speaks
//! them, without the SMTP around them (`submission`).
//!
//! Never here: base64 and lines, who the users are ([`Users`] says so), how
//! often somebody may try. Passwords are never kept: what is stored are the
//! keys of SCRAM, from which PLAIN and LOGIN can be checked as well. Whoever
//! steals them cannot log in with them.
//!
//! Read first: RFC 5802 §3, RFC 5802 §7, RFC 5803 §3, RFC 4616 §2.

use base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::Mechanism;

/// Fewest rounds that a password is hashed with (RFC 7677 §4).
pub const ITERATIONS_MIN: u32 = 4_096;
/// Most: a log-in by PLAIN stops the shard for as long, about 10 ms.
pub const ITERATIONS_MAX: u32 = 32_768;
/// What new passwords are hashed with: about 3 ms.
pub const ITERATIONS_USUAL: u32 = 10_000;

/// What is stored of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    iterations: u32,
    salt: Vec<u8>,
    stored: Secret,
    server: Secret,
}

impl Keys {
    /// The keys of `password`; `salt` is never used twice.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
        let stored: [u8; 32] = Sha256::digest(hmac(&salted, b"Client Key")).into();
        let server = hmac(&salted, b"Server Key");
        let (stored, server) = (Secret::new(&stored), Secret::new(&server));
        Self { iterations, salt: salt.to_vec(), stored, server }
    }

    /// Reads `SCRAM-SHA-256$iterations:salt$stored:server` (RFC 5803 §3).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?.strip_prefix("SCRAM-SHA-256$")?;
        let (hashing, keys) = text.split_once('$')?;
        let (iterations, salt) = hashing.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| STANDARD.decode(text).ok().filter(|key| key.len() == 32);
        let iterations = iterations.parse().ok()?;
        let bounds = ITERATIONS_MIN..=ITERATIONS_MAX;
        Some(Self {
            iterations: Some(iterations).filter(|iterations| bounds.contains(iterations))?,
            salt: STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?,
            stored: Secret::new(&key(stored)?),
            server: Secret::new(&key(server)?),
        })
    }

    /// The text that [`Keys::parse`] reads.
    pub fn to_text(&self) -> String {
        let [salt, stored, server] = [&self.salt[..], self.stored.expose(), self.server.expose()]
            .map(|bytes| STANDARD.encode(bytes));
        format!("SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }

    /// Keys for a user who is not there: always the same, and of no password.
    pub fn made_up(secret: &[u8], user: &str) -> Self {
        let bits = |what: &str| hmac(secret, format!("{what} of {user}").as_bytes());
        Self {
            iterations: ITERATIONS_USUAL,
            salt: bits("salt")[..16].to_vec(),
            stored: Secret::new(&bits("key")),
            server: Secret::new(&bits("server key")),
        }
    }

    /// Whether they are those of `password`; computes all the rounds.
    pub fn fit(&self, password: &[u8]) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        same(other.stored.expose(), self.stored.expose())
    }
}

/// What a dialogue asks about.
pub trait Users {
    /// The keys of `user`. Whoever is unknown gets made-up ones, the same each
    /// time, that fit no password: nobody learns who is known.
    fn keys(&mut self, user: &str) -> Keys;

    /// Whether `password` is that of `user`; takes as long for one who is
    /// unknown. `None` when there is no time for that now.
    fn is_password(&mut self, user: &str, password: &[u8]) -> Option<bool>;

    /// Bits that nobody can guess.
    fn nonce(&mut self) -> [u8; 16];
}

/// What follows on a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for another with these words.
    Challenge(Vec<u8>),
    /// It is this user.
    Proved(String),
    /// It is not, or made no sense.
    Refused {
        /// Who it claims to be, as far as it got.
        user: Option<String>,
    },
    /// Not now.
    TryLater,
}

/// One dialogue.
#[derive(Debug)]
pub struct Challenger(Stage);

#[derive(Debug)]
enum Stage {
    Plain,
    LoginUser,
    LoginPassword { user: String },
    ScramFirst,
    ScramFinal { user: String, keys: Keys, nonce: String, so_far: String },
    ScramProved { user: String },
    Over,
}

impl Challenger {
    /// A dialogue that has not begun; none for a mechanism that we do not
    /// serve.
    pub fn new(mechanism: Mechanism) -> Option<Self> {
        match mechanism {
            Mechanism::Plain => Some(Self(Stage::Plain)),
            Mechanism::Login => Some(Self(Stage::LoginUser)),
            Mechanism::ScramSha256 => Some(Self(Stage::ScramFirst)),
            Mechanism::CramMd5 | Mechanism::XOAuth2 => None,
        }
    }

    /// What is asked of a client that does not speak first.
    pub fn opening(&self) -> &'static [u8] {
        match self.0 {
            Stage::LoginUser => b"Username:",
            _ => b"",
        }
    }

    /// Takes a response.
    pub fn response(&mut self, response: &[u8], users: &mut dyn Users) -> Step {
        let refused = |user| Step::Refused { user };
        let Ok(text) = str::from_utf8(response) else { return refused(None) };
        match std::mem::replace(&mut self.0, Stage::Over) {
            Stage::Plain => match plain(text) {
                Some((user, password)) => check(user, password, users),
                None => refused(None),
            },
            Stage::LoginUser => {
                self.0 = Stage::LoginPassword { user: text.to_owned() };
                Step::Challenge(b"Password:".to_vec())
            }
            Stage::LoginPassword { user } => check(&user, text, users),
            Stage::ScramFirst => {
                let Some((user, nonce, bare)) = client_first(text) else { return refused(None) };
                let keys = users.keys(&user);
                let nonce = format!("{nonce}{}", STANDARD.encode(users.nonce()));
                let salt = STANDARD.encode(&keys.salt);
                let challenge = format!("r={nonce},s={salt},i={}", keys.iterations);
                let so_far = format!("{bare},{challenge}");
                self.0 = Stage::ScramFinal { user, keys, nonce, so_far };
                Step::Challenge(challenge.into_bytes())
            }
            Stage::ScramFinal { user, keys, nonce, so_far } => {
                match signature(text, &keys, &nonce, &so_far) {
                    Some(signature) => {
                        self.0 = Stage::ScramProved { user };
                        Step::Challenge(format!("v={}", STANDARD.encode(signature)).into_bytes())
                    }
                    None => refused(Some(user)),
                }
            }
            // The client has seen our proof, and has nothing to add.
            Stage::ScramProved { user } if response.is_empty() => Step::Proved(user),
            Stage::ScramProved { user } => refused(Some(user)),
            Stage::Over => refused(None),
        }
    }
}

fn check(user: &str, password: &str, users: &mut dyn Users) -> Step {
    match users.is_password(user, password.as_bytes()) {
        Some(true) => Step::Proved(user.to_owned()),
        Some(false) => Step::Refused { user: Some(user.to_owned()) },
        None => Step::TryLater,
    }
}

/// `[authzid] NUL authcid NUL password` (RFC 4616 §2); nobody acts for somebody
/// else.
fn plain(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('\0');
    let (authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let sound = parts.next().is_none() && !user.is_empty();
    (sound && (authzid.is_empty() || authzid == user)).then_some((user, password))
}

/// The user, the nonce and the part that is signed of a client-first-message
/// (RFC 5802 §7).
fn client_first(text: &str) -> Option<(String, &str, &str)> {
    // `y`: the client thinks that we cannot bind channels, and is right.
    let rest = text.strip_prefix("n,").or_else(|| text.strip_prefix("y,"))?;
    let (authzid, bare) = rest.split_once(',')?;
    let mut fields = bare.split(',');
    let name = fields.next()?.strip_prefix("n=")?;
    let nonce = fields.next()?.strip_prefix("r=")?;
    let user = user_name(name)?;
    let own = authzid.is_empty() || authzid.strip_prefix("a=").and_then(user_name)? == user;
    let printable = !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic());
    (own && printable && !user.is_empty()).then_some((user, nonce, bare))
}

/// A name with its two escapes taken back (RFC 5802 §5.1).
fn user_name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        if let Some(rest) = part.strip_prefix("3D") {
            name.push('=');
            name.push_str(rest);
        } else {
            name.push(',');
            name.push_str(part.strip_prefix("2C")?);
        }
    }
    Some(name)
}

/// Our proof, if a client-final-message has a good one.
fn signature(text: &str, keys: &Keys, nonce: &str, so_far: &str) -> Option<[u8; 32]> {
    let (without_proof, proof) = text.rsplit_once(",p=")?;
    let mut fields = without_proof.split(',');
    let binding = STANDARD.decode(fields.next()?.strip_prefix("c=")?).ok()?;
    if !(binding.starts_with(b"n,") || binding.starts_with(b"y,")) {
        return None;
    }
    if fields.next()?.strip_prefix("r=")? != nonce {
        return None;
    }
    let message = format!("{so_far},{without_proof}");
    let mut client_key = hmac(keys.stored.expose(), message.as_bytes());
    let proof = STANDARD.decode(proof).ok().filter(|proof| proof.len() == client_key.len())?;
    for (byte, proof) in client_key.iter_mut().zip(proof) {
        *byte ^= proof;
    }
    let stored: [u8; 32] = Sha256::digest(client_key).into();
    same(&stored, keys.stored.expose()).then(|| hmac(keys.server.expose(), message.as_bytes()))
}

/// A keyed hash, for what must be told apart and not be read.
pub fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Whether two keys are the same; takes as long whatever they are.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |so_far, (a, b)| so_far | (a ^ b));
    left.len() == right.len() && differing == 0
}

#[cfg(test)]
mod tests;
