//! From a path to a configuration, or to the words that say what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use control::config::{DIAGNOSTICS_MAX, FILE_BYTES_MAX};
use control::{Config, Diagnostic, Policy, Refused, Severity};
use runtime::configuration::Loads;
use runtime::tls_server;

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file says something that cannot be.
    Refused(PathBuf, Refused),
}

/// The file looked for when none is named.
pub const DEFAULT_FILE: &str = "ringpost.toml";

/// Reads the configuration: from `path`, or from [`DEFAULT_FILE`] if it is
/// there, or the defaults.
///
/// # Errors
/// [`LoadError`], whose text is for the operator.
pub fn configuration(path: Option<&Path>) -> Result<Config, LoadError> {
    let text = file(path)?.unwrap_or_default();
    let path = path.unwrap_or(Path::new(DEFAULT_FILE));
    checked(&text, folder_of(path)).map_err(|refused| LoadError::Refused(path.into(), refused))
}

/// The text of the configuration file: of `path`, or of [`DEFAULT_FILE`] if it
/// is there.
///
/// # Errors
/// [`LoadError::Unreadable`].
pub fn file(path: Option<&Path>) -> Result<Option<String>, LoadError> {
    let default = Path::new(DEFAULT_FILE);
    match path {
        Some(path) => read(path).map(Some),
        None if default.exists() => read(default).map(Some),
        None => Ok(None),
    }
}

/// Reads a configuration and the files that it names: one named without a
/// folder lies in `folder`.
///
/// # Errors
/// [`Refused`] with everything found.
pub fn checked(text: &str, folder: &Path) -> Result<Config, Refused> {
    checked_with(text, folder, &BTreeMap::new())
}

/// The same; `known` stands for files of these names.
fn checked_with(
    text: &str,
    folder: &Path,
    known: &BTreeMap<String, Vec<u8>>,
) -> Result<Config, Refused> {
    let name = runtime::machine::host_name();
    let mut files = |named: &str| match known.get(named) {
        Some(bytes) => Ok(bytes.clone()),
        None => named_file(&folder.join(named)),
    };
    let mut config = Config::parse_with(text, &name, &mut files)?;
    if let Err(message) = tls_server::check(&config.policy) {
        return Err(Refused { diagnostics: vec![certificate(message)] });
    }
    let room = DIAGNOSTICS_MAX.saturating_sub(config.warnings.len());
    config.warnings.extend(missing_addresses(text, &config.policy).take(room));
    config.warnings.sort_by_key(|warning| (warning.line, warning.column));
    Ok(config)
}

/// Listeners at addresses that this machine does not have: hardly meant, unless
/// they come later or the configuration is another machine's.
fn missing_addresses(text: &str, policy: &Policy) -> impl Iterator<Item = Diagnostic> {
    let mail = policy.submission.addresses().map(|at| ("submission.listen", at));
    let control = policy.control.iter().flat_map(|control| control.listen.iter());
    let control = control.map(|at| ("control.listen", *at));
    let metrics = policy.metrics.listen.map(|at| ("metrics.listen", at));
    let all = mail.chain(control).chain(metrics).filter(|(_, at)| runtime::machine::lacks(*at));
    all.map(|(key, at)| {
        let (line, column) = place(text, &format!("\"{at}\""));
        let message = format!("names {at}, an address that this machine does not have now");
        Diagnostic { line, column, key: key.into(), message, severity: Severity::Warning }
    })
}

/// Line and column where a text has these words first; its begin if it writes
/// them in another way.
fn place(text: &str, words: &str) -> (u32, u32) {
    let before = text.find(words).map_or("", |at| &text[..at]);
    let begun = before.rfind('\n').map_or(0, |end| end + 1);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    (count(before.matches('\n').count()), count(before[begun..].chars().count()))
}

/// Reads configurations whose files lie in a folder.
#[derive(Debug)]
pub struct Loader(pub PathBuf);

