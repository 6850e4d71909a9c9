//! A link that is raised on demand, by scripts that an operator might write: the
//! relay can only be reached once the first has run, and not any more once the
//! second has.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::config::free_port;
use crate::support::process::{Scratch, installed};
use crate::support::{Config, Daemon, PATIENCE, submit, until};

/// A relay that scripts start and end; ended with its guard too.
struct Line {
    scratch: Scratch,
    port: u16,
}

impl Line {
    fn new() -> Self {
        Self { scratch: Scratch::new(), port: free_port() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.scratch.write(name, &format!("#!/bin/bash\n{text}"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is our own");
        path.display().to_string()
    }

    /// Starts the relay unless it runs, and ends once it listens. Fails while
    /// there is no carrier.
    fn raise(&self) -> String {
        let sink = installed("smtp-sink", "postfix");
        let (dump, pid) = (self.scratch.open_folder("dump").join("all"), self.at("pid"));
        let (log, carrier) = (self.at("said"), self.at("carrier"));
        let (sink, dump, pid) = (sink.display(), dump.display(), pid.display());
        let (log, carrier, port) = (log.display(), carrier.display(), self.port);
        self.script(
            "raise",
            &format!(
                "echo raise >> {log}\n\
                 if [ ! -e {carrier} ]; then echo 'NO CARRIER' >&2; exit 3; fi\n\
                 if [ ! -e {pid} ]; then\n\
                 {sink} -u postfix -D {dump} 127.0.0.1:{port} 100 > /dev/null 2>&1 &\n\
                 echo $! > {pid}\n\
                 fi\n\
                 until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2> /dev/null; do sleep 0.02; done\n"
            ),
        )
    }

    /// Ends the relay, and is over once nobody listens.
    fn lower(&self) -> String {
        let (log, pid) = (self.at("said"), self.at("pid"));
        let (log, pid) = (log.display(), pid.display());
        let port = self.port;
        self.script(
            "lower",
            &format!(
                "echo lower >> {log}\n\
                 kill $(< {pid}) && rm {pid}\n\
                 while (exec 3<>/dev/tcp/127.0.0.1/{port}) 2> /dev/null; do sleep 0.02; done\n"
            ),
        )
    }

    fn said(&self) -> Vec<String> {
        let text = fs::read_to_string(self.at("said")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn restore(&self) {
        self.scratch.write("carrier", "");
    }

    fn config(&self, more: &str) -> Config {
        let (raise, lower) = (self.raise(), self.lower());
        let source = format!(
            "name = \"line\"\non_demand = {{ raise = \"{raise}\", lower = [\"{lower}\"], \
             idle = \"2s\", retry = \"1s\"{more} }}"
        );
        Config::relay(([127, 0, 0, 1], self.port).into())
            .table("source", &source)
            .set("delivery", "source", "\"line\"")
    }

    fn is_up(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.at("pid")).unwrap_or_default();
        let pid = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn state(daemon: &Daemon) -> String {
    daemon.show("/v1/status")["links"][0]["state"].as_str().unwrap_or_default().to_owned()
}

fn until_state(daemon: &Daemon, wanted: &str) {
    until(&format!("the link to be {wanted}"), PATIENCE, || {
        (state(daemon) == wanted).then_some(())
    });
}

fn dumped(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("dump/all")).unwrap_or_default();
    text.matches("X-Rcpt-Args: ").count()
}

/// Mail waits, the link is raised, mail is sent, the link is lowered; and again.
///
/// Shows: S0.6, S2.25
#[test]
fn mail_raises_a_link_that_is_lowered_again() {
    let line = Line::new();
    line.restore();
    let daemon = Daemon::start(line.config(", recipients = 3, wait = \"1h\""));
    for n in 0..2 {
        submit(daemon.address(), "a@source.example", &[&format!("b{n}@d001.example")]);
    }
    let rows = until("the reason", PATIENCE, || {
        let rows = daemon.list("");
        rows.iter().all(|row| row["suspended"].is_string()).then_some(rows)
    });
    let words = "waits for the link line: down; it is raised for 3 recipients, or when the first \
                 has waited 1h";
    assert_eq!((rows.len(), &rows[0]["suspended"]), (2, &words.into()));
    let told = daemon.show("/v1/explain?address=b0@d001.example");
    assert_eq!((&told["blocker"], &told["link"]["state"]), (&words.into(), &"down".into()));
    assert!(line.said().is_empty() && !line.is_up());
    submit(daemon.address(), "a@source.example", &["b2@d001.example"]);
    for n in 0..3 {
        let history = daemon.until_settled(&format!("b{n}@d001.example"), 1);
        assert_eq!((history[0].event.as_str(), history[0].attempt), ("delivered", 1));
    }
    until_state(&daemon, "down");
    assert!(!line.is_up());
    assert_eq!(
        (line.said(), dumped(line.scratch.path())),
        (vec!["raise".into(), "lower".into()], 3)
    );
    // One by itself has time, unless an operator has none.
    submit(daemon.address(), "a@source.example", &["c@d001.example"]);
    assert_eq!(daemon.act("flush", r#"{"all": true}"#), 1);
    assert_eq!(daemon.until_settled("c@d001.example", 1)[0].event, "delivered");
    until_state(&daemon, "down");
    assert_eq!(line.said(), ["raise", "lower", "raise", "lower"]);
}

/// Shows: S0.6
#[test]
fn a_link_that_cannot_be_raised_holds_mail_and_says_why() {
    let line = Line::new();
    let daemon = Daemon::start(line.config(""));
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    let why = "exit status 3: NO CARRIER";
    let failed = |line: &serde_json::Value| line["link"] == "failed" && line["reason"] == why;
    daemon.until_logged("the failure", failed);
    // It is tried again and again; between two tries it says so.
    let told = until("the reason", PATIENCE, || {
        let told = daemon.verb(&["explain", "b@d001.example"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        told.contains(why).then_some(told)
    });
    assert!(told.contains("waits for the link line"), "{told}");
    until("the reason", PATIENCE, || {
        let (_, told) = daemon.ask("POST", "/v1/diagnose", r#"{"address": "b@d001.example"}"#);
        let link = |step: &&serde_json::Value| step["step"] == "link";
        let step = told["steps"].as_array()?.iter().find(link).cloned()?;
        step["said"].as_str()?.contains(why).then_some(())
    });
    until("a second try", PATIENCE, || (line.said().len() > 1).then_some(()));
    assert!(daemon.history("b@d001.example").is_empty(), "nothing was tried");
    assert_eq!(daemon.waiting(), 1);
    line.restore();
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!((history[0].event.as_str(), history[0].attempt), ("delivered", 1));
}

/// A stop lowers the link. After a crash it stays as it is, and is raised once
/// more before anything leaves.
///
/// Shows: S0.6
#[test]
fn a_stop_lowers_the_link_and_a_crash_leaves_it() {
    let line = Line::new();
    line.restore();
    let mut daemon = Daemon::start(line.config("").set("delivery", "idle", "\"1h\""));
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    assert_eq!(daemon.until_settled("b@d001.example", 1)[0].event, "delivered");
    assert_eq!(state(&daemon), "up", "a connection keeps it up");
    daemon.crash();
    assert!(line.is_up());
    assert_eq!(state(&daemon), "down", "as far as it knows");
    submit(daemon.address(), "a@source.example", &["c@d001.example"]);
    assert_eq!(daemon.until_settled("c@d001.example", 1)[0].event, "delivered");
    assert!(daemon.terminate().success());
    assert_eq!(line.said(), ["raise", "raise", "lower"]);
    assert!(!line.is_up());
}
