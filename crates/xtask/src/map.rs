//! Writes the list of files in `crates/README.md`: each room's files, each
//! with the first sentence of its own head, so that a file is described in one
//! place only.
//!
//! Never touches what stands outside its two marks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- files: written by `cargo xtask map` -->";
const END: &str = "<!-- end of files -->";

/// The rooms in the order of their floors, and what stands beside their names.
const ROOMS: [(&str, &str); 17] = [
    ("crates/base", "floor 0"),
    ("crates/mail", "floor 1"),
    ("crates/meter", "floor 1"),
    ("crates/smtp", "floor 2"),
    ("crates/dns", "floor 2"),
    ("crates/spool", "floor 2"),
    ("crates/control", "floor 2"),
    ("crates/eventlog", "floor 2"),
    ("crates/queue", "floor 3"),
    ("crates/shard", "floor 4"),
    ("crates/segment", "floor 5"),
    ("crates/runtime", "floor 6"),
    ("crates/ringpost", "floor 7"),
    ("crates/sim", "tool"),
    ("crates/harness", "tool"),
    ("crates/xtask", "tool"),
    ("appliance/init", "tool"),
];

/// Files that need no line of their own.
const UNNAMED: [&str; 3] = ["lib.rs", "main.rs", "tests.rs"];

/// Puts the list as it is now between the marks.
///
/// # Errors
/// The map or a source file cannot be read or written, or a mark is missing.
pub fn write(root: &Path) -> io::Result<()> {
    let path = root.join("crates/README.md");
    let map = fs::read_to_string(&path)?;
    let missing = || io::Error::other("the marks around the list of files are gone");
    let (before, rest) = map.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    let list = list(root)?;
    fs::write(path, format!("{before}{BEGIN}\n\n{list}\n{END}{after}"))
}

fn list(root: &Path) -> io::Result<String> {
    let mut out = String::new();
    for (room, place) in ROOMS {
        let source = root.join(room).join("src");
        let head = ["lib.rs", "main.rs"]
            .iter()
            .find_map(|name| fs::read_to_string(source.join(name)).ok());
        let purpose = first_sentence(&head.unwrap_or_default());
        let purpose = purpose.strip_prefix("Floor ").map_or(&*purpose, |rest| &rest[3..]);
        out.push_str(&format!("### `{room}`: {place}\n\n{purpose}\n\n"));
        let mut files = Vec::new();
        collect(&source, &mut files)?;
        // Without its ending a file stands before the folder of its parts.
        files.sort_by_key(|file| file.with_extension(""));
        for file in files {
            let name = file.strip_prefix(&source).map_err(io::Error::other)?;
            let sentence = first_sentence(&fs::read_to_string(&file)?);
            out.push_str(&format!("- `{}`: {sentence}\n", name.display()));
        }
        out.push('\n');
    }
    Ok(out.trim_end().to_owned() + "\n")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                collect(&path, files)?;
            }
        } else if name.ends_with(".rs") && !UNNAMED.contains(&name.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

/// The first sentence of a file's head, without its full stop.
fn first_sentence(text: &str) -> String {
    let head: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let head = head.join(" ").replace("[`", "`").replace("`]", "`");
    let end = head.find(". ").unwrap_or(head.len());
    head[..end].trim_end_matches(['.', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_at_its_full_stop() {
        let text =
            "//! Reads [`Reply`] lines, RFC 5321 §4.2. Never\n//! writes.\n//!\n//! More.\nfn f";
        assert_eq!(first_sentence(text), "Reads `Reply` lines, RFC 5321 §4.2");
        assert_eq!(first_sentence("//! One\n//! head.\nuse x;"), "One head");
        assert_eq!(first_sentence("fn f() {}"), "");
    }

    #[test]
    fn the_list_names_this_file() {
        let list = list(&crate::workspace()).unwrap();
        assert!(list.contains("### `crates/xtask`: tool\n"));
        assert!(list.contains("- `map.rs`: Writes the list of files in `crates/README.md`"));
    }
}
