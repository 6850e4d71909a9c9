//! Every kind of event is waited for by a test: what no run brings forth, no run
//! holds to its schema either.
//!
//! A kind counts as seen where a test asks for it by its word: of the log of a
//! simulated world or of a daemon (`logged("…")`, `events("…")`), of a line
//! (`["event"] == "…"`), or in the lists of the two stories that are about
//! events. Such a test fails when the event does not come.

use std::path::Path;
use std::{fs, io};

use serde_json::Value;

use crate::report;

/// What a schema says, for the words of all kinds.
const SCHEMA: &str = "docs/events.schema.json";
/// Folders of tests that look at logs.
const FOLDERS: [&str; 3] = ["tests/loopback", "crates/sim/tests", "crates/runtime/src"];
/// Stories that go through lists of kinds.
const LISTS: [&str; 2] = ["tests/loopback/events.rs", "crates/sim/tests/stories/detail.rs"];

#[test]
fn every_kind_of_event_occurs_in_a_test() {
    let root = tests::workspace();
    let schema = fs::read_to_string(root.join(SCHEMA)).expect("the schema is there");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    let kinds = schema["oneOf"].as_array().expect("kinds");
    let words = kinds.iter().filter_map(|kind| kind["properties"]["event"]["const"].as_str());
    let mut texts = Vec::new();
    for folder in FOLDERS {
        sources(&root.join(folder), &mut texts).expect("sources can be read");
    }
    let lists: String = LISTS
        .iter()
        .map(|path| fs::read_to_string(root.join(path)).expect("the story is there"))
        .collect();
    let unseen = words.filter(|word| {
        let listed = lists.contains(&format!("\"{word}\""));
        !listed && !texts.iter().any(|text| asks_for(text, word))
    });
    report(unseen.map(|word| format!("no test sees the event {word}")).collect());
}

/// The texts of all tests below a folder.
fn sources(folder: &Path, into: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path)?;
            // Of a file with both only what comes behind the mark is a test.
            let tests = match text.find("#[cfg(test)]\nmod tests {") {
                Some(at) => text[at..].to_owned(),
                None => text,
            };
            into.push(tests);
        }
    }
    Ok(())
}

/// Whether a test asks for an event by its word.
fn asks_for(text: &str, word: &str) -> bool {
    let ways = [
        format!("logged(\"{word}\""),
        format!("logged(&daemon, \"{word}\""),
        format!("events(\"{word}\""),
        format!("count(\"{word}\""),
        format!("[\"event\"] == \"{word}\""),
        format!("[\"event\"], \"{word}\""),
        format!("contains(\"{word}\""),
        format!("\\\"event\\\":\\\"{word}\\\""),
    ];
    ways.iter().any(|way| text.contains(way))
}

#[test]
fn an_event_that_is_only_named_is_not_seen() {
    assert!(asks_for("world.logged(\"site-up\")", "site-up"));
    assert!(asks_for("line[\"event\"] == \"site-up\"", "site-up"));
    assert!(!asks_for("let word = \"site-up\";", "site-up"));
    assert!(!asks_for("world.logged(\"site-up\")", "site"));
}
