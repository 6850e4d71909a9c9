//! Shared pieces of the house checks and of the stories told by the real
//! daemon.
//!
//! Never starts anything by itself.

pub mod catalogue;
pub mod features;

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this package lies in the workspace's folder").to_owned()
}

/// The daemon under test: what `RINGPOST_BIN` names, else the release build beside
/// the running test's own build.
///
/// # Panics
/// There is none; the message says how to build it.
pub fn ringpost() -> PathBuf {
    if let Some(named) = std::env::var_os("RINGPOST_BIN") {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().expect("a running test has a path");
    let built = test
        .ancestors()
        .nth(3)
        .map(|target| target.join("release/ringpost"))
        .filter(|program| program.exists());
    built.expect("no daemon to test: run `cargo build --release -p ringpost`, or set RINGPOST_BIN")
}
