//! Mail comes in by SMTP and LMTP, over the control socket and as a file: one record in
//! the queue, one message at the exchanger, whichever door it took.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::sink::Kept;
use harness::{Act, Rule, SinkSettings, Sinks, Stage, To, When};
use serde_json::Value;

use crate::support::config::free_port;
use crate::support::process::{installed, run};
use crate::support::{Client, Config, Daemon, PATIENCE, until};

const FROM: &str = "a@source.example";
const TO: [&str; 3] = ["b@d001.example", "c@d001.example", "d@d002.example"];

fn sinks(net: u8, rules: Vec<Rule>) -> Sinks {
    let addresses = vec![IpAddr::from([127, 0, net, 1])];
    let settings = SinkSettings { addresses, rules, keep_max: 100, ..SinkSettings::default() };
    Sinks::start(settings).expect("loopback addresses can be bound")
}

fn config(sinks: &Sinks, net: u8) -> Config {
    Config::relay(([127, 0, net, 1], sinks.port()).into()).set("", "shards", "2").set(
        "pickup",
        "folder",
        "\"pickup\"",
    )
}

fn text(subject: &str) -> String {
    let to = TO.join(", ");
    format!(
        "From: Ann <{FROM}>\nTo: {to}\nSubject: {subject}\nDate: Sat, 21 Nov 2026 10:00:00 +0000\n\
         Message-ID: <one@source.example>\n\n.dot\nOnce upon a time.\n"
    )
}

/// Puts a file into the pickup folder as its readers demand: whole at once.
fn drop_file(daemon: &Daemon, name: &str, text: &str) -> PathBuf {
    let folder = daemon.data().join("pickup");
    until("the folder", PATIENCE, || folder.join("taken").is_dir().then_some(()));
    let (part, whole) = (folder.join(format!("{name}.part")), folder.join(name));
    fs::write(&part, text).expect("the folder is ours");
    fs::rename(&part, &whole).expect("the folder is ours");
    whole
}

fn until_gone(path: &Path) {
    until("the file is taken", PATIENCE, || (!path.exists()).then_some(()));
}

fn target(to: &[&str]) -> String {
    let to: String = to.iter().map(|to| format!("&recipient={to}")).collect();
    format!("/v1/messages?sender={FROM}{to}")
}

/// What a message is without its own names and times.
fn plain(mut row: Value) -> Value {
    let fields = row.as_object_mut().expect("a row");
    for own in ["id", "arrived", "expires", "next_attempt", "last_answer", "attempts"] {
        assert!(fields.remove(own).is_some(), "{own}");
    }
    row
}

fn without_trace(kept: &Kept) -> &str {
    let content = str::from_utf8(&kept.content).expect("it was ASCII");
    &content[content.find("From: Ann").expect("its first field")..]
}

/// Shows: S4.8, S2.21
#[test]
fn all_doors_lead_to_the_same_record() {
    let later = Act::Reply("451 later".into());
    let rule = Rule { stage: Stage::Rcpt, to: To::Any, when: When::FirstOfEach(9), act: later };
    let sinks = sinks(41, vec![rule]);
    let daemon = Daemon::start(config(&sinks, 41).set("delivery", "retry", "[\"1h\"]"));
    let text = text("side by side");
    let wire = text.replace('\n', "\r\n");
    let mut client = Client::greet(daemon.address());
    assert_eq!(client.send(FROM, &TO, &wire.replace("\r\n.", "\r\n..")).code, 250);
    for form in [&text, &wire] {
        let (status, answer) = daemon.ask("POST", &target(&TO), form);
        assert_eq!(status, 200, "{answer}");
        assert!(answer["id"].is_string(), "{answer}");
    }
    let file = drop_file(&daemon, "one.eml", &text);
    until_gone(&file);
    let rows = until("all to wait", PATIENCE, || {
        let rows = daemon.list("state=deferred");
        (rows.len() == 12).then_some(rows)
    });
    for to in TO {
        let mine: Vec<Value> =
            rows.iter().filter(|row| row["recipient"] == to).cloned().map(plain).collect();
        assert_eq!(mine.len(), 4, "{rows:#?}");
        assert!(mine.iter().all(|row| *row == mine[0]), "{mine:#?}");
    }
    sinks.set_rules(Vec::new());
    daemon.act("flush", "{\"all\": true}");
    daemon.until_empty(PATIENCE);
    let kept = sinks.report().kept;
    let mut envelopes: Vec<_> = kept
        .iter()
        .map(|kept| {
            let mut to: Vec<&str> = kept.recipients().collect();
            to.sort_unstable();
            (kept.sender().to_owned(), to.join(" "))
        })
        .collect();
    envelopes.sort_unstable();
    for kept in &kept {
        assert_eq!(without_trace(kept), wire, "bit for bit");
    }
    envelopes.dedup();
    let recipients: usize = kept.iter().map(|kept| kept.recipients().count()).sum();
    assert_eq!((recipients, envelopes.len()), (12, kept.len() / 4), "{envelopes:?}");
    let log = daemon.all_logs();
    assert!(log.contains("message of <a@source.example> to 3"), "who sent it is in the log");
}

