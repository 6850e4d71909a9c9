//! `ringpost bench`: its ends as processes of their own, round no daemon and
//! round ours. What went in and what came out is held together by a digest;
//! the figures themselves decide nothing here.

use std::net::UdpSocket;
use std::process::Command;

use harness::bench::usage::tree;
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
    assert_eq!(counted(&sent["accept"]["histogram"]), accepted, "the whole histogram is there");
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

/// A whole measurement with little mail: the report can be read, and its
/// numbers add up from the source to the last digest.
#[test]
fn a_run_adds_up() {
    let scratch = Scratch::new();
    let page = scratch.join("report.html").display().to_string();
    let words = ["run", "mx-200", "--set", "messages=500", "--rounds", "2", "--html", &page];
    let report = measured(&scratch, &words);
    let rounds = report["rounds"].as_array().expect("rounds");
    let targets: Vec<_> = rounds.iter().map(|round| round["target"].as_str()).collect();
    assert_eq!(targets, [Some("ceiling"), Some("ringpost"), Some("ringpost")]);
    for round in rounds {
        let number = |key: &str| round[key].as_u64().expect(key);
        let counts = ["accepted", "promised", "arrived"].map(number);
        assert_eq!(counts, [500; 3], "{round}");
        let faults = ["failed", "missing", "doubled", "altered", "unexpected"].map(number);
        assert_eq!(faults, [0; 5], "{round}");
        assert_eq!(round["digests"][0], round["digests"][1]);
        for (name, times) in round["times"].as_object().expect("times") {
            assert_eq!(counted(&times["histogram"]), 500, "{name}");
        }
        let sum = |bins: &Value| -> u64 {
            bins.as_array().expect("bins").iter().filter_map(Value::as_u64).sum()
        };
        assert_eq!(sum(&round["flow"]["accepted"]), 500);
        assert_eq!(sum(&round["flow"]["delivered"]), 500);
    }
    let cost = &rounds[1]["cost"];
    assert!(cost["syncs"].as_u64() > Some(0), "500 durable answers without a sync: {cost}");
    assert!(cost["user"].as_u64().zip(cost["system"].as_u64()).is_some_and(|(u, s)| u + s > 0));
    assert!(report["disk"]["sync"]["p50"].as_u64() > Some(0));
    let page = std::fs::read_to_string(&page).expect("a page was written");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(page.contains("all 1\u{2009}000 promised deliveries arrived exactly once"), "{page}");
    assert!(report["machine"]["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty()));
}

/// Several servers take turns in one run, Postfix with a queue of its own.
#[test]
fn servers_take_turns_in_a_comparison() {
    let scratch = Scratch::new();
    let words = ["compare", "relay", "--set", "messages=100", "--no-ceiling"];
    let targets = ["--target", "ringpost", "--target", "postfix-tuned", "--rounds", "2"];
    let report = measured(&scratch, &[&words[..], &targets].concat());
    let rounds = report["rounds"].as_array().expect("rounds");
    let order: Vec<_> = rounds.iter().filter_map(|round| round["target"].as_str()).collect();
    assert_eq!(order, ["ringpost", "postfix-tuned", "ringpost", "postfix-tuned"]);
    for round in rounds {
        assert_eq!((round["arrived"].as_u64(), round["missing"].as_u64()), (Some(100), Some(0)));
        let configuration = round["configuration"].as_str().expect("a configuration");
        assert!(configuration.contains("127.0.0.1"));
        let folder = scratch.path().display().to_string();
        assert!(!configuration.contains(&folder), "a report tells nobody where it was made");
    }
}

/// What a load test started ends with it, Postfix too, whose processes are
/// under other users by then.
#[test]
fn nothing_outlives_a_load_test_that_was_killed() {
    let scratch = Scratch::new();
    let folder = scratch.path().display().to_string();
    let mut command = guarded(tests::ringpost());
    command.args(["bench", "compare", "relay", "--set", "messages=10000000", "--no-ceiling"]);
    command.args(["--target", "postfix-tuned", "--rounds", "1", "--folder", &folder]);
    let mut load = Process::start("load", scratch.path(), &mut command);
    let started = until("Postfix to take mail", PATIENCE, || {
        assert_eq!(load.ended(), None, "{}", load.complained());
        let programs = tree(load.pid());
        // Its clients' sessions are under another user already.
        let is_busy = |pid: &u32| name(*pid).is_some_and(|name| name == "smtpd");
        programs.iter().any(is_busy).then_some(programs)
    });
    load.signal(Signal::KILL);
    assert!(!load.wait(PATIENCE).success());
    until("all that it started to be gone", PATIENCE, || {
        started.iter().all(|pid| name(*pid).is_none()).then_some(())
    });
}

/// What a process calls itself, while there is one.
fn name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// A server that is killed, or that loses mail, must not look fast: what never
/// arrives is told, and the exit code says so.
#[test]
fn a_server_that_keeps_mail_fails_the_run() {
    let scratch = Scratch::new();
    let listener = "import socketserver,sys\n\
        class S(socketserver.StreamRequestHandler):\n\
        \x20def handle(self):\n\
        \x20 say=lambda t:self.wfile.write(t+b'\\r\\n')\n\
        \x20 say(b'220 x'); body=False\n\
        \x20 for line in self.rfile:\n\
        \x20  if body:\n\
        \x20   if line==b'.\\r\\n': body=False; say(b'250 ok')\n\
        \x20  elif line[:4]==b'DATA': body=True; say(b'354 go')\n\
        \x20  elif line[:4]==b'QUIT': say(b'221 x'); return\n\
        \x20  else: say(b'250 ok')\n\
        socketserver.ThreadingTCPServer.allow_reuse_address=True\n\
        socketserver.ThreadingTCPServer(('127.0.0.1',int(sys.argv[1])),S).serve_forever()\n";
    let target = format!(
        "name = \"liar\"\ncommand = [\"/usr/bin/python3\", \"{{folder}}/liar.py\", \
         \"{{listen_port}}\"]\n[files]\n\"liar.py\" = {listener:?}\n"
    );
    let file = scratch.write("liar.toml", &target).display().to_string();
    let folder = scratch.path().display().to_string();
    let words = ["compare", "relay", "--set", "messages=20", "--set", "sessions=2"];
    let more = ["--set", "silence=1s", "--no-ceiling", "--rounds", "1"];
    let rest = ["--folder", &folder, "--target", &file];
    let (code, said, complained) = bench(&[&words[..], &more, &rest].concat());
    assert_eq!(code, Some(1), "{said}{complained}");
    assert!(said.contains("NOT EXACTLY ONCE: 20 missing"), "{said}{complained}");
}

/// Runs a measurement that must go well; its report.
fn measured(scratch: &Scratch, words: &[&str]) -> Value {
    let (folder, file) = (scratch.path().display().to_string(), scratch.join("report.json"));
    let file = file.display().to_string();
    let rest = ["--folder", &folder, "--output", &file];
    let (code, said, complained) = bench(&[words, &rest].concat());
    assert_eq!(code, Some(0), "{said}{complained}");
    let text = std::fs::read_to_string(&file).expect("a report was written");
    serde_json::from_str(&text).expect("the report is JSON")
}

/// Events of a histogram.
fn counted(histogram: &Value) -> u64 {
    let steps = histogram.as_array().expect("a histogram");
    steps.iter().map(|step| step[1].as_u64().expect("a count")).sum()
}
