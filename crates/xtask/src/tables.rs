//! Writes the tests and the counts in the tables of RFC clauses, of faults and
//! of features anew, from the comments above the tests.
//!
//! Never touches what people wrote there; see [`tests::catalogue`] and
//! [`tests::features`].

use std::fs;
use std::io;
use std::path::Path;

use tests::catalogue::{TABLES, fill, workspace_claims};
use tests::features;

/// Writes all tables; returns the counts of the features, seed by seed.
///
/// # Errors
/// A table or a source file cannot be read or written, or the marks around the
/// counts are missing.
pub fn write(root: &Path) -> io::Result<String> {
    let claims = workspace_claims(root)?;
    for table in TABLES {
        let path = root.join(table);
        let filled = fill(&fs::read_to_string(&path)?, &claims).map_err(io::Error::other)?;
        fs::write(path, filled)?;
    }
    let path = root.join(features::TABLE);
    let filled = features::fill(&fs::read_to_string(&path)?, &claims).map_err(io::Error::other)?;
    fs::write(path, &filled)?;
    Ok(features::counts(&features::rows(&filled)))
}