/// LMTP, with a client that speaks it: one reply for each recipient that was
/// taken, behind the dot and when the message is stored.
///
/// Covers: A14.7
/// Shows: S4.8
#[test]
fn swaks_hands_mail_in_by_lmtp() {
    let sinks = sinks(140, Vec::new());
    let port = free_port();
    let place = format!("127.0.0.1:{port}");
    let local =
        "match = \"own.example\"\ndeliver = { maildir = \"/nowhere/{user}\" }\nusers = [\"ann\"]";
    let config = config(&sinks, 140).table("local", local);
    let lmtp = format!("{{ address = \"{place}\", protocol = \"lmtp\" }}");
    let listen = format!("[\"{}\", {lmtp}]", config.listen());
    let daemon = Daemon::start(config.listening(&listen));
    let mut swaks = Command::new(installed("swaks", "swaks"));
    let to = format!("{},nobody@own.example,{}", TO[0], TO[2]);
    swaks.args(["--protocol", "LMTP", "--server", &place, "--from", FROM, "--to", &to]);
    let said = run(swaks.args(["--data", &text("by LMTP").replace('\n', "\\n")]), "swaks");
    assert!(said.contains("LMTP Ringpost") && said.contains("LHLO"), "{said}");
    assert!(said.contains("550 5.1.1"), "an unknown user is refused at RCPT: {said}");
    let after = said.rsplit("-> .\n").next().expect("the final dot");
    assert_eq!(after.matches("queued as").count(), 2, "one for each that was taken: {said}");
    daemon.until_empty(PATIENCE);
    let kept = sinks.report().kept;
    let mut got: Vec<&str> = kept.iter().flat_map(Kept::recipients).collect();
    got.sort_unstable();
    assert_eq!(got, [TO[0], TO[2]]);
    let content = str::from_utf8(&kept[0].content).expect("it was ASCII");
    assert!(content.contains("(Ringpost) with LMTP id "), "{content}");
}

/// A blind copy is blind, fields for us alone are ours alone, and what cannot be
/// sent is set aside with its reason; links lead nowhere.
///
/// Shows: S2.21
#[test]
fn files_are_sent_or_set_aside() {
    let sinks = sinks(42, Vec::new());
    let daemon = Daemon::start(config(&sinks, 42));
    let good = text("blind").replace("Subject:", "Bcc: secret@d003.example\nSubject:");
    until_gone(&drop_file(&daemon, "good.eml", &good));
    let own = format!("X-Sender: <>\nX-Receiver: only@d004.example\n{}", text("own"));
    until_gone(&drop_file(&daemon, "own.eml", &own));
    let folder = daemon.data().join("pickup");
    let precious = daemon.scratch().write("precious.eml", &text("precious"));
    symlink(&precious, folder.join("link.eml")).expect("the folder is ours");
    for (name, text, words) in [
        ("nobody.eml", "From: a@b.example\nSubject: x\n\nx\n", "no recipient"),
        ("rubbish.eml", "\u{1}\u{2}rubbish", "no sender"),
        ("nul.eml", "From: a@b.example\nTo: b@c.example\n\n\0\n", "NUL"),
        ("large.eml", &format!("{}{}", text("large"), "0123456789\n".repeat(300_000)), "larger"),
    ] {
        until_gone(&drop_file(&daemon, name, text));
        let reason = folder.join("bad").join(format!("{name}.txt"));
        // It is there a moment before its words are.
        let read = || fs::read_to_string(&reason).ok().filter(|said| !said.is_empty());
        let said = until("its reason", PATIENCE, read);
        assert!(said.contains(words), "{name}: {said}");
        until("the file set aside", PATIENCE, || {
            (fs::read(folder.join("bad").join(name)).ok()? == text.as_bytes()).then_some(())
        });
    }
    until("the link set aside", PATIENCE, || {
        folder.join("bad/link.eml").is_symlink().then_some(())
    });
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), text("precious"));
    daemon.until_empty(PATIENCE);
    let kept = sinks.report().kept;
    assert!(kept.iter().all(|kept| !without_trace(kept).contains("secret")));
    let reached = |whom: &str| kept.iter().any(|kept| kept.recipients().any(|to| to == whom));
    assert!(reached("secret@d003.example") && reached("only@d004.example"));
    let null = kept.iter().find(|kept| kept.recipients().any(|to| to == "only@d004.example"));
    assert_eq!(null.map(|kept| kept.sender()), Some(""));
}

