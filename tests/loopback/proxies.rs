//! Ways out through proxies: a real SOCKS server, and a Postfix that takes the
//! PROXY protocol.

use crate::support::postfix::Postfix;
use crate::support::socks::Socks;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

fn socks_source(server: std::net::SocketAddr) -> String {
    format!(
        "name = \"far\"\nhostname = \"far.out.example\"\n\
         socks5 = {{ server = \"{server}\", user = \"tim\", password_file = \"tim.secret\" }}"
    )
}

fn daemon(config: Config) -> Daemon {
    let mut daemon = Daemon::prepare(config);
    daemon.scratch().write("tim.secret", "a word of tim\n");
    daemon.launch();
    daemon
}

/// The trace field that the receiver put in front.
fn first_trace(postfix: &Postfix) -> String {
    until("the message", PATIENCE, || (postfix.count() > 0).then_some(()));
    let text = postfix.delivered().remove(0);
    let line = text.lines().find(|line| line.starts_with("Received: from"));
    line.unwrap_or_else(|| panic!("no trace field:\n{text}")).to_owned()
}

/// Shows: S0.6, A16, S2.25
#[test]
fn through_a_socks_server_with_a_password_the_proxys_address_is_seen() {
    let postfix = Postfix::receiving("d001.example");
    let socks = Socks::start("tim", "a word of tim", "127.0.0.41");
    let config = Config::relay(postfix.address())
        .set("log", "level", "\"detail\"")
        .set("delivery", "tls", "\"opportunistic\"")
        .table("source", &socks_source(socks.address()))
        .set("delivery", "source", "\"far\"");
    let daemon = daemon(config);
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    assert_eq!(daemon.until_settled("b@d001.example", 1)[0].event, "delivered");
    let seen = first_trace(&postfix);
    assert!(seen.contains("from far.out.example") && seen.contains("[127.0.0.41]"), "{seen}");
    let line = daemon.until_logged("the delivery", |line| line["event"] == "delivered");
    let proxy = format!("socks5 {}", socks.address());
    assert_eq!((&line["source"], &line["proxy"]), (&"far".into(), &proxy.as_str().into()));
    daemon.until_log_is_written();
    let log = format!("{:?}", daemon.log());
    assert!(!log.contains("a word of tim"), "a password is in the log");
}

/// A dead proxy, and one that refuses us, are ours: nobody's attempt. What a
/// live one says of a dead host is the host's.
///
/// Shows: A15, A16
#[test]
fn a_dead_proxy_costs_no_attempt_and_a_dead_host_behind_a_live_one_does() {
    let postfix = Postfix::receiving("d001.example");
    let nobody = crate::support::config::free_port();
    let address = ([127, 0, 0, 1], crate::support::config::free_port()).into();
    let config = Config::relay(postfix.address())
        .table("source", &socks_source(address))
        .table("source", "name = \"near\"\naddress = \"127.0.0.42\"")
        .table("pool", "name = \"both\"\nsources = [\"near\", { source = \"far\", weight = 9 }]")
        .route("match = \"d001.example\"\nsource = \"both\"")
        .route(&format!(
            "match = \"d002.example\"\nsource = \"far\"\nfallback = false\n\
             hosts = [\"127.0.0.1:{nobody}\"]"
        ));
    let mut daemon = daemon(config.clone());
    for number in 0..6 {
        let to = format!("b{number}@d001.example");
        submit(daemon.address(), "a@source.example", &[&to]);
        let history = daemon.until_settled(&to, 1);
        assert_eq!((history[0].event.as_str(), history[0].attempt), ("delivered", 1));
    }
    let seen = first_trace(&postfix);
    assert!(seen.contains("[127.0.0.42]"), "by the source that is alive: {seen}");
    let alert = daemon.until_logged("the alert", |line| line["event"] == "source-suspended");
    let why = alert["reason"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains(&format!("socks5 {address}")), "{alert}");

    submit(daemon.address(), "a@source.example", &["b@d002.example"]);
    daemon.until_log_is_written();
    assert!(daemon.history("b@d002.example").is_empty(), "no attempt without the proxy");

    // A password that is wrong is no better than no proxy.
    let _socks = Socks::start_at(address, "tim", "another word", "127.0.0.41");
    daemon.crash();
    let refused = |line: &serde_json::Value| {
        line["event"] == "source-suspended" && line.to_string().contains("password is wrong")
    };
    daemon.until_logged("the refusal", refused);
    assert!(daemon.history("b@d002.example").is_empty(), "no attempt without the proxy");

    drop(_socks);
    let _socks = Socks::start_at(address, "tim", "a word of tim", "127.0.0.41");
    daemon.crash();
    let history = daemon.until_settled("b@d002.example", 1);
    assert_eq!((history[0].event.as_str(), history[0].attempt), ("deferred", 1));
    assert!(history[0].reply.contains("connection refused"), "{history:?}");
}

/// Shows: S0.6
#[test]
fn the_proxy_protocol_tells_where_to_leave_from() {
    let postfix = Postfix::behind_proxy("d001.example");
    let config = Config::relay(postfix.address())
        .table(
            "source",
            &format!(
                "name = \"far\"\naddress = \"192.0.2.9\"\nhaproxy = \"{}\"",
                postfix.address()
            ),
        )
        .set("delivery", "source", "\"far\"");
    let daemon = Daemon::start(config);
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    assert_eq!(daemon.until_settled("b@d001.example", 1)[0].event, "delivered");
    let seen = first_trace(&postfix);
    assert!(seen.contains("[192.0.2.9]"), "{seen}");
}
