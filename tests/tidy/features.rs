//! The table of features is true: each `must` row is shown by a test or stands
//! here among what comes later, each mark above a test names a row, no row is
//! missing, and tests, states and counts are those that the marks make.

use std::collections::BTreeMap;
use std::fs;

use tests::catalogue::{Claim, claims, workspace_claims};
use tests::features::{Feature, TABLE, counts, fill, rows};

use crate::report;

/// What every operator needs and later work brings, with that work. A row that
/// is shown in part does not stand here; the table says what is missing.
const LATER: [(&str, &str); 0] = [];

/// Rows of each seed.
const SEEDS: [(&str, u32); 5] = [("S0", 12), ("S1", 17), ("S2", 27), ("S3", 22), ("S4", 8)];

#[test]
fn the_table_of_features_is_true() {
    let root = tests::workspace();
    let claims = workspace_claims(&root).expect("the sources can be read");
    let table = fs::read_to_string(root.join(TABLE)).expect("the table is there");
    let mut breaches = Vec::new();
    if fill(&table, &claims).as_deref() != Ok(&*table) {
        breaches.push(format!("{TABLE} is out of date: run `cargo xtask tables`"));
    }
    let rows = rows(&table);
    println!("{}", counts(&rows));
    breaches.extend(rows_breaches(&rows, &LATER));
    breaches.extend(seeds_breaches(&rows));
    breaches.extend(marks_breaches(&claims, &rows));
    report(breaches);
}

/// What is wrong with single rows, where these come later.
fn rows_breaches(rows: &[Feature], later: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows {
        let listed = later.iter().any(|(id, _)| row.id == *id);
        let wrong = match (&*row.priority, row.state) {
            ("must" | "should" | "no", "open") => "is shown by nothing, and does not say why",
            ("must", "later") if !listed => "is a must, is shown by nothing, and is not in LATER",
            ("must", "shown" | "part") if listed => "is in LATER, and is shown",
            ("must" | "should" | "no", _) => continue,
            _ => "has a priority that nobody knows",
        };
        found.push(format!("{} {wrong}", row.id));
    }
    for (id, _) in later {
        if !rows.iter().any(|row| row.id == *id && row.priority == "must") {
            found.push(format!("{id} is in LATER, and is no row that is a must"));
        }
    }
    found
}

/// Rows that are missing, too many, or out of their order.
fn seeds_breaches(rows: &[Feature]) -> Vec<String> {
    let mut found = Vec::new();
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for row in rows {
        let Some((seed, number)) = row.id.split_once('.') else { continue };
        let last = last.entry(seed).or_default();
        *last += 1;
        if number.parse() != Ok(*last) {
            found.push(format!("{} stands where {seed}.{last} should", row.id));
        }
    }
    for (seed, rows) in SEEDS {
        let has = last.get(seed).copied().unwrap_or_default();
        if has != rows {
            found.push(format!("{seed} has {rows} rows, and {has} are in {TABLE}"));
        }
    }
    found
}

/// What is wrong with the marks above tests.
fn marks_breaches(claims: &[Claim], rows: &[Feature]) -> Vec<String> {
    let mut found = Vec::new();
    for claim in claims.iter().filter(|claim| !claim.shows.is_empty()) {
        let Claim { place, test, .. } = claim;
        if claims.iter().filter(|other| other.test == *test).count() > 1 {
            found.push(format!("{place}: {test} is the name of several tests"));
        }
        for id in &claim.shows {
            if !rows.iter().any(|row| row.id == *id) {
                found.push(format!("{place}: there is no row {id} in {TABLE}"));
            }
        }
    }
    found
}

const SMALL: &str = "\
<!-- counts: written by `cargo xtask tables` -->
<!-- end of counts -->
| Id | Feature | To be seen | Prio | State | Shown by | Missing, or why not |
|---|---|---|---|---|---|---|
| S0.1 | Mail is stored | it is there | must |  |  |  |
| S0.2 | Mail is seen | in a list | must |  |  | no list |
| S0.3 | Mail is sung | aloud | should |  |  | a voice |
| A7 | Mail is burnt |  | no |  |  | why should it? |
";

fn marked(marks: &str) -> Vec<Claim> {
    claims("crates/x/src/a.rs", &format!("{marks}\n#[test]\nfn shows() {{}}\n"))
}

#[test]
fn features_are_filled_from_marks() {
    let claims = marked("/// Covers: A1.1\n/// Shows: S0.1, S0.2.");
    let filled = fill(SMALL, &claims).expect("the marks are there");
    assert!(
        filled.contains("| S0.1 | Mail is stored | it is there | must | shown | `x::shows` |  |")
    );
    let states: Vec<_> = rows(&filled).iter().map(|row| row.state).collect();
    assert_eq!(states, ["shown", "part", "later", "no"]);
    assert!(
        filled.contains(
            "| S0 | 3 | 2 | 1 | 1 | 1 | 0 | 0 |\n| others | 1 | 0 | 0 | 0 | 0 | 1 | 0 |\n"
        )
    );
    assert!(filled.contains("| of them must | 2 | 2 | 1 | 1 | 0 | 0 | 0 |\n"), "{filled}");
    assert_eq!(fill(&filled, &claims).as_deref(), Ok(&*filled), "filling again changes nothing");
    assert_ne!(fill(&filled, &[]).as_deref(), Ok(&*filled), "a test that is gone is noticed");
    assert_eq!(rows_breaches(&rows(&filled), &[]), [""; 0]);
    assert_eq!(marks_breaches(&claims, &rows(&filled)), [""; 0]);
}

#[test]
fn each_untruth_about_a_feature_is_found() {
    let filled = |marks: &str| fill(SMALL, &marked(marks)).expect("the marks are there");
    let breaches = |table: &str, later: &[(&str, &str)]| rows_breaches(&rows(table), later).len();
    assert_eq!(breaches(&filled("/// Shows: S0.1"), &[]), 1, "a must is not shown");
    assert_eq!(breaches(&filled("/// Shows: S0.1"), &[("S0.2", "lists")]), 0);
    assert_eq!(breaches(&filled("/// Shows: S0.1, S0.2"), &[("S0.2", "lists")]), 1);
    assert_eq!(breaches(&filled("/// Shows: S0.1, S0.2"), &[("S0.9", "lists")]), 1);
    assert_eq!(breaches(&filled("/// Shows: S0.2"), &[]), 1, "nothing is said of the first");
    let shown = filled("/// Shows: S0.1, S0.2");
    assert_eq!(breaches(&shown.replace("| must | shown", "| soon | shown"), &[]), 1);

    assert_eq!(seeds_breaches(&rows(SMALL)).len(), 5, "no seed is whole");
    let wrong = SMALL.replace("| S0.3 |", "| S0.4 |");
    assert_eq!(seeds_breaches(&rows(&wrong)).len(), 6);

    let rows = rows(SMALL);
    assert_eq!(marks_breaches(&marked("/// Shows: S0.4"), &rows).len(), 1);
    assert_eq!(marks_breaches(&marked("/// A comment may name `Shows: S0.4`."), &rows).len(), 0);
    let twice = [marked("/// Shows: S0.1"), marked("/// Nothing.")].concat();
    assert_eq!(marks_breaches(&twice, &rows).len(), 1);
}
