//! A backup: everything that operators have set, as one text, from which another
//! daemon can be made the same.
//!
//! Never reads a file nor hashes: what is in it comes from outside, and so does
//! the digest over it. Invariant: a text that was changed, cut, or written by a
//! later form is none.

use std::collections::BTreeMap;

use base::hex;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::api::BACKUP_BYTES_MAX;
use crate::config::{CONFIG_BYTES_MAX, FILE_BYTES_MAX};

/// What was set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Backup {
    /// The configuration, as it was committed.
    pub text: String,
    /// The files that it names, by the names that it has for them; those that lie
    /// elsewhere than in its folder are not among them.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Bodies of `POST /v1/suspend` that stop what was stopped.
    pub suspensions: Vec<Value>,
    /// Bodies of `POST /v1/alerts/silence`.
    pub silences: Vec<Value>,
}

/// Where a backup comes from; for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Version of the program.
    pub version: String,
    /// When, as RFC 3339 writes it.
    pub made: String,
    /// What the daemon called itself.
    pub hostname: String,
    /// The revision that the text was.
    pub revision: u64,
    /// Files that the configuration names and that are not in it.
    pub elsewhere: Vec<String>,
}

/// Why a text is no backup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoBackup {
    /// Not JSON, or not of this shape.
    #[error("this is no backup: {0}")]
    PeerShape(String),
    /// A later program wrote it.
    #[error("this backup has form {0}, and this program knows up to {FORM}: take a later one")]
    PeerLater(u64),
    /// It is not as it was written.
    #[error("this backup was changed or damaged: its digest does not fit")]
    PeerDigest,
    /// It breaks a bound.
    #[error("this backup cannot be taken: {0}")]
    PeerTooMuch(String),
}

/// The form that is written.
pub const FORM: u64 = 1;
/// Most files of one backup.
pub const FILES_MAX: usize = 1_000;
/// Most suspensions, and most silences.
pub const ORDERS_MAX: usize = 10_000;

/// Octets that a digest with its key and a line end add to a text, at most.
const DIGEST_ROOM: usize = 256;

const FORM_KEY: &str = "ringpost_backup";
const DIGEST_KEY: &str = "sha256";

impl Backup {
    /// As a JSON text; `digest` hashes octets.
    ///
    /// # Errors
    /// [`NoBackup::PeerTooMuch`]: nothing is made that would not be taken back.
    pub fn sealed(
        &self,
        of: &Provenance,
        digest: impl Fn(&[u8]) -> String,
    ) -> Result<Value, NoBackup> {
        self.within_bounds()?;
        self.sealed_in(of, digest, BACKUP_BYTES_MAX)
    }

    /// The same in at most so many octets, and whatever it holds.
    fn sealed_in(
        &self,
        of: &Provenance,
        digest: impl Fn(&[u8]) -> String,
        bytes_max: usize,
    ) -> Result<Value, NoBackup> {
        let Self { text, files, suspensions, silences } = self;
        let Provenance { version, made, hostname, revision, elsewhere } = of;
        let files: Map<String, Value> =
            files.iter().map(|(name, bytes)| (name.clone(), written(bytes))).collect();
        let mut sealed = json!({
            FORM_KEY: FORM,
            "version": version,
            "made": made,
            "hostname": hostname,
            "revision": revision,
            "configuration": text,
            "files": files,
            "elsewhere": elsewhere,
            "suspensions": suspensions,
            "silences": silences,
        });
        let plain = sealed.to_string();
        if plain.len() + DIGEST_ROOM > bytes_max {
            return Err(NoBackup::PeerTooMuch("its files together are too large".into()));
        }
        sealed[DIGEST_KEY] = json!(digest(plain.as_bytes()));
        Ok(sealed)
    }

    /// What a text says that [`Backup::sealed`] gave, in whatever layout.
    ///
    /// # Errors
    /// [`NoBackup`].
    pub fn opened(text: &[u8], digest: impl Fn(&[u8]) -> String) -> Result<Self, NoBackup> {
        let shape = |why: &str| NoBackup::PeerShape(why.to_owned());
        let mut sealed: Value =
            serde_json::from_slice(text).map_err(|error| shape(&error.to_string()))?;
        let form = sealed[FORM_KEY].as_u64().ok_or_else(|| shape("it says no form"))?;
        if form > FORM {
            return Err(NoBackup::PeerLater(form));
        }
        let all = sealed.as_object_mut().ok_or_else(|| shape("it is no object"))?;
        let said = all.remove(DIGEST_KEY);
        let said =
            said.as_ref().and_then(Value::as_str).ok_or_else(|| shape("it has no digest"))?;
        if digest(sealed.to_string().as_bytes()) != said {
            return Err(NoBackup::PeerDigest);
        }
        let text = sealed["configuration"].as_str().ok_or_else(|| shape("no configuration"))?;
        let rows = |key: &str| sealed[key].as_array().cloned().ok_or_else(|| shape(key));
        let (suspensions, silences) = (rows("suspensions")?, rows("silences")?);
        let named = sealed["files"].as_object().ok_or_else(|| shape("files"))?;
        let mut files = BTreeMap::new();
        for (name, file) in named {
            files.insert(name.clone(), read(file).ok_or_else(|| shape(name))?);
        }
        let backup = Self { text: text.to_owned(), files, suspensions, silences };
        backup.within_bounds()?;
        Ok(backup)
    }

