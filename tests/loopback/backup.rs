//! A backup of one daemon makes a second, empty one the same; what cannot be
//! restored whole is not restored at all; what is not confirmed is undone with
//! its files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{SinkSettings, Sinks};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::process::run;
use crate::support::{Client, Config, Daemon, PATIENCE, submit, until};

/// Log-ins as `app`, and as `other`.
const APP: &str = "AUTH PLAIN AGFwcABzZXNhbWU=";
const OTHER: &str = "AUTH PLAIN AG90aGVyAHNlc2FtZQ==";

/// An entry of a file of users.
fn user(name: &str) -> String {
    let mut hash = Command::new(tests::ringpost());
    hash.args(["user", "hash", name]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = hash.spawn().expect("the program runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"sesame\n").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it is a child");
    String::from_utf8(output.stdout).expect("it speaks UTF-8")
}

/// A daemon with keys, users and what operators stop and silence.
fn full(sinks: &Sinks) -> Daemon {
    let config = Config::relay(sinks.first())
        .set("", "hostname", "\"first.example\"")
        .set("submission", "tls", "{ certificate = \"tls/server.pem\", key = \"tls/server.key\" }")
        .set("submission", "users", "\"users.toml\"")
        .set("submission", "auth_in_clear", "[\"127.0.0.0/8\"]");
    let mut daemon = Daemon::prepare(config);
    let keys = daemon.scratch().join("tls");
    let mut made = Command::new(tests::ringpost());
    run(made.arg("remote-key").arg(keys).args(["--host", "first.example"]), "ringpost");
    daemon.scratch().write("users.toml", &user("app"));
    daemon.launch();
    daemon
}

/// What the daemon says to a log-in.
fn log_in(daemon: &Daemon, line: &str, code: u16) {
    let mut client = Client::greet(daemon.address());
    client.expect(line, code);
}

fn saved(daemon: &Daemon, name: &str) -> std::path::PathBuf {
    let file = daemon.scratch().join(name);
    let said = run(daemon.verb(&["backup"]).arg(&file), "ringpost");
    assert!(said.contains("keep it to yourself"), "{said}");
    file
}

/// A restore: its exit code and words.
fn restored(daemon: &Daemon, file: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut verb = daemon.verb(&["restore"]);
    let output = verb.arg(file).args(words).output().expect("the program runs");
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), words)
}

/// Greets with the same name and certificate, lets the same users in, relays to
/// the same host, stops and silences the same.
#[test]
fn a_second_daemon_becomes_the_same() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let mut first = full(&sinks);
    let stopped = json!({ "domain": "d002.example", "reason": "they move", "for": "3h" });
    assert_eq!(first.ask("POST", "/v1/suspend", &stopped.to_string()).0, 200);
    let silenced = json!({ "rule": "queue_age", "reason": "known", "for": "3h" });
    assert_eq!(first.ask("POST", "/v1/alerts/silence", &silenced.to_string()).0, 200);
    let file = saved(&first, "backup.json");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (shown, credentials) = (first.show("/v1/config"), first.show("/v1/credentials"));
    let alerts = first.show("/v1/alerts")["silences"].clone();
    let address = first.address();
    first.terminate();

    let mut second = Daemon::start(Config::new());
    let (code, said) = restored(&second, &file, &[]);
    assert!(
        code == Some(4) && said.contains("submission.listen takes effect at the next start"),
        "{said}"
    );
    assert!(!second.scratch().join("users.toml").exists(), "nothing has changed");
    let (code, said) = restored(&second, &file, &["--next-start", "--comment", "the second"]);
    assert!(code == Some(0) && said.contains("with 3 files, 2 suspensions"), "{said}");
    second.crash();
    assert_eq!(second.show("/v1/config")["toml"], shown["toml"]);
    assert_eq!(second.show("/v1/credentials"), credentials);
    assert_eq!(second.show("/v1/alerts")["silences"], alerts);
    let second = second.at(address);
    let greeting = Client::connect(address).1.text;
    assert!(greeting.contains("first.example"), "{greeting}");
    log_in(&second, APP, 235);
    submit(address, "a@source.example", &["b@d001.example", "c@d002.example"]);
    assert!(sinks.wait_for(1, PATIENCE), "{:?}", second.history("b@d001.example"));
    until("the other waits", PATIENCE, || (second.waiting() == 1).then_some(()));
    let rows = second.show("/v1/suspensions")["suspensions"].clone();
    assert_eq!(
        (&rows[0]["name"], &rows[0]["reason"]),
        (&json!("d002.example"), &json!("they move"))
    );
    let key = second.scratch().join("tls/server.key");
    let mode = fs::metadata(key).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Nothing of a backup is taken that was changed, or would write over what is no
