//! Webhooks: lines of the log posted to a web server that is there, refuses,
//! stalls, fails and dies while it answers. Mail does not notice; nothing is
//! lost, and whoever knows a batch by its key has each event once.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use harness::{Pace, SinkSettings, Sinks, Source, SourceSettings, Workload};
use serde_json::Value;

use crate::support::endpoint::{Endpoint, Manner, self_signed};
use crate::support::process::run;
use crate::support::python::python;
use crate::support::{Config, Daemon, PATIENCE, submit, until, until_or_explain};

const FROM: &str = "sender@from.example";

fn exchangers() -> Sinks {
    Sinks::start(SinkSettings::default()).expect("a sink can be started")
}

fn hook(endpoint: &Endpoint, more: &str) -> String {
    format!(
        "name = \"audit\"\nurl = \"{}\"\nwait = \"50ms\"\ntimeout = \"1s\"\nretry = \"1s\"\n{more}",
        endpoint.url()
    )
}

/// Its row in the list of webhooks.
fn row(daemon: &Daemon) -> Value {
    daemon.show("/v1/webhooks")["webhooks"][0].clone()
}

/// Waits until everything that is in the log so far was taken, or told as lost.
fn until_taken(daemon: &Daemon) {
    daemon.until_log_is_written();
    let caught_up = || (row(daemon)["events_behind"] == 0).then_some(());
    until_or_explain("the webhook to catch up", PATIENCE, caught_up, || row(daemon).to_string());
}

/// How often each line is there.
fn counted(lines: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    lines.for_each(|line| *counts.entry(line).or_default() += 1);
    counts
}

/// The lines of these kinds in the log's files, in their order.
fn logged(daemon: &Daemon, events: &[&str]) -> Vec<String> {
    let words: Vec<&str> = events.iter().flat_map(|event| ["--event", *event]).collect();
    let said = run(&mut daemon.verb(&[&["log", "search"], &words[..]].concat()), "ringpost");
    said.lines().map(str::to_owned).collect()
}

