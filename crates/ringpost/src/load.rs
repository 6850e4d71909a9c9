//! From a path to a configuration, or to the words that say what is wrong.

use std::io::Read;
use std::path::{Path, PathBuf};

use control::config::FILE_BYTES_MAX;
use control::{Config, Refused};
use runtime::tls_server::ServerConfigs;

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file says something that cannot be.
    Refused(PathBuf, Refused),
    /// A certificate that the file names is of no use.
    Certificate(PathBuf, String),
}

/// The file looked for when none is named.
pub const DEFAULT_FILE: &str = "ringpost.toml";

/// Reads the configuration: from `path`, or from [`DEFAULT_FILE`] if it is
/// there, or the defaults.
///
/// # Errors
/// [`LoadError`], whose text is for the operator.
pub fn configuration(path: Option<&Path>) -> Result<Config, LoadError> {
    let default = Path::new(DEFAULT_FILE);
    let (path, text) = match path {
        Some(path) => (path, read(path)?),
        None if default.exists() => (default, read(default)?),
        None => (default, String::new()),
    };
    let name = runtime::machine::host_name();
    // A file named without a folder lies beside the configuration.
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = |named: &str| named_file(&folder.join(named));
    let config = Config::parse_with(&text, &name, &mut files)
        .map_err(|refused| LoadError::Refused(path.into(), refused))?;
    ServerConfigs::of(&config.policy.submission)
        .map_err(|reason| LoadError::Certificate(path.into(), reason))?;
    Ok(config)
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

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "the configuration {} cannot be read: {error}", path.display())
            }
            Self::Certificate(path, reason) => write!(f, "{}: {reason}", path.display()),
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
