//! Syslog and the journal: a real rsyslogd takes lines by UDP, TCP, TLS and its
//! local socket, a datagram socket stands for the journal, and a server that is
//! away gets everything when it is back.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use harness::{SinkSettings, Sinks};

use crate::support::config::free_port;
use crate::support::endpoint::self_signed;
use crate::support::process::{guarded, installed, run};
use crate::support::{Config, Daemon, PATIENCE, Process, submit, until};

const FROM: &str = "sender@from.example";

fn exchangers() -> Sinks {
    Sinks::start(SinkSettings::default()).expect("a sink can be started")
}

/// A server with its certificate, its ports and its file.
struct Rsyslog {
    udp: u16,
    tcp: u16,
    tls: u16,
}

impl Rsyslog {
    /// Its configuration: what comes by each way stands in `all.log`, as
    /// facility, severity, host, program, message id, structured data and text.
    fn prepare(folder: &Path) -> Self {
        let ports = Self { udp: free_port(), tcp: free_port(), tls: free_port() };
        let at = folder.display();
        self_signed(&folder.join("log.pem"), &folder.join("log.key"));
        let Self { udp, tcp, tls } = ports;
        let text = format!(
            "global(workDirectory=\"{at}\" maxMessageSize=\"64k\" \
             defaultNetstreamDriverCAFile=\"{at}/log.pem\" \
             defaultNetstreamDriverCertFile=\"{at}/log.pem\" \
             defaultNetstreamDriverKeyFile=\"{at}/log.key\")\n\
             module(load=\"imudp\")\nmodule(load=\"imtcp\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tcp}\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tls}\" streamDriver.name=\"gtls\" \
             streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n\
             input(type=\"imuxsock\" Socket=\"{at}/local\" CreatePath=\"off\" UseSysTimeStamp=\"off\")\n\
             template(name=\"whole\" type=\"string\" string=\"%syslogfacility-text% \
             %syslogseverity-text% %hostname% %app-name% %msgid% %structured-data% %msg%\\n\")\n\
             action(type=\"omfile\" file=\"{at}/all.log\" template=\"whole\")\n"
        );
        fs::write(folder.join("rsyslog.conf"), text).expect("the folder is our own");
        ports
    }

    fn launch(&self, folder: &Path) -> Process {
        let mut command = guarded(installed("rsyslogd", "rsyslog"));
        command.arg("-n").arg("-f").arg(folder.join("rsyslog.conf"));
        command.arg("-i").arg(folder.join("rsyslog.pid"));
        let process = Process::start("rsyslogd", folder, &mut command);
        until("rsyslogd to listen", PATIENCE, || {
            std::net::TcpStream::connect(("127.0.0.1", self.tls)).ok().map(drop)
        });
        process
    }
}

