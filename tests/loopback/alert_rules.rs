//! Each kind of alert, raised by its real cause and cleared by the end of it:
//! a relay, a site, a name server and a port that are gone and come back, mail
//! that is old or fails, a queue and a disk that fill up, a certificate that
//! ends. What the queue's size raises is in `alerts.rs`; a clock that is set is
//! in the runtime's own tests, for no story may set the machine's.

use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use harness::{NameServer, Rule, SinkSettings, Sinks, Stage, Zones};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::config::free_port;
use crate::support::mount::Mount;
use crate::support::postfix;
use crate::support::process::{Scratch, installed, run};
use crate::support::{Client, Config, Daemon, PATIENCE, submit, text_to, until, until_or_explain};

const RULES: [&str; 12] = [
    "queue_age",
    "queue_size",
    "queue_full",
    "failure_rate",
    "site_down",
    "route_down",
    "port_25",
    "disk_free",
    "certificate",
    "clock_step",
    "resolver",
    "lines_lost",
];

/// Nobody watches but by these rules, and those are quick.
fn watched(config: Config, rules: &[(&'static str, &str)]) -> Config {
    let limit = |rule: &str| rules.iter().find(|(known, _)| *known == rule);
    RULES
        .into_iter()
        .fold(config, |config, rule| {
            config.set("alerts", rule, limit(rule).map_or("\"none\"", |(_, limit)| *limit))
        })
        .set("alerts", "raise_after", "\"1s\"")
        .set("alerts", "clear_after", "\"1s\"")
}

/// The alerts that stand.
fn standing(daemon: &Daemon) -> Vec<Value> {
    daemon.show("/v1/alerts")["alerts"].as_array().cloned().unwrap_or_default()
}

/// Waits until an alert stands; what it says, and of what.
fn raised(daemon: &Daemon, rule: &str) -> (String, String) {
    let found = || standing(daemon).into_iter().find(|one| one["rule"] == rule);
    let row = until_or_explain(rule, PATIENCE, found, || daemon.show("/v1/status").to_string());
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("of"))
}

/// Waits until it is over, and was raised and cleared once.
fn cleared(daemon: &Daemon, rule: &str) {
    let over = || (!standing(daemon).iter().any(|one| one["rule"] == rule)).then_some(());
    until_or_explain(&format!("the end of {rule}"), PATIENCE, over, || {
        format!("{} {}", daemon.show("/v1/alerts"), daemon.show("/v1/status"))
    });
    let of_rule = |line: &&Value| line["alert"] == rule;
    daemon.until_logged("its end", |line| of_rule(&line) && line["turn"] == "cleared");
    let lines = daemon.events("alert");
    let turns: Vec<&Value> = lines.iter().filter(of_rule).map(|line| &line["turn"]).collect();
    assert_eq!(turns, ["raised", "cleared"], "{lines:?}");
}

fn sinks_at(addresses: Vec<IpAddr>, port: u16) -> Sinks {
    let settings = SinkSettings { addresses, port, ..SinkSettings::default() };
    Sinks::start(settings).expect("loopback addresses can be bound")
}

fn many(count: usize, domain: &str) -> Vec<String> {
    (0..count).map(|n| format!("u{n}@{domain}")).collect()
}

/// A message to every 30, without a sender, so that nothing comes back.
fn hand_in(daemon: &Daemon, to: &[String]) {
    for some in to.chunks(30) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        submit(daemon.address(), "", &some);
    }
}

