//! The real Prometheus reads the daemon: its checker finds nothing to object
//! to, the rules that come with the daemon load, and an alert of theirs fires
//! and clears.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use harness::{SinkSettings, Sinks};
use serde_json::Value;

use crate::support::config::free_port;
use crate::support::process::{Process, Scratch, guarded, installed, run};
use crate::support::{Config, Daemon, PATIENCE, submit, until, wait};

const RULES: &str = "docs/monitoring/ringpost.rules.yml";

/// A running Prometheus.
struct Prometheus {
    address: SocketAddr,
    process: Process,
    _scratch: Scratch,
}

impl Prometheus {
    /// Reads the daemon at `port` each second, by the rules that come with it,
    /// which wait a second instead of minutes.
    fn start(port: u16) -> Self {
        let program = installed("prometheus", "prometheus");
        let scratch = Scratch::new();
        let rules =
            fs::read_to_string(tests::workspace().join(RULES)).expect("the rules are there");
        let hasty = |line: &str| match line.trim_start().starts_with("for: ") {
            true => "        for: 1s".to_owned(),
            false => line.to_owned(),
        };
        let rules: Vec<String> = rules.lines().map(hasty).collect();
        let rules = scratch.write("rules.yml", &rules.join("\n"));
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: ringpost\n    static_configs:\n\
             \x20     - targets: [\"127.0.0.1:{port}\"]\n",
            rules.display()
        );
        let config = scratch.write("prometheus.yml", &config);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = guarded(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", scratch.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::start("prometheus", scratch.path(), &mut command).ended_kindly();
        Self { address, process, _scratch: scratch }
    }

    /// What it answers at a path; nothing while it does not answer.
    fn ask(&self, target: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // HTTP/1.0, so that the answer comes in one piece.
        write!(stream, "GET {target} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// The value of an expression that has one.
    fn value(&self, expression: &str) -> Option<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.ask(&format!("/api/v1/query?query={encoded}"))?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Whether an alert fires.
    fn fires(&self, name: &str) -> Option<bool> {
        let alerts = self.ask("/api/v1/alerts")?;
        let alerts = alerts["data"]["alerts"].as_array()?;
        let firing =
            |alert: &Value| alert["labels"]["alertname"] == name && alert["state"] == "firing";
        Some(alerts.iter().any(firing))
    }
}

/// Shows: A86
#[test]
fn prometheus_reads_the_daemon_and_an_alert_fires_and_clears() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let port = free_port();
    let listen = format!("\"127.0.0.1:{port}\"");
    let daemon = Daemon::start(Config::relay(sinks.first()).set("metrics", "listen", &listen));
    submit(daemon.address(), "a@from.example", &["b@to.example", "c@to.example"]);
    daemon.until_empty(PATIENCE);
    let (_, text) = daemon.ask("GET", "/v1/metrics", "");
    let text = text.as_str().expect("a text");
    let mut promtool = Command::new(installed("promtool", "prometheus"));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = promtool.stderr(Stdio::piped()).spawn().expect("it can be run");
    child.stdin.take().expect("it reads").write_all(text.as_bytes()).expect("it reads all");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    let mut check = Command::new(installed("promtool", "prometheus"));
    check.args(["check", "rules"]).arg(tests::workspace().join(RULES));
    assert!(run(&mut check, "prometheus").contains("SUCCESS"));

    let prometheus = Prometheus::start(port);
    let delivered = "sum(ringpost_recipients_total{outcome=\"delivered\"})";
    let explain = || prometheus.process.complained();
    let read = || prometheus.value(delivered).filter(|count| *count == 2.0);
    wait::until_or_explain("the numbers to be read", PATIENCE, read, explain);
    assert_eq!(prometheus.value("up{job=\"ringpost\"}"), Some(1.0));
    let site = "ringpost_domain_recipients_total{domain=\"to.example\",outcome=\"delivered\"}";
    assert_eq!(prometheus.value(site), Some(2.0));

    assert_eq!(prometheus.fires("RingpostSuspended"), Some(false));
    run(&mut daemon.verb(&["delivery", "stop"]), "ringpost");
    let fires = || prometheus.fires("RingpostSuspended").filter(|fires| *fires);
    wait::until_or_explain("the alert", PATIENCE, fires, explain);
    run(&mut daemon.verb(&["delivery", "start"]), "ringpost");
    until("the alert to clear", PATIENCE, || {
        prometheus.fires("RingpostSuspended").filter(|fires| !*fires)
    });
    let rules = prometheus.ask("/api/v1/rules").expect("it answers");
    let rules = rules["data"]["groups"][0]["rules"].as_array().expect("the rules are loaded");
    assert!(rules.len() >= 15 && rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
}
