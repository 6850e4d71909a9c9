//! Who may log in at the submission session: one user, whose password is known
//! to the corpus.

use smtp::sasl::server::{Keys, Users};

/// The one who may.
pub(super) const NAME: &str = "tim";
const PASSWORD: &[u8] = b"pencil";

/// What is stored of it: an input is over in less time than hashing takes.
const STORED: &[u8] = b"SCRAM-SHA-256$4096:c2FsdA==$\
    u+iLs9qG4xpz8n4iBFJlze/fVOjP2jhqQIXx/NAiFSQ=:\
    elQh4wT48epeZpwXBxlihIdim+BEkjp3sUAFd/ICyyI=";

/// The users: Tim, or nobody for now.
pub(super) struct Tim {
    /// There is no time to look at a password.
    pub(super) busy: bool,
}

impl Users for Tim {
    fn keys(&mut self, user: &str) -> Keys {
        if user == NAME {
            Keys::parse(STORED).expect("keys")
        } else {
            Keys::made_up(b"secret", user)
        }
    }

    fn is_password(&mut self, user: &str, password: &[u8]) -> Option<bool> {
        (!self.busy).then_some(user == NAME && password == PASSWORD)
    }

    fn nonce(&mut self) -> [u8; 16] {
        [1; 16]
    }
}
