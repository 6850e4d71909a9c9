//! Patterns and tables, small enough to check by eye.

use super::*;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap_or_else(|error| panic!("{text} {error}"))
}

fn address(text: &str) -> Address {
    Address::parse(text, true).unwrap()
}

#[test]
fn patterns_are_read_and_printed() {
    for (text, printed) in [
        ("*", "*"),
        ("Example.COM", "example.com"),
        ("*.Dept.example.com", "*.dept.example.com"),
        ("Sales@Example.com", "Sales@example.com"),
        ("[192.0.2.1]", "[192.0.2.1]"),
    ] {
        assert_eq!(pattern(text).to_string(), printed);
        assert_eq!(pattern(printed), pattern(text));
    }
}

#[test]
fn wrong_patterns_are_refused() {
    assert_eq!("".parse::<Pattern>(), Err(PatternError::PolicyEmpty));
    for text in ["**", "mail*.example.com", "*.*.example.com", "example.*"] {
        assert_eq!(text.parse::<Pattern>(), Err(PatternError::PolicyStar), "{text}");
    }
    for text in ["*.", "exa mple.com", ".example.com", "[192.0.2", "*.[192.0.2.1]"] {
        let error = text.parse::<Pattern>().unwrap_err();
        assert!(matches!(error, PatternError::PolicyDomain(_)), "{text}: {error:?}");
    }
    for text in ["@example.com", "a b@example.com", "user@"] {
        let error = text.parse::<Pattern>().unwrap_err();
        assert!(matches!(error, PatternError::PolicyMailbox(_)), "{text}: {error:?}");
    }
}

/// Shows: S1.14, S3.13, S3.16
#[test]
fn the_first_match_of_the_file_wins() {
    let patterns: Vec<_> = [
        "boss@example.com",
        "*.dept.example.com",
        "example.com",
        "sales@example.com",
        "x.dept.example.com",
        "*.com",
        "[192.0.2.1]",
    ]
    .map(pattern)
    .into();
    let table = RouteTable::new(&patterns);
    for (to, position) in [
        ("boss@example.com", Some(0)),
        ("BOSS@example.com", Some(0)),
        ("\"boss\"@example.com", Some(0)),
        ("\"b\\oss\"@example.com", Some(0)),
        ("clerk@example.com", Some(2)),
        ("sales@example.com", Some(2)),
        ("a@x.dept.example.com", Some(1)),
        ("a@y.x.dept.example.com", Some(1)),
        ("a@dept.example.com", Some(5)),
        ("a@notexample.com", Some(5)),
        ("a@com.example", None),
        ("a@[192.0.2.1]", Some(6)),
        ("a@[192.0.2.2]", None),
    ] {
        assert_eq!(table.find(&address(to)), position, "{to}");
    }
}

#[test]
fn subdomains_do_not_include_the_domain_itself() {
    let table = RouteTable::new(&[pattern("*.example.com")]);
    assert_eq!(table.find(&address("a@example.com")), None);
    assert_eq!(table.find(&address("a@b.example.com")), Some(0));
    assert_eq!(table.find(&address("a@bexample.com")), None);
}

/// Shows: S1.14, S3.13
#[test]
fn a_route_behind_a_wider_one_is_found_out() {
    for (earlier, later, shadowed) in [
        ("*", "example.com", true),
        ("*", "*", true),
        ("*", "*.example.com", true),
        ("example.com", "example.com", true),
        ("example.com", "user@example.com", true),
        ("User@example.com", "user@example.com", true),
        ("*.com", "example.com", true),
        ("*.com", "*.example.com", true),
        ("*.example.com", "*.example.com", true),
        ("*.example.com", "user@a.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "*.com", false),
        ("example.com", "*.example.com", false),
        ("user@example.com", "example.com", false),
        ("user@example.com", "other@example.com", false),
        ("example.com", "*", false),
    ] {
        let patterns = [pattern(earlier), pattern(later)];
        let table = RouteTable::new(&patterns);
        assert_eq!(table.shadow(1, &patterns[1]).is_some(), shadowed, "{earlier} then {later}");
        assert_eq!(table.shadow(0, &patterns[0]), None);
    }
}

#[test]
fn the_deepest_domain_is_looked_up_in_bounded_work() {
    let deep = vec!["a"; 126].join(".");
    let table = RouteTable::new(&[pattern("*.a.a"), pattern(&deep)]);
    assert_eq!(table.find(&address(&format!("x@{deep}"))), Some(0));
}