/// While the queue is full files stay where they are and are sent when there is
/// room; none is lost by a crash in the middle.
///
/// Shows: S2.21
#[test]
fn files_wait_for_room_and_outlive_crashes() {
    let later = Act::Reply("451 later".into());
    let rule = Rule { stage: Stage::Rcpt, to: To::Any, when: When::Always, act: later };
    let sinks = sinks(43, vec![rule]);
    let config = config(&sinks, 43).set("queue", "max_messages", "10").set("", "shards", "1");
    let mut daemon = Daemon::start(config.clone());
    let name = |number: usize| format!("f{number}@d001.example");
    for number in 0..40 {
        let text = format!("From: {FROM}\nTo: {}\nSubject: x\n\nx\n", name(number));
        drop_file(&daemon, &format!("{number}.eml"), &text);
        if number == 5 {
            daemon.crash();
        }
    }
    until("a full queue", PATIENCE, || (daemon.waiting() >= 10).then_some(()));
    let folder = daemon.data().join("pickup");
    until("the others to be put back", PATIENCE, || {
        (fs::read_dir(&folder).expect("the folder is ours").count() > 20).then_some(())
    });
    daemon.kill();
    sinks.set_rules(Vec::new());
    daemon.configure(config.set("queue", "max_messages", "1000"));
    daemon.launch();
    let reached = || {
        let kept = sinks.report().kept;
        let mut to: Vec<String> =
            kept.iter().flat_map(|kept| kept.recipients().map(str::to_owned)).collect();
        to.sort_unstable();
        to.dedup();
        to
    };
    until("all of them", PATIENCE, || (reached().len() == 40).then_some(()));
    daemon.until_empty(PATIENCE);
    assert!((0..40).all(|number| reached().contains(&name(number))));
    until("an empty folder", PATIENCE, || {
        let files = fs::read_dir(&folder).expect("the folder is ours");
        files.flatten().all(|entry| entry.path().is_dir()).then_some(())
    });
}

/// What the socket refuses is said with its reason, and for good or for now.
///
/// Shows: S4.8
#[test]
fn a_message_that_is_refused_says_why() {
    let sinks = sinks(44, Vec::new());
    let daemon = Daemon::start(config(&sinks, 44).set("queue", "min_free", "\"1000TiB\""));
    let large = format!("Subject: x\n\n{}", "0123456789\n".repeat(100_000));
    until("the disk to be looked at", PATIENCE, || {
        (daemon.ask("POST", &target(&TO), "x\n").0 == 503).then_some(())
    });
    for (target, body, status, words) in [
        (target(&TO), "a\rb\n", 422, "carriage return"),
        (target(&TO), &*large, 413, "larger than the limit"),
        (target(&[]), "x\n", 400, "recipient="),
        (target(&TO), "x\n", 503, "disk space"),
    ] {
        let (code, answer) = daemon.ask("POST", &target, body);
        assert_eq!(code, status, "{answer}");
        assert!(answer["error"].as_str().unwrap_or_default().contains(words), "{answer}");
    }
    assert_eq!(daemon.waiting(), 0);
}
