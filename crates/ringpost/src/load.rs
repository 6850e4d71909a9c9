//! From a path to a configuration, or to the words that say what is wrong.

use std::io::Read;
use std::path::{Path, PathBuf};

use control::{Config, Refused};

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

/// Octets read of a file that holds a secret: one line, and one octet more than
/// is allowed.
const SECRET_FILE_BYTES_MAX: u64 = control::log_in::SECRET_BYTES_MAX as u64 + 3;

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
    let mut files = |named: &str| secret_file(&folder.join(named));
    Config::parse_with(&text, &name, &mut files)
        .map_err(|refused| LoadError::Refused(path.into(), refused))
}

/// Reads a file that holds a secret, bounded.
fn secret_file(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("names {}, which cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One octet more than any secret has, so that a longer one is seen.
    file.take(SECRET_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
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
