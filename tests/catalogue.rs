//! The tables of RFC clauses and of faults, and the tests that show them:
//! `crates/RFC.md` and `crates/FAULTS.md`.
//!
//! The comment above a test is the truth: `Covers: A1.4, B15` says which rows
//! it shows. The tests named in a row and the counts on top of a table are made
//! from these comments, by `cargo xtask tables`; `tests/tidy/catalogue.rs`
//! holds both together. What a row asks for, its status and the reason for
//! what is not shown are written by hand.
//!
//! Never judges whether a test shows what it says: people do.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// The tables, from the workspace.
pub const TABLES: [&str; 2] = ["crates/RFC.md", "crates/FAULTS.md"];

/// Statuses of a row, in the order of the counts.
pub const STATUSES: [&str; 4] = ["shown", "part", "later", "no"];

/// What the comments above one test say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Package and name, as `cargo test -p package name` takes them.
    pub test: String,
    /// Rows it shows.
    pub covers: Vec<String>,
    /// Clauses it proves, as `RFC 5321 §4.5.2`.
    pub proves: Vec<String>,
    /// Rows of [`features`](crate::features) that it shows.
    pub shows: Vec<String>,
    /// Path and line of the function.
    pub place: String,
    /// Whether it is a test at all.
    pub is_test: bool,
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `A1.4` or `B15`.
    pub id: String,
    /// Clauses, as `RFC 5321 §4.5.2`; none in the table of faults.
    pub clauses: Vec<String>,
    /// Whether the clause is a `must`.
    pub is_must: bool,
    /// One of [`STATUSES`], if it was written right.
    pub status: String,
    /// Tests named.
    pub tests: Vec<String>,
    /// Why it is not shown, or what of it is not.
    pub reason: String,
}

/// The claims of all source files, in the order of their paths.
///
/// # Errors
/// A file or folder cannot be read.
pub fn workspace_claims(root: &Path) -> io::Result<Vec<Claim>> {
    let mut paths = Vec::new();
    for folder in ["crates", "tests", "fuzz"] {
        if root.join(folder).exists() {
            collect(root, folder, &mut paths)?;
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        found.extend(claims(&path, &fs::read_to_string(root.join(&path))?));
    }
    Ok(found)
}

/// The source files in `folder`, as paths from `root`.
fn collect(root: &Path, folder: &str, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, paths)?;
            }
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The claims of one source file.
pub fn claims(path: &str, text: &str) -> Vec<Claim> {
    let mut found = Vec::new();
    let (mut covers, mut proves, mut shows) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_test = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if let Some(comment) = line.strip_prefix("//") {
            covers.extend(listed(comment, "Covers: "));
            proves.extend(listed(comment, "Proves: "));
            shows.extend(listed(comment, "Shows: "));
            continue;
        }
        if line.starts_with("#[") {
            is_test |= line == "#[test]";
            continue;
        }
        let claims_something = !covers.is_empty() || !proves.is_empty() || !shows.is_empty();
        let name = line.strip_prefix("fn ").map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        });
        if claims_something || is_test && name.is_some() {
            found.push(Claim {
                test: format!("{}::{}", package(path), name.unwrap_or("nothing")),
                covers: std::mem::take(&mut covers),
                proves: std::mem::take(&mut proves),
                shows: std::mem::take(&mut shows),
                place: format!("{path}:{number}"),
                is_test: is_test && name.is_some(),
            });
        }
        is_test = false;
    }
    found
}

