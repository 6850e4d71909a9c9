//! The configuration's history over the control socket: what is committed
//! holds for the next attempt, two operators do not overwrite each other, and
//! what nobody confirms is undone, by time, by command and by a crash.

use std::process::Command;

use harness::{Act, Rule, SinkSettings, Sinks, Stage, To, When};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::config::free_port;
use crate::support::process::run;
use crate::support::{Client, Config, Daemon, PATIENCE, submit, until};

const FROM: &str = "a@source.example";

fn sinks() -> Sinks {
    Sinks::start(SinkSettings::default()).expect("a sink can be started")
}

fn nobody() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// Sends a request that must be answered with `status`.
fn told(daemon: &Daemon, method: &str, target: &str, body: &Value, status: u16) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (code, answer) = daemon.ask(method, target, &body);
    assert_eq!(code, status, "{method} {target} {body}: {answer}");
    answer
}

fn edit(daemon: &Daemon, path: &str, value: &str) -> Value {
    let body = json!({ "edits": [{ "set": { "path": path, "value": value } }] });
    told(daemon, "POST", "/v1/config/edit", &body, 200)
}

fn commit(daemon: &Daemon, terms: Value) -> u64 {
    let answer = told(daemon, "POST", "/v1/config/commit", &terms, 200);
    answer["revision"].as_u64().expect("a commit makes a revision")
}

fn hosts(daemon: &Daemon) -> String {
    let shown = daemon.show("/v1/config");
    let toml = shown["toml"].as_str().expect("it is shown as text").to_owned();
    toml.lines().find(|line| line.starts_with("hosts")).unwrap_or_default().to_owned()
}

/// Mail that waits goes the new way at its next attempt, without a restart.
///
/// Shows: S0.10, S3.21
#[test]
fn a_commit_holds_for_the_next_attempt() {
    let sinks = sinks();
    let daemon = Daemon::start(Config::relay(nobody().parse().expect("an address")));
    submit(daemon.address(), FROM, &["b@d001.example"]);
    daemon.until_settled("b@d001.example", 1);
    let changed = edit(&daemon, "delivery.hosts", &format!("[\"{}\"]", sinks.first()));
    assert!(changed["diff"].as_str().is_some_and(|diff| diff.contains("+hosts = [")), "{changed}");
    assert_eq!(daemon.show("/v1/config")["in_force"], 1, "an edit alone changes nothing");
    assert_eq!(commit(&daemon, json!({ "comment": "the right host" })), 2);
    assert!(sinks.wait_for(1, PATIENCE), "{:?}", daemon.history("b@d001.example"));
    let latest = &daemon.show("/v1/revisions")["revisions"][0];
    let own = u64::from(rustix::process::getuid().as_raw());
    assert_eq!((latest["uid"].as_u64(), latest["base"].as_u64()), (Some(own), Some(1)));
    assert_eq!(
        (latest["comment"].as_str(), latest["origin"].as_str()),
        (Some("the right host"), Some("socket"))
    );
    let line = daemon.until_logged("the commit", |line| line["what"] == "committed");
    assert_eq!((line["revision"].as_u64(), line["uid"].as_u64()), (Some(2), Some(own)));
}

