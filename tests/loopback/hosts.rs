//! Relay hosts, each with its own port, TLS rule and certificate rule: two real
//! Postfixes that prove themselves by different certificates.

use rustix::process::Signal;

use crate::support::postfix::Postfix;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

/// Shows: S0.3, S3.8, S3.9
#[test]
fn each_host_is_held_to_its_own_certificate_within_one_attempt() {
    let first = Postfix::receiving("d001.example d002.example");
    let second = Postfix::receiving("d001.example d002.example");
    let host = |postfix: &Postfix, by: &Postfix| {
        let (ip, port) = (postfix.address().ip(), postfix.address().port());
        let trust = by.certificate().display().to_string();
        format!("{{ host = \"{ip}\", port = {port}, tls = \"required\", trust = \"{trust}\" }}")
    };
    let config = Config::new()
        .set("delivery", "mode", "\"relay\"")
        .set(
            "delivery",
            "hosts",
            &format!("[{}, {}]", host(&first, &first), host(&second, &second)),
        )
        // Here the first host is held to the other's certificate.
        .route(&format!(
            "match = \"d002.example\"\nfallback = false\nhosts = [{}, {}]",
            host(&first, &second),
            host(&second, &second)
        ));
    let daemon = Daemon::start(config);
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!(history[0].event, "delivered", "{history:?}");
    until("the first in a mailbox", PATIENCE, || (first.count() == 1).then_some(()));
    submit(daemon.address(), "a@source.example", &["b@d002.example"]);
    let history = daemon.until_settled("b@d002.example", 1);
    assert_eq!((history[0].event.as_str(), history[0].attempt), ("delivered", 1), "{history:?}");
    until("the second in a mailbox", PATIENCE, || (second.count() == 1).then_some(()));
    assert_eq!(first.count(), 1, "the one that does not prove itself took nothing");
}

/// Roots lie beside the configuration, wherever the daemon works, and are others
/// once the file is another and was read again.
///
/// Shows: S3.9
#[test]
fn roots_beside_the_configuration_hold_and_are_read_again_with_it() {
    let [postfix, other] = ["d001.example", "d002.example"].map(Postfix::receiving);
    let (ip, port) = (postfix.address().ip(), postfix.address().port());
    let config = Config::new()
        .set("delivery", "mode", "\"relay\"")
        .set("delivery", "tls", "\"required\"")
        .set("delivery", "trust", "\"tls/ca.pem\"")
        .set("delivery", "hosts", &format!("[\"{ip}:{port}\"]"));
    let mut daemon = Daemon::prepare(config);
    let folder = daemon.scratch().open_folder("tls");
    let take = |from: &Postfix| {
        std::fs::copy(from.certificate(), folder.join("ca.pem")).expect("it can be copied");
    };
    take(&other);
    daemon.launch();
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!(history[0].event, "deferred", "by the other's: {history:?}");
    take(&postfix);
    daemon.process().signal(Signal::HUP);
    until("the roots of now", PATIENCE, || {
        daemon.process().complained().contains("configuration read again").then_some(())
    });
    daemon.act("flush", r#"{"domain": "d001.example"}"#);
    let history = daemon.until_settled("b@d001.example", 2);
    assert_eq!(history[1].event, "delivered", "{history:?}");
}

/// Each of the four ways to be encrypted, by routes of one daemon, as the host
/// saw it; a host that speaks TLS first is told nothing in the clear.
///
/// Shows: S2.11, S3.7, S3.9
#[test]
fn each_way_to_be_encrypted_is_as_its_host_saw_it() {
    let rules = ["none", "opportunistic", "required", "implicit"];
    let domains = rules.map(|rule| format!("{rule}.example")).join(" ");
    let (in_clear, in_tls) = (Postfix::receiving(&domains), Postfix::in_tls(&domains));
    let mut config = Config::new();
    for rule in rules {
        let postfix = if rule == "implicit" { &in_tls } else { &in_clear };
        let (ip, port) = (postfix.address().ip(), postfix.address().port());
        let trust = postfix.certificate().display().to_string();
        config = config.route(&format!(
            "match = \"{rule}.example\"\nmode = \"relay\"\nport = {port}\ntls = \"{rule}\"\n\
             trust = \"{trust}\"\nhosts = [\"{ip}\"]\nfallback = false"
        ));
    }
    let daemon = Daemon::start(config);
    for rule in rules {
        let to = format!("b@{rule}.example");
        submit(daemon.address(), "a@source.example", &[&to]);
        assert_eq!(daemon.until_settled(&to, 1)[0].event, "delivered", "{rule}");
    }
    until("all of it", PATIENCE, || (in_clear.count() + in_tls.count() == 4).then_some(()));
    for (postfix, count) in [(&in_clear, 3), (&in_tls, 1)] {
        let delivered = postfix.delivered();
        assert_eq!(delivered.len(), count);
        for text in delivered {
            let is_plain = text.contains("@none.example>");
            assert_eq!(text.contains("using TLSv1.3"), !is_plain, "{text}");
        }
    }
}

/// Shows: A65
#[test]
fn a_host_that_asks_for_a_certificate_gets_ours() {
    let postfix = Postfix::knowing_clients("d001.example d002.example");
    let (ip, port) = (postfix.address().ip(), postfix.address().port());
    let (certificate, key) = (postfix.certificate(), postfix.key());
    let (certificate, key) = (certificate.display(), key.display());
    let host = format!("host = \"{ip}\", port = {port}, tls = \"required\"");
    let ours = format!("certificate = \"{certificate}\", key = \"{key}\"");
    let config = Config::new()
        .set("delivery", "mode", "\"relay\"")
        .set("delivery", "trust", &format!("\"{certificate}\""))
        .set("delivery", "fallback", "false")
        .set("delivery", "hosts", &format!("[{{ {host}, {ours} }}]"))
        .route(&format!("match = \"d002.example\"\nhosts = [{{ {host} }}]"));
    let daemon = Daemon::start(config);
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!(history[0].event, "delivered", "{history:?}\n{}", postfix.log());
    assert!(postfix.log().contains("Trusted TLS connection established from"), "{}", postfix.log());
    submit(daemon.address(), "a@source.example", &["b@d002.example"]);
    let history = daemon.until_settled("b@d002.example", 1);
    assert_eq!(history[0].event, "deferred", "without a certificate: {history:?}");
}
