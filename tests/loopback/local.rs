//! Local domains: mail goes to a real Dovecot by LMTP, to Postfix's LMTP sink,
//! to an SMTP server, or into Maildirs that Python reads; nobody is asked for
//! an exchanger. Unknown users, aliases that change while mail flows, and a
//! crash in the middle of files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::{SinkSettings, Sinks};
use serde_json::Value;

use crate::support::dovecot::Dovecot;
use crate::support::process::run;
use crate::support::python::python;
use crate::support::smtp_tools::{Load, Sinking, SmtpSink};
use crate::support::{Client, Config, Daemon, PATIENCE, submit, text_to};

const FROM: &str = "sender@from.example";

/// A configuration whose default way leads nowhere at all: no name server, no
/// exchanger. What arrives went the local way.
fn local(deliver: &str, rest: &str) -> Config {
    let lines = format!("match = \"here.example\"\ndeliver = {deliver}\n{rest}");
    Config::new().table("local", &lines)
}

/// The messages of a Maildir as Python's mailbox module reads it: for each its
/// `return_path`, `delivered_to`, `subject` and `body`.
fn maildir(path: &Path) -> Vec<Value> {
    let said = python(MAILDIR, &[&path.display().to_string()], b"");
    said.as_array().cloned().expect("a list")
}

const MAILDIR: &str = r#"
import json, mailbox, os, sys
found = []
if os.path.isdir(sys.argv[1]):
    for key, message in sorted(mailbox.Maildir(sys.argv[1], create=False).items()):
        found.append({
            "return_path": message["Return-Path"], "delivered_to": message["Delivered-To"],
            "subject": message["Subject"], "body": message.get_payload(),
            "ends": "crlf" if b"\r" in bytes(message) else "lf",
        })
print(json.dumps(found))
"#;

/// One message for two of Dovecot's users, one of them over quota: each has an
/// answer of its own, over the socket and over TCP.
///
/// Shows: S1.1, S3.3
#[test]
fn dovecot_takes_mail_by_lmtp_and_answers_for_each_recipient() {
    let dovecot = Dovecot::start();
    for deliver in [dovecot.socket().display().to_string(), dovecot.address().to_string()] {
        let config = local(&format!("{{ lmtp = \"{deliver}\" }}"), "retry = \"1h\"");
        let daemon = Daemon::start(config);
        let to = ["ann@here.example", "full@here.example", "nobody@here.example"];
        submit(daemon.address(), FROM, &to);
        let ann = daemon.until_settled(to[0], 1);
        assert_eq!(ann[0].event, "delivered", "{ann:?} {}", dovecot.log());
        let full = daemon.until_settled(to[1], 1);
        assert_ne!(full[0].event, "delivered", "{full:?}");
        assert!(full[0].status.ends_with(".2.2"), "{full:?}");
        let nobody = daemon.until_settled(to[2], 1);
        assert_eq!((&*nobody[0].event, &*nobody[0].status), ("failed", "5.1.1"), "{nobody:?}");
        assert!(daemon.events("lookup").iter().all(|line| line["domain"] != "here.example"));
    }
    let kept = maildir(&dovecot.maildir("ann"));
    assert_eq!(kept.len(), 2, "{kept:?} {}", dovecot.log());
    assert_eq!(kept[0]["return_path"], format!("<{FROM}>"));
}

/// Postfix's LMTP sink takes a load, every message once.
///
/// Shows: S3.3
#[test]
fn a_load_reaches_an_lmtp_sink_once_each() {
    let sink = SmtpSink::start(Sinking::ByLmtp);
    let lines = format!(
        "match = [\"d001.example\", \"*.d001.example\"]\ndeliver = {{ lmtp = \"{}\" }}",
        sink.address()
    );
    let daemon = Daemon::start(Config::new().table("local", &lines));
    let load = Load { messages: 2_000, bytes: 2_048, sessions: 20 };
    load.send(daemon.address(), PATIENCE);
    daemon.until_empty(Duration::from_secs(120));
    sink.wait_for(load.messages, PATIENCE);
    let recipients = sink.recipients();
    assert_eq!(recipients.len() as u64, load.messages);
    assert!(recipients.values().all(|times| *times == 1));
}

