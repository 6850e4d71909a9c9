//! Files that come with a revision, from a backup: put where the configuration
//! names them, or taken back.
//!
//! Never outside of the configuration's folder: names were held to that when the
//! backup was opened. Invariant: each file is there as it was or as it comes,
//! and what cannot be placed as a whole is not placed at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use control::config::FILE_BYTES_MAX;
use segment::small_file;

/// Files of a change, and which of them are not on the disk as they come.
#[derive(Debug, Default)]
pub(super) struct Pending {
    folder: PathBuf,
    all: BTreeMap<String, Vec<u8>>,
    /// Those that are to be written.
    differing: Vec<String>,
    /// Those that were not there before, and are by now.
    added: Vec<PathBuf>,
}

/// Files that were written, each with what it held before.
#[derive(Debug, Default)]
pub(super) struct Placed(Vec<(PathBuf, Option<Vec<u8>>)>);

impl Pending {
    /// Files by their names within `folder`.
    pub(super) fn of(folder: &Path, all: BTreeMap<String, Vec<u8>>) -> Self {
        let is_other = |(name, bytes): &(&String, &Vec<u8>)| {
            let known = small_file::read(&folder.join(name), FILE_BYTES_MAX);
            !known.is_ok_and(|known| known.as_ref() == Some(bytes))
        };
        let differing = all.iter().filter(is_other).map(|(name, _)| name.clone()).collect();
        Self { folder: folder.to_path_buf(), all, differing, added: Vec::new() }
    }

    /// Whether all of them lie there as they come.
    pub(super) fn is_empty(&self) -> bool {
        self.differing.is_empty()
    }

    /// Those that are there and would become others.
    pub(super) fn replaced(&self) -> impl Iterator<Item = &str> {
        self.differing.iter().map(String::as_str).filter(|name| self.folder.join(name).exists())
    }

    /// What each of them holds.
    pub(super) fn contents(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.all
    }

    /// Writes them, durably; with `replaces` over what is there, too.
    ///
    /// # Errors
    /// A sentence; none is written then.
    pub(super) fn place(&self, replaces: bool) -> Result<Placed, String> {
        let mut placed = Placed::default();
        for name in &self.differing {
            let path = self.folder.join(name);
            if path.exists() && !replaces {
                continue;
            }
            if let Err(error) = placed.one(&path, &self.all[name]) {
                placed.undo();
                return Err(format!(
                    "{} cannot be written, and nothing has changed: {error}",
                    path.display()
                ));
            }
        }
        Ok(placed)
    }

    /// What is still to be done once `placed` is.
    pub(super) fn left(mut self, placed: Placed) -> Self {
        self.added = placed.0.into_iter().map(|(path, _)| path).collect();
        let added = &self.added;
        self.differing.retain(|name| !added.contains(&self.folder.join(name)));
        self
    }

    /// Takes back what was added.
    pub(super) fn forget(self) {
        for path in self.added {
            let _ = fs::remove_file(path);
        }
    }
}

impl Placed {
    fn one(&mut self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let before = small_file::read(path, FILE_BYTES_MAX)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        small_file::replace(path, bytes)?;
        self.0.push((path.to_path_buf(), before));
        Ok(())
    }

    /// Puts back what was there before.
    pub(super) fn undo(self) {
        for (path, before) in self.0 {
            let _ = match before {
                Some(before) => small_file::replace(&path, &before),
                None => fs::remove_file(&path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn files_are_placed_as_a_whole_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        fs::write(folder.path().join("old.pem"), "old").unwrap();
        fs::write(folder.path().join("same.pem"), "same").unwrap();
        let all = files(&[("old.pem", "new"), ("same.pem", "same"), ("tls/new.pem", "x")]);
        let pending = Pending::of(folder.path(), all.clone());
        assert_eq!(pending.replaced().collect::<Vec<_>>(), ["old.pem"]);
        // On trial: what is there stays.
        let placed = pending.place(false).unwrap();
        assert_eq!(
            (read("old.pem").as_deref(), read("tls/new.pem").as_deref()),
            (Some("old"), Some("x"))
        );
        let pending = pending.left(placed);
        // Confirmed, and then not stored.
        pending.place(true).unwrap().undo();
        assert_eq!(read("old.pem").as_deref(), Some("old"));
        pending.place(true).unwrap();
        assert_eq!(read("old.pem").as_deref(), Some("new"));
        assert!(Pending::of(folder.path(), all).is_empty());
        pending.forget();
        assert_eq!((read("tls/new.pem"), read("same.pem").as_deref()), (None, Some("same")));
        // What cannot be placed as a whole is not placed at all.
        fs::write(folder.path().join("file"), "in the way").unwrap();
        let all = files(&[("a.pem", "a"), ("file/b.pem", "b")]);
        let why = Pending::of(folder.path(), all).place(true).unwrap_err();
        assert!(why.contains("nothing has changed") && read("a.pem").is_none(), "{why}");
    }
}
