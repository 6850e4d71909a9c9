//! From a path to a configuration, or to the words that say what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use control::backup::trust_files;
use control::config::FILE_BYTES_MAX;
use control::{Config, Diagnostic, Refused, Severity};
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
    let config = Config::parse_with(text, &name, &mut files)?;
    match tls_server::check(&config.policy) {
        Ok(()) => Ok(config),
        Err(message) => Err(Refused { diagnostics: vec![certificate(message)] }),
    }
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
        if let Ok(config) = Config::parse_with(text, &name, &mut files) {
            named.extend(trust_files(&config.policy).into_iter().map(str::to_owned));
        }
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