/// The words that `comment` lists behind `mark`.
fn listed(comment: &str, mark: &str) -> Vec<String> {
    let Some((before, list)) = comment.split_once(mark) else { return Vec::new() };
    // A comment may also speak of the mark.
    if !before.trim_start_matches('/').trim().is_empty() {
        return Vec::new();
    }
    let words = list.split(',').map(|word| word.trim().trim_end_matches('.'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// `smtp` for `crates/smtp/src/data.rs`, `tests` for `tests/loopback/mx.rs`.
fn package(path: &str) -> &str {
    let mut parts = path.split('/');
    match parts.next() {
        Some("crates") => parts.next().unwrap_or_default(),
        top => top.unwrap_or_default(),
    }
}

/// The rows of a table.
pub fn rows(table: &str) -> Vec<Row> {
    table.lines().filter_map(cells).map(|cells| row(&cells)).collect()
}

fn row(cells: &[&str]) -> Row {
    let [id, middle @ .., status, tests, reason] = cells else { unreachable!("a row has six") };
    let list = |text: &str| -> Vec<String> {
        text.split(", ").map(|word| word.trim_matches('`').to_owned()).collect()
    };
    let some = |text: &str| if text.is_empty() { Vec::new() } else { list(text) };
    let clauses = middle.first().filter(|cell| cell.starts_with("RFC "));
    Row {
        id: (*id).to_owned(),
        clauses: clauses.map_or_else(Vec::new, |cell| list(cell)),
        is_must: middle.get(1).is_some_and(|who| who.ends_with(" must")),
        status: (*status).to_owned(),
        tests: some(tests),
        reason: (*reason).to_owned(),
    }
}

/// The cells of a line that is a row, its id first.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |").or(line.strip_prefix("| "))?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    let is_id = |cell: &str| {
        let number = cell.strip_prefix(['A', 'B']).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    (cells.len() >= 6 && is_id(cells[0])).then_some(cells)
}

const COUNTS_BEGIN: &str = "<!-- counts: written by `cargo xtask tables` -->";
const COUNTS_END: &str = "<!-- end of counts -->";

/// The table with the tests and counts that `claims` make.
///
/// # Errors
/// The marks around the counts are gone.
pub fn fill(table: &str, claims: &[Claim]) -> Result<String, String> {
    let by_row = tests_by_row(claims, |claim| &claim.covers);
    let mut out = String::new();
    for line in table.lines() {
        match cells(line) {
            Some(mut cells) => {
                let tests = by_row.get(cells[0]).map_or("", String::as_str);
                let place = cells.len() - 2;
                cells[place] = tests;
                let _ = writeln!(out, "| {} |", cells.join(" | "));
            }
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    with_counts(&out, &counts(&rows(&out)))
}

/// The tests that claim each row, as a row names them.
pub(crate) fn tests_by_row(
    claims: &[Claim],
    claimed: impl Fn(&Claim) -> &[String],
) -> BTreeMap<String, String> {
    let mut by_row: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.is_test) {
        for id in claimed(claim) {
            by_row.entry(id).or_default().push(&claim.test);
        }
    }
    let mut found = BTreeMap::new();
    for (id, mut tests) in by_row {
        tests.sort_unstable();
        tests.dedup();
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        found.insert(id.to_owned(), tests.join(", "));
    }
    found
}

/// The table with `counts` between their marks.
pub(crate) fn with_counts(table: &str, counts: &str) -> Result<String, String> {
    let missing = || "the marks around the counts are gone".to_owned();
    let (before, rest) = table.split_once(COUNTS_BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(COUNTS_END).ok_or_else(missing)?;
    Ok(format!("{before}{COUNTS_BEGIN}\n\n{counts}\n{COUNTS_END}{after}"))
}

/// How many rows have which status, as a table.
pub fn counts(rows: &[Row]) -> String {
    let mut out = format!("| | rows | {} |\n|---|---|---|---|---|---|\n", STATUSES.join(" | "));
    let mut line = |name: &str, rows: Vec<&Row>| {
        let of = |status: &&str| rows.iter().filter(|row| row.status == **status).count();
        let counts: Vec<String> = STATUSES.iter().map(|status| of(status).to_string()).collect();
        let _ = writeln!(out, "| {name} | {} | {} |", rows.len(), counts.join(" | "));
    };
    line("all", rows.iter().collect());
    if rows.iter().any(|row| row.is_must) {
        line("of them must", rows.iter().filter(|row| row.is_must).collect());
    }
    out
}