/// Two people change what the same revision says: whoever commits second is
/// told what the first one changed, and nothing happens.
///
/// Shows: S2.13
#[test]
fn the_second_of_two_operators_is_refused_with_what_the_first_one_changed() {
    let daemon = Daemon::start(Config::new());
    let text = daemon.show("/v1/revisions/1")["text"].as_str().expect("a text").to_owned();
    let of = |name: &str| {
        let text = text.replace("ringpost.example", name);
        json!({ "base": 1, "text": text, "comment": name })
    };
    assert_eq!(commit(&daemon, of("ann.example")), 2);
    let refused = told(&daemon, "POST", "/v1/config/commit", &of("bob.example"), 409);
    let diff = refused["diff"].as_str().expect("what has changed");
    assert!(diff.contains("-hostname = \"ringpost.example\""), "{diff}");
    assert!(diff.contains("+hostname = \"ann.example\""), "{diff}");
    assert_eq!((refused["base"].as_u64(), refused["current"].as_u64()), (Some(1), Some(2)));
    assert_eq!(daemon.show("/v1/config")["in_force"], 2);

    // The same by the verbs, as two users.
    let verb = |uid: &str, words: &[&str]| {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", uid, "--regid", "0", "--clear-groups"]);
        let verb = daemon.verb(words);
        setpriv.arg(verb.get_program()).args(verb.get_args());
        setpriv.output().unwrap_or_else(|e| panic!("setpriv: {e}; apt-get install util-linux"))
    };
    for path in [daemon.scratch().path(), daemon.data()] {
        run(Command::new("chmod").arg("755").arg(path), "coreutils");
    }
    for (uid, value) in [("1001", "7"), ("1002", "8")] {
        let set = verb(uid, &["config", "set", "dns.attempts", value]);
        assert!(set.status.success(), "{set:?}");
    }
    assert!(verb("1001", &["config", "commit", "--comment", "seven"]).status.success());
    let late = verb("1002", &["config", "commit"]);
    assert_eq!(late.status.code(), Some(4), "{late:?}");
    let words = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(words.contains("based on revision 2, but revision 3 rules"), "{words}");
    assert!(words.contains("+attempts = 7"), "{words}");
    let history = verb("1002", &["config", "history"]);
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(history.contains("1001") && history.contains("seven"), "{history}");
}

/// Shows: S2.13
#[test]
fn what_is_not_confirmed_in_time_is_undone_and_what_is_stays() {
    let daemon = Daemon::start(Config::relay("127.0.0.1:2501".parse().expect("an address")));
    edit(&daemon, "delivery.hosts", "[\"127.0.0.1:2502\"]");
    let number = commit(&daemon, json!({ "confirm": "300ms" }));
    let undone = daemon.until_logged("the end of the time", |line| line["what"] == "not-confirmed");
    assert_eq!(undone["revision"], number);
    assert!(
        hosts(&daemon).contains(":2501") || hosts(&daemon).contains("2501"),
        "{}",
        hosts(&daemon)
    );
    assert_eq!(daemon.show("/v1/revisions")["revisions"][0]["state"], "undone");
    told(&daemon, "POST", "/v1/config/confirm", &Value::Null, 409);

    edit(&daemon, "delivery.hosts", "[\"127.0.0.1:2503\"]");
    let number = commit(&daemon, json!({ "confirm": "10m" }));
    assert!(hosts(&daemon).contains("2503"));
    edit(&daemon, "delivery.port", "26");
    told(&daemon, "POST", "/v1/config/commit", &json!({}), 409);
    told(&daemon, "POST", "/v1/config/confirm", &json!({ "revision": number }), 200);
    assert_eq!(daemon.show("/v1/config")["revision"], number);
    assert_eq!(daemon.show("/v1/config")["unconfirmed"], Value::Null);
    told(&daemon, "POST", "/v1/config/discard", &Value::Null, 200);

    edit(&daemon, "delivery.hosts", "[\"127.0.0.1:2504\"]");
    commit(&daemon, json!({ "confirm": "10m" }));
    let back = told(&daemon, "POST", "/v1/config/rollback", &Value::Null, 200);
    assert_eq!(
        (back["in_force"].as_u64(), back["undone"].as_u64()),
        (Some(number), Some(number + 1))
    );
    assert!(hosts(&daemon).contains("2503"));

    let first = told(&daemon, "POST", "/v1/config/rollback", &json!({ "revision": 1 }), 200);
    assert_eq!(first["revision"], number + 2);
    assert!(hosts(&daemon).contains("2501"));
    let target = format!("/v1/config/diff?from=1&to={}", number + 2);
    assert_eq!(daemon.show(&target)["diff"], "", "the text is the first one's");
}

/// A commit that breaks delivery, and a daemon that is killed before anybody
/// confirmed it: after the restart the old revision rules.
///
/// Shows: S2.13
#[test]
fn a_crash_undoes_what_was_not_confirmed() {
    let sinks = sinks();
    let mut daemon = Daemon::start(Config::relay(sinks.first()));
    edit(&daemon, "delivery.hosts", &format!("[\"{}\"]", nobody()));
    let number = commit(&daemon, json!({ "confirm": "10m" }));
    submit(daemon.address(), FROM, &["b@d001.example"]);
    daemon.until_settled("b@d001.example", 1);
    daemon.crash();
    let shown = daemon.show("/v1/config");
    assert_eq!((shown["revision"].as_u64(), shown["in_force"].as_u64()), (Some(1), Some(1)));
    assert!(sinks.wait_for(1, PATIENCE), "{:?}", daemon.history("b@d001.example"));
    assert_eq!(daemon.show(&format!("/v1/revisions/{number}"))["state"], "undone");
    edit(&daemon, "delivery.port", "26");
    assert_eq!(commit(&daemon, json!({})), number + 1, "no number is used twice");
    daemon.crash();
    assert_eq!(daemon.show("/v1/config")["revision"], number + 1, "what was committed stays");
}