/// The relay is gone: the route is down, by its name and with what was said,
/// and its site is not told of beside it; the queue is as full as it may be,
/// and its mail, which comes from another machine, is old. The relay comes
/// back.
///
/// Shows: S2.14
#[test]
fn a_relay_that_is_gone_an_old_queue_and_a_full_one_are_told() {
    let relay = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let rules = [
        ("route_down", "\"1s\""),
        ("site_down", "\"1s\""),
        ("queue_full", "\"50%\""),
        ("queue_age", "\"10m\""),
    ];
    let config = watched(Config::relay(relay), &rules).set("", "shards", "1");
    let daemon = Daemon::start(config.set("queue", "max_messages", "2"));
    hand_in(&daemon, &many(20, "a.example"));
    let (reason, of) = raised(&daemon, "route_down");
    assert_eq!(of, "default");
    assert!(reason.starts_with("none of its hosts has taken mail for so long: "), "{reason}");
    assert!(reason.contains("(limit 1s): cannot connect: "), "{reason}");
    let (reason, _) = raised(&daemon, "queue_full");
    assert_eq!(reason, "the queue is so full: 50% (limit 50%)");
    // The same mail, two hours older.
    let row = daemon.list("").remove(0);
    let id = row["id"].as_str().expect("a message has a name");
    let (_, file) = daemon.ask("GET", &format!("/v1/queue/{id}/file"), "");
    let file = file.as_str().expect("a message, not JSON");
    let (front, rest) = file.split_once("arrived=").expect("a file says when");
    let (_, rest) = rest.split_at(rest.find([';', '\r', '\n']).expect("a time has an end"));
    let mut date = Command::new(installed("date", "coreutils"));
    let ago = run(date.args(["-u", "-d", "2 hours ago", "+%Y-%m-%dT%H:%M:%S.000Z"]), "date");
    let (status, taken) =
        daemon.ask("POST", "/v1/queue/import", &format!("{front}arrived={}{rest}", ago.trim()));
    assert_eq!(status, 200, "{taken}");
    assert_eq!(daemon.act("remove", &format!("{{\"id\": \"{id}\"}}")), 20);
    let (reason, of) = raised(&daemon, "queue_age");
    assert_eq!(
        (&*reason, &*of),
        ("a quarter of the waiting mail is so old: 1h20m (limit 10m)", "")
    );
    let verb = run(&mut daemon.verb(&["alerts"]), "ringpost");
    assert!(verb.contains("route_down") && verb.contains("queue_age"), "{verb}");
    assert!(!verb.contains("site_down"), "one cause is told once: {verb}");
    let sinks = sinks_at(vec![relay.ip()], relay.port());
    assert!(sinks.wait_for(20, PATIENCE), "{:?}", sinks.progress());
    for rule in ["route_down", "queue_full", "queue_age"] {
        cleared(&daemon, rule);
    }
    assert!(daemon.events("alert").iter().all(|line| line["alert"] != "site_down"));
}

/// A site with much mail does not answer, then it does. The name server goes
/// and comes back.
///
/// Shows: S2.14
#[test]
fn a_site_and_a_name_server_that_are_gone_are_told() {
    let exchanger = IpAddr::from([127, 0, 21, 1]);
    let port = free_port();
    let mut zones = Zones::new().ttl(300, 1);
    for domain in ["gone.example", "new.example"] {
        zones.mx(domain, 10, "mx.gone.example");
    }
    zones.address("mx.gone.example", [127, 0, 21, 1]);
    let server = NameServer::start(zones.clone()).expect("a name server can be started");
    let address = server.address();
    let rules = [("site_down", "\"1s\""), ("route_down", "\"1s\""), ("resolver", "1")];
    let config = watched(Config::by_mx(address, port), &rules).set("", "shards", "1");
    let daemon = Daemon::start(config);
    hand_in(&daemon, &many(100, "gone.example"));
    let (reason, of) = raised(&daemon, "site_down");
    assert!(of.starts_with("mx:mx.gone.example"), "{of}");
    assert!(reason.starts_with("it has been down for so long: "), "{reason}");
    assert!(reason.contains("(limit 1s): cannot connect: "), "{reason}");
    let sinks = sinks_at(vec![exchanger], port);
    assert!(sinks.wait_for(100, PATIENCE), "{:?}", sinks.progress());
    cleared(&daemon, "site_down");
    drop(server);
    hand_in(&daemon, &many(1, "new.example"));
    let (reason, _) = raised(&daemon, "resolver");
    assert_eq!(reason, "no name server answers: 1 (limit 1)");
    let _server = NameServer::start_at(address.ip(), address.port(), zones).expect("it is back");
    cleared(&daemon, "resolver");
    assert!(sinks.wait_for(101, PATIENCE), "{:?}", sinks.progress());
    assert!(daemon.events("alert").iter().all(|line| line["alert"] != "route_down"));
}

