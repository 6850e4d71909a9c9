//! Control from elsewhere: verbs, curl and openssl at the port of a daemon that
//! asks everybody for a certificate, and what becomes of those who have none, or
//! the wrong one, or all the time in the world.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::{SinkSettings, Sinks};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::config::free_port;
use crate::support::process::{Scratch, guarded, run};
use crate::support::{Config, Daemon, PATIENCE, submit, until};

/// A daemon whose port takes certificates of an authority in its folder, where
/// those of clients lie, too.
struct Controlled {
    daemon: Daemon,
    port: u16,
}

/// Makes certificates in `folder`.
fn remote_key(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(tests::ringpost());
    command.arg("remote-key").arg(folder).args(words);
    command.output().expect("the program runs")
}

impl Controlled {
    fn start(config: Config) -> Self {
        let port = free_port();
        let daemon = Daemon::prepare(
            config
                .set("control", "listen", &format!("[\"127.0.0.1:{port}\"]"))
                .set("control", "certificate", "\"server.pem\"")
                .set("control", "key", "\"server.key\"")
                .set("control", "client_authority", "\"authority.pem\""),
        );
        let mut controlled = Self { daemon, port };
        let made = remote_key(controlled.folder(), &["--host", "localhost", "--client", "ann"]);
        assert!(made.status.success(), "{made:?}");
        controlled.daemon.launch();
        controlled
    }

    fn folder(&self) -> &Path {
        self.daemon.scratch().path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A verb by the port, with ann's certificate unless another is given.
    fn verb(&self, words: &[&str]) -> Command {
        self.verb_of(words, "localhost", "authority.pem", "ann")
    }

    fn verb_of(&self, words: &[&str], host: &str, ca: &str, client: &str) -> Command {
        let mut command = guarded(tests::ringpost());
        command.env("HOME", self.folder()).env_remove("XDG_CONFIG_HOME");
        command.args(words).arg("--host").arg(format!("{host}:{}", self.port));
        command.arg("--ca").arg(self.file(ca));
        command.arg("--certificate").arg(self.file(&format!("{client}.pem")));
        command.arg("--key").arg(self.file(&format!("{client}.key")));
        command
    }

    /// What a verb prints, which must succeed.
    fn told(&self, words: &[&str]) -> String {
        let output = self.verb(words).output().expect("the program runs");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("it speaks UTF-8")
    }

    /// curl at the port.
    fn curl(&self, target: &str, client: Option<&str>) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "30"]).arg("--cacert").arg(self.file("authority.pem"));
        curl.args(["--resolve", &format!("localhost:{}:127.0.0.1", self.port)]);
        if let Some(client) = client {
            curl.arg("--cert").arg(self.file(&format!("{client}.pem")));
            curl.arg("--key").arg(self.file(&format!("{client}.key")));
        }
        curl.arg(format!("https://localhost:{}{target}", self.port));
        curl
    }

    /// What a client of OpenSSL says of a handshake.
    fn handshake(&self, version: &str) -> (bool, String) {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &format!("127.0.0.1:{}", self.port), version]);
        openssl.args(["-servername", "localhost", "-verify_return_error", "-CAfile"]);
        openssl.arg(self.file("authority.pem")).arg("-cert").arg(self.file("ann.pem"));
        openssl.arg("-key").arg(self.file("ann.key")).stdin(Stdio::null());
        let output = openssl.output().expect("openssl runs; apt-get install openssl");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn refused_with(&self, words: &str) -> Value {
        self.daemon.until_logged(words, |line| {
            let error = line["error"].as_str().unwrap_or_default();
            line["event"] == "control-refused" && error.contains(words)
        })
    }

    /// Puts a setting of the section in force, over the control socket.
    fn set(&self, key: &str, value: &str) {
        let path = format!("control.{key}");
        let edits = json!({ "edits": [{ "set": { "path": path, "value": value } }] });
        let (status, said) = self.daemon.ask("POST", "/v1/config/edit", &edits.to_string());
        assert_eq!(status, 200, "{said}");
        let (status, said) = self.daemon.ask("POST", "/v1/config/commit", "{}");
        assert_eq!(status, 200, "{said}");
    }
}