impl Loads for Loader {
    fn checked(&self, text: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Config, Refused> {
        checked_with(text, &self.0, files)
    }

    fn named(&self, text: &str) -> BTreeSet<String> {
        let name = runtime::machine::host_name();
        let mut named = BTreeSet::new();
        let mut files = |file: &str| {
            named.insert(file.to_owned());
            named_file(&self.0.join(file))
        };
        // Of a backup for this machine the files are not there yet.
        let _ = Config::parse_with(text, &name, &mut files);
        named
    }

    fn folder(&self) -> &Path {
        &self.0
    }
}

/// A finding about a certificate that does not go with its key, or is none.
fn certificate(message: String) -> Diagnostic {
    let (key, severity) = (String::new(), Severity::Error);
    Diagnostic { line: 1, column: 1, key, message, severity }
}

/// The folder that a configuration file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Reads a file that the configuration names, bounded.
fn named_file(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("names {}, which cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One octet more than any may have, so that a larger one is seen.
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("names {}, which is larger than 16MiB", path.display()));
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|e| LoadError::Unreadable(path.into(), e))
}

impl std::error::Error for LoadError {}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "the configuration {} cannot be read: {error}", path.display())
            }
            Self::Refused(path, refused) => {
                for (place, line) in refused.to_string().lines().enumerate() {
                    let end = if place == 0 { "" } else { "\n" };
                    write!(f, "{end}{}: {line}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that was to become another by its backup once knew nothing of
    /// files of roots as long as one other file was not there yet.
    #[test]
    fn all_files_are_named_wherever_they_are() {
        let text = "[delivery]\nmode = \"relay\"\nhosts = [\"relay.example\"]\n\
                    tls = \"required\"\ntrust = \"tls/roots.pem\"\n\
                    auth = { user = \"ann\", password_file = \"secret\" }\n";
        let loader = Loader("/nonexistent".into());
        let named = loader.named(text);
        assert!(named.iter().eq(["secret", "tls/roots.pem"]), "{named:?}");
        assert!(loader.checked(text, &BTreeMap::new()).is_err(), "the secret is not there");
    }

    /// It was once looked for in the folder that the daemon works in, and when
    /// mail went.
    #[test]
    fn roots_lie_beside_the_configuration_and_are_tried_with_it() {
        let folder = std::env::temp_dir().join(format!("ringpost-roots-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = "hostname = \"a.example\"\n[delivery]\ntrust = \"ca.pem\"\n";
        let said = checked(text, &folder).unwrap_err().to_string();
        assert!(said.starts_with("line 3, column 9: delivery.trust names "), "{said}");
        assert!(said.contains("ca.pem, which cannot be read"), "{said}");
        let ca = rcgen::generate_simple_self_signed(["ca.example".into()]).unwrap().cert.pem();
        std::fs::write(folder.join("ca.pem"), &ca).unwrap();
        let policy = checked(text, &folder).unwrap().policy;
        assert_eq!(policy.authorities().next().unwrap().certificates[..], *ca.as_bytes());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_listener_at_an_address_of_another_machine_is_a_warning_with_its_place() {
        let text = "hostname = \"a.example\"\n[submission]\nlisten = [\"127.0.0.1:25\",\n  \
                    \"192.0.2.10:25\", \"[2001:DB8::1]:25\"]\n[metrics]\n\
                    listen = \"192.0.2.10:9\"\nanywhere = true\n";
        let warnings = checked(text, Path::new("")).unwrap().warnings;
        let told: Vec<String> = warnings.iter().map(Diagnostic::to_string).collect();
        assert_eq!(
            told,
            [
                "line 1, column 1: warning: submission.listen names [2001:db8::1]:25, an address \
                 that this machine does not have now",
                "line 4, column 3: warning: submission.listen names 192.0.2.10:25, an address that \
                 this machine does not have now",
                "line 6, column 10: warning: metrics.listen names 192.0.2.10:9, an address that \
                 this machine does not have now",
            ]
        );
    }
}
