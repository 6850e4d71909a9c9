//! The table of features and the tests that show them: `crates/FEATURES.md`.
//!
//! The comment above a test is the truth here too: `Shows: S2.5, A15` says
//! which rows it shows. Tests, states and counts are made from these comments
//! by `cargo xtask tables`; what a feature is, its priority, and what of it is
//! missing are written by hand. `tests/tidy/features.rs` holds it together.
//!
//! Never judges whether a test shows what it says: people do.

use std::fmt::Write;

use crate::catalogue::{Claim, tests_by_row, with_counts};

/// The table, from the workspace.
pub const TABLE: &str = "crates/FEATURES.md";

/// States of a row, in the order of the counts.
pub const STATES: [&str; 5] = ["shown", "part", "later", "no", "open"];

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// `S2.5` or `A15`.
    pub id: String,
    /// `must`, `should` or `no`, if it was written right.
    pub priority: String,
    /// One of [`STATES`]: nothing shows an `open` one, and nobody says why.
    pub state: &'static str,
    /// What of it is not shown, and what brings it.
    pub missing: String,
}

impl Feature {
    /// What it is counted under: its seed, or all that are of none.
    pub fn group(&self) -> &str {
        self.id.split_once('.').map_or("others", |(seed, _)| seed)
    }
}

/// The rows of the table, with the states that stand in it.
pub fn rows(table: &str) -> Vec<Feature> {
    let row = |cells: Vec<&str>| Feature {
        id: cells[0].to_owned(),
        priority: cells[3].to_owned(),
        state: STATES.iter().find(|state| **state == cells[4]).unwrap_or(&"open"),
        missing: cells[6].to_owned(),
    };
    table.lines().filter_map(cells).map(row).collect()
}

/// The table with the tests, states and counts that `claims` make.
///
/// # Errors
/// The marks around the counts are gone.
pub fn fill(table: &str, claims: &[Claim]) -> Result<String, String> {
    let by_row = tests_by_row(claims, |claim| &claim.shows);
    let mut out = String::new();
    for line in table.lines() {
        // Writing to a String cannot fail.
        let _ = match cells(line) {
            Some(mut cells) => {
                let tests = by_row.get(cells[0]).map_or("", String::as_str);
                (cells[4], cells[5]) = (state(cells[3], tests, cells[6]), tests);
                writeln!(out, "| {} |", cells.join(" | "))
            }
            None => writeln!(out, "{line}"),
        };
    }
    with_counts(&out, &counts(&rows(&out)))
}

/// The seven cells of a line that is a row, its id first.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    let number = cells[0].strip_prefix(['S', 'A', 'M']).unwrap_or_default();
    let is_id = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    (cells.len() == 7 && !number.is_empty() && number.bytes().all(is_id)).then_some(cells)
}

fn state(priority: &str, tests: &str, missing: &str) -> &'static str {
    match (tests.is_empty(), missing.is_empty()) {
        (false, true) => "shown",
        (false, false) => "part",
        (true, false) if priority == "no" => "no",
        (true, false) => "later",
        (true, true) => "open",
    }
}

/// How many rows have which state, seed by seed, as a table.
pub fn counts(rows: &[Feature]) -> String {
    let mut out = format!("| | rows | must | {} |\n|---|---|---|", STATES.join(" | "));
    out.push_str(&"---|".repeat(STATES.len()));
    out.push('\n');
    let mut line = |name: &str, rows: &[&Feature]| {
        let must = rows.iter().filter(|row| row.priority == "must").count();
        let _ = write!(out, "| {name} | {} | {must} |", rows.len());
        for state in STATES {
            let count = rows.iter().filter(|row| row.state == state).count();
            let _ = write!(out, " {count} |");
        }
        out.push('\n');
    };
    let mut groups: Vec<&str> = rows.iter().map(Feature::group).collect();
    groups.dedup();
    for group in groups {
        let of: Vec<&Feature> = rows.iter().filter(|row| row.group() == group).collect();
        line(group, &of);
    }
    line("all", &rows.iter().collect::<Vec<_>>());
    let must: Vec<&Feature> = rows.iter().filter(|row| row.priority == "must").collect();
    line("of them must", &must);
    out
}
