//! Wrong configurations and what is said about them, word by word: place,
//! setting, reason, and the nearest right name where there is one.
//!
//! `golden/wrong.txt` has the cases: a configuration, a line `---`, what is
//! said about it, and a line `===` between two cases. Who changes a message
//! changes it there.

use std::fmt::Write;

use control::Config;
use mail::Domain;

const CASES: &str = include_str!("golden/wrong.txt");

/// Covers: A1.21, A6.16
/// Shows: S2.13
#[test]
fn each_wrong_configuration_is_told_in_its_own_words() {
    let machine = Domain::parse("box.example").expect("a name");
    let mut said = String::new();
    let mut count = 0;
    for case in CASES.split("===\n") {
        let text = case.split("---\n").next().unwrap_or_default();
        let refused = Config::parse(text, &machine).err();
        let refused = refused.unwrap_or_else(|| panic!("there is nothing wrong with\n{text}"));
        assert!(refused.diagnostics.iter().all(|found| found.line > 0 && found.column > 0));
        let between = if count == 0 { "" } else { "===\n" };
        writeln!(said, "{between}{text}---\n{refused}").expect("a String takes everything");
        count += 1;
    }
    assert!(count >= 30, "only {count} kinds");
    assert!(said == CASES, "what is said now:\n{said}");
}