/// How a verb failed: exit code and words.
fn failed(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Both sides prove themselves, or nothing is said; and whoever was refused
/// hears why.
#[test]
fn nobody_is_heard_without_a_certificate_of_the_authority() {
    let mut controlled = Controlled::start(Config::new());
    let status = run(&mut controlled.curl("/v1/status", Some("ann")), "curl");
    assert!(status.contains("\"uptime_ms\""), "{status}");
    assert!(controlled.told(&["status"]).contains("uptime_ms"));
    for version in ["-tls1_2", "-tls1_3"] {
        let (good, said) = controlled.handshake(version);
        assert!(good && said.contains("Verify return code: 0"), "{version}: {said}");
    }
    assert!(!controlled.handshake("-tls1_1").0, "TLS 1.1 is too old");

    // Without a certificate, and with one of another authority.
    let (code, said) = failed(&mut controlled.curl("/v1/status", None));
    assert!(code != Some(0) && said.contains("alert"), "{said}");
    let line = controlled.refused_with("shows no certificate");
    assert_eq!(line["client"], "127.0.0.1");
    let other = controlled.file("other");
    assert!(remote_key(&other, &["--host", "localhost", "--client", "eve"]).status.success());
    let (code, said) = failed(&mut controlled.curl("/v1/status", Some("other/eve")));
    assert!(code != Some(0) && said.contains("alert"), "{said}");
    controlled.refused_with("another authority made it");
    let (code, said) =
        failed(&mut controlled.verb_of(&["status"], "localhost", "authority.pem", "other/eve"));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("refuses our certificate") && said.contains("eve.pem"), "{said}");

    // A host that is not the one that was meant.
    let (code, said) =
        failed(&mut controlled.verb_of(&["status"], "localhost", "other/authority.pem", "ann"));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("did not make"), "{said}");
    let (code, said) =
        failed(&mut controlled.verb_of(&["status"], "127.0.0.1", "authority.pem", "ann"));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("not valid for name"), "{said}");
    // One that is none.
    let (code, said) =
        failed(&mut controlled.verb_of(&["status"], "localhost", "authority.pem", "x"));
    assert!(code == Some(2) && said.contains("x.pem"), "{said}");
    assert!(controlled.daemon.terminate().success(), "it ends in order");
}

/// Ann's acts are hers: in the log, in the history, in what is not committed.
#[test]
fn who_acts_from_elsewhere_is_known_by_certificate() {
    let controlled = Controlled::start(Config::new());
    let bob = remote_key(controlled.folder(), &["--client", "bob"]);
    assert!(bob.status.success(), "{bob:?}");
    controlled.told(&["config", "set", "dns.attempts", "7"]);
    let by_bob = ["config", "diff"];
    let mut by_bob = controlled.verb_of(&by_bob, "localhost", "authority.pem", "bob");
    assert_eq!(run(&mut by_bob, "ringpost"), "", "what ann has not committed is hers alone");
    controlled.told(&["config", "commit", "--comment", "seven"]);
    let latest = &controlled.daemon.show("/v1/revisions")["revisions"][0];
    assert_eq!((&latest["origin"], &latest["certificate"]), (&json!("remote"), &json!("CN=ann")));
    let history = controlled.told(&["config", "history"]);
    assert!(history.contains("remote CN=ann") && history.contains("seven"), "{history}");
    let line = controlled.daemon.until_logged("the commit", |line| line["what"] == "committed");
    assert_eq!(line["certificate"], "CN=ann");
    let line = controlled.daemon.until_logged("the request", |line| line["event"] == "control");
    assert_eq!((&line["certificate"], &line["client"]), (&json!("CN=ann"), &json!("127.0.0.1")));
    // It is still known after a start.
    let mut controlled = controlled;
    controlled.daemon.crash();
    let latest = &controlled.daemon.show("/v1/revisions")["revisions"][0];
    assert_eq!(latest["certificate"], "CN=ann");
}

