//! The tables of RFC clauses and of faults are true: what a row calls shown has
//! a test that says so, each test that claims a row is named in it, no row is
//! missing, and the counts on top are those of the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tests::catalogue::{Claim, Row, STATUSES, TABLES, counts, fill, rows, workspace_claims};

use crate::report;
use crate::rust::{Source, sources};

#[test]
fn the_tables_are_true() {
    let root = tests::workspace();
    let claims = workspace_claims(&root).expect("the sources can be read");
    let mut breaches = Vec::new();
    let mut all = Vec::new();
    for path in TABLES {
        let table = fs::read_to_string(root.join(path)).expect("the table is there");
        if fill(&table, &claims).as_deref() != Ok(&*table) {
            breaches.push(format!("{path} is out of date: run `cargo xtask tables`"));
        }
        let rows = rows(&table);
        println!("{path}\n{}", counts(&rows));
        all.extend(rows);
    }
    breaches.extend(rows_breaches(&all));
    breaches.extend(claims_breaches(&claims, &all));
    for source in sources().iter().filter(|source| !source.path.starts_with("tests/tidy/")) {
        breaches.extend(unknown_cites(source, &all));
    }
    report(breaches);
}

/// What is wrong with the rows themselves.
fn rows_breaches(rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    let mut groups: BTreeMap<&str, u32> = BTreeMap::new();
    for row in rows {
        let (group, number) = match row.id.split_once('.') {
            Some((group, number)) => (group, number),
            None => row.id.split_at(1),
        };
        let last = groups.entry(group).or_default();
        if number.parse() != Ok(*last + 1) {
            found.push(format!("{}: the row before it is {group} {last}", row.id));
        }
        *last += 1;
        let wrong = match &*row.status {
            "shown" if row.tests.is_empty() => "is called shown, and no test shows it",
            "part" if row.tests.is_empty() => "is called part, and no test shows any of it",
            "part" if row.reason.is_empty() => "does not say what is missing",
            "later" | "no" if !row.tests.is_empty() => "has tests, and is not called shown",
            "later" | "no" if row.reason.is_empty() => "does not say why not",
            status if !STATUSES.contains(&status) => "has a status that nobody knows",
            _ => continue,
        };
        found.push(format!("{} {wrong}", row.id));
    }
    found
}

/// What is wrong with the comments above tests.
fn claims_breaches(claims: &[Claim], rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for claim in claims {
        let place = &claim.place;
        if !claim.is_test {
            found.push(format!("{place}: claims to show something, and is no test"));
        }
        if claims.iter().filter(|other| other.test == claim.test).count() > 1
            && !claim.covers.is_empty()
            && names.insert(&claim.test)
        {
            found.push(format!("{place}: {} is the name of several tests", claim.test));
        }
        for id in &claim.covers {
            if !rows.iter().any(|row| row.id == *id) {
                found.push(format!("{place}: there is no row {id}"));
            }
        }
        for clause in &claim.proves {
            let held = |row: &&Row| claim.covers.contains(&row.id) && row.clauses.contains(clause);
            if !rows.iter().any(|row| held(&row)) {
                found.push(format!("{place}: proves {clause}, which no row that it covers names"));
            }
        }
    }
    found
}

/// Sections cited in comments that no row names, nor a part or the whole of.
fn unknown_cites(source: &Source, rows: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let Some((_, comment)) = line.split_once("//") else { continue };
        for (at, _) in comment.match_indices("RFC ") {
            let Some((number_of, rest)) = comment[at + 4..].split_once(" §") else { continue };
            let section = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').next();
            let section = section.unwrap_or_default().trim_end_matches('.');
            if section.is_empty() || !number_of.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let cite = format!("RFC {number_of} §{section}");
            let within = |part: &str, whole: &str| {
                part.strip_prefix(whole)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let clauses = rows.iter().flat_map(|row| &row.clauses);
            if !clauses.into_iter().any(|c| within(c, &cite) || within(&cite, c)) {
                found.push(format!("{}:{number}: no row of RFC.md names {cite}", source.path));
            }
        }
    }
    found
}