/// The file and the socket change the same thing: neither overrules the other
/// without saying so.
#[test]
fn the_file_makes_revisions_until_the_socket_has_overtaken_it() {
    let config = Config::new();
    let mut daemon = Daemon::start(config.clone());
    daemon.configure(config.clone().set("dns", "attempts", "5"));
    daemon.process().signal(Signal::HUP);
    until("the file's revision", PATIENCE, || {
        (daemon.show("/v1/config")["revision"] == 2).then_some(())
    });
    assert_eq!(daemon.show("/v1/revisions")["revisions"][0]["origin"], "file");
    edit(&daemon, "dns.attempts", "6");
    assert_eq!(commit(&daemon, json!({})), 3);
    daemon.configure(config.clone().set("dns", "attempts", "7"));
    daemon.process().signal(Signal::HUP);
    let refusal = "from revision 2, and revision 3 rules by now";
    until("the refusal", PATIENCE, || {
        daemon.process().complained().contains(refusal).then_some(())
    });
    assert_eq!(daemon.show("/v1/config")["revision"], 3);
    // It says so at a start too, and starts with what rules.
    assert!(daemon.terminate().success());
    daemon.launch();
    assert_eq!(daemon.show("/v1/config")["revision"], 3);
    assert!(daemon.process().complained().contains(refusal));
    // A file that nobody touched since says nothing against a later revision.
    daemon.configure(config.set("dns", "attempts", "5"));
    daemon.crash();
    assert_eq!(daemon.show("/v1/config")["revision"], 3);
    assert!(!daemon.process().complained().contains(refusal));
}

#[test]
fn what_needs_a_start_waits_for_one_as_a_whole() {
    let mut daemon = Daemon::start(Config::new());
    edit(&daemon, "shards", "1");
    edit(&daemon, "hostname", "later.example");
    let refused = told(&daemon, "POST", "/v1/config/commit", &json!({}), 409);
    assert_eq!(refused["needs_start"], json!(["shards"]));
    let answer = told(&daemon, "POST", "/v1/config/commit", &json!({ "next_start": true }), 200);
    assert_eq!((answer["revision"].as_u64(), answer["in_force"].as_u64()), (Some(2), Some(1)));
    let greeting = || Client::connect(daemon.address()).1.text;
    assert!(greeting().contains("ringpost.example"), "nothing by halves");
    daemon.crash();
    let greeting = Client::connect(daemon.address()).1.text;
    assert!(greeting.contains("later.example"), "{greeting}");
    assert_eq!(daemon.show("/v1/status")["shards"], 1);
}

/// A change that waits for a quiet moment: the session that runs keeps it
/// waiting, and its end lets it in.
///
/// Shows: S3.20
#[test]
fn a_change_may_wait_until_no_session_runs() {
    let stall = Rule { stage: Stage::Dot, to: To::Any, when: When::Always, act: Act::Stall };
    let settings = SinkSettings { rules: vec![stall], ..SinkSettings::default() };
    let (old, new) = (Sinks::start(settings).expect("a sink can be started"), sinks());
    let daemon = Daemon::start(Config::relay(old.first()));
    submit(daemon.address(), FROM, &["b@d001.example"]);
    until("a session", PATIENCE, || {
        (daemon.show("/v1/status")["sessions"]["out"] == 1).then_some(())
    });
    edit(&daemon, "delivery.hosts", &format!("[\"{}\"]", new.first()));
    let terms = json!({ "activate": "when-idle" });
    let answer = told(&daemon, "POST", "/v1/config/commit", &terms, 200);
    assert_eq!((answer["revision"].as_u64(), answer["in_force"].as_u64()), (Some(2), Some(1)));
    assert_eq!(daemon.show("/v1/revisions/2")["state"], "when-idle");
    edit(&daemon, "delivery.port", "26");
    told(&daemon, "POST", "/v1/config/commit", &json!({ "confirm": "10m" }), 409);
    assert!(daemon.events("configuration").iter().all(|line| line["what"] != "activated"));
    drop(old);
    daemon.until_logged("its moment", |line| line["what"] == "activated");
    assert_eq!(daemon.show("/v1/config")["in_force"], 2);
    assert!(new.wait_for(1, PATIENCE), "{:?}", daemon.history("b@d001.example"));
}