/// A message into two Maildirs that Python reads, one copy elsewhere; a route
/// for everything and relay mode change nothing about it.
///
/// Shows: S1.1, S3.3
#[test]
fn maildirs_are_written_as_others_read_them() {
    let elsewhere = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let config = Config::relay(elsewhere.first()).route("match = \"*\"\nlifetime = \"1h\"");
    let mut daemon = Daemon::prepare(config.clone());
    let base = daemon.scratch().open_folder("mail");
    let lines = format!(
        "match = \"here.example\"\ndeliver = {{ maildir = \"{}/{{domain}}/{{user}}\" }}",
        base.display()
    );
    daemon.configure(config.table("local", &lines));
    daemon.launch();
    let to = ["Ann@here.example", "bob@here.example", "c@far.example"];
    // As a client quotes dots.
    let text = "Subject: dots\r\n\r\none\r\n..\r\n...two\r\n";
    let mut client = Client::greet(daemon.address());
    assert_eq!(client.send(FROM, &to, text).code, 250);
    daemon.until_empty(PATIENCE);
    for (user, address) in [("ann", to[0]), ("bob", to[1])] {
        let kept = maildir(&base.join("here.example").join(user));
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0]["return_path"], format!("<{FROM}>"));
        assert_eq!(kept[0]["delivered_to"], address);
        assert_eq!(kept[0]["subject"], "dots");
        assert_eq!(kept[0]["body"], "one\n.\n..two\n");
        assert_eq!(kept[0]["ends"], "lf");
    }
    assert_eq!(elsewhere.progress().messages, 1, "only what is not local leaves");
    let tested = daemon.show("/v1/routes/test?address=ann@here.example");
    assert_eq!(tested["mode"], "local", "{tested}");
    let explained = run(&mut daemon.verb(&["explain", "ann@here.example"]), "ringpost");
    assert!(explained.contains("is local") && explained.contains("maildir"), "{explained}");
}

/// Each rule for unknown users, seen from both sides.
///
/// Shows: S3.5
#[test]
fn each_rule_for_unknown_users_is_kept() {
    let store = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let reports = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let (mut kept, mut told) = (0, 0);
    for (rule, code) in [
        ("\"reject\"", 550),
        ("\"bounce\"", 250),
        ("\"hold\"", 250),
        ("{ forward = \"postmaster@here.example\" }", 250),
    ] {
        let lines = format!(
            "match = \"here.example\"\ndeliver = {{ smtp = {{ host = \"{}\", tls = \"none\" }} }}\n\
             users = [\"ann\", \"postmaster\"]\nunknown = {rule}",
            store.first()
        );
        let daemon = Daemon::start(Config::relay(reports.first()).table("local", &lines));
        let mut client = Client::greet(daemon.address());
        client.expect(&format!("MAIL FROM:<{FROM}>"), 250);
        let said = client.expect("RCPT TO:<eve@here.example>", code);
        client.expect("RCPT TO:<ann@here.example>", 250);
        if code == 550 {
            assert!(said.text.contains("5.1.1"), "{said:?}");
        }
        client.expect("DATA", 354);
        client.expect("Subject: x\r\n\r\nx\r\n.", 250);
        let held = u64::from(rule == "\"hold\"");
        daemon.until_settled("ann@here.example", 1);
        // Who is forwarded to has it in the same transaction.
        kept += 1;
        if rule.starts_with('{') {
            assert_eq!(daemon.until_settled("postmaster@here.example", 1)[0].event, "delivered");
        }
        if rule == "\"bounce\"" {
            let eve = daemon.until_settled("eve@here.example", 1);
            assert_eq!((&*eve[0].event, &*eve[0].status), ("failed", "5.1.1"));
            told += 1;
        }
        if held == 1 {
            daemon.until_settled("eve@here.example", 1);
            assert_eq!(daemon.list("state=held").len(), 1);
        } else {
            daemon.until_empty(PATIENCE);
        }
        assert!(reports.wait_for(told, PATIENCE), "{rule}");
        assert_eq!(
            (store.progress().messages, reports.progress().messages),
            (kept, told),
            "{rule}"
        );
    }
}

