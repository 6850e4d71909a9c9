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
use crate::submission::IntakeLimits;
use crate::units::Rate;

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
    certificates: BTreeMap<Fingerprint, Box<str>>,
}

/// One user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// What is stored of the password, as text; none: no log-in by password.
    pub password: Option<Secret>,
    /// Client certificates that stand for the user, by the SHA-256 of each.
    pub certificates: Vec<Fingerprint>,
    /// How much it may hand in, if not as much as the others.
    pub limits: Option<IntakeLimits>,
}

/// The SHA-256 of a certificate.
pub type Fingerprint = [u8; 32];

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
        let (mut table, mut certificates) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in &document {
            let (at, name) = (name.span().start, name.get_ref());
            let user = user(name, value.get_ref());
            let user = user.map_err(|why| format!("line {}: {why}", line(at)))?;
            for certificate in &user.certificates {
                if certificates.insert(*certificate, Box::from(&**name)).is_some() {
                    return Err(format!("line {}: a certificate stands for two users", line(at)));
                }
            }
            table.insert(Box::from(&**name), user);
        }
        Ok(Self { file: file.into(), table, certificates })
    }

    /// Nobody, from a file that was not read.
    pub(crate) fn unread(file: &str) -> Self {
        Self { file: file.into(), table: BTreeMap::new(), certificates: BTreeMap::new() }
    }

    /// The user of that name.
    pub fn find(&self, name: &str) -> Option<&User> {
        self.table.get(name)
    }

    /// All users by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &User)> {
        self.table.iter().map(|(name, user)| (&**name, user))
    }

    /// The user that a client certificate stands for.
    pub fn of_certificate(&self, certificate: &Fingerprint) -> Option<&str> {
        self.certificates.get(certificate).map(|name| &**name)
    }

    /// Whether a user has limits of its own.
    pub fn have_limits(&self) -> bool {
        self.table.values().any(|user| user.limits.is_some())
    }

    /// Whether clients are to be asked for a certificate.
    pub fn have_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }
}

fn user(name: &str, value: &DeValue<'_>) -> Result<User, String> {
    let sound = !name.is_empty() && name.len() <= USER_BYTES_MAX;
    if !sound || name.chars().any(char::is_control) {
        return Err(format!(
            "a name must have 1 to {USER_BYTES_MAX} octets and no control characters"
        ));
    }
    let mut user = User { password: None, certificates: Vec::new(), limits: None };
    match value {
        DeValue::String(text) => user.password = Some(stored_password(name, text)?),
        DeValue::Table(table) => {
            for (key, value) in table {
                part(name, key.get_ref(), value.get_ref(), &mut user)?;
            }
        }
        _ => return Err(format!("{name:?} must have its stored password as text, or a table")),
    }
    if user.password.is_none() && user.certificates.is_empty() {
        return Err(format!("{name:?} has neither `password` nor `certificate`"));
    }
    Ok(user)
}

/// One key of a user's table.
fn part(name: &str, key: &str, value: &DeValue<'_>, user: &mut User) -> Result<(), String> {
    let wrong = |what: &str| format!("`{key}` of {name:?} {what}");
    let text = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err(wrong("must be text")),
    };
    let rate = || {
        let written = text(value)?;
        written.parse::<Rate>().map_err(|error| wrong(&error.to_string()))
    };
    let limits = || user.limits.clone().unwrap_or_default();
    match key {
        "password" => user.password = Some(stored_password(name, &text(value)?)?),
        "certificate" => {
            let values = match value {
                DeValue::Array(values) => {
                    values.iter().map(|value| text(value.get_ref())).collect()
                }
                value => text(value).map(|text| vec![text]),
            };
            let read = |text: &String| {
                let what = "must be sha256: and 64 hexadecimal digits";
                fingerprint(text).ok_or_else(|| wrong(what))
            };
            user.certificates = values?.iter().map(read).collect::<Result<_, _>>()?;
        }
        "messages" => user.limits = Some(IntakeLimits { messages: Some(rate()?), ..limits() }),
        "recipients" => user.limits = Some(IntakeLimits { recipients: Some(rate()?), ..limits() }),
        "connections" => {
            let count = value.as_integer().and_then(|digits| digits.as_str().parse().ok());
            let count = count.filter(|count| (1..=1_000_000).contains(count));
            let count = count.ok_or_else(|| wrong("must be from 1 to 1000000"))?;
            user.limits = Some(IntakeLimits { connections: Some(count), ..limits() });
        }
        _ => {
            return Err(wrong(
                "is not a known key; known here: password, certificate, messages, recipients, \
                 connections",
            ));
        }
    }
    Ok(())
}

