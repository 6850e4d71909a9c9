//! A configuration with comments, as operators write it, and what becomes of
//! it edit by edit.

use super::*;

const TEXT: &str = r#"# Our relay. Ask Ann before changing anything.

hostname = "mail.example.com"   # as in the PTR record

[delivery]
mode = "relay"
# The second one is slow.
hosts = ["a.example", "b.example"]
timeout = { mail = "1m", connect = "10s" }

[[route]] # departments
match = "*.dept.example.com"
mode = "relay"
hosts = ["10.0.0.5:25"]

# Partners
[[route]]
match = "partner.example"
lifetime = "1d"

[dns]
timeout = "2s"
"#;

fn set(path: &str, value: &str) -> Edit {
    Edit::Set { path: path.into(), value: value.into() }
}

fn unset(path: &str) -> Edit {
    Edit::Unset { path: path.into() }
}

fn r#move(route: &str, before: Option<&str>) -> Edit {
    Edit::RouteMove { route: route.into(), before: before.map(Into::into) }
}

/// The lines that an edit takes out and puts in.
fn changed(text: &str, edit: Edit) -> Vec<String> {
    let edited = apply(text, &[edit]).unwrap_or_else(|error| panic!("{error}"));
    let diff = crate::diff::unified(text, &edited, "", "");
    let is_change = |line: &&str| line.starts_with(['+', '-']);
    diff.lines().skip(2).filter(is_change).map(str::to_owned).collect()
}

fn refused(edit: Edit) -> String {
    apply(TEXT, &[edit]).unwrap_err().to_string()
}

/// Shows: S2.13
#[test]
fn a_value_changes_where_it_stands_and_nothing_else_does() {
    assert_eq!(
        changed(TEXT, set("hostname", "mx.example.com")),
        [
            "-hostname = \"mail.example.com\"   # as in the PTR record",
            "+hostname = \"mx.example.com\"   # as in the PTR record"
        ]
    );
    assert_eq!(
        changed(TEXT, set("delivery.hosts", "[\"c.example\"]")),
        ["-hosts = [\"a.example\", \"b.example\"]", "+hosts = [\"c.example\"]"]
    );
    assert_eq!(
        changed(TEXT, set("delivery.timeout.mail", "2m")),
        [
            "-timeout = { mail = \"1m\", connect = \"10s\" }",
            "+timeout = { mail = \"2m\", connect = \"10s\" }"
        ]
    );
    assert_eq!(
        changed(TEXT, set("route[2].lifetime", "2d")),
        ["-lifetime = \"1d\"", "+lifetime = \"2d\""]
    );
}

#[test]
fn a_new_value_is_put_where_it_belongs() {
    assert_eq!(changed(TEXT, set("dns.attempts", "5")), ["+attempts = 5"]);
    assert_eq!(changed(TEXT, set("shards", "2")), ["+shards = 2"]);
    assert_eq!(
        changed(TEXT, set("route[\"*.dept.example.com\"].tls", "none")),
        ["+tls = \"none\""]
    );
    assert_eq!(changed(TEXT, set("log.level", "detail")), ["+", "+[log]", "+level = \"detail\""]);
    let edited = apply("", &[set("delivery.timeout.mail", "1m"), set("delivery.port", "26")]);
    assert_eq!(edited.unwrap(), "[delivery]\ntimeout = { mail = \"1m\" }\nport = 26\n");
    let edited = apply("delivery = { port = 25 }\n", &[set("delivery.port", "26")]);
    assert_eq!(edited.unwrap(), "delivery = { port = 26 }\n");
    let edited = apply("dns.timeout = \"1s\"\n", &[set("dns.timeout", "2s")]);
    assert_eq!(edited.unwrap(), "dns.timeout = \"2s\"\n");
}

#[test]
fn a_value_may_stand_without_its_quotes() {
    for (written, value) in [
        ("relay", "\"relay\""),
        ("5m", "\"5m\""),
        ("\"5m\"", "\"5m\""),
        ("10_000", "10_000"),
        ("true", "true"),
        ("[\"1m\", \"2m\"]", "[\"1m\", \"2m\"]"),
        ("1.5", "\"1.5\""),
        ("192.0.2.1", "\"192.0.2.1\""),
        ("2001-01-01", "\"2001-01-01\""),
        ("", "\"\""),
        ("a\nb = 1", "\"\"\"\na\nb = 1\"\"\""),
    ] {
        assert_eq!(super::value(written).to_string(), value, "{written}");
    }
}