/// Mail fails for good, and then much more of it does not; a certificate is
/// about to end and is renewed.
///
/// Shows: S2.14
#[test]
fn mail_that_fails_and_a_certificate_that_ends_are_told() {
    let sinks = sinks_at(vec![Ipv4Addr::LOCALHOST.into()], 0);
    let unknown = Rule::reply(Stage::Rcpt, "550 5.1.1 no such user here");
    sinks.set_rules(vec![unknown]);
    let rules = [("failure_rate", "\"25%\""), ("certificate", "\"14d\"")];
    let config = watched(Config::relay(sinks.first()), &rules).set(
        "submission",
        "tls",
        "{ certificate = \"cert.pem\", key = \"key.pem\" }",
    );
    let mut daemon = Daemon::prepare(config);
    postfix::certificate(daemon.scratch());
    daemon.launch();
    let (reason, of) = raised(&daemon, "certificate");
    assert!(of.ends_with("cert.pem"), "{of}");
    assert!(reason.starts_with("it is good for so long only: 1d23h"), "{reason}");
    // Before that it has looked at least once, so that these count.
    hand_in(&daemon, &many(60, "bad.example"));
    let (reason, of) = raised(&daemon, "failure_rate");
    assert_eq!((&*reason, &*of), ("so much mail fails for good: 100% (limit 25%)", ""));
    sinks.set_rules(Vec::new());
    hand_in(&daemon, &many(300, "good.example"));
    assert!(sinks.wait_for(300, PATIENCE), "{:?}", sinks.progress());
    cleared(&daemon, "failure_rate");
    postfix::certificate_for(daemon.scratch(), 400);
    daemon.process().signal(Signal::HUP);
    cleared(&daemon, "certificate");
}

/// The disk fills up to its last octet, so that the log loses lines, and is
/// emptied again.
///
/// Shows: S2.14
#[test]
fn a_full_disk_and_lost_lines_are_told() {
    let scratch = Scratch::new();
    let mount = Mount::tmpfs(&scratch.join("disk"), "size=80m");
    let rules = [("disk_free", "\"10MiB\""), ("lines_lost", "1")];
    let relay = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let config = watched(Config::relay(relay), &rules).set("", "shards", "1");
    let mut daemon = Daemon::prepare(config).with_data(&mount.path().join("data"));
    daemon.launch();
    let filler = mount.path().join("filler");
    let mut file = File::create(&filler).expect("there is room");
    while file.write_all(&[0; 4_096]).is_ok() {}
    // Each is a line of the log, which has room for a few yet.
    let lost = || {
        daemon.ask("POST", "/v1/queue/flush", r#"{"domain": "nowhere.invalid"}"#);
        standing(&daemon).into_iter().find(|one| one["rule"] == "lines_lost")
    };
    let lost = until("lines to be lost", PATIENCE, lost);
    let reason = lost["reason"].as_str().expect("it says why");
    assert!(reason.starts_with("the event log lost so many lines: "), "{reason}");
    let (reason, _) = raised(&daemon, "disk_free");
    assert!(reason.starts_with("so little is free on the disk: "), "{reason}");
    assert!(reason.ends_with("(limit 10MiB)"), "{reason}");
    drop(file);
    fs::remove_file(&filler).expect("it is our own");
    // What was raised went to a log without room.
    let over = || standing(&daemon).is_empty().then_some(());
    until_or_explain("the end of both", PATIENCE, over, || daemon.show("/v1/alerts").to_string());
    for rule in ["disk_free", "lines_lost"] {
        daemon.until_logged(rule, |line| line["alert"] == rule && line["turn"] == "cleared");
    }
    drop(daemon);
}

/// An address that drops every attempt to connect: its queue of connections
/// that nobody accepts is short, and full.
struct Silent {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("loopback addresses can be bound");
        rustix::net::listen(&listener, 0).expect("a listener may have a short queue");
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued: Vec<TcpStream> = (0..4).map_while(connect).collect();
        assert!(queued.len() < 4, "{address} still takes connections");
        Self { _listener: listener, _queued: queued }
    }
}