/// file of the configuration.
#[test]
fn what_cannot_be_restored_whole_changes_nothing() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let first = full(&sinks);
    let file = saved(&first, "backup.json");
    let text = fs::read_to_string(&file).expect("it is there");
    let second = Daemon::start(Config::new());
    let bent = second.scratch().write("bent.json", &text.replace("first.example", "bent.example"));
    let (code, said) = restored(&second, &bent, &["--next-start"]);
    assert!(code == Some(4) && said.contains("changed or damaged"), "{said}");
    second.scratch().write("users.toml", "# of somebody\n");
    let (code, said) = restored(&second, &file, &["--next-start"]);
    assert!(code == Some(4) && said.contains("users.toml is there"), "{said}");
    assert!(!second.scratch().join("tls").exists(), "nothing was written");
    assert_eq!(second.show("/v1/config")["revision"], 1);
    // Who may only look gets no secret.
    let socket = second.data().join("status.sock");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--unix-socket"]).arg(socket).arg("http://localhost/v1/backup");
    assert!(run(&mut curl, "curl").contains("for reading only"));
}

/// What was stopped, and cannot be any more, is named: at once, and where it
/// waited for the confirmation.
#[test]
fn what_is_not_stopped_again_is_named() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let daemon = full(&sinks);
    let stopped = json!({ "domain": "d002.example", "reason": "they move", "for": "3h" });
    assert_eq!(daemon.ask("POST", "/v1/suspend", &stopped.to_string()).0, 200);
    let mut backup = daemon.show("/v1/backup");
    let over =
        json!({ "domain": "d003.example", "reason": "over", "until": "2000-01-01T00:00:00Z" });
    backup["suspensions"].as_array_mut().expect("a list").push(over);
    backup.as_object_mut().expect("an object").remove("sha256");
    let plain = daemon.scratch().write("plain.json", &backup.to_string());
    let digest = run(Command::new("sha256sum").arg(plain), "sha256sum");
    backup["sha256"] = json!(digest.split(' ').next());
    let file = daemon.scratch().write("backup.json", &backup.to_string());
    let change = |attempts: &str| {
        let edits = json!({ "edits": [{ "set": { "path": "dns.attempts", "value": attempts } }] });
        assert_eq!(daemon.ask("POST", "/v1/config/edit", &edits.to_string()).0, 200);
        assert_eq!(daemon.ask("POST", "/v1/config/commit", "{}").0, 200);
    };
    let named = "not set again: suspend domain d003.example: over: ";
    change("8");
    let (code, said) = restored(&daemon, &file, &[]);
    assert!(code == Some(0) && said.contains("1 suspensions and silences"), "{said}");
    assert!(said.contains(named) && !said.contains("more\n"), "{said}");
    change("9");
    let (code, said) = restored(&daemon, &file, &["--confirm", "10m"]);
    assert!(code == Some(0) && !said.contains("not set again"), "{said}");
    let said = run(&mut daemon.verb(&["config", "confirm"]), "ringpost");
    assert!(said.contains(named), "{said}");
}

/// On trial the backup's files hold; without a confirmation, those that were
/// there do again, after a crash, too.
#[test]
fn a_restore_that_is_not_confirmed_is_undone_with_its_files() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let mut daemon = full(&sinks);
    let file = saved(&daemon, "backup.json");
    daemon.scratch().write("users.toml", &user("other"));
    daemon.process().signal(Signal::HUP);
    until("the other user", PATIENCE, || {
        let users: &Value = &daemon.show("/v1/credentials")["users"];
        (users[0]["name"] == "other").then_some(())
    });
    log_in(&daemon, APP, 535);
    let (code, said) = restored(&daemon, &file, &["--confirm", "10m"]);
    assert!(code == Some(0) && said.contains("undone unless"), "{said}");
    log_in(&daemon, APP, 235);
    daemon.crash();
    log_in(&daemon, APP, 535);
    log_in(&daemon, OTHER, 235);
    let (code, said) = restored(&daemon, &file, &["--confirm", "10m"]);
    assert_eq!(code, Some(0), "{said}");
    run(&mut daemon.verb(&["config", "confirm"]), "ringpost");
    daemon.crash();
    log_in(&daemon, APP, 235);
    log_in(&daemon, OTHER, 535);
}