fn log_bytes(daemon: &Daemon) -> u64 {
    let files = fs::read_dir(daemon.data().join("log")).expect("the log is there").flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

fn is_long() -> bool {
    std::env::var_os("RINGPOST_LONG").is_some_and(|value| value == "1")
}

/// Mail for a while, at least once; gives how many messages went through.
fn mail_for(daemon: &Daemon, span: Duration) -> u64 {
    let (begin, mut sent) = (Instant::now(), 0);
    // The endpoint of the story keeps all that it was sent.
    let pace = if is_long() { Pace::Fixed { per_second: 100.0 } } else { Pace::Full };
    loop {
        let workload = Workload::new(300, 20, 2);
        let settings = SourceSettings { pace, ..SourceSettings::default() };
        let source = Source::run(daemon.address(), &workload, settings);
        let source = source.expect("a source can be started");
        assert_eq!(source.promised(&workload), 300, "{:?}", source.troubles);
        until("an empty queue", PATIENCE, || (daemon.waiting() == 0).then_some(()));
        sent += 300;
        if begin.elapsed() >= span {
            return sent;
        }
    }
}

/// `RINGPOST_LONG=1` makes it ten minutes.
///
/// Shows: A84
#[test]
fn a_dead_endpoint_costs_mail_nothing_and_gets_each_event_once_afterwards() {
    let phase = Duration::from_secs(if is_long() { 150 } else { 2 });
    let (sinks, mut endpoint) = (exchangers(), Endpoint::start());
    let events = ["accepted", "attempt", "delivered"];
    let more = format!("events = {events:?}\nbatch = 100\n");
    let config = Config::relay(sinks.first()).table("webhook", &hook(&endpoint, &more));
    let mut daemon = Daemon::start(config);
    let mut sent = mail_for(&daemon, Duration::ZERO);
    until_taken(&daemon);
    endpoint.close();
    sent += mail_for(&daemon, phase);
    until("the refusal to be told", PATIENCE, || {
        let said = row(&daemon)["last_answer"].to_string();
        said.contains("refused").then_some(())
    });
    let dead = row(&daemon);
    assert!(dead["events_behind"].as_u64() >= Some(900), "{dead}");
    assert!(dead["failures"].as_u64() >= Some(1) && dead["next_try"].is_string(), "{dead}");
    let shown = run(&mut daemon.verb(&["webhooks"]), "ringpost");
    assert!(shown.contains("audit") && shown.contains(&endpoint.url()), "{shown}");
    endpoint.does(Manner::Stalls);
    endpoint.open();
    for manner in [Manner::Stalls, Manner::Fails, Manner::DiesAnswering] {
        endpoint.does(manner);
        sent += mail_for(&daemon, phase);
        until("a request", PATIENCE, || {
            endpoint.posted().iter().any(|one| one.manner == manner).then_some(())
        });
    }
    // A batch that was offered stays the same over a crash.
    let offered = endpoint.posted().pop().expect("there are some");
    daemon.until_log_is_written();
    daemon.crash();
    endpoint.does(Manner::Takes);
    sent += mail_for(&daemon, Duration::ZERO);
    until_taken(&daemon);
    let posted = endpoint.posted();
    let key = offered.field("Idempotency-Key");
    let first = posted
        .iter()
        .find(|one| one.manner == Manner::Takes && one.field("Idempotency-Key") == key);
    assert_eq!(first.map(|one| &one.body), Some(&offered.body), "the same batch comes again");
    assert_eq!(sinks.progress().messages, sent, "mail went its way");
    let expected = counted(logged(&daemon, &events).into_iter());
    assert!(expected.len() as u64 >= 3 * sent, "{} lines for {sent} messages", expected.len());
    assert_eq!(counted(endpoint.taken().into_iter()), expected);
    let last = row(&daemon);
    assert_eq!(
        (&last["events_lost"], &last["last_answer"]),
        (&0.into(), &"200 OK".into()),
        "{last}"
    );
    assert!(!daemon.events("sink-down").is_empty() && !daemon.events("sink-up").is_empty());
}

/// What the log lets go before it is taken is counted, and told in the log and
/// so to the webhook itself. The disk holds no more than it may.
///
/// Shows: A84
#[test]
fn what_falls_off_the_log_is_counted_and_told() {
    let (sinks, mut endpoint) = (exchangers(), Endpoint::start());
    let events = ["accepted", "delivered", "sink-lost"];
    let config = Config::relay(sinks.first())
        .set("log", "size", "\"64KiB\"")
        .set("log", "max_bytes", "\"128KiB\"")
        .table("webhook", &hook(&endpoint, &format!("events = {events:?}")));
    let daemon = Daemon::start(config);
    endpoint.close();
    let mut sent = 0;
    until("a file to go", Duration::from_secs(300), || {
        sent += mail_for(&daemon, Duration::ZERO);
        (!daemon.data().join("log/ringpost-00000003.log.zst").exists() && sent > 3_000)
            .then_some(())
    });
    assert!(log_bytes(&daemon) < 256 << 10, "{} octets", log_bytes(&daemon));
    endpoint.open();
    let lost = || row(&daemon)["events_lost"].as_u64().expect("a number");
    let (about_lost, about_mail) = until_or_explain(
        "each line to be taken or counted",
        PATIENCE,
        || {
            let taken = endpoint.taken().into_iter();
            let parts: (Vec<_>, Vec<_>) = taken.partition(|line| line.contains("sink-lost"));
            (parts.1.len() as u64 + lost() == 2 * sent).then_some(parts)
        },
        || format!("{sent} messages, {}", row(&daemon)),
    );
    let told = about_lost.iter().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        line["lines"].as_u64().expect("it was counted")
    });
    assert_eq!(told.sum::<u64>(), lost());
    let (_, numbers) = daemon.ask("GET", "/v1/metrics", "");
    let numbers = numbers.as_str().unwrap_or_default().to_owned();
    let series =
        format!("ringpost_log_reader_lines_lost_total{{reader=\"webhook audit\"}} {}", lost());
    assert!(numbers.lines().any(|line| line == series), "{series}: {numbers}");
    assert!(lost() > 0 && !about_mail.is_empty(), "{}", row(&daemon));
}

const CHECK: &str = r#"
import hashlib, hmac, json, sys
at, said = sys.argv[1:]
body = sys.stdin.buffer.read()
made = hmac.new(b"sesame", at.encode() + b"." + body, hashlib.sha256).hexdigest()
print(json.dumps({"good": hmac.compare_digest("v1=" + made, said), "events": len(json.loads(body))}))
"#;

