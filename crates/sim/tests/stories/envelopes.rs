//! What a client said reaches the next hop as it was said, with the fields in
//! front that are ours to add, and nothing of what it did not finish.

use std::collections::VecDeque;

use base::ConnId;
use shard::event::Event;

use crate::stories_support::{HOST, world};
use sim::{Host, World, seconds};

fn lines(lines: &[&str]) -> VecDeque<Vec<u8>> {
    lines.iter().map(|line| line.as_bytes().to_vec()).collect()
}

/// Case and quotes of local parts are nobody's business but the recipient's.
///
/// Proves: RFC 5321 §2.4, RFC 5321 §4.1.2
/// Covers: A1.3, A1.12, A2.31
#[test]
fn local_parts_are_sent_on_as_they_came() {
    let mut world = world("", Host::new());
    let said = lines(&[
        "ehlo Client.Example\r\n",
        "mail from:<First.LAST@FROM.example>\r\n",
        "Rcpt To:<\"Odd \\\" @ Name\"@THERE.example>\r\n",
        "rcpt to:<UPPER+tag@there.EXAMPLE>\r\n",
        "data\r\n",
        "Subject: x\r\n\r\nx\r\n.\r\n",
        "quit\r\n",
    ]);
    world.session(0, said);
    world.run_for(seconds(5));
    let got = &world.at(HOST).got;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].sender, "First.LAST@from.example");
    assert_eq!(got[0].recipients, ["\"Odd \\\" @ Name\"@there.example", "UPPER+tag@there.example"]);
    world.assert_over();
}

/// The field names of the header of the only message taken.
fn field_names(world: &mut World) -> Vec<String> {
    assert_eq!(world.at(HOST).got.len(), 1);
    let body = world.at(HOST).got.remove(0).body;
    let header = body.split("\r\n\r\n").next().unwrap();
    let fields = header.split("\r\n").filter(|line| !line.starts_with(['\t', ' ']));
    fields.map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

/// One trace field, and Date and Message-ID where there was none; what came is
/// not touched, and a Return-Path is the last host's to add.
///
/// Proves: RFC 5321 §4.4, RFC 6409 §8.2, RFC 6409 §8.3
/// Covers: A1.28, A1.29, A1.31, A3.4, A3.9
#[test]
fn what_is_missing_is_added_and_nothing_else() {
    let bare = ["Received", "Date", "Message-ID"];
    for (header, expected) in [
        ("Subject: x\r\nBcc: c@d.example\r\n", &[&bare[..], &["Subject", "Bcc"]].concat()[..]),
        ("Date: d\r\nsubject: x\r\n", &["Received", "Message-ID", "Date", "subject"]),
        ("MESSAGE-ID: <m@x>\r\nX: y\r\n", &["Received", "Date", "MESSAGE-ID", "X"]),
        (
            "Received: by x; d\r\nDate: d\r\nMessage-Id: <m>\r\n",
            &["Received", "Received", "Date", "Message-Id"],
        ),
        ("", &bare),
    ] {
        let mut world = world("", Host::new());
        let content = format!("{header}\r\nbody: no field\r\n.\r\n");
        let said = lines(&[
            "EHLO client.example\r\n",
            "MAIL FROM:<a@from.example>\r\n",
            "RCPT TO:<b@there.example>\r\n",
            "DATA\r\n",
            &content,
            "QUIT\r\n",
        ]);
        world.session(0, said);
        world.run_for(seconds(5));
        let body = world.at(HOST).got[0].body.clone();
        assert!(body.ends_with(&format!("{header}\r\nbody: no field\r\n")), "{body}");
        assert_eq!(field_names(&mut world), expected, "{header:?}");
        world.assert_over();
    }
}

/// The trace field names a recipient only where it is the only one: nobody
/// learns of another by it.
///
/// Proves: RFC 5321 §4.4
/// Covers: A1.28
#[test]
fn only_a_lone_recipient_is_named_in_the_trace() {
    for (to, named) in [
        (&["b@there.example"][..], true),
        (&["b@there.example", "c@there.example"], false),
        (&["b@there.example", "c@from.example"], false),
    ] {
        let mut world = world("", Host::new());
        world.accept(0, "a@from.example", to);
        world.run_for(seconds(5));
        let body = &world.at(HOST).got[0].body;
        let trace = &body[..body.find("\r\nDate").unwrap()];
        assert_eq!(trace.contains("for <b@there.example>"), named, "{trace}");
        assert!(!trace.contains("c@"), "{trace}");
        assert!(trace.contains("with ESMTP id"), "{trace}");
        world.assert_over();
    }
}

/// The client is gone before its message has ended: nothing of it is ours.
///
/// Proves: RFC 5321 §4.1.1.4, RFC 5321 §3.8
/// Covers: A1.25
#[test]
fn a_message_that_is_not_finished_is_nobodys() {
    for (verb, content) in [
        ("DATA\r\n", "Subject: x\r\n\r\nx\r\n.\r"),
        ("DATA\r\n", "Subject: x\r\n\r\nx\r\n"),
        ("DATA\r\n", ""),
        ("BDAT 100 LAST\r\n", "Subject: x\r\n\r\nx\r\n"),
        ("BDAT 5\r\n", "X: y\r"),
    ] {
        let mut world = world("", Host::new());
        let mut said = lines(&[
            "EHLO client.example\r\n",
            "MAIL FROM:<a@from.example>\r\n",
            "RCPT TO:<b@there.example>\r\n",
        ]);
        if verb.starts_with("BDAT") {
            said.push_back([verb, content].concat().into_bytes());
        } else {
            said.extend(lines(&[verb, content]));
        }
        let ticket = world.session(0, said);
        world.run_for(seconds(1));
        world.tell(0, seconds(0), Event::Closed { conn: ConnId(2 * ticket as u64), error: None });
        world.run_for(seconds(5));
        assert_eq!(world.status()["counters"]["messages_accepted"], 0, "{verb}{content:?}");
        assert_eq!(world.at(HOST).connects.len(), 0, "{verb}{content:?}");
        world.assert_over();
    }
}