/// Whoever connects to port 25 of others hears nothing: one alert, and no mail
/// pays for it. The provider opens the port.
///
/// Shows: S0.11, S2.14
#[test]
fn a_blocked_port_25_is_told_once_and_costs_no_mail() {
    let hosts: Vec<IpAddr> = (1..=8).map(|host| IpAddr::from([127, 0, 22, host])).collect();
    let port = free_port();
    let silent: Vec<Silent> =
        hosts.iter().map(|host| Silent::at(SocketAddr::new(*host, port))).collect();
    let mut zones = Zones::new();
    for host in 1..=8 {
        let name = format!("mx.d{host}.example");
        zones.mx(&format!("d{host}.example"), 10, &name).address(&name, [127, 0, 22, host]);
    }
    let server = NameServer::start(zones).expect("a name server can be started");
    let config = watched(Config::by_mx(server.address(), port), &[("port_25", "5")])
        .set("", "shards", "1")
        .set("delivery", "timeout", "{ connect = \"1s\" }")
        .set("delivery", "max_attempts", "3");
    let daemon = Daemon::start(config);
    (1..=8).for_each(|host| hand_in(&daemon, &many(1, &format!("d{host}.example"))));
    let (reason, of) = raised(&daemon, "port_25");
    let words = "so many sites time out and none answers: port 25 looks blocked here: ";
    assert!(reason.starts_with(words) && reason.ends_with("(limit 5)"), "{reason}");
    assert_eq!(of, "", "it is one alert");
    // Those that were tried before it was clear are put off, and then wait, too.
    let blocked = || {
        let rows = daemon.list("");
        let why = |row: &Value| {
            let to = row["recipient"].as_str().expect("an address");
            let (_, answer) = daemon.ask("GET", &format!("/v1/why?of={to}"), "");
            answer["recipients"][0].clone()
        };
        rows.iter().map(why).find(|row| row["cause"] == "port-blocked")
    };
    let row = until("a cause", PATIENCE, blocked);
    let because = row["because"].as_str().expect("words");
    assert!(because.contains(&format!("port {port} looks blocked at this machine")), "{because}");
    assert_eq!(standing(&daemon).len(), 1);
    assert!(daemon.events("site-down").len() < 5, "{:?}", daemon.events("site-down"));
    for event in ["failed", "expired"] {
        assert_eq!(daemon.events(event).len(), 0, "{event}");
    }
    let sites = run(&mut daemon.verb(&["sites"]), "ringpost");
    assert!(sites.contains("1 to 8 of 8;"), "{sites}");
    drop(silent);
    let sinks = sinks_at(hosts, port);
    assert!(sinks.wait_for(8, PATIENCE), "{:?}", sinks.progress());
    cleared(&daemon, "port_25");
    // How the sites have fared since.
    let all = daemon.show("/v1/sites?all=true&sort=delivered");
    assert_eq!(all["total"], 8, "{all}");
    let rows = all["sites"].as_array().expect("rows");
    assert!(rows.iter().all(|row| row["delivered"] == 1 && row["tls"] == "none"), "{all}");
    assert_eq!(daemon.show("/v1/sites")["total"], 0, "nothing waits");
    // A client that is there all the time has noticed nothing.
    let to = ["z@d1.example"];
    let reply = Client::greet(daemon.address()).send("", &to, &text_to("", &to));
    assert_eq!(reply.code, 250, "{}", reply.text);
}
