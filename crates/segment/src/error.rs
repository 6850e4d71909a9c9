//! Why a data folder cannot be used, in sentences an operator can act on.
//!
//! Never here: what to do about it.

use std::io;
use std::path::PathBuf;

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another program holds the folder's lock.
    #[error("the data folder {} is in use{}", folder.display(), by(*pid))]
    LocalInUse {
        /// The folder.
        folder: PathBuf,
        /// The other program's process id, where its lock file tells.
        pid: Option<u32>,
    },
    /// Everybody may write into it.
    #[error("the data folder {} may be written by everybody (mode {mode:o}): chmod o-w", folder.display())]
    LocalOpenToAll {
        /// The folder.
        folder: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file system said no.
    #[error("{what} {}: {source}", path.display())]
    LocalIo {
        /// What was tried: "cannot create" and the like.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FolderError {
    /// Wraps what the system said about `path`.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::LocalIo { what, path, source }
    }
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}
