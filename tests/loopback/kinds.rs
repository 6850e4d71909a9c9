//! Kinds of event that come of accidents which no other story is about: each is
//! seen in the log here. (The stage holds every line of every story to the
//! schema; `tests/tidy/events.rs` holds that no kind is seen nowhere.)

use std::fs;

use harness::{Act, Rule, SinkSettings, Sinks, Stage};

use crate::support::config::free_port;
use crate::support::{Client, Config, Daemon, PATIENCE, postfix, submit, until};

fn logged(daemon: &Daemon, event: &str) {
    daemon.until_logged(event, |line| line["event"] == event);
}

/// A client whose handshake is none, and files that cannot become mail.
///
/// Shows: S2.15
#[test]
fn trouble_at_the_doors_is_told() {
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = Config::relay(nobody)
        .set("submission", "tls", "{ certificate = \"cert.pem\", key = \"key.pem\" }")
        .set("pickup", "folder", "\"pickup\"");
    let mut daemon = Daemon::prepare(config);
    postfix::certificate(daemon.scratch());
    daemon.launch();
    let mut client = Client::greet(daemon.address());
    client.expect("STARTTLS", 220);
    client.say("this is no TLS at all, however long one waits for it to become some");
    logged(&daemon, "client-tls-failed");
    let folder = daemon.data().join("pickup");
    until("the folder", PATIENCE, || folder.join("bad").is_dir().then_some(()));
    fs::write(folder.join("part"), "Subject: to nobody\n\nx\n").expect("it takes files");
    fs::rename(folder.join("part"), folder.join("part.eml")).expect("within a folder");
    logged(&daemon, "pickup-refused");
    assert!(daemon.events("pickup-refused")[0]["file"].as_str().is_some());
    daemon.terminate();
    fs::remove_dir_all(&folder).expect("it is our own");
    fs::write(&folder, "in its way").expect("there is room");
    daemon.launch();
    logged(&daemon, "pickup-failed");
    assert!(!daemon.events("pickup-failed").is_empty());
}

/// The daemon is killed while an answer to the final dot is waited for: the
/// next start lists what may have been delivered, by the id of its reception.
///
/// Shows: S2.15
#[test]
fn an_attempt_that_a_crash_cut_off_is_listed() {
    let rules = vec![Rule::new(Stage::Answer, Act::Stall)];
    let sinks = Sinks::start(SinkSettings { rules, ..SinkSettings::default() });
    let sinks = sinks.expect("a sink can be started");
    let mut daemon = Daemon::start(Config::relay(sinks.first()));
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    until("the whole message at the host", PATIENCE, || {
        (sinks.progress().messages > 0).then_some(())
    });
    daemon.crash();
    logged(&daemon, "in-doubt");
    let doubt = &daemon.events("in-doubt")[0];
    daemon.until_logged("its reception", |line| {
        line["event"] == "accepted" && line["id"] == doubt["id"]
    });
}