/// Names and certificates change while it runs, and the port with them.
#[test]
fn settings_and_certificates_hold_for_the_next_client() {
    let controlled = Controlled::start(Config::new());
    assert!(remote_key(controlled.folder(), &["--client", "bob"]).status.success());
    let status = |client| run(&mut controlled.curl("/v1/status", Some(client)), "curl");
    assert!(status("ann").contains("uptime_ms") && status("bob").contains("uptime_ms"));
    controlled.set("names", "[\"bob\"]");
    let (code, said) =
        failed(&mut controlled.verb_of(&["status"], "localhost", "authority.pem", "ann"));
    assert!(code == Some(5) && said.contains("its name is not among those that may"), "{said}");
    controlled.refused_with("its name is not among those that may");
    assert!(status("bob").contains("uptime_ms"));

    // New certificates in the same files, read again with the configuration.
    let before = controlled.daemon.show("/v1/credentials")["certificates"].clone();
    assert!(before.to_string().contains("server.pem"), "{before}");
    let shown = |said: String| {
        let begin = said.find("-----BEGIN").expect("a certificate is shown");
        said[begin..].split("-----END").next().unwrap_or_default().to_owned()
    };
    controlled.set("names", "[]");
    let old = shown(controlled.handshake("-tls1_3").1);
    let renewed = ["--host", "localhost", "--client", "ann", "--renew"];
    assert!(remote_key(controlled.folder(), &renewed).status.success());
    controlled.daemon.process().signal(Signal::HUP);
    until("the new certificate", PATIENCE, || {
        (shown(controlled.handshake("-tls1_3").1) != old).then_some(())
    });
    assert!(status("ann").contains("uptime_ms"));

    // Another port, and none.
    let port = free_port();
    controlled.set("listen", &format!("[\"127.0.0.1:{port}\"]"));
    let moved = Controlled { port, ..controlled };
    until("the port at its new place", PATIENCE, || {
        moved.verb(&["status"]).output().expect("it runs").status.success().then_some(())
    });
    moved.set("listen", "[]");
    until("no port", PATIENCE, || {
        (failed(&mut moved.verb(&["status"])).0 == Some(3)).then_some(())
    });
}

/// Whose certificate was lost is shut out at once, connected as they may be: they
/// once stayed for as long as they kept asking, and could let themselves in again.
#[test]
fn who_may_not_any_more_is_not_heard_on_a_connection_that_stands_either() {
    let controlled = Controlled::start(Config::new());
    assert!(remote_key(controlled.folder(), &["--client", "bob"]).status.success());
    let mut openssl = guarded("openssl");
    openssl.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", controlled.port)]);
    openssl.arg("-CAfile").arg(controlled.file("authority.pem"));
    openssl.arg("-cert").arg(controlled.file("ann.pem")).arg("-key");
    openssl.arg(controlled.file("ann.key")).stderr(Stdio::null());
    let mut ann = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("openssl");
    let (mut asks, hears) = (ann.stdin.take().expect("a pipe"), ann.stdout.take().expect("one"));
    let mut hears = BufReader::new(hears);
    let mut status = || {
        asks.write_all(b"GET /v1/health HTTP/1.1\r\n\r\n").expect("it listens");
        let mut head = vec![String::new()];
        while head.last().is_none_or(|line| line != "\r\n") {
            let mut line = String::new();
            assert!(hears.read_line(&mut line).is_ok_and(|count| count > 0), "{head:?}");
            head.push(line);
        }
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.expect("it says").trim().parse().expect("a number")];
        hears.read_exact(&mut body).expect("the body comes");
        head[1].split(' ').nth(1).expect("a status").to_owned()
    };
    let mut follows = controlled.curl("/v1/log/stream?follow=true", Some("ann"));
    let follows = follows.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut follows = follows.expect("curl runs");
    assert_eq!((status(), status()), ("200".into(), "200".into()));
    // Of others who still may, nothing changes for them.
    controlled.set("names", "[\"ann\", \"bob\"]");
    assert_eq!(status(), "200");
    controlled.set("names", "[\"bob\"]");
    assert_eq!(status(), "403");
    let mut rest = Vec::new();
    assert_eq!(hears.read_to_end(&mut rest).expect("the connection ends"), 0, "{rest:?}");
    // What broke off is not taken for the end of the log.
    assert_eq!(follows.wait().expect("it ends").code(), Some(18));
    ann.wait().expect("it ends");
}

