//! The map is true: every path it names exists, and every room and file of the
//! house is on it.

use std::collections::BTreeSet;
use std::fs;

use crate::report;
use crate::rust::sources;

/// Files that need no line of their own: they say only what others hold.
const UNNAMED: [&str; 3] = ["lib.rs", "main.rs", "prop.rs"];

#[test]
fn the_map_is_true() {
    let root = tests::workspace();
    let map = fs::read_to_string(root.join("crates/README.md")).expect("the map is there");
    let mut breaches = Vec::new();
    let named = paths(&map);
    for path in &named {
        if !root.join(path).exists() {
            breaches.push(format!("crates/README.md names {path}, which is not there"));
        }
    }
    for entry in fs::read_dir(root.join("crates")).expect("crates/ is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !named.contains(&format!("crates/{name}")) {
            breaches.push(format!("crates/README.md does not name crates/{name}"));
        }
    }
    let is_of_a_room = |path: &str| path.starts_with("crates/") || path.starts_with("appliance/");
    for source in sources().iter().filter(|source| is_of_a_room(&source.path)) {
        let file = source.path.rsplit('/').next().unwrap_or_default();
        let needs_line = !source.is_test() && !UNNAMED.contains(&file);
        if needs_line && !named.contains(&source.path) {
            breaches.push(format!("{} is not on the map: run `cargo xtask map`", source.path));
        }
    }
    report(breaches);
}

/// Every path between backticks: what begins with a folder of the workspace,
/// and in the list of a room (below a line that names `crates/x`) its files.
fn paths(map: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut room = None;
    for line in map.lines() {
        if line.starts_with('#') {
            room = None;
        }
        for quoted in line.split('`').skip(1).step_by(2) {
            let top =
                ["crates/", "tests/", ".ci/", "appliance/"].iter().any(|t| quoted.starts_with(t));
            let plain = !quoted.contains([' ', '*', '…', '{']);
            if top && plain {
                found.insert(quoted.trim_end_matches('/').to_owned());
                if line.starts_with('#') {
                    room = Some(quoted.to_owned());
                }
            } else if let Some(room) = room.as_ref().filter(|_| line.starts_with("- `") && plain) {
                // Only the first name of a list line is a path.
                found.insert(format!("{room}/src/{quoted}"));
                break;
            }
        }
    }
    found
}

#[test]
fn paths_are_read_from_the_map() {
    let map = "| send | `crates/smtp/src/client.rs` |\n### `crates/mail`: floor 1\n\
               - `dsn/text.rs` writes `Subject`\nSee `cargo test`.\n## Words\n- `spool`: a word\n";
    let found: Vec<String> = paths(map).into_iter().collect();
    let expected = ["crates/mail", "crates/mail/src/dsn/text.rs", "crates/smtp/src/client.rs"];
    assert_eq!(found, expected);
}
