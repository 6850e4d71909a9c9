//! Waiting mail leaves one daemon as files and goes on in another: nothing is
//! lost on the way, nothing is sent twice, and nobody who may only look at the
//! queue gets to read letters.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use harness::sink::Kept;
use harness::{Act, Rule, SinkSettings, Sinks, Stage, To, When};
use serde_json::{Value, json};

use crate::support::control;
use crate::support::{Client, Config, Daemon, PATIENCE, until};

const MESSAGES: usize = 200;

fn sinks(net: u8, rules: Vec<Rule>) -> Sinks {
    let addresses = vec![IpAddr::from([127, 0, net, 1])];
    let settings = SinkSettings { addresses, rules, keep_max: 1_000, ..SinkSettings::default() };
    Sinks::start(settings).expect("loopback addresses can be bound")
}

fn config(sinks: &Sinks, net: u8) -> Config {
    let host = ([127, 0, net, 1], sinks.port()).into();
    Config::relay(host).set("", "shards", "2").set("delivery", "retry", "[\"1h\"]")
}

fn refusing(to: To) -> Rule {
    let act = Act::Reply("451 4.2.0 \"later\"; perhaps".into());
    Rule { stage: Stage::Rcpt, to, when: When::Always, act }
}

/// Runs a verb; gives its exit code and all it said.
fn verb(daemon: &Daemon, words: &[&str]) -> (i32, String) {
    let output = daemon.verb(words).output().expect("the program is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.code().expect("it ended by itself"), said)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there").flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

/// What stands in front of an exported message, without its name in the queue,
/// and the message, whose own first field is `Received`.
fn parts_of(file: &Path) -> (String, Vec<u8>) {
    let whole = fs::read(file).expect("it was written");
    let at = whole.windows(10).position(|it| it == b"\nReceived:").expect("its first field");
    let (fields, text) = whole.split_at(at + 1);
    let fields = str::from_utf8(fields).expect("fields are UTF-8");
    let lines = fields.lines().filter(|line| !line.starts_with(" id="));
    (lines.collect::<Vec<_>>().join("\n"), text.to_vec())
}

/// Hands in messages of all kinds: dots, eight bits, addresses beyond ASCII,
/// DSN parameters, several recipients, no sender.
fn hand_in(daemon: &Daemon) {
    let mut client = Client::greet(daemon.address());
    for at in 0..MESSAGES {
        let (mail, to) = match at % 5 {
            0 => (format!("<s{at}@source.example>"), vec![format!("<b{at}@d001.example>")]),
            1 => (
                format!("<s{at}@source.example> RET=HDRS ENVID=QQ{at}"),
                vec![format!(
                    "<b{at}@d001.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;o{at}@x.example"
                )],
            ),
            2 => (
                format!("<s{at}@source.example> BODY=8BITMIME SMTPUTF8"),
                vec![format!("<j\u{f6}rg{at}@d001.example>")],
            ),
            3 => (
                format!("<s{at}@source.example>"),
                ["good", "d001", "d002"].map(|d| format!("<b{at}@{d}.example>")).to_vec(),
            ),
            _ => ("<>".into(), vec![format!("<\"odd b\\\"{at}\"@d001.example>")]),
        };
        client.expect(&format!("MAIL FROM:{mail}"), 250);
        for to in to {
            client.expect(&format!("RCPT TO:{to}"), 250);
        }
        client.expect("DATA", 354);
        let bits = if at % 5 == 2 { "\u{e4}\u{f6}\u{fc}" } else { "plain" };
        let long = "All work and no play.\r\n".repeat(at * 7 % 300);
        client.expect(
            &format!(
                "Subject: {at}\r\nX-Receiver: x@y.example\r\n\r\n..\r\n...dots {bits}\r\n{long}."
            ),
            250,
        );
    }
}

/// Each waiting recipient with what must not change.
fn standing(daemon: &Daemon) -> BTreeMap<String, Value> {
    let rows = daemon.list("");
    let told = |row: &Value| {
        let held = row["state"] == "held";
        let rest = ["sender", "attempts", "last_answer"];
        json!({ "held": held, "rest": rest.map(|name| row[name].clone()) })
    };
    rows.iter().map(|row| (row["recipient"].to_string(), told(row))).collect()
}

/// Looking is not reading; a copy leaves everything where it is.
fn copies_are_for_those_who_may(daemon: &Daemon, folder: &Path) {
    let to = folder.to_str().expect("it is text");
    let (code, said) = verb(daemon, &["queue", "export", "--all", "--to", to]);
    assert_eq!((code, said.as_str()), (0, "200 messages exported\n"));
    assert_eq!((files(folder).len(), daemon.waiting()), (MESSAGES, MESSAGES as u64), "a copy");
    let one = daemon.list("")[0]["id"].as_str().expect("an id").to_owned();
    let other = daemon.scratch().join("one");
    let (code, said) =
        verb(daemon, &["queue", "export", &one, "--to", other.to_str().expect("it is text")]);
    assert_eq!((code, said.as_str(), files(&other).len()), (0, "1 messages exported\n", 1));
    let status = daemon.data().join("status.sock");
    let letter = format!("/v1/queue/{one}/file");
    assert_eq!(control::ask(&status, "GET", &letter, "").0, 403);
    assert_eq!(daemon.ask("GET", &letter, "").0, 200);
    assert_eq!(verb(daemon, &["queue", "export", "--to", to]).0, 2, "nothing is named");
}

fn all_leave_once(
    daemon: &Daemon,
    sinks: &Sinks,
    exported: &[(String, Vec<u8>)],
    before: &BTreeMap<String, Value>,
) {
    daemon.ask("POST", "/v1/resume", "{\"all\": true}");
    daemon.act("flush", "{\"all\": true}");
    until("all that is not held to leave", PATIENCE, || {
        (daemon.list("").len() == MESSAGES / 5).then_some(())
    });
    daemon.act("release", "{\"all\": true}");
    daemon.until_empty(PATIENCE);
    let kept = sinks.report().kept;
    let mut got: BTreeMap<String, usize> = BTreeMap::new();
    for recipient in kept.iter().flat_map(Kept::recipients) {
        *got.entry(Value::from(recipient).to_string()).or_default() += 1;
    }
    assert!(got.values().all(|times| *times == 1), "{got:?}");
    assert_eq!(got.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "once each");
    for kept in &kept {
        assert!(exported.iter().any(|(_, text)| *text == kept.content), "bit for bit");
    }
    let parameters = kept.iter().filter(|kept| {
        let (mail, to) = (&kept.mail, &kept.rcpt[0]);
        mail.contains("RET=HDRS") && mail.contains("ENVID=QQ") && to.contains("ORCPT=rfc822;o")
    });
    assert_eq!(parameters.count(), MESSAGES / 5, "what the senders asked for came along");
}

/// Shows: S2.21, A38
#[test]
fn two_hundred_messages_move_to_another_daemon() {
    let refusing = ["d001.example", "d002.example"].map(|it| refusing(To::Domain(it.into())));
    let first_sinks = sinks(131, refusing.to_vec());
    let first = Daemon::start(config(&first_sinks, 131));
    hand_in(&first);
    let recipients = MESSAGES / 5 * 6;
    until("all others to wait", PATIENCE, || {
        (first.list("state=deferred").len() == recipients).then_some(())
    });
    assert_eq!(first.act("hold", "{\"domain\": \"d002.example\"}"), MESSAGES as u64 / 5);
    let before = standing(&first);
    let folder = first.scratch().join("out");
    copies_are_for_those_who_may(&first, &folder);
    let to = folder.to_str().expect("it is text");
    let (code, said) = verb(&first, &["queue", "export", "--all", "--remove", "--to", to]);
    assert_eq!((code, said.as_str()), (0, "200 messages exported\n"));
    until("an empty queue", PATIENCE, || (first.waiting() == 0).then_some(()));
    let mut exported: Vec<_> = files(&folder).iter().map(|file| parts_of(file)).collect();
    assert!(exported.iter().all(|(fields, _)| fields.contains("expires=")), "times are told");

    let second_sinks = sinks(132, Vec::new());
    let second = Daemon::start(config(&second_sinks, 132));
    second.ask("POST", "/v1/suspend", "{\"all\": true, \"reason\": \"move\"}");
    let bad = folder.join("bad.eml");
    let half = fs::read(&files(&folder)[0]).expect("it is there");
    fs::write(&bad, &half[..60]).expect("the folder is ours");
    let (code, said) = verb(&second, &["queue", "import", to]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("200 messages imported") && said.contains("1 failed"), "{said}");
    assert!(said.contains("bad.eml: this file is refused: "), "{said}");
    assert_eq!(files(&folder), std::slice::from_ref(&bad), "what is bad stays");
    assert_eq!(files(&folder.join("imported")).len(), MESSAGES);
    fs::remove_file(&bad).expect("the folder is ours");
    let (code, said) = verb(&second, &["queue", "import", to]);
    assert_eq!((code, said.as_str()), (0, "0 messages imported\n"), "none is taken in twice");
    let after = standing(&second);
    for (recipient, standing) in &before {
        assert_eq!(after.get(recipient), Some(standing), "{recipient}");
    }
    assert_eq!(after.len(), recipients);
    let again = second.scratch().join("again");
    let again_to = again.to_str().expect("it is text");
    assert_eq!(verb(&second, &["queue", "export", "--all", "--to", again_to]).0, 0);
    let mut back: Vec<_> = files(&again).iter().map(|file| parts_of(file)).collect();
    exported.sort();
    back.sort();
    assert!(exported == back, "arrival, expiry, standings and texts are what they were");
    all_leave_once(&second, &second_sinks, &exported, &before);
}

/// What is being tried just now is nobody's to take: it stays, and no file of
/// it is left; a message whose import may have succeeded is not tried again.
///
/// Shows: S2.21
#[test]
fn what_is_under_way_stays_and_what_is_unclear_is_left_to_people() {
    let stall = Rule {
        stage: Stage::Rcpt,
        to: To::Domain("slow.example".into()),
        when: When::Always,
        act: Act::Stall,
    };
    let sinks = sinks(133, vec![stall]);
    let daemon = Daemon::start(config(&sinks, 133));
    let mut client = Client::greet(daemon.address());
    let text = "Subject: x\r\n\r\nx\r\n";
    assert_eq!(client.send("a@source.example", &["b@slow.example"], text).code, 250);
    until("an attempt", PATIENCE, || (daemon.list("state=in-flight").len() == 1).then_some(()));
    let folder = daemon.scratch().join("out");
    let to = folder.to_str().expect("it is text");
    let (code, said) = verb(&daemon, &["queue", "export", "--all", "--remove", "--to", to]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("0 messages exported") && said.contains("stay in the queue"), "{said}");
    assert_eq!((files(&folder).len(), daemon.waiting()), (0, 1));

    let claims = folder.join("importing");
    fs::create_dir(&claims).expect("the folder is ours");
    fs::write(claims.join("old.eml"), "x").expect("the folder is ours");
    let (code, said) = verb(&daemon, &["queue", "import", to]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("importing/old.eml: an earlier import of it was cut off"), "{said}");
    let plain = folder.join("plain.eml");
    fs::write(&plain, text).expect("the folder is ours");
    let (code, said) = verb(&daemon, &["queue", "import", plain.to_str().expect("it is text")]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a plain message goes into the pickup folder"), "{said}");
    assert_eq!((plain.exists(), daemon.waiting()), (true, 1));
}
