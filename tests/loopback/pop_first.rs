//! Relays that want a log-in at their POP3 server first: a real Dovecot sees
//! it, a real Postfix takes the mail behind it.

use crate::support::pop3::Pop3;
use crate::support::postfix::Postfix;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

const PASSWORD: &str = "open sesame";

/// One log-in is good for several connections; over STLS it is another one. A
/// wrong password puts mail off in the server's words, and no host is asked.
///
/// Shows: S2.4
#[test]
fn mail_goes_once_the_pop3_server_knows_us() {
    let postfix = Postfix::receiving("d001.example d002.example d003.example");
    let pop3 = Pop3::start(PASSWORD, &postfix.certificate(), &postfix.key());
    let trust = postfix.certificate().display().to_string();
    let (ip, port) = (postfix.address().ip(), postfix.address().port());
    let hosts = |pop: std::net::SocketAddr, tls: &str, file: &str| {
        format!(
            "[{{ host = \"{ip}\", port = {port}, tls = \"none\", trust = \"{trust}\", pop = {{ \
             host = \"{pop}\", tls = \"{tls}\", user = \"tim\", password_file = \"{file}\" }} }}]"
        )
    };
    let config = Config::new()
        .set("", "shards", "1")
        .set("delivery", "mode", "\"relay\"")
        .set("delivery", "hosts", &hosts(pop3.in_tls(), "implicit", "secret"))
        .set("delivery", "idle", "\"0s\"")
        .set("delivery", "fallback", "false")
        .route(&format!(
            "match = \"d002.example\"\nhosts = {}",
            hosts(pop3.plain(), "required", "secret")
        ))
        .route(&format!(
            "match = \"d003.example\"\nretry = \"1h\"\nhosts = {}",
            hosts(pop3.in_tls(), "implicit", "wrong")
        ));
    let mut daemon = Daemon::prepare(config.set("log", "level", "\"detail\""));
    daemon.scratch().write("secret", PASSWORD);
    daemon.scratch().write("wrong", "not that");
    daemon.launch();
    for number in 1..=3 {
        let to = format!("b{number}@d001.example");
        submit(daemon.address(), "a@source.example", &[&to]);
        let history = daemon.until_settled(&to, 1);
        assert_eq!(history[0].event, "delivered", "{history:?}");
        until("it in a mailbox", PATIENCE, || (postfix.count() == number).then_some(()));
    }
    assert_eq!(pop3.log_ins(), 1, "one log-in for three connections");
    daemon.until_logged("the log-in", |line| line["event"] == "pop-log-in");
    submit(daemon.address(), "a@source.example", &["b@d002.example"]);
    let history = daemon.until_settled("b@d002.example", 1);
    assert_eq!(history[0].event, "delivered", "{history:?}");
    assert_eq!(pop3.log_ins(), 2);

    // The account is known by now; a flush forgets that.
    daemon.act("flush", r#"{"all": true}"#);
    submit(daemon.address(), "a@source.example", &["b@d003.example"]);
    let history = daemon.until_settled("b@d003.example", 1);
    assert_eq!((history[0].event.as_str(), history[0].attempt), ("deferred", 1), "{history:?}");
    let said = format!("POP3 log-in at {}", pop3.in_tls().ip());
    let reply = history[0].reply.replace(['[', ']'], "");
    assert!(reply.starts_with(&said) && reply.contains("PASS was refused: "), "{history:?}");
    assert_eq!((pop3.log_ins(), postfix.count()), (2, 4));
    for password in [PASSWORD, "not that"] {
        assert!(!daemon.all_logs().contains(password), "a password is in the log");
    }
}
