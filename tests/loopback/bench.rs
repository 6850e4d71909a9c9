//! `ringpost bench`: its ends as processes of their own, round no daemon and
//! round ours. What went in and what came out is held together by a digest;
//! the figures themselves decide nothing here.

use std::net::UdpSocket;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::{Process, Scratch, guarded};
use crate::support::{PATIENCE, until};

/// A `ringpost bench …` that runs until it is told to stop.
struct Part(Process);

impl Part {
    fn start(scratch: &Scratch, words: &[&str]) -> Self {
        let mut command = guarded(tests::ringpost());
        command.arg("bench").args(words);
        let part = Self(Process::start(words[0], scratch.path(), &mut command));
        until("the part to be ready", PATIENCE, || part.0.said().contains("ready\n").then_some(()));
        part
    }

    /// Where it listens first.
    fn address(&self) -> String {
        let said = self.0.said();
        let line = said.lines().find_map(|line| line.strip_prefix("listening "));
        line.expect("it listens").to_owned()
    }

    /// Stops it; what it sums up.
    fn stop(mut self) -> Value {
        self.0.signal(Signal::TERM);
        assert!(self.0.wait(PATIENCE).success(), "{}", self.0.complained());
        let said = self.0.said();
        serde_json::from_str(&said[said.find('{').expect("a summary")..]).expect("JSON")
    }
}

fn bench(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(tests::ringpost()).arg("bench").args(words).output();
    let output = output.expect("the program can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Source straight into sink, without any daemon: over TLS, by Zipf, with
/// answers by script.
#[test]
fn the_ends_of_a_load_agree_without_a_daemon() {
    let scratch = Scratch::new();
    let greylisting = "rcpt d003.example each=1 reply=450 4.7.1 Later";
    let sink = Part::start(&scratch, &["sink", "--tls", "--sites", "3", "--rule", greylisting]);
    let target = sink.address();
    let words = ["source", &target, "--messages", "500", "--sessions", "7", "--domains", "9"];
    let more = ["--spread", "zipf", "--size", "5x1KiB 1x60KiB", "--tls", "starttls", "--json"];
    let (code, said, complained) = bench(&[&words[..], &more].concat());
    let sent: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {complained}"));
    let taken = sink.stop();
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(u64::MAX);
    let (accepted, failed) = (number(&sent, "accepted"), number(&sent, "failed"));
    assert_eq!((accepted + failed, code), (500, Some(1)), "{sent}");
    assert!(failed > 0, "nobody was put off: {sent}");
    assert_eq!(number(&taken, "arrived"), accepted);
    assert_eq!(sent["digest"], taken["digest"], "{sent}\n{taken}");
    assert_eq!(number(&taken["hosts"][0], "messages"), accepted, "{taken}");
    let counted = |times: &Value| -> u64 {
        let steps = times["histogram"].as_array().expect("a histogram");
        steps.iter().map(|step| step[1].as_u64().expect("a count")).sum()
    };
    assert_eq!(counted(&sent["accept"]), accepted, "the whole histogram is there");
}

/// Nobody else's machine is loaded, whoever asks for it.
#[test]
fn only_test_machines_are_loaded() {
    for words in [
        &["source", "9.9.9.9:25"][..],
        &["source", "10.0.0.1:25", "--test-network", "10.0.0.0/8"],
        &["sink", "--listen", "0.0.0.0"],
        &["dns", "--listen", "0.0.0.0:5353"],
    ] {
        let (code, said, complained) = bench(words);
        assert_eq!(code, Some(2), "{words:?}: {said}{complained}");
        let told = complained.contains("--test-network") || complained.contains("too wide");
        assert!(told, "{words:?}: {complained}");
    }
}

/// The name server of a load test tells where each domain's mail goes.
#[test]
fn the_name_server_knows_where_mail_goes() {
    let scratch = Scratch::new();
    let dns = Part::start(&scratch, &["dns", "--domains", "20", "--sites", "5"]);
    // A question for the MX of d007.example (RFC 1035 §4.1).
    let question = b"\x07\x07\x01\0\0\x01\0\0\0\0\0\0\x04d007\x07example\0\0\x0f\0\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a span above zero");
    socket.send_to(question, dns.address()).expect("loopback takes it");
    let mut answer = [0; 512];
    let bytes = socket.recv(&mut answer).expect("an answer in time");
    let found = answer[..bytes].windows(4).any(|part| part == b"\x03mx2");
    assert!(found, "domain 7 of 20 lies at the second of 5 sites: {:?}", &answer[..bytes]);
    assert_eq!(dns.stop()["udp"].as_u64(), Some(1));
}
