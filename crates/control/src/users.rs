//! Who may log in: names, each with what is stored of its password. Read from a
//! file of its own, so that it can be kept from who may read the configuration.
//!
//! Never a password: each entry is `SCRAM-SHA-256$rounds:salt$key:key`
//! (RFC 5803 §3), as `ringpost user hash` makes it. The keys are checked for
//! their shape here, and used in `smtp`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use base::secret::Secret;
use toml::de::{DeTable, DeValue};

use crate::log_in::USER_BYTES_MAX;

/// Most users of one file.
pub const USERS_MAX: usize = 100_000;
/// Rounds that a password may be hashed with: few enough that a log-in stops
/// nobody else for long, not fewer than the standard has (RFC 7677 §4).
pub const ROUNDS: RangeInclusive<u32> = 4_096..=32_768;

/// All users.
#[derive(Clone, PartialEq)]
pub struct Users {
    /// The file that they come from.
    pub file: Box<str>,
    table: BTreeMap<Box<str>, User>,
}

/// One user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// What is stored of the password, as text.
    pub password: Secret,
}

impl Users {
    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        let (document, faults) = DeTable::parse_recoverable(text);
        if let Some(fault) = faults.first() {
            let at = fault.span().map_or(0, |span| span.start);
            return Err(format!("line {}: {}", line(at), fault.message()));
        }
        let document = document.into_inner();
        if document.len() > USERS_MAX {
            return Err(format!("has more than {USERS_MAX} users"));
        }
        let mut table = BTreeMap::new();
        for (name, value) in &document {
            let (at, name) = (name.span().start, name.get_ref());
            let user = user(name, value.get_ref());
            let user = user.map_err(|why| format!("line {}: {why}", line(at)))?;
            table.insert(Box::from(&**name), user);
        }
        Ok(Self { file: file.into(), table })
    }

    /// Nobody, from a file that was not read.
    pub(crate) fn unread(file: &str) -> Self {
        Self { file: file.into(), table: BTreeMap::new() }
    }

    /// The user of that name.
    pub fn find(&self, name: &str) -> Option<&User> {
        self.table.get(name)
    }
}

fn user(name: &str, value: &DeValue<'_>) -> Result<User, String> {
    let sound = !name.is_empty() && name.len() <= USER_BYTES_MAX;
    if !sound || name.chars().any(char::is_control) {
        return Err(format!(
            "a name must have 1 to {USER_BYTES_MAX} octets and no control characters"
        ));
    }
    let DeValue::String(text) = value else {
        return Err(format!("{name:?} must have its stored password as text"));
    };
    if !is_stored_password(text) {
        return Err(format!(
            "what stands behind {name:?} is no stored password; make one with `ringpost user hash`"
        ));
    }
    Ok(User { password: Secret::new(text.as_bytes()) })
}

fn is_stored_password(text: &str) -> bool {
    let parts = || {
        let (hashing, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let ((rounds, salt), (stored, server)) = (hashing.split_once(':')?, keys.split_once(':')?);
        Some((rounds.parse::<u32>().ok()?, salt, stored, server))
    };
    parts().is_some_and(|(rounds, salt, stored, server)| {
        let key = |text: &str| text.len() == 44 && is_base64(text);
        ROUNDS.contains(&rounds) && is_base64(salt) && key(stored) && key(server)
    })
}

fn is_base64(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !bare.is_empty() && padding <= 2 && text.len().is_multiple_of(4) && bare.bytes().all(sign)
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({}, {})", self.file, self.table.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn users_are_found_by_their_whole_name() {
        let text = format!("tim = \"{KEYS}\"\n\"ann@x.example\" = \"{KEYS}\"\n");
        let users = Users::parse("users.toml", text.as_bytes()).unwrap();
        assert_eq!(users.find("tim").unwrap().password.expose(), KEYS.as_bytes());
        assert!(users.find("ann@x.example").is_some());
        assert!(users.find("ann").is_none() && users.find("TIM").is_none());
        assert!(!format!("{users:?}").contains("SCRAM"), "nothing shows a key");
        assert!(Users::parse("u", b"").is_ok_and(|users| users.find("").is_none()));
    }

    #[test]
    fn each_fault_has_its_words_and_its_line() {
        let long = format!("{} = \"{KEYS}\"", "x".repeat(USER_BYTES_MAX + 1));
        let weak = format!("a = \"{}\"", KEYS.replace("4096", "4095"));
        let strong = format!("a = \"{}\"", KEYS.replace("4096", "32769"));
        let short = format!("a = \"{}\"", KEYS.replace("WG5d", ""));
        for (text, words) in [
            ("\n\na b", "line 3: "),
            ("\ntim = \"pencil\"", "line 2: what stands behind \"tim\" is no stored password"),
            ("tim = 1", "line 1: \"tim\" must have its stored password"),
            ("\"\" = \"x\"", "a name must have 1 to 255 octets"),
            ("\"a\\u0000\" = \"x\"", "no control characters"),
            (&long, "a name must have 1 to 255 octets"),
            (&weak, "no stored password"),
            (&strong, "no stored password"),
            (&short, "no stored password"),
        ] {
            let refused = Users::parse("u", text.as_bytes()).unwrap_err();
            assert!(refused.contains(words), "{text}: {refused}");
            assert!(!refused.contains("pencil"), "what may be a password is not repeated");
        }
        assert_eq!(Users::parse("u", b"\xff").unwrap_err(), "is not UTF-8");
    }
}