fn received(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("all.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn table(name: &str, to: &str, more: &str) -> String {
    format!("name = \"{name}\"\nto = \"{to}\"\nretry = \"1s\"\nevents = [\"delivered\"]\n{more}")
}

/// Covers: A15.1, A15.3, A15.4
/// Shows: A89
#[test]
fn rsyslog_takes_lines_by_each_of_its_ways() {
    let sinks = exchangers();
    let mut daemon = Daemon::prepare(Config::new());
    let folder = daemon.scratch().path().to_owned();
    let rsyslog = Rsyslog::prepare(&folder);
    let _server = rsyslog.launch(&folder);
    let at = folder.display();
    let ways = [
        ("udp", format!("udp://127.0.0.1:{}", rsyslog.udp), "local0"),
        ("tcp", format!("tcp://127.0.0.1:{}", rsyslog.tcp), "local1"),
        ("tls", format!("tls://localhost:{}", rsyslog.tls), "local2"),
        ("unix", format!("unix:{at}/local"), "mail"),
    ];
    let mut config = Config::relay(sinks.first());
    for (name, to, facility) in &ways {
        let more = format!("facility = \"{facility}\"\ntrust = \"{at}/log.pem\"");
        config = config.table("syslog", &table(name, to, &more));
    }
    daemon.configure(config);
    daemon.launch();
    submit(daemon.address(), FROM, &["x@a.example"]);
    daemon.until_empty(PATIENCE);
    let line = daemon.events("delivered").remove(0);
    let id = line["id"].as_str().expect("it has an id");
    for (name, _, facility) in &ways {
        let heard = until(name, PATIENCE, || {
            let start = format!("{facility} ");
            received(&folder).into_iter().find(|line| line.starts_with(&start))
        });
        // The machine's own socket gets the older form, which names no host.
        let (head, behind) = match *name {
            "unix" => (" ringpost - -", "- - "),
            _ => (" ringpost.example ringpost delivered [ringpost@32473 id=\"", "] "),
        };
        assert!(
            heard.starts_with(&format!("{facility} info")) && heard.contains(head),
            "{name}: {heard}"
        );
        assert!(*name == "unix" || heard.contains(&format!("id=\"{id}\"")), "{name}: {heard}");
        let (_, json) = heard.split_once(behind).expect("the line follows");
        let json: serde_json::Value = serde_json::from_str(json.trim()).expect("it is whole");
        assert_eq!(json, line, "{name}");
    }
    let rows = daemon.show("/v1/syslog");
    let rows = rows["syslog"].as_array().expect("a list");
    assert!(rows.len() == 4 && rows.iter().all(|row| row["events_lost"] == 0), "{rows:?}");
    let shown = run(&mut daemon.verb(&["syslog"]), "ringpost");
    assert!(shown.contains("tls://localhost") && shown.contains("written"), "{shown}");
}

/// A server that is away: mail goes on, and what happened meanwhile comes when
/// it is back.
///
/// Shows: A89
#[test]
fn a_syslog_server_that_is_away_gets_everything_when_it_is_back() {
    let sinks = exchangers();
    let mut daemon = Daemon::prepare(Config::new());
    let folder = daemon.scratch().path().to_owned();
    let rsyslog = Rsyslog::prepare(&folder);
    let to = format!("tcp://127.0.0.1:{}", rsyslog.tcp);
    daemon.configure(Config::relay(sinks.first()).table("syslog", &table("far", &to, "")));
    daemon.launch();
    let to: Vec<String> = (0..20).map(|n| format!("u{n}@a.example")).collect();
    to.iter().for_each(|to| submit(daemon.address(), FROM, &[&**to]));
    daemon.until_empty(PATIENCE);
    until("a failure", PATIENCE, || {
        let row = daemon.show("/v1/syslog")["syslog"][0].clone();
        (row["failures"].as_u64() > Some(0) && row["events_behind"].as_u64() > Some(0))
            .then_some(())
    });
    assert_eq!(sinks.progress().messages, 20);
    let _server = rsyslog.launch(&folder);
    let all = |lines: &Vec<String>| lines.len() >= 20;
    let lines = until("all lines", PATIENCE, || Some(received(&folder)).filter(all));
    for to in &to {
        let count = lines.iter().filter(|line| line.contains(&format!("\"{to}\""))).count();
        assert_eq!(count, 1, "{to}");
    }
}

/// The journal's own protocol, read as the journal reads it.
///
/// Shows: A89
#[test]
fn the_journal_gets_entries_with_a_field_for_each_of_ours() {
    let sinks = exchangers();
    let mut daemon = Daemon::prepare(Config::new());
    let path = daemon.scratch().join("journal");
    let journal = UnixDatagram::bind(&path).expect("the folder is our own");
    journal.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has a timeout");
    let to = format!("journal:{}", path.display());
    daemon.configure(Config::relay(sinks.first()).table("syslog", &table("own", &to, "")));
    daemon.launch();
    submit(daemon.address(), FROM, &["x@a.example"]);
    let mut entry = vec![0; 64 << 10];
    let length = journal.recv(&mut entry).expect("an entry comes");
    let text = String::from_utf8(entry[..length].to_vec()).expect("fields without line ends");
    let line = daemon.until_logged("the delivery", |line| line["event"] == "delivered");
    let id = line["id"].as_str().expect("it has an id");
    for field in
        ["PRIORITY=6", "SYSLOG_FACILITY=2", "SYSLOG_IDENTIFIER=ringpost", "RINGPOST_TO=x@a.example"]
    {
        assert!(text.lines().any(|line| line == field), "{field}: {text}");
    }
    assert!(text.contains(&format!("RINGPOST_ID={id}\n")), "{text}");
    assert!(text.starts_with("MESSAGE=delivered"), "{text}");
}
