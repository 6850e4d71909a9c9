//! `ringpost diagnose --egress`: what own addresses are called, held against a
//! real name server, NSD, with a forward zone and the reverse one.

use serde_json::{Value, json};

use crate::support::nsd::Nsd;
use crate::support::{Config, Daemon};

fn checked(daemon: &Daemon) -> (i32, Value) {
    let output = daemon.verb(&["diagnose", "--egress", "--json"]).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
    (output.status.code().expect("it ends by itself"), answer)
}

fn source(number: u8, name: &str) -> String {
    let host = format!("{name}.story.example");
    format!("name = \"{name}\"\naddress = [\"127.0.51.{number}\"]\nhostname = \"{host}\"")
}

/// Shows: S0.8
#[test]
fn each_pair_of_name_and_address_that_disagrees_is_named() {
    let nsd = Nsd::start(
        &[
            (
                "story.example",
                "good A 127.0.51.1\nmoved A 127.0.51.99\nother A 127.0.51.3\nnameless A 127.0.51.4\n\
                 usual A 127.0.51.6",
            ),
            (
                "51.0.127.in-addr.arpa",
                "1 PTR good.story.example.\n2 PTR moved.story.example.\n\
                 3 PTR host3.provider.example.\n5 PTR gone.story.example.\n\
                 6 PTR usual.story.example.",
            ),
        ],
        &[],
    );
    let usual = Config::by_mx(nsd.address(), 25)
        .set("", "hostname", "\"usual.story.example\"")
        .set("egress", "source", "[\"127.0.51.6\"]");
    let names = ["good", "moved", "other", "nameless", "gone"];
    let config = (1..).zip(names).fold(usual.clone(), |config, (number, name)| {
        config.table("source", &source(number, name))
    });
    let daemon = Daemon::start(config);
    let (code, answer) = checked(&daemon);
    assert_eq!((code, &answer["good"]), (1, &json!(false)), "{answer:#}");
    let rows = answer["addresses"].as_array().expect("rows");
    let problems = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == format!("{name}.story.example"));
        let row = row.unwrap_or_else(|| panic!("no {name}: {answer:#}"));
        let list = row["problems"].as_array().expect("a list").iter();
        list.map(|problem| problem.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert!(problems("good").is_empty() && problems("usual").is_empty(), "{answer:#}");
    let wanted = [
        ("moved", "moved.story.example has 127.0.51.99, not 127.0.51.2"),
        ("moved", "moved.story.example does not lead back to 127.0.51.2"),
        ("other", "127.0.51.3 is called host3.provider.example, not other.story.example"),
        ("nameless", "127.0.51.4 has no name (no PTR at 4.51.0.127.in-addr.arpa)"),
        ("gone", "gone.story.example does not exist"),
    ];
    for (name, words) in wanted {
        assert!(problems(name).iter().any(|it| it.contains(words)), "{words}: {answer:#}");
    }
    let page = daemon.verb(&["diagnose", "--egress"]).output().expect("it starts");
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains("disagree: address and name: 127.0.51.3 is called"), "{page}");
    drop(daemon);
    let daemon = Daemon::start(usual);
    let (code, answer) = checked(&daemon);
    assert_eq!((code, &answer["good"]), (0, &json!(true)), "{answer:#}");
}