#[test]
fn what_is_unset_goes_with_its_line_and_comments_stay() {
    assert_eq!(
        changed(TEXT, unset("hostname")),
        ["-hostname = \"mail.example.com\"   # as in the PTR record"]
    );
    assert_eq!(
        changed(TEXT, unset("delivery.hosts")),
        ["-hosts = [\"a.example\", \"b.example\"]"],
        "the comment above stays"
    );
    assert_eq!(
        changed(TEXT, unset("delivery.timeout.mail")),
        ["-timeout = { mail = \"1m\", connect = \"10s\" }", "+timeout = { connect = \"10s\" }"]
    );
    assert_eq!(changed(TEXT, unset("route[2].lifetime")), ["-lifetime = \"1d\""]);
    let long = "[submission]\nallow = [\n  \"10.0.0.0/8\", # ours\n]\nmax_errors = 3\n";
    let edited = apply(long, &[unset("submission.allow")]).unwrap();
    assert_eq!(edited, "[submission]\nmax_errors = 3\n");
    let dotted = apply("dns.timeout = \"1s\"\ndns.attempts = 3\n", &[unset("dns.timeout")]);
    assert_eq!(dotted.unwrap(), "dns.attempts = 3\n");
}

/// Shows: S3.13
#[test]
fn a_route_moves_with_its_comment() {
    let edited = apply(TEXT, &[r#move("partner.example", Some("*.dept.example.com"))]).unwrap();
    let partners = edited.find("# Partners\n[[route]]\nmatch = \"partner.example\"").unwrap();
    let departments = edited.find("[[route]] # departments").unwrap();
    let dns = edited.find("[dns]").unwrap();
    assert!(partners < departments && departments < dns, "{edited}");
    assert_eq!(apply(&edited, &[r#move("1", None)]).unwrap(), TEXT, "and back");
    assert_eq!(apply(TEXT, &[r#move("2", None)]).unwrap(), TEXT, "it is the last one already");
    assert_eq!(apply(TEXT, &[r#move("1", Some("1"))]).unwrap(), TEXT);
}

#[test]
fn a_route_with_a_table_of_its_own_moves_whole() {
    let text = "[[route]]\nmatch = \"a.example\"\n[route.timeout]\nmail = \"1m\"\n\n\
                [[route]]\nmatch = \"b.example\"\n";
    let edited = apply(text, &[r#move("1", None)]).unwrap();
    assert_eq!(
        edited,
        "\n[[route]]\nmatch = \"b.example\"\n\n[[route]]\nmatch = \"a.example\"\n\
         [route.timeout]\nmail = \"1m\"\n"
    );
}

/// Shows: S3.13, S3.19
#[test]
fn a_route_is_added_at_the_end_or_in_front_of_another() {
    let add = |before: Option<&str>| Edit::RouteAdd {
        r#match: "new.example".into(),
        set: [("mode", "relay"), ("hosts", "[\"c.example\"]")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
        before: before.map(Into::into),
    };
    let lines =
        ["[[route]]", "match = \"new.example\"", "hosts = [\"c.example\"]", "mode = \"relay\""];
    let edited = apply(TEXT, &[add(None)]).unwrap();
    let new = edited.find(&lines.join("\n")).unwrap();
    assert!(edited.find("partner.example").unwrap() < new && new < edited.find("[dns]").unwrap());
    let edited = apply(TEXT, &[add(Some("1"))]).unwrap();
    assert!(edited.find("new.example").unwrap() < edited.find("*.dept").unwrap(), "{edited}");
    let edited = apply("", &[add(None)]).unwrap();
    assert_eq!(edited.trim(), lines.join("\n"));
    let edited = apply("hostname = \"a.example\"\n", &[add(None)]).unwrap();
    assert_eq!(edited, format!("hostname = \"a.example\"\n\n{}\n", lines.join("\n")));
}

#[test]
fn a_route_is_changed_and_taken_out() {
    let edit = Edit::RouteEdit {
        route: "partner.example".into(),
        set: [("match", Some("*.partner.example")), ("lifetime", None), ("tls", Some("required"))]
            .map(|(key, value)| (key.into(), value.map(Into::into)))
            .into(),
    };
    assert_eq!(
        changed(TEXT, edit),
        [
            "-match = \"partner.example\"",
            "-lifetime = \"1d\"",
            "+match = \"*.partner.example\"",
            "+tls = \"required\""
        ]
    );
    let edited = apply(TEXT, &[Edit::RouteRemove { route: "2".into() }]).unwrap();
    assert!(!edited.contains("Partners") && !edited.contains("partner.example"), "{edited}");
    assert!(edited.contains("hosts = [\"10.0.0.5:25\"]\n\n[dns]"), "{edited}");
}

#[test]
fn what_cannot_be_done_is_told_and_changes_nothing() {
    let add = |pattern: &str, key: &str| Edit::RouteAdd {
        r#match: pattern.into(),
        set: [(key.to_owned(), "x".to_owned())].into(),
        before: None,
    };
    for (edit, words) in [
        (set("delivery.retries", "5m"), "did you mean `delivery.retry`?"),
        (set("delivery", "5m"), "delivery is a section; name one of its settings"),
        (set("route.hosts", "x"), "needs the route, such as route[1].hosts"),
        (set("route[1", "x"), "must be written as route[3].KEY"),
        (set("route[3].hosts", "x"), "there is no route 3; there are 2"),
        (set("route[0].hosts", "x"), "there is no route 0"),
        (set("route[\"other.example\"].hosts", "x"), "there is no route other.example"),
        (set("route[1].livetime", "x"), "did you mean `route.lifetime`?"),
        (set("hostname.x", "x"), "is not a known setting"),
        (unset("dns.servers"), "dns.servers is not set"),
        (unset("log.level"), "log.level is not set"),
        (r#move("a..b", None), "no pattern is written so"),
        (add("a*b", "tls"), "may have a star only alone"),
        (add("a.example", "tsl"), "did you mean `route.tls`?"),
        (add("a.example", "timeout.mail"), "is part of a setting"),
        (
            Edit::RouteEdit { route: "1".into(), set: [("match".into(), None)].into() },
            "is what makes it a route",
        ),
    ] {
        let found = refused(edit.clone());
        assert!(found.contains(words), "{edit}: {found}");
    }
    let phases = apply("[delivery]\ntimeout = \"1m\"\n", &[set("delivery.timeout.mail", "1m")]);
    assert!(phases.unwrap_err().to_string().contains("has a single value for all"));
    let inline = apply("route = []\n", &[r#move("1", None)]);
    assert!(inline.unwrap_err().to_string().contains("written as [[route]]"));
    let broken = apply("a b", &[set("hostname", "x")]);
    assert!(broken.unwrap_err().to_string().contains("because it is no TOML"));
    let twice = "[[route]]\nmatch = \"a.example\"\n".repeat(2);
    let twice = apply(&twice, &[Edit::RouteRemove { route: "a.example".into() }]);
    assert!(twice.unwrap_err().to_string().contains("as number 1 and 2; name it by its number"));
}

/// What stands in the log names settings and never their values.
#[test]
fn an_edit_is_logged_without_its_value() {
    assert_eq!(set("delivery.auth", "{ password = \"hunter2\" }").to_string(), "set delivery.auth");
}

/// An entry of `[[local]]` is named by its number or one of its domains, and
/// an alias by its own name.
///
/// Shows: S3.4
#[test]
fn settings_of_local_domains_are_changed_in_place() {
    let text = "[[local]]\nmatch = [\"a.example\", \"*.a.example\"]  # ours\nusers = [\"ann\"]\n";
    for name in ["1", "\"a.example\"", "\"*.a.example\""] {
        let path = format!("local[{name}].users");
        let expected = ["-users = [\"ann\"]", "+users = [\"bob\"]"];
        assert_eq!(changed(text, set(&path, "[\"bob\"]")), expected, "{name}");
        let path = format!("local[{name}].aliases.sales");
        let expected = ["+aliases = { sales = [\"ann\"] }"];
        assert_eq!(changed(text, set(&path, "[\"ann\"]")), expected, "{name}");
        assert_eq!(changed(text, unset(&format!("local[{name}].users"))), ["-users = [\"ann\"]"]);
    }
    let with = apply(text, &[set("local[1].aliases.sales", "ann")]).unwrap();
    let both = apply(&with, &[set("local[1].aliases.all", "[\"ann\", \"sales\"]")]).unwrap();
    let aliases = |text: &str| {
        let table: toml::Table = toml::from_str(text).unwrap();
        let names = table["local"][0]["aliases"].as_table().unwrap().keys();
        names.cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(aliases(&both), "all sales", "{both}");
    let without = apply(&both, &[unset("local[1].aliases.sales")]).unwrap();
    assert_eq!(aliases(&without), "all", "{without}");
    let refused = |path: &str| apply(text, &[set(path, "x")]).unwrap_err().to_string();
    assert!(refused("local[2].users").contains("there is no local 2; there are 1"));
    assert!(refused("local.users").contains("needs the entry"));
    assert!(refused("local[1].user").contains("did you mean `local.users`?"));
    assert!(refused("local[1].hosts").contains("is not a known setting"));
    assert!(refused("local[1].aliases.a.b").contains("is not a known setting"));
}
