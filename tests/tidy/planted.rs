//! Planted mistakes (`base::planted`): each is planted somewhere, all of them
//! in the pure rooms, and nothing but the runner turns the switch.

use std::fs;

use crate::floors::PURE;
use crate::report;
use crate::rust::{Source, sources, words};

/// Where the mistakes are named, and the switch is.
const HOME: &str = "crates/base/src/planted.rs";
/// Who may give the switch to the compiler.
const RUNNER: &str = "crates/xtask/src/planted.rs";

#[test]
fn each_mistake_is_planted_and_all_in_pure_rooms() {
    report(breaches(&sources()));
}

fn breaches(sources: &[Source]) -> Vec<String> {
    let home = sources.iter().find(|source| source.path == HOME).expect("the switch is there");
    let bugs: Vec<&str> = home.code.lines().filter_map(named).collect();
    let mut found = Vec::new();
    let mut met = vec![false; bugs.len()];
    for source in sources.iter().filter(|source| source.path != HOME) {
        for at in words(&source.code, "planted(Bug") {
            let (before, rest) = source.code.split_at(at + "planted(".len());
            let name = rest.strip_prefix("Bug::").and_then(|rest| rest.split(')').next());
            let place = format!("{}:{}", source.path, source.line(before.len()));
            match bugs.iter().position(|bug| Some(*bug) == name) {
                Some(bug) => met[bug] = true,
                None => found.push(format!("{place}: no such mistake")),
            }
            if source.is_test() || !is_pure(&source.path) {
                found.push(format!("{place}: only pure rooms have mistakes"));
            }
        }
        found.extend(switched(source));
    }
    let unmet = bugs.iter().zip(met).filter(|(_, met)| !met);
    found.extend(unmet.map(|(bug, _)| format!("{HOME}: {bug} is planted nowhere")));
    found
}

/// The mistake that a line of the table names.
fn named(line: &str) -> Option<&str> {
    let (name, rest) = line.trim_start().split_once(" breaks ")?;
    rest.starts_with(|first: char| first.is_ascii_digit()).then_some(name)
}

fn is_pure(path: &str) -> bool {
    let room = path.strip_prefix("crates/").and_then(|path| path.split('/').next());
    room.is_some_and(|room| room != "base" && PURE.contains(&room)) && path.contains("/src/")
}

/// Places where the switch is turned, or where code depends on it.
fn switched(source: &Source) -> Option<String> {
    let (path, text) = (&source.path, &source.text);
    let turns = text.contains("--cfg planted") || text.contains("rustc-cfg=planted");
    if turns && path != RUNNER && !path.starts_with("tests/tidy/") {
        return Some(format!("{path}: only the runner turns the switch"));
    }
    let depends = source.code.contains("cfg(planted)") || source.code.contains("cfg(not(planted))");
    let may = path.starts_with("crates/sim/");
    (depends && !may).then(|| format!("{path}: only the simulator knows of the switch"))
}

#[test]
fn no_manifest_turns_the_switch() {
    let root = tests::workspace();
    let mut paths = vec![root.join("Cargo.toml"), root.join(".cargo/config.toml")];
    for entry in fs::read_dir(root.join("crates")).expect("crates/ is there").flatten() {
        paths.extend([entry.path().join("Cargo.toml"), entry.path().join(".cargo/config.toml")]);
        assert!(!entry.path().join("build.rs").exists(), "a build script could turn the switch");
    }
    for path in paths {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains("planted"));
        for line in lines.filter(|line| !line.trim_start().starts_with('#')) {
            let known = line.starts_with("unexpected_cfgs = ") || line == "[profile.planted]";
            assert!(known, "{}: {line}", path.display());
        }
    }
}

#[test]
fn each_kind_of_breach_is_found() {
    let home = "bugs! {\n    Lost breaks 1: \"a\",\n    Late breaks 2: \"b\",\n}\n";
    let find = |path: &str, text: &str| {
        let other = Source::new("crates/dns/src/b.rs", "if planted(Bug::Late) {}");
        breaches(&[Source::new(HOME, home), Source::new(path, text), other])
    };
    let one = "if planted(Bug::Lost) {}";
    assert_eq!(find("crates/dns/src/a.rs", one), [""; 0]);
    assert_eq!(find("crates/dns/src/a.rs", "").len(), 1, "planted nowhere");
    assert_eq!(find("crates/segment/src/a.rs", one).len(), 1, "not a pure room");
    assert_eq!(find("crates/dns/src/a/tests.rs", one).len(), 1, "in a test");
    assert_eq!(find("crates/dns/src/a.rs", "if planted(Bug::Lots) {}").len(), 2);
    let switch = format!("{one}\n#[cfg(planted)]\nfn f() {{}}");
    assert_eq!(find("crates/dns/src/a.rs", &switch).len(), 1, "depends on the switch");
    let turn = format!("{one} // --cfg planted");
    assert_eq!(find("crates/dns/src/a.rs", &turn).len(), 1, "turns the switch");
}
