//! Every file begins by saying what it is; `unsafe` stands where it may.

use crate::report;
use crate::rust::{Source, sources, words};

/// Shortest head that can say anything, in characters.
const HEAD_CHARACTERS_MIN: usize = 20;

/// Where `unsafe` may stand, and why.
const UNSAFE: [(&str, &str); 2] = [
    ("crates/segment/", "maps files into memory"),
    ("crates/runtime/src/os.rs", "adopts and borrows descriptors"),
];

#[test]
fn every_file_has_a_head() {
    report(sources().iter().filter_map(headless).collect());
}

#[test]
fn unsafe_stands_only_where_it_may() {
    report(sources().iter().flat_map(unsafe_places).collect());
}

fn headless(source: &Source) -> Option<String> {
    let head: String = source.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let breach = || format!("{}: begins without a //! head that says what it is", source.path);
    (head.trim().len() < HEAD_CHARACTERS_MIN).then(breach)
}

fn unsafe_places(source: &Source) -> Vec<String> {
    if UNSAFE.iter().any(|(place, _)| source.path.starts_with(place)) {
        return Vec::new();
    }
    let breach = |at| format!("{}:{}: unsafe outside its rooms", source.path, source.line(at));
    words(&source.code, "unsafe").map(breach).collect()
}

#[test]
fn a_missing_head_and_a_stray_unsafe_are_found() {
    let good = Source::new("crates/x/src/a.rs", "//! Says what it is, in a line.\nfn f() {}\n");
    assert_eq!(headless(&good), None);
    assert!(unsafe_places(&good).is_empty());
    let bad = Source::new("crates/x/src/a.rs", "//! Short.\nunsafe fn f() {} // unsafe\n");
    assert!(headless(&bad).is_some());
    assert_eq!(unsafe_places(&bad), ["crates/x/src/a.rs:2: unsafe outside its rooms"]);
    let room = Source::new("crates/runtime/src/os.rs", "unsafe fn f() {}");
    assert!(unsafe_places(&room).is_empty());
}
