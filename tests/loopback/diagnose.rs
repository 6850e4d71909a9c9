//! `ringpost diagnose ADDRESS` against real peers, each with another thing that
//! blocks: the program's exit code says whether mail could go, its answer where
//! it stops; and no peer ever sees a transaction.

use std::net::{IpAddr, Ipv4Addr};

use harness::sink::{Act, Rule, Stage, To, When};
use harness::{SinkSettings, Sinks};
use serde_json::{Value, json};

use crate::support::config::free_port;
use crate::support::nsd::Nsd;
use crate::support::postfix::Postfix;
use crate::support::{Config, Daemon};

/// The exit code, and the answer.
fn diagnosed(daemon: &Daemon, address: &str) -> (i32, Value) {
    let output = daemon.verb(&["diagnose", "--json", address]).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {output:?}"));
    (output.status.code().expect("it ends by itself"), answer)
}

fn assert_blocked(daemon: &Daemon, address: &str, step: &str, said: &str) {
    let (code, answer) = diagnosed(daemon, address);
    assert_eq!((code, &answer["blocker"]["step"]), (1, &json!(step)), "{address}: {answer:#}");
    let words = answer["blocker"]["said"].as_str().unwrap_or_default();
    assert!(words.contains(said), "{address}: {answer:#}");
}

/// By exchangers, with a real name server.
///
/// Shows: S3.22
#[test]
fn what_blocks_on_the_way_to_exchangers_is_named() {
    let address = |host| IpAddr::V4(Ipv4Addr::new(127, 0, 31, host));
    let at = |host, act| Rule {
        stage: Stage::Greeting,
        to: To::Address(address(host)),
        when: When::Always,
        act,
    };
    let rules = vec![at(2, Act::Stall), at(3, Act::Reply("554 not for you".into()))];
    let addresses = (1..=3).map(address).collect();
    let sinks = Sinks::start(SinkSettings { addresses, rules, ..SinkSettings::default() });
    let sinks = sinks.expect("loopback addresses can be bound");
    let nsd = Nsd::start(
        &[(
            "story.example",
            "good MX 10 mx1\nsilent MX 10 mx2\nrude MX 10 mx3\nclosed MX 10 mx4\nnull MX 0 .\n\
             both MX 10 mx4\nboth MX 20 mx1\n\
             mx1 A 127.0.31.1\nmx2 A 127.0.31.2\nmx3 A 127.0.31.3\nmx4 A 127.0.31.4",
        )],
        &[],
    );
    let config = Config::by_mx(nsd.address(), sinks.port()).set(
        "delivery",
        "timeout",
        "{ greeting = \"1s\" }",
    );
    let daemon = Daemon::start(config);
    for domain in ["good", "both"] {
        let (code, answer) = diagnosed(&daemon, &format!("b@{domain}.story.example"));
        assert_eq!((code, &answer["blocker"]), (0, &Value::Null), "{answer:#}");
    }
    let (_, answer) = diagnosed(&daemon, "b@good.story.example");
    assert_eq!(answer["steps"][3]["answer"][0]["addresses"], json!(["127.0.31.1"]), "{answer:#}");
    assert_blocked(&daemon, "b@gone.story.example", "look-up", "does not exist");
    assert_blocked(&daemon, "b@null.story.example", "look-up", "null MX");
    assert_blocked(&daemon, "b@closed.story.example", "connect", "refused");
    assert_blocked(&daemon, "b@silent.story.example", "greeting", "timed out");
    assert_blocked(&daemon, "b@rude.story.example", "greeting", "554 not for you");
    let stop = json!({ "domain": "good.story.example", "reason": "a story" });
    assert_eq!(daemon.ask("POST", "/v1/suspend", &stop.to_string()).0, 200);
    assert_blocked(&daemon, "b@good.story.example", "suspensions", "a story");
    assert_eq!(sinks.report().hosts.iter().map(|host| host.messages).sum::<u64>(), 0);
}

/// By relay, with real Postfixes: TLS by the route's rule, and a log-in that is
/// really done.
///
/// Shows: S3.22
#[test]
fn what_blocks_at_a_relay_is_named() {
    let postfix = Postfix::demanding("PLAIN", "d001.example", &["tim"]);
    let other = Postfix::receiving("d001.example");
    let plain = Sinks::start(SinkSettings {
        addresses: vec![IpAddr::V4(Ipv4Addr::new(127, 0, 32, 1))],
        ..SinkSettings::default()
    });
    let plain = plain.expect("loopback addresses can be bound");
    let way = |domain: &str, host: &str, trust: &Postfix, more: &str| {
        let trust = trust.certificate().display().to_string();
        format!(
            "match = \"{domain}\"\nmode = \"relay\"\nhosts = [\"{host}\"]\ntls = \"required\"\n\
             trust = \"{trust}\"\n{more}"
        )
    };
    let (here, nobody) = (postfix.address().to_string(), format!("127.0.0.1:{}", free_port()));
    let log_in = |file: &str| format!("auth = {{ user = \"tim\", password_file = \"{file}\" }}");
    let config = Config::new()
        .set("delivery", "fallback", "false")
        .route(&way("good.example", &here, &postfix, &log_in("good.secret")))
        .route(&way("wrong.example", &here, &postfix, &log_in("wrong.secret")))
        .route(&way("stranger.example", &here, &other, ""))
        .route(&way("plain.example", &format!("127.0.32.1:{}", plain.port()), &postfix, ""))
        .route(&way("nobody.example", &nobody, &postfix, ""));
    let mut daemon = Daemon::prepare(config);
    daemon.scratch().write("good.secret", "secret of tim\n");
    daemon.scratch().write("wrong.secret", "secret of tom\n");
    daemon.launch();
    let (code, answer) = diagnosed(&daemon, "b@good.example");
    assert_eq!(code, 0, "{answer:#}\n{}", postfix.log());
    let step = |name: &str| {
        let steps = answer["steps"].as_array().expect("steps");
        let step = steps.iter().find(|step| step["step"] == name);
        step.unwrap_or_else(|| panic!("no {name}: {answer:#}"))["said"].as_str().unwrap_or_default()
    };
    assert!(step("tls").contains("TLSv1.3"), "{answer:#}");
    assert!(step("tls").contains("valid by the way's rule"), "{answer:#}");
    assert!(step("auth").contains("235"), "{answer:#}");
    assert_blocked(&daemon, "b@wrong.example", "auth", "535");
    assert_blocked(&daemon, "b@stranger.example", "tls", "certificate");
    assert_blocked(&daemon, "b@plain.example", "starttls", "TLS is required");
    assert_blocked(&daemon, "b@nobody.example", "connect", "refused");
    assert_eq!(postfix.count(), 0);
    let page = daemon.verb(&["diagnose", "b@nobody.example"]).output().expect("it starts");
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains("blocked at connect at [127.0.0.1]"), "{page}");
    let logs = daemon.all_logs();
    assert!(logs.contains("diagnose b@good.example"), "who asked is in the log");
    assert!(!logs.contains("secret of"), "and no password");
}