    fn within_bounds(&self) -> Result<(), NoBackup> {
        let Self { text, files, suspensions, silences } = self;
        let too_much = |why: String| Err(NoBackup::PeerTooMuch(why));
        if text.len() > CONFIG_BYTES_MAX || files.len() > FILES_MAX {
            return too_much("its configuration is too large, or it has too many files".into());
        }
        if let Some((name, _)) = files.iter().find(|(_, it)| it.len() as u64 > FILE_BYTES_MAX) {
            return too_much(format!("{} is too large", name.escape_debug()));
        }
        if let Some(name) = files.keys().find(|name| !is_within(name)) {
            return too_much(format!("{} is no file of its folder", name.escape_debug()));
        }
        match suspensions.len().max(silences.len()) > ORDERS_MAX {
            true => too_much("it has too many suspensions or silences".into()),
            false => Ok(()),
        }
    }
}

/// Secrets are in it.
impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

/// Whether a name is that of a file within a folder, wherever that is: relative,
/// without a way up, nothing hidden.
pub fn is_within(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.');
    name.len() <= 512 && !name.chars().any(char::is_control) && name.split('/').all(part)
}

/// A file's content: as text where it is one.
fn written(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "hex": hex::encode(bytes) }),
    }
}

fn read(file: &Value) -> Option<Vec<u8>> {
    if let Some(text) = file["text"].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let hex = file["hex"].as_str()?.as_bytes();
    let pairs = hex.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Good enough to see a change.
    fn sum(bytes: &[u8]) -> String {
        bytes.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)).to_string()
    }

    fn backup() -> Backup {
        let files =
            [("server.pem", b"-----BEGIN\n".to_vec()), ("secrets/token", vec![0, 0xff, 0x80])];
        Backup {
            text: "hostname = \"a.example\" # \u{fc}\n".into(),
            files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
            suspensions: vec![json!({ "domain": "b.example", "reason": "move" })],
            silences: Vec::new(),
        }
    }

    #[test]
    fn what_is_sealed_opens_in_any_layout_and_unchanged_alone() {
        let sealed = backup().sealed(&Provenance::default(), sum).unwrap();
        for text in [sealed.to_string(), format!("{sealed:#}\n")] {
            assert_eq!(Backup::opened(text.as_bytes(), sum), Ok(backup()));
        }
        let text = sealed.to_string();
        for (from, to) in
            [("b.example", "c.example"), ("ff80", "ff81"), ("\"revision\":0", "\"revision\":1")]
        {
            let changed = text.replace(from, to);
            assert!(changed != text, "{from}");
            assert_eq!(
                Backup::opened(changed.as_bytes(), sum),
                Err(NoBackup::PeerDigest),
                "{from}"
            );
        }
        for end in 0..text.len() {
            assert!(Backup::opened(&text.as_bytes()[..end], sum).is_err(), "{end}");
        }
        for other in ["", "[]", "{}", "null", "{\"ringpost_backup\": 1}"] {
            assert!(matches!(Backup::opened(other.as_bytes(), sum), Err(NoBackup::PeerShape(_))));
        }
        let later = text.replace("\"ringpost_backup\":1", "\"ringpost_backup\":2");
        assert_eq!(Backup::opened(later.as_bytes(), sum), Err(NoBackup::PeerLater(2)));
    }

    /// A daemon with a thousand and one files of keys once wrote a backup that
    /// none would take back.
    #[test]
    fn bounds_hold_at_the_bound_both_ways() {
        let of = Provenance::default();
        let opened = |backup: &Backup| {
            let sealed = backup.sealed_in(&of, sum, usize::MAX).unwrap();
            let opened = Backup::opened(sealed.to_string().as_bytes(), sum);
            assert_eq!(backup.sealed(&of, sum).err(), opened.clone().err());
            opened
        };
        let plain = backup().sealed_in(&of, |_| String::new(), usize::MAX).unwrap();
        let most = plain.to_string().len() - r#","sha256":"""#.len() + DIGEST_ROOM;
        assert!(backup().sealed_in(&of, sum, most).is_ok());
        let larger = backup().sealed_in(&of, sum, most - 1);
        assert!(matches!(larger, Err(NoBackup::PeerTooMuch(_))), "{larger:?}");
        let many = |count: usize| Backup {
            files: (0..count).map(|n| (format!("f{n}"), Vec::new())).collect(),
            ..Backup::default()
        };
        assert!(opened(&many(FILES_MAX)).is_ok());
        assert!(matches!(opened(&many(FILES_MAX + 1)), Err(NoBackup::PeerTooMuch(_))));
        let orders = |count| Backup { silences: vec![Value::Null; count], ..Backup::default() };
        assert!(opened(&orders(ORDERS_MAX)).is_ok());
        assert!(matches!(opened(&orders(ORDERS_MAX + 1)), Err(NoBackup::PeerTooMuch(_))));
        let large = |bytes| Backup {
            files: [("f".to_owned(), vec![b'x'; bytes])].into(),
            ..Backup::default()
        };
        assert!(opened(&large(FILE_BYTES_MAX as usize)).is_ok());
        assert!(matches!(
            opened(&large(FILE_BYTES_MAX as usize + 1)),
            Err(NoBackup::PeerTooMuch(_))
        ));
        for name in ["/etc/passwd", "../x", "a/../b", "", "a//b", ".hidden", "a/.b", "a\nb", "./a"]
        {
            let files = [(name.to_owned(), Vec::new())].into();
            let bent = Backup { files, ..Backup::default() };
            assert!(matches!(opened(&bent), Err(NoBackup::PeerTooMuch(_))), "{name}");
        }
    }
}