/// What is wrong is told with its place, and nothing is stored.
///
/// Covers: B35
#[test]
fn a_wrong_candidate_is_told_at_once_and_refused_at_the_commit() {
    let daemon = Daemon::start(Config::new());
    let found = edit(&daemon, "delivery.retry", "10");
    let finding = &found["findings"][0];
    assert_eq!(
        (finding["key"].as_str(), finding["severity"].as_str()),
        (Some("delivery.retry"), Some("error"))
    );
    let refused = told(&daemon, "POST", "/v1/config/commit", &json!({}), 422);
    assert_eq!(refused["findings"][0], *finding);
    let verb = daemon.verb(&["config", "commit"]).output().expect("the program can be run");
    assert_eq!(verb.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&verb.stderr).contains("delivery.retry lacks a unit"));
    assert_eq!(daemon.show("/v1/config")["revision"], 1);
}

/// Over the socket for reading everything can be seen and nothing changed.
///
/// Covers: B95
#[test]
fn the_socket_for_reading_shows_the_history_and_changes_nothing() {
    let daemon = Daemon::start(Config::new());
    let socket = daemon.data().join("status.sock");
    let ask =
        |method: &str, target: &str| crate::support::control::ask(&socket, method, target, "");
    for target in
        ["/v1/config", "/v1/revisions", "/v1/revisions/1", "/v1/config/candidate", "/v1/routes"]
    {
        assert_eq!(ask("GET", target).0, 200, "{target}");
    }
    for verb in ["commit", "confirm", "discard", "rollback"] {
        assert_eq!(ask("POST", &format!("/v1/config/{verb}")).0, 403, "{verb}");
    }
}

/// Routes by the verbs, as an operator types them.
///
/// Shows: S3.13, S1.14, S0.12
#[test]
fn routes_are_added_moved_tested_and_removed() {
    let daemon = Daemon::start(Config::new());
    let said = |words: &[&str]| {
        let output = daemon.verb(words).output().expect("the program can be run");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("it prints text")
    };
    said(&["route", "add", "*.example.com", "mode=relay", "hosts=[\"10.0.0.1\"]"]);
    let warned = said(&["route", "add", "dept.example.com", "mode=relay", "hosts=10.0.0.2"]);
    assert!(warned.contains("is never reached: route[1], \"*.example.com\""), "{warned}");
    assert!(said(&["route", "list"]).contains("never reached: 1 takes all its mail"));
    said(&["route", "move", "dept.example.com", "before", "*.example.com"]);
    assert!(!said(&["route", "list"]).contains("never reached"));
    assert!(said(&["route", "test", "a@dept.example.com"]).contains("route 1, dept.example.com"));
    assert!(said(&["route", "test", "a@sales.example.com"]).contains("route 2, *.example.com"));
    assert!(said(&["route", "test", "a@example.org"]).contains("the default way"));
    said(&["route", "edit", "1", "port=2525"]);
    assert!(said(&["route", "test", "a@dept.example.com"]).contains("10.0.0.2]:2525"));
    said(&["route", "edit", "1", "--unset", "port"]);
    said(&["route", "remove", "*.example.com"]);
    assert!(said(&["config", "commit"]).contains("revision 2 in force"));
    let listed: Value = serde_json::from_str(&said(&["route", "list", "--json"])).expect("JSON");
    assert_eq!(listed["routes"][0]["match"], "dept.example.com");
    assert_eq!(listed["routes"].as_array().map(Vec::len), Some(1));
    let unknown = daemon.verb(&["route", "remove", "nothing.example"]).output().expect("it runs");
    assert_eq!(unknown.status.code(), Some(4), "{unknown:?}");
    let misused = daemon.verb(&["route", "move", "1", "behind", "2"]).output().expect("it runs");
    assert_eq!(misused.status.code(), Some(2), "{misused:?}");
}
