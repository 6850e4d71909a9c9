//! Clients whose host was away ask for what waits for it, by somebody else's
//! SMTP software.

use harness::{SinkSettings, Sinks};
use serde_json::{Value, json};

use crate::support::config::free_port;
use crate::support::python::python;
use crate::support::{Config, Daemon, submit};

const FROM: &str = "sender@from.example";
const AWAY: [&str; 3] = ["a@back.example", "b@deep.back.example", "c@away.example"];

/// Asks with smtplib for each node; prints whether that is offered, and the
/// codes.
const ETRN: &str = r#"
import json, smtplib, sys
host, port, *nodes = sys.argv[1:]
with smtplib.SMTP(host, int(port), timeout=60) as session:
    session.ehlo()
    offered = session.has_extn("etrn")
    print(json.dumps([offered] + [session.docmd("ETRN", node)[0] for node in nodes]))
"#;

fn etrn(daemon: &Daemon, nodes: &[&str]) -> Value {
    let (host, port) = (daemon.address().ip().to_string(), daemon.address().port().to_string());
    python(ETRN, &[&[&*host, &*port], nodes].concat(), b"")
}

/// A daemon on two shards; mail for the three waits an hour for a host that is
/// away, at the port that is given back.
fn waiting(etrn: &str) -> (Daemon, u16) {
    let port = free_port();
    let route = format!(
        "match = \"*.example\"\nmode = \"relay\"\nhosts = [\"127.0.0.1:{port}\"]\n\
         tls = \"none\"\nfallback = false\nretry = [\"1h\"]"
    );
    let config = Config::new().set("", "shards", "2").set("submission", "etrn", etrn);
    let daemon = Daemon::start(config.route(&route));
    submit(daemon.address(), FROM, &AWAY);
    for to in AWAY {
        assert_eq!(daemon.until_settled(to, 1)[0].event, "deferred");
    }
    (daemon, port)
}

/// The host of a domain is back: its mail goes at once when it asks, with that
/// of the domains below when it asks for that, and nobody else's.
///
/// Proves: RFC 1985 §5, RFC 1985 §5.3
/// Covers: A13.4, A13.5
#[test]
fn waiting_mail_goes_when_its_domain_asks() {
    let (daemon, port) = waiting("[\"127.0.0.0/8\"]");
    let settings = SinkSettings { port, ..SinkSettings::default() };
    let _sinks = Sinks::start(settings).expect("the host comes back");
    assert_eq!(etrn(&daemon, &["back.example", "back.example"]), json!([true, 250, 458]));
    assert_eq!(daemon.until_settled(AWAY[0], 2)[1].event, "delivered");
    let act = daemon
        .until_logged("who asked", |line| line["event"] == "command" && line["recipients"] == 1);
    assert_eq!(
        (&act["act"], &act["reason"]),
        (&json!("flush"), &json!("ETRN back.example by 127.0.0.1"),)
    );
    assert_eq!(daemon.list("").len(), 2, "nobody asked for these");
    assert_eq!(etrn(&daemon, &["@back.example", "#back.example"]), json!([true, 250, 458]));
    assert_eq!(daemon.until_settled(AWAY[1], 2)[1].event, "delivered");
    let left = daemon.list("");
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&left[0]["recipient"], &left[0]["attempts"]), (&json!(AWAY[2]), &json!(1)));
}

/// Who is not named is not offered it and gets nothing; where nobody is named
/// it is not served.
///
/// Proves: RFC 1985 §5.1
/// Covers: A13.4
#[test]
fn who_may_not_ask_moves_nothing() {
    for (allowed, code) in [("[\"10.0.0.0/8\"]", 459), ("[]", 502)] {
        let (daemon, port) = waiting(allowed);
        let settings = SinkSettings { port, ..SinkSettings::default() };
        let sinks = Sinks::start(settings).expect("the host comes back");
        assert_eq!(etrn(&daemon, &["back.example"]), json!([false, code]));
        // What is asked for behind it is tried behind it.
        assert_eq!(daemon.act("flush", "{\"domain\": \"away.example\"}"), 1);
        assert_eq!(daemon.until_settled(AWAY[2], 2)[1].event, "delivered");
        assert_eq!(sinks.progress().messages, 1, "{allowed}");
        assert_eq!(daemon.list("").len(), 2, "{allowed}");
    }
}
