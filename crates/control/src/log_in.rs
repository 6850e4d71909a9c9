//! Who we are to a relay host: name, secret, and how it may be proved.
//!
//! Never here: the dialogue itself (`smtp`), files. A secret is in memory only;
//! what is rendered names the file that it came from.
//!
//! Read first: RFC 4954 §4, RFC 4954 §9.

use std::fmt;
use std::sync::Arc;

use base::secret::Secret;
use mail::Address;

use crate::route::{Pattern, RouteTable};
use crate::token::TokenCommand;

/// A log-in at a relay host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogIn {
    /// The name; 1 to [`USER_BYTES_MAX`] octets, no control characters.
    pub user: Box<str>,
    /// What the secret is.
    pub kind: SecretKind,
    /// Where it comes from.
    pub origin: Origin,
    /// The secret itself; a stand-in where the configuration was read without
    /// its files, and where a program prints it.
    pub secret: Secret,
    /// What may be tried, in any order; never empty.
    pub methods: Box<[AuthMethod]>,
    /// The secret may be sent to a peer that has not proved who it is, even in
    /// the clear. Default false.
    pub unchecked: bool,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file that holds it.
    File(Box<str>),
    /// A program that prints it, whenever one is needed; a token only.
    Command(TokenCommand),
}

/// Log-ins by sender: each sends under its own name.
#[derive(Clone, Debug, PartialEq)]
pub struct Senders {
    log_ins: Vec<(Pattern, Arc<LogIn>)>,
    table: RouteTable,
}

/// What a log-in proves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A password.
    Password,
    /// An OAuth 2.0 access token.
    Token,
}

/// A mechanism of AUTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// SCRAM-SHA-256 (RFC 7677 §3).
    ScramSha256,
    /// CRAM-MD5 (RFC 2195 §2).
    CramMd5,
    /// XOAUTH2, with a token.
    XOAuth2,
    /// PLAIN (RFC 4616 §2).
    Plain,
    /// LOGIN.
    Login,
}

/// Most log-ins by sender of one way.
pub const SENDERS_MAX: usize = 10_000;
/// Longest name to log in with, in octets.
pub const USER_BYTES_MAX: usize = 255;
/// Longest password or token, in octets: an AUTH line holds no more
/// (RFC 4954 §4).
pub const SECRET_BYTES_MAX: usize = 8_192;

/// The methods, as they are written in the configuration.
pub const AUTH_METHODS: [(&str, AuthMethod); 5] = [
    ("scram-sha-256", AuthMethod::ScramSha256),
    ("cram-md5", AuthMethod::CramMd5),
    ("xoauth2", AuthMethod::XOAuth2),
    ("plain", AuthMethod::Plain),
    ("login", AuthMethod::Login),
];

impl Senders {
    /// The first pattern that takes a sender has its log-in; at most
    /// [`SENDERS_MAX`].
    pub fn new(log_ins: Vec<(Pattern, Arc<LogIn>)>) -> Self {
        let table = RouteTable::new(log_ins.iter().map(|(pattern, _)| pattern));
        Self { log_ins, table }
    }

    /// Place of the log-in of `sender`, from 0.
    pub fn find(&self, sender: &Address) -> Option<usize> {
        self.table.find(sender).map(|place| place as usize)
    }

    /// The log-in at a place.
    pub fn at(&self, place: usize) -> Option<&Arc<LogIn>> {
        self.log_ins.get(place).map(|(_, log_in)| log_in)
    }

    /// All of them with whom they are for, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&Pattern, &Arc<LogIn>)> {
        self.log_ins.iter().map(|(pattern, log_in)| (pattern, log_in))
    }
}

impl LogIn {
    /// The program that prints its secret, if one does.
    pub fn command(&self) -> Option<&TokenCommand> {
        match &self.origin {
            Origin::File(_) => None,
            Origin::Command(command) => Some(command),
        }
    }

    /// The same with the secret that was printed for it.
    #[must_use]
    pub fn with_secret(&self, secret: Secret) -> Self {
        Self { secret, ..self.clone() }
    }

    /// The key of its secret in the configuration.
    pub fn key(&self) -> &'static str {
        match &self.origin {
            Origin::File(_) => self.kind.key(),
            Origin::Command(_) => "token_command",
        }
    }
}

impl SecretKind {
    /// What may be tried with it unless told otherwise.
    pub fn methods(self) -> &'static [AuthMethod] {
        use AuthMethod::{CramMd5, Login, Plain, ScramSha256, XOAuth2};
        match self {
            Self::Password => &[ScramSha256, CramMd5, Plain, Login],
            Self::Token => &[XOAuth2],
        }
    }

    /// The key of its file in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Password => "password_file",
            Self::Token => "token_file",
        }
    }
}

impl AuthMethod {
    /// Whether whoever reads along learns the secret.
    pub fn sends_secret(self) -> bool {
        matches!(self, Self::XOAuth2 | Self::Plain | Self::Login)
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(AUTH_METHODS[*self as usize].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_methods() {
        for (name, method) in AUTH_METHODS {
            assert_eq!(method.to_string(), name);
        }
    }

    #[test]
    fn a_token_is_for_xoauth2_and_a_password_for_the_rest() {
        for (_, method) in AUTH_METHODS {
            let of_password = SecretKind::Password.methods().contains(&method);
            assert_ne!(of_password, SecretKind::Token.methods().contains(&method), "{method}");
        }
    }
}
