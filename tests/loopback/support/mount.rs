//! A file system of a story's own, so that a full disk is nobody else's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{installed, run};

/// A file system in memory, unmounted with its guard.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts one at a folder that is not there yet; `size` as `mount` takes it.
    pub fn tmpfs(at: &Path, size: &str) -> Self {
        fs::create_dir(at).expect("the folder is our own");
        let mut mount = Command::new(installed("mount", "mount"));
        run(mount.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(at), "mount");
        Self(at.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is on its way out.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