const TABLE: &str = "\
<!-- counts: written by `cargo xtask tables` -->
<!-- end of counts -->
| Id | Clause | Who | What is asked for | Status | Shown by | Missing, or why not |
|---|---|---|---|---|---|---|
| A1.1 | RFC 5321 §2.3.8, RFC 5321 §4.1.1.4 | S must | Lines | shown |  |  |
| A1.2 | RFC 5321 §2.4 | S should | Case | part |  | no case |
| A2.1 | - | C harden | Time | later |  | a clock |
";

fn claims_of(comment: &str) -> Vec<Claim> {
    let text = format!("{comment}\n#[test]\nfn shows() {{}}\n");
    tests::catalogue::claims("crates/x/src/a.rs", &text)
}

#[test]
fn tables_are_filled_from_comments() {
    let claims = claims_of("/// Proves: RFC 5321 §2.3.8\n/// Covers: A1.1, A1.2");
    let filled = fill(TABLE, &claims).expect("the marks are there");
    let read = rows(&filled);
    assert_eq!(read[0].tests, ["x::shows"]);
    assert_eq!(read[0].clauses, ["RFC 5321 §2.3.8", "RFC 5321 §4.1.1.4"]);
    assert!(read[0].is_must && !read[1].is_must && !read[2].is_must);
    assert_eq!((&*read[2].status, &*read[2].reason), ("later", "a clock"));
    assert!(filled.contains("| all | 3 | 1 | 1 | 1 | 0 |\n| of them must | 1 | 1 | 0 | 0 | 0 |\n"));
    assert_eq!(fill(&filled, &claims).as_deref(), Ok(&*filled), "filling again changes nothing");
    assert_eq!(rows_breaches(&read), [""; 0]);
    assert_eq!(claims_breaches(&claims, &read), [""; 0]);
    let gone = fill(&filled, &[]).expect("the marks are there");
    assert_ne!(gone, filled, "a test that is gone is noticed");
    assert!(fill("| A1.1 | - | x | y | shown |  |  |", &[]).is_err());
}

#[test]
fn each_kind_of_untruth_is_found() {
    let claims = claims_of("// Covers: A1.1, A1.2");
    let filled = fill(TABLE, &claims).expect("the marks are there");
    let wrong = |from: &str, to: &str| {
        assert!(filled.contains(from), "{from}");
        rows_breaches(&rows(&filled.replace(from, to))).len()
    };
    assert_eq!(wrong("`x::shows`", ""), 2, "shown, and part of it, by nothing");
    assert_eq!(wrong("no case", ""), 1);
    assert_eq!(wrong("a clock", ""), 1);
    assert_eq!(wrong("| shown |", "| later |"), 1);
    assert_eq!(wrong("| later |", "| soon |"), 1);
    assert_eq!(wrong("| A1.2 |", "| A1.3 |"), 1);
    assert_eq!(wrong("| A2.1 |", "| A1.2 |"), 1);

    let rows = rows(&filled);
    let breaches = |claims: &[Claim]| claims_breaches(claims, &rows).len();
    assert_eq!(breaches(&claims_of("/// Covers: A9.1")), 1);
    assert_eq!(breaches(&claims_of("/// Proves: RFC 5321 §2.3.8")), 1);
    assert_eq!(breaches(&claims_of("/// Proves: RFC 5321 §2.4\n/// Covers: A1.1")), 1);
    assert_eq!(breaches(&claims_of("/// A comment may name `Covers: A9.1`.")), 0);
    let no_test = tests::catalogue::claims("tests/a.rs", "// Covers: A1.1\nfn helps() {}\n");
    assert_eq!(breaches(&no_test), 1);
    let on_nothing = tests::catalogue::claims("tests/a.rs", "/// Covers: A1.1\nconst X: u8 = 1;\n");
    assert_eq!(breaches(&on_nothing), 1);
    let cites = |text: &str| unknown_cites(&Source::new("crates/x/src/a.rs", text), &rows).len();
    assert_eq!(cites("/// RFC 5321 §2.3.8, RFC 5321 §2.3 (RFC 5321 §2.4.1). RFC 5321 §2"), 0);
    assert_eq!(cites("/// RFC 5321 §2.3.9, and RFC 5322 §2.4"), 2);
    assert_eq!(cites("x // RFC 5321 §2.40"), 1);

    let twice = [claims_of("/// Covers: A1.1"), claims_of("/// Nothing.")].concat();
    assert_eq!(breaches(&twice), 1);
}