/// Somebody else's code checks the signature, and settings change while the
/// daemon runs.
///
/// Shows: A84
#[test]
fn batches_are_signed_and_selected_by_kind_and_domain() {
    let (sinks, endpoint) = (exchangers(), Endpoint::start());
    let mut daemon = Daemon::prepare(Config::new());
    let secret = daemon.scratch().write("hook.secret", "sesame\n");
    let with = |more: &str| {
        let secret = format!("secret_file = \"{}\"\n{more}", secret.display());
        Config::relay(sinks.first()).table("webhook", &hook(&endpoint, &secret))
    };
    let config = with("events = [\"delivered\"]\ndomain = \"a.example\"");
    daemon.configure(config.clone());
    daemon.launch();
    submit(daemon.address(), FROM, &["x@a.example", "x@b.example"]);
    daemon.until_empty(PATIENCE);
    until_taken(&daemon);
    let posted = endpoint.posted();
    assert_eq!(posted.len(), 1, "{posted:?}");
    let one = &posted[0];
    assert!(one.head.starts_with("POST /events?from=ringpost HTTP/1.1\r\n"), "{}", one.head);
    let signed = [one.field("Ringpost-Timestamp"), one.field("Ringpost-Signature")];
    let checked = python(CHECK, &signed, one.body.as_bytes());
    assert_eq!((&checked["good"], &checked["events"]), (&true.into(), &1.into()), "{checked}");
    assert!(one.lines()[0].contains("x@a.example"), "{}", one.body);
    assert_eq!(one.field("Ringpost-Webhook"), "audit");
    // Another selection, by a commit.
    let wanted = config.text().replace("domain = \"a.example\"", "domain = \"b.example\"");
    let base = daemon.show("/v1/config")["revision"].clone();
    let body = serde_json::json!({ "text": wanted, "base": base }).to_string();
    let (status, said) = daemon.ask("POST", "/v1/config/commit", &body);
    assert_eq!(status, 200, "{said}");
    submit(daemon.address(), FROM, &["y@a.example", "y@b.example"]);
    daemon.until_empty(PATIENCE);
    until_taken(&daemon);
    let lines = endpoint.taken();
    assert!(lines.len() == 2 && lines[1].contains("y@b.example"), "{lines:?}");
}

const SERVER: &str = r#"
import http.server, ssl, sys
class Take(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sys.stdout.write(body.decode())
        sys.stdout.flush()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass
port, certificate, key = sys.argv[1:]
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Take)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()
"#;

/// Python's web server behind TLS: its certificate is checked, by name and by
/// who signed it.
///
/// Shows: A84
#[test]
fn https_is_spoken_with_a_server_that_proves_itself() {
    let sinks = exchangers();
    let mut daemon = Daemon::prepare(Config::new());
    let scratch = daemon.scratch();
    let [certificate, key] = ["hook.pem", "hook.key"].map(|name| scratch.join(name));
    self_signed(&certificate, &key);
    let port = crate::support::config::free_port();
    let mut server = crate::support::process::guarded("/usr/bin/python3");
    server.args(["-I", "-c", SERVER, &port.to_string()]).arg(&certificate).arg(&key);
    let server = crate::support::Process::start("hook", scratch.path(), &mut server);
    until("the web server", PATIENCE, || server.said().contains("listening").then_some(()));
    let hook = |name: &str, host: &str, trust: &str| {
        format!(
            "name = \"{name}\"\nurl = \"https://{host}:{port}/\"\nwait = \"50ms\"\n\
             trust = \"{trust}\"\nretry = \"1s\"\nevents = [\"delivered\"]"
        )
    };
    let own = certificate.display().to_string();
    let config = Config::relay(sinks.first())
        .table("webhook", &hook("good", "localhost", &own))
        .table("webhook", &hook("other-name", "127.0.0.1", &own))
        .table("webhook", &hook("stranger", "localhost", "webpki"));
    daemon.configure(config);
    daemon.launch();
    submit(daemon.address(), FROM, &["x@a.example"]);
    daemon.until_empty(PATIENCE);
    let look = || server.said().contains("x@a.example").then_some(());
    until_or_explain("the line", PATIENCE, look, || daemon.show("/v1/webhooks").to_string());
    let rows = until("the others to fail", PATIENCE, || {
        let rows = daemon.show("/v1/webhooks")["webhooks"].clone();
        let failed = (1..3).all(|place| rows[place]["failures"].as_u64() > Some(0));
        (failed && rows[0]["batches"] == 1).then_some(rows)
    });
    assert_eq!(rows[0]["last_answer"], "202 Accepted", "{rows}");
    for place in [1, 2] {
        let why = rows[place]["last_answer"].as_str().unwrap_or_default();
        assert!(why.contains("certificate"), "{why}");
    }
    assert_eq!(server.said().matches("x@a.example").count(), 1);
}