/// An alias is put in over the control socket while the daemon runs: the next
/// message goes by it, the one before did not.
///
/// Shows: S3.4
#[test]
fn an_alias_put_in_changes_the_next_message() {
    let store = Sinks::start(SinkSettings { keep_max: 10, ..SinkSettings::default() });
    let store = store.expect("a sink can be started");
    let lines = format!(
        "match = \"here.example\"\ndeliver = {{ smtp = {{ host = \"{}\", tls = \"none\" }} }}\n\
         users = [\"ann\", \"bob\"]",
        store.first()
    );
    let daemon = Daemon::start(Config::new().table("local", &lines));
    let mut client = Client::greet(daemon.address());
    client.expect(&format!("MAIL FROM:<{FROM}>"), 250);
    client.expect("RCPT TO:<sales@here.example>", 550);
    client.expect("RSET", 250);
    for words in [
        ["config", "set", "local[1].aliases.sales", "[\"ann\", \"bob\"]"].as_slice(),
        &["config", "commit", "--comment", "sales are two"],
    ] {
        run(&mut daemon.verb(words), "ringpost");
    }
    // The same session, which began before.
    assert_eq!(client.send(FROM, &["sales@here.example"], &text_to(FROM, &["sales"])).code, 250);
    daemon.until_empty(PATIENCE);
    for user in ["ann@here.example", "bob@here.example"] {
        assert_eq!(daemon.history(user)[0].event, "delivered");
    }
    let said = run(&mut daemon.verb(&["explain", "sales@here.example"]), "ringpost");
    assert!(said.contains("ann@here.example"), "{said}");
}

/// `kill -9` while a load is written into Maildirs, again and again: every
/// message is there once, whole, however often it was begun.
///
/// Shows: S3.3
#[test]
fn a_crash_while_files_are_written_leaves_each_message_once() {
    let mut daemon = Daemon::prepare(Config::new());
    let base = daemon.scratch().open_folder("mail");
    let lines =
        format!("match = \"d001.example\"\ndeliver = {{ maildir = \"{}/all\" }}", base.display());
    daemon.configure(Config::new().table("local", &lines));
    daemon.launch();
    let load = Load { messages: 1_500, bytes: 4_096, sessions: 20 };
    run(&mut daemon.verb(&["delivery", "stop", "--reason", "until all is in"]), "ringpost");
    load.send(daemon.address(), PATIENCE);
    run(&mut daemon.verb(&["delivery", "start"]), "ringpost");
    let new = base.join("all/new");
    let count = || fs::read_dir(&new).map_or(0, Iterator::count);
    for part in 1..=3 {
        crate::support::until("a part of the files", PATIENCE, || {
            (count() >= part * 300).then_some(())
        });
        daemon.crash();
    }
    daemon.until_empty(Duration::from_secs(120));
    let kept = maildir(&base.join("all"));
    assert_eq!(kept.len(), 1_500);
    let mut to: Vec<_> = kept.iter().map(|one| one["delivered_to"].to_string()).collect();
    to.sort_unstable();
    to.dedup();
    assert_eq!(to.len(), 1_500, "each once");
    let sizes = kept.iter().map(|one| one["body"].as_str().unwrap_or_default().len());
    let (least, most) = (sizes.clone().min(), sizes.max());
    assert_eq!(least, most, "each whole");
    assert_eq!(fs::read_dir(base.join("all/tmp")).map_or(0, Iterator::count), 0);
}

/// A disk that is not there costs no attempt, and mail goes on when it is back.
///
/// Shows: S3.3
#[test]
fn mail_waits_for_a_disk_that_is_not_there() {
    let mut daemon = Daemon::prepare(Config::new());
    let base = daemon.scratch().join("disk");
    let lines = format!(
        "match = \"here.example\"\ndeliver = {{ maildir = \"{}/{{user}}\" }}",
        base.display()
    );
    daemon.configure(Config::new().table("local", &lines));
    daemon.launch();
    submit(daemon.address(), FROM, &["ann@here.example"]);
    let put_off = daemon.until_settled("ann@here.example", 1);
    assert_eq!((&*put_off[0].event, put_off[0].attempt), ("deferred", 0), "{put_off:?}");
    assert!(put_off[0].reply.contains("is not there"), "{put_off:?}");
    fs::create_dir(&base).expect("the folder is our own");
    run(&mut daemon.verb(&["queue", "flush", "--all"]), "ringpost");
    daemon.until_empty(PATIENCE);
    assert_eq!(maildir(&base.join("ann")).len(), 1);
}
