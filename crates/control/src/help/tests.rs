//! The table against the parser, against what an empty configuration gives,
//! and as an operator asks it.

use mail::Domain;

use super::*;
use crate::Policy;
use crate::config::known_keys;

/// Shows: S2.27
#[test]
fn every_key_has_help_and_no_other_has() {
    let known = known_keys();
    let helped: Vec<&str> = SETTINGS.iter().map(|help| help.path).collect();
    for key in &known {
        assert!(helped.contains(&key.as_str()), "add `{key}` to help/table.rs");
    }
    for path in &helped {
        assert!(known.iter().any(|key| key == path), "`{path}` is no key of the configuration");
        assert_eq!(helped.iter().filter(|other| *other == path).count(), 1, "{path} twice");
    }
    for help in SETTINGS.iter().filter(|help| !help.is_section()) {
        assert!(help.meaning.ends_with('.') && !help.values.is_empty(), "{}", help.path);
    }
}

#[test]
fn the_defaults_are_those_of_an_empty_configuration() {
    let shown = Policy::new(Domain::parse("box.example").unwrap()).effective_toml();
    let shown: toml::Table = toml::from_str(&shown).unwrap();
    let mut held = 0;
    for help in SETTINGS.iter().filter(|help| !help.default.starts_with('(')) {
        let mut parts = help.path.split('.');
        let first = parts.next().and_then(|part| shown.get(part));
        let value = parts.try_fold(first, |at, part| at.map(|at| at.get(part))).flatten();
        let value = value.filter(|value| !help.is_section() || !value.is_table());
        if let Some(value) = value {
            assert_eq!(value.to_string(), help.default, "{}", help.path);
            held += 1;
        }
    }
    assert!(held > 40, "hardly any default was held: {held}");
}

#[test]
fn help_is_found_by_path_in_a_route_too() {
    assert_eq!(find("delivery.retry").map(|help| help.path), Some("delivery.retry"));
    assert_eq!(find("route.retry").map(|help| help.path), Some("delivery.retry"));
    assert_eq!(find("route[3].retry").map(|help| help.path), Some("delivery.retry"));
    assert_eq!(find("route[\"*.a.example\"].match").map(|help| help.path), Some("route.match"));
    assert_eq!(find("delivery.match"), None);
    assert!(find("dns").is_some_and(Help::is_section));
    let below_dns: Vec<_> = below("dns").iter().map(|help| help.path).collect();
    assert_eq!(below_dns, ["dns", "dns.servers", "dns.timeout", "dns.attempts", "dns.stale"]);
    assert_eq!(below("").len(), SETTINGS.len());
    assert_eq!(below("route.tls")[0].path, "delivery.tls");
    assert!(below("nothing").is_empty());
}

#[test]
fn an_unknown_path_names_the_nearest_right_one() {
    assert!(unknown("delivery.retries").contains("`delivery.retry`"));
    assert!(unknown("route.livetime").contains("`route.lifetime`"));
    assert!(unknown("something.else").contains("lists all of them"));
}

#[test]
fn words_are_as_far_apart_as_levenshtein_says() {
    for (left, right, expected) in [
        ("retry", "retry", 0),
        ("retry", "retries", 3),
        ("lifetime", "livetime", 1),
        ("hosts", "host", 1),
        ("", "abc", 3),
    ] {
        assert_eq!(distance(left, right), expected, "{left} {right}");
    }
    assert_eq!(distance(&"a".repeat(65), "a"), usize::MAX);
    assert_eq!(distance(&"a".repeat(64), &"a".repeat(64)), 0);
}

/// The page in the repository is the one that the table gives.
#[test]
fn the_page_is_up_to_date() {
    let written = include_str!("../../../../docs/settings.md");
    assert!(written == page(), "docs/settings.md is out of date: run `cargo xtask settings`");
}
