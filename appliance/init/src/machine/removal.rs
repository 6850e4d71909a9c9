//! Takes away what the daemon's user may have made: folders nested so deep that
//! a walk by calls of calls would end with the stack.
//!
//! Never follows a link and never goes deeper than one folder: each is moved to
//! a folder of our own, its folders come up beside it, and it goes when it is
//! empty. What was not finished is gone on with at the next call.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Takes away the folder at `path`; its contents by way of `aside`, a folder of
/// ours on the same file system, and at most `most` entries of them now. How many
/// were taken away or moved: fewer than `most` is all that can be.
pub fn remove_folder(path: &Path, aside: &Path, most: usize) -> usize {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if fs::remove_dir(path).is_ok() {
        return 1;
    }
    let made = aside.is_dir() || DirBuilder::new().mode(0o700).create(aside).is_ok();
    if !made || put_aside(path, &metadata, aside).is_err() {
        return 0;
    }
    go_on(aside, most)
}

/// Goes on with what lies aside, at most `most` entries; how many it were.
pub fn go_on(aside: &Path, most: usize) -> usize {
    let mut done = 0;
    while done < most {
        let folders: Vec<_> = fs::read_dir(aside).into_iter().flatten().flatten().collect();
        let before = done;
        for folder in folders {
            done += empty(&folder.path(), aside, most - done);
            done += usize::from(done < most && fs::remove_dir(folder.path()).is_ok());
        }
        if done == before {
            break;
        }
    }
    done
}

/// Files go, and folders come up beside this one.
fn empty(folder: &Path, aside: &Path, most: usize) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let gone = entries.take(most).filter(|entry| {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => put_aside(&path, &metadata, aside).is_ok(),
            _ => fs::remove_file(&path).is_ok(),
        }
    });
    gone.count()
}

/// By its number, which no other has.
fn put_aside(folder: &Path, metadata: &Metadata, aside: &Path) -> io::Result<()> {
    fs::rename(folder, aside.join(metadata.ino().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder for one test, gone with it.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("removal-{name}-{}", std::process::id()));
            fs::create_dir(&path).expect("a folder for this test");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// So many folders within one another, each with a file.
    fn nest(at: &Path, depth: usize) -> std::path::PathBuf {
        let (inner, outer) = (at.join("inner"), at.join("outer"));
        fs::create_dir(&inner).unwrap();
        for _ in 1..depth {
            fs::create_dir(&outer).unwrap();
            fs::write(outer.join("file"), "x").unwrap();
            fs::rename(&inner, outer.join("inner")).unwrap();
            fs::rename(&outer, &inner).unwrap();
        }
        inner
    }

    #[test]
    fn folders_deeper_than_any_path_go_step_by_step() {
        let scratch = Scratch::new("deep");
        let (deep, aside) = (nest(&scratch.0, 2_000), scratch.0.join("aside"));
        assert_eq!(remove_folder(&deep, &aside, 100), 100);
        assert!(!deep.exists(), "its name is free at once");
        let mut turns = 1;
        while go_on(&aside, 100) == 100 {
            turns += 1;
        }
        assert!(turns >= 2_000 * 2 / 100);
        assert_eq!(fs::read_dir(&aside).unwrap().count(), 0);
    }

    #[test]
    fn links_are_taken_away_and_not_followed() {
        let scratch = Scratch::new("links");
        let (folder, kept) = (scratch.0.join("folder"), scratch.0.join("kept"));
        fs::create_dir_all(folder.join("empty")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, folder.join("link")).unwrap();
        assert!(remove_folder(&folder, &scratch.0.join("aside"), 100) < 100);
        assert!(kept.join("file").exists());
        assert_eq!(fs::read_dir(scratch.0.join("aside")).unwrap().count(), 0);
        assert_eq!(remove_folder(&folder, &scratch.0.join("aside"), 100), 0, "there is nothing");
    }
}