fn stored_password(name: &str, text: &str) -> Result<Secret, String> {
    if !is_stored_password(text) {
        return Err(format!(
            "what stands behind {name:?} is no stored password; make one with `ringpost user hash`"
        ));
    }
    Ok(Secret::new(text.as_bytes()))
}

/// `sha256:` and 64 digits, with colons between them or not, as programs print
/// it.
fn fingerprint(text: &str) -> Option<Fingerprint> {
    let digits: Vec<u32> = text
        .strip_prefix("sha256:")?
        .chars()
        .filter(|char| *char != ':')
        .map(|char| char.to_digit(16))
        .collect::<Option<_>>()?;
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (pair[0] << 4 | pair[1]) as u8;
    }
    Some(bytes)
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
        let tim = users.find("tim").unwrap();
        assert_eq!(tim.password, Some(Secret::new(KEYS.as_bytes())));
        assert_eq!((&tim.certificates[..], &tim.limits), (&[][..], &None));
        assert!(users.find("ann@x.example").is_some());
        assert!(users.find("ann").is_none() && users.find("TIM").is_none());
        assert!(!format!("{users:?}").contains("SCRAM"), "nothing shows a key");
        assert!(Users::parse("u", b"").is_ok_and(|users| users.find("").is_none()));
    }

    #[test]
    fn a_table_holds_certificates_and_limits() {
        let digits = "0123456789abcdef".repeat(4);
        let with_colons = "AB:".repeat(31) + "AB";
        let text = format!(
            "app = {{ certificate = [\"sha256:{digits}\", \"sha256:{with_colons}\"], \
             messages = \"10/1m\", connections = 3 }}\n\
             tim = {{ password = \"{KEYS}\", recipients = \"5/1s\" }}"
        );
        let users = Users::parse("u", text.as_bytes()).unwrap();
        assert_eq!(users.of_certificate(&[0xab; 32]), Some("app"));
        assert_eq!(users.of_certificate(&[0; 32]), None);
        let app = users.find("app").unwrap();
        let limits = app.limits.clone().unwrap();
        assert_eq!((limits.messages, limits.connections), ("10/1m".parse().ok(), Some(3)));
        assert_eq!(users.find("tim").unwrap().limits.as_ref().unwrap().connections, None);
        assert!(users.have_certificates());
        for (table, words) in [
            ("{}", "\"a\" has neither `password` nor `certificate`"),
            ("{ certificate = \"sha256:00\" }", "must be sha256: and 64 hexadecimal digits"),
            ("{ certificate = 1 }", "`certificate` of \"a\" must be text"),
            ("{ messages = \"10\" }", "`messages` of \"a\""),
            ("{ connections = 0 }", "`connections` of \"a\" must be from 1 to 1000000"),
            ("{ passwort = \"\" }", "`passwort` of \"a\" is not a known key; known here: password"),
        ] {
            let refused = Users::parse("u", format!("\na = {table}").as_bytes()).unwrap_err();
            assert!(refused.contains(words) && refused.contains("line 2"), "{table}: {refused}");
        }
        let twice = format!("a = {{ certificate = \"sha256:{digits}\" }}");
        let twice = format!("{twice}\n{}", twice.replacen('a', "b", 1));
        assert!(Users::parse("u", twice.as_bytes()).unwrap_err().contains("for two users"));
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
            ("tim = 1", "line 1: \"tim\" must have its stored password as text, or a table"),
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
