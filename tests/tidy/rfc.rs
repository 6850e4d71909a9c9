//! Cites of RFCs have one form, so that one search finds every place that
//! implements a clause: `RFC`, a space, the number, and where a section is
//! meant a space, `§` and its number, all on one line.

use crate::report;
use crate::rust::{Source, sources};

#[test]
fn cites_have_the_one_form() {
    report(
        sources()
            .iter()
            .filter(|source| !source.path.starts_with(HERE))
            .flat_map(breaches)
            .collect(),
    );
}

/// The checks themselves talk about wrong forms.
const HERE: &str = "tests/tidy/";

fn breaches(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        // In code, RFC822 may be a word of a protocol.
        let Some((_, comment)) = line.split_once("//") else { continue };
        let wrong =
            wrong_cite(comment).or_else(|| wrong_section(comment)).or_else(|| wrong_proof(comment));
        if let Some(why) = wrong {
            found.push(format!("{}:{}: {why}: {}", source.path, number + 1, line.trim()));
        }
    }
    found
}

/// `RFC` not followed by a space and digits, or by a section in another form.
fn wrong_cite(line: &str) -> Option<&'static str> {
    for (at, _) in line.match_indices("RFC") {
        let before = line[..at].chars().next_back();
        let after = &line[at + 3..];
        if before.is_some_and(char::is_alphanumeric) || after.starts_with(char::is_alphabetic) {
            continue;
        }
        let digits = after.strip_prefix(' ').map_or("", |rest| {
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default()
        });
        if digits.is_empty() {
            if after.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                return Some("write `RFC nnnn`");
            }
            continue;
        }
        let rest = &after[1 + digits.len()..];
        let word = rest.trim_start_matches([' ', ',']).to_ascii_lowercase();
        if word.starts_with("section") || word.starts_with("sec.") || word.starts_with("§§") {
            return Some("write `RFC nnnn §x.y`");
        }
        let gap = rest.len() - rest.trim_start_matches([' ', ',']).len();
        if rest[gap..].starts_with('§') && !rest.starts_with(" §") {
            return Some("one space before §");
        }
    }
    None
}

/// `§` without an RFC before it or a number behind it. `design §4` is fine.
fn wrong_section(line: &str) -> Option<&'static str> {
    for (at, _) in line.match_indices('§') {
        let number = &line[at + '§'.len_utf8()..];
        if !number.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Some("a section number follows § at once");
        }
        let Some(word) = line[..at].strip_suffix(' ').and_then(|text| text.split(' ').next_back())
        else {
            return Some("name the RFC before each §");
        };
        let word = word.trim_start_matches(['(', '"']);
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_word = word.len() > 2 && word.chars().all(|c| c.is_alphabetic() || c == '`');
        if !is_number && !is_word || ["and", "also", "See", "see"].contains(&word) {
            return Some("name the RFC before each §");
        }
    }
    None
}

/// `Proves:` names one or several clauses and nothing else.
fn wrong_proof(line: &str) -> Option<&'static str> {
    let (_, clauses) = line.split_once("Proves: ")?;
    let good = |clause: &str| {
        let clause = clause.trim().trim_end_matches('.');
        let section = clause.strip_prefix("RFC ").and_then(|rest| rest.split_once(" §"));
        section.is_some_and(|(number, section)| {
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            digits && section.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        })
    };
    let all = clauses.trim_end().trim_end_matches(',').split(',').all(good);
    (!all).then_some("write `Proves: RFC nnnn §x.y`")
}

#[test]
fn the_form_is_told_from_its_misspellings() {
    let good = [
        "/// Octets of a path (RFC 5321 §4.5.3.1.3).",
        "//! RFCs to read first: RFC 5321 §3, RFC 2920 §3.1.",
        "/// See RFC 3464 and RFC 6522, and the design §4.",
        "// Proves: RFC 5321 §4.5.3.2",
        "// Proves: RFC 5321 §4.5.3.2, RFC 1870 §6.1",
        "assert_eq!(a, \"RFC822;a@b\");",
        "/// Never (design §1).",
        "/// as the RFC says; README, appendix RFC 8461 §A",
    ];
    for line in good {
        assert_eq!(breaches(&Source::new("a.rs", line)), Vec::<String>::new(), "{line}");
    }
    let bad = [
        "/// (RFC5321 §4.5)",
        "/// (RFC-5321)",
        "/// RFC 5321 section 4.5",
        "/// RFC 5321, §4.5",
        "/// RFC 5321 § 4.5",
        "/// RFC 5321 §4.5 and §4.6",
        "/// RFC 5321 §4.5, §4.6",
        "/// §4.5 says so",
        "// Proves: 5321 4.5",
        "// Proves: RFC 5321",
    ];
    for line in bad {
        assert_eq!(breaches(&Source::new("a.rs", line)).len(), 1, "{line}");
    }
}
