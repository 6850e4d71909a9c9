//! The daemon's numbers as Prometheus gets them: what is counted is what
//! happened, however many domains there are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use harness::{Rule, SinkSettings, Sinks, Stage};

use crate::support::config::free_port;
use crate::support::process::run;
use crate::support::{Client, Config, Daemon, PATIENCE, submit, text_to, until};

const FROM: &str = "sender@from.example";

/// The whole text.
fn scrape(daemon: &Daemon) -> String {
    let (status, text) = daemon.ask("GET", "/v1/metrics", "");
    assert_eq!(status, 200, "{text}");
    text.as_str().expect("a text, not JSON").to_owned()
}

/// The value of one series.
fn value(text: &str, series: &str) -> f64 {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("{series} is not in {text}"));
    line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok()).expect("a value")
}

/// Mail is delivered, put off and refused; the numbers say so, by domain and
/// by site too, and each stage was timed.
///
/// Shows: A86
#[test]
fn numbers_tell_what_became_of_mail() {
    let rules = vec![
        Rule::reply(Stage::Rcpt, "550 5.1.1 nobody").for_domain("no.example"),
        Rule::reply(Stage::Rcpt, "451 4.3.0 come back").for_domain("later.example"),
    ];
    let sinks = Sinks::start(SinkSettings { rules, ..SinkSettings::default() });
    let sinks = sinks.expect("a sink can be started");
    let config = Config::relay(sinks.first()).set("delivery", "retry", "[\"1h\"]");
    let daemon = Daemon::start(config);
    for to in ["a@yes.example", "b@yes.example", "c@no.example", "d@later.example"] {
        submit(daemon.address(), FROM, &[to]);
        daemon.until_settled(to, 1);
    }
    // The report about the refused one is delivered as well.
    daemon.until_settled(FROM, 1);
    let text = scrape(&daemon);
    let outcome = |outcome: &str| {
        value(&text, &format!("ringpost_recipients_total{{outcome=\"{outcome}\"}}"))
    };
    assert_eq!(["delivered", "deferred", "failed"].map(outcome), [3.0, 1.0, 1.0]);
    assert_eq!(value(&text, "ringpost_messages_accepted_total"), 4.0);
    assert_eq!(value(&text, "ringpost_queue_recipients{state=\"deferred\"}"), 1.0);
    assert_eq!((value(&text, "ringpost_ready"), value(&text, "ringpost_storage_up")), (1.0, 1.0));
    let of = |domain: &str, outcome: &str| {
        let labels = format!("domain=\"{domain}\",outcome=\"{outcome}\"");
        value(&text, &format!("ringpost_domain_recipients_total{{{labels}}}"))
    };
    assert_eq!(of("yes.example", "delivered"), 2.0);
    assert_eq!(of("later.example", "deferred"), 1.0);
    assert_eq!(of("no.example", "failed"), 1.0);
    assert_eq!(of("(other)", "delivered"), 0.0);
    for stage in ["accept", "sync", "queue", "connect", "deliver", "end_to_end"] {
        let count = format!("ringpost_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert!(value(&text, &count) >= 1.0, "{stage}");
    }
    let shown = run(&mut daemon.verb(&["status"]), "ringpost");
    assert!(shown.contains("latency.end_to_end.p99_us"), "{shown}");
    assert!(value(&text, "ringpost_shard_busy_seconds_total{shard=\"0\"}") > 0.0);
    assert!(value(&text, "ringpost_log_bytes") > 0.0);
}

/// Mail for 100 000 domains waits: a scrape is as long as one for a hundred,
/// and all of the mail is in its sums. How long it took is printed.
///
/// Shows: A86
#[test]
fn a_scrape_stays_small_with_a_hundred_thousand_domains() {
    let daemon = Daemon::start(Config::new().with_default_sizes());
    run(&mut daemon.verb(&["delivery", "stop"]), "ringpost");
    let mut client = Client::greet(daemon.address());
    for block in 0..100 {
        let to: Vec<String> = (0..1_000).map(|n| format!("a@d{block}-{n}.example")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let reply = client.send(FROM, &to, &text_to(FROM, &to[..1]));
        assert_eq!(reply.code, 250, "{}", reply.text);
    }
    let waiting = |text: &str| -> f64 {
        let states = ["ready", "deferred", "in_flight", "held"];
        let series = |state| format!("ringpost_queue_recipients{{state=\"{state}\"}}");
        states.map(|state| value(text, &series(state))).iter().sum()
    };
    let text = until("all mail to be queued", PATIENCE, || {
        Some(scrape(&daemon)).filter(|text| waiting(text) == 100_000.0)
    });
    let began = Instant::now();
    let again = scrape(&daemon);
    println!("a scrape with 100 000 domains: {} bytes, {:?}", again.len(), began.elapsed());
    let began = Instant::now();
    let shape = daemon.show("/v1/queue?by=domain&limit=50");
    println!("its table of ages by domain: {:?}", began.elapsed());
    assert_eq!(shape["domains"].as_array().map(Vec::len), Some(50));
    assert!(text.len() < 1_000_000, "{}", text.len());
    let domains: f64 = text
        .lines()
        .filter(|line| line.starts_with("ringpost_domain_queue_recipients{"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum();
    assert_eq!(domains, 100_000.0);
}

/// One request over TCP; the answer with its head.
fn over_port(port: u16, request: &str) -> String {
    asked_as(port, request, "Host: x")
}

/// The same with other fields.
fn asked_as(port: u16, request: &str, fields: &str) -> String {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time");
    let text = format!("{request} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The port answers three questions and no others, follows the configuration,
/// and is never opened to others unless that is said.
///
/// Shows: A86, A94
/// Covers: B95
#[test]
fn the_port_for_scrapes_answers_three_questions() {
    let (port, other) = (free_port(), free_port());
    let listen = |port: u16| format!("\"127.0.0.1:{port}\"");
    let base = Config::new();
    let mut daemon = Daemon::start(base.clone().set("metrics", "listen", &listen(port)));
    let metrics = over_port(port, "GET /metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("Content-Type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nringpost_ready 1\n"), "{metrics}");
    assert!(over_port(port, "GET /health").contains("\"alive\":true"));
    let ready = over_port(port, "GET /ready");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("\"ready\":true"), "{ready}");
    for refused in ["GET /v1/status", "GET /", "GET /v1/metrics", "GET /metrics/x"] {
        assert!(over_port(port, refused).starts_with("HTTP/1.1 404"), "{refused}");
    }
    for refused in ["POST /metrics", "POST /v1/queue/remove", "DELETE /ready"] {
        assert!(over_port(port, refused).starts_with("HTTP/1.1 405"), "{refused}");
    }
    // A page of anybody's that has a browser here ask by a name bent to this port
    // once read where mail goes; scrapers say any name, and browsers ours.
    let bent = |fields: &str| asked_as(port, "GET /metrics", fields);
    assert!(bent("Host: bent.example").starts_with("HTTP/1.1 200"));
    let browser = "Accept-Language: de\r\nHost: ";
    assert!(bent(&format!("{browser}localhost:{port}")).starts_with("HTTP/1.1 200"));
    for bent in [bent(&format!("{browser}bent.example:{port}")), bent("Origin: null")] {
        assert!(bent.starts_with("HTTP/1.1 403") && !bent.contains("ringpost_"), "{bent}");
    }
    daemon.configure(base.set("metrics", "listen", &listen(other)));
    daemon.process().signal(rustix::process::Signal::HUP);
    until("the port to move", PATIENCE, || {
        let address = SocketAddr::from(([127, 0, 0, 1], other));
        TcpStream::connect(address).is_ok().then_some(())
    });
    assert!(over_port(other, "GET /ready").contains("\"ready\":true"));
    assert!(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_err());
    let open = Config::new().set("metrics", "listen", "\"0.0.0.0:9\"").text();
    let file = daemon.scratch().write("open.toml", &open);
    let mut check = std::process::Command::new(tests::ringpost());
    let output = check.arg("check").arg(file).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("others reach"), "{said}");
}
