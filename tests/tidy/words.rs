//! Words that have no place here: names that say nothing, unfinished work, and
//! traces of somebody's machine.

use crate::report;
use crate::rust::{Source, is_word, sources, words};

/// Names that fit any file, and so say nothing about this one.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "manager", "helpers", "misc"];

/// Marks of unfinished work and of tests that prove nothing.
const UNFINISHED: [&str; 5] = ["todo!", "unimplemented!", "dbg!", "#[ignore", "thread::sleep"];

/// Files that may name an unfinished thing, and why.
const MAY_SLEEP: [&str; 1] = ["crates/runtime/src/"];

#[test]
fn names_say_something_and_nothing_is_unfinished() {
    report(sources().iter().flat_map(breaches).collect());
}

fn breaches(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut breach = |at: usize, why: &str| {
        found.push(format!("{}:{}: {why}", source.path, source.line(at)));
    };
    for part in source.path.split(['/', '.']) {
        if EMPTY_NAMES.contains(&part) {
            breach(0, "this name says nothing about what is inside");
        }
    }
    for name in EMPTY_NAMES {
        for at in words(&source.code, name) {
            if source.code[..at].trim_end().ends_with("mod") {
                breach(at, "this name says nothing about what is inside");
            }
        }
    }
    for at in words(&source.code, "fn") {
        let name = source.code[at + 2..].trim_start();
        // `get_mut` is what std calls the second of a pair.
        if name.starts_with("get_") && !name.starts_with("get_mut") {
            breach(at, "name what is returned, without get_");
        }
    }
    for mark in UNFINISHED {
        let sleeps = mark == "thread::sleep" && !source.is_test();
        let allowed = sleeps && MAY_SLEEP.iter().any(|place| source.path.starts_with(place));
        for (at, _) in source.code.match_indices(mark) {
            let whole = at == 0 || !is_word(source.code.as_bytes()[at - 1]);
            if whole && !allowed {
                breach(at, &format!("{mark} does not belong in the tree"));
            }
        }
    }
    for trace in machine_traces() {
        for (at, _) in source.text.match_indices(&trace) {
            breach(at, "names a path of one machine");
        }
    }
    found
}

/// Put together here, lest this file be a breach itself.
fn machine_traces() -> [String; 4] {
    ["root", "work", "home", "tmp/t-"].map(|folder| match folder {
        "tmp/t-" => format!("/{folder}"),
        _ => format!("/{folder}/"),
    })
}

#[test]
fn each_kind_of_word_is_found() {
    let lines = |text: &str| breaches(&Source::new("crates/x/src/a.rs", text)).len();
    assert_eq!(lines("fn budget_left() {} // utils, todo!\n"), 0);
    assert_eq!(lines("mod utils;\n"), 1);
    assert_eq!(lines("pub fn get_name() {}\n"), 1);
    assert_eq!(lines("fn f() { todo!() }\n"), 1);
    assert_eq!(lines("#[ignore]\nfn f() {}\n"), 1);
    assert_eq!(lines("fn f() { std::thread::sleep(x) }\n"), 1);
    assert_eq!(lines(&format!("const A: &str = \"{}x\";\n", machine_traces()[0])), 1);
    assert_eq!(breaches(&Source::new("crates/x/src/utils.rs", "")).len(), 1);
    let runtime = Source::new("crates/runtime/src/a.rs", "fn f() { thread::sleep(x) }");
    assert_eq!(breaches(&runtime).len(), 0);
}