/// The log as it grows, a session as it goes, one screen, a bundle: all of it
/// from elsewhere.
#[test]
fn what_goes_on_is_seen_from_elsewhere() {
    let sinks = Sinks::start(SinkSettings::default()).expect("a sink can be started");
    let controlled = Controlled::start(Config::relay(sinks.first()));
    let started = |words: &[&str]| {
        let mut command = controlled.verb(words);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
        let out = child.stdout.take().expect("it is piped");
        (child, BufReader::new(out).lines())
    };
    let (mut tail, lines) = started(&["log", "tail", "--follow", "--event", "delivered"]);
    let (mut live, seen) = started(&["trace", "live", "--in", "-n", "3", "--json"]);
    until("somebody attached", PATIENCE, || {
        let detail = controlled.daemon.show("/v1/detail");
        (detail["detail"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    submit(controlled.daemon.address(), "a@source.example", &["b@d001.example"]);
    let line = lines.map_while(Result::ok).next().expect("the delivery is told");
    let line: Value = serde_json::from_str(&line).expect("a line of the log");
    assert_eq!((&line["event"], &line["to"]), (&json!("delivered"), &json!("b@d001.example")));
    assert_eq!(seen.map_while(Result::ok).count(), 3, "it ends by itself");
    tail.kill().expect("it is a child");
    tail.wait().expect("it is a child");
    live.wait().expect("it is a child");

    let id = line["id"].as_str().expect("each delivery has one");
    let life = controlled.told(&["trace", id, "--sessions", "--json"]);
    for event in ["accepted", "attempt", "delivered"] {
        assert!(life.contains(&format!("\"event\":\"{event}\"")), "{event}: {life}");
    }
    let found = controlled.told(&["log", "search", "--address", "b@d001.example"]);
    assert!(found.contains(id), "{found}");
    let nothing = ["log", "search", "--address", "z@d001.example"];
    assert_eq!(failed(&mut controlled.verb(&nothing)).0, Some(1));
    assert!(controlled.told(&["top", "--once"]).contains("ringpost"), "one screen");
    let bundle = controlled.told(&["support", "bundle", "-"]);
    let bundle: Value = serde_json::from_str(&bundle).expect("it is JSON");
    assert!(bundle["parts"]["status"]["messages"].is_u64(), "{bundle}");
    // By a file of the user's own, as `remote-key` leaves it.
    let mut verb = guarded(tests::ringpost());
    verb.arg("status").env("RINGPOST_REMOTE", controlled.file("remote.conf"));
    verb.env("RINGPOST_HOST", format!("localhost:{}", controlled.port));
    assert!(run(&mut verb, "ringpost").contains("uptime_ms"));
}

/// Strangers who connect and say nothing keep nobody else out, and fill no log.
#[test]
fn strangers_keep_nobody_out_and_fill_no_log() {
    let controlled = Controlled::start(Config::new());
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, controlled.port));
    let mut silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(at).expect("it listens")).collect();
    // All but a few of one address are closed at once.
    until("those beyond the bound", PATIENCE, || {
        let is_closed = |stream: &mut TcpStream| {
            stream.set_nonblocking(true).is_ok() && matches!(stream.read(&mut [0; 8]), Ok(0))
        };
        let closed = silent.iter_mut().filter_map(|it| is_closed(it).then_some(())).count();
        (closed >= 30).then_some(())
    });
    let mut curl = controlled.curl("/v1/status", Some("ann"));
    curl.args(["--interface", "127.0.0.2"]);
    assert!(run(&mut curl, "curl").contains("uptime_ms"), "from another address");
    controlled.refused_with("too many handshakes");
    controlled.daemon.until_log_is_written();
    let told = controlled.daemon.events("control-refused").len();
    assert!(told <= 20, "{told} lines about 40 strangers");
    // Those that were let begin are not waited for without end.
    for stream in &mut silent {
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
        let rest = stream.read(&mut [0; 8]);
        assert!(!matches!(&rest, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
    }
}

/// So many clients at once and no more; the next one is told.
#[test]
fn clients_beyond_the_bound_are_told_so() {
    let controlled = Controlled::start(Config::new());
    let mut attached: Vec<_> = (0..32)
        .map(|_| {
            let mut curl = controlled.curl("/v1/log/stream?follow=true", Some("ann"));
            curl.arg("--no-buffer").stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = curl.spawn().expect("curl runs");
            let mut first = [0; 1];
            let out = child.stdout.as_mut().expect("it is piped");
            assert!(out.read(&mut first).is_ok_and(|count| count == 1), "it is served");
            child
        })
        .collect();
    let refused = run(&mut controlled.curl("/v1/status", Some("ann")), "curl");
    assert!(refused.contains("too many connections"), "{refused}");
    for mut child in attached.drain(..) {
        child.kill().expect("it is a child");
        child.wait().expect("it is a child");
    }
    until("room again", PATIENCE, || {
        let said = run(&mut controlled.curl("/v1/status", Some("ann")), "curl");
        said.contains("uptime_ms").then_some(())
    });
}

/// A certificate and a key that do not go together are refused before anything
/// changes: at a start, and as a change.
#[test]
fn what_cannot_be_used_is_refused_whole() {
    let controlled = Controlled::start(Config::new());
    let edits = json!({ "edits": [{ "set": { "path": "control.key", "value": "\"ann.key\"" } }] });
    let (status, _) = controlled.daemon.ask("POST", "/v1/config/edit", &edits.to_string());
    assert_eq!(status, 200);
    let (status, said) = controlled.daemon.ask("POST", "/v1/config/commit", "{}");
    assert!(status == 422 && said.to_string().contains("cannot be used"), "{said}");
    assert!(controlled.told(&["status"]).contains("uptime_ms"), "as before");
}

/// The same for what a relay host is shown: it was once taken, and then the
/// daemon could neither go on nor start again.
#[test]
fn a_certificate_for_a_relay_that_cannot_be_used_is_refused_as_a_change() {
    let mut daemon = Daemon::start(Config::new());
    let scratch = Scratch::new();
    assert!(remote_key(scratch.path(), &["--host", "localhost"]).status.success());
    let file = |name: &str| scratch.join(name).display().to_string();
    let hosts = format!(
        "[{{ host = \"relay.example\", certificate = \"{}\", key = \"{}\" }}]",
        file("server.pem"),
        file("operator.key")
    );
    let set = |path: &str, value: &str| json!({ "set": { "path": path, "value": value } });
    let edits =
        json!({ "edits": [set("delivery.mode", "\"relay\""), set("delivery.hosts", &hosts)] });
    assert_eq!(daemon.ask("POST", "/v1/config/edit", &edits.to_string()).0, 200);
    let (status, said) = daemon.ask("POST", "/v1/config/commit", "{}");
    assert!(status == 422 && said.to_string().contains("cannot be used"), "{said}");
    daemon.crash();
    assert_eq!(daemon.show("/v1/config")["revision"], 1);
}
